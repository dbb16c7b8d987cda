/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation. Every access is decoded into one aligned 32-bit register
 * or a range of the configuration space, under the device's lock; the rest
 * reads as 0 and is ignored when written. Nothing that the guest writes here is
 * used before it was judged:
 *
 *  - QueueSel is kept as written and compared with queue_count at each use, so
 *    an unknown queue reads as "not available" (QueueNumMax 0) and swallows
 *    writes.
 *  - Size and addresses of a queue are kept as written, all 32 bits, while it
 *    is not ready nor the device live. QueueReady = 1 judges them; from then on
 *    they cannot change until QueueReady = 0 or a reset, and what the device
 *    thread works with is a private copy besides (queue_start).
 *  - Features are taken between DRIVER and FEATURES_OK only.
 *
 * A reset and QueueReady = 0 return when the device is quiet, since the driver
 * frees its memory next (virtio 1.2, 4.2.2.2).
 */
#include "virtio/mmio.h"

#include <stdbool.h>
#include <string.h>

#include "memory/base.h"
#include "virtio/device.h"

/* MagicValue: "virt". */
#define MAGIC 0x74726976
#define VERSION 2

/* The selected queue, or NULL when there is none of that number. */
static struct queue *selected_queue(struct virtio_device *device)
{
	return device->queue_select < device->queue_count
		       ? &device->queues[device->queue_select]
		       : NULL;
}

/* The selected queue if the driver may set it up now, or NULL. */
static struct queue *writable_queue(struct virtio_device *device)
{
	struct queue *queue = selected_queue(device);

	if (!queue || queue->ready ||
	    virtio_device_status(device) & VIRTIO_STATUS_DRIVER_OK)
		return NULL;
	return queue;
}

/* Half @select of 64 feature bits; no others exist. */
static uint32_t feature_half(uint64_t features, uint32_t select)
{
	return select < 2 ? (uint32_t)(features >> 32 * select) : 0;
}

static uint32_t register_read(struct virtio_device *device, uint32_t offset)
	LOCK_REQUIRES(&device->lock)
{
	const struct queue *queue = selected_queue(device);

	switch (offset) {
	case VIRTIO_MMIO_MAGIC_VALUE:
		return MAGIC;
	case VIRTIO_MMIO_VERSION:
		return VERSION;
	case VIRTIO_MMIO_DEVICE_ID:
		return device->ops->id;
	case VIRTIO_MMIO_VENDOR_ID:
		return VIRTIO_MMIO_VENDOR_SLUICE;
	case VIRTIO_MMIO_DEVICE_FEATURES:
		return feature_half(device->offered,
				    device->device_feature_select);
	case VIRTIO_MMIO_QUEUE_NUM_MAX:
		return queue ? queue->size_max : 0;
	case VIRTIO_MMIO_QUEUE_READY:
		return queue && queue->ready;
	case VIRTIO_MMIO_INTERRUPT_STATUS:
		/* Pairs with the setting in virtio/device.c. */
		return __atomic_load_n(&device->interrupt_status,
				       __ATOMIC_SEQ_CST);
	case VIRTIO_MMIO_STATUS:
		return virtio_device_status(device);
	case VIRTIO_MMIO_SHM_LEN_LOW:
	case VIRTIO_MMIO_SHM_LEN_HIGH:
	case VIRTIO_MMIO_SHM_BASE_LOW:
	case VIRTIO_MMIO_SHM_BASE_HIGH:
		/* virtio 1.2, 4.2.2: no such region has length -1. */
		return UINT32_MAX;
	case VIRTIO_MMIO_CONFIG_GENERATION:
		/* Pairs with the addition in virtio_device_signal_config. */
		return __atomic_load_n(&device->config_generation,
				       __ATOMIC_SEQ_CST);
	default:
		return 0;
	}
}

static void write_features(struct virtio_device *device, uint32_t value)
	LOCK_REQUIRES(&device->lock)
{
	const uint8_t mask = VIRTIO_STATUS_DRIVER | VIRTIO_STATUS_FEATURES_OK |
			     VIRTIO_STATUS_FAILED;
	unsigned int shift = 32 * device->driver_feature_select;
	uint64_t features;

	/* virtio 1.2, 3.1.1: step 4 lies between DRIVER and FEATURES_OK. */
	if ((virtio_device_status(device) & mask) != VIRTIO_STATUS_DRIVER)
		return;
	if (device->driver_feature_select > 1)
		return;
	features = device->accepted & ~((uint64_t)UINT32_MAX << shift);
	features |= (uint64_t)value << shift;
	__atomic_store_n(&device->accepted, features, __ATOMIC_RELAXED);
}

static void write_ready(struct virtio_device *device, uint32_t value)
	LOCK_REQUIRES(&device->lock)
{
	struct queue *queue;

	if (value == 0) {
		/* Fails only where the VM ends. */
		if (selected_queue(device))
			virtio_device_stop_queue(device, device->queue_select);
		return;
	}
	queue = writable_queue(device);
	if (value == 1 && queue && queue_check(queue) == 0)
		queue->ready = true;
}

