/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A network device from a real processor, in front of a passt that sends each
 * frame back: frames that may leave come back whole, and others do not: bug-
 * classes 7, 8 and 13 to 16. The registers and rings are like a disk's, so its
 * driver's functions serve here as well.
 */
#include <linux/virtio_net.h>

#include "memory/base.h"
#include "tests/guest/blk.h"
#include "tests/guest/guest.h"
#include "vmm/layout.h"

#define RECEIVE 0
#define TRANSMIT 1
#define CONTROL 2

#define HEADER 12
#define FRAME_MAX 65535
#define RAM_BYTES (128 * MIB)
#define UNTOUCHED 0xee

#define HEADERS ((uint8_t *)GUEST_SCRATCH)
#define SENT ((uint8_t *)GUEST_SCRATCH + 0x10000)
#define BUFFER(n) ((uint8_t *)GUEST_SCRATCH + 0x100000 + 0x20000 * (n))

static struct blk net;

static void submit(unsigned int queue, const struct driver_buffer *buffers,
		   unsigned int count)
{
	driver_add(&net.queues[queue], buffers, count);
	if (driver_publish(&net.queues[queue]))
		blk_notify(&net, queue);
}

/* Waits for a used element; its length, -1 when there is none. */
static int64_t used(unsigned int queue)
{
	uint32_t written;
	uint16_t head;

	if (blk_wait(&net, queue, &head, &written) != BLK_USED)
		return -1;
	return written;
}

/* Whether none comes. */
static bool quiet(unsigned int queue)
{
	uint32_t written;
	uint16_t head;

	wait_ticks(TICKS_MOMENT);
	return !driver_take_used(&net.queues[queue], &head, &written);
}

static void post(uint64_t address, uint32_t bytes)
{
	const struct driver_buffer buffer = { IOVA(address), bytes, true };

	submit(RECEIVE, &buffer, 1);
}

static void post_buffer(unsigned int n, uint32_t bytes)
{
	memset(BUFFER(n), UNTOUCHED, bytes);
	post((uintptr_t)BUFFER(n), bytes);
}

static void fill(uint32_t bytes, unsigned int seed)
{
	for (uint32_t i = 0; i < bytes; i++)
		SENT[i] = (uint8_t)(seed + i * 7 + i / 251);
}

/* Sends @bytes of SENT behind @header. Whether that completes, with length 0. */
static bool send(const struct virtio_net_hdr_v1 *header, uint32_t bytes)
{
	const struct driver_buffer buffers[] = {
		{ IOVA((uintptr_t)HEADERS), HEADER, false },
		{ IOVA((uintptr_t)SENT), bytes, false },
	};

	memset(HEADERS, 0, HEADER);
	if (header)
		memcpy(HEADERS, header, sizeof(*header));
	submit(TRANSMIT, buffers, 2);
	return used(TRANSMIT) == 0;
}

/* One frame there and back, into one buffer. */
static bool echoes(uint32_t bytes, unsigned int seed)
{
	fill(bytes, seed);
	post_buffer(0, FRAME_MAX + HEADER);
	return send(NULL, bytes) && used(RECEIVE) == bytes + HEADER &&
	       memcmp(BUFFER(0) + HEADER, SENT, bytes) == 0;
}

static bool open_device(uint64_t features)
{
	return blk_open(&net, features, 3);
}

static bool recovers(void)
{
	return open_device(BLK_ALL & ~BLK_EVENT_IDX) && echoes(100, 9);
}

static void frames(void)
{
	static const uint32_t sizes[] = { 14, 60, 1514, 9000, 60000, 65535 };
	struct virtio_net_hdr_v1 *header = (void *)BUFFER(0);

	for (unsigned int i = 0; i < ARRAY_SIZE(sizes); i++)
		tap_case(echoes(sizes[i], i), "a frame comes back",
			 i ? "larger" : "the shortest");
	/* The same, over several buffers. */
	fill(9000, 3);
	for (unsigned int i = 0; i < 6; i++)
		post_buffer(i, 2000);
	tap(send(NULL, 9000), "a frame for several buffers is sent");
	for (unsigned int i = 0, at = 0; i < 5; i++) {
		uint32_t head = i ? 0 : HEADER;
		uint32_t bytes = MIN(2000 - head, 9000 - at);

		tap(used(RECEIVE) == head + bytes &&
			    memcmp(BUFFER(i) + head, SENT + at, bytes) == 0,
		    "its part comes back");
		at += bytes;
	}
	tap_equal(header->num_buffers, 5, "num_buffers", NULL);
	tap(is_filled(BUFFER(5), UNTOUCHED, 2000),
	    "bug13 a buffer that was not needed is untouched");
}

