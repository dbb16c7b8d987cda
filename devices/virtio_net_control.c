/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The control queue (virtio 1.2, 5.1.6.5). Linux spins for each answer, so each
 * command is answered at once, and every one is: what is unknown, malformed or
 * was not negotiated with VIRTIO_NET_ERR. The byte for the answer is found before
 * anything is done, so that nothing is done that the guest is not told.
 */
#include "devices/virtio_net_queue.h"

#include <endian.h>
#include <string.h>

#include "memory/base.h"

#define BATCH_COMMANDS 4

/* A command, and where its data is. */
struct command {
	struct virtio_net_queue *queue;
	struct chain *chain;
	struct chain_cursor data; /* behind class and command */
};

static bool has_feature(const struct command *command, uint64_t feature)
{
	return virtio_device_has_feature(&command->queue->net->device, feature);
}

/* Copies all of the data, which must be @len bytes. */
static bool data_read(struct command *command, void *buffer, size_t len)
{
	return command->data.left == len &&
	       chain_read(command->queue->queue, command->chain, &command->data,
			  buffer, len) == 0;
}

/* Receive modes are taken note of, and everything is received. */
static bool mode_set(struct command *command, uint8_t number)
{
	uint8_t on;

	if (!has_feature(command, NET_FEATURE(CTRL_RX)) ||
	    number > VIRTIO_NET_CTRL_RX_ALLMULTI)
		return false;
	return data_read(command, &on, sizeof(on));
}

/* Skips one list of addresses. False: it is not all there. */
static bool mac_list_skip(struct command *command)
{
	struct chain_cursor *data = &command->data;
	uint64_t bytes;
	uint32_t entries;

	if (data->left < sizeof(entries) ||
	    chain_read(command->queue->queue, command->chain, data, &entries,
		       sizeof(entries)))
		return false;
	bytes = (uint64_t)le32toh(entries) * ETH_ALEN;
	if (bytes > data->left)
		return false;
	*data = chain_cursor(command->chain, DMA_READ,
			     command->chain->readable_bytes - data->left +
				     bytes);
	return true;
}

/* Filters need not be perfect (virtio 1.2, 5.1.6.5.1): there is none. */
static bool mac_table_set(struct command *command)
{
	return has_feature(command, NET_FEATURE(CTRL_RX)) &&
	       mac_list_skip(command) && mac_list_skip(command) &&
	       command->data.left == 0;
}

static bool mac_set(struct command *command)
{
	uint8_t mac[ETH_ALEN];

	if (!has_feature(command, NET_FEATURE(CTRL_MAC_ADDR)) ||
	    !data_read(command, mac, sizeof(mac)))
		return false;
	virtio_net_set_mac(command->queue->net, mac);
	return true;
}

static bool pairs_set(struct command *command)
{
	struct virtio_net *net = command->queue->net;
	struct virtio_net_ctrl_mq wanted;
	unsigned int pairs;

	if (!has_feature(command, NET_FEATURE(MQ)) ||
	    !data_read(command, &wanted, sizeof(wanted)))
		return false;
	pairs = le16toh(wanted.virtqueue_pairs);
	if (pairs < VIRTIO_NET_CTRL_MQ_VQ_PAIRS_MIN ||
	    pairs > net->backend->pairs)
		return false;
	return virtio_net_set_pairs(net, pairs) == 0;
}

static bool offloads_set(struct command *command)
{
	uint64_t offloads;

	if (!has_feature(command, NET_FEATURE(CTRL_GUEST_OFFLOADS)) ||
	    !data_read(command, &offloads, sizeof(offloads)))
		return false;
	offloads = le64toh(offloads);
	/* virtio 1.2, 5.1.6.5.6.1: none that was not negotiated. */
	if (offloads & ~NET_GUEST_OFFLOADS || !has_feature(command, offloads))
		return false;
	return virtio_net_set_offloads(command->queue->net, offloads) == 0;
}

static bool command_obey(struct command *command)
{
	struct virtio_net_ctrl_hdr header;

	if (chain_read(command->queue->queue, command->chain, &command->data,
		       &header, sizeof(header)))
		return false;
	switch (header.class) {
	case VIRTIO_NET_CTRL_RX:
		return mode_set(command, header.cmd);
	case VIRTIO_NET_CTRL_MAC:
		if (header.cmd == VIRTIO_NET_CTRL_MAC_TABLE_SET)
			return mac_table_set(command);
		return header.cmd == VIRTIO_NET_CTRL_MAC_ADDR_SET &&
		       mac_set(command);
	case VIRTIO_NET_CTRL_MQ:
		return header.cmd == VIRTIO_NET_CTRL_MQ_VQ_PAIRS_SET &&
		       pairs_set(command);
	case VIRTIO_NET_CTRL_GUEST_OFFLOADS:
		return header.cmd == VIRTIO_NET_CTRL_GUEST_OFFLOADS_SET &&
		       offloads_set(command);
	default:
		return false;
	}
}

static void command_serve(struct virtio_net_queue *queue, struct chain *chain)
{
	struct chain_cursor ack = chain_cursor(chain, DMA_WRITE, 0);
	struct command command = {
		.queue = queue,
		.chain = chain,
		.data = chain_cursor(chain, DMA_READ, 0),
	};
	struct iovec iov;
	uint64_t bytes;
	bool done;

	if (chain->writable_bytes == 0 ||
	    chain_map(queue->queue, chain, &ack, 1, &iov, 1, &bytes) != 1) {
		/* Nobody can be told; Linux takes that for an error. */
		virtio_net_count_one(queue, true);
		queue_complete(queue->queue, chain, 0);
		return;
	}
	done = command_obey(&command);
	/* Ordered before the used index by the release in queue_publish. */
	__atomic_store_n((uint8_t *)iov.iov_base,
			 done ? VIRTIO_NET_OK : VIRTIO_NET_ERR,
			 __ATOMIC_RELAXED);
	virtio_net_count_one(queue, !done);
	queue_complete(queue->queue, chain, 1);
}

void virtio_net_control(struct virtio_net_queue *queue)
{
	struct queue_worker *worker = &queue->worker;
	struct chain *chains[BATCH_COMMANDS];
	unsigned int count, i;

	do {
		queue_disarm(queue->queue);
		while (!queue_worker_should_pause(worker) &&
		       (count = queue_next(queue->queue, chains,
					   BATCH_COMMANDS))) {
			for (i = 0; i < count; i++)
				command_serve(queue, chains[i]);
			virtio_net_publish(queue);
		}
	} while (!queue_worker_should_pause(worker) &&
		 !queue_arm(queue->queue));
}
