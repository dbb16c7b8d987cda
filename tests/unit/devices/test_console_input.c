/* SPDX-License-Identifier: Apache-2.0 */
#include "devices/console.h"

#include "memory/base.h"
#include "tests/unit/devices/loop_support.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <pty.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <termios.h>

#define STREAM_BYTES (1u << 20)

static struct event_loop loop;
static struct console console;

/* A guest that takes as much as it has room for. */
static struct {
	uint8_t bytes[2 * STREAM_BYTES];
	size_t count;
	size_t room;
	unsigned int quit;
} guest;

static size_t input(void *context, const uint8_t *bytes, size_t count)
{
	(void)context;
	count = MIN(count, guest.room);
	memcpy(guest.bytes + guest.count, bytes, count);
	guest.count += count;
	guest.room -= count;
	return count;
}

static void quit(void *context)
{
	(void)context;
	guest.quit++;
}

static const struct console_listener listener = { .input = input,
						  .quit = quit };

static void open_console(int in_fd, bool escapes)
{
	cr_assert_eq(event_loop_init(&loop), 0);
	cr_assert_eq(console_init(&console, &loop, CONSOLE_NONE, in_fd, -1,
				  escapes, &listener),
		     0);
}

static void close_console(void)
{
	console_destroy(&console);
	event_loop_destroy(&loop);
}

static void give_room(size_t room)
{
	guest.room = room;
	console_input_wanted(&console);
	loop_run_for(&loop, 10);
}

static void check_got(const char *text, size_t count)
{
	cr_assert_eq(guest.count, count, "%zu bytes instead of %zu",
		     guest.count, count);
	cr_assert_eq(memcmp(guest.bytes, text, count), 0);
}

Test(console_input, bytes_of_a_pipe_arrive_as_they_are_and_its_end_ends_nothing,
     .timeout = 10)
{
	int fds[2];

	cr_assert_eq(pipe(fds), 0);
	/* Escapes are for terminals, whatever the caller says. */
	open_console(fds[0], true);
	guest.room = 100;
	cr_assert_eq(write(fds[1], "a\1x\1\1\0\377b", 8), 8);
	loop_run_for(&loop, 10);
	check_got("a\1x\1\1\0\377b", 8);
	cr_assert_eq(guest.quit, 0);
	close(fds[1]);
	loop_run_for(&loop, 10);
	cr_assert_eq(console.input, CONSOLE_INPUT_NONE);
	cr_assert_not(console.in_armed);
	cr_assert_not(fcntl(fds[0], F_GETFL) & O_NONBLOCK);
	give_room(1);
	close_console();
}

Test(console_input, what_the_guest_refuses_is_offered_again_when_it_wants_more,
     .timeout = 10)
{
	int fds[2];

	cr_assert_eq(pipe(fds), 0);
	open_console(fds[0], false);
	guest.room = 2;
	cr_assert_eq(write(fds[1], "abcdef", 6), 6);
	loop_run_for(&loop, 10);
	check_got("ab", 2);
	give_room(1);
	check_got("abc", 3);
	/* More input behind what waits keeps its place. */
	cr_assert_eq(write(fds[1], "gh", 2), 2);
	loop_run_for(&loop, 10);
	check_got("abc", 3);
	close(fds[1]);
	loop_run_for(&loop, 10);
	give_room(100);
	check_got("abcdefgh", 8);
	close_console();
}

/* Terminals pass bytes on when their kernel thread comes to it. */
static void wait_for(size_t count, unsigned int quits)
{
	unsigned int turns;

	for (turns = 0;
	     turns < 2000 && (guest.count < count || guest.quit < quits);
	     turns++)
		loop_run_for(&loop, 1);
	loop_run_for(&loop, 2);
}

static uint8_t stream_byte(size_t at)
{
	return (uint8_t)(at ^ (at >> 8) ^ (at >> 13) * 7);
}

static void *write_stream(void *argument)
{
	static uint8_t bytes[STREAM_BYTES];
	size_t at;
	ssize_t n;

	for (at = 0; at < STREAM_BYTES; at++)
		bytes[at] = stream_byte(at);
	for (at = 0; at < STREAM_BYTES; at += (size_t)n) {
		n = write(*(int *)argument, bytes + at, STREAM_BYTES - at);
		if (n <= 0)
			break;
	}
	close(*(int *)argument);
	return NULL;
}

