/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The state in which a virtual processor starts: CPUID, model-specific
 * registers, local APIC and, for the boot processor, the registers that the
 * loader asks for. Set-up, main thread, before the vCPU first runs.
 */
#ifndef VMM_CPU_H
#define VMM_CPU_H

#include <stdint.h>

struct boot_entry;
struct kvm_cpuid2;

/* @fd is a vCPU's. @table is prepared (vmm/cpuid.h); its ids become @index's. 0 or -errno. */
int cpu_set_up(int fd, struct kvm_cpuid2 *table, unsigned int index);

/* The boot processor's registers. 0 or -errno. */
int cpu_set_entry(int fd, const struct boot_entry *entry);

#endif
