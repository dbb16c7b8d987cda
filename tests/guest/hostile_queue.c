/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Rings and chains that no driver would make, from a real processor:
 * bug-classes 5 to 8. Each comes to its documented end: a queue that is refused,
 * DEVICE_NEEDS_RESET, or an answer; then a reset and a good request must work.
 */
#include "memory/base.h"
#include "tests/guest/blk.h"
#include "tests/guest/guest.h"
#include "vmm/layout.h"

#define READ 0
#define NEXT VRING_DESC_F_NEXT
#define WRITE VRING_DESC_F_WRITE
#define INDIRECT VRING_DESC_F_INDIRECT

/* What a case leads to, beside the VIRTIO_BLK_S_* */
#define NEEDS_RESET 0x100
#define REFUSED 0x101 /* QueueReady stays 0 */
#define NOTHING 0x102
#define WORKS VIRTIO_BLK_S_OK

#define CONFIG_INTERRUPT 2

/* Where the parts of hostile requests lie. */
#define HEADER (GUEST_SCRATCH + 0x0000)
#define STATUS (GUEST_SCRATCH + 0x0100)
#define DATA (GUEST_SCRATCH + 0x1000)
#define TABLE (GUEST_SCRATCH + 0x8000)
#define RINGS (GUEST_SCRATCH + 0x10000)
#define DATA_MARK 0x5a5a5a5a5a5a5a5a

static struct blk disk;
static uint64_t ram_end; /* of the region that starts at 1 MiB */

/* The memory map of PVH: struct hvm_memmap_table_entry. */
static uint64_t find_ram_end(void)
{
	extern uint32_t start_info;
	uint64_t row = read64(start_info + 40);
	uint32_t rows = read32(start_info + 48);

	for (; rows > 0; rows--, row += 24)
		if (read64(row) == LAYOUT_KERNEL)
			return LAYOUT_KERNEL + read64(row + 8);
	return 0;
}

static struct virtio_blk_outhdr *header(void)
{
	return (struct virtio_blk_outhdr *)HEADER;
}

/* A read of sector 3. */
static void prepare_request(void)
{
	*header() = (struct virtio_blk_outhdr){ .type = VIRTIO_BLK_T_IN,
						.sector = 3 };
	write8(STATUS, BLK_S_NONE);
	for (uint64_t at = DATA; at < DATA + 2 * BLK_SECTOR; at += 8)
		write64(at, DATA_MARK);
}

static struct vring_desc *descriptors(void)
{
	return driver_ring(&disk.queues[0], QUEUE_DESCRIPTORS);
}

static struct vring_avail *available(void)
{
	return driver_ring(&disk.queues[0], QUEUE_AVAILABLE);
}

static uint16_t used_index(void)
{
	const struct vring_used *used =
		driver_ring(&disk.queues[0], QUEUE_USED);

	return __atomic_load_n(&used->idx, __ATOMIC_ACQUIRE);
}

/* Kicks, and what the device made of @count requests with the one status. */
static uint64_t kick_and_wait(uint16_t count)
{
	uint64_t start = ticks();

	__atomic_signal_fence(__ATOMIC_SEQ_CST);
	blk_notify(&disk, 0);
	while (ticks() - start < TICKS_PATIENCE) {
		if (blk_read(&disk, VIRTIO_MMIO_STATUS) &
		    VIRTIO_CONFIG_S_NEEDS_RESET)
			return NEEDS_RESET;
		if (used_index() == count)
			return read8(STATUS);
	}
	return NOTHING;
}

/* The status bit comes first, then the interrupt. */
static bool sees_config_interrupt(void)
{
	uint64_t start = ticks();

	while (ticks() - start < TICKS_PATIENCE / 10)
		if (blk_read(&disk, VIRTIO_MMIO_INTERRUPT_STATUS) &
		    CONFIG_INTERRUPT)
			return true;
	return false;
}

/* The result of a case; whatever it was, the device comes back. */
static void judge(uint64_t got, uint64_t wanted, const char *bug,
		  const char *name)
{
	if (got == NEEDS_RESET && wanted == NEEDS_RESET &&
	    !sees_config_interrupt())
		got = NOTHING;
	if (got == wanted && !blk_recovers(&disk)) {
		tap_case(false, bug, name);
		print("# no recovery\n");
		return;
	}
	tap_equal(got, wanted, bug, name);
}