Test(console_input, mebibyte_arrives_whole_at_a_guest_that_takes_little,
     .timeout = 60)
{
	unsigned int turn = 0;
	pthread_t writer;
	int fds[2];
	size_t i;

	cr_assert_eq(pipe(fds), 0);
	open_console(fds[0], true);
	pthread_create(&writer, NULL, write_stream, &fds[1]);
	while (guest.count < STREAM_BYTES) {
		guest.room = 1 + turn++ * 977 % 8000;
		console_input_wanted(&console);
		loop_run_for(&loop, 1);
		cr_assert_leq(console.pending_count, CONSOLE_PENDING_BYTES);
	}
	pthread_join(writer, NULL);
	for (i = 0; i < STREAM_BYTES; i++)
		if (guest.bytes[i] != stream_byte(i))
			cr_assert_fail("wrong byte at %zu", i);
	close_console();
}

Test(console_input, pipe_is_not_read_beyond_what_can_wait_and_the_loop_rests,
     .timeout = 10)
{
	static const uint8_t bytes[3 * CONSOLE_PENDING_BYTES];
	uint64_t cpu;
	int fds[2];

	cr_assert_eq(pipe(fds), 0);
	open_console(fds[0], false);
	cr_assert_eq(write(fds[1], bytes, sizeof(bytes)), sizeof(bytes));
	close(fds[1]);
	loop_run_for(&loop, 10);
	cr_assert_leq(console.pending_count, CONSOLE_PENDING_BYTES);
	cr_assert_not(console.in_armed);
	cpu = loop_cpu_us();
	loop_run_for(&loop, 50);
	cr_assert_lt(loop_cpu_us() - cpu, 20000);
	give_room(SIZE_MAX);
	cr_assert_eq(guest.count, sizeof(bytes));
	close_console();
}

Test(console_input, file_is_read_as_the_guest_wants_it, .timeout = 20)
{
	char path[] = "/tmp/sluice-input-XXXXXX";
	int fd = mkstemp(path), copy = dup(fd);
	size_t i;

	unlink(path);
	write_stream(&copy);
	lseek(fd, 0, SEEK_SET);
	open_console(fd, true);
	cr_assert_eq(console.input, CONSOLE_INPUT_READY);
	guest.room = 5000;
	loop_run_for(&loop, 10);
	cr_assert_eq(guest.count, 5000);
	cr_assert_leq(lseek(fd, 0, SEEK_CUR), 5000 + CONSOLE_PENDING_BYTES);
	give_room(SIZE_MAX);
	while (console.input != CONSOLE_INPUT_NONE)
		loop_run_for(&loop, 10);
	cr_assert_eq(guest.count, STREAM_BYTES);
	for (i = 0; i < STREAM_BYTES; i++)
		if (guest.bytes[i] != stream_byte(i))
			cr_assert_fail("wrong byte at %zu", i);
	close_console();
}

Test(console_input, dev_null_and_no_input_at_all_end_nothing, .timeout = 10)
{
	open_console(open("/dev/null", O_RDONLY), true);
	loop_run_for(&loop, 10);
	cr_assert_eq(console.input, CONSOLE_INPUT_NONE);
	close_console();
	open_console(-1, true);
	give_room(1);
	close_console();
	open_console(999, true); /* a closed stdin */
	give_room(1);
	cr_assert_eq(guest.count, 0);
	close_console();
}

Test(console_input, unreadable_input_ends_nothing, .timeout = 10)
{
	uint64_t cpu;

	open_console(open("/tmp", O_RDONLY | O_DIRECTORY), false);
	loop_run_for(&loop, 10);
	cpu = loop_cpu_us();
	loop_run_for(&loop, 50);
	cr_assert_lt(loop_cpu_us() - cpu, 20000);
	close_console();
}

static size_t swallow(void *context, const uint8_t *bytes, size_t count)
{
	(void)context;
	(void)bytes;
	guest.count += count;
	return count;
}

