/* SPDX-License-Identifier: Apache-2.0 */
#include "memory/dma.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <signal.h>
#include <string.h>

#include "memory/base.h"
#include "memory/guest_memory.h"

/* Of the address sanitizer, where there is one. */
int __lsan_do_recoverable_leak_check(void) __attribute__((weak));

/*
 * RAM of every test: [0, 1 MiB) and [1 MiB, 2 MiB) touch for the guest but not
 * in the host; then a hole up to 4 GiB, and 1 MiB above it.
 */
#define BORDER MIB
#define HOLE (2 * MIB)
#define HIGH (4 * GIB)
#define HIGH_END (4 * GIB + MIB)

static struct guest_memory memory;
static struct dma dma;

static void setup(unsigned int heads)
{
	static const struct guest_memory_range ranges[] = {
		{ 0, BORDER },
		{ BORDER, HOLE - BORDER },
		{ HIGH, HIGH_END - HIGH },
	};

	cr_assert_eq(guest_memory_init(&memory, ranges, ARRAY_SIZE(ranges),
				       GUEST_MEMORY_SMALL_PAGES),
		     0);
	cr_assert_eq(dma_init(&dma, &memory, heads), 0);
}

static void teardown(void)
{
	dma_reset(&dma);
	dma_destroy(&dma);
	guest_memory_destroy(&memory);
}

static uint8_t *host_of(uint64_t gpa)
{
	return guest_memory_host(&memory, GPA(gpa), 1);
}

/* Publishes and commits @spans as the only request; the copy to translate. */
static const struct dma_span *publish_alone(const struct dma_span *spans,
					    unsigned int count)
{
	const struct dma_span *published = NULL;

	dma_reset(&dma);
	cr_assert_eq(dma_publish(&dma, 0, spans, count, &published), 0);
	dma_commit(&dma);
	return published;
}

static struct dma_span span_at(uint64_t first, uint32_t len)
{
	return (struct dma_span){ .first = IOVA(first),
				  .len = len,
				  .access = DMA_WRITE };
}

/* Publishes @count spans of 1 byte, each at address @tag. */
static int publish_tagged(uint16_t head, unsigned int count, uint64_t tag,
			  const struct dma_span **published)
{
	struct dma_span spans[DMA_HEADS_MAX];
	unsigned int i;

	for (i = 0; i < count; i++)
		spans[i] = span_at(tag, 1);
	return dma_publish(&dma, head, spans, count, published);
}

/* --- life --- */

Test(dma, init_and_destroy_leave_nothing)
{
	setup(1);
	dma_destroy(&dma);
	cr_assert_eq(dma_init(&dma, &memory, DMA_HEADS_MAX), 0);
	teardown();
	if (__lsan_do_recoverable_leak_check)
		cr_assert_eq(__lsan_do_recoverable_leak_check(), 0);
}

Test(dma, reset_forgets_requests_and_keeps_counters)
{
	struct dma_span span = span_at(HOLE, 1);
	struct dma_position position = { 0 };
	const struct dma_span *published;
	struct dma_fault fault;
	struct iovec iov;
	unsigned int head;

	setup(4);
	published = publish_alone(&span, 1);
	cr_assert_eq(dma_translate(&dma, published, 1, DMA_WRITE, 1, &position,
				   &iov, 1, &fault),
		     -EFAULT);
	for (head = 1; head < 4; head++)
		cr_assert_eq(
			publish_tagged((uint16_t)head, 4, head, &published), 0);
	dma_reset(&dma);
	cr_assert_eq(dma.requests.count, 0);
	cr_assert_eq(dma.counters.faults, 1);

	/* All heads and all room are there again. */
	for (head = 0; head < 4; head++)
		cr_assert_eq(
			publish_tagged((uint16_t)head, 4, head, &published), 0);
	teardown();
}

Test(dma, destroy_with_a_request_in_flight_is_our_bug, .signal = SIGABRT)
{
	const struct dma_span *published;

	setup(4);
	publish_tagged(0, 1, 0, &published);
	dma_destroy(&dma);
}

/* --- publishing --- */

Test(dma, publish_copies_the_spans)
{
	struct dma_span spans[2] = { span_at(0x1000, 1), span_at(0x2000, 2) };
	const struct dma_span *published;

	setup(4);
	cr_assert_eq(dma_publish(&dma, 3, spans, 2, &published), 0);
	memset(spans, 0xff, sizeof(spans));
	cr_assert_eq(published[0].first.v, 0x1000);
	cr_assert_eq(published[1].first.v, 0x2000);
	cr_assert_eq(published[1].len, 2);
	cr_assert_eq(published[1].access, DMA_WRITE);
	cr_assert_eq(dma.requests.count, 1);
	cr_assert_eq(dma.requests.slots[3].count, 2);
	cr_assert_eq(&dma.requests.arena[dma.requests.slots[3].first],
		     published);
	teardown();
}

Test(dma, a_head_in_flight_is_busy_until_it_is_cleared)
{
	const struct dma_span *published;
	const struct dma_span *again;

	setup(4);
	cr_assert_eq(publish_tagged(2, 1, 7, &published), 0);
	cr_assert_eq(publish_tagged(2, 1, 8, &again), -EBUSY);
	cr_assert_eq(published->first.v, 7);
	cr_assert_eq(dma.requests.count, 1);
	cr_assert_eq(publish_tagged(3, 1, 8, &again), 0);
	dma_clear(&dma, 2);
	cr_assert_eq(publish_tagged(2, 1, 9, &published), 0);
	cr_assert_eq(dma.requests.count, 2);
	teardown();
}

