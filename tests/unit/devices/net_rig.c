/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/devices/net_rig.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "virtio/mmio.h"

static struct fake_backend *fake_of(struct net_backend *backend)
{
	return container_of(backend, struct fake_backend, backend);
}

static ssize_t fake_receive(struct net_backend *backend, unsigned int pair,
			    struct virtio_net_hdr_v1 *header, struct iovec *iov,
			    unsigned int count)
{
	struct fake_backend *fake = fake_of(backend);
	struct msghdr message = { .msg_iov = iov, .msg_iovlen = count + 1 };
	ssize_t bytes;

	__atomic_fetch_add(&fake->receives, 1, __ATOMIC_SEQ_CST);
	iov[0] = (struct iovec){ header, sizeof(*header) };
	bytes = recvmsg(fake->fds[pair], &message, MSG_DONTWAIT);
	if (bytes <= 0)
		return bytes < 0 && errno == EAGAIN ? -EAGAIN : -EPIPE;
	if (message.msg_flags & MSG_TRUNC)
		return -EMSGSIZE;
	return bytes - (ssize_t)sizeof(*header);
}

static int fake_transmit(struct net_backend *backend, unsigned int pair,
			 struct virtio_net_hdr_v1 *header, struct iovec *iov,
			 unsigned int count, size_t bytes)
{
	struct fake_backend *fake = fake_of(backend);
	struct msghdr message = { .msg_iov = iov, .msg_iovlen = count + 1 };
	int refusal = __atomic_load_n(&fake->refusal, __ATOMIC_SEQ_CST);
	ssize_t sent;

	if (refusal)
		return -refusal;
	iov[0] = (struct iovec){ header, sizeof(*header) };
	sent = sendmsg(fake->fds[pair], &message, MSG_DONTWAIT | MSG_NOSIGNAL);
	if (sent < 0)
		return errno == EAGAIN ? -EAGAIN : -EPIPE;
	cr_assert_eq((size_t)sent, sizeof(*header) + bytes);
	return 0;
}

static int fake_fd(const struct net_backend *backend, unsigned int pair)
{
	return container_of(backend, const struct fake_backend, backend)
		->fds[pair];
}

static int fake_set_offloads(struct net_backend *backend, uint64_t offloads)
{
	__atomic_store_n(&fake_of(backend)->offloads, offloads,
			 __ATOMIC_SEQ_CST);
	return 0;
}

static int fake_set_pairs(struct net_backend *backend, unsigned int pairs)
{
	__atomic_store_n(&fake_of(backend)->pairs, pairs, __ATOMIC_SEQ_CST);
	return 0;
}

static void fake_destroy(struct net_backend *backend)
{
	unsigned int i;

	for (i = 0; i < backend->pairs; i++)
		close(fake_of(backend)->fds[i]);
}

static const struct net_backend_ops fake_ops = {
	.what = "the fake",
	.receive = fake_receive,
	.transmit = fake_transmit,
	.fd = fake_fd,
	.set_offloads = fake_set_offloads,
	.set_pairs = fake_set_pairs,
	.destroy = fake_destroy,
};

static struct net_backend *fake_create(struct net_rig *rig)
{
	struct fake_backend *fake = &rig->fake;
	int room = 1 << 20;
	int ends[2];
	unsigned int i;

	fake->backend = (struct net_backend){
		.ops = &fake_ops,
		.pairs = rig->pairs,
		.frame_max = NET_FRAME_MAX,
		.features = rig->features,
	};
	for (i = 0; i < rig->pairs; i++) {
		cr_assert_eq(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC,
					0, ends),
			     0);
		fake->fds[i] = ends[0];
		fake->peers[i] = ends[1];
		setsockopt(ends[1], SOL_SOCKET, SO_SNDBUF, &room, sizeof(room));
	}
	return &fake->backend;
}

static void count_interrupt(void *context)
{
	struct net_rig *rig = context;

	__atomic_fetch_add(&rig->interrupts, 1, __ATOMIC_RELAXED);
}

