/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A disk's requests from a real processor: bug-classes 11. Disk 0 is writable
 * with two queues, disk 1 read-only; in both each word has its sector's number
 * (blk_is_sector). Afterwards tests/guest/run compares the files: in disk 0 the
 * words of sectors 100 to 119 are inverted, sectors 200 to 223 are zero, and all
 * else is as it was, like all of disk 1.
 */
#include "memory/base.h"
#include "tests/guest/blk.h"
#include "tests/guest/guest.h"
#include "vmm/layout.h"

#define OK VIRTIO_BLK_S_OK
#define IOERR VIRTIO_BLK_S_IOERR
#define UNSUPP VIRTIO_BLK_S_UNSUPP

#define IN VIRTIO_BLK_T_IN
#define OUT VIRTIO_BLK_T_OUT
#define ZEROES VIRTIO_BLK_T_WRITE_ZEROES
#define DISCARD VIRTIO_BLK_T_DISCARD

#define INVERTED 100
#define ZEROED 200
#define DISCARDED 216

#define BUFFER ((uint64_t *)GUEST_SCRATCH)
#define MEBIBYTE (1u << 20)

#define CAPACITY 8192 /* of disk 0 */

static struct blk disk, locked;

static void fill_inverted(uint64_t first, uint32_t sectors)
{
	for (uint32_t i = 0; i < sectors * BLK_SECTOR / 8; i++)
		BUFFER[i] = ~(first + i * 8 / BLK_SECTOR);
}

static bool reads(struct blk *blk, unsigned int queue, uint64_t sector,
		  uint32_t bytes)
{
	uint32_t written = 0;

	memset(BUFFER, 0xee, bytes);
	return blk_do(blk, queue, IN, sector, BUFFER, bytes, &written) == OK &&
	       written == bytes + 1 && blk_is_sector(BUFFER, sector, bytes);
}

static bool is_zero(uint64_t sector, uint32_t bytes)
{
	memset(BUFFER, 0xee, bytes);
	return blk_do(&disk, 0, IN, sector, BUFFER, bytes, NULL) == OK &&
	       is_filled(BUFFER, 0, bytes);
}

static void reads_everywhere(void)
{
	tap_equal(read64(disk.window + VIRTIO_MMIO_CONFIG), CAPACITY,
		  "capacity", NULL);
	tap(reads(&disk, 0, 0, BLK_SECTOR), "reads the first sector");
	tap(reads(&disk, 0, CAPACITY - 1, BLK_SECTOR), "reads the last sector");
	tap(reads(&disk, 0, 1000, 65536), "reads 64 KiB");
	tap(blk_do(&disk, 0, IN, 4000, BUFFER, MEBIBYTE, NULL) == OK &&
		    blk_is_sector(BUFFER, 4000, BLK_SECTOR) &&
		    blk_is_sector(BUFFER + (MEBIBYTE - BLK_SECTOR) / 8,
				  4000 + MEBIBYTE / BLK_SECTOR - 1, BLK_SECTOR),
	    "reads 1 MiB");
}

/* Transfers that are none: all of them fail, and move nothing. */
static const struct {
	uint64_t sector;
	uint32_t bytes;
	const char *name;
} beyond[] = {
	{ CAPACITY, 512, "behind the end" },
	{ CAPACITY - 1, 1024, "over the end" },
	{ UINT64_C(1) << 40, 512, "far behind" },
	{ UINT64_C(1) << 54, 512, "at 2^63" },
	{ UINT64_C(1) << 55, 512, "at 2^64, which is not 0" },
	{ (UINT64_C(1) << 55) - 1, 1024, "over 2^64" },
	{ UINT64_MAX, 512, "at the greatest sector" },
	{ UINT64_MAX - CAPACITY, 65536, "with a sum that wraps" },
	{ 0, 1, "of one byte" },
	{ 0, 511, "of 511 bytes" },
	{ 0, 700, "of 700 bytes" },
};

