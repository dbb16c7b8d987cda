/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation.
 *
 * All that the worker and its controllers share is one word, `state`:
 *
 *	PARKED --resume--> RUNNING --park--> PARKING --worker--> PARKED
 *	any --join--> EXIT
 *
 * The word is the truth; the eventfds only wake whoever sleeps. Every change of
 * state by a controller is followed by a token in kick_fd, so that a worker
 * which read the state too early finds the token at its next read(2). A token
 * too many costs one empty turn. Likewise the worker changes PARKING to PARKED
 * first and writes quiet_fd then: park looks at the word before and after each
 * sleep, and a token left over from an earlier park only makes it look again.
 *
 * The worker touches its queue only between reading RUNNING (acquire; partner:
 * the release in resume) and its own change to PARKED (release; partner: the
 * acquire in park).
 *
 * What is watched besides is no state: the worker polls it together with
 * kick_fd, and looks at the word then as always. Without it one read(2) is all.
 *
 * kick_fd carries two kinds of tokens in one number: the driver's, which KVM
 * adds as 1 each, and ours, as OWN_WAKE each. One read(2) takes all of them and
 * tells whether the driver was among those who woke us.
 *
 * A sleep in the middle of serving watches kick_fd, too, and takes the driver's
 * tokens, lest they end it again and again. A token of ours that comes with them
 * and finds the state changed is put back: the worker's next read needs it.
 */
#include "devices/queue_worker.h"

#include <assert.h>
#include <errno.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "devices/rate_limit.h"
#include "memory/base.h"
#include "virtio/queue.h"

enum queue_worker_state {
	QUEUE_WORKER_PARKED,
	QUEUE_WORKER_RUNNING,
	QUEUE_WORKER_PARKING,
	QUEUE_WORKER_EXIT,
};

#define OWN_WAKE (UINT64_C(1) << 32)
#define DRIVER_KICK UINT64_C(1)

static bool state_change(struct queue_worker *worker, uint32_t from,
			 uint32_t to)
{
	return __atomic_compare_exchange_n(&worker->state, &from, to, false,
					   __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE);
}

static uint32_t state_read(const struct queue_worker *worker)
{
	return __atomic_load_n(&worker->state, __ATOMIC_ACQUIRE);
}

/* Cannot block: kick_fd would need 2^32 wake-ups of ours in one sleep. */
static void token_write(int fd, uint64_t token)
{
	ssize_t done;

	do
		done = write(fd, &token, sizeof(token));
	while (done < 0 && errno == EINTR);
}

/* Sleeps until there is a token. Returns the sum of all. */
static uint64_t token_wait(int fd)
{
	uint64_t tokens;
	ssize_t done;

	do
		done = read(fd, &tokens, sizeof(tokens));
	while (done < 0 && errno == EINTR);
	assert(done == sizeof(tokens));
	return tokens;
}

/* Sleeps until there is a token, or what is watched. Returns the sum of tokens. */
static uint64_t worker_wait(const struct queue_worker *worker)
{
	struct pollfd fds[] = {
		{ .fd = worker->kick_fd, .events = POLLIN },
		{ .fd = worker->watch_fd, .events = worker->watch_events },
	};

	if (worker->watch_events == 0)
		return token_wait(worker->kick_fd);
	while (poll(fds, ARRAY_SIZE(fds), -1) < 0)
		;
	/* Nobody else reads it: this does not block. */
	return fds[0].revents ? token_wait(worker->kick_fd) : 0;
}

static void kicks_count(struct queue_worker *worker, uint64_t tokens)
{
	if (tokens % OWN_WAKE)
		queue_count(&worker->queue->counters.kicks, 1);
}

static void queue_worker_run(void *argument)
{
	struct queue_worker *worker = argument;
	uint64_t tokens;

	for (;;) {
		tokens = worker_wait(worker);
		switch (state_read(worker)) {
		case QUEUE_WORKER_EXIT:
			return;
		case QUEUE_WORKER_PARKING:
			worker->watch_events = 0;
			if (state_change(worker, QUEUE_WORKER_PARKING,
					 QUEUE_WORKER_PARKED))
				token_write(worker->quiet_fd, 1);
			break;
		case QUEUE_WORKER_RUNNING:
			kicks_count(worker, tokens);
			worker->serve(worker);
			break;
		}
	}
}

