/* SPDX-License-Identifier: Apache-2.0 */
#include "devices/platform.h"

#include <string.h>

/* ACPI 6.5, 4.8.3.7: sleep control register of hardware-reduced platforms. */
#define SLEEP_ENABLE (1 << 5)
#define SLEEP_TYPE_SHIFT 2
#define SLEEP_TYPE_MASK 7

#define KEYBOARD_PULSE_RESET 0xfe

static void read_zero(void *device, uint64_t offset, void *data, uint32_t len)
{
	(void)device;
	(void)offset;
	memset(data, 0, len);
}

/* The first byte is the register's; what follows belongs to other ports. */
static uint8_t first_byte(const void *data)
{
	return *(const uint8_t *)data;
}

static void sleep_write(void *device, uint64_t offset, const void *data,
			uint32_t len)
{
	struct platform *platform = device;
	uint8_t value = first_byte(data);

	(void)len;
	/* The status register: writes acknowledge a wake-up, there is none. */
	if (offset != 0 || !(value & SLEEP_ENABLE))
		return;
	if (((value >> SLEEP_TYPE_SHIFT) & SLEEP_TYPE_MASK) ==
	    PLATFORM_SLEEP_TYPE_S5)
		platform->listener.power_off(platform->listener.context);
}

static void reset_write(void *device, uint64_t offset, const void *data,
			uint32_t len)
{
	struct platform *platform = device;

	(void)offset;
	(void)len;
	if (first_byte(data) == PLATFORM_RESET_VALUE)
		platform->listener.reset(platform->listener.context);
}

static void keyboard_write(void *device, uint64_t offset, const void *data,
			   uint32_t len)
{
	struct platform *platform = device;

	(void)offset;
	(void)len;
	if (first_byte(data) == KEYBOARD_PULSE_RESET)
		platform->listener.reset(platform->listener.context);
}

static void pvpanic_read(void *device, uint64_t offset, void *data,
			 uint32_t len)
{
	(void)device;
	(void)offset;
	memset(data, 0, len);
	*(uint8_t *)data = PLATFORM_PANICKED | PLATFORM_CRASH_LOADED;
}

static void pvpanic_write(void *device, uint64_t offset, const void *data,
			  uint32_t len)
{
	struct platform *platform = device;

	(void)offset;
	(void)len;
	/* CRASH_LOADED alone: the guest's crash kernel takes over, it goes on. */
	if (first_byte(data) & PLATFORM_PANICKED)
		platform->listener.panicked(platform->listener.context);
}

static void mark_write(void *device, uint64_t offset, const void *data,
		       uint32_t len)
{
	struct platform *platform = device;

	(void)offset;
	(void)len;
	platform->listener.mark(platform->listener.context, first_byte(data));
}

const struct bus_handler platform_sleep_handler = { read_zero, sleep_write };
const struct bus_handler platform_reset_handler = { read_zero, reset_write };
const struct bus_handler platform_keyboard_handler = { read_zero,
						       keyboard_write };
const struct bus_handler platform_pvpanic_handler = { pvpanic_read,
						      pvpanic_write };
const struct bus_handler platform_mark_handler = { read_zero, mark_write };
