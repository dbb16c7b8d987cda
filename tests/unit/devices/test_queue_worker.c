/* SPDX-License-Identifier: Apache-2.0 */
#include "devices/queue_worker.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "devices/rate_limit.h"
#include "virtio/queue.h"

#define TURNS_MAX 200000 /* of 100 us */

struct rig {
	struct threads threads;
	struct queue queue; /* its counters alone are used */
	struct queue_worker worker;
	int stop_fd;
	unsigned int served; /* atomics */
	bool hold; /* serve does not return */
	bool inside; /* serve is running */
	bool parked; /* serve must not run */
	uint64_t sleep_until; /* serve sleeps, and says below how that ended */
	bool slept;
	unsigned int violations;
	short watch; /* what serve watches `watched` for */
	int watched;
};

static void sleep_us(long us)
{
	nanosleep(&(struct timespec){ .tv_nsec = us * 1000 }, NULL);
}

static void serve(struct queue_worker *worker)
{
	struct rig *rig = worker->context;

	__atomic_store_n(&rig->inside, true, __ATOMIC_SEQ_CST);
	if (__atomic_load_n(&rig->parked, __ATOMIC_SEQ_CST))
		__atomic_fetch_add(&rig->violations, 1, __ATOMIC_SEQ_CST);
	while (__atomic_load_n(&rig->hold, __ATOMIC_SEQ_CST))
		sleep_us(100);
	if (rig->sleep_until)
		__atomic_store_n(&rig->slept,
				 queue_worker_sleep_until(worker,
							  rig->sleep_until),
				 __ATOMIC_SEQ_CST);
	if (__atomic_load_n(&rig->parked, __ATOMIC_SEQ_CST))
		__atomic_fetch_add(&rig->violations, 1, __ATOMIC_SEQ_CST);
	queue_worker_watch(worker, rig->watched,
			   __atomic_load_n(&rig->watch, __ATOMIC_SEQ_CST));
	__atomic_store_n(&rig->inside, false, __ATOMIC_SEQ_CST);
	__atomic_fetch_add(&rig->served, 1, __ATOMIC_SEQ_CST);
}

static unsigned int served(struct rig *rig)
{
	return __atomic_load_n(&rig->served, __ATOMIC_SEQ_CST);
}

/* Waits until serve was called @count times. */
static bool wait_served(struct rig *rig, unsigned int count)
{
	unsigned int turn;

	for (turn = 0; turn < TURNS_MAX && served(rig) < count; turn++)
		sleep_us(100);
	return served(rig) >= count;
}

static bool wait_inside(struct rig *rig)
{
	unsigned int turn;

	for (turn = 0; turn < TURNS_MAX; turn++) {
		if (__atomic_load_n(&rig->inside, __ATOMIC_SEQ_CST))
			return true;
		sleep_us(100);
	}
	return false;
}

static bool wait_pausing(struct rig *rig)
{
	unsigned int turn;

	for (turn = 0; turn < TURNS_MAX; turn++) {
		if (queue_worker_should_pause(&rig->worker))
			return true;
		sleep_us(100);
	}
	return false;
}

static void hold(struct rig *rig, bool on)
{
	__atomic_store_n(&rig->hold, on, __ATOMIC_SEQ_CST);
}

static uint64_t kicks(struct rig *rig)
{
	return queue_read_counters(&rig->queue).kicks;
}

static void setup(struct rig *rig)
{
	rig->stop_fd = eventfd(0, EFD_CLOEXEC);
	cr_assert_eq(queue_worker_init(&rig->worker, NULL, &rig->queue, serve,
				       rig, rig->stop_fd),
		     0);
}

static void start(struct rig *rig)
{
	setup(rig);
	cr_assert_eq(queue_worker_start(&rig->worker, &rig->threads,
					THREAD_BLOCK, "blk.test.0"),
		     0);
}

static void teardown(struct rig *rig)
{
	queue_worker_join(&rig->worker);
	queue_worker_destroy(&rig->worker);
	close(rig->stop_fd);
}

