/* SPDX-License-Identifier: Apache-2.0 */
/* The door of an endpoint: translation, faults, rings. */
#include "memory/dma.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>

#include "iommu_rig.h"

#define P PAGE_SIZE
#define RW (IOMMU_MAP_READ | IOMMU_MAP_WRITE)

static struct rig rig;
static struct dma *door = &rig.doors[0];

static void setup(void)
{
	rig_setup(&rig, false);
	cr_assert_eq(rig_attach(&rig, 1, RIG_FIRST, 0), IOMMU_OK);
}

static void map(uint64_t first, uint64_t size, uint64_t physical)
{
	cr_assert_eq(rig_map(&rig, 1, first, first + size - 1, physical, RW),
		     IOMMU_OK);
}

static void unmap(uint64_t first, uint64_t size)
{
	cr_assert_eq(rig_unmap(&rig, 1, first, first + size - 1), IOMMU_OK);
}

/* --- spans --- */

Test(dma_iommu, pieces_that_touch_in_the_host_are_merged_across_spans)
{
	/* Far apart for the device, one after the other in RAM. */
	struct dma_span spans[3] = {
		{ IOVA(100 * P + 0x800), 0x800, DMA_WRITE },
		{ IOVA(5 * P), 2 * (uint32_t)P, DMA_WRITE },
		{ IOVA(50 * P), 0x10, DMA_WRITE },
	};
	struct dma_position position = { 0 };
	const struct dma_span *published;
	struct dma_fault fault;
	struct iovec iov[8];
	unsigned int round;

	setup();
	map(100 * P, P, P);
	map(5 * P, P, 2 * P);
	map(6 * P, P, 3 * P);
	map(50 * P, P, 4 * P);
	cr_assert_eq(dma_publish(door, 0, spans, 3, &published), 0);
	dma_commit(door);
	for (round = 0; round < 2; round++) {
		position = (struct dma_position){ 0 };
		cr_assert_eq(dma_translate(door, published, 3, DMA_WRITE,
					   UINT64_MAX, &position, iov, 8,
					   &fault),
			     1);
		cr_assert_eq(iov[0].iov_base, rig_host(&rig, P + 0x800));
		cr_assert_eq(iov[0].iov_len, 0x800 + 2 * P + 0x10);
		cr_assert_eq(position.span, 3);
	}
	rig_teardown(&rig);
}

Test(dma_iommu, pages_in_any_order_are_reached_byte_for_byte)
{
	struct dma_position position = { 0 };
	const struct dma_span *span;
	struct dma_fault fault;
	struct iovec iov[4];
	uint64_t at = 0;
	uint64_t i;

	setup();
	for (i = 0; i < 16; i++)
		map((16 + i) * P, P, (i * 7 % 16) * P);
	span = rig_publish(door, 0, 16 * P + 100, 16 * P - 200, DMA_READ);
	while (at < 16 * P - 200) {
		int count = dma_translate(door, span, 1, DMA_READ, 9000,
					  &position, iov, 4, &fault);
		int j;

		cr_assert_gt(count, 0);
		for (j = 0; j < count; j++) {
			for (i = 0; i < iov[j].iov_len; i++, at++) {
				uint64_t page = (at + 100) / P * 7 % 16;
				uint64_t gpa = page * P + (at + 100) % P;

				cr_assert_eq((uint8_t *)iov[j].iov_base + i,
					     rig_host(&rig, gpa), "byte %lu",
					     at);
			}
		}
	}
	cr_assert_eq(at, 16 * P - 200);
	rig_teardown(&rig);
}

struct span_fault {
	const char *name;
	uint64_t first;
	uint32_t len;
	enum fault_reason reason;
	uint64_t address;
};

/* Mapped: [P, 3P), [5P, 6P) for reading only, [8P, 9P) to what is no RAM. */
/* clang-format off */
static const struct span_fault span_faults[] = {
	{ "before", P - 1, 2, FAULT_MAPPING, P - 1 },
	{ "at 0", 0, 1, FAULT_MAPPING, 0 },
	{ "behind", 2 * P, 2 * P, FAULT_MAPPING, 3 * P },
	{ "one byte behind", 3 * P - 1, 2, FAULT_MAPPING, 3 * P },
	{ "far behind", P, UINT32_MAX, FAULT_MAPPING, 3 * P },
	{ "for reading only", 5 * P + 1, 1, FAULT_MAPPING, 5 * P + 1 },
	{ "no RAM", 8 * P + 9, 1, FAULT_UNKNOWN, 8 * P + 9 },
	{ "the last input page", RIG_END - 1, 1, FAULT_MAPPING, RIG_END - 1 },
	{ "beyond the input range", RIG_END, 1, FAULT_MAPPING, RIG_END },
	{ "mapped, in another world", RIG_END + P, 1, FAULT_MAPPING, RIG_END + P },
	{ "the sign bit", INT64_MIN + P, 1, FAULT_MAPPING, INT64_MIN + P },
	{ "the last byte", UINT64_MAX, 1, FAULT_MAPPING, UINT64_MAX },
	{ "past 2^64", UINT64_MAX, 2 * (uint32_t)P, FAULT_MAPPING, UINT64_MAX },
	{ "the MSI region", RIG_MSI, 4, FAULT_MAPPING, RIG_MSI },
};
/* clang-format on */

