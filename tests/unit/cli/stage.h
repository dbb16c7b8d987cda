/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The parent of a VM with other children in the VM's place: each says over a
 * pipe what it gets, and the test is the shell that started the parent.
 */
#ifndef TESTS_UNIT_CLI_STAGE_H
#define TESTS_UNIT_CLI_STAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

/* A parent under test. */
struct stage {
	pid_t parent;
	int master; /* of its terminal; -1: it has none */
	int said; /* what its child says, and what it prints on stderr */
	int say; /* the child's end */
	int (*body)(void *context, int control_fd);
	bool background; /* its group is not the terminal's */
	int ignored; /* a signal that it inherits as ignored; 0: none */
};

/* What the child may be. */
int stage_obedient(void *context,
		   int control_fd); /* says commands as "p15 ", ends at 'e' */
int stage_polite(void *context,
		 int control_fd); /* ends with 0 at the power button */
int stage_deaf(void *context, int control_fd); /* never looks at its commands */
int stage_ends_with_0(void *context, int control_fd);
int stage_ends_with_4(void *context, int control_fd);
int stage_is_killed(void *context, int control_fd);
int stage_crashes(void *context, int control_fd);
int stage_violates(void *context, int control_fd);
int stage_careless(void *context,
		   int control_fd); /* makes 0 and 1 non-blocking, crashes */

/* Starts the parent of @stage, whose body is set, with a terminal or without. */
void stage_open(struct stage *stage, bool terminal);

/* Waits until the stage has said @text, after what was expected before. */
void stage_expect(const struct stage *stage, const char *text);

/* Reads to the end of what is said. */
void stage_rest(const struct stage *stage, char *said, size_t size);

/* Waits for its end: its exit status. */
int stage_status(const struct stage *stage);

/* Waits until the parent has stopped itself. */
void stage_wait_stopped(const struct stage *stage);

/* The terminal's mode, as the master side sees it too. */
bool stage_is_raw(const struct stage *stage);
void stage_wait_raw(const struct stage *stage, bool raw);

/* The parent's process, where a shell stands between it and the test. */
pid_t stage_job(const struct stage *stage);

void stage_close(const struct stage *stage);

#endif