Test(dma, a_request_without_spans_is_in_flight_too)
{
	const struct dma_span *published = NULL;

	setup(4);
	cr_assert_eq(dma_publish(&dma, 1, NULL, 0, &published), 0);
	cr_assert_not_null(published);
	cr_assert_eq(dma_publish(&dma, 1, NULL, 0, &published), -EBUSY);
	dma_clear(&dma, 1);
	cr_assert_eq(dma.requests.count, 0);
	cr_assert_eq(dma_publish(&dma, 1, NULL, 0, &published), 0);
	teardown();
}

Test(dma, tickets_grow_with_each_publication_and_over_a_reset)
{
	const struct dma_span *published;
	uint64_t last;

	setup(4);
	cr_assert_eq(publish_tagged(0, 1, 0, &published), 0);
	last = dma.requests.slots[0].ticket;
	cr_assert_gt(last, 0);
	cr_assert_eq(publish_tagged(3, 1, 0, &published), 0);
	cr_assert_gt(dma.requests.slots[3].ticket, last);
	last = dma.requests.slots[3].ticket;
	dma_clear(&dma, 3);
	dma_reset(&dma);
	cr_assert_eq(publish_tagged(1, 1, 0, &published), 0);
	cr_assert_gt(dma.requests.slots[1].ticket, last);
	teardown();
}

Test(dma, a_full_arena_says_again_until_something_is_cleared)
{
	static const unsigned int sizes[] = { 1,  3,   16,	     17,
					      64, 100, DMA_HEADS_MAX };
	const struct dma_span *published;
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(sizes); i++) {
		unsigned int heads = sizes[i];
		unsigned int head;

		setup(heads);
		/* Four requests of full length fill it, or one span per head does not. */
		for (head = 0; head < MIN(heads, 4); head++)
			cr_assert_eq(publish_tagged((uint16_t)head, heads, head,
						    &published),
				     0, "%u heads", heads);
		if (heads > 4) {
			cr_assert_eq(publish_tagged(4, 1, 4, &published),
				     -EAGAIN);
			cr_assert_eq(dma.requests.count, 4);
			/* What was refused is not in flight. */
			dma_clear(&dma, 2);
			cr_assert_eq(publish_tagged(4, heads, 4, &published),
				     0);
			cr_assert_eq(publish_tagged(2, 1, 2, &published),
				     -EAGAIN);
		}
		teardown();
	}
}

Test(dma, a_request_alone_always_fits)
{
	const struct dma_span *published;
	unsigned int heads;
	unsigned int round;

	for (heads = 1; heads <= 70; heads++) {
		setup(heads);
		/* From wherever the search for room starts. */
		for (round = 0; round < 5 * heads; round++) {
			dma.requests.arena_next = round % (4 * heads + 1);
			cr_assert_eq(
				publish_tagged(0, heads, round, &published), 0);
			dma_clear(&dma, 0);
			cr_assert_eq(publish_tagged(0, 1 + round % heads, round,
						    &published),
				     0);
			dma_clear(&dma, 0);
		}
		teardown();
	}
}

Test(dma, a_fragmented_arena_says_again_and_serves_what_fits)
{
	const struct dma_span *published;
	unsigned int head;

	setup(64); /* an arena of 256 */
	for (head = 0; head < 64; head++)
		cr_assert_eq(
			publish_tagged((uint16_t)head, 4, head, &published), 0);
	/* Holes of 4 everywhere: 128 spans are free, and no run of 5. */
	for (head = 0; head < 64; head += 2)
		dma_clear(&dma, (uint16_t)head);
	cr_assert_eq(publish_tagged(0, 5, 0, &published), -EAGAIN);
	cr_assert_eq(publish_tagged(0, 4, 0, &published), 0);
	cr_assert_eq(publish_tagged(2, 3, 2, &published), 0);

	/* Two holes that touch, over the border of two bitmap words. */
	dma_clear(&dma, 15);
	cr_assert_eq(publish_tagged(15, 12, 99, &published), 0);
	cr_assert_eq(published - dma.requests.arena, 14 * 4);
	cr_assert_eq(publish_tagged(4, 5, 4, &published), -EAGAIN);
	for (head = 1; head < 64; head += 2)
		cr_assert_eq(dma.requests.arena[dma.requests.slots[head].first]
				     .first.v,
			     head == 15 ? 99 : head);
	teardown();
}

Test(dma, a_queue_with_one_request_at_a_time_uses_the_same_room)
{
	const struct dma_span *published;
	unsigned int i;

	setup(64);
	for (i = 0; i < 100; i++) {
		cr_assert_eq(publish_tagged((uint16_t)(i % 64), 3, i,
					    &published),
			     0);
		cr_assert_eq(published, dma.requests.arena);
		dma_clear(&dma, (uint16_t)(i % 64));
	}
	teardown();
}

/* A small generator: the same numbers in each run. */
static uint32_t random_next(uint64_t *state)
{
	*state = *state * UINT64_C(6364136223846793005) +
		 UINT64_C(1442695040888963407);
	return (uint32_t)(*state >> 33);
}

