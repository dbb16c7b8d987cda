/* SPDX-License-Identifier: Apache-2.0 */
#include "virtio/chain.h"

#include <errno.h>
#include <string.h>

#include "memory/base.h"
#include "virtio/queue.h"

/* Headers are short; more pieces than these take another turn. */
#define COPY_IOVECS 8

/* The spans of one part of @chain; their number in *@count. */
static const struct dma_span *
part_spans(const struct chain *chain, enum dma_access part, unsigned int *count)
{
	if (part == DMA_READ) {
		*count = chain->readable_spans;
		return chain->spans;
	}
	*count = chain->span_count - chain->readable_spans;
	/* An empty chain has no array of spans at all. */
	return *count > 0 ? chain->spans + chain->readable_spans : NULL;
}

struct chain_cursor chain_cursor(const struct chain *chain,
				 enum dma_access part, uint64_t offset)
{
	uint64_t bytes = part == DMA_READ ? chain->readable_bytes
					  : chain->writable_bytes;
	struct chain_cursor cursor = { .part = part };
	const struct dma_span *spans;
	unsigned int count;

	offset = MIN(offset, bytes);
	cursor.left = bytes - offset;

	spans = part_spans(chain, part, &count);
	while (cursor.position.span < count &&
	       offset >= spans[cursor.position.span].len)
		offset -= spans[cursor.position.span++].len;
	cursor.position.offset = (uint32_t)offset;
	return cursor;
}

int chain_map(struct queue *queue, const struct chain *chain,
	      struct chain_cursor *cursor, uint64_t len, struct iovec *iov,
	      unsigned int max, uint64_t *bytes)
{
	const struct dma_span *spans;
	struct dma_fault fault;
	unsigned int spans_count;
	int count;
	int i;

	*bytes = 0;
	len = MIN(len, cursor->left);
	if (len == 0)
		return 0;

	spans = part_spans(chain, cursor->part, &spans_count);
	count = dma_translate(&queue->dma, spans, spans_count, cursor->part,
			      len, &cursor->position, iov, max, &fault);
	for (i = 0; i < count; i++)
		*bytes += iov[i].iov_len;
	cursor->left -= *bytes;
	return count;
}

/* Copies @len bytes of the part at @cursor to @buffer, or from there. */
static int copy(struct queue *queue, const struct chain *chain,
		struct chain_cursor *cursor, uint8_t *buffer, size_t len)
{
	struct iovec iov[COPY_IOVECS];
	uint64_t bytes;
	int count;
	int i;

	if (len > cursor->left)
		return -EINVAL;

	for (; len > 0; len -= bytes) {
		count = chain_map(queue, chain, cursor, len, iov, COPY_IOVECS,
				  &bytes);
		if (count < 0)
			return count;
		for (i = 0; i < count; i++) {
			if (cursor->part == DMA_READ)
				memcpy(buffer, iov[i].iov_base, iov[i].iov_len);
			else
				memcpy(iov[i].iov_base, buffer, iov[i].iov_len);
			buffer += iov[i].iov_len;
		}
	}
	/* The guest may change its side now: nothing is to be fetched again. */
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
	return 0;
}

int chain_read(struct queue *queue, const struct chain *chain,
	       struct chain_cursor *cursor, void *buffer, size_t len)
{
	return cursor->part == DMA_READ
		       ? copy(queue, chain, cursor, buffer, len)
		       : -EINVAL;
}

int chain_write(struct queue *queue, const struct chain *chain,
		struct chain_cursor *cursor, const void *buffer, size_t len)
{
	/* Not written through: the copy goes to the guest. */
	return cursor->part == DMA_WRITE
		       ? copy(queue, chain, cursor, (uint8_t *)buffer, len)
		       : -EINVAL;
}
