/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation. A root entry is one of three: 0, a large mapping, or a
 * leaf. It becomes a leaf when the first mapping that is not large gets there,
 * and stays one until the table is cleared: a reader that has walked to a leaf
 * may go on using it while words in it come and go.
 *
 * A MAP request leaves START on its first word and END on its last, so whether
 * an UNMAP would split a mapping is seen at the two borders of its range: what is
 * present there has to start or end there.
 *
 * `present` lets both overlap checks and large UNMAPs pass over what is empty:
 * the work is bounded by the root's size plus what is really mapped.
 *
 * page_table_map first looks whether all of it is possible and counts the memory
 * that it is going to take; then nothing can fail. page_table_unmap likewise.
 *
 * Order: words are stored with release, so that a reader who finds a leaf finds
 * its contents too (the leaf was zeroed before). page_table_unmap clears words
 * first and then steps the change counter, with release: a reader that loads the
 * new counter (acquire) sees the words cleared.
 *
 * Memory. Root and `present` are sparse mappings, charged by blocks of 4 GiB of
 * device addresses when the first mapping gets there. Leaves come out of one
 * sparse mapping that all tables share, and leave room for the roots (half of the
 * budget at most): a guest that has used up its leaves, and gives them back, can
 * use them elsewhere. What was charged is never given back to the host, so the
 * budget bounds the process's memory, too.
 */
#include "memory/page_table.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define BLOCK_SHIFT 32
#define BLOCK_ENTRIES (UINT64_C(1) << (BLOCK_SHIFT - PAGE_TABLE_LARGE_SHIFT))
#define BLOCK_PAGES      \
	(BLOCK_ENTRIES * \
	 (sizeof(struct page_table_entry) + sizeof(uint16_t)) / PAGE_SIZE)

_Static_assert(BLOCK_PAGES == 9, "a block is made of whole pages");
_Static_assert(PAGE_TABLE_LEAF_WORDS * sizeof(uint64_t) == PAGE_SIZE &&
		       PAGE_TABLE_LEAF_WORDS * PAGE_SIZE ==
			       PAGE_TABLE_LARGE_SIZE,
	       "a leaf is a page and covers a root entry");

/* The part of a range that lies in one root entry. */
struct part {
	size_t entry;
	uint64_t first;
	uint64_t last; /* inclusive */
	bool whole;
};

/* 0 or what mmap says. */
static int sparse_map(size_t bytes, void **pages)
{
	void *found = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
			   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (found == MAP_FAILED)
		return -errno;
	/* One touch would cost 2 MiB. A kernel without huge pages refuses. */
	madvise(found, bytes, MADV_NOHUGEPAGE);
	*pages = found;
	return 0;
}

int table_memory_init(struct table_memory *memory, uint64_t bytes)
{
	void *pages = NULL;
	int err;

	memset(memory, 0, sizeof(*memory));
	memory->limit = bytes / PAGE_SIZE;
	if (memory->limit < BLOCK_PAGES + 1)
		return -EINVAL;
	err = sparse_map(memory->limit * PAGE_SIZE, &pages);
	if (err)
		return err;
	memory->pages = pages;
	return 0;
}

void table_memory_destroy(struct table_memory *memory)
{
	munmap(memory->pages, memory->limit * PAGE_SIZE);
}

/* How many leaves can be taken after @charged more pages. */
static uint64_t leaves_left(const struct table_memory *memory, uint64_t charged)
{
	uint64_t most = memory->limit - MIN(memory->roots, memory->limit / 2);
	uint64_t fresh = memory->fresh < most ? most - memory->fresh : 0;

	fresh = MIN(fresh, memory->limit - memory->used - charged);
	return memory->free_count + fresh;
}

