/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation. A chain is collected in the queue's scratch space and
 * published when it is complete. Its length bounds the walk: every descriptor
 * adds a span, there are at most ring_size of them, so a loop ends as a chain
 * that is too long.
 *
 * An indirect table is guest memory like any payload, so it is published (as
 * the one span of its head), translated, copied to queue->table, and cleared,
 * before the chain that it describes is published under the same head. From the
 * copy on the guest may rewrite the table as it likes.
 */
#include "virtio/descriptors.h"

#include <errno.h>
#include <linux/virtio_ring.h>
#include <stdbool.h>
#include <string.h>

#include "memory/base.h"
#include "virtio/queue.h"

/* What has been read of a chain. */
struct collection {
	struct dma_span *spans;
	unsigned int count;
	unsigned int max;
	unsigned int readable;
	uint64_t readable_bytes;
	uint64_t writable_bytes;
};

/* One descriptor of the ring, each field loaded once. */
static struct vring_desc load_descriptor(const struct queue *queue,
					 uint16_t index)
{
	/* 16 bytes, aligned to 16: a descriptor lies in one page. */
	const struct vring_desc *guest =
		dma_ring_at(&queue->rings[QUEUE_DESCRIPTORS],
			    index * (uint32_t)sizeof(*guest));

	/* Ordered by the acquire of avail->idx in queue_next. */
	return (struct vring_desc){
		.addr = __atomic_load_n(&guest->addr, __ATOMIC_RELAXED),
		.len = __atomic_load_n(&guest->len, __ATOMIC_RELAXED),
		.flags = __atomic_load_n(&guest->flags, __ATOMIC_RELAXED),
		.next = __atomic_load_n(&guest->next, __ATOMIC_RELAXED),
	};
}

/* Adds a buffer. False when the chain breaks a rule by it. */
static bool add_span(struct collection *chain, const struct vring_desc *desc)
{
	bool writable = desc->flags & VRING_DESC_F_WRITE;

	if (chain->count == chain->max)
		return false;
	/* virtio 1.2, 2.7.4.2: what is written comes after what is read. */
	if (!writable && chain->count > chain->readable)
		return false;

	chain->spans[chain->count++] = (struct dma_span){
		.first = IOVA(desc->addr),
		.len = desc->len,
		.access = writable ? DMA_WRITE : DMA_READ,
	};
	if (writable) {
		chain->writable_bytes += desc->len;
	} else {
		chain->readable_bytes += desc->len;
		chain->readable++;
	}
	return chain->readable_bytes + chain->writable_bytes <=
	       DESCRIPTORS_BYTES_MAX;
}

/*
 * Collects from the ring. *@last is the descriptor that ended it: one with
 * INDIRECT, or the last buffer. False when a rule is broken.
 */
static bool walk_ring(const struct queue *queue, uint16_t head,
		      struct collection *chain, struct vring_desc *last)
{
	uint16_t index = head;

	for (;;) {
		*last = load_descriptor(queue, index);
		/*
		 * virtio 1.2, 2.7.5.3.1: INDIRECT only where negotiated, never
		 * with NEXT. It may follow plain descriptors (2.7.5.3.2).
		 */
		if (last->flags & VRING_DESC_F_INDIRECT)
			return queue->indirect &&
			       !(last->flags & VRING_DESC_F_NEXT);
		if (!add_span(chain, last))
			return false;
		if (!(last->flags & VRING_DESC_F_NEXT))
			return true;
		index = last->next;
		if (index >= queue->ring_size)
			return false;
	}
}

/* Collects from the private copy of a table of @entries. */
static bool walk_table(const struct vring_desc *table, unsigned int entries,
		       struct collection *chain)
{
	unsigned int index = 0;

	do {
		/* virtio 1.2, 2.7.5.3.1: no table in a table. */
		if (table[index].flags & VRING_DESC_F_INDIRECT)
			return false;
		if (!add_span(chain, &table[index]))
			return false;
		if (!(table[index].flags & VRING_DESC_F_NEXT))
			return true;
		index = table[index].next;
	} while (index < entries);
	return false;
}

/*
 * Copies the table that @desc names to queue->table. Returns 0, -EBUSY,
 * -EAGAIN, or -EFAULT: then the table's span stays published for @head.
 */
static int fetch_table(struct queue *queue, uint16_t head,
		       const struct vring_desc *desc)
{
	struct dma_span span = { IOVA(desc->addr), desc->len, DMA_READ };
	struct iovec iov[DMA_RING_PAGES_MAX];
	uint8_t *to = (uint8_t *)queue->table;
	struct dma_position position = { 0 };
	const struct dma_span *published;
	struct dma_fault fault;
	uint32_t left = desc->len;
	int count;
	int i;

	count = dma_publish(&queue->dma, head, &span, 1, &published);
	if (count)
		return count;
	dma_commit(&queue->dma);

	while (left > 0) {
		count = dma_translate(&queue->dma, published, 1, DMA_READ, left,
				      &position, iov, ARRAY_SIZE(iov), &fault);
		if (count < 0)
			return -EFAULT;
		for (i = 0; i < count; i++) {
			memcpy(to, iov[i].iov_base, iov[i].iov_len);
			to += iov[i].iov_len;
			left -= (uint32_t)iov[i].iov_len;
		}
	}
	/* Copied once: the compiler may not go back to the guest's table. */
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
	dma_clear(&queue->dma, head);
	queue->unsettled = true;
	return 0;
}

/* Collects through the table of @desc. 0, or as fetch_table, or -EINVAL. */
static int collect_table(struct queue *queue, uint16_t head,
			 const struct vring_desc *desc,
			 struct collection *chain)
{
	unsigned int entries = desc->len / sizeof(*desc);
	int err;

	if (entries == 0 || desc->len % sizeof(*desc) != 0 ||
	    entries > queue->ring_size)
		return -EINVAL;
	err = fetch_table(queue, head, desc);
	if (err)
		return err;
	return walk_table(queue->table, entries, chain) ? 0 : -EINVAL;
}

int descriptors_collect(struct queue *queue, uint16_t head)
{
	struct collection found = { .spans = queue->scratch,
				    .max = queue->ring_size };
	struct chain *chain = &queue->chains[head];
	const struct dma_span *published;
	struct vring_desc last;
	int err = 0;

	if (!walk_ring(queue, head, &found, &last))
		return -EINVAL;
	if (last.flags & VRING_DESC_F_INDIRECT)
		err = collect_table(queue, head, &last, &found);
	if (err == -EFAULT) {
		/* In flight under the table's span, and empty. */
		*chain = (struct chain){ .head = head };
		return 0;
	}
	if (err)
		return err;

	err = dma_publish(&queue->dma, head, found.spans, found.count,
			  &published);
	if (err)
		return err;
	*chain = (struct chain){
		.head = head,
		.readable_spans = found.readable,
		.span_count = found.count,
		.spans = published,
		.readable_bytes = found.readable_bytes,
		.writable_bytes = found.writable_bytes,
	};
	return 0;
}
