/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The virtio block device (virtio 1.2, 5.2) in front of a disk: one thread per
 * queue. Whatever the file does, the guest gets VIRTIO_BLK_S_IOERR and the VM
 * lives on.
 */
#ifndef DEVICES_VIRTIO_BLK_H
#define DEVICES_VIRTIO_BLK_H

#include <stdbool.h>
#include <stdint.h>

#include "devices/disk.h"
#include "devices/log.h"
#include "devices/queue_worker.h"
#include "devices/rate_limit.h"
#include "virtio/device.h"

#define VIRTIO_BLK_QUEUES_MAX 64
#define VIRTIO_BLK_QUEUE_SIZE 256

struct virtio_blk_counters {
	uint64_t requests; /* answered */
	uint64_t errors; /* of them, with another status than OK, or with none */
	uint64_t bytes_read;
	uint64_t bytes_written;
};

struct virtio_blk_queue; /* devices/virtio_blk_request.h */

struct virtio_blk {
	struct virtio_device device;
	struct disk disk;
	struct virtio_blk_queue *queues; /* device.queue_count of them */
	/*
	 * Without VIRTIO_BLK_F_FLUSH the driver takes the disk for
	 * write-through (virtio 1.2, 5.2.5.2). Set at DRIVER_OK.
	 */
	bool write_through;
	struct rate_limit limit; /* of all queues together */
	struct log_limit log_limit;
	bool joined; /* and flushed, with flush_err */
	int flush_err;
	char id[20]; /* GET_ID; not terminated when full */
};

/*
 * @disk is consumed on success. @name: the section's, until destroy. @queues:
 * 1 to VIRTIO_BLK_QUEUES_MAX. @stop_fd: see queue_worker. 0 or -errno.
 */
int virtio_blk_init(struct virtio_blk *blk, const char *name, struct disk *disk,
		    unsigned int queues, const struct guest_memory *memory,
		    int stop_fd);

/*
 * How fast it may go: data read, written and zeroed counts as bytes, and each
 * request as an operation. Before the threads start; without it: no limit.
 */
void virtio_blk_set_limit(struct virtio_blk *blk,
			  const struct rate_config *config);

/* Starts the threads "blk.NAME.N", parked until DRIVER_OK. 0 or -errno. */
int virtio_blk_start_threads(struct virtio_blk *blk, struct threads *threads);

/*
 * The VM has ended, its vCPUs too: joins the threads that were started and
 * flushes the disk, once. The counters stay readable. 0, or -errno of the
 * flush, which is logged. Again: the same answer.
 */
int virtio_blk_join_threads(struct virtio_blk *blk);

/*
 * Joins as above if need be and closes the disk. The threads' statistics
 * (threads->list) are to be read before.
 */
void virtio_blk_destroy(struct virtio_blk *blk);

/* Sums over the queues. Any thread. */
struct virtio_blk_counters virtio_blk_count(const struct virtio_blk *blk);

/* The eventfd that queue @index's notifications go to. */
int virtio_blk_kick_fd(const struct virtio_blk *blk, unsigned int index);

#endif
