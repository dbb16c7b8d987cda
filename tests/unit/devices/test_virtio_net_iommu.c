/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A network device behind the IOMMU: what it may not reach costs a frame, and no
 * UNMAP ever waits for the network. Behind it is a stream as passt's.
 */
#include <criterion/criterion.h>
#include <endian.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "devices/passt.h"
#include "devices/virtio_net.h"
#include "tests/unit/devices/iommu_front.h"
#include "virtio/mmio.h"

#define ENDPOINT 3
#define DOMAIN 7
#define QUEUES 3
#define RINGS UINT64_C(0x800000) /* of the queues, 1 MiB each */
#define PAGES UINT64_C(0xc00000) /* each mapped by its own MAP, if at all */
#define PAGE(n) (PAGES + (n)*PAGE_SIZE)
#define BEHIND UINT64_C(0x100000000) /* device addresses = those + this */
#define R VIRTIO_IOMMU_MAP_F_READ
#define W VIRTIO_IOMMU_MAP_F_WRITE

struct rig {
	struct iommu_front front;
	struct passt passt;
	struct virtio_net net;
	struct threads threads;
	struct driver queues[QUEUES];
	int peer;
};

static void net_write(struct rig *rig, uint32_t offset, uint32_t value)
{
	virtio_mmio_write(&rig->net.device, offset, &value, sizeof(value));
}

/* As Linux maps it: device addresses that are not the guest's own. */
static void map(struct rig *rig, uint64_t first, uint64_t bytes, uint32_t flags)
{
	cr_assert_eq(front_map(&rig->front, DOMAIN, BEHIND + first,
			       BEHIND + first + bytes - 1, first, flags),
		     0);
}

static uint8_t unmap(struct rig *rig, uint64_t first)
{
	return front_unmap(&rig->front, DOMAIN, BEHIND + first,
			   BEHIND + first + PAGE_SIZE - 1);
}

static void net_create(struct rig *rig)
{
	const struct virtio_net_options options = { .name = "eth0" };
	struct iommu_endpoint *endpoint;
	unsigned int i;
	int ends[2];

	cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends),
		     0);
	rig->peer = ends[1];
	passt_init(&rig->passt, ends[0]);
	cr_assert_eq(virtio_net_init(&rig->net, &options, &rig->passt.backend,
				     &rig->front.memory, rig->front.stop_fd),
		     0);
	endpoint = iommu_add_endpoint(&rig->front.iommu, ENDPOINT);
	for (i = 0; i < QUEUES; i++)
		cr_assert_eq(dma_attach_endpoint(&rig->net.device.queues[i].dma,
						 endpoint),
			     0);
	rig->net.device.offered |= VIRTIO_FEATURE_ACCESS_PLATFORM;
	cr_assert_eq(virtio_net_start_threads(&rig->net, &rig->threads), 0);
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
				 IOVA(BEHIND + rings), 32, 0, true),
		     0);
	net_write(rig, VIRTIO_MMIO_QUEUE_SEL, index);
	net_write(rig, VIRTIO_MMIO_QUEUE_NUM, driver->size);
	for (i = 0; i < QUEUE_PARTS; i++) {
		net_write(rig, low[i], (uint32_t)driver->part_address[i].v);
		net_write(rig, low[i] + 4,
			  (uint32_t)(driver->part_address[i].v >> 32));
	}
	net_write(rig, VIRTIO_MMIO_QUEUE_READY, 1);
}

/* The IOMMU and the device are up; the rings are mapped. */
static void start(struct rig *rig)
{
	unsigned int i;

	front_create(&rig->front);
	net_create(rig);
	front_negotiate(&rig->front);
	cr_assert_eq(front_attach(&rig->front, DOMAIN, ENDPOINT), 0);
	map(rig, RINGS, QUEUES * MIB, R | W);
	net_write(rig, VIRTIO_MMIO_STATUS, 1);
	net_write(rig, VIRTIO_MMIO_STATUS, 3);
	for (i = 0; i < 2; i++) {
		net_write(rig, VIRTIO_MMIO_DRIVER_FEATURES_SEL, i);
		net_write(rig, VIRTIO_MMIO_DRIVER_FEATURES,
			  (uint32_t)(rig->net.device.offered >> 32 * i));
	}
	net_write(rig, VIRTIO_MMIO_STATUS, 11);
	for (i = 0; i < QUEUES; i++)
		queue_set_up(rig, i);
	net_write(rig, VIRTIO_MMIO_STATUS, 15);
	cr_assert_eq(virtio_device_status(&rig->net.device), 15);
}