/* The longest free run of the arena, by looking at the slots alone. */
static unsigned int longest_free_run(unsigned int heads)
{
	bool taken[4 * DMA_HEADS_MAX] = { false };
	unsigned int longest = 0;
	unsigned int run = 0;
	unsigned int i;
	unsigned int j;

	for (i = 0; i < heads; i++) {
		for (j = 0; dma.requests.slots[i].ticket &&
			    j < dma.requests.slots[i].count;
		     j++) {
			cr_assert(!taken[dma.requests.slots[i].first + j],
				  "two requests share a span");
			taken[dma.requests.slots[i].first + j] = true;
		}
	}
	for (i = 0; i < 4 * heads; i++) {
		run = taken[i] ? 0 : run + 1;
		longest = MAX(longest, run);
	}
	return longest;
}

Test(dma, random_requests_find_room_exactly_when_there_is_a_run)
{
	static const unsigned int sizes[] = { 1, 2, 7, 16, 37, 128 };
	uint64_t state = 1;
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(sizes); i++) {
		const struct dma_span *copies[128] = { NULL };
		unsigned int counts[128] = { 0 };
		unsigned int heads = sizes[i];
		unsigned int refused = 0;
		unsigned int round;

		setup(heads);
		for (round = 0; round < 5000; round++) {
			uint16_t head = (uint16_t)(random_next(&state) % heads);
			unsigned int count = 1 + random_next(&state) % heads;
			unsigned int k;
			int err;

			if (copies[head]) {
				for (k = 0; k < counts[head]; k++)
					cr_assert_eq(copies[head][k].first.v,
						     head);
				dma_clear(&dma, head);
				copies[head] = NULL;
				continue;
			}
			if (random_next(&state) % 2)
				count = 1 + count / 8;
			counts[head] = count;
			k = longest_free_run(heads);
			err = publish_tagged(head, count, head, &copies[head]);
			cr_assert_eq(err, k >= count ? 0 : -EAGAIN,
				     "run of %u, asked %u", k, count);
			refused += err != 0;
		}
		cr_assert(heads < 16 || refused > 0, "never full with %u heads",
			  heads);
		teardown();
	}
}

Test(dma, clear_of_what_is_not_in_flight_is_our_bug, .signal = SIGABRT)
{
	const struct dma_span *published;

	setup(4);
	publish_tagged(0, 1, 0, &published);
	dma_clear(&dma, 0);
	dma_clear(&dma, 0);
}

Test(dma, a_head_beyond_the_queue_is_our_bug, .signal = SIGABRT)
{
	const struct dma_span *published;

	setup(4);
	publish_tagged(4, 1, 0, &published);
}

Test(dma, more_spans_than_heads_are_our_bug, .signal = SIGABRT)
{
	const struct dma_span *published;

	setup(4);
	publish_tagged(0, 5, 0, &published);
}

/* --- translating --- */

struct piece {
	uint64_t gpa;
	uint64_t len;
};

struct translate_case {
	const char *name;
	struct dma_span spans[5];
	unsigned int count;
	struct dma_position from;
	uint64_t len;
	unsigned int max; /* 0: plenty */
	int result;
	struct piece pieces[5];
	struct dma_position to; /* not looked at after a fault */
	uint64_t fault;
};

#define SPAN(gpa, length)                  \
	{                                  \
		{ gpa }, length, DMA_WRITE \
	}
#define ALL UINT64_MAX

