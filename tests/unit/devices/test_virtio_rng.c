/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The entropy device with a driver in front of it, and behind an IOMMU where a
 * test says so. The host's getrandom is replaced by one that counts and fails.
 */
#include "devices/virtio_rng.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/random.h>
#include <time.h>

#include "memory/base.h"
#include "tests/unit/devices/iommu_front.h"
#include "virtio/mmio.h"

#define ENDPOINT 3
#define DOMAIN 7
#define RINGS UINT64_C(0x800000) /* 1 MiB */
#define BUFFER UINT64_C(0xa00000) /* up to the end of RAM */
#define BUFFER_BYTES (FRONT_RAM - BUFFER)
#define BEHIND UINT64_C(0x100000000) /* device addresses = those + this */
#define ENTRIES 16
#define INDIRECT 8

#define TURNS_MAX 100000 /* of 200 us */
#define SECOND RATE_LIMIT_SECOND_NS

struct rig {
	bool iommu; /* set before start */
	struct iommu_front front;
	struct virtio_rng rng;
	struct threads threads;
	struct driver driver;
	unsigned int interrupts; /* atomic */
};

/* What the host does; bytes count up, so that none is 0 for long. */
static struct {
	int error; /* atomic */
	bool piecemeal;
	unsigned int calls; /* atomic */
	uint8_t next;
} host;

ssize_t getrandom(void *buffer, size_t len, unsigned int flags)
{
	unsigned int call =
		__atomic_fetch_add(&host.calls, 1, __ATOMIC_RELAXED);
	uint8_t *bytes = buffer;
	size_t i;

	(void)flags;
	errno = __atomic_load_n(&host.error, __ATOMIC_SEQ_CST);
	if (!errno && host.piecemeal && call % 2)
		errno = EINTR;
	if (errno)
		return -1;
	if (host.piecemeal)
		len = MIN(len, 100u);
	for (i = 0; i < len; i++)
		bytes[i] = ++host.next ? host.next : ++host.next;
	return (ssize_t)len;
}

static void count_interrupt(void *context)
{
	struct rig *rig = context;

	__atomic_fetch_add(&rig->interrupts, 1, __ATOMIC_RELAXED);
}

static void rng_write(struct rig *rig, uint32_t offset, uint32_t value)
{
	virtio_mmio_write(&rig->rng.device, offset, &value, sizeof(value));
}

static uint32_t rng_read(struct rig *rig, uint32_t offset)
{
	uint32_t value;

	virtio_mmio_read(&rig->rng.device, offset, &value, sizeof(value));
	return value;
}

/* The address that the device knows. */
static iova_t at(struct rig *rig, uint64_t address)
{
	return IOVA(address + (rig->iommu ? BEHIND : 0));
}

static void queue_set_up(struct rig *rig)
{
	static const uint32_t low[QUEUE_PARTS] = {
		VIRTIO_MMIO_QUEUE_DESC_LOW,
		VIRTIO_MMIO_QUEUE_AVAIL_LOW,
		VIRTIO_MMIO_QUEUE_USED_LOW,
	};
	struct driver *driver = &rig->driver;
	unsigned int i;

	driver_destroy(driver);
	cr_assert_eq(driver_init(driver, front_host(&rig->front, RINGS), MIB,
				 at(rig, RINGS), ENTRIES, INDIRECT, true),
		     0);
	rng_write(rig, VIRTIO_MMIO_QUEUE_SEL, 0);
	rng_write(rig, VIRTIO_MMIO_QUEUE_NUM, driver->size);
	for (i = 0; i < QUEUE_PARTS; i++) {
		rng_write(rig, low[i], (uint32_t)driver->part_address[i].v);
		rng_write(rig, low[i] + 4,
			  (uint32_t)(driver->part_address[i].v >> 32));
	}
	rng_write(rig, VIRTIO_MMIO_QUEUE_READY, 1);
}

