/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the network device's files share: a queue, its role, and what its thread
 * needs. For these files only.
 *
 * Everything here runs on the queue's thread.
 */
#ifndef DEVICES_VIRTIO_NET_QUEUE_H
#define DEVICES_VIRTIO_NET_QUEUE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

#include "devices/queue_worker.h"
#include "devices/virtio_net.h"
#include "memory/dma.h"
#include "virtio/chain.h"
#include "virtio/queue.h"

#define VIRTIO_NET_HEADER_BYTES ((uint32_t)sizeof(struct virtio_net_hdr_v1))

/* What a queue is for is settled when the device starts (virtio 1.2, 5.1.2). */
enum virtio_net_role {
	VIRTIO_NET_UNUSED,
	VIRTIO_NET_RECEIVE,
	VIRTIO_NET_TRANSMIT,
	VIRTIO_NET_CONTROL,
};

/* A receive buffer that was taken, in flight at the door. */
struct virtio_net_buffer {
	struct chain *chain;
	struct chain_cursor cursor; /* behind what is mapped or written of it */
	uint32_t mapped; /* bytes of it that lie in the iovecs */
	uint32_t used; /* bytes of it that the packet fills */
	bool failed; /* the guest does not allow it, or it is too small */
};

/* See virtio_net_receive.c. Empty whenever the thread sleeps, but for `held`. */
struct virtio_net_receiver {
	unsigned int count; /* of buffers */
	struct virtio_net_buffer buffers[VIRTIO_NET_QUEUE_SIZE];
	unsigned int expected; /* buffers that the last packet took */
	unsigned int waiting; /* buffers in the ring, when last looked at */
	unsigned int most; /* that the driver ever had out with us */
	uint32_t buffer_bytes; /* of the last buffer seen */
	/* A frame in private memory that waits for buffers; 0: none. */
	uint32_t held;
	struct virtio_net_hdr_v1 header;
	uint8_t *spare; /* NET_FRAME_MAX bytes */
};

/* A queue and what its thread needs; nothing is allocated once it runs. */
struct virtio_net_queue {
	struct virtio_net *net;
	struct queue *queue;
	struct queue_worker worker;
	enum virtio_net_role role;
	unsigned int pair;
	struct virtio_net_counters counters; /* atomics, written by the thread */
	struct virtio_net_receiver receiver; /* where the queue can be one */
	struct iovec iov[DMA_IOVECS_MAX]; /* the first is the backend's */
};

/* Serve the queue, as queue_worker says. */
void virtio_net_receive(struct virtio_net_queue *queue);
void virtio_net_transmit(struct virtio_net_queue *queue);
void virtio_net_control(struct virtio_net_queue *queue);

/* Forgets what a receiver had. The transport, while its thread is parked. */
void virtio_net_receiver_reset(struct virtio_net_receiver *receiver);

/* Shows what was completed to the driver. */
void virtio_net_publish(struct virtio_net_queue *queue);

/* Whether the queue's pair carries frames: the link is up, the pair in use. */
bool virtio_net_is_active(const struct virtio_net_queue *queue);

/* The backend is gone: tells the guest and the operator, once. */
void virtio_net_link_down(struct virtio_net *net);

/*
 * Changes what backend and guest agreed on; 0 or -errno, nothing changed. The
 * control queue's thread, or the transport while all threads are parked.
 */
int virtio_net_set_offloads(struct virtio_net *net, uint64_t offloads);
int virtio_net_set_pairs(struct virtio_net *net, unsigned int pairs);
void virtio_net_set_mac(struct virtio_net *net, const uint8_t *mac);

/* One more frame or command, @bad: it was dropped or refused. */
static inline void virtio_net_count_one(struct virtio_net_queue *queue,
					bool bad)
{
	queue_count(&queue->counters.requests, 1);
	if (bad)
		queue_count(&queue->counters.errors, 1);
}

#endif
