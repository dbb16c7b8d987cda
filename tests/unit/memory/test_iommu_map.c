/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The rules of MAP and UNMAP, by the numbers of the conformance list. What UNMAP
 * removes and what it refuses: test_page_table.c.
 */
#include "memory/iommu.h"

#include <criterion/criterion.h>

#include "iommu_rig.h"

#define P PAGE_SIZE
#define LARGE PAGE_TABLE_LARGE_SIZE
#define RW (IOMMU_MAP_READ | IOMMU_MAP_WRITE)

static struct rig rig;

/* Whether the first endpoint's first door finds guest page @gpa at @iova. */
static bool reaches(uint64_t iova, uint64_t gpa)
{
	return rig_reach(&rig.doors[0], iova, P, DMA_READ) ==
	       rig_host(&rig, gpa);
}

static bool is_unmapped(uint64_t iova)
{
	return rig_faults(&rig.doors[0], iova, P, DMA_READ, FAULT_MAPPING,
			  iova);
}

/* --- MAP --- */

struct map_case {
	const char *name;
	uint64_t first;
	uint64_t last;
	uint64_t physical;
	uint32_t flags;
	enum iommu_status status;
};

/* clang-format off */
static const struct map_case map_cases[] = {
	{ "s32 start not aligned", 0x1001, 0x2fff, 0, RW, IOMMU_RANGE },
	{ "s32 end not aligned", 0x1000, 0x2000, 0, RW, IOMMU_RANGE },
	{ "s32 end + 1 not aligned", 0x1000, 0x2ffe, 0, RW, IOMMU_RANGE },
	{ "s32 physical not aligned", 0x1000, 0x2fff, 0x800, RW, IOMMU_RANGE },
	{ "s34 flag 3", 0x1000, 0x2fff, 0, 8, IOMMU_INVAL },
	{ "s34 all flags", 0x1000, 0x2fff, 0, UINT32_MAX, IOMMU_INVAL },
	{ "s59 the MSI region", RIG_MSI, RIG_MSI_LAST, 0, RW, IOMMU_INVAL },
	{ "s59 a page of it", RIG_MSI_LAST - 0xfff, RIG_MSI_LAST, 0, RW, IOMMU_INVAL },
	{ "s59 around it", 0, RIG_END - 1, 0, RW, IOMMU_INVAL },
	{ "s59 into it", 0, RIG_MSI + 0xfff, 0, RW, IOMMU_INVAL },
	{ "s69 beyond the input range", RIG_END, RIG_END + 0xfff, 0, RW, IOMMU_RANGE },
	{ "s69 out of the input range", RIG_END - 0x1000, RIG_END + 0xfff, 0, RW, IOMMU_RANGE },
	{ "s69 up to 2^64", RIG_END - 0x1000, UINT64_MAX, 0, RW, IOMMU_RANGE },
	{ "s69 the last page of all", -P, UINT64_MAX, 0, RW, IOMMU_RANGE },
	{ "all of 2^64", 0, UINT64_MAX, 0, RW, IOMMU_RANGE },
	{ "s76 end before start", 0x2000, 0x1fff, 0, RW, IOMMU_INVAL },
	{ "s76 far before", 0x20000, 0xfff, 0, RW, IOMMU_INVAL },
	{ "s76 end 0", 0x1000, 0, 0, RW, IOMMU_INVAL },
	{ "physical addresses past 2^64", 0x1000, 0x2fff, -P, RW, IOMMU_RANGE },
	{ "and far past", 0, RIG_MSI - 1, -P, RW, IOMMU_RANGE },
	{ "physical addresses up to 2^64", 0x1000, 0x1fff, -P, RW, IOMMU_OK },
	{ "s76 one page", 0x2000, 0x2fff, 0, RW, IOMMU_OK },
	{ "the last page", RIG_END - 0x1000, RIG_END - 1, 0, RW, IOMMU_OK },
	{ "s72 MMIO, where negotiated", 0x3000, 0x3fff, 0, RW | IOMMU_MAP_MMIO, IOMMU_OK },
	{ "before the MSI region", RIG_MSI - 0x1000, RIG_MSI - 1, 0, RW, IOMMU_OK },
	{ "after it", RIG_MSI_LAST + 1, RIG_MSI_LAST + 0x1000, 0, RW, IOMMU_OK },
	{ "s33 what is mapped", 0x2000, 0x2fff, 0, RW, IOMMU_INVAL },
	{ "s33 what overlaps", 0, 0xffff, 0, RW, IOMMU_INVAL },
};
/* clang-format on */