/*
 * Rings. @address is that of one part, the others lie well; sizes are those of
 * a queue of BLK_QUEUE_SIZE: 256, 38 and 134 bytes.
 */
static uint64_t try_ring(enum queue_part part, uint64_t address)
{
	uint64_t addresses[QUEUE_PARTS] = { RINGS, RINGS + 0x1000,
					    RINGS + 0x2000 };
	struct vring_desc *table;
	struct vring_avail *avail;

	blk_negotiate(&disk, BLK_ALL & ~BLK_EVENT_IDX);
	addresses[part] = address;
	memset((void *)RINGS, 0, 0x3000);
	if (address >= GUEST_SCRATCH && address < ram_end)
		memset((void *)address, 0,
		       ram_end - address < 256 ? ram_end - address : 256);
	blk_write(&disk, VIRTIO_MMIO_QUEUE_SEL, 0);
	blk_write(&disk, VIRTIO_MMIO_QUEUE_NUM, BLK_QUEUE_SIZE);
	blk_write_addresses(&disk, addresses);
	blk_write(&disk, VIRTIO_MMIO_QUEUE_READY, 1);
	if (blk_read(&disk, VIRTIO_MMIO_QUEUE_READY) != 1)
		return REFUSED;
	blk_write(&disk, VIRTIO_MMIO_STATUS, BLK_STATUS_LIVE);
	if (blk_read(&disk, VIRTIO_MMIO_STATUS) != BLK_STATUS_LIVE)
		return NEEDS_RESET;

	/* It went live: a request must find its way through these rings. */
	prepare_request();
	table = (struct vring_desc *)addresses[QUEUE_DESCRIPTORS];
	avail = (struct vring_avail *)addresses[QUEUE_AVAILABLE];
	table[14] = (struct vring_desc){ HEADER, 16, NEXT, 15 };
	table[15] = (struct vring_desc){ STATUS, 1, WRITE, 0 };
	header()->type = VIRTIO_BLK_T_FLUSH;
	avail->ring[0] = 14;
	__atomic_store_n(&avail->idx, 1, __ATOMIC_RELEASE);
	disk.queues[0].part[QUEUE_USED] = (uint8_t *)addresses[QUEUE_USED];
	return kick_and_wait(1);
}

static void tries_rings(void)
{
	static const char *const parts[] = { "bug05 descriptor table",
					     "bug05 available ring",
					     "bug05 used ring" };
	static const uint16_t bytes[] = { 256, 38, 134 };
	static const uint16_t alignment[] = { 16, 2, 4 };

	for (unsigned int i = 0; i < QUEUE_PARTS; i++) {
		const struct {
			uint64_t address;
			uint64_t result;
			const char *name;
		} cases[] = {
			{ align_down(ram_end - bytes[i], alignment[i]), WORKS,
			  "at the end of RAM" },
			{ align_down(ram_end - bytes[i], alignment[i]) +
				  alignment[i],
			  NEEDS_RESET, "over the end of RAM" },
			{ ram_end - alignment[i], NEEDS_RESET,
			  "straddling the end of RAM" },
			{ ram_end, NEEDS_RESET, "in the hole" },
			{ LAYOUT_HIGH_RAM - 16, NEEDS_RESET,
			  "straddling 4 GiB" },
			{ LAYOUT_MMIO_DEVICES, NEEDS_RESET,
			  "in the device's window" },
			{ LAYOUT_MMIO_DEVICES + LAYOUT_MMIO_DEVICE_SIZE,
			  NEEDS_RESET, "in another window" },
			{ LAYOUT_LOCAL_APIC, NEEDS_RESET, "in the local APIC" },
			{ LAYOUT_IOAPIC, NEEDS_RESET, "in the IOAPIC" },
			{ UINT64_C(1) << 52, NEEDS_RESET, "far away" },
			{ UINT64_MAX - 15, REFUSED, "wrapping" },
			{ RINGS + alignment[i] / 2, REFUSED, "misaligned" },
		};

		for (unsigned int c = 0; c < ARRAY_SIZE(cases); c++)
			judge(try_ring((enum queue_part)i, cases[c].address),
			      cases[c].result, parts[i], cases[c].name);
	}
}