/* None of these was negotiated: passt has no offloads. */
static void headers(void)
{
	static const struct virtio_net_hdr_v1 bad[] = {
		{ .flags = VIRTIO_NET_HDR_F_NEEDS_CSUM,
		  .csum_start = 34,
		  .csum_offset = 16 },
		{ .flags = VIRTIO_NET_HDR_F_NEEDS_CSUM,
		  .csum_start = 0xffff,
		  .csum_offset = 0xffff },
		{ .gso_type = VIRTIO_NET_HDR_GSO_TCPV4, .gso_size = 1 },
		{ .flags = VIRTIO_NET_HDR_F_NEEDS_CSUM,
		  .gso_type = VIRTIO_NET_HDR_GSO_TCPV6,
		  .gso_size = 0xffff,
		  .hdr_len = 0xffff,
		  .csum_start = 0xffff },
		{ .gso_type = 0xff },
	};

	recovers();
	post_buffer(0, 2000);
	for (unsigned int i = 0; i < ARRAY_SIZE(bad); i++)
		tap(send(&bad[i], 100), "bug14 a bad header completes");
	tap(quiet(RECEIVE), "bug14 and nothing left");
	tap(send(NULL, 100) && used(RECEIVE) == 100 + HEADER,
	    "bug14 a good one still does");
}

static const struct {
	struct driver_buffer buffers[2];
	const char *name;
} chains[] = {
	{ { { IOVA(RAM_BYTES), HEADER, false },
	    { IOVA(GUEST_SCRATCH), 100, false } },
	  "a header behind RAM" },
	{ { { IOVA(GUEST_SCRATCH), HEADER, false },
	    { IOVA(RAM_BYTES - 50), 100, false } },
	  "a frame over the end of RAM" },
	{ { { IOVA(GUEST_SCRATCH), HEADER, false },
	    { IOVA(UINT64_MAX - 50), 100, false } },
	  "a frame past 2^64" },
	{ { { IOVA(GUEST_SCRATCH), HEADER, false },
	    { IOVA(LAYOUT_MMIO_DEVICES), 100, false } },
	  "a frame of the device's own registers" },
	{ { { IOVA(GUEST_SCRATCH), HEADER, false },
	    { IOVA(LAYOUT_LOCAL_APIC), 100, false } },
	  "a frame of the local APIC" },
	{ { { IOVA(GUEST_SCRATCH), HEADER, false },
	    { IOVA(GUEST_SCRATCH), 13, false } },
	  "a runt" },
	{ { { IOVA(GUEST_SCRATCH), HEADER, false },
	    { IOVA(GUEST_SCRATCH), 65536, false } },
	  "a frame that is too long" },
	{ { { IOVA(GUEST_SCRATCH), 5, false },
	    { IOVA(GUEST_SCRATCH), 6, false } },
	  "half a header" },
	{ { { IOVA(GUEST_SCRATCH), HEADER, true },
	    { IOVA(GUEST_SCRATCH), 100, true } },
	  "a frame to be written" },
};

static void transmit_chains(void)
{
	recovers();
	memset(HEADERS, 0, HEADER);
	post_buffer(0, 2000);
	for (unsigned int i = 0; i < ARRAY_SIZE(chains); i++) {
		submit(TRANSMIT, chains[i].buffers, 2);
		tap_case(used(TRANSMIT) == 0, "bug07 completes",
			 chains[i].name);
	}
	tap(quiet(RECEIVE), "bug07 and nothing left");
	tap(send(NULL, 100) && used(RECEIVE) == 100 + HEADER,
	    "bug07 a good frame still does");
}

static const struct {
	uint64_t address;
	uint32_t bytes;
	const char *name;
} buffers[] = {
	{ RAM_BYTES, 2000, "behind RAM" },
	{ RAM_BYTES - 50, 2000, "over the end of RAM" },
	{ UINT64_MAX - 50, 2000, "past 2^64" },
	{ LAYOUT_MMIO_DEVICES, 2000, "the device's own registers" },
	{ LAYOUT_LOCAL_APIC, 2000, "the local APIC" },
	{ GUEST_SCRATCH, 11, "shorter than a header" },
	{ GUEST_SCRATCH, 0, "of no bytes" },
};

