/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The rules of ATTACH and DETACH, bypass and reset, by the numbers of the
 * conformance list. What requests do to accesses in flight: test_iommu_wait.c.
 */
#include "memory/iommu.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <signal.h>

#include "iommu_rig.h"

#define P PAGE_SIZE
#define LARGE PAGE_TABLE_LARGE_SIZE
#define RW (IOMMU_MAP_READ | IOMMU_MAP_WRITE)

/* Of the address sanitizer, where there is one. */
int __lsan_do_recoverable_leak_check(void) __attribute__((weak));

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

/* --- set-up --- */

Test(iommu, init_and_destroy_leave_nothing)
{
	rig_setup(&rig, false);
	rig_teardown(&rig);
	if (__lsan_do_recoverable_leak_check)
		cr_assert_eq(__lsan_do_recoverable_leak_check(), 0);
}

Test(iommu, a_configuration_without_sense_is_refused)
{
	static const struct iommu_config good = {
		.input_bits = 36,
		.domain_last = 1,
		.endpoints_max = 1,
		.requests_max = 1,
		.faults_max = 1,
		.tables = MIB,
	};
	struct iommu_config bad[9];
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(bad); i++)
		bad[i] = good;
	bad[0].input_bits = IOMMU_INPUT_BITS_MIN - 1;
	bad[1].input_bits = IOMMU_INPUT_BITS_MAX + 1;
	bad[2].domain_first = 2;
	bad[3].endpoints_max = 0;
	bad[4].requests_max = 0;
	bad[5].faults_max = 0;
	bad[6].tables = 0;
	bad[7].tables = 9 * P;
	bad[8].endpoints_max = IOMMU_ENDPOINTS_MAX + 1;
	for (i = 0; i < ARRAY_SIZE(bad); i++)
		cr_assert_eq(iommu_init(&rig.iommu, &bad[i]), -EINVAL, "%u", i);
	cr_assert_eq(iommu_init(&rig.iommu, &good), 0);
	iommu_destroy(&rig.iommu);
}

Test(iommu, endpoints_have_numbers_of_their_own)
{
	rig_setup(&rig, false);
	cr_assert_null(iommu_add_endpoint(&rig.iommu, RIG_FIRST));
	cr_assert_null(iommu_add_endpoint(&rig.iommu, 9), "no room");
	/* s47: PROBE of an unknown one is NOENT, which the front end answers. */
	cr_assert_eq(iommu_find_endpoint(&rig.iommu, RIG_SECOND), rig.second);
	cr_assert_null(iommu_find_endpoint(&rig.iommu, 8));
	rig_teardown(&rig);
}

Test(iommu, s57_s58_reserved_regions_do_not_overlap_and_one_is_for_msi)
{
	struct iommu *iommu = &rig.iommu;

	rig_setup(&rig, false);
	cr_assert_eq(iommu_reserve(iommu, IOVA(RIG_MSI - P), IOVA(RIG_MSI),
				   IOMMU_RESERVED),
		     -EINVAL);
	cr_assert_eq(iommu_reserve(iommu, IOVA(0), IOVA(UINT64_MAX),
				   IOMMU_RESERVED),
		     -EINVAL);
	cr_assert_eq(iommu_reserve(iommu, IOVA(P), IOVA(P - 1), IOMMU_RESERVED),
		     -EINVAL);
	cr_assert_eq(iommu_reserve(iommu, IOVA(0), IOVA(P), IOMMU_RESERVED),
		     -EINVAL);
	cr_assert_eq(iommu_reserve(iommu, IOVA(1), IOVA(P - 1), IOMMU_RESERVED),
		     -EINVAL);
	cr_assert_eq(iommu_reserve(iommu, IOVA(0), IOVA(P - 1),
				   IOMMU_RESERVED_MSI),
		     -EINVAL);
	cr_assert_eq(iommu_reserve(iommu, IOVA(-P), IOVA(UINT64_MAX),
				   IOMMU_RESERVED),
		     0);
	cr_assert_eq(iommu_reserve(iommu, IOVA(0), IOVA(P - 1), IOMMU_RESERVED),
		     0);
	cr_assert_eq(iommu_reserve(iommu, IOVA(P), IOVA(2 * P - 1),
				   IOMMU_RESERVED),
		     0);
	cr_assert_eq(iommu_reserve(iommu, IOVA(8 * P), IOVA(9 * P - 1),
				   IOMMU_RESERVED),
		     -ENOSPC);
	cr_assert_eq(iommu->reserved_count, 4);
	rig_teardown(&rig);
}

