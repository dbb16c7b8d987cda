/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/guest/guest.h"

#include <stdarg.h>

#include "vmm/layout.h"

#define LOCAL_APIC_ICR_LOW (LAYOUT_LOCAL_APIC + 0x300)
#define LOCAL_APIC_ICR_HIGH (LAYOUT_LOCAL_APIC + 0x310)
#define LOCAL_APIC_SPURIOUS (LAYOUT_LOCAL_APIC + 0xf0)

extern const uint8_t trampoline[], trampoline_end[];

static unsigned int tests;

/* Accesses are one instruction each, of the width that the name says. */
#define DEFINE_ACCESS(width)                                               \
	uint##width##_t read##width(uint64_t address)                      \
	{                                                                  \
		return *(volatile uint##width##_t *)(uintptr_t)address;    \
	}                                                                  \
	void write##width(uint64_t address, uint##width##_t value)         \
	{                                                                  \
		*(volatile uint##width##_t *)(uintptr_t)address = value;   \
	}

DEFINE_ACCESS(8)
DEFINE_ACCESS(16)
DEFINE_ACCESS(32)
DEFINE_ACCESS(64)

static void put(char c)
{
	out8(LAYOUT_PORT_COM1, (uint8_t)c);
}

static void put_number(uint64_t value, unsigned int base)
{
	char digits[20];
	unsigned int count = 0;

	do {
		digits[count++] = "0123456789abcdef"[value % base];
		value /= base;
	} while (value != 0);
	while (count > 0)
		put(digits[--count]);
}

void print(const char *format, ...)
{
	va_list arguments;
	const char *text;

	va_start(arguments, format);
	for (; *format != '\0'; format++) {
		if (*format != '%') {
			put(*format);
			continue;
		}
		switch (*++format) {
		case 's':
			for (text = va_arg(arguments, const char *);
			     *text != '\0'; text++)
				put(*text);
			break;
		case 'u':
			put_number(va_arg(arguments, unsigned int), 10);
			break;
		case 'x':
			put_number(va_arg(arguments, uint64_t), 16);
			break;
		default:
			put(*format);
		}
	}
	va_end(arguments);
}

void tap(bool ok, const char *name)
{
	print("%s %u - %s\n", ok ? "ok" : "not ok", ++tests, name);
}

void tap_end(void)
{
	print("1..%u\n", tests);
}

void guest_start_cpu(void)
{
	memcpy((void *)SMP_TRAMPOLINE, trampoline,
	       (size_t)(trampoline_end - trampoline));
	write32(LOCAL_APIC_SPURIOUS, 0x1ff); /* enable the local APIC */
	write32(LOCAL_APIC_ICR_HIGH, 1u << 24); /* to processor 1 */
	write32(LOCAL_APIC_ICR_LOW, 0x4500); /* INIT */
	for (unsigned int i = 0; i < 1000; i++)
		pause();
	write32(LOCAL_APIC_ICR_HIGH, 1u << 24);
	write32(LOCAL_APIC_ICR_LOW, 0x4600 | SMP_TRAMPOLINE >> 12); /* SIPI */
}

__attribute__((weak)) void guest_second_main(void)
{
}

void power_off(void)
{
	out8(LAYOUT_PORT_SLEEP, 5 << 2 | 1 << 5); /* S5, SLP_EN */
	for (;;)
		__asm__ __volatile__("cli; hlt");
}

/* The compiler calls these three for assignments and initialisers. */
void *memset(void *to, int byte, size_t count)
{
	void *start = to;

	__asm__ __volatile__("rep stosb"
			     : "+D"(to), "+c"(count)
			     : "a"(byte)
			     : "memory");
	return start;
}

void *memcpy(void *to, const void *from, size_t count)
{
	void *start = to;

	__asm__ __volatile__("rep movsb"
			     : "+D"(to), "+S"(from), "+c"(count)
			     :
			     : "memory");
	return start;
}

int memcmp(const void *a, const void *b, size_t count)
{
	const uint8_t *left = a, *right = b;

	for (size_t i = 0; i < count; i++)
		if (left[i] != right[i])
			return left[i] - right[i];
	return 0;
}
