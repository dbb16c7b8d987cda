/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A real block device behind the IOMMU: what an UNMAP waits for while the host
 * holds the I/O, and what it does not.
 */
#include <criterion/criterion.h>
#include <fcntl.h>
#include <linux/virtio_blk.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "devices/error.h"
#include "devices/virtio_blk.h"
#include "tests/unit/devices/host_io.h"
#include "tests/unit/devices/iommu_front.h"
#include "virtio/mmio.h"

#define ENDPOINT 3
#define DOMAIN 7
#define RINGS UINT64_C(0x800000) /* of the disk's queues, 1 MiB each */
#define SLOTS UINT64_C(0xa00000) /* headers and status bytes, one page */
#define PAGES UINT64_C(0xb00000) /* data, each page mapped by its own MAP */
#define PAGE(n) (PAGES + (n)*PAGE_SIZE)
#define BEHIND UINT64_C(0x100000000) /* device addresses = those + this */
#define RW (VIRTIO_IOMMU_MAP_F_READ | VIRTIO_IOMMU_MAP_F_WRITE)

struct rig {
	struct iommu_front front;
	struct virtio_blk blk;
	struct threads threads;
	struct driver queues[2];
	int file;
};

static void blk_write(struct rig *rig, uint32_t offset, uint32_t value)
{
	virtio_mmio_write(&rig->blk.device, offset, &value, sizeof(value));
}

static uint32_t blk_read(struct rig *rig, uint32_t offset)
{
	uint32_t value;

	virtio_mmio_read(&rig->blk.device, offset, &value, sizeof(value));
	return value;
}

/* As Linux maps it: device addresses that are not the guest's own. */
static void map(struct rig *rig, uint64_t first, uint64_t bytes)
{
	cr_assert_eq(front_map(&rig->front, DOMAIN, BEHIND + first,
			       BEHIND + first + bytes - 1, first, RW),
		     0);
}

static void blk_create(struct rig *rig)
{
	char path[] = "/tmp/sluice-blk-XXXXXX";
	struct iommu_endpoint *endpoint;
	struct error error = { 0 };
	struct disk disk;
	unsigned int i;

	rig->file = mkostemp(path, O_CLOEXEC);
	cr_assert_geq(rig->file, 0);
	cr_assert_eq(ftruncate(rig->file, MIB), 0);
	cr_assert_eq(disk_open(&disk, dup(rig->file), path, false, &error), 0,
		     "%s", error.text);
	unlink(path);
	cr_assert_eq(virtio_blk_init(&rig->blk, "root", &disk, 2,
				     &rig->front.memory, rig->front.stop_fd),
		     0);
	endpoint = iommu_add_endpoint(&rig->front.iommu, ENDPOINT);
	for (i = 0; i < 2; i++)
		cr_assert_eq(dma_attach_endpoint(&rig->blk.device.queues[i].dma,
						 endpoint),
			     0);
	rig->blk.device.offered |= VIRTIO_FEATURE_ACCESS_PLATFORM;
	cr_assert_eq(virtio_blk_start_threads(&rig->blk, &rig->threads), 0);
}

static void queue_set_up(struct rig *rig, unsigned int index)
{
	static const uint32_t low[QUEUE_PARTS] = {
		VIRTIO_MMIO_QUEUE_DESC_LOW,
		VIRTIO_MMIO_QUEUE_AVAIL_LOW,
		VIRTIO_MMIO_QUEUE_USED_LOW,
	};
	struct driver *driver = &rig->queues[index];
	uint64_t rings = RINGS + index * MIB;
	unsigned int i;

	cr_assert_eq(driver_init(driver, front_host(&rig->front, rings), MIB,
				 IOVA(BEHIND + rings), 16, 0, true),
		     0);
	blk_write(rig, VIRTIO_MMIO_QUEUE_SEL, index);
	blk_write(rig, VIRTIO_MMIO_QUEUE_NUM, driver->size);
	for (i = 0; i < QUEUE_PARTS; i++) {
		blk_write(rig, low[i], (uint32_t)driver->part_address[i].v);
		blk_write(rig, low[i] + 4,
			  (uint32_t)(driver->part_address[i].v >> 32));
	}
	blk_write(rig, VIRTIO_MMIO_QUEUE_READY, 1);
}

