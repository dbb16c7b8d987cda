/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A split virtqueue, the device's side (virtio 1.2, 2.7).
 *
 * A device uses it in five verbs: queue_next takes what the driver made
 * available, queue_complete gives it back, queue_publish shows a batch to the
 * driver at once and says whether to interrupt, queue_arm asks for a kick
 * before the thread sleeps, and queue_disarm says that none is needed now.
 *
 * Two sides touch a queue, never at the same time. The transport sets it up
 * while the queue is not live; from queue_start to queue_stop it is the device
 * thread's alone, but for `broken` and the counters, which anyone may read.
 */
#ifndef VIRTIO_QUEUE_H
#define VIRTIO_QUEUE_H

#include <stdbool.h>
#include <stdint.h>

#include "memory/dma.h"
#include "virtio/chain.h"

struct guest_memory;
struct vring_desc;
struct vring_used_elem;

#define QUEUE_SIZE_MAX 1024

/* Feature bits that a queue knows (virtio 1.2, 6). */
#define VIRTIO_RING_F_INDIRECT_DESC_BIT (UINT64_C(1) << 28)
#define VIRTIO_RING_F_EVENT_IDX_BIT (UINT64_C(1) << 29)

/*
 * Written by the device thread with queue_count, read by whoever gathers
 * statistics with queue_read_counters.
 */
struct queue_counters {
	uint64_t kicks; /* wake-ups because of the driver's notification */
	uint64_t interrupts; /* times that queue_publish said true */
	uint64_t chains; /* requests taken */
};

enum queue_part { QUEUE_DESCRIPTORS, QUEUE_AVAILABLE, QUEUE_USED, QUEUE_PARTS };

struct queue {
	/* What the driver set; the transport checks it (virtio/mmio.c). */
	uint16_t size_max; /* a power of two, at most QUEUE_SIZE_MAX */
	uint32_t size; /* QueueNum as written; judged by queue_check */
	bool ready;
	bool live; /* between queue_start and queue_stop; the transport's */
	iova_t part_address[QUEUE_PARTS];

	/* The device thread's, from queue_start on. */
	bool event_idx;
	bool indirect;
	bool quiet; /* NO_NOTIFY stands in the used ring */
	bool stalled; /* the door has no room until a request completes */
	bool unsettled; /* a table was cleared, and dma_settle not yet called */
	uint16_t ring_size; /* size, checked: bounds every index below */
	uint16_t next_available; /* free-running, as in the rings */
	uint16_t published_used; /* used->idx as the driver was shown it */
	uint16_t staged_count; /* completed, not published; at most ring_size */
	struct dma_ring rings[QUEUE_PARTS];
	struct dma dma;
	struct chain *chains; /* one per head */
	struct dma_span *scratch; /* spans of the chain being read */
	struct vring_desc *table; /* private copy of an indirect table */
	struct vring_used_elem *staged;

	/* The driver broke its rings; only a reset helps. Atomic. */
	bool broken;
	struct queue_counters counters;
};

/*
 * A queue of at most @size_max entries (a power of two up to QUEUE_SIZE_MAX)
 * over @memory, which must outlive it. Returns 0 or -ENOMEM.
 */
int queue_init(struct queue *queue, const struct guest_memory *memory,
	       uint16_t size_max);
void queue_destroy(struct queue *queue);

/* Back to the state after queue_init, counters kept. Not live, and stays so. */
void queue_reset(struct queue *queue);

/*
 * Judges size and addresses: 0; or -EINVAL for a size that is 0, no power of
 * two or above size_max, or parts that are not aligned to 16, 2 and 4 bytes or
 * run past 2^64.
 */
int queue_check(const struct queue *queue);

/*
 * Makes the queue live with the negotiated @features. Returns 0; -EINVAL as
 * queue_check; -EFAULT for rings that the device may not reach.
 */
int queue_start(struct queue *queue, uint64_t features);

/*
 * No longer live: what is in flight or not published is forgotten. Nothing of
 * it may be in use by a device thread. A queue that is not live stays so.
 */
void queue_stop(struct queue *queue);

/*
 * Takes up to @max requests. Their chains stay valid until queue_complete.
 * Returns how many; 0 when there is none now, or when the queue is broken
 * (queue_is_broken tells): more requests outstanding than the queue has
 * entries, a head or next out of range, a loop, a chain longer than the queue
 * or than 2^32 bytes, a readable part after a writable one, a malformed
 * indirect table, a head that is in flight. The requests before the malformed
 * one are still returned.
 *
 * An indirect table that the device may not reach costs that request alone: its
 * chain is empty, and the fault is counted.
 *
 * Also 0 while requests are available for which the door has no room until one
 * in flight completes: so call again after each queue_complete and before
 * queue_arm, which then says true.
 */
unsigned int queue_next(struct queue *queue, struct chain **chains,
			unsigned int max);

/*
 * Puts the last @count requests that queue_next returned back into the ring, none
 * of them completed: they are in flight no more, and queue_next takes them anew
 * from what is in guest memory by then. For work that would have to wait.
 */
void queue_put_back(struct queue *queue, struct chain **chains,
		    unsigned int count);

/*
 * How many requests the driver has made available beyond those taken. A look: more
 * may come. 0 also when the queue is broken.
 */
unsigned int queue_waiting(struct queue *queue);

/*
 * Request @chain is done and touches guest memory no more; the device wrote
 * @written bytes into its writable part. The driver sees it after the next
 * queue_publish.
 */
void queue_complete(struct queue *queue, struct chain *chain, uint32_t written);

/*
 * Shows all completed requests to the driver in one publication. True when the
 * driver wants to be interrupted for them (EVENT_IDX and NO_INTERRUPT obeyed);
 * counted as an interrupt, so the caller sends it.
 */
bool queue_publish(struct queue *queue);

/*
 * Before sleeping: asks the driver for a notification and looks once more.
 * True: nothing can be taken (none there, the door is full, or the queue is
 * broken), sleep. False: requests came in, go on with queue_next.
 */
bool queue_arm(struct queue *queue);

/*
 * The same for a device that cannot go on with the @waiting requests (as
 * queue_waiting said) that the ring has: True when there are no more than those.
 */
bool queue_arm_beyond(struct queue *queue, unsigned int waiting);

/*
 * While busy: tells the driver to spare its notifications. A hint only. With
 * EVENT_IDX there is nothing to say: the driver notifies once per queue_arm.
 */
void queue_disarm(struct queue *queue);

bool queue_is_broken(const struct queue *queue);

/*
 * Whether the driver has made requests available that it was not given back.
 * Of a live queue; false for rings that cannot be reached, or make no sense.
 */
bool queue_owes(struct queue *queue);

/* The driver broke it, or the device cannot go on with it. Any thread. */
void queue_break(struct queue *queue);

/* Adds to one of the queue's counters. Its device thread. */
static inline void queue_count(uint64_t *counter, uint64_t n)
{
	/* One writer: the addition needs no atomicity, only the store does. */
	__atomic_store_n(counter, *counter + n, __ATOMIC_RELAXED);
}

/* Each counter as it was at some moment of late. Any thread. */
struct queue_counters queue_read_counters(const struct queue *queue);

#endif
