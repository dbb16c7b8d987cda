/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation. The door has what is in flight (memory/in_flight.h), and a
 * view: what its endpoint reached when it last looked, and translations found by
 * that. The view is taken after each fence that follows a publication, and used
 * only while that is in flight. Everything it points at stays in place meanwhile:
 * a DETACH that finds the publication waits for it before tables are reused, and
 * one that does not has stored the new attachment, which the view then has.
 *
 * Ring pages are kept outside the cache, because they are used all the time; each
 * remembers its word in the table and is used only if the word is still the same,
 * which is looked at in each section, after the section's fence.
 *
 * Without an endpoint the view is constant, and nobody looks at what is in
 * flight: no fence is needed but the one of dma_settle.
 */
#include "memory/dma.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#include "memory/fences.h"
#include "memory/guest_memory.h"
#include "memory/iommu.h"
#include "memory/page_table.h"

/* None is ever that: generations are counted from 0. */
#define NO_ATTACHMENT UINT64_MAX

int dma_init(struct dma *dma, const struct guest_memory *memory,
	     unsigned int heads)
{
	assert(heads > 0 && heads <= DMA_HEADS_MAX);

	memset(dma, 0, sizeof(*dma));
	dma->memory = memory;
	dma->committed_ticket = 1;
	dma->identity = true;
	return in_flight_init(&dma->requests, heads);
}

int dma_attach_endpoint(struct dma *dma, struct iommu_endpoint *endpoint)
{
	int err;

	assert(!dma->endpoint && dma->requests.count == 0);

	err = iommu_join(endpoint, &dma->requests);
	if (err)
		return err;
	dma->endpoint = endpoint;
	dma->identity = false;
	return 0;
}

void dma_destroy(struct dma *dma)
{
	assert(dma->requests.count == 0);

	if (dma->endpoint)
		iommu_leave(dma->endpoint, &dma->requests);
	in_flight_destroy(&dma->requests);
}

/* Something was cleared: whoever waits for it is served. */
static void serve_waiters(struct dma *dma)
{
	fence_wake();
	if (in_flight_has_waiters(&dma->requests))
		iommu_wake(dma->endpoint->iommu);
}

void dma_reset(struct dma *dma)
{
	in_flight_reset(&dma->requests);
	dma->uncommitted = 0;
	if (!dma->endpoint)
		return;
	iotlb_clear(&dma->iotlb);
	serve_waiters(dma);
}

int dma_publish(struct dma *dma, uint16_t head, const struct dma_span *spans,
		unsigned int count, const struct dma_span **published)
{
	int err = in_flight_publish(&dma->requests, head, spans, count,
				    published);

	if (err)
		return err;
	dma->uncommitted++;
	/* By the last view, before the fence: what comes of it is not used. */
	if (dma->table)
		for (unsigned int i = 0; i < count; i++)
			page_table_prefetch(dma->table, spans[i].first.v,
					    spans[i].len);
	return 0;
}

/* Takes the view. After a fence, with something in flight. */
static void view_refresh(struct dma *dma)
{
	/* Pairs with the release in attachment_set (memory/iommu.c). */
	uint64_t attachment =
		__atomic_load_n(&dma->endpoint->attachment, __ATOMIC_ACQUIRE);
	uint64_t target = attachment & IOMMU_TARGET_MASK;

	if (attachment == dma->attachment)
		return;
	dma->attachment = attachment;
	dma->identity = target == IOMMU_TARGET_IDENTITY;
	dma->table = target >= IOMMU_TARGET_DOMAIN
			     ? iommu_table(dma->endpoint->iommu, attachment)
			     : NULL;
	iotlb_clear(&dma->iotlb);
}

void dma_commit(struct dma *dma)
{
	if (dma->endpoint) {
		fence_publish();
		view_refresh(dma);
	}
	dma->uncommitted = 0;
	dma->committed_ticket = dma->requests.next_ticket;
}

