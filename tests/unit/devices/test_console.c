/* SPDX-License-Identifier: Apache-2.0 */
/* Output; input is in test_console_input.c, files are in test_console_sink.c. */
#include "devices/console.h"

#include "devices/log.h"
#include "memory/base.h"
#include "tests/unit/devices/loop_support.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <pty.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <termios.h>

static struct event_loop loop;
static struct console console;
static int log_file;

static struct {
	unsigned int writable;
	uint64_t seen;
	bool out_of_order;
} told;

/* The stream that is put: no short period, so that a shift shows. */
static uint8_t stream_byte(uint64_t at)
{
	return (uint8_t)(at ^ (at >> 7) * 31 ^ (at >> 15) * 5);
}

static void writable(void *context)
{
	(void)context;
	told.writable++;
}

static void seen(void *context, const uint8_t *bytes, size_t count)
{
	size_t i;

	(void)context;
	for (i = 0; i < count; i++)
		told.out_of_order |= bytes[i] != stream_byte(told.seen++);
}

static const struct console_listener listener = { .writable = writable,
						  .seen = seen };

static void open_console(enum console_output output, int out_fd)
{
	char path[] = "/tmp/sluice-log-XXXXXX";

	log_file = mkstemp(path);
	unlink(path);
	log_open(log_file, LOG_LEVEL_WARN);
	signal(SIGPIPE, SIG_IGN);
	signal(SIGXFSZ, SIG_IGN);
	cr_assert_eq(event_loop_init(&loop), 0);
	cr_assert_eq(console_init(&console, &loop, output, -1, out_fd, false,
				  &listener),
		     0);
}

static void close_console(void)
{
	cr_assert_not(told.out_of_order);
	console_destroy(&console);
	event_loop_destroy(&loop);
}

static unsigned int log_lines(void)
{
	char text[4096];
	ssize_t n = pread(log_file, text, sizeof(text), 0);
	unsigned int lines = 0;

	while (n > 0)
		lines += text[--n] == '\n';
	return lines;
}

static uint64_t put_count;

/* Whether the last one said that there is room. */
static bool put(size_t count)
{
	bool room = true;

	while (count--)
		room = console_put(&console, stream_byte(put_count++));
	return room;
}

/* Until the console says that it is full, with the main thread at work. */
static void put_until_stuck(void)
{
	unsigned int i, stuck = 0;

	for (i = 0; i < 200 && stuck < 4; i++) {
		if (console.ring_count < CONSOLE_RING_FULL)
			while (put(1))
				;
		loop_run_for(&loop, 5);
		stuck = console.ring_count < CONSOLE_RING_FULL ? 0 : stuck + 1;
	}
	cr_assert_eq(stuck, 4, "the console is never full");
	told.writable = 0;
}

static uint64_t got_count;

/* Reads what is there from @fd, at most @most bytes, and checks it. */
static size_t take(int fd, size_t most)
{
	struct pollfd poller = { .fd = fd, .events = POLLIN };
	uint8_t bytes[4096];
	size_t total = 0;
	ssize_t n, i;

	while (total < most && poll(&poller, 1, 0) == 1) {
		n = read(fd, bytes, MIN(sizeof(bytes), most - total));
		if (n <= 0)
			break;
		for (i = 0; i < n; i++)
			cr_assert_eq(bytes[i], stream_byte(got_count++));
		total += (size_t)n;
	}
	return total;
}

/* Until @count bytes of the stream have come. */
static void take_all(int fd, uint64_t count)
{
	unsigned int turns;

	for (turns = 0; turns < 2000 && got_count < count; turns++) {
		loop_run_for(&loop, 1);
		take(fd, SIZE_MAX);
	}
	cr_assert_eq(got_count, count);
}

