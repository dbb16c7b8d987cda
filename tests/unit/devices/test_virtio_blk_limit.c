/* SPDX-License-Identifier: Apache-2.0 */
/* The block device with a rate limit, in real time. */
#include "devices/virtio_blk.h"

#include <criterion/criterion.h>
#include <pthread.h>

#include "memory/base.h"
#include "tests/unit/devices/blk_rig.h"
#include "virtio/mmio.h"

#define MILLISECOND (RATE_LIMIT_SECOND_NS / 1000)

/* Sooner than this is at once, on a machine that does other things too. */
#define AT_ONCE (2 * RATE_LIMIT_SECOND_NS)

/* A debt that no test waits for. */
#define CREEP ((struct rate_config){ .bandwidth = 1 })

/* Reads of @bytes, one after the other, and what they took, in ns. */
static uint64_t reads_time(struct rig *rig, unsigned int count, uint32_t bytes)
{
	uint64_t before = rate_limit_now_ns();
	unsigned int i;

	for (i = 0; i < count; i++)
		cr_assert_eq(
			rig_request(rig, VIRTIO_BLK_T_IN, 0, 0, bytes).status,
			VIRTIO_BLK_S_OK);
	return rate_limit_now_ns() - before;
}

/* Request @n of queue @queue: a read of 512 bytes, that nobody waits for. */
static void submit_read(struct rig *rig, unsigned int queue, unsigned int n)
{
	const struct driver_buffer buffers[] = {
		{ IOVA(RIG_HEADER(n)), 16, false },
		{ IOVA(RIG_PAYLOAD), 512, true },
		{ IOVA(RIG_STATUS(n)), 1, true },
	};

	rig_header(rig, n, VIRTIO_BLK_T_IN, 0);
	rig_submit(rig, queue, buffers, 3);
}

/* Has spent its tokens, and sleeps before the next request. */
static void exhaust(struct rig *rig)
{
	reads_time(rig, 1, 4096);
	submit_read(rig, 0, 1);
}

/* What is not done at all by then, never is. */
static void expect_waits(struct rig *rig)
{
	uint32_t written;
	uint16_t head;

	nanosleep(&(struct timespec){ .tv_nsec = 50 * MILLISECOND }, NULL);
	cr_expect_not(driver_take_used(&rig->drivers[0], &head, &written));
	cr_expect_eq(virtio_blk_count(&rig->blk).requests, 1);
}

Test(virtio_blk_limit, bandwidth_and_operations_are_kept)
{
	static const struct {
		struct rate_config rate;
		unsigned int free, count;
		uint32_t bytes;
	} cases[] = {
		/* Each: half a second's worth behind the burst. */
		{ { .bandwidth = 10 * MIB }, 16, 80, 64 * KIB },
		{ { .bandwidth = 10 * MIB, .burst = 4 * MIB },
		  64,
		  80,
		  64 * KIB },
		{ { .ops = 500 }, 50, 250, 512 },
	};
	uint64_t took;
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		struct rig rig = { .rate = cases[i].rate };

		rig_start(&rig);
		reads_time(&rig, cases[i].free, cases[i].bytes);
		took = reads_time(&rig, cases[i].count, cases[i].bytes);
		/* The last one is paid for by who comes next. */
		cr_expect_geq(took, 430 * MILLISECOND, "case %u: %llu", i,
			      (unsigned long long)took);
		cr_expect_leq(took, 3000 * MILLISECOND, "case %u: %llu", i,
			      (unsigned long long)took);
		rig_destroy(&rig);
	}
}

Test(virtio_blk_limit, all_queues_share_it)
{
	struct rig rig = { .queues = 2, .rate = { .ops = 100 } };
	uint64_t before;
	uint32_t written;
	uint16_t head;
	unsigned int i;

	rig_start(&rig);
	reads_time(&rig, 10, 512);
	before = rate_limit_now_ns();
	for (i = 0; i < 10; i++) {
		submit_read(&rig, 0, 2 * i);
		submit_read(&rig, 1, 2 * i + 1);
	}
	for (i = 0; i < 10; i++) {
		cr_assert(rig_wait(&rig, 0, &head, &written));
		cr_assert(rig_wait(&rig, 1, &head, &written));
	}
	cr_expect_geq(rate_limit_now_ns() - before, 150 * MILLISECOND);
	rig_destroy(&rig);
}

