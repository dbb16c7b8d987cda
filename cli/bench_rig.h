/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is measured on: guest memory, an IOMMU and three doors, as the monitor
 * builds them, and a map of many buffers. No KVM, no device, one thread.
 */
#ifndef CLI_BENCH_RIG_H
#define CLI_BENCH_RIG_H

#include "memory/dma.h"
#include "memory/guest_memory.h"
#include "memory/iommu.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct error;

/* Requests in flight at a door, at most: the longest queue. */
#define BENCH_HEADS DMA_HEADS_MAX

/* The first mapped buffer. There is RAM at that guest address, too. */
#define BENCH_IOVA_FIRST (4 * GIB)

/* Buffers that a single MAP request covers; else each has its own. */
#define BENCH_BUFFERS_MIN 1000

/* The most that bench_rig_drain maps or unmaps. */
#define BENCH_DRAIN_MAX 32U

#define BENCH_DOMAIN 1

struct bench_rig {
	struct guest_memory memory;
	struct iommu iommu;
	struct dma off; /* no IOMMU */
	struct dma bypass; /* an endpoint that bypasses it */
	struct dma mapped; /* an endpoint behind the map */

	uint64_t mappings;
	uint64_t buffer_size; /* 4 KiB or 64 KiB */
	size_t buffer_count;
	uint32_t *shuffled; /* the numbers of all buffers, owned */
	/*
	 * The map as a plain array: where each page is in this process, from
	 * BENCH_IOVA_FIRST on. In pages of 4 KiB like the tables.
	 */
	void **array;
	size_t array_bytes;

	uint64_t refused; /* requests that were not answered OK */
};

/*
 * A map of @mappings MAP requests, each of a buffer of @buffer_size (4 KiB or
 * 64 KiB); or of one, which covers BENCH_BUFFERS_MIN buffers. Returns 0, or -1
 * with @error.
 */
int bench_rig_init(struct bench_rig *rig, uint64_t buffer_size,
		   uint64_t mappings, struct error *error);
void bench_rig_destroy(struct bench_rig *rig);

/* The device address of buffer @i. */
static inline uint64_t bench_rig_buffer(const struct bench_rig *rig, size_t i)
{
	return BENCH_IOVA_FIRST + i * rig->buffer_size;
}

/* Drains of the request queue: @count buffers behind all others. */
void bench_rig_map(struct bench_rig *rig, unsigned int count);
void bench_rig_unmap(struct bench_rig *rig, unsigned int count);

#endif
