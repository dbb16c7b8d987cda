/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>

#include "memory/base.h"
#include "support.h"
#include "virtio/queue.h"

/* What a queue does when its driver breaks it. */

Test(queue_broken, bug06_avail_index_more_than_a_queue_ahead_breaks_it)
{
	static const struct {
		uint16_t taken; /* requests that the device keeps */
		uint16_t index;
		bool broken;
	} cases[] = {
		{ 0, 8, false },     { 0, 9, true },	 { 0, 0x7fff, true },
		{ 0, 0x8000, true }, { 0, 65535, true }, { 3, 3, false },
		{ 3, 8, false },     { 3, 9, true },	 { 3, 11, true },
		{ 3, 2, true },	     { 3, 0, true },
	};
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		struct chain *chains[8];
		struct rig rig;
		uint16_t head;

		rig_init(&rig, 8, ALL_RING_FEATURES);
		for (head = 0; head < 8; head++) {
			rig_descriptor(&rig, head, DATA_AT, 8, 0, 0);
			rig_offer(&rig, head);
		}
		cr_assert_eq(queue_next(&rig.queue, chains, cases[i].taken),
			     cases[i].taken);
		rig_available(&rig)->idx = cases[i].index;
		cr_assert_eq(queue_next(&rig.queue, chains, 8),
			     cases[i].broken ? 0
					     : cases[i].index - cases[i].taken,
			     "case %u", i);
		cr_assert_eq(queue_is_broken(&rig.queue), cases[i].broken,
			     "case %u", i);
		rig_destroy(&rig);
	}
}

Test(queue_broken, completed_but_unpublished_requests_count_as_outstanding)
{
	struct rig rig;
	unsigned int i;

	rig_init(&rig, 4, ALL_RING_FEATURES);
	rig_descriptor(&rig, 0, DATA_AT, 8, 0, 0);
	for (i = 0; i < 4; i++) {
		rig_offer(&rig, 0);
		queue_complete(&rig.queue, rig_take(&rig), 0);
	}
	rig_offer(&rig, 0);
	cr_assert_eq(queue_next(&rig.queue, &(struct chain *){ NULL }, 1), 0);
	cr_assert(queue_is_broken(&rig.queue));
	rig_destroy(&rig);
}

Test(queue_broken, broken_queue_gives_nothing_but_publishes_what_was_done)
{
	struct chain *chains[4];
	struct rig rig;
	unsigned int i;

	rig_init(&rig, 4, ALL_RING_FEATURES);
	for (i = 0; i < 3; i++)
		rig_request(&rig, 8);
	rig_descriptors(&rig)[1].flags = VRING_DESC_F_NEXT;
	rig_descriptors(&rig)[1].next = 4;
	driver_publish(&rig.driver);
	cr_assert_eq(queue_next(&rig.queue, chains, 4), 1, "those before it");
	cr_assert(queue_is_broken(&rig.queue));
	cr_assert_eq(queue_next(&rig.queue, chains + 1, 3), 0);
	cr_assert(queue_arm(&rig.queue));
	queue_disarm(&rig.queue);
	queue_complete(&rig.queue, chains[0], 8);
	cr_assert(queue_publish(&rig.queue));
	cr_assert_eq(rig_used(&rig)->idx, 1);
	rig_destroy(&rig);
}
