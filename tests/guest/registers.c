/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The registers of virtio-mmio from a real processor: bug-classes 1 to 4, and
 * addresses where nothing is. Disk 0 has two queues, disk 1 has one.
 */
#include "memory/base.h"
#include "tests/guest/blk.h"
#include "tests/guest/guest.h"
#include "vmm/layout.h"

#define QUEUE_MAX 256
#define MAGIC 0x74726976
#define STATUS_FAILED VIRTIO_CONFIG_S_FAILED
#define STATUS_DRIVER_OK VIRTIO_CONFIG_S_DRIVER_OK

static struct blk disk, single;

static void reset(void)
{
	blk_write(&disk, VIRTIO_MMIO_STATUS, 0);
}

static void reads_identity(void)
{
	static const struct {
		uint32_t offset, value;
		const char *name;
	} registers[] = {
		{ VIRTIO_MMIO_MAGIC_VALUE, MAGIC, "MagicValue" },
		{ VIRTIO_MMIO_VERSION, 2, "Version" },
		{ VIRTIO_MMIO_DEVICE_ID, 2, "DeviceID" },
		{ VIRTIO_MMIO_VENDOR_ID, 0x43554c53, "VendorID" },
		{ VIRTIO_MMIO_QUEUE_NUM_MAX, QUEUE_MAX, "QueueNumMax" },
		{ VIRTIO_MMIO_INTERRUPT_STATUS, 0, "InterruptStatus" },
		{ VIRTIO_MMIO_CONFIG_GENERATION, 0, "ConfigGeneration" },
	};

	reset();
	for (unsigned int i = 0; i < ARRAY_SIZE(registers); i++) {
		blk_write(&disk, registers[i].offset, 0xa5a5a5a5);
		tap_equal(blk_read(&disk, registers[i].offset),
			  registers[i].value, "read-only register",
			  registers[i].name);
	}
	tap(blk_offered(&disk) & BLK_VERSION_1, "VERSION_1 is offered");
	blk_write(&disk, VIRTIO_MMIO_DEVICE_FEATURES_SEL, 2);
	tap_equal(blk_read(&disk, VIRTIO_MMIO_DEVICE_FEATURES), 0,
		  "no features beyond 64", NULL);
}

/* Whether each byte is 0 that an access of another width gives. */
static bool other_widths_read_zero(uint64_t address)
{
	return read8(address) == 0 && read16(address) == 0 &&
	       read64(address) == 0 && read8(address + 3) == 0 &&
	       read16(address + 2) == 0 && read32(address + 1) == 0 &&
	       read32(address + 2) == 0 && read16(address + 1) == 0 &&
	       read64(address + 4) == 0;
}

static void refuses_other_widths(void)
{
	static const uint32_t offsets[] = {
		VIRTIO_MMIO_MAGIC_VALUE,   VIRTIO_MMIO_DEVICE_FEATURES,
		VIRTIO_MMIO_QUEUE_NUM_MAX, VIRTIO_MMIO_QUEUE_READY,
		VIRTIO_MMIO_STATUS,
	};
	uint64_t status = disk.window + VIRTIO_MMIO_STATUS;
	bool zero = true;

	blk_open(&disk, BLK_ALL, 2);
	for (unsigned int i = 0; i < ARRAY_SIZE(offsets); i++)
		zero &= other_widths_read_zero(disk.window + offsets[i]);
	tap(zero, "bug03 registers read as 0 in other widths and places");

	write8(status, 0);
	write16(status, 0);
	write64(status, 0);
	write16(status + 2, 0);
	write32(status - 2, 0);
	write32(status + 1, 0);
	write64(status - 4, 0);
	tap_equal(blk_read(&disk, VIRTIO_MMIO_STATUS), BLK_STATUS_LIVE,
		  "bug03 odd writes to Status are ignored", NULL);
	for (uint32_t offset = 0; offset < VIRTIO_MMIO_CONFIG; offset += 4)
		read32(disk.window + offset);
	/* Unknown registers, and the write-only ones are read above. */
	for (uint32_t offset = 0xb4; offset < 0xf8; offset += 4)
		blk_write(&disk, offset, UINT32_MAX);
	tap_equal(blk_read(&disk, VIRTIO_MMIO_STATUS), BLK_STATUS_LIVE,
		  "bug03 unknown registers swallow writes", NULL);
	tap_equal(blk_read(&disk, 0x18), 0, "bug03 unknown register reads 0",
		  NULL);
}

