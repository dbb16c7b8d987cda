/* SPDX-License-Identifier: Apache-2.0 */
/*
 * All signals but those of a fault are blocked before the fork and taken one by
 * one with sigwaitinfo: no handler, so nothing here can deadlock in one, and none
 * is lost between fork and loop. The child inherits them blocked: what a
 * terminal sends to the whole process group reaches the parent alone.
 *
 * A fault of the parent itself (or a kill(1) with its number) has a handler, which
 * puts the terminal back and lets the signal do what it does by default. Until
 * it is there, after the fork, these are blocked as well.
 *
 * A job that runs in the background gets no signal when it is put into the
 * foreground: while the terminal is another's, it is looked at once a second.
 *
 * The child dies with its parent (PR_SET_PDEATHSIG), by SIGKILL: there is no
 * VM without somebody who keeps its exit status.
 */
#include "cli/supervise.h"

#include "cli/problems.h"
#include "cli/terminal.h"
#include "devices/error.h"
#include "memory/base.h"
#include "vmm/vmm.h"

#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* How long a VM that was told to end at once may write out its disks before one more signal kills it. */
#define PATIENCE_NS UINT64_C(5000000000)

/*
 * How long it may take in all: more than the 5 s for its threads and disks and
 * the 2 s for its console's output that vmm/vmm.c gives itself.
 */
#define END_NS UINT64_C(12000000000)

/* How often to look whether the terminal is ours. */
#define TERMINAL_NS UINT64_C(1000000000)

static const int supervise_faults[] = { SIGSEGV, SIGBUS, SIGILL, SIGFPE,
					SIGTRAP, SIGSYS, SIGABRT };

/* For the handler of these, which gets no argument; set once, before it. */
static struct terminal *supervise_fault_terminal;

struct supervisor {
	pid_t child;
	int control_fd;
	struct terminal terminal;
	bool has_terminal; /* it is the VM's, for all we know */
	bool button_pressed;
	uint64_t end_sent_ns; /* 0: not told to end at once */
	int end_signal; /* why it was told so */
	int killed_for; /* the signal because of which we killed the child; 0: none */
};

static uint64_t supervise_now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

static bool supervise_is_ignored(int signal)
{
	struct sigaction action;

	return sigaction(signal, NULL, &action) == 0 &&
	       action.sa_handler == SIG_IGN;
}

/* All that are taken. */
static void supervise_signals(sigset_t *set)
{
	static const int served[] = { SIGTERM, SIGUSR1, SIGTSTP, SIGCONT,
				      SIGCHLD };

	sigfillset(set);
	for (size_t i = 0; i < ARRAY_SIZE(supervise_faults); i++)
		sigdelset(set, supervise_faults[i]);
	/* Whoever ignores what only ends us (nohup, a script's &) means it. */
	for (int signal = 1; signal <= SIGRTMAX; signal++)
		if (supervise_is_ignored(signal))
			sigdelset(set, signal);
	for (size_t i = 0; i < ARRAY_SIZE(served); i++)
		sigaddset(set, served[i]);
}

/* Async-signal-safe, as all that terminal_give_back calls. */
static void supervise_fault(int signal)
{
	terminal_give_back(supervise_fault_terminal);
	/* It has its default action again, and waits for the return from here. */
	raise(signal);
}

static void supervise_catch_faults(struct terminal *terminal)
{
	struct sigaction action = { .sa_handler = supervise_fault,
				    .sa_flags = (int)SA_RESETHAND };

	supervise_fault_terminal = terminal;
	for (size_t i = 0; i < ARRAY_SIZE(supervise_faults); i++)
		sigaction(supervise_faults[i], &action, NULL);
}

static void supervise_say(const char *text)
{
	char line[160];

	snprintf(line, sizeof(line), "sluice: %s", text);
	problems_print(line);
}

