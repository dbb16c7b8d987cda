/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The door: every access of a device to guest memory passes here.
 *
 * Each virtqueue owns one struct dma. Its thread, for a batch of requests:
 *
 *	dma_publish()	per request: what it is going to touch
 *	dma_commit()	once: the full fence between publishing and looking up
 *	dma_translate()	device addresses -> host memory
 *	... the I/O ...
 *	dma_clear()	per request: it touches nothing any more
 *	dma_settle()	once, after the used index is out
 *
 * Whoever takes a mapping away clears the map first, fences, and then looks at
 * what is published: either the device sees the cleared map, or the one who
 * clears sees the request and waits for it (memory/fences.h).
 *
 * A request is known by its head, the index of its first descriptor, below the
 * @heads that dma_init was given.
 *
 * Without an IOMMU, and with one for an endpoint that bypasses it, the address
 * that a device uses is the guest-physical one, and RAM is all it reaches.
 *
 * Unless said otherwise, everything here is for the queue's own thread. No
 * function allocates or blocks, those for set-up excepted, and there are two
 * occasions for a system call and a lock: a fault, which goes to the IOMMU's
 * fault queue, and a cleared request for which an UNMAP waits.
 */
#ifndef MEMORY_DMA_H
#define MEMORY_DMA_H

#include "memory/addr.h"
#include "memory/base.h"
#include "memory/fault_queue.h"
#include "memory/in_flight.h"
#include "memory/iotlb.h"
#include "memory/span.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

struct guest_memory;
struct iommu_endpoint;
struct page_table;

/* The most requests of one queue. */
#define DMA_HEADS_MAX 1024

/* The most iovecs that one dma_translate call fills (the kernel's IOV_MAX). */
#define DMA_IOVECS_MAX 1024

/*
 * Where a translation stands: before byte @offset of span @span. The end of a
 * span and the start of the next are the same place; dma_translate writes the
 * latter, and {count, 0} at the very end.
 */
struct dma_position {
	unsigned int span;
	uint32_t offset;
};

/* An access that the map does not allow: the first byte that failed. */
struct dma_fault {
	iova_t address;
	enum dma_access access;
	enum fault_reason reason; /* FAULT_UNKNOWN without an IOMMU */
};

/*
 * Written by the queue's thread, read by whoever gathers statistics. Without an
 * IOMMU, and in bypass, nothing needs a cache, and only faults are counted.
 */
struct dma_counters {
	uint64_t hits; /* pieces answered by the cache; ring parts found valid */
	uint64_t misses; /* pieces, and ring parts, looked up in the map */
	uint64_t faults;
};

/*
 * The pages of one ring part (descriptor table, available ring, used ring).
 * Device addresses that follow each other need not do so in host memory, so a
 * pointer is kept per page, and what was found in the map beside it.
 */
#define DMA_RING_PAGES_MAX 5 /* 1024 descriptors of 16 bytes, unaligned */

struct dma_ring {
	iova_t first;
	uint32_t len;
	enum dma_access access;
	unsigned int offset; /* of @first in its page */
	unsigned int page_count;
	uint8_t *pages[DMA_RING_PAGES_MAX]; /* host address of each page */
	uint64_t attachment; /* that they were found by */
	const uint64_t *words[DMA_RING_PAGES_MAX]; /* in the table; atomic */
	uint64_t values[DMA_RING_PAGES_MAX]; /* that they had */
};

struct dma {
	const struct guest_memory *memory;
	struct iommu_endpoint *endpoint; /* NULL: no IOMMU; set-up */
	struct in_flight requests;
	unsigned int uncommitted; /* of those, published after dma_commit */
	uint64_t committed_ticket; /* the next one at the last dma_commit */

	/* What the endpoint reaches, as of the last fence. */
	uint64_t attachment;
	bool identity; /* device address = guest address */
	const struct page_table *table; /* else; NULL: nothing */
	struct iotlb iotlb; /* over that table */
	struct dma_counters counters;
};

/*
 * A door for a queue of at most @heads requests (1 to DMA_HEADS_MAX) into @memory, which
 * must outlive it. Returns 0 or -ENOMEM.
 */
int dma_init(struct dma *dma, const struct guest_memory *memory,
	     unsigned int heads);