/* To FEATURES_OK with @features. Whether the device takes them. */
static bool blk_negotiate(struct rig *rig, uint64_t features)
{
	unsigned int i;

	blk_write(rig, VIRTIO_MMIO_STATUS, 0);
	blk_write(rig, VIRTIO_MMIO_STATUS, 1);
	blk_write(rig, VIRTIO_MMIO_STATUS, 3);
	for (i = 0; i < 2; i++) {
		blk_write(rig, VIRTIO_MMIO_DRIVER_FEATURES_SEL, i);
		blk_write(rig, VIRTIO_MMIO_DRIVER_FEATURES,
			  (uint32_t)(features >> 32 * i));
	}
	blk_write(rig, VIRTIO_MMIO_STATUS, 11);
	return blk_read(rig, VIRTIO_MMIO_STATUS) == 11;
}

/* The IOMMU and the disk are up; rings, slots and pages 0 to 3 are mapped. */
static void start(struct rig *rig)
{
	unsigned int i;

	front_create(&rig->front);
	blk_create(rig);
	front_negotiate(&rig->front);
	cr_assert_eq(front_attach(&rig->front, DOMAIN, ENDPOINT), 0);
	map(rig, RINGS, 2 * MIB);
	map(rig, SLOTS, PAGE_SIZE);
	for (i = 0; i < 4; i++)
		map(rig, PAGE(i), PAGE_SIZE);
	cr_assert(blk_negotiate(rig, rig->blk.device.offered));
	for (i = 0; i < 2; i++)
		queue_set_up(rig, i);
	blk_write(rig, VIRTIO_MMIO_STATUS, 15);
	cr_assert_eq(blk_read(rig, VIRTIO_MMIO_STATUS), 15);
}

static void stop(struct rig *rig)
{
	unsigned int i;

	virtio_blk_destroy(&rig->blk);
	for (i = 0; i < 2; i++)
		driver_destroy(&rig->queues[i]);
	front_destroy(&rig->front);
	close(rig->file);
}

static uint8_t *status_byte(struct rig *rig, unsigned int queue)
{
	return front_host(&rig->front, SLOTS + 64 * queue + 32);
}

static void submit(struct rig *rig, unsigned int queue, uint32_t type,
		   uint64_t page, uint32_t bytes)
{
	const uint64_t slot = SLOTS + 64 * queue;
	const struct virtio_blk_outhdr header = { .type = type };
	const struct driver_buffer buffers[] = {
		{ IOVA(BEHIND + slot), sizeof(header), false },
		{ IOVA(BEHIND + page), bytes, true },
		{ IOVA(BEHIND + slot + 32), 1, true },
	};

	memcpy(front_host(&rig->front, slot), &header, sizeof(header));
	*status_byte(rig, queue) = FRONT_UNTOUCHED;
	cr_assert_geq(driver_add(&rig->queues[queue], buffers, 3), 0);
	if (driver_publish(&rig->queues[queue]))
		blk_write(rig, VIRTIO_MMIO_QUEUE_NOTIFY, queue);
}

static void moment(void)
{
	nanosleep(&(struct timespec){ .tv_nsec = 200000 }, NULL);
}

/* Waits for the answer of a queue's request. */
static uint8_t answer(struct rig *rig, unsigned int queue)
{
	uint32_t written;
	uint16_t head;
	unsigned int turn;

	for (turn = 0; turn < 50000; turn++) {
		if (driver_take_used(&rig->queues[queue], &head, &written))
			return *status_byte(rig, queue);
		moment();
	}
	cr_assert(false, "no answer on queue %u", queue);
	return FRONT_UNTOUCHED;
}

/* Sends an UNMAP of page @n as request @n; it may have to wait. */
static void unmap(struct rig *rig, unsigned int n)
{
	const struct virtio_iommu_req_unmap request = {
		.head.type = VIRTIO_IOMMU_T_UNMAP,
		.domain = DOMAIN,
		.virt_start = BEHIND + PAGE(n),
		.virt_end = BEHIND + PAGE(n) + PAGE_SIZE - 1,
	};

	cr_assert_geq(front_add(&rig->front, n, &request, 28, FRONT_TAIL), 0);
	front_notify(&rig->front);
}