/* The configuration space up to what this device has of it. */
static void bounds_the_configuration(void)
{
	uint64_t config = disk.window + VIRTIO_MMIO_CONFIG;
	uint64_t end =
		config +
		offsetof(struct virtio_blk_config, write_zeroes_may_unmap) + 4;
	uint64_t capacity = read64(config), bytes = 0;

	for (unsigned int i = 0; i < 8; i++)
		bytes |= (uint64_t)read8(config + i) << 8 * i;
	tap_equal(bytes, capacity, "bug03 configuration by bytes", NULL);
	tap_equal(read32(config + 2),
		  (uint32_t)(capacity >> 16) |
			  (uint32_t)read16(config + 6) << 16 >> 16 << 16,
		  "bug03 configuration misaligned", NULL);
	tap(read8(end) == 0 && read16(end - 1) == 0 && read32(end - 2) == 0 &&
		    read64(end - 4) == 0 && read64(end - 1) == 0,
	    "bug03 reads over the end of the configuration give 0");
	tap_equal(read64(end - 8),
		  (uint64_t)read32(end - 4) << 32 | read32(end - 8),
		  "bug03 the last 8 bytes can be read at once", NULL);
	tap(read32(disk.window + 0xffc) == 0 &&
		    read64(disk.window + 0xff8) == 0,
	    "bug03 the end of the window reads 0");
	/* Over two windows: KVM cuts it in two. */
	read32(disk.window + 0xffe);
	write32(disk.window + 0xffe, 0);
	read64(disk.window + 0xffd);
	write64(disk.window + 0xffb, 0);

	write8(config, 0);
	write64(config, 0);
	write32(end - 2, UINT32_MAX);
	write64(end, UINT64_MAX);
	tap_equal(read64(config), capacity,
		  "bug03 the configuration is read-only", NULL);
	tap(blk_recovers(&disk), "bug03 the device works afterwards");
}

static const uint64_t memory_holes[] = {
	0xc0000000u,
	0xcffffff8u,
	LAYOUT_MMIO_DEVICES + 2 * LAYOUT_MMIO_DEVICE_SIZE,
	LAYOUT_MMIO_DEVICES + 0x100000,
	0xe0000ffcu,
	0xfec00000u - 8,
	0xff000000u,
};

static const uint16_t empty_ports[] = { 0x80,  0x2f8,  0x400,  0x500, 0x502,
					0x504, 0x506,  0x5ff,  0x602, 0x605,
					0xcf8, 0x1000, 0x8000, 0xfffc };

static void finds_nothing_elsewhere(void)
{
	bool ones = true;

	for (unsigned int i = 0; i < ARRAY_SIZE(memory_holes); i++) {
		uint64_t address = memory_holes[i];

		write8(address, 0);
		write16(address, 0);
		write32(address, 0);
		write64(address, 0);
		ones &= read8(address) == UINT8_MAX &&
			read16(address) == UINT16_MAX &&
			read32(address) == UINT32_MAX &&
			read64(address) == UINT64_MAX;
	}
	tap(ones, "bug03 unknown memory reads as ones and swallows writes");

	ones = true;
	for (unsigned int i = 0; i < ARRAY_SIZE(empty_ports); i++) {
		uint16_t port = empty_ports[i];

		out8(port, 0);
		out16(port, 0);
		out32(port, 0);
		ones &= in8(port) == UINT8_MAX && in16(port) == UINT16_MAX &&
			in32(port) == UINT32_MAX;
	}
	tap(ones, "bug03 unknown ports read as ones and swallow writes");
	/* Half of the access lies beyond the device. */
	tap(in16(LAYOUT_PORT_COM1 + 7) == UINT16_MAX &&
		    in32(LAYOUT_PORT_RESET) == UINT32_MAX,
	    "bug03 an access over the end of a device finds nothing");
	out32(LAYOUT_PORT_RESET, LAYOUT_RESET_VALUE);
	out16(LAYOUT_PORT_KEYBOARD, 0xfe);
	tap(true, "bug03 wide writes to registers of a byte do nothing");
}

static const struct {
	uint32_t value;
	bool good;
	const char *name;
} sizes[] = {
	{ 0, false, "0" },
	{ 1, true, "1" },
	{ 3, false, "3" },
	{ 256, true, "256" },
	{ 257, false, "257" },
	{ 512, false, "512" },
	{ 32768, false, "32768" },
	{ 32769, false, "32769" },
	{ 0x10000, false, "0x10000" },
	{ 0x10010, false, "0x10010" },
	{ 0x80000000, false, "0x80000000" },
	{ 0xffffffff, false, "0xffffffff" },
};

