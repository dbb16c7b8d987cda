/* SPDX-License-Identifier: Apache-2.0 */
#include "memory/page_table.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <signal.h>
#include <string.h>

#define BITS 36
#define END (UINT64_C(1) << BITS)
#define LARGE PAGE_TABLE_LARGE_SIZE
#define RW (PAGE_TABLE_READ | PAGE_TABLE_WRITE)
#define BLOCK_PAGES 9

/* Of the address sanitizer, where there is one. */
int __lsan_do_recoverable_leak_check(void) __attribute__((weak));

static struct table_memory budget;
static struct page_table table;

static void setup(uint64_t pages)
{
	cr_assert_eq(table_memory_init(&budget, pages * PAGE_SIZE), 0);
	cr_assert_eq(page_table_init(&table, &budget, BITS), 0);
}

static void teardown(void)
{
	page_table_destroy(&table);
	table_memory_destroy(&budget);
}

static enum page_table_result map(uint64_t first, uint64_t size,
				  uint64_t physical, uint64_t flags)
{
	return page_table_map(&table, IOVA(first), IOVA(first + size - 1),
			      GPA(physical), flags);
}

static enum page_table_result unmap(uint64_t first, uint64_t size)
{
	return page_table_unmap(&table, IOVA(first), IOVA(first + size - 1));
}

/* Where @address leads, with its flags; 0 for nowhere. */
static uint64_t look(uint64_t address)
{
	struct page_table_word word = page_table_look(&table, address);

	if (!(word.value & PAGE_TABLE_PRESENT))
		return 0;
	return page_table_word_physical(word, address) |
	       (word.value & PAGE_TABLE_FLAGS);
}

static bool is_large(uint64_t address)
{
	struct page_table_word word = page_table_look(&table, address);

	return word.large && word.value & PAGE_TABLE_PRESENT;
}

static uint64_t change(uint64_t address)
{
	return page_table_entry(&table, address)->change;
}

static void expect_mapped(uint64_t first, uint64_t size, uint64_t physical,
			  uint64_t flags)
{
	uint64_t at;

	for (at = 0; at < size; at += PAGE_SIZE)
		cr_assert_eq(look(first + at), (physical + at) | flags,
			     "%#lx is %#lx", first + at, look(first + at));
}

static void expect_empty(uint64_t first, uint64_t size)
{
	uint64_t at;

	for (at = 0; at < size; at += PAGE_SIZE)
		cr_assert_eq(look(first + at), 0, "%#lx", first + at);
}

/* --- life and budget --- */

Test(page_table, init_and_destroy_leave_nothing)
{
	setup(10);
	teardown();
	if (__lsan_do_recoverable_leak_check)
		cr_assert_eq(__lsan_do_recoverable_leak_check(), 0);
}

Test(page_table, a_budget_for_no_mapping_is_refused)
{
	cr_assert_eq(table_memory_init(&budget, 0), -EINVAL);
	cr_assert_eq(table_memory_init(&budget, 10 * PAGE_SIZE - 1), -EINVAL);
	cr_assert_eq(table_memory_init(&budget, 10 * PAGE_SIZE), 0);
	table_memory_destroy(&budget);
}

Test(page_table, the_budget_bounds_leaves_and_roots_together)
{
	uint64_t i;

	setup(BLOCK_PAGES + 3);
	for (i = 0; i < 3; i++)
		cr_assert_eq(map(i * LARGE, PAGE_SIZE, 0, RW), PAGE_TABLE_OK);
	cr_assert_eq(budget.used, budget.limit);
	/* No leaf, then no root for another 4 GiB, be it a large mapping. */
	cr_assert_eq(map(3 * LARGE, PAGE_SIZE, 0, RW), PAGE_TABLE_FULL);
	cr_assert_eq(map(4 * GIB, LARGE, 0, RW), PAGE_TABLE_FULL);
	cr_assert_eq(table.mapped_pages, 3);
	expect_empty(3 * LARGE, LARGE);
	/* What needs no memory goes on. */
	cr_assert_eq(map(LARGE + PAGE_SIZE, PAGE_SIZE, 0, RW), PAGE_TABLE_OK);
	cr_assert_eq(map(8 * LARGE, 4 * LARGE, 0, RW), PAGE_TABLE_OK);
	cr_assert_eq(budget.used, budget.limit);
	teardown();
}

