/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A payload's driver for a virtio block device behind virtio-mmio: the
 * registers here, the rings by virtio/driver.h. It polls. What payloads do that
 * no driver would do they do to the registers and rings themselves.
 */
#ifndef TESTS_GUEST_BLK_H
#define TESTS_GUEST_BLK_H

#include <linux/virtio_blk.h>
#include <linux/virtio_config.h>
#include <linux/virtio_mmio.h>
#include <linux/virtio_ring.h>
#include <stdbool.h>
#include <stdint.h>

#include "virtio/driver.h"

#define BLK_QUEUES_MAX 3
#define BLK_QUEUE_SIZE 16

#define BLK_FEATURE(bit) (UINT64_C(1) << (bit))
#define BLK_VERSION_1 BLK_FEATURE(VIRTIO_F_VERSION_1)
#define BLK_INDIRECT BLK_FEATURE(VIRTIO_RING_F_INDIRECT_DESC)
#define BLK_EVENT_IDX BLK_FEATURE(VIRTIO_RING_F_EVENT_IDX)
#define BLK_ALL UINT64_MAX /* whatever the device offers */

/* Status after each step of the initialisation. */
#define BLK_STATUS_ACKNOWLEDGE VIRTIO_CONFIG_S_ACKNOWLEDGE
#define BLK_STATUS_DRIVER (BLK_STATUS_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER)
#define BLK_STATUS_FEATURES (BLK_STATUS_DRIVER | VIRTIO_CONFIG_S_FEATURES_OK)
#define BLK_STATUS_LIVE (BLK_STATUS_FEATURES | VIRTIO_CONFIG_S_DRIVER_OK)

#define BLK_SECTOR 512

/* No status that a device answers with: there was no answer. */
#define BLK_S_NONE 0xff

struct blk {
	uint64_t window;
	uint64_t features; /* accepted */
	unsigned int queue_count;
	struct driver queues[BLK_QUEUES_MAX];
};

/* What a wait for the device came to. */
enum blk_outcome { BLK_USED, BLK_NEEDS_RESET, BLK_NOTHING };

/* The disk of number @index in the INI. Touches no register. */
void blk_init(struct blk *blk, unsigned int index);

/* Registers of virtio-mmio, by their names in linux/virtio_mmio.h. */
uint32_t blk_read(const struct blk *blk, uint32_t offset);
void blk_write(const struct blk *blk, uint32_t offset, uint32_t value);

uint64_t blk_offered(const struct blk *blk);

/*
 * Reset, to FEATURES_OK with what is offered of @features, and VERSION_1.
 * False: the device refused.
 */
bool blk_negotiate(struct blk *blk, uint64_t features);

/* Writes the three addresses of the selected queue. */
void blk_write_addresses(const struct blk *blk, const uint64_t *addresses);

/* Selects queue @index and sets it up with the rings of its driver. */
bool blk_set_up_queue(struct blk *blk, unsigned int index);

/* All of it: a live device with @queues queues. False: it is not. */
bool blk_open(struct blk *blk, uint64_t features, unsigned int queues);

void blk_notify(const struct blk *blk, unsigned int queue);

/* Until queue @queue has a used element, the device gives up, or too long. */
enum blk_outcome blk_wait(struct blk *blk, unsigned int queue, uint16_t *head,
			  uint32_t *written);

/*
 * One request of @bytes (may be 0) at @data, and its answer: a VIRTIO_BLK_S_*
 * or BLK_S_NONE. *@written (may be NULL) is the used length.
 */
uint8_t blk_do(struct blk *blk, unsigned int queue, uint32_t type,
	       uint64_t sector, void *data, uint32_t bytes, uint32_t *written);

/* The same through an indirect table. */
uint8_t blk_do_indirect(struct blk *blk, unsigned int queue, uint32_t type,
			uint64_t sector, void *data, uint32_t bytes);

/*
 * The disks of these tests have in each word of 64 bits the number of its
 * sector. Whether @bytes at @data are sector @first and those after it.
 */
bool blk_is_sector(const void *data, uint64_t first, uint32_t bytes);

/*
 * Resets the device, opens it anew and reads a sector: whether all of that
 * works. What a test ends with that broke something.
 */
bool blk_recovers(struct blk *blk);

#endif
