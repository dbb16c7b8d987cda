/* SPDX-License-Identifier: Apache-2.0 */
#include "virtio/mmio.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>

#include "memory/base.h"
#include "support.h"

Test(mmio, identity_registers)
{
	struct fake fake;

	fake_init(&fake);
	cr_assert_eq(fake_read(&fake, VIRTIO_MMIO_MAGIC_VALUE), 0x74726976);
	cr_assert_eq(fake_read(&fake, VIRTIO_MMIO_VERSION), 2);
	cr_assert_eq(fake_read(&fake, VIRTIO_MMIO_DEVICE_ID), FAKE_ID);
	cr_assert_eq(fake_read(&fake, VIRTIO_MMIO_VENDOR_ID),
		     VIRTIO_MMIO_VENDOR_SLUICE);
	fake_destroy(&fake);
}

Test(mmio, device_features_by_halves)
{
	static const struct {
		uint32_t select;
		uint32_t value;
	} cases[] = {
		{ 0, (uint32_t)(ALL_RING_FEATURES | FAKE_FEATURE) },
		{ 1, 1 },
		{ 2, 0 },
		{ 0x10000, 0 },
		{ 0x80000000, 0 },
		{ 0xffffffff, 0 },
	};
	struct fake fake;
	unsigned int i;

	fake_init(&fake);
	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		fake_write(&fake, VIRTIO_MMIO_DEVICE_FEATURES_SEL,
			   cases[i].select);
		cr_assert_eq(fake_read(&fake, VIRTIO_MMIO_DEVICE_FEATURES),
			     cases[i].value, "case %u", i);
	}
	fake_destroy(&fake);
}

Test(mmio, bug04_features_are_taken_between_driver_and_features_ok_only)
{
	struct fake fake;
	uint32_t select;

	fake_init(&fake);
	fake_write(&fake, VIRTIO_MMIO_DRIVER_FEATURES, 0x20);
	cr_assert_eq(fake.device.accepted, 0, "before ACKNOWLEDGE");
	fake_write(&fake, VIRTIO_MMIO_STATUS, VIRTIO_STATUS_ACKNOWLEDGE);
	fake_write(&fake, VIRTIO_MMIO_DRIVER_FEATURES, 0x20);
	cr_assert_eq(fake.device.accepted, 0, "before DRIVER");

	fake_to_driver(&fake);
	fake_write(&fake, VIRTIO_MMIO_DRIVER_FEATURES, 0xffffffff);
	fake_write(&fake, VIRTIO_MMIO_DRIVER_FEATURES, (uint32_t)FAKE_FEATURE);
	cr_assert_eq(fake.device.accepted, FAKE_FEATURE,
		     "written whole, not added to");
	for (select = 2; select != 0; select *= 2) {
		fake_write(&fake, VIRTIO_MMIO_DRIVER_FEATURES_SEL, select);
		fake_write(&fake, VIRTIO_MMIO_DRIVER_FEATURES, 0xffffffff);
		cr_assert_eq(fake.device.accepted, FAKE_FEATURE, "half %u",
			     select);
	}
	fake_write(&fake, VIRTIO_MMIO_DRIVER_FEATURES_SEL, 1);
	fake_write(&fake, VIRTIO_MMIO_DRIVER_FEATURES, 1);
	cr_assert_eq(fake.device.accepted,
		     FAKE_FEATURE | VIRTIO_FEATURE_VERSION_1);

	fake_write(&fake, VIRTIO_MMIO_STATUS, 11);
	cr_assert_eq(fake_read(&fake, VIRTIO_MMIO_STATUS), 11);
	fake_write(&fake, VIRTIO_MMIO_DRIVER_FEATURES, 0);
	cr_assert_eq(fake.device.accepted,
		     FAKE_FEATURE | VIRTIO_FEATURE_VERSION_1,
		     "after FEATURES_OK");

	fake_to_driver(&fake);
	fake_write(&fake, VIRTIO_MMIO_STATUS, 3 | VIRTIO_STATUS_FAILED);
	fake_write(&fake, VIRTIO_MMIO_DRIVER_FEATURES, 0x20);
	cr_assert_eq(fake.device.accepted, 0, "after FAILED");
	fake_destroy(&fake);
}

