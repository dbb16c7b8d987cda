/* SPDX-License-Identifier: Apache-2.0 */
#include "virtio/device.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>

#include "memory/base.h"
#include "support.h"
#include "virtio/mmio.h"

#define ACK VIRTIO_STATUS_ACKNOWLEDGE
#define DRIVER VIRTIO_STATUS_DRIVER
#define F_OK VIRTIO_STATUS_FEATURES_OK
#define D_OK VIRTIO_STATUS_DRIVER_OK
#define FAILED VIRTIO_STATUS_FAILED
#define NEEDS_RESET VIRTIO_STATUS_NEEDS_RESET
#define VERSION_1 VIRTIO_FEATURE_VERSION_1

static void set_status(struct fake *fake, uint32_t status)
{
	lock_take(&fake->device.lock);
	virtio_device_set_status(&fake->device, status);
	lock_drop(&fake->device.lock);
}

Test(device, bug04_status_steps_only_in_order)
{
	/* Writes one after the other, 0-terminated, and what the status is then. */
	static const struct {
		uint32_t writes[6];
		uint8_t status;
	} cases[] = {
		{ { ACK }, ACK },
		{ { ACK, ACK | DRIVER }, ACK | DRIVER },
		{ { ACK | DRIVER }, ACK | DRIVER },
		{ { DRIVER }, 0 },
		{ { F_OK }, 0 },
		{ { D_OK }, 0 },
		{ { NEEDS_RESET }, 0 },
		{ { ACK, ACK | NEEDS_RESET }, ACK },
		{ { 0x100 }, 0 },
		{ { 0xffffff00 }, 0 },
		{ { 0x30 }, 0 },
		{ { ACK | 0x100 }, ACK },
		{ { ACK, ACK | F_OK }, ACK },
		{ { ACK, ACK | D_OK }, ACK },
		{ { ACK, ACK | DRIVER, ACK | DRIVER | D_OK }, ACK | DRIVER },
		/* No bit is cleared but by 0. */
		{ { ACK | DRIVER, ACK }, ACK | DRIVER },
		{ { ACK | DRIVER, DRIVER }, ACK | DRIVER },
		{ { ACK | DRIVER, F_OK }, ACK | DRIVER },
		/* VERSION_1 was not accepted here. */
		{ { ACK | DRIVER, ACK | DRIVER | F_OK }, ACK | DRIVER },
		{ { ACK | DRIVER, ACK | DRIVER | F_OK | D_OK }, ACK | DRIVER },
		/* FAILED may come at any time, and ends it. */
		{ { FAILED }, FAILED },
		{ { ACK, ACK | FAILED }, ACK | FAILED },
		{ { ACK, ACK | FAILED, ACK | DRIVER | FAILED }, ACK | FAILED },
		{ { ACK, FAILED }, ACK },
		{ { 0xffffffff }, FAILED },
	};
	struct fake fake;
	unsigned int i;
	unsigned int j;

	fake_init(&fake);
	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		for (j = 0; cases[i].writes[j]; j++)
			set_status(&fake, cases[i].writes[j]);
		cr_assert_eq(virtio_device_status(&fake.device),
			     cases[i].status, "case %u: %#x", i,
			     virtio_device_status(&fake.device));
		set_status(&fake, 0);
		cr_assert_eq(virtio_device_status(&fake.device), 0);
	}
	cr_assert_eq(fake.call_count, 0, "no operation was called");
	fake_destroy(&fake);
}

Test(device, features_ok_is_refused_for_what_cannot_be)
{
	static const uint64_t platform = VIRTIO_FEATURE_ACCESS_PLATFORM;
	static const struct {
		uint64_t extra; /* offered besides */
		uint64_t accepted;
		bool ok;
	} cases[] = {
		{ 0, VERSION_1, true },
		{ 0, ALL_RING_FEATURES | FAKE_FEATURE, true },
		{ 0, 0, false },
		{ 0, FAKE_FEATURE, false },
		{ 0, VERSION_1 | VIRTIO_FEATURE(6), false },
		{ 0, VERSION_1 | VIRTIO_FEATURE(63), false },
		{ 0, VERSION_1 | VIRTIO_FEATURE(0), false },
		{ 0, VERSION_1 | VIRTIO_FEATURE_ACCESS_PLATFORM, false },
		{ platform, VERSION_1, false },
		{ platform, VERSION_1 | VIRTIO_FEATURE_ACCESS_PLATFORM, true },
	};
	struct fake fake;
	unsigned int i;

	fake_init(&fake);
	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		fake.device.offered &= ~platform;
		fake.device.offered |= cases[i].extra;
		fake_to_features_ok(&fake, cases[i].accepted);
		cr_assert_eq(virtio_device_status(&fake.device),
			     ACK | DRIVER | (cases[i].ok ? F_OK : 0), "case %u",
			     i);
		set_status(&fake, ACK | DRIVER | F_OK | D_OK);
		cr_assert_eq(!!(virtio_device_status(&fake.device) & D_OK),
			     cases[i].ok);
		cr_assert_eq(virtio_device_has_feature(&fake.device,
						       cases[i].accepted),
			     true);
		cr_assert(!virtio_device_has_feature(
			&fake.device, VIRTIO_FEATURE(7) | VERSION_1));
	}
	fake_destroy(&fake);
}

