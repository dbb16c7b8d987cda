/* SPDX-License-Identifier: Apache-2.0 */
/* The cache, through a door: what it answers, and when it does not. */
#include "memory/iotlb.h"

#include <criterion/criterion.h>

#include "iommu_rig.h"

#define P PAGE_SIZE
#define LARGE PAGE_TABLE_LARGE_SIZE
#define RW (IOMMU_MAP_READ | IOMMU_MAP_WRITE)

static struct rig rig;
static struct dma *door = &rig.doors[0];

static void setup(void)
{
	rig_setup(&rig, false);
	cr_assert_eq(rig_attach(&rig, 1, RIG_FIRST, 0), IOMMU_OK);
}

static void map(uint64_t first, uint64_t size, uint64_t physical)
{
	cr_assert_eq(rig_map(&rig, 1, first, first + size - 1, physical, RW),
		     IOMMU_OK);
}

static void unmap(uint64_t first, uint64_t size)
{
	cr_assert_eq(rig_unmap(&rig, 1, first, first + size - 1), IOMMU_OK);
}

/*
 * Reaches @len bytes at @first, which are at @gpa, with as many hits and misses
 * as said.
 */
static void reach(uint64_t first, uint32_t len, uint64_t gpa, unsigned int hits,
		  unsigned int misses)
{
	struct dma_counters before = door->counters;

	cr_assert_eq(rig_reach(door, first, len, DMA_WRITE),
		     rig_host(&rig, gpa), "%#lx", first);
	cr_assert_eq(door->counters.hits - before.hits, hits, "%#lx: %lu hits",
		     first, door->counters.hits - before.hits);
	cr_assert_eq(door->counters.misses - before.misses, misses,
		     "%#lx: %lu misses", first,
		     door->counters.misses - before.misses);
}

static void fault(uint64_t first, uint32_t len, uint64_t address)
{
	cr_assert(rig_faults(door, first, len, DMA_WRITE, FAULT_MAPPING,
			     address),
		  "%#lx", first);
}

Test(iotlb, a_page_is_found_the_second_time)
{
	setup();
	map(5 * P, P, 9 * P);
	reach(5 * P, 1, 9 * P, 0, 1);
	reach(5 * P, P, 9 * P, 1, 0);
	reach(6 * P - 1, 1, 10 * P - 1, 1, 0);
	rig_teardown(&rig);
}

Test(iotlb, the_last_byte_of_an_unmapped_page_before_a_mapped_one_faults)
{
	setup();
	map(5 * P, P, 9 * P);
	reach(5 * P, P, 9 * P, 0, 1);
	fault(5 * P - 1, 1, 5 * P - 1);
	fault(5 * P - 1, 2, 5 * P - 1);
	fault(6 * P, 1, 6 * P);
	fault(6 * P - 1, 2, 6 * P);
	fault(5 * P, P + 1, 6 * P);
	rig_teardown(&rig);
}

Test(iotlb, bug17_a_page_does_not_outlive_its_mapping)
{
	setup();
	map(5 * P, P, 9 * P);
	reach(5 * P, P, 9 * P, 0, 1);
	unmap(5 * P, P);
	fault(5 * P, 1, 5 * P);
	map(5 * P, P, 2 * P);
	reach(5 * P, P, 2 * P, 0, 1);
	reach(5 * P, P, 2 * P, 1, 0);
	/* Taken away and given back as it was: true again. */
	unmap(5 * P, P);
	map(5 * P, P, 2 * P);
	reach(5 * P, P, 2 * P, 1, 0);
	rig_teardown(&rig);
}

Test(iotlb, a_page_outlives_changes_around_it)
{
	setup();
	map(5 * P, P, 9 * P);
	map(6 * P, P, 2 * P);
	reach(5 * P, P, 9 * P, 0, 1);
	unmap(6 * P, P);
	map(7 * P, P, 3 * P);
	reach(5 * P, P, 9 * P, 1, 0);
	rig_teardown(&rig);
}

Test(iotlb, bug17_a_new_permission_counts_at_once)
{
	setup();
	map(5 * P, P, 9 * P);
	reach(5 * P, P, 9 * P, 0, 1);
	unmap(5 * P, P);
	cr_assert_eq(rig_map(&rig, 1, 5 * P, 6 * P - 1, 9 * P, IOMMU_MAP_READ),
		     IOMMU_OK);
	fault(5 * P, 1, 5 * P);
	cr_assert_not_null(rig_reach(door, 5 * P, P, DMA_READ));
	rig_teardown(&rig);
}

