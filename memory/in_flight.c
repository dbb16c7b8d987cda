/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation. Each slot is a sequence lock of its own, with the ticket as
 * the sequence: it is 0 while nothing is in flight, and no two publications have
 * the same. The writer stores the spans, then the slot's fields, then the ticket;
 * to clear, it stores 0, and only a later publication uses the spans' room again.
 * All these stores are releases, the IOMMU's loads are acquires, and it reads the
 * ticket before and after the rest. If it finds
 *
 *	the same ticket twice	what it read in between belongs together;
 *	0, or another ticket	the request that it first saw is gone. What is
 *				there now was published after the IOMMU had
 *				cleared the map and fenced, so it sees that.
 *
 * A ring section is a sequence lock likewise, over the ranges of the rings.
 *
 * The bitmap of busy slots spares the IOMMU the look at empty ones. It says more
 * than the slots, never less: a bit is set before the publication's fence.
 */
#include "memory/in_flight.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "memory/base.h"

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

static size_t bitmap_words(unsigned int bits)
{
	return (bits + WORD_BITS - 1) / WORD_BITS;
}

/* A free run of @count (at least 1) inside [from, end), in *@first. */
static bool arena_find(const struct in_flight *in_flight, unsigned int from,
		       unsigned int end, unsigned int count,
		       unsigned int *first)
{
	for (;;) {
		unsigned int taken;

		from = bitmap_find(in_flight->arena_used, from, end, false);
		if (end - from < count)
			return false;
		taken = bitmap_find(in_flight->arena_used, from, from + count,
				    true);
		if (taken == from + count) {
			*first = from;
			return true;
		}
		from = taken;
	}
}

static bool arena_take(struct in_flight *in_flight, unsigned int count,
		       unsigned int *first)
{
	unsigned int next = in_flight->arena_next;
	unsigned int size = in_flight->arena_size;

	if (count == 0) {
		*first = 0;
		return true;
	}
	if (!arena_find(in_flight, next, size, count, first) &&
	    !arena_find(in_flight, 0, MIN(next + count - 1, size), count,
			first))
		return false;
	bitmap_flip(in_flight->arena_used, *first, count);
	in_flight->arena_next = *first + count;
	return true;
}

int in_flight_init(struct in_flight *in_flight, unsigned int heads)
{
	memset(in_flight, 0, sizeof(*in_flight));
	in_flight->heads = heads;
	in_flight->arena_size = ARENA_FACTOR * heads;
	in_flight->next_ticket = 1;

	in_flight->slots = calloc(heads, sizeof(*in_flight->slots));
	in_flight->busy = calloc(bitmap_words(heads), sizeof(*in_flight->busy));
	in_flight->arena =
		calloc(in_flight->arena_size, sizeof(*in_flight->arena));
	in_flight->arena_used = calloc(bitmap_words(in_flight->arena_size),
				       sizeof(*in_flight->arena_used));
	if (!in_flight->slots || !in_flight->busy || !in_flight->arena ||
	    !in_flight->arena_used) {
		in_flight_destroy(in_flight);
		return -ENOMEM;
	}
	return 0;
}

void in_flight_destroy(struct in_flight *in_flight)
{
	free(in_flight->slots);
	free(in_flight->busy);
	free(in_flight->arena);
	free(in_flight->arena_used);
}

/* Stores and loads that the two sides share: see above. */
#define shared_store(place, value) \
	__atomic_store_n((place), (value), __ATOMIC_RELEASE)
#define shared_load(place) __atomic_load_n((place), __ATOMIC_ACQUIRE)

static void busy_flip(struct in_flight *in_flight, uint16_t head)
{
	uint64_t *word = &in_flight->busy[head / WORD_BITS];

	/* One writer: only the store has to be atomic. */
	shared_store(word, *word ^ UINT64_C(1) << head % WORD_BITS);
}

int in_flight_publish(struct in_flight *in_flight, uint16_t head,
		      const struct dma_span *spans, unsigned int count,
		      const struct dma_span **published)
{
	struct in_flight_slot *slot;
	struct dma_span *copy;
	unsigned int first;
	unsigned int i;

	assert(head < in_flight->heads);
	assert(count <= in_flight->heads);

	slot = &in_flight->slots[head];
	if (slot->ticket != 0)
		return -EBUSY;
	if (!arena_take(in_flight, count, &first))
		return -EAGAIN;
	copy = &in_flight->arena[first];
	for (i = 0; i < count; i++) {
		shared_store(&copy[i].first.v, spans[i].first.v);
		shared_store(&copy[i].len, spans[i].len);
		copy[i].access = spans[i].access;
	}
	shared_store(&slot->first, first);
	shared_store(&slot->count, count);
	shared_store(&slot->ticket, in_flight->next_ticket);
	shared_store(&in_flight->next_ticket, in_flight->next_ticket + 1);
	busy_flip(in_flight, head);
	in_flight->count++;
	*published = copy;
	return 0;
}