Test(device, driver_ok_starts_the_ready_queues_and_then_the_device)
{
	struct fake fake;

	fake_init(&fake);
	fake_to_features_ok(&fake, ALL_RING_FEATURES);
	fake_set_up_queue(&fake, 0);
	fake_set_up_queue(&fake, 2);
	cr_assert_eq(fake.call_count, 0);
	set_status(&fake, ACK | DRIVER | F_OK | D_OK);
	cr_assert_eq(virtio_device_status(&fake.device),
		     ACK | DRIVER | F_OK | D_OK);
	cr_assert(fake.device.queues[0].live);
	cr_assert(!fake.device.queues[1].live);
	cr_assert(fake.device.queues[2].live);
	cr_assert(fake.device.queues[0].event_idx);
	cr_assert(fake.device.queues[0].indirect);
	cr_assert_eq(fake.call_count, 1);
	cr_assert_eq(fake.calls[0].what, 's');
	cr_assert(fake.calls[0].live, "its queues were live when it started");
	set_status(&fake, ACK | DRIVER | F_OK | D_OK);
	cr_assert_eq(fake.call_count, 1, "once");
	fake_destroy(&fake);
}

Test(device, features_that_were_not_accepted_do_not_reach_the_queues)
{
	struct fake fake;

	fake_init(&fake);
	fake_to_features_ok(&fake, VERSION_1);
	fake_set_up_queue(&fake, 0);
	set_status(&fake, ACK | DRIVER | F_OK | D_OK);
	cr_assert(!fake.device.queues[0].event_idx);
	cr_assert(!fake.device.queues[0].indirect);
	fake_destroy(&fake);
}

Test(device, bug04_reset_stops_live_queues_first_and_clears_status_last)
{
	struct fake fake;
	unsigned int i;

	fake_init(&fake);
	fake_to_features_ok(&fake, ALL_RING_FEATURES);
	fake_set_up_queue(&fake, 0);
	fake_set_up_queue(&fake, 2);
	fake_write(&fake, VIRTIO_MMIO_QUEUE_SEL, 1);
	fake_write(&fake, VIRTIO_MMIO_QUEUE_NUM, 16);
	set_status(&fake, ACK | DRIVER | F_OK | D_OK);
	virtio_device_signal_used(&fake.device);
	fake_forget(&fake);

	set_status(&fake, 0);
	cr_assert_eq(fake.call_count, 2);
	for (i = 0; i < 2; i++) {
		cr_assert_eq(fake.calls[i].what, 'q');
		cr_assert_eq(fake.calls[i].index, 2 * i);
		cr_assert(fake.calls[i].live);
		cr_assert(fake.calls[i].status & D_OK);
	}
	cr_assert_eq(virtio_device_status(&fake.device), 0);
	cr_assert_eq(fake.device.interrupt_status, 0);
	cr_assert_eq(fake.device.accepted, 0);
	cr_assert_eq(fake.device.queue_select, 0);
	cr_assert_eq(fake.device.device_feature_select, 0);
	cr_assert_eq(fake.device.driver_feature_select, 0);
	for (i = 0; i < FAKE_QUEUES; i++) {
		cr_assert(!fake.device.queues[i].live &&
			  !fake.device.queues[i].ready);
		cr_assert_eq(fake.device.queues[i].size, 0);
	}
	fake_forget(&fake);
	set_status(&fake, 0);
	cr_assert_eq(fake.call_count, 0, "nothing is live any more");
	fake_destroy(&fake);
}

Test(device, bug04_reset_and_everything_works_again)
{
	struct fake fake;
	unsigned int round;

	fake_init(&fake);
	for (round = 0; round < 3; round++) {
		struct driver_buffer buffer = { IOVA(DATA_AT), 8, true };
		struct queue *queue = &fake.device.queues[1];
		struct chain *chain;

		fake_to_driver_ok(&fake);
		cr_assert_eq(queue_next(queue, &chain, 1), 0,
			     "nothing of the last life");
		cr_assert_geq(driver_add(&fake.drivers[1], &buffer, 1), 0);
		driver_publish(&fake.drivers[1]);
		cr_assert_eq(queue_next(queue, &chain, 1), 1);
		/* The device is reset with a request in its hands and a broken queue. */
		queue_break(queue);
		cr_assert(!virtio_device_check_queue(&fake.device, queue));
		cr_assert(virtio_device_status(&fake.device) & NEEDS_RESET);
		set_status(&fake, 0);
		driver_destroy(&fake.drivers[1]);
		driver_init(&fake.drivers[1],
			    guest_memory_host(&fake.memory, GPA(RINGS_AT * 2),
					      RINGS_AT),
			    RINGS_AT, IOVA(RINGS_AT * 2), FAKE_QUEUE_SIZE, 0,
			    true);
	}
	fake_destroy(&fake);
}

