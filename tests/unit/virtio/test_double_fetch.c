/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <ucontext.h>

#include "memory/base.h"
#include "support.h"
#include "virtio/descriptors.h"

#define NEXT VRING_DESC_F_NEXT
#define WRITE VRING_DESC_F_WRITE
#define INDIRECT VRING_DESC_F_INDIRECT
#define TABLE_AT (DATA_AT + 0x10008)

/* bug-classes.md 9. */

/* What a second vCPU flips, for ever: one descriptor between two versions. */
struct flipper {
	pthread_t thread;
	struct vring_desc *descriptor;
	struct vring_desc versions[2];
	bool stop;
};

static void *flip(void *context)
{
	struct flipper *flipper = context;
	unsigned int i = 0;

	while (!__atomic_load_n(&flipper->stop, __ATOMIC_RELAXED)) {
		const struct vring_desc *version = &flipper->versions[i++ % 2];

		__atomic_store_n(&flipper->descriptor->addr, version->addr,
				 __ATOMIC_RELAXED);
		__atomic_store_n(&flipper->descriptor->len, version->len,
				 __ATOMIC_RELAXED);
		__atomic_store_n(&flipper->descriptor->flags, version->flags,
				 __ATOMIC_RELAXED);
		__atomic_store_n(&flipper->descriptor->next, version->next,
				 __ATOMIC_RELAXED);
	}
	return NULL;
}

static void flipper_start(struct flipper *flipper)
{
	cr_assert_eq(pthread_create(&flipper->thread, NULL, flip, flipper), 0);
}

static void flipper_stop(struct flipper *flipper)
{
	__atomic_store_n(&flipper->stop, true, __ATOMIC_RELAXED);
	pthread_join(flipper->thread, NULL);
}

static bool is_in_ram(const struct rig *rig, const struct iovec *iov)
{
	unsigned int i;

	for (i = 0; i < rig->memory.region_count; i++) {
		const struct guest_memory_region *region =
			&rig->memory.regions[i];
		uint64_t at =
			(uint64_t)((uint8_t *)iov->iov_base - region->host);
		uint64_t size = region->last - region->first + 1;

		if (at < size && iov->iov_len <= size - at)
			return true;
	}
	return false;
}

/* Whatever @chain is, what it maps to is RAM and as long as it says. */
static void check_reach(struct rig *rig, const struct chain *chain,
			enum dma_access part)
{
	struct chain_cursor cursor = chain_cursor(chain, part, 0);
	uint64_t left = cursor.left;

	while (left > 0) {
		struct iovec iov[4];
		uint64_t bytes;
		int count;
		int i;

		count = chain_map(&rig->queue, chain, &cursor, left, iov, 4,
				  &bytes);
		if (count < 0)
			return;
		cr_assert_leq(bytes, left);
		left -= bytes;
		for (i = 0; i < count; i++)
			cr_assert(is_in_ram(rig, &iov[i]));
	}
}

/*
 * Serves head 0 again and again while the descriptor at @target, its only one,
 * flips. Each chain is one of the versions, field by field, and stays that.
 */
