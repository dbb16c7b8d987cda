/* SPDX-License-Identifier: Apache-2.0 */
#include "virtio/queue.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>

#include "memory/base.h"
#include "support.h"

/* --- starting --------------------------------------------------------------- */

Test(queue, bug01_sizes_are_judged_in_32_bits)
{
	static const struct {
		uint32_t size;
		int result;
	} cases[] = {
		{ 0, -EINVAL },
		{ 1, 0 },
		{ 2, 0 },
		{ 3, -EINVAL },
		{ 255, -EINVAL },
		{ 256, 0 },
		{ 257, -EINVAL },
		{ 512, -EINVAL },
		{ 32768, -EINVAL },
		{ 32769, -EINVAL },
		{ 0x10000, -EINVAL },
		{ 0x10001, -EINVAL },
		{ 0x10100, -EINVAL },
		{ 0x80000000, -EINVAL },
		{ 0xffffffff, -EINVAL },
	};
	struct rig rig;
	unsigned int i;

	rig_init(&rig, 256, ALL_RING_FEATURES);
	queue_stop(&rig.queue);
	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		rig.queue.size = cases[i].size;
		cr_assert_eq(queue_check(&rig.queue), cases[i].result, "%u",
			     cases[i].size);
		cr_assert_eq(queue_start(&rig.queue, 0), cases[i].result, "%u",
			     cases[i].size);
		cr_assert_eq(rig.queue.live, cases[i].result == 0);
		queue_stop(&rig.queue);
	}
	rig_destroy(&rig);
}

Test(queue, bug05_rings_must_be_aligned_and_in_ram)
{
	/* 256 entries: 4096, 518 and 2054 bytes. */
	static const struct {
		enum queue_part part;
		uint64_t address;
		int result;
	} cases[] = {
		{ QUEUE_DESCRIPTORS, 0, 0 },
		{ QUEUE_DESCRIPTORS, 8, -EINVAL },
		{ QUEUE_DESCRIPTORS, 0x1ff000, 0 },
		{ QUEUE_DESCRIPTORS, 0x1ff010, -EFAULT },
		{ QUEUE_DESCRIPTORS, LOW_END, -EFAULT },
		{ QUEUE_DESCRIPTORS, 0xd0000000, -EFAULT },
		{ QUEUE_DESCRIPTORS, HIGH_FIRST - 16, -EFAULT },
		{ QUEUE_DESCRIPTORS, HIGH_FIRST, 0 },
		{ QUEUE_DESCRIPTORS, HIGH_END - 4096, 0 },
		{ QUEUE_DESCRIPTORS, HIGH_END - 4080, -EFAULT },
		{ QUEUE_DESCRIPTORS, -UINT64_C(4096), -EFAULT },
		{ QUEUE_DESCRIPTORS, -UINT64_C(4080), -EINVAL },
		{ QUEUE_AVAILABLE, 1, -EINVAL },
		{ QUEUE_AVAILABLE, 2, 0 },
		{ QUEUE_AVAILABLE, LOW_END - 518, 0 },
		{ QUEUE_AVAILABLE, LOW_END - 516, -EFAULT },
		{ QUEUE_AVAILABLE, -UINT64_C(518), -EFAULT },
		{ QUEUE_AVAILABLE, -UINT64_C(516), -EINVAL },
		{ QUEUE_USED, 2, -EINVAL },
		{ QUEUE_USED, 4, 0 },
		{ QUEUE_USED, HIGH_END - 2056, 0 },
		{ QUEUE_USED, HIGH_END - 2052, -EFAULT },
		{ QUEUE_USED, UINT64_MAX - 3, -EINVAL },
	};
	struct rig rig;
	unsigned int i;

	rig_init(&rig, 256, ALL_RING_FEATURES);
	queue_stop(&rig.queue);
	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		driver_attach(&rig.driver, &rig.queue);
		rig.queue.part_address[cases[i].part] = IOVA(cases[i].address);
		cr_assert_eq(queue_start(&rig.queue, 0), cases[i].result,
			     "case %u", i);
		queue_stop(&rig.queue);
	}
	rig_destroy(&rig);
}

