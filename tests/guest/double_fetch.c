/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A second processor changes descriptors, tables and headers while the device
 * works on them: bug-classes 9. Whatever version the device saw, it may use what
 * one of the versions names, in any mixture, and nothing else: the canaries
 * around stay as they are, and so does the disk outside sectors 64 to 79
 * (tests/guest/run compares the file). A broken queue is reset, again and again.
 */
#include "memory/base.h"
#include "tests/guest/blk.h"
#include "tests/guest/guest.h"
#include "vmm/layout.h"

#define ROUNDS 100

/*
 * The arena: canaries but for two buffers in the middle of it. What a flipped
 * descriptor names is one of them, with a length that stays in it, or no RAM at
 * all with a length that does not matter.
 */
#define ARENA (GUEST_SCRATCH)
#define ARENA_BYTES 0x40000
#define BUFFER_A (ARENA + 0x10000)
#define BUFFER_B (ARENA + 0x20000)
#define BUFFER_BYTES 0x2000
#define CANARY 0xca

#define HEADERS (GUEST_SCRATCH + 0x100000)
#define STATUSES (HEADERS + 0x1000)
#define TABLES (HEADERS + 0x2000)

#define FIRST_SECTOR 64

enum flipping {
	NOTHING,
	DESCRIPTORS,
	HEADER, /* of a read */
	HEADER_OUT, /* of a write */
	TABLE,
	INDIRECT_FLAG,
	EVERYTHING
};

static struct blk disk;
static enum flipping flipping; /* atomic; what the other processor does */
static bool flipper_rests; /* atomic */
static unsigned int flips_made; /* atomic */
static bool gave_up; /* by the interrupt handler: the device needs a reset */
static unsigned int resets, answers, failures;

static struct vring_desc *ring_descriptors(void)
{
	return driver_ring(&disk.queues[0], QUEUE_DESCRIPTORS);
}

/* As the compiler must not put two stores together, or leave one out. */
#define STORE(place, value) \
	__atomic_store_n(&(place), (value), __ATOMIC_RELAXED)

static void flip_descriptor(struct vring_desc *desc, unsigned int turn,
			    uint16_t limit)
{
	static const uint64_t addresses[] = {
		BUFFER_A,	 BUFFER_B,	    LAYOUT_MMIO_DEVICES,
		UINT64_MAX - 16, BUFFER_A,	    LAYOUT_LOCAL_APIC,
		BUFFER_B,	 UINT64_C(1) << 40,
	};
	static const uint32_t lengths[] = { 512, 1024, BUFFER_BYTES, 0,
					    1,	 512,  4096 };
	static const uint16_t next[] = { 1, 2, 0, 3, 0xffff, 2, 15 };

	STORE(desc->addr, addresses[turn % ARRAY_SIZE(addresses)]);
	STORE(desc->len, lengths[turn % ARRAY_SIZE(lengths)]);
	STORE(desc->flags, turn % 5 ? VRING_DESC_F_NEXT | VRING_DESC_F_WRITE
				    : VRING_DESC_F_NEXT);
	if (limit)
		STORE(desc->next, next[turn % ARRAY_SIZE(next)] % limit);
}

static void flip_header(unsigned int turn)
{
	static const uint32_t types[] = {
		VIRTIO_BLK_T_IN,    VIRTIO_BLK_T_OUT,	 VIRTIO_BLK_T_IN,
		VIRTIO_BLK_T_FLUSH, VIRTIO_BLK_T_GET_ID, 99,
	};
	static const uint64_t sectors[] = { FIRST_SECTOR, UINT64_C(1) << 55,
					    FIRST_SECTOR, UINT64_MAX, 8192 };
	struct virtio_blk_outhdr *header = (void *)HEADERS;

	STORE(header->type, types[turn % ARRAY_SIZE(types)]);
	STORE(header->sector, sectors[turn % ARRAY_SIZE(sectors)]);
}

/* Between the table, as long as it is, and plain descriptors. */
static void flip_indirect_flag(unsigned int turn)
{
	static const uint32_t lengths[] = { 48, 48, 16, 17, 0, 0xfffffff0, 32 };
	struct vring_desc *desc = ring_descriptors();

	STORE(desc->flags,
	      turn % 3 ? VRING_DESC_F_INDIRECT : VRING_DESC_F_NEXT);
	STORE(desc->len, lengths[turn % ARRAY_SIZE(lengths)]);
}

void guest_second_main(unsigned int index)
{
	enum flipping what;

	for (unsigned int turn = index;; turn++) {
		what = __atomic_load_n(&flipping, __ATOMIC_ACQUIRE);
		__atomic_store_n(&flipper_rests, what == NOTHING,
				 __ATOMIC_RELEASE);
		if (what == DESCRIPTORS || what == EVERYTHING)
			flip_descriptor(&ring_descriptors()[1], turn, 4);
		if (what == HEADER || what == HEADER_OUT || what == EVERYTHING)
			flip_header(turn);
		if (what == TABLE || what == EVERYTHING)
			flip_descriptor((struct vring_desc *)TABLES + 1, turn,
					0);
		if (what == INDIRECT_FLAG || what == EVERYTHING)
			flip_indirect_flag(turn);
		__atomic_fetch_add(&flips_made, 1, __ATOMIC_RELAXED);
	}
}

