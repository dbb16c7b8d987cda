/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The block device over time: resets and the VM's end while I/O is held, queues
 * that break, several queues, and when answers are shown.
 */
#include <criterion/criterion.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "devices/virtio_blk.h"
#include "memory/base.h"
#include "tests/unit/devices/blk_rig.h"
#include "tests/unit/devices/host_io.h"
#include "virtio/mmio.h"

static bool is_set(bool *flag)
{
	return __atomic_load_n(flag, __ATOMIC_SEQ_CST);
}

static uint8_t status_byte(struct rig *rig, unsigned int n)
{
	return __atomic_load_n((uint8_t *)rig_host(rig, RIG_STATUS(n)),
			       __ATOMIC_ACQUIRE);
}

static unsigned int interrupts(struct rig *rig)
{
	return __atomic_load_n(&rig->interrupts, __ATOMIC_SEQ_CST);
}

/* Makes request @n of @bytes available, not yet shown. */
static void add(struct rig *rig, unsigned int queue, unsigned int n,
		uint32_t type, uint64_t sector, uint32_t bytes)
{
	const struct driver_buffer buffers[] = {
		{ IOVA(RIG_HEADER(n)), 16, false },
		{ IOVA(RIG_PAYLOAD), bytes, type == VIRTIO_BLK_T_IN },
		{ IOVA(RIG_STATUS(n)), 1, true },
	};

	rig_header(rig, n, type, sector);
	cr_assert_geq(driver_add(&rig->drivers[queue], buffers, 3), 0);
}

static void show(struct rig *rig, unsigned int queue)
{
	if (driver_publish(&rig->drivers[queue]))
		rig_write(rig, VIRTIO_MMIO_QUEUE_NOTIFY, queue);
}

/* A vCPU that writes a register and says when it is through. */
struct writer {
	struct rig *rig;
	uint32_t offset, value;
	bool done;
	pthread_t thread;
};

static void *write_register(void *argument)
{
	struct writer *writer = argument;

	rig_write(writer->rig, writer->offset, writer->value);
	__atomic_store_n(&writer->done, true, __ATOMIC_SEQ_CST);
	return NULL;
}

static void writer_start(struct writer *writer)
{
	pthread_create(&writer->thread, NULL, write_register, writer);
}

static bool is_pausing(void *context)
{
	struct rig *rig = context;

	return queue_worker_should_pause(&rig->blk.queues[0].worker);
}

/* Holds three reads at the host, one in work, and writes @writer's register. */
static void stop_while_held(struct rig *rig, struct writer *writer)
{
	unsigned int i;

	rig_start(rig);
	rig_write(rig, VIRTIO_MMIO_QUEUE_SEL, 0);
	host_io_hold(&host_io.hold_reads, true);
	for (i = 0; i < 3; i++)
		add(rig, 0, i, VIRTIO_BLK_T_IN, 8 * i, 4096);
	show(rig, 0);
	cr_assert(host_io_wait_held(1));
	writer_start(writer);
	cr_assert(rig_eventually(is_pausing, rig));
	usleep(50000);
	cr_assert_not(is_set(&writer->done), "it has to wait for the I/O");
	host_io_hold(&host_io.hold_reads, false);
	pthread_join(writer->thread, NULL);
}

/* That nothing is written to guest memory or signalled any more. */
static void expect_silence(struct rig *rig)
{
	const size_t bytes = RIG_PAYLOAD + MIB;
	uint8_t *before = malloc(bytes);
	unsigned int count = interrupts(rig);

	memcpy(before, rig_host(rig, 0), bytes);
	/* A late kick must not wake the dead. */
	cr_assert_eq(eventfd_write(virtio_blk_kick_fd(&rig->blk, 0), 1), 0);
	usleep(50000);
	cr_expect_eq(memcmp(before, rig_host(rig, 0), bytes), 0);
	cr_expect_eq(interrupts(rig), count);
	free(before);
}

