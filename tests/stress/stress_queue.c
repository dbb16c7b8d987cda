/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A driver thread and a device thread exchange N requests (argv[1]) through one
 * queue, for each way to suppress and to send notifications. No request may be
 * lost, answered twice or corrupted; a side that sleeps while the other one has
 * something for it ends in a time-out, which is a lost wake-up. Prints TAP.
 *
 * Run twice: under the thread sanitizer for races (the fences are no concern of
 * its), and at -O2 for order.
 */
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "memory/base.h"
#include "memory/guest_memory.h"
#include "virtio/device.h"
#include "virtio/driver.h"

#define DEFAULT_REQUESTS 200000
#define LOST_AFTER_S 30
#define RAM (8 * MIB)
#define DATA_AT MIB
#define SLOT_BYTES 0x1000 /* payload per head */
#define BATCH 32
#define ANSWER UINT64_C(0x5a5a5a5aa5a5a5a5)

/* One direction of notification. */
struct bell {
	bool spins;
	int fd;
	uint32_t rung; /* atomic */
};

struct mode {
	bool event_idx;
	bool spins;
	bool indirect;
	bool suppresses; /* the two hints: queue_disarm, no interrupt wanted */
	uint16_t size;
};

struct run {
	const struct mode *mode;
	uint64_t requests;
	struct guest_memory memory;
	struct driver driver;
	struct queue queue;
	struct bell kick;
	struct bell interrupt;
	uint8_t *seen; /* device: bitmap of requests */
	uint64_t *sent; /* driver: request + 1 under each head, 0 for none */
	bool finished; /* atomic: the driver has all answers */
};

static void fail(const char *what)
{
	printf("not ok - %s\n", what);
	fflush(stdout);
	_exit(1);
}

static uint64_t now_s(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec;
}

static void bell_init(struct bell *bell, bool spins)
{
	bell->spins = spins;
	bell->rung = 0;
	bell->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (bell->fd < 0)
		fail("eventfd");
}

static void bell_ring(struct bell *bell)
{
	uint64_t one = 1;

	if (bell->spins)
		__atomic_store_n(&bell->rung, 1, __ATOMIC_RELEASE);
	else if (write(bell->fd, &one, sizeof(one)) != sizeof(one))
		fail("eventfd write");
}

/* Returns when it was rung since the last time; not at all is a failure. */
static void bell_wait(struct bell *bell, const char *who)
{
	struct pollfd pollfd = { .fd = bell->fd, .events = POLLIN };
	uint64_t deadline = now_s() + LOST_AFTER_S;
	uint64_t count;

	if (!bell->spins) {
		if (poll(&pollfd, 1, LOST_AFTER_S * 1000) != 1)
			fail(who);
		if (read(bell->fd, &count, sizeof(count)) != sizeof(count))
			fail("eventfd read");
		return;
	}
	while (!__atomic_exchange_n(&bell->rung, 0, __ATOMIC_ACQUIRE)) {
		if (now_s() > deadline)
			fail(who);
		sched_yield();
	}
}

/* --- the device --------------------------------------------------------------- */

static void answer(struct run *run, struct chain *chain)
{
	struct chain_cursor cursor = chain_cursor(chain, DMA_READ, 0);
	uint64_t request;

	if (chain->readable_bytes != 8 || chain->writable_bytes != 8)
		fail("a chain of the wrong shape");
	if (chain_read(&run->queue, chain, &cursor, &request, sizeof(request)))
		fail("a header that cannot be read");
	if (request >= run->requests)
		fail("a request that was never sent");
	if (run->seen[request / 8] & 1 << request % 8)
		fail("a request taken twice");
	run->seen[request / 8] |= (uint8_t)(1 << request % 8);

	request ^= ANSWER;
	cursor = chain_cursor(chain, DMA_WRITE, 0);
	if (chain_write(&run->queue, chain, &cursor, &request, sizeof(request)))
		fail("an answer that cannot be written");
	queue_complete(&run->queue, chain, sizeof(request));
}

static void *device_thread(void *context)
{
	struct run *run = context;
	struct chain *chains[BATCH];
	unsigned int seed = 2;
	unsigned int count;
	unsigned int i;

	while (!__atomic_load_n(&run->finished, __ATOMIC_ACQUIRE)) {
		if (run->mode->suppresses)
			queue_disarm(&run->queue);
		for (;;) {
			count = queue_next(&run->queue, chains,
					   1 + (unsigned int)rand_r(&seed) %
							   BATCH);
			if (count == 0)
				break;
			/* Not in order: the driver must cope. */
			for (i = 0; i < count; i++)
				answer(run, chains[count - 1 - i]);
			if (queue_publish(&run->queue))
				bell_ring(&run->interrupt);
		}
		if (queue_is_broken(&run->queue))
			fail("a broken queue");
		if (queue_arm(&run->queue)) {
			bell_wait(&run->kick, "a lost kick");
			queue_count(&run->queue.counters.kicks, 1);
		}
	}
	return NULL;
}

/* --- the driver --------------------------------------------------------------- */

/* Makes request @number available. False when the ring is full. */
static bool send(struct run *run, uint64_t number)
{
	/* Payload per head; the next one's is known only by adding it. */
	uint64_t at = DATA_AT + (uint64_t)run->driver.free_head * SLOT_BYTES;
	struct driver_buffer buffers[] = {
		{ IOVA(at), 8, false },
		{ IOVA(at + 64), 8, true },
	};
	uint64_t *payload;
	int head;

	if (run->driver.free_count < ARRAY_SIZE(buffers))
		return false;
	payload = guest_memory_host(&run->memory, GPA(at), SLOT_BYTES);
	payload[0] = number;
	payload[8] = 0;
	if (run->mode->indirect)
		head = driver_add_indirect(&run->driver, buffers,
					   ARRAY_SIZE(buffers));
	else
		head = driver_add(&run->driver, buffers, ARRAY_SIZE(buffers));
	if (head < 0)
		return false;
	if (run->sent[head])
		fail("a head that is in use");
	run->sent[head] = number + 1;
	return true;
}

