/* SPDX-License-Identifier: Apache-2.0 */
#include "virtio/chain.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>

#include "memory/base.h"
#include "support.h"

/* Offers one chain of @count buffers, takes it. */
static struct chain *take(struct rig *rig, const struct driver_buffer *buffers,
			  unsigned int count)
{
	cr_assert_geq(driver_add(&rig->driver, buffers, count), 0);
	driver_publish(&rig->driver);
	return rig_take(rig);
}

static const struct driver_buffer scattered[] = {
	{ { DATA_AT }, 10, false },	     { { DATA_AT + 0x3000 }, 0, false },
	{ { DATA_AT + 0x1000 }, 20, false }, { { HIGH_FIRST }, 5, true },
	{ { DATA_AT + 0x2000 }, 7, true },
};

Test(chain, has_readable_bytes_before_writable_ones)
{
	struct chain *chain;
	struct rig rig;

	rig_init(&rig, 8, ALL_RING_FEATURES);
	chain = take(&rig, scattered, ARRAY_SIZE(scattered));
	cr_assert_eq(chain->span_count, 5);
	cr_assert_eq(chain->readable_spans, 3);
	cr_assert_eq(chain->readable_bytes, 30);
	cr_assert_eq(chain->writable_bytes, 12);
	rig_destroy(&rig);
}

Test(chain, cursor_finds_its_place_and_stops_at_the_end)
{
	static const struct {
		enum dma_access part;
		uint64_t offset;
		unsigned int span;
		uint32_t byte;
		uint64_t left;
	} cases[] = {
		{ DMA_READ, 0, 0, 0, 30 },	   { DMA_READ, 9, 0, 9, 21 },
		{ DMA_READ, 10, 2, 0, 20 },	   { DMA_READ, 29, 2, 19, 1 },
		{ DMA_READ, 30, 3, 0, 0 },	   { DMA_READ, 31, 3, 0, 0 },
		{ DMA_READ, UINT64_MAX, 3, 0, 0 }, { DMA_WRITE, 0, 0, 0, 12 },
		{ DMA_WRITE, 5, 1, 0, 7 },	   { DMA_WRITE, 12, 2, 0, 0 },
	};
	struct chain *chain;
	struct rig rig;
	unsigned int i;

	rig_init(&rig, 8, ALL_RING_FEATURES);
	chain = take(&rig, scattered, ARRAY_SIZE(scattered));
	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		struct chain_cursor cursor =
			chain_cursor(chain, cases[i].part, cases[i].offset);

		cr_assert_eq(cursor.position.span, cases[i].span, "case %u", i);
		cr_assert_eq(cursor.position.offset, cases[i].byte, "case %u",
			     i);
		cr_assert_eq(cursor.left, cases[i].left, "case %u", i);
	}
	rig_destroy(&rig);
}

Test(chain, read_and_write_cross_buffers_and_move_the_cursor)
{
	struct chain_cursor cursor;
	struct chain *chain;
	uint8_t buffer[30];
	struct rig rig;
	unsigned int i;

	rig_init(&rig, 8, ALL_RING_FEATURES);
	for (i = 0; i < 10; i++)
		((uint8_t *)rig_host(&rig, DATA_AT, 10))[i] = (uint8_t)i;
	for (i = 0; i < 20; i++)
		((uint8_t *)rig_host(&rig, DATA_AT + 0x1000, 20))[i] =
			(uint8_t)(10 + i);
	chain = take(&rig, scattered, ARRAY_SIZE(scattered));

	cursor = chain_cursor(chain, DMA_READ, 0);
	cr_assert_eq(chain_read(&rig.queue, chain, &cursor, buffer, 8), 0);
	cr_assert_eq(chain_read(&rig.queue, chain, &cursor, buffer + 8, 22), 0);
	for (i = 0; i < 30; i++)
		cr_assert_eq(buffer[i], i);
	cr_assert_eq(cursor.left, 0);

	cursor = chain_cursor(chain, DMA_WRITE, 3);
	cr_assert_eq(chain_write(&rig.queue, chain, &cursor, "abcdefghi", 9),
		     0);
	cr_assert_eq(cursor.left, 0);
	cr_assert_arr_eq(rig_host(&rig, HIGH_FIRST, 5), "\0\0\0ab", 5);
	cr_assert_arr_eq(rig_host(&rig, DATA_AT + 0x2000, 7), "cdefghi", 7);
	rig_destroy(&rig);
}

