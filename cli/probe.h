/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `sluice probe`.
 */
#ifndef CLI_PROBE_H
#define CLI_PROBE_H

/* Prints what this host can do; 0 when a stock kernel can boot, else 3 with the reason. */
int probe_verb(void);

#endif
