/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation. All indices run freely over 16 bits, as in the rings:
 *
 *	published_used <= (staged) <= next_available <= avail->idx
 *
 * What lies between published_used and next_available is out with the device:
 * taken, and not yet shown to the driver as used. A driver that obeys can have
 * no more requests outstanding than the queue has entries, so
 * avail->idx - published_used <= ring_size is checked whenever avail->idx is
 * read. That one check bounds the requests in flight, the staged used elements
 * and the distance to walk; ring_size itself is a private copy of what the
 * driver wrote into QueueNum.
 *
 * Batches. queue_next publishes each chain at the door and fences once for all
 * of them. queue_complete clears the chain's slot and keeps the used element in
 * private memory; queue_publish writes the elements and then used->idx, once.
 * So however long the batch is, it costs one fence at each end and one section
 * of ring accesses.
 *
 * Notifications (virtio 1.2, 2.7.7 and 2.7.10) are two Dekker exchanges, in
 * which each side stores, fences, and loads what the other one stored:
 *
 *	device: used->idx = n; fence; load used_event / NO_INTERRUPT
 *	driver: used_event = m; fence; load used->idx
 *
 *	device: avail_event = n / clear NO_NOTIFY; fence; load avail->idx
 *	driver: avail->idx = m; fence; load avail_event / NO_NOTIFY
 *
 * At least one of the two sees the other, so no wake-up is lost. The fence of
 * the first exchange is dma_settle's. Event indices need no special first time:
 * a started queue has published 0 elements, and the driver that wants to hear
 * of the first one leaves used_event at 0.
 *
 * Ring memory is the guest's: each word is loaded once, judged by its copy, and
 * touched only between dma_rings_begin and dma_rings_end. A ring that went away
 * breaks the queue.
 */
#include "virtio/queue.h"

#include <assert.h>
#include <errno.h>
#include <linux/virtio_ring.h>
#include <stdlib.h>
#include <string.h>

#include "memory/base.h"
#include "virtio/descriptors.h"

_Static_assert(VIRTIO_RING_F_INDIRECT_DESC_BIT ==
			       UINT64_C(1) << VIRTIO_RING_F_INDIRECT_DESC &&
		       VIRTIO_RING_F_EVENT_IDX_BIT ==
			       UINT64_C(1) << VIRTIO_RING_F_EVENT_IDX,
	       "the feature bits of virtio 1.2, 6");

/* Bytes and alignment of each part (virtio 1.2, 2.7), @size entries. */
static const struct {
	uint32_t fixed;
	uint32_t per_entry;
	uint32_t alignment;
	enum dma_access access;
} parts[QUEUE_PARTS] = {
	[QUEUE_DESCRIPTORS] = { 0, sizeof(struct vring_desc), 16, DMA_READ },
	[QUEUE_AVAILABLE] = { 6, sizeof(uint16_t), 2, DMA_READ },
	[QUEUE_USED] = { 6, sizeof(struct vring_used_elem), 4, DMA_WRITE },
};

static uint32_t part_bytes(enum queue_part part, uint32_t size)
{
	return parts[part].fixed + parts[part].per_entry * size;
}

/* The words of the available ring: flags, idx, ring[size], used_event. */
static uint16_t *available_word(const struct queue *queue, uint32_t index)
{
	return dma_ring_at(&queue->rings[QUEUE_AVAILABLE], index * 2);
}

static uint16_t *available_flags(const struct queue *queue)
{
	return available_word(queue, 0);
}

static uint16_t *available_index(const struct queue *queue)
{
	return available_word(queue, 1);
}

static uint16_t *available_entry(const struct queue *queue, uint16_t index)
{
	return available_word(queue, 2U + (index & (queue->ring_size - 1U)));
}

static uint16_t *used_event(const struct queue *queue)
{
	return available_word(queue, 2U + queue->ring_size);
}

