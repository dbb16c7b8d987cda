/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The entropy device, the only one here, from a real processor: what it fills,
 * what it leaves alone, and a reset while it waits for its rate limit. The
 * driver of blk.h knows registers and rings; no request of it is a disk's.
 */
#include <linux/virtio_ids.h>

#include "memory/base.h"
#include "tests/guest/blk.h"
#include "tests/guest/guest.h"
#include "vmm/layout.h"

#define REQUEST_BYTES (64 * KIB) /* what the device gives at most */
#define ROOM MIB
#define BEYOND UINT64_C(0x40000000) /* RAM has ended */
#define NO_ANSWER UINT64_MAX

static struct blk rng;
static uint8_t *const room = (uint8_t *)GUEST_SCRATCH;

/* The used length of the answer. */
static uint64_t ask(const struct driver_buffer *buffers, unsigned int count)
{
	uint32_t written;
	uint16_t head;
	int added = driver_add(&rng.queues[0], buffers, count);

	if (added < 0)
		return NO_ANSWER;
	if (driver_publish(&rng.queues[0]))
		blk_notify(&rng, 0);
	if (blk_wait(&rng, 0, &head, &written) != BLK_USED || head != added)
		return NO_ANSWER;
	return written;
}

static uint64_t ask_at(uint64_t address, uint32_t bytes)
{
	const struct driver_buffer buffer = { IOVA(address), bytes, true };

	return ask(&buffer, 1);
}

static bool works(void)
{
	memset(room, 0, 128);
	return ask_at((uintptr_t)room, 64) == 64 && !is_filled(room, 0, 64) &&
	       is_filled(room + 64, 0, 64);
}

static void test_filling(void)
{
	static uint8_t first[64];

	tap_equal(blk_read(&rng, VIRTIO_MMIO_DEVICE_ID), VIRTIO_ID_RNG,
		  "it is an entropy device", NULL);
	tap(works(), "64 bytes are filled, and none behind them");
	memcpy(first, room, sizeof(first));
	works();
	tap(memcmp(first, room, sizeof(first)) != 0, "others come next");
	memset(room, 0, ROOM);
	tap_equal(ask_at((uintptr_t)room, ROOM), REQUEST_BYTES,
		  "bug10 a huge request is given 64 KiB", NULL);
	tap(!is_filled(room + REQUEST_BYTES - 64, 0, 64) &&
		    is_filled(room + REQUEST_BYTES, 0, ROOM - REQUEST_BYTES),
	    "bug10 and nothing behind them is written");
}

static void test_refusals(void)
{
	const struct {
		const char *name;
		struct driver_buffer buffer;
	} cases[] = {
		{ "a buffer that is not writable",
		  { IOVA((uintptr_t)room), 64, false } },
		{ "no bytes", { IOVA((uintptr_t)room), 0, true } },
		{ "behind RAM", { IOVA(BEYOND), 64, true } },
		{ "past 2^64", { IOVA(UINT64_MAX - 31), 64, true } },
		{ "its own registers", { IOVA(rng.window), 256, true } },
		{ "the local APIC", { IOVA(LAYOUT_LOCAL_APIC), 256, true } },
	};

	memset(room, 0, 64);
	for (unsigned int i = 0; i < ARRAY_SIZE(cases); i++)
		tap_equal(ask(&cases[i].buffer, 1), 0, "bug08 length 0 for",
			  cases[i].name);
	tap(is_filled(room, 0, 64), "bug08 and nothing is written");
	tap_equal(blk_read(&rng, VIRTIO_MMIO_STATUS), BLK_STATUS_LIVE,
		  "bug16 nothing happened to its registers", NULL);
	tap(works(), "and the next request works");
}

/* More than the burst; the reset comes while the device waits for tokens. */
static void test_reset(void)
{
	const struct driver_buffer buffer = { IOVA((uintptr_t)room),
					      REQUEST_BYTES, true };
	uint32_t written;
	uint16_t head;

	for (unsigned int i = 0; i < BLK_QUEUE_SIZE; i++)
		driver_add(&rng.queues[0], &buffer, 1);
	if (driver_publish(&rng.queues[0]))
		blk_notify(&rng, 0);
	tap(blk_wait(&rng, 0, &head, &written) == BLK_USED,
	    "bug10 the first of many");
	blk_write(&rng, VIRTIO_MMIO_STATUS, 0);
	memset(room, 0, REQUEST_BYTES);
	wait_ticks(TICKS_MOMENT);
	tap(is_filled(room, 0, REQUEST_BYTES),
	    "bug12 nothing is written after a reset");
	tap(blk_open(&rng, BLK_ALL & ~BLK_EVENT_IDX, 1) && works(),
	    "bug12 and the device works again");
}

void guest_main(void)
{
	blk_init(&rng, 0);
	tap(blk_open(&rng, BLK_ALL & ~BLK_EVENT_IDX, 1), "it comes to life");
	test_filling();
	test_refusals();
	test_reset();
	tap_end();
	power_off();
}