Test(page_table, a_map_that_is_too_big_takes_nothing)
{
	setup(BLOCK_PAGES + 4);
	cr_assert_eq(map(PAGE_SIZE, 4 * LARGE, 0, RW), PAGE_TABLE_FULL);
	cr_assert_eq(budget.used, 0);
	cr_assert_eq(table.mapped_pages, 0);
	expect_empty(0, 5 * LARGE);
	cr_assert_eq(map(PAGE_SIZE, 3 * LARGE, 0, RW), PAGE_TABLE_OK);
	cr_assert_eq(budget.used, BLOCK_PAGES + 4);
	teardown();
}

Test(page_table, leaves_stay_with_their_table_until_it_is_cleared)
{
	struct page_table other;

	setup(2 * BLOCK_PAGES + 2);
	cr_assert_eq(page_table_init(&other, &budget, BITS), 0);
	cr_assert_eq(map(0, PAGE_SIZE, 7 * PAGE_SIZE, RW), PAGE_TABLE_OK);
	cr_assert_eq(map(LARGE, LARGE, PAGE_SIZE, RW), PAGE_TABLE_OK);
	cr_assert_eq(unmap(0, 2 * LARGE), PAGE_TABLE_OK);
	cr_assert_eq(page_table_map(&other, IOVA(0), IOVA(PAGE_SIZE - 1),
				    GPA(0), RW),
		     PAGE_TABLE_FULL);
	cr_assert_eq(map(0, 2 * PAGE_SIZE, 0, RW), PAGE_TABLE_OK);

	page_table_clear(&table);
	cr_assert_eq(table.mapped_pages, 0);
	expect_empty(0, 2 * LARGE);
	cr_assert_eq(page_table_map(&other, IOVA(0), IOVA(LARGE - 1),
				    GPA(PAGE_SIZE), RW),
		     PAGE_TABLE_OK);
	/* A leaf that was in use comes back empty. */
	cr_assert_eq(map(5 * LARGE + 9 * PAGE_SIZE, PAGE_SIZE, 0, RW),
		     PAGE_TABLE_OK);
	expect_empty(5 * LARGE, 9 * PAGE_SIZE);
	expect_empty(5 * LARGE + 10 * PAGE_SIZE, LARGE - 10 * PAGE_SIZE);
	cr_assert_eq(budget.used, budget.limit);
	page_table_destroy(&other);
	teardown();
}

/* --- MAP --- */

Test(page_table, pages_lead_where_map_said)
{
	setup(100);
	cr_assert_eq(map(0x1000, PAGE_SIZE, 0, PAGE_TABLE_READ), PAGE_TABLE_OK);
	cr_assert_eq(map(0x2000, PAGE_SIZE, 0x9000, PAGE_TABLE_WRITE),
		     PAGE_TABLE_OK);
	cr_assert_eq(map(0x3000, PAGE_SIZE, 0x9000, 0), PAGE_TABLE_OK);
	cr_assert_eq(map(LARGE - PAGE_SIZE, 2 * PAGE_SIZE, 0xabcde000,
			 RW | PAGE_TABLE_MMIO),
		     PAGE_TABLE_OK);
	cr_assert_eq(map(END - PAGE_SIZE, PAGE_SIZE, -PAGE_SIZE, RW),
		     PAGE_TABLE_OK);
	expect_mapped(0x1000, PAGE_SIZE, 0, PAGE_TABLE_READ);
	expect_mapped(0x2000, PAGE_SIZE, 0x9000, PAGE_TABLE_WRITE);
	cr_assert_eq(look(0x3000), 0x9000, "mapped, for nothing");
	expect_mapped(LARGE - PAGE_SIZE, 2 * PAGE_SIZE, 0xabcde000,
		      RW | PAGE_TABLE_MMIO);
	expect_mapped(END - PAGE_SIZE, PAGE_SIZE, -PAGE_SIZE, RW);
	expect_empty(0, 0x1000);
	expect_empty(0x4000, LARGE - 0x5000);
	expect_empty(LARGE + PAGE_SIZE, LARGE);
	cr_assert_eq(table.mapped_pages, 6);
	teardown();
}