static void refuses_what_is_not_on_the_disk(void)
{
	for (unsigned int i = 0; i < ARRAY_SIZE(beyond); i++) {
		memset(BUFFER, 0xee, 1024);
		tap_case(blk_do(&disk, 0, IN, beyond[i].sector, BUFFER,
				beyond[i].bytes, NULL) == IOERR &&
				 is_filled(BUFFER, 0xee, 1024),
			 "bug11 no read", beyond[i].name);
		tap_equal(blk_do(&disk, 0, OUT, beyond[i].sector, BUFFER,
				 beyond[i].bytes, NULL),
			  IOERR, "bug11 no write", beyond[i].name);
	}
	tap(reads(&disk, 0, 0, 4096) && reads(&disk, 0, CAPACITY - 8, 4096),
	    "bug11 the disk is unchanged by them");
	tap(blk_do(&disk, 0, IN, CAPACITY, BUFFER, 0, NULL) == OK &&
		    blk_do(&disk, 0, OUT, 0, BUFFER, 0, NULL) == OK,
	    "bug11 transfers of no bytes succeed");
}

static void writes(void)
{
	bool same = true;

	fill_inverted(INVERTED, 16);
	tap_equal(blk_do(&disk, 0, OUT, INVERTED, BUFFER, 16 * BLK_SECTOR,
			 NULL),
		  OK, "writes 8 KiB", NULL);
	tap_equal(blk_do(&disk, 0, VIRTIO_BLK_T_FLUSH, 0, NULL, 0, NULL), OK,
		  "flushes", NULL);
	memset(BUFFER, 0, 16 * BLK_SECTOR);
	blk_do(&disk, 1, IN, INVERTED, BUFFER, 16 * BLK_SECTOR, NULL);
	for (unsigned int i = 0; i < 16; i++)
		same &= BUFFER[i * BLK_SECTOR / 8] == ~(uint64_t)(INVERTED + i);
	tap(same, "the other queue reads what was written");

	fill_inverted(INVERTED + 16, 4);
	tap_equal(blk_do_indirect(&disk, 1, OUT, INVERTED + 16, BUFFER,
				  4 * BLK_SECTOR),
		  OK, "writes through an indirect table", NULL);
}

static void names_itself(void)
{
	static const char id[20] = "data";
	uint8_t *buffer = (uint8_t *)BUFFER;

	memset(buffer, 0xee, 64);
	tap(blk_do(&disk, 0, VIRTIO_BLK_T_GET_ID, 0, buffer, 20, NULL) == OK &&
		    memcmp(buffer, id, 20) == 0 && buffer[20] == 0xee,
	    "GET_ID gives the name");
	memset(buffer, 0xee, 64);
	tap(blk_do(&disk, 0, VIRTIO_BLK_T_GET_ID, 0, buffer, 2, NULL) == OK &&
		    buffer[1] == 'a' && buffer[2] == 0xee,
	    "bug11 GET_ID is cut to the buffer");
	memset(buffer, 0xee, 64);
	tap(blk_do(&disk, 0, VIRTIO_BLK_T_GET_ID, 0, buffer, 40, NULL) == OK &&
		    memcmp(buffer, id, 20) == 0 && buffer[39] == 0xee,
	    "bug11 GET_ID is 20 bytes at most");
}