/* --- ATTACH --- */

Test(iommu, s15_an_endpoint_that_is_not_attached_reaches_nothing)
{
	rig_setup(&rig, false);
	cr_assert(rig_faults(&rig.doors[0], 0, 1, DMA_READ, FAULT_DOMAIN, 0));
	cr_assert(rig_faults(&rig.doors[0], 0, 1, DMA_WRITE, FAULT_DOMAIN, 0));
	/* Nor by what another one has mapped. */
	cr_assert_eq(rig_attach(&rig, 1, RIG_SECOND, 0), IOMMU_OK);
	cr_assert_eq(rig_map(&rig, 1, 0, P - 1, 0, RW), IOMMU_OK);
	cr_assert(rig_faults(&rig.doors[0], 0, 1, DMA_READ, FAULT_DOMAIN, 0));
	cr_assert_not_null(rig_reach(&rig.doors[2], 0, P, DMA_READ));
	rig_teardown(&rig);
}

Test(iommu, s17_attach_with_an_unknown_flag_is_inval)
{
	rig_setup(&rig, false);
	cr_assert_eq(rig_attach(&rig, 1, RIG_FIRST, 2), IOMMU_INVAL);
	cr_assert_eq(rig_attach(&rig, 1, RIG_FIRST, UINT32_MAX), IOMMU_INVAL);
	cr_assert(rig_faults(&rig.doors[0], 0, 1, DMA_READ, FAULT_DOMAIN, 0));
	rig_teardown(&rig);
}

Test(iommu, s18_attach_of_an_unknown_endpoint_is_noent)
{
	rig_setup(&rig, false);
	cr_assert_eq(rig_attach(&rig, 1, 0, 0), IOMMU_NOENT);
	cr_assert_eq(rig_attach(&rig, 1, UINT32_MAX - 1, 0), IOMMU_NOENT);
	cr_assert_eq(rig_map(&rig, 1, 0, P - 1, 0, RW), IOMMU_NOENT,
		     "no domain came of it");
	rig_teardown(&rig);
}

Test(iommu, attach_to_a_domain_out_of_range_is_range)
{
	rig_setup(&rig, false);
	cr_assert_eq(rig_attach(&rig, 0, RIG_FIRST, 0), IOMMU_RANGE);
	cr_assert_eq(rig_attach(&rig, 101, RIG_FIRST, 0), IOMMU_RANGE);
	cr_assert_eq(rig_attach(&rig, 100, RIG_FIRST, 0), IOMMU_OK);
	rig_teardown(&rig);
}

Test(iommu, s19_a_second_endpoint_may_join_a_domain)
{
	rig_setup(&rig, false);
	cr_assert_eq(rig_attach(&rig, 1, RIG_FIRST, 0), IOMMU_OK);
	cr_assert_eq(rig_map(&rig, 1, P, 2 * P - 1, 5 * P, RW), IOMMU_OK);
	cr_assert_eq(rig_attach(&rig, 1, RIG_SECOND, 0), IOMMU_OK);
	cr_assert_eq(rig_reach(&rig.doors[0], P, P, DMA_READ),
		     rig_host(&rig, 5 * P));
	cr_assert_eq(rig_reach(&rig.doors[2], P, P, DMA_READ),
		     rig_host(&rig, 5 * P));
	/* The one leaves, and the other goes on. */
	cr_assert_eq(rig_detach(&rig, 1, RIG_FIRST), IOMMU_OK);
	cr_assert_eq(rig_reach(&rig.doors[2], P, P, DMA_READ),
		     rig_host(&rig, 5 * P));
	rig_teardown(&rig);
}