/* The reader of @out_fd is slow: nobody waits, nobody loses, then all comes. */
static void check_slow_reader(int out_fd, int reader_fd)
{
	uint64_t cpu;

	open_console(CONSOLE_STDIO, out_fd);
	put_until_stuck();
	cr_assert_eq(told.writable, 0);
	cpu = loop_cpu_us();
	loop_run_for(&loop, 50);
	cr_assert_lt(loop_cpu_us() - cpu, 20000);
	take_all(reader_fd, put_count);
	cr_assert_eq(told.writable, 1);
	cr_assert_eq(told.seen, put_count);
	cr_assert_eq(console.total_bytes, put_count);
	cr_assert_eq(console.lost_bytes, 0);
	cr_assert_eq(console.out_armed, false);
	/* And once more. */
	put_until_stuck();
	take_all(reader_fd, put_count);
	cr_assert_eq(told.writable, 1);
	cr_assert_eq(log_lines(), 0);
	close_console();
}

Test(console, pipe_with_slow_reader_gets_everything_and_nobody_waits,
     .timeout = 20)
{
	int fds[2];

	cr_assert_eq(pipe(fds), 0);
	check_slow_reader(fds[1], fds[0]);
	cr_assert_not(fcntl(fds[1], F_GETFL) & O_NONBLOCK);
}

Test(console, socket_with_slow_reader_gets_everything_and_nobody_waits,
     .timeout = 20)
{
	int fds[2];

	cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
	check_slow_reader(fds[1], fds[0]);
	cr_assert_not(fcntl(fds[1], F_GETFL) & O_NONBLOCK);
}

static void open_terminal(int *master, int *slave)
{
	struct termios mode;

	cr_assert_eq(openpty(master, slave, NULL, NULL, NULL), 0);
	tcgetattr(*slave, &mode);
	cfmakeraw(&mode);
	tcsetattr(*slave, TCSANOW, &mode);
}

Test(console, terminal_with_slow_reader_gets_everything_and_nobody_waits,
     .timeout = 20)
{
	int master, slave;

	open_terminal(&master, &slave);
	check_slow_reader(slave, master);
	cr_assert_not(fcntl(slave, F_GETFL) & O_NONBLOCK);
}

Test(console, master_of_a_terminal_is_not_opened_anew, .timeout = 20)
{
	int master, slave;

	open_terminal(&master, &slave);
	check_slow_reader(master, slave);
	cr_assert_eq(console.sink.kind, SINK_NONE); /* destroyed */
}

/* A pipe that belongs to another user, as after su: it cannot be opened anew. */
static void become_somebody_else(int fd)
{
	fchmod(fd, 0);
	if (geteuid() == 0)
		cr_assert_eq(setresuid(65534, 65534, 65534), 0);
}

Test(console, foreign_pipe_is_polled_and_written_in_small_pieces, .timeout = 20)
{
	bool own = true;
	int fds[2];

	cr_assert_eq(pipe(fds), 0);
	become_somebody_else(fds[1]);
	cr_assert_geq(console_fd_open(fds[1], O_WRONLY, &own), 0);
	cr_assert_not(own);
	check_slow_reader(fds[1], fds[0]);
}

Test(console, stopped_foreign_terminal_blocks_nobody, .timeout = 20)
{
	int master, slave;

	open_terminal(&master, &slave);
	become_somebody_else(slave);
	open_console(CONSOLE_STDIO, slave);
	cr_assert_eq(console.sink.kind, SINK_POLLED);
	tcflow(slave, TCOOFF);
	put_until_stuck();
	cr_assert_eq(take(master, SIZE_MAX), 0);
	tcflow(slave, TCOON);
	take_all(master, put_count);
	close_console();
}

Test(console, bug18_reader_that_is_gone_loses_bytes_but_not_the_vm,
     .timeout = 10)
{
	int fds[2];

	cr_assert_eq(pipe(fds), 0);
	open_console(CONSOLE_STDIO, fds[1]);
	put(10);
	loop_run_for(&loop, 5);
	cr_assert_eq(take(fds[0], 100), 10);
	close(fds[0]);
	cr_assert(put(2000));
	loop_run_for(&loop, 5);
	cr_assert(put(2000));
	loop_run_for(&loop, 5);
	cr_assert_eq(console.lost_bytes, 4000);
	cr_assert_eq(console.total_bytes, 4010);
	cr_assert_eq(told.seen, 4010);
	cr_assert_eq(log_lines(), 1);
	close_console();
}