Test(dma_iommu, bug07_s37_s60_s69_accesses_fault_where_they_leave_the_map)
{
	unsigned int i;

	setup();
	map(P, 2 * P, 7 * P);
	cr_assert_eq(rig_map(&rig, 1, 5 * P, 6 * P - 1, 0, IOMMU_MAP_READ),
		     IOMMU_OK);
	map(8 * P, P, RIG_LOW_END);
	for (i = 0; i < ARRAY_SIZE(span_faults); i++) {
		const struct span_fault *c = &span_faults[i];
		uint64_t faults = door->counters.faults;
		struct fault fault;

		cr_expect(rig_faults(door, c->first, c->len, DMA_WRITE,
				     c->reason, c->address),
			  "%s", c->name);
		cr_expect_eq(door->counters.faults, faults + 1, "%s", c->name);
		/* s63: and the guest hears of it, with the endpoint's number. */
		cr_assert(fault_queue_pop(&rig.iommu.faults, &fault), "%s",
			  c->name);
		cr_expect_eq(fault.reason, c->reason, "%s", c->name);
		cr_expect_eq(fault.flags, FAULT_WRITE, "%s", c->name);
		cr_expect_eq(fault.endpoint, RIG_FIRST, "%s", c->name);
		cr_expect_eq(fault.address, c->address, "%s", c->name);
		cr_assert(!fault_queue_pop(&rig.iommu.faults, &fault));
	}
	/* A fault hurts the one request: the next one works. */
	cr_assert_eq(rig_reach(door, P, 2 * P, DMA_WRITE),
		     rig_host(&rig, 7 * P));
	rig_teardown(&rig);
}

Test(dma_iommu, a_flood_of_faults_is_bounded)
{
	unsigned int i;

	setup();
	for (i = 0; i < 1000; i++)
		cr_assert(rig_faults(door, i % 20 * P, 1, DMA_READ,
				     FAULT_MAPPING, i % 20 * P));
	cr_assert_eq(door->counters.faults, 1000);
	cr_assert_eq(rig.iommu.faults.count, 16);
	cr_assert_eq(fault_queue_read_counters(&rig.iommu.faults).dropped, 200);
	rig_teardown(&rig);
}

Test(dma_iommu, translations_of_one_commit_go_by_one_map)
{
	struct dma_position position = { 0 };
	const struct dma_span *span;
	struct dma_fault fault;
	struct iovec iov;

	setup();
	map(0, P, P);
	span = rig_publish(door, 0, 0, P, DMA_READ);
	/* What is mapped later is there, what is unmapped later is not. */
	cr_assert_eq(rig_unmap(&rig, 1, 0, P - 1), IOMMU_DEFERRED);
	cr_assert_eq(dma_translate(door, span, 1, DMA_READ, P, &position, &iov,
				   1, &fault),
		     -EFAULT);
	map(0, P, 2 * P);
	cr_assert_eq(dma_translate(door, span, 1, DMA_READ, P, &position, &iov,
				   1, &fault),
		     1);
	cr_assert_eq(iov.iov_base, rig_host(&rig, 2 * P));
	rig_teardown(&rig);
}

/* --- rings --- */