Test(queue_worker, serves_after_resume_and_after_each_kick)
{
	struct rig rig = { 0 };
	unsigned int i;

	start(&rig);
	queue_worker_resume(&rig.worker);
	cr_assert(wait_served(&rig, 1));
	cr_assert_eq(kicks(&rig), 0, "our own wake-up is no kick");
	for (i = 1; i <= 5; i++) {
		queue_worker_kick(&rig.worker);
		cr_assert(wait_served(&rig, 1 + i));
		cr_assert_eq(kicks(&rig), i);
	}
	teardown(&rig);
}

Test(queue_worker, does_not_serve_while_parked)
{
	struct rig rig = { .parked = true };

	start(&rig);
	queue_worker_kick(&rig.worker);
	sleep_us(20000);
	cr_assert_eq(served(&rig), 0);
	cr_assert_eq(kicks(&rig), 0);
	teardown(&rig);
}

Test(queue_worker, kick_before_resume_is_not_lost)
{
	struct rig rig = { 0 };

	start(&rig);
	queue_worker_kick(&rig.worker);
	queue_worker_resume(&rig.worker);
	cr_assert(wait_served(&rig, 1));
	teardown(&rig);
}

Test(queue_worker, park_of_a_worker_that_never_ran_returns_at_once)
{
	struct rig rig = { 0 };

	setup(&rig);
	cr_assert_eq(queue_worker_park(&rig.worker), 0);
	queue_worker_resume(&rig.worker);
	cr_assert_eq(queue_worker_park(&rig.worker), 0);
	cr_assert(queue_worker_should_pause(&rig.worker));
	queue_worker_join(&rig.worker);
	teardown(&rig);
}

Test(queue_worker, thread_started_after_resume_serves)
{
	struct rig rig = { 0 };

	setup(&rig);
	queue_worker_resume(&rig.worker);
	cr_assert_eq(queue_worker_start(&rig.worker, &rig.threads, THREAD_BLOCK,
					"blk.test.0"),
		     0);
	cr_assert(wait_served(&rig, 1));
	teardown(&rig);
}

Test(queue_worker, second_park_returns_at_once)
{
	struct rig rig = { 0 };

	start(&rig);
	queue_worker_resume(&rig.worker);
	cr_assert_eq(queue_worker_park(&rig.worker), 0);
	cr_assert_eq(queue_worker_park(&rig.worker), 0);
	teardown(&rig);
}

static void *park(void *argument)
{
	struct rig *rig = argument;
	int err = queue_worker_park(&rig->worker);

	__atomic_store_n(&rig->parked, true, __ATOMIC_SEQ_CST);
	return (void *)(intptr_t)err;
}

Test(queue_worker, park_waits_for_the_work_in_progress)
{
	struct rig rig = { .hold = true };
	pthread_t thread;
	void *err;

	start(&rig);
	queue_worker_resume(&rig.worker);
	cr_assert(wait_inside(&rig));
	cr_assert_not(queue_worker_should_pause(&rig.worker));
	pthread_create(&thread, NULL, park, &rig);
	cr_assert(wait_pausing(&rig));
	sleep_us(20000);
	cr_assert_not(__atomic_load_n(&rig.parked, __ATOMIC_SEQ_CST));
	hold(&rig, false);
	pthread_join(thread, &err);
	cr_assert_null(err);
	cr_assert_eq(served(&rig), 1);
	cr_assert_eq(rig.violations, 0);
	teardown(&rig);
}

static void ignore(int signal)
{
	(void)signal;
}

Test(queue_worker, park_goes_on_after_a_signal)
{
	struct sigaction action = { .sa_handler = ignore };
	struct rig rig = { .hold = true };
	pthread_t thread;
	unsigned int i;
	void *err;

	sigaction(SIGUSR1, &action, NULL);
	start(&rig);
	queue_worker_resume(&rig.worker);
	cr_assert(wait_inside(&rig));
	pthread_create(&thread, NULL, park, &rig);
	for (i = 0; i < 20; i++) {
		pthread_kill(thread, SIGUSR1);
		sleep_us(1000);
	}
	cr_assert_not(__atomic_load_n(&rig.parked, __ATOMIC_SEQ_CST));
	hold(&rig, false);
	pthread_join(thread, &err);
	cr_assert_null(err);
	teardown(&rig);
}

