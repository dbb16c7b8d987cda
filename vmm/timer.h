/* SPDX-License-Identifier: Apache-2.0 */
/* A timer that the main thread's event loop serves. Main thread, unless said otherwise. */
#ifndef VMM_TIMER_H
#define VMM_TIMER_H

#include "devices/event_loop.h"

#include <stdint.h>

struct timer {
	struct event_loop *loop;
	struct event_source source;
	void (*expired)(void *context);
	void *context;
};

/* Not set yet. 0 or -errno. */
int timer_init(struct timer *timer, struct event_loop *loop,
	       void (*expired)(void *context), void *context);
/* Also for a zeroed one that was never initialised. */
void timer_destroy(struct timer *timer);

/* Calls `expired` once, in @ms milliseconds (at least 1). Any thread. */
void timer_set(struct timer *timer, uint32_t ms);

/* CLOCK_MONOTONIC in nanoseconds. Any thread. */
uint64_t timer_now_ns(void);

#endif
