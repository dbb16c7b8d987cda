/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The network device under its races, for the thread sanitizer: frames go out and
 * are sent back by a passt of ours while commands change the device, statistics
 * and configuration are read, and the device is reset under it all.
 *
 *	stress_net [ROUNDS]
 *
 * A frame's content is a function of its number, which stands in it. What comes
 * back, from before a reset too, is whole or the test fails. After a reset the
 * device has no business in guest memory: buffers are overwritten and stay so.
 */
#include <endian.h>
#include <linux/virtio_net.h>
#include <pthread.h>
#include <sched.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "devices/passt.h"
#include "devices/virtio_net.h"
#include "memory/base.h"
#include "memory/guest_memory.h"
#include "virtio/driver.h"
#include "virtio/mmio.h"

#define QUEUES 3
#define QUEUE_SIZE 64
#define RAM (16 * MIB)
#define RINGS(queue) (MIB * (queue))
#define BUFFERS 24
#define BUFFER_BYTES 2048
#define BUFFER(n) (4 * MIB + 4096 * (uint64_t)(n))
#define FRAMES 16 /* in flight */
#define FRAME(n) (8 * MIB + 64 * KIB * (uint64_t)(n))
#define COMMAND (15 * MIB)
#define TURNS 300 /* in a round */
#define SPOILT 0xee

struct stress {
	struct guest_memory memory;
	struct passt passt;
	struct virtio_net net;
	struct threads threads;
	struct driver drivers[QUEUES];
	unsigned int buffer_of_head[QUEUE_SIZE];
	unsigned int frame_of_head[QUEUE_SIZE];
	unsigned int free_frames[FRAMES], free_count;
	uint32_t number; /* of the next frame */
	uint64_t sent, received, dropped, broken, late, commands, lost_answers;
	int stop_fd, peer;
	bool over; /* atomic */
};

static void *host(struct stress *stress, uint64_t address)
{
	return guest_memory_host(&stress->memory, GPA(address), 1);
}

static void write_register(struct stress *stress, uint32_t offset,
			   uint32_t value)
{
	virtio_mmio_write(&stress->net.device, offset, &value, sizeof(value));
}

/* --- frames ---------------------------------------------------------------------- */

static uint32_t frame_bytes(uint32_t number)
{
	static const uint32_t sizes[] = { 60, 1514, 100, 6000, 64, 30000 };

	return sizes[number % ARRAY_SIZE(sizes)];
}

static uint8_t frame_byte(uint32_t number, uint32_t at)
{
	return (uint8_t)(number * 31 + at * 7 + at / 251);
}

static void frame_make(uint8_t *frame, uint32_t number)
{
	uint32_t bytes = frame_bytes(number), at;

	memcpy(frame, &number, sizeof(number));
	for (at = sizeof(number); at < bytes; at++)
		frame[at] = frame_byte(number, at);
}

/* Whether @bytes at @at of frame @number, which begins with it, are right. */
static bool frame_is_right(const uint8_t *bytes, uint32_t count,
			   uint32_t number, uint32_t at)
{
	uint32_t i;

	for (i = 0; i < count; i++)
		if (at + i >= sizeof(number) &&
		    bytes[i] != frame_byte(number, at + i))
			return false;
	return true;
}

/* --- the host ---------------------------------------------------------------------- */

static void *echo(void *argument)
{
	struct stress *stress = argument;
	static uint8_t bytes[64 * KIB];
	ssize_t got;

	while ((got = recv(stress->peer, bytes, sizeof(bytes), 0)) > 0)
		if (send(stress->peer, bytes, (size_t)got, MSG_NOSIGNAL) != got)
			break;
	return NULL;
}

static void *observe(void *argument)
{
	struct stress *stress = argument;
	uint64_t value;
	unsigned int i;

	while (!__atomic_load_n(&stress->over, __ATOMIC_ACQUIRE)) {
		virtio_net_count(&stress->net);
		for (i = 0; i < QUEUES; i++)
			queue_read_counters(&stress->net.device.queues[i]);
		virtio_mmio_read(&stress->net.device, VIRTIO_MMIO_CONFIG,
				 &value, sizeof(value));
		usleep(100);
	}
	return NULL;
}

/* --- the driver ---------------------------------------------------------------------- */

static int submit(struct stress *stress, unsigned int queue,
		  const struct driver_buffer *buffers, unsigned int count)
{
	int head = driver_add(&stress->drivers[queue], buffers, count);

	if (head >= 0 && driver_publish(&stress->drivers[queue]))
		write_register(stress, VIRTIO_MMIO_QUEUE_NOTIFY, queue);
	return head;
}

static void post(struct stress *stress, unsigned int n)
{
	const struct driver_buffer buffer = { IOVA(BUFFER(n)), BUFFER_BYTES,
					      true };
	int head = submit(stress, 0, &buffer, 1);

	if (head >= 0)
		stress->buffer_of_head[head] = n;
}

