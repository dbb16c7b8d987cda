/* SPDX-License-Identifier: Apache-2.0 */
/*
 * If nothing came over the console 10 s after the start, one report says where
 * the guest is and what may be wrong. Once something came, silence is no news:
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
	struct vcpu *vcpu; /* 0 */
	const char *cmdline;
	const bool *spoke; /* atomic: there was console output */
	bool asked;
	uint32_t waited_ms;
	uint64_t version; /* of the registers when they were asked for */
};

/*
 * Starts the clock. @vcpu, @cmdline and @spoke (set by whoever sees output) are
 * the caller's until watchdog_destroy. 0 or -errno.
 */
int watchdog_init(struct watchdog *watchdog, struct event_loop *loop,
		  struct vcpu *vcpu, const char *cmdline, const bool *spoke);
/* Also for a zeroed one. */
void watchdog_destroy(struct watchdog *watchdog);

/* One sentence: what may be wrong. */
const char *watchdog_guess(const struct watchdog_facts *facts);

#endif
