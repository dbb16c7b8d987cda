/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A line is formatted on the stack and goes out by one write(2), so lines of
 * several threads never mix, and a logger has no lock that could deadlock.
 *
 * The limit is a leaky bucket in one word: paid_until is the time up to which
 * the lines that came out have paid; each pays for LINE_NS more. A line may
 * come out while that is at most BURST lines ahead of now.
 */
#include "devices/log.h"

#include "memory/base.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define LINE_BYTES 512
#define PREFIX "sluice: "
#define LINE_NS UINT64_C(10000000000)
#define BURST 5

static struct {
	int fd;
	enum log_level level;
	bool elsewhere; /* fd is not what stderr is */
} logger = { .fd = STDERR_FILENO, .level = LOG_LEVEL_WARN };

static bool is_stderr(int fd)
{
	struct stat file, standard;

	if (fd == STDERR_FILENO)
		return true;
	return fstat(fd, &file) == 0 && fstat(STDERR_FILENO, &standard) == 0 &&
	       file.st_dev == standard.st_dev && file.st_ino == standard.st_ino;
}

void log_open(int fd, enum log_level level)
{
	logger.fd = fd;
	logger.level = level;
	logger.elsewhere = !is_stderr(fd);
}

bool log_enabled(enum log_level level)
{
	return level <= logger.level;
}

bool log_level_parse(const char *text, enum log_level *level)
{
	static const char *const names[] = {
		[LOG_LEVEL_ERROR] = "error",
		[LOG_LEVEL_WARN] = "warn",
		[LOG_LEVEL_INFO] = "info",
		[LOG_LEVEL_DEBUG] = "debug",
	};
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(names); i++) {
		if (!strcmp(text, names[i])) {
			*level = (enum log_level)i;
			return true;
		}
	}
	return false;
}

static void write_to(int fd, const char *line, size_t len)
{
	ssize_t n;

	/* Whatever else happens, a log line is not worth more than itself. */
	do {
		n = write(fd, line, len);
	} while (n < 0 && errno == EINTR);
}

static void write_line(enum log_level level, const char *format,
		       va_list arguments)
{
	char line[LINE_BYTES] = PREFIX;
	/* Of the last two bytes one is the newline, one vsnprintf's end. */
	size_t room = sizeof(line) - strlen(PREFIX) - 1;
	int saved = errno;
	size_t end, i;
	int len;

	len = vsnprintf(line + strlen(PREFIX), room, format, arguments);
	if (len < 0)
		return;
	end = strlen(PREFIX) + MIN((size_t)len, room - 1);
	if ((size_t)len >= room)
		memcpy(line + end - 3, "...", 3);
	for (i = 0; i < end; i++) {
		if ((unsigned char)line[i] < 0x20 || line[i] == 0x7f)
			line[i] = '?';
	}
	line[end++] = '\n';
	write_to(logger.fd, line, end);
	if (level == LOG_LEVEL_ERROR && logger.elsewhere)
		write_to(STDERR_FILENO, line, end);
	errno = saved;
}

void log_line(enum log_level level, const char *format, ...)
{
	va_list arguments;

	if (!log_enabled(level))
		return;
	va_start(arguments, format);
	write_line(level, format, arguments);
	va_end(arguments);
}

static bool limit_permits(struct log_limit *limit)
{
	uint64_t paid, next, now;
	struct timespec time;

	/* Coarse: from the vDSO, no system call; 4 ms of error do not matter. */
	clock_gettime(CLOCK_MONOTONIC_COARSE, &time);
	now = (uint64_t)time.tv_sec * 1000000000 + (uint64_t)time.tv_nsec;
	paid = __atomic_load_n(&limit->paid_until_ns, __ATOMIC_RELAXED);
	do {
		next = MAX(paid, now) + LINE_NS;
		if (next - now > BURST * LINE_NS) {
			__atomic_fetch_add(&limit->suppressed, 1,
					   __ATOMIC_RELAXED);
			return false;
		}
	} while (!__atomic_compare_exchange_n(&limit->paid_until_ns, &paid,
					      next, false, __ATOMIC_RELAXED,
					      __ATOMIC_RELAXED));
	return true;
}

void log_limited(struct log_limit *limit, enum log_level level,
		 const char *format, ...)
{
	va_list arguments;
	uint32_t left_out;

	if (!log_enabled(level) || !limit_permits(limit))
		return;
	left_out = __atomic_exchange_n(&limit->suppressed, 0, __ATOMIC_RELAXED);
	if (left_out)
		log_line(level, "%u lines like the next one were left out",
			 left_out);
	va_start(arguments, format);
	write_line(level, format, arguments);
	va_end(arguments);
}
