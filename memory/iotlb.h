/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A queue's private cache of translations: no lock, no message from whoever
 * changes the map, and yet no entry ever answers for a mapping that is gone.
 * Each entry remembers a word to look at and what it has to be:
 *
 *	one page, or a large mapping	its word in the table
 *	a run of contiguous pages	the change counter of its 2 MiB
 *
 * The first kind outlives changes around it; the second answers for many pages at
 * once. What the entries point at is the table of the endpoint's attachment, so
 * the owner empties the cache when that changes, before any other use.
 *
 * For the queue's own thread, while its door has something in flight.
 */
#ifndef MEMORY_IOTLB_H
#define MEMORY_IOTLB_H

#include <stdbool.h>
#include <stdint.h>

#include "memory/base.h"
#include "memory/fault_queue.h"
#include "memory/page_table.h"
#include "memory/span.h"

struct guest_memory;

#define IOTLB_ENTRIES 64

struct iotlb_entry {
	uint64_t first; /* device address */
	uint64_t size;
	uint64_t access; /* bits of enum dma_access; 0: no entry */
	const uint64_t *check; /* atomic */
	uint64_t value; /* that it had */
	uint8_t *host; /* of @first */
};

struct iotlb {
	struct iotlb_entry entries[IOTLB_ENTRIES];
	bool has_large; /* among them, since they were cleared */
};

/* What a translation found. Two registers. */
struct iotlb_result {
	union {
		void *host;
		enum fault_reason reason; /* when @size is 0 */
	};
	uint64_t size; /* bytes that lie together at @host; 0: a fault */
};

static inline struct iotlb_result iotlb_fault(enum fault_reason reason)
{
	return (struct iotlb_result){ { .reason = reason }, .size = 0 };
}

/* Drops everything. */
void iotlb_clear(struct iotlb *iotlb);

/*
 * Translates up to @len (at least 1) bytes at @address by @table, and remembers
 * what it found.
 */
struct iotlb_result iotlb_fill(struct iotlb *iotlb,
			       const struct page_table *table,
			       const struct guest_memory *memory,
			       uint64_t address, uint64_t len,
			       enum dma_access access);

/*
 * An entry stands where its first page says; that of a large mapping, where its
 * 2 MiB say.
 */
static inline unsigned int iotlb_page_slot(uint64_t address)
{
	uint64_t page = address >> PAGE_SHIFT;

	/* Linux aligns a buffer to its size: those of many pages spread, too. */
	return (page ^ page / IOTLB_ENTRIES) % IOTLB_ENTRIES;
}

static inline unsigned int iotlb_large_slot(uint64_t address)
{
	return (address >> PAGE_TABLE_LARGE_SHIFT) % IOTLB_ENTRIES;
}

static inline bool iotlb_entry_answers(const struct iotlb_entry *entry,
				       uint64_t address, enum dma_access access)
{
	/*
	 * Below the entry, the difference wraps to more than it holds. Acquire:
	 * pairs with the release in word_store (page_table.c).
	 */
	return address - entry->first < entry->size &&
	       (entry->access & access) &&
	       __atomic_load_n(entry->check, __ATOMIC_ACQUIRE) == entry->value;
}

/* Up to @len bytes at @address, which @entry covers. */
static inline struct iotlb_result
iotlb_entry_from(const struct iotlb_entry *entry, uint64_t address,
		 uint64_t len)
{
	uint64_t offset = address - entry->first;

	return (struct iotlb_result){
		{ .host = entry->host + offset },
		.size = MIN(len, entry->size - offset),
	};
}

/* Up to @len bytes at @address, if remembered and still true; else size 0. */
static inline struct iotlb_result iotlb_find(const struct iotlb *iotlb,
					     uint64_t address, uint64_t len,
					     enum dma_access access)
{
	const struct iotlb_entry *entry =
		&iotlb->entries[iotlb_page_slot(address)];

	if (!iotlb_entry_answers(entry, address, access)) {
		if (!iotlb->has_large)
			return iotlb_fault(FAULT_MAPPING);
		entry = &iotlb->entries[iotlb_large_slot(address)];
		if (!iotlb_entry_answers(entry, address, access))
			return iotlb_fault(FAULT_MAPPING);
	}
	return iotlb_entry_from(entry, address, len);
}

#endif
