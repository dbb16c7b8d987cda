/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How a VM ended: the first reason that came, from whatever thread, and the
 * exit status that follows from it (docs: sluice(1), "Exit status").
 */
#ifndef VMM_END_H
#define VMM_END_H

#include "memory/lock.h"

#include <stdbool.h>

enum end_reason {
	END_NONE,
	END_POWER_OFF, /* the guest, by ACPI */
	END_RESET, /* the guest, by ACPI or port 0x64 */
	END_TRIPLE_FAULT,
	END_UNRECOVERABLE, /* KVM could not go on */
	END_PANIC, /* reported through pvpanic, or printed before a reset */
	END_QUIT, /* Ctrl-A x */
	END_SIGNAL,
	END_INTERNAL,
	END_HOST, /* the host ran out of something */
};

struct end {
	struct lock lock;
	/* Under lock until the event loop has ended. */
	enum end_reason reason;
	int signal; /* END_SIGNAL */
	char detail[192]; /* one line, or empty */
	/* Atomics: what the guest let be known before. */
	bool panic_reported; /* through pvpanic */
	bool panic_printed; /* on the console */
	/* Atomic: a disk's last flush failed or was given up; the line is out. */
	bool flush_failed;
};

void end_init(struct end *end);
void end_destroy(struct end *end);

/* Notes @reason, with @detail (may be NULL; copied). False: there was one already. Any thread. */
bool end_note(struct end *end, enum end_reason reason, int signal,
	      const char *detail) LOCK_EXCLUDES(end->lock);

/* "power off", "triple fault", ... */
const char *end_reason_name(enum end_reason reason);

/* The exit status. After the event loop has ended. */
int end_status(const struct end *end);

#endif