static void judges_queue_sizes(void)
{
	uint64_t addresses[QUEUE_PARTS] = { GUEST_SCRATCH,
					    GUEST_SCRATCH + 0x10000,
					    GUEST_SCRATCH + 0x20000 };

	for (unsigned int i = 0; i < ARRAY_SIZE(sizes); i++) {
		blk_negotiate(&disk, BLK_ALL);
		blk_write(&disk, VIRTIO_MMIO_QUEUE_NUM, sizes[i].value);
		blk_write_addresses(&disk, addresses);
		blk_write(&disk, VIRTIO_MMIO_QUEUE_READY, 1);
		tap_equal(blk_read(&disk, VIRTIO_MMIO_QUEUE_READY),
			  sizes[i].good, "bug01 QueueNum before QueueReady",
			  sizes[i].name);
	}
}

/* Reads @count sectors one by one: more than the ring has entries. */
static bool reads_sectors(struct blk *blk, unsigned int queue,
			  unsigned int count)
{
	static uint64_t data[BLK_SECTOR / 8];

	for (unsigned int i = 0; i < count; i++)
		if (blk_do(blk, queue, VIRTIO_BLK_T_IN, i, data, BLK_SECTOR,
			   NULL) != VIRTIO_BLK_S_OK ||
		    !blk_is_sector(data, i, BLK_SECTOR))
			return false;
	return true;
}

static void write_sizes(void)
{
	for (unsigned int i = 0; i < ARRAY_SIZE(sizes); i++)
		blk_write(&disk, VIRTIO_MMIO_QUEUE_NUM, sizes[i].value);
}

static void keeps_queue_sizes(void)
{
	static const uint64_t elsewhere[QUEUE_PARTS];

	blk_negotiate(&disk, BLK_ALL);
	disk.queue_count = 2;
	blk_set_up_queue(&disk, 0);
	write_sizes();
	blk_write_addresses(&disk, elsewhere);
	tap_equal(blk_read(&disk, VIRTIO_MMIO_QUEUE_READY), 1,
		  "bug01 QueueNum after QueueReady changes nothing", NULL);
	blk_write(&disk, VIRTIO_MMIO_STATUS, BLK_STATUS_LIVE);
	write_sizes();
	blk_write_addresses(&disk, elsewhere);
	tap(reads_sectors(&disk, 0, BLK_QUEUE_SIZE + 4),
	    "bug01 nor does it after DRIVER_OK: the ring has its size");
	blk_write(&disk, VIRTIO_MMIO_QUEUE_SEL, 1);
	write_sizes();
	blk_write_addresses(&disk, elsewhere);
	blk_write(&disk, VIRTIO_MMIO_QUEUE_READY, 1);
	tap_equal(blk_read(&disk, VIRTIO_MMIO_QUEUE_READY), 0,
		  "bug01 no queue becomes ready after DRIVER_OK", NULL);
	tap(reads_sectors(&disk, 0, BLK_QUEUE_SIZE + 4),
	    "bug01 and the one that is goes on");
}

static const uint32_t no_queues[] = { 2,       3,	   0xffff,
				      0x10000, 0x80000000, 0xffffffff };

