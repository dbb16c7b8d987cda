/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a payload guest has: ports, registers, a console that speaks TAP, a
 * second processor, and the ways to end. A payload defines guest_main(); its
 * image is booted by PVH with the first 4 GiB mapped one to one, interrupts
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

void guest_main(void);

/* Runs on the second processor after guest_start_cpu. */
void guest_second_main(void);

static inline void out8(uint16_t port, uint8_t value)
{
	__asm__ __volatile__("outb %0, %1" ::"a"(value), "Nd"(port));
}

static inline uint8_t in8(uint16_t port)
{
	uint8_t value;

	__asm__ __volatile__("inb %1, %0" : "=a"(value) : "Nd"(port));
	return value;
}

static inline void pause(void)
{
	__asm__ __volatile__("pause");
}

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

/* TAP: a line per test, the plan at the end. */
void tap(bool ok, const char *name);
void tap_end(void);

/* Wakes processor 1, which runs guest_second_main. */
void guest_start_cpu(void);

/* Ends the VM by ACPI: 0 for the exit status of `run`. */
__attribute__((noreturn)) void power_off(void);

void *memset(void *to, int byte, size_t count);
void *memcpy(void *to, const void *from, size_t count);
int memcmp(const void *a, const void *b, size_t count);

#endif