void net_rig_create(struct net_rig *rig)
{
	const struct guest_memory_range ram = { 0, NET_RIG_RAM };
	const struct virtio_net_options options = {
		.name = "eth0",
		.mac = { 2, 1, 2, 3, 4, 5 },
		.mtu = rig->mtu,
	};
	struct net_backend *backend = rig->other;

	if (rig->pairs == 0)
		rig->pairs = 1;
	if (!backend)
		backend = fake_create(rig);
	cr_assert_eq(guest_memory_init(&rig->memory, &ram, 1,
				       GUEST_MEMORY_SMALL_PAGES),
		     0);
	rig->stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	cr_assert_eq(virtio_net_init(&rig->net, &options, backend, &rig->memory,
				     rig->stop_fd),
		     0);
	rig->net.device.interrupt = count_interrupt;
	rig->net.device.interrupt_context = rig;
	cr_assert_eq(virtio_net_start_threads(&rig->net, &rig->threads), 0);
}

static void queue_set_up(struct net_rig *rig, unsigned int index)
{
	static const struct {
		uint32_t low;
		enum queue_part part;
	} registers[] = {
		{ VIRTIO_MMIO_QUEUE_DESC_LOW, QUEUE_DESCRIPTORS },
		{ VIRTIO_MMIO_QUEUE_AVAIL_LOW, QUEUE_AVAILABLE },
		{ VIRTIO_MMIO_QUEUE_USED_LOW, QUEUE_USED },
	};
	uint64_t address = index * NET_RIG_DRIVER_BYTES;
	struct driver *driver = &rig->drivers[index];
	unsigned int i;

	driver_destroy(driver);
	cr_assert_eq(driver_init(driver, net_rig_host(rig, address),
				 NET_RIG_DRIVER_BYTES, IOVA(address),
				 NET_RIG_SIZE, 32,
				 !(rig->refused_features &
				   VIRTIO_FEATURE_EVENT_IDX)),
		     0);
	net_rig_write(rig, VIRTIO_MMIO_QUEUE_SEL, index);
	net_rig_write(rig, VIRTIO_MMIO_QUEUE_NUM, driver->size);
	for (i = 0; i < ARRAY_SIZE(registers); i++) {
		address = driver->part_address[registers[i].part].v;
		net_rig_write(rig, registers[i].low, (uint32_t)address);
		net_rig_write(rig, registers[i].low + 4,
			      (uint32_t)(address >> 32));
	}
	net_rig_write(rig, VIRTIO_MMIO_QUEUE_READY, 1);
}

void net_rig_negotiate(struct net_rig *rig)
{
	uint64_t features = rig->net.device.offered & ~rig->refused_features;
	unsigned int i;

	net_rig_write(rig, VIRTIO_MMIO_STATUS, 1);
	net_rig_write(rig, VIRTIO_MMIO_STATUS, 3);
	for (i = 0; i < 2; i++) {
		net_rig_write(rig, VIRTIO_MMIO_DRIVER_FEATURES_SEL, i);
		net_rig_write(rig, VIRTIO_MMIO_DRIVER_FEATURES,
			      (uint32_t)(features >> 32 * i));
	}
	net_rig_write(rig, VIRTIO_MMIO_STATUS, 11);
	for (i = 0; i < rig->net.device.queue_count; i++)
		queue_set_up(rig, i);
	net_rig_write(rig, VIRTIO_MMIO_STATUS, 15);
	cr_assert_eq(net_rig_read(rig, VIRTIO_MMIO_STATUS), 15);
}

void net_rig_start(struct net_rig *rig)
{
	net_rig_create(rig);
	net_rig_negotiate(rig);
}

void net_rig_destroy(struct net_rig *rig)
{
	unsigned int queues = rig->net.device.queue_count;
	unsigned int i;

	cr_assert_eq(eventfd_write(rig->stop_fd, 1), 0);
	virtio_net_destroy(&rig->net);
	for (i = 0; i < queues; i++)
		driver_destroy(&rig->drivers[i]);
	guest_memory_destroy(&rig->memory);
	for (i = 0; i < rig->pairs && !rig->other; i++)
		close(rig->fake.peers[i]);
	close(rig->stop_fd);
}

