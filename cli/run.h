/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `sluice run`.
 */
#ifndef CLI_RUN_H
#define CLI_RUN_H

#include <stdint.h>

struct options;

/* Runs the VM to its end and returns the exit status. @started_ns: see struct vmm_options. */
int run_verb(const struct options *options, uint64_t started_ns);

#endif