/* From reset to DRIVER_OK. */
static void negotiate(struct rig *rig)
{
	unsigned int i;

	rng_write(rig, VIRTIO_MMIO_STATUS, 0);
	cr_assert_eq(rng_read(rig, VIRTIO_MMIO_STATUS), 0);
	rng_write(rig, VIRTIO_MMIO_STATUS, 1);
	rng_write(rig, VIRTIO_MMIO_STATUS, 3);
	for (i = 0; i < 2; i++) {
		rng_write(rig, VIRTIO_MMIO_DRIVER_FEATURES_SEL, i);
		rng_write(rig, VIRTIO_MMIO_DRIVER_FEATURES,
			  (uint32_t)(rig->rng.device.offered >> 32 * i));
	}
	rng_write(rig, VIRTIO_MMIO_STATUS, 11);
	queue_set_up(rig);
	rng_write(rig, VIRTIO_MMIO_STATUS, 15);
	cr_assert_eq(rng_read(rig, VIRTIO_MMIO_STATUS), 15);
}

static void map(struct rig *rig, uint64_t first, uint64_t bytes, uint32_t flags)
{
	cr_assert_eq(front_map(&rig->front, DOMAIN, BEHIND + first,
			       BEHIND + first + bytes - 1, first, flags),
		     0);
}

static void start(struct rig *rig)
{
	front_create(&rig->front);
	cr_assert_eq(virtio_rng_init(&rig->rng, "rng", &rig->front.memory,
				     rig->front.stop_fd),
		     0);
	rig->rng.device.interrupt = count_interrupt;
	rig->rng.device.interrupt_context = rig;
	if (rig->iommu) {
		cr_assert_eq(dma_attach_endpoint(
				     &rig->rng.device.queues[0].dma,
				     iommu_add_endpoint(&rig->front.iommu,
							ENDPOINT)),
			     0);
		rig->rng.device.offered |= VIRTIO_FEATURE_ACCESS_PLATFORM;
	}
	cr_assert_eq(virtio_rng_start_threads(&rig->rng, &rig->threads), 0);
	if (rig->iommu) {
		front_negotiate(&rig->front);
		cr_assert_eq(front_attach(&rig->front, DOMAIN, ENDPOINT), 0);
		map(rig, RINGS, MIB,
		    VIRTIO_IOMMU_MAP_F_READ | VIRTIO_IOMMU_MAP_F_WRITE);
	}
	negotiate(rig);
}

static void stop(struct rig *rig)
{
	virtio_rng_destroy(&rig->rng);
	driver_destroy(&rig->driver);
	front_destroy(&rig->front);
}

static uint8_t *buffer(struct rig *rig)
{
	return front_host(&rig->front, BUFFER);
}

static void moment(void)
{
	nanosleep(&(struct timespec){ .tv_nsec = 200000 }, NULL);
}

static void show(struct rig *rig)
{
	if (driver_publish(&rig->driver))
		rng_write(rig, VIRTIO_MMIO_QUEUE_NOTIFY, 0);
}

static bool take(struct rig *rig, uint32_t *written)
{
	unsigned int turn;
	uint16_t head;

	for (turn = 0; turn < TURNS_MAX; turn++) {
		if (driver_take_used(&rig->driver, &head, written))
			return true;
		moment();
	}
	return false;
}

/* A request of @count buffers, and the used length of its answer. */
static uint32_t request(struct rig *rig, const struct driver_buffer *buffers,
			unsigned int count)
{
	uint32_t written;

	cr_assert_geq(driver_add(&rig->driver, buffers, count), 0);
	show(rig);
	cr_assert(take(rig, &written), "no answer");
	return written;
}

/* @len bytes at @offset of the buffer. */
static uint32_t fill(struct rig *rig, uint64_t offset, uint32_t len)
{
	const struct driver_buffer whole = { at(rig, BUFFER + offset), len,
					     true };

	return request(rig, &whole, 1);
}

/* @count requests of a byte at once. */
static void fill_many(struct rig *rig, unsigned int count)
{
	const struct driver_buffer byte = { at(rig, BUFFER), 1, true };
	uint32_t written;
	unsigned int i;

	for (i = 0; i < count; i++)
		cr_assert_geq(driver_add(&rig->driver, &byte, 1), 0);
	show(rig);
	for (i = 0; i < count; i++) {
		cr_assert(take(rig, &written));
		cr_expect_eq(written, 1);
	}
}

