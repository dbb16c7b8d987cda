/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Helpers that every room uses. Nothing here allocates, locks or calls the
 * system.
 */
#ifndef MEMORY_BASE_H
#define MEMORY_BASE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define ARRAY_SIZE(array) (sizeof(array) / sizeof((array)[0]))

/* The object that holds @pointer as its member @member. */
#define container_of(pointer, type, member) \
	((type *)((char *)(pointer)-offsetof(type, member)))

#define MIN(a, b) ((a) < (b) ? (a) : (b))
#define MAX(a, b) ((a) > (b) ? (a) : (b))

#define KIB (UINT64_C(1) << 10)
#define MIB (UINT64_C(1) << 20)
#define GIB (UINT64_C(1) << 30)

/* The page size of every x86 guest and host; also the IOMMU's smallest one. */
#define PAGE_SHIFT 12
#define PAGE_SIZE (UINT64_C(1) << PAGE_SHIFT)

/*
 * Whether @value is aligned to @alignment, a power of two.
 */
static inline bool is_aligned(uint64_t value, uint64_t alignment)
{
	return (value & (alignment - 1)) == 0;
}

static inline uint64_t align_down(uint64_t value, uint64_t alignment)
{
	return value & ~(alignment - 1);
}

/* Wraps to a small number near 2^64: callers check @value's range first. */
static inline uint64_t align_up(uint64_t value, uint64_t alignment)
{
	return (value + alignment - 1) & ~(alignment - 1);
}

static inline bool is_power_of_two(uint64_t value)
{
	return value != 0 && (value & (value - 1)) == 0;
}

/*
 * The one full memory barrier of the project: no load after it is satisfied
 * before every store ahead of it is visible to all processors. A lock-prefixed
 * operation on the own stack is the cheapest such barrier on x86 (mfence costs
 * several times as much).
 */
static inline void full_fence(void)
{
	__asm__ __volatile__("lock; addl $0, -4(%%rsp)" ::: "memory", "cc");
}

#endif
