/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The model that fuzz_iommu.c compares with: a domain is an array with one cell per
 * page, and every rule is a loop over it.
 *
 * Addresses come out of three windows of the input range, whose pages have a cell
 * each; what lies between two windows is one cell, because no border is ever put
 * there.
 */
#ifndef TESTS_FUZZ_IOMMU_MODEL_H
#define TESTS_FUZZ_IOMMU_MODEL_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "memory/base.h"
#include "memory/iommu.h"

#define P PAGE_SIZE
#define BITS 33
#define END (UINT64_C(1) << BITS)

#define WINDOW_PAGES 1536U
#define WINDOWS 3U
#define RESERVED (4 * GIB - 2 * MIB)
#define RESERVED_LAST (4 * GIB - MIB - 1)

#define CELLS (WINDOWS * WINDOW_PAGES + WINDOWS - 1)

static const uint64_t window_first[WINDOWS] = { 0, 4 * GIB - 4 * MIB,
						END - 6 * MIB };

struct cell {
	uint32_t map; /* number of the MAP request; 0: empty */
	uint32_t flags;
	uint64_t physical;
};

struct model_domain {
	uint32_t instance; /* 0: does not exist */
	bool bypass;
	bool leaves[END >> PAGE_TABLE_LARGE_SHIFT];
	struct cell cells[CELLS];
};

static uint64_t cell_first(unsigned int cell)
{
	unsigned int window = cell / (WINDOW_PAGES + 1);
	unsigned int page = cell % (WINDOW_PAGES + 1);

	return window_first[window] + page * P;
}

static uint64_t cell_last(unsigned int cell)
{
	return cell + 1 == CELLS ? END - 1 : cell_first(cell + 1) - 1;
}

/* The cell of an address inside the input range. */
static unsigned int cell_of(uint64_t address)
{
	unsigned int window = WINDOWS - 1;
	uint64_t page;

	while (address < window_first[window])
		window--;
	page = (address - window_first[window]) / P;
	return window * (WINDOW_PAGES + 1) +
	       (unsigned int)MIN(page, (uint64_t)WINDOW_PAGES);
}

/* What a MAP of @domain answers but for its memory, if that domain exists. */
static enum iommu_status model_judge(const struct model_domain *domain,
				     uint64_t first, uint64_t last,
				     uint64_t physical)
{
	unsigned int i;

	if (domain->bypass || last < first)
		return IOMMU_INVAL;
	if (first % P || physical % P || last % P != P - 1)
		return IOMMU_RANGE;
	if (last >= END || physical + (last - first) < physical)
		return IOMMU_RANGE;
	if (first <= RESERVED_LAST && last >= RESERVED)
		return IOMMU_INVAL;
	for (i = cell_of(first); i <= cell_of(last); i++)
		if (domain->cells[i].map)
			return IOMMU_INVAL;
	return IOMMU_OK;
}

/* Whether 2 MiB from @start on need a leaf for a MAP. */
static bool model_needs_leaf(const struct model_domain *domain, uint64_t start,
			     uint64_t first, uint64_t last, uint64_t physical)
{
	const uint64_t size = 2 * MIB;

	if (domain->leaves[start / size])
		return false;
	return first > start || last < start + (size - 1) ||
	       (physical + (start - first)) % size != 0;
}

/* How many leaves a MAP needs; with @take, they are there from now on. */
static uint64_t model_leaves(struct model_domain *domain, uint64_t first,
			     uint64_t last, uint64_t physical, bool take)
{
	const uint64_t size = 2 * MIB;
	uint64_t count = 0;
	uint64_t start;

	for (start = first / size * size; start <= last; start += size) {
		if (!model_needs_leaf(domain, start, first, last, physical))
			continue;
		count++;
		if (take)
			domain->leaves[start / size] = true;
	}
	return count;
}

static void model_map(struct model_domain *domain, uint64_t first,
		      uint64_t last, uint64_t physical, uint32_t flags,
		      uint32_t number)
{
	unsigned int i;

	for (i = cell_of(first); i <= cell_of(last); i++)
		domain->cells[i] =
			(struct cell){ number, flags,
				       physical + (cell_first(i) - first) };
}

static bool cell_is_inside(unsigned int cell, uint64_t first, uint64_t last)
{
	return cell_first(cell) >= first && cell_last(cell) <= last;
}

/* Whether an UNMAP would leave a part of the MAP that @cell is of. */
static bool model_splits(const struct model_domain *domain, unsigned int cell,
			 uint64_t first, uint64_t last)
{
	uint32_t map = domain->cells[cell].map;
	unsigned int i;

	if (!map)
		return false;
	/* A mapping is contiguous. */
	for (i = cell; domain->cells[i].map == map; i--) {
		if (!cell_is_inside(i, first, last))
			return true;
		if (i == 0)
			break;
	}
	for (i = cell; i < CELLS && domain->cells[i].map == map; i++)
		if (!cell_is_inside(i, first, last))
			return true;
	return false;
}

static enum iommu_status model_unmap(struct model_domain *domain,
				     uint64_t first, uint64_t last)
{
	unsigned int i;

	last = MIN(last, END - 1);
	if (first > last)
		return IOMMU_OK;
	for (i = cell_of(first); i <= cell_of(last); i++)
		if (model_splits(domain, i, first, last))
			return IOMMU_RANGE;
	for (i = cell_of(first); i <= cell_of(last); i++)
		domain->cells[i] = (struct cell){ 0 };
	return IOMMU_OK;
}

#endif
