/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a payload guest has: ports, registers, a console that speaks TAP, other
 * processors, interrupts, and the ways to end. A payload defines guest_main();
 * its image is booted by PVH with the first 4 GiB mapped one to one, interrupts
 * off, no exception handlers (any exception is a triple fault).
 */
#ifndef TESTS_GUEST_GUEST_H
#define TESTS_GUEST_GUEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Where guest_start_cpu puts its 16-bit code. */
#define SMP_TRAMPOLINE 0x8000

/* RAM above the image that payloads may use as they like. */
#define GUEST_SCRATCH 0x400000

/* Processors that guest_start_cpu has stacks for, the first included. */
#define GUEST_CPUS_MAX 16

void guest_main(void);

/* Runs on processor @index after guest_start_cpu; it sleeps when this returns. */
void guest_second_main(unsigned int index);

static inline void out8(uint16_t port, uint8_t value)
{
	__asm__ __volatile__("outb %0, %1" ::"a"(value), "Nd"(port));
}

static inline void out16(uint16_t port, uint16_t value)
{
	__asm__ __volatile__("outw %0, %1" ::"a"(value), "Nd"(port));
}

static inline void out32(uint16_t port, uint32_t value)
{
	__asm__ __volatile__("outl %0, %1" ::"a"(value), "Nd"(port));
}

static inline uint8_t in8(uint16_t port)
{
	uint8_t value;

	__asm__ __volatile__("inb %1, %0" : "=a"(value) : "Nd"(port));
	return value;
}

static inline uint16_t in16(uint16_t port)
{
	uint16_t value;

	__asm__ __volatile__("inw %1, %0" : "=a"(value) : "Nd"(port));
	return value;
}

static inline uint32_t in32(uint16_t port)
{
	uint32_t value;

	__asm__ __volatile__("inl %1, %0" : "=a"(value) : "Nd"(port));
	return value;
}

/* String instructions: one exit may carry many bytes. */
static inline void out_bytes(uint16_t port, const void *from, size_t count)
{
	__asm__ __volatile__("rep outsb"
			     : "+S"(from), "+c"(count)
			     : "d"(port)
			     : "memory");
}

static inline void in_bytes(uint16_t port, void *to, size_t count)
{
	__asm__ __volatile__("rep insb"
			     : "+D"(to), "+c"(count)
			     : "d"(port)
			     : "memory");
}

static inline void pause(void)
{
	__asm__ __volatile__("pause");
}

/* Processor ticks, of a rate between 1 and 6 GHz. */
static inline uint64_t ticks(void)
{
	uint32_t low, high;

	__asm__ __volatile__("rdtsc" : "=a"(low), "=d"(high)::"memory");
	return (uint64_t)high << 32 | low;
}

/* So long a payload waits for what must come, and for what must not. */
#define TICKS_PATIENCE UINT64_C(30000000000)
#define TICKS_MOMENT UINT64_C(20000000)

void wait_ticks(uint64_t count);

/* Registers at a guest-physical address, by width. */
uint8_t read8(uint64_t address);
uint16_t read16(uint64_t address);
uint32_t read32(uint64_t address);
uint64_t read64(uint64_t address);
void write8(uint64_t address, uint8_t value);
void write16(uint64_t address, uint16_t value);
void write32(uint64_t address, uint32_t value);
void write64(uint64_t address, uint64_t value);

/* The console. print knows %s %u (unsigned int) %x (uint64_t) and %%. */
void print(const char *format, ...);

/*
 * TAP: a line per test, the plan at the end. tap_equal says what it got when
 * that is not what was wanted. @detail, in both, is one word more about which
 * case it was, or NULL.
 */
void tap(bool ok, const char *name);
void tap_case(bool ok, const char *name, const char *detail);
void tap_equal(uint64_t got, uint64_t wanted, const char *name,
	       const char *detail);
void tap_end(void);

/* The command line that the monitor passed on, and whether it begins so. */
const char *command_line(void);
bool command_line_begins(const char *word);

/* @rounds, or more or fewer: "full" and "few" on the command line. */
unsigned int guest_rounds(unsigned int rounds);

/*
 * Wakes processor @index (1 to GUEST_CPUS_MAX - 1), which runs
 * guest_second_main. False: it did not come.
 */
bool guest_start_cpu(unsigned int index);

/*
 * From now on interrupt pin @pin of the IOAPIC, edge-triggered, calls @handler
 * on this processor whenever it has interrupts enabled. Once only.
 */
void guest_take_interrupt(unsigned int pin, void (*handler)(void));

/* Sleeps until an interrupt has been handled; off before and after. */
static inline void sleep_for_interrupt(void)
{
	__asm__ __volatile__("sti; hlt; cli" ::: "memory");
}

/* Ends the VM by ACPI: 0 for the exit status of `run`. */
__attribute__((noreturn)) void power_off(void);

/* Never returns, interrupts off. */
__attribute__((noreturn)) void halt(void);

void *memset(void *to, int byte, size_t count);
void *memcpy(void *to, const void *from, size_t count);
int memcmp(const void *a, const void *b, size_t count);

/* Whether all @count bytes, a multiple of 8 and not 0, are @byte. */
bool is_filled(const void *start, uint8_t byte, size_t count);

#endif
