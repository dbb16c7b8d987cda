/* SPDX-License-Identifier: Apache-2.0 */
/*
 * DMA to what is not RAM, from a real processor: bug-classes 16. A device that
 * is told to read or write its own registers, another's, or an interrupt
 * controller's reaches none of them. Sector 0 of the disk is all zeroes: written
 * over a device's registers it would reset it.
 */
#include "memory/base.h"
#include "tests/guest/blk.h"
#include "tests/guest/guest.h"
#include "vmm/layout.h"

#define IOAPIC_WINDOW (LAYOUT_IOAPIC + 0x10)
#define IOAPIC_MARK 0x10055 /* masked, vector 0x55 */
#define IOAPIC_PIN (0x10 + 2 * 20)
#define SPURIOUS (LAYOUT_LOCAL_APIC + 0xf0)
#define TASK_PRIORITY (LAYOUT_LOCAL_APIC + 0x80)

/* Beside the VIRTIO_BLK_S_*. */
#define NEEDS_RESET 0x100
#define NOTHING 0x101

#define BROKEN (BLK_STATUS_LIVE | VIRTIO_CONFIG_S_NEEDS_RESET)

static struct blk disk, other;

static const struct {
	uint64_t address;
	const char *name;
} places[] = {
	{ LAYOUT_MMIO_DEVICES, "the device's own registers" },
	{ LAYOUT_MMIO_DEVICES + VIRTIO_MMIO_STATUS, "its own Status" },
	{ LAYOUT_MMIO_DEVICES + VIRTIO_MMIO_QUEUE_NOTIFY,
	  "its own QueueNotify" },
	{ LAYOUT_MMIO_DEVICES + VIRTIO_MMIO_CONFIG, "its own configuration" },
	{ LAYOUT_MMIO_DEVICES + LAYOUT_MMIO_DEVICE_SIZE,
	  "another device's registers" },
	{ LAYOUT_MMIO_DEVICES - 256, "up to its registers" },
	{ LAYOUT_IOAPIC, "the IOAPIC" },
	{ LAYOUT_LOCAL_APIC, "the local APIC" },
	{ SPURIOUS, "in the middle of the local APIC" },
	{ LAYOUT_MSI_FIRST + 0x10000, "the MSI range" },
};

/* Everything that a stray write would change; the disk has this @status. */
static bool registers_are_untouched(uint32_t status)
{
	write32(LAYOUT_IOAPIC, IOAPIC_PIN);
	return blk_read(&disk, VIRTIO_MMIO_STATUS) == status &&
	       blk_read(&disk, VIRTIO_MMIO_QUEUE_READY) == 1 &&
	       blk_read(&other, VIRTIO_MMIO_STATUS) == BLK_STATUS_LIVE &&
	       blk_read(&other, VIRTIO_MMIO_QUEUE_READY) == 1 &&
	       read32(IOAPIC_WINDOW) == IOAPIC_MARK &&
	       read32(SPURIOUS) == 0x1ff && read32(TASK_PRIORITY) == 0x20;
}

static void open_all(void)
{
	blk_open(&disk, BLK_ALL & ~BLK_EVENT_IDX, 1);
	blk_open(&other, BLK_ALL & ~BLK_EVENT_IDX, 1);
	write32(SPURIOUS, 0x1ff);
	write32(TASK_PRIORITY, 0x20);
	write32(LAYOUT_IOAPIC, IOAPIC_PIN);
	write32(IOAPIC_WINDOW, IOAPIC_MARK);
}

/* What comes of what was added: @status, or NEEDS_RESET or NOTHING. */
static uint64_t finish(const uint8_t *status)
{
	uint32_t written;
	uint16_t head;

	if (driver_publish(&disk.queues[0]))
		blk_notify(&disk, 0);
	switch (blk_wait(&disk, 0, &head, &written)) {
	case BLK_USED:
		return __atomic_load_n(status, __ATOMIC_RELAXED);
	case BLK_NEEDS_RESET:
		return NEEDS_RESET;
	default:
		return NOTHING;
	}
}

static void moves_data(uint64_t address, const char *name)
{
	void *there = (void *)address;

	tap_equal(blk_do(&disk, 0, VIRTIO_BLK_T_IN, 0, there, BLK_SECTOR, NULL),
		  VIRTIO_BLK_S_IOERR, "bug16 no read into", name);
	tap_equal(blk_do(&disk, 0, VIRTIO_BLK_T_GET_ID, 0, there, 20, NULL),
		  VIRTIO_BLK_S_IOERR, "bug16 no name into", name);
	tap_equal(blk_do(&disk, 0, VIRTIO_BLK_T_OUT, 0, there, BLK_SECTOR,
			 NULL),
		  VIRTIO_BLK_S_IOERR, "bug16 no write from", name);
	tap_equal(blk_do(&disk, 0, VIRTIO_BLK_T_WRITE_ZEROES, 0, there, 16,
			 NULL),
		  VIRTIO_BLK_S_IOERR, "bug16 no range from", name);
	tap_case(registers_are_untouched(BLK_STATUS_LIVE),
		 "bug16 nothing happened to", name);
}

/* Header, status and table: nothing can be answered without the status. */
static void takes_parts_from(uint64_t address, const char *name)
{
	static struct virtio_blk_outhdr header;
	static uint8_t status, data[BLK_SECTOR];
	const struct driver_buffer header_there[] = {
		{ IOVA(address), 16, false },
		{ IOVA((uintptr_t)data), BLK_SECTOR, true },
		{ IOVA((uintptr_t)&status), 1, true },
	};
	const struct driver_buffer status_there[] = {
		{ IOVA((uintptr_t)&header), 16, false },
		{ IOVA((uintptr_t)data), BLK_SECTOR, true },
		{ IOVA(address), 1, true },
	};
	struct vring_desc *table =
		driver_ring(&disk.queues[0], QUEUE_DESCRIPTORS);

	status = BLK_S_NONE;
	driver_add(&disk.queues[0], header_there, 3);
	tap_equal(finish(&status), VIRTIO_BLK_S_IOERR, "bug16 no header from",
		  name);
	driver_add(&disk.queues[0], status_there, 3);
	tap_equal(finish(&status), NEEDS_RESET,
		  "bug16 a status needs a reset in", name);
	tap_case(registers_are_untouched(BROKEN), "bug16 no status changed",
		 name);
	open_all();
	driver_add_indirect(&disk.queues[0], header_there, 3);
	table[0].addr = address;
	tap_equal(finish(&status), NEEDS_RESET,
		  "bug16 a table needs a reset in", name);
	tap_case(registers_are_untouched(BROKEN), "bug16 no table changed",
		 name);
	open_all();
}

void guest_main(void)
{
	static uint64_t sector[BLK_SECTOR / 8];

	blk_init(&disk, 0);
	blk_init(&other, 1);
	open_all();
	tap(registers_are_untouched(BLK_STATUS_LIVE),
	    "the registers as the test expects");
	for (unsigned int i = 0; i < ARRAY_SIZE(places); i++)
		moves_data(places[i].address, places[i].name);
	for (unsigned int i = 0; i < ARRAY_SIZE(places); i++)
		takes_parts_from(places[i].address, places[i].name);
	tap(blk_do(&disk, 0, VIRTIO_BLK_T_IN, 1, sector, sizeof(sector),
		   NULL) == VIRTIO_BLK_S_OK &&
		    blk_is_sector(sector, 1, sizeof(sector)) &&
		    blk_recovers(&disk) && blk_recovers(&other),
	    "bug16 both devices work afterwards");
	tap_end();
	power_off();
}