/*
 * Puts the door behind an IOMMU: from now on it is @endpoint, which must outlive
 * it. Set-up, nothing published yet. Returns 0 or -ENOMEM.
 */
int dma_attach_endpoint(struct dma *dma, struct iommu_endpoint *endpoint);

/* Nothing may be in flight: dma_reset first where that is not known. */
void dma_destroy(struct dma *dma);

/*
 * Forgets what is in flight and every remembered address; counters stay. The
 * device's I/O has ended: nothing touches what was in flight. Not in a section.
 * Whoever waits for what was in flight is served, as by dma_settle.
 */
void dma_reset(struct dma *dma);

/*
 * Announces the @count spans (0 to heads) of request @head (below heads). They
 * are copied; the copy that *@published points to lives until dma_clear or
 * dma_reset. Returns 0; -EBUSY when @head is in flight already (the driver broke
 * its queue); -EAGAIN when there is no room until some other request of this
 * queue is cleared. A request always finds room when it is the only one.
 */
int dma_publish(struct dma *dma, uint16_t head, const struct dma_span *spans,
		unsigned int count, const struct dma_span **published);

/*
 * The fence between a batch's last dma_publish and its first dma_translate: no
 * translation while a publication has no fence behind it. Without an IOMMU
 * nobody looks at what is published, and it costs nothing.
 */
void dma_commit(struct dma *dma);

/*
 * Translates up to @len bytes from *@position on in @spans, the published copy
 * of a request or a part of it that has the one direction @access, into at most
 * @max (1 to DMA_IOVECS_MAX) iovecs. Pieces that touch each other in host memory
 * are merged, also across spans; spans of length 0 give nothing. Returns the
 * number of iovecs and moves *@position past what they cover; fewer bytes than
 * @len only because @max was reached or the spans ended, so that the caller
 * calls again. 0 for no bytes, so at the end.
 *
 * Returns -EFAULT, *@position unchanged and the iovecs void, with the first byte
 * that may not be reached in *@fault. A byte behind what @max iovecs cover is
 * reported by the call that gets there, or by the one before it. A span that
 * runs past 2^64 does not come round to 0: what has no address is reported as
 * the last byte of the address space.
 */
int dma_translate(struct dma *dma, const struct dma_span *spans,
		  unsigned int count, enum dma_access access, uint64_t len,
		  struct dma_position *position, struct iovec *iov,
		  unsigned int max, struct dma_fault *fault);

/* Request @head touches guest memory no more. It must be in flight. */
void dma_clear(struct dma *dma, uint16_t head);

/*
 * To be called after the clears of a batch and the store of the used index: a
 * full fence (the one that used_event needs: load that only afterwards, with or
 * without an IOMMU), then whoever waits for a cleared request is served.
 */
void dma_settle(struct dma *dma);

/*
 * Finds the pages of a ring part of @len bytes at @first. Returns 0; -EFAULT,
 * with the first byte that may not be reached in *@fault; -EINVAL when @len is
 * 0, it runs past 2^64 or has more pages than a ring can have. *@ring is filled
 * on success only. Not in a section.
 */
int dma_ring_map(struct dma *dma, struct dma_ring *ring, iova_t first,
		 uint32_t len, enum dma_access access, struct dma_fault *fault);

/*
 * A section in which the @count ring parts @rings (at most IN_FLIGHT_RINGS_MAX)
 * are used. Pages that the guest has mapped anew since the last one are found
 * again. False, with *@fault filled, when it took one away; there is then nothing
 * to end. Sections are bounded work: never held over a system call that may
 * block; they do not nest. dma_translate and dma_settle may be called inside.
 */
bool dma_rings_begin(struct dma *dma, struct dma_ring *rings,
		     unsigned int count, struct dma_fault *fault);
void dma_rings_end(struct dma *dma);

/*
 * The host address of byte @offset of a ring part; up to the end of that page
 * only. Valid inside a section. An element that may cross pages (the used
 * ring's) is reached by two calls.
 */
static inline void *dma_ring_at(const struct dma_ring *ring, uint32_t offset)
{
	uint32_t byte = ring->offset + offset;

	return ring->pages[byte >> PAGE_SHIFT] + (byte & (PAGE_SIZE - 1));
}

#endif