Test(virtio_blk, bug12_reset_waits_for_held_io_and_nothing_completes_after_it)
{
	struct rig rig = { 0 };
	struct writer writer = { &rig, VIRTIO_MMIO_STATUS, 0, false, 0 };

	stop_while_held(&rig, &writer);
	cr_expect_eq(rig_read(&rig, VIRTIO_MMIO_STATUS), 0);
	cr_expect_eq(host_io.reads, 1, "the others are not begun any more");
	cr_expect_eq(status_byte(&rig, 0), VIRTIO_BLK_S_OK);
	cr_expect_neq(status_byte(&rig, 1), VIRTIO_BLK_S_OK);
	cr_expect_neq(status_byte(&rig, 2), VIRTIO_BLK_S_OK);
	expect_silence(&rig);
	rig_negotiate(&rig);
	cr_expect(rig_is_alive(&rig));
	rig_destroy(&rig);
}

Test(virtio_blk, bug12_queue_that_is_not_ready_any_more_completes_nothing)
{
	struct rig rig = { 0 };
	struct writer writer = { &rig, VIRTIO_MMIO_QUEUE_READY, 0, false, 0 };

	stop_while_held(&rig, &writer);
	cr_expect_eq(rig_read(&rig, VIRTIO_MMIO_QUEUE_READY), 0);
	expect_silence(&rig);
	rig_write(&rig, VIRTIO_MMIO_STATUS, 0);
	rig_negotiate(&rig);
	cr_expect(rig_is_alive(&rig));
	rig_destroy(&rig);
}

Test(virtio_blk, reset_cuts_a_huge_request_short)
{
	struct rig rig = { .disk_bytes = GIB };
	struct writer writer = { &rig, VIRTIO_MMIO_STATUS, 0, false, 0 };
	struct driver_buffer buffers[34] = {
		{ IOVA(RIG_HEADER(0)), 16, false },
	};
	unsigned int i;

	rig_start(&rig);
	/* 256 MiB of RAM that is there once. */
	for (i = 1; i <= 32; i++)
		buffers[i] = (struct driver_buffer){ IOVA(RIG_PAYLOAD), 8 * MIB,
						     true };
	buffers[33] = (struct driver_buffer){ IOVA(RIG_STATUS(0)), 1, true };
	rig_header(&rig, 0, VIRTIO_BLK_T_IN, 0);
	host_io_hold(&host_io.hold_reads, true);
	rig_submit(&rig, 0, buffers, 34);
	cr_assert(host_io_wait_held(1));
	writer_start(&writer);
	cr_assert(rig_eventually(is_pausing, &rig));
	host_io_hold(&host_io.hold_reads, false);
	pthread_join(writer.thread, NULL);
	cr_expect_eq(host_io.reads, 1);
	cr_expect_eq(status_byte(&rig, 0), VIRTIO_BLK_S_IOERR);
	cr_expect_eq(virtio_blk_count(&rig.blk).bytes_read, 0);
	rig_destroy(&rig);
}

Test(virtio_blk, reset_during_held_io_gives_up_when_the_vm_ends)
{
	struct rig rig = { 0 };
	struct writer writer = { &rig, VIRTIO_MMIO_STATUS, 0, false, 0 };

	rig_start(&rig);
	host_io_hold(&host_io.hold_reads, true);
	add(&rig, 0, 0, VIRTIO_BLK_T_IN, 0, 4096);
	show(&rig, 0);
	cr_assert(host_io_wait_held(1));
	writer_start(&writer);
	usleep(10000);
	cr_assert_not(is_set(&writer.done));
	cr_assert_eq(eventfd_write(rig.stop_fd, 1), 0);
	pthread_join(writer.thread, NULL);
	cr_expect_eq(rig_read(&rig, VIRTIO_MMIO_STATUS), 15, "not reset");
	host_io_hold(&host_io.hold_reads, false);
	rig_destroy(&rig);
}

