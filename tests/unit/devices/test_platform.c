/* SPDX-License-Identifier: Apache-2.0 */
#include "devices/platform.h"

#include "memory/base.h"

#include <criterion/criterion.h>
#include <string.h>

static struct {
	unsigned int power_off, reset, panicked, marks;
	uint8_t mark;
} told;

static void power_off(void *context)
{
	cr_assert_eq(context, &told);
	told.power_off++;
}

static void reset(void *context)
{
	cr_assert_eq(context, &told);
	told.reset++;
}

static void panicked(void *context)
{
	cr_assert_eq(context, &told);
	told.panicked++;
}

static void mark(void *context, uint8_t value)
{
	cr_assert_eq(context, &told);
	told.marks++;
	told.mark = value;
}

static struct platform platform = {
	.listener = { power_off, reset, panicked, mark, &told },
};
static struct bus bus;

static void setup(void)
{
	bus_add(&bus, 0x600, PLATFORM_SLEEP_PORTS, &platform_sleep_handler,
		&platform);
	bus_add(&bus, 0x604, 1, &platform_reset_handler, &platform);
	bus_add(&bus, 0x64, 1, &platform_keyboard_handler, &platform);
	bus_add(&bus, 0x505, 1, &platform_pvpanic_handler, &platform);
	bus_add(&bus, 0x501, 1, &platform_mark_handler, &platform);
}

static void out(uint16_t port, uint8_t value)
{
	cr_assert(bus_write(&bus, port, &value, 1));
}

static uint8_t in(uint16_t port)
{
	uint8_t value = 0x55;

	cr_assert(bus_read(&bus, port, &value, 1));
	return value;
}

Test(platform, sleep_powers_off_with_enable_and_type_s5_only, .init = setup)
{
	unsigned int value;

	for (value = 0; value < 256; value++) {
		memset(&told, 0, sizeof(told));
		out(0x600, (uint8_t)value);
		cr_assert_eq(told.power_off, (value & 0x3c) == (0x20 | 5 << 2),
			     "%#x", value);
		out(0x601, (uint8_t)value); /* the status register */
		cr_assert_leq(told.power_off, 1);
		cr_assert_eq(told.reset + told.panicked + told.marks, 0);
	}
	cr_assert_eq(in(0x600), 0);
	cr_assert_eq(in(0x601), 0);
}

Test(platform, reset_register_resets_with_its_value_only, .init = setup)
{
	unsigned int value;

	for (value = 0; value < 256; value++)
		out(0x604, (uint8_t)value);
	cr_assert_eq(told.reset, 1);
	cr_assert_eq(in(0x604), 0);
}

Test(platform, keyboard_controller_resets_with_fe_only_and_is_never_busy,
     .init = setup)
{
	unsigned int value;

	for (value = 0; value < 256; value++)
		out(0x64, (uint8_t)value);
	cr_assert_eq(told.reset, 1);
	cr_assert_eq(in(0x64), 0);
}

Test(platform, pvpanic_tells_a_panic_but_not_a_crash_kernel_that_takes_over,
     .init = setup)
{
	cr_assert_eq(in(0x505), PLATFORM_PANICKED | PLATFORM_CRASH_LOADED);
	out(0x505, PLATFORM_CRASH_LOADED);
	out(0x505, 0);
	cr_assert_eq(told.panicked, 0);
	out(0x505, PLATFORM_PANICKED);
	out(0x505, PLATFORM_PANICKED | PLATFORM_CRASH_LOADED);
	cr_assert_eq(told.panicked, 2);
}

Test(platform, marks_are_told_with_their_value, .init = setup)
{
	out(0x501, 1);
	cr_assert_eq(told.mark, 1);
	out(0x501, 3);
	cr_assert_eq(told.mark, 3);
	cr_assert_eq(told.marks, 2);
	cr_assert_eq(in(0x501), 0);
}

Test(platform, bug03_wide_accesses_run_over_the_window_and_do_nothing,
     .init = setup)
{
	static const uint16_t ports[] = { 0x64, 0x604, 0x505, 0x501, 0x601 };
	uint32_t value = 0x01010101;
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(ports); i++) {
		cr_assert_not(bus_write(&bus, ports[i], &value, 4));
		cr_assert_not(bus_read(&bus, ports[i], &value, 2));
	}
	cr_assert_eq(told.reset + told.panicked + told.marks + told.power_off,
		     0);
	/* Control and status at once: the control register's byte counts. */
	value = 0x34;
	cr_assert(bus_write(&bus, 0x600, &value, 2));
	cr_assert_eq(told.power_off, 1);
	value = 0xffffffff;
	cr_assert(bus_read(&bus, 0x600, &value, 2));
	cr_assert_eq(value, 0xffff0000);
}
