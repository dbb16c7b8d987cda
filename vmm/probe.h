/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What this host's KVM can do, found by running a small loop of guest code:
 * some hosts offer a /dev/kvm that interprets what it runs.
 */
#ifndef VMM_PROBE_H
#define VMM_PROBE_H

#include <stdbool.h>

struct error;

struct probe_result {
	bool kvm_present; /* /dev/kvm opened, API version 12, needed capabilities */
	bool native; /* runs guest code at the processor's speed */
	double ns_per_instruction;
	double exit_us; /* one MMIO exit to user space and back */
	unsigned int vcpus_max;
	char reason[256]; /* why a stock kernel cannot boot; empty when it can */
};

/*
 * Measures. Takes some 10 to 100 ms. Returns 0 and fills @result whether or not KVM is usable;
 * -1 with @error only for internal failures.
 */
int probe_run(struct probe_result *result, struct error *error);

#endif
