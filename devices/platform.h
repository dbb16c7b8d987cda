/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The few ports of the platform that are no device of their own: ACPI sleep
 * and reset registers, the keyboard controller's reset line (port 0x64), the
 * pvpanic port, and the mark port 0x501 for guests that want to be timed.
 * vCPU threads; what happens is told to a listener.
 */
#ifndef DEVICES_PLATFORM_H
#define DEVICES_PLATFORM_H

#include "devices/bus.h"

#include <stdint.h>

/* pvpanic events (the guest writes a bit mask). */
#define PLATFORM_PANICKED 1
#define PLATFORM_CRASH_LOADED 2

#define PLATFORM_RESET_VALUE 1 /* FADT's RESET_VALUE */
#define PLATFORM_SLEEP_PORTS 2 /* SLEEP_CONTROL, SLEEP_STATUS */
#define PLATFORM_SLEEP_TYPE_S5 5 /* SLP_TYP that means power off; in \_S5 */

/* What the guest asked for. vCPU threads, several at a time; all are set. */
struct platform_listener {
	void (*power_off)(void *context);
	void (*reset)(void *context);
	void (*panicked)(void *context);
	void (*mark)(void *context, uint8_t value);
	void *context;
};

struct platform {
	struct platform_listener listener;
};

/*
 * Each a window of a port bus; device = struct platform. Only the first byte of
 * a wider access counts. What is not named here is ignored; reads give 0 (port
 * 0x64: nothing to fetch, ready for a command).
 */
/* ACPI sleep control (SLP_EN with SLP_TYP S5: power_off), sleep status. 2 ports. */
extern const struct bus_handler platform_sleep_handler;
/* The ACPI reset register: a write of PLATFORM_RESET_VALUE resets. 1 port. */
extern const struct bus_handler platform_reset_handler;
/* Port 0x64: command 0xfe pulses the processor's reset line. */
extern const struct bus_handler platform_keyboard_handler;
/* pvpanic: reads give the events known; PLATFORM_PANICKED is told. 1 port. */
extern const struct bus_handler platform_pvpanic_handler;
/* Port 0x501: each byte is told as a mark. */
extern const struct bus_handler platform_mark_handler;

#endif
