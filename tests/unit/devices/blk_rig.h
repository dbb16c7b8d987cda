/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A block device with a real file behind it and a well-behaved driver in front
 * of it, which tests then make misbehave. Guest RAM is RIG_RAM bytes at 0: the
 * rings first, then room for headers, status bytes and payload.
 */
#ifndef TESTS_UNIT_DEVICES_BLK_RIG_H
#define TESTS_UNIT_DEVICES_BLK_RIG_H

#include <linux/virtio_blk.h>
#include <stdbool.h>
#include <stdint.h>

#include "devices/virtio_blk.h"
#include "devices/virtio_blk_request.h"
#include "memory/guest_memory.h"
#include "virtio/driver.h"

#define RIG_QUEUES_MAX 4
#define RIG_RAM (16 * MIB)
#define RIG_DRIVER_BYTES (1 * MIB) /* rings and tables of one queue */
/* One slot per request that a test has in flight; payload behind them. */
#define RIG_SLOT(n) (4 * MIB + 4096 * (n))
#define RIG_HEADER(n) (RIG_SLOT(n) + 0)
#define RIG_RANGES(n) (RIG_SLOT(n) + 16)
#define RIG_STATUS(n) (RIG_SLOT(n) + 2048)
#define RIG_PAYLOAD (8 * MIB)

#define RIG_UNTOUCHED 0xee /* what a status byte is before its answer */
#define RIG_TIMEOUT_MS 20000

struct rig {
	/* Set by the test before rig_start; 0 is a sensible value of each. */
	uint64_t disk_bytes; /* 1 MiB */
	unsigned int queues; /* 1 */
	bool read_only;
	uint64_t refused_features; /* that the driver does not accept */
	struct rate_config rate;

	struct guest_memory memory;
	struct virtio_blk blk;
	struct driver drivers[RIG_QUEUES_MAX];
	struct threads threads;
	int stop_fd;
	int file; /* another descriptor of the disk's file */
	unsigned int interrupts; /* atomic */
};

struct rig_answer {
	uint8_t status;
	uint32_t written;
};

/* The device exists, its threads run, the driver is not there yet. */
void rig_create(struct rig *rig);
/* The driver's side of virtio 1.2, 3.1.1; again after a reset. */
void rig_negotiate(struct rig *rig);
/* Both. */
void rig_start(struct rig *rig);
void rig_destroy(struct rig *rig);

uint32_t rig_read(struct rig *rig, uint32_t offset);
void rig_write(struct rig *rig, uint32_t offset, uint32_t value);

/* The host address of guest memory. */
void *rig_host(struct rig *rig, uint64_t address);
/* The header of request @n, and a status byte that was not touched. */
void rig_header(struct rig *rig, unsigned int n, uint32_t type,
		uint64_t sector);

/* Adds, shows and, if the device wants it, notifies. Returns the head. */
uint16_t rig_submit(struct rig *rig, unsigned int queue,
		    const struct driver_buffer *buffers, unsigned int count);
/* Waits for the next used element. False after RIG_TIMEOUT_MS. */
bool rig_wait(struct rig *rig, unsigned int queue, uint16_t *head,
	      uint32_t *written);

/*
 * One request from start to end in slot 0 of queue 0: @out bytes at RIG_PAYLOAD
 * for the device to read, or @in bytes there for it to write. The test fails
 * when there is no answer.
 */
struct rig_answer rig_request(struct rig *rig, uint32_t type, uint64_t sector,
			      uint32_t out, uint32_t in);

/* Whether reads and writes still work, which proves that the device lives. */
bool rig_is_alive(struct rig *rig);

/* What is in the file. */
void rig_file_read(struct rig *rig, void *buffer, size_t len, uint64_t offset);

/* A condition: the device, a struct rig, needs a reset. */
bool rig_needs_reset(void *context);

/* Polls @condition until it is true; false after RIG_TIMEOUT_MS. */
bool rig_eventually(bool (*condition)(void *context), void *context);

#endif
