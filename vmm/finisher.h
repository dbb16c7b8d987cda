/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A thread that takes the VM apart, so that the main thread can wait for it
 * with a time-out: joining a device thread and flushing a disk last as long as
 * the disk likes. It is started with the others (no thread is made once the VM
 * runs) and sleeps until the end.
 */
#ifndef VMM_FINISHER_H
#define VMM_FINISHER_H

#include "devices/thread.h"

struct finisher {
	struct thread thread;
	int start_fd; /* eventfd */
	int done_fd; /* eventfd */
	void (*work)(void *context);
	void *context;
};

/* Starts the thread; @work is called on it, once. 0 or -errno. */
int finisher_start(struct finisher *finisher, struct threads *threads,
		   void (*work)(void *context), void *context);

/* Lets it work. Once. */
void finisher_begin(struct finisher *finisher);

enum finisher_state {
	FINISHER_DONE, /* the thread is joined */
	FINISHER_WORKING, /* nothing it uses may be freed */
	FINISHER_WOKEN, /* the same */
};

/*
 * Waits until it is done, at most @timeout_ms (-1: as long as it takes), or
 * until @wake_fd (-1: none) is readable or hung up. Not after FINISHER_DONE.
 */
enum finisher_state finisher_wait(struct finisher *finisher, int timeout_ms,
				  int wake_fd);

#endif