static void stop(struct rig *rig)
{
	unsigned int i;

	virtio_net_destroy(&rig->net);
	for (i = 0; i < QUEUES; i++)
		driver_destroy(&rig->queues[i]);
	front_destroy(&rig->front);
	close(rig->peer);
}

static void submit(struct rig *rig, unsigned int queue, uint64_t first,
		   uint32_t bytes)
{
	const struct driver_buffer buffer = { IOVA(BEHIND + first), bytes,
					      queue == 0 };

	cr_assert_geq(driver_add(&rig->queues[queue], &buffer, 1), 0);
	if (driver_publish(&rig->queues[queue]))
		net_write(rig, VIRTIO_MMIO_QUEUE_NOTIFY, queue);
}

static void expect_used(struct rig *rig, unsigned int queue, uint32_t expected)
{
	uint32_t written;
	uint16_t head;
	unsigned int turn;

	for (turn = 0; turn < 50000; turn++) {
		if (driver_take_used(&rig->queues[queue], &head, &written)) {
			cr_assert_eq(written, expected, "%u", written);
			return;
		}
		usleep(200);
	}
	cr_assert(false, "nothing on queue %u", queue);
}

static void give(struct rig *rig, uint32_t bytes)
{
	static uint8_t frame[4 + PASST_FRAME_MAX];
	uint32_t length = htobe32(bytes);

	memcpy(frame, &length, 4);
	memset(frame + 4, 0x5a, bytes);
	cr_assert_eq(send(rig->peer, frame, 4 + bytes, 0), (ssize_t)bytes + 4);
}

static uint64_t faults(struct rig *rig, unsigned int queue)
{
	return rig->net.device.queues[queue].dma.counters.faults;
}

static uint64_t errors(struct rig *rig)
{
	return virtio_net_count(&rig->net).errors;
}

Test(virtio_net_iommu, directions_are_what_the_guest_allowed)
{
	static struct rig rig;
	uint8_t bytes[200];

	start(&rig);
	map(&rig, PAGE(0), PAGE_SIZE, R);
	map(&rig, PAGE(1), PAGE_SIZE, W);
	memset(front_host(&rig.front, PAGE(0)), 0, 200);
	memset(front_host(&rig.front, PAGE(1)), 0, 200);
	submit(&rig, 1, PAGE(0), 112);
	expect_used(&rig, 1, 0);
	cr_expect_eq(recv(rig.peer, bytes, sizeof(bytes), 0), 104);
	submit(&rig, 0, PAGE(1), 2048);
	give(&rig, 100);
	expect_used(&rig, 0, 112);
	cr_expect_eq(errors(&rig), 0);
	/* And the other way round. */
	submit(&rig, 1, PAGE(1), 112);
	expect_used(&rig, 1, 0);
	cr_expect_eq(faults(&rig, 1), 1);
	cr_expect_eq(errors(&rig), 1);
	cr_expect_eq(recv(rig.peer, bytes, sizeof(bytes), MSG_DONTWAIT), -1);
	submit(&rig, 0, PAGE(0), 2048);
	give(&rig, 100);
	expect_used(&rig, 0, 0);
	cr_expect_eq(faults(&rig, 0), 1);
	cr_expect_eq(*(uint8_t *)front_host(&rig.front, PAGE(0) + 12), 0);
	/* The fault hurts the one frame. */
	submit(&rig, 0, PAGE(1), 2048);
	give(&rig, 100);
	expect_used(&rig, 0, 112);
	stop(&rig);
}

