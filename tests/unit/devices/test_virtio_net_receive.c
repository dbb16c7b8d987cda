/* SPDX-License-Identifier: Apache-2.0 */
/* Receive: how frames meet buffers, and what happens where they do not. */
#include <criterion/criterion.h>
#include <endian.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "tests/unit/devices/net_rig.h"
#include "virtio/mmio.h"

#define RX NET_RIG_RX(0)
#define NO_MERGE NET_FEATURE(MRG_RXBUF)

static uint16_t frame_buffers(struct net_rig *rig, unsigned int slot)
{
	const struct virtio_net_hdr_v1 *header =
		net_rig_host(rig, NET_RIG_SLOT(slot));

	return le16toh(header->num_buffers);
}

static uint64_t errors(struct net_rig *rig)
{
	return virtio_net_count(&rig->net).errors;
}

/* Posts @count buffers of @len bytes in slots 4, 5, ...; one notification. */
static void post_many(struct net_rig *rig, unsigned int count, uint32_t len)
{
	unsigned int i;

	for (i = 0; i < count; i++) {
		const struct driver_buffer buffer = { IOVA(NET_RIG_SLOT(4 + i)),
						      len, true };

		cr_assert_geq(driver_add(&rig->drivers[RX], &buffer, 1), 0);
	}
	if (driver_publish(&rig->drivers[RX]))
		net_rig_write(rig, VIRTIO_MMIO_QUEUE_NOTIFY, RX);
}

/* Waits for a used element of @expected bytes. */
static void expect_used(struct net_rig *rig, uint32_t expected)
{
	uint32_t written;
	uint16_t head;

	cr_assert(net_rig_wait(rig, RX, &head, &written), "nothing came");
	cr_assert_eq(written, expected, "%u bytes, not %u", written, expected);
}

/*
 * Frames of these sizes, in turn, into buffers of this size: as many buffers as
 * it takes, all their bytes in order, whatever the size before it was.
 */
static void merge_all(uint32_t len, unsigned int buffers)
{
	static const uint32_t sizes[] = { 60, 1514,  65549, 14,	  9000, 60,
					  60, 20000, 3000,  1500, 4084, 65557 };
	struct net_rig rig = { .features = NET_RIG_OFFLOADS };
	unsigned int frame, i, count;

	net_rig_start(&rig);
	for (frame = 0; frame < ARRAY_SIZE(sizes); frame++) {
		uint32_t left = sizes[frame] + 12, piece, at = 0;

		post_many(&rig, buffers, len);
		net_rig_give(&rig, 0, NULL, sizes[frame], frame);
		count = (left - 1) / len + 1;
		for (i = 0; i < count; i++, left -= piece) {
			const uint8_t *slot =
				net_rig_host(&rig, NET_RIG_SLOT(4 + i));
			uint32_t header = i == 0 ? 12 : 0;

			piece = left < len ? left : len;
			expect_used(&rig, piece);
			cr_expect(net_rig_holds(slot + header, piece - header,
						frame, at),
				  "frame of %u, buffer %u", sizes[frame], i);
			at += piece - header;
		}
		cr_expect_eq(frame_buffers(&rig, 4), count);
		/* The driver starts over with empty rings and slots. */
		net_rig_write(&rig, VIRTIO_MMIO_STATUS, 0);
		net_rig_negotiate(&rig);
	}
	cr_expect_eq(errors(&rig), 0);
	net_rig_destroy(&rig);
}

Test(virtio_net_receive, frames_are_merged_over_as_many_buffers_as_they_take)
{
	merge_all(1526, 60);
	merge_all(4096, 60);
	merge_all(128 * KIB, 4);
}

Test(virtio_net_receive, sizes_change_within_a_burst)
{
	static const uint32_t sizes[] = { 60, 20000, 60, 60, 9000, 30000, 14 };
	struct net_rig rig = { .features = NET_RIG_OFFLOADS };
	unsigned int frame, slot = 4, round;

	net_rig_start(&rig);
	for (round = 0; round < 5; round++) {
		for (frame = 0; frame < ARRAY_SIZE(sizes); frame++)
			net_rig_give(&rig, 0, NULL, sizes[frame], frame);
		post_many(&rig, 40, 4096);
		for (frame = 0, slot = 4; frame < ARRAY_SIZE(sizes); frame++) {
			uint32_t left = sizes[frame] + 12, first = slot;

			for (; left > 0; slot++) {
				expect_used(&rig, MIN(left, 4096U));
				left -= MIN(left, 4096U);
			}
			cr_expect_eq(frame_buffers(&rig, first), slot - first);
			cr_expect(net_rig_holds(
				(uint8_t *)net_rig_host(&rig,
							NET_RIG_SLOT(first)) +
					12,
				MIN(sizes[frame], 4084U), frame, 0));
		}
		cr_expect(net_rig_eventually(net_rig_nothing_in_flight, &rig));
		net_rig_write(&rig, VIRTIO_MMIO_STATUS, 0);
		net_rig_negotiate(&rig);
	}
	cr_expect_eq(errors(&rig), 0);
	net_rig_destroy(&rig);
}

