/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm/shutdown_watch.h"

#include <criterion/criterion.h>
#include <unistd.h>

#include "vmm/vcpu.h"

#define INTERVAL_MS 300

static struct event_loop loop;
static struct threads threads;
static struct vcpu vcpus[2];
static struct shutdown_watch watch;
static struct timer deadline;
static bool stop; /* atomic */
static bool over;
static bool hung;

static bool is_over(void *context)
{
	(void)context;
	return over;
}

static void on_hung(void *context)
{
	(void)context;
	hung = true;
	event_loop_end(&loop);
}

static void on_deadline(void *context)
{
	(void)context;
	event_loop_end(&loop);
}

static bool is_stopped(void)
{
	return __atomic_load_n(&stop, __ATOMIC_RELAXED);
}

static void spin(void *argument)
{
	(void)argument;
	while (!is_stopped())
		;
}

static void spin_and_exit(void *argument)
{
	struct vcpu *vcpu = argument;

	while (!is_stopped())
		__atomic_fetch_add(&vcpu->exits.pio, 1, __ATOMIC_RELAXED);
}

static void idle(void *argument)
{
	(void)argument;
	while (!is_stopped())
		usleep(1000);
}

/* Whether guests whose vCPUs do that hang, as the watch sees it. */
static bool hangs(void (*first)(void *), void (*second)(void *),
		  unsigned int patience_ms)
{
	unsigned int i;

	cr_assert_eq(event_loop_init(&loop), 0);
	cr_assert_eq(timer_init(&deadline, &loop, on_deadline, NULL), 0);
	cr_assert_eq(shutdown_watch_init(&watch, &loop, vcpus, 2, is_over,
					 on_hung, NULL),
		     0);
	watch.interval_ms = INTERVAL_MS;
	for (i = 0; i < 2; i++)
		cr_assert_eq(threads_start(&threads, &vcpus[i].thread,
					   THREAD_VCPU, "vcpu",
					   i ? second : first, &vcpus[i]),
			     0);
	shutdown_watch_begin(&watch);
	timer_set(&deadline, patience_ms);
	cr_assert_eq(event_loop_run(&loop), 0);
	__atomic_store_n(&stop, true, __ATOMIC_RELAXED);
	for (i = 0; i < 2; i++)
		thread_join(&vcpus[i].thread);
	shutdown_watch_destroy(&watch);
	timer_destroy(&deadline);
	event_loop_destroy(&loop);
	return hung;
}

Test(shutdown_watch, a_vcpu_that_spins_without_an_exit_hangs, .timeout = 60)
{
	cr_expect(hangs(spin, idle, 20000));
}

Test(shutdown_watch, an_idle_guest_does_not, .timeout = 60)
{
	cr_expect_not(hangs(idle, idle, 4 * INTERVAL_MS));
}

Test(shutdown_watch, a_guest_that_makes_exits_does_not, .timeout = 60)
{
	cr_expect_not(hangs(spin, spin_and_exit, 4 * INTERVAL_MS));
}

Test(shutdown_watch, a_guest_that_sets_its_iommu_up_again_does_not,
     .timeout = 60)
{
	over = true;
	cr_expect_not(hangs(spin, idle, 4 * INTERVAL_MS));
}