/* A leaf of zeroes. There is one: page_table_map has counted. */
static uint64_t *leaf_take(struct table_memory *memory)
{
	uint64_t *leaf = memory->free;

	if (leaf) {
		memory->free = page_table_leaf(leaf[0]);
		memory->free_count--;
		memset(leaf, 0, PAGE_SIZE);
		return leaf;
	}
	assert(memory->used < memory->limit);
	memory->used++;
	return (uint64_t *)(void *)(memory->pages +
				    memory->fresh++ * PAGE_SIZE);
}

static void leaf_give(struct table_memory *memory, uint64_t *leaf)
{
	leaf[0] = (uintptr_t)memory->free;
	memory->free = leaf;
	memory->free_count++;
}

static size_t root_bytes(const struct page_table *table)
{
	return table->entry_count * sizeof(*table->root);
}

static size_t present_bytes(const struct page_table *table)
{
	return table->entry_count * sizeof(*table->present);
}

int page_table_init(struct page_table *table, struct table_memory *memory,
		    unsigned int input_bits)
{
	void *root = NULL;
	void *present = NULL;
	int err;

	assert(input_bits >= PAGE_TABLE_BITS_MIN &&
	       input_bits <= PAGE_TABLE_BITS_MAX);

	memset(table, 0, sizeof(*table));
	table->memory = memory;
	table->last = (UINT64_C(1) << input_bits) - 1;
	table->entry_count = (size_t)1 << (input_bits - PAGE_TABLE_LARGE_SHIFT);

	table->blocks = calloc(table->entry_count / BLOCK_ENTRIES,
			       sizeof(*table->blocks));
	if (!table->blocks)
		return -ENOMEM;
	err = sparse_map(root_bytes(table), &root);
	if (err)
		goto err_free_blocks;
	err = sparse_map(present_bytes(table), &present);
	if (err)
		goto err_unmap_root;
	memory->roots += table->entry_count / BLOCK_ENTRIES * BLOCK_PAGES;
	table->root = root;
	table->present = present;
	return 0;

err_unmap_root:
	munmap(root, root_bytes(table));
err_free_blocks:
	free(table->blocks);
	return err;
}

void page_table_destroy(struct page_table *table)
{
	munmap(table->root, root_bytes(table));
	munmap(table->present, present_bytes(table));
	free(table->blocks);
}

/* One writer: what it stored itself it may load as it likes. */
static uint64_t word_load(const uint64_t *word)
{
	return __atomic_load_n(word, __ATOMIC_RELAXED);
}

/* Pairs with the readers' acquire (iotlb.h, iotlb.c, dma.c). */
static void word_store(uint64_t *word, uint64_t value)
{
	__atomic_store_n(word, value, __ATOMIC_RELEASE);
}

/* What of [@first, @last] lies in the root entry of @first. */
static struct part part_at(uint64_t first, uint64_t last)
{
	uint64_t end = first | (PAGE_TABLE_LARGE_SIZE - 1);
	struct part part = {
		.entry = first >> PAGE_TABLE_LARGE_SHIFT,
		.first = first,
		.last = MIN(last, end),
		.whole = is_aligned(first, PAGE_TABLE_LARGE_SIZE) &&
			 last >= end,
	};

	return part;
}

/* Whether anything is mapped in @part. */
static bool part_is_mapped(const struct page_table *table,
			   const struct part *part)
{
	uint64_t root_word = word_load(&table->root[part->entry].word);
	const uint64_t *leaf = page_table_leaf(root_word);
	unsigned int i;

	if (table->present[part->entry] == 0)
		return false;
	if (part->whole || !(root_word & PAGE_TABLE_LEAF))
		return true;
	for (i = page_table_index(part->first);
	     i <= page_table_index(part->last); i++)
		if (word_load(&leaf[i]))
			return true;
	return false;
}

/* Whether @part, mapped to @physical, gets a large entry. */
static bool part_is_large(const struct page_table *table,
			  const struct part *part, uint64_t physical)
{
	return part->whole && is_aligned(physical, PAGE_TABLE_LARGE_SIZE) &&
	       !(word_load(&table->root[part->entry].word) & PAGE_TABLE_LEAF);
}

