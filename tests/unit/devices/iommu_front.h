/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A virtio-iommu with a real IOMMU behind it, a well-behaved driver in front of
 * it, and two endpoints with a door each. Guest RAM is [0, FRONT_RAM).
 */
#ifndef TESTS_UNIT_DEVICES_IOMMU_FRONT_H
#define TESTS_UNIT_DEVICES_IOMMU_FRONT_H

#include <linux/virtio_iommu.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "devices/virtio_iommu.h"
#include "memory/base.h"
#include "memory/dma.h"
#include "memory/guest_memory.h"
#include "memory/iommu.h"
#include "virtio/driver.h"

#define FRONT_RAM (16 * MIB)
#define FRONT_RINGS(index) (MIB * (index))
#define FRONT_REQUEST (4 * MIB) /* what the device reads */
#define FRONT_ANSWER (5 * MIB) /* what it writes */
#define FRONT_EVENT(n) (6 * MIB + 64 * (n))
#define FRONT_RECORD sizeof(struct virtio_iommu_fault)

#define FRONT_UNTOUCHED 0xee /* what answers are before they are written */
#define FRONT_HEADS 16 /* of a door */

#define FRONT_FIRST 1 /* the endpoints */
#define FRONT_SECOND 2

/* Bytes of an answer, and of one to PROBE. */
#define FRONT_TAIL 4U
#define FRONT_PROBE_ANSWER (VIRTIO_IOMMU_PROBE_SIZE + FRONT_TAIL)

struct iommu_front {
	/* Set by the test before front_start. */
	bool bypass; /* what endpoints may do at first; also offers the feature */
	uint64_t refused_features; /* that the driver does not accept */
	uint64_t tables; /* 0: 16 MiB */
	uint16_t indirect; /* entries of an indirect table per request; 0: none */
	const struct virtio_iommu_req_attach *before_driver_ok; /* a request */

	struct guest_memory memory;
	struct iommu iommu;
	struct virtio_iommu viommu;
	struct iommu_endpoint *endpoints[2];
	struct dma doors[2];
	struct driver drivers[VIRTIO_IOMMU_QUEUES];
	uint32_t stop;
	int stop_fd;
	unsigned int interrupts; /* atomic */
	unsigned int abandoned; /* times that the device said so */
};

/* The device exists, the driver is not there yet; then it is; both. */
void front_create(struct iommu_front *rig);
void front_negotiate(struct iommu_front *rig);
void front_start(struct iommu_front *rig);
void front_destroy(struct iommu_front *rig);

uint32_t front_read(struct iommu_front *rig, uint32_t offset);
void front_write(struct iommu_front *rig, uint32_t offset, uint32_t value);
uint64_t front_config(struct iommu_front *rig, uint32_t offset, uint32_t len);
void front_config_write(struct iommu_front *rig, uint32_t offset, uint32_t len,
			uint64_t value);
void *front_host(struct iommu_front *rig, uint64_t address);

/* What came back for a request. */
struct front_answer {
	uint32_t written;
	uint8_t status; /* of the tail, where the length says that there is one */
	const uint8_t *bytes; /* all that the device could write */
};

/*
 * Sends @len bytes as a request, with @room bytes for the answer, as one buffer
 * each (none for 0), and waits for its answer, which is there when the notification
 * returns.
 */
struct front_answer front_send(struct iommu_front *rig, const void *request,
			       uint32_t len, uint32_t room);

/* Makes it available; no notification. Its head. The tail is at FRONT_ANSWER + 64 n. */
int front_add(struct iommu_front *rig, unsigned int n, const void *request,
	      uint32_t len, uint32_t room);
void front_notify(struct iommu_front *rig);

/* Requests: their status; the used length is checked to be FRONT_TAIL. */
uint8_t front_attach(struct iommu_front *rig, uint32_t domain,
		     uint32_t endpoint);
uint8_t front_detach(struct iommu_front *rig, uint32_t domain,
		     uint32_t endpoint);
uint8_t front_map(struct iommu_front *rig, uint32_t domain, uint64_t first,
		  uint64_t last, uint64_t physical, uint32_t flags);
uint8_t front_unmap(struct iommu_front *rig, uint32_t domain, uint64_t first,
		    uint64_t last);
struct front_answer front_probe(struct iommu_front *rig, uint32_t endpoint,
				uint32_t room);

/* Any request, for what it answers: @request is changed by nobody. */
#define FRONT_STATUS(rig, request) \
	front_status(rig, &(request), offsetof(__typeof__(request), tail))
uint8_t front_status(struct iommu_front *rig, const void *request, size_t len);

/*
 * Whether endpoint @index's door reaches @len bytes at @address, in one piece, at
 * guest address @physical.
 */
bool front_reaches(struct iommu_front *rig, unsigned int index,
		   uint64_t address, uint32_t len, enum dma_access access,
		   uint64_t physical);
/* Whether it is refused. */
bool front_faults(struct iommu_front *rig, unsigned int index, uint64_t address,
		  uint32_t len, enum dma_access access);

/* Starts and ends a request of a door that goes on meanwhile. */
void front_hold(struct iommu_front *rig, unsigned int index, uint16_t head,
		uint64_t address, uint32_t len);
void front_release(struct iommu_front *rig, unsigned int index, uint16_t head);

/* Posts @count buffers of @len bytes for events. */
void front_post_events(struct iommu_front *rig, unsigned int count,
		       uint32_t len);
/* The next event buffer that came back, and its used length. False: none. */
bool front_take_event(struct iommu_front *rig,
		      struct virtio_iommu_fault *record, uint32_t *written);

#endif
