/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a DMA translation costs, measured on the code that devices use. The rows:
 *
 *	measure			door			ns per
 *	translate		off bypass hit miss	piece
 *	announce		likewise		piece
 *	walk, dependent walk	-			address
 *	publish and clear,	off, iommu		request
 *	commit, settle
 *	MAP and UNMAP		-			(pairs per second)
 *
 * announce is dma_publish and dma_commit of what is translated.
 */
#ifndef CLI_BENCH_DMA_H
#define CLI_BENCH_DMA_H

#include <stdbool.h>
#include <stdint.h>
#include <time.h>

struct bench_rig;
struct bench_rows;
struct error;

/* Addresses that are translated together: independent of each other. */
#define BENCH_BATCH 32U

#define BENCH_TRANSLATE "translate"
#define BENCH_ANNOUNCE "announce"
#define BENCH_WALK "walk"
#define BENCH_DEPENDENT_WALK "dependent walk"
#define BENCH_PUBLISH "publish and clear"
#define BENCH_COMMIT "commit"
#define BENCH_SETTLE "settle"
#define BENCH_MAP "MAP and UNMAP"

#define BENCH_4K "4 KiB"
#define BENCH_64K "64 KiB"
#define BENCH_16_PIECES "16 x 4 KiB"

/* The same 32 neighbours again and again, from the last to the first. */
#define BENCH_SAME_32 "same 32"
#define BENCH_SHUFFLED "shuffled"
/* Neighbours, downwards, so that no two pieces touch in host memory. */
#define BENCH_DESCENDING "descending"

struct bench_plan {
	const uint64_t *mappings; /* how many, for one rig after the other */
	unsigned int mapping_count;
	unsigned int repeats; /* at most BENCH_REPEATS_MAX */
	uint64_t slice_ns; /* of one sample */
	/* What comes next; may be NULL. */
	void (*progress)(const char *request, uint64_t mappings);
};

/* 1, 1000 and 1000000 mappings in about @seconds, the building of maps apart. */
struct bench_plan bench_dma_plan(unsigned int seconds);

/* Adds all rows of the plan to @rows. Returns 0, or -1 with @error. */
int bench_dma_run(const struct bench_plan *plan, struct bench_rows *rows,
		  struct error *error);

/*
 * One sample of each row of one kind, @slice_ns long each. False when a
 * translation failed.
 */
bool bench_translate(struct bench_rig *rig, uint64_t slice_ns,
		     struct bench_rows *rows);
void bench_publish(struct bench_rig *rig, uint64_t slice_ns,
		   struct bench_rows *rows);
void bench_map(struct bench_rig *rig, uint64_t slice_ns,
	       struct bench_rows *rows);

static inline uint64_t bench_now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

#endif
