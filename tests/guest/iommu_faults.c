/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A guest that programs its IOMMU, and lets a disk's requests name what it did
 * not map: each fails alone, is an event, touches nothing, and the next one
 * works. Device 0 is the IOMMU, 1 and 2 are disks, endpoints 1 and 2.
 */
#include <linux/virtio_iommu.h>

#include "memory/base.h"
#include "tests/guest/blk.h"
#include "tests/guest/guest.h"
#include "vmm/layout.h"

#define PAGE(n) (GUEST_SCRATCH + (n)*PAGE_SIZE)
#define IMAGE_FIRST UINT64_C(0x200000) /* with the rings and requests */
#define IMAGE_LAST (GUEST_SCRATCH - 1)
#define HOLE UINT64_C(0x40000000) /* device addresses that are never mapped */

#define REQUESTS 0
#define EVENTS 1
#define ENTRIES 16
#define RING_BYTES 16384
#define RECORDS 16

#define PATTERN 0xa5

#define READ VIRTIO_IOMMU_FAULT_F_READ
#define WRITE VIRTIO_IOMMU_FAULT_F_WRITE
#define RW (VIRTIO_IOMMU_MAP_F_READ | VIRTIO_IOMMU_MAP_F_WRITE)
#define NO_ANSWER 0xff

static uint64_t window = LAYOUT_MMIO_DEVICES;
static uint8_t rings[2][RING_BYTES] __attribute__((aligned(4096)));
static struct driver queues[2];
static struct virtio_iommu_fault records[RECORDS];
static struct blk disk, other;

/* A request of the IOMMU and its answer, in the image. */
static union {
	struct virtio_iommu_req_attach attach;
	struct virtio_iommu_req_detach detach;
	struct virtio_iommu_req_map map;
	struct virtio_iommu_req_unmap unmap;
} request;
static struct virtio_iommu_req_tail tail;

/* A disk's request with header and status where a test wants them. */
static struct {
	struct virtio_blk_outhdr header;
	uint8_t status;
} own __attribute__((aligned(4096)));

static void iommu_write(uint32_t offset, uint32_t value)
{
	write32(window + offset, value);
}

static uint32_t iommu_status(void)
{
	return read32(window + VIRTIO_MMIO_STATUS);
}

static void set_up_queue(uint32_t index)
{
	static const uint32_t low[QUEUE_PARTS] = {
		[QUEUE_DESCRIPTORS] = VIRTIO_MMIO_QUEUE_DESC_LOW,
		[QUEUE_AVAILABLE] = VIRTIO_MMIO_QUEUE_AVAIL_LOW,
		[QUEUE_USED] = VIRTIO_MMIO_QUEUE_USED_LOW,
	};
	struct driver *driver = &queues[index];

	driver_init(driver, rings[index], RING_BYTES,
		    IOVA((uintptr_t)rings[index]), ENTRIES, 0, false);
	iommu_write(VIRTIO_MMIO_QUEUE_SEL, index);
	iommu_write(VIRTIO_MMIO_QUEUE_NUM, ENTRIES);
	for (unsigned int part = 0; part < QUEUE_PARTS; part++)
		iommu_write(low[part], (uint32_t)driver->part_address[part].v);
	iommu_write(VIRTIO_MMIO_QUEUE_READY, 1);
}

/* One buffer for each descriptor of the event queue, at records[head]. */
static void post_record(void)
{
	struct driver *driver = &queues[EVENTS];
	struct virtio_iommu_fault *record = &records[driver->free_head];
	const struct driver_buffer buffer = { IOVA((uintptr_t)record),
					      sizeof(*record), true };

	memset(record, PATTERN, sizeof(*record));
	driver_add(driver, &buffer, 1);
	driver_publish(driver);
}

