/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Why something could not be set up, in one line for the user: `what: why`.
 * Filled where the reason is known, printed by cli/ alone. For set-up only;
 * what a running guest causes is counted and logged (devices/log.h).
 */
#ifndef DEVICES_ERROR_H
#define DEVICES_ERROR_H

#include <stddef.h>

/* Exit statuses of sluice; docs: sluice(1). */
enum exit_status {
	EXIT_STATUS_OK = 0,
	EXIT_STATUS_INTERNAL = 1,
	EXIT_STATUS_CONFIGURATION = 2,
	EXIT_STATUS_HOST = 3,
	EXIT_STATUS_GUEST_CRASHED = 4,
	EXIT_STATUS_VIOLATION = 5,
};

struct error {
	enum exit_status status;
	char text[512]; /* "what: why", no newline, control characters replaced */
};

/*
 * Fills @error (may be NULL). A text that does not fit is cut with "...".
 * Returns -1, so that callers can `return error_set(...)`.
 */
int error_set(struct error *error, enum exit_status status, const char *format,
	      ...) __attribute__((format(printf, 3, 4)));

#endif
