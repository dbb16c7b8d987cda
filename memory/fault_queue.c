/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation. A ring under a lock: faults are rare, and whoever makes
 * many of them pays for the lock himself.
 *
 * The eventfd is written only for the first fault in an empty queue. The consumer
 * reads the eventfd first and pops until it finds the queue empty, under the lock:
 * a fault that comes later finds it empty, too, and writes again.
 */
#include "memory/fault_queue.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

int fault_queue_init(struct fault_queue *queue, unsigned int entries)
{
	int err;

	assert(entries > 0);

	*queue = (struct fault_queue){ .entries = entries };
	queue->ring = calloc(entries, sizeof(*queue->ring));
	if (!queue->ring)
		return -ENOMEM;
	queue->event_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	if (queue->event_fd < 0) {
		err = -errno;
		goto err_free_ring;
	}
	lock_init(&queue->lock);
	return 0;

err_free_ring:
	free(queue->ring);
	return err;
}

void fault_queue_destroy(struct fault_queue *queue)
{
	lock_destroy(&queue->lock);
	close(queue->event_fd);
	free(queue->ring);
}

static bool fault_is_same(const struct fault *a, const struct fault *b)
{
	return a->reason == b->reason && a->flags == b->flags &&
	       a->endpoint == b->endpoint && a->address == b->address;
}

static struct fault *fault_at(const struct fault_queue *queue, unsigned int i)
{
	return &queue->ring[(queue->first + i) % queue->entries];
}

/* Under the lock; atomic for those who read the counters without it. */
static void count(uint64_t *counter)
{
	__atomic_store_n(counter, *counter + 1, __ATOMIC_RELAXED);
}

/* Whether the queue was empty and no longer is. */
static bool put(struct fault_queue *queue, const struct fault *fault)
	LOCK_REQUIRES(&queue->lock)
{
	unsigned int i;

	count(&queue->counters.reported);
	for (i = 0; i < queue->count; i++) {
		if (fault_is_same(fault_at(queue, i), fault)) {
			count(&queue->counters.coalesced);
			return false;
		}
	}
	if (queue->count == queue->entries) {
		count(&queue->counters.dropped);
		return false;
	}
	*fault_at(queue, queue->count++) = *fault;
	return queue->count == 1;
}

void fault_queue_push(struct fault_queue *queue, const struct fault *fault)
{
	uint64_t one = 1;
	bool wake;

	lock_take(&queue->lock);
	wake = put(queue, fault);
	lock_drop(&queue->lock);

	/* It cannot overflow, and a full one would be readable all the same. */
	while (wake && write(queue->event_fd, &one, sizeof(one)) < 0 &&
	       errno == EINTR)
		;
}

bool fault_queue_pop(struct fault_queue *queue, struct fault *fault)
{
	bool found;

	lock_take(&queue->lock);
	found = queue->count > 0;
	if (found) {
		*fault = *fault_at(queue, 0);
		queue->first = (queue->first + 1) % queue->entries;
		queue->count--;
	}
	lock_drop(&queue->lock);
	return found;
}

struct fault_counters fault_queue_read_counters(const struct fault_queue *queue)
{
	const struct fault_counters *counters = &queue->counters;

	return (struct fault_counters){
		.reported =
			__atomic_load_n(&counters->reported, __ATOMIC_RELAXED),
		.coalesced =
			__atomic_load_n(&counters->coalesced, __ATOMIC_RELAXED),
		.dropped =
			__atomic_load_n(&counters->dropped, __ATOMIC_RELAXED),
	};
}
