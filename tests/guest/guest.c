/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/guest/guest.h"

#include <stdarg.h>

#include "vmm/layout.h"

#define LOCAL_APIC_EOI (LAYOUT_LOCAL_APIC + 0xb0)
#define LOCAL_APIC_SPURIOUS (LAYOUT_LOCAL_APIC + 0xf0)
#define LOCAL_APIC_ICR_LOW (LAYOUT_LOCAL_APIC + 0x300)
#define LOCAL_APIC_ICR_HIGH (LAYOUT_LOCAL_APIC + 0x310)
#define LOCAL_APIC_ENABLE 0x1ff

#define IOAPIC_SELECT LAYOUT_IOAPIC
#define IOAPIC_WINDOW (LAYOUT_IOAPIC + 0x10)
#define IOAPIC_REDIRECTION 0x10

#define PIC_FIRST_MASK 0x21
#define PIC_SECOND_MASK 0xa1

#define INTERRUPT_VECTOR 0x40
#define CODE_SEGMENT 0x08
#define INTERRUPT_GATE 0x8e00

#define STACK_BYTES 4096

/* Of the PVH start info. */
#define START_INFO_CMDLINE 24

extern const uint8_t trampoline[], trampoline_end[];
extern uint32_t start_info;

/* For start.S: the stack of the processor that is being woken. */
uint32_t guest_cpu_stack;
/* Called by start.S on that processor. */
void guest_cpu_arrived(void);

static unsigned int tests;

static uint8_t stacks[GUEST_CPUS_MAX][STACK_BYTES] __attribute__((aligned(16)));
static unsigned int cpu_called, cpu_arrived;

