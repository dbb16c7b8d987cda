/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The user's terminal, while the guest has it: every key goes to the guest,
 * and whatever is written is shown as usual. Only ever touched from the
 * terminal's foreground process group, so that a shell keeps what is its own.
 */
#ifndef CLI_TERMINAL_H
#define CLI_TERMINAL_H

#include <stdbool.h>
#include <termios.h>

struct terminal {
	int fd; /* the caller's; -1: no terminal */
	bool taken; /* `saved` is what to go back to */
	struct termios saved;
	int file_flags[3]; /* of fds 0 to 2, as others left them; -1: unknown */
};

/* Notes how things are; @fd that is no terminal (or -1) makes the rest do nothing with it. */
void terminal_init(struct terminal *terminal, int fd);

/*
 * Takes the terminal for the guest, if this process is in the foreground.
 * Returns whether it is the guest's now.
 */
bool terminal_take(struct terminal *terminal);

/*
 * Puts it back as it was, fds 0 to 2 as well: they are shared with whoever
 * started us, and O_NONBLOCK would surprise them. Idempotent.
 */
void terminal_give_back(struct terminal *terminal);

#endif
