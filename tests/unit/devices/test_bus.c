/* SPDX-License-Identifier: Apache-2.0 */
#include "devices/bus.h"

#include "memory/base.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>

struct access {
	unsigned int count;
	uint64_t offset;
	uint32_t len;
	uint64_t value;
};

static void record_read(void *device, uint64_t offset, void *data, uint32_t len)
{
	struct access *access = device;

	access->count++;
	access->offset = offset;
	access->len = len;
	memset(data, 0x5a, len);
}

static void record_write(void *device, uint64_t offset, const void *data,
			 uint32_t len)
{
	struct access *access = device;

	access->count++;
	access->offset = offset;
	access->len = len;
	access->value = 0;
	memcpy(&access->value, data, len);
}

static const struct bus_handler handler = { record_read, record_write };

Test(bus, access_reaches_the_window_that_holds_it_whatever_the_order_of_adding)
{
	static const uint64_t firsts[] = { 0x3f8, 0x60,	 0xd0000000, 0x500,
					   0x64,  0x604, 0 };
	struct access accesses[ARRAY_SIZE(firsts)] = { 0 };
	struct bus bus = { 0 };
	uint16_t value = 0x1234;
	uint8_t data[8];
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(firsts); i++)
		cr_assert_eq(
			bus_add(&bus, firsts[i], 4, &handler, &accesses[i]), 0);
	for (i = 0; i < ARRAY_SIZE(firsts); i++) {
		cr_assert(bus_read(&bus, firsts[i] + 3, data, 1));
		cr_assert_eq(data[0], 0x5a);
		cr_assert_eq(accesses[i].offset, 3);
		cr_assert(bus_write(&bus, firsts[i] + 2, &value, 2));
		cr_assert_eq(accesses[i].count, 2);
		cr_assert_eq(accesses[i].offset, 2);
		cr_assert_eq(accesses[i].len, 2);
		cr_assert_eq(accesses[i].value, 0x1234);
	}
	for (i = 1; i < bus.count; i++)
		cr_assert_gt(bus.windows[i].first, bus.windows[i - 1].last);
}

Test(bus, bug03_access_beside_or_over_the_end_reads_ones_and_writes_nothing)
{
	static const struct {
		uint64_t address;
		uint32_t len;
	} cases[] = {
		{ 0xff, 1 },  { 0xff, 2 },	 { 0x108, 1 },
		{ 0x107, 2 }, { 0x105, 4 },	 { 0x101, 8 },
		{ 0, 8 },     { UINT64_MAX, 1 }, { UINT64_MAX, 8 },
		{ 0x100, 3 }, { 0x100, 5 },	 { 0x100, 6 },
		{ 0x100, 7 }, { 0x100, 16 },	 { 0x100, 0 },
	};
	struct access access = { 0 };
	struct bus bus = { 0 };
	uint8_t data[17], zero[16] = { 0 };
	unsigned int i, k;

	bus_add(&bus, 0x100, 8, &handler, &access);
	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		memset(data, 0, sizeof(data));
		cr_assert_not(bus_read(&bus, cases[i].address, data,
				       cases[i].len),
			      "%u", i);
		for (k = 0; k < sizeof(data); k++)
			cr_assert_eq(data[k], k < cases[i].len ? 0xff : 0);
		cr_assert_not(bus_write(&bus, cases[i].address, zero,
					cases[i].len),
			      "%u", i);
	}
	cr_assert_eq(access.count, 0);
	/* Only just inside. */
	cr_assert(bus_read(&bus, 0x100, data, 8));
	cr_assert(bus_read(&bus, 0x107, data, 1));
}

Test(bus, overlapping_window_is_refused)
{
	struct bus bus = { 0 };

	cr_assert_eq(bus_add(&bus, 0x100, 0x10, &handler, NULL), 0);
	cr_assert_eq(bus_add(&bus, 0x200, 0x10, &handler, NULL), 0);
	cr_assert_eq(bus_add(&bus, 0x10f, 1, &handler, NULL), -EEXIST);
	cr_assert_eq(bus_add(&bus, 0xf1, 0x10, &handler, NULL), -EEXIST);
	cr_assert_eq(bus_add(&bus, 0, 0x1000, &handler, NULL), -EEXIST);
	cr_assert_eq(bus_add(&bus, 0x104, 2, &handler, NULL), -EEXIST);
	cr_assert_eq(bus_add(&bus, 0x110, 0xf0, &handler, NULL), 0);
	cr_assert_eq(bus_add(&bus, 0, 0x100, &handler, NULL), 0);
	cr_assert_eq(bus.count, 4);
}

Test(bus, window_at_the_end_of_the_address_space_works_and_beyond_is_refused)
{
	struct access access = { 0 };
	struct bus bus = { 0 };
	uint64_t data;

	cr_assert_eq(bus_add(&bus, 0x100, 0, &handler, NULL), -EINVAL);
	cr_assert_eq(bus_add(&bus, UINT64_MAX, 2, &handler, NULL), -EINVAL);
	cr_assert_eq(bus_add(&bus, UINT64_MAX - 7, 8, &handler, &access), 0);
	cr_assert(bus_read(&bus, UINT64_MAX - 7, &data, 8));
	cr_assert(bus_read(&bus, UINT64_MAX, &data, 1));
	cr_assert_eq(access.offset, 7);
	cr_assert_not(bus_read(&bus, UINT64_MAX, &data, 2));
}

Test(bus, full_bus_refuses_one_more)
{
	struct bus bus = { 0 };
	unsigned int i;

	for (i = 0; i < BUS_WINDOWS_MAX; i++)
		cr_assert_eq(bus_add(&bus, i * 16, 16, &handler, NULL), 0);
	cr_assert_eq(bus_add(&bus, i * 16, 16, &handler, NULL), -ENOSPC);
}
