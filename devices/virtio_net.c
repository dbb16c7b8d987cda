/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation. Queues 2n and 2n+1 receive and transmit for pair n; the
 * control queue comes behind the last pair. Where the driver does without
 * VIRTIO_NET_F_MQ there is one pair for it, and the control queue is number 2,
 * which else receives (virtio 1.2, 5.1.2): so each queue has a thread, and what
 * the thread does is settled at DRIVER_OK.
 *
 * The threads share the backend, each its own direction of a pair, and a few
 * atomic words. Pairs out of use are detached from the backend; `active_pairs`
 * shrinks before that and grows after it, so that a thread never asks for frames
 * of a pair that gets none, nor takes a detached pair for a backend that is gone.
 */
#include "devices/virtio_net.h"

#include <assert.h>
#include <endian.h>
#include <errno.h>
#include <linux/virtio_ids.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "devices/virtio_net_queue.h"
#include "memory/base.h"

/* Up to the fields of features that are not offered. */
#define CONFIG_BYTES offsetof(struct virtio_net_config, speed)

static struct virtio_net *net_of(struct virtio_device *device)
{
	return container_of(device, struct virtio_net, device);
}

static bool has_feature(const struct virtio_net *net, uint64_t feature)
{
	return virtio_device_has_feature(&net->device, feature);
}

void virtio_net_publish(struct virtio_net_queue *queue)
{
	if (queue_publish(queue->queue))
		virtio_device_signal_used(&queue->net->device);
}

bool virtio_net_is_active(const struct virtio_net_queue *queue)
{
	const struct virtio_net *net = queue->net;

	return queue->pair <
		       __atomic_load_n(&net->active_pairs, __ATOMIC_SEQ_CST) &&
	       !__atomic_load_n(&net->link_down, __ATOMIC_RELAXED);
}

void virtio_net_link_down(struct virtio_net *net)
{
	if (__atomic_exchange_n(&net->link_down, true, __ATOMIC_RELAXED))
		return;
	log_warn("net.%s: %s is gone: the link is down until the VM is started "
		 "again",
		 net->device.name, net->backend->ops->what);
	virtio_device_signal_config(&net->device);
}

int virtio_net_set_offloads(struct virtio_net *net, uint64_t offloads)
{
	struct net_backend *backend = net->backend;
	int err = 0;

	if (backend->ops->set_offloads)
		err = backend->ops->set_offloads(backend, offloads);
	if (!err)
		__atomic_store_n(&net->offloads, offloads, __ATOMIC_RELAXED);
	return err;
}

int virtio_net_set_pairs(struct virtio_net *net, unsigned int pairs)
{
	uint32_t before = net->active_pairs;
	int err = 0;
	unsigned int i;

	__atomic_store_n(&net->active_pairs, MIN(before, pairs),
			 __ATOMIC_SEQ_CST);
	if (net->backend->ops->set_pairs)
		err = net->backend->ops->set_pairs(net->backend, pairs);
	if (err)
		return err;
	__atomic_store_n(&net->active_pairs, pairs, __ATOMIC_SEQ_CST);
	for (i = 2 * before; i < 2 * pairs; i++)
		queue_worker_wake(&net->queues[i].worker);
	return 0;
}

void virtio_net_set_mac(struct virtio_net *net, const uint8_t *mac)
{
	uint64_t word = 0;

	memcpy(&word, mac, sizeof(net->options.mac));
	__atomic_store_n(&net->mac, word, __ATOMIC_RELAXED);
}

static void net_serve(struct queue_worker *worker)
{
	struct virtio_net_queue *queue = worker->context;

	switch (queue->role) {
	case VIRTIO_NET_UNUSED:
		return;
	case VIRTIO_NET_RECEIVE:
		virtio_net_receive(queue);
		break;
	case VIRTIO_NET_TRANSMIT:
		virtio_net_transmit(queue);
		break;
	case VIRTIO_NET_CONTROL:
		virtio_net_control(queue);
		break;
	}
	virtio_device_check_queue(&queue->net->device, queue->queue);
}

