/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Leaf numbers and bits: Intel SDM volume 2, CPUID; AMD APM volume 3, appendix
 * E; Linux Documentation/virt/kvm/x86/cpuid.rst for 0x4000_0000.
 */
#include "vmm/cpuid.h"

#include "memory/base.h"

#include <linux/kvm.h>
#include <string.h>

#define BIT(n) (UINT32_C(1) << (n))

/* Leaf 1 */
#define LEAF1_ECX_PDCM BIT(15)
#define LEAF1_ECX_X2APIC BIT(21)
#define LEAF1_ECX_TSC_DEADLINE BIT(24)
#define LEAF1_ECX_OSXSAVE BIT(27)
#define LEAF1_ECX_AVX BIT(28)
#define LEAF1_ECX_HYPERVISOR BIT(31)
#define LEAF1_EDX_HTT BIT(28)
/* Leaf 7 */
#define LEAF7_EBX_MPX BIT(14)
#define LEAF7_EBX_AVX512F BIT(16)
#define LEAF7_ECX_PKU BIT(3)
#define LEAF7_ECX_OSPKE BIT(4)
#define LEAF7_EDX_AMX_TILE BIT(24)
#define LEAF7_EDX_AMX (BIT(22) | LEAF7_EDX_AMX_TILE | BIT(25))
#define LEAF7_1_EAX_AMX_FP16 BIT(21)
/* Leaf 0xD */
#define XSTATE_LEGACY 0x3u /* x87 and SSE: always there */
#define XSTATE_AVX BIT(2)
#define XSTATE_MPX (BIT(3) | BIT(4))
#define XSTATE_AVX512 (BIT(5) | BIT(6) | BIT(7))
#define XSTATE_PKRU BIT(9)
#define XSTATE_AMX (BIT(17) | BIT(18))
#define XSAVE_HEADER_END 576 /* legacy area and header */
#define XSAVE1_EAX_XSAVEC BIT(1)
#define XSAVE1_EAX_XSAVES BIT(3)
#define XSAVE1_EAX_XFD BIT(4)
#define XSAVE_ECX_ALIGNED \
	BIT(1) /* of a sub-leaf: 64-byte aligned if compacted */
/* AMD */
#define AMD1_ECX_CMP_LEGACY BIT(1)

static struct kvm_cpuid_entry2 *find(struct kvm_cpuid2 *table,
				     uint32_t function, uint32_t index)
{
	unsigned int i;

	for (i = 0; i < table->nent; i++)
		if (table->entries[i].function == function &&
		    table->entries[i].index == index)
			return &table->entries[i];
	return NULL;
}

/* Drops the leaf, all sub-leaves of it: CPUID then gives zeroes. */
static void drop(struct kvm_cpuid2 *table, uint32_t function)
{
	unsigned int from, to = 0;

	for (from = 0; from < table->nent; from++)
		if (table->entries[from].function != function)
			table->entries[to++] = table->entries[from];
	table->nent = to;
}

static struct kvm_cpuid_entry2 *append(struct kvm_cpuid2 *table,
				       uint32_t function, uint32_t index)
{
	struct kvm_cpuid_entry2 *entry = &table->entries[table->nent++];

	memset(entry, 0, sizeof(*entry));
	entry->function = function;
	entry->index = index;
	entry->flags = KVM_CPUID_FLAG_SIGNIFCANT_INDEX;
	return entry;
}

/* Bits that an APIC id takes: so that 2^bits >= vcpus. */
static unsigned int id_bits(unsigned int vcpus)
{
	return vcpus <= 1 ? 0 : 32 - __builtin_clz(vcpus - 1);
}

static bool is_amd(struct kvm_cpuid2 *table)
{
	const struct kvm_cpuid_entry2 *leaf = find(table, 0, 0);

	/* "Auth", "Hygo" */
	return leaf && (leaf->ebx == 0x68747541 || leaf->ebx == 0x6f677948);
}

static void prepare_features(struct kvm_cpuid2 *table,
			     const struct cpuid_machine *machine)
{
	struct kvm_cpuid_entry2 *leaf = find(table, 1, 0);

	if (!leaf)
		return;
	leaf->ebx = (leaf->ebx & 0xff00u) | MIN(machine->vcpus, 255u) << 16;
	leaf->ecx |= LEAF1_ECX_X2APIC | LEAF1_ECX_HYPERVISOR;
	leaf->ecx &=
		~(LEAF1_ECX_TSC_DEADLINE | LEAF1_ECX_OSXSAVE | LEAF1_ECX_PDCM);
	if (machine->tsc_deadline)
		leaf->ecx |= LEAF1_ECX_TSC_DEADLINE;
	leaf->edx &= ~LEAF1_EDX_HTT;
	if (machine->vcpus > 1)
		leaf->edx |= LEAF1_EDX_HTT;
	/* The guest turns protection keys on itself. */
	leaf = find(table, 7, 0);
	if (leaf)
		leaf->ecx &= ~LEAF7_ECX_OSPKE;
	/* No performance counters: they would tell of the host. */
	drop(table, 0xa);
}

