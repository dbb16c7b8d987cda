/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/bench_rows.h"

#include "memory/base.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

/* A quarter of the median between the quartiles. */
#define NOISY 0.25

static bool key_equals(const struct bench_key *a, const struct bench_key *b)
{
	return strcmp(a->measure, b->measure) == 0 &&
	       strcmp(a->door, b->door) == 0 &&
	       strcmp(a->request, b->request) == 0 &&
	       a->mappings == b->mappings && strcmp(a->order, b->order) == 0 &&
	       a->batch == b->batch;
}

const struct bench_row *bench_rows_find(const struct bench_rows *rows,
					const struct bench_key *key)
{
	for (unsigned int i = 0; i < rows->count; i++) {
		if (key_equals(&rows->rows[i].key, key))
			return &rows->rows[i];
	}
	return NULL;
}

struct bench_row *bench_rows_add(struct bench_rows *rows,
				 const struct bench_key *key, const char *unit)
{
	const struct bench_row *found = bench_rows_find(rows, key);
	struct bench_row *row;

	if (found)
		return &rows->rows[found - rows->rows];
	assert(rows->count < BENCH_ROWS_MAX);
	row = &rows->rows[rows->count++];
	*row = (struct bench_row){ .key = *key, .unit = unit };
	return row;
}

void bench_row_sample(struct bench_row *row, double value)
{
	assert(row->count < BENCH_REPEATS_MAX);
	row->samples[row->count++] = value;
}

static int compare(const void *a, const void *b)
{
	double left = *(const double *)a;
	double right = *(const double *)b;

	return (left > right) - (left < right);
}

struct bench_summary bench_row_summary(const struct bench_row *row)
{
	double sorted[BENCH_REPEATS_MAX];
	unsigned int count = row->count;
	struct bench_summary summary;
	double middle_half;

	assert(count > 0);

	memcpy(sorted, row->samples, count * sizeof(*sorted));
	qsort(sorted, count, sizeof(*sorted), compare);
	summary.min = sorted[0];
	summary.max = sorted[count - 1];
	summary.median = (sorted[(count - 1) / 2] + sorted[count / 2]) / 2;
	middle_half =
		sorted[(count - 1) - (count - 1) / 4] - sorted[(count - 1) / 4];
	/* Less than a nanosecond is none, whatever it is a part of. */
	summary.noisy = middle_half > MAX(NOISY * summary.median, 1.0);
	return summary;
}

unsigned int bench_rows_noisy(const struct bench_rows *rows)
{
	unsigned int noisy = 0;

	for (unsigned int i = 0; i < rows->count; i++)
		noisy += bench_row_summary(&rows->rows[i]).noisy;
	return noisy;
}