static bool open_iommu(void)
{
	iommu_write(VIRTIO_MMIO_STATUS, 0);
	iommu_write(VIRTIO_MMIO_STATUS, BLK_STATUS_ACKNOWLEDGE);
	iommu_write(VIRTIO_MMIO_STATUS, BLK_STATUS_DRIVER);
	iommu_write(VIRTIO_MMIO_DRIVER_FEATURES_SEL, 0);
	iommu_write(VIRTIO_MMIO_DRIVER_FEATURES, 1 << VIRTIO_IOMMU_F_MAP_UNMAP);
	iommu_write(VIRTIO_MMIO_DRIVER_FEATURES_SEL, 1);
	iommu_write(VIRTIO_MMIO_DRIVER_FEATURES, BLK_VERSION_1 >> 32);
	iommu_write(VIRTIO_MMIO_STATUS, BLK_STATUS_FEATURES);
	set_up_queue(REQUESTS);
	set_up_queue(EVENTS);
	iommu_write(VIRTIO_MMIO_STATUS, BLK_STATUS_LIVE);
	for (unsigned int i = 0; i < RECORDS; i++)
		post_record();
	return iommu_status() == BLK_STATUS_LIVE;
}

/* Sends `request`, of @len bytes. The answer is there when the exit returns. */
static uint8_t ask(uint32_t len)
{
	struct driver *driver = &queues[REQUESTS];
	const struct driver_buffer buffers[] = {
		{ IOVA((uintptr_t)&request), len, false },
		{ IOVA((uintptr_t)&tail), sizeof(tail), true },
	};
	uint64_t start = ticks();
	uint32_t written;
	uint16_t head;

	tail.status = NO_ANSWER;
	driver_add(driver, buffers, 2);
	if (driver_publish(driver))
		iommu_write(VIRTIO_MMIO_QUEUE_NOTIFY, REQUESTS);
	while (!driver_take_used(driver, &head, &written))
		if (ticks() - start > TICKS_PATIENCE)
			return NO_ANSWER;
	return written == sizeof(tail) ? tail.status : NO_ANSWER;
}

static uint8_t attach(uint32_t domain, uint32_t endpoint)
{
	request.attach = (struct virtio_iommu_req_attach){
		.head.type = VIRTIO_IOMMU_T_ATTACH,
		.domain = domain,
		.endpoint = endpoint,
	};
	return ask(offsetof(struct virtio_iommu_req_attach, tail));
}

static uint8_t detach(uint32_t domain, uint32_t endpoint)
{
	request.detach = (struct virtio_iommu_req_detach){
		.head.type = VIRTIO_IOMMU_T_DETACH,
		.domain = domain,
		.endpoint = endpoint,
	};
	return ask(offsetof(struct virtio_iommu_req_detach, tail));
}

static uint8_t map(uint32_t domain, uint64_t first, uint64_t last,
		   uint64_t physical, uint32_t flags)
{
	request.map = (struct virtio_iommu_req_map){
		.head.type = VIRTIO_IOMMU_T_MAP,
		.domain = domain,
		.virt_start = first,
		.virt_end = last,
		.phys_start = physical,
		.flags = flags,
	};
	return ask(offsetof(struct virtio_iommu_req_map, tail));
}

static uint8_t map_page(uint32_t domain, uint64_t address, uint64_t physical,
			uint32_t flags)
{
	return map(domain, address, address + PAGE_SIZE - 1, physical, flags);
}

static uint8_t unmap(uint32_t domain, uint64_t first, uint64_t last)
{
	request.unmap = (struct virtio_iommu_req_unmap){
		.head.type = VIRTIO_IOMMU_T_UNMAP,
		.domain = domain,
		.virt_start = first,
		.virt_end = last,
	};
	return ask(offsetof(struct virtio_iommu_req_unmap, tail));
}

static uint8_t unmap_page(uint32_t domain, uint64_t address)
{
	return unmap(domain, address, address + PAGE_SIZE - 1);
}

/* Waits for the next event; zeroes when none comes. */
static struct virtio_iommu_fault next_event(uint64_t patience)
{
	struct virtio_iommu_fault none = { 0 };
	uint64_t start = ticks();
	uint32_t written;
	uint16_t head;

	while (!driver_take_used(&queues[EVENTS], &head, &written)) {
		if (ticks() - start > patience)
			return none;
		pause();
	}
	if (written != sizeof(none))
		return none;
	none = records[head % RECORDS];
	post_record();
	return none;
}

