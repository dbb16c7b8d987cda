/* SPDX-License-Identifier: Apache-2.0 */
#include "devices/thread.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#define MANY 40

struct report {
	char name[16];
	sigset_t mask;
	pid_t tid;
	size_t stack_bytes;
	bool entered_before;
	int stop[2];
};

static struct report report;
static struct threads threads;
static struct thread thread;

static void body(void *argument)
{
	struct report *r = argument;
	pthread_attr_t attributes;

	prctl(PR_GET_NAME, r->name);
	pthread_sigmask(SIG_SETMASK, NULL, &r->mask);
	r->tid = gettid();
	pthread_getattr_np(pthread_self(), &attributes);
	pthread_attr_getstacksize(&attributes, &r->stack_bytes);
	pthread_attr_destroy(&attributes);
}

static void nothing(void *argument)
{
	(void)argument;
}

static void wait_for_stop(void *argument)
{
	struct report *r = argument;
	char byte;
	ssize_t n;

	n = read(r->stop[0], &byte, 1);
	(void)n;
}

Test(thread, started_thread_has_its_name_cut_to_what_the_kernel_takes)
{
	cr_assert_eq(threads_start(&threads, &thread, THREAD_BLOCK,
				   "blk.a-long-name.12", body, &report),
		     0);
	thread_join(&thread);
	cr_assert_str_eq(report.name, "blk.a-long-name");
	cr_assert_str_eq(thread.name, "blk.a-long-name.12");
	cr_assert_eq(thread.kind, THREAD_BLOCK);
	cr_assert_eq(thread.tid, report.tid);
	cr_assert_neq(thread.tid, getpid());
	cr_assert_eq(threads.count, 1);
	cr_assert_eq(threads.list[0], &thread);
}

Test(thread, name_that_does_not_fit_is_cut)
{
	char name[2 * THREAD_NAME_MAX];

	memset(name, 'n', sizeof(name));
	name[sizeof(name) - 1] = 0;
	cr_assert_eq(threads_start(&threads, &thread, THREAD_RNG, name, nothing,
				   NULL),
		     0);
	thread_join(&thread);
	cr_assert_eq(strlen(thread.name), THREAD_NAME_MAX - 1);
}

Test(thread,
     started_thread_blocks_all_signals_but_faults_and_the_starter_keeps_its_mask)
{
	sigset_t mask;

	cr_assert_eq(threads_start(&threads, &thread, THREAD_VCPU, "vcpu0",
				   body, &report),
		     0);
	thread_join(&thread);
	cr_assert(sigismember(&report.mask, SIGTERM));
	cr_assert(sigismember(&report.mask, SIGUSR1));
	cr_assert(sigismember(&report.mask, SIGRTMIN));
	cr_assert(sigismember(&report.mask, SIGPIPE));
	cr_assert_not(sigismember(&report.mask, SIGSEGV));
	cr_assert_not(sigismember(&report.mask, SIGSYS));
	pthread_sigmask(SIG_SETMASK, NULL, &mask);
	cr_assert_not(sigismember(&mask, SIGTERM));
}

Test(thread, stack_is_small)
{
	cr_assert_eq(threads_start(&threads, &thread, THREAD_VCPU, "vcpu0",
				   body, &report),
		     0);
	thread_join(&thread);
	cr_assert_leq(report.stack_bytes, 256 * 1024);
	cr_assert_geq(report.stack_bytes, 64 * 1024);
}

static int check_enter(void *context, const struct thread *entering)
{
	struct report *r = context;

	r->entered_before = r->tid == 0 && entering->tid == gettid() &&
			    entering->kind == THREAD_IOMMU;
	return 0;
}

Test(thread, enter_runs_on_the_new_thread_before_its_body)
{
	threads.enter = check_enter;
	threads.enter_context = &report;
	cr_assert_eq(threads_start(&threads, &thread, THREAD_IOMMU, "iommu",
				   body, &report),
		     0);
	/* Set before threads_start returned. */
	cr_assert(report.entered_before);
	thread_join(&thread);
	cr_assert_neq(report.tid, 0);
}

static int refuse(void *context, const struct thread *entering)
{
	(void)context;
	(void)entering;
	return -EPERM;
}