Test(console_input, bug10_endless_input_leaves_the_loop_to_others,
     .timeout = 10)
{
	static const struct console_listener hungry = { .input = swallow };
	unsigned int i;

	cr_assert_eq(event_loop_init(&loop), 0);
	cr_assert_eq(console_init(&console, &loop, CONSOLE_NONE,
				  open("/dev/zero", O_RDONLY), -1, false,
				  &hungry),
		     0);
	for (i = 0; i < 5; i++)
		loop_run_for(&loop, 5);
	cr_assert_gt(guest.count, 0);
	close_console();
}

Test(console_input, socket_is_read, .timeout = 10)
{
	int fds[2];

	cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
	open_console(fds[0], false);
	guest.room = 10;
	cr_assert_eq(write(fds[1], "socket", 6), 6);
	loop_run_for(&loop, 10);
	check_got("socket", 6);
	close(fds[1]);
	loop_run_for(&loop, 10);
	cr_assert_eq(console.input, CONSOLE_INPUT_NONE);
	close_console();
}

static int open_terminal(int *slave)
{
	struct termios mode;
	int master;

	cr_assert_eq(openpty(&master, slave, NULL, NULL, NULL), 0);
	tcgetattr(*slave, &mode);
	cfmakeraw(&mode);
	tcsetattr(*slave, TCSANOW, &mode);
	return master;
}

Test(console_input, terminal_escapes, .timeout = 20)
{
	static const struct {
		const char *typed, *got;
		unsigned int quit;
	} cases[] = {
		{ "abc", "abc", 0 },	{ "a\1xb", "ab", 1 },
		{ "\1x", "", 1 },	{ "\1X", "\1X", 0 },
		{ "\1\1", "\1", 0 },	{ "\1\1x", "\1x", 0 },
		{ "\1\1\1x", "\1", 1 }, { "\1e", "\1e", 0 },
		{ "\1", "", 0 },	{ "x\3\4\32\21", "x\3\4\32\21", 0 },
	};
	unsigned int i, split, k;
	int master, slave;
	size_t len;

	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		for (split = 0; split < 2; split++) {
			master = open_terminal(&slave);
			memset(&guest, 0, sizeof(guest));
			guest.room = 100;
			open_console(slave, true);
			len = strlen(cases[i].typed);
			/* At once, and key by key. */
			for (k = 0; split && k < len; k++) {
				cr_assert_eq(write(master, cases[i].typed + k,
						   1),
					     1);
				loop_run_for(&loop, 3);
			}
			if (!split)
				cr_assert_eq(write(master, cases[i].typed, len),
					     (ssize_t)len);
			wait_for(strlen(cases[i].got), cases[i].quit);
			cr_assert_eq(guest.quit, cases[i].quit, "case %u", i);
			check_got(cases[i].got, strlen(cases[i].got));
			close_console();
			close(master);
			close(slave);
		}
	}
}

Test(console_input, terminal_without_escapes_is_passed_on_as_it_is,
     .timeout = 10)
{
	int master, slave;

	master = open_terminal(&slave);
	guest.room = 100;
	open_console(slave, false);
	cr_assert_eq(write(master, "\1x", 2), 2);
	wait_for(2, 0);
	check_got("\1x", 2);
	cr_assert_not(fcntl(slave, F_GETFL) & O_NONBLOCK);
	close_console();
}

Test(console_input, ctrl_a_x_is_seen_though_the_guest_takes_nothing,
     .timeout = 10)
{
	int master, slave;

	master = open_terminal(&slave);
	open_console(slave, true);
	cr_assert_eq(write(master, "hello?\r\1x", 9), 9);
	wait_for(0, 1);
	cr_assert_eq(guest.quit, 1);
	cr_assert_eq(guest.count, 0);
	close_console();
}

