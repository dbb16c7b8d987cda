/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What takes something away waits for what is in flight there, and for nothing
 * else: claim 2 of the project. One thread plays all parts; tests/stress/ does it
 * with many.
 */
#include "memory/iommu.h"

#include <criterion/criterion.h>
#include <errno.h>

#include "iommu_rig.h"

#define P PAGE_SIZE
#define RW (IOMMU_MAP_READ | IOMMU_MAP_WRITE)

static struct rig rig;
static struct dma *door = &rig.doors[0];

static void setup(void)
{
	rig_setup(&rig, false);
	cr_assert_eq(rig_attach(&rig, 1, RIG_FIRST, 0), IOMMU_OK);
	cr_assert_eq(rig_map(&rig, 1, 0, 16 * P - 1, 16 * P, RW), IOMMU_OK);
	cr_assert_eq(rig_map(&rig, 1, 16 * P, 32 * P - 1, 32 * P, RW),
		     IOMMU_OK);
}

static void complete(struct dma *of, uint16_t head)
{
	dma_clear(of, head);
	dma_settle(of);
}

/* The one answer that came, for @cookie. */
static void expect_answer(uint64_t cookie)
{
	cr_assert_eq(rig.answer_count, 1);
	cr_assert_eq(rig.answers[0].cookie, cookie);
	cr_assert_eq(rig.answers[0].status, IOMMU_OK);
	rig.answer_count = 0;
}

Test(iommu_wait, an_unmap_waits_for_a_request_that_overlaps)
{
	struct iommu_counters counters;

	setup();
	rig_publish(door, 3, 15 * P + 77, 1, DMA_READ);
	cr_assert_eq(rig_unmap(&rig, 1, 0, 16 * P - 1), IOMMU_DEFERRED);
	cr_assert_eq(rig.answer_count, 0);
	cr_assert_eq(door->requests.waiters, 1);
	/* It is gone all the same, for everybody else. */
	cr_assert(rig_faults(&rig.doors[1], 0, 1, DMA_READ, FAULT_MAPPING, 0));
	cr_assert(rig_faults(door, 0, 1, DMA_READ, FAULT_MAPPING, 0));
	cr_assert_eq(rig.answer_count, 0);
	complete(door, 3);
	expect_answer(0);
	cr_assert_eq(door->requests.waiters, 0);
	counters = iommu_read_counters(&rig.iommu);
	cr_assert_eq(counters.unmap_waits, 1);
	cr_assert_eq(counters.waits, 1);
	rig_teardown(&rig);
}

Test(iommu_wait, an_unmap_waits_for_nothing_else)
{
	setup();
	rig_publish(door, 1, 16 * P, P, DMA_READ); /* just behind */
	rig_publish(door, 2, 40 * P, P, DMA_READ);
	rig_publish(door, 3, 5 * P, 0, DMA_READ); /* nothing */
	cr_assert_eq(rig_attach(&rig, 2, RIG_SECOND, 0), IOMMU_OK);
	rig_publish(&rig.doors[2], 1, 0, 32 * P, DMA_READ); /* another domain */
	cr_assert_eq(rig_unmap(&rig, 1, 0, 16 * P - 1), IOMMU_OK);
	expect_answer(0);
	cr_assert_eq(iommu_read_counters(&rig.iommu).waits, 0);
	rig_teardown(&rig);
}

Test(iommu_wait, what_is_published_later_is_not_waited_for)
{
	unsigned int i;

	setup();
	rig_publish(door, 3, 0, P, DMA_READ);
	cr_assert_eq(rig_unmap(&rig, 1, 0, 16 * P - 1), IOMMU_DEFERRED);
	/* The same head and range over and over: the queue is never idle there. */
	rig_publish(door, 4, 0, P, DMA_READ);
	complete(door, 3);
	expect_answer(0);
	for (i = 0; i < 5; i++) {
		rig_publish(door, 3, 0, P, DMA_READ);
		complete(door, 3);
	}
	cr_assert_eq(rig.answer_count, 0);
	rig_teardown(&rig);
}

