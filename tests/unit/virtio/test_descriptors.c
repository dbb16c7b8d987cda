/* SPDX-License-Identifier: Apache-2.0 */
#include "virtio/descriptors.h"

#include <criterion/criterion.h>
#include <string.h>

#include "memory/base.h"
#include "support.h"

#define NEXT VRING_DESC_F_NEXT
#define WRITE VRING_DESC_F_WRITE
#define INDIRECT VRING_DESC_F_INDIRECT
#define TABLE_AT (DATA_AT + 0x10008) /* nothing aligns a table */

/* What queue_next makes of the chain at head 0 of @rig: spans, or -1 for broken. */
static int take_spans(struct rig *rig)
{
	struct chain *chain;

	rig_offer(rig, 0);
	if (queue_next(&rig->queue, &chain, 1) == 1)
		return (int)chain->span_count;
	cr_assert(queue_is_broken(&rig->queue));
	return -1;
}

/* Up to 6 descriptors; entries of tables and of the ring of 4 alike. */
struct shape {
	struct vring_desc descriptors[6];
	int spans; /* -1: breaks the queue */
};

#define AT DATA_AT

static const struct shape ring_shapes[] = {
	{ { { AT, 8, 0, 0 } }, 1 },
	{ { { AT, 8, WRITE, 0 } }, 1 },
	{ { { AT, 8, NEXT, 3 }, [3] = { AT, 8, WRITE, 0 } }, 2 },
	{ { { AT, 8, NEXT, 1 },
	    { AT, 8, NEXT, 2 },
	    { AT, 8, NEXT, 3 },
	    { AT, 8, 0, 0 } },
	  4 },
	/* next is not looked at without NEXT; unknown flags are not looked at. */
	{ { { AT, 8, 0, 0xffff } }, 1 },
	{ { { AT, 8, 0xfff8, 0xffff } }, 1 },
	/* Zero lengths are odd, not wrong. */
	{ { { AT, 0, 0, 0 } }, 1 },
	{ { { UINT64_MAX, 0, NEXT, 1 }, { 0, 0, WRITE, 0 } }, 2 },
	/* Out of range. */
	{ { { AT, 8, NEXT, 4 } }, -1 },
	{ { { AT, 8, NEXT, 0xffff } }, -1 },
	/* Loops: on itself, of two, back to the middle. */
	{ { { AT, 8, NEXT, 0 } }, -1 },
	{ { { AT, 8, NEXT, 1 }, { AT, 8, NEXT, 0 } }, -1 },
	{ { { AT, 8, NEXT, 1 }, { AT, 8, NEXT, 2 }, { AT, 8, NEXT, 1 } }, -1 },
	/* Readable after writable. */
	{ { { AT, 8, WRITE | NEXT, 1 }, { AT, 8, 0, 0 } }, -1 },
	{ { { AT, 8, NEXT, 1 }, { AT, 0, WRITE | NEXT, 2 }, { AT, 8, 0, 0 } },
	  -1 },
	/* 2^32 bytes, and one more; each direction and both. */
	{ { { AT, UINT32_MAX, NEXT, 1 }, { AT, 1, 0, 0 } }, 2 },
	{ { { AT, UINT32_MAX, NEXT, 1 }, { AT, 2, 0, 0 } }, -1 },
	{ { { AT, UINT32_MAX, WRITE | NEXT, 1 }, { AT, 2, WRITE, 0 } }, -1 },
	{ { { AT, UINT32_MAX, NEXT, 1 }, { AT, 1, WRITE, 0 } }, 2 },
	{ { { AT, UINT32_MAX, NEXT, 1 }, { AT, 2, WRITE, 0 } }, -1 },
	{ { { AT, UINT32_MAX, NEXT, 1 },
	    { AT, UINT32_MAX, NEXT, 2 },
	    { AT, 8, 0, 0 } },
	  -1 },
};

static void check_ring_shapes(uint64_t features)
{
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(ring_shapes); i++) {
		struct rig rig;

		rig_init(&rig, 4, features);
		memcpy(rig_descriptors(&rig), ring_shapes[i].descriptors,
		       4 * sizeof(struct vring_desc));
		cr_assert_eq(take_spans(&rig), ring_shapes[i].spans, "shape %u",
			     i);
		rig_destroy(&rig);
	}
}

Test(descriptors, bug06_malformed_chains_break_the_queue)
{
	check_ring_shapes(ALL_RING_FEATURES);
	check_ring_shapes(VIRTIO_FEATURE_VERSION_1);
}

Test(descriptors, bug06_same_shapes_in_a_table)
{
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(ring_shapes); i++) {
		struct rig rig;

		rig_init(&rig, 4, ALL_RING_FEATURES);
		memcpy(rig_host(&rig, TABLE_AT, 64), ring_shapes[i].descriptors,
		       64);
		rig_descriptor(&rig, 0, TABLE_AT, 64, INDIRECT, 0);
		cr_assert_eq(take_spans(&rig), ring_shapes[i].spans, "shape %u",
			     i);
		rig_destroy(&rig);
	}
}