Test(device, bug04_reset_cut_short_leaves_everything_and_can_be_repeated)
{
	struct fake fake;

	fake_init(&fake);
	fake_to_driver_ok(&fake);
	fake.stop_result = -EINTR;
	set_status(&fake, 0);
	cr_assert_eq(virtio_device_status(&fake.device),
		     ACK | DRIVER | F_OK | D_OK);
	cr_assert(fake.device.queues[0].live && fake.device.queues[0].ready);
	cr_assert_eq(fake_count(&fake, 'q'), 1);

	fake_write(&fake, VIRTIO_MMIO_QUEUE_SEL, 1);
	fake_write(&fake, VIRTIO_MMIO_QUEUE_READY, 0);
	cr_assert(fake.device.queues[1].live && fake.device.queues[1].ready);

	fake.stop_result = 0;
	set_status(&fake, 0);
	cr_assert_eq(virtio_device_status(&fake.device), 0);
	cr_assert(!fake.device.queues[0].live);
	fake_to_driver_ok(&fake);
	cr_assert(fake.device.queues[0].live);
	fake_destroy(&fake);
}

Test(device, bug05_ready_queue_that_is_not_in_ram_needs_reset)
{
	struct fake fake;

	fake_init(&fake);
	fake_to_features_ok(&fake, ALL_RING_FEATURES);
	fake_set_up_queue(&fake, 0);
	fake.drivers[1].part_address[QUEUE_USED] = IOVA(0xd0000000);
	fake_set_up_queue(&fake, 1);
	cr_assert_eq(fake_read(&fake, VIRTIO_MMIO_QUEUE_READY), 1);
	set_status(&fake, ACK | DRIVER | F_OK | D_OK);
	cr_assert_eq(virtio_device_status(&fake.device),
		     ACK | DRIVER | F_OK | D_OK | NEEDS_RESET);
	cr_assert_eq(fake_count(&fake, 's'), 0, "it was not started");
	cr_assert_eq(fake_count(&fake, 'i'), 1);
	cr_assert_eq(fake.device.interrupt_status, VIRTIO_INTERRUPT_CONFIG);
	cr_assert(!fake.device.queues[0].live);
	set_status(&fake, 0);
	cr_assert_eq(fake_count(&fake, 'q'), 0,
		     "no thread serves it: none is asked to stop");
	fake.drivers[1].part_address[QUEUE_USED] =
		fake.drivers[0].part_address[QUEUE_USED];
	fake_to_driver_ok(&fake);
	cr_assert_eq(virtio_device_status(&fake.device),
		     ACK | DRIVER | F_OK | D_OK);
	fake_destroy(&fake);
}

Test(device, bug04_start_that_fails_needs_reset_and_can_be_repeated)
{
	struct fake fake;

	fake_init(&fake);
	fake.start_result = -EIO;
	fake_to_driver_ok(&fake);
	cr_assert_eq(virtio_device_status(&fake.device),
		     ACK | DRIVER | F_OK | D_OK | NEEDS_RESET);
	cr_assert(!fake.device.queues[0].live);
	fake.start_result = 0;
	fake_to_driver_ok(&fake);
	cr_assert_eq(virtio_device_status(&fake.device),
		     ACK | DRIVER | F_OK | D_OK);
	cr_assert(fake.device.queues[0].live);
	fake_destroy(&fake);
}

Test(device, needs_reset_interrupts_a_live_driver_once)
{
	struct fake fake;

	fake_init(&fake);
	fake_to_driver_ok(&fake);
	fake_forget(&fake);
	cr_assert(virtio_device_check_queue(&fake.device,
					    &fake.device.queues[0]));
	virtio_device_needs_reset(&fake.device);
	virtio_device_needs_reset(&fake.device);
	cr_assert_eq(fake_count(&fake, 'i'), 1);
	cr_assert_eq(fake.device.interrupt_status, VIRTIO_INTERRUPT_CONFIG);
	/* A driver that has not read it yet writes the rest back. */
	set_status(&fake, ACK | DRIVER | F_OK | D_OK | FAILED);
	cr_assert_eq(virtio_device_status(&fake.device),
		     ACK | DRIVER | F_OK | D_OK | FAILED | NEEDS_RESET);
	set_status(&fake, 0);
	cr_assert_eq(virtio_device_status(&fake.device), 0);
	fake_destroy(&fake);
}