/* One chain that starts at descriptor 0, with table entries if it has any. */
struct hostile {
	const char *bug;
	const char *name;
	uint64_t result;
	struct vring_desc chain[4];
	struct vring_desc table[3];
};

static uint64_t try_chain(const struct hostile *hostile)
{
	if (!blk_open(&disk, BLK_ALL & ~BLK_EVENT_IDX, 1))
		return NOTHING;
	prepare_request();
	memcpy(descriptors(), hostile->chain, sizeof(hostile->chain));
	memcpy((void *)TABLE, hostile->table, sizeof(hostile->table));
	available()->ring[0] = 0;
	__atomic_store_n(&available()->idx, 1, __ATOMIC_RELEASE);
	return kick_and_wait(1);
}

static void tries_chains(void)
{
	const struct hostile cases[] = {
		{ "bug06", "next out of range", NEEDS_RESET,
		  .chain = { { HEADER, 16, NEXT, BLK_QUEUE_SIZE } } },
		{ "bug06", "next far out of range", NEEDS_RESET,
		  .chain = { { HEADER, 16, NEXT, 0xffff } } },
		{ "bug06", "a loop of one", NEEDS_RESET,
		  .chain = { { HEADER, 16, NEXT, 0 } } },
		{ "bug06", "a loop of two", NEEDS_RESET,
		  .chain = { { HEADER, 16, NEXT, 1 }, { DATA, 8, NEXT, 0 } } },
		{ "bug06", "a loop of writable ones", NEEDS_RESET,
		  .chain = { { HEADER, 16, NEXT, 1 },
			     { DATA, 8, NEXT | WRITE, 1 } } },
		{ "bug06", "more than 2^32 bytes", NEEDS_RESET,
		  .chain = { { HEADER, 16, NEXT, 1 },
			     { DATA, 0xffffffff, NEXT | WRITE, 2 },
			     { DATA, 0xffffffff, NEXT | WRITE, 3 },
			     { STATUS, 1, WRITE, 0 } } },
		{ "bug06", "2^32 bytes and one", NEEDS_RESET,
		  .chain = { { HEADER, 16, NEXT, 1 },
			     { DATA, 0xffffffff, NEXT | WRITE, 2 },
			     { STATUS, 1, WRITE, 0 } } },
		{ "bug06", "readable after writable", NEEDS_RESET,
		  .chain = { { STATUS, 1, NEXT | WRITE, 1 },
			     { HEADER, 16, READ, 0 } } },
		{ "bug06", "an empty table", NEEDS_RESET,
		  .chain = { { TABLE, 0, INDIRECT, 0 } } },
		{ "bug06", "a table of 8 bytes", NEEDS_RESET,
		  .chain = { { TABLE, 8, INDIRECT, 0 } } },
		{ "bug06", "a table of 17 bytes", NEEDS_RESET,
		  .chain = { { TABLE, 17, INDIRECT, 0 } },
		  .table = { { STATUS, 1, WRITE, 0 } } },
		{ "bug06", "a table larger than the queue", NEEDS_RESET,
		  .chain = { { TABLE, 16 * (BLK_QUEUE_SIZE + 1), INDIRECT, 0 } },
		  .table = { { HEADER, 16, NEXT, 1 },
			     { STATUS, 1, WRITE, 0 } } },
		{ "bug06", "a table of 4 GiB", NEEDS_RESET,
		  .chain = { { TABLE, 0xfffffff0, INDIRECT, 0 } },
		  .table = { { HEADER, 16, NEXT, 1 },
			     { STATUS, 1, WRITE, 0 } } },
		/* Taken for plain descriptors, both would be answered. */
		{ "bug06", "a nested table", NEEDS_RESET,
		  .chain = { { TABLE, 32, INDIRECT, 0 } },
		  .table = { { HEADER, 16, NEXT, 1 },
			     { STATUS, 1, INDIRECT | WRITE, 0 } } },
		{ "bug06", "a table nested in the middle", NEEDS_RESET,
		  .chain = { { TABLE, 48, INDIRECT, 0 } },
		  .table = { { HEADER, 16, NEXT, 1 },
			     { DATA, 512, INDIRECT | NEXT | WRITE, 2 },
			     { STATUS, 1, WRITE, 0 } } },
		{ "bug06", "INDIRECT with NEXT", NEEDS_RESET,
		  .chain = { { TABLE, 32, INDIRECT | NEXT, 1 },
			     { STATUS, 1, WRITE, 0 } },
		  .table = { { HEADER, 16, NEXT, 1 },
			     { STATUS, 1, WRITE, 0 } } },
		{ "bug06", "next beyond the table", NEEDS_RESET,
		  .chain = { { TABLE, 32, INDIRECT, 0 } },
		  .table = { { HEADER, 16, NEXT, 2 },
			     { STATUS, 1, WRITE, 0 },
			     { STATUS, 1, WRITE, 0 } } },
		{ "bug06", "a loop in the table", NEEDS_RESET,
		  .chain = { { TABLE, 32, INDIRECT, 0 } },
		  .table = { { HEADER, 16, NEXT, 1 }, { DATA, 1, NEXT, 0 } } },
		{ "bug06", "WRITE on the table's descriptor is ignored", WORKS,
		  .chain = { { TABLE, 48, INDIRECT | WRITE, 0 } },
		  .table = { { HEADER, 16, NEXT, 1 },
			     { DATA, 512, NEXT | WRITE, 2 },
			     { STATUS, 1, WRITE, 0 } } },

		{ "bug07", "data that ends with RAM", WORKS,
		  .chain = { { HEADER, 16, NEXT, 1 },
			     { ram_end - 512, 512, NEXT | WRITE, 2 },
			     { STATUS, 1, WRITE, 0 } } },
		{ "bug07", "data one byte over the end of RAM",
		  VIRTIO_BLK_S_IOERR,
		  .chain = { { HEADER, 16, NEXT, 1 },
			     { ram_end - 511, 512, NEXT | WRITE, 2 },
			     { STATUS, 1, WRITE, 0 } } },
		{ "bug07", "data behind RAM", VIRTIO_BLK_S_IOERR,
		  .chain = { { HEADER, 16, NEXT, 1 },
			     { ram_end, 512, NEXT | WRITE, 2 },
			     { STATUS, 1, WRITE, 0 } } },
		{ "bug07", "data past 2^64", VIRTIO_BLK_S_IOERR,
		  .chain = { { HEADER, 16, NEXT, 1 },
			     { UINT64_MAX - 255, 512, NEXT | WRITE, 2 },
			     { STATUS, 1, WRITE, 0 } } },
		{ "bug07", "data up to 2^64", VIRTIO_BLK_S_IOERR,
		  .chain = { { HEADER, 16, NEXT, 1 },
			     { UINT64_MAX - 511, 512, NEXT | WRITE, 2 },
			     { STATUS, 1, WRITE, 0 } } },
		{ "bug07", "data in two pieces, the second in the hole",
		  VIRTIO_BLK_S_IOERR,
		  .chain = { { HEADER, 16, NEXT, 1 },
			     { DATA, 256, NEXT | WRITE, 2 },
			     { ram_end, 256, NEXT | WRITE, 3 },
			     { STATUS, 1, WRITE, 0 } } },
		{ "bug07", "a header over the end of RAM", VIRTIO_BLK_S_IOERR,
		  .chain = { { ram_end - 15, 16, NEXT, 2 },
			     { 0 },
			     { STATUS, 1, WRITE, 0 } } },
		{ "bug07", "a header past 2^64", VIRTIO_BLK_S_IOERR,
		  .chain = { { UINT64_MAX - 7, 16, NEXT, 1 },
			     { STATUS, 1, WRITE, 0 } } },
		{ "bug07", "a table over the end of RAM", NEEDS_RESET,
		  .chain = { { ram_end - 16, 32, INDIRECT, 0 } } },
		{ "bug07", "a table past 2^64", NEEDS_RESET,
		  .chain = { { UINT64_MAX - 15, 32, INDIRECT, 0 } } },
		{ "bug07", "a status behind RAM", NEEDS_RESET,
		  .chain = { { HEADER, 16, NEXT, 1 },
			     { ram_end, 1, WRITE, 0 } } },
		{ "bug07", "a status at the end of the address space",
		  NEEDS_RESET,
		  .chain = { { HEADER, 16, NEXT, 1 },
			     { UINT64_MAX, 1, WRITE, 0 } } },

		{ "bug08", "a status that is not writable", NEEDS_RESET,
		  .chain = { { HEADER, 16, NEXT, 1 },
			     { STATUS, 1, READ, 0 } } },
		{ "bug08", "a header that is writable", VIRTIO_BLK_S_IOERR,
		  .chain = { { HEADER, 16, NEXT | WRITE, 1 },
			     { STATUS, 1, WRITE, 0 } } },
		{ "bug08", "a header of 15 bytes", VIRTIO_BLK_S_IOERR,
		  .chain = { { HEADER, 15, NEXT, 1 },
			     { STATUS, 1, WRITE, 0 } } },
		{ "bug08", "no header", VIRTIO_BLK_S_IOERR,
		  .chain = { { STATUS, 1, WRITE, 0 } } },
		{ "bug08", "a chain of no bytes", NEEDS_RESET,
		  .chain = { { HEADER, 0, READ, 0 } } },
		{ "bug08", "a status of no bytes", NEEDS_RESET,
		  .chain = { { HEADER, 16, NEXT, 1 },
			     { STATUS, 0, WRITE, 0 } } },
		{ "bug08", "data of no bytes", WORKS,
		  .chain = { { HEADER, 16, NEXT, 1 },
			     { DATA, 0, NEXT | WRITE, 2 },
			     { STATUS, 1, WRITE, 0 } } },
		{ "bug08", "data of no bytes at no address", WORKS,
		  .chain = { { HEADER, 16, NEXT, 1 },
			     { UINT64_MAX, 0, NEXT | WRITE, 2 },
			     { STATUS, 1, WRITE, 0 } } },
		{ "bug08", "data of 511 bytes", VIRTIO_BLK_S_IOERR,
		  .chain = { { HEADER, 16, NEXT, 1 },
			     { DATA, 511, NEXT | WRITE, 2 },
			     { STATUS, 1, WRITE, 0 } } },
		{ "bug08", "data of 513 bytes", VIRTIO_BLK_S_IOERR,
		  .chain = { { HEADER, 16, NEXT, 1 },
			     { DATA, 513, NEXT | WRITE, 2 },
			     { STATUS, 1, WRITE, 0 } } },
	};

	for (unsigned int i = 0; i < ARRAY_SIZE(cases); i++)
		judge(try_chain(&cases[i]), cases[i].result, cases[i].bug,
		      cases[i].name);
}

