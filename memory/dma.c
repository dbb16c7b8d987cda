/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation. The spans in flight lie in one arena, each request's in a
 * run, because whoever takes a mapping away has to look through them and because
 * they must not move while they are in flight. A bitmap says which entries are
 * taken. The arena has room for four full-sized requests: a queue is full of
 * short requests or has a few long ones, and when neither fits, the request
 * stays in the ring until another one is cleared. Runs are searched from where
 * the last one ended, and from the start again when nothing is in flight, so
 * that a queue with few requests stays in few cache lines.
 *
 * Without an IOMMU an iova is a gpa, and nobody takes mappings away: publishing
 * is kept all the same, so that what is wrong in its use shows in every test.
 */
#include "memory/dma.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "memory/guest_memory.h"

/* Spans in the arena per head. */
#define ARENA_FACTOR 4

#define WORD_BITS 64

/* The first bit in [from, end) that is @value; @end when there is none. */
static unsigned int bitmap_find(const uint64_t *bits, unsigned int from,
				unsigned int end, bool value)
{
	while (from < end) {
		uint64_t word = value ? bits[from / WORD_BITS]
				      : ~bits[from / WORD_BITS];

		word >>= from % WORD_BITS;
		if (word)
			return MIN(from + (unsigned int)__builtin_ctzll(word),
				   end);
		from += WORD_BITS - from % WORD_BITS;
	}
	return end;
}

/* Flips the @count bits from @first on. */
static void bitmap_flip(uint64_t *bits, unsigned int first, unsigned int count)
{
	while (count > 0) {
		unsigned int bit = first % WORD_BITS;
		unsigned int here = MIN(count, WORD_BITS - bit);
		uint64_t run = here < WORD_BITS ? (UINT64_C(1) << here) - 1
						: UINT64_MAX;

		bits[first / WORD_BITS] ^= run << bit;
		first += here;
		count -= here;
	}
}

/* A free run of @count (at least 1) inside [from, end), in *@first. */
static bool arena_find(const struct dma *dma, unsigned int from,
		       unsigned int end, unsigned int count,
		       unsigned int *first)
{
	for (;;) {
		unsigned int taken;

		from = bitmap_find(dma->arena_used, from, end, false);
		if (end - from < count)
			return false;
		taken = bitmap_find(dma->arena_used, from, from + count, true);
		if (taken == from + count) {
			*first = from;
			return true;
		}
		from = taken;
	}
}

static bool arena_take(struct dma *dma, unsigned int count, unsigned int *first)
{
	unsigned int next = dma->arena_next;

	if (count == 0) {
		*first = 0;
		return true;
	}
	if (!arena_find(dma, next, dma->arena_size, count, first) &&
	    !arena_find(dma, 0, MIN(next + count - 1, dma->arena_size), count,
			first))
		return false;
	bitmap_flip(dma->arena_used, *first, count);
	dma->arena_next = *first + count;
	return true;
}

static size_t bitmap_words(const struct dma *dma)
{
	return (dma->arena_size + WORD_BITS - 1) / WORD_BITS;
}

int dma_init(struct dma *dma, const struct guest_memory *memory,
	     unsigned int heads)
{
	assert(heads > 0 && heads <= DMA_HEADS_MAX);

	memset(dma, 0, sizeof(*dma));
	dma->memory = memory;
	dma->heads = heads;
	dma->arena_size = ARENA_FACTOR * heads;
	dma->next_ticket = 1;
	dma->committed_ticket = 1;

	dma->slots = calloc(heads, sizeof(*dma->slots));
	dma->arena = calloc(dma->arena_size, sizeof(*dma->arena));
	dma->arena_used = calloc(bitmap_words(dma), sizeof(*dma->arena_used));
	if (!dma->slots || !dma->arena || !dma->arena_used) {
		dma_destroy(dma);
		return -ENOMEM;
	}
	return 0;
}

void dma_destroy(struct dma *dma)
{
	assert(dma->in_flight == 0);

	free(dma->slots);
	free(dma->arena);
	free(dma->arena_used);
}

void dma_reset(struct dma *dma)
{
	assert(dma->ring_sequence % 2 == 0);

	memset(dma->slots, 0, dma->heads * sizeof(*dma->slots));
	memset(dma->arena_used, 0,
	       bitmap_words(dma) * sizeof(*dma->arena_used));
	dma->arena_next = 0;
	dma->in_flight = 0;
	dma->uncommitted = 0;
}

int dma_publish(struct dma *dma, uint16_t head, const struct dma_span *spans,
		unsigned int count, const struct dma_span **published)
{
	struct dma_slot *slot;
	unsigned int first;

	assert(head < dma->heads);
	assert(count <= dma->heads);

	slot = &dma->slots[head];
	if (slot->ticket != 0)
		return -EBUSY;
	if (!arena_take(dma, count, &first))
		return -EAGAIN;
	if (count > 0)
		memcpy(&dma->arena[first], spans, count * sizeof(*spans));
	slot->first = first;
	slot->count = count;
	slot->ticket = dma->next_ticket++;
	dma->in_flight++;
	dma->uncommitted++;
	*published = &dma->arena[first];
	return 0;
}

