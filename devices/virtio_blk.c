/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation. Each queue has its thread, its counters and its iovecs,
 * and shares with the others only the disk, whose calls may run side by side.
 *
 * A thread takes requests in batches. Each is parsed (virtio_blk_request.c),
 * executed (virtio_blk_execute.c) and answered; the batch is shown to the driver
 * at once, which spares it interrupts. Batches end early where that would let
 * finished requests wait for slow ones: before a request that would bring the
 * data of the unpublished ones above PUBLISH_BYTES, and before whatever goes to
 * the disk itself (a flush, a discard, zeroes). The driver sleeps at a depth of
 * one, and gets its answer at once: its batch has one request.
 *
 * With a rate limit a batch is one request, which is paid for when it has been
 * read. The thread sleeps for that before it takes the next one, so that it
 * holds nothing meanwhile: no UNMAP and no reset waits for tokens.
 *
 * When the queue is to be stopped, the request in work is finished and what was
 * taken besides is answered with an error instead of being done: each request
 * that was taken is answered, so that nothing stays in flight at the door, and
 * a slow disk delays a reset by one request.
 */
#include "devices/virtio_blk.h"

#include <assert.h>
#include <endian.h>
#include <errno.h>
#include <linux/virtio_blk.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "devices/virtio_blk_execute.h"
#include "devices/virtio_blk_request.h"
#include "memory/base.h"

#define BATCH_REQUESTS 16
#define PUBLISH_BYTES (256 * KIB)

/* Up to the fields of features that are not offered. */
#define CONFIG_BYTES                                                  \
	(offsetof(struct virtio_blk_config, write_zeroes_may_unmap) + \
	 4 /* with the padding of the specification */)

static struct virtio_blk *blk_of(struct virtio_device *device)
{
	return container_of(device, struct virtio_blk, device);
}

/* How much a request delays those before it in the batch, in bytes. */
static uint64_t request_weight(const struct virtio_blk_request *request)
{
	switch (request->operation) {
	case VIRTIO_BLK_NOTHING:
		return 0;
	case VIRTIO_BLK_READ:
	case VIRTIO_BLK_WRITE:
		return request->ranges[0].len;
	default:
		return PUBLISH_BYTES + 1;
	}
}

/* What a request costs of the limit's bytes. Zeroes may have to be written. */
static uint64_t request_bytes(const struct virtio_blk_request *request)
{
	switch (request->operation) {
	case VIRTIO_BLK_READ:
	case VIRTIO_BLK_WRITE:
	case VIRTIO_BLK_WRITE_ZEROES:
		return request->ranges[0].len;
	default:
		return 0;
	}
}

static void request_charge(struct virtio_blk_queue *queue,
			   const struct virtio_blk_request *request)
{
	struct rate_limit *limit = &queue->blk->limit;

	/* The clock costs more than the look. */
	if (limit->is_set)
		queue->next_ns = rate_limit_charge(limit, rate_limit_now_ns(),
						   request_bytes(request));
}

static void publish(struct virtio_blk_queue *queue)
{
	if (queue_publish(queue->queue))
		virtio_device_signal_used(&queue->blk->device);
}

static void request_serve(struct virtio_blk_queue *queue,
			  struct virtio_blk_request *request)
{
	uint8_t status = request->status;

	if (request->operation != VIRTIO_BLK_NOTHING) {
		status = VIRTIO_BLK_S_IOERR;
		if (!queue_worker_should_pause(&queue->worker))
			status = virtio_blk_execute(queue, request);
	}
	virtio_blk_request_finish(queue, request, status);
}

static void batch_serve(struct virtio_blk_queue *queue, struct chain **chains,
			unsigned int count)
{
	struct virtio_blk_request request;
	uint64_t weight, unpublished = 0;
	bool lost = false;
	unsigned int i;

	for (i = 0; i < count; i++) {
		if (!virtio_blk_request_parse(queue, chains[i], &request)) {
			lost = true;
			continue;
		}
		request_charge(queue, &request);
		weight = request_weight(&request);
		if (i > 0 && unpublished + weight > PUBLISH_BYTES) {
			publish(queue);
			unpublished = 0;
		}
		unpublished += weight;
		request_serve(queue, &request);
	}
	publish(queue);
	if (lost) {
		/* The others of the batch have their answers; now stop. */
		queue_break(queue->queue);
		dma_settle(&queue->queue->dma);
	}
}