static void serve_while_flipping(struct rig *rig, struct vring_desc *target)
{
	struct flipper flipper = {
		.descriptor = target,
		.versions = { { DATA_AT, 512, WRITE, 0 },
			      { LOW_END - 256, 0x10000000, 0, 0 } },
	};
	unsigned int seen[2] = { 0 };
	unsigned int i;

	*target = flipper.versions[0];
	flipper_start(&flipper);
	for (i = 0; i < 200000 || (i < 20000000 && (!seen[0] || !seen[1]));
	     i++) {
		struct chain *chain;
		struct dma_span copy;
		bool writable;

		rig_offer(rig, 0);
		chain = rig_take(rig);
		cr_assert_eq(chain->span_count, 1);
		copy = chain->spans[0];
		writable = copy.access == DMA_WRITE;
		cr_assert(copy.first.v == DATA_AT ||
			  copy.first.v == LOW_END - 256);
		cr_assert(copy.len == 512 || copy.len == 0x10000000);
		cr_assert_eq(chain->readable_spans, writable ? 0 : 1);
		cr_assert_eq(chain->writable_bytes, writable ? copy.len : 0);
		cr_assert_eq(chain->readable_bytes, writable ? 0 : copy.len);
		check_reach(rig, chain, writable ? DMA_WRITE : DMA_READ);
		cr_assert_eq(memcmp(&copy, chain->spans, sizeof(copy)), 0);
		seen[copy.len == 512]++;
		queue_complete(&rig->queue, chain, 0);
		queue_publish(&rig->queue);
	}
	flipper_stop(&flipper);
	cr_assert(seen[0] > 0 && seen[1] > 0, "both versions were seen");
}

Test(double_fetch, bug09_flipped_descriptors_are_one_version_or_the_other)
{
	struct rig rig;

	rig_init(&rig, 4, ALL_RING_FEATURES);
	serve_while_flipping(&rig, &rig_descriptors(&rig)[0]);
	rig_destroy(&rig);
}

Test(double_fetch, bug09_flipped_tables_are_one_version_or_the_other)
{
	struct rig rig;

	rig_init(&rig, 4, ALL_RING_FEATURES);
	rig_descriptor(&rig, 0, TABLE_AT, 16, INDIRECT, 0);
	serve_while_flipping(&rig, rig_host(&rig, TABLE_AT, 16));
	rig_destroy(&rig);
}

/* A flag is not judged by one load and obeyed by another. */
Test(double_fetch, bug09_flipped_indirect_flag_is_one_way_or_the_other)
{
	static const struct vring_desc inner = { DATA_AT + 0x800, 64, WRITE,
						 0 };
	unsigned int seen[2] = { 0 };
	struct flipper flipper;
	struct rig rig;
	unsigned int i;

	rig_init(&rig, 4, ALL_RING_FEATURES);
	memcpy(rig_host(&rig, DATA_AT, 16), &inner, 16);
	flipper = (struct flipper){
		.descriptor = &rig_descriptors(&rig)[0],
		.versions = { { DATA_AT, 16, 0, 0 },
			      { DATA_AT, 16, INDIRECT, 0 } },
	};
	*flipper.descriptor = flipper.versions[0];
	flipper_start(&flipper);
	for (i = 0; i < 200000 || (i < 20000000 && (!seen[0] || !seen[1]));
	     i++) {
		struct chain *chain;
		bool indirect;

		rig_offer(&rig, 0);
		chain = rig_take(&rig);
		indirect = chain->writable_bytes > 0;
		cr_assert_eq(chain->span_count, 1);
		cr_assert_eq(chain->spans[0].len, indirect ? 64 : 16);
		cr_assert_eq(chain->spans[0].first.v,
			     indirect ? inner.addr : DATA_AT);
		seen[indirect]++;
		queue_complete(&rig.queue, chain, 0);
		queue_publish(&rig.queue);
	}
	flipper_stop(&flipper);
	cr_assert(seen[0] > 0 && seen[1] > 0, "both were seen");
	rig_destroy(&rig);
}

/* Everything that a driver writes, at random, while the device serves. */
struct vandal {
	pthread_t thread;
	struct rig *rig;
	bool stop;
};