Test(dma_iommu, bug05_rings_are_found_page_by_page)
{
	struct dma_fault fault = { .address = { 0x5a5a } };
	struct dma_ring ring;
	uint32_t at;

	setup();
	map(16 * P, P, 9 * P);
	map(17 * P, P, 3 * P);
	map(18 * P, P, RIG_HIGH);
	map(RIG_END - P, P, 0);
	cr_assert_eq(dma_ring_map(door, &ring, IOVA(16 * P + 0x10), 0x2000,
				  DMA_READ, &fault),
		     0);
	for (at = 0; at < 0x2000; at++) {
		static const uint64_t pages[] = { 9 * PAGE_SIZE, 3 * PAGE_SIZE,
						  RIG_HIGH };
		uint64_t byte = at + 0x10;

		cr_assert_eq(dma_ring_at(&ring, at),
			     rig_host(&rig, pages[byte / P] + byte % P));
	}
	cr_assert_eq(dma_ring_map(door, &ring, IOVA(18 * P), 0x1001, DMA_READ,
				  &fault),
		     -EFAULT);
	cr_assert_eq(fault.address.v, 19 * P);
	cr_assert_eq(fault.reason, FAULT_MAPPING);
	cr_assert_eq(dma_ring_map(door, &ring, IOVA(RIG_END - 8), 16, DMA_READ,
				  &fault),
		     -EFAULT);
	cr_assert_eq(fault.address.v, RIG_END);
	cr_assert_eq(ring.first.v, 16 * P + 0x10, "untouched");
	rig_teardown(&rig);
}

Test(dma_iommu, rings_need_their_permission_and_ram)
{
	struct dma_fault fault;
	struct dma_ring ring;

	setup();
	cr_assert_eq(rig_map(&rig, 1, 0, P - 1, 0, IOMMU_MAP_READ), IOMMU_OK);
	cr_assert_eq(rig_map(&rig, 1, P, 2 * P - 1, 0, RW | IOMMU_MAP_MMIO),
		     IOMMU_OK);
	map(2 * P, P, RIG_LOW_END);
	cr_assert_eq(dma_ring_map(door, &ring, IOVA(0), 8, DMA_READ, &fault),
		     0);
	cr_assert_eq(dma_ring_map(door, &ring, IOVA(4), 8, DMA_WRITE, &fault),
		     -EFAULT);
	cr_assert_eq(fault.reason, FAULT_MAPPING);
	cr_assert_eq(fault.address.v, 4);
	cr_assert_eq(dma_ring_map(door, &ring, IOVA(P), 8, DMA_WRITE, &fault),
		     -EFAULT);
	cr_assert_eq(fault.reason, FAULT_UNKNOWN);
	cr_assert_eq(dma_ring_map(door, &ring, IOVA(2 * P), 8, DMA_WRITE,
				  &fault),
		     -EFAULT);
	cr_assert_eq(fault.reason, FAULT_UNKNOWN);
	cr_assert_eq(dma_ring_map(&rig.doors[2], &ring, IOVA(0), 8, DMA_READ,
				  &fault),
		     -EFAULT);
	cr_assert_eq(fault.reason, FAULT_DOMAIN);
	rig_teardown(&rig);
}

Test(dma_iommu, rings_in_large_mappings_and_in_bypass)
{
	struct dma_fault fault;
	struct dma_ring ring;

	setup();
	map(32 * MIB, 2 * MIB, RIG_MIDDLE);
	cr_assert_eq(dma_ring_map(door, &ring, IOVA(33 * MIB + 8), P, DMA_WRITE,
				  &fault),
		     0);
	cr_assert_eq(dma_ring_at(&ring, 1),
		     rig_host(&rig, RIG_MIDDLE + MIB + 9));
	cr_assert(dma_rings_begin(door, &ring, 1, &fault));
	dma_rings_end(door);
	cr_assert_eq(rig_attach(&rig, 3, RIG_FIRST, IOMMU_ATTACH_BYPASS),
		     IOMMU_OK);
	cr_assert(!dma_rings_begin(door, &ring, 1, &fault));
	cr_assert_eq(fault.reason, FAULT_UNKNOWN);
	cr_assert_eq(dma_ring_map(door, &ring, IOVA(RIG_MIDDLE), P, DMA_WRITE,
				  &fault),
		     0);
	cr_assert(dma_rings_begin(door, &ring, 1, &fault));
	cr_assert_eq(dma_ring_at(&ring, 0), rig_host(&rig, RIG_MIDDLE));
	dma_rings_end(door);
	rig_teardown(&rig);
}

