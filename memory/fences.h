/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The four full fences between doors (memory/dma.c) and whoever takes a mapping
 * away (memory/wait_list.c). Each side stores, fences, and loads what the other
 * one stored; at least one of the two then sees the other.
 *
 *	door: publish a request;  fence_publish;  load the map
 *	else: clear the map;      fence_scan;     load what is published
 *
 *	door: clear a request;    fence_wake;     load `waiters`
 *	else: set `waiters`;      fence_park;     load what is published
 *
 * Take one away and DMA goes where nothing is mapped, or an UNMAP is never
 * answered. tests/model/in_flight.pml is the model, tests/stress/ holds programs
 * that fail without each: they compile these rooms with SLUICE_TEST_HOOKS, which
 * no product is built with.
 */
#ifndef MEMORY_FENCES_H
#define MEMORY_FENCES_H

#include "memory/base.h"

#ifdef SLUICE_TEST_HOOKS

enum fence_hook {
	FENCE_HOOK_PUBLISH = 1,
	FENCE_HOOK_SCAN = 2,
	FENCE_HOOK_WAKE = 4,
	FENCE_HOOK_PARK = 8,
	FENCE_HOOK_WAIT = 16, /* no fence: nobody waits for what is in flight */
};

/* What is taken out. Constant while threads run. */
extern unsigned int fence_hooks;

static inline void fence_unless(enum fence_hook hook)
{
	if (fence_hooks & hook)
		__asm__ __volatile__("" ::: "memory");
	else
		full_fence();
}

#else
#define fence_unless(hook) full_fence()
#endif

static inline void fence_publish(void)
{
	fence_unless(FENCE_HOOK_PUBLISH);
}

static inline void fence_scan(void)
{
	fence_unless(FENCE_HOOK_SCAN);
}

static inline void fence_wake(void)
{
	fence_unless(FENCE_HOOK_WAKE);
}

static inline void fence_park(void)
{
	fence_unless(FENCE_HOOK_PARK);
}

#endif