static void net_config_read(struct virtio_device *device, uint32_t offset,
			    void *buffer, uint32_t len)
{
	const struct virtio_net *net = net_of(device);
	bool up = !__atomic_load_n(&net->link_down, __ATOMIC_RELAXED);
	uint64_t mac = __atomic_load_n(&net->mac, __ATOMIC_RELAXED);
	struct virtio_net_config config = {
		.status = htole16(up ? VIRTIO_NET_S_LINK_UP : 0),
		.max_virtqueue_pairs = htole16((uint16_t)net->backend->pairs),
		.mtu = htole16((uint16_t)net->options.mtu),
	};

	memcpy(config.mac, &mac, sizeof(config.mac));
	memcpy(buffer, (const char *)&config + offset, len);
}

/* What each queue is for with the features that the driver took. */
static void roles_settle(struct virtio_net *net)
{
	unsigned int pairs =
		has_feature(net, NET_FEATURE(MQ)) ? net->backend->pairs : 1;
	bool control = has_feature(net, NET_FEATURE(CTRL_VQ));
	struct virtio_net_queue *queue;
	unsigned int i;

	for (i = 0; i < net->device.queue_count; i++) {
		queue = &net->queues[i];
		queue->pair = i / 2;
		queue->role = VIRTIO_NET_UNUSED;
		if (i < 2 * pairs)
			queue->role = i % 2 ? VIRTIO_NET_TRANSMIT
					    : VIRTIO_NET_RECEIVE;
		else if (i == 2 * pairs && control)
			queue->role = VIRTIO_NET_CONTROL;
		virtio_net_receiver_reset(&queue->receiver);
	}
}

static int net_start(struct virtio_device *device)
{
	struct virtio_net *net = net_of(device);
	unsigned int i;

	roles_settle(net);
	/*
	 * virtio 1.2, 5.1.6.5.5.1: one pair until the driver asks for more. That
	 * a backend is gone its threads find out.
	 */
	virtio_net_set_pairs(net, 1);
	if (virtio_net_set_offloads(net, device->accepted & NET_GUEST_OFFLOADS))
		__atomic_store_n(&net->offloads, 0, __ATOMIC_RELAXED);
	/* All seen by the threads through the release in queue_worker_resume. */
	for (i = 0; i < device->queue_count; i++) {
		if (device->queues[i].live)
			queue_worker_resume(&net->queues[i].worker);
	}
	return 0;
}

static int net_stop_queue(struct virtio_device *device, unsigned int index)
{
	return queue_worker_park(&net_of(device)->queues[index].worker);
}

static int net_reset(struct virtio_device *device)
{
	struct virtio_net *net = net_of(device);

	virtio_net_set_mac(net, net->options.mac);
	return 0;
}

static void net_notify(struct virtio_device *device, unsigned int index)
{
	queue_worker_kick(&net_of(device)->queues[index].worker);
}

static const struct virtio_device_ops net_ops = {
	.id = VIRTIO_ID_NET,
	.config_read = net_config_read,
	.start = net_start,
	.stop_queue = net_stop_queue,
	.reset = net_reset,
	.notify = net_notify,
};

static uint64_t features_offer(const struct virtio_net *net)
{
	uint64_t features = VIRTIO_FEATURE_INDIRECT_DESC |
			    VIRTIO_FEATURE_EVENT_IDX | NET_FEATURE(MAC) |
			    NET_FEATURE(STATUS) | NET_FEATURE(MRG_RXBUF) |
			    NET_FEATURE(CTRL_VQ) | NET_FEATURE(CTRL_RX) |
			    NET_FEATURE(CTRL_MAC_ADDR) | net->backend->features;

	if (net->options.mtu > 0)
		features |= NET_FEATURE(MTU);
	if (net->backend->features & NET_GUEST_OFFLOADS)
		features |= NET_FEATURE(CTRL_GUEST_OFFLOADS);
	if (net->backend->pairs > 1)
		features |= NET_FEATURE(MQ);
	return features;
}

static void queues_destroy(struct virtio_net *net, unsigned int count)
{
	while (count-- > 0) {
		queue_worker_destroy(&net->queues[count].worker);
		free(net->queues[count].receiver.spare);
	}
}

