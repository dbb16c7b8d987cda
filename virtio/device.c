/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation. The status byte and the interrupt status change by
 * atomic read-modify-write alone, because the registers' side (under the lock)
 * and the device threads (without it) both change them. Two rules follow:
 *
 *  - Whoever sets the second of DRIVER_OK and NEEDS_RESET sends the config
 *    interrupt that the pair calls for: the two operations are on one byte, so
 *    exactly one of them sees the other's bit.
 *  - An interrupt status bit is set before the interrupt is sent, and the
 *    interrupt is sent even if the bit was set already: the driver may
 *    acknowledge after it has looked, and the edge is then what is left.
 *
 * A reset first stops every live queue, which waits until no device thread
 * touches it, then clears the rest, and the status last: a driver that reads 0
 * may free its memory.
 */
#include "virtio/device.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "memory/base.h"

int virtio_device_init(struct virtio_device *device,
		       const struct virtio_device_ops *ops, const char *name,
		       const struct guest_memory *memory,
		       unsigned int queue_count, uint16_t queue_size)
{
	unsigned int i;
	int err;

	memset(device, 0, sizeof(*device));
	device->ops = ops;
	device->name = name;
	device->offered = VIRTIO_FEATURE_VERSION_1;
	device->queues = calloc(queue_count, sizeof(*device->queues));
	if (!device->queues)
		return -ENOMEM;
	for (i = 0; i < queue_count; i++) {
		err = queue_init(&device->queues[i], memory, queue_size);
		if (err)
			goto err_destroy_queues;
	}
	device->queue_count = queue_count;
	lock_init(&device->lock);
	return 0;

err_destroy_queues:
	while (i-- > 0)
		queue_destroy(&device->queues[i]);
	free(device->queues);
	return err;
}

void virtio_device_destroy(struct virtio_device *device)
{
	unsigned int i;

	for (i = 0; i < device->queue_count; i++)
		queue_destroy(&device->queues[i]);
	free(device->queues);
	lock_destroy(&device->lock);
}

static void raise_interrupt(struct virtio_device *device, uint32_t reason)
{
	/* Pairs with the clearing in virtio/mmio.c: no bit is lost. */
	__atomic_fetch_or(&device->interrupt_status, reason, __ATOMIC_SEQ_CST);
	if (device->interrupt)
		device->interrupt(device->interrupt_context);
}

/* Sets a status bit and returns what was set before. */
static uint8_t set_bit(struct virtio_device *device, uint8_t bit)
{
	return __atomic_fetch_or(&device->status, bit, __ATOMIC_SEQ_CST);
}

uint8_t virtio_device_status(const struct virtio_device *device)
{
	return __atomic_load_n(&device->status, __ATOMIC_SEQ_CST);
}

bool virtio_device_has_feature(const struct virtio_device *device,
			       uint64_t feature)
{
	return (__atomic_load_n(&device->accepted, __ATOMIC_RELAXED) &
		feature) == feature;
}

void virtio_device_signal_used(struct virtio_device *device)
{
	raise_interrupt(device, VIRTIO_INTERRUPT_USED);
}

void virtio_device_signal_config(struct virtio_device *device)
{
	/* Pairs with the read of ConfigGeneration; contents come first. */
	__atomic_fetch_add(&device->config_generation, 1, __ATOMIC_SEQ_CST);
	if (virtio_device_status(device) & VIRTIO_STATUS_DRIVER)
		raise_interrupt(device, VIRTIO_INTERRUPT_CONFIG);
}

void virtio_device_needs_reset(struct virtio_device *device)
{
	uint8_t before = set_bit(device, VIRTIO_STATUS_NEEDS_RESET);

	/* virtio 1.2, 2.1.2: a live driver is told. */
	if (!(before & VIRTIO_STATUS_NEEDS_RESET) &&
	    before & VIRTIO_STATUS_DRIVER_OK)
		raise_interrupt(device, VIRTIO_INTERRUPT_CONFIG);
}

bool virtio_device_check_queue(struct virtio_device *device,
			       const struct queue *queue)
{
	if (!queue_is_broken(queue))
		return true;
	virtio_device_needs_reset(device);
	return false;
}