/* Whether the first @len bytes were written, and none behind them. */
static bool is_filled_until(struct rig *rig, size_t len)
{
	size_t i;

	for (i = 0; i < len; i++)
		if (buffer(rig)[i] == 0)
			return false;
	return buffer(rig)[len] == 0;
}

static uint64_t faults(struct rig *rig)
{
	return __atomic_load_n(&rig->rng.device.queues[0].dma.counters.faults,
			       __ATOMIC_RELAXED);
}

static bool eventually_needs_reset(struct rig *rig)
{
	unsigned int turn;

	for (turn = 0; turn < TURNS_MAX; turn++) {
		if (rng_read(rig, VIRTIO_MMIO_STATUS) &
		    VIRTIO_STATUS_NEEDS_RESET)
			return true;
		moment();
	}
	return false;
}

Test(virtio_rng, buffers_are_filled_and_counted)
{
	static struct rig rig;

	start(&rig);
	cr_expect_eq(rng_read(&rig, VIRTIO_MMIO_DEVICE_ID), 4);
	cr_expect_eq(rig.rng.device.config_size, 0);
	cr_expect_str_eq(rig.threads.list[0]->name, "rng.0");
	cr_expect_eq(rig.threads.list[0]->kind, THREAD_RNG);
	cr_expect_eq(fill(&rig, 0, 64), 64);
	cr_expect(is_filled_until(&rig, 64));
	cr_expect_eq(fill(&rig, 0, 10001), 10001);
	cr_expect(is_filled_until(&rig, 10001));
	cr_expect_eq(virtio_rng_count(&rig.rng).requests, 2);
	cr_expect_eq(virtio_rng_count(&rig.rng).errors, 0);
	cr_expect_eq(virtio_rng_count(&rig.rng).bytes_read, 10065);
	cr_expect_geq(__atomic_load_n(&rig.interrupts, __ATOMIC_RELAXED), 1);
	stop(&rig);
}

Test(virtio_rng, buffers_in_pieces_and_tables_and_readable_parts_are_taken)
{
	static struct rig rig;
	const struct driver_buffer pieces[] = {
		{ IOVA(BUFFER + 8192), 16, false },
		{ IOVA(BUFFER), 3, true },
		{ IOVA(BUFFER + 3), 0, true },
		{ IOVA(BUFFER + 3), 5000, true },
		{ IOVA(BUFFER + 5003), 1, true },
	};
	uint32_t written;

	start(&rig);
	host.piecemeal = true;
	cr_expect_eq(request(&rig, pieces, 5), 5004);
	cr_expect(is_filled_until(&rig, 5004));
	memset(buffer(&rig), 0, 8192);
	cr_assert_geq(driver_add_indirect(&rig.driver, pieces, 5), 0);
	show(&rig);
	cr_assert(take(&rig, &written));
	cr_expect_eq(written, 5004);
	cr_expect(is_filled_until(&rig, 5004));
	/* What the device only reads, it leaves alone. */
	cr_expect_eq(buffer(&rig)[8192], 0);
	stop(&rig);
}

Test(virtio_rng, bug10_huge_request_is_given_64_kib)
{
	static struct rig rig;
	const struct driver_buffer huge[] = {
		{ IOVA(BUFFER), BUFFER_BYTES, true },
		{ IOVA(BUFFER), BUFFER_BYTES, true },
		/* Never reached, so no fault. */
		{ IOVA(FRONT_RAM), UINT32_MAX / 2, true },
	};

	start(&rig);
	cr_expect_eq(request(&rig, huge, 3), 64 * KIB);
	cr_expect(is_filled_until(&rig, 64 * KIB));
	cr_expect_eq(faults(&rig), 0);
	stop(&rig);
}

