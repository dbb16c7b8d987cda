/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What each request answers, byte for byte. sNN are the numbers of the
 * specification's statements (docs/conformance.md).
 */
#include <criterion/criterion.h>
#include <string.h>

#include "tests/unit/devices/iommu_front.h"

#define PAGE UINT64_C(0x10000) /* a page that tests map */
#define RAM UINT64_C(0x800000) /* to this one */
#define READ VIRTIO_IOMMU_MAP_F_READ
#define WRITE VIRTIO_IOMMU_MAP_F_WRITE
#define RW (READ | WRITE)

/* The driver is there, and endpoint 1 attached to domain 7. */
static void start_attached(struct iommu_front *rig)
{
	front_start(rig);
	cr_assert_eq(front_attach(rig, 7, FRONT_FIRST), VIRTIO_IOMMU_S_OK);
}

Test(virtio_iommu, s10_success_is_ok)
{
	struct iommu_front rig = { 0 };

	start_attached(&rig);
	cr_expect_eq(front_map(&rig, 7, PAGE, PAGE + 0xfff, RAM, RW), 0);
	cr_expect_eq(front_unmap(&rig, 7, PAGE, PAGE + 0xfff), 0);
	cr_expect_eq(front_detach(&rig, 7, FRONT_FIRST), 0);
	front_destroy(&rig);
}

Test(virtio_iommu, s16_attach_with_reserved_set_is_inval)
{
	struct iommu_front rig = { 0 };
	unsigned int i;

	front_start(&rig);
	for (i = 0; i < 4; i++) {
		struct virtio_iommu_req_attach request = {
			.head.type = VIRTIO_IOMMU_T_ATTACH,
			.endpoint = FRONT_FIRST,
		};

		request.reserved[i] = 1;
		cr_expect_eq(FRONT_STATUS(&rig, request), VIRTIO_IOMMU_S_INVAL);
	}
	cr_expect_eq(iommu_read_counters(&rig.iommu).attach, 0);
	cr_expect_eq(iommu_read_counters(&rig.iommu).rejected, 4);
	front_destroy(&rig);
}

Test(virtio_iommu, s17_attach_with_an_unknown_flag_is_inval)
{
	struct virtio_iommu_req_attach request = {
		.head.type = VIRTIO_IOMMU_T_ATTACH,
		.endpoint = FRONT_FIRST,
		.flags = 2,
	};
	struct iommu_front rig = { 0 };

	front_start(&rig);
	cr_expect_eq(FRONT_STATUS(&rig, request), VIRTIO_IOMMU_S_INVAL);
	request.flags = 0x80000000;
	cr_expect_eq(FRONT_STATUS(&rig, request), VIRTIO_IOMMU_S_INVAL);
	/* BYPASS is one where BYPASS_CONFIG was not negotiated. */
	request.flags = VIRTIO_IOMMU_ATTACH_F_BYPASS;
	cr_expect_eq(FRONT_STATUS(&rig, request), VIRTIO_IOMMU_S_INVAL);
	front_destroy(&rig);
}

Test(virtio_iommu, s18_a07_a12_attach_of_an_unknown_endpoint_is_noent)
{
	const uint32_t unknown[] = { 0, 3, 0x10001, 0x80000001, 0xffffffff };
	struct iommu_front rig = { 0 };
	unsigned int i;

	front_start(&rig);
	for (i = 0; i < ARRAY_SIZE(unknown); i++)
		cr_expect_eq(front_attach(&rig, 7, unknown[i]),
			     VIRTIO_IOMMU_S_NOENT);
	front_destroy(&rig);
}

Test(virtio_iommu, s19_a_second_endpoint_joins_a_domain)
{
	struct iommu_front rig = { 0 };

	start_attached(&rig);
	cr_assert_eq(front_map(&rig, 7, PAGE, PAGE + 0xfff, RAM, RW), 0);
	cr_expect_eq(front_attach(&rig, 7, FRONT_SECOND), 0);
	cr_expect(front_reaches(&rig, 1, PAGE, 64, DMA_READ, RAM));
	front_destroy(&rig);
}

