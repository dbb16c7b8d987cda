/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The main thread's loop over epoll. One owner thread; event_loop_end may be
 * called from any.
 */
#ifndef DEVICES_EVENT_LOOP_H
#define DEVICES_EVENT_LOOP_H

#include <stdbool.h>
#include <stdint.h>

struct epoll_event;

struct event_source {
	int fd; /* the caller's */
	/* @events as epoll reports them. Main thread; must not block. */
	void (*ready)(void *context, uint32_t events);
	void *context;
};

struct event_loop {
	int epoll_fd;
	int end_fd; /* eventfd */
	bool ended; /* atomic; for good */
	/* The events being dispatched: a source removed meanwhile leaves them. */
	struct epoll_event *batch;
	int batch_count;
};

/* 0 or -errno. */
int event_loop_init(struct event_loop *loop);
void event_loop_destroy(struct event_loop *loop);

/*
 * @source must stay in place until removed. @events: EPOLLIN and so on, level-
 * triggered; EPOLLERR and EPOLLHUP always come, so a source that shall rest is
 * removed, not modified to 0. 0 or -errno: -EPERM for regular files and others
 * that are always ready, -EEXIST for an fd that is there already.
 */
int event_loop_add(struct event_loop *loop, struct event_source *source,
		   uint32_t events);
int event_loop_modify(struct event_loop *loop, struct event_source *source,
		      uint32_t events);
/* @source's `ready` is not called again. From within any `ready`, too. */
void event_loop_remove(struct event_loop *loop, struct event_source *source);

/* Serves sources until event_loop_end. Returns 0, or -errno when epoll itself fails. */
int event_loop_run(struct event_loop *loop);

/* Ends the loop soon, or before it starts. Any thread; idempotent; async-signal-safe. */
void event_loop_end(struct event_loop *loop);

#endif
