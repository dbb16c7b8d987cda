/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What CPUID tells the guest: the leaves that KVM supports, made to fit this
 * VM. KVM passes the host's topology (or zeroes), and on some hosts an xsave
 * leaf that contradicts the feature bits. Pure table work, no system call.
 */
#ifndef VMM_CPUID_H
#define VMM_CPUID_H

#include <stdbool.h>
#include <stdint.h>

struct kvm_cpuid2;

/* The entries that cpuid_prepare may add: leaves 0xB and 0x1F, three each. */
#define CPUID_SPARE 6

struct cpuid_machine {
	unsigned int vcpus; /* one package, a core each; APIC id = index */
	bool tsc_deadline; /* KVM emulates that timer */
};

/*
 * Makes @table, as KVM_GET_SUPPORTED_CPUID filled it, fit @machine. It has room
 * for CPUID_SPARE entries more than nent.
 */
void cpuid_prepare(struct kvm_cpuid2 *table,
		   const struct cpuid_machine *machine);

/* Puts vCPU @index's APIC id into a prepared @table. */
void cpuid_set_vcpu(struct kvm_cpuid2 *table, unsigned int index);

/* The state components (XCR0) that a prepared @table offers; 0: no xsave. */
uint64_t cpuid_xcr0(struct kvm_cpuid2 *table);

#endif