Test(iommu, s21_the_bypass_flag_agrees_with_the_domain)
{
	rig_setup(&rig, false);
	cr_assert_eq(rig_attach(&rig, 1, RIG_FIRST, 0), IOMMU_OK);
	cr_assert_eq(rig_attach(&rig, 1, RIG_SECOND, IOMMU_ATTACH_BYPASS),
		     IOMMU_INVAL);
	cr_assert_eq(rig_attach(&rig, 1, RIG_FIRST, IOMMU_ATTACH_BYPASS),
		     IOMMU_INVAL);
	cr_assert_eq(rig_attach(&rig, 2, RIG_SECOND, IOMMU_ATTACH_BYPASS),
		     IOMMU_OK);
	cr_assert_eq(rig_attach(&rig, 2, RIG_FIRST, 0), IOMMU_INVAL);
	cr_assert(is_unmapped(0), "still in its domain");
	rig_teardown(&rig);
}

Test(iommu, s22_s23_attach_elsewhere_detaches_first)
{
	rig_setup(&rig, false);
	cr_assert_eq(rig_attach(&rig, 1, RIG_FIRST, 0), IOMMU_OK);
	cr_assert_eq(rig_map(&rig, 1, 0, P - 1, 0, RW), IOMMU_OK);
	cr_assert_eq(rig_attach(&rig, 2, RIG_FIRST, 0), IOMMU_OK);
	cr_assert(is_unmapped(0));
	cr_assert_eq(rig_map(&rig, 1, P, 2 * P - 1, 0, RW), IOMMU_NOENT,
		     "the domain went with its last endpoint");
	cr_assert_eq(rig_map(&rig, 2, 0, P - 1, P, RW), IOMMU_OK);
	cr_assert(reaches(0, P));
	cr_assert_eq(rig_detach(&rig, 1, RIG_FIRST), IOMMU_INVAL);
	rig_teardown(&rig);
}

Test(iommu, s25_s27_attach_to_the_same_domain_keeps_its_mappings)
{
	rig_setup(&rig, false);
	cr_assert_eq(rig_attach(&rig, 1, RIG_FIRST, 0), IOMMU_OK);
	cr_assert_eq(rig_map(&rig, 1, 0, P - 1, P, RW), IOMMU_OK);
	cr_assert_eq(rig_attach(&rig, 1, RIG_FIRST, 0), IOMMU_OK);
	cr_assert(reaches(0, P));
	rig_teardown(&rig);
}

/* --- DETACH --- */

Test(iommu, s29_detach_of_an_unknown_endpoint_is_noent)
{
	rig_setup(&rig, false);
	cr_assert_eq(rig_detach(&rig, 1, 8), IOMMU_NOENT);
	rig_teardown(&rig);
}

Test(iommu, s30_detach_from_another_domain_is_inval)
{
	rig_setup(&rig, false);
	cr_assert_eq(rig_detach(&rig, 1, RIG_FIRST), IOMMU_INVAL);
	cr_assert_eq(rig_attach(&rig, 1, RIG_FIRST, 0), IOMMU_OK);
	cr_assert_eq(rig_attach(&rig, 2, RIG_SECOND, 0), IOMMU_OK);
	cr_assert_eq(rig_detach(&rig, 2, RIG_FIRST), IOMMU_INVAL);
	cr_assert_eq(rig_detach(&rig, 1, RIG_FIRST), IOMMU_OK);
	cr_assert_eq(rig_detach(&rig, 1, RIG_FIRST), IOMMU_INVAL);
	rig_teardown(&rig);
}

Test(iommu, s31_after_detach_nothing_is_reached)
{
	rig_setup(&rig, false);
	cr_assert_eq(rig_attach(&rig, 1, RIG_FIRST, 0), IOMMU_OK);
	cr_assert_eq(rig_map(&rig, 1, 0, P - 1, 0, RW), IOMMU_OK);
	cr_assert(reaches(0, 0), "and is in the cache now");
	cr_assert_eq(rig_detach(&rig, 1, RIG_FIRST), IOMMU_OK);
	cr_assert(rig_faults(&rig.doors[0], 0, 1, DMA_READ, FAULT_DOMAIN, 0));
	cr_assert(rig_faults(&rig.doors[1], 0, 1, DMA_READ, FAULT_DOMAIN, 0));
	rig_teardown(&rig);
}

