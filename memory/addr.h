/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Addresses are types, so that a guest-physical and a device address cannot be
 * mixed by mistake. Both are plain 64-bit numbers in the machine code.
 *
 * Ranges are inclusive, [first, last]: the last byte of the address space can
 * then be named, and no length of 2^64 is needed.
 */
#ifndef MEMORY_ADDR_H
#define MEMORY_ADDR_H

#include <stdbool.h>
#include <stdint.h>

/* A guest-physical address, in bytes. */
typedef struct {
	uint64_t v;
} gpa_t;

/* An address as a device sees it (I/O virtual address), in bytes. */
typedef struct {
	uint64_t v;
} iova_t;

#define GPA(value) ((gpa_t){ (value) })
#define IOVA(value) ((iova_t){ (value) })

/*
 * The last byte of @len bytes from @first. False, and *@last untouched, when
 * @len is 0 or the range runs past 2^64.
 */
static inline bool range_last(uint64_t first, uint64_t len, uint64_t *last)
{
	uint64_t end;

	if (len == 0 || __builtin_add_overflow(first, len - 1, &end))
		return false;
	*last = end;
	return true;
}

#endif
