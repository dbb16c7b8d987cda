/* SPDX-License-Identifier: Apache-2.0 */
/* Proportional resident memory (Pss) of a process, from its /proc/PID/smaps. */
#ifndef VMM_SMAPS_H
#define VMM_SMAPS_H

#include <stdint.h>

/* Addresses [first, first + bytes). */
struct smaps_range {
	uint64_t first;
	uint64_t bytes;
};

/*
 * Sums Pss over the mappings of @fd (an open smaps, read from its start) that
 * do not begin inside one of the @count ranges @excluded. 0 or -errno, -EBADMSG
 * for something that is no smaps.
 */
int smaps_sum(int fd, const struct smaps_range *excluded, unsigned int count,
	      uint64_t *bytes);

#endif
