/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Each of the four fences of memory/fences.h is needed: a litmus test around the
 * project's own functions finds the forbidden outcome when that fence is taken
 * out, and does not find it when it is there. Prints TAP. Needs two processors and
 * SLUICE_TEST_HOOKS.
 *
 *	litmus_fences 1000000	rounds with all fences; those without may take more
 *
 *	access	device:	publish, commit, translate
 *		guest:	UNMAP
 *		forbidden: the device reaches the page, and the UNMAP is answered
 *
 *	wake	device:	clear, settle
 *		guest:	UNMAP, while the request is in flight
 *		forbidden: the UNMAP is parked, and the device does not answer it
 *
 * The two threads meet in each round. What has been read by one of them is then
 * slow to be written by the other, which makes the windows wide: so the device
 * reads the words of the map first, and the guest the device's slots.
 */
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "memory/base.h"
#include "memory/dma.h"
#include "memory/fences.h"
#include "memory/guest_memory.h"
#include "memory/iommu.h"

#define P PAGE_SIZE
#define DEFAULT_ROUNDS 1000000
#define ENOUGH 5 /* forbidden outcomes, where they have to show */
#define PATIENCE_S 120

/* The mapping is of one leaf, or less, and ends there. */
#define LAST (2 * MIB - 1)

unsigned int fence_hooks;

struct litmus {
	const char *name;
	void *(*device)(void *argument);
	void (*round)(uint64_t *number);
	uint64_t first; /* of the mapping */
	uint32_t dawdle; /* turns of an empty loop */
};

static const struct litmus *litmus;

static struct guest_memory memory;
static struct iommu iommu;
static struct dma door;

static uint64_t forbidden; /* outcomes; the guest's thread */
/* Atomics. */
static uint32_t answered;
static uint32_t reached; /* by the device's translation */
static uint32_t over;
static uint64_t arrived; /* both threads, all meetings */

static void set(uint32_t *flag, uint32_t value)
{
	__atomic_store_n(flag, value, __ATOMIC_RELEASE);
}

static uint32_t get(const uint32_t *flag)
{
	return __atomic_load_n(flag, __ATOMIC_ACQUIRE);
}

static void answer(void *context, uint64_t cookie, enum iommu_status status)
{
	(void)context;
	(void)cookie;
	(void)status;
	set(&answered, 1);
}

static void quiet(void *context)
{
	(void)context;
}

static const struct iommu_answers answers = { answer, quiet };

static uint32_t random_next(uint64_t *seed)
{
	*seed = *seed * UINT64_C(6364136223846793005) +
		UINT64_C(1442695040888963407);
	return (uint32_t)(*seed >> 33);
}

/* For a random time, up to that of an UNMAP. */
static void dawdle(uint64_t *seed)
{
	uint32_t turns = random_next(seed) % litmus->dawdle;

	for (; turns > 0; turns--)
		__asm__ __volatile__("");
}

/* One turn of a loop that waits for the other thread, which may not run now. */
static void wait_turn(unsigned int *turns)
{
	__builtin_ia32_pause();
	if (++*turns % 64 == 0)
		sched_yield();
}

/* --- what both litmus tests do --- */

static void map(void)
{
	iommu_begin(&iommu);
	if (iommu_map(&iommu, 1, IOVA(litmus->first), IOVA(LAST), GPA(0),
		      IOMMU_MAP_READ | IOMMU_MAP_WRITE) != IOMMU_OK)
		abort();
	iommu_end(&iommu);
}

static void unmap(uint64_t first, uint64_t last)
{
	set(&answered, 0);
	iommu_begin(&iommu);
	if (iommu_unmap(&iommu, 1, IOVA(first), IOVA(last), 0) !=
	    IOMMU_DEFERRED)
		abort();
	iommu_finish(&iommu);
	iommu_end(&iommu);
}

/* Puts a request for the last @pages in flight. Whether it reaches the first. */
static bool request_begin(uint64_t pages)
{
	const struct dma_span span = { IOVA(LAST + 1 - pages * P),
				       (uint32_t)(pages * P), DMA_WRITE };
	struct dma_position position = { 0 };
	const struct dma_span *published;
	struct dma_fault fault;
	struct iovec iov;

	if (dma_publish(&door, 0, &span, 1, &published))
		abort();
	dma_commit(&door);
	return dma_translate(&door, published, 1, DMA_WRITE, UINT64_MAX,
			     &position, &iov, 1, &fault) == 1;
}

static void request_end(void)
{
	dma_clear(&door, 0);
	dma_settle(&door);
}

/* The @number-th meeting of the two threads. */
static void meet(uint64_t number)
{
	unsigned int turns = 0;

	__atomic_fetch_add(&arrived, 1, __ATOMIC_SEQ_CST);
	while (__atomic_load_n(&arrived, __ATOMIC_ACQUIRE) < 2 * number)
		wait_turn(&turns);
}

/* --- access --- */

static void *access_device(void *argument)
{
	uint64_t number = 0;
	uint64_t seed = 1;

	(void)argument;
	for (;;) {
		meet(++number);
		if (get(&over))
			return NULL;
		request_begin((LAST + 1 - litmus->first) / P);
		request_end();
		meet(++number);
		meet(++number);
		dawdle(&seed);
		set(&reached, request_begin(1));
		meet(++number);
		meet(++number);
		request_end();
	}
}