Test(virtio_iommu, s21_s36_s42_the_bypass_flag_agrees_with_the_domain)
{
	struct virtio_iommu_req_attach request = {
		.head.type = VIRTIO_IOMMU_T_ATTACH,
		.domain = 7,
		.endpoint = FRONT_FIRST,
		.flags = VIRTIO_IOMMU_ATTACH_F_BYPASS,
	};
	struct iommu_front rig = { .bypass = true };

	front_start(&rig);
	front_config_write(&rig, 36, 1, 0);
	cr_expect_eq(FRONT_STATUS(&rig, request), 0);
	cr_expect(front_reaches(&rig, 0, RAM, 64, DMA_WRITE, RAM));
	cr_expect_eq(front_attach(&rig, 7, FRONT_SECOND), VIRTIO_IOMMU_S_INVAL);
	cr_expect_eq(front_attach(&rig, 8, FRONT_SECOND), 0);
	request.domain = 8;
	cr_expect_eq(FRONT_STATUS(&rig, request), VIRTIO_IOMMU_S_INVAL);
	/* A bypass domain has no map. */
	cr_expect_eq(front_map(&rig, 7, PAGE, PAGE + 0xfff, RAM, RW),
		     VIRTIO_IOMMU_S_INVAL);
	cr_expect_eq(front_unmap(&rig, 7, PAGE, PAGE + 0xfff),
		     VIRTIO_IOMMU_S_INVAL);
	front_destroy(&rig);
}

Test(virtio_iommu, s22_s23_attach_elsewhere_detaches_first)
{
	struct iommu_front rig = { 0 };

	start_attached(&rig);
	cr_assert_eq(front_attach(&rig, 7, FRONT_SECOND), 0);
	cr_assert_eq(front_map(&rig, 7, PAGE, PAGE + 0xfff, RAM, RW), 0);
	cr_expect_eq(front_attach(&rig, 8, FRONT_FIRST), 0);
	cr_expect(front_faults(&rig, 0, PAGE, 64, DMA_READ));
	cr_expect(front_reaches(&rig, 1, PAGE, 64, DMA_READ, RAM));
	cr_expect_eq(front_detach(&rig, 7, FRONT_FIRST), VIRTIO_IOMMU_S_INVAL);
	cr_expect_eq(front_detach(&rig, 8, FRONT_FIRST), 0);
	front_destroy(&rig);
}

Test(virtio_iommu, s25_s27_what_is_not_rejected_is_attached)
{
	struct iommu_front rig = { 0 };

	start_attached(&rig);
	cr_assert_eq(front_map(&rig, 7, PAGE, PAGE + 0xfff, RAM, RW), 0);
	cr_expect_eq(front_attach(&rig, 7, FRONT_FIRST), 0);
	cr_expect(front_reaches(&rig, 0, PAGE, 64, DMA_READ, RAM));
	front_destroy(&rig);
}

Test(virtio_iommu, s28_detach_ignores_reserved)
{
	struct virtio_iommu_req_detach request = {
		.head.type = VIRTIO_IOMMU_T_DETACH,
		.domain = 7,
		.endpoint = FRONT_FIRST,
	};
	struct iommu_front rig = { 0 };

	start_attached(&rig);
	memset(request.reserved, 0xff, sizeof(request.reserved));
	cr_expect_eq(FRONT_STATUS(&rig, request), 0);
	front_destroy(&rig);
}

Test(virtio_iommu, s29_s30_detach_of_what_is_not_attached)
{
	struct iommu_front rig = { 0 };

	start_attached(&rig);
	cr_expect_eq(front_detach(&rig, 7, 99), VIRTIO_IOMMU_S_NOENT);
	cr_expect_eq(front_detach(&rig, 7, 0xffffffff), VIRTIO_IOMMU_S_NOENT);
	cr_expect_eq(front_detach(&rig, 8, FRONT_FIRST), VIRTIO_IOMMU_S_INVAL);
	cr_expect_eq(front_detach(&rig, 7, FRONT_SECOND), VIRTIO_IOMMU_S_INVAL);
	front_destroy(&rig);
}

