/* SPDX-License-Identifier: Apache-2.0 */
/* Time is a number here: nothing sleeps. */
#include "devices/rate_limit.h"

#include <criterion/criterion.h>
#include <pthread.h>

#include "memory/base.h"

#define SECOND RATE_LIMIT_SECOND_NS
#define MILLISECOND (SECOND / 1000)
#define START (1000 * SECOND) /* no clock begins at 0 */
#define DEVICES_THREADS_MAX 8

static void start(struct rate_limit *limit, uint64_t bandwidth, uint64_t ops,
		  uint64_t burst)
{
	const struct rate_config config = { bandwidth, ops, burst };

	rate_limit_init(limit, &config, START);
}

/*
 * @threads that always have a request of @bytes, which the host does in no time,
 * and which wake @late_ns after their time. How many requests are done from
 * second @from until second @to; *@sleeps, if given: how often one slept.
 */
static uint64_t simulate(struct rate_limit *limit, unsigned int threads,
			 uint64_t bytes, uint64_t late_ns, uint64_t from,
			 uint64_t to, uint64_t *sleeps)
{
	uint64_t ready[DEVICES_THREADS_MAX], next, now = START, done = 0;
	unsigned int i, first;

	for (i = 0; i < threads; i++)
		ready[i] = START;
	for (;;) {
		for (first = 0, i = 1; i < threads; i++)
			if (ready[i] < ready[first])
				first = i;
		now = MAX(now, ready[first]);
		if (now >= START + to * SECOND)
			return done;
		done += now >= START + from * SECOND;
		next = rate_limit_charge(limit, now, bytes);
		if (next && sleeps)
			(*sleeps)++;
		ready[first] = next ? next + late_ns : now;
	}
}

/* Within one in a thousand. */
static void expect_rate(uint64_t got, uint64_t wanted, const char *what)
{
	uint64_t tolerance = MAX(wanted / 1000, 1);

	cr_expect(got >= wanted - tolerance && got <= wanted + tolerance,
		  "%s: %llu instead of %llu", what, (unsigned long long)got,
		  (unsigned long long)wanted);
}

Test(rate_limit, is_kept_over_ten_seconds)
{
	static const struct {
		const char *what;
		uint64_t bandwidth, ops, burst;
		unsigned int threads;
		uint64_t bytes, late_ns;
		uint64_t wanted; /* requests in a second */
	} cases[] = {
		{ "10 MiB/s in 4k", 10 * MIB, 0, 0, 1, 4096, 0, 2560 },
		{ "in 64k", 10 * MIB, 0, 0, 1, 64 * KIB, 0, 160 },
		{ "in 1M", 10 * MIB, 0, 0, 1, MIB, 0, 10 },
		{ "of four threads", 10 * MIB, 0, 0, 4, 4096, 0, 2560 },
		{ "of eight, in 64k", 10 * MIB, 0, 0, 8, 64 * KIB, 0, 160 },
		{ "on a slow host", 10 * MIB, 0, 0, 1, 4096, 5 * MILLISECOND,
		  2560 },
		{ "and hardly a burst", 10 * MIB, 0, 1, 2, 4096,
		  3 * MILLISECOND, 2560 },
		{ "500 in a second", 0, 500, 0, 1, 4096, 0, 500 },
		{ "of two threads", 0, 500, 0, 2, 4096, 60000, 500 },
		{ "3 in a second", 0, 3, 0, 1, 512, 0, 3 },
		{ "bytes are less than ops", 10 * MIB, 500, 0, 1, 64 * KIB, 0,
		  160 },
		{ "ops are less than bytes", 10 * MIB, 500, 0, 1, 4096, 0,
		  500 },
	};
	struct rate_limit limit;
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		start(&limit, cases[i].bandwidth, cases[i].ops, cases[i].burst);
		expect_rate(simulate(&limit, cases[i].threads, cases[i].bytes,
				     cases[i].late_ns, 2, 12, NULL),
			    10 * cases[i].wanted, cases[i].what);
		rate_limit_destroy(&limit);
	}
}

Test(rate_limit, burst_passes_at_once_and_again_after_a_pause)
{
	struct rate_limit limit;
	unsigned int i, turn;
	uint64_t now = START;

	start(&limit, 10 * MIB, 0, 8 * MIB);
	for (turn = 0; turn < 3; turn++) {
		for (i = 0; i < 8; i++)
			cr_expect_eq(rate_limit_charge(&limit, now, MIB), 0);
		cr_expect_eq(rate_limit_charge(&limit, now, MIB),
			     now + SECOND / 10);
		/* However long: no more than the burst. */
		now += 1000000 * SECOND;
	}
	rate_limit_destroy(&limit);
}

Test(rate_limit, default_burst_is_a_tenth_of_a_second)
{
	struct rate_limit limit;
	unsigned int i;

	start(&limit, 10 * MIB, 0, 0);
	cr_expect_eq(rate_limit_charge(&limit, START, MIB), 0);
	cr_expect_eq(rate_limit_charge(&limit, START, MIB),
		     START + SECOND / 10);
	rate_limit_destroy(&limit);

	start(&limit, 0, 500, 0);
	for (i = 0; i < 50; i++)
		cr_expect_eq(rate_limit_charge(&limit, START, MIB), 0);
	cr_expect_eq(rate_limit_charge(&limit, START, 0), START + SECOND / 500);
	rate_limit_destroy(&limit);

	/* The first operation is free at any rate. */
	start(&limit, 0, 1, 0);
	cr_expect_eq(rate_limit_charge(&limit, START, 0), 0);
	cr_expect_eq(rate_limit_charge(&limit, START, 0), START + SECOND);
	rate_limit_destroy(&limit);
}