/* clang-format off */
static const struct translate_case translate_cases[] = {
	{ .name = "one span",
	  .spans = { SPAN(0x1000, 10) },
	  .count = 1,
	  .len = 10,
	  .result = 1,
	  .pieces = { { 0x1000, 10 } },
	  .to = { 1, 0 } },
	{ .name = "more asked than there is",
	  .spans = { SPAN(0x1000, 10), SPAN(HIGH, 5) },
	  .count = 2,
	  .len = ALL,
	  .result = 2,
	  .pieces = { { 0x1000, 10 }, { HIGH, 5 } },
	  .to = { 2, 0 } },
	{ .name = "nothing asked",
	  .spans = { SPAN(HOLE, 10) },
	  .count = 1,
	  .len = 0,
	  .result = 0,
	  .to = { 0, 0 } },
	{ .name = "no spans", .count = 0, .len = ALL, .result = 0, .to = { 0, 0 } },
	{ .name = "at the end",
	  .spans = { SPAN(0, 10) },
	  .count = 1,
	  .from = { 1, 0 },
	  .len = ALL,
	  .result = 0,
	  .to = { 1, 0 } },
	{ .name = "over page borders",
	  .spans = { SPAN(0xfff, 0x2002) },
	  .count = 1,
	  .len = ALL,
	  .result = 1,
	  .pieces = { { 0xfff, 0x2002 } },
	  .to = { 1, 0 } },
	{ .name = "spans that touch are one piece",
	  .spans = { SPAN(0x1000, 0x10), SPAN(0x1010, 0x20), SPAN(0x1030, 1) },
	  .count = 3,
	  .len = ALL,
	  .result = 1,
	  .pieces = { { 0x1000, 0x31 } },
	  .to = { 3, 0 } },
	{ .name = "spans with a byte between are two",
	  .spans = { SPAN(0x1000, 0x10), SPAN(0x1011, 0x10) },
	  .count = 2,
	  .len = ALL,
	  .result = 2,
	  .pieces = { { 0x1000, 0x10 }, { 0x1011, 0x10 } },
	  .to = { 2, 0 } },
	{ .name = "touching the wrong way round are two",
	  .spans = { SPAN(0x1010, 0x10), SPAN(0x1000, 0x10) },
	  .count = 2,
	  .len = ALL,
	  .result = 2,
	  .pieces = { { 0x1010, 0x10 }, { 0x1000, 0x10 } },
	  .to = { 2, 0 } },
	{ .name = "the same twice is two",
	  .spans = { SPAN(0x1000, 0x10), SPAN(0x1000, 0x10) },
	  .count = 2,
	  .len = ALL,
	  .result = 2,
	  .pieces = { { 0x1000, 0x10 }, { 0x1000, 0x10 } },
	  .to = { 2, 0 } },
	{ .name = "only the later two touch",
	  .spans = { SPAN(HIGH, 8), SPAN(0x1000, 8), SPAN(0x1008, 8) },
	  .count = 3,
	  .len = ALL,
	  .result = 2,
	  .pieces = { { HIGH, 8 }, { 0x1000, 16 } },
	  .to = { 3, 0 } },
	{ .name = "empty spans give nothing",
	  .spans = { SPAN(HOLE, 0), SPAN(0x1000, 8), SPAN(UINT64_MAX, 0), SPAN(0x1008, 8),
		     SPAN(HOLE, 0) },
	  .count = 5,
	  .len = ALL,
	  .result = 1,
	  .pieces = { { 0x1000, 16 } },
	  .to = { 5, 0 } },
	{ .name = "empty spans only",
	  .spans = { SPAN(HOLE, 0), SPAN(0, 0) },
	  .count = 2,
	  .len = ALL,
	  .result = 0,
	  .to = { 2, 0 } },
	{ .name = "ends within a span",
	  .spans = { SPAN(0x1000, 0x10), SPAN(0x3000, 0x10) },
	  .count = 2,
	  .len = 0x13,
	  .result = 2,
	  .pieces = { { 0x1000, 0x10 }, { 0x3000, 3 } },
	  .to = { 1, 3 } },
	{ .name = "ends where a span ends",
	  .spans = { SPAN(0x1000, 0x10), SPAN(0x3000, 0x10) },
	  .count = 2,
	  .len = 0x10,
	  .result = 1,
	  .pieces = { { 0x1000, 0x10 } },
	  .to = { 1, 0 } },
	{ .name = "starts within a span",
	  .spans = { SPAN(HOLE, 0x10), SPAN(0x3000, 0x10), SPAN(HIGH, 4) },
	  .count = 3,
	  .from = { 1, 5 },
	  .len = 13,
	  .result = 2,
	  .pieces = { { 0x3005, 11 }, { HIGH, 2 } },
	  .to = { 2, 2 } },
	{ .name = "the end of a span is the start of the next",
	  .spans = { SPAN(0x1000, 0x10), SPAN(0x3000, 0x10) },
	  .count = 2,
	  .from = { 0, 0x10 },
	  .len = 1,
	  .result = 1,
	  .pieces = { { 0x3000, 1 } },
	  .to = { 1, 1 } },
	{ .name = "the unmapped rest is not looked at",
	  .spans = { SPAN(HOLE - 8, 16), SPAN(HOLE, 1) },
	  .count = 2,
	  .len = 8,
	  .result = 1,
	  .pieces = { { HOLE - 8, 8 } },
	  .to = { 0, 8 } },
	{ .name = "touching regions are two pieces",
	  .spans = { SPAN(BORDER - 8, 16) },
	  .count = 1,
	  .len = ALL,
	  .result = 2,
	  .pieces = { { BORDER - 8, 8 }, { BORDER, 8 } },
	  .to = { 1, 0 } },
	{ .name = "no room for the second piece of a span",
	  .spans = { SPAN(BORDER - 8, 16), SPAN(0, 1) },
	  .count = 2,
	  .len = ALL,
	  .max = 1,
	  .result = 1,
	  .pieces = { { BORDER - 8, 8 } },
	  .to = { 0, 8 } },
	{ .name = "no room for the second span",
	  .spans = { SPAN(0x1000, 8), SPAN(0x3000, 8) },
	  .count = 2,
	  .len = ALL,
	  .max = 1,
	  .result = 1,
	  .pieces = { { 0x1000, 8 } },
	  .to = { 1, 0 } },
	{ .name = "merging needs no room",
	  .spans = { SPAN(0x1000, 8), SPAN(0x1008, 8), SPAN(0x3000, 8) },
	  .count = 3,
	  .len = ALL,
	  .max = 1,
	  .result = 1,
	  .pieces = { { 0x1000, 16 } },
	  .to = { 2, 0 } },
	{ .name = "last byte of RAM",
	  .spans = { SPAN(HOLE - 1, 1), SPAN(HIGH_END - 1, 1) },
	  .count = 2,
	  .len = ALL,
	  .result = 2,
	  .pieces = { { HOLE - 1, 1 }, { HIGH_END - 1, 1 } },
	  .to = { 2, 0 } },
	{ .name = "one byte past RAM",
	  .spans = { SPAN(HOLE - 4, 5) },
	  .count = 1,
	  .len = ALL,
	  .result = -EFAULT,
	  .fault = HOLE },
	{ .name = "one byte past the last region",
	  .spans = { SPAN(HIGH_END - 4, 5) },
	  .count = 1,
	  .len = ALL,
	  .result = -EFAULT,
	  .fault = HIGH_END },
	{ .name = "first byte of the hole",
	  .spans = { SPAN(HOLE, 1) },
	  .count = 1,
	  .len = 1,
	  .result = -EFAULT,
	  .fault = HOLE },
	{ .name = "from the hole into RAM",
	  .spans = { SPAN(HIGH - 1, 2) },
	  .count = 1,
	  .len = ALL,
	  .result = -EFAULT,
	  .fault = HIGH - 1 },
	{ .name = "in a later span, after merged ones",
	  .spans = { SPAN(0x1000, 8), SPAN(0x1008, 8), SPAN(HOLE + 5, 8), SPAN(0, 1) },
	  .count = 4,
	  .from = { 0, 3 },
	  .len = ALL,
	  .result = -EFAULT,
	  .fault = HOLE + 5 },
	{ .name = "from within a span",
	  .spans = { SPAN(HOLE - 8, 16) },
	  .count = 1,
	  .from = { 0, 12 },
	  .len = 2,
	  .result = -EFAULT,
	  .fault = HOLE + 4 },
	{ .name = "behind the last iovec",
	  .spans = { SPAN(0x1000, 8), SPAN(HOLE, 8) },
	  .count = 2,
	  .len = ALL,
	  .max = 1,
	  .result = -EFAULT,
	  .fault = HOLE },
	{ .name = "the longest span, from RAM to above the hole",
	  .spans = { SPAN(BORDER + 1, UINT32_MAX) },
	  .count = 1,
	  .len = ALL,
	  .result = -EFAULT,
	  .fault = HOLE },
	{ .name = "up to 2^64",
	  .spans = { SPAN(-UINT64_C(8), 8) },
	  .count = 1,
	  .len = ALL,
	  .result = -EFAULT,
	  .fault = -UINT64_C(8) },
	{ .name = "past 2^64",
	  .spans = { SPAN(-UINT64_C(8), 16) },
	  .count = 1,
	  .len = ALL,
	  .result = -EFAULT,
	  .fault = -UINT64_C(8) },
	{ .name = "last byte below 2^64",
	  .spans = { SPAN(-UINT64_C(8), 16) },
	  .count = 1,
	  .from = { 0, 7 },
	  .len = ALL,
	  .result = -EFAULT,
	  .fault = UINT64_MAX },
	{ .name = "from behind 2^64, which is not address 0",
	  .spans = { SPAN(-UINT64_C(8), 16) },
	  .count = 1,
	  .from = { 0, 8 },
	  .len = ALL,
	  .result = -EFAULT,
	  .fault = UINT64_MAX },
	{ .name = "from behind 2^64, further",
	  .spans = { SPAN(UINT64_MAX, UINT32_MAX) },
	  .count = 1,
	  .from = { 0, 0x1000 },
	  .len = 1,
	  .result = -EFAULT,
	  .fault = UINT64_MAX },
};
/* clang-format on */

