/* SPDX-License-Identifier: Apache-2.0 */
#include "devices/passt.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "devices/error.h"
#include "devices/log.h"
#include "memory/base.h"

#define PROGRAM "passt"

/* How long it may take to end by itself once its socket is closed. */
#define END_MS 500
#define STEP_MS 5

int passt_connect(const char *path, struct error *error)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int err;
	int fd;

	if (strlen(path) >= sizeof(address.sun_path))
		return error_set(
			error, EXIT_STATUS_CONFIGURATION,
			"%.200s: a socket's path has at most %zu bytes", path,
			sizeof(address.sun_path) - 1);
	memcpy(address.sun_path, path, strlen(path) + 1);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return error_set(error, EXIT_STATUS_HOST, "%s: %s", path,
				 strerror(errno));
	if (connect(fd, (const struct sockaddr *)&address, sizeof(address)) ==
	    0)
		return fd;
	err = errno;
	close(fd);
	return error_set(error, EXIT_STATUS_HOST,
			 "%s: cannot connect: %s; mend it with: passt --socket "
			 "%s",
			 path, strerror(err), path);
}

static int not_installed(struct error *error)
{
	return error_set(error, EXIT_STATUS_HOST,
			 "passt is not installed; mend it with: "
			 "sudo apt-get install passt");
}

/* As execvp looks for it. */
int passt_find(struct error *error)
{
	const char *at = getenv("PATH");
	char path[4096];
	size_t len;

	for (; at && *at; at += len + (at[len] == ':')) {
		len = strcspn(at, ":");
		snprintf(path, sizeof(path), "%.*s/" PROGRAM, (int)len, at);
		if (access(path, X_OK) == 0)
			return 0;
	}
	return not_installed(error);
}

/* In the child: everything as a program expects it. Says errno if it fails. */
static _Noreturn void child_run(int socket_fd, int report_fd, pid_t parent)
{
	char number[16];
	char *const arguments[] = { (char[]){ PROGRAM },
				    (char[]){ "--foreground" },
				    (char[]){ "--one-off" },
				    (char[]){ "--quiet" },
				    (char[]){ "--fd" },
				    number,
				    NULL };
	sigset_t none;
	ssize_t done;
	int null_fd;
	int err;

	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	signal(SIGPIPE, SIG_DFL);
	signal(SIGXFSZ, SIG_DFL);
	/* Unless it changes its user; then the closed socket ends it. */
	prctl(PR_SET_PDEATHSIG, SIGTERM);
	if (getppid() != parent)
		_exit(1);
	snprintf(number, sizeof(number), "%d", socket_fd);
	fcntl(socket_fd, F_SETFD, 0);
	/*
	 * stdout is the guest's console, and stderr is for what sluice has to
	 * say: passt is chatty even when told to be quiet.
	 */
	if (!log_enabled(LOG_LEVEL_INFO)) {
		null_fd = open("/dev/null", O_WRONLY | O_CLOEXEC);
		dup2(null_fd, STDERR_FILENO);
	}
	dup2(STDERR_FILENO, STDOUT_FILENO);
	execvp(PROGRAM, arguments);
	err = errno;
	do
		done = write(report_fd, &err, sizeof(err));
	while (done < 0 && errno == EINTR);
	_exit(127);
}

/* The errno of the child's exec; 0: it runs. */
static int child_wait_exec(int fd)
{
	ssize_t done;
	int err = 0;

	do
		done = read(fd, &err, sizeof(err));
	while (done < 0 && errno == EINTR);
	return done == sizeof(err) ? err : 0;
}

int passt_start(pid_t *pid, struct error *error)
{
	int sockets[2], report[2];
	pid_t parent = getpid();
	int err;

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sockets))
		return error_set(error, EXIT_STATUS_HOST, "passt: %s",
				 strerror(errno));
	if (pipe2(report, O_CLOEXEC)) {
		err = errno;
		goto err_close_sockets;
	}
	*pid = fork();
	if (*pid == 0)
		child_run(sockets[1], report[1], parent);
	err = *pid < 0 ? errno : 0;
	close(report[1]);
	if (!err) {
		err = child_wait_exec(report[0]);
		if (err)
			waitpid(*pid, NULL, 0);
	}
	close(report[0]);
	if (err)
		goto err_close_sockets;
	close(sockets[1]);
	return sockets[0];

err_close_sockets:
	close(sockets[0]);
	close(sockets[1]);
	if (err == ENOENT)
		return not_installed(error);
	return error_set(error, EXIT_STATUS_HOST, "passt: %s", strerror(err));
}

void passt_end(pid_t pid)
{
	const struct timespec step = { .tv_nsec = STEP_MS * 1000000L };
	unsigned int turn;

	for (turn = 0; turn < END_MS / STEP_MS; turn++) {
		if (waitpid(pid, NULL, WNOHANG) != 0)
			return;
		nanosleep(&step, NULL);
	}
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
}
