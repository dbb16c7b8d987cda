/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The parent of a VM's process: it forks it, keeps terminal and signals away
 * from it, tells it what to do, and turns its end into an exit status.
 */
#ifndef CLI_SUPERVISE_H
#define CLI_SUPERVISE_H

struct supervised {
	/*
	 * The child's whole life: returns its exit status (or does not return).
	 * Commands (enum vmm_command and a signal number, two bytes each) arrive
	 * on @control_fd, a SOCK_SEQPACKET. The signals that the parent serves
	 * are blocked. It prints its own errors.
	 */
	int (*body)(void *context, int control_fd);
	void *context;
	int terminal_fd; /* what to take if it is a terminal; -1: nothing */
};

/*
 * Runs the child to its end and returns the exit status of interface.md; the
 * reason of an end that the child could not explain goes to stderr. The
 * calling process is single-threaded; its signal mask stays changed, and so do
 * its handlers of faults: it is to exit.
 */
int supervise_run(const struct supervised *supervised);

#endif