void dma_commit(struct dma *dma)
{
	/* No fence: without an IOMMU nobody reads what was published. */
	dma->uncommitted = 0;
	dma->committed_ticket = dma->next_ticket;
}

static void fault_report(struct dma *dma, uint64_t address,
			 enum dma_access access, struct dma_fault *fault)
{
	fault->address = IOVA(address);
	fault->access = access;
	/* One writer; atomic for those who read the counters meanwhile. */
	__atomic_store_n(&dma->counters.faults, dma->counters.faults + 1,
			 __ATOMIC_RELAXED);
}

/*
 * How many bytes of @span, at most @len, lie together at *@host from @offset on.
 * 0 when the byte there may not be reached: then the fault is reported.
 */
static uint64_t span_host(struct dma *dma, const struct dma_span *span,
			  uint32_t offset, uint64_t len, void **host,
			  struct dma_fault *fault)
{
	uint64_t address;
	uint64_t piece = 0;

	if (__builtin_add_overflow(span->first.v, offset, &address))
		address = UINT64_MAX;
	else
		piece = guest_memory_contiguous(dma->memory, GPA(address),
						MIN(len, span->len - offset),
						host);
	if (piece == 0)
		fault_report(dma, address, span->access, fault);
	return piece;
}

/* Whether @host is where @iov ends. */
static bool iov_goes_on_at(const struct iovec *iov, const void *host)
{
	return (char *)iov->iov_base + iov->iov_len == host;
}

int dma_translate(struct dma *dma, const struct dma_span *spans,
		  unsigned int count, enum dma_access access, uint64_t len,
		  struct dma_position *position, struct iovec *iov,
		  unsigned int max, struct dma_fault *fault)
{
	struct dma_position at = *position;
	unsigned int used = 0;

	assert(dma->uncommitted == 0);
	assert(spans >= dma->arena &&
	       count <= dma->arena + dma->arena_size - spans);
	assert(max > 0 && max <= DMA_IOVECS_MAX);

	while (len > 0 && at.span < count) {
		const struct dma_span *span = &spans[at.span];
		uint64_t piece;
		void *host;

		if (at.offset >= span->len) {
			at.span++;
			at.offset = 0;
			continue;
		}
		assert(span->access == access);

		piece = span_host(dma, span, at.offset, len, &host, fault);
		if (piece == 0)
			return -EFAULT;
		if (used > 0 && iov_goes_on_at(&iov[used - 1], host))
			iov[used - 1].iov_len += piece;
		else if (used < max)
			iov[used++] = (struct iovec){ host, piece };
		else
			break;

		len -= piece;
		at.offset += (uint32_t)piece;
		if (at.offset == span->len) {
			at.span++;
			at.offset = 0;
		}
	}
	*position = at;
	return (int)used;
}

void dma_clear(struct dma *dma, uint16_t head)
{
	struct dma_slot *slot;

	assert(head < dma->heads);
	slot = &dma->slots[head];
	assert(slot->ticket != 0);

	bitmap_flip(dma->arena_used, slot->first, slot->count);
	if (slot->ticket >= dma->committed_ticket)
		dma->uncommitted--;
	slot->count = 0;
	slot->ticket = 0;
	if (--dma->in_flight == 0)
		dma->arena_next = 0;
}

void dma_settle(struct dma *dma)
{
	(void)dma; /* no IOMMU: nobody waits for what was cleared */

	/* virtio 1.2, 2.7.7.2: the used index is out before used_event is read. */
	full_fence();
}

int dma_ring_map(struct dma *dma, struct dma_ring *ring, iova_t first,
		 uint32_t len, enum dma_access access, struct dma_fault *fault)
{
	struct dma_ring found = { .first = first,
				  .len = len,
				  .access = access };
	uint64_t page = align_down(first.v, PAGE_SIZE);
	unsigned int count;
	uint64_t last;
	unsigned int i;

	if (!range_last(first.v, len, &last))
		return -EINVAL;
	if ((last - page) >> PAGE_SHIFT >= DMA_RING_PAGES_MAX)
		return -EINVAL;

	found.offset = (unsigned int)(first.v - page);
	count = (unsigned int)((last - page) >> PAGE_SHIFT) + 1;
	for (i = 0; i < count; i++, page += PAGE_SIZE) {
		/* RAM is made of whole pages. */
		found.pages[i] =
			guest_memory_host(dma->memory, GPA(page), PAGE_SIZE);
		if (!found.pages[i]) {
			fault_report(dma, MAX(page, first.v), access, fault);
			return -EFAULT;
		}
	}
	*ring = found;
	return 0;
}

bool dma_rings_begin(struct dma *dma, struct dma_ring *rings,
		     unsigned int count, struct dma_fault *fault)
{
	(void)rings;
	(void)count;
	(void)fault;

	assert(dma->ring_sequence % 2 == 0);
	dma->ring_sequence++;
	return true;
}

void dma_rings_end(struct dma *dma)
{
	assert(dma->ring_sequence % 2 == 1);
	dma->ring_sequence++;
}