static void send_frame(struct stress *stress)
{
	unsigned int n = stress->free_frames[--stress->free_count];
	uint32_t number = stress->number++;
	const struct driver_buffer buffer = {
		IOVA(FRAME(n)),
		(uint32_t)sizeof(struct virtio_net_hdr_v1) +
			frame_bytes(number),
		false
	};
	uint8_t *frame = host(stress, FRAME(n));
	int head;

	memset(frame, 0, sizeof(struct virtio_net_hdr_v1));
	frame_make(frame + sizeof(struct virtio_net_hdr_v1), number);
	head = submit(stress, 1, &buffer, 1);
	if (head >= 0)
		stress->frame_of_head[head] = n;
}

static void reap_sent(struct stress *stress)
{
	uint32_t written;
	uint16_t head;

	while (driver_take_used(&stress->drivers[1], &head, &written)) {
		stress->free_frames[stress->free_count++] =
			stress->frame_of_head[head % QUEUE_SIZE];
		stress->sent++;
	}
}

/* Waits for the next part of a frame: its buffer, or -1. */
static int next_part(struct stress *stress, uint32_t *written)
{
	unsigned int turn;
	uint16_t head;

	for (turn = 0; turn < 10000000; turn++) {
		if (driver_take_used(&stress->drivers[0], &head, written))
			return (int)stress->buffer_of_head[head % QUEUE_SIZE];
		sched_yield();
	}
	return -1;
}

/* Takes one frame if one has come, and posts its buffers anew. */
static void receive_frame(struct stress *stress)
{
	const uint32_t header_bytes = sizeof(struct virtio_net_hdr_v1);
	unsigned int parts, i;
	uint32_t number = 0, at = 0, written;
	uint16_t head;
	int n;

	if (!driver_take_used(&stress->drivers[0], &head, &written))
		return;
	n = (int)stress->buffer_of_head[head % QUEUE_SIZE];
	if (written <= header_bytes) {
		/* A frame too large for what was posted when it came. */
		post(stress, (unsigned int)n);
		stress->dropped += written == 0;
		stress->broken += written != 0;
		return;
	}
	parts = le16toh(((struct virtio_net_hdr_v1 *)host(stress, BUFFER(n)))
				->num_buffers);
	memcpy(&number, (uint8_t *)host(stress, BUFFER(n)) + header_bytes,
	       sizeof(number));
	for (i = 0; n >= 0; i++) {
		uint32_t skip = i == 0 ? header_bytes : 0;

		if (!frame_is_right((uint8_t *)host(stress, BUFFER(n)) + skip,
				    written - skip, number, at))
			stress->broken++;
		at += written - skip;
		post(stress, (unsigned int)n);
		if (i + 1 >= parts)
			break;
		n = next_part(stress, &written);
	}
	if (at != frame_bytes(number))
		stress->broken++;
	stress->received++;
}

static void give_command(struct stress *stress)
{
	const struct driver_buffer buffers[] = {
		{ IOVA(COMMAND), 8, false },
		{ IOVA(COMMAND + 64), 1, true },
	};
	uint8_t *bytes = host(stress, COMMAND);
	uint32_t written;
	uint16_t head;
	unsigned int turn;

	bytes[0] = VIRTIO_NET_CTRL_MAC;
	bytes[1] = VIRTIO_NET_CTRL_MAC_ADDR_SET;
	memset(bytes + 2, (int)(2 + 4 * (stress->commands % 60)), 6);
	bytes[64] = SPOILT;
	submit(stress, 2, buffers, 2);
	for (turn = 0; turn < 10000000; turn++) {
		if (driver_take_used(&stress->drivers[2], &head, &written)) {
			stress->lost_answers += bytes[64] != VIRTIO_NET_OK;
			stress->commands++;
			return;
		}
		sched_yield();
	}
	stress->lost_answers++;
}

/* --- the device ---------------------------------------------------------------------- */

static void queue_set_up(struct stress *stress, unsigned int index)
{
	static const uint32_t low[QUEUE_PARTS] = {
		VIRTIO_MMIO_QUEUE_DESC_LOW,
		VIRTIO_MMIO_QUEUE_AVAIL_LOW,
		VIRTIO_MMIO_QUEUE_USED_LOW,
	};
	struct driver *driver = &stress->drivers[index];
	unsigned int i;

	driver_destroy(driver);
	if (driver_init(driver, host(stress, RINGS(index)), MIB,
			IOVA(RINGS(index)), QUEUE_SIZE, 0, true))
		abort();
	write_register(stress, VIRTIO_MMIO_QUEUE_SEL, index);
	write_register(stress, VIRTIO_MMIO_QUEUE_NUM, QUEUE_SIZE);
	for (i = 0; i < QUEUE_PARTS; i++)
		write_register(stress, low[i],
			       (uint32_t)driver->part_address[i].v);
	write_register(stress, VIRTIO_MMIO_QUEUE_READY, 1);
}