Test(console, bug18_reader_that_goes_while_the_pipe_is_full_frees_the_guest,
     .timeout = 10)
{
	int fds[2];

	cr_assert_eq(pipe(fds), 0);
	open_console(CONSOLE_STDIO, fds[1]);
	put_until_stuck();
	close(fds[0]);
	loop_run_for(&loop, 20);
	cr_assert_eq(console.ring_count, 0);
	cr_assert_eq(told.writable, 1);
	cr_assert_gt(console.lost_bytes, 0);
	close_console();
}

Test(console, bug18_socket_whose_peer_is_gone_raises_no_signal, .timeout = 10)
{
	int fds[2];

	cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
	open_console(CONSOLE_STDIO, fds[1]);
	signal(SIGPIPE, SIG_DFL);
	close(fds[0]);
	put(10);
	loop_run_for(&loop, 5);
	cr_assert_eq(console.lost_bytes, 10);
	close_console();
}

Test(console, bug18_full_disk_loses_bytes_but_not_the_vm, .timeout = 10)
{
	open_console(CONSOLE_STDIO, open("/dev/full", O_WRONLY));
	put(100);
	loop_run_for(&loop, 5);
	put(100);
	loop_run_for(&loop, 5);
	cr_assert_eq(console.lost_bytes, 200);
	cr_assert_eq(log_lines(), 1);
	close_console();
}

Test(console, impatient_guest_has_a_reserve_and_then_loses_what_is_counted,
     .timeout = 10)
{
	int fds[2];

	cr_assert_eq(pipe(fds), 0);
	open_console(CONSOLE_STDIO, fds[1]);
	cr_assert(put(CONSOLE_RING_FULL - 1));
	cr_assert_not(put(1));
	cr_assert_not(put(CONSOLE_RING_BYTES - CONSOLE_RING_FULL));
	cr_assert_eq(console.dropped_bytes, 0);
	console_put(&console, 'x');
	console_put(&console, 'x');
	loop_run_for(&loop, 5);
	take_all(fds[0], CONSOLE_RING_BYTES);
	cr_assert_eq(console.lost_bytes, 2);
	cr_assert_eq(log_lines(), 1);
	close_console();
}

Test(console, no_output_is_still_seen, .timeout = 10)
{
	int fds[2];

	cr_assert_eq(pipe(fds), 0);
	open_console(CONSOLE_NONE, fds[1]);
	put(5000);
	loop_run_for(&loop, 5);
	cr_assert_eq(told.seen, 5000);
	cr_assert_eq(console.lost_bytes, 0);
	cr_assert_eq(take(fds[0], 1), 0);
	close_console();
}

Test(console, closed_descriptor_is_an_error_and_leaks_nothing)
{
	int next = dup(0);

	close(next);
	cr_assert_eq(event_loop_init(&loop), 0);
	cr_assert_eq(console_init(&console, &loop, CONSOLE_STDIO, -1, 999,
				  false, &listener),
		     -EBADF);
	event_loop_destroy(&loop);
	cr_assert_eq(dup(0), next);
}

static int open_file(void)
{
	char path[] = "/tmp/sluice-console-XXXXXX";
	int fd = mkstemp(path);

	unlink(path);
	return fd;
}

static uint64_t file_size(int fd)
{
	struct stat status;

	fstat(fd, &status);
	return (uint64_t)status.st_size;
}

