/* SPDX-License-Identifier: Apache-2.0 */
/* Transmit: what leaves, what does not, and a backend that is slow. */
#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "tests/unit/devices/net_rig.h"
#include "virtio/mmio.h"

#define TX NET_RIG_TX(0)

static const struct virtio_net_hdr_v1 plain;

static uint64_t errors(struct net_rig *rig)
{
	return virtio_net_count(&rig->net).errors;
}

/* Takes a frame from the host's end, @bytes of @seed. */
static void expect_frame(struct net_rig *rig, uint32_t bytes, unsigned int seed)
{
	static uint8_t frame[NET_FRAME_MAX];
	struct virtio_net_hdr_v1 header;
	ssize_t got = -1;
	unsigned int turn;

	for (turn = 0; turn < 20000 && got < 0; turn++) {
		got = net_rig_take(rig, 0, &header, frame, sizeof(frame));
		if (got < 0)
			usleep(200);
	}
	cr_assert_eq(got, (ssize_t)bytes, "%zd bytes", got);
	cr_expect(net_rig_holds(frame, bytes, seed, 0));
}

static void expect_no_frame(struct net_rig *rig)
{
	struct virtio_net_hdr_v1 header;
	uint8_t frame[4096];

	cr_expect_lt(net_rig_take(rig, 0, &header, frame, sizeof(frame)), 0,
		     "something left");
}

Test(virtio_net_transmit, frames_of_any_size_and_layout_leave_whole)
{
	static const uint32_t sizes[] = { 14, 60, 1514, 9014, 65549, 65557 };
	struct net_rig rig = { .features = NET_RIG_OFFLOADS };
	struct driver_buffer buffers[31];
	uint32_t written;
	uint16_t head;
	unsigned int i, j, pieces;

	net_rig_start(&rig);
	memset(net_rig_host(&rig, NET_RIG_SLOT(1)), 0, 12);
	for (i = 0; i < ARRAY_SIZE(sizes); i++) {
		uint32_t at = 0, left = sizes[i];

		net_rig_fill(net_rig_host(&rig, NET_RIG_SLOT(0)), left, i);
		net_rig_send(&rig, 0, &plain, left);
		expect_frame(&rig, left, i);
		/* The header in three, the frame in up to 28 pieces. */
		for (j = 0; j < 3; j++)
			buffers[j] = (struct driver_buffer){
				IOVA(NET_RIG_SLOT(1) + 4 * j), 4, false
			};
		pieces = MIN(28U, left);
		for (j = 0; j < pieces; j++, at += left / pieces)
			buffers[3 + j] = (struct driver_buffer){
				IOVA(NET_RIG_SLOT(0) + at),
				j + 1 < pieces ? left / pieces : left - at,
				false
			};
		head = net_rig_submit(&rig, TX, buffers, 3 + pieces);
		cr_assert(net_rig_wait(&rig, TX, &head, &written));
		expect_frame(&rig, left, i);
	}
	cr_expect_eq(errors(&rig), 0);
	net_rig_destroy(&rig);
}

Test(virtio_net_transmit, header_reaches_the_host_as_it_was_judged)
{
	const struct virtio_net_hdr_v1 header = {
		.flags = 0xff,
		.gso_type = VIRTIO_NET_HDR_GSO_TCPV4,
		.hdr_len = 54,
		.gso_size = 1448,
		.csum_start = 34,
		.csum_offset = 16,
		.num_buffers = 0xffff,
	};
	struct net_rig rig = { .features = NET_RIG_OFFLOADS };
	struct virtio_net_hdr_v1 expected = header, taken;
	uint8_t frame[4096];

	net_rig_start(&rig);
	net_rig_send(&rig, 0, &header, 4000);
	cr_assert_eq(net_rig_take(&rig, 0, &taken, frame, sizeof(frame)), 4000);
	expected.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM;
	expected.num_buffers = 0;
	cr_expect_eq(memcmp(&taken, &expected, sizeof(taken)), 0);
	net_rig_destroy(&rig);
}

