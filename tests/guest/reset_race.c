/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reset, and QueueReady = 0, with requests in flight: bug-classes 4 and 12. When
 * the register write has returned the driver frees its memory: here it becomes
 * canaries, rings included, which must stay as they are. In the second half
 * another processor keeps kicking the queue all the while.
 */
#include "memory/base.h"
#include "tests/guest/blk.h"
#include "tests/guest/guest.h"
#include "vmm/layout.h"

#define ROUNDS 40
#define REQUESTS 5
#define REQUEST_BYTES 0x40000
#define ARENA_BYTES (REQUESTS * REQUEST_BYTES)
#define RING_BYTES 8192 /* driver_ring_bytes(BLK_QUEUE_SIZE) */
#define CANARY 0xca

/* Where a request still in flight would write, one word in each page. */
#define STRIDE 4096

static struct blk disk;
static bool kicking; /* atomic */
static unsigned int finished, cut_short;

static struct {
	struct virtio_blk_outhdr header;
	uint8_t status;
} slots[REQUESTS] __attribute__((aligned(8)));

void guest_second_main(unsigned int index)
{
	(void)index;
	for (;;) {
		if (__atomic_load_n(&kicking, __ATOMIC_ACQUIRE))
			blk_notify(&disk, 0);
		pause();
	}
}

static void lay_canaries(void)
{
	for (uint64_t at = 0; at < ARENA_BYTES; at += STRIDE)
		memset((void *)(GUEST_SCRATCH + at), CANARY, 8);
	memset(slots, CANARY, sizeof(slots));
	memset(driver_ring(&disk.queues[0], QUEUE_DESCRIPTORS), CANARY,
	       RING_BYTES);
}

static bool canaries_live(void)
{
	for (uint64_t at = 0; at < ARENA_BYTES; at += STRIDE)
		if (!is_filled((void *)(GUEST_SCRATCH + at), CANARY, 8))
			return false;
	return is_filled(slots, CANARY, sizeof(slots)) &&
	       is_filled(driver_ring(&disk.queues[0], QUEUE_DESCRIPTORS),
			 CANARY, RING_BYTES);
}

static void submit_all(void)
{
	for (unsigned int i = 0; i < REQUESTS; i++) {
		const struct driver_buffer buffers[] = {
			{ IOVA((uintptr_t)&slots[i].header), 16, false },
			{ IOVA(GUEST_SCRATCH + i * REQUEST_BYTES),
			  REQUEST_BYTES, true },
			{ IOVA((uintptr_t)&slots[i].status), 1, true },
		};

		slots[i].header =
			(struct virtio_blk_outhdr){ .type = VIRTIO_BLK_T_IN,
						    .sector = 512 * i };
		driver_add(&disk.queues[0], buffers, 3);
	}
	driver_publish(&disk.queues[0]);
	blk_notify(&disk, 0);
}

static void stop(uint32_t offset)
{
	unsigned int done = 0;

	blk_write(&disk, offset, 0);
	/* All done before, or not: both are races of their own. */
	for (unsigned int i = 0; i < REQUESTS; i++)
		done += slots[i].status == VIRTIO_BLK_S_OK;
	if (done == REQUESTS)
		finished++;
	else
		cut_short++;
}

/* Stops the device by writing 0 to the register at @offset. */
static void races(uint32_t offset, const char *name)
{
	unsigned int rounds = guest_rounds(ROUNDS);
	bool live = true, stopped = true;

	finished = cut_short = 0;
	for (unsigned int round = 0; round < rounds; round++) {
		stopped &= blk_open(&disk, BLK_ALL & ~BLK_EVENT_IDX, 1);
		blk_write(&disk, VIRTIO_MMIO_QUEUE_SEL, 0);
		submit_all();
		wait_ticks(round % 20 * (round % 20) * 4000);
		stop(offset);
		lay_canaries();
		stopped &= blk_read(&disk, offset) == 0;
		if (round % 4 == 0)
			wait_ticks(TICKS_MOMENT / 4);
		live &= canaries_live();
	}
	tap_case(stopped, "bug04 it has stopped when the write returns", name);
	tap_case(live, "bug12 nothing completes afterwards", name);
	tap_case(blk_recovers(&disk), "bug12 the device works again", name);
	print("# %u cut short, %u had finished\n", cut_short, finished);
}

void guest_main(void)
{
	print("# racing\n"); /* before the watchdog wonders */
	blk_init(&disk, 0);
	races(VIRTIO_MMIO_STATUS, "Status");
	races(VIRTIO_MMIO_QUEUE_READY, "QueueReady");
	tap(guest_start_cpu(1), "the second processor starts");
	__atomic_store_n(&kicking, true, __ATOMIC_RELEASE);
	races(VIRTIO_MMIO_STATUS, "Status, kicked on");
	races(VIRTIO_MMIO_QUEUE_READY, "QueueReady, kicked on");
	tap_end();
	power_off();
}
