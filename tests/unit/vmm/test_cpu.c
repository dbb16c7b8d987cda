/* SPDX-License-Identifier: Apache-2.0 */
/* CPUID as two hosts give it: an Intel one and an emulated AMD one. */
#include "vmm/cpuid.h"

#include <criterion/criterion.h>
#include <linux/kvm.h>
#include <stdlib.h>
#include <string.h>

#include "memory/base.h"

struct row {
	uint32_t function, index, eax, ebx, ecx, edx;
};

static const struct row intel[] = {
	{ 0, 0, 0x1f, 0x756e6547, 0x6c65746e, 0x49656e69 },
	{ 1, 0, 0xc06f2, 0x07040800, 0x9ffa3203, 0x0f8bfbff },
	{ 4, 0, 0x7c004121, 0x02c0003f, 0x3f, 0 },
	{ 4, 2, 0x7c004143, 0x03c0003f, 0x7ff, 0 },
	{ 4, 3, 0x7c1fc163, 0x04c0003f, 0x33fff, 0 },
	{ 4, 4, 0, 0, 0, 0 },
	{ 7, 0, 2, 0xf1bf07ab, 0x1b415f7e, 0xbfc14410 },
	{ 7, 1, 0x201c30, 0, 0, 0 },
	{ 0xa, 0, 0x07300805, 0, 0, 0x8603 },
	{ 0xb, 0, 1, 2, 0x100, 9 },
	{ 0xb, 1, 7, 64, 0x201, 9 },
	{ 0xd, 0, 0x602e7, 0xa80, 0x2b00, 0 },
	{ 0xd, 1, 0x1f, 0xa80, 0x1800, 0 },
	{ 0xd, 2, 0x100, 0x240, 0, 0 },
	{ 0xd, 5, 0x40, 0x440, 0, 0 },
	{ 0xd, 6, 0x200, 0x480, 0, 0 },
	{ 0xd, 7, 0x400, 0x680, 0, 0 },
	{ 0xd, 9, 8, 0xa80, 0, 0 },
	{ 0xd, 11, 0x10, 0, 1, 0 },
	{ 0xd, 12, 0x18, 0, 1, 0 },
	{ 0xd, 17, 0x40, 0xac0, 2, 0 },
	{ 0xd, 18, 0x2000, 0xb00, 6, 0 },
	{ 0x1d, 0, 1, 0, 0, 0 },
	{ 0x1f, 0, 1, 2, 0x100, 9 },
	{ 0x40000000, 0, 0x40000001, 0x4b4d564b, 0x564b4d56, 0x4d },
	{ 0x40000001, 0, 0x01007efb, 0, 0, 0 },
	{ 0x80000008, 0, 0x3934, 0x200, 0, 0 },
};

static const struct row amd[] = {
	{ 0, 0, 0xd, 0x68747541, 0x444d4163, 0x69746e65 },
	{ 1, 0, 0x60fb1, 0x01020800, 0x76f81203, 0x1f8bfbfd },
	{ 7, 0, 0, 0x019803ab, 0x0001020c, 0 },
	{ 0xb, 0, 0, 0, 0, 1 },
	{ 0xd, 0, 0x207, 0xa88, 0xa88, 0 },
	{ 0xd, 1, 5, 0, 0, 0 },
	{ 0xd, 2, 0x100, 0x240, 0, 0 },
	{ 0xd, 9, 8, 0xa80, 0, 0 },
	{ 0x80000001, 0, 0x60fb1, 0, 0x00400077, 0xedd3fbfd },
	{ 0x80000008, 0, 0x3928, 0, 0x1001, 0 },
	{ 0x8000001d, 0, 0x4121, 0, 0, 0 },
	{ 0x8000001d, 3, 0x1c163, 0, 0, 0 },
	{ 0x8000001e, 0, 9, 0x104, 0x203, 0 },
};

static struct kvm_cpuid2 *table;

static void make(const struct row *rows, size_t count, unsigned int vcpus,
		 bool tsc_deadline)
{
	const struct cpuid_machine machine = { vcpus, tsc_deadline };
	size_t i;

	table = calloc(1, sizeof(*table) + (count + CPUID_SPARE) *
						   sizeof(table->entries[0]));
	for (i = 0; i < count; i++)
		table->entries[i] = (struct kvm_cpuid_entry2){
			.function = rows[i].function,
			.index = rows[i].index,
			.eax = rows[i].eax,
			.ebx = rows[i].ebx,
			.ecx = rows[i].ecx,
			.edx = rows[i].edx,
		};
	table->nent = (uint32_t)count;
	cpuid_prepare(table, &machine);
}

