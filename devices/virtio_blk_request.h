/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One request of a block driver: from its chain to what is to be done, and from
 * the outcome to the used element. What lies between, the I/O, is an engine's
 * (devices/virtio_blk_execute.h). For the block device's own files.
 *
 * Everything here runs on the queue's thread.
 */
#ifndef DEVICES_VIRTIO_BLK_REQUEST_H
#define DEVICES_VIRTIO_BLK_REQUEST_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

#include "devices/queue_worker.h"
#include "devices/virtio_blk.h"
#include "memory/dma.h"
#include "virtio/chain.h"

/*
 * Limits of DISCARD and WRITE_ZEROES, as the configuration space tells them. One
 * request keeps a queue's thread, and a reset waiting, for as long as it takes:
 * a hole is punched at once, but zeroes may have to be written.
 */
#define VIRTIO_BLK_RANGES_MAX 16
#define VIRTIO_BLK_DISCARD_SECTORS_MAX (1u << 21) /* 1 GiB a range */
#define VIRTIO_BLK_ZEROES_RANGES_MAX 1
#define VIRTIO_BLK_ZEROES_SECTORS_MAX (1u << 17) /* 64 MiB */

enum virtio_blk_operation {
	VIRTIO_BLK_NOTHING, /* answered already */
	VIRTIO_BLK_READ,
	VIRTIO_BLK_WRITE,
	VIRTIO_BLK_FLUSH,
	VIRTIO_BLK_DISCARD,
	VIRTIO_BLK_WRITE_ZEROES,
};

/* Bytes of the disk, inside it. @len may be 0. */
struct virtio_blk_range {
	uint64_t offset;
	uint64_t len;
	bool may_unmap;
};

struct virtio_blk_request {
	struct chain *chain;
	/*
	 * Where the status goes: translated before any I/O, so that nothing is
	 * done to a disk that the guest cannot be told. Good until the chain is
	 * completed.
	 */
	uint8_t *status_byte;
	uint8_t status; /* NOTHING: the answer */
	enum virtio_blk_operation operation;
	struct chain_cursor
		data; /* READ, WRITE: the payload, from where it goes on */
	/* Bytes written to the chain, from the start of its writable part on. */
	uint64_t written;
	/* READ, WRITE: one; DISCARD, WRITE_ZEROES: judged before any is done. */
	unsigned int range_count;
	struct virtio_blk_range ranges[VIRTIO_BLK_RANGES_MAX];
};

/* A queue and what its thread needs; nothing is allocated once it runs. */
struct virtio_blk_queue {
	struct virtio_blk *blk;
	struct queue *queue;
	struct queue_worker worker;
	struct virtio_blk_counters counters; /* atomics, written by the thread */
	uint64_t next_ns; /* when the thread may take its next request */
	struct iovec iov[DMA_IOVECS_MAX];
};

/*
 * Reads and judges @chain. False when its status byte cannot be reached: there
 * is no honest answer then, nothing may be done, and the device needs a reset;
 * the chain is dropped here, without a used element.
 */
bool virtio_blk_request_parse(struct virtio_blk_queue *queue,
			      struct chain *chain,
			      struct virtio_blk_request *request);

/* Answers with @status (VIRTIO_BLK_S_*): counts, and completes the chain. */
void virtio_blk_request_finish(struct virtio_blk_queue *queue,
			       struct virtio_blk_request *request,
			       uint8_t status);

#endif
