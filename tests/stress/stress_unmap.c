/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Claim 2 of the project, tried by force: when an UNMAP or DETACH is answered, no
 * access to the old range is in flight or can start.
 *
 * Two mappers (the guest), each with a domain of its own, map pages, unmap them,
 * and use them for something else the moment the answer is there: a page that is
 * free is full of poison. Three device threads do DMA through their doors, by
 * requests and by rings. A device that reads poison, and poison that a device has
 * written over, are accesses after the answer. An answer that does not come is a
 * lost wake-up. Prints TAP.
 *
 *	stress_unmap 20000	that many rounds of each mapper
 *	stress_unmap 60s	that long
 *
 * Run twice: under the thread sanitizer for races, with guest memory accessed
 * plainly, so that the answer has to order it; and at -O2 for the fences, of which
 * the sanitizer knows nothing. Compiled with SLUICE_TEST_HOOKS it takes a second
 * argument, which names what is taken out ("wait"): then it must fail, and says
 * "ok" if it did.
 */
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "memory/base.h"
#include "memory/dma.h"
#include "memory/fences.h"
#include "memory/guest_memory.h"
#include "memory/iommu.h"

#define P PAGE_SIZE
#define DEFAULT_ROUNDS 20000
#define LOST_AFTER_S 60

#define MAPPERS 2U
#define DOORS 3U /* two of the first mapper's endpoint, one of the other's */
#define PAGES 96U /* of RAM, per mapper */
#define SLOTS 24U /* pages of device addresses; the last one has a ring */
#define RING_SLOT (SLOTS - 1)
#define FIRST_SLOT (2 * MIB - 12 * P) /* in two leaves */
#define HEADS 16U
#define BATCH 4U

#define WORDS 64U /* of each page that are looked at */
#define POISON UINT64_C(0xdeaddeaddeaddead)
#define NO_PAGE UINT32_MAX

struct mapper {
	unsigned int index;
	uint64_t seed;
	uint32_t unanswered; /* atomic */
	uint32_t slots[SLOTS]; /* page that is mapped there */
	uint32_t free[PAGES]; /* oldest first */
	unsigned int free_first;
	unsigned int free_count;
	uint32_t leaving[PAGES]; /* unmapped, not answered yet */
	unsigned int leaving_count;
	uint64_t rounds;
	uint64_t unmaps;
};

struct device {
	unsigned int index;
	uint64_t seed;
	struct dma door;
	struct dma_ring ring;
	bool has_ring;
	uint64_t accesses;
};

static struct guest_memory memory;
static struct iommu iommu;
static struct mapper mappers[MAPPERS];
static struct device devices[DOORS];
static uint64_t rounds_wanted;
static uint64_t seconds_wanted;
static uint32_t stop; /* atomics */
static uint32_t violations;
static uint32_t lost;

#ifdef SLUICE_TEST_HOOKS
unsigned int fence_hooks;
#endif

static uint32_t random_next(uint64_t *state)
{
	*state = *state * UINT64_C(6364136223846793005) +
		 UINT64_C(1442695040888963407);
	return (uint32_t)(*state >> 33);
}

static uint64_t now_s(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec;
}

static bool is_over(void)
{
	return __atomic_load_n(&stop, __ATOMIC_RELAXED);
}

static void end_with(uint32_t *what)
{
	__atomic_fetch_add(what, 1, __ATOMIC_RELAXED);
	__atomic_store_n(&stop, 1, __ATOMIC_RELAXED);
}

/* The words of a page; plain accesses, not optimised away. */
static volatile uint64_t *page_words(const struct mapper *mapper, uint32_t page)
{
	uint64_t gpa = (mapper->index * PAGES + page) * P;

	return guest_memory_host(&memory, GPA(gpa), P);
}

/* --- the mappers --- */

static void page_poison(const struct mapper *mapper, uint32_t page)
{
	volatile uint64_t *words = page_words(mapper, page);
	unsigned int i;

	for (i = 0; i < WORDS; i++)
		words[i] = POISON;
}

/* The page that has been free for the longest, filled with something else. */
static uint32_t page_take(struct mapper *mapper)
{
	uint32_t page = mapper->free[mapper->free_first];
	volatile uint64_t *words = page_words(mapper, page);
	unsigned int i;

	mapper->free_first = (mapper->free_first + 1) % PAGES;
	mapper->free_count--;
	for (i = 0; i < WORDS; i++) {
		if (words[i] != POISON)
			end_with(&violations);
		words[i] = mapper->rounds;
	}
	return page;
}

