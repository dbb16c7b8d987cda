/* SPDX-License-Identifier: Apache-2.0 */
#include "virtio/driver.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "memory/base.h"
#include "support.h"

Test(driver, init_refuses_what_does_not_fit)
{
	static const struct {
		uint16_t size;
		uint16_t tables;
		uint64_t address;
		size_t short_by;
		int result;
	} cases[] = {
		{ 8, 0, 0x1000, 0, 0 },	      { 8, 0, 0x1000, 1, -EINVAL },
		{ 8, 4, 0x1000, 0, 0 },	      { 8, 4, 0x1000, 1, -EINVAL },
		{ 1024, 16, 0x1000, 0, 0 },   { 2048, 0, 0x1000, 0, -EINVAL },
		{ 0, 0, 0x1000, 0, -EINVAL }, { 3, 0, 0x1000, 0, -EINVAL },
		{ 8, 0, 0x1010, 0, -EINVAL },
	};
	uint8_t *host = aligned_alloc(PAGE_SIZE, MIB);
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		size_t bytes = driver_ring_bytes(cases[i].size) +
			       16U * cases[i].size * cases[i].tables -
			       cases[i].short_by;
		struct driver driver;
		int err = driver_init(&driver, host, bytes,
				      IOVA(cases[i].address), cases[i].size,
				      cases[i].tables, true);

		cr_assert_eq(err, cases[i].result, "case %u", i);
		if (!err)
			driver_destroy(&driver);
	}
	free(host);
}

Test(driver, ring_parts_are_aligned_and_apart)
{
	uint8_t *host = aligned_alloc(PAGE_SIZE, MIB);
	uint16_t size;

	for (size = 1; size <= QUEUE_SIZE_MAX; size = (uint16_t)(size * 2)) {
		struct driver driver;
		uint64_t *part;

		cr_assert_eq(driver_init(&driver, host, MIB, IOVA(0x1000), size,
					 0, true),
			     0);
		part = &driver.part_address[0].v;
		cr_assert(is_aligned(part[0], 16) && is_aligned(part[1], 2) &&
			  is_aligned(part[2], 4));
		cr_assert_geq(part[1], part[0] + 16 * size);
		cr_assert_geq(part[2], part[1] + 6 + 2 * size);
		cr_assert_leq(part[2] + 6 + 8 * size,
			      0x1000 + driver_ring_bytes(size));
		cr_assert_eq(driver_ring(&driver, QUEUE_USED),
			     host + (part[2] - 0x1000));
		driver_destroy(&driver);
	}
	free(host);
}

Test(driver, runs_out_of_descriptors_and_gets_them_back)
{
	struct driver_buffer buffers[3] = {
		{ IOVA(DATA_AT), 8, false },
		{ IOVA(DATA_AT + 8), 8, true },
		{ IOVA(DATA_AT + 16), 8, true },
	};
	struct rig rig;
	uint16_t head;
	uint32_t written;
	unsigned int round;

	rig_init(&rig, 8, VIRTIO_FEATURE_VERSION_1);
	for (round = 0; round < 5; round++) {
		cr_assert_geq(driver_add(&rig.driver, buffers, 3), 0);
		cr_assert_geq(driver_add(&rig.driver, buffers, 3), 0);
		cr_assert_eq(driver_add(&rig.driver, buffers, 3), -ENOSPC);
		cr_assert_geq(driver_add(&rig.driver, buffers, 2), 0);
		cr_assert_eq(driver_add(&rig.driver, buffers, 1), -ENOSPC);
		cr_assert_eq(rig.driver.free_count, 0);
		driver_publish(&rig.driver);
		rig_serve(&rig);
		while (driver_take_used(&rig.driver, &head, &written))
			cr_assert(written == 16 || written == 8);
		cr_assert_eq(rig.driver.free_count, 8);
	}
	cr_assert(!queue_is_broken(&rig.queue));
	rig_destroy(&rig);
}

Test(driver, indirect_requests_take_one_descriptor_each)
{
	struct driver_buffer buffers[17];
	struct rig rig;
	unsigned int i;

	for (i = 0; i < 17; i++)
		buffers[i] = (struct driver_buffer){ IOVA(DATA_AT + 0x1000 * i),
						     1, true };
	rig_init(&rig, 16, ALL_RING_FEATURES);
	cr_assert_eq(driver_add_indirect(&rig.driver, buffers, 17), -ENOSPC);
	for (i = 0; i < 16; i++)
		cr_assert_geq(driver_add_indirect(&rig.driver, buffers, 1 + i),
			      0);
	cr_assert_eq(driver_add_indirect(&rig.driver, buffers, 1), -ENOSPC);
	driver_publish(&rig.driver);
	rig_serve(&rig);
	for (i = 0; i < 16; i++) {
		uint32_t written;
		uint16_t head;

		cr_assert(driver_take_used(&rig.driver, &head, &written));
		cr_assert_eq(written, 1 + i);
	}
	cr_assert_eq(rig.driver.free_count, 16);
	rig_destroy(&rig);
}