Test(mmio, bug02_queue_select_out_of_range_is_no_queue)
{
	static const uint32_t selects[] = {
		FAKE_QUEUES, 16, 256, 0x10000, 0x80000000, 0xffffffff
	};
	static const uint32_t registers[] = {
		VIRTIO_MMIO_QUEUE_NUM,	     VIRTIO_MMIO_QUEUE_READY,
		VIRTIO_MMIO_QUEUE_DESC_LOW,  VIRTIO_MMIO_QUEUE_DESC_HIGH,
		VIRTIO_MMIO_QUEUE_AVAIL_LOW, VIRTIO_MMIO_QUEUE_AVAIL_HIGH,
		VIRTIO_MMIO_QUEUE_USED_LOW,  VIRTIO_MMIO_QUEUE_USED_HIGH,
	};
	struct queue before[FAKE_QUEUES];
	struct fake fake;
	unsigned int i;
	unsigned int j;

	fake_init(&fake);
	fake_to_features_ok(&fake, ALL_RING_FEATURES);
	memcpy(before, fake.device.queues, sizeof(before));
	for (i = 0; i < ARRAY_SIZE(selects); i++) {
		fake_write(&fake, VIRTIO_MMIO_QUEUE_SEL, selects[i]);
		cr_assert_eq(fake_read(&fake, VIRTIO_MMIO_QUEUE_NUM_MAX), 0);
		cr_assert_eq(fake_read(&fake, VIRTIO_MMIO_QUEUE_READY), 0);
		for (j = 0; j < ARRAY_SIZE(registers); j++) {
			fake_write(&fake, registers[j], 1);
			fake_write(&fake, registers[j], 0);
		}
	}
	cr_assert_eq(memcmp(before, fake.device.queues, sizeof(before)), 0);
	for (i = 0; i < FAKE_QUEUES; i++) {
		fake_write(&fake, VIRTIO_MMIO_QUEUE_SEL, i);
		cr_assert_eq(fake_read(&fake, VIRTIO_MMIO_QUEUE_NUM_MAX),
			     FAKE_QUEUE_SIZE);
	}
	fake_destroy(&fake);
}

Test(mmio, bug02_only_notifications_of_live_queues_arrive)
{
	static const uint32_t wrong[] = { FAKE_QUEUES, 255,	   0x10000,
					  0x10002,     0x80000000, 0xffffffff };
	struct fake fake;
	unsigned int i;

	fake_init(&fake);
	fake_write(&fake, VIRTIO_MMIO_QUEUE_NOTIFY, 0);
	fake_to_features_ok(&fake, ALL_RING_FEATURES);
	fake_set_up_queue(&fake, 0);
	fake_set_up_queue(&fake, 2);
	fake_write(&fake, VIRTIO_MMIO_QUEUE_NOTIFY, 0);
	cr_assert_eq(fake_count(&fake, 'n'), 0, "ready is not live");
	fake_write(&fake, VIRTIO_MMIO_STATUS, 15);
	fake_write(&fake, VIRTIO_MMIO_QUEUE_NOTIFY, 1);
	for (i = 0; i < ARRAY_SIZE(wrong); i++)
		fake_write(&fake, VIRTIO_MMIO_QUEUE_NOTIFY, wrong[i]);
	cr_assert_eq(fake_count(&fake, 'n'), 0);
	fake_write(&fake, VIRTIO_MMIO_QUEUE_NOTIFY, 2);
	cr_assert_eq(fake_count(&fake, 'n'), 1);
	cr_assert_eq(fake.calls[fake.call_count - 1].index, 2);
	fake_write(&fake, VIRTIO_MMIO_STATUS, 0);
	fake_write(&fake, VIRTIO_MMIO_QUEUE_NOTIFY, 2);
	cr_assert_eq(fake_count(&fake, 'n'), 1);
	fake_destroy(&fake);
}