static void page_give(struct mapper *mapper, uint32_t page)
{
	unsigned int last = (mapper->free_first + mapper->free_count++) % PAGES;

	page_poison(mapper, page);
	mapper->free[last] = page;
}

static void answer(void *context, uint64_t cookie, enum iommu_status status)
{
	(void)context;
	if (status == IOMMU_OK)
		__atomic_fetch_sub(&mappers[cookie].unanswered, 1,
				   __ATOMIC_ACQ_REL);
}

static void quiet(void *context)
{
	(void)context;
}

static const struct iommu_answers answers = { answer, quiet };

static void expect(bool good, const char *what)
{
	if (good)
		return;
	printf("not ok - %s\n", what);
	fflush(stdout);
	_Exit(1);
}

static void count_request(struct mapper *mapper, enum iommu_status status)
{
	expect(status == IOMMU_DEFERRED || status == IOMMU_OK,
	       "a request is refused");
	if (status == IOMMU_DEFERRED)
		__atomic_fetch_add(&mapper->unanswered, 1, __ATOMIC_RELAXED);
}

static iova_t slot_first(unsigned int slot)
{
	return IOVA(FIRST_SLOT + slot * P);
}

static iova_t slot_last(unsigned int slot)
{
	return IOVA(FIRST_SLOT + slot * P + P - 1);
}

/* As a guest does: the pages are another's when the answer is there. */
static void wait_for_answers(struct mapper *mapper)
{
	uint64_t until = now_s() + LOST_AFTER_S;

	while (__atomic_load_n(&mapper->unanswered, __ATOMIC_ACQUIRE) > 0) {
		sched_yield();
		if (now_s() < until)
			continue;
		end_with(&lost);
		return;
	}
	while (mapper->leaving_count > 0)
		page_give(mapper, mapper->leaving[--mapper->leaving_count]);
}

static void slot_map(struct mapper *mapper, unsigned int slot)
	LOCK_REQUIRES(&iommu.lock)
{
	uint32_t page = page_take(mapper);
	uint64_t gpa = (mapper->index * PAGES + page) * P;
	enum iommu_status status = iommu_map(&iommu, mapper->index,
					     slot_first(slot), slot_last(slot),
					     GPA(gpa),
					     IOMMU_MAP_READ | IOMMU_MAP_WRITE);

	expect(status == IOMMU_OK, "a MAP is refused");
	mapper->slots[slot] = page;
}

/* Unmaps all of [@first, @last] that is mapped. */
static void slots_unmap(struct mapper *mapper, unsigned int first,
			unsigned int last) LOCK_REQUIRES(&iommu.lock)
{
	unsigned int slot;

	count_request(mapper,
		      iommu_unmap(&iommu, mapper->index, slot_first(first),
				  slot_last(last), mapper->index));
	mapper->unmaps++;
	for (slot = first; slot <= last; slot++) {
		if (mapper->slots[slot] == NO_PAGE)
			continue;
		mapper->leaving[mapper->leaving_count++] = mapper->slots[slot];
		mapper->slots[slot] = NO_PAGE;
	}
}

/* One drain of a few requests. */
static void round_of_requests(struct mapper *mapper)
{
	unsigned int requests = 1 + random_next(&mapper->seed) % 6;

	iommu_begin(&iommu);
	while (requests-- > 0) {
		unsigned int slot = random_next(&mapper->seed) % SLOTS;
		unsigned int more = random_next(&mapper->seed) % 4;
		unsigned int last = MIN(slot + more, SLOTS - 1);

		if (mapper->slots[slot] != NO_PAGE)
			slots_unmap(mapper, slot, last);
		/* Pages are short while many are not answered. */
		if (mapper->free_count > 2 * SLOTS &&
		    mapper->slots[slot] == NO_PAGE)
			slot_map(mapper, slot);
	}
	iommu_finish(&iommu);
	iommu_end(&iommu);
	wait_for_answers(mapper);
}

static void attach(struct mapper *mapper)
{
	iommu_begin(&iommu);
	count_request(mapper, iommu_attach(&iommu, mapper->index, mapper->index,
					   0, mapper->index));
	iommu_finish(&iommu);
	iommu_end(&iommu);
	wait_for_answers(mapper);
}

