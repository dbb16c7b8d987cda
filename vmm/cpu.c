/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm/cpu.h"

#include "memory/base.h"
#include "vmm/boot.h"
#include "vmm/cpuid.h"
#include "vmm/kvm.h"

#include <errno.h>
#include <linux/kvm.h>
#include <string.h>

#define CR0_PE (1u << 0)
#define CR0_ET (1u << 4)
#define CR0_PG (1u << 31)
#define CR4_PAE (1u << 5)
#define EFER_LME (1u << 8)
#define EFER_LMA (1u << 10)
#define RFLAGS_ALWAYS 2

#define MSR_IA32_MISC_ENABLE 0x1a0
#define MISC_ENABLE_FAST_STRING 1
#define MSR_MTRR_DEF_TYPE 0x2ff
#define MTRR_ENABLED_WRITE_BACK 0x806

/* Local APIC registers and values (Intel SDM volume 3, 11.5.1) */
#define APIC_LVT_LINT0 0x350
#define APIC_LVT_LINT1 0x360
#define APIC_MODE_NMI 0x400
#define APIC_MODE_EXTINT 0x700

/*
 * Without a default type Linux takes the MTRRs for disabled and PAT with them.
 * A host that does not know an MSR leaves it out: none is vital.
 */
static int set_msrs(int fd)
{
	static const struct kvm_msr_entry wanted[] = {
		{ .index = MSR_IA32_MISC_ENABLE,
		  .data = MISC_ENABLE_FAST_STRING },
		{ .index = MSR_MTRR_DEF_TYPE, .data = MTRR_ENABLED_WRITE_BACK },
	};
	union {
		struct kvm_msrs head;
		uint8_t room[sizeof(struct kvm_msrs) +
			     sizeof(struct kvm_msr_entry)];
	} msrs;
	unsigned int i;
	int err;

	for (i = 0; i < ARRAY_SIZE(wanted); i++) {
		memset(&msrs, 0, sizeof(msrs));
		msrs.head.nmsrs = 1;
		msrs.head.entries[0] = wanted[i];
		err = kvm_ioctl(fd, KVM_SET_MSRS, (uintptr_t)&msrs);
		if (err < 0)
			return err;
	}
	return 0;
}

/*
 * All components on, where the architecture starts with the first alone: KVM
 * computes the size in CPUID leaf 0xD from what it thinks XCR0 is, and on a
 * processor emulated by QEMU 7.2 it never learns of a guest's XSETBV. Linux
 * finds its sizes contradicted there, warns, and does without xsave. Elsewhere
 * the kernel's own XSETBV makes this value or a smaller one.
 */
static int set_xcr0(int fd, uint64_t components)
{
	struct kvm_xcrs xcrs = { .nr_xcrs = 1 };

	if (components == 0)
		return 0;
	xcrs.xcrs[0].value = components;
	return kvm_ioctl(fd, KVM_SET_XCRS, (uintptr_t)&xcrs);
}

static void set_apic_register(struct kvm_lapic_state *apic, unsigned int offset,
			      uint32_t value)
{
	memcpy(&apic->regs[offset], &value, sizeof(value));
}

static int set_local_apic(int fd)
{
	struct kvm_lapic_state apic;
	int err = kvm_ioctl(fd, KVM_GET_LAPIC, (uintptr_t)&apic);

	if (err < 0)
		return err;
	set_apic_register(&apic, APIC_LVT_LINT0, APIC_MODE_EXTINT);
	set_apic_register(&apic, APIC_LVT_LINT1, APIC_MODE_NMI);
	return kvm_ioctl(fd, KVM_SET_LAPIC, (uintptr_t)&apic);
}

int cpu_set_up(int fd, struct kvm_cpuid2 *table, unsigned int index)
{
	int err;

	cpuid_set_vcpu(table, index);
	err = kvm_ioctl(fd, KVM_SET_CPUID2, (uintptr_t)table);
	if (err < 0)
		return err;
	err = set_xcr0(fd, cpuid_xcr0(table));
	if (err < 0)
		return err;
	err = set_msrs(fd);
	if (err < 0)
		return err;
	return set_local_apic(fd);
}

static void set_segments(struct kvm_sregs *sregs, bool long_mode)
{
	struct kvm_segment data = {
		.limit = UINT32_MAX,
		.selector = BOOT_SELECTOR_DATA,
		.type = 3, /* read, write, accessed */
		.present = 1,
		.db = 1,
		.s = 1,
		.g = 1,
	};
	struct kvm_segment code = data;

	code.selector = BOOT_SELECTOR_CODE;
	code.type = 11; /* execute, read, accessed */
	code.l = long_mode;
	code.db = !long_mode;
	sregs->cs = code;
	sregs->ds = sregs->es = sregs->fs = sregs->gs = sregs->ss = data;
}

int cpu_set_entry(int fd, const struct boot_entry *entry)
{
	bool long_mode = entry->mode == BOOT_LONG_MODE;
	struct kvm_regs regs = {
		.rip = entry->rip,
		.rsi = entry->rsi,
		.rbx = entry->rbx,
		.rflags = RFLAGS_ALWAYS,
	};
	struct kvm_sregs sregs;
	int err;

	err = kvm_ioctl(fd, KVM_GET_SREGS, (uintptr_t)&sregs);
	if (err < 0)
		return err;
	set_segments(&sregs, long_mode);
	sregs.gdt.base = entry->gdt;
	sregs.gdt.limit = entry->gdt_limit;
	sregs.cr0 = CR0_PE | CR0_ET;
	if (long_mode) {
		sregs.cr0 |= CR0_PG;
		sregs.cr3 = entry->cr3;
		sregs.cr4 = CR4_PAE;
		sregs.efer = EFER_LME | EFER_LMA;
	}
	err = kvm_ioctl(fd, KVM_SET_SREGS, (uintptr_t)&sregs);
	if (err < 0)
		return err;
	return kvm_ioctl(fd, KVM_SET_REGS, (uintptr_t)&regs);
}