static void check_translation(const struct translate_case *c,
			      enum dma_access access)
{
	struct dma_position position = c->from;
	struct dma_fault fault = { .address = { 0x5a5a } };
	uint64_t faults = dma.counters.faults;
	const struct dma_span *published;
	struct dma_span spans[5];
	struct iovec iov[8];
	int result;
	int i;

	for (i = 0; i < (int)c->count; i++) {
		spans[i] = c->spans[i];
		spans[i].access = access;
	}
	published = publish_alone(spans, c->count);
	result = dma_translate(&dma, published, c->count, access, c->len,
			       &position, iov,
			       c->max ? c->max : ARRAY_SIZE(iov), &fault);
	cr_assert_eq(result, c->result, "%s: %d", c->name, result);

	if (result < 0) {
		cr_expect_eq(fault.address.v, c->fault, "%s: fault at %#lx",
			     c->name, fault.address.v);
		cr_expect_eq(fault.access, access, "%s", c->name);
		cr_expect_eq(position.span, c->from.span, "%s", c->name);
		cr_expect_eq(position.offset, c->from.offset, "%s", c->name);
		cr_expect_eq(dma.counters.faults, faults + 1, "%s", c->name);
		return;
	}
	for (i = 0; i < result; i++) {
		cr_expect_eq(iov[i].iov_base, host_of(c->pieces[i].gpa),
			     "%s: %d", c->name, i);
		cr_expect_eq(iov[i].iov_len, c->pieces[i].len, "%s: %d is %zu",
			     c->name, i, iov[i].iov_len);
	}
	cr_expect_eq(position.span, c->to.span, "%s: at span %u", c->name,
		     position.span);
	cr_expect_eq(position.offset, c->to.offset, "%s: at offset %u", c->name,
		     position.offset);
	cr_expect_eq(fault.address.v, 0x5a5a, "%s", c->name);
	cr_expect_eq(dma.counters.faults, faults, "%s", c->name);
}

Test(dma, bug07_translate_reaches_ram_only_and_says_where_it_stands)
{
	unsigned int i;

	setup(8);
	for (i = 0; i < ARRAY_SIZE(translate_cases); i++) {
		check_translation(&translate_cases[i], DMA_READ);
		check_translation(&translate_cases[i], DMA_WRITE);
	}
	/* No IOMMU, no cache. */
	cr_expect_eq(dma.counters.hits, 0);
	cr_expect_eq(dma.counters.misses, 0);
	teardown();
}

