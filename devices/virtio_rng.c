/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation. A request is a chain whose writable part is to be filled;
 * a readable part means nothing here. The bytes go through a small buffer, so
 * that what a request costs is bounded by its bytes, and not by the number of
 * pieces that the guest's memory is in.
 *
 * A request is paid for when its size is known, and the thread sleeps for that
 * before it takes the next one (devices/rate_limit.h).
 *
 * Where the guest did not allow the device to write, the request is answered
 * with length 0, and so is one that has nothing to fill. Some of the bytes may
 * have been written then; nobody relies on them.
 */
#include "devices/virtio_rng.h"

#include <errno.h>
#include <linux/virtio_ids.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>

#include "memory/base.h"
#include "virtio/chain.h"

#define PIECE_BYTES 4096

static struct virtio_rng *rng_of(struct virtio_device *device)
{
	return container_of(device, struct virtio_rng, device);
}

/* Large requests may be cut short, by signals that these threads block. */
static int entropy_get(uint8_t *buffer, size_t len)
{
	ssize_t got;

	while (len > 0) {
		got = getrandom(buffer, len, 0);
		if (got < 0 && errno != EINTR)
			return -errno;
		if (got > 0) {
			buffer += got;
			len -= (size_t)got;
		}
	}
	return 0;
}

static void failure_log(struct virtio_rng *rng, int err)
{
	const char *why = strerrordesc_np(-err);

	log_limited(&rng->log_limit, LOG_LEVEL_WARN, "%s: getrandom: %s",
		    rng->device.name, why ? why : "unknown error");
}

/* Fills @bytes of @chain. 0; -EFAULT: the guest did not allow it; -errno. */
static int request_fill(struct virtio_rng *rng, struct chain *chain,
			uint64_t bytes)
{
	struct chain_cursor cursor = chain_cursor(chain, DMA_WRITE, 0);
	uint8_t piece[PIECE_BYTES];
	size_t len;
	int err;

	for (; bytes > 0; bytes -= len) {
		len = MIN(bytes, sizeof(piece));
		err = entropy_get(piece, len);
		if (err) {
			failure_log(rng, err);
			return err;
		}
		err = chain_write(rng->worker.queue, chain, &cursor, piece,
				  len);
		if (err)
			return err;
	}
	return 0;
}

static void request_serve(struct virtio_rng *rng, struct chain *chain)
{
	uint64_t bytes = MIN(chain->writable_bytes, VIRTIO_RNG_REQUEST_BYTES);

	rng->next_ns =
		rate_limit_charge(&rng->limit, rate_limit_now_ns(), bytes);
	if (request_fill(rng, chain, bytes))
		bytes = 0;
	queue_count(&rng->counters.requests, 1);
	queue_count(&rng->counters.errors, bytes == 0);
	queue_count(&rng->counters.bytes_read, bytes);
	queue_complete(rng->worker.queue, chain, (uint32_t)bytes);
	if (queue_publish(rng->worker.queue))
		virtio_device_signal_used(&rng->device);
}

/* Called by the worker after each kick. */
static void rng_serve(struct queue_worker *worker)
{
	struct virtio_rng *rng = worker->context;
	struct chain *chain;

	do {
		queue_disarm(worker->queue);
		while (queue_worker_sleep_until(worker, rng->next_ns) &&
		       queue_next(worker->queue, &chain, 1))
			request_serve(rng, chain);
	} while (!queue_worker_should_pause(worker) &&
		 !queue_arm(worker->queue));
	virtio_device_check_queue(&rng->device, worker->queue);
}

static int rng_start(struct virtio_device *device)
{
	if (device->queues[0].live)
		queue_worker_resume(&rng_of(device)->worker);
	return 0;
}

static int rng_stop_queue(struct virtio_device *device, unsigned int index)
{
	(void)index;
	return queue_worker_park(&rng_of(device)->worker);
}

static void rng_notify(struct virtio_device *device, unsigned int index)
{
	(void)index;
	queue_worker_kick(&rng_of(device)->worker);
}

/* There is no configuration space (virtio 1.2, 5.4.4). */
static const struct virtio_device_ops rng_ops = {
	.id = VIRTIO_ID_RNG,
	.start = rng_start,
	.stop_queue = rng_stop_queue,
	.notify = rng_notify,
};

int virtio_rng_init(struct virtio_rng *rng, const char *name,
		    const struct guest_memory *memory, int stop_fd)
{
	const struct rate_config rate = {
		.bandwidth = VIRTIO_RNG_BANDWIDTH,
		.burst = VIRTIO_RNG_BURST,
		.ops = VIRTIO_RNG_OPS,
	};
	uint8_t byte;
	int err;

	memset(rng, 0, sizeof(*rng));
	/* Later a request would be in flight while the host is not ready. */
	err = entropy_get(&byte, sizeof(byte));
	if (err)
		return err;
	err = virtio_device_init(&rng->device, &rng_ops, name, memory, 1,
				 VIRTIO_RNG_QUEUE_SIZE);
	if (err)
		return err;
	err = queue_worker_init(&rng->worker, &rng->device,
				&rng->device.queues[0], rng_serve, rng,
				stop_fd);
	if (err)
		goto err_destroy_device;
	rate_limit_init(&rng->limit, &rate, rate_limit_now_ns());
	rng->device.offered |= VIRTIO_FEATURE_INDIRECT_DESC |
			       VIRTIO_FEATURE_EVENT_IDX;
	return 0;

err_destroy_device:
	virtio_device_destroy(&rng->device);
	return err;
}

int virtio_rng_start_threads(struct virtio_rng *rng, struct threads *threads)
{
	char name[THREAD_NAME_MAX];

	snprintf(name, sizeof(name), "%s.0", rng->device.name);
	return queue_worker_start(&rng->worker, threads, THREAD_RNG, name);
}

void virtio_rng_join_threads(struct virtio_rng *rng)
{
	queue_worker_join(&rng->worker);
}

void virtio_rng_destroy(struct virtio_rng *rng)
{
	virtio_rng_join_threads(rng);
	queue_worker_destroy(&rng->worker);
	rate_limit_destroy(&rng->limit);
	virtio_device_destroy(&rng->device);
}

struct virtio_rng_counters virtio_rng_count(const struct virtio_rng *rng)
{
	const struct virtio_rng_counters *counters = &rng->counters;

	return (struct virtio_rng_counters){
		.requests =
			__atomic_load_n(&counters->requests, __ATOMIC_RELAXED),
		.errors = __atomic_load_n(&counters->errors, __ATOMIC_RELAXED),
		.bytes_read = __atomic_load_n(&counters->bytes_read,
					      __ATOMIC_RELAXED),
	};
}

int virtio_rng_kick_fd(const struct virtio_rng *rng)
{
	return rng->worker.kick_fd;
}
