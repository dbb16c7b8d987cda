/* SPDX-License-Identifier: Apache-2.0 */
/* A piece of what a request touches: the currency of the door (memory/dma.h). */
#ifndef MEMORY_SPAN_H
#define MEMORY_SPAN_H

#include <stdint.h>

#include "memory/addr.h"

/* What the device does to guest memory. */
enum dma_access {
	DMA_READ = 1,
	DMA_WRITE = 2,
};

/* @len bytes at @first, of one direction. @len may be 0. */
struct dma_span {
	iova_t first;
	uint32_t len;
	enum dma_access access;
};

#endif
