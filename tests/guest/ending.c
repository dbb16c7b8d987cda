/* SPDX-License-Identifier: Apache-2.0 */
/*
 * All the ways in which a guest ends, or does not: the first word of the command
 * line says which. Each says "ready" first, but for "silent".
 */
#include "memory/base.h"
#include "tests/guest/guest.h"
#include "vmm/layout.h"

#define PANICKED 1

/* What the test of the marks counts on: exits between 2 and 3. */
#define MARKED_PORT_EXITS 7
#define MARKED_MMIO_EXITS 5

static void reset_acpi(void)
{
	out8(LAYOUT_PORT_RESET, LAYOUT_RESET_VALUE);
}

static void reset_keyboard(void)
{
	out8(LAYOUT_PORT_KEYBOARD, 0xfe);
}

/* There is no interrupt descriptor table. */
static void triple_fault(void)
{
	__asm__ __volatile__("ud2");
}

static void pvpanic(void)
{
	out8(LAYOUT_PORT_PVPANIC, PANICKED);
}

static void pvpanic_reset(void)
{
	pvpanic();
	reset_acpi();
}

static void pvpanic_off(void)
{
	pvpanic();
	power_off();
}

/* CRASH_LOADED: a crash kernel takes over, and this one goes on. */
static void crash_loaded(void)
{
	out8(LAYOUT_PORT_PVPANIC, 2);
	power_off();
}

static void panic_text(void)
{
	print("[    1.0] Kernel panic - not syncing: VFS\n");
	reset_keyboard();
}

static void panic_text_off(void)
{
	print("[    1.0] Kernel panic - not syncing: VFS\n");
	power_off();
}

static void spin(void)
{
	for (;;)
		pause();
}

/* The power button is an edge on its pin. */
static void button(void)
{
	guest_take_interrupt(LAYOUT_IRQ_POWER_BUTTON, power_off);
	for (;;)
		sleep_for_interrupt();
}

static void marks(void)
{
	out8(LAYOUT_PORT_MARK, 1);
	in8(LAYOUT_PORT_RESET);
	out8(LAYOUT_PORT_MARK, 2);
	for (unsigned int i = 0; i < MARKED_PORT_EXITS; i++)
		in8(LAYOUT_PORT_RESET);
	for (unsigned int i = 0; i < MARKED_MMIO_EXITS; i++)
		read32(LAYOUT_MMIO_DEVICES);
	out8(LAYOUT_PORT_MARK, 3);
	in8(LAYOUT_PORT_RESET);
	power_off();
}

static const struct {
	const char *word;
	void (*run)(void);
} endings[] = {
	{ "power_off", power_off },
	{ "reset_acpi", reset_acpi },
	{ "reset_keyboard", reset_keyboard },
	{ "triple_fault", triple_fault },
	{ "pvpanic", pvpanic },
	{ "pvpanic_reset", pvpanic_reset },
	{ "pvpanic_off", pvpanic_off },
	{ "crash_loaded", crash_loaded },
	{ "panic_text", panic_text },
	{ "panic_text_off", panic_text_off },
	{ "halt", halt },
	{ "spin", spin },
	{ "button", button },
	{ "marks", marks },
};

void guest_main(void)
{
	if (command_line_begins("silent"))
		spin();
	print("ready\n");
	for (unsigned int i = 0; i < ARRAY_SIZE(endings); i++)
		if (command_line_begins(endings[i].word))
			endings[i].run();
	halt();
}
