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

#include <stdbool.h>

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

/*
 * Lets it work, and waits at most @timeout_ms. True: done, and the thread is
 * joined. False: it still works, and nothing it uses may be freed.
 */
bool finisher_run(struct finisher *finisher, int timeout_ms);

#endif
