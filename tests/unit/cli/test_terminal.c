/* SPDX-License-Identifier: Apache-2.0 */
#include "memory/base.h"
#include "tests/unit/cli/stage.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <pty.h>
#include <signal.h>
#include <termios.h>
#include <unistd.h>

Test(terminal, bug18_terminal_is_restored_however_the_vm_ends, .timeout = 120)
{
	static int (*const bodies[])(void *context, int control_fd) = {
		stage_ends_with_0, stage_ends_with_4, stage_is_killed,
		stage_crashes,	   stage_violates,    stage_obedient,
		stage_obedient,	   stage_obedient,
	};
	static const int signals[] = { 0, 0, 0, 0, 0, SIGINT, SIGHUP, SIGQUIT };

	for (unsigned int i = 0; i < ARRAY_SIZE(bodies); i++) {
		struct stage stage = { .body = bodies[i] };
		struct termios before, after;
		char said[256];

		stage_open(&stage, true);
		if (signals[i]) {
			stage_expect(&stage, "ready ");
			stage_wait_raw(&stage, true);
			kill(stage.parent, signals[i]);
		}
		stage_rest(&stage, said, sizeof(said));
		stage_status(&stage);
		cr_expect_not(stage_is_raw(&stage), "case %u", i);
		cr_assert_eq(tcgetattr(stage.master, &after), 0);
		stage_close(&stage);

		/* As every new terminal is. */
		cr_assert_eq(openpty(&stage.master, &stage.said, NULL, NULL,
				     NULL),
			     0);
		cr_assert_eq(tcgetattr(stage.master, &before), 0);
		cr_expect_eq(before.c_iflag, after.c_iflag);
		cr_expect_eq(before.c_oflag, after.c_oflag);
		cr_expect_eq(before.c_cflag, after.c_cflag);
		cr_expect_eq(before.c_lflag, after.c_lflag);
		cr_expect_arr_eq(before.c_cc, after.c_cc, sizeof(before.c_cc));
		stage_close(&stage);
	}
}

Test(terminal, bug18_descriptors_of_the_shell_stay_blocking, .timeout = 60)
{
	struct stage stage = { .body = stage_careless };
	int slave;

	/* Its stdin and stdout are the same open file as ours. */
	stage.master = -1;
	cr_assert_eq(openpty(&stage.master, &slave, NULL, NULL, NULL), 0);
	cr_assert_geq(dup2(slave, 0), 0);
	cr_assert_geq(dup2(slave, 1), 0);
	close(stage.master);
	stage_open(&stage, false);
	stage_expect(&stage, "ready ");
	stage_status(&stage);
	cr_expect_eq(fcntl(0, F_GETFL) & O_NONBLOCK, 0);
	cr_expect_eq(fcntl(1, F_GETFL) & O_NONBLOCK, 0);
	stage_close(&stage);
}

Test(terminal, raw_terminal_passes_keys_and_still_prints_newlines,
     .timeout = 60)
{
	struct stage stage = { .body = stage_obedient };
	struct termios modes;

	stage_open(&stage, true);
	stage_expect(&stage, "ready ");
	stage_wait_raw(&stage, true);
	cr_assert_eq(tcgetattr(stage.master, &modes), 0);
	cr_expect_eq(modes.c_iflag &
			     (tcflag_t)(IXON | ICRNL | INLCR | BRKINT | ISTRIP),
		     0);
	cr_expect(modes.c_oflag & OPOST);
	/* Ctrl-C is the guest's. */
	cr_assert_eq(write(stage.master, "\003", 1), 1);
	kill(stage.parent, SIGUSR1);
	stage_expect(&stage, "s10 ");
	kill(stage.parent, SIGINT);
	stage_expect(&stage, "e2 ");
	cr_expect_eq(stage_status(&stage), 130);
	stage_close(&stage);
}

Test(terminal, stop_gives_the_terminal_back_and_continue_takes_it,
     .timeout = 60)
{
	struct stage stage = { .body = stage_obedient };

	stage_open(&stage, true);
	stage_expect(&stage, "ready ");
	for (unsigned int round = 0; round < 2; round++) {
		stage_wait_raw(&stage, true);
		kill(stage.parent, SIGTSTP);
		stage_wait_stopped(&stage);
		cr_expect_not(stage_is_raw(&stage));
		kill(stage.parent, SIGCONT);
		stage_wait_raw(&stage, true);
		/* The child goes on as well, and reads what is typed. */
		stage_expect(&stage, "t18 ");
		kill(stage.parent, SIGUSR1);
		stage_expect(&stage, "s10 ");
	}
	kill(stage.parent, SIGINT);
	stage_expect(&stage, "e2 ");
	cr_expect_eq(stage_status(&stage), 130);
	cr_expect_not(stage_is_raw(&stage));
	stage_close(&stage);
}

Test(terminal,
     bug18_background_job_leaves_the_terminal_alone_until_it_is_in_front,
     .timeout = 60)
{
	struct stage stage = { .body = stage_obedient, .background = true };
	pid_t job;

	stage_open(&stage, true);
	stage_expect(&stage, "ready ");
	job = stage_job(&stage);
	kill(job, SIGCONT); /* as by `bg` */
	kill(job, SIGUSR1);
	stage_expect(&stage, "s10 ");
	cr_expect_not(stage_is_raw(&stage));
	kill(stage.parent, SIGUSR2); /* as by `fg`, to a job that runs */
	stage_wait_raw(&stage, true);
	stage_expect(&stage, "t18 ");
	kill(job, SIGINT);
	stage_expect(&stage, "e2 ");
	cr_expect_eq(stage_status(&stage), 130);
	cr_expect_not(stage_is_raw(&stage));
	stage_close(&stage);
}

Test(terminal, continued_in_the_background_it_is_left_to_the_shell,
     .timeout = 60)
{
	struct stage stage = { .body = stage_obedient, .background = true };
	pid_t job;

	stage_open(&stage, true);
	stage_expect(&stage, "ready ");
	job = stage_job(&stage);
	kill(stage.parent, SIGUSR2); /* `fg` */
	stage_wait_raw(&stage, true);
	stage_expect(&stage, "t18 ");
	kill(job, SIGTSTP); /* the shell takes the terminal: `bg` */
	stage_wait_raw(&stage, false);
	kill(stage.parent, SIGUSR1);
	kill(job, SIGUSR1);
	stage_expect(&stage, "s10 ");
	usleep(1500000);
	cr_expect_not(stage_is_raw(&stage));
	kill(stage.parent, SIGUSR2);
	stage_wait_raw(&stage, true);
	stage_expect(&stage, "t18 ");
	kill(job, SIGINT);
	stage_expect(&stage, "e2 ");
	cr_expect_eq(stage_status(&stage), 130);
	cr_expect_not(stage_is_raw(&stage));
	stage_close(&stage);
}

Test(terminal, end_of_the_terminal_ends_the_vm_in_order, .timeout = 60)
{
	struct stage stage = { .body = stage_obedient };

	stage_open(&stage, true);
	stage_expect(&stage, "ready ");
	close(stage.master);
	stage.master = -1;
	/* The whole group gets SIGHUP; the child leaves it to its parent. */
	stage_expect(&stage, "e1 ");
	cr_expect_eq(stage_status(&stage), 129);
	stage_close(&stage);
}