/* The used ring: flags, idx, ring[size] of {id, len}, avail_event. */
static void *used_at(const struct queue *queue, uint32_t offset)
{
	return dma_ring_at(&queue->rings[QUEUE_USED], offset);
}

static uint16_t *used_flags(const struct queue *queue)
{
	return used_at(queue, 0);
}

static uint16_t *used_index(const struct queue *queue)
{
	return used_at(queue, 2);
}

static uint16_t *avail_event(const struct queue *queue)
{
	return used_at(queue, 4 + (uint32_t)sizeof(struct vring_used_elem) *
					      queue->ring_size);
}

int queue_init(struct queue *queue, const struct guest_memory *memory,
	       uint16_t size_max)
{
	int err;

	assert(is_power_of_two(size_max) && size_max <= QUEUE_SIZE_MAX);

	memset(queue, 0, sizeof(*queue));
	queue->size_max = size_max;
	err = dma_init(&queue->dma, memory, size_max);
	if (err)
		return err;
	queue->chains = calloc(size_max, sizeof(*queue->chains));
	queue->scratch = calloc(size_max, sizeof(*queue->scratch));
	queue->table = calloc(size_max, sizeof(*queue->table));
	queue->staged = calloc(size_max, sizeof(*queue->staged));
	if (!queue->chains || !queue->scratch || !queue->table ||
	    !queue->staged) {
		queue_destroy(queue);
		return -ENOMEM;
	}
	return 0;
}

void queue_destroy(struct queue *queue)
{
	dma_reset(&queue->dma);
	dma_destroy(&queue->dma);
	free(queue->chains);
	free(queue->scratch);
	free(queue->table);
	free(queue->staged);
}

void queue_reset(struct queue *queue)
{
	assert(!queue->live);

	queue->size = 0;
	queue->ready = false;
	memset(queue->part_address, 0, sizeof(queue->part_address));
	__atomic_store_n(&queue->broken, false, __ATOMIC_RELAXED);
}

int queue_check(const struct queue *queue)
{
	uint64_t last;
	unsigned int i;

	/* 32 bits are compared: 0x10001 is not 1. */
	if (!is_power_of_two(queue->size) || queue->size > queue->size_max)
		return -EINVAL;
	for (i = 0; i < QUEUE_PARTS; i++) {
		if (!is_aligned(queue->part_address[i].v, parts[i].alignment))
			return -EINVAL;
		if (!range_last(queue->part_address[i].v,
				part_bytes(i, queue->size), &last))
			return -EINVAL;
	}
	return 0;
}

int queue_start(struct queue *queue, uint64_t features)
{
	struct dma_fault fault;
	unsigned int i;
	int err;

	assert(!queue->live);

	err = queue_check(queue);
	if (err)
		return err;
	for (i = 0; i < QUEUE_PARTS; i++) {
		err = dma_ring_map(&queue->dma, &queue->rings[i],
				   queue->part_address[i],
				   part_bytes(i, queue->size), parts[i].access,
				   &fault);
		if (err)
			return err;
	}

	queue->event_idx = features & VIRTIO_RING_F_EVENT_IDX_BIT;
	queue->indirect = features & VIRTIO_RING_F_INDIRECT_DESC_BIT;
	queue->quiet = false;
	queue->stalled = false;
	queue->unsettled = false;
	queue->ring_size = (uint16_t)queue->size;
	queue->next_available = 0;
	queue->published_used = 0;
	queue->staged_count = 0;
	__atomic_store_n(&queue->broken, false, __ATOMIC_RELAXED);
	queue->live = true;
	return 0;
}

void queue_stop(struct queue *queue)
{
	if (!queue->live)
		return;
	dma_reset(&queue->dma);
	queue->staged_count = 0;
	queue->live = false;
}

/* Opens a section over all ring parts; a ring that is gone breaks the queue. */
static bool rings_begin(struct queue *queue)
{
	struct dma_fault fault;

	if (dma_rings_begin(&queue->dma, queue->rings, QUEUE_PARTS, &fault))
		return true;
	queue_break(queue);
	return false;
}