/* Whether [@first, @last] is empty and there is memory to map it. */
static enum page_table_result map_check(const struct page_table *table,
					uint64_t first, uint64_t last,
					uint64_t physical)
{
	const struct table_memory *memory = table->memory;
	size_t block = SIZE_MAX;
	uint64_t blocks = 0;
	uint64_t leaves = 0;
	uint64_t at = first;

	for (;;) {
		struct part part = part_at(at, last);

		if (part_is_mapped(table, &part))
			return PAGE_TABLE_OVERLAP;
		if (part.entry / BLOCK_ENTRIES != block) {
			block = part.entry / BLOCK_ENTRIES;
			blocks += !table->blocks[block];
		}
		if (!part_is_large(table, &part, physical + (at - first)) &&
		    !(word_load(&table->root[part.entry].word) &
		      PAGE_TABLE_LEAF))
			leaves++;
		if (part.last == last)
			break;
		at = part.last + 1;
	}
	if (blocks * BLOCK_PAGES > memory->limit - memory->used)
		return PAGE_TABLE_FULL;
	if (leaves > leaves_left(memory, blocks * BLOCK_PAGES))
		return PAGE_TABLE_FULL;
	return PAGE_TABLE_OK;
}

/* Stores the words of @part, the first and last with the borders in @word. */
static void leaf_fill(struct page_table *table, const struct part *part,
		      uint64_t word)
{
	uint64_t *root_word = &table->root[part->entry].word;
	unsigned int first = page_table_index(part->first);
	unsigned int last = page_table_index(part->last);
	uint64_t start = word & PAGE_TABLE_START;
	uint64_t end = word & PAGE_TABLE_END;
	uint64_t *leaf;
	unsigned int i;

	if (word_load(root_word) & PAGE_TABLE_LEAF) {
		leaf = page_table_leaf(word_load(root_word));
	} else {
		leaf = leaf_take(table->memory);
		word_store(root_word, (uintptr_t)leaf | PAGE_TABLE_LEAF);
	}
	word &= ~(PAGE_TABLE_START | PAGE_TABLE_END);
	for (i = first; i <= last; i++) {
		word_store(&leaf[i], word | (i == first ? start : 0) |
					     (i == last ? end : 0));
		word += PAGE_SIZE;
	}
	table->present[part->entry] += (uint16_t)(last - first + 1);
}

enum page_table_result page_table_map(struct page_table *table, iova_t first,
				      iova_t last, gpa_t physical,
				      uint64_t flags)
{
	uint64_t at = first.v;
	enum page_table_result result;

	assert(first.v <= last.v && last.v <= table->last);
	assert(is_aligned(first.v | physical.v | (last.v + 1), PAGE_SIZE));
	assert((flags & ~PAGE_TABLE_FLAGS) == 0);

	result = map_check(table, first.v, last.v, physical.v);
	if (result != PAGE_TABLE_OK)
		return result;
	for (;;) {
		struct part part = part_at(at, last.v);
		uint64_t address = physical.v + (at - first.v);
		uint64_t word = address | flags | PAGE_TABLE_PRESENT |
				(at == first.v ? PAGE_TABLE_START : 0) |
				(part.last == last.v ? PAGE_TABLE_END : 0);
		bool *block = &table->blocks[part.entry / BLOCK_ENTRIES];

		if (!*block) {
			*block = true;
			table->memory->used += BLOCK_PAGES;
		}
		if (part_is_large(table, &part, address)) {
			word_store(&table->root[part.entry].word, word);
			table->present[part.entry] = PAGE_TABLE_LEAF_WORDS;
		} else {
			leaf_fill(table, &part, word);
		}
		if (part.last == last.v)
			break;
		at = part.last + 1;
	}
	table->mapped_pages += (last.v - first.v + 1) >> PAGE_SHIFT;
	return PAGE_TABLE_OK;
}

/*
 * Whether a mapping goes on across a border: before byte @address where @border
 * is START, behind it where that is END.
 */
