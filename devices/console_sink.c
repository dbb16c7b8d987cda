/* SPDX-License-Identifier: Apache-2.0 */
#include "devices/console_sink.h"

#include "memory/base.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

/*
 * A terminal that polls as writable has room for at least 256 bytes, of which a
 * newline may take two (Linux: tty_buffer.c allocates in steps of 256).
 */
#define TERMINAL_PIECE 64
#define COPY_BYTES 16384

static bool can_be_reopened(int fd)
{
	unsigned int number;
	struct stat status;

	if (fstat(fd, &status))
		return false;
	if (S_ISFIFO(status.st_mode))
		return true;
	/* Opening the master of a terminal again would make a new terminal. */
	return isatty(fd) && ioctl(fd, TIOCGPTN, &number);
}

int console_fd_open(int fd, int flags, bool *own)
{
	char path[32];
	int copy;

	if (can_be_reopened(fd)) {
		snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
		copy = open(path, flags | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
		if (copy >= 0) {
			*own = true;
			return copy;
		}
	}
	/* No /proc, another user's terminal, a pipe without a reader. */
	*own = false;
	copy = fcntl(fd, F_DUPFD_CLOEXEC, 3);
	return copy < 0 ? -errno : copy;
}

static void set_bounded(struct console_sink *sink, const struct stat *status)
{
	int flags = fcntl(sink->fd, F_GETFL);

	sink->kind = SINK_BOUNDED;
	sink->file_bytes = (uint64_t)status->st_size;
	/* With O_APPEND pwrite ignores its offset. */
	if (flags >= 0 && (flags & O_APPEND))
		fcntl(sink->fd, F_SETFL, flags & ~O_APPEND);
}

int console_sink_init(struct console_sink *sink, int fd, bool bounded)
{
	struct stat status;
	bool own;
	int err;

	*sink = (struct console_sink){ .kind = SINK_NONE,
				       .fd = -1,
				       .piece_bytes = SIZE_MAX };
	if (fd < 0)
		return 0;
	sink->fd = console_fd_open(fd, O_WRONLY, &own);
	if (sink->fd < 0) {
		err = sink->fd;
		sink->fd = -1;
		return err;
	}
	if (fstat(sink->fd, &status)) {
		err = -errno;
		console_sink_destroy(sink);
		return err;
	}
	if (S_ISREG(status.st_mode) && bounded) {
		set_bounded(sink, &status);
	} else if (S_ISREG(status.st_mode) || S_ISBLK(status.st_mode)) {
		sink->kind = SINK_FILE;
	} else if (S_ISSOCK(status.st_mode)) {
		sink->kind = SINK_SOCKET;
	} else if (own) {
		sink->kind = SINK_OWN;
	} else {
		/* A pipe that polls as writable takes PIPE_BUF bytes at once. */
		sink->kind = SINK_POLLED;
		sink->piece_bytes = isatty(sink->fd) ? TERMINAL_PIECE
						     : PIPE_BUF;
	}
	return 0;
}

void console_sink_destroy(struct console_sink *sink)
{
	if (sink->fd >= 0)
		close(sink->fd);
	sink->fd = -1;
	sink->kind = SINK_NONE;
}

/*
 * Moves the file's last CONSOLE_FILE_KEPT bytes to its front. The file is twice
 * as long at least, so the two do not overlap, and each byte is copied once per
 * CONSOLE_FILE_KEPT bytes of output.
 */
static int move_tail(struct console_sink *sink)
{
	uint64_t from = sink->file_bytes - CONSOLE_FILE_KEPT;
	uint8_t buffer[COPY_BYTES];
	uint64_t done;
	ssize_t n;

	for (done = 0; done < CONSOLE_FILE_KEPT; done += (uint64_t)n) {
		n = pread(sink->fd, buffer,
			  MIN(sizeof(buffer), CONSOLE_FILE_KEPT - done),
			  (off_t)(from + done));
		if (n > 0)
			n = pwrite(sink->fd, buffer, (size_t)n, (off_t)done);
		if (n <= 0)
			return n ? -errno : -EIO;
	}
	return 0;
}

static void make_room(struct console_sink *sink)
{
	uint64_t kept = CONSOLE_FILE_KEPT;

	/* Unreadable, or cut by someone else: then the last 0 bytes are kept. */
	if (move_tail(sink))
		kept = 0;
	if (!ftruncate(sink->fd, (off_t)kept))
		sink->file_bytes = kept;
}

static ssize_t write_bounded(struct console_sink *sink, const uint8_t *bytes,
			     size_t count)
{
	ssize_t n;

	if (sink->file_bytes >= CONSOLE_FILE_BYTES)
		make_room(sink);
	if (sink->file_bytes >= CONSOLE_FILE_BYTES)
		return -EFBIG;
	count = MIN(count, CONSOLE_FILE_BYTES - sink->file_bytes);
	n = pwrite(sink->fd, bytes, count, (off_t)sink->file_bytes);
	if (n < 0)
		return -errno;
	sink->file_bytes += (uint64_t)n;
	return n;
}

static ssize_t write_polled(struct console_sink *sink, const uint8_t *bytes,
			    size_t count)
{
	struct pollfd poller = { .fd = sink->fd, .events = POLLOUT };
	ssize_t n;

	/* Errors and hang-ups are left to write, which names them. */
	if (poll(&poller, 1, 0) == 0)
		return -EAGAIN;
	n = write(sink->fd, bytes, count);
	return n < 0 ? -errno : n;
}

static ssize_t write_once(struct console_sink *sink, const uint8_t *bytes,
			  size_t count)
{
	ssize_t n;

	switch (sink->kind) {
	case SINK_POLLED:
		return write_polled(sink, bytes, count);
	case SINK_BOUNDED:
		return write_bounded(sink, bytes, count);
	case SINK_SOCKET:
		n = send(sink->fd, bytes, count, MSG_DONTWAIT | MSG_NOSIGNAL);
		break;
	case SINK_FILE:
	case SINK_OWN:
		n = write(sink->fd, bytes, count);
		break;
	case SINK_NONE:
	default:
		return (ssize_t)count;
	}
	return n < 0 ? -errno : n;
}

ssize_t console_sink_write(struct console_sink *sink, const uint8_t *bytes,
			   size_t count)
{
	ssize_t n;

	do {
		n = write_once(sink, bytes, MIN(count, sink->piece_bytes));
	} while (n == -EINTR);
	/* Nothing written and no reason: a file that takes no more. */
	return n ? n : -EIO;
}