Test(virtio_rng, bug10_endless_requests_get_the_limit_and_no_more)
{
	static struct rig rig;
	uint64_t before, took;
	unsigned int i;

	start(&rig);
	/* The burst, and half a second's worth. */
	before = rate_limit_now_ns();
	for (i = 0; i < 4 + 8; i++)
		cr_expect_eq(fill(&rig, 0, 64 * KIB), 64 * KIB);
	took = rate_limit_now_ns() - before;
	cr_expect_geq(took, 4 * SECOND / 10, "%llu", (unsigned long long)took);
	cr_expect_leq(took, 3 * SECOND, "%llu", (unsigned long long)took);

	/* Small ones by their number: the burst, and a quarter of a second's. */
	before = rate_limit_now_ns();
	for (i = 0; i < VIRTIO_RNG_OPS / 10 + VIRTIO_RNG_OPS / 4; i += ENTRIES)
		fill_many(&rig, ENTRIES);
	took = rate_limit_now_ns() - before;
	cr_expect_geq(took, 2 * SECOND / 10, "%llu", (unsigned long long)took);
	stop(&rig);
}

Test(virtio_rng, bug12_reset_while_it_waits_for_tokens_is_done_at_once)
{
	static struct rig rig;
	struct driver_buffer chunk;
	uint64_t before;
	unsigned int i, turn;
	uint32_t written;
	uint16_t head;

	start(&rig);
	chunk = (struct driver_buffer){ IOVA(BUFFER), 64 * KIB, true };
	for (turn = 0; turn < 3; turn++) {
		/* A second's worth; some of it waits in the ring. */
		for (i = 0; i < ENTRIES; i++)
			cr_assert_geq(driver_add(&rig.driver, &chunk, 1), 0);
		show(&rig);
		cr_assert(take(&rig, &written));
		before = rate_limit_now_ns();
		rng_write(&rig, VIRTIO_MMIO_STATUS, 0);
		cr_expect_leq(rate_limit_now_ns() - before, SECOND / 2);
		memset(buffer(&rig), 0, 64 * KIB);
		for (i = 0; i < 100; i++)
			moment();
		cr_expect_eq(buffer(&rig)[0], 0, "nothing comes afterwards");
		negotiate(&rig);
	}
	cr_expect_eq(fill(&rig, 0, 64), 64);
	cr_expect_not(driver_take_used(&rig.driver, &head, &written));
	stop(&rig);
}

Test(virtio_rng, bug07_buffers_outside_ram_are_length_0_and_a_fault)
{
	static const struct driver_buffer cases[][2] = {
		{ { IOVA(FRONT_RAM), 64, true }, { IOVA(BUFFER), 0, true } },
		{ { IOVA(FRONT_RAM - 32), 64, true },
		  { IOVA(BUFFER), 0, true } },
		{ { IOVA(UINT64_MAX - 15), 64, true },
		  { IOVA(BUFFER), 0, true } },
		{ { IOVA(UINT64_MAX), 1, true }, { IOVA(BUFFER), 64, true } },
		{ { IOVA(BUFFER), 64, true }, { IOVA(FRONT_RAM), 1, true } },
	};
	static struct rig rig;
	unsigned int i;

	start(&rig);
	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		cr_expect_eq(request(&rig, cases[i], 2), 0, "case %u", i);
		cr_expect_eq(faults(&rig), i + 1, "case %u", i);
		cr_expect_eq(fill(&rig, 0, 64), 64, "case %u", i);
	}
	/* The last byte of RAM is RAM. */
	cr_expect_eq(fill(&rig, BUFFER_BYTES - 64, 64), 64);
	cr_expect_eq(virtio_rng_count(&rig.rng).errors, ARRAY_SIZE(cases));
	cr_expect_eq(virtio_rng_count(&rig.rng).requests,
		     2 * ARRAY_SIZE(cases) + 1);
	stop(&rig);
}

Test(virtio_rng, bug08_nothing_to_fill_is_length_0_each_time)
{
	static const struct driver_buffer readable = { IOVA(BUFFER), 64,
						       false };
	static const struct driver_buffer empty = { IOVA(BUFFER), 0, true };
	static struct rig rig;

	start(&rig);
	cr_expect_eq(fill(&rig, 4096, 64), 64);
	cr_expect_eq(request(&rig, &readable, 1), 0);
	cr_expect_eq(request(&rig, &empty, 1), 0);
	cr_expect_eq(buffer(&rig)[0], 0);
	cr_expect_eq(faults(&rig), 0);
	cr_expect_eq(virtio_rng_count(&rig.rng).errors, 2);
	cr_expect_eq(fill(&rig, 0, 5), 5);
	cr_expect(is_filled_until(&rig, 5));
	stop(&rig);
}