Test(dma_iommu, ring_parts_count_as_hits_while_they_stay)
{
	struct dma_fault fault;
	struct dma_ring rings[2];
	unsigned int i;

	setup();
	map(0, P, P);
	map(P, P, 5 * P);
	cr_assert_eq(dma_ring_map(door, &rings[0], IOVA(0), 64, DMA_READ,
				  &fault),
		     0);
	cr_assert_eq(dma_ring_map(door, &rings[1], IOVA(P), 64, DMA_WRITE,
				  &fault),
		     0);
	for (i = 0; i < 5; i++) {
		cr_assert(dma_rings_begin(door, rings, 2, &fault));
		dma_rings_end(door);
	}
	cr_assert_eq(door->counters.hits, 10);
	cr_assert_eq(door->counters.misses, 0);

	/* Taken away and mapped elsewhere between two sections: found again. */
	unmap(P, P);
	map(P, P, 9 * P);
	cr_assert(dma_rings_begin(door, rings, 2, &fault));
	cr_assert_eq(dma_ring_at(&rings[1], 3), rig_host(&rig, 9 * P + 3));
	cr_assert_eq(dma_ring_at(&rings[0], 3), rig_host(&rig, P + 3));
	dma_rings_end(door);
	cr_assert_eq(door->counters.hits, 11);
	cr_assert_eq(door->counters.misses, 1);

	/* Likewise in another domain. */
	cr_assert_eq(rig_attach(&rig, 2, RIG_FIRST, 0), IOMMU_OK);
	cr_assert(!dma_rings_begin(door, rings, 2, &fault));
	cr_assert_eq(rig_map(&rig, 2, 0, 2 * P - 1, 20 * P, RW), IOMMU_OK);
	cr_assert(dma_rings_begin(door, rings, 2, &fault));
	cr_assert_eq(dma_ring_at(&rings[1], 0), rig_host(&rig, 21 * P));
	dma_rings_end(door);
	rig_teardown(&rig);
}

/* What a failed look has left in the ring is not what the next one finds. */
static void ring_stays_lost(uint64_t physical, uint32_t flags,
			    enum fault_reason reason)
{
	struct dma_fault fault = { .access = 0 };
	struct dma_ring ring;
	unsigned int i;

	setup();
	map(0, 3 * P, P);
	cr_assert_eq(dma_ring_map(door, &ring, IOVA(0), P, DMA_WRITE, &fault),
		     0);
	unmap(0, 3 * P);
	cr_assert_eq(rig_map(&rig, 1, 0, 3 * P - 1, physical,
			     IOMMU_MAP_READ | IOMMU_MAP_WRITE | flags),
		     IOMMU_OK);
	for (i = 0; i < 8; i++) {
		cr_assert(!dma_rings_begin(door, &ring, 1, &fault), "%u", i);
		cr_assert_eq(fault.reason, reason);
		cr_assert_eq(fault.address.v, 0);
	}
	unmap(0, 3 * P);
	cr_assert(!dma_rings_begin(door, &ring, 1, &fault));
	cr_assert_eq(fault.reason, FAULT_MAPPING);
	map(0, 3 * P, 5 * P);
	cr_assert(dma_rings_begin(door, &ring, 1, &fault));
	cr_assert_eq(dma_ring_at(&ring, 0), rig_host(&rig, 5 * P));
	dma_rings_end(door);
	rig_teardown(&rig);
}

Test(dma_iommu, bug05_a_ring_that_became_no_ram_stays_lost)
{
	ring_stays_lost(UINT64_C(0x700000000), 0, FAULT_UNKNOWN);
}

Test(dma_iommu, bug05_a_ring_that_became_mmio_stays_lost)
{
	ring_stays_lost(P, IOMMU_MAP_MMIO, FAULT_UNKNOWN);
}

Test(dma_iommu, a_ring_page_that_is_gone_is_a_fault_and_comes_back)
{
	struct dma_fault fault = { .access = 0 };
	struct dma_ring ring;
	struct fault report;

	setup();
	map(0, 2 * P, P);
	map(2 * P, P, 9 * P);
	cr_assert_eq(dma_ring_map(door, &ring, IOVA(P + 16), P, DMA_WRITE,
				  &fault),
		     0);
	unmap(2 * P, P);
	cr_assert(!dma_rings_begin(door, &ring, 1, &fault));
	cr_assert_eq(fault.address.v, 2 * P);
	cr_assert(fault_queue_pop(&rig.iommu.faults, &report));
	cr_assert_eq(report.address, 2 * P);
	cr_assert(!dma_rings_begin(door, &ring, 1, &fault));
	unmap(0, 2 * P);
	cr_assert(!dma_rings_begin(door, &ring, 1, &fault));
	cr_assert_eq(fault.address.v, P + 16, "in the ring");
	map(0, 3 * P, P);
	cr_assert(dma_rings_begin(door, &ring, 1, &fault));
	cr_assert_eq(dma_ring_at(&ring, (uint32_t)P),
		     rig_host(&rig, 3 * P + 16));
	dma_rings_end(door);
	rig_teardown(&rig);
}