#define MAKE_INTEL(vcpus) make(intel, ARRAY_SIZE(intel), vcpus, true)
#define MAKE_AMD(vcpus) make(amd, ARRAY_SIZE(amd), vcpus, true)

static const struct kvm_cpuid_entry2 *leaf(uint32_t function, uint32_t index)
{
	static const struct kvm_cpuid_entry2 absent;
	unsigned int i;

	for (i = 0; i < table->nent; i++)
		if (table->entries[i].function == function &&
		    table->entries[i].index == index)
			return &table->entries[i];
	return &absent;
}

static void free_table(void)
{
	free(table);
}

TestSuite(cpuid, .fini = free_table);

Test(cpuid, leaf_1_counts_the_vcpus_and_names_the_one)
{
	MAKE_INTEL(4);
	cpuid_set_vcpu(table, 3);
	cr_expect_eq(leaf(1, 0)->ebx, 0x03040800);
	cpuid_set_vcpu(table, 0);
	cr_expect_eq(leaf(1, 0)->ebx, 0x00040800);
	cr_expect(leaf(1, 0)->edx & 1u << 28, "HTT");
}

Test(cpuid, single_vcpu_is_no_multiprocessor)
{
	MAKE_AMD(1);
	cr_expect_eq(leaf(1, 0)->edx & 1u << 28, 0, "HTT");
	cr_expect_eq(leaf(0x80000001, 0)->ecx & 2, 0, "CmpLegacy");
	cr_expect_eq(leaf(0x80000008, 0)->ecx, 0);
}

Test(cpuid, guest_sees_x2apic_and_hypervisor_and_no_osxsave)
{
	MAKE_INTEL(1);
	cr_expect(leaf(1, 0)->ecx & 1u << 21);
	cr_expect(leaf(1, 0)->ecx & 1u << 31);
	cr_expect_eq(leaf(1, 0)->ecx & 1u << 27, 0);
}

Test(cpuid, tsc_deadline_follows_the_capability)
{
	MAKE_INTEL(1);
	cr_expect(leaf(1, 0)->ecx & 1u << 24);
	free(table);
	make(intel, ARRAY_SIZE(intel), 1, false);
	cr_expect_eq(leaf(1, 0)->ecx & 1u << 24, 0);
}

Test(cpuid, topology_leaves_have_one_package_of_cores)
{
	static const uint32_t leaves[] = { 0xb, 0x1f };
	unsigned int i;

	MAKE_INTEL(6);
	cpuid_set_vcpu(table, 5);
	for (i = 0; i < ARRAY_SIZE(leaves); i++) {
		cr_expect_eq(leaf(leaves[i], 0)->eax, 0);
		cr_expect_eq(leaf(leaves[i], 0)->ebx, 1);
		cr_expect_eq(leaf(leaves[i], 0)->ecx, 0x100);
		cr_expect_eq(leaf(leaves[i], 1)->eax, 3);
		cr_expect_eq(leaf(leaves[i], 1)->ebx, 6);
		cr_expect_eq(leaf(leaves[i], 1)->ecx, 0x201);
		cr_expect_eq(leaf(leaves[i], 1)->edx, 5);
		cr_expect_eq(leaf(leaves[i], 2)->ecx, 2);
	}
}

Test(cpuid, leaf_beyond_the_last_one_is_not_added)
{
	MAKE_AMD(2);
	cr_expect_eq(leaf(0xb, 1)->ebx, 2);
	cr_expect_eq(leaf(0x1f, 1)->ebx, 0);
}

Test(cpuid, caches_of_a_core_are_its_own_and_the_third_level_is_shared)
{
	MAKE_INTEL(4);
	cr_expect_eq(leaf(4, 0)->eax, 0x0c000121);
	cr_expect_eq(leaf(4, 2)->eax, 0x0c000143);
	cr_expect_eq(leaf(4, 3)->eax, 0x0c00c163);
	cr_expect_eq(leaf(4, 4)->eax, 0);
	free(table);
	MAKE_AMD(2);
	cr_expect_eq(leaf(0x8000001d, 0)->eax, 0x121);
	cr_expect_eq(leaf(0x8000001d, 3)->eax, 0x4163);
}

Test(cpuid, amd_leaves_have_the_vcpus_topology)
{
	MAKE_AMD(3);
	cpuid_set_vcpu(table, 2);
	cr_expect_eq(leaf(0x80000008, 0)->ecx, 0x2002);
	cr_expect_eq(leaf(0x8000001e, 0)->eax, 2);
	cr_expect_eq(leaf(0x8000001e, 0)->ebx, 2);
	cr_expect_eq(leaf(0x8000001e, 0)->ecx, 0);
	cr_expect(leaf(0x80000001, 0)->ecx & 2, "CmpLegacy");
}