static int supervise_fail(const char *what)
{
	char text[128];

	snprintf(text, sizeof(text), "%s: %s", what, strerror(errno));
	supervise_say(text);
	return EXIT_STATUS_INTERNAL;
}

/* A child that does not listen is on its way out, or will be killed. */
static void supervise_send(const struct supervisor *supervisor,
			   enum vmm_command command, int signal)
{
	const uint8_t message[2] = { (uint8_t)command, (uint8_t)signal };

	send(supervisor->control_fd, message, sizeof(message),
	     MSG_NOSIGNAL | MSG_DONTWAIT);
}

static void supervise_kill(struct supervisor *supervisor, int signal)
{
	supervisor->killed_for = signal;
	kill(supervisor->child, SIGKILL);
}

static void supervise_end(struct supervisor *supervisor, int signal)
{
	uint64_t now = supervise_now_ns();

	if (!supervisor->end_sent_ns) {
		supervisor->end_sent_ns = now;
		supervisor->end_signal = signal;
		supervise_send(supervisor, VMM_COMMAND_END, signal);
	} else if (now - supervisor->end_sent_ns > PATIENCE_NS) {
		supervise_kill(supervisor, signal);
	}
}

/* Stops the VM and ourselves; returns when somebody continues us. */
static void supervise_stop(struct supervisor *supervisor)
{
	terminal_give_back(&supervisor->terminal);
	supervisor->has_terminal = false;
	kill(supervisor->child, SIGSTOP);
	kill(getpid(), SIGSTOP);
}

/* If the terminal is ours, it is the VM's, which may have given up reading it. */
static void supervise_take_terminal(struct supervisor *supervisor)
{
	supervisor->has_terminal = terminal_take(&supervisor->terminal);
	if (supervisor->has_terminal)
		supervise_send(supervisor, VMM_COMMAND_TERMINAL, SIGCONT);
}

static void supervise_continue(struct supervisor *supervisor)
{
	/* While it was stopped it could not end. */
	if (supervisor->end_sent_ns)
		supervisor->end_sent_ns = supervise_now_ns();
	supervise_take_terminal(supervisor);
	kill(supervisor->child, SIGCONT);
}

static void supervise_take_signal(struct supervisor *supervisor, int signal)
{
	switch (signal) {
	case SIGTERM:
		if (supervisor->button_pressed) {
			supervise_end(supervisor, signal);
		} else {
			supervisor->button_pressed = true;
			supervise_send(supervisor, VMM_COMMAND_POWER_BUTTON,
				       signal);
		}
		break;
	case SIGUSR1:
		supervise_send(supervisor, VMM_COMMAND_STATISTICS, signal);
		break;
	case SIGTSTP:
		supervise_stop(supervisor);
		break;
	case SIGCONT:
		supervise_continue(supervisor);
		break;
	case SIGCHLD: /* see supervise_wait */
	case SIGPIPE: /* write(2) fails, too */
	case SIGTTIN:
	case SIGTTOU:
	case SIGURG:
	case SIGWINCH:
		break;
	default: /* SIGINT, SIGHUP, SIGQUIT, and what else ends a process */
		supervise_end(supervisor, signal);
		break;
	}
}

/* The child has ended with @status (waitpid's): the exit status of sluice. */
static int supervise_judge(const struct supervisor *supervisor, int status)
{
	char text[96];
	int signal;

	if (WIFEXITED(status))
		return WEXITSTATUS(status);
	signal = WTERMSIG(status);
	if (signal == SIGKILL && supervisor->killed_for) {
		supervise_say("VM: did not end in time and was killed");
		return 128 + supervisor->killed_for;
	}
	if (signal == SIGSYS) {
		supervise_say("VM: ended by a system call that is not allowed");
		return EXIT_STATUS_VIOLATION;
	}
	if (signal == SIGKILL) {
		supervise_say("VM: process was killed (out of memory?)");
		return EXIT_STATUS_INTERNAL;
	}
	snprintf(text, sizeof(text), "VM: process crashed: signal %d (%s)%s",
		 signal, strsignal(signal),
		 WCOREDUMP(status) ? ", core dumped" : "");
	supervise_say(text);
	return EXIT_STATUS_INTERNAL;
}