static void write_address(struct virtio_device *device, enum queue_part part,
			  bool high, uint32_t value)
	LOCK_REQUIRES(&device->lock)
{
	struct queue *queue = writable_queue(device);
	unsigned int shift = high ? 32 : 0;
	iova_t *address;

	if (!queue)
		return;
	address = &queue->part_address[part];
	address->v &= ~((uint64_t)UINT32_MAX << shift);
	address->v |= (uint64_t)value << shift;
}

static void write_notify(struct virtio_device *device, uint32_t index)
	LOCK_REQUIRES(&device->lock)
{
	if (index < device->queue_count && device->queues[index].live &&
	    device->ops->notify)
		device->ops->notify(device, index);
}

static void write_queue_size(struct virtio_device *device, uint32_t value)
	LOCK_REQUIRES(&device->lock)
{
	struct queue *queue = writable_queue(device);

	if (queue)
		queue->size = value;
}

/* The registers of the selected queue. False when @offset is none of them. */
static bool queue_register_write(struct virtio_device *device, uint32_t offset,
				 uint32_t value) LOCK_REQUIRES(&device->lock)
{
	switch (offset) {
	case VIRTIO_MMIO_QUEUE_NUM:
		write_queue_size(device, value);
		return true;
	case VIRTIO_MMIO_QUEUE_READY:
		write_ready(device, value);
		return true;
	case VIRTIO_MMIO_QUEUE_DESC_LOW:
	case VIRTIO_MMIO_QUEUE_DESC_HIGH:
		write_address(device, QUEUE_DESCRIPTORS,
			      offset == VIRTIO_MMIO_QUEUE_DESC_HIGH, value);
		return true;
	case VIRTIO_MMIO_QUEUE_AVAIL_LOW:
	case VIRTIO_MMIO_QUEUE_AVAIL_HIGH:
		write_address(device, QUEUE_AVAILABLE,
			      offset == VIRTIO_MMIO_QUEUE_AVAIL_HIGH, value);
		return true;
	case VIRTIO_MMIO_QUEUE_USED_LOW:
	case VIRTIO_MMIO_QUEUE_USED_HIGH:
		write_address(device, QUEUE_USED,
			      offset == VIRTIO_MMIO_QUEUE_USED_HIGH, value);
		return true;
	default:
		return false;
	}
}

static void register_write(struct virtio_device *device, uint32_t offset,
			   uint32_t value) LOCK_REQUIRES(&device->lock)
{
	if (queue_register_write(device, offset, value))
		return;

	switch (offset) {
	case VIRTIO_MMIO_DEVICE_FEATURES_SEL:
		device->device_feature_select = value;
		break;
	case VIRTIO_MMIO_DRIVER_FEATURES:
		write_features(device, value);
		break;
	case VIRTIO_MMIO_DRIVER_FEATURES_SEL:
		device->driver_feature_select = value;
		break;
	case VIRTIO_MMIO_QUEUE_SEL:
		device->queue_select = value;
		break;
	case VIRTIO_MMIO_QUEUE_NOTIFY:
		write_notify(device, value);
		break;
	case VIRTIO_MMIO_INTERRUPT_ACK:
		/* Pairs with the setting in virtio/device.c. */
		__atomic_fetch_and(&device->interrupt_status, ~value,
				   __ATOMIC_SEQ_CST);
		break;
	case VIRTIO_MMIO_STATUS:
		virtio_device_set_status(device, value);
		break;
	default:
		break;
	}
}

/* Whether the access is one of the registers below the configuration space. */
static bool is_register(uint64_t offset, uint32_t len)
{
	return offset < VIRTIO_MMIO_CONFIG && len == 4 && is_aligned(offset, 4);
}

/* Whether all of the access lies inside the configuration space. */
static bool is_config(const struct virtio_device *device, uint64_t offset,
		      uint32_t len)
{
	uint64_t at = offset - VIRTIO_MMIO_CONFIG;

	return offset >= VIRTIO_MMIO_CONFIG && is_power_of_two(len) &&
	       len <= 8 && len <= device->config_size &&
	       at <= device->config_size - len;
}

void virtio_mmio_read(struct virtio_device *device, uint64_t offset, void *data,
		      uint32_t len)
{
	uint32_t value;

	memset(data, 0, len);
	lock_take(&device->lock);
	if (is_register(offset, len)) {
		value = register_read(device, (uint32_t)offset);
		memcpy(data, &value, sizeof(value));
	} else if (is_config(device, offset, len)) {
		device->ops->config_read(device,
					 (uint32_t)offset - VIRTIO_MMIO_CONFIG,
					 data, len);
	}
	lock_drop(&device->lock);
}

void virtio_mmio_write(struct virtio_device *device, uint64_t offset,
		       const void *data, uint32_t len)
{
	uint32_t value;

	lock_take(&device->lock);
	if (is_register(offset, len)) {
		memcpy(&value, data, sizeof(value));
		register_write(device, (uint32_t)offset, value);
	} else if (is_config(device, offset, len) &&
		   device->ops->config_write) {
		device->ops->config_write(device,
					  (uint32_t)offset - VIRTIO_MMIO_CONFIG,
					  data, len);
	}
	lock_drop(&device->lock);
}