int virtio_device_stop_queue(struct virtio_device *device, unsigned int index)
{
	struct queue *queue = &device->queues[index];

	if (queue->live && device->ops->stop_queue) {
		int err = device->ops->stop_queue(device, index);

		if (err)
			return err;
	}
	queue_stop(queue);
	queue->ready = false;
	return 0;
}

/* virtio 1.2, 2.1.2 and 3.1.1, step 5; 6.1 for the two that must be there. */
static bool features_are_acceptable(const struct virtio_device *device)
{
	uint64_t required = VIRTIO_FEATURE_VERSION_1 |
			    (device->offered & VIRTIO_FEATURE_ACCESS_PLATFORM);

	return (device->accepted & ~device->offered) == 0 &&
	       (device->accepted & required) == required;
}

/* All ready queues, or none. */
static int start_queues(struct virtio_device *device)
	LOCK_REQUIRES(&device->lock)
{
	unsigned int i;
	int err = 0;

	for (i = 0; i < device->queue_count && !err; i++) {
		if (device->queues[i].ready)
			err = queue_start(&device->queues[i], device->accepted);
	}
	if (!err && device->ops->start)
		err = device->ops->start(device);
	if (err) {
		for (i = 0; i < device->queue_count; i++)
			queue_stop(&device->queues[i]);
	}
	return err;
}

/* The step that sets @bit. False when refused: the bit stays clear. */
static bool take_step(struct virtio_device *device, uint8_t bit)
	LOCK_REQUIRES(&device->lock)
{
	uint8_t before;

	if (bit == VIRTIO_STATUS_FEATURES_OK &&
	    !features_are_acceptable(device))
		return false;
	before = set_bit(device, bit);
	if (bit != VIRTIO_STATUS_DRIVER_OK)
		return true;

	/* A device that is past serving tells its new driver at once. */
	if (before & VIRTIO_STATUS_NEEDS_RESET)
		raise_interrupt(device, VIRTIO_INTERRUPT_CONFIG);
	else if (start_queues(device))
		virtio_device_needs_reset(device);
	return true;
}

static void reset(struct virtio_device *device) LOCK_REQUIRES(&device->lock)
{
	unsigned int i;

	for (i = 0; i < device->queue_count; i++) {
		if (virtio_device_stop_queue(device, i))
			return; /* the VM ends, the queue may be in use */
	}
	if (device->ops->reset && device->ops->reset(device))
		return;
	for (i = 0; i < device->queue_count; i++)
		queue_reset(&device->queues[i]);
	__atomic_store_n(&device->accepted, 0, __ATOMIC_RELAXED);
	device->device_feature_select = 0;
	device->driver_feature_select = 0;
	device->queue_select = 0;
	__atomic_fetch_and(&device->interrupt_status, 0, __ATOMIC_SEQ_CST);
	__atomic_fetch_and(&device->status, 0, __ATOMIC_SEQ_CST);
}

void virtio_device_set_status(struct virtio_device *device, uint32_t status)
{
	static const uint8_t steps[] = {
		VIRTIO_STATUS_ACKNOWLEDGE,
		VIRTIO_STATUS_DRIVER,
		VIRTIO_STATUS_FEATURES_OK,
		VIRTIO_STATUS_DRIVER_OK,
	};
	uint8_t old = virtio_device_status(device);
	unsigned int i;

	if (status == 0) {
		reset(device);
		return;
	}
	/*
	 * virtio 1.2, 2.1.1: the driver clears no bit. NEEDS_RESET is ours: it
	 * may have come since the driver read.
	 */
	if (old & ~status & (uint8_t)~VIRTIO_STATUS_NEEDS_RESET)
		return;
	/* From then on only a reset helps. */
	if (status & VIRTIO_STATUS_FAILED) {
		set_bit(device, VIRTIO_STATUS_FAILED);
		return;
	}
	for (i = 0; i < ARRAY_SIZE(steps) && status & steps[i]; i++) {
		if (!(old & steps[i]) && !take_step(device, steps[i]))
			return;
	}
}
