/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/bench.h"
#include "cli/check.h"
#include "cli/help.h"
#include "cli/options.h"
#include "cli/probe.h"
#include "cli/problems.h"
#include "cli/run.h"
#include "devices/error.h"

#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static uint64_t main_now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

/*
 * What the process was started with may be anything: a closed stderr would
 * become a disk's fd, and messages would be written to that disk.
 */
static void main_set_up(void)
{
	int fd;

	do {
		fd = open("/dev/null", O_RDWR);
	} while (fd >= 0 && fd <= STDERR_FILENO);
	if (fd > STDERR_FILENO)
		close(fd);
	else
		_exit(EXIT_STATUS_INTERNAL);
	/* A reader that goes away, and a limit of file sizes, are errors of write(2). */
	signal(SIGPIPE, SIG_IGN);
	signal(SIGXFSZ, SIG_IGN);
	/* Nobody but the user writes what we make. */
	umask(umask(0) | S_IWGRP | S_IWOTH);
}

/* Whatever was printed has arrived, or the status says that it has not. */
static int main_finish(int status)
{
	struct problems problems = { .report = problems_report_all };
	struct error error;

	if (fflush(stdout) == 0 && !ferror(stdout))
		return status;
	error_set(&error, EXIT_STATUS_INTERNAL, "stdout: cannot be written");
	problems_add_error(&problems, &error);
	return status ? status : EXIT_STATUS_INTERNAL;
}

static int main_dispatch(const struct options *options, uint64_t started_ns)
{
	if (options->version) {
		printf("sluice %s\n", SLUICE_VERSION);
		return main_finish(EXIT_STATUS_OK);
	}
	if (options->help)
		return main_finish(help_verb(options));
	switch (options->verb) {
	case VERB_RUN:
		return run_verb(options, started_ns);
	case VERB_CHECK:
		return main_finish(check_verb(options));
	case VERB_PROBE:
		return main_finish(probe_verb());
	case VERB_BENCH:
		return main_finish(bench_verb(options));
	case VERB_HELP:
	case VERB_NONE:
		break;
	}
	return main_finish(help_verb(options));
}

int main(int argc, char **argv)
{
	uint64_t started_ns = main_now_ns();
	struct problems problems = { .report = problems_report_all };
	struct options options;
	struct error error;
	int status;

	main_set_up();
	if (options_parse(&options, argc, argv, &error)) {
		problems_add_error(&problems, &error);
		status = (int)error.status;
	} else {
		status = main_dispatch(&options, started_ns);
	}
	options_destroy(&options);
	return status;
}