Test(virtio_net_receive, without_merging_a_frame_has_one_buffer)
{
	struct net_rig rig = { .refused_features = NO_MERGE };

	net_rig_start(&rig);
	post_many(&rig, 3, 66000);
	net_rig_give(&rig, 0, NULL, 65557, 1);
	expect_used(&rig, 65557 + 12);
	cr_expect_eq(frame_buffers(&rig, 4), 1);
	net_rig_give(&rig, 0, NULL, 60, 1);
	expect_used(&rig, 72);
	net_rig_destroy(&rig);
}

Test(virtio_net_receive, buffers_are_never_in_flight_while_nothing_comes)
{
	struct net_rig rig = { 0 };

	net_rig_start(&rig);
	post_many(&rig, 20, 4096);
	usleep(20000);
	cr_expect(net_rig_nothing_in_flight(&rig));
	net_rig_give(&rig, 0, NULL, 20000, 1);
	expect_used(&rig, 4096);
	cr_expect(net_rig_eventually(net_rig_nothing_in_flight, &rig));
	/* And the wait costs no processor time. */
	unsigned int before = rig.fake.receives;
	usleep(20000);
	cr_expect_eq(rig.fake.receives, before);
	net_rig_destroy(&rig);
}

Test(virtio_net_receive, bug15_flood_without_buffers_waits_and_resumes)
{
	struct net_rig rig = { 0 };
	unsigned int before, i, round;

	net_rig_start(&rig);
	for (round = 0; round < 20; round++) {
		for (i = 0; i < 30; i++)
			net_rig_give(&rig, 0, NULL, 1000, i);
		if (round == 0) {
			/* Left in the backend, and nobody spins. */
			usleep(20000);
			before = rig.fake.receives;
			usleep(50000);
			cr_expect_eq(rig.fake.receives, before);
			cr_expect(net_rig_is_quiet(&rig, RX));
		}
		/* Some, others, and the rest. */
		post_many(&rig, 1, 2048);
		expect_used(&rig, 1012);
		post_many(&rig, 12, 2048);
		for (i = 1; i < 13; i++)
			expect_used(&rig, 1012);
		for (i = 13; i < 30; i++) {
			net_rig_post(&rig, 0, NET_RIG_SLOT(4), 2048);
			expect_used(&rig, 1012);
			cr_expect(net_rig_holds(
				(uint8_t *)net_rig_host(&rig, NET_RIG_SLOT(4)) +
					12,
				1000, i, 0));
		}
	}
	cr_expect_eq(errors(&rig), 0, "nothing was lost");
	cr_expect_eq(virtio_net_count(&rig.net).bytes_read, 20 * 30 * 1000);
	net_rig_destroy(&rig);
}

/* The same with a driver that is asked to kick by a flag. */
Test(virtio_net_receive, bug15_flood_resumes_without_event_indices)
{
	struct net_rig rig = { .refused_features = VIRTIO_FEATURE_EVENT_IDX };
	unsigned int i;

	net_rig_start(&rig);
	for (i = 0; i < 200; i++) {
		net_rig_give(&rig, 0, NULL, 500, i);
		if (i % 3 == 0)
			usleep(300);
		net_rig_post(&rig, 0, NET_RIG_SLOT(4), 2048);
		expect_used(&rig, 512);
	}
	net_rig_destroy(&rig);
}