Test(rate_limit, debt_of_a_large_request_is_paid_before_the_next_one)
{
	struct rate_limit limit;
	uint64_t next;

	start(&limit, MIB, 0, MIB);
	/* 4 GiB at once, as a chain may have. */
	next = rate_limit_charge(&limit, START, 4 * GIB);
	cr_expect_eq(next, START + 4095 * SECOND);
	/* Nothing is forgotten on the way there. */
	cr_expect_eq(rate_limit_charge(&limit, START + 100 * SECOND, MIB),
		     START + 4096 * SECOND);
	cr_expect_eq(rate_limit_charge(&limit, START + 4096 * SECOND, MIB),
		     START + 4097 * SECOND);
	rate_limit_destroy(&limit);
}

Test(rate_limit, each_thread_waits_for_its_own_debt_and_wakes_once)
{
	struct rate_limit limit;

	start(&limit, MIB, 0, MIB);
	cr_expect_eq(rate_limit_charge(&limit, START, MIB), 0);
	cr_expect_eq(rate_limit_charge(&limit, START, MIB), START + SECOND);
	cr_expect_eq(rate_limit_charge(&limit, START, MIB), START + 2 * SECOND);
	/* The first of them is back, and goes behind the others. */
	cr_expect_eq(rate_limit_charge(&limit, START + SECOND, MIB),
		     START + 3 * SECOND);
	/* One who read the clock before the others did is no trouble. */
	cr_expect_eq(rate_limit_charge(&limit, START, MIB), START + 4 * SECOND);
	rate_limit_destroy(&limit);
}

Test(rate_limit, small_requests_do_not_each_cost_a_sleep)
{
	struct rate_limit limit;
	uint64_t sleeps = 0;

	start(&limit, 0, 100000, 0);
	expect_rate(simulate(&limit, 1, 512, 0, 0, 10, &sleeps),
		    1000000 + 10000, "requests, with the burst");
	cr_expect_leq(sleeps, 10000);
	rate_limit_destroy(&limit);

	/* Where a request takes longer than that, it costs one and no more. */
	sleeps = 0;
	start(&limit, 0, 500, 0);
	simulate(&limit, 4, 512, 0, 2, 12, &sleeps);
	cr_expect_leq(sleeps, 12 * 500 + 4);
	rate_limit_destroy(&limit);
}

Test(rate_limit, no_limit_never_waits)
{
	struct rate_limit limit;

	start(&limit, 0, 0, 0);
	cr_expect_not(limit.is_set);
	cr_expect_eq(rate_limit_charge(&limit, 0, UINT64_MAX), 0);
	cr_expect_eq(rate_limit_charge(&limit, UINT64_MAX, UINT64_MAX), 0);
	rate_limit_destroy(&limit);
}

Test(rate_limit, any_numbers_do_not_overflow)
{
	static const uint64_t values[] = {
		1, 2, SECOND, UINT64_C(1) << 63, UINT64_MAX - 1, UINT64_MAX
	};
	struct rate_limit limit;
	unsigned int rate, burst, bytes, turn;
	uint64_t next, before;

	for (rate = 0; rate < ARRAY_SIZE(values); rate++) {
		for (burst = 0; burst < ARRAY_SIZE(values); burst++) {
			for (bytes = 0; bytes < ARRAY_SIZE(values); bytes++) {
				start(&limit, values[rate], values[burst],
				      values[burst]);
				for (before = 0, turn = 0; turn < 100; turn++) {
					next = rate_limit_charge(&limit, START,
								 values[bytes]);
					cr_expect(next == 0 || next > START);
					cr_expect_geq(next, before);
					before = next;
				}
				/* After the longest time it is full again. */
				rate_limit_charge(&limit, UINT64_MAX, 0);
				rate_limit_destroy(&limit);
			}
		}
	}
	/* 2^63 bytes a second are just that. */
	start(&limit, UINT64_C(1) << 63, 0, 1);
	cr_expect_eq(rate_limit_charge(&limit, START, UINT64_C(1) << 63),
		     START + SECOND - RATE_LIMIT_BURST_NS_MIN);
	cr_expect_eq(rate_limit_charge(&limit, START, UINT64_C(1) << 63),
		     START + 2 * SECOND - RATE_LIMIT_BURST_NS_MIN);
	rate_limit_destroy(&limit);
}

#define CHARGES 20000

static void *charge(void *argument)
{
	unsigned int i;

	for (i = 0; i < CHARGES; i++)
		rate_limit_charge(argument, START, 1);
	return NULL;
}

Test(rate_limit, threads_lose_no_token)
{
	pthread_t threads[4];
	struct rate_limit limit;
	unsigned int i;

	start(&limit, 1000, 0, 1);
	for (i = 0; i < 4; i++)
		pthread_create(&threads[i], NULL, charge, &limit);
	for (i = 0; i < 4; i++)
		pthread_join(threads[i], NULL);
	/* 10 of them were there. */
	cr_expect_eq(rate_limit_charge(&limit, START, 0),
		     START + (4 * CHARGES - 10) * MILLISECOND);
	rate_limit_destroy(&limit);
}
