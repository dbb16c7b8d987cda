/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation. Buffers are taken when the backend has a frame, and those
 * that it did not need go back into the ring before the thread sleeps: no buffer
 * is in flight over a wait, so an UNMAP or a reset never waits for the network.
 *
 * How long a frame is shows only when it is read. So as many buffers as the last
 * one took are mapped before the call, and spare memory of our own behind them;
 * what ran over into that is copied to buffers that are taken then. Streams are
 * received without a copy, and a short frame costs one buffer.
 *
 * With too few buffers for the largest frame in the ring, the frame is read into
 * the spare memory alone, and waits there, nothing of it in the guest's memory,
 * until it fits; the backend is left alone meanwhile, which throttles the sender.
 * It fits never if the driver has posted all it ever had; then, and where buffers
 * are too short or not to be reached, the frame is dropped and the buffers that
 * it would have taken come back with length 0, in one publication (the driver
 * must not take the next frame's for the rest of this one).
 *
 * No buffer at all: the frames stay with the backend, whose descriptor is not
 * watched until the driver kicks. queue_arm_beyond looks once more after it asked
 * for that kick, so that no wake-up is lost.
 */
#include "devices/virtio_net_queue.h"

#include <errno.h>
#include <poll.h>
#include <string.h>

#include "devices/net_header.h"
#include "memory/base.h"

/* A batch is shown to the driver when it has so many frames, or bytes. */
#define BATCH_FRAMES 32
#define BATCH_BYTES (128 * KIB)

/* One iovec is the backend's, one the spare memory's. */
#define IOVECS_FOR_BUFFERS (DMA_IOVECS_MAX - 2)

enum outcome {
	RECEIVED, /* or dropped: go on */
	NOTHING_THERE, /* with the backend */
	NO_BUFFERS, /* enough for what is there */
	BACKEND_GONE,
};

void virtio_net_receiver_reset(struct virtio_net_receiver *receiver)
{
	receiver->count = 0;
	receiver->expected = 1;
	receiver->waiting = 0;
	receiver->most = 0;
	receiver->buffer_bytes = 0;
	receiver->held = 0;
}

static bool buffers_are_merged(const struct virtio_net_queue *queue)
{
	return virtio_device_has_feature(&queue->net->device,
					 NET_FEATURE(MRG_RXBUF));
}

/* Buffers that the largest frame takes, if all are like the last one seen. */
static unsigned int buffers_for_largest(const struct virtio_net_queue *queue)
{
	uint32_t bytes = queue->receiver.buffer_bytes;

	if (!buffers_are_merged(queue))
		return 1;
	if (bytes == 0)
		return VIRTIO_NET_QUEUE_SIZE;
	return (VIRTIO_NET_HEADER_BYTES + NET_FRAME_MAX - 1) / bytes + 1;
}

/* Looks at the ring again when what is known of it is not enough. */
static void waiting_refresh(struct virtio_net_queue *queue)
{
	struct virtio_net_receiver *receiver = &queue->receiver;

	if (receiver->waiting + receiver->count >= buffers_for_largest(queue))
		return;
	receiver->waiting = queue_waiting(queue->queue);
	receiver->most =
		MAX(receiver->most, receiver->waiting + receiver->count);
}

/* Buffers for @bytes more, by the last one seen. */
static unsigned int buffers_for(const struct virtio_net_receiver *receiver,
				uint32_t bytes)
{
	return bytes / MAX(receiver->buffer_bytes, 1U) + 1;
}

/* Takes up to @wanted more buffers. False: there was none. */
static bool buffers_take(struct virtio_net_queue *queue, unsigned int wanted)
{
	struct virtio_net_receiver *receiver = &queue->receiver;
	struct chain *chains[VIRTIO_NET_QUEUE_SIZE];
	unsigned int taken, i;

	wanted = MIN(wanted, VIRTIO_NET_QUEUE_SIZE - receiver->count);
	taken = queue_next(queue->queue, chains, wanted);
	for (i = 0; i < taken; i++) {
		uint64_t bytes = chains[i]->writable_bytes;

		receiver->buffers[receiver->count++] =
			(struct virtio_net_buffer){
				.chain = chains[i],
				.cursor = chain_cursor(chains[i], DMA_WRITE, 0),
				/* A frame may begin or go on in it. */
				.failed = bytes == 0,
			};
		receiver->buffer_bytes = (uint32_t)MIN(bytes, UINT32_MAX);
	}
	receiver->waiting -= MIN(receiver->waiting, taken);
	return taken > 0;
}

static void buffers_put_back(struct virtio_net_queue *queue)
{
	struct virtio_net_receiver *receiver = &queue->receiver;
	struct chain *chains[VIRTIO_NET_QUEUE_SIZE];
	unsigned int i;

	for (i = 0; i < receiver->count; i++)
		chains[i] = receiver->buffers[i].chain;
	queue_put_back(queue->queue, chains, receiver->count);
	receiver->waiting += receiver->count;
	receiver->count = 0;
}

/* The place of the header is left free in the first buffer of a frame. */
static void header_reserve(struct virtio_net_buffer *first)
{
	if (first->chain->writable_bytes < VIRTIO_NET_HEADER_BYTES)
		first->failed = true;
	else
		first->cursor = chain_cursor(first->chain, DMA_WRITE,
					     VIRTIO_NET_HEADER_BYTES);
}

/*
 * Maps the buffers that were taken, behind the first iovec, as far as a frame can
 * reach, and the spare memory behind them. Returns the number of iovecs.
 */
static unsigned int buffers_map(struct virtio_net_queue *queue)
{
	struct virtio_net_receiver *receiver = &queue->receiver;
	struct virtio_net_buffer *buffer;
	uint64_t left = NET_FRAME_MAX;
	unsigned int used = 0, i;
	uint64_t bytes;
	int count;

	for (i = 0; i < receiver->count && left > 0; i++) {
		buffer = &receiver->buffers[i];
		if (buffer->failed || used == IOVECS_FOR_BUFFERS)
			break;
		count = chain_map(queue->queue, buffer->chain, &buffer->cursor,
				  left, queue->iov + 1 + used,
				  IOVECS_FOR_BUFFERS - used, &bytes);
		if (count < 0) {
			buffer->failed = true;
			break;
		}
		buffer->mapped = (uint32_t)bytes;
		used += (unsigned int)count;
		left -= bytes;
		/* What is behind a gap would be out of order. */
		if (buffer->cursor.left > 0)
			break;
		if (!buffers_are_merged(queue))
			break;
	}
	queue->iov[1 + used] = (struct iovec){ receiver->spare, NET_FRAME_MAX };
	return used + 1;
}

/* Forgets what was mapped of buffers that a frame did not take. */
static void buffers_unmap(struct virtio_net_receiver *receiver)
{
	unsigned int i;

	for (i = 0; i < receiver->count; i++) {
		struct virtio_net_buffer *buffer = &receiver->buffers[i];

		buffer->cursor = chain_cursor(buffer->chain, DMA_WRITE, 0);
		buffer->mapped = 0;
		buffer->used = 0;
	}
}

/* Completes the first @count buffers: with what they hold, or with nothing. */
static void buffers_complete(struct virtio_net_queue *queue, unsigned int count,
			     bool good)
{
	struct virtio_net_receiver *receiver = &queue->receiver;
	unsigned int i;

	for (i = 0; i < count; i++)
		queue_complete(queue->queue, receiver->buffers[i].chain,
			       good ? receiver->buffers[i].used : 0);
	receiver->count -= count;
	memmove(receiver->buffers, receiver->buffers + count,
		receiver->count * sizeof(receiver->buffers[0]));
	buffers_unmap(receiver);
}

/* Copies up to @bytes into @buffer. How many; -1: it failed. */
static int buffer_copy(struct virtio_net_queue *queue,
		       struct virtio_net_buffer *buffer, const uint8_t *from,
		       uint32_t bytes)
{
	uint32_t piece = (uint32_t)MIN((uint64_t)bytes, buffer->cursor.left);

	if (buffer->failed || chain_write(queue->queue, buffer->chain,
					  &buffer->cursor, from, piece))
		return -1;
	buffer->used += piece;
	return (int)piece;
}

/*
 * Settles which buffers hold a frame of @bytes, whose beginning was read into
 * mapped ones and whose end into the spare memory. *@count: the buffers that it
 * takes, or that were tried. 0; -EFAULT: a buffer failed; -ENOBUFS: too few.
 */
static int frame_place(struct virtio_net_queue *queue, uint32_t bytes,
		       unsigned int *count)
{
	struct virtio_net_receiver *receiver = &queue->receiver;
	const uint8_t *from = receiver->spare;
	struct virtio_net_buffer *buffer;
	uint32_t header = VIRTIO_NET_HEADER_BYTES;
	unsigned int i;
	int copied;

	for (i = 0; bytes > 0; i++) {
		*count = i;
		if (i > 0 && !buffers_are_merged(queue))
			return -EFAULT;
		if (i == receiver->count &&
		    !buffers_take(queue, buffers_for(receiver, bytes)))
			return -ENOBUFS;
		*count = i + 1;
		buffer = &receiver->buffers[i];
		if (i == 0 && buffer->mapped == 0)
			header_reserve(buffer);
		buffer->used = header + MIN(buffer->mapped, bytes);
		bytes -= MIN(buffer->mapped, bytes);
		header = 0;
		copied = bytes > 0 ? buffer_copy(queue, buffer, from, bytes)
				   : 0;
		if (copied < 0)
			return -EFAULT;
		from += copied;
		bytes -= (uint32_t)copied;
	}
	return 0;
}

static bool header_write(struct virtio_net_queue *queue, unsigned int count)
{
	struct virtio_net_receiver *receiver = &queue->receiver;
	struct chain *first = receiver->buffers[0].chain;
	struct chain_cursor cursor = chain_cursor(first, DMA_WRITE, 0);

	/* virtio 1.2, 5.1.6.4.1: 1 where buffers are not merged. */
	receiver->header.num_buffers = htole16((uint16_t)count);
	return chain_write(queue->queue, first, &cursor, &receiver->header,
			   sizeof(receiver->header)) == 0;
}

static void frame_drop(struct virtio_net_queue *queue, unsigned int count)
{
	buffers_complete(queue, count, false);
	virtio_net_count_one(queue, true);
}

/*
 * What to do about a frame for which the ring has too few buffers: RECEIVED to
 * try again, because more have come; NO_BUFFERS to wait, because more may come;
 * else it is to be dropped, and -1.
 */
static int shortage_judge(struct virtio_net_queue *queue)
{
	struct virtio_net_receiver *receiver = &queue->receiver;
	unsigned int out;

	/* A door that is full of a single frame's buffers stays so. */
	if (queue->queue->stalled)
		return -1;
	receiver->waiting = queue_waiting(queue->queue);
	out = receiver->waiting + receiver->count;
	receiver->most = MAX(receiver->most, out);
	if (receiver->waiting > 0)
		return RECEIVED;
	return out < receiver->most ? NO_BUFFERS : -1;
}

/* Gives the driver a frame that was read; @hold: all of it is in spare memory. */
static enum outcome frame_deliver(struct virtio_net_queue *queue,
				  uint32_t bytes, bool hold)
{
	struct virtio_net_receiver *receiver = &queue->receiver;
	unsigned int count = 0;
	int judged = -1;
	int err;

	err = frame_place(queue, bytes, &count);
	if (err == -ENOBUFS && hold)
		judged = shortage_judge(queue);
	if (judged >= 0) {
		receiver->held = bytes;
		buffers_put_back(queue);
		return (enum outcome)judged;
	}
	receiver->held = 0;
	if (err || !header_write(queue, count)) {
		frame_drop(queue, count);
		return RECEIVED;
	}
	buffers_complete(queue, count, true);
	receiver->expected = count;
	queue_count(&queue->counters.bytes_read, bytes);
	virtio_net_count_one(queue, false);
	return RECEIVED;
}

/*
 * Whether there is a buffer to begin with. This is the place of a rate limit: it
 * comes before anything is taken.
 */
static bool may_receive(struct virtio_net_queue *queue)
{
	waiting_refresh(queue);
	return queue->receiver.count + queue->receiver.waiting > 0;
}

static enum outcome frame_receive(struct virtio_net_queue *queue)
{
	struct virtio_net_receiver *receiver = &queue->receiver;
	struct net_backend *backend = queue->net->backend;
	unsigned int count = 1;
	ssize_t bytes;
	bool hold;

	if (receiver->held > 0)
		return frame_deliver(queue, receiver->held, true);
	if (!may_receive(queue))
		return NO_BUFFERS;
	hold = receiver->count + receiver->waiting < buffers_for_largest(queue);
	if (!hold) {
		if (receiver->count < receiver->expected)
			buffers_take(queue,
				     receiver->expected - receiver->count);
		if (receiver->count > 0)
			header_reserve(&receiver->buffers[0]);
		count = buffers_map(queue);
	} else {
		queue->iov[1] =
			(struct iovec){ receiver->spare, NET_FRAME_MAX };
	}
	bytes = backend->ops->receive(backend, queue->pair, &receiver->header,
				      queue->iov, count);
	if (bytes == -EPIPE)
		return BACKEND_GONE;
	if (bytes == -EAGAIN) {
		buffers_unmap(receiver);
		return NOTHING_THERE;
	}
	if (bytes < 0 ||
	    !net_header_to_guest(&receiver->header,
				 __atomic_load_n(&queue->net->offloads,
						 __ATOMIC_RELAXED))) {
		buffers_unmap(receiver);
		virtio_net_count_one(queue, true);
		return RECEIVED;
	}
	return frame_deliver(queue, (uint32_t)bytes, hold);
}

/* Receives until something is in the way, or the batch is full (RECEIVED). */
static enum outcome batch_receive(struct virtio_net_queue *queue)
{
	uint64_t before = queue->counters.bytes_read;
	enum outcome outcome = RECEIVED;
	unsigned int i;

	for (i = 0; i < BATCH_FRAMES && outcome == RECEIVED; i++) {
		if (queue->counters.bytes_read - before >= BATCH_BYTES ||
		    queue_worker_should_pause(&queue->worker))
			break;
		outcome = frame_receive(queue);
	}
	return outcome;
}

/* What the worker is to wait for besides a kick. */
static short queue_fill(struct virtio_net_queue *queue)
{
	enum outcome outcome;

	queue_disarm(queue->queue);
	while (virtio_net_is_active(queue) && !queue_is_broken(queue->queue) &&
	       !queue_worker_should_pause(&queue->worker)) {
		outcome = batch_receive(queue);
		if (outcome != RECEIVED)
			buffers_put_back(queue);
		virtio_net_publish(queue);
		if (outcome == NOTHING_THERE)
			return virtio_net_is_active(queue) ? POLLIN : 0;
		if (outcome == BACKEND_GONE)
			virtio_net_link_down(queue->net);
		if (outcome == NO_BUFFERS &&
		    queue_arm_beyond(queue->queue, queue->receiver.waiting))
			return 0;
	}
	return 0;
}

void virtio_net_receive(struct virtio_net_queue *queue)
{
	const struct net_backend *backend = queue->net->backend;
	short events = queue_fill(queue);

	/* Whatever stopped it: nothing stays in flight. */
	buffers_put_back(queue);
	queue_worker_watch(&queue->worker,
			   backend->ops->fd(backend, queue->pair), events);
}
