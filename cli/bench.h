/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `sluice bench`.
 */
#ifndef CLI_BENCH_H
#define CLI_BENCH_H

struct options;

/* Measures, and prints; the exit status. */
int bench_verb(const struct options *options);

#endif