Test(iommu, s71_the_last_detach_destroys_the_domain)
{
	uint64_t used = 0;
	unsigned int i;

	rig_setup(&rig, false);
	for (i = 0; i < 100; i++) {
		cr_assert_eq(rig_attach(&rig, 1 + i % 3, RIG_FIRST, 0),
			     IOMMU_OK);
		cr_assert(is_unmapped(LARGE), "round %u", i);
		cr_assert_eq(rig_map(&rig, 1 + i % 3, LARGE, 3 * LARGE - 1, P,
				     RW),
			     IOMMU_OK);
		cr_assert_eq(rig.iommu.counters.mapped_bytes, 2 * LARGE);
		cr_assert(reaches(LARGE, P));
		cr_assert_eq(rig_detach(&rig, 1 + i % 3, RIG_FIRST), IOMMU_OK);
		cr_assert_eq(rig.iommu.counters.mapped_bytes, 0);
		cr_assert_eq(rig_map(&rig, 1 + i % 3, 0, P - 1, 0, RW),
			     IOMMU_NOENT);
		if (i == 0)
			used = rig.iommu.table_memory.used;
		cr_assert_eq(rig.iommu.table_memory.used, used);
		rig.answer_count = 0;
	}
	rig_teardown(&rig);
}

/* --- bypass and reset --- */

Test(iommu, s06_s70_bypass_at_the_start_lets_endpoints_reach_ram)
{
	rig_setup(&rig, true);
	cr_assert(reaches(5 * P, 5 * P));
	cr_assert(rig_faults(&rig.doors[0], RIG_LOW_END - 1, 2, DMA_READ,
			     FAULT_UNKNOWN, RIG_LOW_END));
	/* Attached, it is bound by its map; detached, free again. */
	cr_assert_eq(rig_attach(&rig, 1, RIG_FIRST, 0), IOMMU_OK);
	cr_assert(is_unmapped(5 * P));
	cr_assert_not_null(rig_reach(&rig.doors[2], 0, P, DMA_WRITE));
	cr_assert_eq(rig_detach(&rig, 1, RIG_FIRST), IOMMU_OK);
	cr_assert(reaches(5 * P, 5 * P));
	rig_teardown(&rig);
}

Test(iommu, bypass_changes_what_is_not_attached)
{
	rig_setup(&rig, false);
	cr_assert_eq(rig_attach(&rig, 1, RIG_SECOND, 0), IOMMU_OK);
	cr_assert_eq(rig_set_bypass(&rig, true), 0);
	cr_assert(reaches(P, P));
	cr_assert(rig_faults(&rig.doors[2], P, 1, DMA_READ, FAULT_MAPPING, P));
	cr_assert_eq(rig_set_bypass(&rig, true), 0);
	cr_assert_eq(rig_set_bypass(&rig, false), 0);
	cr_assert(rig_faults(&rig.doors[0], P, 1, DMA_READ, FAULT_DOMAIN, P));
	cr_assert(rig_is_quiet(&rig));
	cr_assert_eq(rig.quiet_count, 0, "nobody had to wait");
	rig_teardown(&rig);
}

Test(iommu, a_bypass_domain_is_identity_for_those_in_it)
{
	rig_setup(&rig, false);
	cr_assert_eq(rig_attach(&rig, 3, RIG_FIRST, IOMMU_ATTACH_BYPASS),
		     IOMMU_OK);
	cr_assert(reaches(RIG_HIGH, RIG_HIGH));
	cr_assert(rig_faults(&rig.doors[2], 0, 1, DMA_READ, FAULT_DOMAIN, 0));
	/* From bypass to bypass: nothing is taken away. */
	cr_assert_eq(rig_attach(&rig, 4, RIG_FIRST, IOMMU_ATTACH_BYPASS),
		     IOMMU_OK);
	cr_assert_eq(rig.answer_count, 0);
	cr_assert_eq(rig_detach(&rig, 3, RIG_FIRST), IOMMU_INVAL);
	cr_assert_eq(rig_detach(&rig, 4, RIG_FIRST), IOMMU_OK);
	cr_assert(rig_faults(&rig.doors[0], 0, 1, DMA_READ, FAULT_DOMAIN, 0));
	rig_teardown(&rig);
}