Test(iommu_wait, a_range_can_be_mapped_anew_while_its_unmap_waits)
{
	setup();
	rig_publish(door, 3, 0, P, DMA_READ);
	cr_assert_eq(rig_unmap(&rig, 1, 0, 16 * P - 1), IOMMU_DEFERRED);
	cr_assert_eq(rig_map(&rig, 1, 0, P - 1, 99 * P, RW), IOMMU_OK);
	cr_assert_eq(rig_reach(door, 0, P, DMA_READ), rig_host(&rig, 99 * P));
	cr_assert_eq(rig.answer_count, 0);
	/* A second one waits for what the first waits for, too. */
	cr_assert_eq(rig_unmap(&rig, 1, 0, P - 1), IOMMU_DEFERRED);
	cr_assert_eq(door->requests.waiters, 2);
	complete(door, 3);
	cr_assert_eq(rig.answer_count, 2);
	cr_assert_eq(door->requests.waiters, 0);
	rig_teardown(&rig);
}

Test(iommu_wait, an_unmap_waits_at_all_doors_of_the_domain)
{
	setup();
	cr_assert_eq(rig_attach(&rig, 1, RIG_SECOND, 0), IOMMU_OK);
	rig_publish(&rig.doors[0], 0, 0, 1, DMA_READ);
	rig_publish(&rig.doors[1], 0, P, 1, DMA_WRITE);
	rig_publish(&rig.doors[2], 0, 2 * P, 1, DMA_WRITE);
	cr_assert_eq(rig_unmap(&rig, 1, 0, 16 * P - 1), IOMMU_DEFERRED);
	complete(&rig.doors[2], 0);
	complete(&rig.doors[0], 0);
	cr_assert_eq(rig.answer_count, 0);
	cr_assert_eq(rig.doors[2].requests.waiters, 0);
	cr_assert_eq(rig.doors[1].requests.waiters, 1);
	complete(&rig.doors[1], 0);
	expect_answer(0);
	rig_teardown(&rig);
}

Test(iommu_wait, requests_go_on_while_one_is_parked)
{
	setup();
	rig_publish(door, 0, 0, 1, DMA_READ);
	cr_assert_eq(rig_unmap(&rig, 1, 0, 16 * P - 1), IOMMU_DEFERRED);
	cr_assert_eq(rig_unmap(&rig, 1, 16 * P, 32 * P - 1), IOMMU_OK);
	cr_assert_eq(rig_attach(&rig, 2, RIG_SECOND, 0), IOMMU_OK);
	cr_assert_eq(rig_map(&rig, 2, 0, P - 1, 0, RW), IOMMU_OK);
	cr_assert_eq(rig_unmap(&rig, 2, 0, P - 1), IOMMU_OK);
	rig.answer_count = 0;
	complete(door, 0);
	expect_answer(0);
	rig_teardown(&rig);
}

Test(iommu_wait, no_more_are_deferred_than_there_is_room_for)
{
	uint64_t i;

	setup();
	rig_publish(door, 0, 0, 32 * P, DMA_READ);
	for (i = 0; i < RIG_REQUESTS; i++)
		cr_assert_eq(rig_unmap(&rig, 1, 40 * P + i, 41 * P - 1),
			     IOMMU_OK);
	rig.answer_count = 0;
	cr_assert_eq(rig_unmap(&rig, 1, 0, 16 * P - 1), IOMMU_DEFERRED);
	for (i = 1; i < RIG_REQUESTS; i++)
		cr_assert_eq(rig_unmap(&rig, 1, i, 16 * P - 1), IOMMU_DEFERRED);
	cr_assert_eq(rig_unmap(&rig, 1, 16 * P, 32 * P - 1), IOMMU_DEVERR);
	cr_assert_eq(rig_detach(&rig, 1, RIG_FIRST), IOMMU_DEVERR);
	cr_assert_not_null(rig_reach(door, 16 * P, P, DMA_READ),
			   "nothing was done");
	complete(door, 0);
	cr_assert_eq(rig.answer_count, RIG_REQUESTS);
	cr_assert_eq(rig_unmap(&rig, 1, 16 * P, 32 * P - 1), IOMMU_OK);
	rig_teardown(&rig);
}

