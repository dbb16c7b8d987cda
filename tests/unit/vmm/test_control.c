/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm/control.h"

#include <criterion/criterion.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "vmm/finisher.h"
#include "vmm/timer.h"

static struct event_loop loop;
static char log_text[64];
static size_t log_used;
static int expected; /* the loop ends after so many calls */

static void note(char what)
{
	log_text[log_used++] = what;
	if (--expected == 0)
		event_loop_end(&loop);
}

static void received(void *context, uint8_t command, int signal)
{
	(void)context;
	note((char)command);
	cr_expect_eq(signal, 'A' + command - 'a');
}

static void ended(void *context)
{
	(void)context;
	note('.');
}

static void set_up(void)
{
	cr_assert_eq(event_loop_init(&loop), 0);
}

static void clean_up(void)
{
	event_loop_destroy(&loop);
}

TestSuite(control, .init = set_up, .fini = clean_up, .timeout = 20);
TestSuite(timer, .init = set_up, .fini = clean_up, .timeout = 20);
TestSuite(finisher, .timeout = 20);

Test(control, commands_come_in_order_then_the_end)
{
	struct control control;
	int ends[2];

	cr_assert_eq(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, ends), 0);
	cr_assert_eq(control_init(&control, &loop, ends[1], received, ended,
				  NULL),
		     0);
	cr_assert_eq(send(ends[0], "aA", 2, 0), 2);
	cr_assert_eq(send(ends[0], "bB", 2, 0), 2);
	close(ends[0]);
	expected = 3;
	cr_expect_eq(event_loop_run(&loop), 0);
	cr_expect_str_eq(log_text, "ab.");
	control_destroy(&control);
	close(ends[1]);
}

Test(control, commands_in_halves_and_in_heaps_are_understood)
{
	struct control control;
	int ends[2];

	cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
	cr_assert_eq(control_init(&control, &loop, ends[1], received, ended,
				  NULL),
		     0);
	cr_assert_eq(send(ends[0], "aAbBc", 5, 0), 5);
	cr_assert_eq(send(ends[0], "CdD", 3, 0), 3);
	expected = 4;
	cr_expect_eq(event_loop_run(&loop), 0);
	cr_expect_str_eq(log_text, "abcd");
	control_destroy(&control);
	control_destroy(&control);
	close(ends[0]);
	close(ends[1]);
}

static void expired(void *context)
{
	note(*(const char *)context);
}

Test(timer, timers_expire_once_and_in_order)
{
	static char late = 'l', early = 'e', last = 'x';
	struct timer one, two, three;
	uint64_t start = timer_now_ns();

	cr_assert_eq(timer_init(&one, &loop, expired, &late), 0);
	cr_assert_eq(timer_init(&two, &loop, expired, &early), 0);
	cr_assert_eq(timer_init(&three, &loop, expired, &last), 0);
	timer_set(&one, 40);
	timer_set(&two, 0);
	timer_set(&three, 5);
	timer_set(&three, 90);
	expected = 3;
	cr_expect_eq(event_loop_run(&loop), 0);
	cr_expect_str_eq(log_text, "elx");
	cr_expect_geq(timer_now_ns() - start, 90000000);
	timer_destroy(&one);
	timer_destroy(&two);
	timer_destroy(&three);
	timer_destroy(&three);
}

static void work(void *context)
{
	usleep(*(const unsigned int *)context);
}

static bool finishes(unsigned int work_us, int timeout_ms)
{
	static struct finisher finisher;
	static struct threads threads;

	cr_assert_eq(finisher_start(&finisher, &threads, work, &work_us), 0);
	finisher_begin(&finisher);
	return finisher_wait(&finisher, timeout_ms, -1) == FINISHER_DONE;
}

Test(finisher, work_that_ends_is_waited_for)
{
	cr_expect(finishes(30000, 10000));
}

Test(finisher, somebody_else_can_end_the_wait)
{
	static unsigned int long_time = 10000000;
	static struct finisher finisher;
	static struct threads threads;
	int wake[2];

	cr_assert_eq(pipe(wake), 0);
	cr_assert_eq(finisher_start(&finisher, &threads, work, &long_time), 0);
	finisher_begin(&finisher);
	cr_assert_eq(write(wake[1], "x", 1), 1);
	cr_expect_eq(finisher_wait(&finisher, -1, wake[0]), FINISHER_WOKEN);
}

Test(finisher, work_that_hangs_is_given_up)
{
	static unsigned int long_time = 10000000;
	static struct finisher finisher;
	static struct threads threads;

	cr_assert_eq(finisher_start(&finisher, &threads, work, &long_time), 0);
	finisher_begin(&finisher);
	cr_expect_eq(finisher_wait(&finisher, 50, -1), FINISHER_WORKING);
}
