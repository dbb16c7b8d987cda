/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What carries the frames of a virtio-net device on the host's side: a tap
 * (devices/tap.h) or passt (devices/passt.h). One frame a call, and no call
 * blocks. A backend has one pair of directions per queue pair; what concerns one
 * direction of a pair is called by one thread at a time.
 *
 * In receive and transmit the first iovec is the backend's own, for what it puts
 * before the frame: the caller's array has it free and does not look at it.
 */
#ifndef DEVICES_NET_BACKEND_H
#define DEVICES_NET_BACKEND_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/uio.h>

#include "devices/net_features.h"

struct net_backend;

struct net_backend_ops {
	const char *what; /* "the tap", in messages */

	/*
	 * Fills the @count iovecs behind the first with the next frame and
	 * *@header with what is known of it. Returns the frame's bytes, or
	 * -EAGAIN: none is there, wait until the descriptor is readable;
	 * -EMSGSIZE: it was too large for the iovecs or malformed, and is gone;
	 * -EPIPE: the other side is gone for good.
	 */
	ssize_t (*receive)(struct net_backend *backend, unsigned int pair,
			   struct virtio_net_hdr_v1 *header, struct iovec *iov,
			   unsigned int count);

	/*
	 * Sends @bytes (NET_FRAME_MIN to frame_max) of the @count iovecs behind
	 * the first. Returns 0: taken; -EAGAIN: nothing was taken, wait until the
	 * descriptor is writable; -EPIPE as above; another -errno: the host
	 * refuses this frame.
	 */
	int (*transmit)(struct net_backend *backend, unsigned int pair,
			struct virtio_net_hdr_v1 *header, struct iovec *iov,
			unsigned int count, size_t bytes);

	/*
	 * Gets rid of the rest of a frame that was taken. 0: nothing is left;
	 * -EAGAIN, -EPIPE as above. NULL where frames are taken whole.
	 */
	int (*flush)(struct net_backend *backend, unsigned int pair);

	/* The descriptor of @pair to wait for. */
	int (*fd)(const struct net_backend *backend, unsigned int pair);

	/*
	 * The guest takes frames with @offloads (NET_GUEST_OFFLOADS), no others.
	 * 0 or -errno. NULL where there are none.
	 */
	int (*set_offloads)(struct net_backend *backend, uint64_t offloads);

	/*
	 * Frames are given to the first @pairs pairs; the other ones' descriptors
	 * may say anything meanwhile. 0 or -errno. NULL where there is one.
	 */
	int (*set_pairs)(struct net_backend *backend, unsigned int pairs);

	/* Closes what it has. */
	void (*destroy)(struct net_backend *backend);
};

struct net_backend {
	const struct net_backend_ops *ops;
	unsigned int pairs;
	uint32_t frame_max; /* at most NET_FRAME_MAX */
	/* NET_HOST_OFFLOADS and NET_GUEST_OFFLOADS that it can do. */
	uint64_t features;
};

#endif