Test(virtio_net_transmit, bug14_hostile_headers_complete_and_nothing_leaves)
{
	static const struct virtio_net_hdr_v1 headers[] = {
		{ .flags = 1, .csum_start = 59 },
		{ .flags = 1, .csum_start = 0xffff, .csum_offset = 0xffff },
		{ .flags = 1, .csum_start = 0 },
		{ .gso_type = 1, .gso_size = 1000 },
		{ .flags = 1,
		  .gso_type = 1,
		  .csum_start = 34,
		  .csum_offset = 16 },
		{ .flags = 1,
		  .gso_type = 2,
		  .gso_size = 1,
		  .csum_start = 34,
		  .csum_offset = 16 },
		{ .flags = 1,
		  .gso_type = 0xff,
		  .gso_size = 1,
		  .csum_start = 34,
		  .csum_offset = 16 },
		{ .flags = 1,
		  .gso_type = 1,
		  .gso_size = 1,
		  .hdr_len = 0xffff,
		  .csum_start = 34,
		  .csum_offset = 16 },
	};
	struct net_rig rig = { .features = NET_RIG_OFFLOADS };
	unsigned int i;

	net_rig_start(&rig);
	for (i = 0; i < ARRAY_SIZE(headers); i++) {
		net_rig_send(&rig, 0, &headers[i], 60);
		expect_no_frame(&rig);
		cr_expect_eq(errors(&rig), i + 1);
	}
	cr_expect(net_rig_is_alive(&rig));
	net_rig_destroy(&rig);
}

static const struct {
	const char *what;
	unsigned int count;
	struct driver_buffer buffers[3];
} bad_cases[] = {
	{ "header outside RAM",
	  2,
	  { { IOVA(NET_RIG_RAM), 12, false },
	    { IOVA(NET_RIG_SLOT(0)), 60, false } } },
	{ "frame outside RAM",
	  2,
	  { { IOVA(NET_RIG_SLOT(1)), 12, false },
	    { IOVA(NET_RIG_RAM), 60, false } } },
	{ "its end outside RAM",
	  2,
	  { { IOVA(NET_RIG_SLOT(1)), 12, false },
	    { IOVA(NET_RIG_RAM - 59), 60, false } } },
	{ "past 2^64",
	  2,
	  { { IOVA(NET_RIG_SLOT(1)), 12, false },
	    { IOVA(-UINT64_C(8)), 60, false } } },
	{ "short header", 1, { { IOVA(NET_RIG_SLOT(1)), 11, false } } },
	{ "header alone", 1, { { IOVA(NET_RIG_SLOT(1)), 12, false } } },
	{ "runt", 1, { { IOVA(NET_RIG_SLOT(1)), 25, false } } },
	{ "nothing", 1, { { IOVA(NET_RIG_SLOT(1)), 0, false } } },
	{ "for writing", 1, { { IOVA(NET_RIG_SLOT(1)), 100, true } } },
	{ "partly for writing",
	  2,
	  { { IOVA(NET_RIG_SLOT(1)), 100, false },
	    { IOVA(NET_RIG_SLOT(0)), 60, true } } },
	{ "too long",
	  2,
	  { { IOVA(NET_RIG_SLOT(1)), 12, false },
	    { IOVA(NET_RIG_SLOT(0)), NET_FRAME_MAX + 1, false } } },
	{ "4 GiB - 1",
	  2,
	  { { IOVA(NET_RIG_SLOT(1)), 12, false },
	    { IOVA(0), UINT32_MAX - 12, false } } },
};

Test(virtio_net_transmit, bug07_bug08_bad_chains_complete_and_nothing_leaves)
{
	struct net_rig rig = { 0 };
	uint32_t written;
	uint16_t head;
	unsigned int i;

	net_rig_start(&rig);
	memset(net_rig_host(&rig, NET_RIG_SLOT(1)), 0, 100);
	for (i = 0; i < ARRAY_SIZE(bad_cases); i++) {
		net_rig_submit(&rig, TX, bad_cases[i].buffers,
			       bad_cases[i].count);
		cr_assert(net_rig_wait(&rig, TX, &head, &written), "%s",
			  bad_cases[i].what);
		cr_expect_eq(written, 0);
		expect_no_frame(&rig);
		cr_expect_eq(errors(&rig), i + 1, "%s", bad_cases[i].what);
	}
	cr_expect(net_rig_is_alive(&rig));
	net_rig_destroy(&rig);
}

