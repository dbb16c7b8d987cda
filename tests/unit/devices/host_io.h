/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Stands in front of the C library's preadv, pwritev and fdatasync, to make the
 * host slow, thrifty or broken. All zero: as the kernel does. Criterion gives
 * each test its own process, so that nothing has to be put back.
 */
#ifndef TESTS_UNIT_DEVICES_HOST_IO_H
#define TESTS_UNIT_DEVICES_HOST_IO_H

#include <stdbool.h>
#include <stddef.h>

struct host_io {
	/* Atomics where threads run. */
	size_t piece; /* the most that one transfer moves */
	bool interrupt; /* every second transfer: EINTR */
	bool hold_reads; /* they wait until this is false again */
	bool hold_writes;
	bool hold_syncs;
	int error; /* what everything fails with */
	unsigned int held; /* how many wait now */
	/* Calls so far. */
	unsigned int reads, writes, syncs;
};

extern struct host_io host_io;

void host_io_hold(bool *flag, bool on);

/* Waits until @count calls are held. */
bool host_io_wait_held(unsigned int count);

#endif