Test(descriptors, bug06_heads_out_of_range_break_the_queue)
{
	static const uint16_t heads[] = { 4, 5, 8, 0x7fff, 0xffff };
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(heads); i++) {
		struct chain *chain;
		struct rig rig;

		rig_init(&rig, 4, ALL_RING_FEATURES);
		rig_offer(&rig, heads[i]);
		cr_assert_eq(queue_next(&rig.queue, &chain, 1), 0);
		cr_assert(queue_is_broken(&rig.queue), "head %u", heads[i]);
		rig_destroy(&rig);
	}
}

/* The index is judged by the size that the driver chose, not by the largest. */
Test(descriptors, bug06_next_is_bounded_by_the_size_in_use)
{
	struct chain *chain;
	struct rig rig;

	rig_init(&rig, 16, ALL_RING_FEATURES);
	queue_stop(&rig.queue);
	rig.queue.size = 4;
	cr_assert_eq(queue_start(&rig.queue, ALL_RING_FEATURES), 0);
	rig_descriptor(&rig, 0, DATA_AT, 8, NEXT, 5);
	rig_descriptor(&rig, 5, DATA_AT, 8, 0, 0);
	rig_available(&rig)->idx = 1;
	cr_assert_eq(queue_next(&rig.queue, &chain, 1), 0);
	cr_assert(queue_is_broken(&rig.queue));

	queue_stop(&rig.queue);
	cr_assert_eq(queue_start(&rig.queue, ALL_RING_FEATURES), 0);
	rig_available(&rig)->ring[0] = 5;
	cr_assert_eq(queue_next(&rig.queue, &chain, 1), 0);
	cr_assert(queue_is_broken(&rig.queue), "a head, likewise");
	rig_destroy(&rig);
}

Test(descriptors, bug06_head_in_flight_breaks_the_queue)
{
	static const uint16_t flags[] = { 0, INDIRECT };
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(flags); i++) {
		struct chain *chains[4];
		struct rig rig;

		rig_init(&rig, 4, ALL_RING_FEATURES);
		rig_descriptor(&rig, 0, TABLE_AT, 16, flags[i], 0);
		*(struct vring_desc *)rig_host(&rig, TABLE_AT, 16) =
			(struct vring_desc){ DATA_AT, 8, 0, 0 };
		rig_offer(&rig, 0);
		rig_offer(&rig, 0);
		cr_assert_eq(queue_next(&rig.queue, chains, 4), 1);
		cr_assert_eq(chains[0]->span_count, 1,
			     "the first stays as it was");
		cr_assert(queue_is_broken(&rig.queue));
		rig_destroy(&rig);
	}
}

Test(descriptors, bug06_bad_tables_break_the_queue)
{
	static const struct {
		uint32_t len;
		uint16_t flags;
		int spans;
	} cases[] = {
		{ 16, INDIRECT, 1 },	      { 64, INDIRECT, 1 },
		{ 16, INDIRECT | WRITE, 1 },  { 0, INDIRECT, -1 },
		{ 15, INDIRECT, -1 },	      { 17, INDIRECT, -1 },
		{ 63, INDIRECT, -1 },	      { 80, INDIRECT, -1 },
		{ UINT32_MAX, INDIRECT, -1 }, { 0xfffffff0, INDIRECT, -1 },
		{ 16, INDIRECT | NEXT, -1 },
	};
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		struct rig rig;

		rig_init(&rig, 4, ALL_RING_FEATURES);
		*(struct vring_desc *)rig_host(&rig, TABLE_AT, 16) =
			(struct vring_desc){ DATA_AT, 8, 0, 0 };
		rig_descriptor(&rig, 0, TABLE_AT, cases[i].len, cases[i].flags,
			       0);
		cr_assert_eq(take_spans(&rig), cases[i].spans, "case %u", i);
		rig_destroy(&rig);
	}
}

Test(descriptors, bug06_nested_tables_break_the_queue)
{
	static const struct vring_desc table[] = {
		{ DATA_AT, 8, NEXT, 1 },
		{ TABLE_AT, 16, INDIRECT, 0 },
	};
	struct rig rig;

	rig_init(&rig, 4, ALL_RING_FEATURES);
	memcpy(rig_host(&rig, TABLE_AT, 32), table, 32);
	rig_descriptor(&rig, 0, TABLE_AT, 32, INDIRECT, 0);
	cr_assert_eq(take_spans(&rig), -1);
	rig_destroy(&rig);
}

Test(descriptors, bug06_indirect_that_was_not_negotiated_breaks_the_queue)
{
	struct rig rig;

	rig_init(&rig, 4, VIRTIO_FEATURE_VERSION_1 | VIRTIO_FEATURE_EVENT_IDX);
	rig_descriptor(&rig, 0, TABLE_AT, 16, INDIRECT, 0);
	cr_assert_eq(take_spans(&rig), -1);
	rig_destroy(&rig);
}