Test(virtio_net_receive, bug15_frame_waits_for_a_driver_that_has_more_buffers)
{
	struct net_rig rig = { 0 };
	unsigned int i, before;

	net_rig_start(&rig);
	/* It has shown that it has 50. */
	post_many(&rig, 50, 1526);
	for (i = 0; i < 45; i++)
		net_rig_give(&rig, 0, NULL, 1000, i);
	for (i = 0; i < 45; i++)
		expect_used(&rig, 1012);
	net_rig_give(&rig, 0, NULL, 30000, 7);
	cr_expect(net_rig_is_quiet(&rig, RX));
	cr_expect(net_rig_nothing_in_flight(&rig));
	before = rig.fake.receives;
	post_many(&rig, 4, 1526);
	cr_expect(net_rig_is_quiet(&rig, RX));
	cr_expect_eq(rig.fake.receives, before, "the sender is throttled");
	post_many(&rig, 20, 1526);
	for (i = 0; i < 19; i++)
		expect_used(&rig, 1526);
	expect_used(&rig, 30012 - 19 * 1526);
	cr_expect_eq(errors(&rig), 0);
	cr_expect_eq(rig.net.queues[0].receiver.held, 0);
	net_rig_destroy(&rig);
}

Test(virtio_net_receive, bug15_frame_that_never_fits_is_dropped_in_one_go)
{
	struct net_rig rig = { 0 };
	unsigned int i;

	net_rig_start(&rig);
	post_many(&rig, 5, 1526);
	net_rig_give(&rig, 0, NULL, 30000, 7);
	for (i = 0; i < 5; i++)
		expect_used(&rig, 0);
	cr_expect_eq(errors(&rig), 1);
	post_many(&rig, 5, 1526);
	net_rig_give(&rig, 0, NULL, 1000, 7);
	expect_used(&rig, 1012);
	cr_expect_eq(errors(&rig), 1);
	net_rig_destroy(&rig);
}

/* Buffers that no frame fits into: dropped, and the next buffer is used. */
static const struct {
	uint64_t refused_features;
	uint32_t len;
	uint32_t frame;
} small_cases[] = {
	{ 0, 1, 60 },
	{ 0, 11, 60 },
	{ NO_MERGE, 1, 60 },
	{ NO_MERGE, 11, 60 },
	{ NO_MERGE, 12, 60 },
	{ NO_MERGE, 71, 60 },
	{ NO_MERGE, 1526, 9000 },
};

Test(virtio_net_receive, bug15_short_buffers_cost_a_frame_each)
{
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(small_cases); i++) {
		struct net_rig rig = {
			.refused_features = small_cases[i].refused_features,
		};

		net_rig_start(&rig);
		net_rig_post(&rig, 0, NET_RIG_SLOT(4), small_cases[i].len);
		net_rig_give(&rig, 0, NULL, small_cases[i].frame, 1);
		expect_used(&rig, 0);
		cr_expect_eq(errors(&rig), 1, "case %u", i);
		cr_expect(net_rig_is_alive(&rig), "case %u", i);
		net_rig_destroy(&rig);
	}
}

/* Buffers that are not RAM, or not for writing. */
static const struct {
	const char *what;
	unsigned int count;
	struct driver_buffer buffers[3];
	uint64_t faults;
} bad_cases[] = {
	{ "beyond RAM", 1, { { IOVA(NET_RIG_RAM), 2048, true } }, 1 },
	{ "over its end", 1, { { IOVA(NET_RIG_RAM - 20), 2048, true } }, 1 },
	{ "past 2^64", 1, { { IOVA(-UINT64_C(16)), 2048, true } }, 1 },
	{ "header here, frame not",
	  2,
	  { { IOVA(NET_RIG_SLOT(9)), 12, true },
	    { IOVA(NET_RIG_RAM), 2048, true } },
	  1 },
	{ "frame here, header not",
	  2,
	  { { IOVA(NET_RIG_RAM), 12, true },
	    { IOVA(NET_RIG_SLOT(9)), 2048, true } },
	  1 },
	{ "to be read", 1, { { IOVA(NET_RIG_SLOT(9)), 2048, false } }, 0 },
	{ "nothing", 1, { { IOVA(NET_RIG_SLOT(9)), 0, true } }, 0 },
};

Test(virtio_net_receive, bug07_bug08_bad_buffers_come_back_empty)
{
	unsigned int i, merge;

	for (i = 0; i < 2 * ARRAY_SIZE(bad_cases); i++) {
		struct net_rig rig = { 0 };

		merge = i % 2;
		rig.refused_features = merge ? 0 : NO_MERGE;
		net_rig_start(&rig);
		net_rig_submit(&rig, RX, bad_cases[i / 2].buffers,
			       bad_cases[i / 2].count);
		net_rig_give(&rig, 0, NULL, 60, 1);
		expect_used(&rig, 0);
		cr_expect_eq(errors(&rig), 1, "%s", bad_cases[i / 2].what);
		cr_expect_geq(rig.net.device.queues[RX].dma.counters.faults,
			      bad_cases[i / 2].faults, "%s",
			      bad_cases[i / 2].what);
		cr_expect(net_rig_is_alive(&rig), "%s", bad_cases[i / 2].what);
		net_rig_destroy(&rig);
	}
}