Test(driver, shows_nothing_before_publish)
{
	struct rig rig;

	rig_init(&rig, 8, ALL_RING_FEATURES);
	cr_assert(!driver_publish(&rig.driver));
	rig_request(&rig, 8);
	rig_request(&rig, 8);
	cr_assert_eq(rig_available(&rig)->idx, 0);
	cr_assert(driver_publish(&rig.driver));
	cr_assert_eq(rig_available(&rig)->idx, 2);
	cr_assert(!driver_publish(&rig.driver), "nothing new");
	rig_destroy(&rig);
}

Test(driver, kicks_as_no_notify_says_without_event_idx)
{
	struct rig rig;

	rig_init(&rig, 8, VIRTIO_FEATURE_VERSION_1);
	rig_request(&rig, 8);
	cr_assert(driver_publish(&rig.driver));
	rig_used(&rig)->flags = VRING_USED_F_NO_NOTIFY;
	rig_request(&rig, 8);
	cr_assert(!driver_publish(&rig.driver));
	rig_destroy(&rig);
}

Test(driver, kicks_when_avail_event_is_passed)
{
	struct rig rig;

	rig_init(&rig, 8, ALL_RING_FEATURES);
	*rig_avail_event(&rig) = 1;
	/* EVENT_IDX: the flag is not looked at. */
	rig_used(&rig)->flags = VRING_USED_F_NO_NOTIFY;
	rig_request(&rig, 8);
	cr_assert(!driver_publish(&rig.driver));
	rig_request(&rig, 8);
	cr_assert(driver_publish(&rig.driver));
	rig_request(&rig, 8);
	cr_assert(!driver_publish(&rig.driver));
	rig_destroy(&rig);
}

Test(driver, wishes_reach_the_ring)
{
	struct rig rig;

	rig_init(&rig, 8, VIRTIO_FEATURE_VERSION_1);
	driver_want_interrupt(&rig.driver, false);
	cr_assert_eq(rig_available(&rig)->flags, VRING_AVAIL_F_NO_INTERRUPT);
	driver_want_interrupt(&rig.driver, true);
	cr_assert_eq(rig_available(&rig)->flags, 0);
	rig_destroy(&rig);

	rig_init(&rig, 8, ALL_RING_FEATURES);
	driver_want_interrupt(&rig.driver, false);
	cr_assert_eq(*rig_used_event(&rig), 0xffff);
	driver_want_interrupt(&rig.driver, true);
	cr_assert_eq(*rig_used_event(&rig), 0);
	cr_assert_eq(rig_available(&rig)->flags, 0);
	rig_destroy(&rig);
}

Test(driver, used_element_of_nobody_frees_nothing)
{
	static const uint32_t ids[] = { 3, 8, 0xffff, 0x10000, UINT32_MAX };
	struct rig rig;
	uint32_t written;
	uint16_t head;
	unsigned int i;

	rig_init(&rig, 8, ALL_RING_FEATURES);
	cr_assert(!driver_take_used(&rig.driver, &head, &written));
	for (i = 0; i < ARRAY_SIZE(ids); i++) {
		rig_used(&rig)->ring[i].id = ids[i];
		rig_used(&rig)->idx++;
		cr_assert(driver_take_used(&rig.driver, &head, &written));
		cr_assert_eq(rig.driver.free_count, 8);
	}
	rig_destroy(&rig);
}

Test(driver, request_answered_twice_is_freed_once)
{
	struct rig rig;
	uint32_t written;
	uint16_t head;

	rig_init(&rig, 8, ALL_RING_FEATURES);
	rig_request(&rig, 8);
	driver_publish(&rig.driver);
	rig_serve(&rig);
	cr_assert(driver_take_used(&rig.driver, &head, &written));
	cr_assert_eq(rig.driver.free_count, 8);
	rig_used(&rig)->ring[1].id = head;
	rig_used(&rig)->idx++;
	cr_assert(driver_take_used(&rig.driver, &head, &written));
	cr_assert_eq(rig.driver.free_count, 8);
	rig_destroy(&rig);
}
