/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm/finisher.h"

#include <errno.h>
#include <poll.h>
#include <stdint.h>
#include <sys/eventfd.h>
#include <unistd.h>

static void tell(int fd)
{
	uint64_t one = 1;
	ssize_t n = write(fd, &one, sizeof(one));

	(void)n;
}

static void thread_body(void *argument)
{
	struct finisher *finisher = argument;
	uint64_t value;
	ssize_t n;

	do
		n = read(finisher->start_fd, &value, sizeof(value));
	while (n < 0 && errno == EINTR);
	finisher->work(finisher->context);
	tell(finisher->done_fd);
}

int finisher_start(struct finisher *finisher, struct threads *threads,
		   void (*work)(void *context), void *context)
{
	int err;

	finisher->work = work;
	finisher->context = context;
	finisher->start_fd = eventfd(0, EFD_CLOEXEC);
	if (finisher->start_fd < 0)
		return -errno;
	finisher->done_fd = eventfd(0, EFD_CLOEXEC);
	if (finisher->done_fd < 0) {
		err = -errno;
		goto err_close_start;
	}
	err = threads_start(threads, &finisher->thread, THREAD_MAIN, "finisher",
			    thread_body, finisher);
	if (err != 0)
		goto err_close_done;
	return 0;

err_close_done:
	close(finisher->done_fd);
err_close_start:
	close(finisher->start_fd);
	return err;
}

void finisher_begin(struct finisher *finisher)
{
	tell(finisher->start_fd);
}

enum finisher_state finisher_wait(struct finisher *finisher, int timeout_ms,
				  int wake_fd)
{
	struct pollfd fds[] = {
		{ .fd = finisher->done_fd, .events = POLLIN },
		{ .fd = wake_fd, .events = POLLIN },
	};
	int ready;

	do
		ready = poll(fds, 2, timeout_ms);
	while (ready < 0 && errno == EINTR);
	if (ready <= 0)
		return FINISHER_WORKING;
	if (!fds[0].revents)
		return FINISHER_WOKEN;
	thread_join(&finisher->thread);
	close(finisher->done_fd);
	close(finisher->start_fd);
	return FINISHER_DONE;
}