/* The domain goes, with all its mappings, and its tables to the other mapper. */
static void detach(struct mapper *mapper)
{
	unsigned int slot;

	iommu_begin(&iommu);
	count_request(mapper, iommu_detach(&iommu, mapper->index, mapper->index,
					   mapper->index));
	for (slot = 0; slot < SLOTS; slot++) {
		if (mapper->slots[slot] != NO_PAGE)
			mapper->leaving[mapper->leaving_count++] =
				mapper->slots[slot];
		mapper->slots[slot] = NO_PAGE;
	}
	iommu_finish(&iommu);
	iommu_end(&iommu);
	wait_for_answers(mapper);
}

static void *mapper_thread(void *argument)
{
	struct mapper *mapper = argument;
	uint64_t until = now_s() + seconds_wanted;

	attach(mapper);
	while (!is_over() &&
	       (seconds_wanted ? now_s() < until
			       : mapper->rounds < rounds_wanted)) {
		mapper->rounds++;
		round_of_requests(mapper);
		if (mapper->rounds % 50 == 0) {
			detach(mapper);
			attach(mapper);
		}
	}
	return NULL;
}

/* --- the devices --- */

/* Reads and writes what the guest let the device reach. */
static void touch(struct device *device, void *bytes, size_t len)
{
	uint8_t *page = (uint8_t *)((uintptr_t)bytes & ~(uintptr_t)(P - 1));
	uint8_t *end = (uint8_t *)bytes + len;

	for (; page < end; page += P) {
		volatile uint64_t *words = (volatile uint64_t *)(void *)page;

		if (words[0] == POISON)
			end_with(&violations);
		words[8 + device->index] = device->accesses++;
		if (words[1] == POISON)
			end_with(&violations);
	}
}

static unsigned int request_make(struct device *device, struct dma_span *spans)
{
	unsigned int count = 1 + random_next(&device->seed) % 3;
	unsigned int i;

	for (i = 0; i < count; i++) {
		uint32_t slot = random_next(&device->seed) % (RING_SLOT - 2);
		uint32_t pages = 1 + random_next(&device->seed) % 3;

		spans[i] = (struct dma_span){ slot_first(slot),
					      pages * (uint32_t)P, DMA_WRITE };
	}
	return count;
}

/* Holds the request, or lets others run meanwhile. */
static void dawdle(struct device *device)
{
	uint32_t how = random_next(&device->seed) % 64;
	uint32_t turns = random_next(&device->seed) % 200;

	if (how == 0)
		sched_yield();
	while (how < 8 && turns-- > 0)
		__builtin_ia32_pause();
}

static void request_serve(struct device *device, const struct dma_span *spans,
			  unsigned int count)
{
	struct dma_position position = { 0 };
	struct dma_fault fault;
	struct iovec iov[16];
	int pieces;
	int i;

	do {
		pieces = dma_translate(&device->door, spans, count, DMA_WRITE,
				       UINT64_MAX, &position, iov,
				       ARRAY_SIZE(iov), &fault);
		for (i = 0; i < pieces; i++)
			touch(device, iov[i].iov_base, iov[i].iov_len);
		dawdle(device);
		for (i = 0; i < pieces; i++)
			touch(device, iov[i].iov_base, iov[i].iov_len);
	} while (pieces > 0);
}

static void ring_use(struct device *device)
{
	struct dma_fault fault;

	if (!device->has_ring)
		device->has_ring = dma_ring_map(&device->door, &device->ring,
						slot_first(RING_SLOT),
						(uint32_t)P, DMA_WRITE,
						&fault) == 0;
	if (!device->has_ring ||
	    !dma_rings_begin(&device->door, &device->ring, 1, &fault))
		return;
	touch(device, dma_ring_at(&device->ring, 0), P);
	dawdle(device);
	touch(device, dma_ring_at(&device->ring, 0), P);
	dma_rings_end(&device->door);
}

static void *device_thread(void *argument)
{
	struct device *device = argument;
	const struct dma_span *published[BATCH];
	unsigned int counts[BATCH];
	struct dma_span spans[3];
	uint16_t i;

	while (!is_over()) {
		uint16_t batch =
			(uint16_t)(1 + random_next(&device->seed) % BATCH);

		ring_use(device);
		for (i = 0; i < batch; i++) {
			counts[i] = request_make(device, spans);
			expect(dma_publish(&device->door, i, spans, counts[i],
					   &published[i]) == 0,
			       "a publication is refused");
		}
		dma_commit(&device->door);
		for (i = 0; i < batch; i++) {
			request_serve(device, published[i], counts[i]);
			dma_clear(&device->door, i);
		}
		dma_settle(&device->door);
	}
	return NULL;
}

/* --- all together --- */