Test(queue, stop_forgets_what_was_in_flight_and_a_restart_begins_at_zero)
{
	struct chain *chain;
	struct rig rig;

	rig_init(&rig, 8, ALL_RING_FEATURES);
	rig_request(&rig, 8);
	rig_request(&rig, 8);
	rig_request(&rig, 8);
	driver_publish(&rig.driver);
	cr_assert_eq(queue_next(&rig.queue, &chain, 1), 1);
	cr_assert_eq(queue_next(&rig.queue, &chain, 1), 1);
	queue_complete(&rig.queue, chain, 8);
	queue_break(&rig.queue);

	rig_restart(&rig);
	cr_assert(!queue_is_broken(&rig.queue));
	cr_assert_eq(queue_read_counters(&rig.queue).chains, 2,
		     "counters are kept");
	cr_assert(!queue_publish(&rig.queue), "nothing old is published");
	rig_request(&rig, 8);
	driver_publish(&rig.driver);
	rig_serve(&rig);
	cr_assert_eq(rig_used(&rig)->idx, 1);
	rig_destroy(&rig);
}

Test(queue, stop_of_a_queue_that_is_not_live_changes_nothing)
{
	struct rig rig;

	rig_init(&rig, 8, ALL_RING_FEATURES);
	queue_stop(&rig.queue);
	queue_stop(&rig.queue);
	cr_assert(!rig.queue.live);
	cr_assert(rig.queue.ready);
	queue_reset(&rig.queue);
	cr_assert(!rig.queue.ready);
	cr_assert_eq(rig.queue.size, 0);
	cr_assert_eq(rig.queue.part_address[QUEUE_USED].v, 0);
	rig_destroy(&rig);
}

/* --- batches ---------------------------------------------------------------- */

Test(queue, batch_is_published_once)
{
	struct chain *chains[8];
	struct rig rig;
	unsigned int i;

	rig_init(&rig, 8, ALL_RING_FEATURES);
	for (i = 0; i < 5; i++)
		rig_request(&rig, 100 + i);
	driver_publish(&rig.driver);
	cr_assert_eq(queue_next(&rig.queue, chains, 3), 3,
		     "no more than asked for");
	cr_assert_eq(queue_next(&rig.queue, chains + 3, 5), 2);
	for (i = 0; i < 5; i++) {
		queue_complete(&rig.queue, chains[4 - i], 100 + 4 - i);
		cr_assert_eq(rig_used(&rig)->idx, 0);
	}
	cr_assert(queue_publish(&rig.queue));
	cr_assert_eq(rig_used(&rig)->idx, 5);
	for (i = 0; i < 5; i++) {
		cr_assert_eq(rig_used(&rig)->ring[i].id, 4 - i);
		cr_assert_eq(rig_used(&rig)->ring[i].len, 100 + 4 - i);
	}
	cr_assert(!queue_publish(&rig.queue),
		  "nothing to publish, nothing to say");
	cr_assert_eq(queue_read_counters(&rig.queue).chains, 5);
	cr_assert_eq(queue_read_counters(&rig.queue).interrupts, 1);
	rig_destroy(&rig);
}

Test(queue, indices_wrap_at_65536)
{
	static const uint16_t sizes[] = { 1, 2, 8, 256 };
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(sizes); i++) {
		uint32_t done = 0;
		struct rig rig;

		rig_init(&rig, sizes[i], ALL_RING_FEATURES);
		while (done < 70000) {
			uint32_t written;
			uint16_t head;

			while (rig_request(&rig, 1 + done % 512) >= 0)
				continue;
			driver_publish(&rig.driver);
			rig_serve(&rig);
			while (driver_take_used(&rig.driver, &head, &written))
				done++;
			cr_assert_eq(rig.driver.free_count, sizes[i]);
		}
		cr_assert(!queue_is_broken(&rig.queue));
		cr_assert_eq(queue_read_counters(&rig.queue).chains, done);
		rig_destroy(&rig);
	}
}

Test(queue, used_elements_may_cross_pages)
{
	struct rig rig;
	unsigned int i;

	/* An element starts 4 bytes before a page's end; host pages need not follow. */
	rig_init(&rig, 1024, ALL_RING_FEATURES);
	queue_stop(&rig.queue);
	rig.queue.part_address[QUEUE_USED] = IOVA(DATA_AT + 0xff8);
	cr_assert_eq(queue_start(&rig.queue, VIRTIO_FEATURE_EVENT_IDX), 0);
	rig.queue.rings[QUEUE_USED].pages[1] =
		rig_host(&rig, HIGH_FIRST, 0x1000);
	for (i = 0; i < 4; i++)
		rig_request(&rig, 0x01010101);
	driver_publish(&rig.driver);
	rig_serve(&rig);
	/* flags and idx, then the id of element 0, are the last 8 bytes of page 0. */
	cr_assert_eq(*(uint32_t *)rig_host(&rig, DATA_AT + 0xffc, 4), 0);
	cr_assert_eq(*(uint32_t *)rig_host(&rig, HIGH_FIRST, 4), 0x01010101);
	cr_assert_eq(*(uint32_t *)rig_host(&rig, HIGH_FIRST + 4, 4), 1);
	cr_assert_eq(*(uint32_t *)rig_host(&rig, DATA_AT + 0x1000, 4), 0);
	rig_destroy(&rig);
}

