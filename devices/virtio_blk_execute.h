/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The synchronous engine of the block device: does a request's I/O with plain
 * system calls on the queue's thread.
 */
#ifndef DEVICES_VIRTIO_BLK_EXECUTE_H
#define DEVICES_VIRTIO_BLK_EXECUTE_H

#include <stdint.h>

struct virtio_blk_queue;
struct virtio_blk_request;

/*
 * Returns VIRTIO_BLK_S_OK, or what the guest is to be told; a failure of the
 * host is logged. A long transfer ends early, with VIRTIO_BLK_S_IOERR, when the
 * worker should pause.
 */
uint8_t virtio_blk_execute(struct virtio_blk_queue *queue,
			   struct virtio_blk_request *request);

#endif