/* DISCARD and WRITE_ZEROES, one range each, on disk 0. */
static const struct {
	uint32_t type;
	struct virtio_blk_discard_write_zeroes range;
	uint8_t status;
	const char *name;
} ranges[] = {
	{ ZEROES, { ZEROED, 8, 0 }, OK, "zeroes" },
	{ ZEROES, { ZEROED + 8, 8, 1 }, OK, "zeroes that may unmap" },
	{ ZEROES, { CAPACITY, 0, 0 }, OK, "zeroes of no sectors" },
	{ ZEROES, { CAPACITY, 1, 0 }, IOERR, "zeroes behind the end" },
	{ ZEROES, { CAPACITY - 1, 2, 0 }, IOERR, "zeroes over the end" },
	{ ZEROES, { 0, 0xffffffff, 0 }, IOERR, "zeroes of 2^32 - 1 sectors" },
	{ ZEROES, { UINT64_MAX, 1, 0 }, IOERR, "zeroes at 2^64 - 1" },
	{ ZEROES, { UINT64_MAX, 2, 0 }, IOERR, "zeroes that wrap" },
	{ ZEROES, { UINT64_C(1) << 55, 8, 0 }, IOERR, "zeroes at 2^64 bytes" },
	{ ZEROES, { 0, 8, 2 }, UNSUPP, "zeroes with an unknown flag" },
	{ DISCARD, { DISCARDED, 8, 0 }, OK, "discard" },
	{ DISCARD, { 0, 0, 0 }, OK, "discard of no sectors" },
	{ DISCARD, { CAPACITY, 1, 0 }, IOERR, "discard behind the end" },
	{ DISCARD, { CAPACITY - 1, 2, 0 }, IOERR, "discard over the end" },
	{ DISCARD, { 0, 0xffffffff, 0 }, IOERR, "discard of 2^32 - 1 sectors" },
	{ DISCARD, { UINT64_MAX, 2, 0 }, IOERR, "discard that wraps" },
	{ DISCARD, { UINT64_C(1) << 55, 8, 0 }, IOERR, "discard at 2^64 bytes" },
	{ DISCARD, { 0, 8, 1 }, UNSUPP, "discard with UNMAP" },
};

static void clears_ranges(void)
{
	bool discards = disk.features & BLK_FEATURE(VIRTIO_BLK_F_DISCARD);
	struct virtio_blk_discard_write_zeroes range;
	uint8_t wanted;

	for (unsigned int i = 0; i < ARRAY_SIZE(ranges); i++) {
		range = ranges[i].range;
		wanted = ranges[i].status;
		/* A file system without holes: the file must be zero anyway. */
		if (ranges[i].type == DISCARD && !discards) {
			if (range.sector == DISCARDED)
				blk_do(&disk, 0, ZEROES, 0, &range,
				       sizeof(range), NULL);
			wanted = UNSUPP;
		}
		tap_equal(blk_do(&disk, 0, ranges[i].type, 0, &range,
				 sizeof(range), NULL),
			  wanted, "bug11", ranges[i].name);
	}
	tap(is_zero(ZEROED, 24 * BLK_SECTOR), "bug11 what was cleared is zero");
	tap(reads(&disk, 0, ZEROED - 8, 8 * BLK_SECTOR) &&
		    reads(&disk, 0, ZEROED + 24, 8 * BLK_SECTOR) &&
		    reads(&disk, 0, 0, 8 * BLK_SECTOR),
	    "bug11 and nothing else");
}

static void counts_ranges(void)
{
	static const struct {
		uint32_t type, bytes;
		const char *name;
	} cases[] = {
		{ ZEROES, 0, "zeroes without a range" },
		{ ZEROES, 15, "zeroes with a range of 15 bytes" },
		{ ZEROES, 32, "zeroes with two ranges" },
		{ DISCARD, 0, "discard without a range" },
		{ DISCARD, 15, "discard with a range of 15 bytes" },
		{ DISCARD, 17 * 16, "discard with 17 ranges" },
		{ DISCARD, MEBIBYTE, "discard with 65536 ranges" },
	};
	struct virtio_blk_discard_write_zeroes *raw = (void *)BUFFER;
	bool discards = disk.features & BLK_FEATURE(VIRTIO_BLK_F_DISCARD);

	memset(raw, 0, MEBIBYTE);
	for (unsigned int i = 0; i < ARRAY_SIZE(cases); i++)
		tap_equal(blk_do(&disk, 0, cases[i].type, 0, raw,
				 cases[i].bytes, NULL),
			  cases[i].type == DISCARD && !discards ? UNSUPP
								: IOERR,
			  "bug11", cases[i].name);

	/* A good range and a bad one: all are judged before any is done. */
	raw[0] = (struct virtio_blk_discard_write_zeroes){ 0, 8, 0 };
	raw[1] = (struct virtio_blk_discard_write_zeroes){ CAPACITY, 8, 0 };
	blk_do(&disk, 0, DISCARD, 0, raw, 2 * sizeof(*raw), NULL);
	tap(reads(&disk, 0, 0, 8 * BLK_SECTOR),
	    "bug11 a bad range keeps the good one from being discarded");
}

