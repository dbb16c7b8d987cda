/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/terminal.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

/*
 * Whether the terminal is ours to change. One that is not our controlling
 * terminal knows no job control, and nobody else claims it.
 */
static bool terminal_is_foreground(const struct terminal *terminal)
{
	pid_t group = tcgetpgrp(terminal->fd);

	if (group < 0)
		return errno == ENOTTY;
	return group == getpgrp();
}

void terminal_init(struct terminal *terminal, int fd)
{
	terminal->fd = fd >= 0 && isatty(fd) ? fd : -1;
	terminal->taken = false;
	for (int i = 0; i < 3; i++)
		terminal->file_flags[i] = fcntl(i, F_GETFL);
}

bool terminal_take(struct terminal *terminal)
{
	struct termios raw;

	if (terminal->fd < 0 || !terminal_is_foreground(terminal))
		return false;
	if (!terminal->taken && tcgetattr(terminal->fd, &terminal->saved))
		return false;
	terminal->taken = true;
	raw = terminal->saved;
	raw.c_iflag &= ~(tcflag_t)(IGNBRK | BRKINT | PARMRK | ISTRIP | INLCR |
				   IGNCR | ICRNL | IXON);
	raw.c_lflag &= ~(tcflag_t)(ECHO | ECHONL | ICANON | ISIG | IEXTEN);
	raw.c_cflag &= ~(tcflag_t)(CSIZE | PARENB);
	raw.c_cflag |= CS8;
	raw.c_cc[VMIN] = 1;
	raw.c_cc[VTIME] = 0;
	/* At once: waiting for the output to drain could take for ever. */
	tcsetattr(terminal->fd, TCSANOW, &raw);
	return true;
}

static void terminal_restore_flags(const struct terminal *terminal)
{
	for (int i = 0; i < 3; i++) {
		int now = fcntl(i, F_GETFL);

		if (now >= 0 && terminal->file_flags[i] >= 0 &&
		    now != terminal->file_flags[i])
			fcntl(i, F_SETFL, terminal->file_flags[i]);
	}
}

void terminal_give_back(struct terminal *terminal)
{
	terminal_restore_flags(terminal);
	if (!terminal->taken || !terminal_is_foreground(terminal))
		return;
	terminal->taken = false;
	tcsetattr(terminal->fd, TCSANOW, &terminal->saved);
}
