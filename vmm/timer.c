/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm/timer.h"

#include <errno.h>
#include <stddef.h>
#include <sys/epoll.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

static void timer_ready(void *context, uint32_t events)
{
	struct timer *timer = context;
	uint64_t expirations;

	(void)events;
	/* Set anew meanwhile: EAGAIN. */
	if (read(timer->source.fd, &expirations, sizeof(expirations)) ==
	    sizeof(expirations))
		timer->expired(timer->context);
}

int timer_init(struct timer *timer, struct event_loop *loop,
	       void (*expired)(void *context), void *context)
{
	int fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
	int err;

	if (fd < 0)
		return -errno;
	*timer = (struct timer){
		.source = { .fd = fd, .ready = timer_ready, .context = timer },
		.expired = expired,
		.context = context,
	};
	err = event_loop_add(loop, &timer->source, EPOLLIN);
	if (err != 0) {
		close(fd);
		return err;
	}
	timer->loop = loop;
	return 0;
}

void timer_destroy(struct timer *timer)
{
	if (!timer->loop)
		return;
	event_loop_remove(timer->loop, &timer->source);
	close(timer->source.fd);
	timer->loop = NULL;
}

void timer_set(struct timer *timer, uint32_t ms)
{
	uint32_t wait = ms ? ms : 1;
	struct itimerspec when = {
		.it_value = { .tv_sec = wait / 1000,
			      .tv_nsec = wait % 1000 * 1000000L },
	};

	timerfd_settime(timer->source.fd, 0, &when, NULL);
}

uint64_t timer_now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}