static const struct {
	uint32_t size;
	bool good;
} sizes[] = {
	{ 0, false },	    { 1, true },	{ 3, false },
	{ 128, true },	    { 256, true },	{ 512, false },
	{ 32768, false },   { 32769, false },	{ 0x10000, false },
	{ 0x10001, false }, { 0x10100, false }, { 0xffffffff, false },
};

Test(mmio, bug01_queue_size_is_judged_at_queue_ready)
{
	struct fake fake;
	unsigned int i;

	fake_init(&fake);
	fake_to_features_ok(&fake, ALL_RING_FEATURES);
	fake_write(&fake, VIRTIO_MMIO_QUEUE_READY, 1);
	cr_assert_eq(fake_read(&fake, VIRTIO_MMIO_QUEUE_READY), 0,
		     "no size was written");
	for (i = 0; i < ARRAY_SIZE(sizes); i++) {
		fake_write(&fake, VIRTIO_MMIO_QUEUE_NUM, sizes[i].size);
		cr_assert_eq(fake.device.queues[0].size, sizes[i].size,
			     "kept as written");
		fake_write(&fake, VIRTIO_MMIO_QUEUE_READY, 1);
		cr_assert_eq(fake_read(&fake, VIRTIO_MMIO_QUEUE_READY),
			     sizes[i].good, "%u", sizes[i].size);
		fake_write(&fake, VIRTIO_MMIO_QUEUE_READY, 0);
		cr_assert_eq(fake_read(&fake, VIRTIO_MMIO_QUEUE_READY), 0);
	}
	fake_destroy(&fake);
}

Test(mmio, bug01_queue_size_cannot_change_once_ready_or_live)
{
	struct fake fake;
	unsigned int i;

	fake_init(&fake);
	fake_to_features_ok(&fake, ALL_RING_FEATURES);
	fake_set_up_queue(&fake, 0);
	for (i = 0; i < ARRAY_SIZE(sizes); i++) {
		fake_write(&fake, VIRTIO_MMIO_QUEUE_NUM, sizes[i].size);
		cr_assert_eq(fake.device.queues[0].size, FAKE_QUEUE_SIZE,
			     "ready");
	}
	fake_write(&fake, VIRTIO_MMIO_STATUS, 15);
	cr_assert(fake.device.queues[0].live);
	for (i = 0; i < ARRAY_SIZE(sizes); i++) {
		fake_write(&fake, VIRTIO_MMIO_QUEUE_SEL, 0);
		fake_write(&fake, VIRTIO_MMIO_QUEUE_NUM, sizes[i].size);
		cr_assert_eq(fake.device.queues[0].size, FAKE_QUEUE_SIZE,
			     "live");
		cr_assert_eq(fake.device.queues[0].ring_size, FAKE_QUEUE_SIZE);
		fake_write(&fake, VIRTIO_MMIO_QUEUE_SEL, 1);
		fake_write(&fake, VIRTIO_MMIO_QUEUE_NUM, sizes[i].size);
		cr_assert_eq(fake.device.queues[1].size, 0,
			     "another queue, device live");
	}
	fake_write(&fake, VIRTIO_MMIO_QUEUE_SEL, 0);
	fake_write(&fake, VIRTIO_MMIO_QUEUE_READY, 0);
	fake_write(&fake, VIRTIO_MMIO_QUEUE_NUM, 1);
	cr_assert_eq(fake.device.queues[0].size, FAKE_QUEUE_SIZE,
		     "stopped, device live");
	fake_destroy(&fake);
}