Test(virtio_rng, bug06_broken_ring_needs_a_reset_and_works_after_it)
{
	static struct rig rig;
	uint16_t *available;

	start(&rig);
	available = driver_ring(&rig.driver, QUEUE_AVAILABLE);
	__atomic_store_n(&available[1], 1000, __ATOMIC_RELEASE);
	rng_write(&rig, VIRTIO_MMIO_QUEUE_NOTIFY, 0);
	cr_expect(eventually_needs_reset(&rig));
	negotiate(&rig);
	cr_expect_eq(fill(&rig, 0, 64), 64);
	stop(&rig);
}

Test(virtio_rng, bug05_rings_that_are_not_ram_need_a_reset)
{
	static struct rig rig;

	start(&rig);
	rng_write(&rig, VIRTIO_MMIO_STATUS, 0);
	rng_write(&rig, VIRTIO_MMIO_STATUS, 1);
	rng_write(&rig, VIRTIO_MMIO_STATUS, 3);
	rng_write(&rig, VIRTIO_MMIO_DRIVER_FEATURES_SEL, 1);
	rng_write(&rig, VIRTIO_MMIO_DRIVER_FEATURES, 1);
	rng_write(&rig, VIRTIO_MMIO_STATUS, 11);
	rng_write(&rig, VIRTIO_MMIO_QUEUE_NUM, ENTRIES);
	rng_write(&rig, VIRTIO_MMIO_QUEUE_USED_LOW, FRONT_RAM);
	rng_write(&rig, VIRTIO_MMIO_QUEUE_READY, 1);
	rng_write(&rig, VIRTIO_MMIO_STATUS, 15);
	cr_expect(eventually_needs_reset(&rig));
	negotiate(&rig);
	cr_expect_eq(fill(&rig, 0, 64), 64);
	stop(&rig);
}

Test(virtio_rng, bug04_reset_and_queue_ready_0_end_the_service)
{
	static struct rig rig;
	const struct driver_buffer chunk = { IOVA(BUFFER), 64, true };
	unsigned int turn, i;

	start(&rig);
	for (turn = 0; turn < 6; turn++) {
		cr_expect_eq(fill(&rig, 0, 64), 64);
		rng_write(&rig, VIRTIO_MMIO_QUEUE_SEL, 0);
		if (turn % 2)
			rng_write(&rig, VIRTIO_MMIO_QUEUE_READY, 0);
		else
			rng_write(&rig, VIRTIO_MMIO_STATUS, 0);
		memset(buffer(&rig), 0, 64);
		cr_assert_geq(driver_add(&rig.driver, &chunk, 1), 0);
		driver_publish(&rig.driver);
		rng_write(&rig, VIRTIO_MMIO_QUEUE_NOTIFY, 0);
		cr_assert_eq(eventfd_write(virtio_rng_kick_fd(&rig.rng), 1), 0);
		for (i = 0; i < 50; i++)
			moment();
		cr_expect_eq(buffer(&rig)[0], 0);
		negotiate(&rig);
	}
	stop(&rig);
}

Test(virtio_rng, host_without_entropy_is_length_0_and_the_device_lives)
{
	static struct rig rig;
	struct virtio_rng other;
	unsigned int i;

	start(&rig);
	__atomic_store_n(&host.error, ENOSYS, __ATOMIC_SEQ_CST);
	for (i = 0; i < 20; i++)
		cr_expect_eq(fill(&rig, 0, 64), 0);
	cr_expect_eq(buffer(&rig)[0], 0);
	cr_expect_eq(virtio_rng_count(&rig.rng).errors, 20);
	cr_expect_eq(virtio_rng_init(&other, "rng", &rig.front.memory, -1),
		     -ENOSYS);
	__atomic_store_n(&host.error, 0, __ATOMIC_SEQ_CST);
	cr_expect_eq(fill(&rig, 0, 64), 64);
	stop(&rig);
}