Test(iommu_wait, s31_detach_waits_for_all_that_is_in_flight)
{
	setup();
	rig_publish(door, 0, 50 * P, 1, DMA_READ);
	cr_assert_eq(rig_detach(&rig, 1, RIG_FIRST), IOMMU_DEFERRED);
	cr_assert(rig_faults(door, 0, 1, DMA_READ, FAULT_DOMAIN, 0));
	/* No second one starts. */
	cr_assert_eq(rig_attach(&rig, 2, RIG_FIRST, 0), IOMMU_DEVERR);
	cr_assert_eq(rig_attach(&rig, 1, RIG_FIRST, 0), IOMMU_DEVERR);
	cr_assert_eq(rig_map(&rig, 2, 0, P - 1, 0, RW), IOMMU_NOENT);
	cr_assert(rig.iommu.domains != NULL);
	complete(door, 0);
	expect_answer(2);
	cr_assert_eq(rig_attach(&rig, 1, RIG_FIRST, 0), IOMMU_OK);
	cr_assert(rig_faults(door, 0, 1, DMA_READ, FAULT_MAPPING, 0));
	rig_teardown(&rig);
}

Test(iommu_wait, s23_attach_elsewhere_waits_and_the_old_tables_stay)
{
	struct dma_position position = { 0 };
	const struct dma_span *span;
	uint64_t free_leaves;
	struct dma_fault fault;
	struct iovec iov;

	setup();
	free_leaves = rig.iommu.table_memory.free_count;
	span = rig_publish(door, 0, P, P, DMA_READ);
	cr_assert_eq(rig_attach(&rig, 2, RIG_FIRST, 0), IOMMU_DEFERRED);
	/* The request goes on by the map that it was committed with. */
	cr_assert_eq(dma_translate(door, span, 1, DMA_READ, P, &position, &iov,
				   1, &fault),
		     1);
	cr_assert_eq(iov.iov_base, rig_host(&rig, 17 * P));
	cr_assert_eq(rig.iommu.table_memory.free_count, free_leaves);
	/* Its number is free, and another domain gets it. */
	cr_assert_eq(rig_attach(&rig, 1, RIG_SECOND, 0), IOMMU_OK);
	cr_assert(rig_faults(&rig.doors[2], 0, 1, DMA_READ, FAULT_MAPPING, 0));
	cr_assert_eq(rig_map(&rig, 2, 0, P - 1, 0, RW), IOMMU_OK);
	cr_assert_eq(rig_reach(&rig.doors[1], 0, P, DMA_READ),
		     rig_host(&rig, 0));
	complete(door, 0);
	expect_answer(1);
	cr_assert_eq(rig.iommu.table_memory.free_count, free_leaves + 1);
	rig_teardown(&rig);
}

Test(iommu_wait, an_unmap_waits_for_an_endpoint_that_is_leaving)
{
	setup();
	cr_assert_eq(rig_attach(&rig, 1, RIG_SECOND, 0), IOMMU_OK);
	rig_publish(door, 0, P, P, DMA_READ);
	cr_assert_eq(rig_detach(&rig, 1, RIG_FIRST), IOMMU_DEFERRED);
	cr_assert_eq(rig_unmap(&rig, 1, 0, 16 * P - 1), IOMMU_DEFERRED);
	cr_assert_eq(rig_unmap(&rig, 1, 16 * P, 32 * P - 1), IOMMU_OK);
	rig.answer_count = 0;
	complete(door, 0);
	cr_assert_eq(rig.answer_count, 2);
	rig_teardown(&rig);
}

Test(iommu_wait, attach_of_what_could_reach_nothing_does_not_wait)
{
	rig_setup(&rig, false);
	rig_publish(door, 0, 0, P, DMA_READ);
	cr_assert_eq(rig_attach(&rig, 1, RIG_FIRST, 0), IOMMU_OK);
	cr_assert_eq(rig.answer_count, 0);
	cr_assert_eq(rig_detach(&rig, 1, RIG_FIRST), IOMMU_DEFERRED);
	complete(door, 0);
	expect_answer(2);
	rig_teardown(&rig);
}

