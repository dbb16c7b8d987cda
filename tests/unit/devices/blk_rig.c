/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/devices/blk_rig.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "devices/error.h"
#include "memory/base.h"
#include "virtio/mmio.h"

static void count_interrupt(void *context)
{
	struct rig *rig = context;

	__atomic_fetch_add(&rig->interrupts, 1, __ATOMIC_RELAXED);
}

static void disk_create(struct rig *rig, struct disk *disk)
{
	char path[] = "/tmp/sluice-blk-XXXXXX";
	struct error error = { 0 };
	int fd;

	rig->file = mkostemp(path, O_CLOEXEC);
	cr_assert_geq(rig->file, 0);
	cr_assert_eq(ftruncate(rig->file, (off_t)rig->disk_bytes), 0);
	fd = open(path, (rig->read_only ? O_RDONLY : O_RDWR) | O_CLOEXEC);
	cr_assert_geq(fd, 0);
	unlink(path);
	cr_assert_eq(disk_open(disk, fd, path, rig->read_only, &error), 0, "%s",
		     error.text);
}

void rig_create(struct rig *rig)
{
	const struct guest_memory_range ram = { 0, RIG_RAM };
	struct disk disk;

	if (rig->disk_bytes == 0)
		rig->disk_bytes = MIB;
	if (rig->queues == 0)
		rig->queues = 1;
	cr_assert_eq(guest_memory_init(&rig->memory, &ram, 1,
				       GUEST_MEMORY_SMALL_PAGES),
		     0);
	rig->stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	disk_create(rig, &disk);
	cr_assert_eq(virtio_blk_init(&rig->blk, "root", &disk, rig->queues,
				     &rig->memory, rig->stop_fd),
		     0);
	virtio_blk_set_limit(&rig->blk, &rig->rate);
	rig->blk.device.interrupt = count_interrupt;
	rig->blk.device.interrupt_context = rig;
	cr_assert_eq(virtio_blk_start_threads(&rig->blk, &rig->threads), 0);
}

static void queue_set_up(struct rig *rig, unsigned int index)
{
	static const struct {
		uint32_t low;
		enum queue_part part;
	} registers[] = {
		{ VIRTIO_MMIO_QUEUE_DESC_LOW, QUEUE_DESCRIPTORS },
		{ VIRTIO_MMIO_QUEUE_AVAIL_LOW, QUEUE_AVAILABLE },
		{ VIRTIO_MMIO_QUEUE_USED_LOW, QUEUE_USED },
	};
	uint64_t address = index * RIG_DRIVER_BYTES;
	struct driver *driver = &rig->drivers[index];
	unsigned int i;

	driver_destroy(driver);
	cr_assert_eq(driver_init(driver, rig_host(rig, address),
				 RIG_DRIVER_BYTES, IOVA(address), 64, 32,
				 !(rig->refused_features &
				   VIRTIO_FEATURE_EVENT_IDX)),
		     0);
	rig_write(rig, VIRTIO_MMIO_QUEUE_SEL, index);
	rig_write(rig, VIRTIO_MMIO_QUEUE_NUM, driver->size);
	for (i = 0; i < ARRAY_SIZE(registers); i++) {
		address = driver->part_address[registers[i].part].v;
		rig_write(rig, registers[i].low, (uint32_t)address);
		rig_write(rig, registers[i].low + 4, (uint32_t)(address >> 32));
	}
	rig_write(rig, VIRTIO_MMIO_QUEUE_READY, 1);
}

void rig_negotiate(struct rig *rig)
{
	uint64_t features = rig->blk.device.offered & ~rig->refused_features;
	unsigned int i;

	rig_write(rig, VIRTIO_MMIO_STATUS, 1);
	rig_write(rig, VIRTIO_MMIO_STATUS, 3);
	for (i = 0; i < 2; i++) {
		rig_write(rig, VIRTIO_MMIO_DRIVER_FEATURES_SEL, i);
		rig_write(rig, VIRTIO_MMIO_DRIVER_FEATURES,
			  (uint32_t)(features >> 32 * i));
	}
	rig_write(rig, VIRTIO_MMIO_STATUS, 11);
	for (i = 0; i < rig->queues; i++)
		queue_set_up(rig, i);
	rig_write(rig, VIRTIO_MMIO_STATUS, 15);
	cr_assert_eq(rig_read(rig, VIRTIO_MMIO_STATUS), 15);
}

