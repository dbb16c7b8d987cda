/* SPDX-License-Identifier: Apache-2.0 */
/*
 * If nothing came over the console 10 s after the start and a vCPU was busy
 * meanwhile, one report says where the guest is and what may be wrong. Once something came, silence is no news:
 * an idle shell is silent too.
 *
 * Main thread.
 */
#ifndef VMM_WATCHDOG_H
#define VMM_WATCHDOG_H

#include "vmm/timer.h"
#include "vmm/vcpu.h"

#include <stdbool.h>
#include <stdint.h>

#define WATCHDOG_SILENCE_MS 10000
/* Of CPU time within the silence: less is a guest that is idle, and well. */
#define WATCHDOG_BUSY_US (WATCHDOG_SILENCE_MS * UINT64_C(1000) / 5)
#define WATCHDOG_ANSWER_MS 1000 /* for the vCPU to come out of KVM_RUN */

/* What a guess is made from. */
struct watchdog_facts {
	bool answered; /* the vCPU came out of KVM_RUN, `registers` are its */
	struct vcpu_registers registers;
	struct vcpu_exits exits;
	struct vcpu_access last_port, last_mmio;
	const char *cmdline; /* the effective one */
	bool is_device; /* last_mmio is in a virtio device's window */
};

struct watchdog {
	struct timer timer;
	struct vcpu *vcpus;
	unsigned int vcpu_count;
	struct vcpu *vcpu; /* the one that was asked */
	const char *cmdline;
	const bool *spoke; /* atomic: there was console output */
	bool asked;
	uint32_t waited_ms;
	uint64_t version; /* of the registers when they were asked for */
};

/*
 * Starts the clock, before the vCPUs start. @vcpus, @cmdline and @spoke (set by whoever sees output) are
 * the caller's until watchdog_destroy. 0 or -errno.
 */
int watchdog_init(struct watchdog *watchdog, struct event_loop *loop,
		  struct vcpu *vcpus, unsigned int vcpu_count,
		  const char *cmdline, const bool *spoke);
/* Also for a zeroed one. */
void watchdog_destroy(struct watchdog *watchdog);

/*
 * The vCPU that has used most CPU time since it started, NULL when none has
 * used @least_us.
 */
struct vcpu *watchdog_busiest(struct vcpu *vcpus, unsigned int count,
			      uint64_t least_us);

/* One sentence: what may be wrong. */
const char *watchdog_guess(const struct watchdog_facts *facts);

#endif
