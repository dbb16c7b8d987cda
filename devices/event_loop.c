/* SPDX-License-Identifier: Apache-2.0 */
#include "devices/event_loop.h"

#include "memory/base.h"

#include <errno.h>
#include <stddef.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define BATCH 16

static int control(struct event_loop *loop, int operation,
		   struct event_source *source, int fd, uint32_t events)
{
	struct epoll_event event = { .events = events, .data.ptr = source };

	return epoll_ctl(loop->epoll_fd, operation, fd, &event) ? -errno : 0;
}

int event_loop_init(struct event_loop *loop)
{
	int err;

	*loop = (struct event_loop){ 0 };
	loop->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (loop->epoll_fd < 0)
		return -errno;
	loop->end_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	if (loop->end_fd < 0) {
		err = -errno;
		goto err_close_epoll;
	}
	err = control(loop, EPOLL_CTL_ADD, NULL, loop->end_fd, EPOLLIN);
	if (err)
		goto err_close_end;
	return 0;

err_close_end:
	close(loop->end_fd);
err_close_epoll:
	close(loop->epoll_fd);
	return err;
}

void event_loop_destroy(struct event_loop *loop)
{
	close(loop->end_fd);
	close(loop->epoll_fd);
}

int event_loop_add(struct event_loop *loop, struct event_source *source,
		   uint32_t events)
{
	return control(loop, EPOLL_CTL_ADD, source, source->fd, events);
}

int event_loop_modify(struct event_loop *loop, struct event_source *source,
		      uint32_t events)
{
	return control(loop, EPOLL_CTL_MOD, source, source->fd, events);
}

void event_loop_remove(struct event_loop *loop, struct event_source *source)
{
	int i;

	control(loop, EPOLL_CTL_DEL, NULL, source->fd, 0);
	for (i = 0; i < loop->batch_count; i++) {
		if (loop->batch[i].data.ptr == source)
			loop->batch[i].data.ptr = NULL;
	}
}

static bool has_ended(const struct event_loop *loop)
{
	/* Pairs with the release in event_loop_end. */
	return __atomic_load_n(&loop->ended, __ATOMIC_ACQUIRE);
}

static void dispatch(struct event_loop *loop)
{
	struct event_source *source;
	int i;

	for (i = 0; i < loop->batch_count && !has_ended(loop); i++) {
		/* NULL: end_fd, or removed by a source before it. */
		source = loop->batch[i].data.ptr;
		if (source)
			source->ready(source->context, loop->batch[i].events);
	}
}

int event_loop_run(struct event_loop *loop)
{
	struct epoll_event batch[BATCH];
	int count;

	while (!has_ended(loop)) {
		count = epoll_wait(loop->epoll_fd, batch, ARRAY_SIZE(batch),
				   -1);
		if (count < 0 && errno == EINTR)
			continue;
		if (count < 0)
			return -errno;
		loop->batch = batch;
		loop->batch_count = count;
		dispatch(loop);
		loop->batch_count = 0;
		loop->batch = NULL;
	}
	return 0;
}

void event_loop_end(struct event_loop *loop)
{
	uint64_t one = 1;
	int saved = errno;
	ssize_t n;

	/* Pairs with the acquire in has_ended. */
	__atomic_store_n(&loop->ended, true, __ATOMIC_RELEASE);
	/* It fails only when 2^64 - 1 writes were not read: the loop wakes anyway. */
	n = write(loop->end_fd, &one, sizeof(one));
	(void)n;
	errno = saved;
}
