/* SPDX-License-Identifier: Apache-2.0 */
#include "devices/log.h"

#include "memory/base.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define THREADS 4
#define LINES 500
#define LINE_NS UINT64_C(10000000000)

static int log_pipe[2];

static void open_pipe(enum log_level level)
{
	cr_assert_eq(pipe(log_pipe), 0);
	log_open(log_pipe[1], level);
}

/* What was logged until now. */
static const char *logged(void)
{
	static char text[65536];
	ssize_t n;

	fcntl(log_pipe[0], F_SETFL, O_NONBLOCK);
	n = read(log_pipe[0], text, sizeof(text) - 1);
	text[MAX(n, 0)] = 0;
	return text;
}

Test(log, line_has_prefix_and_newline)
{
	open_pipe(LOG_LEVEL_INFO);
	log_info("disk %s: %d", "root", 7);
	cr_assert_str_eq(logged(), "sluice: disk root: 7\n");
}

Test(log, lines_above_the_level_stay_out)
{
	struct log_limit limit = { 0 };

	open_pipe(LOG_LEVEL_WARN);
	log_info("no");
	log_debug("no");
	log_limited(&limit, LOG_LEVEL_INFO, "no");
	cr_assert_eq(limit.paid_until_ns, 0);
	cr_assert_str_eq(logged(), "");
	log_warn("w");
	log_error("e");
	cr_assert_str_eq(logged(), "sluice: w\nsluice: e\n");
	cr_assert(log_enabled(LOG_LEVEL_ERROR));
	cr_assert_not(log_enabled(LOG_LEVEL_INFO));
}

Test(log, level_names_parse)
{
	static const char *const names[] = { "error", "warn", "info", "debug" };
	enum log_level level;
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(names); i++) {
		cr_assert(log_level_parse(names[i], &level));
		cr_assert_eq(level, i);
	}
	cr_assert_not(log_level_parse("Warn", &level));
	cr_assert_not(log_level_parse("", &level));
}

Test(log, long_line_is_cut_and_still_one_line)
{
	char text[2000];
	const char *line;

	memset(text, 'x', sizeof(text) - 1);
	text[sizeof(text) - 1] = 0;
	open_pipe(LOG_LEVEL_WARN);
	log_warn("%s", text);
	line = logged();
	cr_assert_eq(strlen(line), 511);
	cr_assert_str_eq(line + 506, "x...\n");
}

Test(log, control_characters_are_replaced)
{
	open_pipe(LOG_LEVEL_WARN);
	log_warn("a\nsluice: forged\033[0m\177");
	cr_assert_str_eq(logged(), "sluice: a?sluice: forged?[0m?\n");
}

Test(log, bug10_flood_gives_a_burst_and_then_the_count_of_what_was_left_out)
{
	struct log_limit limit = { 0 };
	unsigned int i;

	open_pipe(LOG_LEVEL_WARN);
	for (i = 0; i < 1000; i++)
		log_limited(&limit, LOG_LEVEL_WARN, "flood %u", i);
	cr_assert_str_eq(logged(),
			 "sluice: flood 0\nsluice: flood 1\nsluice: flood 2\n"
			 "sluice: flood 3\nsluice: flood 4\n");
	cr_assert_eq(limit.suppressed, 995);
	/* Ten seconds later: one line. */
	limit.paid_until_ns -= LINE_NS;
	log_limited(&limit, LOG_LEVEL_WARN, "again");
	log_limited(&limit, LOG_LEVEL_WARN, "and again");
	cr_assert_str_eq(logged(),
			 "sluice: 995 lines like the next one were left out\n"
			 "sluice: again\n");
	cr_assert_eq(limit.suppressed, 1);
	/* After a long silence: a burst. */
	limit = (struct log_limit){ .paid_until_ns = 1 };
	for (i = 0; i < 9; i++)
		log_limited(&limit, LOG_LEVEL_WARN, "flood");
	cr_assert_eq(limit.suppressed, 4);
}

static void *flood(void *argument)
{
	unsigned int i;

	for (i = 0; i < LINES; i++)
		log_limited(argument, LOG_LEVEL_WARN, "flood");
	return NULL;
}

Test(log, bug10_flood_of_many_threads_stays_within_the_limit, .timeout = 20)
{
	struct log_limit limit = { 0 };
	pthread_t threads[THREADS];
	unsigned int i;

	open_pipe(LOG_LEVEL_WARN);
	for (i = 0; i < THREADS; i++)
		pthread_create(&threads[i], NULL, flood, &limit);
	for (i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	cr_assert_eq(strlen(logged()), 5 * strlen("sluice: flood\n"));
	cr_assert_eq(limit.suppressed, THREADS * LINES - 5);
}

Test(log, bug18_full_disk_loses_the_line_and_keeps_errno)
{
	log_open(open("/dev/full", O_WRONLY), LOG_LEVEL_WARN);
	errno = ENOTTY;
	log_warn("lost");
	cr_assert_eq(errno, ENOTTY);
}

Test(log, bug18_closed_pipe_loses_the_line)
{
	signal(SIGPIPE, SIG_IGN);
	open_pipe(LOG_LEVEL_WARN);
	close(log_pipe[0]);
	log_warn("lost");
	log_open(-1, LOG_LEVEL_WARN);
	log_warn("lost");
}

Test(log, full_pipe_without_waiting_loses_the_line, .timeout = 10)
{
	unsigned int i;

	open_pipe(LOG_LEVEL_WARN);
	fcntl(log_pipe[1], F_SETFL, O_NONBLOCK);
	for (i = 0; i < 10000; i++)
		log_warn("%0400u", i);
}

static void *write_lines(void *argument)
{
	unsigned int i;

	for (i = 0; i < LINES; i++)
		log_warn("%s", (const char *)argument);
	return NULL;
}

static void *close_when_done(void *argument)
{
	pthread_t threads[THREADS];
	static char texts[THREADS][101];
	unsigned int i;

	(void)argument;
	for (i = 0; i < THREADS; i++) {
		memset(texts[i], 'a' + (int)i, 100);
		pthread_create(&threads[i], NULL, write_lines, texts[i]);
	}
	for (i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	close(log_pipe[1]);
	return NULL;
}

Test(log, lines_of_several_threads_do_not_mix, .timeout = 20)
{
	unsigned int lines = 0;
	pthread_t writer;
	char line[600];
	FILE *file;
	size_t i;

	open_pipe(LOG_LEVEL_WARN);
	pthread_create(&writer, NULL, close_when_done, NULL);
	file = fdopen(log_pipe[0], "r");
	while (fgets(line, sizeof(line), file)) {
		lines++;
		cr_assert_eq(strlen(line), 109);
		for (i = 9; i < 108; i++)
			cr_assert_eq(line[i], line[8]);
	}
	pthread_join(writer, NULL);
	fclose(file);
	cr_assert_eq(lines, THREADS * LINES);
}

Test(log, errors_go_to_stderr_also_where_the_log_is_a_file)
{
	int standard[2];
	char text[256];
	ssize_t n;

	cr_assert_eq(pipe(standard), 0);
	cr_assert_geq(dup2(standard[1], STDERR_FILENO), 0);
	open_pipe(LOG_LEVEL_WARN);
	log_warn("w");
	log_error("e");
	cr_expect_str_eq(logged(), "sluice: w\nsluice: e\n");
	/* The same file by another number: once is enough. */
	log_open(standard[1], LOG_LEVEL_WARN);
	log_error("f");
	n = read(standard[0], text, sizeof(text) - 1);
	text[MAX(n, 0)] = 0;
	cr_expect_str_eq(text, "sluice: e\nsluice: f\n");
}