Test(virtio_iommu, s31_s71_after_detach_nothing_is_reached)
{
	struct iommu_front rig = { 0 };

	start_attached(&rig);
	cr_assert_eq(front_map(&rig, 7, PAGE, PAGE + 0xfff, RAM, RW), 0);
	cr_expect_eq(front_detach(&rig, 7, FRONT_FIRST), 0);
	cr_expect(front_faults(&rig, 0, PAGE, 64, DMA_READ));
	/* That was the domain's last endpoint. */
	cr_expect_eq(front_map(&rig, 7, PAGE, PAGE + 0xfff, RAM, RW),
		     VIRTIO_IOMMU_S_NOENT);
	cr_expect_eq(front_attach(&rig, 7, FRONT_FIRST), 0);
	cr_expect(front_faults(&rig, 0, PAGE, 64, DMA_READ));
	front_destroy(&rig);
}

#define END UINT64_C(0x1000000000) /* of the input range */

static const struct {
	uint64_t first, last, physical;
	uint32_t flags;
	uint8_t status;
} maps[] = {
	/* Domain 7 has [PAGE, PAGE + 0xfff]. */
	{ PAGE + 1, PAGE + 0x1fff, RAM, RW, VIRTIO_IOMMU_S_RANGE },
	{ PAGE + 0x1000, PAGE + 0x1ffe, RAM, RW, VIRTIO_IOMMU_S_RANGE },
	{ PAGE + 0x1000, PAGE + 0x2000, RAM, RW, VIRTIO_IOMMU_S_RANGE },
	{ PAGE + 0x1000, PAGE + 0x1fff, RAM + 8, RW, VIRTIO_IOMMU_S_RANGE },
	{ PAGE, PAGE + 0xfff, RAM, RW, VIRTIO_IOMMU_S_INVAL },
	{ PAGE - 0x1000, PAGE + 0x1fff, RAM, RW, VIRTIO_IOMMU_S_INVAL },
	{ 0, END - 1, 0, RW, VIRTIO_IOMMU_S_INVAL },
	{ PAGE + 0x1000, PAGE + 0x1fff, RAM, RW | 8, VIRTIO_IOMMU_S_INVAL },
	{ PAGE + 0x1000, PAGE + 0x1fff, RAM, 1U << 31, VIRTIO_IOMMU_S_INVAL },
	/* The MSI region. */
	{ 0xfee00000, 0xfee00fff, RAM, RW, VIRTIO_IOMMU_S_INVAL },
	{ 0xfedff000, 0xfee00fff, RAM, RW, VIRTIO_IOMMU_S_INVAL },
	{ 0xfeeff000, 0xfef00fff, RAM, RW, VIRTIO_IOMMU_S_INVAL },
	/* Outside of the input range. */
	{ END, END + 0xfff, RAM, RW, VIRTIO_IOMMU_S_RANGE },
	{ END - 0x1000, END + 0xfff, RAM, RW, VIRTIO_IOMMU_S_RANGE },
	{ 0, UINT64_MAX, 0, RW, VIRTIO_IOMMU_S_RANGE },
	{ UINT64_MAX - 0xfff, UINT64_MAX, 0, RW, VIRTIO_IOMMU_S_RANGE },
	{ PAGE + 0x1000, PAGE + 0x2fff, UINT64_MAX - 0xfff, RW,
	  VIRTIO_IOMMU_S_RANGE },
	/* The end before the start. */
	{ PAGE + 0x2000, PAGE + 0x1fff, RAM, RW, VIRTIO_IOMMU_S_INVAL },
	{ PAGE + 0x2000, 0, RAM, RW, VIRTIO_IOMMU_S_INVAL },
	{ UINT64_MAX, 0, RAM, RW, VIRTIO_IOMMU_S_INVAL },
	/* One page. */
	{ PAGE + 0x1000, PAGE + 0x1fff, RAM, RW, VIRTIO_IOMMU_S_OK },
	/* The first and the last one. */
	{ 0, 0xfff, RAM, RW, VIRTIO_IOMMU_S_OK },
	{ END - 0x1000, END - 1, RAM, RW, VIRTIO_IOMMU_S_OK },
};