/* How many requests wait in the ring. Breaks the queue when that cannot be. */
static uint16_t count_available(struct queue *queue)
{
	uint16_t out =
		(uint16_t)(queue->next_available - queue->published_used);
	uint16_t count;

	/* Pairs with the driver's release of avail->idx (driver_publish). */
	count = (uint16_t)(__atomic_load_n(available_index(queue),
					   __ATOMIC_ACQUIRE) -
			   queue->next_available);
	if (count > queue->ring_size - out) {
		queue_break(queue);
		return 0;
	}
	return count;
}

/* Takes one request. NULL when it stays in the ring, or broke the queue. */
static struct chain *take(struct queue *queue)
{
	uint16_t head;
	int err;

	/* Ordered by the acquire in count_available. */
	head = __atomic_load_n(available_entry(queue, queue->next_available),
			       __ATOMIC_RELAXED);
	err = head < queue->ring_size ? descriptors_collect(queue, head)
				      : -EINVAL;
	if (err) {
		queue->stalled = err == -EAGAIN;
		if (err != -EAGAIN)
			queue_break(queue);
		return NULL;
	}
	queue->next_available++;
	return &queue->chains[head];
}

unsigned int queue_next(struct queue *queue, struct chain **chains,
			unsigned int max)
{
	unsigned int available;
	unsigned int count = 0;

	if (queue_is_broken(queue) || !rings_begin(queue))
		return 0;
	available = count_available(queue);
	max = MIN(max, available);
	while (count < max) {
		chains[count] = take(queue);
		if (!chains[count])
			break;
		count++;
	}
	dma_rings_end(&queue->dma);

	if (queue->unsettled) {
		queue->unsettled = false;
		dma_settle(&queue->dma);
	}
	if (count > 0) {
		dma_commit(&queue->dma);
		queue_count(&queue->counters.chains, count);
	}
	return count;
}

void queue_put_back(struct queue *queue, struct chain **chains,
		    unsigned int count)
{
	unsigned int i;

	if (count == 0)
		return;
	for (i = 0; i < count; i++) {
		assert(chains[i] == &queue->chains[chains[i]->head]);
		dma_clear(&queue->dma, chains[i]->head);
	}
	queue->next_available = (uint16_t)(queue->next_available - count);
	queue->stalled = false;
	__atomic_store_n(&queue->counters.chains,
			 queue->counters.chains - count, __ATOMIC_RELAXED);
	dma_settle(&queue->dma);
}

unsigned int queue_waiting(struct queue *queue)
{
	unsigned int count;

	if (queue_is_broken(queue) || !rings_begin(queue))
		return 0;
	count = count_available(queue);
	dma_rings_end(&queue->dma);
	return count;
}

void queue_complete(struct queue *queue, struct chain *chain, uint32_t written)
{
	assert(chain == &queue->chains[chain->head]);
	assert(queue->staged_count < queue->ring_size);

	dma_clear(&queue->dma, chain->head);
	queue->stalled = false;
	queue->staged[queue->staged_count++] = (struct vring_used_elem){
		.id = chain->head,
		.len = written,
	};
}

/* Writes the staged elements and then used->idx. Inside a section. */
static void write_used(struct queue *queue)
{
	unsigned int i;

	for (i = 0; i < queue->staged_count; i++) {
		uint16_t slot = (uint16_t)(queue->published_used + i) &
				(queue->ring_size - 1U);
		uint32_t offset =
			4 + slot * (uint32_t)sizeof(struct vring_used_elem);

		/* Aligned to 4: an element of 8 bytes may lie in two pages. */
		__atomic_store_n((uint32_t *)used_at(queue, offset),
				 queue->staged[i].id, __ATOMIC_RELAXED);
		__atomic_store_n((uint32_t *)used_at(queue, offset + 4),
				 queue->staged[i].len, __ATOMIC_RELAXED);
	}
	queue->published_used =
		(uint16_t)(queue->published_used + queue->staged_count);
	/* Pairs with the driver's acquire of used->idx (driver_take_used). */
	__atomic_store_n(used_index(queue), queue->published_used,
			 __ATOMIC_RELEASE);
}

