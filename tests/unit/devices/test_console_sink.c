/* SPDX-License-Identifier: Apache-2.0 */
/* Bounded files; the rest of the sinks is tested through the console. */
#include "devices/console_sink.h"

#include "memory/base.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static struct console_sink sink;
static char path[] = "/tmp/sluice-sink-XXXXXX";
static uint64_t put_count;

/* No period up to 2^28, so that no part of the stream looks like another. */
static uint8_t stream_byte(uint64_t at)
{
	return (uint8_t)(at ^ (at >> 7) * 31 ^ (at >> 14) * 5 ^
			 (at >> 20) * 77);
}

static int open_file(int flags, uint64_t size)
{
	int fd = mkstemp(path);

	cr_assert_eq(ftruncate(fd, (off_t)size), 0);
	close(fd);
	fd = open(path, flags);
	unlink(path);
	cr_assert_eq(console_sink_init(&sink, fd, true), 0);
	cr_assert_eq(sink.kind, SINK_BOUNDED);
	return fd;
}

static uint64_t file_size(int fd)
{
	struct stat status;

	fstat(fd, &status);
	return (uint64_t)status.st_size;
}

static void fill(int fd, uint64_t count)
{
	uint8_t bytes[40000];
	size_t piece, i;
	ssize_t n;

	while (count) {
		piece = MIN(count, sizeof(bytes));
		for (i = 0; i < piece; i++)
			bytes[i] = stream_byte(put_count + i);
		n = console_sink_write(&sink, bytes, piece);
		cr_assert_gt(n, 0);
		cr_assert_leq(file_size(fd), CONSOLE_FILE_BYTES);
		count -= (uint64_t)n;
		put_count += (uint64_t)n;
	}
}

/* The file's content is the stream's last bytes. */
static void check_tail(int fd)
{
	uint64_t size = file_size(fd), at, i;
	uint8_t bytes[65536];
	ssize_t n;

	for (at = 0; at < size; at += (uint64_t)n) {
		n = pread(fd, bytes, sizeof(bytes), (off_t)at);
		cr_assert_gt(n, 0);
		for (i = 0; i < (uint64_t)n; i++)
			if (bytes[i] != stream_byte(put_count - size + at + i))
				cr_assert_fail("wrong byte at %lu", at + i);
	}
}

Test(console_sink, bug10_bounded_file_keeps_the_last_bytes_in_order,
     .timeout = 60)
{
	int fd = open_file(O_RDWR | O_APPEND, 0);

	fill(fd, CONSOLE_FILE_BYTES);
	cr_assert_eq(file_size(fd), CONSOLE_FILE_BYTES);
	check_tail(fd);
	fill(fd, 12345);
	cr_assert_eq(file_size(fd), CONSOLE_FILE_KEPT + 12345);
	check_tail(fd);
	fill(fd, CONSOLE_FILE_BYTES);
	cr_assert_geq(file_size(fd), CONSOLE_FILE_KEPT);
	check_tail(fd);
	console_sink_destroy(&sink);
}

Test(console_sink, bounded_file_that_was_longer_before_is_cut, .timeout = 20)
{
	int fd = open_file(O_RDWR, 3 * CONSOLE_FILE_BYTES);
	char first = 0;

	cr_assert_eq(pwrite(fd, "k", 1,
			    3 * CONSOLE_FILE_BYTES - CONSOLE_FILE_KEPT),
		     1);
	cr_assert_eq(console_sink_write(&sink, (const uint8_t *)"z", 1), 1);
	cr_assert_eq(file_size(fd), CONSOLE_FILE_KEPT + 1);
	cr_assert_eq(pread(fd, &first, 1, 0), 1);
	cr_assert_eq(first, 'k');
	cr_assert_eq(pread(fd, &first, 1, CONSOLE_FILE_KEPT), 1);
	cr_assert_eq(first, 'z');
	console_sink_destroy(&sink);
}

Test(console_sink, bounded_file_that_cannot_be_read_starts_anew, .timeout = 20)
{
	int fd = open_file(O_WRONLY, CONSOLE_FILE_BYTES);

	fill(fd, 7);
	cr_assert_eq(file_size(fd), 7);
	console_sink_destroy(&sink);
}

Test(console_sink, bug18_file_that_someone_else_cut_starts_anew, .timeout = 20)
{
	int fd = open_file(O_RDWR, CONSOLE_FILE_BYTES);

	cr_assert_eq(ftruncate(fd, 100), 0);
	fill(fd, 7);
	cr_assert_eq(file_size(fd), 7);
	check_tail(fd);
	console_sink_destroy(&sink);
}

Test(console_sink, bounded_file_that_cannot_be_cut_stops_growing, .timeout = 20)
{
	int fd = open_file(O_RDONLY, CONSOLE_FILE_BYTES);

	cr_assert_eq(console_sink_write(&sink, (const uint8_t *)"z", 1),
		     -EFBIG);
	cr_assert_eq(file_size(fd), CONSOLE_FILE_BYTES);
	console_sink_destroy(&sink);
}

Test(console_sink, existing_content_is_continued, .timeout = 20)
{
	int fd = open_file(O_RDWR, 5);
	char text[8] = "";

	cr_assert_eq(console_sink_write(&sink, (const uint8_t *)"on", 2), 2);
	cr_assert_eq(pread(fd, text, sizeof(text), 0), 7);
	cr_assert_eq(memcmp(text, "\0\0\0\0\0on", 7), 0);
	console_sink_destroy(&sink);
}