static bool border_splits(const struct page_table *table, uint64_t address,
			  uint64_t border)
{
	uint64_t next = address + (border == PAGE_TABLE_END);
	uint64_t word = word_load(&page_table_entry(table, address)->word);
	uint64_t size = PAGE_TABLE_LARGE_SIZE;

	if (word & PAGE_TABLE_LEAF) {
		word = word_load(
			&page_table_leaf(word)[page_table_index(address)]);
		size = PAGE_SIZE;
	}
	if (!(word & PAGE_TABLE_PRESENT))
		return false;
	return !is_aligned(next, size) || !(word & border);
}

/* Clears what is mapped in @part. */
static void part_clear(struct page_table *table, const struct part *part)
{
	struct page_table_entry *entry = &table->root[part->entry];
	uint64_t root_word = word_load(&entry->word);
	uint64_t *leaf = page_table_leaf(root_word);
	uint16_t cleared = 0;
	unsigned int i;

	if (root_word & PAGE_TABLE_LEAF) {
		for (i = page_table_index(part->first);
		     i <= page_table_index(part->last); i++) {
			if (!word_load(&leaf[i]))
				continue;
			word_store(&leaf[i], 0);
			cleared++;
		}
	} else {
		word_store(&entry->word, 0);
		cleared = PAGE_TABLE_LEAF_WORDS;
	}
	if (cleared == 0)
		return;
	table->present[part->entry] -= cleared;
	table->mapped_pages -= cleared;
	/* After the words: see above. */
	word_store(&entry->change, word_load(&entry->change) + 1);
}

/* The first entry in [@entry, @end) that has something mapped, or @end. */
static size_t entry_next(const struct page_table *table, size_t entry,
			 size_t end)
{
	const uint16_t *present = table->present;
	uint64_t four;

	while (entry < end && present[entry] == 0) {
		entry++;
		/* An UNMAP of everything passes over 32768 entries and more. */
		while (entry % 4 == 0 && end - entry >= 4) {
			memcpy(&four, &present[entry], sizeof(four));
			if (four)
				break;
			entry += 4;
		}
	}
	return entry;
}

enum page_table_result page_table_unmap(struct page_table *table, iova_t first,
					iova_t last)
{
	uint64_t end = MIN(last.v, table->last);
	size_t entry;
	size_t after;

	assert(first.v <= last.v);

	if (first.v > table->last)
		return PAGE_TABLE_OK;
	if (border_splits(table, first.v, PAGE_TABLE_START) ||
	    border_splits(table, end, PAGE_TABLE_END))
		return PAGE_TABLE_SPLIT;

	after = (end >> PAGE_TABLE_LARGE_SHIFT) + 1;
	entry = entry_next(table, first.v >> PAGE_TABLE_LARGE_SHIFT, after);
	while (entry < after) {
		uint64_t start = (uint64_t)entry << PAGE_TABLE_LARGE_SHIFT;
		struct part part = part_at(MAX(start, first.v), end);

		part_clear(table, &part);
		entry = entry_next(table, entry + 1, after);
	}
	return PAGE_TABLE_OK;
}

static void block_clear(struct page_table *table, size_t first)
{
	size_t i;

	for (i = first; i < first + BLOCK_ENTRIES; i++) {
		struct page_table_entry *entry = &table->root[i];
		uint64_t word = word_load(&entry->word);

		if (!word)
			continue;
		word_store(&entry->word, 0);
		word_store(&entry->change, word_load(&entry->change) + 1);
		table->present[i] = 0;
		if (word & PAGE_TABLE_LEAF)
			leaf_give(table->memory, page_table_leaf(word));
	}
}

void page_table_clear(struct page_table *table)
{
	size_t i;

	for (i = 0; i < table->entry_count / BLOCK_ENTRIES; i++)
		if (table->blocks[i])
			block_clear(table, i * BLOCK_ENTRIES);
	table->mapped_pages = 0;
}