/* Called by the worker after each kick. */
static void blk_serve(struct queue_worker *worker)
{
	struct virtio_blk_queue *queue = worker->context;
	struct chain *chains[BATCH_REQUESTS];
	unsigned int max = queue->blk->limit.is_set ? 1 : BATCH_REQUESTS;
	unsigned int count;

	do {
		queue_disarm(queue->queue);
		while (queue_worker_sleep_until(worker, queue->next_ns) &&
		       (count = queue_next(queue->queue, chains, max)))
			batch_serve(queue, chains, count);
	} while (!queue_worker_should_pause(worker) &&
		 !queue_arm(queue->queue));
	virtio_device_check_queue(&queue->blk->device, queue->queue);
}

static struct virtio_blk_config config_make(const struct virtio_blk *blk)
{
	const struct disk *disk = &blk->disk;
	uint32_t blocks = disk->block_bytes / disk->logical_bytes;

	/* No SIZE_MAX, no GEOMETRY, no CONFIG_WCE: those fields stay 0. */
	return (struct virtio_blk_config){
		.capacity = htole64(disk->bytes / DISK_SECTOR),
		/* Beside the data a request has a header and a status. */
		.seg_max = htole32(VIRTIO_BLK_QUEUE_SIZE - 2),
		.blk_size = htole32(disk->logical_bytes),
		.physical_block_exp = (uint8_t)__builtin_ctz(blocks),
		.min_io_size = htole16((uint16_t)MIN(blocks, UINT16_MAX)),
		/* No size is best: opt_io_size 0 leaves it to the driver. */
		.num_queues = htole16((uint16_t)blk->device.queue_count),
		.max_discard_sectors = htole32(VIRTIO_BLK_DISCARD_SECTORS_MAX),
		.max_discard_seg = htole32(VIRTIO_BLK_RANGES_MAX),
		.discard_sector_alignment =
			htole32(disk->block_bytes / DISK_SECTOR),
		.max_write_zeroes_sectors =
			htole32(VIRTIO_BLK_ZEROES_SECTORS_MAX),
		.max_write_zeroes_seg = htole32(VIRTIO_BLK_ZEROES_RANGES_MAX),
		.write_zeroes_may_unmap = disk->can_discard,
	};
}

static void blk_config_read(struct virtio_device *device, uint32_t offset,
			    void *buffer, uint32_t len)
{
	struct virtio_blk_config config = config_make(blk_of(device));

	memcpy(buffer, (const char *)&config + offset, len);
}

static int blk_start(struct virtio_device *device)
{
	struct virtio_blk *blk = blk_of(device);
	unsigned int i;

	/* Seen by the threads through the release in queue_worker_resume. */
	blk->write_through = !virtio_device_has_feature(
		device, VIRTIO_FEATURE(VIRTIO_BLK_F_FLUSH));
	for (i = 0; i < device->queue_count; i++) {
		if (device->queues[i].live)
			queue_worker_resume(&blk->queues[i].worker);
	}
	return 0;
}

static int blk_stop_queue(struct virtio_device *device, unsigned int index)
{
	return queue_worker_park(&blk_of(device)->queues[index].worker);
}

static void blk_notify(struct virtio_device *device, unsigned int index)
{
	queue_worker_kick(&blk_of(device)->queues[index].worker);
}

static const struct virtio_device_ops blk_ops = {
	.id = VIRTIO_ID_BLOCK,
	.config_read = blk_config_read,
	.start = blk_start,
	.stop_queue = blk_stop_queue,
	.notify = blk_notify,
};

static uint64_t features_offer(const struct disk *disk, unsigned int queues)
{
	uint64_t features = VIRTIO_FEATURE_INDIRECT_DESC |
			    VIRTIO_FEATURE_EVENT_IDX |
			    VIRTIO_FEATURE(VIRTIO_BLK_F_SEG_MAX) |
			    VIRTIO_FEATURE(VIRTIO_BLK_F_BLK_SIZE) |
			    VIRTIO_FEATURE(VIRTIO_BLK_F_FLUSH) |
			    VIRTIO_FEATURE(VIRTIO_BLK_F_TOPOLOGY);

	if (disk->read_only)
		features |= VIRTIO_FEATURE(VIRTIO_BLK_F_RO);
	if (disk->can_discard)
		features |= VIRTIO_FEATURE(VIRTIO_BLK_F_DISCARD);
	if (disk->can_write_zeroes)
		features |= VIRTIO_FEATURE(VIRTIO_BLK_F_WRITE_ZEROES);
	if (queues > 1)
		features |= VIRTIO_FEATURE(VIRTIO_BLK_F_MQ);
	return features;
}