Test(dma, a_fault_leaves_the_door_usable)
{
	struct dma_span spans[2] = { span_at(0x1000, 8), span_at(HOLE, 8) };
	struct dma_position position = { 0, 2 };
	const struct dma_span *published;
	struct dma_fault fault;
	struct iovec iov[4];

	setup(4);
	published = publish_alone(spans, 2);
	cr_assert_eq(dma_translate(&dma, published, 2, DMA_WRITE, 7, &position,
				   iov, 4, &fault),
		     -EFAULT);
	cr_assert_eq(dma_translate(&dma, published, 2, DMA_WRITE, 6, &position,
				   iov, 4, &fault),
		     1);
	cr_assert_eq(iov[0].iov_base, host_of(0x1002));
	cr_assert_eq(position.span, 1);
	teardown();
}

Test(dma, the_parts_of_a_request_are_translated_apart)
{
	struct dma_span spans[3] = { span_at(0x1000, 8), span_at(0x1008, 8),
				     span_at(0x1010, 8) };
	struct dma_position position = { 0 };
	const struct dma_span *published;
	struct dma_fault fault;
	struct iovec iov[4];

	setup(4);
	spans[0].access = DMA_READ;
	published = publish_alone(spans, 3);
	cr_assert_eq(dma_translate(&dma, published, 1, DMA_READ, ALL, &position,
				   iov, 4, &fault),
		     1);
	cr_assert_eq(iov[0].iov_len, 8);
	cr_assert_eq(position.span, 1);
	cr_assert_eq(dma_translate(&dma, published, 3, DMA_WRITE, ALL,
				   &position, iov, 4, &fault),
		     1);
	cr_assert_eq(iov[0].iov_base, host_of(0x1008));
	cr_assert_eq(iov[0].iov_len, 16);
	teardown();
}

/* Where each byte of @spans lies in the host; how many there are. */
static size_t flatten_spans(const struct dma_span *spans, unsigned int count,
			    uint8_t **bytes)
{
	size_t total = 0;
	unsigned int i;
	uint32_t j;

	for (i = 0; i < count; i++)
		for (j = 0; j < spans[i].len; j++)
			bytes[total++] = host_of(spans[i].first.v + j);
	return total;
}

/* Appends to @bytes where each byte of @iov lies; the new number. */
static size_t flatten_iovecs(const struct iovec *iov, int count,
			     uint8_t **bytes, size_t total)
{
	size_t j;
	int i;

	for (i = 0; i < count; i++)
		for (j = 0; j < iov[i].iov_len; j++)
			bytes[total++] = (uint8_t *)iov[i].iov_base + j;
	return total;
}

Test(dma, more_pieces_than_iovecs_take_several_calls)
{
	static struct dma_span spans[DMA_HEADS_MAX];
	static struct iovec iov[DMA_IOVECS_MAX];
	static uint8_t *want[64 * KIB];
	static uint8_t *got[64 * KIB];
	struct dma_position position = { 0 };
	const struct dma_span *published;
	struct dma_fault fault;
	size_t total = 0;
	unsigned int i;
	size_t expected;

	setup(DMA_HEADS_MAX);
	/* One piece, and then two for each span: a call ends within a span. */
	spans[0] = span_at(0x9000, 3);
	for (i = 1; i < DMA_HEADS_MAX; i++)
		spans[i] = span_at(BORDER - 1 - i % 7, 10 + i % 5);
	expected = flatten_spans(spans, DMA_HEADS_MAX, want);
	published = publish_alone(spans, DMA_HEADS_MAX);

	for (i = 0; i < 3; i++) {
		static const int counts[] = { 1024, 1023, 0 };
		int count = dma_translate(&dma, published, DMA_HEADS_MAX,
					  DMA_WRITE, ALL, &position, iov,
					  DMA_IOVECS_MAX, &fault);

		cr_assert_eq(count, counts[i], "call %u: %d", i, count);
		total = flatten_iovecs(iov, count, got, total);
		if (i == 0) {
			cr_assert_eq(position.span, 512);
			cr_assert_eq(position.offset, 1 + 512 % 7);
		}
	}
	cr_assert_eq(position.span, DMA_HEADS_MAX);
	cr_assert_eq(total, expected);
	cr_assert_arr_eq(got, want, expected * sizeof(*want));
	teardown();
}

Test(dma, bug07_long_spans_add_up_in_64_bits)
{
	/* 4 GiB of RAM in one piece; two spans of 3 GiB reach past it. */
	static const struct guest_memory_range range = { 0, 6 * GIB };
	struct dma_span spans[2] = { span_at(0, 3U << 30),
				     span_at(3 * GIB, 3U << 30) };
	struct dma_position position = { 0 };
	const struct dma_span *published;
	struct dma_fault fault;
	struct iovec iov;

	cr_assert_eq(guest_memory_init(&memory, &range, 1,
				       GUEST_MEMORY_SMALL_PAGES),
		     0);
	cr_assert_eq(dma_init(&dma, &memory, 4), 0);
	published = publish_alone(spans, 2);
	cr_assert_eq(dma_translate(&dma, published, 2, DMA_WRITE, ALL,
				   &position, &iov, 1, &fault),
		     1);
	cr_assert_eq(iov.iov_len, 6 * GIB);
	position = (struct dma_position){ 0 };
	cr_assert_eq(dma_translate(&dma, published, 2, DMA_WRITE, 5 * GIB,
				   &position, &iov, 1, &fault),
		     1);
	cr_assert_eq(iov.iov_len, 5 * GIB);
	cr_assert_eq(position.span, 1);
	cr_assert_eq(position.offset, 2 * GIB);
	teardown();
}

