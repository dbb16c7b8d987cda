/* SPDX-License-Identifier: Apache-2.0 */
/*
 * For tests of what lives on an event loop: run it for a while, and go on later.
 */
#ifndef TESTS_UNIT_DEVICES_LOOP_SUPPORT_H
#define TESTS_UNIT_DEVICES_LOOP_SUPPORT_H

#include "devices/event_loop.h"

#include <criterion/criterion.h>
#include <sys/epoll.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

/* The loop goes round that often after the time is up: what is ready is served. */
#define LOOP_ROUNDS 8

struct loop_timer {
	struct event_source source;
	struct event_loop *loop;
	unsigned int rounds;
};

static inline void loop_time_is_up(void *context, uint32_t events)
{
	struct loop_timer *timer = context;

	(void)events;
	if (++timer->rounds == LOOP_ROUNDS)
		event_loop_end(timer->loop);
}

static inline void loop_rearm(struct event_loop *loop)
{
	uint64_t count;

	__atomic_store_n(&loop->ended, false, __ATOMIC_RELEASE);
	if (read(loop->end_fd, &count, sizeof(count)) < 0)
		return;
}

/* Serves the loop's sources for @ms; a source may end it sooner. */
static inline void loop_run_for(struct event_loop *loop, unsigned int ms)
{
	struct itimerspec time = { .it_value = { ms / 1000, (long)(ms % 1000) *
								    1000000 } };
	struct loop_timer timer = { .loop = loop };

	timer.source.fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC);
	timer.source.ready = loop_time_is_up;
	timer.source.context = &timer;
	timerfd_settime(timer.source.fd, 0, &time, NULL);
	cr_assert_eq(event_loop_add(loop, &timer.source, EPOLLIN), 0);
	cr_assert_eq(event_loop_run(loop), 0);
	event_loop_remove(loop, &timer.source);
	close(timer.source.fd);
	loop_rearm(loop);
}

/* CPU time of this thread: a loop that spins shows. */
static inline uint64_t loop_cpu_us(void)
{
	struct timespec time;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
	return (uint64_t)time.tv_sec * 1000000 + (uint64_t)time.tv_nsec / 1000;
}

#endif
