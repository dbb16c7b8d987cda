/* SPDX-License-Identifier: Apache-2.0 */
#include "devices/thread.h"

#include "memory/base.h"

#include <errno.h>
#include <semaphore.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

/* Untouched pages cost nothing; 1024 iovecs and a log line need about 20 KiB. */
#define STACK_BYTES (128 * KIB)

/* Lives on threads_start's stack until the new thread has posted `entered`. */
struct start {
	struct thread *thread;
	sem_t entered;
	int err;
};

static uint64_t read_clock_ns(clockid_t clock)
{
	struct timespec time;

	if (clock_gettime(clock, &time))
		return 0;
	return (uint64_t)time.tv_sec * 1000000000 + (uint64_t)time.tv_nsec;
}

static void *thread_main(void *argument)
{
	struct start *start = argument;
	struct thread *thread = start->thread;
	struct threads *group = thread->group;
	int err = 0;

	prctl(PR_SET_NAME, thread->name);
	thread->tid = gettid();
	if (group->enter)
		err = group->enter(group->enter_context, thread);
	start->err = err;
	sem_post(&start->entered);
	if (!err)
		thread->body(thread->argument);
	thread->cpu_ns = read_clock_ns(CLOCK_THREAD_CPUTIME_ID);
	/* Pairs with the acquire in thread_cpu_us. */
	__atomic_store_n(&thread->ended, true, __ATOMIC_RELEASE);
	return NULL;
}

/*
 * Blocked signals that a fault raises would kill without a word: no handler of
 * the sandbox or of a sanitizer could say what happened.
 */
static void block_signals(sigset_t *old)
{
	static const int faults[] = { SIGSEGV, SIGBUS, SIGILL, SIGFPE,
				      SIGTRAP, SIGSYS, SIGABRT };
	sigset_t set;
	unsigned int i;

	sigfillset(&set);
	for (i = 0; i < ARRAY_SIZE(faults); i++)
		sigdelset(&set, faults[i]);
	pthread_sigmask(SIG_SETMASK, &set, old);
}

static int create_thread(struct start *start)
{
	pthread_attr_t attributes;
	sigset_t old;
	int err;

	err = pthread_attr_init(&attributes);
	if (err)
		return -err;
	err = pthread_attr_setstacksize(&attributes, STACK_BYTES);
	if (!err) {
		/* Inherited: the thread never runs with another mask. */
		block_signals(&old);
		err = pthread_create(&start->thread->id, &attributes,
				     thread_main, start);
		pthread_sigmask(SIG_SETMASK, &old, NULL);
	}
	pthread_attr_destroy(&attributes);
	return -err;
}

static void set_up(struct thread *thread, struct threads *threads,
		   enum thread_kind kind, const char *name)
{
	*thread = (struct thread){ .kind = kind, .group = threads };
	snprintf(thread->name, sizeof(thread->name), "%s", name);
}

int threads_start(struct threads *threads, struct thread *thread,
		  enum thread_kind kind, const char *name,
		  void (*body)(void *argument), void *argument)
{
	struct start start = { .thread = thread };
	int err;

	if (threads->count == THREADS_MAX)
		return -ENOSPC;
	set_up(thread, threads, kind, name);
	thread->body = body;
	thread->argument = argument;
	sem_init(&start.entered, 0, 0);
	err = create_thread(&start);
	if (err)
		goto out;
	while (sem_wait(&start.entered) && errno == EINTR)
		;
	err = start.err;
	if (err) {
		pthread_join(thread->id, NULL);
		goto out;
	}
	thread->joinable = true;
	threads->list[threads->count++] = thread;
out:
	sem_destroy(&start.entered);
	return err;
}

void threads_register_main(struct threads *threads, struct thread *thread,
			   const char *name)
{
	set_up(thread, threads, THREAD_MAIN, name);
	thread->id = pthread_self();
	thread->tid = gettid();
	threads->list[threads->count++] = thread;
}

void thread_join(struct thread *thread)
{
	if (!thread->joinable)
		return;
	pthread_join(thread->id, NULL);
	thread->joinable = false;
}

uint64_t thread_cpu_us(const struct thread *thread)
{
	clockid_t clock;
	uint64_t ns = 0;

	if (!thread->group)
		return 0;
	if (!__atomic_load_n(&thread->ended, __ATOMIC_ACQUIRE) &&
	    !pthread_getcpuclockid(thread->id, &clock))
		ns = read_clock_ns(clock);
	/* It may have ended meanwhile, its clock with it. Pairs with thread_main's release. */
	if (__atomic_load_n(&thread->ended, __ATOMIC_ACQUIRE))
		ns = thread->cpu_ns;
	return ns / 1000;
}
