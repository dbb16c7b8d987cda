/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/byte_stream.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#define NEVER UINT64_MAX

/* A pipe that holds @text and whose other end is closed, or not. */
static int pipe_with(const char *text, int *writer)
{
	int ends[2];

	cr_assert_eq(pipe2(ends, O_CLOEXEC), 0);
	cr_assert_eq(write(ends[1], text, strlen(text)), (ssize_t)strlen(text));
	if (writer)
		*writer = ends[1];
	else
		close(ends[1]);
	return ends[0];
}

Test(byte_stream, peeks_and_skips_to_the_end)
{
	static struct byte_stream stream;
	int fd = pipe_with("abcdef", NULL);
	const uint8_t *bytes;

	byte_stream_init(&stream, fd, 100, NEVER);
	cr_expect_geq(byte_stream_peek(&stream, 2, &bytes), 2);
	cr_expect_eq(bytes[1], 'b');
	cr_expect(byte_stream_skip(&stream, 4));
	cr_expect_eq(stream.offset, 4);
	cr_expect_eq(byte_stream_peek(&stream, 10, &bytes), 2);
	cr_expect_eq(bytes[0], 'e');
	cr_expect_eq(stream.end, BYTE_STREAM_ENDED);
	cr_expect_not(byte_stream_skip(&stream, 3));
	cr_expect_eq(byte_stream_peek(&stream, 1, &bytes), 0);
	close(fd);
}

Test(byte_stream, stops_at_its_limit)
{
	static struct byte_stream stream;
	int fd = pipe_with("abcdef", NULL);
	const uint8_t *bytes;

	byte_stream_init(&stream, fd, 4, NEVER);
	cr_expect_eq(byte_stream_peek(&stream, 6, &bytes), 4);
	cr_expect_eq(stream.end, BYTE_STREAM_TOO_LONG);
	close(fd);
}

Test(byte_stream, stops_at_its_deadline_when_nothing_comes)
{
	static struct byte_stream stream;
	const uint8_t *bytes;
	int writer;
	int fd = pipe_with("ab", &writer);

	byte_stream_init(&stream, fd, 100, NEVER);
	cr_expect_eq(byte_stream_peek(&stream, 1, &bytes), 2);
	stream.deadline_ns = 1;
	cr_expect_eq(byte_stream_peek(&stream, 3, &bytes), 2);
	cr_expect_eq(stream.end, BYTE_STREAM_TOO_SLOW);
	close(writer);
	close(fd);
}

Test(byte_stream, keeps_the_reason_of_a_failure)
{
	static struct byte_stream stream;
	const uint8_t *bytes;
	int fd = open("/", O_RDONLY | O_CLOEXEC);

	byte_stream_init(&stream, fd, 100, NEVER);
	cr_expect_eq(byte_stream_peek(&stream, 1, &bytes), 0);
	cr_expect_eq(stream.end, BYTE_STREAM_FAILED);
	cr_expect_eq(stream.error, EISDIR);
	close(fd);
}