/* One writer; atomic for those who read the counters meanwhile. */
static void count(uint64_t *counter)
{
	__atomic_store_n(counter, *counter + 1, __ATOMIC_RELAXED);
}

/* Not inlined: dma_translate would have to guard its stack. */
static __attribute__((noinline, cold)) void
fault_report(struct dma *dma, uint64_t address, enum dma_access access,
	     enum fault_reason reason, struct dma_fault *fault)
{
	fault->address = IOVA(address);
	fault->access = access;
	fault->reason = reason;
	count(&dma->counters.faults);
	if (dma->endpoint) {
		struct fault report = {
			.reason = reason,
			.flags = access,
			.endpoint = dma->endpoint->id,
			.address = address,
		};

		fault_queue_push(&dma->endpoint->iommu->faults, &report);
	}
}

/* Up to @len bytes at @address in the view. */
static inline struct iotlb_result translate(struct dma *dma, uint64_t address,
					    uint64_t len,
					    enum dma_access access)
{
	struct iotlb_result found;
	uint64_t size;
	void *host;

	if (dma->table) {
		found = iotlb_find(&dma->iotlb, address, len, access);
		if (found.size > 0) {
			count(&dma->counters.hits);
			return found;
		}
		count(&dma->counters.misses);
		return iotlb_fill(&dma->iotlb, dma->table, dma->memory, address,
				  len, access);
	}
	if (!dma->identity)
		return iotlb_fault(FAULT_DOMAIN);
	size = guest_memory_contiguous(dma->memory, GPA(address), len, &host);
	if (size == 0)
		return iotlb_fault(FAULT_UNKNOWN);
	return (struct iotlb_result){ { .host = host }, .size = size };
}

/*
 * How many bytes of @span, at most @len, lie together at *@host from @offset on.
 * 0 when the byte there may not be reached: then the fault is reported.
 */
static uint64_t span_host(struct dma *dma, const struct dma_span *span,
			  uint32_t offset, uint64_t len, void **host,
			  struct dma_fault *fault)
{
	struct iotlb_result found;
	uint64_t address;

	len = MIN(len, span->len - offset);
	if (__builtin_add_overflow(span->first.v, offset, &address)) {
		/* Nothing is mapped at the last byte, and no RAM is there. */
		address = UINT64_MAX;
		len = 1;
	}
	found = translate(dma, address, len, span->access);
	if (found.size == 0)
		fault_report(dma, address, span->access, found.reason, fault);
	*host = found.host;
	return found.size;
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
	assert(in_flight_is_published(&dma->requests, spans, count));
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
	if (in_flight_clear(&dma->requests, head) >= dma->committed_ticket)
		dma->uncommitted--;
}

void dma_settle(struct dma *dma)
{
	/* virtio 1.2, 2.7.7.2: the used index is out before used_event is read. */
	if (dma->endpoint)
		serve_waiters(dma);
	else
		full_fence();
}

/* Finds one page of a ring. False, with the fault reported, if it is none. */
static bool ring_find_page(struct dma *dma, struct dma_ring *ring,
			   unsigned int i, struct dma_fault *fault)
{
	uint64_t page = align_down(ring->first.v, PAGE_SIZE) + i * PAGE_SIZE;
	const uint64_t need = ring->access | PAGE_TABLE_PRESENT;
	enum fault_reason reason = FAULT_UNKNOWN;
	uint64_t physical = page;

	if (!dma->identity) {
		struct page_table_word word = { .value = 0 };

		if (dma->table && page <= dma->table->last)
			word = page_table_look(dma->table, page);
		reason = dma->table ? FAULT_MAPPING : FAULT_DOMAIN;
		if ((word.value & need) != need)
			goto fault;
		ring->words[i] = word.place;
		ring->values[i] = word.value;
		reason = FAULT_UNKNOWN;
		if (word.value & PAGE_TABLE_MMIO)
			goto fault;
		physical = page_table_word_physical(word, page);
	}
	/* RAM is made of whole pages. */
	ring->pages[i] =
		guest_memory_host(dma->memory, GPA(physical), PAGE_SIZE);
	if (ring->pages[i])
		return true;
fault:
	fault_report(dma, MAX(page, ring->first.v), ring->access, reason,
		     fault);
	return false;
}