Test(iommu_wait, attach_away_from_bypass_waits)
{
	rig_setup(&rig, true);
	rig_publish(door, 0, 0, P, DMA_READ);
	cr_assert_eq(rig_attach(&rig, 1, RIG_FIRST, 0), IOMMU_DEFERRED);
	complete(door, 0);
	expect_answer(1);
	cr_assert_eq(rig_attach(&rig, 2, RIG_SECOND, IOMMU_ATTACH_BYPASS),
		     IOMMU_OK);
	rig_publish(&rig.doors[2], 0, 0, P, DMA_READ);
	cr_assert_eq(rig_attach(&rig, 1, RIG_SECOND, 0), IOMMU_DEFERRED);
	complete(&rig.doors[2], 0);
	expect_answer(1);
	rig_teardown(&rig);
}

Test(iommu_wait, a_door_that_is_reset_answers_who_waits)
{
	setup();
	rig_publish(door, 0, 0, P, DMA_READ);
	rig_publish(door, 1, P, P, DMA_READ);
	cr_assert_eq(rig_unmap(&rig, 1, 0, 16 * P - 1), IOMMU_DEFERRED);
	dma_reset(door);
	expect_answer(0);
	rig_teardown(&rig);
}

/* --- register writes --- */

Test(iommu_wait, bypass_off_waits_for_what_uses_it)
{
	rig_setup(&rig, true);
	cr_assert_eq(rig_attach(&rig, 1, RIG_SECOND, 0), IOMMU_OK);
	rig_publish(door, 0, 0, P, DMA_READ);
	rig_publish(&rig.doors[2], 0, 0, P, DMA_READ); /* not in bypass */
	cr_assert_eq(rig_set_bypass(&rig, false), -EAGAIN);
	cr_assert(!rig_is_quiet(&rig));
	cr_assert_eq(rig_set_bypass(&rig, false), -EAGAIN,
		     "it was said before");
	cr_assert(rig_faults(&rig.doors[1], 0, 1, DMA_READ, FAULT_DOMAIN, 0));
	cr_assert_eq(rig.quiet_count, 0);
	complete(door, 0);
	cr_assert_eq(rig.quiet_count, 1);
	cr_assert(rig_is_quiet(&rig));
	rig_teardown(&rig);
}

Test(iommu_wait, a_second_register_write_waits_for_both)
{
	rig_setup(&rig, true);
	rig_publish(door, 0, 0, P, DMA_READ);
	cr_assert_eq(rig_set_bypass(&rig, false), -EAGAIN);
	cr_assert_eq(rig_set_bypass(&rig, true), -EAGAIN);
	rig_publish(&rig.doors[2], 0, 0, P, DMA_READ);
	cr_assert_eq(rig_set_bypass(&rig, false), -EAGAIN);
	complete(door, 0);
	cr_assert_eq(rig.quiet_count, 0);
	complete(&rig.doors[2], 0);
	cr_assert_eq(rig.quiet_count, 1);
	cr_assert_eq(door->requests.waiters, 0);
	cr_assert_eq(rig.doors[2].requests.waiters, 0);
	rig_teardown(&rig);
}

Test(iommu_wait, s67_reset_waits_and_forgets_parked_requests)
{
	uint64_t free_leaves;

	setup();
	free_leaves = rig.iommu.table_memory.free_count;
	cr_assert_eq(rig_attach(&rig, 2, RIG_SECOND, 0), IOMMU_OK);
	rig_publish(door, 0, 0, P, DMA_READ);
	rig_publish(&rig.doors[2], 0, 0, P, DMA_READ);
	cr_assert_eq(rig_unmap(&rig, 1, 0, 16 * P - 1), IOMMU_DEFERRED);
	cr_assert_eq(rig_detach(&rig, 2, RIG_SECOND), IOMMU_DEFERRED);
	cr_assert_eq(rig_reset(&rig), -EAGAIN);
	cr_assert_eq(rig.iommu.counters.mapped_bytes, 0);
	cr_assert(rig_faults(door, 16 * P, 1, DMA_READ, FAULT_DOMAIN, 16 * P));
	complete(door, 0);
	cr_assert(!rig_is_quiet(&rig));
	cr_assert_eq(rig.iommu.table_memory.free_count, free_leaves);
	complete(&rig.doors[2], 0);
	cr_assert(rig_is_quiet(&rig));
	cr_assert_eq(rig.quiet_count, 1);
	cr_assert_eq(rig.answer_count, 0);
	cr_assert_eq(rig.iommu.table_memory.free_count, free_leaves + 1);
	/* And there is room for as many waits as before. */
	cr_assert_eq(rig_attach(&rig, 1, RIG_FIRST, 0), IOMMU_OK);
	cr_assert_eq(rig_attach(&rig, 2, RIG_SECOND, 0), IOMMU_OK);
	rig_teardown(&rig);
}