Test(mmio, queue_addresses_have_two_halves_and_freeze_when_ready)
{
	static const uint32_t registers[] = {
		VIRTIO_MMIO_QUEUE_DESC_LOW,
		VIRTIO_MMIO_QUEUE_AVAIL_LOW,
		VIRTIO_MMIO_QUEUE_USED_LOW,
	};
	struct fake fake;
	struct queue *queue;
	unsigned int i;

	fake_init(&fake);
	queue = &fake.device.queues[0];
	fake_to_features_ok(&fake, ALL_RING_FEATURES);
	for (i = 0; i < QUEUE_PARTS; i++) {
		fake_write(&fake, registers[i], 0xfffffff0);
		fake_write(&fake, registers[i] + 4, 0x89abcdef);
		cr_assert_eq(queue->part_address[i].v, 0x89abcdeffffffff0);
		fake_write(&fake, registers[i], 0x1000 * (i + 1));
		cr_assert_eq(queue->part_address[i].v,
			     0x89abcdef00000000 + 0x1000 * (i + 1));
		cr_assert_eq(fake_read(&fake, registers[i]), 0, "write-only");
	}
	fake_write(&fake, VIRTIO_MMIO_QUEUE_NUM, 16);
	fake_write(&fake, VIRTIO_MMIO_QUEUE_READY, 1);
	cr_assert_eq(fake_read(&fake, VIRTIO_MMIO_QUEUE_READY), 1);
	for (i = 0; i < QUEUE_PARTS; i++) {
		fake_write(&fake, registers[i], 0);
		fake_write(&fake, registers[i] + 4, 0);
		cr_assert_eq(queue->part_address[i].v,
			     0x89abcdef00000000 + 0x1000 * (i + 1));
	}
	fake_destroy(&fake);
}

Test(mmio, queue_ready_refuses_addresses_that_cannot_be)
{
	static const struct {
		uint32_t offset;
		uint32_t low;
		uint32_t high;
	} cases[] = {
		{ VIRTIO_MMIO_QUEUE_DESC_LOW, 8, 0 },
		{ VIRTIO_MMIO_QUEUE_DESC_LOW, 0xfffffff0, 0xffffffff },
		{ VIRTIO_MMIO_QUEUE_AVAIL_LOW, 1, 0 },
		{ VIRTIO_MMIO_QUEUE_AVAIL_LOW, 0xfffffffe, 0xffffffff },
		{ VIRTIO_MMIO_QUEUE_USED_LOW, 2, 0 },
		{ VIRTIO_MMIO_QUEUE_USED_LOW, 0xfffffffc, 0xffffffff },
	};
	struct fake fake;
	unsigned int i;

	fake_init(&fake);
	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		fake_to_features_ok(&fake, ALL_RING_FEATURES);
		fake_set_up_queue(&fake, 0);
		fake_write(&fake, VIRTIO_MMIO_QUEUE_READY, 0);
		fake_write(&fake, cases[i].offset, cases[i].low);
		fake_write(&fake, cases[i].offset + 4, cases[i].high);
		fake_write(&fake, VIRTIO_MMIO_QUEUE_READY, 1);
		cr_assert_eq(fake_read(&fake, VIRTIO_MMIO_QUEUE_READY), 0,
			     "case %u", i);
	}
	fake_destroy(&fake);
}

Test(mmio, queue_ready_takes_0_and_1_only)
{
	struct fake fake;

	fake_init(&fake);
	fake_to_features_ok(&fake, ALL_RING_FEATURES);
	fake_set_up_queue(&fake, 0);
	fake_write(&fake, VIRTIO_MMIO_QUEUE_READY, 2);
	cr_assert_eq(fake_read(&fake, VIRTIO_MMIO_QUEUE_READY), 1);
	fake_write(&fake, VIRTIO_MMIO_QUEUE_READY, 0);
	fake_write(&fake, VIRTIO_MMIO_QUEUE_READY, 0x80000000);
	cr_assert_eq(fake_read(&fake, VIRTIO_MMIO_QUEUE_READY), 0);
	fake_destroy(&fake);
}

Test(mmio, queue_ready_0_stops_a_live_queue_until_the_next_reset)
{
	struct fake fake;

	fake_init(&fake);
	fake_to_driver_ok(&fake);
	fake_forget(&fake);
	fake_write(&fake, VIRTIO_MMIO_QUEUE_SEL, 1);
	fake_write(&fake, VIRTIO_MMIO_QUEUE_READY, 0);
	cr_assert_eq(fake.call_count, 1);
	cr_assert_eq(fake.calls[0].what, 'q');
	cr_assert_eq(fake.calls[0].index, 1);
	cr_assert(fake.calls[0].live);
	cr_assert_eq(fake_read(&fake, VIRTIO_MMIO_QUEUE_READY), 0);
	cr_assert(!fake.device.queues[1].live);
	cr_assert(fake.device.queues[0].live);
	fake_write(&fake, VIRTIO_MMIO_QUEUE_READY, 0);
	cr_assert_eq(fake.call_count, 1, "it is stopped once");
	fake_write(&fake, VIRTIO_MMIO_QUEUE_READY, 1);
	cr_assert_eq(fake_read(&fake, VIRTIO_MMIO_QUEUE_READY), 0,
		     "the device is live");
	fake_write(&fake, VIRTIO_MMIO_QUEUE_NOTIFY, 1);
	cr_assert_eq(fake_count(&fake, 'n'), 0);
	fake_destroy(&fake);
}