/*
 * Finds all pages of @ring, in the view. Or nothing: what stands in a ring that was
 * found in part is never taken for valid.
 */
static bool ring_find(struct dma *dma, struct dma_ring *ring,
		      struct dma_fault *fault)
{
	unsigned int i;

	ring->attachment = NO_ATTACHMENT;
	for (i = 0; i < ring->page_count; i++)
		if (!ring_find_page(dma, ring, i, fault))
			return false;
	ring->attachment = dma->attachment;
	return true;
}

/* Whether what is remembered of @ring is what the view says. */
static bool ring_is_valid(const struct dma *dma, const struct dma_ring *ring)
{
	unsigned int i;

	/* First: what the pointers point at belongs to that attachment. */
	if (ring->attachment != dma->attachment)
		return false;
	if (dma->identity)
		return true;
	for (i = 0; i < ring->page_count; i++)
		/* Pairs with the release in word_store (memory/page_table.c). */
		if (__atomic_load_n(ring->words[i], __ATOMIC_ACQUIRE) !=
		    ring->values[i])
			return false;
	return true;
}

static bool ring_check(struct dma *dma, struct dma_ring *ring,
		       struct dma_fault *fault)
{
	if (ring_is_valid(dma, ring)) {
		if (!dma->identity)
			count(&dma->counters.hits);
		return true;
	}
	if (!dma->identity)
		count(&dma->counters.misses);
	return ring_find(dma, ring, fault);
}

/* A section, seen by the IOMMU where there is one. */
static void section_begin(struct dma *dma, const struct dma_ring *rings,
			  unsigned int count)
{
	struct in_flight_range ranges[IN_FLIGHT_RINGS_MAX];
	unsigned int i;

	assert(count <= IN_FLIGHT_RINGS_MAX);

	if (!dma->endpoint) {
		in_flight_begin(&dma->requests, NULL, 0);
		return;
	}
	for (i = 0; i < count; i++)
		ranges[i] = (struct in_flight_range){
			rings[i].first.v,
			rings[i].first.v + rings[i].len - 1,
		};
	in_flight_begin(&dma->requests, ranges, count);
	fence_publish();
	view_refresh(dma);
}

static void section_end(struct dma *dma)
{
	in_flight_end(&dma->requests);
	if (dma->endpoint)
		serve_waiters(dma);
}

int dma_ring_map(struct dma *dma, struct dma_ring *ring, iova_t first,
		 uint32_t len, enum dma_access access, struct dma_fault *fault)
{
	struct dma_ring found = { .first = first,
				  .len = len,
				  .access = access };
	uint64_t page = align_down(first.v, PAGE_SIZE);
	uint64_t last;
	bool good;

	if (!range_last(first.v, len, &last))
		return -EINVAL;
	if ((last - page) >> PAGE_SHIFT >= DMA_RING_PAGES_MAX)
		return -EINVAL;

	found.offset = (unsigned int)(first.v - page);
	found.page_count = (unsigned int)((last - page) >> PAGE_SHIFT) + 1;
	section_begin(dma, &found, 1);
	good = ring_find(dma, &found, fault);
	section_end(dma);
	if (!good)
		return -EFAULT;
	*ring = found;
	return 0;
}

bool dma_rings_begin(struct dma *dma, struct dma_ring *rings,
		     unsigned int count, struct dma_fault *fault)
{
	unsigned int i;

	section_begin(dma, rings, count);
	if (!dma->endpoint)
		return true;
	for (i = 0; i < count; i++) {
		if (!ring_check(dma, &rings[i], fault)) {
			section_end(dma);
			return false;
		}
	}
	return true;
}

void dma_rings_end(struct dma *dma)
{
	section_end(dma);
}