Test(dma, random_translations_reach_each_byte_once_and_in_order)
{
	static uint8_t *want[64 * 40];
	static uint8_t *got[64 * 40];
	uint64_t state = 2;
	unsigned int round;

	setup(64);
	for (round = 0; round < 2000; round++) {
		unsigned int count = random_next(&state) % 64;
		struct dma_position position = { 0 };
		const struct dma_span *published;
		struct dma_span spans[64];
		struct dma_fault fault;
		struct iovec iov[16];
		size_t total = 0;
		size_t expected;
		unsigned int i;

		/* Close together, around the border of two regions. */
		for (i = 0; i < count; i++)
			spans[i] =
				span_at(BORDER - 64 + random_next(&state) % 96,
					random_next(&state) % 40);
		for (i = 1; i < count; i++)
			if (random_next(&state) % 2)
				spans[i].first = IOVA(spans[i - 1].first.v +
						      spans[i - 1].len);
		expected = flatten_spans(spans, count, want);
		published = publish_alone(spans, count);

		while (total < expected) {
			unsigned int max =
				1 + random_next(&state) % ARRAY_SIZE(iov);
			uint64_t len = 1 + random_next(&state) % 300;
			size_t before = total;
			int pieces = dma_translate(&dma, published, count,
						   DMA_WRITE, len, &position,
						   iov, max, &fault);

			cr_assert(pieces > 0 && pieces <= (int)max);
			total = flatten_iovecs(iov, pieces, got, total);
			/* Less than asked only when full, or at the end. */
			cr_assert_leq(total - before, len);
			cr_assert(total - before == len || pieces == (int)max ||
				  total == expected);
			for (i = 1; i < (unsigned int)pieces; i++)
				cr_assert_neq((char *)iov[i - 1].iov_base +
						      iov[i - 1].iov_len,
					      iov[i].iov_base, "not merged");
		}
		cr_assert_eq(total, expected);
		cr_assert(expected == 0 ||
			  memcmp(got, want, expected * sizeof(*want)) == 0);
		cr_assert_eq(dma_translate(&dma, published, count, DMA_WRITE,
					   ALL, &position, iov, 1, &fault),
			     0);
	}
	teardown();
}

static void translate_one(const struct dma_span *spans, enum dma_access access,
			  unsigned int max)
{
	struct dma_position position = { 0 };
	struct iovec iov[2];
	struct dma_fault fault;

	dma_translate(&dma, spans, 1, access, 1, &position, iov, max, &fault);
}

Test(dma, a_span_of_the_other_direction_is_our_bug, .signal = SIGABRT)
{
	struct dma_span span = span_at(0, 1);

	setup(4);
	translate_one(publish_alone(&span, 1), DMA_READ, 1);
}

Test(dma, room_for_no_iovec_is_our_bug, .signal = SIGABRT)
{
	struct dma_span span = span_at(0, 1);

	setup(4);
	translate_one(publish_alone(&span, 1), DMA_WRITE, 0);
}

Test(dma, translating_what_was_not_published_is_our_bug, .signal = SIGABRT)
{
	struct dma_span span = span_at(0, 1);

	setup(4);
	translate_one(&span, DMA_WRITE, 1);
}

Test(dma, translating_before_the_commit_is_our_bug, .signal = SIGABRT)
{
	const struct dma_span *published = NULL;

	setup(4);
	publish_tagged(0, 1, 0, &published);
	translate_one(published, DMA_WRITE, 1);
}

Test(dma, a_publication_that_is_cleared_needs_no_commit)
{
	const struct dma_span *published = NULL;
	const struct dma_span *given_up;

	setup(4);
	cr_assert_eq(publish_tagged(0, 1, 0, &published), 0);
	dma_commit(&dma);
	cr_assert_eq(publish_tagged(1, 1, 0, &given_up), 0);
	dma_clear(&dma, 1);
	translate_one(published, DMA_WRITE, 1);

	/* A committed one that is cleared does not stand for one that is not. */
	cr_assert_eq(publish_tagged(1, 1, 0, &given_up), 0);
	dma_commit(&dma);
	cr_assert_eq(publish_tagged(2, 1, 0, &given_up), 0);
	dma_clear(&dma, 1);
	cr_assert_eq(dma.uncommitted, 1);
	dma_commit(&dma);
	translate_one(published, DMA_WRITE, 1);
	teardown();
}

/* --- rings --- */

struct ring_case {
	const char *name;
	uint64_t first;
	uint32_t len;
	int result;
	unsigned int pages;
	uint64_t fault;
};