Test(virtio_net_transmit, bug08_table_that_cannot_be_read_costs_that_frame)
{
	const struct driver_buffer buffer = { IOVA(NET_RIG_SLOT(1)), 72,
					      false };
	struct net_rig rig = { 0 };
	uint32_t written;
	uint16_t head;

	net_rig_start(&rig);
	rig.drivers[TX].indirect_address = IOVA(NET_RIG_RAM);
	cr_assert_geq(driver_add_indirect(&rig.drivers[TX], &buffer, 1), 0);
	driver_publish(&rig.drivers[TX]);
	net_rig_write(&rig, VIRTIO_MMIO_QUEUE_NOTIFY, TX);
	cr_assert(net_rig_wait(&rig, TX, &head, &written));
	cr_expect_eq(errors(&rig), 1);
	expect_no_frame(&rig);
	cr_expect(net_rig_is_alive(&rig));
	net_rig_destroy(&rig);
}

Test(virtio_net_transmit, frames_that_the_host_refuses_are_drops)
{
	struct net_rig rig = { 0 };

	net_rig_start(&rig);
	__atomic_store_n(&rig.fake.refusal, EINVAL, __ATOMIC_SEQ_CST);
	net_rig_send(&rig, 0, &plain, 60);
	net_rig_send(&rig, 0, &plain, 60);
	cr_expect_eq(errors(&rig), 2);
	cr_expect_eq(net_rig_config(&rig).status, VIRTIO_NET_S_LINK_UP);
	__atomic_store_n(&rig.fake.refusal, 0, __ATOMIC_SEQ_CST);
	cr_expect(net_rig_is_alive(&rig));
	net_rig_destroy(&rig);
}

/* Fills the backend: more frames than its buffer takes. Returns how many. */
static unsigned int fill(struct net_rig *rig)
{
	const struct driver_buffer buffers[] = {
		{ IOVA(NET_RIG_SLOT(1)), 12, false },
		{ IOVA(NET_RIG_SLOT(0)), 60000, false },
	};
	unsigned int i;

	memset(net_rig_host(rig, NET_RIG_SLOT(1)), 0, 12);
	net_rig_fill(net_rig_host(rig, NET_RIG_SLOT(0)), 60000, 5);
	for (i = 0; i < 30; i++)
		net_rig_submit(rig, TX, buffers, 2);
	return i;
}

Test(virtio_net_transmit, backend_that_is_full_holds_nothing_in_flight)
{
	struct net_rig rig = { 0 };
	unsigned int sent, i, done = 0;
	uint32_t written;
	uint16_t head;

	net_rig_start(&rig);
	sent = fill(&rig);
	usleep(20000);
	while (driver_take_used(&rig.drivers[TX], &head, &written))
		done++;
	cr_expect_lt(done, sent, "it is not full");
	cr_expect(net_rig_eventually(net_rig_nothing_in_flight, &rig));
	cr_expect(net_rig_is_quiet(&rig, TX));
	for (i = 0; i < sent; i++)
		expect_frame(&rig, 60000, 5);
	for (; done < sent; done++)
		cr_assert(net_rig_wait(&rig, TX, &head, &written));
	cr_expect_eq(errors(&rig), 0);
	expect_no_frame(&rig);
	cr_expect(net_rig_is_alive(&rig));
	net_rig_destroy(&rig);
}

Test(virtio_net_transmit, bug12_reset_does_not_wait_for_a_backend_that_is_full)
{
	struct virtio_net_hdr_v1 header;
	static uint8_t frame[NET_FRAME_MAX];
	struct net_rig rig = { 0 };

	net_rig_start(&rig);
	fill(&rig);
	usleep(20000);
	net_rig_write(&rig, VIRTIO_MMIO_STATUS, 0);
	cr_expect_eq(net_rig_read(&rig, VIRTIO_MMIO_STATUS), 0);
	while (net_rig_take(&rig, 0, &header, frame, sizeof(frame)) >= 0)
		;
	usleep(5000);
	expect_no_frame(&rig);
	net_rig_negotiate(&rig);
	cr_expect(net_rig_is_alive(&rig));
	net_rig_destroy(&rig);
}