Test(chain, copies_more_pieces_than_fit_one_turn)
{
	struct driver_buffer buffers[32];
	struct chain_cursor cursor;
	uint32_t values[32];
	struct chain *chain;
	struct rig rig;
	uint32_t i;

	rig_init(&rig, 32, ALL_RING_FEATURES);
	for (i = 0; i < 32; i++) {
		buffers[i] = (struct driver_buffer){ IOVA(DATA_AT + 0x1000 * i),
						     4, false };
		memcpy(rig_host(&rig, buffers[i].address.v, 4), &i, 4);
	}
	chain = take(&rig, buffers, 32);
	cursor = chain_cursor(chain, DMA_READ, 0);
	cr_assert_eq(chain_read(&rig.queue, chain, &cursor, values,
				sizeof(values)),
		     0);
	for (i = 0; i < 32; i++)
		cr_assert_eq(values[i], i);
	rig_destroy(&rig);
}

Test(chain, map_is_cut_at_max_iovecs_and_goes_on)
{
	struct chain_cursor cursor;
	struct iovec iov[4];
	struct chain *chain;
	struct rig rig;
	uint64_t bytes;

	rig_init(&rig, 8, ALL_RING_FEATURES);
	chain = take(&rig, scattered, ARRAY_SIZE(scattered));
	cursor = chain_cursor(chain, DMA_READ, 0);
	cr_assert_eq(chain_map(&rig.queue, chain, &cursor, 100, iov, 1, &bytes),
		     1);
	cr_assert_eq(bytes, 10);
	cr_assert_eq(iov[0].iov_base, rig_host(&rig, DATA_AT, 1));
	cr_assert_eq(chain_map(&rig.queue, chain, &cursor, 6, iov, 4, &bytes),
		     1);
	cr_assert_eq(bytes, 6);
	cr_assert_eq(chain_map(&rig.queue, chain, &cursor, 100, iov, 4, &bytes),
		     1);
	cr_assert_eq(bytes, 14);
	cr_assert_eq(chain_map(&rig.queue, chain, &cursor, 100, iov, 4, &bytes),
		     0);
	cr_assert_eq(bytes, 0);
	rig_destroy(&rig);
}

Test(chain, map_merges_buffers_that_touch)
{
	static const struct driver_buffer touching[] = {
		{ { DATA_AT }, 0x1000, true },
		{ { DATA_AT + 0x1000 }, 0x1000, true },
		{ { DATA_AT + 0x2000 }, 0x800, true },
	};
	struct chain_cursor cursor;
	struct iovec iov[4];
	struct chain *chain;
	struct rig rig;
	uint64_t bytes;

	rig_init(&rig, 8, ALL_RING_FEATURES);
	chain = take(&rig, touching, ARRAY_SIZE(touching));
	cursor = chain_cursor(chain, DMA_WRITE, 0);
	cr_assert_eq(chain_map(&rig.queue, chain, &cursor, UINT64_MAX, iov, 4,
			       &bytes),
		     1);
	cr_assert_eq(bytes, 0x2800);
	rig_destroy(&rig);
}

Test(chain, copy_beyond_the_end_copies_nothing)
{
	struct chain_cursor cursor;
	struct chain *chain;
	uint8_t buffer[31] = { 0 };
	struct rig rig;

	rig_init(&rig, 8, ALL_RING_FEATURES);
	memset(rig_host(&rig, DATA_AT, 10), 0xee, 10);
	chain = take(&rig, scattered, ARRAY_SIZE(scattered));
	cursor = chain_cursor(chain, DMA_READ, 0);
	cr_assert_eq(chain_read(&rig.queue, chain, &cursor, buffer, 31),
		     -EINVAL);
	cr_assert_eq(buffer[0], 0);
	cr_assert_eq(cursor.left, 30);
	rig_destroy(&rig);
}