/* Nobody else touches rings and headers any more. */
static void stop_flipping(void)
{
	__atomic_store_n(&flipping, NOTHING, __ATOMIC_RELEASE);
	__atomic_store_n(&flipper_rests, false, __ATOMIC_RELEASE);
	while (!__atomic_load_n(&flipper_rests, __ATOMIC_ACQUIRE))
		pause();
}

static void lay_canaries(void)
{
	memset((void *)ARENA, CANARY, ARENA_BYTES);
}

static bool is_canary(uint64_t first, uint64_t end)
{
	return is_filled((void *)first, CANARY, end - first);
}

static bool canaries_live(void)
{
	return is_canary(ARENA, BUFFER_A) &&
	       is_canary(BUFFER_A + BUFFER_BYTES, BUFFER_B) &&
	       is_canary(BUFFER_B + BUFFER_BYTES, ARENA + ARENA_BYTES);
}

/*
 * The request that is flipped: header, data, status, and the same again in the
 * table of descriptor 0. Where nothing is flipped it is a good one.
 */
static void make_request(enum flipping what)
{
	const struct vring_desc plain[] = {
		{ HEADERS, 16, VRING_DESC_F_NEXT, 1 },
		{ BUFFER_A, 512, VRING_DESC_F_NEXT | VRING_DESC_F_WRITE, 2 },
		{ STATUSES, 1, VRING_DESC_F_WRITE, 0 },
	};
	const struct vring_desc indirect = { TABLES, sizeof(plain),
					     VRING_DESC_F_INDIRECT, 1 };

	memcpy(ring_descriptors(), plain, sizeof(plain));
	if (what == HEADER_OUT)
		ring_descriptors()[1].flags = VRING_DESC_F_NEXT;
	memcpy((void *)TABLES, plain, sizeof(plain));
	if (what == TABLE || what == INDIRECT_FLAG || what == EVERYTHING)
		ring_descriptors()[0] = indirect;
	*(struct virtio_blk_outhdr *)HEADERS =
		(struct virtio_blk_outhdr){ .type = VIRTIO_BLK_T_IN,
					    .sector = FIRST_SECTOR };
}

static void interrupted(void)
{
	uint32_t reasons = blk_read(&disk, VIRTIO_MMIO_INTERRUPT_STATUS);

	blk_write(&disk, VIRTIO_MMIO_INTERRUPT_ACK, reasons);
	gave_up = blk_read(&disk, VIRTIO_MMIO_STATUS) &
		  VIRTIO_CONFIG_S_NEEDS_RESET;
}

/*
 * Shows descriptor 0 once more, while the other processor is at it, and sleeps
 * so that the device and the other processor have the host's to themselves.
 * True when the device goes on.
 */
static bool submit(uint16_t *index)
{
	struct vring_avail *available =
		driver_ring(&disk.queues[0], QUEUE_AVAILABLE);
	const struct vring_used *used =
		driver_ring(&disk.queues[0], QUEUE_USED);
	unsigned int flips = __atomic_load_n(&flips_made, __ATOMIC_RELAXED);

	gave_up = false;
	available->ring[*index % BLK_QUEUE_SIZE] = 0;
	__atomic_store_n(&available->idx, ++*index, __ATOMIC_RELEASE);
	while (__atomic_load_n(&flips_made, __ATOMIC_RELAXED) == flips)
		pause();
	blk_notify(&disk, 0);
	while (__atomic_load_n(&used->idx, __ATOMIC_ACQUIRE) != *index) {
		if (gave_up)
			return false;
		sleep_for_interrupt();
	}
	answers++;
	failures += read8(STATUSES) != VIRTIO_BLK_S_OK;
	return true;
}

static void flips(enum flipping what, const char *name)
{
	unsigned int rounds = guest_rounds(ROUNDS);
	bool comes_back = true, live = false;
	uint16_t index = 0;

	lay_canaries();
	resets = answers = failures = 0;
	for (unsigned int round = 0; round < rounds; round++) {
		if (!live) {
			stop_flipping();
			comes_back &=
				blk_open(&disk, BLK_ALL & ~BLK_EVENT_IDX, 1);
			make_request(what);
			__atomic_store_n(&flipping, what, __ATOMIC_RELEASE);
			index = 0;
			resets++;
		}
		live = submit(&index);
	}
	stop_flipping();
	tap_case(comes_back, "bug09 the device comes back each time", name);
	tap_case(canaries_live(), "bug09 canaries live", name);
	tap_case(blk_recovers(&disk), "bug09 a good request works", name);
	tap_case(answers > 0, "bug09 some of the requests were answered", name);
	print("# %u answers, %u of them failures, %u resets\n", answers,
	      failures, resets);
}

void guest_main(void)
{
	blk_init(&disk, 0);
	blk_open(&disk, BLK_ALL & ~BLK_EVENT_IDX, 1);
	guest_take_interrupt(LAYOUT_IRQ_DEVICES, interrupted);
	tap(guest_start_cpu(1), "the second processor starts");
	flips(HEADER, "headers of reads");
	flips(HEADER_OUT, "headers of writes");
	flips(DESCRIPTORS, "descriptors");
	flips(TABLE, "tables");
	flips(INDIRECT_FLAG, "the indirect flag");
	flips(EVERYTHING, "everything at once");
	tap_end();
	power_off();
}