static void receive_buffers(void)
{
	recovers();
	for (unsigned int i = 0; i < ARRAY_SIZE(buffers); i++) {
		post(buffers[i].address, buffers[i].bytes);
		send(NULL, 100);
		tap_case(used(RECEIVE) == 0, "bug08 comes back empty",
			 buffers[i].name);
		tap(blk_read(&net, VIRTIO_MMIO_STATUS) == BLK_STATUS_LIVE &&
			    echoes(200, i),
		    "bug16 the device lives, its registers untouched");
	}
}

/* More frames than there are buffers, and then buffers. */
static void flood(void)
{
	unsigned int sent = guest_rounds(60), came = 0;
	bool good = true;

	recovers();
	fill(1000, 5);
	for (unsigned int i = 0; i < sent; i++)
		good &= send(NULL, 1000);
	tap(good, "bug15 frames go while nobody takes what comes");
	tap(quiet(RECEIVE), "bug15 no buffer, no frame");
	for (; came < sent; came++) {
		post_buffer(0, 2000);
		if (used(RECEIVE) != 1000 + HEADER)
			break;
	}
	tap_equal(came, sent, "bug15 all of them come in the end", NULL);
	post_buffer(0, 2000);
	tap(quiet(RECEIVE), "bug15 and no more");
}

static uint8_t command(uint8_t class, uint8_t number, uint8_t data)
{
	const struct driver_buffer request[] = {
		{ IOVA((uintptr_t)HEADERS), 3, false },
		{ IOVA((uintptr_t)HEADERS + 64), 1, true },
	};

	HEADERS[0] = class;
	HEADERS[1] = number;
	HEADERS[2] = data;
	HEADERS[64] = UNTOUCHED;
	submit(CONTROL, request, 2);
	return used(CONTROL) == 1 ? HEADERS[64] : UNTOUCHED;
}

static void control(void)
{
	const struct driver_buffer mute = { IOVA((uintptr_t)HEADERS), 3,
					    false };

	recovers();
	tap_equal(command(VIRTIO_NET_CTRL_RX, 0, 1), VIRTIO_NET_OK,
		  "a command that is known", NULL);
	tap_equal(command(99, 99, 99), VIRTIO_NET_ERR, "one that is not", NULL);
	tap_equal(command(VIRTIO_NET_CTRL_MQ, 0, 1), VIRTIO_NET_ERR,
		  "one that was not negotiated", NULL);
	submit(CONTROL, &mute, 1);
	tap(used(CONTROL) == 0, "bug08 one without room for an answer ends");
}

static void resets(void)
{
	unsigned int rounds = guest_rounds(20);
	bool good = true;

	for (unsigned int i = 0; i < rounds && good; i++) {
		recovers();
		fill(1000, i);
		for (unsigned int n = 0; n < 4; n++) {
			post_buffer(n, 2000);
			send(NULL, 1000);
		}
		blk_write(&net, VIRTIO_MMIO_STATUS, 0);
		good &= blk_read(&net, VIRTIO_MMIO_STATUS) == 0;
		for (unsigned int n = 0; n < 4; n++)
			memset(BUFFER(n), UNTOUCHED, 2000);
		wait_ticks(TICKS_MOMENT);
		for (unsigned int n = 0; n < 4; n++)
			good &= is_filled(BUFFER(n), UNTOUCHED, 2000);
		/* What had not come belongs to nobody: it is thrown away. */
		open_device(BLK_ALL & ~BLK_EVENT_IDX);
		for (unsigned int n = 0; n < 8; n++)
			post_buffer(n, 2000);
		wait_ticks(TICKS_MOMENT);
	}
	tap(good, "bug12 a reset in the midst of traffic, and nothing after");
}

void guest_main(void)
{
	blk_init(&net, 0);
	tap(open_device(BLK_ALL), "the device opens");
	tap_equal(blk_read(&net, VIRTIO_MMIO_DEVICE_ID), 1, "its type", NULL);
	tap_equal(read8(net.window + VIRTIO_MMIO_CONFIG) & 3, 2,
		  "its address is locally administered", NULL);
	tap_equal(read16(net.window + VIRTIO_MMIO_CONFIG + 6),
		  VIRTIO_NET_S_LINK_UP, "the link is up", NULL);
	frames();
	tap(open_device(BLK_ALL & ~BLK_EVENT_IDX) && echoes(100, 1),
	    "without event indices");
	tap(open_device(BLK_VERSION_1) && echoes(100, 1),
	    "without any feature");
	headers();
	transmit_chains();
	receive_buffers();
	flood();
	control();
	resets();
	tap_end();
	power_off();
}