Test(page_table, large_entries_stand_where_both_addresses_are_aligned)
{
	setup(100);
	/* Ragged at both ends: leaf, large, large, leaf. */
	cr_assert_eq(map(LARGE - PAGE_SIZE, 2 * LARGE + 2 * PAGE_SIZE,
			 5 * LARGE - PAGE_SIZE, RW),
		     PAGE_TABLE_OK);
	cr_assert_eq(budget.used, BLOCK_PAGES + 2);
	cr_assert(!is_large(LARGE - PAGE_SIZE));
	cr_assert(is_large(LARGE) && is_large(2 * LARGE));
	cr_assert(!is_large(3 * LARGE));
	expect_mapped(LARGE - PAGE_SIZE, 2 * LARGE + 2 * PAGE_SIZE,
		      5 * LARGE - PAGE_SIZE, RW);
	/* Aligned to nothing but pages: leaves. */
	cr_assert_eq(map(8 * LARGE, LARGE, PAGE_SIZE, RW), PAGE_TABLE_OK);
	cr_assert(!is_large(8 * LARGE));
	expect_mapped(8 * LARGE, LARGE, PAGE_SIZE, RW);
	teardown();
}

Test(page_table, a_leaf_is_never_replaced_by_a_large_entry)
{
	const struct page_table_entry *entry;
	uint64_t leaf;

	setup(100);
	entry = page_table_entry(&table, LARGE);
	cr_assert_eq(map(LARGE, PAGE_SIZE, 0, RW), PAGE_TABLE_OK);
	leaf = entry->word;
	cr_assert_eq(unmap(LARGE, PAGE_SIZE), PAGE_TABLE_OK);
	cr_assert_eq(entry->word, leaf);
	cr_assert_eq(map(LARGE, LARGE, 4 * LARGE, RW), PAGE_TABLE_OK);
	cr_assert_eq(entry->word, leaf);
	expect_mapped(LARGE, LARGE, 4 * LARGE, RW);
	cr_assert_eq(unmap(LARGE, LARGE - PAGE_SIZE), PAGE_TABLE_SPLIT);
	cr_assert_eq(unmap(LARGE, LARGE), PAGE_TABLE_OK);
	expect_empty(LARGE, LARGE);
	teardown();
}

Test(page_table, s33_what_overlaps_is_refused_and_changes_nothing)
{
	static const struct {
		uint64_t first;
		uint64_t size;
	} overlaps[] = {
		{ 0x5000, 0x1000 },
		{ 0x4000, 0x2000 },
		{ 0x6000, 0x2000 },
		{ 0, LARGE },
		{ 0, 8 * LARGE },
		{ LARGE, LARGE },
		{ LARGE + 0x7000, 0x1000 },
		{ LARGE - 0x1000, 0x2000 },
		{ 2 * LARGE - 0x1000, 0x2000 },
		{ 0, END },
		{ 3 * LARGE, LARGE },
		{ 4 * LARGE - 0x1000, 0x1000 },
	};
	unsigned int i;
	uint64_t used;

	setup(100);
	cr_assert_eq(map(0x5000, 0x2000, 0x1000, RW), PAGE_TABLE_OK);
	cr_assert_eq(map(LARGE, LARGE, 0, RW), PAGE_TABLE_OK);
	cr_assert_eq(map(4 * LARGE - 0x1000, 0x1000, 0, RW), PAGE_TABLE_OK);
	used = budget.used;
	for (i = 0; i < sizeof(overlaps) / sizeof(*overlaps); i++)
		cr_assert_eq(map(overlaps[i].first, overlaps[i].size, 0, RW),
			     PAGE_TABLE_OVERLAP, "case %u", i);
	cr_assert_eq(budget.used, used);
	cr_assert_eq(table.mapped_pages, 3 + 512);
	expect_mapped(0x5000, 0x2000, 0x1000, RW);
	expect_mapped(LARGE, LARGE, 0, RW);
	/* Beside them there is room. */
	cr_assert_eq(map(0, 0x5000, 0, RW), PAGE_TABLE_OK);
	cr_assert_eq(map(0x7000, LARGE - 0x7000, 0, RW), PAGE_TABLE_OK);
	teardown();
}

Test(page_table, a_map_of_everything_takes_no_leaf)
{
	/* iommu=pt: one MAP on each side of the MSI region. */
	const uint64_t msi = UINT64_C(0xfee00000);
	const uint64_t after = UINT64_C(0xfef00000);

	setup(16384);
	cr_assert_eq(map(0, msi, 0, RW), PAGE_TABLE_OK);
	cr_assert_eq(map(after, END - after, after, RW), PAGE_TABLE_OK);
	cr_assert_eq(budget.used, 16 * BLOCK_PAGES + 1);
	expect_empty(msi, after - msi);
	expect_mapped(msi - PAGE_SIZE, PAGE_SIZE, msi - PAGE_SIZE, RW);
	expect_mapped(after, PAGE_SIZE, after, RW);
	expect_mapped(END - PAGE_SIZE, PAGE_SIZE, END - PAGE_SIZE, RW);
	cr_assert_eq(unmap(0, END), PAGE_TABLE_OK);
	cr_assert_eq(table.mapped_pages, 0);
	teardown();
}

