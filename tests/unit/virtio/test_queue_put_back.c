/* SPDX-License-Identifier: Apache-2.0 */
/* Requests that go back into the ring, and a device that waits for more of them. */
#include <criterion/criterion.h>

#include "support.h"
#include "virtio/queue.h"

static void offer(struct rig *rig, unsigned int count)
{
	unsigned int i;

	for (i = 0; i < count; i++)
		cr_assert_geq(rig_request(rig, 8), 0);
}

Test(queue_put_back, requests_are_taken_again_in_their_order)
{
	struct chain *first[4], *again[4];
	struct rig rig;
	unsigned int i;

	rig_init(&rig, 8, ALL_RING_FEATURES);
	offer(&rig, 4);
	driver_publish(&rig.driver);
	cr_assert_eq(queue_next(&rig.queue, first, 4), 4);
	queue_complete(&rig.queue, first[0], 8);
	queue_put_back(&rig.queue, first + 1, 3);
	cr_expect_eq(queue_read_counters(&rig.queue).chains, 1);
	cr_expect_eq(rig.queue.dma.requests.count, 0, "nothing is in flight");
	cr_expect_eq(queue_waiting(&rig.queue), 3);
	cr_expect_not(queue_arm(&rig.queue));
	queue_publish(&rig.queue);
	cr_assert_eq(queue_next(&rig.queue, again, 4), 3);
	for (i = 0; i < 3; i++)
		cr_expect_eq(again[i], first[i + 1]);
	queue_put_back(&rig.queue, again, 0);
	cr_expect_eq(queue_waiting(&rig.queue), 0);
	rig_destroy(&rig);
}

Test(queue_put_back, wraps_with_the_indices)
{
	struct chain *chain;
	struct rig rig;
	unsigned int i;

	rig_init(&rig, 8, ALL_RING_FEATURES);
	for (i = 0; i < 70000; i++) {
		uint32_t written;
		uint16_t head;

		offer(&rig, 1);
		driver_publish(&rig.driver);
		cr_assert_eq(queue_next(&rig.queue, &chain, 1), 1);
		queue_put_back(&rig.queue, &chain, 1);
		cr_assert_eq(queue_waiting(&rig.queue), 1);
		cr_assert_eq(queue_next(&rig.queue, &chain, 1), 1);
		queue_complete(&rig.queue, chain, 0);
		queue_publish(&rig.queue);
		cr_assert(driver_take_used(&rig.driver, &head, &written));
	}
	rig_destroy(&rig);
}

static void one_more_kicks(uint64_t features)
{
	struct rig rig;

	rig_init(&rig, 8, features);
	offer(&rig, 3);
	driver_publish(&rig.driver);
	queue_disarm(&rig.queue);
	cr_expect_not(queue_arm_beyond(&rig.queue, 2), "there are three");
	cr_expect(queue_arm_beyond(&rig.queue, 3));
	offer(&rig, 1);
	cr_expect(driver_publish(&rig.driver), "the driver notifies");
	cr_expect_not(queue_arm_beyond(&rig.queue, 3));
	rig_destroy(&rig);
}

Test(queue_put_back, arming_beyond_what_waits_asks_for_the_next_one)
{
	one_more_kicks(ALL_RING_FEATURES);
	one_more_kicks(VIRTIO_FEATURE_VERSION_1);
}

Test(queue_put_back, bug06_waiting_judges_the_index)
{
	struct rig rig;

	rig_init(&rig, 8, ALL_RING_FEATURES);
	__atomic_store_n(&rig_available(&rig)->idx, 9, __ATOMIC_RELEASE);
	cr_expect_eq(queue_waiting(&rig.queue), 0);
	cr_expect(queue_is_broken(&rig.queue));
	cr_expect(queue_arm_beyond(&rig.queue, 0));
	rig_destroy(&rig);
}