Test(queue_worker, park_is_interrupted_when_the_vm_stops)
{
	struct rig rig = { .hold = true };

	start(&rig);
	queue_worker_resume(&rig.worker);
	cr_assert(wait_inside(&rig));
	cr_assert_eq(eventfd_write(rig.stop_fd, 1), 0);
	cr_assert_eq(queue_worker_park(&rig.worker), -EINTR);
	hold(&rig, false);
	teardown(&rig);
}

Test(queue_worker, stale_quiet_notification_does_not_end_a_later_park)
{
	struct rig rig = { 0 };
	pthread_t thread;
	void *err;

	start(&rig);
	/* What a park leaves behind that saw the state before it polled. */
	cr_assert_eq(eventfd_write(rig.worker.quiet_fd, 1), 0);
	hold(&rig, true);
	queue_worker_resume(&rig.worker);
	cr_assert(wait_inside(&rig));
	pthread_create(&thread, NULL, park, &rig);
	sleep_us(20000);
	cr_assert_not(__atomic_load_n(&rig.parked, __ATOMIC_SEQ_CST));
	hold(&rig, false);
	pthread_join(thread, &err);
	cr_assert_null(err);
	teardown(&rig);
}

static void *storm(void *argument)
{
	struct rig *rig = argument;
	unsigned int i;

	for (i = 0; i < 20000; i++)
		queue_worker_kick(&rig->worker);
	return NULL;
}

Test(queue_worker, park_and_resume_hold_under_a_storm_of_kicks)
{
	struct rig rig = { 0 };
	pthread_t threads[2];
	unsigned int i;

	start(&rig);
	for (i = 0; i < 2; i++)
		pthread_create(&threads[i], NULL, storm, &rig);
	for (i = 0; i < 2000; i++) {
		__atomic_store_n(&rig.parked, false, __ATOMIC_SEQ_CST);
		queue_worker_resume(&rig.worker);
		if (i % 3 == 0)
			sched_yield();
		cr_assert_eq(queue_worker_park(&rig.worker), 0);
		__atomic_store_n(&rig.parked, true, __ATOMIC_SEQ_CST);
		cr_assert_not(__atomic_load_n(&rig.inside, __ATOMIC_SEQ_CST));
	}
	for (i = 0; i < 2; i++)
		pthread_join(threads[i], NULL);
	cr_assert_eq(rig.violations, 0);
	__atomic_store_n(&rig.parked, false, __ATOMIC_SEQ_CST);
	i = served(&rig);
	queue_worker_resume(&rig.worker);
	cr_assert(wait_served(&rig, i + 1));
	teardown(&rig);
}

static void start_watching(struct rig *rig)
{
	rig->watched = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	rig->watch = POLLIN;
	start(rig);
	queue_worker_resume(&rig->worker);
	cr_assert(wait_served(rig, 1));
}

Test(queue_worker, serves_when_what_it_watches_is_ready)
{
	struct rig rig = { 0 };
	unsigned int before;

	start_watching(&rig);
	sleep_us(20000);
	cr_expect_eq(served(&rig), 1, "nothing is ready");
	queue_worker_kick(&rig.worker);
	cr_expect(wait_served(&rig, 2));
	cr_expect_eq(kicks(&rig), 1);
	/* Not ready any more for a worker that does not watch. */
	__atomic_store_n(&rig.watch, 0, __ATOMIC_SEQ_CST);
	cr_assert_eq(eventfd_write(rig.watched, 1), 0);
	cr_expect(wait_served(&rig, 3));
	sleep_us(20000);
	cr_expect_leq(served(&rig), 4);
	cr_expect_eq(kicks(&rig), 1, "that was no kick");
	before = served(&rig);
	queue_worker_wake(&rig.worker);
	cr_expect(wait_served(&rig, before + 1));
	cr_expect_eq(kicks(&rig), 1, "nor was this");
	teardown(&rig);
	close(rig.watched);
}