Test(thread, refused_enter_fails_the_start_and_the_body_never_runs)
{
	threads.enter = refuse;
	cr_assert_eq(threads_start(&threads, &thread, THREAD_VCPU, "vcpu0",
				   body, &report),
		     -EPERM);
	cr_assert_eq(report.tid, 0);
	cr_assert_eq(threads.count, 0);
	thread_join(&thread); /* nothing to wait for */
}

Test(thread, many_threads_start_and_join, .timeout = 20)
{
	static struct thread list[MANY];
	unsigned int i;
	char bytes[MANY] = { 0 };

	cr_assert_eq(pipe(report.stop), 0);
	for (i = 0; i < MANY; i++)
		cr_assert_eq(threads_start(&threads, &list[i], THREAD_NET,
					   "net", wait_for_stop, &report),
			     0);
	cr_assert_eq(threads.count, MANY);
	cr_assert_eq(write(report.stop[1], bytes, MANY), MANY);
	for (i = 0; i < MANY; i++)
		thread_join(&list[i]);
}

Test(thread, one_thread_too_many_is_refused)
{
	threads.count = THREADS_MAX;
	cr_assert_eq(threads_start(&threads, &thread, THREAD_NET, "net",
				   nothing, NULL),
		     -ENOSPC);
}

Test(thread, bug18_host_without_room_for_a_thread_is_an_error)
{
	static struct thread list[MANY];
	struct rlimit limit = { 64 << 20, 64 << 20 };
	unsigned int i;
	int err = 0;

#if defined(__SANITIZE_ADDRESS__)
	cr_skip_test("address space cannot be limited under ASan");
#endif
#if defined(__has_feature)
#if __has_feature(address_sanitizer)
	cr_skip_test("address space cannot be limited under ASan");
#endif
#endif
	cr_assert_eq(pipe(report.stop), 0);
	/* Less than what the program has already. */
	limit.rlim_cur = limit.rlim_max = 1 << 20;
	setrlimit(RLIMIT_AS, &limit);
	for (i = 0; i < MANY && !err; i++)
		err = threads_start(&threads, &list[i], THREAD_NET, "net",
				    wait_for_stop, &report);
	cr_assert_eq(err, -EAGAIN);
	cr_assert_eq(threads.count, i - 1);
	close(report.stop[1]);
	for (i = 0; i < threads.count; i++)
		thread_join(threads.list[i]);
}

static void burn(void *argument)
{
	struct timespec now;

	do {
		clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
	} while (now.tv_sec == 0 && now.tv_nsec < 30000000);
	wait_for_stop(argument);
}

Test(thread, cpu_time_is_known_while_it_runs_and_after_it_was_joined,
     .timeout = 20)
{
	cr_assert_eq(thread_cpu_us(&thread), 0);
	cr_assert_eq(pipe(report.stop), 0);
	cr_assert_eq(threads_start(&threads, &thread, THREAD_VCPU, "vcpu0",
				   burn, &report),
		     0);
	while (thread_cpu_us(&thread) < 30000)
		usleep(1000);
	close(report.stop[1]);
	thread_join(&thread);
	cr_assert_geq(thread_cpu_us(&thread), 30000);
	cr_assert_lt(thread_cpu_us(&thread), 5000000);
	thread_join(&thread);
}

Test(thread, cpu_time_of_an_ended_thread_is_known_before_its_join,
     .timeout = 20)
{
	cr_assert_eq(pipe(report.stop), 0);
	close(report.stop[1]);
	cr_assert_eq(threads_start(&threads, &thread, THREAD_VCPU, "vcpu0",
				   burn, &report),
		     0);
	while (!__atomic_load_n(&thread.ended, __ATOMIC_ACQUIRE))
		usleep(1000);
	usleep(10000);
	cr_assert_geq(thread_cpu_us(&thread), 30000);
	thread_join(&thread);
}

Test(thread, main_registers_itself)
{
	char before[16], name[16];

	prctl(PR_GET_NAME, before);
	threads_register_main(&threads, &thread, "main");
	prctl(PR_GET_NAME, name);
	cr_assert_str_eq(name, before,
			 "the process goes by the program's name");
	cr_assert_str_eq(thread.name, "main");
	cr_assert_eq(thread.tid, getpid());
	cr_assert_eq(threads.list[0], &thread);
	cr_assert_gt(thread_cpu_us(&thread), 0);
	thread_join(&thread); /* nobody waits for itself */
}