uint64_t in_flight_clear(struct in_flight *in_flight, uint16_t head)
{
	struct in_flight_slot *slot;
	uint64_t ticket;

	assert(head < in_flight->heads);
	slot = &in_flight->slots[head];
	ticket = slot->ticket;
	assert(ticket != 0);

	bitmap_flip(in_flight->arena_used, slot->first, slot->count);
	shared_store(&slot->ticket, 0);
	busy_flip(in_flight, head);
	if (--in_flight->count == 0)
		in_flight->arena_next = 0;
	return ticket;
}

void in_flight_reset(struct in_flight *in_flight)
{
	unsigned int head;

	assert(in_flight->section % 2 == 0);

	for (head = 0; head < in_flight->heads; head++)
		if (in_flight->slots[head].ticket != 0)
			in_flight_clear(in_flight, (uint16_t)head);
	in_flight->arena_next = 0;
}

void in_flight_begin(struct in_flight *in_flight,
		     const struct in_flight_range *rings, unsigned int count)
{
	unsigned int i;

	assert(in_flight->section % 2 == 0);
	assert(count <= IN_FLIGHT_RINGS_MAX);

	if (in_flight->ring_count != count)
		shared_store(&in_flight->ring_count, count);
	for (i = 0; i < count; i++) {
		struct in_flight_range *ring = &in_flight->rings[i];

		if (ring->first != rings[i].first)
			shared_store(&ring->first, rings[i].first);
		if (ring->last != rings[i].last)
			shared_store(&ring->last, rings[i].last);
	}
	shared_store(&in_flight->section, in_flight->section + 1);
}

void in_flight_end(struct in_flight *in_flight)
{
	assert(in_flight->section % 2 == 1);

	shared_store(&in_flight->section, in_flight->section + 1);
}

uint64_t in_flight_next_ticket(const struct in_flight *in_flight)
{
	return shared_load(&in_flight->next_ticket);
}

/* Whether the spans of @slot, as they stand there now, touch [first, last]. */
static bool slot_overlaps(const struct in_flight *in_flight,
			  const struct in_flight_slot *slot, iova_t first,
			  iova_t last)
{
	uint32_t count = shared_load(&slot->count);
	uint32_t at = shared_load(&slot->first);
	uint32_t i;

	/* Of two publications: then the first one is gone. */
	if (count > in_flight->arena_size || at > in_flight->arena_size - count)
		return false;
	for (i = at; i < at + count; i++) {
		const struct dma_span *span = &in_flight->arena[i];
		uint64_t from = shared_load(&span->first.v);
		uint32_t len = shared_load(&span->len);
		uint64_t to;

		if (len == 0)
			continue;
		/* A span that runs past 2^64 ends there. */
		if (__builtin_add_overflow(from, len - 1, &to))
			to = UINT64_MAX;
		if (from <= last.v && to >= first.v)
			return true;
	}
	return false;
}

bool in_flight_overlaps(const struct in_flight *in_flight, iova_t first,
			iova_t last, uint64_t before)
{
	size_t words = bitmap_words(in_flight->heads);
	size_t i;

	for (i = 0; i < words; i++) {
		uint64_t busy = shared_load(&in_flight->busy[i]);

		for (; busy; busy &= busy - 1) {
			const struct in_flight_slot *slot =
				&in_flight->slots[i * WORD_BITS +
						  (unsigned int)__builtin_ctzll(
							  busy)];
			uint64_t ticket = shared_load(&slot->ticket);

			if (ticket == 0 || ticket >= before)
				continue;
			if (slot_overlaps(in_flight, slot, first, last) &&
			    shared_load(&slot->ticket) == ticket)
				return true;
		}
	}
	return false;
}

uint64_t in_flight_section(const struct in_flight *in_flight, iova_t first,
			   iova_t last)
{
	uint64_t section = shared_load(&in_flight->section);
	unsigned int count;
	unsigned int i;

	if (section % 2 == 0)
		return 0;
	count = shared_load(&in_flight->ring_count);
	for (i = 0; i < count; i++) {
		const struct in_flight_range *ring = &in_flight->rings[i];

		if (shared_load(&ring->first) <= last.v &&
		    shared_load(&ring->last) >= first.v &&
		    in_flight_section_is_open(in_flight, section))
			return section;
	}
	return 0;
}

bool in_flight_section_is_open(const struct in_flight *in_flight,
			       uint64_t section)
{
	return shared_load(&in_flight->section) == section;
}
