/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation. Why an entry is exact. Whoever takes a mapping away clears
 * its word, then steps the change counter (release), fences, and looks at what
 * doors have in flight. A door publishes, fences, and then looks here (acquire).
 * If it finds the old word, or the old counter, the other side's look comes after
 * and finds the request: it waits until that is cleared. If it finds the new one,
 * the entry does not answer.
 *
 * For a run, the counter is loaded before the words: had one of them been cleared
 * before it was read, then it is not in the run; later, and the counter differs
 * from the one remembered. A MAP steps no counter, because it changes no word
 * that was present.
 *
 * A run is built no further than the request goes: looking ahead costs a load per
 * page, and Linux uses most mappings once.
 */
#include "memory/iotlb.h"

#include <string.h>

#include "memory/guest_memory.h"

void iotlb_clear(struct iotlb *iotlb)
{
	memset(iotlb, 0, sizeof(*iotlb));
}

/* How many of the @max words from @word on name pages that follow each other. */
static uint64_t run_length(struct page_table_word word, uint64_t max)
{
	const uint64_t borders = PAGE_TABLE_START | PAGE_TABLE_END;
	uint64_t want = word.value & ~borders;
	uint64_t pages = 1;

	while (pages < max) {
		/* Pairs with the release in word_store (page_table.c). */
		uint64_t next =
			__atomic_load_n(&word.place[pages], __ATOMIC_ACQUIRE);

		want += PAGE_SIZE;
		if ((next & ~borders) != want)
			break;
		pages++;
	}
	return pages;
}

/* Pages from @address to the end of @len bytes, or of the leaf. */
static uint64_t pages_wanted(uint64_t address, uint64_t len)
{
	uint64_t left = PAGE_TABLE_LEAF_WORDS - page_table_index(address);
	uint64_t bytes;

	if (__builtin_add_overflow(address & (PAGE_SIZE - 1), len, &bytes))
		return left;
	return MIN(left, (bytes - 1) / PAGE_SIZE + 1);
}

/* Fills @entry, and returns it; NULL when @word's address is not RAM. */
static const struct iotlb_entry *large_fill(struct iotlb_entry *entry,
					    struct page_table_word word,
					    const struct guest_memory *memory,
					    uint64_t address)
{
	uint64_t offset = address & (PAGE_TABLE_LARGE_SIZE - 1);
	uint64_t physical = word.value & PAGE_TABLE_ADDRESS;
	uint64_t first = address - offset;
	uint64_t size;
	void *host;

	/* RAM may end, or go on elsewhere in the host, inside these 2 MiB. */
	size = guest_memory_contiguous(memory, GPA(physical),
				       PAGE_TABLE_LARGE_SIZE, &host);
	if (size <= offset) {
		offset = align_down(offset, PAGE_SIZE);
		first += offset;
		size = guest_memory_contiguous(memory, GPA(physical + offset),
					       PAGE_TABLE_LARGE_SIZE - offset,
					       &host);
	}
	if (size == 0)
		return NULL;
	*entry = (struct iotlb_entry){
		.first = first,
		.size = size,
		.access = word.value & (DMA_READ | DMA_WRITE),
		.check = word.place,
		.value = word.value,
		.host = host,
	};
	return entry;
}

/* Likewise, for a run of @pages pages. */
static const struct iotlb_entry *
run_fill(struct iotlb_entry *entry, struct page_table_word word, uint64_t pages,
	 const struct guest_memory *memory, uint64_t address,
	 const struct page_table_entry *root, uint64_t change)
{
	uint64_t size;
	void *host;

	size = guest_memory_contiguous(memory,
				       GPA(word.value & PAGE_TABLE_ADDRESS),
				       pages * PAGE_SIZE, &host);
	if (size == 0)
		return NULL;
	*entry = (struct iotlb_entry){
		.first = align_down(address, PAGE_SIZE),
		.size = size,
		.access = word.value & (DMA_READ | DMA_WRITE),
		.check = pages == 1 ? word.place : &root->change,
		.value = pages == 1 ? word.value : change,
		.host = host,
	};
	return entry;
}

/* Whatever is at @address. Not inlined: iotlb_fill would save more registers. */
static __attribute__((noinline)) struct iotlb_result
fill_any(struct iotlb *iotlb, const struct page_table *table,
	 const struct guest_memory *memory, uint64_t address, uint64_t len,
	 enum dma_access access)
{
	const uint64_t need = access | PAGE_TABLE_PRESENT;
	const struct page_table_entry *root;
	const struct iotlb_entry *entry;
	struct page_table_word word;
	uint64_t change;

	if (address > table->last)
		return iotlb_fault(FAULT_MAPPING);
	root = page_table_entry(table, address);
	/* Before the words. Pairs with the release in part_clear (page_table.c). */
	change = __atomic_load_n(&root->change, __ATOMIC_ACQUIRE);
	word = page_table_look(table, address);
	if ((word.value & need) != need)
		return iotlb_fault(FAULT_MAPPING);
	if (word.value & PAGE_TABLE_MMIO)
		return iotlb_fault(FAULT_UNKNOWN);

	if (word.large) {
		entry = large_fill(&iotlb->entries[iotlb_large_slot(address)],
				   word, memory, address);
		iotlb->has_large = true;
	} else {
		entry = run_fill(&iotlb->entries[iotlb_page_slot(address)],
				 word,
				 run_length(word, pages_wanted(address, len)),
				 memory, address, root, change);
	}
	if (!entry)
		return iotlb_fault(FAULT_UNKNOWN);
	return iotlb_entry_from(entry, address, len);
}

struct iotlb_result iotlb_fill(struct iotlb *iotlb,
			       const struct page_table *table,
			       const struct guest_memory *memory,
			       uint64_t address, uint64_t len,
			       enum dma_access access)
{
	const uint64_t need = access | PAGE_TABLE_PRESENT;
	uint64_t offset = address % PAGE_SIZE;
	struct iotlb_entry *entry;
	struct page_table_word word;
	void *host;

	/* What is inside one page, the most frequent case, in a straight line. */
	if (address > table->last || len > PAGE_SIZE - offset)
		return fill_any(iotlb, table, memory, address, len, access);
	word = page_table_look(table, address);
	/* RAM is made of whole pages. */
	if (word.large || (word.value & (need | PAGE_TABLE_MMIO)) != need ||
	    !guest_memory_contiguous(memory,
				     GPA(word.value & PAGE_TABLE_ADDRESS),
				     PAGE_SIZE, &host))
		return fill_any(iotlb, table, memory, address, len, access);
	entry = &iotlb->entries[iotlb_page_slot(address)];
	entry->first = address - offset;
	entry->size = PAGE_SIZE;
	entry->access = word.value & (DMA_READ | DMA_WRITE);
	entry->check = word.place;
	entry->value = word.value;
	entry->host = host;
	return (struct iotlb_result){ { .host = entry->host + offset }, len };
}