Test(console, file_as_stdout_goes_on_where_its_offset_is, .timeout = 10)
{
	char text[16] = "";
	int fd = open_file();

	cr_assert_eq(write(fd, "head\n", 5), 5);
	open_console(CONSOLE_STDIO, fd);
	console_put(&console, 'o');
	console_put(&console, 'k');
	loop_run_for(&loop, 5);
	cr_assert_eq(write(fd, "!", 1), 1);
	cr_assert_eq(pread(fd, text, sizeof(text) - 1, 0), 8);
	cr_assert_str_eq(text, "head\nok!");
	told.out_of_order = false;
	close_console();
}

Test(console, bug18_file_size_limit_loses_bytes_but_not_the_vm, .timeout = 20)
{
	struct rlimit limit = { 1000, RLIM_INFINITY };
	int fd = open_file();

	open_console(CONSOLE_FILE, fd);
	setrlimit(RLIMIT_FSIZE, &limit);
	put(2000);
	loop_run_for(&loop, 5);
	cr_assert_eq(file_size(fd), 1000);
	cr_assert_eq(console.lost_bytes, 1000);
	close_console();
	limit.rlim_cur = RLIM_INFINITY;
	setrlimit(RLIMIT_FSIZE, &limit);
}

Test(console, bounded_output_that_is_no_file_is_just_written, .timeout = 20)
{
	char path[32];
	int fifo;

	snprintf(path, sizeof(path), "/tmp/sluice-fifo-%d", getpid());
	cr_assert_eq(mkfifo(path, 0600), 0);
	fifo = open(path, O_RDWR);
	open_console(CONSOLE_FILE, fifo);
	put(3000);
	loop_run_for(&loop, 5);
	cr_assert_eq(take(fifo, SIZE_MAX), 3000);
	close_console();
	unlink(path);
}

static void *slow_reader(void *argument)
{
	while (got_count < 150000) {
		usleep(2000);
		take(*(int *)argument, 16384);
	}
	return NULL;
}

Test(console, drain_waits_for_a_slow_reader, .timeout = 20)
{
	pthread_t reader;
	int fds[2];

	cr_assert_eq(pipe(fds), 0);
	open_console(CONSOLE_STDIO, fds[1]);
	put(CONSOLE_RING_BYTES);
	loop_run_for(&loop, 5);
	put(CONSOLE_RING_BYTES);
	pthread_create(&reader, NULL, slow_reader, &fds[0]);
	console_drain(&console, 10000);
	cr_assert_eq(console.ring_count, 0);
	put(150000 - 2 * CONSOLE_RING_BYTES);
	console_drain(&console, 10000);
	pthread_join(reader, NULL);
	cr_assert_eq(console.lost_bytes, 0);
	close_console();
}

Test(console, drain_gives_up_in_time_and_still_shows_what_was_said,
     .timeout = 20)
{
	int fds[2];

	cr_assert_eq(pipe(fds), 0);
	open_console(CONSOLE_STDIO, fds[1]);
	put_until_stuck();
	console_drain(&console, 50);
	cr_assert_eq(console.ring_count, 0);
	cr_assert_eq(told.seen, put_count);
	cr_assert_gt(console.lost_bytes, 0);
	cr_assert_eq(console.lost_bytes + take(fds[0], SIZE_MAX), put_count);
	cr_assert_eq(log_lines(), 1);
	close_console();
}

/* The fastest guest there is: for each byte that leaves it puts another one. */
static void put_as_many(void *context, const uint8_t *bytes, size_t count)
{
	seen(context, bytes, count);
	put(count);
}

Test(console, bug10_flood_does_not_keep_the_loop_from_its_other_sources,
     .timeout = 20)
{
	unsigned int i;

	open_console(CONSOLE_STDIO, open("/dev/null", O_WRONLY));
	console.listener.seen = put_as_many;
	put(1000);
	/* Each ends by a timer, which is another source. */
	for (i = 0; i < 10; i++)
		loop_run_for(&loop, 5);
	console.listener.seen = seen;
	console_drain(&console, 1000);
	cr_assert_eq(told.seen, put_count);
	cr_assert_gt(put_count, 100000);
	close_console();
}
