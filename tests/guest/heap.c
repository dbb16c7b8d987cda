/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What virtio/driver.c asks of a C library. Memory comes from one end, and all
 * of it is there again when everything was given back: enough for rings that
 * are set up anew for each test.
 */
#include <stdlib.h>

#include <stdint.h>

#include "tests/guest/guest.h"

#define HEAP_BYTES 65536
#define ALIGNMENT 16

static uint8_t heap[HEAP_BYTES] __attribute__((aligned(ALIGNMENT)));
static size_t used, owners;

void *calloc(size_t count, size_t size)
{
	size_t bytes, end;
	void *start = heap + used;

	if (__builtin_mul_overflow(count, size, &bytes) ||
	    __builtin_add_overflow(used, bytes, &end) ||
	    end > HEAP_BYTES - ALIGNMENT)
		return NULL;
	used = (end + ALIGNMENT - 1) & ~(size_t)(ALIGNMENT - 1);
	owners++;
	return memset(start, 0, bytes);
}

void free(void *start)
{
	if (start && --owners == 0)
		used = 0;
}
