/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation. The layout of a request over descriptors is the driver's
 * choice (virtio 1.2, 2.7.4.1): header, payload and status are found by byte
 * offsets in the chain's two parts alone:
 *
 *	readable: 16 bytes of header, then the data of OUT or the ranges
 *	writable: the data of IN or the ID, then the status, the last byte
 *
 * The header and the ranges are copied before they are judged; the guest may
 * write to them all the while.
 *
 * The used length says how many bytes were written from the start of the
 * writable part on, without a gap; the device may have written others behind
 * (virtio 1.2, 2.7.8.2). So it is the whole part only when all of the data came
 * in. After a failed IN the bytes before the status are not ours to vouch for:
 * the length is what is known to have been written, and the status byte lies
 * beyond it. Where there is no data the status is the first byte: length 1.
 */
#include "devices/virtio_blk_request.h"

#include <endian.h>
#include <linux/virtio_blk.h>

#include "memory/base.h"
#include "virtio/queue.h"

_Static_assert(VIRTIO_BLK_ID_BYTES == sizeof(((struct virtio_blk *)0)->id),
	       "the ID has the size of the specification");

/* What is in the writable part beside the status. */
static uint64_t data_in_bytes(const struct chain *chain)
{
	return chain->writable_bytes - 1;
}

static bool status_find(struct virtio_blk_queue *queue,
			struct virtio_blk_request *request)
{
	struct chain *chain = request->chain;
	struct chain_cursor cursor;
	struct iovec iov;
	uint64_t bytes;

	if (chain->writable_bytes == 0)
		return false;
	cursor = chain_cursor(chain, DMA_WRITE, data_in_bytes(chain));
	if (chain_map(queue->queue, chain, &cursor, 1, &iov, 1, &bytes) != 1)
		return false;
	request->status_byte = iov.iov_base;
	return true;
}

/* @sectors from @sector on, in bytes. False when they are not on the disk. */
static bool range_find(const struct disk *disk, uint64_t sector,
		       uint64_t sectors, struct virtio_blk_range *range)
{
	uint64_t end;

	if (__builtin_mul_overflow(sector, DISK_SECTOR, &range->offset) ||
	    __builtin_mul_overflow(sectors, DISK_SECTOR, &range->len) ||
	    __builtin_add_overflow(range->offset, range->len, &end))
		return false;
	return end <= disk->bytes;
}

/* IN and OUT of @bytes at @sector. No bytes at all are done as well. */
static uint8_t transfer_parse(struct virtio_blk_queue *queue,
			      struct virtio_blk_request *request,
			      enum virtio_blk_operation operation,
			      uint64_t sector, uint64_t bytes)
{
	struct disk *disk = &queue->blk->disk;

	/* Whatever was negotiated (virtio 1.2, 5.2.6.2). */
	if (operation == VIRTIO_BLK_WRITE && disk->read_only)
		return VIRTIO_BLK_S_IOERR;
	if (bytes % DISK_SECTOR ||
	    !range_find(disk, sector, bytes / DISK_SECTOR, &request->ranges[0]))
		return VIRTIO_BLK_S_IOERR;
	request->range_count = 1;
	request->operation = operation;
	return VIRTIO_BLK_S_OK;
}

static uint8_t id_answer(struct virtio_blk_queue *queue,
			 struct virtio_blk_request *request)
{
	struct chain *chain = request->chain;
	struct chain_cursor cursor = chain_cursor(chain, DMA_WRITE, 0);
	size_t bytes = MIN(data_in_bytes(chain), (size_t)VIRTIO_BLK_ID_BYTES);

	if (chain_write(queue->queue, chain, &cursor, queue->blk->id, bytes))
		return VIRTIO_BLK_S_IOERR;
	request->written = bytes;
	return VIRTIO_BLK_S_OK;
}

/* One range of DISCARD or WRITE_ZEROES (virtio 1.2, 5.2.6.2). */
static uint8_t range_parse(const struct disk *disk,
			   const struct virtio_blk_discard_write_zeroes *raw,
			   bool discard, struct virtio_blk_range *range)
{
	uint32_t known = discard ? 0 : VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP;
	uint32_t max = discard ? VIRTIO_BLK_DISCARD_SECTORS_MAX
			       : VIRTIO_BLK_ZEROES_SECTORS_MAX;
	uint32_t sectors = le32toh(raw->num_sectors);
	uint32_t flags = le32toh(raw->flags);

	if (flags & ~known)
		return VIRTIO_BLK_S_UNSUPP;
	if (sectors > max ||
	    !range_find(disk, le64toh(raw->sector), sectors, range))
		return VIRTIO_BLK_S_IOERR;
	range->may_unmap = flags & VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP;
	return VIRTIO_BLK_S_OK;
}

