/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/bench_dma.h"

#include "cli/bench_rig.h"
#include "cli/bench_rows.h"
#include "devices/error.h"

#include <assert.h>

#define REPEATS 31

/* Samples of a repeat: translate.c's, map.c's, for each map; publish.c's. */
#define SLICES_PER_MAPPINGS (9 + 8 + 8 + 2 + 2)
#define SLICES_ONCE 18

static const uint64_t default_mappings[] = { 1, 1000, 1000000 };

struct bench_plan bench_dma_plan(unsigned int seconds)
{
	const unsigned int count = ARRAY_SIZE(default_mappings);
	const uint64_t slices =
		REPEATS * (count * SLICES_PER_MAPPINGS + SLICES_ONCE);

	return (struct bench_plan){
		.mappings = default_mappings,
		.mapping_count = count,
		.repeats = REPEATS,
		.slice_ns = seconds * UINT64_C(1000000000) / slices,
	};
}

/* All samples that a map of @mappings times @buffer_size gives. */
static int run_rig(const struct bench_plan *plan, uint64_t buffer_size,
		   uint64_t mappings, bool publish, struct bench_rows *rows,
		   struct error *error)
{
	struct bench_rig rig;
	bool good = true;

	if (bench_rig_init(&rig, buffer_size, mappings, error))
		return -1;
	for (unsigned int i = 0; i < plan->repeats && good; i++) {
		good = bench_translate(&rig, plan->slice_ns, rows);
		bench_map(&rig, plan->slice_ns, rows);
		if (publish)
			bench_publish(&rig, plan->slice_ns, rows);
	}
	good = good && rig.refused == 0;
	bench_rig_destroy(&rig);
	if (!good)
		return error_set(error, EXIT_STATUS_INTERNAL,
				 "bench: a request or a translation failed");
	return 0;
}

int bench_dma_run(const struct bench_plan *plan, struct bench_rows *rows,
		  struct error *error)
{
	static const struct {
		uint64_t size;
		const char *name;
	} buffers[] = { { 4 * KIB, BENCH_4K }, { 64 * KIB, BENCH_64K } };

	assert(plan->repeats <= BENCH_REPEATS_MAX);

	for (unsigned int i = 0; i < ARRAY_SIZE(buffers); i++) {
		for (unsigned int j = 0; j < plan->mapping_count; j++) {
			if (plan->progress)
				plan->progress(buffers[i].name,
					       plan->mappings[j]);
			if (run_rig(plan, buffers[i].size, plan->mappings[j],
				    i == 0 && j == 0, rows, error))
				return -1;
		}
	}
	return 0;
}