/* Creates workers and spare memory; on failure nothing is left. */
static int queues_init(struct virtio_net *net, int stop_fd)
{
	struct virtio_net_queue *queue;
	unsigned int i;
	int err;

	for (i = 0; i < net->device.queue_count; i++) {
		queue = &net->queues[i];
		queue->net = net;
		queue->queue = &net->device.queues[i];
		/* Only a page that is touched costs something. */
		queue->receiver.spare = i % 2 ? NULL : malloc(NET_FRAME_MAX);
		if (i % 2 == 0 && !queue->receiver.spare) {
			err = -ENOMEM;
			goto err_destroy;
		}
		err = queue_worker_init(&queue->worker, &net->device,
					queue->queue, net_serve, queue,
					stop_fd);
		if (err) {
			free(queue->receiver.spare);
			goto err_destroy;
		}
	}
	return 0;

err_destroy:
	queues_destroy(net, i);
	return err;
}

int virtio_net_init(struct virtio_net *net,
		    const struct virtio_net_options *options,
		    struct net_backend *backend,
		    const struct guest_memory *memory, int stop_fd)
{
	unsigned int queues = 2 * backend->pairs + 1;
	int err;

	assert(backend->pairs > 0 && backend->pairs <= VIRTIO_NET_PAIRS_MAX);
	memset(net, 0, sizeof(*net));
	net->queues = calloc(queues, sizeof(*net->queues));
	if (!net->queues)
		return -ENOMEM;
	err = virtio_device_init(&net->device, &net_ops, options->name, memory,
				 queues, VIRTIO_NET_QUEUE_SIZE);
	if (err)
		goto err_free_queues;
	err = queues_init(net, stop_fd);
	if (err)
		goto err_destroy_device;
	net->backend = backend;
	net->options = *options;
	net->active_pairs = backend->pairs;
	virtio_net_set_mac(net, options->mac);
	net->device.config_size = CONFIG_BYTES;
	net->device.offered |= features_offer(net);
	return 0;

err_destroy_device:
	virtio_device_destroy(&net->device);
err_free_queues:
	free(net->queues);
	return err;
}

static void thread_name(const struct virtio_net *net, unsigned int index,
			char name[static THREAD_NAME_MAX])
{
	const char *kind = index % 2 ? "tx" : "rx";

	if (index == 2 * net->backend->pairs)
		snprintf(name, THREAD_NAME_MAX, "net.%s.ctrl",
			 net->device.name);
	else if (net->backend->pairs == 1)
		snprintf(name, THREAD_NAME_MAX, "net.%s.%s", net->device.name,
			 kind);
	else
		snprintf(name, THREAD_NAME_MAX, "net.%s.%s.%u",
			 net->device.name, kind, index / 2);
}

int virtio_net_start_threads(struct virtio_net *net, struct threads *threads)
{
	char name[THREAD_NAME_MAX];
	unsigned int i;
	int err;

	for (i = 0; i < net->device.queue_count; i++) {
		thread_name(net, i, name);
		err = queue_worker_start(&net->queues[i].worker, threads,
					 THREAD_NET, name);
		if (err)
			return err;
	}
	return 0;
}

void virtio_net_join_threads(struct virtio_net *net)
{
	unsigned int i;

	if (net->joined)
		return;
	for (i = 0; i < net->device.queue_count; i++)
		queue_worker_join(&net->queues[i].worker);
	net->joined = true;
}

void virtio_net_destroy(struct virtio_net *net)
{
	virtio_net_join_threads(net);
	queues_destroy(net, net->device.queue_count);
	net->backend->ops->destroy(net->backend);
	virtio_device_destroy(&net->device);
	free(net->queues);
}

struct virtio_net_counters virtio_net_count(const struct virtio_net *net)
{
	const struct virtio_net_counters *one;
	struct virtio_net_counters sum = { 0 };
	unsigned int i;

	for (i = 0; i < net->device.queue_count; i++) {
		one = &net->queues[i].counters;
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

int virtio_net_kick_fd(const struct virtio_net *net, unsigned int index)
{
	return net->queues[index].worker.kick_fd;
}
