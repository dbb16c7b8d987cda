/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How fast a device may go: a bucket of bytes and one of operations, which all
 * its threads share. Tokens flow in at the rate, up to a burst. Nothing here
 * sleeps or reads a clock: times are the caller's, CLOCK_MONOTONIC nanoseconds.
 *
 * Requests are paid for when their size is known, into debt if need be, and
 * whoever made the debt takes no other request before it is paid:
 *
 *	queue_worker_sleep_until(worker, next_ns), queue_next of one request,
 *	next_ns = rate_limit_charge(limit, clock, its bytes), do it
 *
 * So no request is held while tokens are missing, and a thread sleeps once for
 * them.
 */
#ifndef DEVICES_RATE_LIMIT_H
#define DEVICES_RATE_LIMIT_H

#include <stdbool.h>
#include <stdint.h>

#include "memory/lock.h"

#define RATE_LIMIT_SECOND_NS UINT64_C(1000000000)

/* The burst where none is given: so long a pause is made up for. */
#define RATE_LIMIT_BURST_NS (RATE_LIMIT_SECOND_NS / 10)

/*
 * The least burst, whatever is given: a thread that the host wakes late would
 * lose the tokens of the time by which it was late.
 */
#define RATE_LIMIT_BURST_NS_MIN (RATE_LIMIT_SECOND_NS / 100)

/*
 * A debt that is paid sooner is not slept over. A thread sleeps at most 1000
 * times a second, however small the requests, and is ahead by this at most.
 */
#define RATE_LIMIT_SLACK_NS (RATE_LIMIT_SECOND_NS / 1000)

/* 0 means no limit, and for @burst: RATE_LIMIT_BURST_NS of the bandwidth. */
struct rate_config {
	uint64_t bandwidth; /* bytes per second */
	uint64_t ops; /* requests per second */
	uint64_t burst; /* bytes; operations have RATE_LIMIT_BURST_NS of theirs */
};

/*
 * Levels are tokens times nanoseconds per second, so that a rate times the time
 * that has passed is added as it is, without a remainder to lose.
 */
struct rate_bucket {
	uint64_t rate; /* 0: no limit */
	__int128 capacity;
	__int128 level; /* below 0: debt */
};

struct rate_limit {
	bool is_set; /* there is a limit at all; constant */
	struct lock lock; /* a leaf: nothing is taken or called under it */
	struct rate_bucket bytes LOCK_GUARDED; /* under lock */
	struct rate_bucket ops LOCK_GUARDED; /* under lock */
	uint64_t filled_ns LOCK_GUARDED; /* that the levels are of; under lock */
};

/* Full buckets, or no limit. Set-up; @config is copied. */
void rate_limit_init(struct rate_limit *limit, const struct rate_config *config,
		     uint64_t now_ns);
void rate_limit_destroy(struct rate_limit *limit);

/*
 * Pays for one request of @bytes at @now_ns. Returns the time before which the
 * caller takes no other request; 0: at once. That covers the debts that others
 * made before, and not those that they make afterwards: each of several threads
 * is behind the limit by one request at most, and none wakes to find the tokens
 * gone. Any thread.
 */
uint64_t rate_limit_charge(struct rate_limit *limit, uint64_t now_ns,
			   uint64_t bytes) LOCK_EXCLUDES(limit->lock);

/* The clock: CLOCK_MONOTONIC. */
uint64_t rate_limit_now_ns(void);

#endif