Test(iotlb, a_run_of_pages_is_one_piece)
{
	unsigned int i;

	setup();
	/* Three mappings, one after the other in both address spaces. */
	for (i = 0; i < 3; i++)
		map((5 + i) * P, P, (9 + i) * P);
	map(8 * P, 8 * P, 12 * P);
	reach(5 * P, 11 * P, 9 * P, 0, 1);
	reach(5 * P, 11 * P, 9 * P, 1, 0);
	reach(5 * P + 7, 2 * P, 9 * P + 7, 1, 0);
	/* An entry is found where it starts. */
	reach(6 * P, 10 * P, 10 * P, 0, 1);
	reach(6 * P, 10 * P, 10 * P, 1, 0);
	rig_teardown(&rig);
}

Test(iotlb, a_run_ends_where_the_request_does)
{
	setup();
	map(0, 16 * P, 16 * P);
	reach(0, 4 * P, 16 * P, 0, 1);
	/* Four pages out of it, and the next four. */
	reach(0, 8 * P, 16 * P, 1, 1);
	rig_teardown(&rig);
}

Test(iotlb, bug17_a_run_does_not_outlive_one_of_its_pages)
{
	unsigned int i;

	setup();
	for (i = 0; i < 4; i++) {
		map(5 * P, 2 * P, 9 * P);
		map(7 * P, P, 11 * P);
		map(8 * P, P, 12 * P);
		reach(5 * P, 4 * P, 9 * P, 0, 1);
		unmap((i < 2 ? 5 : 5 + i) * P, i < 2 ? 2 * P : P);
		if (i < 2)
			fault(5 * P, 4 * P, 5 * P);
		else
			fault(5 * P, 4 * P, (5 + i) * P);
		unmap(0, LARGE);
	}
	rig_teardown(&rig);
}

Test(iotlb, a_run_is_looked_up_again_after_a_change_near_it)
{
	setup();
	map(5 * P, 4 * P, 9 * P);
	map(100 * P, P, 0);
	map(LARGE, P, 0);
	reach(5 * P, 4 * P, 9 * P, 0, 1);
	map(101 * P, P, 0);
	unmap(LARGE, P);
	reach(5 * P, 4 * P, 9 * P, 1, 0);
	unmap(100 * P, P);
	reach(5 * P, 4 * P, 9 * P, 0, 1);
	reach(5 * P, 4 * P, 9 * P, 1, 0);
	rig_teardown(&rig);
}

Test(iotlb, runs_end_at_borders_of_any_kind)
{
	struct dma_counters before;

	setup();
	map(0, P, 16 * P);
	map(P, P, 18 * P); /* not contiguous */
	map(2 * P, P, 19 * P);
	cr_assert_eq(rig_map(&rig, 1, 3 * P, 4 * P - 1, 20 * P,
			     IOMMU_MAP_WRITE), /* other flags */
		     IOMMU_OK);
	before = door->counters;
	cr_assert_null(rig_reach(door, 0, 4 * P, DMA_WRITE), "two pieces");
	cr_assert_eq(door->counters.misses - before.misses, 3);
	/* Over the border of two leaves. */
	map(LARGE - 2 * P, 4 * P, 32 * P);
	reach(LARGE - 2 * P, 4 * P, 32 * P, 0, 2);
	reach(LARGE - 2 * P, 4 * P, 32 * P, 2, 0);
	rig_teardown(&rig);
}

Test(iotlb, a_large_mapping_is_one_entry)
{
	setup();
	map(8 * LARGE, 2 * LARGE, RIG_MIDDLE);
	reach(8 * LARGE + 5, 9, RIG_MIDDLE + 5, 0, 1);
	reach(9 * LARGE - 1, 1, RIG_MIDDLE + LARGE - 1, 1, 0);
	reach(8 * LARGE, 2 * LARGE, RIG_MIDDLE, 1, 1);
	reach(8 * LARGE, 2 * LARGE, RIG_MIDDLE, 2, 0);
	/* Pages of other mappings do not drive it out. */
	map(0, P, 0);
	reach(0, P, 0, 0, 1);
	unmap(0, P);
	reach(8 * LARGE, 2 * LARGE, RIG_MIDDLE, 2, 0);
	unmap(8 * LARGE, 2 * LARGE);
	fault(8 * LARGE + 77, 1, 8 * LARGE + 77);
	/* Now leaves stand there. */
	map(8 * LARGE, P, P);
	reach(8 * LARGE, P, P, 0, 1);
	fault(8 * LARGE + P, 1, 8 * LARGE + P);
	rig_teardown(&rig);
}