Test(queue_worker, parked_worker_watches_nothing)
{
	struct rig rig = { 0 };
	unsigned int before;

	start_watching(&rig);
	cr_assert_eq(queue_worker_park(&rig.worker), 0);
	__atomic_store_n(&rig.parked, true, __ATOMIC_SEQ_CST);
	before = served(&rig);
	cr_assert_eq(eventfd_write(rig.watched, 1), 0);
	sleep_us(20000);
	cr_expect_eq(served(&rig), before);
	cr_expect_eq(rig.worker.watch_events, 0);
	__atomic_store_n(&rig.parked, false, __ATOMIC_SEQ_CST);
	queue_worker_resume(&rig.worker);
	cr_expect(wait_served(&rig, before + 3), "watched again");
	queue_worker_join(&rig.worker);
	cr_expect_eq(rig.violations, 0);
	teardown(&rig);
	close(rig.watched);
}

Test(queue_worker, join_ends_parked_and_running_workers)
{
	struct rig parked = { 0 }, running = { 0 };

	start(&parked);
	start(&running);
	queue_worker_resume(&running.worker);
	cr_assert(wait_served(&running, 1));
	queue_worker_join(&parked.worker);
	queue_worker_join(&running.worker);
	cr_assert_eq(queue_worker_park(&running.worker), 0);
	teardown(&parked);
	teardown(&running);
}

/* Later than any test takes. */
#define FOR_EVER (rate_limit_now_ns() + 10000 * RATE_LIMIT_SECOND_NS)

Test(queue_worker, sleep_lasts_until_its_time_whatever_kicks_come)
{
	struct rig rig = {
		.sleep_until = rate_limit_now_ns() + RATE_LIMIT_SECOND_NS / 5,
	};
	unsigned int i;

	start(&rig);
	queue_worker_resume(&rig.worker);
	cr_assert(wait_inside(&rig));
	for (i = 1; i <= 5; i++) {
		queue_worker_kick(&rig.worker);
		while (kicks(&rig) < i)
			sleep_us(100);
	}
	cr_assert(wait_served(&rig, 1));
	cr_expect_geq(rate_limit_now_ns(), rig.sleep_until);
	cr_expect(rig.slept);
	cr_expect_eq(kicks(&rig), 5);
	/* The time is over: no sleep at all. */
	queue_worker_kick(&rig.worker);
	cr_assert(wait_served(&rig, 2));
	teardown(&rig);
}

Test(queue_worker, sleep_is_over_at_once_with_a_park_and_works_again)
{
	struct rig rig = { .sleep_until = FOR_EVER };
	unsigned int i;

	start(&rig);
	for (i = 0; i < 500; i++) {
		queue_worker_resume(&rig.worker);
		if (i % 4 == 0)
			cr_assert(wait_inside(&rig));
		if (i % 3 == 0)
			queue_worker_kick(&rig.worker);
		cr_assert_eq(queue_worker_park(&rig.worker), 0);
		cr_assert_not(__atomic_load_n(&rig.inside, __ATOMIC_SEQ_CST));
		cr_assert_not(rig.slept);
	}
	rig.sleep_until = 0;
	i = served(&rig);
	queue_worker_resume(&rig.worker);
	cr_assert(wait_served(&rig, i + 1));
	teardown(&rig);
}

Test(queue_worker, sleep_is_over_at_once_with_the_end)
{
	struct rig rig = { .sleep_until = FOR_EVER };

	start(&rig);
	queue_worker_resume(&rig.worker);
	cr_assert(wait_inside(&rig));
	queue_worker_kick(&rig.worker);
	teardown(&rig);
	cr_expect_not(rig.slept);
}
