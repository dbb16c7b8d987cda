/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sizes: a rate has 64 bits and so has the time, of which ELAPSED_NS_MAX are
 * counted, so that what flows in stays below 2^124. A capacity and the price of
 * one request stay below 2^94. Debts add up over the threads of one device, of
 * which each has one request's at most. So no sum comes near 2^127.
 */
#include "devices/rate_limit.h"

#include <time.h>

#include "memory/base.h"

#define ELAPSED_NS_MAX (UINT64_C(1) << 60) /* 36 years */

/* Tokens as levels count them. */
static __int128 scaled(uint64_t tokens)
{
	return (__int128)tokens * RATE_LIMIT_SECOND_NS;
}

/* What flows in at @rate within @ns. */
static __int128 flow(uint64_t rate, uint64_t ns)
{
	return (__int128)rate * MIN(ns, ELAPSED_NS_MAX);
}

static void bucket_init(struct rate_bucket *bucket, uint64_t rate,
			__int128 capacity)
{
	bucket->rate = rate;
	bucket->capacity = MAX(capacity, flow(rate, RATE_LIMIT_BURST_NS_MIN));
	bucket->level = bucket->capacity;
}

static void bucket_fill(struct rate_bucket *bucket, uint64_t elapsed_ns)
{
	bucket->level = MIN(bucket->level + flow(bucket->rate, elapsed_ns),
			    bucket->capacity);
}

/* How long until @bucket, having paid for @tokens, is out of debt. */
static uint64_t bucket_take(struct rate_bucket *bucket, uint64_t tokens)
{
	__int128 wait;

	if (bucket->rate == 0)
		return 0;
	bucket->level -= scaled(tokens);
	if (bucket->level >= 0)
		return 0;
	/* Rounded up: a nanosecond early would be slept again. */
	wait = (-bucket->level + bucket->rate - 1) / bucket->rate;
	return (uint64_t)MIN(wait, (__int128)UINT64_MAX);
}

void rate_limit_init(struct rate_limit *limit, const struct rate_config *config,
		     uint64_t now_ns)
{
	uint64_t bandwidth = config->bandwidth, ops = config->ops;

	lock_init(&limit->lock);
	lock_take(&limit->lock);
	limit->is_set = bandwidth > 0 || ops > 0;
	bucket_init(&limit->bytes, bandwidth,
		    config->burst > 0 ? scaled(config->burst)
				      : flow(bandwidth, RATE_LIMIT_BURST_NS));
	/* One operation at least, so that the first one is free. */
	bucket_init(&limit->ops, ops,
		    MAX(flow(ops, RATE_LIMIT_BURST_NS), scaled(1)));
	limit->filled_ns = now_ns;
	lock_drop(&limit->lock);
}

void rate_limit_destroy(struct rate_limit *limit)
{
	lock_destroy(&limit->lock);
}

uint64_t rate_limit_charge(struct rate_limit *limit, uint64_t now_ns,
			   uint64_t bytes)
{
	uint64_t bytes_wait, ops_wait, wait, next;

	if (!limit->is_set)
		return 0;
	lock_take(&limit->lock);
	/* Of two threads the later one may have read the clock first. */
	if (now_ns > limit->filled_ns) {
		bucket_fill(&limit->bytes, now_ns - limit->filled_ns);
		bucket_fill(&limit->ops, now_ns - limit->filled_ns);
		limit->filled_ns = now_ns;
	}
	bytes_wait = bucket_take(&limit->bytes, bytes);
	ops_wait = bucket_take(&limit->ops, 1);
	wait = MAX(bytes_wait, ops_wait);
	if (__builtin_add_overflow(limit->filled_ns, wait, &next))
		next = UINT64_MAX;
	lock_drop(&limit->lock);
	return wait < RATE_LIMIT_SLACK_NS ? 0 : next;
}

uint64_t rate_limit_now_ns(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return (uint64_t)time.tv_sec * RATE_LIMIT_SECOND_NS +
	       (uint64_t)time.tv_nsec;
}
