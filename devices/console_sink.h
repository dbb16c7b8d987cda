/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where console output ends: a terminal, pipe, socket, file or nothing, written
 * without ever waiting for a reader. Main thread.
 */
#ifndef DEVICES_CONSOLE_SINK_H
#define DEVICES_CONSOLE_SINK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define CONSOLE_FILE_BYTES \
	(16u << 20) /* a file keeps at most the last 16 MiB */
#define CONSOLE_FILE_KEPT (8u << 20) /* that much is left when it was full */

enum console_sink_kind {
	SINK_NONE, /* bytes vanish */
	SINK_FILE, /* never waits for a reader: plain writes */
	SINK_OWN, /* opened anew, O_NONBLOCK */
	SINK_POLLED, /* shared with others: poll, then a small write */
	SINK_SOCKET,
	SINK_BOUNDED, /* regular file of at most CONSOLE_FILE_BYTES */
};

struct console_sink {
	enum console_sink_kind kind;
	int fd; /* owned; -1 with SINK_NONE */
	size_t piece_bytes; /* most that one write takes without waiting */
	uint64_t file_bytes; /* SINK_BOUNDED */
};

/*
 * Takes a copy of @fd, or opens its file anew; -1: SINK_NONE. @bounded: a
 * regular file is kept below CONSOLE_FILE_BYTES: when it gets there the last
 * CONSOLE_FILE_KEPT move to its front. It goes on behind what it holds, must be
 * open for reading and writing, and loses O_APPEND. 0 or -errno.
 */
int console_sink_init(struct console_sink *sink, int fd, bool bounded);
void console_sink_destroy(struct console_sink *sink);

/*
 * Writes some of @bytes: how many, or -errno; -EAGAIN: poll sink->fd for
 * writing and try again. @count > 0.
 */
ssize_t console_sink_write(struct console_sink *sink, const uint8_t *bytes,
			   size_t count);

/*
 * Another descriptor for the file of @fd: for terminals and pipes one with its
 * own O_NONBLOCK (@flags: O_RDONLY or O_WRONLY), since setting that on @fd would
 * change it for the shell that lent it. *own says whether that worked; if not
 * it is a plain copy. -errno when there is no such file.
 */
int console_fd_open(int fd, int flags, bool *own);

#endif
