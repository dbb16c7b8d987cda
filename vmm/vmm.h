/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Runs one VM in the calling process, which becomes it: the calling thread is
 * its main thread until the VM has ended.
 */
#ifndef VMM_VMM_H
#define VMM_VMM_H

#include "vmm/config.h"
#include "vmm/files.h"

#include <stdint.h>

struct error;

/*
 * Commands that the parent process sends over the control socket (a
 * SOCK_SEQPACKET or SOCK_STREAM socketpair), two bytes each: one of these and
 * a signal number. The socket's end means VMM_COMMAND_END.
 */
enum vmm_command {
	VMM_COMMAND_POWER_BUTTON =
		'p', /* end after stop_timeout at the latest */
	VMM_COMMAND_END = 'e', /* end at once, disks flushed */
	VMM_COMMAND_STATISTICS = 's', /* write the statistics now */
	VMM_COMMAND_TERMINAL =
		't', /* the terminal is ours again (SIGCONT): read on */
};

struct vmm_options {
	const struct vmm_config *config;
	struct vm_files *files; /* consumed */
	int control_fd; /* -1: none */
	int console_in; /* stdin; -1: none */
	int console_out; /* stdout */
	uint64_t started_ns; /* CLOCK_MONOTONIC at the start of main() */
};

/*
 * Builds the VM and runs it to its end. Returns the exit status of
 * interface.md (0, 4, 128 + N ...); when the VM could not be built or an
 * internal error ended it, that status with a non-empty @error for the caller
 * to print. Logged already, with no @error: a crash of the guest (4), a disk
 * whose last flush failed (1), memory that the host lacked while it ran (3).
 */
int vmm_run(const struct vmm_options *options, struct error *error);

#endif
