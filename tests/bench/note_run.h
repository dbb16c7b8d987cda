/* SPDX-License-Identifier: Apache-2.0 */
/* What note_run.so tells stopwatch, in memory that both have mapped. */
#ifndef TESTS_BENCH_NOTE_RUN_H
#define TESTS_BENCH_NOTE_RUN_H

#include <stdint.h>

/* The environment variable with the number of the file to map. */
#define NOTE_RUN_FD "NOTE_RUN_FD"

struct note_run {
	/* CLOCK_MONOTONIC just before the first KVM_RUN; 0: not yet. Atomic. */
	uint64_t first_ns;
};

#endif