static void *vandalise(void *context)
{
	static const uint16_t flags[] = { 0,	    NEXT, WRITE, NEXT | WRITE,
					  INDIRECT, 7 };
	static const uint64_t addresses[] = { DATA_AT,	      TABLE_AT,
					      RINGS_AT,	      LOW_END - 8,
					      HIGH_FIRST - 8, UINT64_MAX - 8 };
	static const uint32_t lengths[] = { 0,	  1,	   16,	      32,
					    4096, 1 << 20, UINT32_MAX };
	struct vandal *vandal = context;
	struct vring_desc *table = rig_host(vandal->rig, TABLE_AT, 64);
	struct vring_avail *available = rig_available(vandal->rig);
	unsigned int seed = 1;

	while (!__atomic_load_n(&vandal->stop, __ATOMIC_RELAXED)) {
		unsigned int random = (unsigned int)rand_r(&seed);
		struct vring_desc *at =
			random & 1 ? table : rig_descriptors(vandal->rig);

		at += (random >> 1) % 4;
		__atomic_store_n(
			&at->addr,
			addresses[(random >> 3) % ARRAY_SIZE(addresses)],
			__ATOMIC_RELAXED);
		__atomic_store_n(&at->len,
				 lengths[(random >> 7) % ARRAY_SIZE(lengths)],
				 __ATOMIC_RELAXED);
		__atomic_store_n(&at->flags,
				 flags[(random >> 11) % ARRAY_SIZE(flags)],
				 __ATOMIC_RELAXED);
		__atomic_store_n(&at->next, (random >> 15) % 5,
				 __ATOMIC_RELAXED);
		__atomic_store_n(&available->ring[(random >> 18) % 4],
				 (random >> 20) % 5, __ATOMIC_RELAXED);
		__atomic_fetch_add(&available->idx, (random >> 23) % 16 == 0,
				   __ATOMIC_RELEASE);
	}
	return NULL;
}

Test(double_fetch, bug09_vandal_never_makes_the_queue_reach_outside_ram)
{
	unsigned int served = 0;
	unsigned int broken = 0;
	struct vandal vandal;
	struct rig rig;

	rig_init(&rig, 4, ALL_RING_FEATURES);
	vandal = (struct vandal){ .rig = &rig };
	cr_assert_eq(pthread_create(&vandal.thread, NULL, vandalise, &vandal),
		     0);
	/* Criterion's time-out ends what does not get there. */
	while (served < 50000 || broken < 5000) {
		struct chain *chains[4];
		unsigned int count = queue_next(&rig.queue, chains, 4);
		unsigned int j;

		for (j = 0; j < count; j++) {
			cr_assert_leq(chains[j]->span_count, 4);
			cr_assert_leq(chains[j]->readable_spans,
				      chains[j]->span_count);
			check_reach(&rig, chains[j], DMA_READ);
			check_reach(&rig, chains[j], DMA_WRITE);
			queue_complete(&rig.queue, chains[j], 0);
		}
		served += count;
		queue_publish(&rig.queue);
		queue_arm(&rig.queue);
		if (queue_is_broken(&rig.queue)) {
			broken++;
			queue_stop(&rig.queue);
			__atomic_store_n(&rig_available(&rig)->idx, 0,
					 __ATOMIC_RELAXED);
			cr_assert_eq(queue_start(&rig.queue, ALL_RING_FEATURES),
				     0);
		}
	}
	__atomic_store_n(&vandal.stop, true, __ATOMIC_RELAXED);
	pthread_join(vandal.thread, NULL);
	rig_destroy(&rig);
}

/* --- every load counted -------------------------------------------------- */

/*
 * A page that may not be touched: each access faults, is noted, and is let
 * through for one instruction. What chance shows a race now and then, this shows
 * every time.
 */
#define TRAP_FLAG 0x100
#define ACCESSES_MAX 64

static struct {
	uint8_t *page;
	uintptr_t accesses[ACCESSES_MAX];
	unsigned int count;
} watch;

static void on_access(int number, siginfo_t *info, void *context)
{
	ucontext_t *thread = context;
	uintptr_t at = (uintptr_t)info->si_addr;

	if (at - (uintptr_t)watch.page >= PAGE_SIZE ||
	    watch.count == ACCESSES_MAX) {
		signal(number, SIG_DFL);
		return;
	}
	watch.accesses[watch.count++] = at;
	mprotect(watch.page, PAGE_SIZE, PROT_READ | PROT_WRITE);
	thread->uc_mcontext.gregs[REG_EFL] |= TRAP_FLAG;
}

