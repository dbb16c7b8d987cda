/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The virtio-iommu device (virtio 1.2, 5.13): the front end of memory/iommu.h.
 *
 * Queue 0, requests, is served inline, on the vCPU thread that notifies. A
 * request that has to wait for a device is parked, and answered on that device's
 * thread. Queue 1, events, belongs to the main thread, which fills the buffers
 * there with faults. Neither queue is translated.
 */
#ifndef DEVICES_VIRTIO_IOMMU_H
#define DEVICES_VIRTIO_IOMMU_H

#include <stdbool.h>
#include <stdint.h>

#include "devices/event_loop.h"
#include "devices/log.h"
#include "memory/iommu.h"
#include "memory/lock.h"
#include "virtio/device.h"

#define VIRTIO_IOMMU_REQUESTS 0
#define VIRTIO_IOMMU_EVENTS 1
#define VIRTIO_IOMMU_QUEUES 2
#define VIRTIO_IOMMU_QUEUE_SIZE 512

/* Bytes of a PROBE's list of properties. */
#define VIRTIO_IOMMU_PROBE_SIZE 128

#define VIRTIO_IOMMU_PAGE_SIZES (4 * KIB | 2 * MIB | 1 * GIB)

struct virtio_iommu_options {
	bool bypass_config; /* offer BYPASS_CONFIG */
	/*
	 * Not 0 as soon as vCPUs shall leave; atomic. NULL: never. A vCPU that
	 * serves requests looks at it.
	 */
	const uint32_t *stop;
	/* Readable from then on, or -1; the caller's. */
	int stop_fd;
	/*
	 * The driver stopped the request queue with requests in it that have no
	 * answer: a driver that waits for them waits for ever. vCPU thread, under
	 * the device's lock. NULL: nobody cares.
	 */
	void (*abandoned)(void *context);
	/* What logs call an endpoint. Main thread. NULL: by its number alone. */
	const char *(*endpoint_name)(void *context, uint32_t endpoint);
	void *context;
};

struct virtio_iommu_counters {
	uint64_t probe; /* requests that were obeyed */
	uint64_t events_sent;
	uint64_t events_dropped; /* no buffer, or no room in the fault queue */
};

struct virtio_iommu {
	struct virtio_device device;
	struct iommu *iommu; /* the caller's */
	struct virtio_iommu_options options;
	int quiet_fd; /* eventfd: iommu_is_quiet may be true; owned */
	int again_fd; /* eventfd: the main thread serves requests; owned */

	/* Under iommu->lock, like the request queue. */
	bool requests_live;
	uint64_t epoch; /* of the request queue: older requests are forgotten */
	bool draining; /* answers are staged and published later */
	bool out_of_tables; /* a MAP was refused for that; for the log, once */
	uint64_t probes; /* atomic */

	/* Stands between virtio_device.lock and fault_queue.lock. */
	struct lock events_lock;
	/* Under events_lock, like the event queue. */
	bool events_live;

	/* The main thread's. */
	struct event_loop *loop; /* or NULL */
	struct event_source faults, again;
	struct log_limit log_limit;
	uint64_t events_sent; /* atomics */
	uint64_t events_dropped;
};

/*
 * A front end of @iommu, whose answers it takes over and which must outlive it.
 * Returns 0 or -errno.
 */
int virtio_iommu_init(struct virtio_iommu *viommu, struct iommu *iommu,
		      const struct guest_memory *memory,
		      const struct virtio_iommu_options *options);

/*
 * No vCPU runs any more, and no device behind the IOMMU exists. Leaves the loop,
 * if it is on one.
 */
void virtio_iommu_destroy(struct virtio_iommu *viommu);

/*
 * Has @loop, which must outlive the device, do what is the main thread's. 0 or
 * -errno.
 */
int virtio_iommu_watch(struct virtio_iommu *viommu, struct event_loop *loop);

/*
 * Tells the guest and the operator of the faults there are; returns after a
 * bounded number of them, and the fault queue's eventfd is readable while there
 * are more. Main thread.
 */
void virtio_iommu_serve_faults(struct virtio_iommu *viommu);

/* Any thread. */
struct virtio_iommu_counters
virtio_iommu_count(const struct virtio_iommu *viommu);

#endif