/*
 * What the available ring says: from entry 0 on heads that go round from @head,
 * and an index so far ahead. Each descriptor is a request of its own, which gets
 * an error: what goes wrong is the ring alone.
 */
static uint64_t try_available(uint16_t index, uint16_t head)
{
	blk_open(&disk, BLK_ALL & ~BLK_EVENT_IDX, 1);
	prepare_request();
	for (uint16_t i = 0; i < BLK_QUEUE_SIZE; i++) {
		descriptors()[i] = (struct vring_desc){ STATUS, 1, WRITE, 0 };
		available()->ring[i] = (uint16_t)(head + i);
	}
	__atomic_store_n(&available()->idx, index, __ATOMIC_RELEASE);
	return kick_and_wait(index);
}

static void tries_available_rings(void)
{
	static const struct {
		uint16_t index, head;
		uint64_t result;
		const char *name;
	} cases[] = {
		{ BLK_QUEUE_SIZE, 0, VIRTIO_BLK_S_IOERR,
		  "an index one queue ahead is good" },
		{ BLK_QUEUE_SIZE + 1, 0, NEEDS_RESET,
		  "an index one queue and one ahead" },
		{ 0x8000, 0, NEEDS_RESET, "an index half the circle ahead" },
		{ 0xffff, 0, NEEDS_RESET, "an index that goes back" },
		{ 1, BLK_QUEUE_SIZE, NEEDS_RESET, "a head out of range" },
		{ 2, BLK_QUEUE_SIZE - 1, NEEDS_RESET,
		  "a second head out of range" },
		{ 1, 0xffff, NEEDS_RESET, "a head far out of range" },
	};

	for (unsigned int i = 0; i < ARRAY_SIZE(cases); i++)
		judge(try_available(cases[i].index, cases[i].head),
		      cases[i].result, "bug06", cases[i].name);

	blk_open(&disk, BLK_ALL & ~BLK_EVENT_IDX, 1);
	prepare_request();
	descriptors()[0] = (struct vring_desc){ STATUS, 1, WRITE, 0 };
	memset(available()->ring, 0, 2 * sizeof(uint16_t));
	__atomic_store_n(&available()->idx, 2, __ATOMIC_RELEASE);
	judge(kick_and_wait(2), NEEDS_RESET, "bug06",
	      "a head that is available twice");
}

