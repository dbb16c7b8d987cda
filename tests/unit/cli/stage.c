/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/cli/stage.h"

#include "cli/supervise.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <poll.h>
#include <pty.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#define PATIENCE_MS 20000

static void say(const struct stage *stage, const char *text)
{
	if (write(stage->say, text, strlen(text)) < 0)
		_exit(99);
}

/* Says each command as "p15 ", and ends at 'e'. */
int stage_obedient(void *context, int control_fd)
{
	const struct stage *stage = context;
	uint8_t message[2];
	char text[16];

	say(stage, "ready ");
	while (recv(control_fd, message, sizeof(message), 0) == 2) {
		snprintf(text, sizeof(text), "%c%u ", message[0], message[1]);
		say(stage, text);
		if (message[0] == 'e')
			return 128 + message[1];
	}
	return 77;
}

/* Shuts down when the power button is pressed. */
int stage_polite(void *context, int control_fd)
{
	uint8_t message[2];

	say(context, "ready ");
	return recv(control_fd, message, sizeof(message), 0) == 2 &&
			       message[0] == 'p'
		       ? 0
		       : 77;
}

/* Never looks at its commands. */
int stage_deaf(void *context, int control_fd)
{
	(void)control_fd;
	say(context, "ready ");
	while (pause())
		;
	return 0;
}

int stage_ends_with_0(void *context, int control_fd)
{
	(void)context;
	(void)control_fd;
	return 0;
}

int stage_ends_with_4(void *context, int control_fd)
{
	(void)context;
	(void)control_fd;
	return 4;
}

static _Noreturn void die_by(int signal)
{
	struct rlimit none = { 0 };
	struct sigaction action = { .sa_handler = SIG_DFL };

	/* The sanitizers have a handler for some of them. */
	setrlimit(RLIMIT_CORE, &none);
	sigaction(signal, &action, NULL);
	kill(getpid(), signal);
	for (;;)
		pause();
}

int stage_is_killed(void *context, int control_fd)
{
	(void)context;
	(void)control_fd;
	die_by(SIGKILL);
}

int stage_crashes(void *context, int control_fd)
{
	(void)context;
	(void)control_fd;
	die_by(SIGSEGV);
}

int stage_violates(void *context, int control_fd)
{
	(void)context;
	(void)control_fd;
	die_by(SIGSYS);
}

/* Leaves stdin and stdout non-blocking, and crashes. */
int stage_careless(void *context, int control_fd)
{
	(void)control_fd;
	fcntl(0, F_SETFL, fcntl(0, F_GETFL) | O_NONBLOCK);
	fcntl(1, F_SETFL, fcntl(1, F_GETFL) | O_NONBLOCK);
	say(context, "ready ");
	die_by(SIGSEGV);
}

/* A session of our own on @slave. (login_tty's header has another exit_status.) */
static void take_terminal(int slave)
{
	setsid();
	ioctl(slave, TIOCSCTTY, 0);
	for (int fd = 0; fd < 3; fd++)
		dup2(slave, fd);
	close(slave);
}

static _Noreturn void stage_parent(const struct stage *stage, int slave)
{
	const struct supervised supervised = {
		.body = stage->body,
		.context = (void *)stage,
		.terminal_fd = slave >= 0 ? 0 : -1,
	};

	signal(SIGPIPE, SIG_IGN);
	if (stage->ignored)
		signal(stage->ignored, SIG_IGN);
	if (slave >= 0) {
		close(stage->master);
		take_terminal(slave);
	}
	dup2(stage->say, 2);
	_exit(supervise_run(&supervised));
}

/*
 * A session on a new terminal, whose leader, a "shell", puts its one job into
 * the foreground at SIGUSR2 (as bash does, without SIGCONT: it runs), lets it go
 * on in the background when it has stopped and SIGUSR1 comes, and ends as the
 * job did.
 */