Test(virtio_blk_limit, zeroes_cost_their_bytes_and_a_bad_request_its_operation)
{
	struct virtio_blk_discard_write_zeroes *range;
	struct rig rig = { .rate = { .bandwidth = MIB, .burst = MIB } };

	rig_start(&rig);
	range = rig_host(&rig, RIG_PAYLOAD);
	*range =
		(struct virtio_blk_discard_write_zeroes){ .num_sectors = 2048 };
	cr_expect_eq(
		rig_request(&rig, VIRTIO_BLK_T_WRITE_ZEROES, 0, 16, 0).status,
		VIRTIO_BLK_S_OK);
	cr_expect_eq(reads_time(&rig, 1, 512 * KIB) / RATE_LIMIT_SECOND_NS, 0);
	cr_expect_geq(reads_time(&rig, 1, 512), 400 * MILLISECOND);
	rig_destroy(&rig);

	rig = (struct rig){ .rate = { .ops = 20 } };
	rig_start(&rig);
	rig_request(&rig, VIRTIO_BLK_T_IN, 4096, 0, 512);
	rig_request(&rig, 1000, 0, 0, 512);
	rig_request(&rig, VIRTIO_BLK_T_GET_ID, 0, 0, 20);
	/* Two were free. */
	cr_expect_geq(reads_time(&rig, 1, 512), 30 * MILLISECOND);
	rig_destroy(&rig);
}

Test(virtio_blk_limit,
     request_without_tokens_stays_in_the_ring_and_in_nobodys_way)
{
	struct rig rig = { .rate = CREEP }, other = { 0 };
	unsigned int turn;

	rig_start(&rig);
	rig_start(&other);
	for (turn = 0; turn < 3; turn++) {
		uint64_t before;

		exhaust(&rig);
		expect_waits(&rig);
		/* It was not taken, so that nothing waits for it. */
		cr_expect_eq(
			queue_read_counters(rig.blk.queues[0].queue).chains, 1);
		before = rate_limit_now_ns();
		cr_expect(rig_is_alive(&other));
		cr_expect_leq(reads_time(&other, 50, 4096), AT_ONCE);
		rig_write(&rig, VIRTIO_MMIO_QUEUE_SEL, 0);
		if (turn == 1)
			rig_write(&rig, VIRTIO_MMIO_QUEUE_READY, 0);
		else
			rig_write(&rig, VIRTIO_MMIO_STATUS, 0);
		cr_expect_leq(rate_limit_now_ns() - before, AT_ONCE);
		rig_destroy(&rig);
		rig = (struct rig){ .rate = CREEP };
		rig_start(&rig);
	}
	/* Nor does the end wait. */
	exhaust(&rig);
	rig_destroy(&rig);
	rig_destroy(&other);
}

Test(virtio_blk_limit, reset_does_not_pay_the_debt)
{
	struct rig rig = { .rate = CREEP };

	rig_start(&rig);
	exhaust(&rig);
	rig_write(&rig, VIRTIO_MMIO_STATUS, 0);
	rig_negotiate(&rig);
	submit_read(&rig, 0, 1);
	expect_waits(&rig);
	rig_destroy(&rig);
}

Test(virtio_blk_limit, kicks_while_it_waits_are_taken_and_change_nothing)
{
	struct rig rig = { .rate = CREEP };
	unsigned int i;

	rig_start(&rig);
	exhaust(&rig);
	for (i = 0; i < 100; i++)
		rig_write(&rig, VIRTIO_MMIO_QUEUE_NOTIFY, 0);
	expect_waits(&rig);
	rig_destroy(&rig);
}