Test(virtio_blk, bug12_slow_request_of_one_queue_starves_no_other_queue)
{
	struct rig rig = { .queues = 2 };
	uint32_t written;
	uint16_t head;

	rig_start(&rig);
	host_io_hold(&host_io.hold_syncs, true);
	add(&rig, 1, 1, VIRTIO_BLK_T_FLUSH, 0, 0);
	show(&rig, 1);
	cr_assert(host_io_wait_held(1));
	cr_expect(rig_is_alive(&rig));
	cr_expect_eq(rig_request(&rig, VIRTIO_BLK_T_OUT, 0, 4096, 0).status, 0);
	cr_expect_eq(status_byte(&rig, 1), RIG_UNTOUCHED);
	host_io_hold(&host_io.hold_syncs, false);
	cr_assert(rig_wait(&rig, 1, &head, &written));
	cr_expect_eq(status_byte(&rig, 1), VIRTIO_BLK_S_OK);
	rig_destroy(&rig);
}

Test(virtio_blk, batch_is_shown_by_one_interrupt)
{
	/* With event indices the driver would miss those after the first. */
	struct rig rig = { .refused_features = VIRTIO_FEATURE_EVENT_IDX };
	unsigned int i, turn;
	uint32_t written;
	uint16_t head;

	for (turn = 0; turn < 2; turn++) {
		rig_start(&rig);
		for (i = 0; i < 12; i++)
			add(&rig, 0, i, VIRTIO_BLK_T_IN, i, 512);
		show(&rig, 0);
		for (i = 0; i < 12; i++) {
			cr_assert(rig_wait(&rig, 0, &head, &written));
			cr_expect_eq(written, 513);
		}
		rig_destroy(&rig);
		cr_expect_eq(interrupts(&rig), 1);
		rig = (struct rig){ 0 };
	}
}

Test(virtio_blk, finished_requests_do_not_wait_for_slow_ones)
{
	struct rig rig = { 0 };
	uint32_t written;
	uint16_t head;

	rig_start(&rig);
	host_io_hold(&host_io.hold_syncs, true);
	add(&rig, 0, 0, VIRTIO_BLK_T_IN, 0, 512);
	add(&rig, 0, 1, VIRTIO_BLK_T_FLUSH, 0, 0);
	add(&rig, 0, 2, VIRTIO_BLK_T_IN, 0, 512);
	show(&rig, 0);
	cr_assert(host_io_wait_held(1));
	cr_expect(driver_take_used(&rig.drivers[0], &head, &written));
	cr_expect_eq(status_byte(&rig, 0), VIRTIO_BLK_S_OK);
	cr_expect_not(driver_take_used(&rig.drivers[0], &head, &written));
	cr_expect_eq(interrupts(&rig), 1);
	host_io_hold(&host_io.hold_syncs, false);
	cr_assert(rig_wait(&rig, 0, &head, &written));
	cr_assert(rig_wait(&rig, 0, &head, &written));
	rig_destroy(&rig);
}

Test(virtio_blk, big_transfers_are_shown_before_the_next_one_begins)
{
	struct rig rig = { 0 };
	uint32_t written;
	uint16_t head;

	rig_start(&rig);
	host_io_hold(&host_io.hold_writes, true);
	add(&rig, 0, 0, VIRTIO_BLK_T_IN, 0, 256 * KIB);
	add(&rig, 0, 1, VIRTIO_BLK_T_OUT, 0, 512);
	show(&rig, 0);
	cr_assert(host_io_wait_held(1));
	cr_expect(driver_take_used(&rig.drivers[0], &head, &written));
	cr_expect_eq(written, 256 * KIB + 1);
	host_io_hold(&host_io.hold_writes, false);
	cr_assert(rig_wait(&rig, 0, &head, &written));
	rig_destroy(&rig);
}

Test(virtio_blk, queues_work_side_by_side)
{
	struct rig rig = { .queues = 4 };
	unsigned int queue, i;
	uint32_t written;
	uint16_t head;

	rig_start(&rig);
	for (queue = 0; queue < 4; queue++) {
		for (i = 0; i < 8; i++)
			add(&rig, queue, 8 * queue + i, VIRTIO_BLK_T_IN, i,
			    512);
		show(&rig, queue);
	}
	for (queue = 0; queue < 4; queue++) {
		for (i = 0; i < 8; i++) {
			cr_assert(rig_wait(&rig, queue, &head, &written));
			cr_expect_eq(written, 513);
		}
		cr_expect_eq(
			queue_read_counters(rig.blk.queues[queue].queue).chains,
			8);
		cr_expect_eq(rig.blk.queues[queue].counters.requests, 8);
	}
	cr_expect_eq(virtio_blk_count(&rig.blk).requests, 32);
	cr_expect_eq(rig.threads.count, 4);
	cr_expect_str_eq(rig.threads.list[3]->name, "blk.root.3");
	rig_destroy(&rig);
}