static _Noreturn void stage_shell(const struct stage *stage, int slave)
{
	sigset_t set;
	int status;
	pid_t job;

	close(stage->master);
	take_terminal(slave);
	signal(SIGTTOU, SIG_IGN);
	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	sigaddset(&set, SIGUSR2);
	sigaddset(&set, SIGCHLD);
	sigprocmask(SIG_BLOCK, &set, NULL);
	job = fork();
	if (job == 0) {
		const struct supervised supervised = {
			.body = stage->body,
			.context = (void *)stage,
			.terminal_fd = 0,
		};

		setpgid(0, 0);
		dup2(stage->say, 2);
		_exit(supervise_run(&supervised));
	}
	while (waitpid(job, &status, WNOHANG) == 0) {
		switch (sigwaitinfo(&set, NULL)) {
		case SIGUSR1:
			waitpid(job, &status, WUNTRACED);
			tcsetpgrp(0, getpgrp());
			kill(-job, SIGCONT);
			break;
		case SIGUSR2:
			tcsetpgrp(0, job);
			break;
		}
	}
	_exit(WIFEXITED(status) ? WEXITSTATUS(status) : 98);
}

void stage_open(struct stage *stage, bool terminal)
{
	int slave = -1;
	int ends[2];

	cr_assert_eq(pipe2(ends, O_CLOEXEC), 0);
	stage->said = ends[0];
	stage->say = ends[1];
	stage->master = -1;
	if (terminal)
		cr_assert_eq(openpty(&stage->master, &slave, NULL, NULL, NULL),
			     0);
	stage->parent = fork();
	cr_assert_geq(stage->parent, 0);
	if (stage->parent == 0) {
		close(ends[0]);
		if (stage->background)
			stage_shell(stage, slave);
		stage_parent(stage, slave);
	}
	if (slave >= 0)
		close(slave);
	close(ends[1]);
}

/* Waits until the stage has said @text, after what was expected before. */
void stage_expect(const struct stage *stage, const char *text)
{
	struct pollfd ready = { .fd = stage->said, .events = POLLIN };
	char said[256] = "";
	size_t len = 0;

	while (len < strlen(text)) {
		ssize_t got;

		cr_assert_eq(poll(&ready, 1, PATIENCE_MS), 1,
			     "waiting for \"%s\", got \"%s\"", text, said);
		got = read(stage->said, said + len, strlen(text) - len);
		cr_assert_gt(got, 0, "waiting for \"%s\", got \"%s\"", text,
			     said);
		len += (size_t)got;
	}
	cr_assert_str_eq(said, text);
}

/* Reads to the end of what is said. */
void stage_rest(const struct stage *stage, char *said, size_t size)
{
	size_t len = 0;
	ssize_t got;

	while ((got = read(stage->said, said + len, size - 1 - len)) > 0)
		len += (size_t)got;
	said[len] = 0;
}

int stage_status(const struct stage *stage)
{
	int status = -1;

	for (unsigned int ms = 0; ms < PATIENCE_MS; ms += 5) {
		pid_t ended = waitpid(stage->parent, &status, WNOHANG);

		cr_assert_geq(ended, 0);
		if (ended == stage->parent) {
			cr_assert(WIFEXITED(status), "status 0x%x",
				  (unsigned int)status);
			return WEXITSTATUS(status);
		}
		usleep(5000);
	}
	kill(stage->parent, SIGKILL);
	cr_assert(false, "it does not end");
	return -1;
}

void stage_close(const struct stage *stage)
{
	close(stage->said);
	if (stage->master >= 0)
		close(stage->master);
}

void stage_wait_stopped(const struct stage *stage)
{
	int status;

	cr_assert_eq(waitpid(stage->parent, &status, WUNTRACED), stage->parent);
	cr_assert(WIFSTOPPED(status), "status 0x%x", (unsigned int)status);
}

/* The terminal's modes, as the master side sees them too. */
bool stage_is_raw(const struct stage *stage)
{
	struct termios modes;

	cr_assert_eq(tcgetattr(stage->master, &modes), 0);
	return !(modes.c_lflag & (ICANON | ECHO | ISIG));
}

void stage_wait_raw(const struct stage *stage, bool raw)
{
	for (unsigned int ms = 0;
	     ms < PATIENCE_MS && stage_is_raw(stage) != raw; ms += 5)
		usleep(5000);
	cr_assert_eq(stage_is_raw(stage), raw);
}

/* The background job's process group, which differs from the session's. */
pid_t stage_job(const struct stage *stage)
{
	char path[64];
	char text[64] = "";
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/task/%d/children", stage->parent,
		 stage->parent);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	cr_assert_geq(fd, 0);
	cr_assert_gt(read(fd, text, sizeof(text) - 1), 0);
	close(fd);
	return atoi(text);
}