Test(virtio_net_receive, bug08_fault_in_a_later_buffer_gives_all_of_them_back)
{
	const struct driver_buffer good = { IOVA(NET_RIG_SLOT(9)), 1526, true };
	const struct driver_buffer bad = { IOVA(NET_RIG_RAM), 1526, true };
	struct net_rig rig = { 0 };
	struct driver *driver = &rig.drivers[RX];
	unsigned int round;

	net_rig_start(&rig);
	/* With and without knowing how many buffers a frame takes. */
	for (round = 0; round < 2; round++) {
		driver_add(driver, &good, 1);
		driver_add(driver, &good, 1);
		driver_add(driver, &bad, 1);
		driver_add(driver, &good, 1);
		if (driver_publish(driver))
			net_rig_write(&rig, VIRTIO_MMIO_QUEUE_NOTIFY, RX);
		net_rig_give(&rig, 0, NULL, 4000, 1);
		expect_used(&rig, 0);
		expect_used(&rig, 0);
		expect_used(&rig, 0);
		net_rig_give(&rig, 0, NULL, 1000, 1);
		expect_used(&rig, 1012);
		cr_expect_eq(errors(&rig), round + 1);
		post_many(&rig, 4, 1526);
		net_rig_give(&rig, 0, NULL, 4000, 1);
		expect_used(&rig, 1526);
		expect_used(&rig, 1526);
		expect_used(&rig, 4012 - 2 * 1526);
		net_rig_give(&rig, 0, NULL, 1000, 1);
		expect_used(&rig, 1012);
	}
	net_rig_destroy(&rig);
}

Test(virtio_net_receive, bug13_header_is_written_while_its_buffer_is_in_flight)
{
	const struct virtio_net_hdr_v1 given = {
		.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM,
		.gso_type = VIRTIO_NET_HDR_GSO_TCPV4,
		.hdr_len = 54,
		.gso_size = 1448,
		.csum_start = 34,
		.csum_offset = 16,
		.num_buffers = 0xffff,
	};
	struct net_rig rig = { .features = NET_RIG_OFFLOADS };
	struct virtio_net_hdr_v1 expected = given;

	net_rig_start(&rig);
	post_many(&rig, 4, 4096);
	net_rig_give(&rig, 0, &given, 9000, 3);
	expect_used(&rig, 4096);
	/* It is there as soon as the first buffer is. */
	expected.num_buffers = 3;
	cr_expect_eq(memcmp(net_rig_host(&rig, NET_RIG_SLOT(4)), &expected,
			    sizeof(expected)),
		     0);
	net_rig_destroy(&rig);
}

Test(virtio_net_receive, frames_that_the_guest_cannot_take_are_dropped)
{
	const struct virtio_net_hdr_v1 given = {
		.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM,
		.csum_start = 34,
		.csum_offset = 16,
	};
	const uint64_t none = 0;
	struct net_rig rig = { .features = NET_RIG_OFFLOADS };

	net_rig_start(&rig);
	cr_expect_eq(rig.fake.offloads, NET_GUEST_OFFLOADS);
	post_many(&rig, 4, 4096);
	net_rig_give(&rig, 0, &given, 100, 3);
	expect_used(&rig, 112);
	cr_expect_eq(net_rig_control(&rig, VIRTIO_NET_CTRL_GUEST_OFFLOADS, 0,
				     &none, 8),
		     VIRTIO_NET_OK);
	cr_expect_eq(rig.fake.offloads, 0);
	net_rig_give(&rig, 0, &given, 100, 3);
	net_rig_give(&rig, 0, NULL, 200, 3);
	expect_used(&rig, 212);
	cr_expect_eq(errors(&rig), 1);
	net_rig_destroy(&rig);
}

Test(virtio_net_receive, bursts_are_shown_in_batches)
{
	struct net_rig rig = { 0 };
	unsigned int i, interrupts;

	net_rig_start(&rig);
	for (i = 0; i < 60; i++)
		net_rig_give(&rig, 0, NULL, 100, i);
	driver_want_interrupt(&rig.drivers[RX], true);
	interrupts = rig.interrupts;
	post_many(&rig, 60, 1526);
	for (i = 0; i < 60; i++)
		expect_used(&rig, 112);
	cr_expect_leq(rig.interrupts - interrupts, 4);
	net_rig_destroy(&rig);
}
