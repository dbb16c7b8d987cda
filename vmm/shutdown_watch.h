/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A guest that hangs in its own shutdown. Linux (6.15, and stable kernels since)
 * resets every virtio device when it switches off, its IOMMU among them. UNMAPs
 * that it had put off, and then waits for, are never answered: it spins, interrupts
 * off, and its power-off never comes. The slower the host, the likelier.
 *
 * What gives it away: it reset the IOMMU with requests outstanding, did not set it
 * up again, and a vCPU runs at full speed for seconds without a single exit. Such a
 * guest has no device any more, and nobody who could hear of it.
 *
 * Main thread, unless said otherwise.
 */
#ifndef VMM_SHUTDOWN_WATCH_H
#define VMM_SHUTDOWN_WATCH_H

#include "vmm/timer.h"

#include <stdbool.h>
#include <stdint.h>

struct vcpu;

/*
 * So long without an exit, and this part of it in CPU time: less is a guest that
 * is idle.
 */
#define SHUTDOWN_WATCH_MS 5000
#define SHUTDOWN_WATCH_BUSY 5

struct shutdown_watch {
	struct timer timer;
	const struct vcpu *vcpus;
	unsigned int vcpu_count;
	uint32_t interval_ms; /* SHUTDOWN_WATCH_MS; tests are less patient */
	/* Whether the IOMMU is set up again. */
	bool (*is_over)(void *context);
	void (*hung)(void *context);
	void *context;
	bool looked; /* the two below are from an earlier look */
	uint64_t exits;
	uint64_t cpu_us;
};

/*
 * @hung is called once for each shutdown_watch_begin at most. @vcpus outlive the
 * watch. 0 or -errno.
 */
int shutdown_watch_init(struct shutdown_watch *watch, struct event_loop *loop,
			const struct vcpu *vcpus, unsigned int vcpu_count,
			bool (*is_over)(void *context),
			void (*hung)(void *context), void *context);
/* Also for a zeroed one. */
void shutdown_watch_destroy(struct shutdown_watch *watch);

/* The guest abandoned requests of its IOMMU. Any thread. */
void shutdown_watch_begin(struct shutdown_watch *watch);

#endif