static uint8_t ranges_parse(struct virtio_blk_queue *queue,
			    struct virtio_blk_request *request,
			    enum virtio_blk_operation operation,
			    struct chain_cursor *cursor)
{
	struct virtio_blk_discard_write_zeroes raw[VIRTIO_BLK_RANGES_MAX];
	bool discard = operation == VIRTIO_BLK_DISCARD;
	unsigned int max = discard ? VIRTIO_BLK_RANGES_MAX
				   : VIRTIO_BLK_ZEROES_RANGES_MAX;
	struct disk *disk = &queue->blk->disk;
	uint64_t bytes = cursor->left;
	unsigned int i;
	uint8_t status;

	if (disk->read_only)
		return VIRTIO_BLK_S_IOERR;
	if (discard ? !disk->can_discard : !disk->can_write_zeroes)
		return VIRTIO_BLK_S_UNSUPP;
	if (bytes == 0 || bytes % sizeof(raw[0]) ||
	    bytes > max * sizeof(raw[0]) ||
	    chain_read(queue->queue, request->chain, cursor, raw, bytes))
		return VIRTIO_BLK_S_IOERR;
	request->range_count = (unsigned int)(bytes / sizeof(raw[0]));
	for (i = 0; i < request->range_count; i++) {
		status = range_parse(disk, &raw[i], discard,
				     &request->ranges[i]);
		if (status != VIRTIO_BLK_S_OK)
			return status;
	}
	request->operation = operation;
	return VIRTIO_BLK_S_OK;
}

/* The status to answer with, where the operation stays NOTHING. */
static uint8_t header_parse(struct virtio_blk_queue *queue,
			    struct virtio_blk_request *request)
{
	struct chain *chain = request->chain;
	struct chain_cursor cursor = chain_cursor(chain, DMA_READ, 0);
	struct virtio_blk_outhdr header;
	uint64_t sector;

	if (chain_read(queue->queue, chain, &cursor, &header, sizeof(header)))
		return VIRTIO_BLK_S_IOERR;
	sector = le64toh(header.sector);
	switch (le32toh(header.type)) {
	case VIRTIO_BLK_T_IN:
		request->data = chain_cursor(chain, DMA_WRITE, 0);
		return transfer_parse(queue, request, VIRTIO_BLK_READ, sector,
				      data_in_bytes(chain));
	case VIRTIO_BLK_T_OUT:
		request->data = cursor;
		return transfer_parse(queue, request, VIRTIO_BLK_WRITE, sector,
				      cursor.left);
	case VIRTIO_BLK_T_FLUSH:
		request->operation = VIRTIO_BLK_FLUSH;
		return VIRTIO_BLK_S_OK;
	case VIRTIO_BLK_T_GET_ID:
		return id_answer(queue, request);
	case VIRTIO_BLK_T_DISCARD:
		return ranges_parse(queue, request, VIRTIO_BLK_DISCARD,
				    &cursor);
	case VIRTIO_BLK_T_WRITE_ZEROES:
		return ranges_parse(queue, request, VIRTIO_BLK_WRITE_ZEROES,
				    &cursor);
	default:
		return VIRTIO_BLK_S_UNSUPP;
	}
}

bool virtio_blk_request_parse(struct virtio_blk_queue *queue,
			      struct chain *chain,
			      struct virtio_blk_request *request)
{
	request->chain = chain;
	request->operation = VIRTIO_BLK_NOTHING;
	request->written = 0;
	request->range_count = 0;
	if (!status_find(queue, request)) {
		/*
		 * It touches guest memory no more, and a used element would say
		 * that it was done.
		 */
		dma_clear(&queue->queue->dma, chain->head);
		queue_count(&queue->counters.requests, 1);
		queue_count(&queue->counters.errors, 1);
		return false;
	}
	request->status = header_parse(queue, request);
	return true;
}

/* What the used element says (see above). */
static uint32_t used_length(const struct virtio_blk_request *request)
{
	uint64_t length = request->written;

	if (length == data_in_bytes(request->chain))
		length++;
	/* A chain may have 2^32 bytes. */
	return (uint32_t)MIN(length, (uint64_t)UINT32_MAX);
}

void virtio_blk_request_finish(struct virtio_blk_queue *queue,
			       struct virtio_blk_request *request,
			       uint8_t status)
{
	struct virtio_blk_counters *counters = &queue->counters;

	/* Ordered before the used index by the release in queue_publish. */
	__atomic_store_n(request->status_byte, status, __ATOMIC_RELAXED);
	queue_count(&counters->requests, 1);
	if (status != VIRTIO_BLK_S_OK)
		queue_count(&counters->errors, 1);
	else if (request->operation == VIRTIO_BLK_READ)
		queue_count(&counters->bytes_read, request->ranges[0].len);
	else if (request->operation == VIRTIO_BLK_WRITE)
		queue_count(&counters->bytes_written, request->ranges[0].len);
	queue_complete(queue->queue, request->chain, used_length(request));
}
