/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The network device before a driver and a host that obey nothing. The input is
 * what the driver negotiated, the rings of all three queues and what they point
 * at, byte by byte, the frames that the host has, and what it says to those that
 * it is given; then changes to the memory between rounds. Whatever comes, frames
 * go from and to RAM only, their headers are sound, and nothing stays in flight.
 */
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/virtio_mmio.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "devices/log.h"
#include "devices/virtio_net.h"
#include "devices/virtio_net_queue.h"
#include "memory/base.h"
#include "memory/guest_memory.h"
#include "virtio/mmio.h"

#define RAM_BYTES (256 * KIB)
#define QUEUE_SIZE 16
#define QUEUE_BYTES 512 /* where each queue's rings are; see set_up_queue */
#define QUEUES 3
#define IMAGE_BYTES 3072 /* of RAM, in the input */
#define ROUNDS 4
#define PATCHES 8 /* of two bytes, in each round */

/* What stands before the bytes of RAM in an input. */
struct input_head {
	uint8_t refused; /* features, see features_refused */
	uint8_t frames; /* that the host has: that many in each round */
	uint16_t lengths[4];
	uint8_t header[10]; /* of all of them */
	uint8_t answers[8]; /* to frames that it is given, in turn */
};

struct patch {
	uint16_t offset;
	uint16_t value;
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct guest_memory memory;
static uint8_t *ram;
static struct virtio_net net;

/* The host. */
static struct {
	struct net_backend backend;
	struct input_head head;
	unsigned int left; /* frames, in this round */
	unsigned int given, taken;
} host;

static bool is_in_ram(const struct iovec *iov)
{
	uint8_t *base = iov->iov_base;

	return base >= ram && base < ram + RAM_BYTES &&
	       iov->iov_len <= (size_t)(ram + RAM_BYTES - base);
}

static ssize_t host_receive(struct net_backend *backend, unsigned int pair,
			    struct virtio_net_hdr_v1 *header, struct iovec *iov,
			    unsigned int count)
{
	uint16_t length = host.head.lengths[host.given % 4];
	uint8_t *spare = net.queues[0].receiver.spare;
	size_t bytes, left;
	unsigned int i;

	(void)backend;
	assert(pair == 0 && count > 0 && count < DMA_IOVECS_MAX);
	if (host.left == 0)
		return -EAGAIN;
	host.left--;
	host.given++;
	if (length == UINT16_MAX)
		return -EPIPE;
	if (length < NET_FRAME_MIN)
		return -EMSGSIZE;
	memset(header, 0xff, sizeof(*header));
	memcpy(header, host.head.header, sizeof(host.head.header));
	for (i = 1, left = length; i <= count; i++) {
		assert(iov[i].iov_len > 0);
		assert(is_in_ram(&iov[i]) ||
		       (i == count && iov[i].iov_base == spare));
		bytes = MIN(left, iov[i].iov_len);
		memset(iov[i].iov_base, 0x5a, bytes);
		left -= bytes;
	}
	assert(left == 0);
	return length;
}

/* Said anew, and simpler than in net_header.c: what a host relies on. */
static void header_judge(const struct virtio_net_hdr_v1 *header, size_t bytes)
{
	uint64_t features = net.device.accepted;

	assert((header->flags & ~VIRTIO_NET_HDR_F_NEEDS_CSUM) == 0);
	assert(header->num_buffers == 0);
	if (header->flags) {
		assert(features & NET_FEATURE(CSUM));
		assert((size_t)header->csum_start + header->csum_offset + 2 <=
		       bytes);
	}
	if (header->gso_type) {
		assert(features & NET_HOST_OFFLOADS & ~NET_FEATURE(CSUM));
		assert(header->flags && header->gso_size > 0);
		assert(header->hdr_len <= bytes);
	} else {
		assert(header->gso_size == 0 && header->hdr_len == 0);
	}
}

static int host_transmit(struct net_backend *backend, unsigned int pair,
			 struct virtio_net_hdr_v1 *header, struct iovec *iov,
			 unsigned int count, size_t bytes)
{
	uint8_t answer = host.head.answers[host.taken++ % 8];
	size_t sum = 0;
	unsigned int i;

	(void)backend;
	assert(pair == 0 && count > 0 && count < DMA_IOVECS_MAX);
	assert(bytes >= NET_FRAME_MIN && bytes <= NET_FRAME_MAX);
	for (i = 1; i <= count; i++) {
		assert(is_in_ram(&iov[i]));
		sum += iov[i].iov_len;
	}
	assert(sum == bytes);
	header_judge(header, bytes);
	switch (answer % 8) {
	case 1:
		return -EAGAIN;
	case 2:
		return -EINVAL;
	case 3:
		return answer > 0xf0 ? -EPIPE : 0;
	default:
		return 0;
	}
}

static int host_fd(const struct net_backend *backend, unsigned int pair)
{
	(void)backend;
	(void)pair;
	return 0;
}

static int host_set_offloads(struct net_backend *backend, uint64_t offloads)
{
	(void)backend;
	assert((offloads & ~NET_GUEST_OFFLOADS) == 0);
	assert((offloads & ~net.device.accepted) == 0);
	return 0;
}

static void host_destroy(struct net_backend *backend)
{
	(void)backend;
}

static const struct net_backend_ops host_ops = {
	.what = "the host",
	.receive = host_receive,
	.transmit = host_transmit,
	.fd = host_fd,
	.set_offloads = host_set_offloads,
	.destroy = host_destroy,
};

static uint64_t features_refused(uint8_t bits)
{
	static const uint64_t groups[8] = {
		VIRTIO_FEATURE_INDIRECT_DESC,
		VIRTIO_FEATURE_EVENT_IDX,
		NET_FEATURE(MRG_RXBUF),
		NET_FEATURE(CTRL_RX) | NET_FEATURE(CTRL_MAC_ADDR),
		NET_FEATURE(CTRL_GUEST_OFFLOADS),
		NET_HOST_OFFLOADS,
		NET_GUEST_OFFLOADS,
		NET_FEATURE(HOST_TSO4) | NET_FEATURE(GUEST_TSO4),
	};
	uint64_t refused = 0;
	unsigned int i;

	for (i = 0; i < 8; i++)
		if (bits & 1u << i)
			refused |= groups[i];
	return refused;
}

static void write_register(uint32_t offset, uint32_t value)
{
	virtio_mmio_write(&net.device, offset, &value, sizeof(value));
}

/* Descriptors, then the available and the used ring. */
static void set_up_queue(unsigned int index)
{
	uint32_t base = index * QUEUE_BYTES;

	write_register(VIRTIO_MMIO_QUEUE_SEL, index);
	write_register(VIRTIO_MMIO_QUEUE_NUM, QUEUE_SIZE);
	write_register(VIRTIO_MMIO_QUEUE_DESC_LOW, base);
	write_register(VIRTIO_MMIO_QUEUE_AVAIL_LOW, base + 256);
	write_register(VIRTIO_MMIO_QUEUE_USED_LOW, base + 320);
	write_register(VIRTIO_MMIO_QUEUE_READY, 1);
}

static void negotiate(uint64_t features)
{
	unsigned int i;

	write_register(VIRTIO_MMIO_STATUS, 1);
	write_register(VIRTIO_MMIO_STATUS, 3);
	for (i = 0; i < 2; i++) {
		write_register(VIRTIO_MMIO_DRIVER_FEATURES_SEL, i);
		write_register(VIRTIO_MMIO_DRIVER_FEATURES,
			       (uint32_t)(features >> 32 * i));
	}
	write_register(VIRTIO_MMIO_STATUS, 11);
	for (i = 0; i < QUEUES; i++)
		set_up_queue(i);
	write_register(VIRTIO_MMIO_STATUS, 15);
	assert(net.device.queues[0].live);
}

static void create(void)
{
	const struct guest_memory_range range = { 0, RAM_BYTES };
	const struct virtio_net_options options = { .name = "fuzzed" };

	if (!ram) {
		/* What the device says is as the guest makes it. */
		log_open(open("/dev/null", O_WRONLY | O_CLOEXEC),
			 LOG_LEVEL_ERROR);
		if (guest_memory_init(&memory, &range, 1,
				      GUEST_MEMORY_SMALL_PAGES))
			abort();
		ram = guest_memory_host(&memory, GPA(0), RAM_BYTES);
	}
	host.backend = (struct net_backend){
		.ops = &host_ops,
		.pairs = 1,
		.frame_max = NET_FRAME_MAX,
		.features = NET_HOST_OFFLOADS | NET_GUEST_OFFLOADS,
	};
	if (virtio_net_init(&net, &options, &host.backend, &memory, -1))
		abort();
}

/* As its thread would, but for the sleep. */
static void serve(unsigned int index)
{
	struct virtio_net_queue *queue = &net.queues[index];

	switch (index) {
	case 0:
		virtio_net_receive(queue);
		break;
	case 1:
		virtio_net_transmit(queue);
		break;
	default:
		virtio_net_control(queue);
		break;
	}
	assert(queue->receiver.count == 0);
	/* A chain that broke its queue may not have been returned. */
	assert(queue_is_broken(queue->queue) ||
	       queue->queue->dma.requests.count == 0);
	virtio_device_check_queue(&net.device, queue->queue);
}

static void patch(const uint8_t **data, size_t *size)
{
	struct patch patch;
	unsigned int i;

	for (i = 0; i < PATCHES && *size >= sizeof(patch); i++) {
		memcpy(&patch, *data, sizeof(patch));
		memcpy(ram + patch.offset % (IMAGE_BYTES - 1), &patch.value, 2);
		*data += sizeof(patch);
		*size -= sizeof(patch);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct virtio_net_counters counters;
	unsigned int round, i;

	if (size < sizeof(host.head))
		return 0;
	memcpy(&host.head, data, sizeof(host.head));
	data += sizeof(host.head);
	size -= sizeof(host.head);
	host.given = 0;
	host.taken = 0;
	create();
	memset(ram, 0, RAM_BYTES);
	memcpy(ram, data, MIN(size, (size_t)IMAGE_BYTES));
	data += MIN(size, (size_t)IMAGE_BYTES);
	size -= MIN(size, (size_t)IMAGE_BYTES);
	negotiate(net.device.offered & ~features_refused(host.head.refused));

	for (round = 0; round < ROUNDS; round++) {
		host.left = host.head.frames % 32;
		for (i = 0; i < QUEUES; i++)
			serve(i);
		patch(&data, &size);
	}
	counters = virtio_net_count(&net);
	assert(counters.errors <= counters.requests);
	write_register(VIRTIO_MMIO_STATUS, 0);
	assert(net.device.status == 0);
	virtio_net_destroy(&net);
	return 0;
}
