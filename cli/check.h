/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `sluice check`.
 */
#ifndef CLI_CHECK_H
#define CLI_CHECK_H

struct options;

/* Verifies without running; prints what `run` would do. 0, 2 (configuration) or 3 (host). */
int check_verb(const struct options *options);

#endif