/* Creates the workers; on failure none is left. */
static int workers_init(struct virtio_blk *blk, int stop_fd)
{
	unsigned int i;
	int err;

	for (i = 0; i < blk->device.queue_count; i++) {
		struct virtio_blk_queue *queue = &blk->queues[i];

		queue->blk = blk;
		queue->queue = &blk->device.queues[i];
		err = queue_worker_init(&queue->worker, &blk->device,
					queue->queue, blk_serve, queue,
					stop_fd);
		if (err)
			goto err_destroy_workers;
	}
	return 0;

err_destroy_workers:
	while (i-- > 0)
		queue_worker_destroy(&blk->queues[i].worker);
	return err;
}

int virtio_blk_init(struct virtio_blk *blk, const char *name, struct disk *disk,
		    unsigned int queues, const struct guest_memory *memory,
		    int stop_fd)
{
	const struct rate_config unlimited = { 0 };
	int err;

	assert(queues > 0 && queues <= VIRTIO_BLK_QUEUES_MAX);
	memset(blk, 0, sizeof(*blk));
	blk->queues = calloc(queues, sizeof(*blk->queues));
	if (!blk->queues)
		return -ENOMEM;
	err = virtio_device_init(&blk->device, &blk_ops, name, memory, queues,
				 VIRTIO_BLK_QUEUE_SIZE);
	if (err)
		goto err_free_queues;
	err = workers_init(blk, stop_fd);
	if (err)
		goto err_destroy_device;
	blk->disk = *disk;
	rate_limit_init(&blk->limit, &unlimited, 0);
	memcpy(blk->id, name, strnlen(name, sizeof(blk->id)));
	blk->device.config_size = CONFIG_BYTES;
	blk->device.offered |= features_offer(disk, queues);
	return 0;

err_destroy_device:
	virtio_device_destroy(&blk->device);
err_free_queues:
	free(blk->queues);
	return err;
}

void virtio_blk_set_limit(struct virtio_blk *blk,
			  const struct rate_config *config)
{
	rate_limit_destroy(&blk->limit);
	rate_limit_init(&blk->limit, config, rate_limit_now_ns());
}

int virtio_blk_start_threads(struct virtio_blk *blk, struct threads *threads)
{
	char name[THREAD_NAME_MAX];
	unsigned int i;
	int err;

	for (i = 0; i < blk->device.queue_count; i++) {
		snprintf(name, sizeof(name), "blk.%s.%u", blk->device.name, i);
		err = queue_worker_start(&blk->queues[i].worker, threads,
					 THREAD_BLOCK, name);
		if (err)
			return err;
	}
	return 0;
}

int virtio_blk_join_threads(struct virtio_blk *blk)
{
	unsigned int i;

	if (blk->joined)
		return blk->flush_err;
	for (i = 0; i < blk->device.queue_count; i++)
		queue_worker_join(&blk->queues[i].worker);
	blk->flush_err = disk_flush(&blk->disk);
	blk->joined = true;
	if (blk->flush_err)
		log_error("disk.%s: the last flush failed: %s: what the guest "
			  "wrote may be lost",
			  blk->device.name, strerror(-blk->flush_err));
	return blk->flush_err;
}

void virtio_blk_destroy(struct virtio_blk *blk)
{
	unsigned int i;

	virtio_blk_join_threads(blk);
	for (i = 0; i < blk->device.queue_count; i++)
		queue_worker_destroy(&blk->queues[i].worker);
	disk_close(&blk->disk);
	rate_limit_destroy(&blk->limit);
	virtio_device_destroy(&blk->device);
	free(blk->queues);
}

struct virtio_blk_counters virtio_blk_count(const struct virtio_blk *blk)
{
	const struct virtio_blk_counters *one;
	struct virtio_blk_counters sum = { 0 };
	unsigned int i;

	for (i = 0; i < blk->device.queue_count; i++) {
		one = &blk->queues[i].counters;
		sum.requests +=
			__atomic_load_n(&one->requests, __ATOMIC_RELAXED);
		sum.errors += __atomic_load_n(&one->errors, __ATOMIC_RELAXED);
		sum.bytes_read +=
			__atomic_load_n(&one->bytes_read, __ATOMIC_RELAXED);
		sum.bytes_written +=
			__atomic_load_n(&one->bytes_written, __ATOMIC_RELAXED);
	}
	return sum;
}

int virtio_blk_kick_fd(const struct virtio_blk *blk, unsigned int index)
{
	return blk->queues[index].worker.kick_fd;
}
