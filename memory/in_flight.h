/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a door has in flight: the spans of each request, in a slot per head, and
 * whether the device is using its rings. The queue's own thread writes it; the
 * IOMMU, which has taken a mapping away, looks at it from another one.
 *
 * A request is known by its head, the index of its first descriptor.
 */
#ifndef MEMORY_IN_FLIGHT_H
#define MEMORY_IN_FLIGHT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "memory/addr.h"
#include "memory/span.h"

/* The parts of a queue's rings. */
#define IN_FLIGHT_RINGS_MAX 3

/* The spans of one head, a run in the arena. All atomic. */
struct in_flight_slot {
	uint32_t first; /* index into the arena */
	uint32_t count; /* 0 is possible: a request that touches nothing */
	uint64_t ticket; /* order of publication, from 1 on; 0: not in flight */
};

/* Atomics. Inclusive. */
struct in_flight_range {
	uint64_t first;
	uint64_t last;
};

struct in_flight {
	/* Written by the queue's thread (release), read by the IOMMU (acquire). */
	uint64_t next_ticket;
	uint64_t section; /* steps at each end of a ring section; odd inside */
	struct in_flight_slot *slots; /* one per head */
	uint64_t *busy; /* bitmap: slots with a ticket */
	struct dma_span *arena; /* their spans; `first` and `len` are atomics */
	unsigned int ring_count; /* these change outside sections only */
	struct in_flight_range rings[IN_FLIGHT_RINGS_MAX];

	/*
	 * How many requests of the IOMMU wait for something here. Written under the
	 * iommu lock (release), read by the queue's thread (acquire).
	 */
	uint32_t waiters;

	/* The queue's thread alone; the sizes are constant. */
	unsigned int heads;
	unsigned int count; /* heads in flight */
	uint64_t *arena_used; /* bitmap over @arena */
	unsigned int arena_size;
	unsigned int arena_next; /* where the search for room starts */
};

/* --- the queue's thread --- */

/* For @heads requests. 0 or -ENOMEM. */
int in_flight_init(struct in_flight *in_flight, unsigned int heads);
void in_flight_destroy(struct in_flight *in_flight);

/* As dma_publish; no fence. */
int in_flight_publish(struct in_flight *in_flight, uint16_t head,
		      const struct dma_span *spans, unsigned int count,
		      const struct dma_span **published);

/* @head, which is in flight, is no more. Returns its ticket. */
uint64_t in_flight_clear(struct in_flight *in_flight, uint16_t head);

/* Whether the @count spans are where publications are. */
static inline bool in_flight_is_published(const struct in_flight *in_flight,
					  const struct dma_span *spans,
					  unsigned int count)
{
	return spans >= in_flight->arena &&
	       count <= in_flight->arena + in_flight->arena_size - spans;
}

/* Clears all. */
void in_flight_reset(struct in_flight *in_flight);

/*
 * A section in which the device uses @count ring parts, named by their ranges.
 * No fence here: the caller fences after the one and after the other.
 */
void in_flight_begin(struct in_flight *in_flight,
		     const struct in_flight_range *rings, unsigned int count);
void in_flight_end(struct in_flight *in_flight);

/* Whether somebody waits. After a fence that followed a clear or an end. */
static inline bool in_flight_has_waiters(const struct in_flight *in_flight)
{
	/* Pairs with the release in waiters_add (memory/wait_list.c). */
	return __atomic_load_n(&in_flight->waiters, __ATOMIC_ACQUIRE) != 0;
}

/* --- the IOMMU, on any thread, after its fence --- */

/* The ticket that the next request is going to have. */
uint64_t in_flight_next_ticket(const struct in_flight *in_flight);

/*
 * Whether a request with a ticket below @before touches [first, last]. One that
 * is published or cleared meanwhile may be seen or not.
 */
bool in_flight_overlaps(const struct in_flight *in_flight, iova_t first,
			iova_t last, uint64_t before);

/*
 * The number of the section that is open, if it uses rings in [first, last];
 * else 0.
 */
uint64_t in_flight_section(const struct in_flight *in_flight, iova_t first,
			   iova_t last);

/* Whether the section with that number is still open. */
bool in_flight_section_is_open(const struct in_flight *in_flight,
			       uint64_t section);

#endif
