/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm/end.h"

#include "devices/error.h"

#include <stdio.h>

#define STATUS_SIGNAL 128

void end_init(struct end *end)
{
	*end = (struct end){ .reason = END_NONE };
	lock_init(&end->lock);
}

void end_destroy(struct end *end)
{
	lock_destroy(&end->lock);
}

bool end_note(struct end *end, enum end_reason reason, int signal,
	      const char *detail)
{
	bool first;

	lock_take(&end->lock);
	first = end->reason == END_NONE;
	if (first) {
		end->reason = reason;
		end->signal = signal;
		snprintf(end->detail, sizeof(end->detail), "%s",
			 detail ? detail : "");
	}
	lock_drop(&end->lock);
	return first;
}

const char *end_reason_name(enum end_reason reason)
{
	static const char *const names[] = {
		[END_NONE] = "none",
		[END_POWER_OFF] = "power off",
		[END_RESET] = "reset",
		[END_TRIPLE_FAULT] = "triple fault",
		[END_UNRECOVERABLE] = "unrecoverable exit",
		[END_PANIC] = "panic",
		[END_QUIT] = "quit",
		[END_SIGNAL] = "signal",
		[END_INTERNAL] = "internal error",
		[END_HOST] = "host error",
	};

	return names[reason];
}

int end_status(const struct end *end)
{
	switch (end->reason) {
	case END_NONE:
	case END_INTERNAL:
		return EXIT_STATUS_INTERNAL;
	case END_POWER_OFF:
	case END_RESET:
	case END_QUIT:
		return __atomic_load_n(&end->flush_failed, __ATOMIC_ACQUIRE)
			       ? EXIT_STATUS_INTERNAL
			       : EXIT_STATUS_OK;
	case END_TRIPLE_FAULT:
	case END_UNRECOVERABLE:
	case END_PANIC:
		return EXIT_STATUS_GUEST_CRASHED;
	case END_HOST:
		return EXIT_STATUS_HOST;
	case END_SIGNAL:
		return STATUS_SIGNAL + end->signal;
	}
	return EXIT_STATUS_INTERNAL;
}