/* Whether going from @old to published_used interrupts. In a section. */
static bool wants_interrupt(const struct queue *queue, uint16_t old)
{
	/*
	 * Relaxed: the fence of dma_settle stands between these loads and the
	 * store of used->idx; it pairs with the one in driver_want_interrupt.
	 */
	if (queue->event_idx)
		return vring_need_event(__atomic_load_n(used_event(queue),
							__ATOMIC_RELAXED),
					queue->published_used, old);
	return !(__atomic_load_n(available_flags(queue), __ATOMIC_RELAXED) &
		 VRING_AVAIL_F_NO_INTERRUPT);
}

bool queue_publish(struct queue *queue)
{
	uint16_t old = queue->published_used;
	bool interrupt = false;
	bool written;

	if (queue->staged_count == 0)
		return false;

	written = rings_begin(queue);
	if (written) {
		write_used(queue);
		dma_rings_end(&queue->dma);
	}
	queue->staged_count = 0;

	/* Not in a section: this serves who waits for the cleared slots. */
	dma_settle(&queue->dma);
	if (written && rings_begin(queue)) {
		interrupt = wants_interrupt(queue, old);
		dma_rings_end(&queue->dma);
	}
	if (interrupt)
		queue_count(&queue->counters.interrupts, 1);
	return interrupt;
}

bool queue_arm(struct queue *queue)
{
	return queue_arm_beyond(queue, 0);
}

bool queue_arm_beyond(struct queue *queue, unsigned int waiting)
{
	uint16_t known = (uint16_t)(queue->next_available + waiting);
	bool empty;

	if (queue_is_broken(queue) || queue->stalled || !rings_begin(queue))
		return true;
	if (queue->event_idx)
		__atomic_store_n(avail_event(queue), known, __ATOMIC_RELAXED);
	else
		__atomic_store_n(used_flags(queue), 0, __ATOMIC_RELAXED);
	queue->quiet = false;

	/* Pairs with the fence in driver_publish. */
	full_fence();
	empty = __atomic_load_n(available_index(queue), __ATOMIC_RELAXED) ==
		known;
	dma_rings_end(&queue->dma);
	return empty;
}

void queue_disarm(struct queue *queue)
{
	/* virtio 1.2, 2.7.10.1: with EVENT_IDX the flags stay 0. */
	if (queue->event_idx || queue->quiet || queue_is_broken(queue) ||
	    !rings_begin(queue))
		return;
	__atomic_store_n(used_flags(queue), VRING_USED_F_NO_NOTIFY,
			 __ATOMIC_RELAXED);
	queue->quiet = true;
	dma_rings_end(&queue->dma);
}

bool queue_owes(struct queue *queue)
{
	bool owes;

	if (queue_is_broken(queue) || !rings_begin(queue))
		return false;
	owes = __atomic_load_n(available_index(queue), __ATOMIC_RELAXED) !=
	       queue->published_used;
	dma_rings_end(&queue->dma);
	return owes;
}

bool queue_is_broken(const struct queue *queue)
{
	return __atomic_load_n(&queue->broken, __ATOMIC_RELAXED);
}

void queue_break(struct queue *queue)
{
	__atomic_store_n(&queue->broken, true, __ATOMIC_RELAXED);
}

struct queue_counters queue_read_counters(const struct queue *queue)
{
	const struct queue_counters *counters = &queue->counters;

	return (struct queue_counters){
		.kicks = __atomic_load_n(&counters->kicks, __ATOMIC_RELAXED),
		.interrupts = __atomic_load_n(&counters->interrupts,
					      __ATOMIC_RELAXED),
		.chains = __atomic_load_n(&counters->chains, __ATOMIC_RELAXED),
	};
}