static bool data_is_untouched(void)
{
	for (uint64_t at = DATA; at < DATA + 2 * BLK_SECTOR; at += 8)
		if (read64(at) != DATA_MARK)
			return false;
	return true;
}

/* Buffers in the wrong direction carry nothing, either way. */
static void moves_nothing_the_wrong_way(void)
{
	struct hostile in = { .chain = { { HEADER, 16, NEXT, 1 },
					 { DATA, 512, NEXT, 2 },
					 { STATUS, 1, WRITE, 0 } } };
	struct hostile out = { .chain = { { HEADER, 16, NEXT, 1 },
					  { DATA, 512, NEXT | WRITE, 2 },
					  { STATUS, 1, WRITE, 0 } } };
	uint64_t result;

	result = try_chain(&in);
	tap(data_is_untouched() &&
		    (result == WORKS || result == VIRTIO_BLK_S_IOERR),
	    "bug08 a read into a readable buffer leaves it alone");

	blk_open(&disk, BLK_ALL & ~BLK_EVENT_IDX, 1);
	prepare_request();
	header()->type = VIRTIO_BLK_T_OUT;
	memcpy(descriptors(), out.chain, sizeof(out.chain));
	available()->ring[0] = 0;
	__atomic_store_n(&available()->idx, 1, __ATOMIC_RELEASE);
	result = kick_and_wait(1);
	blk_do(&disk, 0, VIRTIO_BLK_T_IN, 3, (void *)DATA, BLK_SECTOR, NULL);
	tap((result == WORKS || result == VIRTIO_BLK_S_IOERR) &&
		    blk_recovers(&disk),
	    "bug08 a write from a writable buffer is answered");
	blk_do(&disk, 0, VIRTIO_BLK_T_IN, 3, (void *)DATA, BLK_SECTOR, NULL);
	tap(blk_is_sector((void *)DATA, 3, BLK_SECTOR),
	    "bug08 and leaves the disk alone");
}