Test(iommu, s07_s67_reset_detaches_all_and_keeps_bypass)
{
	unsigned int i;

	rig_setup(&rig, true);
	for (i = 0; i < 20; i++) {
		cr_assert_eq(rig_attach(&rig, 1, RIG_FIRST, 0), IOMMU_OK);
		cr_assert_eq(rig_attach(&rig, 2, RIG_SECOND, 0), IOMMU_OK);
		cr_assert_eq(rig_map(&rig, 1, 0, P - 1, 9 * P, RW), IOMMU_OK);
		cr_assert(reaches(0, 9 * P));
		cr_assert_eq(rig_set_bypass(&rig, i % 2), 0);
		cr_assert_eq(rig_reset(&rig), 0);
		cr_assert_eq(rig.iommu.bypass, i % 2);
		if (i % 2)
			cr_assert(reaches(0, 0));
		else
			cr_assert(rig_faults(&rig.doors[0], 0, 1, DMA_READ,
					     FAULT_DOMAIN, 0));
		cr_assert_eq(rig_map(&rig, 1, 0, P - 1, 0, RW), IOMMU_NOENT);
		cr_assert_eq(rig.iommu.counters.mapped_bytes, 0);
		rig.answer_count = 0;
	}
	cr_assert_eq(rig.quiet_count, 0);
	rig_teardown(&rig);
}

/* --- drains --- */

Test(iommu, counters_tell_what_was_obeyed_and_rejected)
{
	struct iommu_counters counters;

	rig_setup(&rig, false);
	rig_attach(&rig, 1, RIG_FIRST, 0);
	rig_attach(&rig, 1, 99, 0);
	rig_map(&rig, 1, 0, 8 * P - 1, 0, RW);
	rig_map(&rig, 1, 0, 8 * P - 1, 0, RW);
	rig_map(&rig, 1, 8 * P, 9 * P - 1, 0, RW);
	rig_unmap(&rig, 1, 0, 8 * P - 1);
	rig_unmap(&rig, 1, 1, 8 * P);
	rig_detach(&rig, 2, RIG_FIRST);
	counters = iommu_read_counters(&rig.iommu);
	cr_assert_eq(counters.attach, 1);
	cr_assert_eq(counters.map, 2);
	cr_assert_eq(counters.unmap, 1);
	cr_assert_eq(counters.detach, 0);
	cr_assert_eq(counters.rejected, 4);
	cr_assert_eq(counters.rejected_nomem, 0);
	cr_assert_eq(counters.mapped_bytes, P);
	cr_assert_eq(counters.waits, 0);
	iommu_begin(&rig.iommu);
	iommu_count_rejected(&rig.iommu);
	iommu_end(&rig.iommu);
	cr_assert_eq(iommu_read_counters(&rig.iommu).rejected, 5);
	rig_teardown(&rig);
}

Test(iommu, a_drain_answers_in_order_and_takes_more_than_can_be_deferred)
{
	uint64_t i;

	rig_setup(&rig, false);
	cr_assert_eq(rig_attach(&rig, 1, RIG_FIRST, 0), IOMMU_OK);
	iommu_begin(&rig.iommu);
	for (i = 0; i < 3 * RIG_REQUESTS; i++) {
		cr_assert_eq(iommu_map(&rig.iommu, 1, IOVA(0), IOVA(P - 1),
				       GPA(0), RW),
			     IOMMU_OK);
		cr_assert_eq(iommu_unmap(&rig.iommu, 1, IOVA(0), IOVA(P - 1),
					 100 + i),
			     IOMMU_DEFERRED);
	}
	/* As if the guest had sent the two in one drain. */
	cr_assert_eq(iommu_detach(&rig.iommu, 1, RIG_FIRST, 200),
		     IOMMU_DEFERRED);
	cr_assert_eq(iommu_attach(&rig.iommu, 2, RIG_FIRST, 0, 201), IOMMU_OK);
	iommu_finish(&rig.iommu);
	iommu_end(&rig.iommu);
	cr_assert_eq(rig.answer_count, 3 * RIG_REQUESTS + 1);
	for (i = 0; i < 3 * RIG_REQUESTS; i++) {
		cr_assert_eq(rig.answers[i].cookie, 100 + i);
		cr_assert_eq(rig.answers[i].status, IOMMU_OK);
	}
	cr_assert_eq(rig.answers[i].cookie, 200);
	rig_teardown(&rig);
}

Test(iommu, ending_a_drain_that_was_not_finished_is_our_bug, .signal = SIGABRT)
{
	rig_setup(&rig, false);
	rig_attach(&rig, 1, RIG_FIRST, 0);
	iommu_begin(&rig.iommu);
	iommu_unmap(&rig.iommu, 1, IOVA(0), IOVA(0), 0);
	iommu_end(&rig.iommu);
}