/* --- UNMAP --- */

struct example {
	const char *name;
	int maps[2][2]; /* first and last, in units; last < first: none */
	int unmap[2];
	enum page_table_result result;
	bool left[2]; /* of the maps */
};

/* virtio 1.2, 5.13.6.6, scaled to pages. */
/* clang-format off */
static const struct example examples[] = {
	{ "1", { { 0, -1 }, { 0, -1 } }, { 0, 4 }, PAGE_TABLE_OK, { 0, 0 } },
	{ "2", { { 0, 9 }, { 0, -1 } }, { 0, 9 }, PAGE_TABLE_OK, { 0, 0 } },
	{ "3", { { 0, 4 }, { 5, 9 } }, { 0, 9 }, PAGE_TABLE_OK, { 0, 0 } },
	{ "4", { { 0, 9 }, { 0, -1 } }, { 0, 4 }, PAGE_TABLE_SPLIT, { 1, 0 } },
	{ "5", { { 0, 4 }, { 5, 9 } }, { 0, 4 }, PAGE_TABLE_OK, { 0, 1 } },
	{ "6", { { 0, 4 }, { 0, -1 } }, { 0, 9 }, PAGE_TABLE_OK, { 0, 0 } },
	{ "7", { { 0, 4 }, { 10, 14 } }, { 0, 14 }, PAGE_TABLE_OK, { 0, 0 } },
	/* And what they leave out. */
	{ "tail", { { 0, 9 }, { 0, -1 } }, { 5, 9 }, PAGE_TABLE_SPLIT, { 1, 0 } },
	{ "middle", { { 0, 9 }, { 0, -1 } }, { 4, 5 }, PAGE_TABLE_SPLIT, { 1, 0 } },
	{ "second", { { 0, 4 }, { 5, 9 } }, { 3, 9 }, PAGE_TABLE_SPLIT, { 1, 1 } },
	{ "first", { { 0, 4 }, { 5, 9 } }, { 0, 8 }, PAGE_TABLE_SPLIT, { 1, 1 } },
	{ "gap", { { 0, 4 }, { 10, 14 } }, { 5, 9 }, PAGE_TABLE_OK, { 1, 1 } },
};
/* clang-format on */

static void run_example(const struct example *e, uint64_t base, uint64_t unit,
			uint64_t shift)
{
	enum page_table_result result;
	unsigned int i;

	for (i = 0; i < 2; i++) {
		uint64_t first = base + (uint64_t)e->maps[i][0] * unit;
		uint64_t size = (uint64_t)(e->maps[i][1] - e->maps[i][0] + 1);

		if (size > 0)
			cr_assert_eq(map(first, size * unit, first + shift, RW),
				     PAGE_TABLE_OK);
	}
	result = unmap(base + (uint64_t)e->unmap[0] * unit,
		       (uint64_t)(e->unmap[1] - e->unmap[0] + 1) * unit);
	cr_expect_eq(result, e->result, "%s: %u", e->name, result);
	for (i = 0; i < 2; i++) {
		uint64_t first = base + (uint64_t)e->maps[i][0] * unit;
		uint64_t size = (uint64_t)(e->maps[i][1] - e->maps[i][0] + 1);

		if (size == 0)
			continue;
		if (e->left[i])
			expect_mapped(first, size * unit, first + shift, RW);
		else
			expect_empty(first, size * unit);
	}
	page_table_clear(&table);
}

Test(page_table, s73_the_unmap_examples)
{
	unsigned int i;

	setup(16384);
	for (i = 0; i < sizeof(examples) / sizeof(*examples); i++) {
		/* In a leaf, over the border of two, at both ends. */
		run_example(&examples[i], 0, PAGE_SIZE, 0);
		run_example(&examples[i], LARGE - 7 * PAGE_SIZE, PAGE_SIZE, 0);
		run_example(&examples[i], END - 15 * PAGE_SIZE, PAGE_SIZE,
			    PAGE_SIZE);
		/* Large entries, and as many leaves. */
		run_example(&examples[i], 4 * LARGE, LARGE, 0);
		run_example(&examples[i], 4 * LARGE, LARGE, PAGE_SIZE);
		run_example(&examples[i], 3 * PAGE_SIZE, LARGE, 0);
	}
	teardown();
}

