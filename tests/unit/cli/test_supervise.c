/* SPDX-License-Identifier: Apache-2.0 */
#include "devices/error.h"
#include "memory/base.h"
#include "tests/unit/cli/stage.h"

#include <criterion/criterion.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

struct end_case {
	int (*body)(void *context, int control_fd);
	int status;
	const char *said;
};

static const struct end_case end_cases[] = {
	{ stage_ends_with_0, 0, "" },
	{ stage_ends_with_4, 4, "" },
	{ stage_is_killed, EXIT_STATUS_INTERNAL,
	  "sluice: VM: process was killed (out of memory?)\n" },
	{ stage_crashes, EXIT_STATUS_INTERNAL,
	  "sluice: VM: process crashed: signal 11 (Segmentation fault)\n" },
	{ stage_violates, EXIT_STATUS_VIOLATION,
	  "sluice: VM: ended by a system call that is not allowed\n" },
};

Test(supervise, end_of_the_child_becomes_the_exit_status, .timeout = 60)
{
	for (unsigned int i = 0; i < ARRAY_SIZE(end_cases); i++) {
		struct stage stage = { .body = end_cases[i].body };
		char said[256];

		stage_open(&stage, false);
		stage_rest(&stage, said, sizeof(said));
		cr_expect_str_eq(said, end_cases[i].said);
		cr_expect_eq(stage_status(&stage), end_cases[i].status,
			     "case %u", i);
		stage_close(&stage);
	}
}

struct signal_case {
	int signals[2];
	const char *said;
	int status;
};

static const struct signal_case signal_cases[] = {
	{ { SIGINT, 0 }, "e2 ", 130 },
	{ { SIGHUP, 0 }, "e1 ", 129 },
	{ { SIGQUIT, 0 }, "e3 ", 131 },
	{ { SIGTERM, SIGTERM }, "p15 e15 ", 143 },
	{ { SIGTERM, SIGINT }, "p15 e2 ", 130 },
	{ { SIGUSR1, SIGINT }, "s10 e2 ", 130 },
	/* Whose default is to end a process. */
	{ { SIGUSR2, 0 }, "e12 ", 140 },
	{ { SIGALRM, 0 }, "e14 ", 142 },
	{ { SIGXCPU, 0 }, "e24 ", 152 },
	{ { SIGVTALRM, 0 }, "e26 ", 154 },
	{ { SIGPROF, 0 }, "e27 ", 155 },
	{ { SIGIO, 0 }, "e29 ", 157 },
	{ { SIGPWR, 0 }, "e30 ", 158 },
	{ { 34, 0 }, "e34 ", 162 },
	{ { 64, 0 }, "e64 ", 192 },
};

Test(supervise, signals_become_commands, .timeout = 60)
{
	for (unsigned int i = 0; i < ARRAY_SIZE(signal_cases); i++) {
		const struct signal_case *what = &signal_cases[i];
		struct stage stage = { .body = stage_obedient };
		const char *second = strchr(what->said, ' ') + 1;
		char first[16];

		stage_open(&stage, false);
		stage_expect(&stage, "ready ");
		snprintf(first, sizeof(first), "%.*s",
			 (int)(second - what->said), what->said);
		kill(stage.parent, what->signals[0]);
		stage_expect(&stage, first);
		if (what->signals[1]) {
			kill(stage.parent, what->signals[1]);
			stage_expect(&stage, second);
		}
		cr_expect_eq(stage_status(&stage), what->status, "case %u", i);
		stage_close(&stage);
	}
}

/* SIGUSR1 for an answer: whatever came before it was taken, or is not to be. */
Test(supervise, signals_that_end_no_process_do_nothing, .timeout = 60)
{
	static const int signals[] = { SIGWINCH, SIGURG,  SIGCHLD, SIGCONT,
				       SIGPIPE,	 SIGTTIN, SIGTTOU };
	struct stage stage = { .body = stage_obedient };

	stage_open(&stage, false);
	stage_expect(&stage, "ready ");
	for (unsigned int i = 0; i < ARRAY_SIZE(signals); i++) {
		kill(stage.parent, signals[i]);
		usleep(10000);
	}
	kill(stage.parent, SIGUSR1);
	stage_expect(&stage, "s10 ");
	kill(stage.parent, SIGINT);
	stage_expect(&stage, "e2 ");
	cr_expect_eq(stage_status(&stage), 130);
	stage_close(&stage);
}