Test(console_input, escapes_at_the_end_of_a_full_buffer_lose_nothing,
     .timeout = 20)
{
	uint8_t typed[CONSOLE_PENDING_BYTES];
	int master, slave;
	size_t i, at;

	master = open_terminal(&slave);
	open_console(slave, true);
	memset(typed, 'k', sizeof(typed));
	for (at = 0; at < 4200; at += i) {
		/* A pair of Ctrl-A and another key around each possible border. */
		typed[0] = 1;
		typed[1] = 'e';
		i = 7;
		cr_assert_eq(write(master, typed, i), (ssize_t)i);
		if (at % 70 == 0)
			loop_run_for(&loop, 1);
	}
	loop_run_for(&loop, 5);
	cr_assert_leq(console.pending_count, CONSOLE_PENDING_BYTES);
	give_room(SIZE_MAX);
	wait_for(at, 0);
	cr_assert_eq(guest.count, at);
	for (i = 0; i < at; i++)
		cr_assert_eq(guest.bytes[i], i % 7 == 0	  ? 1
					     : i % 7 == 1 ? 'e'
							  : 'k');
	close_console();
}

Test(console_input, terminal_that_hangs_up_does_not_make_the_loop_spin,
     .timeout = 10)
{
	int master, slave;
	uint64_t cpu;

	master = open_terminal(&slave);
	open_console(slave, true);
	close(master);
	loop_run_for(&loop, 10);
	cpu = loop_cpu_us();
	loop_run_for(&loop, 50);
	cr_assert_lt(loop_cpu_us() - cpu, 20000);
	console_resume(&console);
	loop_run_for(&loop, 10);
	cr_assert_not(console.in_armed);
	close_console();
}

/* Exit status: what went wrong. */
static int background_job(int slave)
{
	uint64_t cpu;

	setpgid(0, 0);
	signal(SIGTTIN, SIG_IGN);
	signal(SIGTTOU, SIG_IGN);
	guest.room = 10;
	open_console(slave, true);
	while (!console.in_paused)
		loop_run_for(&loop, 1);
	cpu = loop_cpu_us();
	loop_run_for(&loop, 50);
	if (loop_cpu_us() - cpu > 20000 || guest.count)
		return 1;
	if (tcsetpgrp(slave, getpgrp()))
		return 2;
	console_resume(&console);
	wait_for(3, 0);
	close_console();
	return guest.count == 3 && !memcmp(guest.bytes, "fg!", 3) ? 0 : 3;
}

static int session(int master, int slave)
{
	int status;
	pid_t job;

	if (setsid() < 0 || ioctl(slave, TIOCSCTTY, 0))
		return 4;
	job = fork();
	if (job == 0)
		_exit(background_job(slave));
	if (write(master, "fg!", 3) != 3 || waitpid(job, &status, 0) != job)
		return 5;
	return WIFEXITED(status) ? WEXITSTATUS(status) : 6;
}

Test(console_input, background_job_gets_its_keys_when_it_is_in_front_again,
     .timeout = 20)
{
	int master, slave, status;
	pid_t leader;

	master = open_terminal(&slave);
	leader = fork();
	if (leader == 0)
		_exit(session(master, slave));
	cr_assert_eq(waitpid(leader, &status, 0), leader);
	cr_assert_eq(status, 0, "%#x", status);
}

Test(console_input, bug18_without_descriptors_set_up_fails_and_leaks_none)
{
	struct rlimit limit;
	int fds[2], next, i;

	cr_assert_eq(event_loop_init(&loop), 0);
	cr_assert_eq(pipe(fds), 0);
	/* No holes: from here on numbers follow each other. */
	while ((next = dup(0)) < 100)
		;
	close(next);
	getrlimit(RLIMIT_NOFILE, &limit);
	/* Output, wake-up and input take one each. */
	for (i = 0; i < 4; i++) {
		limit.rlim_cur = (rlim_t)(next + i);
		setrlimit(RLIMIT_NOFILE, &limit);
		cr_assert_eq(console_init(&console, &loop, CONSOLE_STDIO,
					  fds[0], fds[1], false, &listener),
			     i == 3 ? 0 : -EMFILE);
		if (i == 3)
			console_destroy(&console);
		limit.rlim_cur = limit.rlim_max;
		setrlimit(RLIMIT_NOFILE, &limit);
		cr_assert_eq(dup(0), next);
		close(next);
	}
	event_loop_destroy(&loop);
}
