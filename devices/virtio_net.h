/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The virtio network device (virtio 1.2, 5.1) in front of a net backend: a thread
 * per queue, so each direction of each pair has its own, and so has the control
 * queue. Whatever the guest or the backend does, frames are dropped and counted
 * and the VM lives on; a backend that is gone takes the link down for good.
 */
#ifndef DEVICES_VIRTIO_NET_H
#define DEVICES_VIRTIO_NET_H

#include <stdbool.h>
#include <stdint.h>

#include "devices/log.h"
#include "devices/net_backend.h"
#include "devices/queue_worker.h"
#include "virtio/device.h"

#define VIRTIO_NET_PAIRS_MAX 16
#define VIRTIO_NET_QUEUE_SIZE 256

/* From the guest's point of view. */
struct virtio_net_counters {
	uint64_t requests; /* frames of both directions, and control commands */
	uint64_t errors; /* of them, dropped, or answered with an error */
	uint64_t bytes_read; /* received, without the virtio headers */
	uint64_t bytes_written; /* sent, likewise */
};

struct virtio_net_queue; /* devices/virtio_net_queue.h */

struct virtio_net_options {
	const char *name; /* the section's, until destroy */
	uint8_t mac[6];
	unsigned int mtu; /* 0: not told to the guest */
};

struct virtio_net {
	struct virtio_device device;
	struct net_backend *backend; /* owned */
	struct virtio_net_options options;
	struct virtio_net_queue *queues; /* device.queue_count of them */
	/*
	 * Atomics. The control queue's thread changes them while the device is
	 * live, the transport when it starts or resets.
	 */
	uint64_t offloads; /* NET_GUEST_OFFLOADS in force */
	uint64_t mac; /* in its low 6 bytes, as in memory */
	uint32_t active_pairs; /* the first so many carry frames */
	bool link_down; /* atomic; for good */
	struct log_limit log_limit;
	bool joined;
};

/*
 * @backend (with 1 to VIRTIO_NET_PAIRS_MAX pairs) is consumed on success; what it
 * is embedded in stays the caller's until destroy. @stop_fd: see queue_worker. 0
 * or -errno.
 */
int virtio_net_init(struct virtio_net *net,
		    const struct virtio_net_options *options,
		    struct net_backend *backend,
		    const struct guest_memory *memory, int stop_fd);

/*
 * Starts the threads "net.NAME.rx", "net.NAME.tx" and "net.NAME.ctrl" (with
 * several pairs "net.NAME.rx.0" and so on), parked until DRIVER_OK. 0 or -errno.
 */
int virtio_net_start_threads(struct virtio_net *net, struct threads *threads);

/* The VM has ended, its vCPUs too. The counters stay readable. Again: nothing. */
void virtio_net_join_threads(struct virtio_net *net);

/* Joins as above if need be and closes the backend. */
void virtio_net_destroy(struct virtio_net *net);

/* Sums over the queues. Any thread. */
struct virtio_net_counters virtio_net_count(const struct virtio_net *net);

/* The eventfd that queue @index's notifications go to. */
int virtio_net_kick_fd(const struct virtio_net *net, unsigned int index);

#endif
