/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One domain's map: which guest page a device address means, and what may be
 * done to it. Two levels: a root with one entry per 2 MiB of device addresses,
 * and leaves with one word per 4 KiB page. A root entry can also be a large
 * mapping of its own.
 *
 * One writer, who holds the iommu lock. Readers take no lock: they load words
 * (acquire), each of which is whole and true at that moment. A reader may follow
 * what it finds for as long as its door has something in flight (memory/dma.h);
 * page_table_clear is called only when no door has.
 *
 * All memory is reserved by page_table_init and table_memory_init, as sparse
 * mappings, and charged to one budget as it comes into use.
 */
#ifndef MEMORY_PAGE_TABLE_H
#define MEMORY_PAGE_TABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "memory/addr.h"
#include "memory/base.h"

/* What a root entry covers. */
#define PAGE_TABLE_LARGE_SHIFT 21
#define PAGE_TABLE_LARGE_SIZE (UINT64_C(1) << PAGE_TABLE_LARGE_SHIFT)
#define PAGE_TABLE_LEAF_WORDS 512

#define PAGE_TABLE_BITS_MIN 32
#define PAGE_TABLE_BITS_MAX 46

/*
 * A word: a guest-physical address in the upper bits (in a root word that names
 * a leaf, the leaf's), and these. The first three have the numbers of MAP's
 * flags and of enum dma_access.
 */
#define PAGE_TABLE_READ UINT64_C(1)
#define PAGE_TABLE_WRITE UINT64_C(2)
#define PAGE_TABLE_MMIO UINT64_C(4)
#define PAGE_TABLE_PRESENT UINT64_C(8) /* a mapping */
#define PAGE_TABLE_START UINT64_C(16) /* the first page of its MAP request */
#define PAGE_TABLE_END UINT64_C(32) /* the last one */
#define PAGE_TABLE_LEAF UINT64_C(64) /* root only: names a leaf, no mapping */

#define PAGE_TABLE_FLAGS (PAGE_TABLE_READ | PAGE_TABLE_WRITE | PAGE_TABLE_MMIO)
#define PAGE_TABLE_ADDRESS (~(PAGE_SIZE - 1))

/* Of the root. Both are atomic; the writer stores with release. */
struct page_table_entry {
	uint64_t word;
	/*
	 * Grows after words of these 2 MiB were cleared. Who loads it (acquire)
	 * and then words, and finds it the same later, knows that none of the
	 * mappings which those words named has been removed in between.
	 */
	uint64_t change;
};

/* The budget of all tables of an IOMMU, and their leaves. */
struct table_memory {
	uint8_t *pages; /* sparse, `limit` pages */
	uint64_t limit; /* in pages: leaves and roots together */
	uint64_t used; /* in pages; what was charged stays charged */
	uint64_t roots; /* in pages: of all tables, if they were all in use */
	uint64_t fresh; /* leaves from here on have not been in use yet */
	uint64_t *free; /* leaves given back, linked by their first word */
	uint64_t free_count;
};

struct page_table {
	struct table_memory *memory;
	uint64_t last; /* of the input range */
	size_t entry_count;
	struct page_table_entry *root; /* sparse */
	uint16_t *present; /* sparse; pages mapped per entry; the writer's */
	bool *blocks; /* the writer's: which 4 GiB have been charged */
	uint64_t mapped_pages; /* the writer's */
};

enum page_table_result {
	PAGE_TABLE_OK,
	PAGE_TABLE_OVERLAP, /* MAP: something is mapped there */
	PAGE_TABLE_FULL, /* MAP: the budget does not suffice */
	PAGE_TABLE_SPLIT, /* UNMAP: a border is inside a mapping */
};

/*
 * A budget of @bytes. Returns 0; -EINVAL when that is not enough for any
 * mapping; or what mmap says.
 */
int table_memory_init(struct table_memory *memory, uint64_t bytes);
void table_memory_destroy(struct table_memory *memory);

/*
 * An empty map of [0, 2^input_bits), PAGE_TABLE_BITS_MIN to _MAX, that takes its
 * memory from @memory, which must outlive it. Returns 0, -ENOMEM or what mmap
 * says.
 */
