/* SPDX-License-Identifier: Apache-2.0 */
#include "devices/event_loop.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/time.h>
#include <unistd.h>

static struct event_loop loop;

struct counter {
	struct event_source source;
	unsigned int calls;
	uint32_t events;
	unsigned int end_after;
	struct counter *removes; /* when called */
};

static void count_call(void *context, uint32_t events)
{
	struct counter *counter = context;

	counter->calls++;
	counter->events = events;
	if (counter->removes)
		event_loop_remove(&loop, &counter->removes->source);
	if (counter->calls >= counter->end_after)
		event_loop_end(&loop);
}

static struct counter *make_counter(struct counter *counter, unsigned int value)
{
	*counter = (struct counter){ .end_after = 1 };
	counter->source.fd = eventfd(value, EFD_NONBLOCK);
	counter->source.ready = count_call;
	counter->source.context = counter;
	return counter;
}

Test(event_loop, ready_source_is_called_with_its_events, .timeout = 10)
{
	struct counter counter;

	cr_assert_eq(event_loop_init(&loop), 0);
	make_counter(&counter, 1)->end_after =
		3; /* level-triggered: again and again */
	cr_assert_eq(event_loop_add(&loop, &counter.source, EPOLLIN), 0);
	cr_assert_eq(event_loop_run(&loop), 0);
	cr_assert_eq(counter.calls, 3);
	cr_assert_eq(counter.events, EPOLLIN);
	event_loop_destroy(&loop);
}

Test(event_loop, end_from_within_stops_the_rest_of_the_batch, .timeout = 10)
{
	struct counter a, b;

	event_loop_init(&loop);
	event_loop_add(&loop, &make_counter(&a, 1)->source, EPOLLIN);
	event_loop_add(&loop, &make_counter(&b, 1)->source, EPOLLIN);
	event_loop_run(&loop);
	cr_assert_eq(a.calls + b.calls, 1);
	/* For good. */
	cr_assert_eq(event_loop_run(&loop), 0);
	cr_assert_eq(a.calls + b.calls, 1);
	event_loop_destroy(&loop);
}

Test(event_loop, source_removed_by_another_of_its_batch_is_not_called,
     .timeout = 10)
{
	struct counter a, b;

	event_loop_init(&loop);
	make_counter(&a, 1)->removes = &b;
	make_counter(&b, 1)->removes = &a;
	a.end_after = b.end_after = 100;
	event_loop_add(&loop, &a.source, EPOLLIN);
	event_loop_add(&loop, &b.source, EPOLLIN);
	/* Whichever is first removes the other, is called on, and ends. */
	event_loop_run(&loop);
	cr_assert_eq(a.calls + b.calls, 100);
	cr_assert(a.calls == 0 || b.calls == 0);
	event_loop_destroy(&loop);
}

Test(event_loop, source_can_remove_itself, .timeout = 10)
{
	struct counter a, b;

	event_loop_init(&loop);
	make_counter(&a, 1)->removes = &a;
	a.end_after = 2;
	make_counter(&b, 1)->end_after = 5;
	event_loop_add(&loop, &a.source, EPOLLIN);
	event_loop_add(&loop, &b.source, EPOLLIN);
	event_loop_run(&loop);
	cr_assert_eq(a.calls, 1);
	cr_assert_eq(b.calls, 5);
	event_loop_destroy(&loop);
}

Test(event_loop, modify_changes_what_is_waited_for, .timeout = 10)
{
	struct counter counter;

	event_loop_init(&loop);
	make_counter(&counter, 0);
	cr_assert_eq(event_loop_add(&loop, &counter.source, EPOLLIN), 0);
	cr_assert_eq(event_loop_modify(&loop, &counter.source, EPOLLOUT), 0);
	event_loop_run(&loop);
	cr_assert_eq(counter.events, EPOLLOUT);
	event_loop_destroy(&loop);
}

Test(event_loop, what_cannot_be_waited_for_is_refused)
{
	struct event_source source = { .fd = open("/dev/null", O_RDONLY) };
	struct counter counter;

	event_loop_init(&loop);
	cr_assert_eq(event_loop_add(&loop, &source, EPOLLIN), -EPERM);
	source.fd = -1;
	cr_assert_eq(event_loop_add(&loop, &source, EPOLLIN), -EBADF);
	cr_assert_eq(event_loop_modify(&loop, &source, EPOLLIN), -EBADF);
	event_loop_remove(&loop, &source);
	event_loop_add(&loop, &make_counter(&counter, 1)->source, EPOLLIN);
	cr_assert_eq(event_loop_add(&loop, &counter.source, EPOLLIN), -EEXIST);
	event_loop_destroy(&loop);
}

static void *end_later(void *argument)
{
	usleep(30000);
	event_loop_end(argument);
	event_loop_end(argument);
	return NULL;
}

Test(event_loop, another_thread_ends_a_loop_that_sleeps, .timeout = 10)
{
	pthread_t thread;

	event_loop_init(&loop);
	pthread_create(&thread, NULL, end_later, &loop);
	cr_assert_eq(event_loop_run(&loop), 0);
	pthread_join(thread, NULL);
	event_loop_destroy(&loop);
}

static void end_in_handler(int number)
{
	(void)number;
	event_loop_end(&loop);
}

Test(event_loop, signal_handler_ends_the_loop, .timeout = 10)
{
	struct itimerval timer = { .it_value.tv_usec = 30000 };

	event_loop_init(&loop);
	signal(SIGALRM, end_in_handler);
	setitimer(ITIMER_REAL, &timer, NULL);
	cr_assert_eq(event_loop_run(&loop), 0);
	event_loop_destroy(&loop);
}

static void ignore(int number)
{
	(void)number;
}

Test(event_loop, other_signals_do_not_end_it, .timeout = 10)
{
	struct itimerval timer = { .it_value.tv_usec = 10000 };
	struct sigaction action = { .sa_handler = ignore };
	pthread_t thread;
	sigset_t set;

	event_loop_init(&loop);
	sigaction(SIGALRM, &action, NULL);
	sigemptyset(&set);
	sigaddset(&set, SIGALRM);
	pthread_sigmask(SIG_BLOCK, &set, NULL);
	pthread_create(&thread, NULL, end_later, &loop);
	pthread_sigmask(SIG_UNBLOCK, &set, NULL);
	setitimer(ITIMER_REAL, &timer, NULL);
	cr_assert_eq(event_loop_run(&loop), 0);
	cr_assert(loop.ended);
	pthread_join(thread, NULL);
	event_loop_destroy(&loop);
}

Test(event_loop, failing_epoll_is_reported)
{
	event_loop_init(&loop);
	close(loop.epoll_fd);
	cr_assert_eq(event_loop_run(&loop), -EBADF);
}

Test(event_loop, bug18_no_descriptor_left_is_an_error_and_leaks_none)
{
	struct rlimit limit;
	int next, err;

	getrlimit(RLIMIT_NOFILE, &limit);
	/* No holes: from here on numbers follow each other. */
	while ((next = dup(0)) < 100)
		;
	close(next);
	limit.rlim_cur = (rlim_t)next;
	setrlimit(RLIMIT_NOFILE, &limit);
	err = event_loop_init(&loop);
	cr_assert_eq(err, -EMFILE);
	limit.rlim_cur = (rlim_t)next + 1; /* the epoll, but no eventfd */
	setrlimit(RLIMIT_NOFILE, &limit);
	cr_assert_eq(event_loop_init(&loop), -EMFILE);
	limit.rlim_cur = limit.rlim_max;
	setrlimit(RLIMIT_NOFILE, &limit);
	cr_assert_eq(dup(0), next);
}
