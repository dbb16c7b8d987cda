/* SPDX-License-Identifier: Apache-2.0 */
/*
 * MAP and UNMAP as the front end makes them: in drains of the request queue, each
 * with the lock, and one fence for its UNMAPs; nothing is in flight.
 */
#include "cli/bench_dma.h"

#include "cli/bench_rig.h"
#include "cli/bench_rows.h"

/* Pairs between two looks at the clock. */
#define WINDOW 64

_Static_assert(WINDOW % BENCH_DRAIN_MAX == 0, "windows are of whole drains");

static double measure(struct bench_rig *rig, unsigned int drain,
		      uint64_t slice_ns)
{
	uint64_t begin = bench_now_ns();
	uint64_t pairs = 0;
	uint64_t now;

	do {
		for (unsigned int i = 0; i < WINDOW; i += drain) {
			bench_rig_map(rig, drain);
			bench_rig_unmap(rig, drain);
		}
		pairs += WINDOW;
		now = bench_now_ns();
	} while (now - begin < slice_ns);
	return (double)pairs * 1e9 / (double)(now - begin);
}

void bench_map(struct bench_rig *rig, uint64_t slice_ns,
	       struct bench_rows *rows)
{
	static const unsigned int drains[] = { 1, BENCH_DRAIN_MAX };

	for (unsigned int i = 0; i < ARRAY_SIZE(drains); i++) {
		struct bench_key key = {
			.measure = BENCH_MAP,
			.door = "",
			.request = rig->buffer_size == 4 * KIB ? BENCH_4K
							       : BENCH_64K,
			.mappings = rig->mappings,
			.order = "ascending",
			.batch = drains[i],
		};

		measure(rig, drains[i], slice_ns / 4);
		bench_row_sample(bench_rows_add(rows, &key, "pairs per second"),
				 measure(rig, drains[i], slice_ns));
	}
}