int page_table_init(struct page_table *table, struct table_memory *memory,
		    unsigned int input_bits);
void page_table_destroy(struct page_table *table);

/*
 * Maps [first, last] to @physical and up, with @flags out of PAGE_TABLE_FLAGS.
 * Whole pages, inside the input range; the physical addresses end below 2^64.
 * All or, with any result but OK, nothing.
 */
enum page_table_result page_table_map(struct page_table *table, iova_t first,
				      iova_t last, gpa_t physical,
				      uint64_t flags);

/*
 * Removes all mappings in [first, last], any addresses with first <= last: what
 * lies beyond the input range is empty. All or, after PAGE_TABLE_SPLIT, nothing.
 * Readers may still be using what was removed: the caller fences, and waits for
 * them (memory/iommu.c).
 */
enum page_table_result page_table_unmap(struct page_table *table, iova_t first,
					iova_t last);

/*
 * Forgets everything; the leaves go back to the budget. No reader holds anything
 * of it. The change counters go on growing.
 */
void page_table_clear(struct page_table *table);

/* --- readers --- */

/* A word as it was found, and where. */
struct page_table_word {
	uint64_t value;
	const uint64_t *place;
	bool large; /* it stands for 2 MiB, else for a page */
};

/* The root entry of @address, which is inside the input range. */
static inline const struct page_table_entry *
page_table_entry(const struct page_table *table, uint64_t address)
{
	return &table->root[address >> PAGE_TABLE_LARGE_SHIFT];
}

/* The words of the leaf that @root_word names. */
static inline uint64_t *page_table_leaf(uint64_t root_word)
{
	return (uint64_t *)(uintptr_t)(root_word & PAGE_TABLE_ADDRESS);
}

/* Where the word of @address is in its leaf. */
static inline unsigned int page_table_index(uint64_t address)
{
	return (address >> PAGE_SHIFT) & (PAGE_TABLE_LEAF_WORDS - 1);
}

/* The word that decides about @address, which is inside the input range. */
static inline struct page_table_word
page_table_look(const struct page_table *table, uint64_t address)
{
	const uint64_t *place = &page_table_entry(table, address)->word;
	/* Pairs with the release in word_store (page_table.c). */
	uint64_t value = __atomic_load_n(place, __ATOMIC_ACQUIRE);

	if (!(value & PAGE_TABLE_LEAF))
		return (struct page_table_word){ value, place, true };
	place = &page_table_leaf(value)[page_table_index(address)];
	return (struct page_table_word){
		/* Likewise. */
		__atomic_load_n(place, __ATOMIC_ACQUIRE),
		place,
		false,
	};
}

/*
 * Brings the words of @len bytes at @address, as far as they are in one leaf,
 * nearer to the processor; any address. A hint, also for a reader who has nothing
 * in flight: no leaf is read.
 */
static inline void page_table_prefetch(const struct page_table *table,
				       uint64_t address, uint64_t len)
{
	unsigned int index = page_table_index(address);
	const uint64_t *leaf;
	uint64_t word;

	if (address > table->last)
		return;
	word = __atomic_load_n(&page_table_entry(table, address)->word,
			       __ATOMIC_RELAXED);
	if (!(word & PAGE_TABLE_LEAF))
		return;
	leaf = page_table_leaf(word);
	__builtin_prefetch(&leaf[index]);
	/* A buffer of 64 KiB has its words in two lines. */
	if (len > PAGE_SIZE)
		__builtin_prefetch(&leaf[MIN(index + len / PAGE_SIZE - 1,
					     PAGE_TABLE_LEAF_WORDS - 1)]);
}

/* The guest-physical address of @address's page, by the mapping @word. */
static inline uint64_t page_table_word_physical(struct page_table_word word,
						uint64_t address)
{
	uint64_t size = word.large ? PAGE_TABLE_LARGE_SIZE : PAGE_SIZE;

	return (word.value & PAGE_TABLE_ADDRESS) +
	       align_down(address & (size - 1), PAGE_SIZE);
}

#endif
