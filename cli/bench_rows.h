/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a benchmark measured: rows, each with one sample per repeat. All of them
 * are taken in turn, so that whatever else the machine does meets each alike.
 */
#ifndef CLI_BENCH_ROWS_H
#define CLI_BENCH_ROWS_H

#include <stdbool.h>
#include <stdint.h>

#define BENCH_REPEATS_MAX 31
#define BENCH_ROWS_MAX 160

/* A row is found by these. Strings are constants; "" and 0: no matter. */
struct bench_key {
	const char *measure; /* "translate", "walk", ... */
	const char *door; /* "off", "bypass", "hit", "miss", "iommu" */
	const char *request; /* what is translated or mapped: "4 KiB", ... */
	uint64_t mappings; /* MAP requests that the map is made of */
	const char *order; /* of the addresses */
	unsigned int batch;
};

struct bench_row {
	struct bench_key key;
	const char *unit;
	unsigned int count;
	double samples[BENCH_REPEATS_MAX];
	/* Over all samples; what the door counted. */
	uint64_t pieces;
	uint64_t hits;
	uint64_t misses;
};

struct bench_rows {
	unsigned int count;
	struct bench_row rows[BENCH_ROWS_MAX];
};

struct bench_summary {
	double median;
	double min;
	double max;
	bool noisy; /* the middle half of the samples is wide */
};

/* A new row without samples, or the one that there is. */
struct bench_row *bench_rows_add(struct bench_rows *rows,
				 const struct bench_key *key, const char *unit);

/* The row of @key, or NULL. */
const struct bench_row *bench_rows_find(const struct bench_rows *rows,
					const struct bench_key *key);

void bench_row_sample(struct bench_row *row, double value);

/* @row has a sample. */
struct bench_summary bench_row_summary(const struct bench_row *row);

/* How many rows are noisy. */
unsigned int bench_rows_noisy(const struct bench_rows *rows);

#endif