/* bug-classes.md 8: the used element of an answer that failed, and its length. */
Test(queue, bug08_used_length_is_what_was_written_this_time)
{
	static const uint32_t written[] = { 512, 0, 1, UINT32_MAX, 0 };
	struct rig rig;
	unsigned int i;

	rig_init(&rig, 2, ALL_RING_FEATURES);
	for (i = 0; i < ARRAY_SIZE(written); i++) {
		uint32_t len;
		uint16_t head;

		rig_request(&rig, 512);
		driver_publish(&rig.driver);
		queue_complete(&rig.queue, rig_take(&rig), written[i]);
		queue_publish(&rig.queue);
		cr_assert(driver_take_used(&rig.driver, &head, &len));
		cr_assert_eq(len, written[i]);
	}
	rig_destroy(&rig);
}

/* --- notifications ------------------------------------------------------------ */

Test(queue, interrupts_as_no_interrupt_says_without_event_idx)
{
	struct rig rig;

	rig_init(&rig, 8, VIRTIO_FEATURE_VERSION_1);
	rig_request(&rig, 8);
	driver_publish(&rig.driver);
	cr_assert(rig_serve(&rig));
	driver_want_interrupt(&rig.driver, false);
	rig_request(&rig, 8);
	driver_publish(&rig.driver);
	cr_assert(!rig_serve(&rig));
	driver_want_interrupt(&rig.driver, true);
	/* What lies behind the ring is no event index here. */
	*rig_used_event(&rig) = 1000;
	rig_request(&rig, 8);
	driver_publish(&rig.driver);
	cr_assert(rig_serve(&rig));
	cr_assert_eq(queue_read_counters(&rig.queue).interrupts, 2);
	rig_destroy(&rig);
}

Test(queue, interrupts_when_used_event_is_passed_over_the_wrap)
{
	/* Published from @from to @to with used_event @event. */
	static const struct {
		uint16_t from;
		uint16_t to;
		uint16_t event;
		bool interrupt;
	} cases[] = {
		{ 0, 1, 0, true },	    { 0, 1, 1, false },
		{ 0, 1, 0xffff, false },    { 0, 5, 4, true },
		{ 0, 5, 5, false },	    { 5, 8, 4, false },
		{ 5, 8, 5, true },	    { 5, 8, 7, true },
		{ 65535, 0, 65535, true },  { 65535, 0, 0, false },
		{ 65535, 0, 65534, false }, { 65534, 2, 65533, false },
		{ 65534, 2, 65534, true },  { 65534, 2, 65535, true },
		{ 65534, 2, 0, true },	    { 65534, 2, 1, true },
		{ 65534, 2, 2, false },	    { 65534, 2, 32768, false },
	};
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		uint16_t count = (uint16_t)(cases[i].to - cases[i].from);
		struct rig rig;

		rig_init(&rig, 8, ALL_RING_FEATURES);
		rig.queue.next_available = cases[i].from;
		rig.queue.published_used = cases[i].from;
		rig_available(&rig)->idx = cases[i].from;
		rig_used(&rig)->idx = cases[i].from;
		*rig_used_event(&rig) = cases[i].event;
		/* EVENT_IDX: the flag is not looked at. */
		rig_available(&rig)->flags = VRING_AVAIL_F_NO_INTERRUPT;
		while (count-- > 0) {
			rig_descriptor(&rig, count, DATA_AT, 8,
				       VRING_DESC_F_WRITE, 0);
			rig_offer(&rig, count);
		}
		cr_assert_eq(rig_serve(&rig), cases[i].interrupt, "case %u", i);
		cr_assert_eq(rig_used(&rig)->idx, cases[i].to, "case %u", i);
		rig_destroy(&rig);
	}
}

Test(queue, arm_asks_for_the_next_request_and_sees_the_one_that_came)
{
	struct rig rig;

	rig_init(&rig, 8, ALL_RING_FEATURES);
	cr_assert(queue_arm(&rig.queue));
	cr_assert_eq(*rig_avail_event(&rig), 0);
	rig_request(&rig, 8);
	cr_assert(driver_publish(&rig.driver), "armed: kicked");
	cr_assert(!queue_arm(&rig.queue));
	rig_serve(&rig);
	rig_request(&rig, 8);
	cr_assert(!driver_publish(&rig.driver), "not armed: spared");
	rig_serve(&rig);
	cr_assert(queue_arm(&rig.queue));
	cr_assert_eq(*rig_avail_event(&rig), 2);
	cr_assert_eq(rig_used(&rig)->flags, 0);
	rig_destroy(&rig);
}