static void expect_event(const char *name, uint8_t reason, uint32_t flags,
			 uint32_t endpoint, uint64_t address)
{
	struct virtio_iommu_fault fault = next_event(TICKS_PATIENCE);
	bool right = fault.reason == reason &&
		     fault.flags == (flags | VIRTIO_IOMMU_FAULT_F_ADDRESS) &&
		     fault.endpoint == endpoint && fault.address == address;

	tap_case(right, "the event says what was wrong", name);
	if (!right)
		print("# reason %u flags %x endpoint %u address %x\n",
		      fault.reason, (uint64_t)fault.flags, fault.endpoint,
		      fault.address);
}

static void expect_no_event(const char *name)
{
	tap_case(next_event(TICKS_MOMENT).endpoint == 0, "no event", name);
}

static uint8_t transfer(struct blk *blk, uint32_t type, uint64_t address,
			uint32_t bytes)
{
	return blk_do(blk, 0, type, 7, (void *)(uintptr_t)address, bytes, NULL);
}

/* A read of the disk to PAGE(0), which is mapped at its own address. */
static void expect_good(const char *name)
{
	memset((void *)PAGE(0), PATTERN, BLK_SECTOR);
	tap_case(transfer(&disk, VIRTIO_BLK_T_IN, PAGE(0), BLK_SECTOR) ==
				 VIRTIO_BLK_S_OK &&
			 blk_is_sector((void *)PAGE(0), 7, BLK_SECTOR),
		 "the next good request works", name);
}

/*
 * A request of @disk_used with its data at @address fails for @reason at
 * @fault_address, and PAGE(1) to PAGE(4) stay as they are.
 */
static void expect_fault(const char *name, struct blk *disk_used, uint32_t type,
			 uint64_t address, uint32_t bytes, uint8_t reason,
			 uint64_t fault_address)
{
	uint32_t flags = type == VIRTIO_BLK_T_IN ? WRITE : READ;

	memset((void *)PAGE(1), PATTERN, 4 * PAGE_SIZE);
	tap_equal(transfer(disk_used, type, address, bytes), VIRTIO_BLK_S_IOERR,
		  "the request fails", name);
	expect_event(name, reason, flags, disk_used == &disk ? 1 : 2,
		     fault_address);
	expect_no_event(name);
	tap_case(is_filled((void *)PAGE(1), PATTERN, 4 * PAGE_SIZE),
		 "memory is untouched", name);
	expect_good(name);
}

static void open_all(void)
{
	tap(open_iommu(), "the IOMMU comes up");
	tap_equal(attach(1, 1), 0, "ATTACH of the first disk", NULL);
	tap_equal(attach(2, 2), 0, "ATTACH of the second disk", NULL);
	tap_equal(map(1, IMAGE_FIRST, IMAGE_LAST, IMAGE_FIRST, RW), 0,
		  "MAP of the image for the first", NULL);
	tap_equal(map(2, IMAGE_FIRST, IMAGE_LAST, IMAGE_FIRST, RW), 0,
		  "MAP of the image for the second", NULL);
	tap_equal(map_page(1, PAGE(0), PAGE(0), RW), 0, "MAP of a page", NULL);
	tap(blk_open(&disk, BLK_ALL & ~BLK_EVENT_IDX, 1) &&
		    blk_open(&other, BLK_ALL & ~BLK_EVENT_IDX, 1),
	    "the disks come up");
	expect_good("at first");
}

static void test_features(void)
{
	tap(!blk_negotiate(&disk, BLK_VERSION_1),
	    "a driver that does not take ACCESS_PLATFORM is refused");
}

