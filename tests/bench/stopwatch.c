// SPDX-License-Identifier: Apache-2.0
/*
 * stopwatch line TEXT SECONDS COMMAND...	until TEXT is on its stdout
 * stopwatch run LIBRARY COMMAND...		until its first KVM_RUN
 *
 * Runs COMMAND and prints how many microseconds went by since its exec; then
 * ends it: by SIGKILL, or for `run` by SIGINT. LIBRARY is note_run.so, which
 * notes the time. Exit status 1 if it never came that far. stdin is /dev/null;
 * for `line` what COMMAND prints is copied to our stderr.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "tests/bench/note_run.h"

#define RUN_SECONDS 20
#define POLL_US 500

/* Shared with the child. */
struct shared {
	uint64_t exec_ns;
};

static uint64_t now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

static void die(const char *what)
{
	fprintf(stderr, "stopwatch: %s: %s\n", what, strerror(errno));
	exit(1);
}

static void *map_shared(int fd, size_t bytes)
{
	int flags = MAP_SHARED | (fd < 0 ? MAP_ANONYMOUS : 0);
	void *address = mmap(NULL, bytes, PROT_READ | PROT_WRITE, flags, fd, 0);

	if (address == MAP_FAILED)
		die("mmap");
	return address;
}

/* @out: its stdout, or -1 for /dev/null. */
static pid_t start(char **command, struct shared *shared, int out)
{
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);
	pid_t pid = fork();

	if (null < 0 || pid < 0)
		die("fork");
	if (pid > 0) {
		close(null);
		return pid;
	}
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	dup2(null, STDIN_FILENO);
	dup2(out < 0 ? null : out, STDOUT_FILENO);
	shared->exec_ns = now_ns();
	execvp(command[0], command);
	die(command[0]);
	return -1;
}

static int report(const struct shared *shared, uint64_t end_ns)
{
	if (end_ns == 0) {
		fprintf(stderr, "stopwatch: it did not come that far\n");
		return 1;
	}
	printf("%" PRIu64 "\n", (end_ns - shared->exec_ns) / 1000);
	return 0;
}

/* The time when @text was on @fd; 0: it ended, or @seconds went by, without. */
static uint64_t wait_for_text(int fd, const char *text, int seconds)
{
	uint64_t deadline_ns = now_ns() + (uint64_t)seconds * 1000000000;
	struct pollfd poll_fd = { .fd = fd, .events = POLLIN };
	size_t keep = strlen(text), used = 0;
	uint64_t now;
	char buffer[8192];
	ssize_t got;

	while ((now = now_ns()) < deadline_ns) {
		if (poll(&poll_fd, 1,
			 (int)((deadline_ns - now) / 1000000) + 1) <= 0)
			continue;
		got = read(fd, buffer + used, sizeof(buffer) - used);
		if (got <= 0)
			return 0;
		now = now_ns();
		if (write(STDERR_FILENO, buffer + used, (size_t)got) < 0)
			die("stderr");
		used += (size_t)got;
		if (memmem(buffer, used, text, keep))
			return now;
		if (used > keep) {
			memmove(buffer, buffer + used - keep, keep);
			used = keep;
		}
	}
	return 0;
}

static int time_line(const char *text, int seconds, char **command)
{
	struct shared *shared = map_shared(-1, sizeof(*shared));
	uint64_t end_ns;
	int ends[2];
	pid_t pid;

	if (*text == '\0' || strlen(text) > 1024 || pipe2(ends, O_CLOEXEC) < 0)
		die("pipe");
	pid = start(command, shared, ends[1]);
	close(ends[1]);
	end_ns = wait_for_text(ends[0], text, seconds);
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	return report(shared, end_ns);
}

static int time_run(const char *library, char **command)
{
	struct shared *shared = map_shared(-1, sizeof(*shared));
	uint64_t deadline_ns = now_ns() + UINT64_C(1000000000) * RUN_SECONDS;
	int fd = memfd_create("note", 0);
	struct note_run *note;
	char number[16];
	bool reaped = false;
	pid_t pid;

	if (fd < 0 || ftruncate(fd, sizeof(*note)) < 0)
		die("memfd");
	note = map_shared(fd, sizeof(*note));
	snprintf(number, sizeof(number), "%d", fd);
	setenv(NOTE_RUN_FD, number, 1);
	setenv("LD_PRELOAD", library, 1);
	pid = start(command, shared, -1);
	while (!reaped && now_ns() < deadline_ns &&
	       !__atomic_load_n(&note->first_ns, __ATOMIC_ACQUIRE)) {
		usleep(POLL_US);
		reaped = waitpid(pid, NULL, WNOHANG) == pid;
	}
	if (!reaped) {
		kill(pid, SIGINT);
		waitpid(pid, NULL, 0);
	}
	return report(shared,
		      __atomic_load_n(&note->first_ns, __ATOMIC_ACQUIRE));
}

int main(int argc, char **argv)
{
	if (argc >= 5 && strcmp(argv[1], "line") == 0)
		return time_line(argv[2], atoi(argv[3]), argv + 4);
	if (argc >= 4 && strcmp(argv[1], "run") == 0)
		return time_run(argv[2], argv + 3);
	fprintf(stderr, "usage: stopwatch line TEXT SECONDS COMMAND...\n"
			"       stopwatch run LIBRARY COMMAND...\n");
	return 2;
}