Test(iommu_map, s32_s33_s34_s59_s69_s72_s76_what_map_answers)
{
	uint64_t bytes = 0;
	unsigned int i;

	rig_setup(&rig, false);
	cr_assert_eq(rig_attach(&rig, 1, RIG_FIRST, 0), IOMMU_OK);
	for (i = 0; i < ARRAY_SIZE(map_cases); i++) {
		const struct map_case *c = &map_cases[i];
		enum iommu_status status = rig_map(&rig, 1, c->first, c->last,
						   c->physical, c->flags);

		cr_expect_eq(status, c->status, "%s: %u", c->name, status);
		if (status == IOMMU_OK)
			bytes += c->last - c->first + 1;
		cr_expect_eq(rig.iommu.counters.mapped_bytes, bytes, "%s",
			     c->name);
	}
	rig_teardown(&rig);
}

Test(iommu_map, s35_map_in_no_domain_is_noent)
{
	rig_setup(&rig, false);
	cr_assert_eq(rig_map(&rig, 1, 0, P - 1, 0, RW), IOMMU_NOENT);
	cr_assert_eq(rig_attach(&rig, 1, RIG_FIRST, 0), IOMMU_OK);
	cr_assert_eq(rig_map(&rig, 2, 0, P - 1, 0, RW), IOMMU_NOENT);
	rig_teardown(&rig);
}

Test(iommu_map, s36_s42_a_bypass_domain_has_no_map)
{
	rig_setup(&rig, false);
	cr_assert_eq(rig_attach(&rig, 1, RIG_FIRST, IOMMU_ATTACH_BYPASS),
		     IOMMU_OK);
	cr_assert_eq(rig_map(&rig, 1, 0, P - 1, 0, RW), IOMMU_INVAL);
	cr_assert_eq(rig_unmap(&rig, 1, 0, P - 1), IOMMU_INVAL);
	rig_teardown(&rig);
}

Test(iommu_map, s37_s38_accesses_need_their_flag)
{
	static const struct {
		uint32_t flags;
		bool can_read;
		bool can_write;
	} cases[] = {
		{ 0, false, false },
		{ IOMMU_MAP_READ, true, false },
		{ IOMMU_MAP_WRITE, false, true },
		{ RW, true, true },
	};
	struct dma *door = &rig.doors[0];
	unsigned int round;
	uint64_t i;

	rig_setup(&rig, false);
	cr_assert_eq(rig_attach(&rig, 1, RIG_FIRST, 0), IOMMU_OK);
	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		cr_assert_eq(rig_map(&rig, 1, i * P, i * P + P - 1, i * P,
				     cases[i].flags),
			     IOMMU_OK);
		/* Likewise for large mappings. */
		cr_assert_eq(rig_map(&rig, 1, (i + 1) * LARGE,
				     (i + 2) * LARGE - 1, 0, cases[i].flags),
			     IOMMU_OK);
	}
	/* The second time out of the cache. */
	for (round = 0; round < 2; round++) {
		for (i = 0; i < ARRAY_SIZE(cases); i++) {
			uint64_t at = round ? i * P : (i + 1) * LARGE;

			cr_expect_eq(rig_reach(door, at, P, DMA_READ) != NULL,
				     cases[i].can_read, "%lu", i);
			cr_expect_eq(rig_reach(door, at, P, DMA_WRITE) != NULL,
				     cases[i].can_write, "%lu", i);
			if (!cases[i].can_write)
				cr_expect(rig_faults(door, at + 5, 9, DMA_WRITE,
						     FAULT_MAPPING, at + 5));
		}
	}
	rig_teardown(&rig);
}

Test(iommu_map, a_map_without_memory_for_it_is_nomem_and_counted)
{
	const uint64_t base = 8 * GIB;
	uint64_t i;

	rig_setup(&rig, false);
	cr_assert_eq(rig_attach(&rig, 1, RIG_FIRST, 0), IOMMU_OK);
	for (i = 0; i < 2048; i++) {
		uint64_t first = base + i * LARGE;
		enum iommu_status status = rig_map(
			&rig, 1, first, first + P - 1, 0, IOMMU_MAP_READ);

		if (status == IOMMU_NOMEM)
			break;
		cr_assert_eq(status, IOMMU_OK);
	}
	/* Room for roots stays: 144 pages each, of 4 domains. */
	cr_assert_eq(i, rig.iommu.table_memory.limit - 4 * 144);
	cr_assert_eq(rig.iommu.counters.table_bytes, (i + 9) * P);
	cr_assert_eq(rig.iommu.counters.rejected, 1);
	cr_assert_eq(rig.iommu.counters.rejected_nomem, 1);
	/* What there is works, and can be taken back and given anew. */
	cr_assert(reaches(base + (i - 1) * LARGE, 0));
	cr_assert_eq(rig_unmap(&rig, 1, 0, UINT64_MAX), IOMMU_OK);
	cr_assert_eq(rig_detach(&rig, 1, RIG_FIRST), IOMMU_OK);
	cr_assert_eq(rig_attach(&rig, 2, RIG_FIRST, 0), IOMMU_OK);
	cr_assert_eq(rig_map(&rig, 2, P, 5 * LARGE + P - 1, 0, RW), IOMMU_OK);
	cr_assert_eq(rig.iommu.counters.table_bytes, (i + 18) * P);
	rig_teardown(&rig);
}

