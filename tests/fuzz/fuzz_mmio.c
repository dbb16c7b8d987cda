/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The virtio-mmio registers before a guest that accesses anything, in any order
 * and width. Behind them stands a device with two queues that serves whatever
 * is live after each access. After each one the rules of the register file hold.
 */
#include <assert.h>
#include <linux/virtio_mmio.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "memory/base.h"
#include "memory/guest_memory.h"
#include "virtio/device.h"
#include "virtio/mmio.h"

#define RAM_BYTES (32 * KIB)
#define QUEUES 2
#define QUEUE_SIZE 8
#define CONFIG_BYTES 24

/* One access of the input: packed, so that every byte counts. */
struct access {
	uint8_t write_and_width; /* bit 7: write; bits 0-1: log2 of the width */
	uint8_t register_word; /* offset / 4, most often */
	uint8_t skew; /* added to the offset when its top bit is set */
	uint8_t value[5]; /* low 32 bits, then a byte of the high ones */
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static uint8_t config[CONFIG_BYTES];

static void config_read(struct virtio_device *device, uint32_t offset,
			void *buffer, uint32_t len)
{
	(void)device;
	assert(len <= CONFIG_BYTES && offset <= CONFIG_BYTES - len);
	memcpy(buffer, config + offset, len);
}

static void config_write(struct virtio_device *device, uint32_t offset,
			 const void *buffer, uint32_t len)
{
	(void)device;
	assert(len <= CONFIG_BYTES && offset <= CONFIG_BYTES - len);
	memcpy(config + offset, buffer, len);
}

static void serve_queue(struct queue *queue)
{
	struct chain *chains[QUEUE_SIZE];
	unsigned int i, taken = queue_next(queue, chains, QUEUE_SIZE);

	for (i = 0; i < taken; i++)
		queue_complete(queue, chains[i], 0);
	if (taken > 0)
		(void)queue_publish(queue);
}

static int stop_queue(struct virtio_device *device, unsigned int index)
{
	assert(index < QUEUES && device->queues[index].live);
	return 0;
}

static void notify(struct virtio_device *device, unsigned int index)
{
	assert(index < QUEUES && device->queues[index].live);
	serve_queue(&device->queues[index]);
	virtio_device_check_queue(device, &device->queues[index]);
}

static const struct virtio_device_ops ops = {
	.id = 2,
	.config_read = config_read,
	.config_write = config_write,
	.stop_queue = stop_queue,
	.notify = notify,
};

static void interrupt(void *context)
{
	(void)context;
}

static uint32_t read_register(struct virtio_device *device, uint64_t offset)
{
	uint32_t value;

	virtio_mmio_read(device, offset, &value, sizeof(value));
	return value;
}

static void check(struct virtio_device *device)
{
	uint32_t status = read_register(device, VIRTIO_MMIO_STATUS);
	unsigned int i;

	assert(read_register(device, VIRTIO_MMIO_MAGIC_VALUE) == 0x74726976);
	assert(read_register(device, VIRTIO_MMIO_VERSION) == 2);
	assert((read_register(device, VIRTIO_MMIO_INTERRUPT_STATUS) & ~3u) ==
	       0);
	assert((device->accepted & ~device->offered) == 0 ||
	       !(status & VIRTIO_STATUS_FEATURES_OK));
	for (i = 0; i < QUEUES; i++) {
		const struct queue *queue = &device->queues[i];

		if (!queue->live)
			continue;
		assert(status & VIRTIO_STATUS_DRIVER_OK);
		assert(is_power_of_two(queue->ring_size) &&
		       queue->ring_size <= QUEUE_SIZE);
	}
}

static void do_access(struct virtio_device *device, const struct access *access)
{
	uint32_t len = 1u << (access->write_and_width & 3);
	uint64_t offset = access->register_word * UINT64_C(4);
	uint8_t bytes[8] = { 0 };

	if (access->skew & 0x80)
		offset += access->skew & 0x7f;
	memcpy(bytes, access->value, sizeof(access->value));
	if (access->write_and_width & 0x80)
		virtio_mmio_write(device, offset, bytes, len);
	else
		virtio_mmio_read(device, offset, bytes, len);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const struct guest_memory_range range = { 0, RAM_BYTES };
	static struct guest_memory memory;
	struct virtio_device device;
	struct access access;

	if (!memory.bytes &&
	    guest_memory_init(&memory, &range, 1, GUEST_MEMORY_SMALL_PAGES))
		abort();
	memset(&device, 0, sizeof(device));
	if (virtio_device_init(&device, &ops, "fuzzed", &memory, QUEUES,
			       QUEUE_SIZE))
		abort();
	device.config_size = CONFIG_BYTES;
	device.offered |= VIRTIO_FEATURE_INDIRECT_DESC |
			  VIRTIO_FEATURE_EVENT_IDX;
	device.interrupt = interrupt;
	for (; size >= sizeof(access);
	     data += sizeof(access), size -= sizeof(access)) {
		memcpy(&access, data, sizeof(access));
		do_access(&device, &access);
		check(&device);
	}
	virtio_mmio_write(&device, VIRTIO_MMIO_STATUS, &(uint32_t){ 0 }, 4);
	assert(read_register(&device, VIRTIO_MMIO_STATUS) == 0);
	virtio_device_destroy(&device);
	return 0;
}
