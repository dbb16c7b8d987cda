/* SPDX-License-Identifier: Apache-2.0 */
/* The rows of a benchmark, for people and for programs. */
#ifndef CLI_BENCH_REPORT_H
#define CLI_BENCH_REPORT_H

#include <stdio.h>

struct bench_rows;

/* How the rows came about. */
struct bench_conditions {
	int cpu; /* that everything ran on; -1: several */
	unsigned int repeats;
	double seconds;
};

/* Tables, and the figures that the project set itself as aims. */
void bench_report_text(FILE *out, const struct bench_rows *rows,
		       const struct bench_conditions *conditions);

/* One line of names, and a line per row. */
void bench_report_csv(FILE *out, const struct bench_rows *rows);

/* One object, on one line. Returns 0, or -ENOMEM with nothing printed. */
int bench_report_json(FILE *out, const struct bench_rows *rows,
		      const struct bench_conditions *conditions);

#endif