/* Takes one answer. False when there is none. */
static bool receive(struct run *run)
{
	const uint64_t *payload;
	uint32_t written;
	uint16_t head;

	if (!driver_take_used(&run->driver, &head, &written))
		return false;
	if (head >= run->mode->size || !run->sent[head])
		fail("an answer to nothing");
	payload = guest_memory_host(
		&run->memory, GPA(DATA_AT + head * SLOT_BYTES), SLOT_BYTES);
	if (written != 8 || payload[8] != ((run->sent[head] - 1) ^ ANSWER))
		fail("a corrupt answer");
	run->sent[head] = 0;
	return true;
}

static void drive(struct run *run)
{
	uint64_t received = 0;
	uint64_t sent = 0;
	unsigned int seed = 1;

	while (received < run->requests) {
		unsigned int burst = 1 + (unsigned int)rand_r(&seed) % BATCH;
		bool full = false;
		uint64_t before = received;

		while (burst-- > 0 && sent < run->requests && !full) {
			full = !send(run, sent);
			sent += !full;
		}
		if (driver_publish(&run->driver))
			bell_ring(&run->kick);
		while (receive(run))
			received++;
		/* Sleeps when nothing can be done, and now and then before. */
		if (received > before || received == sent ||
		    (!full && sent < run->requests && rand_r(&seed) % 4))
			continue;
		driver_want_interrupt(&run->driver, true);
		if (receive(run))
			received++;
		else
			bell_wait(&run->interrupt, "a lost interrupt");
		if (run->mode->suppresses)
			driver_want_interrupt(&run->driver, false);
	}
	__atomic_store_n(&run->finished, true, __ATOMIC_RELEASE);
	bell_ring(&run->kick);
}

/* --- set-up ------------------------------------------------------------------- */

static void run_init(struct run *run, const struct mode *mode,
		     uint64_t requests)
{
	static const struct guest_memory_range ram = { 0, RAM };
	uint64_t features = VIRTIO_FEATURE_VERSION_1 |
			    VIRTIO_FEATURE_INDIRECT_DESC;
	void *rings;

	if (mode->event_idx)
		features |= VIRTIO_FEATURE_EVENT_IDX;
	memset(run, 0, sizeof(*run));
	run->mode = mode;
	run->requests = requests;
	run->seen = calloc(requests / 8 + 1, 1);
	run->sent = calloc(mode->size, sizeof(*run->sent));
	if (!run->seen || !run->sent ||
	    guest_memory_init(&run->memory, &ram, 1, GUEST_MEMORY_SMALL_PAGES))
		fail("memory");
	rings = guest_memory_host(&run->memory, GPA(0), DATA_AT);
	if (queue_init(&run->queue, &run->memory, mode->size) ||
	    driver_init(&run->driver, rings, DATA_AT, IOVA(0), mode->size, 2,
			mode->event_idx))
		fail("set-up");
	driver_attach(&run->driver, &run->queue);
	if (queue_start(&run->queue, features))
		fail("queue_start");
	bell_init(&run->kick, mode->spins);
	bell_init(&run->interrupt, mode->spins);
}

static void run_destroy(struct run *run)
{
	close(run->kick.fd);
	close(run->interrupt.fd);
	queue_stop(&run->queue);
	queue_destroy(&run->queue);
	driver_destroy(&run->driver);
	guest_memory_destroy(&run->memory);
	free(run->seen);
	free(run->sent);
}

static void run_mode(unsigned int number, const struct mode *mode,
		     uint64_t requests)
{
	struct queue_counters counters;
	pthread_t thread;
	struct run run;

	run_init(&run, mode, requests);
	if (pthread_create(&thread, NULL, device_thread, &run))
		fail("pthread_create");
	drive(&run);
	pthread_join(thread, NULL);

	counters = queue_read_counters(&run.queue);
	if (counters.chains != requests)
		fail("requests and chains differ");
	printf("ok %u - %s, %s, %s, %s, size %u: %lu requests, %lu kicks, %lu interrupts\n",
	       number, mode->event_idx ? "event index" : "flags",
	       mode->spins ? "spinning" : "sleeping",
	       mode->indirect ? "indirect" : "direct",
	       mode->suppresses ? "suppressing" : "not suppressing", mode->size,
	       counters.chains, counters.kicks, counters.interrupts);
	fflush(stdout);
	run_destroy(&run);
}

int main(int argc, char **argv)
{
	/* event_idx, spins, indirect, suppresses, size */
	static const struct mode modes[] = {
		{ false, false, false, true, 64 },
		{ false, true, false, true, 64 },
		{ true, false, false, true, 64 },
		{ true, true, false, true, 64 },
		{ true, false, true, false, 8 },
		{ true, true, true, true, 256 },
		{ false, true, true, true, 2 },
		{ true, true, false, true, 2 },
	};
	uint64_t requests = DEFAULT_REQUESTS;
	unsigned int i;

	if (argc > 1)
		requests = strtoull(argv[1], NULL, 10);
	if (requests == 0)
		requests = DEFAULT_REQUESTS;

	printf("1..%zu\n", ARRAY_SIZE(modes));
	for (i = 0; i < ARRAY_SIZE(modes); i++)
		run_mode(i + 1, &modes[i], requests);
	return 0;
}