Test(device, needs_reset_before_the_driver_is_live_is_told_at_driver_ok)
{
	struct fake fake;

	fake_init(&fake);
	fake_to_features_ok(&fake, ALL_RING_FEATURES);
	fake_set_up_queue(&fake, 0);
	virtio_device_needs_reset(&fake.device);
	cr_assert_eq(fake.call_count, 0);
	set_status(&fake, ACK | DRIVER | F_OK | D_OK);
	cr_assert_eq(fake_count(&fake, 's'), 0);
	cr_assert_eq(fake_count(&fake, 'i'), 1);
	cr_assert(!fake.device.queues[0].live);
	fake_destroy(&fake);
}

Test(device, signals_set_their_bit_and_interrupt_each_time)
{
	struct fake fake;

	fake_init(&fake);
	fake_to_driver_ok(&fake);
	fake_forget(&fake);
	virtio_device_signal_used(&fake.device);
	cr_assert_eq(fake.device.interrupt_status, VIRTIO_INTERRUPT_USED);
	virtio_device_signal_used(&fake.device);
	cr_assert_eq(fake_count(&fake, 'i'), 2,
		     "the edge is sent though the bit was set");
	virtio_device_signal_config(&fake.device);
	cr_assert_eq(fake.device.interrupt_status,
		     VIRTIO_INTERRUPT_USED | VIRTIO_INTERRUPT_CONFIG);
	cr_assert_eq(fake_count(&fake, 'i'), 3);
	fake.device.interrupt = NULL;
	virtio_device_signal_used(&fake.device);
	fake_destroy(&fake);
}

Test(device, config_change_without_a_driver_only_counts)
{
	struct fake fake;

	fake_init(&fake);
	virtio_device_signal_config(&fake.device);
	cr_assert_eq(fake.call_count, 0);
	cr_assert_eq(fake.device.interrupt_status, 0);
	cr_assert_eq(fake.device.config_generation, 1);
	fake_to_driver(&fake);
	virtio_device_signal_config(&fake.device);
	cr_assert_eq(fake_count(&fake, 'i'), 1);
	set_status(&fake, 0);
	cr_assert_eq(fake.device.config_generation, 2,
		     "a reset does not turn it back");
	fake_destroy(&fake);
}

Test(device, operations_may_be_missing)
{
	static const struct virtio_device_ops bare = { .id = FAKE_ID };
	struct fake fake;

	fake_init(&fake);
	fake.device.ops = &bare;
	fake_to_driver_ok(&fake);
	cr_assert_eq(virtio_device_status(&fake.device),
		     ACK | DRIVER | F_OK | D_OK);
	fake_write(&fake, VIRTIO_MMIO_QUEUE_NOTIFY, 0);
	set_status(&fake, 0);
	cr_assert(!fake.device.queues[0].live);
	fake_destroy(&fake);
}

Test(device, offers_version_1_from_the_start)
{
	struct virtio_device device;
	struct guest_memory memory;

	memory_setup(&memory);
	cr_assert_eq(virtio_device_init(&device, &fake_ops, "x", &memory, 0, 4),
		     0);
	cr_assert_eq(device.offered, VERSION_1);
	cr_assert_str_eq(device.name, "x");
	virtio_device_destroy(&device);
	guest_memory_destroy(&memory);
}

/* Of the address sanitizer, which does not survive a limit on address space. */
int __lsan_do_recoverable_leak_check(void) __attribute__((weak));

static size_t address_space(void)
{
	FILE *file = fopen("/proc/self/statm", "re");
	size_t pages = 0;

	cr_assert_not_null(file);
	cr_assert_eq(fscanf(file, "%zu", &pages), 1);
	fclose(file);
	return pages * PAGE_SIZE;
}

Test(device, init_without_memory_fails_wherever_it_runs_out)
{
	struct virtio_device device;
	unsigned int failed = 0;
	struct rlimit unlimited;
	struct rlimit limit;
	int err = -ENOMEM;
	size_t more;

	if (__lsan_do_recoverable_leak_check)
		cr_skip_test("address sanitizer");
	getrlimit(RLIMIT_AS, &unlimited);
	limit = unlimited;
	for (more = 0; err; more += 4 * PAGE_SIZE, failed++) {
		struct guest_memory *memory = NULL;

		limit.rlim_cur = address_space() + more;
		cr_assert_eq(setrlimit(RLIMIT_AS, &limit), 0);
		err = virtio_device_init(&device, &fake_ops, "x", memory, 8,
					 1024);
		setrlimit(RLIMIT_AS, &unlimited);
		cr_assert(err == 0 || err == -ENOMEM);
	}
	cr_assert_gt(failed, 20);
	virtio_device_destroy(&device);
}
