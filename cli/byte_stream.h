/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reads bytes from a file or pipe that someone hostile may have made: never
 * more of them, and never for longer, than was said at the start.
 */
#ifndef CLI_BYTE_STREAM_H
#define CLI_BYTE_STREAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define BYTE_STREAM_BUFFER 16384

enum byte_stream_end {
	BYTE_STREAM_GOES_ON,
	BYTE_STREAM_ENDED,
	BYTE_STREAM_FAILED, /* a read failed: `error` */
	BYTE_STREAM_TOO_LONG, /* more bytes than the limit */
	BYTE_STREAM_TOO_SLOW, /* no end before the deadline */
};

struct byte_stream {
	int fd; /* the caller's */
	uint64_t left; /* bytes that may still be read */
	uint64_t deadline_ns; /* CLOCK_MONOTONIC */
	uint64_t offset; /* of the next byte */
	enum byte_stream_end end;
	int error; /* errno */
	size_t at, have; /* the unread part of buffer is [at, have) */
	uint8_t buffer[BYTE_STREAM_BUFFER];
};

void byte_stream_init(struct byte_stream *stream, int fd, uint64_t limit,
		      uint64_t deadline_ns);

/*
 * The next bytes without taking them, at least @wanted (at most
 * BYTE_STREAM_BUFFER) unless the stream ends before: how many there are, *@bytes
 * points at them until the next call.
 */
size_t byte_stream_peek(struct byte_stream *stream, size_t wanted,
			const uint8_t **bytes);

/* Takes @count bytes. False: it ended before. */
bool byte_stream_skip(struct byte_stream *stream, uint64_t count);

#endif