/* clang-format off */
static const struct ring_case ring_cases[] = {
	{ "in one page", 0x1010, 0x20, 0, 1, 0 },
	{ "all of a page", 0x1000, 0x1000, 0, 1, 0 },
	{ "one byte into the next page", 0x1000, 0x1001, 0, 2, 0 },
	{ "two bytes over a border", 0x1fff, 2, 0, 2, 0 },
	{ "1024 descriptors", 0x4000, 1024 * 16, 0, 4, 0 },
	{ "1024 descriptors, not aligned to pages", 0x4010, 1024 * 16, 0, 5, 0 },
	{ "as many pages as can be", 0x4fff, 0x1000 * 4 + 1, 0, 5, 0 },
	{ "one byte more than pages can be", 0x4fff, 0x1000 * 4 + 2, -EINVAL, 0, 0 },
	{ "a page too many", 0x4000, 0x5001, -EINVAL, 0, 0 },
	{ "longest", 0, UINT32_MAX, -EINVAL, 0, 0 },
	{ "length 0", 0x1000, 0, -EINVAL, 0, 0 },
	{ "over two touching regions", BORDER - 8, 16, 0, 2, 0 },
	{ "at the end of RAM", HOLE - 0x1800, 0x1800, 0, 2, 0 },
	{ "at the very end of RAM", HIGH_END - 1, 1, 0, 1, 0 },
	{ "one byte past the end", HOLE - 0x1800, 0x1801, -EFAULT, 0, HOLE },
	{ "past the very end", HIGH_END - 6, 16, -EFAULT, 0, HIGH_END },
	{ "in the hole", HOLE + 0x10, 16, -EFAULT, 0, HOLE + 0x10 },
	{ "from the hole into RAM", HIGH - 8, 16, -EFAULT, 0, HIGH - 8 },
	{ "above all RAM", UINT64_C(1) << 52, 16, -EFAULT, 0, UINT64_C(1) << 52 },
	{ "up to 2^64", -UINT64_C(16), 16, -EFAULT, 0, -UINT64_C(16) },
	{ "past 2^64", -UINT64_C(16), 17, -EINVAL, 0, 0 },
	{ "past 2^64 into RAM", -UINT64_C(16), 0x1000, -EINVAL, 0, 0 },
};
/* clang-format on */

Test(dma, bug05_rings_lie_in_ram_page_by_page)
{
	unsigned int i;

	setup(4);
	for (i = 0; i < ARRAY_SIZE(ring_cases); i++) {
		const struct ring_case *c = &ring_cases[i];
		struct dma_ring ring = { .len = 0x5a5a };
		struct dma_fault fault = { .address = { 0x5a5a } };
		uint64_t faults = dma.counters.faults;
		int result = dma_ring_map(&dma, &ring, IOVA(c->first), c->len,
					  DMA_WRITE, &fault);
		unsigned int page;
		uint32_t at;

		cr_assert_eq(result, c->result, "%s: %d", c->name, result);
		cr_expect_eq(dma.counters.faults, faults + (result == -EFAULT),
			     "%s", c->name);
		if (result == -EFAULT) {
			cr_expect_eq(fault.address.v, c->fault,
				     "%s: fault at %#lx", c->name,
				     fault.address.v);
			cr_expect_eq(fault.access, DMA_WRITE, "%s", c->name);
		} else {
			cr_expect_eq(fault.address.v, 0x5a5a, "%s", c->name);
		}
		if (result < 0) {
			cr_expect_eq(ring.len, 0x5a5a, "%s: ring touched",
				     c->name);
			continue;
		}
		cr_expect_eq(ring.first.v, c->first, "%s", c->name);
		cr_expect_eq(ring.len, c->len, "%s", c->name);
		cr_expect_eq(ring.access, DMA_WRITE, "%s", c->name);
		for (page = 0; page < DMA_RING_PAGES_MAX; page++)
			cr_expect_eq(ring.pages[page] != NULL, page < c->pages,
				     "%s: page %u", c->name, page);
		for (at = 0; at < c->len; at++)
			cr_assert_eq(dma_ring_at(&ring, at),
				     host_of(c->first + at), "%s: byte %u",
				     c->name, at);
	}
	teardown();
}

Test(dma, ring_sections_open_and_close_in_turn)
{
	struct dma_ring ring;
	struct dma_fault fault;
	unsigned int i;

	setup(4);
	cr_assert_eq(dma_ring_map(&dma, &ring, IOVA(0), 64, DMA_READ, &fault),
		     0);
	for (i = 0; i < 3; i++) {
		cr_assert(dma_rings_begin(&dma, &ring, 1, &fault));
		cr_assert_eq(dma.requests.section % 2, 1);
		dma_settle(&dma);
		dma_rings_end(&dma);
		cr_assert_eq(dma.requests.section % 2, 0);
	}
	cr_assert_eq(dma.counters.faults, 0);
	teardown();
}

Test(dma, ring_sections_that_nest_are_our_bug, .signal = SIGABRT)
{
	struct dma_fault fault;

	setup(4);
	dma_rings_begin(&dma, NULL, 0, &fault);
	dma_rings_begin(&dma, NULL, 0, &fault);
}

Test(dma, the_end_of_no_ring_section_is_our_bug, .signal = SIGABRT)
{
	setup(4);
	dma_rings_end(&dma);
}

Test(dma, reset_within_a_ring_section_is_our_bug, .signal = SIGABRT)
{
	struct dma_fault fault;

	setup(4);
	dma_rings_begin(&dma, NULL, 0, &fault);
	dma_reset(&dma);
}