Test(queue, arm_and_disarm_set_no_notify_without_event_idx)
{
	struct rig rig;

	rig_init(&rig, 8, VIRTIO_FEATURE_VERSION_1);
	queue_disarm(&rig.queue);
	queue_disarm(&rig.queue);
	cr_assert_eq(rig_used(&rig)->flags, VRING_USED_F_NO_NOTIFY);
	rig_request(&rig, 8);
	cr_assert(!driver_publish(&rig.driver));
	rig_serve(&rig);
	cr_assert(queue_arm(&rig.queue));
	cr_assert_eq(rig_used(&rig)->flags, 0);
	cr_assert_eq(*rig_avail_event(&rig), 0,
		     "no event index was negotiated");
	rig_request(&rig, 8);
	cr_assert(driver_publish(&rig.driver));
	cr_assert(!queue_arm(&rig.queue));
	queue_disarm(&rig.queue);
	cr_assert_eq(rig_used(&rig)->flags, VRING_USED_F_NO_NOTIFY);
	rig_destroy(&rig);
}

Test(queue, disarm_leaves_the_flags_alone_with_event_idx)
{
	struct rig rig;

	rig_init(&rig, 8, ALL_RING_FEATURES);
	queue_disarm(&rig.queue);
	cr_assert_eq(rig_used(&rig)->flags, 0);
	rig_destroy(&rig);
}

/* --- what is out with the device ---------------------------------------------- */

/* Chains that share their tails: 8, 7, 6, ... spans; 32 fit. */
Test(queue, chain_that_finds_no_room_stays_until_one_completes)
{
	struct chain *chains[8];
	struct rig rig;
	uint16_t i;

	rig_init(&rig, 8, ALL_RING_FEATURES);
	for (i = 0; i < 8; i++) {
		rig_descriptor(&rig, i, DATA_AT, 8,
			       i < 7 ? VRING_DESC_F_NEXT : 0,
			       (uint16_t)(i + 1));
		rig_offer(&rig, i);
	}
	cr_assert_eq(queue_next(&rig.queue, chains, 8), 5,
		     "8 + 7 + 6 + 5 + 4, not 3");
	cr_assert_eq(queue_next(&rig.queue, chains + 5, 3), 0);
	cr_assert(queue_arm(&rig.queue), "waiting, not spinning");
	cr_assert(!queue_is_broken(&rig.queue));

	queue_complete(&rig.queue, chains[4], 0);
	cr_assert(!queue_arm(&rig.queue), "now it can be taken");
	cr_assert_eq(queue_next(&rig.queue, chains + 5, 3), 3);
	cr_assert_eq(chains[5]->span_count, 3);
	for (i = 0; i < 8; i++) {
		if (i != 4)
			queue_complete(&rig.queue, chains[i], 0);
	}
	queue_publish(&rig.queue);
	cr_assert_eq(rig_used(&rig)->idx, 8);
	cr_assert_eq(rig.queue.dma.requests.count, 0);
	rig_destroy(&rig);
}

Test(queue, table_that_finds_no_room_stays_until_one_completes)
{
	struct driver_buffer buffers[8];
	struct chain *chains[8];
	unsigned int count;
	struct rig rig;
	unsigned int i;

	for (i = 0; i < 8; i++)
		buffers[i] = (struct driver_buffer){ IOVA(DATA_AT + 0x1000 * i),
						     8, true };
	rig_init(&rig, 8, ALL_RING_FEATURES);
	for (i = 0; i < 8; i++)
		driver_add_indirect(&rig.driver, buffers, 8);
	driver_publish(&rig.driver);
	/* How many fit is the door's affair: 32 spans, in runs. */
	count = queue_next(&rig.queue, chains, 8);
	cr_assert(count > 0 && count < 5);
	for (i = 0; i < 8 - count; i++) {
		struct chain *next;

		cr_assert_eq(queue_next(&rig.queue, &next, 1), 0);
		cr_assert(queue_arm(&rig.queue));
		queue_complete(&rig.queue, chains[0], 64);
		cr_assert(!queue_arm(&rig.queue));
		cr_assert_eq(queue_next(&rig.queue, &next, 1), 1);
		cr_assert_eq(next->span_count, 8);
		chains[0] = next;
	}
	queue_publish(&rig.queue);
	cr_assert_eq(rig_used(&rig)->idx, 8 - count);
	rig_destroy(&rig);
}
