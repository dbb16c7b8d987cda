/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What every virtio device is, whatever carries it: an identity, features, the
 * status machine (virtio 1.2, 2.1 and 3.1), a configuration space and queues.
 * A device embeds struct virtio_device and fills a const struct of operations.
 *
 * Threads: the registers are written by any vCPU thread, one at a time under
 * `lock`. Device threads only raise interrupts and ask for a reset; both are
 * lock-free, so that a device thread never waits for a vCPU.
 */
#ifndef VIRTIO_DEVICE_H
#define VIRTIO_DEVICE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "memory/lock.h"
#include "virtio/queue.h"

/* Device status bits (virtio 1.2, 2.1). */
#define VIRTIO_STATUS_ACKNOWLEDGE 1
#define VIRTIO_STATUS_DRIVER 2
#define VIRTIO_STATUS_DRIVER_OK 4
#define VIRTIO_STATUS_FEATURES_OK 8
#define VIRTIO_STATUS_NEEDS_RESET 64
#define VIRTIO_STATUS_FAILED 128

/* Device-independent features (virtio 1.2, 6). */
#define VIRTIO_FEATURE(bit) (UINT64_C(1) << (bit))
#define VIRTIO_FEATURE_INDIRECT_DESC VIRTIO_FEATURE(28)
#define VIRTIO_FEATURE_EVENT_IDX VIRTIO_FEATURE(29)
#define VIRTIO_FEATURE_VERSION_1 VIRTIO_FEATURE(32)
#define VIRTIO_FEATURE_ACCESS_PLATFORM VIRTIO_FEATURE(33)

/* Bits of InterruptStatus (virtio 1.2, 4.2.2). */
#define VIRTIO_INTERRUPT_USED 1
#define VIRTIO_INTERRUPT_CONFIG 2

struct virtio_device;

struct virtio_device_ops {
	uint32_t id; /* virtio 1.2, 5: 2 is a block device */

	/*
	 * Configuration space: @len bytes at @offset, inside config_size, any
	 * alignment. Called under the device's lock. write may be NULL: nothing
	 * is writable.
	 */
	void (*config_read)(struct virtio_device *device, uint32_t offset,
			    void *buffer, uint32_t len);
	void (*config_write)(struct virtio_device *device, uint32_t offset,
			     const void *buffer, uint32_t len);

	/*
	 * DRIVER_OK: the ready queues are live; start serving them. Returns 0,
	 * or -errno, serving none: the device then needs a reset. May be NULL.
	 * Called under the device's lock, like all below.
	 */
	int (*start)(struct virtio_device *device);

	/*
	 * Stop serving queue @index and return when no thread of the device
	 * touches it or guest memory on its behalf. Called before a reset, a
	 * QueueReady = 0 and at the end of the VM, for live queues only, on a
	 * vCPU thread; must return early when the VM stops (the queue is then
	 * never used again). Returns 0, or -EINTR for that early return. NULL
	 * where no thread serves the queues.
	 */
	int (*stop_queue)(struct virtio_device *device, unsigned int index);

	/*
	 * The driver resets the device, and its queues are stopped: gives up what
	 * else it set up. Returns as stop_queue. May be NULL.
	 */
	int (*reset)(struct virtio_device *device);

	/*
	 * The driver wrote QueueNotify for live queue @index, and no ioeventfd
	 * took it. May be NULL.
	 */
	void (*notify)(struct virtio_device *device, unsigned int index);
};

struct virtio_device {
	const struct virtio_device_ops *ops;
	const char *name; /* as in logs and statistics: "root" */
	uint32_t config_size;
	uint64_t offered; /* feature bits; VERSION_1 always among them */
	unsigned int queue_count;
	struct queue *queues; /* the device's, from virtio_device_init on */

	struct lock lock;
	/* Under lock. */
	uint64_t accepted; /* the driver's features, so far */
	uint32_t device_feature_select;
	uint32_t driver_feature_select;
	uint32_t queue_select;

	/* Atomics. */
	uint8_t status;
	uint32_t interrupt_status;
	uint32_t config_generation;

	/* How an interrupt reaches the guest; the platform's, or NULL. */
	void (*interrupt)(void *context);
	void *interrupt_context;
};

/*
 * Fills @device and creates its queues over @memory: @queue_count queues of at
 * most @queue_size entries. @name stays the caller's and must outlive it.
 * Returns 0 or -ENOMEM.
 */
int virtio_device_init(struct virtio_device *device,
		       const struct virtio_device_ops *ops, const char *name,
		       const struct guest_memory *memory,
		       unsigned int queue_count, uint16_t queue_size);

/* No thread of the device may run any more. */
void virtio_device_destroy(struct virtio_device *device);

/*
 * Stops queue @index if it is live; it is then not ready either. Returns 0, or
 * -EINTR when the VM ends: the queue then still belongs to the device's thread.
 */
int virtio_device_stop_queue(struct virtio_device *device, unsigned int index)
	LOCK_REQUIRES(&device->lock);

/*
 * The driver wrote @status to the status register: the steps of virtio 1.2,
 * 3.1.1, in order only; 0 resets. A step out of order is ignored, and so is a
 * write that would clear a bit. A reset that an operation cut short (-EINTR)
 * leaves the status as it was.
 */
void virtio_device_set_status(struct virtio_device *device, uint32_t status)
	LOCK_REQUIRES(&device->lock);

uint8_t virtio_device_status(const struct virtio_device *device);

/* Whether the driver accepted every bit of @feature. Stable while live. */
bool virtio_device_has_feature(const struct virtio_device *device,
			       uint64_t feature);

/* A used-buffer notification. Device threads. */
void virtio_device_signal_used(struct virtio_device *device);

/*
 * The configuration changed: new generation and, if the driver is there (bit
 * DRIVER), a config interrupt. Any thread.
 */
void virtio_device_signal_config(struct virtio_device *device);

/*
 * The device cannot go on: DEVICE_NEEDS_RESET and, if the driver is live, a
 * config interrupt (virtio 1.2, 2.1.2). Any thread; once until the next reset.
 */
void virtio_device_needs_reset(struct virtio_device *device);

/*
 * Whether @queue can go on; if it is broken, the device needs a reset. What a
 * device thread asks when queue_next, queue_publish or queue_arm gave nothing.
 */
bool virtio_device_check_queue(struct virtio_device *device,
			       const struct queue *queue);

#endif
