/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The thread that serves one virtqueue. It sleeps on its kick eventfd (which
 * KVM writes when the guest notifies), and on one descriptor of the host's if
 * it is told to watch it, serves, and parks when the transport stops its queue:
 * queue_worker_park returns only when the thread touches neither the queue nor
 * guest memory.
 */
#ifndef DEVICES_QUEUE_WORKER_H
#define DEVICES_QUEUE_WORKER_H

#include "devices/thread.h"

#include <stdbool.h>
#include <stdint.h>

struct queue;
struct virtio_device;

struct queue_worker {
	struct thread thread;
	struct virtio_device *device;
	struct queue *queue;
	int kick_fd; /* eventfd: the guest's kicks and our own wake-ups */
	int quiet_fd; /* eventfd: the worker says that it has parked */
	int stop_fd; /* the VM ends; the caller's, readable from then on */
	bool started; /* there is a thread; set-up and join */
	uint32_t state; /* atomic: what is wanted, and whether it parked */
	int watch_fd; /* the device's */
	short watch_events; /* the worker's thread; 0: nothing is watched */
	/*
	 * Serves what is in the queue; called after each kick, and when what is
	 * watched is ready, on the worker's thread, until the queue is empty and
	 * armed, broken, or queue_worker_should_pause.
	 */
	void (*serve)(struct queue_worker *worker);
	void *context; /* the device's */
};

/*
 * Creates the eventfds; starts parked, without a thread. @stop_fd may be -1:
 * nothing interrupts a park then. 0 or -errno.
 */
int queue_worker_init(struct queue_worker *worker, struct virtio_device *device,
		      struct queue *queue,
		      void (*serve)(struct queue_worker *worker), void *context,
		      int stop_fd);

/* After queue_worker_join, or when no thread was started. */
void queue_worker_destroy(struct queue_worker *worker);

/* Starts the thread, parked. Set-up. 0 or -errno. */
int queue_worker_start(struct queue_worker *worker, struct threads *threads,
		       enum thread_kind kind, const char *name);

/* The queue is live: serve it. Parked before. vCPU thread. */
void queue_worker_resume(struct queue_worker *worker);

/*
 * Waits until the worker is quiet: its request in progress is done. One vCPU
 * thread at a time (the device's lock). 0, or -EINTR when the VM ends
 * meanwhile: the worker may then go on with the queue and guest memory until
 * queue_worker_join, and neither may be freed before.
 */
int queue_worker_park(struct queue_worker *worker);

/* Wakes the worker, and counts, as the driver's kick does. Any thread. */
void queue_worker_kick(struct queue_worker *worker);

/* Wakes the worker as the device's own business: no kick. Any thread. */
void queue_worker_wake(struct queue_worker *worker);

/*
 * From within serve: it is called too when @fd has @events (as poll has them,
 * level-triggered; errors and hang-ups always count), until this is called
 * again. 0: kicks alone, and @fd is not looked at. What was watched is forgotten
 * when the worker parks. @fd stays the caller's.
 */
void queue_worker_watch(struct queue_worker *worker, int fd, short events);

/* For long loops in serve: whether to return soon. */
bool queue_worker_should_pause(const struct queue_worker *worker);

/*
 * In serve, with nothing in flight: sleeps until CLOCK_MONOTONIC is @deadline_ns
 * (0: not at all), at once over with a park or the end. Kicks are counted and do
 * not end it, so look at the queue afterwards. False: return, do not go on.
 */
bool queue_worker_sleep_until(struct queue_worker *worker,
			      uint64_t deadline_ns);

/*
 * Ends the thread, if one was started, and joins it. When the thread may be
 * running, nobody may still call park or resume (the vCPUs have ended).
 */
void queue_worker_join(struct queue_worker *worker);

#endif
