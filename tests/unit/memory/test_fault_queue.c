/* SPDX-License-Identifier: Apache-2.0 */
#include "memory/fault_queue.h"

#include <criterion/criterion.h>
#include <pthread.h>
#include <unistd.h>

#include "memory/base.h"

/* Of the address sanitizer, where there is one. */
int __lsan_do_recoverable_leak_check(void) __attribute__((weak));

static struct fault_queue queue;

static struct fault fault_at(uint64_t address)
{
	return (struct fault){ FAULT_MAPPING, FAULT_READ, 1, address };
}

static void push(uint64_t address)
{
	struct fault fault = fault_at(address);

	fault_queue_push(&queue, &fault);
}

/* How often the eventfd was written since the last look. */
static uint64_t wakes(void)
{
	uint64_t count = 0;

	if (read(queue.event_fd, &count, sizeof(count)) < 0)
		return 0;
	return count;
}

/* The address of the oldest fault; UINT64_MAX when there is none. */
static uint64_t pop(void)
{
	struct fault fault;

	return fault_queue_pop(&queue, &fault) ? fault.address : UINT64_MAX;
}

Test(fault_queue, init_and_destroy_leave_nothing)
{
	cr_assert_eq(fault_queue_init(&queue, 1), 0);
	fault_queue_destroy(&queue);
	if (__lsan_do_recoverable_leak_check)
		cr_assert_eq(__lsan_do_recoverable_leak_check(), 0);
}

Test(fault_queue, faults_come_out_as_they_went_in)
{
	struct fault in = { FAULT_DOMAIN, FAULT_WRITE, UINT32_MAX, -1 };
	struct fault out;

	cr_assert_eq(fault_queue_init(&queue, 4), 0);
	cr_assert(!fault_queue_pop(&queue, &out));
	push(1);
	fault_queue_push(&queue, &in);
	cr_assert_eq(pop(), 1);
	cr_assert(fault_queue_pop(&queue, &out));
	cr_assert_eq(out.reason, FAULT_DOMAIN);
	cr_assert_eq(out.flags, FAULT_WRITE);
	cr_assert_eq(out.endpoint, UINT32_MAX);
	cr_assert_eq(out.address, UINT64_MAX);
	cr_assert(!fault_queue_pop(&queue, &out));
	fault_queue_destroy(&queue);
}

Test(fault_queue, the_consumer_is_woken_when_there_was_nothing)
{
	cr_assert_eq(fault_queue_init(&queue, 4), 0);
	cr_assert_eq(wakes(), 0);
	push(1);
	push(2);
	push(2);
	cr_assert_eq(wakes(), 1);
	cr_assert_eq(pop(), 1);
	push(3);
	cr_assert_eq(wakes(), 0, "it has not popped all");
	cr_assert_eq(pop(), 2);
	cr_assert_eq(pop(), 3);
	push(4);
	cr_assert_eq(wakes(), 1);
	fault_queue_destroy(&queue);
}

Test(fault_queue, identical_faults_are_one)
{
	struct fault other;
	unsigned int i;

	cr_assert_eq(fault_queue_init(&queue, 8), 0);
	push(1);
	for (i = 0; i < 10; i++)
		push(2);
	push(1);
	/* One thing differs. */
	other = fault_at(1);
	other.reason = FAULT_UNKNOWN;
	fault_queue_push(&queue, &other);
	other = fault_at(1);
	other.flags = FAULT_WRITE;
	fault_queue_push(&queue, &other);
	other = fault_at(1);
	other.endpoint = 2;
	fault_queue_push(&queue, &other);
	cr_assert_eq(queue.count, 5);
	cr_assert_eq(fault_queue_read_counters(&queue).reported, 15);
	cr_assert_eq(fault_queue_read_counters(&queue).coalesced, 10);
	cr_assert_eq(fault_queue_read_counters(&queue).dropped, 0);
	/* What went out may come again. */
	cr_assert_eq(pop(), 1);
	push(1);
	cr_assert_eq(queue.count, 5);
	fault_queue_destroy(&queue);
}

Test(fault_queue, a_flood_is_dropped_and_counted)
{
	uint64_t i;

	cr_assert_eq(fault_queue_init(&queue, 3), 0);
	for (i = 0; i < 1000; i++)
		push(i);
	cr_assert_eq(fault_queue_read_counters(&queue).dropped, 997);
	cr_assert_eq(wakes(), 1);
	for (i = 0; i < 3; i++)
		cr_assert_eq(pop(), i);
	cr_assert_eq(pop(), UINT64_MAX);
	/* Around the end of the ring. */
	for (i = 0; i < 10; i++) {
		push(2 * i);
		push(2 * i + 1);
		cr_assert_eq(pop(), 2 * i);
		cr_assert_eq(pop(), 2 * i + 1);
	}
	fault_queue_destroy(&queue);
}

#define PRODUCERS 4
#define EACH 2000

static void *produce(void *argument)
{
	uint64_t base = (uint64_t)(uintptr_t)argument * EACH;
	uint64_t i;

	for (i = 0; i < EACH; i++)
		push(base + i);
	return NULL;
}

Test(fault_queue, many_producers_lose_nothing_that_is_not_counted)
{
	pthread_t threads[PRODUCERS];
	uint64_t next[PRODUCERS] = { 0 };
	struct fault_counters counters;
	uint64_t popped = 0;
	uintptr_t i;

	cr_assert_eq(fault_queue_init(&queue, 16), 0);
	for (i = 0; i < PRODUCERS; i++)
		cr_assert_eq(pthread_create(&threads[i], NULL, produce,
					    (void *)i),
			     0);
	do {
		uint64_t address = pop();

		counters = fault_queue_read_counters(&queue);
		if (address == UINT64_MAX)
			continue;
		popped++;
		/* Those of one thread stay in order. */
		cr_assert_geq(address % EACH, next[address / EACH]);
		next[address / EACH] = address % EACH + 1;
	} while (counters.reported < PRODUCERS * EACH ||
		 popped + counters.dropped < PRODUCERS * EACH);
	for (i = 0; i < PRODUCERS; i++)
		pthread_join(threads[i], NULL);
	cr_assert_eq(popped + counters.dropped, PRODUCERS * EACH);
	cr_assert_eq(pop(), UINT64_MAX);
	fault_queue_destroy(&queue);
}
