/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where the reasons go why something cannot be used: `run` prints the first
 * and stops, `check` prints them all. Each is one line, without newline.
 */
#ifndef CLI_PROBLEMS_H
#define CLI_PROBLEMS_H

#include "devices/error.h"

struct problems {
	/* One line as the user shall see it, prefix included. */
	void (*report)(void *context, const char *line);
	void *context;
	unsigned int count;
	enum exit_status
		status; /* of the first one, but a configuration's beats others */
};

/* `line`, as it is. */
void problems_add(struct problems *problems, enum exit_status status,
		  const char *format, ...)
	__attribute__((format(printf, 3, 4)));

/* `sluice: what: why`. */
void problems_add_error(struct problems *problems, const struct error *error);

/* Writes @text and a newline to stderr in one write(2). */
void problems_print(const char *text);

/* A `report` that prints the first line and no other; @context: struct problems. */
void problems_report_first(void *context, const char *line);

/* A `report` that prints each line. */
void problems_report_all(void *context, const char *line);

#endif
