/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A descriptor chain: one request of the driver, its descriptors copied once
 * from guest memory and published at the door (memory/dma.h). First come the
 * parts that the device reads, then those that it writes; the specification
 * allows no other order (virtio 1.2, 2.7.4.2).
 *
 * A chain belongs to its queue and is valid from queue_next to queue_complete,
 * on the queue's thread. What it points at in guest memory may change under
 * the device at any moment: headers are copied with chain_read before they are
 * judged, and payload is not read twice for a decision.
 */
#ifndef VIRTIO_CHAIN_H
#define VIRTIO_CHAIN_H

#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "memory/dma.h"

struct queue;

struct chain {
	uint16_t head;
	unsigned int readable_spans; /* spans[0 .. readable_spans) */
	unsigned int span_count;
	const struct dma_span *spans;
	uint64_t readable_bytes;
	uint64_t writable_bytes;
};

/* A place in the readable or the writable part of a chain. */
struct chain_cursor {
	enum dma_access part;
	uint64_t left; /* bytes from here to the end of the part */
	struct dma_position position; /* counted from the part's first span */
};

/*
 * A cursor at byte @offset of @chain's readable (DMA_READ) or writable
 * (DMA_WRITE) part; at the end when @offset is beyond it.
 */
struct chain_cursor chain_cursor(const struct chain *chain,
				 enum dma_access part, uint64_t offset);

/*
 * Turns up to @len bytes from @cursor on into at most @max iovecs (1 to
 * DMA_IOVECS_MAX), and moves @cursor. *@bytes is what they cover: less than
 * asked when the part ends or @max is reached. Returns the number of iovecs,
 * or -EFAULT, counted as a fault of @queue, when the guest did not allow it.
 */
int chain_map(struct queue *queue, const struct chain *chain,
	      struct chain_cursor *cursor, uint64_t len, struct iovec *iov,
	      unsigned int max, uint64_t *bytes);

/*
 * Copies @len bytes between @buffer and the chain at @cursor, which moves.
 * Returns 0; -EFAULT as above, when an unknown number of bytes may have been
 * copied; -EINVAL, nothing copied, when the part has fewer than @len bytes.
 */
int chain_read(struct queue *queue, const struct chain *chain,
	       struct chain_cursor *cursor, void *buffer, size_t len);
int chain_write(struct queue *queue, const struct chain *chain,
		struct chain_cursor *cursor, const void *buffer, size_t len);

#endif