static bool unmap_is_answered(struct rig *rig, unsigned int n)
{
	return __atomic_load_n((uint8_t *)front_host(&rig->front,
						     FRONT_ANSWER + 64 * n),
			       __ATOMIC_ACQUIRE) == VIRTIO_IOMMU_S_OK;
}

Test(virtio_blk_iommu, an_unmap_waits_for_held_io_and_nobody_else_does)
{
	static struct rig rig;
	uint8_t *page;
	unsigned int turn;

	start(&rig);
	page = front_host(&rig.front, PAGE(0));
	cr_assert_eq(pwrite(rig.file, "disk", 4, 0), 4);
	memset(page, 0, PAGE_SIZE);
	host_io_hold(&host_io.hold_reads, true);
	submit(&rig, 0, VIRTIO_BLK_T_IN, PAGE(0), PAGE_SIZE);
	cr_assert(host_io_wait_held(1));

	unmap(&rig, 0);
	cr_expect_not(unmap_is_answered(&rig, 0));
	cr_expect_eq(iommu_read_counters(&rig.front.iommu).unmap_waits, 1);
	/* Another mapping, and the disk's other queue. */
	unmap(&rig, 1);
	cr_expect(unmap_is_answered(&rig, 1));
	submit(&rig, 1, VIRTIO_BLK_T_GET_ID, PAGE(2), VIRTIO_BLK_ID_BYTES);
	cr_expect_eq(answer(&rig, 1), VIRTIO_BLK_S_OK);
	usleep(20000);
	cr_expect_not(unmap_is_answered(&rig, 0));
	cr_expect_eq(page[0], 0);

	host_io_hold(&host_io.hold_reads, false);
	for (turn = 0; turn < 50000 && !unmap_is_answered(&rig, 0); turn++)
		moment();
	/* By then the I/O has ended. */
	cr_expect_eq(memcmp(page, "disk", 4), 0);
	cr_expect_eq(answer(&rig, 0), VIRTIO_BLK_S_OK);
	submit(&rig, 0, VIRTIO_BLK_T_IN, PAGE(0), PAGE_SIZE);
	cr_expect_eq(answer(&rig, 0), VIRTIO_BLK_S_IOERR);
	submit(&rig, 0, VIRTIO_BLK_T_IN, PAGE(3), PAGE_SIZE);
	cr_expect_eq(answer(&rig, 0), VIRTIO_BLK_S_OK);
	stop(&rig);
}

Test(virtio_blk_iommu, access_platform_has_to_be_accepted)
{
	static struct rig rig;

	start(&rig);
	cr_expect_not(
		blk_negotiate(&rig, rig.blk.device.offered &
					    ~VIRTIO_FEATURE_ACCESS_PLATFORM));
	cr_expect(blk_negotiate(&rig, rig.blk.device.offered));
	stop(&rig);
}

Test(virtio_blk_iommu, a_ring_that_is_unmapped_needs_a_reset)
{
	static struct rig rig;
	unsigned int turn;

	start(&rig);
	cr_expect_eq(front_unmap(&rig.front, DOMAIN, BEHIND + RINGS,
				 BEHIND + RINGS + 2 * MIB - 1),
		     0);
	blk_write(&rig, VIRTIO_MMIO_QUEUE_NOTIFY, 0);
	for (turn = 0; turn < 50000 && !(blk_read(&rig, VIRTIO_MMIO_STATUS) &
					 VIRTIO_STATUS_NEEDS_RESET);
	     turn++)
		moment();
	cr_expect(blk_read(&rig, VIRTIO_MMIO_STATUS) &
		  VIRTIO_STATUS_NEEDS_RESET);
	blk_write(&rig, VIRTIO_MMIO_STATUS, 0);
	cr_expect_eq(blk_read(&rig, VIRTIO_MMIO_STATUS), 0);
	stop(&rig);
}