/* bug-classes.md 8: a status byte in the part that is not the device's to write. */
Test(chain, bug08_wrong_direction_is_refused)
{
	static const struct driver_buffer readable[] = {
		{ { DATA_AT }, 16, false }
	};
	struct chain_cursor cursor;
	uint8_t buffer[4] = { 1, 2, 3, 4 };
	struct chain *chain;
	struct rig rig;

	rig_init(&rig, 8, ALL_RING_FEATURES);
	chain = take(&rig, readable, 1);
	cursor = chain_cursor(chain, DMA_WRITE, 0);
	cr_assert_eq(cursor.left, 0);
	cr_assert_eq(chain_write(&rig.queue, chain, &cursor, buffer, 1),
		     -EINVAL);
	cursor = chain_cursor(chain, DMA_READ, 0);
	cr_assert_eq(chain_write(&rig.queue, chain, &cursor, buffer, 4),
		     -EINVAL);
	cr_assert_arr_eq(rig_host(&rig, DATA_AT, 4), "\0\0\0\0", 4);
	cursor = chain_cursor(chain, DMA_WRITE, 0);
	cr_assert_eq(chain_read(&rig.queue, chain, &cursor, buffer, 0),
		     -EINVAL);
	rig_destroy(&rig);
}

/* bug-classes.md 7: a buffer that is not RAM to its last byte. */
Test(chain, bug07_payload_outside_ram_faults_and_the_queue_lives_on)
{
	static const struct {
		uint64_t address;
		uint32_t len;
		bool good;
	} cases[] = {
		{ LOW_END - 16, 16, true },
		{ LOW_END - 16, 17, false },
		{ LOW_END - 1, 1, true },
		{ LOW_END, 1, false },
		{ 0xd0000000, 512, false },
		{ HIGH_FIRST - 1, 2, false },
		{ HIGH_END - 512, 512, true },
		{ HIGH_END - 512, 513, false },
		{ HIGH_END, 1, false },
		{ UINT64_MAX, 1, false },
		{ UINT64_MAX, 2, false },
		{ UINT64_MAX - 511, 512, false },
		{ UINT64_MAX - 511, UINT32_MAX, false },
		{ HIGH_FIRST, UINT32_MAX, false },
		{ 0, UINT32_MAX, false },
	};
	uint32_t written;
	struct rig rig;
	uint16_t head;
	unsigned int i;

	rig_init(&rig, 8, ALL_RING_FEATURES);
	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		struct driver_buffer buffer = { IOVA(cases[i].address),
						cases[i].len, i % 2 };
		uint64_t faults = rig.queue.dma.counters.faults;
		struct chain *chain = take(&rig, &buffer, 1);
		struct chain_cursor cursor =
			chain_cursor(chain, i % 2 ? DMA_WRITE : DMA_READ, 0);
		struct iovec iov[2];
		uint64_t bytes;
		int count;

		cr_assert_eq(cursor.left, cases[i].len, "case %u", i);
		count = chain_map(&rig.queue, chain, &cursor, UINT64_MAX, iov,
				  2, &bytes);
		cr_assert_eq(count, cases[i].good ? 1 : -EFAULT, "case %u: %d",
			     i, count);
		cr_assert_eq(bytes, cases[i].good ? cases[i].len : 0, "case %u",
			     i);
		cr_assert_eq(rig.queue.dma.counters.faults,
			     faults + !cases[i].good, "case %u", i);
		queue_complete(&rig.queue, chain, 0);
		queue_publish(&rig.queue);
		cr_assert(driver_take_used(&rig.driver, &head, &written));
		cr_assert(!queue_is_broken(&rig.queue));
	}
	rig_destroy(&rig);
}

Test(chain, copy_of_a_header_that_cannot_be_reached_faults)
{
	static const struct driver_buffer buffers[] = {
		{ { 0xd0000000 }, 16, false },
		{ { LOW_END }, 1, true },
	};
	struct chain_cursor cursor;
	uint8_t buffer[16];
	struct chain *chain;
	struct rig rig;

	rig_init(&rig, 8, ALL_RING_FEATURES);
	chain = take(&rig, buffers, 2);
	cursor = chain_cursor(chain, DMA_READ, 0);
	cr_assert_eq(chain_read(&rig.queue, chain, &cursor, buffer, 16),
		     -EFAULT);
	cursor = chain_cursor(chain, DMA_WRITE, 0);
	cr_assert_eq(chain_write(&rig.queue, chain, &cursor, buffer, 1),
		     -EFAULT);
	cr_assert_eq(rig.queue.dma.counters.faults, 2);
	rig_destroy(&rig);
}
