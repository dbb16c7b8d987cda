/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the tests of virtio/ share: guest RAM with a hole in it, a queue over it
 * with a driver in front, and a fake device that records what is asked of it.
 */
#ifndef TESTS_UNIT_VIRTIO_SUPPORT_H
#define TESTS_UNIT_VIRTIO_SUPPORT_H

#include <linux/virtio_ring.h>
#include <stdbool.h>
#include <stdint.h>

#include "memory/guest_memory.h"
#include "virtio/device.h"
#include "virtio/driver.h"
#include "virtio/queue.h"

/* RAM: [0, LOW_END) and [HIGH_FIRST, HIGH_END); between them, the hole. */
#define LOW_END UINT64_C(0x200000)
#define HIGH_FIRST UINT64_C(0x100000000)
#define HIGH_END UINT64_C(0x100200000)

#define RINGS_AT 0x10000
#define RINGS_BYTES 0xc0000
#define DATA_AT 0x100000 /* payload: the rest of low RAM */

#define ALL_RING_FEATURES                                          \
	(VIRTIO_FEATURE_VERSION_1 | VIRTIO_FEATURE_INDIRECT_DESC | \
	 VIRTIO_FEATURE_EVENT_IDX)

void memory_setup(struct guest_memory *memory);

/* A live queue and its driver. */
struct rig {
	struct guest_memory memory;
	struct queue queue;
	struct driver driver;
};

void rig_init(struct rig *rig, uint16_t size, uint64_t features);
void rig_destroy(struct rig *rig);

/* Stops the queue, clears rings and driver, and starts over. */
void rig_restart(struct rig *rig);

void *rig_host(const struct rig *rig, uint64_t address, uint64_t len);

/* Raw rings, for drivers that obey nothing. */
void rig_descriptor(struct rig *rig, uint16_t index, uint64_t address,
		    uint32_t len, uint16_t flags, uint16_t next);
void rig_offer(struct rig *rig, uint16_t head);
struct vring_desc *rig_descriptors(struct rig *rig);
struct vring_avail *rig_available(struct rig *rig);
struct vring_used *rig_used(struct rig *rig);
uint16_t *rig_used_event(struct rig *rig);
uint16_t *rig_avail_event(struct rig *rig);

/* The only chain that queue_next gives; fails the test when there is not one. */
struct chain *rig_take(struct rig *rig);

/* A request of one writable buffer at DATA_AT, offered but not taken. */
int rig_request(struct rig *rig, uint32_t len);

/* Serves everything there is, one publication. Returns what queue_publish says. */
bool rig_serve(struct rig *rig);

/* --- a device that records ---------------------------------------------------- */

#define FAKE_QUEUES 3
#define FAKE_QUEUE_SIZE 256
#define FAKE_CONFIG 60
#define FAKE_ID 42
#define FAKE_FEATURE VIRTIO_FEATURE(5)
#define LOG_MAX 64

/* One call of an operation: 's' start, 'q' stop_queue, 'n' notify, 'i' interrupt. */
struct fake_call {
	char what;
	unsigned int index;
	uint8_t status; /* the device's at that moment */
	bool live; /* whether queue @index was */
};

struct fake {
	struct guest_memory memory;
	struct virtio_device device;
	struct driver drivers[FAKE_QUEUES];
	struct fake_call calls[LOG_MAX];
	unsigned int call_count;
	int start_result;
	int stop_result;
	uint8_t config[FAKE_CONFIG];
};

void fake_init(struct fake *fake);
void fake_destroy(struct fake *fake);
extern const struct virtio_device_ops fake_ops;

/* How many calls of @what were recorded. */
unsigned int fake_count(const struct fake *fake, char what);
void fake_forget(struct fake *fake);

/* Registers, 32 bits. */
uint32_t fake_read(struct fake *fake, uint32_t offset);
void fake_write(struct fake *fake, uint32_t offset, uint32_t value);

/* The steps of a driver: up to DRIVER, with features, with queues, to the end. */
void fake_to_driver(struct fake *fake);
void fake_to_features_ok(struct fake *fake, uint64_t features);
void fake_set_up_queue(struct fake *fake, unsigned int index);
void fake_to_driver_ok(struct fake *fake);

#endif