Test(virtio_blk, kick_through_the_eventfd_is_served_and_counted)
{
	struct rig rig = { 0 };
	uint32_t written;
	uint16_t head;

	rig_start(&rig);
	add(&rig, 0, 0, VIRTIO_BLK_T_IN, 0, 512);
	driver_publish(&rig.drivers[0]);
	/* As KVM's ioeventfd does. */
	cr_assert_eq(eventfd_write(virtio_blk_kick_fd(&rig.blk, 0), 1), 0);
	cr_assert(rig_wait(&rig, 0, &head, &written));
	cr_expect_eq(queue_read_counters(rig.blk.queues[0].queue).kicks, 1);
	rig_destroy(&rig);
}

Test(virtio_blk, bug06_broken_ring_needs_a_reset_and_works_after_it)
{
	struct rig rig = { 0 };
	uint16_t *available;

	rig_start(&rig);
	cr_assert(rig_is_alive(&rig));
	available = driver_ring(&rig.drivers[0], QUEUE_AVAILABLE);
	__atomic_store_n(&available[1], 1000, __ATOMIC_RELEASE);
	rig_write(&rig, VIRTIO_MMIO_QUEUE_NOTIFY, 0);
	cr_expect(rig_eventually(rig_needs_reset, &rig));
	rig_write(&rig, VIRTIO_MMIO_STATUS, 0);
	rig_negotiate(&rig);
	cr_expect(rig_is_alive(&rig));
	rig_destroy(&rig);
}

Test(virtio_blk, request_without_status_does_not_take_its_neighbours_along)
{
	const struct driver_buffer lost[] = {
		{ IOVA(RIG_HEADER(9)), 16, false },
	};
	struct rig rig = { 0 };
	uint32_t written;
	uint16_t head;

	rig_start(&rig);
	add(&rig, 0, 0, VIRTIO_BLK_T_IN, 0, 512);
	cr_assert_geq(driver_add(&rig.drivers[0], lost, 1), 0);
	add(&rig, 0, 1, VIRTIO_BLK_T_IN, 0, 512);
	show(&rig, 0);
	cr_assert(rig_wait(&rig, 0, &head, &written));
	cr_assert(rig_wait(&rig, 0, &head, &written));
	cr_expect_eq(status_byte(&rig, 0), VIRTIO_BLK_S_OK);
	cr_expect_eq(status_byte(&rig, 1), VIRTIO_BLK_S_OK);
	rig_write(&rig, VIRTIO_MMIO_STATUS, 0);
	rig_negotiate(&rig);
	cr_expect(rig_is_alive(&rig));
	rig_destroy(&rig);
}

Test(virtio_blk, device_without_threads_can_be_destroyed)
{
	struct disk disk = { .fd = open("/dev/null", O_RDWR | O_CLOEXEC),
			     .read_only = true,
			     .bytes = MIB,
			     .logical_bytes = 512,
			     .block_bytes = 512 };
	const struct guest_memory_range ram = { 0, MIB };
	struct guest_memory memory;
	struct virtio_blk blk;

	cr_assert_eq(guest_memory_init(&memory, &ram, 1,
				       GUEST_MEMORY_SMALL_PAGES),
		     0);
	cr_assert_eq(virtio_blk_init(&blk, "a-name-of-more-than-20-bytes",
				     &disk, 2, &memory, -1),
		     0);
	cr_expect_arr_eq(blk.id, "a-name-of-more-than-", 20);
	virtio_blk_destroy(&blk);
	guest_memory_destroy(&memory);
}