static void access_round(uint64_t *number)
{
	map();
	meet(++*number);
	meet(++*number);
	unmap(LAST + 1, LAST + 1);
	meet(++*number);
	unmap(litmus->first, LAST);
	meet(++*number);
	forbidden += get(&answered) && get(&reached);
	meet(++*number);
}

/* --- wake --- */

static void *wake_device(void *argument)
{
	uint64_t number = 0;
	uint64_t seed = 1;

	(void)argument;
	for (;;) {
		meet(++number);
		if (get(&over))
			return NULL;
		request_begin(1);
		meet(++number);
		dawdle(&seed);
		request_end();
		meet(++number);
	}
}

static void wake_round(uint64_t *number)
{
	map();
	meet(++*number);
	meet(++*number);
	unmap(litmus->first, LAST);
	meet(++*number);
	if (get(&answered))
		return;
	forbidden++;
	iommu_wake(&iommu);
}

/* --- both --- */

static const struct litmus access_litmus = { "access", access_device,
					     access_round, LAST + 1 - 64 * P,
					     1024 };
static const struct litmus wake_litmus = { "wake", wake_device, wake_round,
					   LAST + 1 - 8 * P, 1024 };

static void set_up(void)
{
	static const struct guest_memory_range range = { 0, 2 * MIB };
	static const struct iommu_config config = {
		.input_bits = 32,
		.domain_last = 1,
		.endpoints_max = 1,
		.requests_max = 4,
		.faults_max = 1,
		.tables = MIB,
	};

	if (guest_memory_init(&memory, &range, 1, GUEST_MEMORY_SMALL_PAGES) ||
	    iommu_init(&iommu, &config) || dma_init(&door, &memory, 4))
		abort();
	iommu_set_answers(&iommu, &answers, NULL);
	if (dma_attach_endpoint(&door, iommu_add_endpoint(&iommu, 1)))
		abort();
	iommu_begin(&iommu);
	if (iommu_attach(&iommu, 1, 1, 0, 0) != IOMMU_OK)
		abort();
	iommu_end(&iommu);
}

static void tear_down(void)
{
	dma_destroy(&door);
	iommu_destroy(&iommu);
	guest_memory_destroy(&memory);
}

/* Runs until there were @rounds or @enough forbidden outcomes. */
static uint64_t run(const struct litmus *which, unsigned int without,
		    uint64_t rounds, uint64_t enough, uint64_t *done)
{
	time_t until = time(NULL) + PATIENCE_S;
	uint64_t number = 0;
	pthread_t thread;

	litmus = which;
	fence_hooks = without;
	answered = 0;
	reached = 0;
	over = 0;
	forbidden = 0;
	arrived = 0;
	set_up();
	if (pthread_create(&thread, NULL, litmus->device, NULL))
		abort();
	for (*done = 0; *done < rounds; ++*done) {
		litmus->round(&number);
		if (forbidden >= enough ||
		    (*done % 1000 == 0 && time(NULL) > until))
			break;
	}
	set(&over, 1);
	meet(++number);
	pthread_join(thread, NULL);
	tear_down();
	return forbidden;
}

int main(int argc, char **argv)
{
	static const struct {
		const char *name;
		const struct litmus *litmus;
		unsigned int hook;
	} fences[] = {
		{ "publish", &access_litmus, FENCE_HOOK_PUBLISH },
		{ "scan", &access_litmus, FENCE_HOOK_SCAN },
		{ "wake", &wake_litmus, FENCE_HOOK_WAKE },
		{ "park", &wake_litmus, FENCE_HOOK_PARK },
	};
	uint64_t rounds = argc > 1 ? strtoull(argv[1], NULL, 10) : 0;
	unsigned int test = 0;
	int failed = 0;
	uint64_t count;
	uint64_t done;
	unsigned int i;

	if (rounds == 0)
		rounds = DEFAULT_ROUNDS;
	if (sysconf(_SC_NPROCESSORS_ONLN) < 2) {
		printf("1..0 # SKIP one processor sees its own accesses in order\n");
		return 0;
	}
	printf("1..6\n");
	for (i = 0; i < 2; i++) {
		const struct litmus *which = i ? &wake_litmus : &access_litmus;

		count = run(which, 0, rounds, 1, &done);
		failed |= count > 0;
		printf("%sok %u - %s with all fences: %lu of %lu rounds go wrong\n",
		       count ? "not " : "", ++test, which->name, count, done);
		fflush(stdout);
	}
	for (i = 0; i < ARRAY_SIZE(fences); i++) {
		count = run(fences[i].litmus, fences[i].hook, UINT64_MAX,
			    ENOUGH, &done);
		failed |= count == 0;
		printf("%sok %u - %s without fence_%s: %lu of %lu rounds go wrong\n",
		       count ? "" : "not ", ++test, fences[i].litmus->name,
		       fences[i].name, count, done);
		fflush(stdout);
	}
	return failed;
}