static void on_step(int number, siginfo_t *info, void *context)
{
	ucontext_t *thread = context;

	(void)number;
	(void)info;
	mprotect(watch.page, PAGE_SIZE, PROT_NONE);
	thread->uc_mcontext.gregs[REG_EFL] &= ~TRAP_FLAG;
}

/* queue_next while @page is watched. Returns how many chains it took. */
static unsigned int next_watched(struct rig *rig, void *page,
				 struct chain **chains, unsigned int max)
{
	struct sigaction access = { .sa_sigaction = on_access,
				    .sa_flags = SA_SIGINFO };
	struct sigaction step = { .sa_sigaction = on_step,
				  .sa_flags = SA_SIGINFO };
	unsigned int count;

	watch.page = page;
	watch.count = 0;
	cr_assert_eq(sigaction(SIGSEGV, &access, NULL), 0);
	cr_assert_eq(sigaction(SIGTRAP, &step, NULL), 0);
	cr_assert_eq(mprotect(page, PAGE_SIZE, PROT_NONE), 0);
	count = queue_next(&rig->queue, chains, max);
	cr_assert_eq(mprotect(page, PAGE_SIZE, PROT_READ | PROT_WRITE), 0);
	signal(SIGSEGV, SIG_DFL);
	signal(SIGTRAP, SIG_DFL);
	return count;
}

static void check_no_access_twice(void)
{
	unsigned int i;
	unsigned int j;

	for (i = 0; i < watch.count; i++) {
		for (j = 0; j < i; j++)
			cr_assert_neq(watch.accesses[i], watch.accesses[j],
				      "byte %#lx is loaded twice",
				      watch.accesses[i] -
					      (uintptr_t)watch.page);
	}
}

Test(double_fetch, bug09_rings_are_loaded_once)
{
	struct chain *chains[4];
	struct rig rig;

	rig_init(&rig, 4, ALL_RING_FEATURES);
	rig_descriptor(&rig, 0, DATA_AT, 8, NEXT, 1);
	rig_descriptor(&rig, 1, DATA_AT, 8, NEXT, 2);
	rig_descriptor(&rig, 2, DATA_AT, 8, WRITE, 0);
	rig_descriptor(&rig, 3, TABLE_AT, 16, INDIRECT, 0);
	rig_offer(&rig, 0);
	rig_offer(&rig, 3);
	cr_assert_eq(next_watched(&rig, rig_descriptors(&rig), chains, 4), 2);
	check_no_access_twice();
	/* idx; two heads; four descriptors of four fields. */
	cr_assert_eq(watch.count, 1 + 2 + 4 * 4);
	rig_destroy(&rig);
}

Test(double_fetch, bug09_tables_are_loaded_once)
{
	static const struct vring_desc table[] = {
		{ DATA_AT, 8, NEXT, 1 },
		{ DATA_AT + 0x800, 8, NEXT, 2 },
		{ DATA_AT, 8, WRITE, 0 },
	};
	struct chain *chains[1];
	struct rig rig;

	rig_init(&rig, 4, ALL_RING_FEATURES);
	memcpy(rig_host(&rig, TABLE_AT, sizeof(table)), table, sizeof(table));
	rig_descriptor(&rig, 0, TABLE_AT, sizeof(table), INDIRECT, 0);
	rig_offer(&rig, 0);
	cr_assert_eq(next_watched(&rig, rig_host(&rig, TABLE_AT & ~0xfffUL, 1),
				  chains, 1),
		     1);
	check_no_access_twice();
	cr_assert(watch.count > 0 && watch.count <= sizeof(table));
	cr_assert_eq(chains[0]->span_count, 3);
	rig_destroy(&rig);
}