Test(mmio, interrupt_status_is_cleared_bit_by_bit)
{
	struct fake fake;

	fake_init(&fake);
	fake_to_driver_ok(&fake);
	virtio_device_signal_used(&fake.device);
	virtio_device_signal_config(&fake.device);
	cr_assert_eq(fake_read(&fake, VIRTIO_MMIO_INTERRUPT_STATUS), 3);
	fake_write(&fake, VIRTIO_MMIO_INTERRUPT_STATUS, 0);
	cr_assert_eq(fake_read(&fake, VIRTIO_MMIO_INTERRUPT_STATUS), 3,
		     "read-only");
	fake_write(&fake, VIRTIO_MMIO_INTERRUPT_ACK, 0);
	cr_assert_eq(fake_read(&fake, VIRTIO_MMIO_INTERRUPT_STATUS), 3);
	fake_write(&fake, VIRTIO_MMIO_INTERRUPT_ACK, 1);
	cr_assert_eq(fake_read(&fake, VIRTIO_MMIO_INTERRUPT_STATUS), 2);
	fake_write(&fake, VIRTIO_MMIO_INTERRUPT_ACK, 0xffffffff);
	cr_assert_eq(fake_read(&fake, VIRTIO_MMIO_INTERRUPT_STATUS), 0);
	fake_destroy(&fake);
}

Test(mmio, status_register_is_the_status)
{
	struct fake fake;

	fake_init(&fake);
	cr_assert_eq(fake_read(&fake, VIRTIO_MMIO_STATUS), 0);
	fake_to_driver_ok(&fake);
	cr_assert_eq(fake_read(&fake, VIRTIO_MMIO_STATUS), 15);
	virtio_device_needs_reset(&fake.device);
	cr_assert_eq(fake_read(&fake, VIRTIO_MMIO_STATUS), 79);
	fake_write(&fake, VIRTIO_MMIO_STATUS, 0);
	cr_assert_eq(fake_read(&fake, VIRTIO_MMIO_STATUS), 0);
	fake_destroy(&fake);
}

Test(mmio, there_is_no_shared_memory)
{
	static const uint32_t registers[] = {
		VIRTIO_MMIO_SHM_LEN_LOW,
		VIRTIO_MMIO_SHM_LEN_HIGH,
		VIRTIO_MMIO_SHM_BASE_LOW,
		VIRTIO_MMIO_SHM_BASE_HIGH,
	};
	struct fake fake;
	unsigned int i;

	fake_init(&fake);
	fake_write(&fake, VIRTIO_MMIO_SHM_SEL, 1);
	for (i = 0; i < ARRAY_SIZE(registers); i++)
		cr_assert_eq(fake_read(&fake, registers[i]), 0xffffffff);
	fake_destroy(&fake);
}

Test(mmio, config_generation_follows_changes)
{
	struct fake fake;
	uint32_t before;

	fake_init(&fake);
	before = fake_read(&fake, VIRTIO_MMIO_CONFIG_GENERATION);
	fake_write(&fake, VIRTIO_MMIO_CONFIG_GENERATION, 77);
	cr_assert_eq(fake_read(&fake, VIRTIO_MMIO_CONFIG_GENERATION), before);
	virtio_device_signal_config(&fake.device);
	cr_assert_neq(fake_read(&fake, VIRTIO_MMIO_CONFIG_GENERATION), before);
	fake_destroy(&fake);
}