Test(iotlb, s60_mappings_end_where_ram_does)
{
	const uint64_t cut = LARGE - 64 * KIB;

	setup();
	/* RAM ends 64 KiB before the mapping does; and begins in another. */
	map(8 * LARGE, LARGE, LARGE);
	reach(8 * LARGE, (uint32_t)cut, LARGE, 0, 1);
	reach(8 * LARGE + cut - 1, 1, 2 * LARGE - 64 * KIB - 1, 1, 0);
	cr_assert(rig_faults(door, 8 * LARGE + cut, 1, DMA_WRITE, FAULT_UNKNOWN,
			     8 * LARGE + cut));
	cr_assert(rig_faults(door, 8 * LARGE, LARGE, DMA_WRITE, FAULT_UNKNOWN,
			     8 * LARGE + cut));
	map(16 * LARGE, LARGE, RIG_HIGH);
	reach(16 * LARGE, MIB, RIG_HIGH, 0, 1);
	cr_assert(rig_faults(door, 16 * LARGE + MIB, 1, DMA_WRITE,
			     FAULT_UNKNOWN, 16 * LARGE + MIB));
	/* By pages. */
	map(P, 4 * P, RIG_LOW_END - 2 * P);
	reach(P, 2 * P, RIG_LOW_END - 2 * P, 0, 1);
	cr_assert(rig_faults(door, P, 3 * P, DMA_WRITE, FAULT_UNKNOWN, 3 * P));
	cr_assert(rig_faults(door, 4 * P, 1, DMA_WRITE, FAULT_UNKNOWN, 4 * P));
	rig_teardown(&rig);
}

Test(iotlb, bug16_what_is_mapped_as_mmio_is_not_reached)
{
	setup();
	cr_assert_eq(rig_map(&rig, 1, P, 2 * P - 1, P, RW | IOMMU_MAP_MMIO),
		     IOMMU_OK);
	cr_assert_eq(rig_map(&rig, 1, LARGE, 2 * LARGE - 1, 0,
			     RW | IOMMU_MAP_MMIO),
		     IOMMU_OK);
	cr_assert(rig_faults(door, P, 1, DMA_WRITE, FAULT_UNKNOWN, P));
	cr_assert(rig_faults(door, LARGE, 1, DMA_WRITE, FAULT_UNKNOWN, LARGE));
	rig_teardown(&rig);
}

Test(iotlb, bug17_nothing_outlives_the_attachment)
{
	setup();
	map(P, P, 5 * P);
	map(LARGE, LARGE, RIG_MIDDLE);
	reach(P, P, 5 * P, 0, 1);
	reach(LARGE, P, RIG_MIDDLE, 0, 1);
	cr_assert_eq(rig_attach(&rig, 2, RIG_FIRST, 0), IOMMU_OK);
	fault(P, 1, P);
	fault(LARGE, 1, LARGE);
	/* The old domain's tables are another one's now. */
	cr_assert_eq(rig_attach(&rig, 1, RIG_SECOND, 0), IOMMU_OK);
	map(P, P, 6 * P);
	cr_assert_eq(rig_attach(&rig, 1, RIG_FIRST, 0), IOMMU_OK);
	reach(P, P, 6 * P, 0, 1);
	fault(LARGE, 1, LARGE);
	rig_teardown(&rig);
}

Test(iotlb, what_is_in_one_anothers_way_is_looked_up_again)
{
	unsigned int i;

	setup();
	/* Each page, and the one that has its place. */
	for (i = 0; i < 2 * IOTLB_ENTRIES; i++)
		map(i * P, P, (i ^ 1) * P);
	for (i = 0; i < 2 * IOTLB_ENTRIES; i++)
		reach(i * P, P, (i ^ 1) * P, 0, 1);
	for (i = IOTLB_ENTRIES; i < 2 * IOTLB_ENTRIES; i++)
		reach(i * P, P, (i ^ 1) * P, 1, 0);
	for (i = 0; i < IOTLB_ENTRIES; i++)
		reach(i * P, P, (i ^ 1) * P, 0, 1);
	rig_teardown(&rig);
}

Test(iotlb, buffers_of_many_pages_have_places_of_their_own)
{
	unsigned int i;

	setup();
	map(0, 40 * 16 * P, P);
	for (i = 0; i < 40; i++)
		reach(i * 16 * P, 16 * P, P + i * 16 * P, 0, 1);
	for (i = 0; i < 40; i++)
		reach(i * 16 * P, 16 * P, P + i * 16 * P, 1, 0);
	rig_teardown(&rig);
}
