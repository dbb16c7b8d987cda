/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every thread of a VM starts here, by one function, so that its name, its
 * signal mask and (as vmm/ registers it) its sandbox are set before it does
 * anything. Threads end by returning, when their stop eventfd says so.
 */
#ifndef DEVICES_THREAD_H
#define DEVICES_THREAD_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/* More than a configuration can ask for: 1024 vCPUs, 24 devices of 64 queues. */
#define THREADS_MAX 4096
#define THREAD_NAME_MAX 48 /* "blk.NAME.queue", NAME up to 32 */

/* What a thread's job is: selects its system calls. */
enum thread_kind {
	THREAD_MAIN,
	THREAD_VCPU,
	THREAD_BLOCK,
	THREAD_NET,
	THREAD_RNG,
	THREAD_IOMMU,
};

struct thread {
	char name[THREAD_NAME_MAX]; /* the kernel's copy is cut to 15 bytes */
	enum thread_kind kind;
	pthread_t id;
	pid_t tid;
	bool joinable; /* started, not joined yet */
	bool ended; /* atomic: the body has returned, cpu_ns is set */
	uint64_t cpu_ns; /* used in total, once ended */
	void (*body)(void *argument);
	void *argument;
	struct threads *group;
};

/* The threads of one VM; main registers itself first. */
struct threads {
	/*
	 * Runs on each new thread before its body (may be NULL): the sandbox.
	 * thread->tid and ->kind are set. Nonzero: the thread ends at once and
	 * threads_start fails with it. What a thread still calls afterwards:
	 * futex (start, locks), clock_gettime (its CPU time), madvise and exit
	 * (glibc, at the end).
	 */
	int (*enter)(void *context, const struct thread *thread);
	void *enter_context;
	unsigned int count; /* main thread only */
	struct thread *list[THREADS_MAX];
};

/*
 * Starts @thread (the caller's storage; it stays in threads->list after its
 * join, for the statistics) named @name. All signals are blocked but those that
 * a fault of the thread itself raises (SIGSEGV, SIGBUS, SIGSYS, ...); vmm/
 * unblocks its own kick. Returns when `enter` has returned. The stack has
 * 128 KiB. Main thread, at set-up. 0 or -errno, when nothing was started:
 * -ENOSPC (THREADS_MAX), -EAGAIN (the host's limit) or what `enter` said.
 */
int threads_start(struct threads *threads, struct thread *thread,
		  enum thread_kind kind, const char *name,
		  void (*body)(void *argument), void *argument);

/*
 * Registers the calling thread (main). The kernel goes on to call it by the
 * program's name, by which ps and pgrep find the process.
 */
void threads_register_main(struct threads *threads, struct thread *thread,
			   const char *name);

/*
 * Waits until @thread's body has returned. Does nothing for main, for one that
 * was joined, and for one (zeroed) that never started.
 */
void thread_join(struct thread *thread);

/*
 * CPU time that a running, ended or joined thread has used, in microseconds.
 * Any thread, but not at the same time as its thread_join.
 */
uint64_t thread_cpu_us(const struct thread *thread);

#endif