/* --- rings --- */

static struct dma_ring rings[3];

static void map_rings(void)
{
	struct dma_fault fault;

	cr_assert_eq(
		dma_ring_map(door, &rings[0], IOVA(0), P, DMA_READ, &fault), 0);
	cr_assert_eq(dma_ring_map(door, &rings[1], IOVA(3 * P + 8), 16,
				  DMA_READ, &fault),
		     0);
	cr_assert_eq(dma_ring_map(door, &rings[2], IOVA(16 * P), 64, DMA_WRITE,
				  &fault),
		     0);
}

Test(iommu_wait, an_unmap_waits_for_a_section_over_its_rings)
{
	struct dma_fault fault;

	setup();
	cr_assert_eq(rig_map(&rig, 1, 40 * P, 41 * P - 1, 0, RW), IOMMU_OK);
	map_rings();
	cr_assert(dma_rings_begin(door, rings, 3, &fault));
	cr_assert_eq(rig_unmap(&rig, 1, 40 * P, 41 * P - 1), IOMMU_OK);
	rig.answer_count = 0;
	cr_assert_eq(rig_unmap(&rig, 1, 16 * P, 32 * P - 1), IOMMU_DEFERRED);
	dma_settle(door);
	cr_assert_eq(rig.answer_count, 0);
	dma_rings_end(door);
	expect_answer(16 * P);
	/* The next section sees it. */
	cr_assert(!dma_rings_begin(door, rings, 3, &fault));
	cr_assert_eq(fault.address.v, 16 * P);
	cr_assert_eq(fault.access, DMA_WRITE);
	cr_assert_eq(fault.reason, FAULT_MAPPING);
	cr_assert(dma_rings_begin(door, rings, 2, &fault));
	dma_rings_end(door);
	rig_teardown(&rig);
}

Test(iommu_wait, a_later_section_is_not_waited_for)
{
	struct dma_fault fault;

	setup();
	map_rings();
	rig_publish(door, 0, 16 * P, 1, DMA_READ);
	cr_assert(dma_rings_begin(door, rings, 2, &fault));
	cr_assert_eq(rig_unmap(&rig, 1, 0, 16 * P - 1), IOMMU_DEFERRED);
	dma_rings_end(door);
	expect_answer(0);
	/* Not over the rings: what is in flight is waited for, no section. */
	cr_assert_eq(rig_unmap(&rig, 1, 16 * P, 32 * P - 1), IOMMU_DEFERRED);
	cr_assert_eq(rig_map(&rig, 1, 0, 16 * P - 1, 16 * P, RW), IOMMU_OK);
	cr_assert(dma_rings_begin(door, rings, 2, &fault));
	dma_clear(door, 0);
	dma_settle(door);
	expect_answer(16 * P);
	dma_rings_end(door);
	rig_teardown(&rig);
}

Test(iommu_wait, detach_waits_for_any_section)
{
	struct dma_fault fault;

	setup();
	map_rings();
	cr_assert(dma_rings_begin(door, rings, 1, &fault));
	cr_assert_eq(rig_detach(&rig, 1, RIG_FIRST), IOMMU_DEFERRED);
	dma_rings_end(door);
	expect_answer(2);
	cr_assert(!dma_rings_begin(door, rings, 1, &fault));
	cr_assert_eq(fault.reason, FAULT_DOMAIN);
	rig_teardown(&rig);
}

Test(iommu_wait, a_section_that_does_not_open_serves_who_waits)
{
	struct dma_fault fault;

	setup();
	map_rings();
	cr_assert_eq(rig_unmap(&rig, 1, 0, 16 * P - 1), IOMMU_OK);
	cr_assert(!dma_rings_begin(door, rings, 3, &fault));
	cr_assert_eq(door->requests.section % 2, 0);
	cr_assert_eq(rig_unmap(&rig, 1, 0, RIG_END - 1), IOMMU_OK);
	rig_teardown(&rig);
}