static bool supervise_awaits_terminal(const struct supervisor *supervisor)
{
	return supervisor->terminal.fd >= 0 && !supervisor->has_terminal;
}

static bool supervise_awaits_end(const struct supervisor *supervisor)
{
	return supervisor->end_sent_ns && !supervisor->killed_for;
}

/* What is to be done without a signal. */
static void supervise_look(struct supervisor *supervisor)
{
	if (supervise_awaits_terminal(supervisor))
		supervise_take_terminal(supervisor);
	if (supervise_awaits_end(supervisor) &&
	    supervise_now_ns() - supervisor->end_sent_ns >= END_NS)
		supervise_kill(supervisor, supervisor->end_signal);
}

/* The next of @set, or -1 when it is time to look around. */
static int supervise_next_signal(const struct supervisor *supervisor,
				 const sigset_t *set)
{
	uint64_t timeout = UINT64_MAX;
	struct timespec time;
	uint64_t passed;

	if (supervise_awaits_terminal(supervisor))
		timeout = TERMINAL_NS;
	if (supervise_awaits_end(supervisor)) {
		passed = supervise_now_ns() - supervisor->end_sent_ns;
		timeout = MIN(timeout, END_NS - MIN(passed, END_NS));
	}
	if (timeout == UINT64_MAX)
		return sigwaitinfo(set, NULL);
	time.tv_sec = (time_t)(timeout / 1000000000);
	time.tv_nsec = (long)(timeout % 1000000000);
	return sigtimedwait(set, NULL, &time);
}

/* Serves signals until the child has ended. */
static int supervise_wait(struct supervisor *supervisor, const sigset_t *set)
{
	int status;
	pid_t ended;
	int signal;

	for (;;) {
		ended = waitpid(supervisor->child, &status, WNOHANG);
		if (ended == supervisor->child)
			return supervise_judge(supervisor, status);
		if (ended < 0 && errno != EINTR)
			return supervise_fail("waitpid");
		signal = supervise_next_signal(supervisor, set);
		if (signal > 0)
			supervise_take_signal(supervisor, signal);
		else
			supervise_look(supervisor);
	}
}

static _Noreturn void supervise_child(const struct supervised *supervised,
				      pid_t parent, int control_fd)
{
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	/* It may have gone before it was said. */
	if (getppid() != parent)
		_exit(EXIT_STATUS_INTERNAL);
	_exit(supervised->body(supervised->context, control_fd));
}

int supervise_run(const struct supervised *supervised)
{
	struct supervisor supervisor = { 0 };
	pid_t parent = getpid();
	sigset_t set, all;
	int control[2];
	int status;

	supervise_signals(&set);
	sigfillset(&all);
	sigprocmask(SIG_SETMASK, &all, NULL);
	/* Ignored by whoever started us, it would not be waited for. */
	signal(SIGCHLD, SIG_DFL);
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, control))
		return supervise_fail("socketpair");
	terminal_init(&supervisor.terminal, supervised->terminal_fd);
	supervisor.has_terminal = terminal_take(&supervisor.terminal);

	supervisor.child = fork();
	if (supervisor.child == 0) {
		sigprocmask(SIG_SETMASK, &set, NULL);
		close(control[0]);
		supervise_child(supervised, parent, control[1]);
	}
	supervise_catch_faults(&supervisor.terminal);
	sigprocmask(SIG_SETMASK, &set, NULL);
	close(control[1]);
	supervisor.control_fd = control[0];
	if (supervisor.child < 0)
		status = supervise_fail("fork");
	else
		status = supervise_wait(&supervisor, &set);
	terminal_give_back(&supervisor.terminal);
	close(control[0]);
	return status;
}