Test(supervise, guest_that_shuts_down_at_sigterm_ends_with_0, .timeout = 60)
{
	struct stage stage = { .body = stage_polite };

	stage_open(&stage, false);
	stage_expect(&stage, "ready ");
	kill(stage.parent, SIGTERM);
	cr_expect_eq(stage_status(&stage), 0);
	stage_close(&stage);
}

Test(supervise, vm_that_does_not_end_is_killed_by_one_more_signal_after_5_s,
     .timeout = 60)
{
	struct stage stage = { .body = stage_deaf };
	char said[128];

	stage_open(&stage, false);
	stage_expect(&stage, "ready ");
	kill(stage.parent, SIGINT);
	kill(stage.parent, SIGHUP);
	usleep(5300000);
	kill(stage.parent, SIGINT);
	stage_rest(&stage, said, sizeof(said));
	cr_expect_str_eq(said,
			 "sluice: VM: did not end in time and was killed\n");
	cr_expect_eq(stage_status(&stage), 130);
	stage_close(&stage);
}

Test(supervise, vm_that_does_not_end_is_killed_after_12_s_without_a_signal,
     .timeout = 60)
{
	struct stage stage = { .body = stage_deaf };
	struct timespec before, after;
	char said[128];

	stage_open(&stage, false);
	stage_expect(&stage, "ready ");
	clock_gettime(CLOCK_MONOTONIC, &before);
	kill(stage.parent, SIGHUP);
	cr_expect_eq(stage_status(&stage), 129);
	clock_gettime(CLOCK_MONOTONIC, &after);
	cr_expect_geq(after.tv_sec - before.tv_sec, 11);
	stage_rest(&stage, said, sizeof(said));
	cr_expect_str_eq(said,
			 "sluice: VM: did not end in time and was killed\n");
	stage_close(&stage);
}

Test(supervise, signals_that_were_ignored_stay_so, .timeout = 60)
{
	static const int signals[] = { SIGHUP, SIGINT, SIGQUIT, SIGUSR2 };

	for (unsigned int i = 0; i < ARRAY_SIZE(signals); i++) {
		struct stage stage = { .body = stage_obedient,
				       .ignored = signals[i] };

		stage_open(&stage, false);
		stage_expect(&stage, "ready ");
		kill(stage.parent, signals[i]);
		kill(stage.parent, SIGUSR1);
		stage_expect(&stage, "s10 ");
		kill(stage.parent, SIGTERM);
		stage_expect(&stage, "p15 ");
		kill(stage.parent, SIGTERM);
		stage_expect(&stage, "e15 ");
		cr_expect_eq(stage_status(&stage), 143, "case %u", i);
		stage_close(&stage);
	}
}

/* Whoever starts us may ignore, or block, anything. */
Test(supervise, sigterm_is_served_though_it_was_ignored, .timeout = 60)
{
	struct stage stage = { .body = stage_obedient, .ignored = SIGTERM };

	stage_open(&stage, false);
	stage_expect(&stage, "ready ");
	kill(stage.parent, SIGTERM);
	stage_expect(&stage, "p15 ");
	kill(stage.parent, SIGINT);
	stage_expect(&stage, "e2 ");
	cr_expect_eq(stage_status(&stage), 130);
	stage_close(&stage);
}

Test(supervise, child_dies_with_its_parent, .timeout = 60)
{
	struct stage stage = { .body = stage_obedient };
	char said[64];
	int status;

	stage_open(&stage, false);
	stage_expect(&stage, "ready ");
	kill(stage.parent, SIGKILL);
	cr_assert_eq(waitpid(stage.parent, &status, 0), stage.parent);
	/* The pipe ends when its last writer has gone. */
	stage_rest(&stage, said, sizeof(said));
	cr_expect_str_eq(said, "");
	stage_close(&stage);
}
