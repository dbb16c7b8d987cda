/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The entropy device (virtio 1.2, 5.4): one queue, whose buffers are filled with
 * what getrandom(2) gives, by one thread, at a bounded rate.
 */
#ifndef DEVICES_VIRTIO_RNG_H
#define DEVICES_VIRTIO_RNG_H

#include <stdint.h>

#include "devices/log.h"
#include "devices/queue_worker.h"
#include "devices/rate_limit.h"
#include "memory/base.h"
#include "virtio/device.h"

#define VIRTIO_RNG_QUEUE_SIZE 64

/*
 * What one request is given at most; the used length says how much it was. A
 * device may leave the rest (virtio 1.2, 5.4.6.1).
 */
#define VIRTIO_RNG_REQUEST_BYTES (64 * KIB)

/*
 * A guest that asks without an end costs the host a few hundredths of a
 * processor: getrandom needs some 3 ns for a byte, and a request, of which Linux
 * makes one for 64 bytes, some us.
 */
#define VIRTIO_RNG_BANDWIDTH MIB /* bytes per second */
#define VIRTIO_RNG_BURST (256 * KIB)
#define VIRTIO_RNG_OPS 4096 /* requests per second */

struct virtio_rng_counters {
	uint64_t requests; /* answered */
	uint64_t errors; /* of them, with nothing */
	uint64_t bytes_read; /* by the guest */
};

struct virtio_rng {
	struct virtio_device device;
	struct queue_worker worker;
	struct rate_limit limit;
	uint64_t next_ns; /* the thread's: when it may take its next request */
	struct virtio_rng_counters counters; /* atomics, written by the thread */
	struct log_limit log_limit;
};

/*
 * @name: until destroy. @stop_fd: see queue_worker. Waits until the host's own
 * source is ready, which it is soon after the host's boot, for good. 0 or
 * -errno.
 */
int virtio_rng_init(struct virtio_rng *rng, const char *name,
		    const struct guest_memory *memory, int stop_fd);

/* Starts the thread "NAME.0", parked until DRIVER_OK. 0 or -errno. */
int virtio_rng_start_threads(struct virtio_rng *rng, struct threads *threads);

/* The VM's vCPUs have ended: joins the thread. The counters stay readable. */
void virtio_rng_join_threads(struct virtio_rng *rng);

/* Joins as above if need be. */
void virtio_rng_destroy(struct virtio_rng *rng);

/* Any thread. */
struct virtio_rng_counters virtio_rng_count(const struct virtio_rng *rng);

/* The eventfd that the queue's notifications go to. */
int virtio_rng_kick_fd(const struct virtio_rng *rng);

#endif