static void test_payload(void)
{
	const uint8_t mapping = VIRTIO_IOMMU_FAULT_R_MAPPING;

	expect_fault("read to what was never mapped", &disk, VIRTIO_BLK_T_IN,
		     PAGE(1), BLK_SECTOR, mapping, PAGE(1));
	expect_fault("write from what was never mapped", &disk,
		     VIRTIO_BLK_T_OUT, HOLE + 24, BLK_SECTOR, mapping,
		     HOLE + 24);
	expect_fault("beyond the input range", &disk, VIRTIO_BLK_T_OUT,
		     UINT64_C(1) << 50, BLK_SECTOR, mapping, UINT64_C(1) << 50);

	map_page(1, PAGE(2), PAGE(2), VIRTIO_IOMMU_MAP_F_READ);
	expect_fault("read to what is mapped read-only", &disk, VIRTIO_BLK_T_IN,
		     PAGE(2), BLK_SECTOR, mapping, PAGE(2));
	unmap_page(1, PAGE(2));
	map_page(1, PAGE(2), PAGE(2), VIRTIO_IOMMU_MAP_F_WRITE);
	expect_fault("write from what is mapped write-only", &disk,
		     VIRTIO_BLK_T_OUT, PAGE(2), BLK_SECTOR, mapping, PAGE(2));
	expect_fault("read that runs past its mapping", &disk, VIRTIO_BLK_T_IN,
		     PAGE(3) - BLK_SECTOR, 2 * BLK_SECTOR, mapping, PAGE(3));
	unmap_page(1, PAGE(2));

	map_page(1, PAGE(3), PAGE(3), RW);
	tap_equal(transfer(&disk, VIRTIO_BLK_T_IN, PAGE(3), BLK_SECTOR),
		  VIRTIO_BLK_S_OK, "while it is mapped it works", NULL);
	unmap_page(1, PAGE(3));
	expect_fault("read to what was just unmapped", &disk, VIRTIO_BLK_T_IN,
		     PAGE(3), BLK_SECTOR, mapping, PAGE(3));

	map_page(2, PAGE(4), PAGE(4), RW);
	expect_fault("read to what is mapped for another endpoint", &disk,
		     VIRTIO_BLK_T_IN, PAGE(4), BLK_SECTOR, mapping, PAGE(4));
	tap_equal(transfer(&other, VIRTIO_BLK_T_IN, PAGE(4), BLK_SECTOR),
		  VIRTIO_BLK_S_OK, "for the other one it works", NULL);

	map_page(1, HOLE, LAYOUT_MMIO_DEVICES, RW);
	expect_fault("read to a mapped register window", &disk, VIRTIO_BLK_T_IN,
		     HOLE, BLK_SECTOR, VIRTIO_IOMMU_FAULT_R_UNKNOWN, HOLE);
	unmap_page(1, HOLE);
	tap_equal(iommu_status(), BLK_STATUS_LIVE, "the IOMMU is as it was",
		  NULL);
}

/* A request with its parts where the caller wants them. */
static enum blk_outcome own_request(uint64_t header, uint64_t status)
{
	const struct driver_buffer buffers[] = {
		{ IOVA(header), sizeof(own.header), false },
		{ IOVA(PAGE(0)), BLK_SECTOR, true },
		{ IOVA(status), 1, true },
	};
	uint32_t written;
	uint16_t head;

	own.header = (struct virtio_blk_outhdr){ .type = VIRTIO_BLK_T_IN,
						 .sector = 7 };
	own.status = NO_ANSWER;
	driver_add(&disk.queues[0], buffers, 3);
	if (driver_publish(&disk.queues[0]))
		blk_notify(&disk, 0);
	return blk_wait(&disk, 0, &head, &written);
}

static void expect_recovery(const char *name)
{
	tap_case(blk_open(&disk, BLK_ALL & ~BLK_EVENT_IDX, 1),
		 "a reset brings the disk back", name);
	expect_good(name);
}