Test(virtio_net_iommu, bug17_fault_in_a_merged_frame_gives_all_its_buffers_back)
{
	static struct rig rig;
	unsigned int i;

	start(&rig);
	for (i = 0; i < 8; i++)
		if (i != 2)
			map(&rig, PAGE(i), PAGE_SIZE, W);
	for (i = 0; i < 8; i++)
		submit(&rig, 0, PAGE(i), 4096);
	give(&rig, 12000);
	expect_used(&rig, 0, 0);
	expect_used(&rig, 0, 0);
	expect_used(&rig, 0, 0);
	give(&rig, 8000);
	expect_used(&rig, 0, 4096);
	expect_used(&rig, 0, 8012 - 4096);
	cr_expect_eq(errors(&rig), 1);
	cr_expect_geq(faults(&rig, 0), 1);
	stop(&rig);
}

Test(virtio_net_iommu, bug17_unmap_of_a_posted_buffer_waits_for_no_frame)
{
	static struct rig rig;

	start(&rig);
	map(&rig, PAGE(0), PAGE_SIZE, W);
	map(&rig, PAGE(1), PAGE_SIZE, W);
	submit(&rig, 0, PAGE(0), 4096);
	submit(&rig, 0, PAGE(1), 4096);
	usleep(20000);
	memset(front_host(&rig.front, PAGE(0)), 0xee, PAGE_SIZE);
	/* front_unmap fails when there is no answer at once. */
	cr_expect_eq(unmap(&rig, PAGE(0)), 0);
	cr_expect_eq(iommu_read_counters(&rig.front.iommu).unmap_waits, 0);
	give(&rig, 100);
	expect_used(&rig, 0, 0);
	cr_expect_eq(*(uint8_t *)front_host(&rig.front, PAGE(0)), 0xee);
	give(&rig, 100);
	expect_used(&rig, 0, 112);
	stop(&rig);
}

Test(virtio_net_iommu, bug17_unmap_of_an_unsent_frame_waits_for_no_socket)
{
	static struct rig rig;
	static uint8_t bytes[1 << 20];
	unsigned int i, done = 0;
	uint32_t written;
	uint16_t head;

	start(&rig);
	for (i = 0; i < 16; i++)
		map(&rig, PAGE(16 * i), 16 * PAGE_SIZE, R);
	for (i = 0; i < 16; i++) {
		memset(front_host(&rig.front, PAGE(16 * i)), 0, 12);
		submit(&rig, 1, PAGE(16 * i), 60000);
	}
	usleep(50000);
	while (driver_take_used(&rig.queues[1], &head, &written))
		done++;
	cr_assert_lt(done, 16, "the socket is not full");
	/* The frame that is next, and half of which may be out. */
	for (i = 0; i < 16; i++)
		cr_expect_eq(front_unmap(&rig.front, DOMAIN,
					 BEHIND + PAGE(16 * i),
					 BEHIND + PAGE(16 * i + 16) - 1),
			     0);
	cr_expect_eq(iommu_read_counters(&rig.front.iommu).unmap_waits, 0);
	while (recv(rig.peer, bytes, sizeof(bytes), MSG_DONTWAIT) > 0)
		usleep(1000);
	for (; done < 16; done++)
		expect_used(&rig, 1, 0);
	cr_expect_gt(errors(&rig), 0);
	stop(&rig);
}

Test(virtio_net_iommu, a_ring_that_is_unmapped_needs_a_reset)
{
	static struct rig rig;
	unsigned int turn;

	start(&rig);
	cr_expect_eq(front_unmap(&rig.front, DOMAIN, BEHIND + RINGS,
				 BEHIND + RINGS + QUEUES * MIB - 1),
		     0);
	net_write(&rig, VIRTIO_MMIO_QUEUE_NOTIFY, 0);
	for (turn = 0; turn < 50000 && !(virtio_device_status(&rig.net.device) &
					 VIRTIO_STATUS_NEEDS_RESET);
	     turn++)
		usleep(200);
	cr_expect(virtio_device_status(&rig.net.device) &
		  VIRTIO_STATUS_NEEDS_RESET);
	net_write(&rig, VIRTIO_MMIO_STATUS, 0);
	cr_expect_eq(virtio_device_status(&rig.net.device), 0);
	stop(&rig);
}