void rig_start(struct rig *rig)
{
	rig_create(rig);
	rig_negotiate(rig);
}

void rig_destroy(struct rig *rig)
{
	unsigned int i;

	cr_assert_eq(eventfd_write(rig->stop_fd, 1), 0);
	virtio_blk_destroy(&rig->blk);
	for (i = 0; i < rig->queues; i++)
		driver_destroy(&rig->drivers[i]);
	guest_memory_destroy(&rig->memory);
	close(rig->file);
	close(rig->stop_fd);
}

uint32_t rig_read(struct rig *rig, uint32_t offset)
{
	uint32_t value;

	virtio_mmio_read(&rig->blk.device, offset, &value, sizeof(value));
	return value;
}

void rig_write(struct rig *rig, uint32_t offset, uint32_t value)
{
	virtio_mmio_write(&rig->blk.device, offset, &value, sizeof(value));
}

void *rig_host(struct rig *rig, uint64_t address)
{
	return guest_memory_host(&rig->memory, GPA(address), 1);
}

void rig_header(struct rig *rig, unsigned int n, uint32_t type, uint64_t sector)
{
	const struct virtio_blk_outhdr header = {
		.type = type,
		.sector = sector,
	};

	memcpy(rig_host(rig, RIG_HEADER(n)), &header, sizeof(header));
	*(uint8_t *)rig_host(rig, RIG_STATUS(n)) = RIG_UNTOUCHED;
}

uint16_t rig_submit(struct rig *rig, unsigned int queue,
		    const struct driver_buffer *buffers, unsigned int count)
{
	int head = driver_add(&rig->drivers[queue], buffers, count);

	cr_assert_geq(head, 0);
	if (driver_publish(&rig->drivers[queue]))
		rig_write(rig, VIRTIO_MMIO_QUEUE_NOTIFY, queue);
	return (uint16_t)head;
}

static void sleep_us(long us)
{
	nanosleep(&(struct timespec){ .tv_nsec = us * 1000 }, NULL);
}

bool rig_eventually(bool (*condition)(void *context), void *context)
{
	unsigned int turn;

	for (turn = 0; turn < RIG_TIMEOUT_MS * 10; turn++) {
		if (condition(context))
			return true;
		sleep_us(100);
	}
	return false;
}

bool rig_needs_reset(void *context)
{
	return rig_read(context, VIRTIO_MMIO_STATUS) &
	       VIRTIO_STATUS_NEEDS_RESET;
}

bool rig_wait(struct rig *rig, unsigned int queue, uint16_t *head,
	      uint32_t *written)
{
	struct driver *driver = &rig->drivers[queue];
	unsigned int turn;

	for (turn = 0; turn < RIG_TIMEOUT_MS * 20; turn++) {
		if (driver_take_used(driver, head, written))
			return true;
		sleep_us(50);
	}
	return false;
}

struct rig_answer rig_request(struct rig *rig, uint32_t type, uint64_t sector,
			      uint32_t out, uint32_t in)
{
	struct driver_buffer buffers[4] = {
		{ IOVA(RIG_HEADER(0)), 16, false },
	};
	struct rig_answer answer;
	unsigned int count = 1;
	uint16_t head, used;

	rig_header(rig, 0, type, sector);
	if (out > 0)
		buffers[count++] =
			(struct driver_buffer){ IOVA(RIG_PAYLOAD), out, false };
	if (in > 0)
		buffers[count++] =
			(struct driver_buffer){ IOVA(RIG_PAYLOAD), in, true };
	buffers[count++] =
		(struct driver_buffer){ IOVA(RIG_STATUS(0)), 1, true };
	head = rig_submit(rig, 0, buffers, count);
	cr_assert(rig_wait(rig, 0, &used, &answer.written), "no answer");
	cr_assert_eq(used, head);
	answer.status = *(uint8_t *)rig_host(rig, RIG_STATUS(0));
	return answer;
}

bool rig_is_alive(struct rig *rig)
{
	struct rig_answer answer;

	answer = rig_request(rig, VIRTIO_BLK_T_GET_ID, 0, 0, 20);
	return answer.status == VIRTIO_BLK_S_OK && answer.written == 21 &&
	       rig_read(rig, VIRTIO_MMIO_STATUS) == 15;
}

void rig_file_read(struct rig *rig, void *buffer, size_t len, uint64_t offset)
{
	cr_assert_eq(pread(rig->file, buffer, len, (off_t)offset),
		     (ssize_t)len);
}
