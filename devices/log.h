/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sluice's own lines on stderr (or --log FILE, and then errors on both):
 * `sluice: text`, one write(2) each, from any thread. The logger is the one piece of process-wide state: it
 * is set once before threads start. What a guest can cause is limited per
 * struct log_limit, and what was left out is counted and said.
 */
#ifndef DEVICES_LOG_H
#define DEVICES_LOG_H

#include <stdbool.h>
#include <stdint.h>

enum log_level {
	LOG_LEVEL_ERROR,
	LOG_LEVEL_WARN,
	LOG_LEVEL_INFO,
	LOG_LEVEL_DEBUG
};

/* Before any thread starts. @fd stays the caller's, open until the end. */
void log_open(int fd, enum log_level level);

/* Whether lines of @level come out: for what is costly to format. */
bool log_enabled(enum log_level level);

/* "error", "warn", "info" or "debug". False: none of them. */
bool log_level_parse(const char *text, enum log_level *level);

/*
 * One line without newline; more than about 500 bytes are cut. Control
 * characters are replaced. A full disk or closed pipe loses the line and
 * nothing else (the process ignores SIGPIPE and SIGXFSZ). No allocation, no
 * lock; errno is kept. Not for signal handlers.
 */
void log_line(enum log_level level, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

#define log_error(...) log_line(LOG_LEVEL_ERROR, __VA_ARGS__)
#define log_warn(...) log_line(LOG_LEVEL_WARN, __VA_ARGS__)
#define log_info(...) log_line(LOG_LEVEL_INFO, __VA_ARGS__)
#define log_debug(...) log_line(LOG_LEVEL_DEBUG, __VA_ARGS__)

/*
 * For what a guest can repeat: a burst of 5 lines, then one per 10 s (the burst
 * grows back at that rate). When a line comes out again, the one before it says
 * how many were left out. Zeroed at start.
 */
struct log_limit {
	uint64_t paid_until_ns; /* each line pays for 10 s; up to 50 s in advance */
	uint32_t suppressed;
};

/* As log_line, within @limit (updated atomically; any thread). */
void log_limited(struct log_limit *limit, enum log_level level,
		 const char *format, ...) __attribute__((format(printf, 3, 4)));

#endif