/* --- UNMAP --- */

Test(iommu_map, s41_unmap_in_no_domain_is_noent)
{
	rig_setup(&rig, false);
	cr_assert_eq(rig_unmap(&rig, 1, 0, P - 1), IOMMU_NOENT);
	rig_teardown(&rig);
}

Test(iommu_map, s43_s44_split_unmap_is_range_and_removes_nothing)
{
	rig_setup(&rig, false);
	cr_assert_eq(rig_attach(&rig, 1, RIG_FIRST, 0), IOMMU_OK);
	cr_assert_eq(rig_map(&rig, 1, 0, 4 * P - 1, 0, RW), IOMMU_OK);
	cr_assert_eq(rig_map(&rig, 1, 4 * P, 8 * P - 1, 4 * P, RW), IOMMU_OK);
	cr_assert_eq(rig_unmap(&rig, 1, 0, 6 * P - 1), IOMMU_RANGE);
	cr_assert_eq(rig_unmap(&rig, 1, P, 8 * P - 1), IOMMU_RANGE);
	cr_assert_eq(rig.iommu.counters.mapped_bytes, 8 * P);
	cr_assert(reaches(0, 0) && reaches(7 * P, 7 * P));
	cr_assert_eq(rig.answer_count, 0, "nothing was deferred");
	cr_assert_eq(rig.iommu.counters.rejected, 2);
	rig_teardown(&rig);
}

Test(iommu_map, s45_unmap_takes_what_is_there)
{
	rig_setup(&rig, false);
	cr_assert_eq(rig_attach(&rig, 1, RIG_FIRST, 0), IOMMU_OK);
	cr_assert_eq(rig_unmap(&rig, 1, 0, P - 1), IOMMU_OK, "nothing");
	cr_assert_eq(rig_map(&rig, 1, 2 * P, 3 * P - 1, 0, RW), IOMMU_OK);
	cr_assert_eq(rig_map(&rig, 1, 8 * P, 9 * P - 1, 0, RW), IOMMU_OK);
	cr_assert_eq(rig_map(&rig, 1, LARGE, 2 * LARGE - 1, 0, RW), IOMMU_OK);
	cr_assert_eq(rig_map(&rig, 1, 5 * GIB, 5 * GIB + P - 1, 0, RW),
		     IOMMU_OK);
	cr_assert_eq(rig_unmap(&rig, 1, 0, UINT64_MAX), IOMMU_OK);
	cr_assert_eq(rig.iommu.counters.mapped_bytes, 0);
	cr_assert(is_unmapped(2 * P) && is_unmapped(8 * P));
	cr_assert(is_unmapped(LARGE) && is_unmapped(5 * GIB));
	rig_teardown(&rig);
}

Test(iommu_map, s76_unmap_with_its_end_before_its_start_is_inval)
{
	rig_setup(&rig, false);
	cr_assert_eq(rig_attach(&rig, 1, RIG_FIRST, 0), IOMMU_OK);
	cr_assert_eq(rig_map(&rig, 1, 0, 2 * P - 1, 0, RW), IOMMU_OK);
	cr_assert_eq(rig_unmap(&rig, 1, P, 0), IOMMU_INVAL);
	cr_assert_eq(rig_unmap(&rig, 1, P, P - 1), IOMMU_INVAL);
	cr_assert_eq(rig_unmap(&rig, 1, UINT64_MAX, 0), IOMMU_INVAL);
	cr_assert_eq(rig_unmap(&rig, 1, UINT64_MAX, UINT64_MAX), IOMMU_OK);
	cr_assert_eq(rig.iommu.counters.mapped_bytes, 2 * P);
	rig_teardown(&rig);
}
