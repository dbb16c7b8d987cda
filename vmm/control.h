/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The VM's end of the control socket, over which the parent process sends
 * commands of two bytes (vmm/vmm.h). Main thread.
 */
#ifndef VMM_CONTROL_H
#define VMM_CONTROL_H

#include "devices/event_loop.h"

#include <stdbool.h>
#include <stdint.h>

struct control {
	struct event_loop *loop;
	struct event_source source;
	uint8_t command; /* the first byte of a command that came in halves */
	bool has_command;
	/* A command came; @signal is the number beside it. */
	void (*received)(void *context, uint8_t command, int signal);
	/* The other end is gone. */
	void (*ended)(void *context);
	void *context;
};

/* @fd stays the caller's; it may block. 0 or -errno. */
int control_init(struct control *control, struct event_loop *loop, int fd,
		 void (*received)(void *context, uint8_t command, int signal),
		 void (*ended)(void *context), void *context);
/* For whoever waits outside of the loop: the socket, -1 once it has ended. */
int control_fd(const struct control *control);
/* Takes what came over it, without waiting. */
void control_serve(struct control *control);

/* Also for a zeroed one. */
void control_destroy(struct control *control);

#endif
