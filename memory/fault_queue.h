/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Faults on their way from the doors, which notice them on any thread, to the one
 * thread that tells the guest. Bounded: a fault that is in the queue already is
 * not put there again, and one that finds no room is dropped; both are counted.
 */
#ifndef MEMORY_FAULT_QUEUE_H
#define MEMORY_FAULT_QUEUE_H

#include <stdbool.h>
#include <stdint.h>

#include "memory/lock.h"

/* Why an access failed, with virtio-iommu's numbers (virtio 1.2, 5.13.6.9). */
enum fault_reason {
	FAULT_UNKNOWN = 0, /* mapped, but to what is not RAM */
	FAULT_DOMAIN = 1, /* the endpoint is not attached */
	FAULT_MAPPING = 2, /* not mapped, or not for this access */
};

/* What the device wanted, with virtio-iommu's numbers. */
#define FAULT_READ 1U
#define FAULT_WRITE 2U

struct fault {
	enum fault_reason reason;
	uint32_t flags; /* FAULT_READ or FAULT_WRITE */
	uint32_t endpoint;
	uint64_t address; /* the first byte that could not be reached */
};

struct fault_counters {
	uint64_t reported; /* all that were pushed */
	uint64_t coalesced; /* of those, the same as one in the queue */
	uint64_t dropped; /* of those, found no room */
};

struct fault_queue {
	/*
	 * An eventfd, owned: readable when the queue may have something. Read it,
	 * then pop until there is nothing.
	 */
	int event_fd;
	unsigned int entries;
	struct lock lock;
	/* Under the lock. */
	struct fault *ring;
	unsigned int first;
	unsigned int count;
	struct fault_counters counters; /* atomics, for their readers */
};

/* Room for @entries (at least 1). Returns 0 or -errno. */
int fault_queue_init(struct fault_queue *queue, unsigned int entries);
void fault_queue_destroy(struct fault_queue *queue);

/*
 * Any thread. Writes to the eventfd, a system call, only when the queue was
 * empty.
 */
void fault_queue_push(struct fault_queue *queue, const struct fault *fault)
	LOCK_EXCLUDES(&queue->lock);

/* The oldest fault, in *@fault. False when there is none. One thread. */
bool fault_queue_pop(struct fault_queue *queue, struct fault *fault)
	LOCK_EXCLUDES(&queue->lock);

/* Each counter as it was at some moment of late. Any thread. */
struct fault_counters
fault_queue_read_counters(const struct fault_queue *queue);

#endif