static void device_start(struct stress *stress)
{
	uint64_t features = stress->net.device.offered;
	unsigned int i;

	write_register(stress, VIRTIO_MMIO_STATUS, 1);
	write_register(stress, VIRTIO_MMIO_STATUS, 3);
	for (i = 0; i < 2; i++) {
		write_register(stress, VIRTIO_MMIO_DRIVER_FEATURES_SEL, i);
		write_register(stress, VIRTIO_MMIO_DRIVER_FEATURES,
			       (uint32_t)(features >> 32 * i));
	}
	write_register(stress, VIRTIO_MMIO_STATUS, 11);
	for (i = 0; i < QUEUES; i++)
		queue_set_up(stress, i);
	write_register(stress, VIRTIO_MMIO_STATUS, 15);
	for (i = 0; i < FRAMES; i++)
		stress->free_frames[i] = i;
	stress->free_count = FRAMES;
	for (i = 0; i < BUFFERS; i++)
		post(stress, i);
}

/* Resets it in the midst of its work, and looks whether it has stopped. */
static void device_reset(struct stress *stress)
{
	unsigned int n, i;

	write_register(stress, VIRTIO_MMIO_STATUS, 0);
	for (n = 0; n < BUFFERS; n++)
		memset(host(stress, BUFFER(n)), SPOILT, BUFFER_BYTES);
	usleep(200);
	for (n = 0; n < BUFFERS; n++) {
		const uint8_t *bytes = host(stress, BUFFER(n));

		for (i = 0; i < BUFFER_BYTES; i++)
			stress->late += bytes[i] != SPOILT;
	}
}

static int device_create(struct stress *stress)
{
	const struct guest_memory_range ram = { 0, RAM };
	const struct virtio_net_options options = { .name = "stress",
						    .mac = { 2 } };
	int ends[2];

	if (guest_memory_init(&stress->memory, &ram, 1,
			      GUEST_MEMORY_SMALL_PAGES) ||
	    socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends))
		return -1;
	stress->peer = ends[1];
	stress->stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	passt_init(&stress->passt, ends[0]);
	if (virtio_net_init(&stress->net, &options, &stress->passt.backend,
			    &stress->memory, stress->stop_fd))
		return -1;
	return virtio_net_start_threads(&stress->net, &stress->threads);
}

static void run_round(struct stress *stress)
{
	unsigned int turn;

	device_start(stress);
	for (turn = 0; turn < TURNS; turn++) {
		if (stress->free_count > 0)
			send_frame(stress);
		reap_sent(stress);
		receive_frame(stress);
		if (turn % 50 == 7)
			give_command(stress);
	}
	device_reset(stress);
}

static int report(const struct stress *stress)
{
	bool whole = stress->broken == 0 && stress->received > 0;
	bool answered = stress->lost_answers == 0 && stress->commands > 0;
	bool stopped = stress->late == 0;

	printf("# %llu frames sent, %llu received, %llu buffers empty, %llu "
	       "commands\n",
	       (unsigned long long)stress->sent,
	       (unsigned long long)stress->received,
	       (unsigned long long)stress->dropped,
	       (unsigned long long)stress->commands);
	printf("%sok 1 - frames come back whole\n", whole ? "" : "not ");
	printf("%sok 2 - commands are answered\n", answered ? "" : "not ");
	printf("%sok 3 - nothing is written after a reset\n",
	       stopped ? "" : "not ");
	return whole && answered && stopped ? 0 : 1;
}

int main(int argc, char **argv)
{
	static struct stress stress;
	pthread_t echo_thread, observer;
	unsigned int rounds = 40, i;

	setvbuf(stdout, NULL, _IOLBF, 0);
	printf("1..3\n");
	if (argc > 1)
		rounds = (unsigned int)strtoul(argv[1], NULL, 10);
	if (device_create(&stress)) {
		printf("Bail out! no device\n");
		return 1;
	}
	pthread_create(&echo_thread, NULL, echo, &stress);
	pthread_create(&observer, NULL, observe, &stress);
	for (i = 0; i < rounds; i++)
		run_round(&stress);
	__atomic_store_n(&stress.over, true, __ATOMIC_RELEASE);
	pthread_join(observer, NULL);
	eventfd_write(stress.stop_fd, 1);
	virtio_net_destroy(&stress.net);
	pthread_join(echo_thread, NULL);
	close(stress.peer);
	for (i = 0; i < QUEUES; i++)
		driver_destroy(&stress.drivers[i]);
	guest_memory_destroy(&stress.memory);
	return report(&stress);
}