static void knows_no_other_types(void)
{
	static const uint32_t types[] = { 2,  3,  5,  7,   9,	      10,
					  14, 16, 17, 255, UINT32_MAX };
	bool unsupported = true;

	for (unsigned int i = 0; i < ARRAY_SIZE(types); i++)
		unsupported &= blk_do(&disk, 0, types[i], 0, BUFFER, BLK_SECTOR,
				      NULL) == UNSUPP;
	tap(unsupported, "unknown types are not supported");
}

static void protects_the_read_only_disk(uint64_t features, const char *how)
{
	struct virtio_blk_discard_write_zeroes range = { 0, 8, 0 };

	tap_case(blk_open(&locked, features, 1), "bug11 read-only", how);
	tap_case(reads(&locked, 0, 7, 4096), "bug11 read-only: reads", how);
	memset(BUFFER, 0xee, BLK_SECTOR);
	tap_equal(blk_do(&locked, 0, OUT, 0, BUFFER, BLK_SECTOR, NULL), IOERR,
		  "bug11 read-only: no write", how);
	tap_equal(blk_do(&locked, 0, ZEROES, 0, &range, sizeof(range), NULL),
		  IOERR, "bug11 read-only: no zeroes", how);
	tap_equal(blk_do(&locked, 0, DISCARD, 0, &range, sizeof(range), NULL),
		  IOERR, "bug11 read-only: no discard", how);
	tap_equal(blk_do(&locked, 0, VIRTIO_BLK_T_FLUSH, 0, NULL, 0, NULL), OK,
		  "bug11 read-only: flush", how);
	tap_case(reads(&locked, 0, 0, 4096), "bug11 read-only: unchanged", how);
}

/* Data in many buffers, cut at odd places, the status with the last of them. */
static void gathers_odd_pieces(void)
{
	static const uint16_t lengths[] = { 1,	  511, 513,  3,	  508,
					    1024, 7,   1017, 488, 24 };
	static struct virtio_blk_outhdr header = { .type = IN, .sector = 50 };
	struct driver_buffer buffers[ARRAY_SIZE(lengths) + 2];
	uint8_t *at = (uint8_t *)BUFFER, *together = at + 65536;
	unsigned int count = 0, bytes = 0;
	uint32_t written;
	uint16_t head;

	memset(at, 0xee, 131072);
	buffers[count++] =
		(struct driver_buffer){ IOVA((uintptr_t)&header), 16, false };
	for (unsigned int i = 0; i < ARRAY_SIZE(lengths); i++) {
		buffers[count++] =
			(struct driver_buffer){ IOVA((uintptr_t)at + i * 4096),
						lengths[i], true };
		bytes += lengths[i];
	}
	buffers[count - 1].len++; /* room for the status */
	driver_add(&disk.queues[0], buffers, count);
	if (driver_publish(&disk.queues[0]))
		blk_notify(&disk, 0);
	if (blk_wait(&disk, 0, &head, &written) != BLK_USED)
		written = 0;
	tap_equal(written, bytes + 1, "bug11 data in odd pieces", NULL);
	bytes = 0;
	for (unsigned int i = 0; i < ARRAY_SIZE(lengths); i++) {
		memcpy(together + bytes, at + i * 4096, lengths[i]);
		bytes += lengths[i];
	}
	tap(bytes % BLK_SECTOR == 0 && blk_is_sector(together, 50, bytes) &&
		    at[9 * 4096 + 24] == OK && at[9 * 4096 + 25] == 0xee,
	    "bug11 each byte is in its place, and the status behind them");
}

