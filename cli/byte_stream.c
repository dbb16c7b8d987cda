/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/byte_stream.h"

#include "memory/base.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

void byte_stream_init(struct byte_stream *stream, int fd, uint64_t limit,
		      uint64_t deadline_ns)
{
	stream->fd = fd;
	stream->left = limit;
	stream->deadline_ns = deadline_ns;
	stream->offset = 0;
	stream->end = BYTE_STREAM_GOES_ON;
	stream->error = 0;
	stream->at = 0;
	stream->have = 0;
}

/* Waits for bytes. False: the deadline came first. */
static bool byte_stream_wait(const struct byte_stream *stream)
{
	struct pollfd poll_fd = { .fd = stream->fd, .events = POLLIN };
	struct timespec now;
	uint64_t now_ns;
	int ready;

	for (;;) {
		clock_gettime(CLOCK_MONOTONIC, &now);
		now_ns = (uint64_t)now.tv_sec * 1000000000 +
			 (uint64_t)now.tv_nsec;
		if (now_ns >= stream->deadline_ns)
			return false;
		ready = poll(&poll_fd, 1,
			     (int)((stream->deadline_ns - now_ns) / 1000000) +
				     1);
		if (ready > 0 || (ready < 0 && errno != EINTR))
			return true;
	}
}

/* Reads once behind what is held. */
static void byte_stream_fill(struct byte_stream *stream)
{
	ssize_t got;

	if (stream->at > 0) {
		memmove(stream->buffer, stream->buffer + stream->at,
			stream->have - stream->at);
		stream->have -= stream->at;
		stream->at = 0;
	}
	if (stream->left == 0) {
		stream->end = BYTE_STREAM_TOO_LONG;
		return;
	}
	if (!byte_stream_wait(stream)) {
		stream->end = BYTE_STREAM_TOO_SLOW;
		return;
	}
	got = read(stream->fd, stream->buffer + stream->have,
		   MIN(sizeof(stream->buffer) - stream->have, stream->left));
	if (got > 0) {
		stream->have += (size_t)got;
		stream->left -= (uint64_t)got;
	} else if (got == 0) {
		stream->end = BYTE_STREAM_ENDED;
	} else if (errno != EINTR && errno != EAGAIN) {
		stream->end = BYTE_STREAM_FAILED;
		stream->error = errno;
	}
}

size_t byte_stream_peek(struct byte_stream *stream, size_t wanted,
			const uint8_t **bytes)
{
	wanted = MIN(wanted, sizeof(stream->buffer));
	while (stream->have - stream->at < wanted &&
	       stream->end == BYTE_STREAM_GOES_ON)
		byte_stream_fill(stream);
	*bytes = stream->buffer + stream->at;
	return stream->have - stream->at;
}

bool byte_stream_skip(struct byte_stream *stream, uint64_t count)
{
	const uint8_t *bytes;

	while (count > 0) {
		size_t part = MIN(byte_stream_peek(stream, 1, &bytes), count);

		if (part == 0)
			return false;
		stream->at += part;
		stream->offset += part;
		count -= part;
	}
	return true;
}