static void ignores_queues_out_of_range(void)
{
	static const uint64_t elsewhere[QUEUE_PARTS];
	bool absent = true;

	blk_open(&disk, BLK_ALL, 2);
	for (unsigned int i = 0; i < ARRAY_SIZE(no_queues); i++) {
		blk_write(&disk, VIRTIO_MMIO_QUEUE_SEL, no_queues[i]);
		absent &= blk_read(&disk, VIRTIO_MMIO_QUEUE_NUM_MAX) == 0 &&
			  blk_read(&disk, VIRTIO_MMIO_QUEUE_READY) == 0;
		blk_write(&disk, VIRTIO_MMIO_QUEUE_NUM, 16);
		blk_write_addresses(&disk, elsewhere);
		blk_write(&disk, VIRTIO_MMIO_QUEUE_READY, 1);
		absent &= blk_read(&disk, VIRTIO_MMIO_QUEUE_READY) == 0;
		blk_write(&disk, VIRTIO_MMIO_QUEUE_READY, 0);
	}
	tap(absent, "bug02 QueueSel out of range is no queue");
	tap(reads_sectors(&disk, 0, 2) && reads_sectors(&disk, 1, 2),
	    "bug02 the real queues are untouched");

	blk_open(&single, BLK_ALL, 1);
	for (unsigned int i = 0; i < ARRAY_SIZE(no_queues); i++) {
		blk_notify(&disk, no_queues[i]);
		blk_notify(&single, no_queues[i]);
		write8(disk.window + VIRTIO_MMIO_QUEUE_NOTIFY, 0xff);
		write16(disk.window + VIRTIO_MMIO_QUEUE_NOTIFY, 0xffff);
		write64(disk.window + VIRTIO_MMIO_QUEUE_NOTIFY, UINT64_MAX);
	}
	wait_ticks(TICKS_MOMENT);
	tap_equal(blk_read(&disk, VIRTIO_MMIO_STATUS), BLK_STATUS_LIVE,
		  "bug02 QueueNotify out of range: two queues", NULL);
	tap_equal(blk_read(&single, VIRTIO_MMIO_STATUS), BLK_STATUS_LIVE,
		  "bug02 QueueNotify out of range: one queue", NULL);
	tap(reads_sectors(&disk, 1, 2), "bug02 two queues work afterwards");
	tap(reads_sectors(&single, 0, 2), "bug02 one queue works afterwards");
}

/* QueueNotify whenever there is nothing to notify of. */
static void ignores_early_notifications(void)
{
	reset();
	blk_notify(&disk, 0);
	blk_negotiate(&disk, BLK_ALL);
	blk_notify(&disk, 1);
	blk_set_up_queue(&disk, 0);
	blk_notify(&disk, 0);
	tap_equal(blk_read(&disk, VIRTIO_MMIO_STATUS), BLK_STATUS_FEATURES,
		  "bug02 notifications before DRIVER_OK do nothing", NULL);
	blk_write(&disk, VIRTIO_MMIO_STATUS, BLK_STATUS_LIVE);
	blk_notify(&disk, 1); /* never set up */
	tap(reads_sectors(&disk, 0, 2),
	    "bug02 a queue that was not set up is not served");
}

/* From reset, writes to Status one after the other (0 ends), and the result. */
static const struct {
	uint32_t writes[5];
	uint32_t status;
	const char *name;
} steps[] = {
	{ { 2 }, 0, "DRIVER without ACKNOWLEDGE" },
	{ { 4 }, 0, "DRIVER_OK alone" },
	{ { 8 }, 0, "FEATURES_OK alone" },
	{ { 1, 1 | 4 }, 1, "DRIVER_OK after ACKNOWLEDGE" },
	{ { 1, 3, 3 | 4 }, 3, "DRIVER_OK without FEATURES_OK" },
	{ { 1, 3, 3 | 8 }, 3, "FEATURES_OK without features" },
	{ { 15 }, 3, "all at once without features" },
	{ { 1, 3, 1 }, 3, "a bit cleared" },
	{ { 1, 3, 2 }, 3, "another bit cleared" },
	{ { 1, 3, 3 | 64 }, 3, "NEEDS_RESET set by the driver" },
	{ { 1, 3, 3 | 16 }, 3, "an unknown bit" },
	{ { 1, 3, 0xffffff00 }, 3, "bits beyond a byte" },
	{ { 1, 3, 3 | STATUS_FAILED }, 3 | STATUS_FAILED, "FAILED" },
};

static void takes_steps_in_order(void)
{
	for (unsigned int i = 0; i < ARRAY_SIZE(steps); i++) {
		reset();
		for (const uint32_t *write = steps[i].writes; *write; write++)
			blk_write(&disk, VIRTIO_MMIO_STATUS, *write);
		tap_equal(blk_read(&disk, VIRTIO_MMIO_STATUS), steps[i].status,
			  "bug04 status", steps[i].name);
	}
}

static void write_features(uint64_t features)
{
	for (uint32_t half = 0; half < 2; half++) {
		blk_write(&disk, VIRTIO_MMIO_DRIVER_FEATURES_SEL, half);
		blk_write(&disk, VIRTIO_MMIO_DRIVER_FEATURES,
			  (uint32_t)(features >> 32 * half));
	}
}