static void set_up(void)
{
	static const struct guest_memory_range range = { 0,
							 MAPPERS * PAGES * P };
	static const struct iommu_config config = {
		.input_bits = 36,
		.domain_last = MAPPERS,
		.endpoints_max = MAPPERS,
		.requests_max = 16,
		.faults_max = 16,
		.tables = 2 * MIB,
	};
	unsigned int i;
	uint32_t page;

	expect(!guest_memory_init(&memory, &range, 1, GUEST_MEMORY_SMALL_PAGES),
	       "guest memory");
	expect(!iommu_init(&iommu, &config), "IOMMU");
	iommu_set_answers(&iommu, &answers, NULL);
	for (i = 0; i < MAPPERS; i++) {
		mappers[i].index = i;
		mappers[i].seed = i;
		memset(mappers[i].slots, 0xff, sizeof(mappers[i].slots));
		for (page = 0; page < PAGES; page++)
			page_give(&mappers[i], page);
		iommu_add_endpoint(&iommu, i);
	}
	for (i = 0; i < DOORS; i++) {
		devices[i].index = i;
		devices[i].seed = 100 + i;
		expect(!dma_init(&devices[i].door, &memory, HEADS) &&
			       !dma_attach_endpoint(
				       &devices[i].door,
				       &iommu.endpoints[i < 2 ? 0 : 1]),
		       "door");
	}
}

static void run(void)
{
	pthread_t mapper_ids[MAPPERS];
	pthread_t device_ids[DOORS];
	unsigned int i;

	for (i = 0; i < DOORS; i++)
		expect(!pthread_create(&device_ids[i], NULL, device_thread,
				       &devices[i]),
		       "pthread_create");
	for (i = 0; i < MAPPERS; i++)
		expect(!pthread_create(&mapper_ids[i], NULL, mapper_thread,
				       &mappers[i]),
		       "pthread_create");
	for (i = 0; i < MAPPERS; i++)
		pthread_join(mapper_ids[i], NULL);
	__atomic_store_n(&stop, 1, __ATOMIC_RELAXED);
	for (i = 0; i < DOORS; i++)
		pthread_join(device_ids[i], NULL);
}

/* The pages that are free at the end are looked at, too. */
static void tear_down(void)
{
	unsigned int i;

	for (i = 0; i < MAPPERS; i++)
		while (!lost && mappers[i].free_count > 0)
			page_take(&mappers[i]);
	for (i = 0; i < DOORS; i++)
		dma_destroy(&devices[i].door);
	iommu_destroy(&iommu);
	guest_memory_destroy(&memory);
}

static void report(void)
{
	struct iommu_counters counters = iommu_read_counters(&iommu);
	uint64_t accesses = 0;
	uint64_t hits = 0;
	uint64_t faults = 0;
	unsigned int i;

	for (i = 0; i < DOORS; i++) {
		accesses += devices[i].accesses;
		hits += devices[i].door.counters.hits;
		faults += devices[i].door.counters.faults;
	}
	printf("# %lu MAPs, %lu UNMAPs, of which %lu waited; %lu other waits\n",
	       counters.map, counters.unmap, counters.unmap_waits,
	       counters.waits - counters.unmap_waits);
	printf("# %lu pages touched, %lu hits, %lu faults\n", accesses, hits,
	       faults);
}

/* Names what is taken out; only programs with hooks can. */
static bool take_out(const char *name)
{
#ifdef SLUICE_TEST_HOOKS
	if (!strcmp(name, "wait"))
		fence_hooks = FENCE_HOOK_WAIT;
	return fence_hooks != 0;
#else
	(void)name;
	return false;
#endif
}

int main(int argc, char **argv)
{
	bool must_fail = argc > 2;
	char *end = NULL;
	bool good;

	rounds_wanted = argc > 1 ? strtoull(argv[1], &end, 10) : 0;
	if (end && *end == 's')
		seconds_wanted = rounds_wanted;
	if (rounds_wanted == 0)
		rounds_wanted = DEFAULT_ROUNDS;
	if (must_fail && !take_out(argv[2])) {
		printf("1..0 # SKIP nothing can be taken out of this program\n");
		return 0;
	}
	set_up();
	run();
	report();
	tear_down();
	if (must_fail) {
		printf("1..1\n%sok 1 - without %s, accesses after the answer are found\n",
		       violations ? "" : "not ", argv[2]);
		return !violations;
	}
	good = !violations && !lost;
	printf("1..2\n%sok 1 - no access after the answer\n",
	       violations ? "not " : "");
	printf("%sok 2 - every request was answered\n", lost ? "not " : "");
	return !good;
}