uint32_t net_rig_read(struct net_rig *rig, uint32_t offset)
{
	uint32_t value;

	virtio_mmio_read(&rig->net.device, offset, &value, sizeof(value));
	return value;
}

void net_rig_write(struct net_rig *rig, uint32_t offset, uint32_t value)
{
	virtio_mmio_write(&rig->net.device, offset, &value, sizeof(value));
}

struct virtio_net_config net_rig_config(struct net_rig *rig)
{
	struct virtio_net_config config = { 0 };
	unsigned int i;

	for (i = 0; i < rig->net.device.config_size; i++)
		virtio_mmio_read(&rig->net.device, VIRTIO_MMIO_CONFIG + i,
				 (uint8_t *)&config + i, 1);
	return config;
}

void *net_rig_host(struct net_rig *rig, uint64_t address)
{
	return guest_memory_host(&rig->memory, GPA(address), 1);
}

unsigned int net_rig_control_queue(const struct net_rig *rig)
{
	bool mq = rig->pairs > 1 && !(rig->refused_features & NET_FEATURE(MQ));

	return mq ? 2 * rig->pairs : 2;
}

uint16_t net_rig_submit(struct net_rig *rig, unsigned int queue,
			const struct driver_buffer *buffers, unsigned int count)
{
	int head = driver_add(&rig->drivers[queue], buffers, count);

	cr_assert_geq(head, 0);
	if (driver_publish(&rig->drivers[queue]))
		net_rig_write(rig, VIRTIO_MMIO_QUEUE_NOTIFY, queue);
	return (uint16_t)head;
}

uint16_t net_rig_post(struct net_rig *rig, unsigned int pair, uint64_t address,
		      uint32_t len)
{
	const struct driver_buffer buffer = { IOVA(address), len, true };

	return net_rig_submit(rig, NET_RIG_RX(pair), &buffer, 1);
}

static void sleep_us(long us)
{
	nanosleep(&(struct timespec){ .tv_nsec = us * 1000 }, NULL);
}

bool net_rig_wait(struct net_rig *rig, unsigned int queue, uint16_t *head,
		  uint32_t *written)
{
	struct driver *driver = &rig->drivers[queue];
	unsigned int turn;

	for (turn = 0; turn < NET_RIG_TIMEOUT_MS * 20; turn++) {
		if (driver_take_used(driver, head, written))
			return true;
		sleep_us(50);
	}
	return false;
}

bool net_rig_is_quiet(struct net_rig *rig, unsigned int queue)
{
	uint32_t written;
	uint16_t head;

	sleep_us(20000);
	return !driver_take_used(&rig->drivers[queue], &head, &written);
}

void net_rig_send(struct net_rig *rig, unsigned int pair,
		  const struct virtio_net_hdr_v1 *header, uint32_t bytes)
{
	const struct driver_buffer buffers[] = {
		{ IOVA(NET_RIG_SLOT(1)), sizeof(*header), false },
		{ IOVA(NET_RIG_SLOT(0)), bytes, false },
	};
	uint32_t written;
	uint16_t head, used;

	memcpy(net_rig_host(rig, NET_RIG_SLOT(1)), header, sizeof(*header));
	head = net_rig_submit(rig, NET_RIG_TX(pair), buffers, 2);
	cr_assert(net_rig_wait(rig, NET_RIG_TX(pair), &used, &written),
		  "not sent");
	cr_assert_eq(used, head);
	cr_assert_eq(written, 0);
}

uint8_t net_rig_control(struct net_rig *rig, uint8_t class, uint8_t command,
			const void *data, uint32_t len)
{
	const struct driver_buffer buffers[] = {
		{ IOVA(NET_RIG_SLOT(2)), 2, false },
		{ IOVA(NET_RIG_SLOT(2) + 64), len, false },
		{ IOVA(NET_RIG_SLOT(2) + 32), 1, true },
	};
	unsigned int queue = net_rig_control_queue(rig);
	uint8_t *slot = net_rig_host(rig, NET_RIG_SLOT(2));
	uint32_t written;
	uint16_t head;

	slot[0] = class;
	slot[1] = command;
	slot[32] = 0xee;
	memcpy(slot + 64, data, len);
	net_rig_submit(rig, queue, buffers, 3);
	cr_assert(net_rig_wait(rig, queue, &head, &written), "no answer");
	cr_assert_eq(written, 1);
	return slot[32];
}