Test(virtio_iommu, s32_s33_s34_s59_s69_s76_a04_what_map_answers)
{
	struct iommu_front rig = { 0 };
	unsigned int i;

	start_attached(&rig);
	cr_assert_eq(front_map(&rig, 7, PAGE, PAGE + 0xfff, RAM, RW), 0);
	for (i = 0; i < ARRAY_SIZE(maps); i++) {
		uint8_t status = front_map(&rig, 7, maps[i].first, maps[i].last,
					   maps[i].physical, maps[i].flags);

		cr_expect_eq(status, maps[i].status, "case %u: %u, not %u", i,
			     status, maps[i].status);
	}
	cr_expect(front_reaches(&rig, 0, PAGE, 0x1000, DMA_READ, RAM));
	front_destroy(&rig);
}

Test(virtio_iommu, s35_s41_no_such_domain_is_noent)
{
	struct iommu_front rig = { 0 };

	start_attached(&rig);
	cr_expect_eq(front_map(&rig, 8, PAGE, PAGE + 0xfff, RAM, RW),
		     VIRTIO_IOMMU_S_NOENT);
	cr_expect_eq(front_unmap(&rig, 8, PAGE, PAGE + 0xfff),
		     VIRTIO_IOMMU_S_NOENT);
	front_destroy(&rig);
}

Test(virtio_iommu, s37_s38_a06_accesses_need_their_flag)
{
	struct iommu_front rig = { 0 };

	start_attached(&rig);
	cr_expect_eq(front_map(&rig, 7, PAGE, PAGE + 0xfff, RAM, READ), 0);
	cr_expect_eq(front_map(&rig, 7, PAGE + 0x1000, PAGE + 0x1fff, RAM,
			       WRITE),
		     0);
	cr_expect(front_reaches(&rig, 0, PAGE, 64, DMA_READ, RAM));
	cr_expect(front_faults(&rig, 0, PAGE, 64, DMA_WRITE));
	cr_expect(front_reaches(&rig, 0, PAGE + 0x1000, 64, DMA_WRITE, RAM));
	cr_expect(front_faults(&rig, 0, PAGE + 0x1000, 64, DMA_READ));
	front_destroy(&rig);
}

Test(virtio_iommu, s39_unmap_with_reserved_set_is_inval)
{
	struct virtio_iommu_req_unmap request = {
		.head.type = VIRTIO_IOMMU_T_UNMAP,
		.domain = 7,
		.virt_start = PAGE,
		.virt_end = PAGE + 0xfff,
		.reserved = { 0, 0, 0, 1 },
	};
	struct iommu_front rig = { 0 };

	start_attached(&rig);
	cr_assert_eq(front_map(&rig, 7, PAGE, PAGE + 0xfff, RAM, RW), 0);
	cr_expect_eq(FRONT_STATUS(&rig, request), VIRTIO_IOMMU_S_INVAL);
	cr_expect(front_reaches(&rig, 0, PAGE, 64, DMA_READ, RAM));
	front_destroy(&rig);
}