Test(virtio_rng, device_without_a_thread_can_be_destroyed)
{
	struct virtio_rng rng;
	static struct rig rig;

	front_create(&rig.front);
	cr_assert_eq(virtio_rng_init(&rng, "rng", &rig.front.memory, -1), 0);
	virtio_rng_destroy(&rng);
	front_destroy(&rig.front);
}

Test(virtio_rng, what_the_guest_did_not_map_for_it_is_an_event_and_length_0)
{
	static struct rig rig = { .iommu = true };
	struct virtio_iommu_fault record;
	uint32_t written;

	start(&rig);
	front_post_events(&rig.front, 4, FRONT_RECORD);
	cr_expect_eq(fill(&rig, 0, 64), 0);
	cr_expect_eq(buffer(&rig)[0], 0);
	cr_expect_eq(faults(&rig), 1);
	cr_expect_eq(
		fault_queue_read_counters(&rig.front.iommu.faults).reported, 1);
	virtio_iommu_serve_faults(&rig.front.viommu);
	cr_assert(front_take_event(&rig.front, &record, &written));
	cr_expect_eq(record.endpoint, ENDPOINT);
	cr_expect_eq(record.address, BEHIND + BUFFER);
	/* Mapped for reading only: the same. */
	map(&rig, BUFFER, PAGE_SIZE, VIRTIO_IOMMU_MAP_F_READ);
	cr_expect_eq(fill(&rig, 0, 64), 0);
	map(&rig, BUFFER + PAGE_SIZE, PAGE_SIZE, VIRTIO_IOMMU_MAP_F_WRITE);
	cr_expect_eq(fill(&rig, PAGE_SIZE, 64), 64);
	/* Up to the end of the page, and not a byte more. */
	cr_expect_eq(fill(&rig, PAGE_SIZE, PAGE_SIZE), PAGE_SIZE);
	cr_expect_eq(fill(&rig, PAGE_SIZE, PAGE_SIZE + 1), 0);
	cr_expect_eq(buffer(&rig)[2 * PAGE_SIZE], 0);
	/* What was taken away is gone. */
	cr_assert_eq(front_unmap(&rig.front, DOMAIN,
				 BEHIND + BUFFER + PAGE_SIZE,
				 BEHIND + BUFFER + 2 * PAGE_SIZE - 1),
		     0);
	memset(buffer(&rig), 0, 2 * PAGE_SIZE);
	cr_expect_eq(fill(&rig, PAGE_SIZE, 64), 0);
	cr_expect_eq(buffer(&rig)[PAGE_SIZE], 0);
	cr_expect_eq(virtio_rng_count(&rig.rng).errors, 4);
	stop(&rig);
}

Test(virtio_rng, waiting_for_tokens_holds_nothing_that_an_unmap_waits_for)
{
	const struct rate_config creep = { .bandwidth = 1 };
	static struct rig rig = { .iommu = true };
	struct driver_buffer chunk;
	uint32_t written;
	unsigned int i;

	start(&rig);
	rate_limit_destroy(&rig.rng.limit);
	rate_limit_init(&rig.rng.limit, &creep, rate_limit_now_ns());
	map(&rig, BUFFER, PAGE_SIZE, VIRTIO_IOMMU_MAP_F_WRITE);
	chunk = (struct driver_buffer){ at(&rig, BUFFER), PAGE_SIZE, true };
	for (i = 0; i < ENTRIES; i++)
		cr_assert_geq(driver_add(&rig.driver, &chunk, 1), 0);
	show(&rig);
	cr_assert(take(&rig, &written));
	cr_expect_eq(front_unmap(&rig.front, DOMAIN, BEHIND + BUFFER,
				 BEHIND + BUFFER + PAGE_SIZE - 1),
		     0);
	cr_expect_eq(iommu_read_counters(&rig.front.iommu).unmap_waits, 0);
	cr_expect_eq(virtio_rng_count(&rig.rng).requests, 1);
	stop(&rig);
}