Test(page_table, s43_split_unmap_with_an_unaligned_border)
{
	setup(100);
	cr_assert_eq(map(0x1000, 0x1000, 0, RW), PAGE_TABLE_OK);
	cr_assert_eq(map(LARGE, LARGE, 0, RW), PAGE_TABLE_OK);
	cr_assert_eq(unmap(0x1001, 0xfff), PAGE_TABLE_SPLIT);
	cr_assert_eq(unmap(0x1000, 0xfff), PAGE_TABLE_SPLIT);
	cr_assert_eq(unmap(0x1800, 1), PAGE_TABLE_SPLIT);
	cr_assert_eq(unmap(0, 0x1001), PAGE_TABLE_SPLIT);
	cr_assert_eq(unmap(LARGE + 1, LARGE - 1), PAGE_TABLE_SPLIT);
	cr_assert_eq(unmap(LARGE + PAGE_SIZE, LARGE - PAGE_SIZE),
		     PAGE_TABLE_SPLIT);
	cr_assert_eq(unmap(LARGE, LARGE - PAGE_SIZE), PAGE_TABLE_SPLIT);
	cr_assert_eq(table.mapped_pages, 513);
	/* Where nothing is mapped, a border may be anywhere. */
	cr_assert_eq(unmap(0x2001, 0x10), PAGE_TABLE_OK);
	cr_assert_eq(unmap(0xfff, 0x1002), PAGE_TABLE_OK);
	cr_assert_eq(unmap(LARGE - 1, LARGE + 2), PAGE_TABLE_OK);
	cr_assert_eq(table.mapped_pages, 0);
	teardown();
}

Test(page_table, an_unmap_beyond_the_input_range_is_clamped)
{
	setup(100);
	cr_assert_eq(map(END - PAGE_SIZE, PAGE_SIZE, 0, RW), PAGE_TABLE_OK);
	cr_assert_eq(map(0, PAGE_SIZE, 0, RW), PAGE_TABLE_OK);
	cr_assert_eq(page_table_unmap(&table, IOVA(END), IOVA(UINT64_MAX)),
		     PAGE_TABLE_OK);
	cr_assert_eq(page_table_unmap(&table, IOVA(UINT64_MAX),
				      IOVA(UINT64_MAX)),
		     PAGE_TABLE_OK);
	cr_assert_eq(page_table_unmap(&table, IOVA(END - 1), IOVA(UINT64_MAX)),
		     PAGE_TABLE_SPLIT);
	cr_assert_eq(table.mapped_pages, 2);
	cr_assert_eq(page_table_unmap(&table, IOVA(0), IOVA(UINT64_MAX)),
		     PAGE_TABLE_OK);
	cr_assert_eq(table.mapped_pages, 0);
	teardown();
}

Test(page_table, changes_are_counted_where_something_was_cleared)
{
	setup(100);
	cr_assert_eq(map(0, PAGE_SIZE, 0, RW), PAGE_TABLE_OK);
	cr_assert_eq(map(0x3000, PAGE_SIZE, 0, RW), PAGE_TABLE_OK);
	cr_assert_eq(map(LARGE, 2 * LARGE, 0, RW), PAGE_TABLE_OK);
	cr_assert_eq(change(0), 0, "a MAP changes nothing that was there");
	cr_assert_eq(unmap(0x1000, 0x2000), PAGE_TABLE_OK);
	cr_assert_eq(change(0), 0, "there was nothing");
	cr_assert_eq(unmap(0, PAGE_SIZE), PAGE_TABLE_OK);
	cr_assert_eq(change(0), 1);
	cr_assert_eq(change(LARGE), 0);
	cr_assert_eq(unmap(LARGE, LARGE), PAGE_TABLE_SPLIT);
	cr_assert_eq(change(LARGE), 0);
	cr_assert_eq(unmap(0, END), PAGE_TABLE_OK);
	cr_assert_eq(change(0), 2);
	cr_assert_eq(change(LARGE), 1);
	cr_assert_eq(change(2 * LARGE), 1);
	cr_assert_eq(change(3 * LARGE), 0);
	page_table_clear(&table);
	cr_assert_eq(change(0), 3, "there was a leaf");
	cr_assert_eq(change(LARGE), 1);
	teardown();
}

Test(page_table, a_map_outside_the_input_range_is_our_bug, .signal = SIGABRT)
{
	setup(100);
	map(END, PAGE_SIZE, 0, RW);
}