Test(virtio_iommu, s43_s44_split_unmap_is_range_and_removes_nothing)
{
	const uint64_t splits[][2] = {
		{ PAGE, PAGE + 0xfff },
		{ PAGE + 0x1000, PAGE + 0x3fff },
		{ PAGE + 0x1000, PAGE + 0x1fff },
		{ PAGE, PAGE + 0x2ffe },
		{ PAGE + 1, PAGE + 0x2fff },
	};
	struct iommu_front rig = { 0 };
	unsigned int i;

	start_attached(&rig);
	cr_assert_eq(front_map(&rig, 7, PAGE, PAGE + 0x2fff, RAM, RW), 0);
	for (i = 0; i < ARRAY_SIZE(splits); i++) {
		cr_expect_eq(front_unmap(&rig, 7, splits[i][0], splits[i][1]),
			     VIRTIO_IOMMU_S_RANGE);
		cr_expect(front_reaches(&rig, 0, PAGE, 0x3000, DMA_READ, RAM));
	}
	front_destroy(&rig);
}

Test(virtio_iommu, s45_a03_unmap_takes_every_mapping_in_its_range)
{
	struct iommu_front rig = { 0 };
	uint64_t at;

	start_attached(&rig);
	for (at = 0; at < 3; at++)
		cr_assert_eq(front_map(&rig, 7, PAGE + at * 0x2000,
				       PAGE + at * 0x2000 + 0xfff, RAM, RW),
			     0);
	cr_expect_eq(front_unmap(&rig, 7, 0, UINT64_MAX), 0);
	for (at = 0; at < 3; at++)
		cr_expect(front_faults(&rig, 0, PAGE + at * 0x2000, 64,
				       DMA_READ));
	cr_expect_eq(front_unmap(&rig, 7, PAGE, PAGE + 0xfff), 0);
	cr_expect_eq(iommu_read_counters(&rig.iommu).mapped_bytes, 0);
	front_destroy(&rig);
}

/* virtio 1.2, 5.13.6.6: the examples, a byte there being a page here. */
static const struct {
	uint64_t mapped[2][2], unmapped[2];
	uint8_t status;
	bool left[10]; /* which pages are mapped after that */
} examples[] = {
	{ { { 1, 0 }, { 1, 0 } }, { 0, 4 }, 0, { 0 } },
	{ { { 0, 9 }, { 1, 0 } }, { 0, 9 }, 0, { 0 } },
	{ { { 0, 4 }, { 5, 9 } }, { 0, 9 }, 0, { 0 } },
	{ { { 0, 9 }, { 1, 0 } },
	  { 0, 4 },
	  VIRTIO_IOMMU_S_RANGE,
	  { 1, 1, 1, 1, 1, 1, 1, 1, 1, 1 } },
	{ { { 0, 4 }, { 5, 9 } },
	  { 0, 4 },
	  0,
	  { 0, 0, 0, 0, 0, 1, 1, 1, 1, 1 } },
	{ { { 0, 4 }, { 1, 0 } }, { 0, 9 }, 0, { 0 } },
	{ { { 0, 4 }, { 6, 9 } }, { 0, 9 }, 0, { 0 } },
};

Test(virtio_iommu, s73_the_unmap_examples)
{
	struct iommu_front rig = { 0 };
	unsigned int i, j;

	front_start(&rig);
	for (i = 0; i < ARRAY_SIZE(examples); i++) {
		cr_assert_eq(front_attach(&rig, i, FRONT_FIRST), 0);
		for (j = 0; j < 2; j++) {
			const uint64_t *range = examples[i].mapped[j];

			if (range[0] > range[1])
				continue;
			cr_assert_eq(front_map(&rig, i, range[0] << 12,
					       (range[1] << 12) + 0xfff, RAM,
					       RW),
				     0);
		}
		cr_expect_eq(
			front_unmap(&rig, i, examples[i].unmapped[0] << 12,
				    (examples[i].unmapped[1] << 12) + 0xfff),
			examples[i].status);
		for (j = 0; j < 10; j++)
			cr_expect_eq(front_faults(&rig, 0, (uint64_t)j << 12, 1,
						  DMA_READ),
				     !examples[i].left[j]);
	}
	front_destroy(&rig);
}

