/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation. A frame's header is copied once and judged by its copy
 * (devices/net_header.h); the payload goes to the backend by iovec and is looked
 * at by nobody here. A frame that is malformed, faults, or is refused by the host
 * completes like any other and is counted as an error: the driver waits for its
 * buffers, and Ethernet may lose frames.
 *
 * When the backend takes no more, the frames not yet sent go back into the ring
 * before the thread sleeps: nothing is in flight over a wait that another process
 * could stretch at will.
 */
#include "devices/virtio_net_queue.h"

#include <errno.h>
#include <poll.h>
#include <string.h>

#include "devices/net_header.h"
#include "memory/base.h"

#define BATCH_FRAMES 16

/* Every piece of a chain is a descriptor or a page of the frame: they all fit. */
_Static_assert(VIRTIO_NET_QUEUE_SIZE + NET_FRAME_MAX / PAGE_SIZE + 3 <
		       DMA_IOVECS_MAX,
	       "one call maps a whole frame");

/* A frame that was read and judged. */
struct frame {
	struct virtio_net_hdr_v1 header;
	unsigned int count; /* iovecs behind the first */
	uint32_t bytes;
};

/* Finds out what to send for @chain. False: nothing. */
static bool frame_parse(struct virtio_net_queue *queue, struct chain *chain,
			struct frame *frame)
{
	const struct virtio_device *device = &queue->net->device;
	struct chain_cursor cursor = chain_cursor(chain, DMA_READ, 0);
	struct virtio_net_hdr_v1 header;
	uint64_t bytes;
	int count;

	/* A frame is the whole readable part; there is no other. */
	if (chain->writable_bytes > 0 ||
	    chain->readable_bytes < VIRTIO_NET_HEADER_BYTES ||
	    chain->readable_bytes >
		    VIRTIO_NET_HEADER_BYTES + queue->net->backend->frame_max)
		return false;
	if (chain_read(queue->queue, chain, &cursor, &header, sizeof(header)))
		return false;
	frame->bytes = (uint32_t)cursor.left;
	if (!net_header_from_guest(&header, frame->bytes,
				   __atomic_load_n(&device->accepted,
						   __ATOMIC_RELAXED),
				   &frame->header))
		return false;
	count = chain_map(queue->queue, chain, &cursor, frame->bytes,
			  queue->iov + 1, DMA_IOVECS_MAX - 1, &bytes);
	if (count < 0 || bytes != frame->bytes)
		return false;
	frame->count = (unsigned int)count;
	return true;
}

/* Sends one chain and completes it. False: the backend takes nothing now. */
static bool frame_send(struct virtio_net_queue *queue, struct chain *chain)
{
	struct net_backend *backend = queue->net->backend;
	struct frame frame;
	bool sent = false;
	int err;

	if (virtio_net_is_active(queue) && frame_parse(queue, chain, &frame)) {
		err = backend->ops->transmit(backend, queue->pair,
					     &frame.header, queue->iov,
					     frame.count, frame.bytes);
		if (err == -EAGAIN && virtio_net_is_active(queue))
			return false;
		if (err == -EPIPE)
			virtio_net_link_down(queue->net);
		if (err == -EIO)
			log_limited(&queue->net->log_limit, LOG_LEVEL_WARN,
				    "net.%s: %s takes no frames: is it up?",
				    queue->net->device.name,
				    backend->ops->what);
		sent = err == 0;
	}
	if (sent)
		queue_count(&queue->counters.bytes_written, frame.bytes);
	virtio_net_count_one(queue, !sent);
	queue_complete(queue->queue, chain, 0);
	return true;
}

/*
 * How many frames may be taken now. This is the place of a rate limit: what is
 * taken is in flight, and must not be held until there are tokens.
 */
static unsigned int frames_allowed(struct virtio_net_queue *queue)
{
	(void)queue;
	return BATCH_FRAMES;
}

/* False: the backend takes nothing now. */
static bool batch_send(struct virtio_net_queue *queue, struct chain **chains,
		       unsigned int count)
{
	unsigned int done = 0;

	while (done < count && frame_send(queue, chains[done]))
		done++;
	virtio_net_publish(queue);
	queue_put_back(queue->queue, chains + done, count - done);
	return done == count;
}

/* Whether the backend is free of what it took earlier. */
static bool backend_is_flushed(struct virtio_net_queue *queue)
{
	struct net_backend *backend = queue->net->backend;
	int err;

	if (!backend->ops->flush || !virtio_net_is_active(queue))
		return true;
	err = backend->ops->flush(backend, queue->pair);
	if (err == -EPIPE)
		virtio_net_link_down(queue->net);
	return err != -EAGAIN;
}

/* Sends what is there. False: the backend takes nothing now. */
static bool queue_drain(struct virtio_net_queue *queue)
{
	struct queue_worker *worker = &queue->worker;
	struct chain *chains[BATCH_FRAMES];
	unsigned int count;

	do {
		queue_disarm(queue->queue);
		while (!queue_worker_should_pause(worker) &&
		       (count = queue_next(queue->queue, chains,
					   frames_allowed(queue)))) {
			if (!batch_send(queue, chains, count))
				return false;
		}
	} while (!queue_worker_should_pause(worker) &&
		 !queue_arm(queue->queue));
	return true;
}

void virtio_net_transmit(struct virtio_net_queue *queue)
{
	const struct net_backend *backend = queue->net->backend;
	bool wait = !backend_is_flushed(queue) || !queue_drain(queue) ||
		    !backend_is_flushed(queue);

	queue_worker_watch(&queue->worker,
			   backend->ops->fd(backend, queue->pair),
			   wait ? POLLOUT : 0);
}