Test(cpuid, performance_counters_are_hidden)
{
	MAKE_INTEL(1);
	cr_expect_eq(leaf(0xa, 0)->eax, 0);
}

Test(cpuid, kvm_leaves_stay)
{
	MAKE_INTEL(1);
	cr_expect_eq(leaf(0x40000000, 0)->ebx, 0x4b4d564b);
	cr_expect_eq(leaf(0x40000001, 0)->eax, 0x01007efb);
}

Test(cpuid, consistent_xsave_leaf_is_kept)
{
	MAKE_INTEL(1);
	cr_expect_eq(leaf(0xd, 0)->eax, 0x602e7);
	cr_expect_eq(leaf(0xd, 0)->ebx, 0x2b00);
	cr_expect_eq(leaf(0xd, 0)->ecx, 0x2b00);
	/* 0x240 + 0x100 + 0x40 + 0x200 + 0x400 + 8 + 0x10 + 0x18, to 64;
	 * 0x40, 0x2000 */
	cr_expect_eq(leaf(0xd, 1)->ebx, 0x2a00);
	cr_expect_eq(leaf(0xd, 11)->eax, 0x10, "supervisor state");
	cr_expect_eq(leaf(0x1d, 0)->eax, 1);
	cr_expect_eq(cpuid_xcr0(table), 0x602e7);
}

Test(cpuid, xsave_of_the_emulated_host_is_consistent_already)
{
	MAKE_AMD(1);
	cr_expect_eq(leaf(0xd, 0)->eax, 0x207);
	cr_expect_eq(leaf(0xd, 0)->ebx, 0xa88);
	cr_expect_eq(leaf(0xd, 1)->ebx, 0);
}

static void edit(uint32_t function, uint32_t index, uint32_t *eax_and,
		 uint32_t *ebx_and, uint32_t *ecx_and)
{
	unsigned int i;

	for (i = 0; i < table->nent; i++) {
		if (table->entries[i].function != function ||
		    table->entries[i].index != index)
			continue;
		if (eax_and)
			table->entries[i].eax &= *eax_and;
		if (ebx_and)
			table->entries[i].ebx &= *ebx_and;
		if (ecx_and)
			table->entries[i].ecx &= *ecx_and;
	}
}

/* Preparing twice is preparing once, so each test may change a made table. */
static void prepare_again(void)
{
	const struct cpuid_machine machine = { 1, true };

	cpuid_prepare(table, &machine);
}

Test(cpuid, component_without_its_feature_bit_is_masked)
{
	uint32_t no_avx512f = ~(1u << 16);

	MAKE_INTEL(1);
	edit(7, 0, NULL, &no_avx512f, NULL);
	prepare_again();
	cr_expect_eq(leaf(0xd, 0)->eax, 0x60207);
	cr_expect_eq(leaf(0xd, 5)->eax, 0);
	cr_expect_eq(leaf(0xd, 0)->ebx, 0x2b00, "AMX lies above");
}

Test(cpuid, half_of_a_group_goes_whole_and_takes_its_feature_bits_along)
{
	uint32_t no_tile_data = ~(1u << 18);

	MAKE_INTEL(1);
	edit(0xd, 0, &no_tile_data, NULL, NULL);
	prepare_again();
	cr_expect_eq(leaf(0xd, 0)->eax, 0x2e7);
	cr_expect_eq(leaf(0xd, 0)->ebx, 0xa88);
	cr_expect_eq(leaf(0xd, 17)->eax, 0);
	cr_expect_eq(leaf(7, 0)->edx & (1u << 22 | 1u << 24 | 1u << 25), 0);
	cr_expect_eq(leaf(7, 1)->eax & 1u << 21, 0);
	cr_expect_eq(leaf(0x1d, 0)->eax, 0);
	cr_expect_eq(leaf(0xd, 1)->eax & 0x10, 0, "XFD");
}

Test(cpuid, component_without_a_size_is_masked)
{
	uint32_t none = 0;

	MAKE_AMD(1);
	edit(0xd, 9, &none, NULL, NULL);
	prepare_again();
	cr_expect_eq(leaf(0xd, 0)->eax, 7);
	cr_expect_eq(leaf(0xd, 0)->ebx, 0x340);
}

Test(cpuid, empty_table_stays_empty)
{
	make(NULL, 0, 2, true);
	cpuid_set_vcpu(table, 1);
	cr_expect_eq(table->nent, 0);
	cr_expect_eq(cpuid_xcr0(table), 0);
}