Test(virtio_iommu, s72_the_mmio_flag_only_if_negotiated)
{
	struct iommu_front with = { 0 }, without = {
		.refused_features = VIRTIO_FEATURE(VIRTIO_IOMMU_F_MMIO),
	};

	start_attached(&with);
	start_attached(&without);
	cr_expect_eq(front_map(&with, 7, PAGE, PAGE + 0xfff, RAM,
			       RW | VIRTIO_IOMMU_MAP_F_MMIO),
		     0);
	cr_expect_eq(front_map(&without, 7, PAGE, PAGE + 0xfff, RAM,
			       RW | VIRTIO_IOMMU_MAP_F_MMIO),
		     VIRTIO_IOMMU_S_INVAL);
	/* DMA reaches RAM only. */
	cr_expect(front_faults(&with, 0, PAGE, 64, DMA_WRITE));
	front_destroy(&with);
	front_destroy(&without);
}

Test(virtio_iommu, a01_a05_the_last_byte_before_a_mapped_page_faults)
{
	struct iommu_front rig = { 0 };

	start_attached(&rig);
	cr_assert_eq(front_map(&rig, 7, PAGE, PAGE + 0xfff, RAM, RW), 0);
	cr_expect(front_faults(&rig, 0, PAGE - 1, 1, DMA_READ));
	cr_expect(front_faults(&rig, 0, PAGE - 1, 2, DMA_READ));
	cr_expect(front_reaches(&rig, 0, PAGE, 1, DMA_READ, RAM));
	/* A length that runs past the mapped window. */
	cr_expect(
		front_reaches(&rig, 0, PAGE + 0xfff, 1, DMA_READ, RAM + 0xfff));
	cr_expect(front_faults(&rig, 0, PAGE + 0xfff, 2, DMA_READ));
	cr_expect(front_faults(&rig, 0, UINT64_MAX, 1, DMA_READ));
	front_destroy(&rig);
}

Test(virtio_iommu, a02_a_buffer_that_spans_adjacent_mappings_works)
{
	struct iommu_front rig = { 0 };

	start_attached(&rig);
	cr_assert_eq(front_map(&rig, 7, PAGE, PAGE + 0xfff, RAM, RW), 0);
	cr_assert_eq(front_map(&rig, 7, PAGE + 0x1000, PAGE + 0x1fff,
			       RAM + 0x1000, RW),
		     0);
	cr_expect(front_reaches(&rig, 0, PAGE + 8, 0x1ff8, DMA_WRITE, RAM + 8));
	front_destroy(&rig);
}

Test(virtio_iommu, a08_mappings_are_capped_by_nomem)
{
	struct iommu_front rig = { .tables = 256 * KIB };
	uint64_t at;
	uint8_t status = 0;

	start_attached(&rig);
	/* A leaf for each. */
	for (at = 0; at < 1000 && status == 0; at++)
		status = front_map(&rig, 7, at << 21, (at << 21) + 0xfff, RAM,
				   RW);
	cr_expect_eq(status, VIRTIO_IOMMU_S_NOMEM);
	cr_expect_lt(at, 1000);
	cr_expect_eq(iommu_read_counters(&rig.iommu).rejected_nomem, 1);
	cr_expect_eq(front_unmap(&rig, 7, 0, UINT64_MAX), 0);
	front_destroy(&rig);
}

/* What Linux sends with iommu=pt, where BYPASS_CONFIG is not offered. */
Test(virtio_iommu, one_to_one_on_both_sides_of_the_msi_region)
{
	struct iommu_front rig = { 0 };

	start_attached(&rig);
	cr_expect_eq(front_map(&rig, 7, 0, 0xfedfffff, 0, RW), 0);
	cr_expect_eq(front_map(&rig, 7, 0xfef00000, END - 1, 0xfef00000, RW),
		     0);
	cr_expect(front_reaches(&rig, 0, RAM, 0x10000, DMA_WRITE, RAM));
	cr_expect(front_faults(&rig, 0, FRONT_RAM, 1, DMA_READ));
	cr_expect(front_faults(&rig, 0, 0xfee00000, 1, DMA_READ));
	front_destroy(&rig);
}