/* virtio 1.2, 2.7.5.3.2: plain descriptors, then one table, are a chain. */
Test(descriptors, table_may_follow_plain_descriptors)
{
	static const struct vring_desc table[] = {
		{ DATA_AT + 0x100, 8, NEXT, 2 },
		{ 0, 0, 0, 0 },
		{ DATA_AT + 0x200, 9, WRITE, 0 },
	};
	struct chain *chain;
	struct rig rig;

	rig_init(&rig, 4, ALL_RING_FEATURES);
	memcpy(rig_host(&rig, TABLE_AT, 48), table, 48);
	rig_descriptor(&rig, 0, DATA_AT, 7, NEXT, 1);
	rig_descriptor(&rig, 1, TABLE_AT, 48, INDIRECT, 0);
	rig_offer(&rig, 0);
	chain = rig_take(&rig);
	cr_assert_eq(chain->span_count, 3);
	cr_assert_eq(chain->readable_spans, 2);
	cr_assert_eq(chain->readable_bytes, 15);
	cr_assert_eq(chain->writable_bytes, 9);
	cr_assert_eq(chain->spans[1].first.v, DATA_AT + 0x100);
	rig_destroy(&rig);
}

Test(descriptors, plain_descriptors_and_table_together_are_bounded)
{
	static const struct vring_desc table[] = {
		{ DATA_AT, 8, NEXT, 1 },
		{ DATA_AT, 8, NEXT, 2 },
		{ DATA_AT, 8, 0, 0 },
	};
	struct rig rig;

	rig_init(&rig, 4, ALL_RING_FEATURES);
	memcpy(rig_host(&rig, TABLE_AT, 48), table, 48);
	rig_descriptor(&rig, 0, DATA_AT, 7, NEXT, 1);
	rig_descriptor(&rig, 1, DATA_AT, 7, NEXT, 2);
	rig_descriptor(&rig, 2, TABLE_AT, 48, INDIRECT, 0);
	cr_assert_eq(take_spans(&rig), -1);
	rig_destroy(&rig);
}

Test(descriptors, table_that_cannot_be_reached_gives_an_empty_chain)
{
	static const uint64_t tables[] = { 0xd0000000, LOW_END - 16, HIGH_END,
					   UINT64_MAX - 30 };
	struct rig rig;
	unsigned int i;

	rig_init(&rig, 4, ALL_RING_FEATURES);
	for (i = 0; i < ARRAY_SIZE(tables); i++) {
		struct chain *chain;

		rig_descriptor(&rig, 0, DATA_AT, 8, NEXT, 1);
		rig_descriptor(&rig, 1, tables[i], 32, INDIRECT, 0);
		rig_offer(&rig, 0);
		chain = rig_take(&rig);
		cr_assert_eq(chain->head, 0);
		cr_assert_eq(chain->span_count, 0);
		cr_assert_eq(chain_cursor(chain, DMA_READ, 0).left, 0);
		cr_assert_eq(chain_cursor(chain, DMA_WRITE, 0).left, 0);
		cr_assert_eq(rig.queue.dma.counters.faults, i + 1);
		cr_assert_eq(rig.queue.dma.requests.count, 1,
			     "its head is known");
		queue_complete(&rig.queue, chain, 0);
		queue_publish(&rig.queue);
		cr_assert_eq(rig.queue.dma.requests.count, 0);
		cr_assert_eq(rig_used(&rig)->idx, i + 1);
	}
	/* The next good one is served. */
	rig_descriptor(&rig, 0, DATA_AT, 8, WRITE, 0);
	rig_offer(&rig, 0);
	cr_assert_eq(rig_take(&rig)->writable_bytes, 8);
	rig_destroy(&rig);
}

Test(descriptors, largest_table_is_copied_over_pages)
{
	struct vring_desc *table;
	struct chain *chain;
	struct rig rig;
	uint16_t i;

	rig_init(&rig, 1024, ALL_RING_FEATURES);
	table = rig_host(&rig, TABLE_AT, 1024 * sizeof(*table));
	for (i = 0; i < 1024; i++)
		table[i] = (struct vring_desc){ DATA_AT + i, i,
						i < 1023 ? NEXT : 0,
						(uint16_t)(i + 1) };
	rig_descriptor(&rig, 0, TABLE_AT, 1024 * sizeof(*table), INDIRECT, 0);
	rig_offer(&rig, 0);
	chain = rig_take(&rig);
	cr_assert_eq(chain->span_count, 1024);
	for (i = 0; i < 1024; i++) {
		cr_assert_eq(chain->spans[i].first.v, DATA_AT + i);
		cr_assert_eq(chain->spans[i].len, i);
	}
	rig_destroy(&rig);
}

/* bug-classes.md 8: a request of no bytes is answered like any other. */
Test(descriptors, bug08_chain_of_no_bytes_is_returned)
{
	struct rig rig;
	uint32_t written;
	uint16_t head;

	rig_init(&rig, 4, ALL_RING_FEATURES);
	cr_assert_eq(rig_request(&rig, 0), 0);
	driver_publish(&rig.driver);
	rig_serve(&rig);
	cr_assert(driver_take_used(&rig.driver, &head, &written));
	cr_assert_eq(head, 0);
	cr_assert_eq(written, 0);
	rig_destroy(&rig);
}