/*
 * Cache leaves (Intel 4, AMD 0x8000001D): the first two levels are a core's
 * own, the third the package's.
 */
static void prepare_caches(struct kvm_cpuid2 *table,
			   const struct cpuid_machine *machine)
{
	uint32_t last = (1u << id_bits(machine->vcpus)) - 1, level;
	struct kvm_cpuid_entry2 *entry;
	unsigned int i;

	for (i = 0; i < table->nent; i++) {
		entry = &table->entries[i];
		if (entry->function != 4 && entry->function != 0x8000001d)
			continue;
		if ((entry->eax & 0x1f) == 0) /* no more caches */
			continue;
		level = entry->eax >> 5 & 7;
		entry->eax &= 0x3fff;
		if (level >= 3)
			entry->eax |= MIN(last, 0xfffu) << 14;
		if (entry->function == 4)
			entry->eax |= MIN(last, 63u) << 26;
	}
}

/* Leaves 0xB and 0x1F: a level of threads (one each), a level of cores. */
static void prepare_topology(struct kvm_cpuid2 *table,
			     const struct cpuid_machine *machine)
{
	static const uint32_t leaves[] = { 0xb, 0x1f };
	const struct kvm_cpuid_entry2 *first = find(table, 0, 0);
	uint32_t last_leaf = first ? first->eax : 0;
	struct kvm_cpuid_entry2 *entry;
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(leaves); i++) {
		drop(table, leaves[i]);
		if (last_leaf < leaves[i])
			continue;
		entry = append(table, leaves[i], 0);
		entry->ebx = 1;
		entry->ecx = 1 << 8; /* SMT */
		entry = append(table, leaves[i], 1);
		entry->eax = id_bits(machine->vcpus);
		entry->ebx = machine->vcpus;
		entry->ecx = 2 << 8 | 1; /* core */
		entry = append(table, leaves[i], 2);
		entry->ecx = 2;
	}
}

static void prepare_amd(struct kvm_cpuid2 *table,
			const struct cpuid_machine *machine)
{
	struct kvm_cpuid_entry2 *leaf;

	if (!is_amd(table))
		return;
	leaf = find(table, 0x80000001, 0);
	if (leaf) {
		leaf->ecx &= ~AMD1_ECX_CMP_LEGACY;
		if (machine->vcpus > 1)
			leaf->ecx |= AMD1_ECX_CMP_LEGACY;
	}
	leaf = find(table, 0x80000008, 0);
	if (leaf)
		leaf->ecx = id_bits(machine->vcpus) << 12 |
			    MIN(machine->vcpus - 1, 255u);
	leaf = find(table, 0x8000001e, 0);
	if (leaf)
		leaf->ecx = 0; /* one node */
}

/* The components of XCR0 whose instructions the feature bits announce. */
static uint32_t announced_components(struct kvm_cpuid2 *table)
{
	const struct kvm_cpuid_entry2 *leaf1 = find(table, 1, 0),
				      *leaf7 = find(table, 7, 0);
	uint32_t components = XSTATE_LEGACY;

	if (leaf1 && leaf1->ecx & LEAF1_ECX_AVX) {
		components |= XSTATE_AVX;
		if (leaf7 && leaf7->ebx & LEAF7_EBX_AVX512F)
			components |= XSTATE_AVX512;
	}
	if (leaf7 && leaf7->ebx & LEAF7_EBX_MPX)
		components |= XSTATE_MPX;
	if (leaf7 && leaf7->ecx & LEAF7_ECX_PKU)
		components |= XSTATE_PKRU;
	if (leaf7 && leaf7->edx & LEAF7_EDX_AMX_TILE)
		components |= XSTATE_AMX;
	return components;
}