/* Several requests at once on both queues; @rounds wrap the rings. */
static bool keeps_queues_busy(unsigned int rounds)
{
	enum { DEPTH = 5 };
	static struct virtio_blk_outhdr headers[2][DEPTH];
	static uint8_t statuses[2][DEPTH];
	bool right = true;
	uint32_t written;
	uint16_t head;

	for (unsigned int i = 0; i < rounds * 2 * DEPTH; i++) {
		unsigned int queue = i / DEPTH % 2, slot = i % DEPTH;
		uint64_t *data = BUFFER + (queue * DEPTH + slot) * 512;
		struct driver_buffer buffers[] = {
			{ IOVA((uintptr_t)&headers[queue][slot]), 16, false },
			{ IOVA((uintptr_t)data), 4096, true },
			{ IOVA((uintptr_t)&statuses[queue][slot]), 1, true },
		};

		headers[queue][slot] =
			(struct virtio_blk_outhdr){ .type = IN,
						    .sector = 1000 + 8 * i };
		statuses[queue][slot] = BLK_S_NONE;
		driver_add(&disk.queues[queue], buffers, 3);
		if (i % (2 * DEPTH) != 2 * DEPTH - 1)
			continue;
		for (queue = 0; queue < 2; queue++)
			if (driver_publish(&disk.queues[queue]))
				blk_notify(&disk, queue);
		for (unsigned int k = 0; k < 2 * DEPTH; k++)
			right &= blk_wait(&disk, k % 2, &head, &written) ==
					 BLK_USED &&
				 written == 4097;
		for (unsigned int k = 0; k < 2 * DEPTH; k++)
			right &= statuses[k / DEPTH][k % DEPTH] == OK &&
				 blk_is_sector(
					 BUFFER + k * 512,
					 headers[k / DEPTH][k % DEPTH].sector,
					 64);
	}
	return right;
}

static bool sees_interrupt(bool wanted)
{
	uint64_t start = ticks();
	uint64_t limit = wanted ? TICKS_PATIENCE : TICKS_MOMENT;

	while (ticks() - start < limit)
		if (blk_read(&disk, VIRTIO_MMIO_INTERRUPT_STATUS) & 1) {
			blk_write(&disk, VIRTIO_MMIO_INTERRUPT_ACK, 1);
			return wanted &&
			       blk_read(&disk, VIRTIO_MMIO_INTERRUPT_STATUS) ==
				       0;
		}
	return !wanted;
}

static void serves_rings(uint64_t features, const char *how)
{
	tap_case(blk_open(&disk, features, 2), "both queues", how);
	tap_case(keeps_queues_busy(8), "both queues are served at once", how);
	blk_write(&disk, VIRTIO_MMIO_INTERRUPT_ACK, 1);
	driver_want_interrupt(&disk.queues[0], false);
	tap_case(reads(&disk, 0, 9, 512) && sees_interrupt(false),
		 "no interrupt where none is wanted", how);
	driver_want_interrupt(&disk.queues[0], true);
	tap_case(reads(&disk, 0, 9, 512) && sees_interrupt(true),
		 "an interrupt where one is wanted", how);
}

void guest_main(void)
{
	blk_init(&disk, 0);
	blk_init(&locked, 1);
	tap(blk_open(&disk, BLK_ALL, 2), "the disk");
	reads_everywhere();
	refuses_what_is_not_on_the_disk();
	writes();
	names_itself();
	clears_ranges();
	counts_ranges();
	knows_no_other_types();
	gathers_odd_pieces();
	protects_the_read_only_disk(BLK_ALL, "all features");
	protects_the_read_only_disk(0, "RO not negotiated");
	serves_rings(BLK_ALL & ~BLK_EVENT_IDX, "without EVENT_IDX");
	serves_rings(BLK_ALL, "EVENT_IDX");
	tap_end();
	power_off();
}