int queue_worker_init(struct queue_worker *worker, struct virtio_device *device,
		      struct queue *queue,
		      void (*serve)(struct queue_worker *worker), void *context,
		      int stop_fd)
{
	int err;

	*worker = (struct queue_worker){
		.device = device,
		.queue = queue,
		.stop_fd = stop_fd,
		.state = QUEUE_WORKER_PARKED,
		.serve = serve,
		.context = context,
	};
	/* Blocking: where nothing else is watched the worker sleeps in read(2). */
	worker->kick_fd = eventfd(0, EFD_CLOEXEC);
	if (worker->kick_fd < 0)
		return -errno;
	worker->quiet_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (worker->quiet_fd < 0) {
		err = -errno;
		goto err_close_kick;
	}
	return 0;

err_close_kick:
	close(worker->kick_fd);
	return err;
}

void queue_worker_destroy(struct queue_worker *worker)
{
	assert(!worker->started);
	close(worker->quiet_fd);
	close(worker->kick_fd);
}

int queue_worker_start(struct queue_worker *worker, struct threads *threads,
		       enum thread_kind kind, const char *name)
{
	int err;

	err = threads_start(threads, &worker->thread, kind, name,
			    queue_worker_run, worker);
	worker->started = err == 0;
	return err;
}

void queue_worker_resume(struct queue_worker *worker)
{
	/*
	 * The token makes the worker look: the driver may have filled the queue
	 * and kicked before DRIVER_OK.
	 */
	if (state_change(worker, QUEUE_WORKER_PARKED, QUEUE_WORKER_RUNNING))
		token_write(worker->kick_fd, OWN_WAKE);
}

int queue_worker_park(struct queue_worker *worker)
{
	struct pollfd fds[] = {
		{ .fd = worker->quiet_fd, .events = POLLIN },
		{ .fd = worker->stop_fd, .events = POLLIN },
	};
	uint64_t stale;

	if (!worker->started) {
		state_change(worker, QUEUE_WORKER_RUNNING, QUEUE_WORKER_PARKED);
		return 0;
	}
	if (state_change(worker, QUEUE_WORKER_RUNNING, QUEUE_WORKER_PARKING))
		token_write(worker->kick_fd, OWN_WAKE);
	for (;;) {
		switch (state_read(worker)) {
		case QUEUE_WORKER_PARKED:
			return 0;
		case QUEUE_WORKER_EXIT:
			return -EINTR;
		}
		/* A signal to this vCPU's thread is no reason to give up. */
		if (poll(fds, ARRAY_SIZE(fds), -1) < 0)
			continue;
		if (fds[0].revents &&
		    read(worker->quiet_fd, &stale, sizeof(stale)) > 0)
			continue;
		if (fds[1].revents)
			return -EINTR;
	}
}

void queue_worker_kick(struct queue_worker *worker)
{
	token_write(worker->kick_fd, DRIVER_KICK);
}

void queue_worker_wake(struct queue_worker *worker)
{
	token_write(worker->kick_fd, OWN_WAKE);
}

void queue_worker_watch(struct queue_worker *worker, int fd, short events)
{
	worker->watch_fd = fd;
	worker->watch_events = events;
}

bool queue_worker_should_pause(const struct queue_worker *worker)
{
	return state_read(worker) != QUEUE_WORKER_RUNNING;
}

/* Whether a token came within @ns. */
static bool token_wait_ns(int fd, uint64_t ns)
{
	const struct timespec timeout = {
		.tv_sec = (time_t)(ns / RATE_LIMIT_SECOND_NS),
		.tv_nsec = (long)(ns % RATE_LIMIT_SECOND_NS),
	};
	struct pollfd fds = { .fd = fd, .events = POLLIN };

	return ppoll(&fds, 1, &timeout, NULL) > 0;
}

bool queue_worker_sleep_until(struct queue_worker *worker, uint64_t deadline_ns)
{
	uint64_t now_ns;

	while (!queue_worker_should_pause(worker)) {
		if (deadline_ns == 0)
			return true;
		now_ns = rate_limit_now_ns();
		if (now_ns >= deadline_ns)
			return true;
		if (!token_wait_ns(worker->kick_fd, deadline_ns - now_ns))
			continue;
		kicks_count(worker, token_wait(worker->kick_fd));
		if (queue_worker_should_pause(worker))
			token_write(worker->kick_fd, OWN_WAKE);
	}
	return false;
}

void queue_worker_join(struct queue_worker *worker)
{
	if (!worker->started)
		return;
	__atomic_store_n(&worker->state, QUEUE_WORKER_EXIT, __ATOMIC_RELEASE);
	token_write(worker->kick_fd, OWN_WAKE);
	thread_join(&worker->thread);
	worker->started = false;
}