/* Takes out groups of which only a part is there, and sub-leaves without a size. */
static uint32_t whole_components(struct kvm_cpuid2 *table, uint32_t components)
{
	static const uint32_t groups[] = { XSTATE_MPX, XSTATE_AVX512,
					   XSTATE_AMX };
	const struct kvm_cpuid_entry2 *entry;
	unsigned int i;

	for (i = 2; i < 32; i++) {
		entry = find(table, 0xd, i);
		if (!entry || entry->eax == 0)
			components &= ~BIT(i);
	}
	if (!(components & XSTATE_AVX))
		components &= ~XSTATE_AVX512;
	for (i = 0; i < ARRAY_SIZE(groups); i++)
		if ((components & groups[i]) != groups[i])
			components &= ~groups[i];
	return components;
}

static void drop_components(struct kvm_cpuid2 *table, uint32_t kept)
{
	const struct kvm_cpuid_entry2 *entry;
	unsigned int from, to = 0;

	for (from = 0; from < table->nent; from++) {
		entry = &table->entries[from];
		if (entry->function == 0xd && entry->index >= 2 &&
		    (entry->index >= 32 || !(kept & BIT(entry->index))))
			continue;
		table->entries[to++] = *entry;
	}
	table->nent = to;
}

/* Size of the save area for @components (Intel SDM volume 1, 13.4). */
static uint32_t area_bytes(struct kvm_cpuid2 *table, uint32_t components,
			   bool compacted)
{
	const struct kvm_cpuid_entry2 *entry;
	uint32_t bytes = XSAVE_HEADER_END;
	unsigned int i;

	for (i = 2; i < 32; i++) {
		entry = components & BIT(i) ? find(table, 0xd, i) : NULL;
		if (!entry)
			continue;
		if (!compacted)
			bytes = MAX(bytes, entry->ebx + entry->eax);
		else if (entry->ecx & XSAVE_ECX_ALIGNED)
			bytes = align_up(bytes, 64) + entry->eax;
		else
			bytes += entry->eax;
	}
	return bytes;
}

/*
 * The state components must be those that the feature bits announce, whole
 * groups, each with its sub-leaf, and the sizes theirs: Linux checks one against
 * the other and otherwise turns xsave off, with a warning.
 */
static void prepare_xsave(struct kvm_cpuid2 *table)
{
	struct kvm_cpuid_entry2 *main_leaf = find(table, 0xd, 0), *leaf;
	uint32_t user, supervisor = 0;

	if (!main_leaf)
		return;
	user = main_leaf->eax & announced_components(table);
	user = (main_leaf->eax & XSTATE_LEGACY) | whole_components(table, user);
	leaf = find(table, 0xd, 1);
	if (leaf) {
		if (!(user & XSTATE_AMX))
			leaf->eax &= ~XSAVE1_EAX_XFD;
		if (leaf->eax & XSAVE1_EAX_XSAVES)
			supervisor = leaf->ecx;
		leaf->ecx = supervisor;
		leaf->edx = 0;
		leaf->ebx = leaf->eax & (XSAVE1_EAX_XSAVEC | XSAVE1_EAX_XSAVES)
				    ? area_bytes(table, user | supervisor, true)
				    : 0;
	}
	main_leaf->eax = user;
	main_leaf->edx = 0;
	main_leaf->ebx = area_bytes(table, user, false);
	main_leaf->ecx = main_leaf->ebx;
	drop_components(table, user | supervisor);
	if (user & XSTATE_AMX)
		return;
	leaf = find(table, 7, 0);
	if (leaf)
		leaf->edx &= ~LEAF7_EDX_AMX;
	leaf = find(table, 7, 1);
	if (leaf)
		leaf->eax &= ~LEAF7_1_EAX_AMX_FP16;
	drop(table, 0x1d);
	drop(table, 0x1e);
}

void cpuid_prepare(struct kvm_cpuid2 *table,
		   const struct cpuid_machine *machine)
{
	prepare_features(table, machine);
	prepare_xsave(table);
	prepare_caches(table, machine);
	prepare_amd(table, machine);
	prepare_topology(table, machine);
}

void cpuid_set_vcpu(struct kvm_cpuid2 *table, unsigned int index)
{
	struct kvm_cpuid_entry2 *entry;
	unsigned int i;

	for (i = 0; i < table->nent; i++) {
		entry = &table->entries[i];
		switch (entry->function) {
		case 1:
			entry->ebx = (entry->ebx & 0x00ffffff) | (index & 0xff)
									 << 24;
			break;
		case 0xb:
		case 0x1f:
			entry->edx = index;
			break;
		case 0x8000001e:
			entry->eax = index;
			entry->ebx = index & 0xff; /* one thread a core */
			break;
		}
	}
}

uint64_t cpuid_xcr0(struct kvm_cpuid2 *table)
{
	const struct kvm_cpuid_entry2 *leaf = find(table, 0xd, 0);

	return leaf ? leaf->eax : 0;
}