static void says_what_it_wrote(void)
{
	static uint64_t data[2 * BLK_SECTOR / 8];
	uint32_t written = 0;
	uint8_t status;

	blk_open(&disk, BLK_ALL & ~BLK_EVENT_IDX, 1);
	blk_do(&disk, 0, VIRTIO_BLK_T_IN, 0, data, sizeof(data), &written);
	tap_equal(written, sizeof(data) + 1, "bug08 used length of a read",
		  NULL);
	status = blk_do(&disk, 0, VIRTIO_BLK_T_IN, UINT64_C(1) << 40, data,
			sizeof(data), &written);
	tap(status == VIRTIO_BLK_S_IOERR && written == 0,
	    "bug08 used length of a read that failed");
	status = blk_do(&disk, 0, VIRTIO_BLK_T_FLUSH, 0, NULL, 0, &written);
	tap(status == WORKS && written == 1,
	    "bug08 used length of a flush is not that of before");
}

static void knows_no_tables_unless_negotiated(void)
{
	const struct hostile hostile = {
		.chain = { { TABLE, 32, INDIRECT, 0 } },
		.table = { { HEADER, 16, NEXT, 1 }, { STATUS, 1, WRITE, 0 } },
	};

	blk_open(&disk, 0, 1);
	prepare_request();
	memcpy(descriptors(), hostile.chain, sizeof(hostile.chain));
	memcpy((void *)TABLE, hostile.table, sizeof(hostile.table));
	available()->ring[0] = 0;
	__atomic_store_n(&available()->idx, 1, __ATOMIC_RELEASE);
	judge(kick_and_wait(1), NEEDS_RESET, "bug06",
	      "a table that was not negotiated");
}

void guest_main(void)
{
	ram_end = find_ram_end();
	blk_init(&disk, 0);
	tries_rings();
	tries_chains();
	tries_available_rings();
	knows_no_tables_unless_negotiated();
	moves_nothing_the_wrong_way();
	says_what_it_wrote();
	tap_end();
	power_off();
}