static void test_header_and_status(void)
{
	const uint8_t mapping = VIRTIO_IOMMU_FAULT_R_MAPPING;

	tap_equal(own_request(HOLE, (uintptr_t)&own.status), BLK_USED,
		  "a header that cannot be read: an answer", NULL);
	tap_equal(own.status, VIRTIO_BLK_S_IOERR,
		  "a header that cannot be read: the status", NULL);
	expect_event("header", mapping, READ, 1, HOLE);
	expect_good("header");

	memset((void *)PAGE(0), PATTERN, BLK_SECTOR);
	tap_equal(own_request((uintptr_t)&own.header, HOLE + 5),
		  BLK_NEEDS_RESET, "a status that cannot be written: reset",
		  NULL);
	expect_event("status", mapping, WRITE, 1, HOLE + 5);
	tap(is_filled((void *)PAGE(0), PATTERN, BLK_SECTOR),
	    "nothing was done before that");
	expect_recovery("status");
}

static void test_rings(void)
{
	const uint8_t mapping = VIRTIO_IOMMU_FAULT_R_MAPPING;
	uint64_t ring = disk.queues[0].part_address[QUEUE_DESCRIPTORS].v;
	uint64_t first = align_down(ring, PAGE_SIZE);

	/* The image, but for the first page of the rings. */
	unmap(1, IMAGE_FIRST, IMAGE_LAST);
	map(1, IMAGE_FIRST, first - 1, IMAGE_FIRST, RW);
	map(1, first + PAGE_SIZE, IMAGE_LAST, first + PAGE_SIZE, RW);
	tap_equal(own_request((uintptr_t)&own.header, (uintptr_t)&own.status),
		  BLK_NEEDS_RESET, "a ring that was unmapped: reset", NULL);
	expect_event("ring", mapping, READ, 1, ring);
	tap(!blk_open(&disk, BLK_ALL & ~BLK_EVENT_IDX, 1),
	    "no disk comes up on rings that are not mapped");
	expect_event("ring again", mapping, READ, 1, ring);
	map_page(1, first, first, RW);
	expect_recovery("ring");
}

static void test_domain(void)
{
	tap_equal(detach(1, 1), 0, "DETACH", NULL);
	tap_equal(own_request((uintptr_t)&own.header, (uintptr_t)&own.status),
		  BLK_NEEDS_RESET, "a disk that is detached: reset", NULL);
	expect_event("detached", VIRTIO_IOMMU_FAULT_R_DOMAIN, READ, 1,
		     disk.queues[0].part_address[QUEUE_DESCRIPTORS].v);
	tap_equal(attach(1, 1), 0, "ATTACH", NULL);
	tap_equal(map(1, IMAGE_FIRST, IMAGE_LAST, IMAGE_FIRST, RW), 0,
		  "the domain was a new one", NULL);
	map_page(1, PAGE(0), PAGE(0), RW);
	expect_recovery("detached");
	tap_equal(transfer(&other, VIRTIO_BLK_T_IN, PAGE(4), BLK_SECTOR),
		  VIRTIO_BLK_S_OK, "the other disk has gone on", NULL);
}

static void test_reset(void)
{
	iommu_write(VIRTIO_MMIO_STATUS, 0);
	tap_equal(iommu_status(), 0, "a reset of the IOMMU", NULL);
	tap_equal(own_request((uintptr_t)&own.header, (uintptr_t)&own.status),
		  BLK_NEEDS_RESET, "detaches the disks", NULL);
	open_all();
}

/*
 * What Linux does when it is unlucky: it resets the IOMMU with an UNMAP in the
 * queue that it has not announced yet, and waits for the answer.
 */
static void hang_in_shutdown(void)
{
	struct driver *driver = &queues[REQUESTS];
	const struct driver_buffer buffers[] = {
		{ IOVA((uintptr_t)&request), sizeof(request.unmap), false },
		{ IOVA((uintptr_t)&tail), sizeof(tail), true },
	};

	open_iommu();
	driver_add(driver, buffers, ARRAY_SIZE(buffers));
	driver_publish(driver);
	iommu_write(VIRTIO_MMIO_STATUS, 0);
	for (;;)
		pause();
}

void guest_main(void)
{
	if (command_line_begins("hang"))
		hang_in_shutdown();
	blk_init(&disk, 1);
	blk_init(&other, 2);
	test_features();
	open_all();
	test_payload();
	test_header_and_status();
	test_rings();
	test_domain();
	test_reset();
	tap_end();
	power_off();
}