/* Accesses are one instruction each, of the width that the name says. */
#define DEFINE_ACCESS(width)                                             \
	uint##width##_t read##width(uint64_t address)                    \
	{                                                                \
		return *(volatile uint##width##_t *)(uintptr_t)address;  \
	}                                                                \
	void write##width(uint64_t address, uint##width##_t value)       \
	{                                                                \
		*(volatile uint##width##_t *)(uintptr_t)address = value; \
	}

DEFINE_ACCESS(8)
DEFINE_ACCESS(16)
DEFINE_ACCESS(32)
DEFINE_ACCESS(64)

void wait_ticks(uint64_t count)
{
	uint64_t start = ticks();

	while (ticks() - start < count)
		pause();
}

static void put_text(const char *text)
{
	size_t length = 0;

	while (text[length] != '\0')
		length++;
	out_bytes(LAYOUT_PORT_COM1, text, length);
}

static void put_number(uint64_t value, unsigned int base)
{
	char digits[21];
	char *at = digits + sizeof(digits);

	*--at = '\0';
	do {
		*--at = "0123456789abcdef"[value % base];
		value /= base;
	} while (value != 0);
	put_text(at);
}

void print(const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	for (; *format != '\0'; format++) {
		if (*format != '%') {
			out8(LAYOUT_PORT_COM1, (uint8_t)*format);
			continue;
		}
		switch (*++format) {
		case 's':
			put_text(va_arg(arguments, const char *));
			break;
		case 'u':
			put_number(va_arg(arguments, unsigned int), 10);
			break;
		case 'x':
			put_number(va_arg(arguments, uint64_t), 16);
			break;
		default:
			out8(LAYOUT_PORT_COM1, (uint8_t)*format);
		}
	}
	va_end(arguments);
}

void tap_case(bool ok, const char *name, const char *detail)
{
	print("%s %u - %s%s%s\n", ok ? "ok" : "not ok", ++tests, name,
	      detail ? ": " : "", detail ? detail : "");
}

void tap(bool ok, const char *name)
{
	tap_case(ok, name, NULL);
}

void tap_equal(uint64_t got, uint64_t wanted, const char *name,
	       const char *detail)
{
	tap_case(got == wanted, name, detail);
	if (got != wanted)
		print("# 0x%x instead of 0x%x\n", got, wanted);
}

void tap_end(void)
{
	print("1..%u\n", tests);
}

const char *command_line(void)
{
	return (const char *)(uintptr_t)read64(start_info + START_INFO_CMDLINE);
}

bool command_line_begins(const char *word)
{
	const char *line = command_line();

	while (*word != '\0' && *word == *line)
		word++, line++;
	return *word == '\0' && (*line == ' ' || *line == '\0');
}

unsigned int guest_rounds(unsigned int rounds)
{
	if (command_line_begins("full"))
		return rounds * 20;
	return command_line_begins("few") ? rounds / 5 : rounds;
}

__attribute__((weak)) void guest_second_main(unsigned int index)
{
	(void)index;
}

void guest_cpu_arrived(void)
{
	unsigned int index = cpu_called;

	/* Partner: the load in guest_start_cpu, which then reuses `index`. */
	__atomic_store_n(&cpu_arrived, index, __ATOMIC_RELEASE);
	guest_second_main(index);
}

/* An interprocessor interrupt, and the time that INIT takes on a real one. */
static void send(unsigned int index, uint32_t command)
{
	write32(LOCAL_APIC_ICR_HIGH, index << 24);
	write32(LOCAL_APIC_ICR_LOW, command);
	wait_ticks(TICKS_MOMENT);
}

bool guest_start_cpu(unsigned int index)
{
	uint64_t start = ticks();

	memcpy((void *)SMP_TRAMPOLINE, trampoline,
	       (size_t)(trampoline_end - trampoline));
	guest_cpu_stack = (uint32_t)(uintptr_t)stacks[index] + STACK_BYTES;
	cpu_called = index;
	write32(LOCAL_APIC_SPURIOUS, LOCAL_APIC_ENABLE);
	send(index, 0x4500); /* INIT */
	send(index, 0x4600 | SMP_TRAMPOLINE >> 12); /* start-up */
	while (__atomic_load_n(&cpu_arrived, __ATOMIC_ACQUIRE) != index) {
		if (ticks() - start > TICKS_PATIENCE)
			return false;
		pause();
	}
	return true;
}

struct frame;

static void (*interrupt_handler)(void);

__attribute__((interrupt)) static void interrupted(struct frame *frame)
{
	(void)frame;
	interrupt_handler();
	write32(LOCAL_APIC_EOI, 0);
}

static void write_ioapic(uint32_t index, uint32_t value)
{
	write32(IOAPIC_SELECT, index);
	write32(IOAPIC_WINDOW, value);
}

void guest_take_interrupt(unsigned int pin, void (*handler)(void))
{
	static uint64_t table[INTERRUPT_VECTOR + 1][2]
		__attribute__((aligned(16)));
	struct __attribute__((packed)) {
		uint16_t limit;
		uint64_t base;
	} pointer = { sizeof(table) - 1, (uintptr_t)table };
	uint64_t entry = (uintptr_t)interrupted;

	interrupt_handler = handler;
	table[INTERRUPT_VECTOR][0] = (entry & 0xffff) | CODE_SEGMENT << 16 |
				     (uint64_t)INTERRUPT_GATE << 32 |
				     (entry >> 16 & 0xffff) << 48;
	table[INTERRUPT_VECTOR][1] = entry >> 32;
	__asm__ __volatile__("lidt %0" ::"m"(pointer), "m"(table));
	out8(PIC_FIRST_MASK, 0xff); /* it would deliver the same pins */
	out8(PIC_SECOND_MASK, 0xff);
	write32(LOCAL_APIC_SPURIOUS, LOCAL_APIC_ENABLE);
	write_ioapic(IOAPIC_REDIRECTION + 2 * pin + 1, 0); /* processor 0 */
	write_ioapic(IOAPIC_REDIRECTION + 2 * pin, INTERRUPT_VECTOR);
}

void halt(void)
{
	for (;;)
		__asm__ __volatile__("cli; hlt");
}

void power_off(void)
{
	out8(LAYOUT_PORT_SLEEP, 5 << 2 | 1 << 5); /* S5, SLP_EN */
	halt();
}

static uint64_t eight_bytes(uint8_t byte)
{
	return byte * UINT64_C(0x0101010101010101);
}

bool is_filled(const void *start, uint8_t byte, size_t count)
{
	size_t words = count / sizeof(uint64_t);
	bool same;

	__asm__ __volatile__("repe scasq"
			     : "+D"(start), "+c"(words), "=@cce"(same)
			     : "a"(eight_bytes(byte))
			     : "memory");
	return same;
}

/* The compiler calls these three for assignments and initialisers. */
void *memset(void *to, int byte, size_t count)
{
	uint64_t pattern = eight_bytes((uint8_t)byte);
	size_t words = count / sizeof(pattern), rest = count % sizeof(pattern);
	void *start = to;

	__asm__ __volatile__("rep stosq"
			     : "+D"(to), "+c"(words)
			     : "a"(pattern)
			     : "memory");
	__asm__ __volatile__("rep stosb"
			     : "+D"(to), "+c"(rest)
			     : "a"(pattern)
			     : "memory");
	return start;
}

void *memcpy(void *to, const void *from, size_t count)
{
	size_t words = count / 8, rest = count % 8;
	void *start = to;

	__asm__ __volatile__("rep movsq"
			     : "+D"(to), "+S"(from), "+c"(words)
			     :
			     : "memory");
	__asm__ __volatile__("rep movsb"
			     : "+D"(to), "+S"(from), "+c"(rest)
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
