/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The registers of virtio over MMIO, version 2 (virtio 1.2, 4.2.2).
 *
 * Every access of a guest is legal here, whatever its offset and width: what
 * the specification does not define reads as 0 and is ignored when written.
 * Registers below 0x100 answer aligned 4-byte accesses only; the configuration
 * space any width (1, 2, 4, 8) inside its size.
 */
#ifndef VIRTIO_MMIO_H
#define VIRTIO_MMIO_H

#include <linux/virtio_mmio.h> /* offsets: VIRTIO_MMIO_QUEUE_NOTIFY, ... */
#include <stdint.h>

struct virtio_device;

#define VIRTIO_MMIO_WINDOW 0x1000 /* bytes of address space per device */
#define VIRTIO_MMIO_VENDOR_SLUICE 0x43554c53 /* VendorID: "SLUC" */

/*
 * One access of @len bytes (1, 2, 4 or 8) at @offset of the window. A read
 * fills all of @data, little-endian. vCPU threads; takes the device's lock.
 * A write that resets the device or stops a queue returns when the device is
 * quiet (virtio_device_ops.stop_queue).
 */
void virtio_mmio_read(struct virtio_device *device, uint64_t offset, void *data,
		      uint32_t len);
void virtio_mmio_write(struct virtio_device *device, uint64_t offset,
		       const void *data, uint32_t len);

#endif