static uint32_t features_ok(void)
{
	blk_write(&disk, VIRTIO_MMIO_STATUS, BLK_STATUS_FEATURES);
	return blk_read(&disk, VIRTIO_MMIO_STATUS);
}

static void takes_features_in_time(void)
{
	reset();
	write_features(BLK_VERSION_1);
	blk_write(&disk, VIRTIO_MMIO_STATUS, BLK_STATUS_ACKNOWLEDGE);
	write_features(BLK_VERSION_1);
	blk_write(&disk, VIRTIO_MMIO_STATUS, BLK_STATUS_DRIVER);
	tap_equal(features_ok(), BLK_STATUS_DRIVER,
		  "bug04 features written before DRIVER do not count", NULL);
	write_features(UINT64_MAX);
	tap_equal(features_ok(), BLK_STATUS_DRIVER,
		  "bug04 features that were not offered are refused", NULL);
	write_features(blk_offered(&disk) & ~BLK_VERSION_1);
	tap_equal(features_ok(), BLK_STATUS_DRIVER,
		  "bug04 a driver without VERSION_1 is refused", NULL);
	write_features(BLK_VERSION_1);
	blk_write(&disk, VIRTIO_MMIO_DRIVER_FEATURES_SEL, 2);
	blk_write(&disk, VIRTIO_MMIO_DRIVER_FEATURES, UINT32_MAX);
	blk_write(&disk, VIRTIO_MMIO_DRIVER_FEATURES_SEL, UINT32_MAX);
	blk_write(&disk, VIRTIO_MMIO_DRIVER_FEATURES, UINT32_MAX);
	tap_equal(features_ok(), BLK_STATUS_FEATURES,
		  "bug04 features beyond 64 do not exist", NULL);

	/* Not taken any more: else indirect tables would work. */
	write_features(BLK_VERSION_1 | BLK_INDIRECT);
	disk.features = BLK_VERSION_1;
	blk_set_up_queue(&disk, 0);
	blk_write(&disk, VIRTIO_MMIO_STATUS, BLK_STATUS_LIVE);
	write_features(BLK_VERSION_1 | BLK_INDIRECT);
	tap(reads_sectors(&disk, 0, 1) &&
		    blk_do_indirect(&disk, 0, VIRTIO_BLK_T_FLUSH, 0, NULL, 0) ==
			    BLK_S_NONE,
	    "bug04 features written after FEATURES_OK do not count");
}

static void is_reset_and_set_up_again(void)
{
	bool works = true;

	for (unsigned int i = 0; i < 5; i++) {
		works &= blk_open(&disk, BLK_ALL, 2) &&
			 reads_sectors(&disk, i % 2, 3);
		reset();
		works &= blk_read(&disk, VIRTIO_MMIO_STATUS) == 0 &&
			 blk_read(&disk, VIRTIO_MMIO_QUEUE_READY) == 0 &&
			 blk_read(&disk, VIRTIO_MMIO_INTERRUPT_STATUS) == 0;
		reset();
	}
	tap(works, "bug04 reset and set up again, five times");

	reset();
	blk_write(&disk, VIRTIO_MMIO_STATUS, BLK_STATUS_DRIVER | STATUS_FAILED);
	blk_write(&disk, VIRTIO_MMIO_STATUS, BLK_STATUS_LIVE | STATUS_FAILED);
	tap(!(blk_read(&disk, VIRTIO_MMIO_STATUS) & STATUS_DRIVER_OK),
	    "bug04 a failed driver does not go on");
	tap(blk_recovers(&disk), "bug04 but begins anew");

	blk_write(&disk, VIRTIO_MMIO_QUEUE_SEL, 0);
	blk_write(&disk, VIRTIO_MMIO_QUEUE_READY, 0);
	tap_equal(blk_read(&disk, VIRTIO_MMIO_QUEUE_READY), 0,
		  "bug04 QueueReady = 0 reads 0 next", NULL);
	blk_notify(&disk, 0);
	tap(blk_recovers(&disk), "bug04 the queue is back after a reset");
}

void guest_main(void)
{
	blk_init(&disk, 0);
	blk_init(&single, 1);
	reads_identity();
	refuses_other_widths();
	bounds_the_configuration();
	finds_nothing_elsewhere();
	judges_queue_sizes();
	keeps_queue_sizes();
	ignores_queues_out_of_range();
	ignores_early_notifications();
	takes_steps_in_order();
	takes_features_in_time();
	is_reset_and_set_up_again();
	tap_end();
	power_off();
}