void net_rig_fill(void *bytes, size_t len, unsigned int seed)
{
	uint8_t *to = bytes;
	size_t i;

	for (i = 0; i < len; i++)
		to[i] = (uint8_t)(seed + i * 7 + i / 251);
}

bool net_rig_holds(const void *bytes, size_t len, unsigned int seed,
		   size_t offset)
{
	const uint8_t *is = bytes;
	size_t i;

	for (i = 0; i < len; i++) {
		size_t at = i + offset;

		if (is[i] != (uint8_t)(seed + at * 7 + at / 251))
			return false;
	}
	return true;
}

void net_rig_give(struct net_rig *rig, unsigned int pair,
		  const struct virtio_net_hdr_v1 *header, uint32_t bytes,
		  unsigned int seed)
{
	static const struct virtio_net_hdr_v1 none;
	static uint8_t message[sizeof(none) + 2 * NET_FRAME_MAX];

	memcpy(message, header ? header : &none, sizeof(none));
	net_rig_fill(message + sizeof(none), bytes, seed);
	cr_assert_eq(send(rig->fake.peers[pair], message, sizeof(none) + bytes,
			  0),
		     (ssize_t)(sizeof(none) + bytes));
}

ssize_t net_rig_take(struct net_rig *rig, unsigned int pair,
		     struct virtio_net_hdr_v1 *header, uint8_t *frame,
		     size_t room)
{
	struct iovec iov[] = { { header, sizeof(*header) }, { frame, room } };
	struct msghdr message = { .msg_iov = iov, .msg_iovlen = 2 };
	ssize_t bytes = recvmsg(rig->fake.peers[pair], &message, MSG_DONTWAIT);

	return bytes < 0 ? -1 : bytes - (ssize_t)sizeof(*header);
}

bool net_rig_is_alive(struct net_rig *rig)
{
	const struct virtio_net_hdr_v1 header = { 0 };
	struct virtio_net_hdr_v1 taken;
	uint8_t frame[100];
	uint32_t written;
	uint16_t head;

	net_rig_fill(net_rig_host(rig, NET_RIG_SLOT(0)), 60, 1);
	net_rig_send(rig, 0, &header, 60);
	if (net_rig_take(rig, 0, &taken, frame, sizeof(frame)) != 60 ||
	    !net_rig_holds(frame, 60, 1, 0))
		return false;
	net_rig_post(rig, 0, NET_RIG_SLOT(3), 2048);
	net_rig_give(rig, 0, NULL, 64, 2);
	return net_rig_wait(rig, NET_RIG_RX(0), &head, &written) &&
	       written == 76 &&
	       net_rig_holds((uint8_t *)net_rig_host(rig, NET_RIG_SLOT(3)) + 12,
			     64, 2, 0) &&
	       net_rig_read(rig, VIRTIO_MMIO_STATUS) == 15;
}

bool net_rig_needs_reset(void *context)
{
	return net_rig_read(context, VIRTIO_MMIO_STATUS) &
	       VIRTIO_STATUS_NEEDS_RESET;
}

bool net_rig_link_is_down(void *context)
{
	return net_rig_config(context).status == 0;
}

bool net_rig_nothing_in_flight(void *context)
{
	struct net_rig *rig = context;
	unsigned int i;

	for (i = 0; i < rig->net.device.queue_count; i++) {
		const struct queue *queue = &rig->net.device.queues[i];

		if (in_flight_overlaps(&queue->dma.requests, IOVA(0),
				       IOVA(UINT64_MAX), UINT64_MAX))
			return false;
	}
	return true;
}

bool net_rig_eventually(bool (*condition)(void *context), void *context)
{
	unsigned int turn;

	for (turn = 0; turn < NET_RIG_TIMEOUT_MS * 10; turn++) {
		if (condition(context))
			return true;
		sleep_us(100);
	}
	return false;
}
