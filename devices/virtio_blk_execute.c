/* SPDX-License-Identifier: Apache-2.0 */
#include "devices/virtio_blk_execute.h"

#include <errno.h>
#include <inttypes.h>
#include <linux/virtio_blk.h>
#include <string.h>

#include "devices/virtio_blk_request.h"
#include "memory/base.h"

/*
 * The most that is transferred without a look at whether the queue is to be
 * stopped: a chain can have 4 GiB, and a reset, or the VM's end, waits.
 */
#define TRANSFER_BYTES_MAX (16 * MIB)

/* The host failed; the guest's own mistakes are not logged. */
static void failure_log(struct virtio_blk_queue *queue, const char *what,
			const struct virtio_blk_range *range, int err)
{
	struct virtio_blk *blk = queue->blk;
	const char *why = strerrordesc_np(-err);

	log_limited(&blk->log_limit, LOG_LEVEL_WARN,
		    "disk.%s: %s of %" PRIu64 " bytes at %" PRIu64
		    " failed: %s",
		    blk->device.name, what, range->len, range->offset,
		    why ? why : "unknown error");
}

/* 0; -EFAULT, not logged: memory that the guest did not allow; -ECANCELED. */
static int transfer(struct virtio_blk_queue *queue,
		    struct virtio_blk_request *request)
{
	bool read = request->operation == VIRTIO_BLK_READ;
	struct disk *disk = &queue->blk->disk;
	struct virtio_blk_range left = request->ranges[0];
	uint64_t bytes;
	int count, err;

	while (left.len > 0) {
		count = chain_map(queue->queue, request->chain, &request->data,
				  MIN(left.len, TRANSFER_BYTES_MAX), queue->iov,
				  DMA_IOVECS_MAX, &bytes);
		if (count < 0)
			return count;
		err = read ? disk_read(disk, queue->iov, (unsigned int)count,
				       left.offset)
			   : disk_write(disk, queue->iov, (unsigned int)count,
					left.offset);
		if (err) {
			left.len = bytes;
			failure_log(queue, read ? "read" : "write", &left, err);
			return err;
		}
		if (read)
			request->written += bytes;
		left.offset += bytes;
		left.len -= bytes;
		if (left.len > 0 && queue_worker_should_pause(&queue->worker))
			return -ECANCELED;
	}
	return 0;
}

static int flush(struct virtio_blk_queue *queue)
{
	const struct virtio_blk_range all = {
		.len = queue->blk->disk.bytes,
	};
	int err = disk_flush(&queue->blk->disk);

	if (err)
		failure_log(queue, "flush", &all, err);
	return err;
}

/* DISCARD or WRITE_ZEROES. -EOPNOTSUPP, not logged: the file cannot. */
static int ranges_clear(struct virtio_blk_queue *queue,
			struct virtio_blk_request *request)
{
	bool discard = request->operation == VIRTIO_BLK_DISCARD;
	struct disk *disk = &queue->blk->disk;
	const struct virtio_blk_range *range;
	unsigned int i;
	int err;

	for (i = 0; i < request->range_count; i++) {
		range = &request->ranges[i];
		err = discard ? disk_discard(disk, range->offset, range->len)
			      : disk_write_zeroes(disk, range->offset,
						  range->len, range->may_unmap);
		if (err && err != -EOPNOTSUPP)
			failure_log(queue, discard ? "discard" : "zeroing",
				    range, err);
		if (err)
			return err;
	}
	return 0;
}

uint8_t virtio_blk_execute(struct virtio_blk_queue *queue,
			   struct virtio_blk_request *request)
{
	bool changes = true;
	int err = 0;

	switch (request->operation) {
	case VIRTIO_BLK_NOTHING:
		return request->status;
	case VIRTIO_BLK_READ:
		changes = false;
		err = transfer(queue, request);
		break;
	case VIRTIO_BLK_WRITE:
		err = transfer(queue, request);
		break;
	case VIRTIO_BLK_FLUSH:
		changes = false;
		err = flush(queue);
		break;
	case VIRTIO_BLK_DISCARD:
	case VIRTIO_BLK_WRITE_ZEROES:
		err = ranges_clear(queue, request);
		break;
	}
	if (!err && changes && queue->blk->write_through)
		err = flush(queue);
	if (err == -EOPNOTSUPP)
		return VIRTIO_BLK_S_UNSUPP;
	return err ? VIRTIO_BLK_S_IOERR : VIRTIO_BLK_S_OK;
}
