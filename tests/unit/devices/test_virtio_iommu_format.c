/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The form of requests and answers, byte for byte, and PROBE. sNN are the numbers
 * of the specification's statements (docs/conformance.md).
 */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "tests/unit/devices/iommu_front.h"
#include "virtio/mmio.h"

#define PAGE UINT64_C(0x10000) /* a page that tests map */
#define RAM UINT64_C(0x800000) /* to this one */
#define RW (VIRTIO_IOMMU_MAP_F_READ | VIRTIO_IOMMU_MAP_F_WRITE)

/* All @len bytes of an answer are as they were. */
static bool is_untouched(const struct front_answer *answer, size_t len)
{
	while (len > 0)
		if (answer->bytes[--len] != FRONT_UNTOUCHED)
			return false;
	return true;
}

static bool is_zero(const void *bytes, size_t len)
{
	const uint8_t *byte = bytes;

	while (len > 0)
		if (byte[--len] != 0)
			return false;
	return true;
}

Test(virtio_iommu, s11_s12_unknown_type_writes_nothing)
{
	const uint8_t types[] = { 0, 6, 7, 0x7f, 0x80, 0xff };
	struct iommu_front rig = { 0 };
	unsigned int i;

	front_start(&rig);
	for (i = 0; i < ARRAY_SIZE(types); i++) {
		const struct virtio_iommu_req_probe request = {
			.head.type = types[i],
		};
		struct front_answer answer = front_send(
			&rig, &request, sizeof(request), FRONT_PROBE_ANSWER);

		cr_expect_eq(answer.written, 0);
		cr_expect(is_untouched(&answer, FRONT_PROBE_ANSWER));
	}
	cr_expect_eq(iommu_read_counters(&rig.iommu).rejected,
		     ARRAY_SIZE(types));
	cr_expect_eq(front_attach(&rig, 7, FRONT_FIRST), 0);
	front_destroy(&rig);
}

Test(virtio_iommu, s13_head_reserved_is_ignored)
{
	const struct virtio_iommu_req_attach request = {
		.head = { VIRTIO_IOMMU_T_ATTACH, { 1, 2, 255 } },
		.domain = 7,
		.endpoint = FRONT_FIRST,
	};
	struct iommu_front rig = { 0 };

	front_start(&rig);
	cr_expect_eq(FRONT_STATUS(&rig, request), 0);
	front_destroy(&rig);
}

Test(virtio_iommu, s14_tail_reserved_is_zeroed)
{
	const struct virtio_iommu_req_detach request = {
		.head.type = VIRTIO_IOMMU_T_DETACH,
		.endpoint = 99,
	};
	struct iommu_front rig = { 0 };
	struct front_answer answer;

	front_start(&rig);
	answer = front_send(&rig, &request, offsetof(__typeof__(request), tail),
			    FRONT_TAIL);
	cr_expect_eq(answer.written, 4);
	cr_expect_eq(answer.bytes[0], VIRTIO_IOMMU_S_NOENT);
	cr_expect(is_zero(answer.bytes + 1, 3));
	front_destroy(&rig);
}

Test(virtio_iommu, s46_s56_s57_s58_probe_lists_the_msi_region)
{
	struct virtio_iommu_req_probe request = {
		.head.type = VIRTIO_IOMMU_T_PROBE,
		.endpoint = FRONT_SECOND,
	};
	const struct virtio_iommu_probe_resv_mem *property;
	struct iommu_front rig = { 0 };
	struct front_answer answer;

	front_start(&rig);
	memset(request.reserved, 0xff, sizeof(request.reserved));
	answer =
		front_send(&rig, &request, sizeof(request), FRONT_PROBE_ANSWER);
	cr_expect_eq(answer.written, FRONT_PROBE_ANSWER);
	cr_expect_eq(answer.status, VIRTIO_IOMMU_S_OK);
	cr_expect(is_zero(answer.bytes + VIRTIO_IOMMU_PROBE_SIZE + 1, 3));
	property = (const void *)answer.bytes;
	/* Bits 12 to 15 of the type are reserved. */
	cr_expect_eq(property->head.type, VIRTIO_IOMMU_PROBE_T_RESV_MEM);
	cr_expect_eq(property->head.length, sizeof(*property) - 4);
	cr_expect_eq(property->subtype, VIRTIO_IOMMU_RESV_MEM_T_MSI);
	cr_expect(is_zero(property->reserved, 3));
	cr_expect_eq(property->start, 0xfee00000);
	cr_expect_eq(property->end, 0xfeefffff);
	cr_expect(is_zero(property + 1,
			  VIRTIO_IOMMU_PROBE_SIZE - sizeof(*property)));
	cr_expect_eq(virtio_iommu_count(&rig.viommu).probe, 1);
	front_destroy(&rig);
}

Test(virtio_iommu, s50_s51_s52_s55_a_list_of_properties)
{
	const struct virtio_iommu_probe_property *property;
	unsigned int count = 0, at = 0;
	struct iommu_front rig = { 0 };
	struct front_answer answer;

	front_create(&rig);
	cr_assert_eq(iommu_reserve(&rig.iommu, IOVA(0x1000), IOVA(0x2fff),
				   IOMMU_RESERVED),
		     0);
	front_negotiate(&rig);
	answer = front_probe(&rig, FRONT_FIRST, FRONT_PROBE_ANSWER);
	for (;;) {
		property = (const void *)(answer.bytes + at);
		if (property->type == VIRTIO_IOMMU_PROBE_T_NONE)
			break;
		cr_assert_eq(property->type, VIRTIO_IOMMU_PROBE_T_RESV_MEM);
		cr_assert_eq(property->length, 20);
		at += property->length + 4;
		count++;
	}
	cr_expect_eq(count, 2);
	cr_expect(is_zero(answer.bytes + at, VIRTIO_IOMMU_PROBE_SIZE - at));
	cr_expect_eq(front_attach(&rig, 7, FRONT_FIRST), 0);
	cr_expect_eq(front_map(&rig, 7, 0x2000, 0x2fff, RAM, RW),
		     VIRTIO_IOMMU_S_INVAL);
	front_destroy(&rig);
}

Test(virtio_iommu, s47_probe_of_an_unknown_endpoint_is_noent)
{
	const uint32_t unknown[] = { 0, 3, 0xffffffff };
	struct iommu_front rig = { 0 };
	struct front_answer answer;
	unsigned int i;

	front_start(&rig);
	for (i = 0; i < ARRAY_SIZE(unknown); i++) {
		answer = front_probe(&rig, unknown[i], FRONT_PROBE_ANSWER);
		cr_expect_eq(answer.written, FRONT_PROBE_ANSWER);
		cr_expect_eq(answer.status, VIRTIO_IOMMU_S_NOENT);
		cr_expect(is_zero(answer.bytes, VIRTIO_IOMMU_PROBE_SIZE));
	}
	front_destroy(&rig);
}

Test(virtio_iommu, s48_s49_probe_that_was_not_accepted_writes_nothing)
{
	struct iommu_front rig = {
		.refused_features = VIRTIO_FEATURE(VIRTIO_IOMMU_F_PROBE),
	};
	struct front_answer answer;

	front_start(&rig);
	answer = front_probe(&rig, FRONT_FIRST, FRONT_PROBE_ANSWER);
	cr_expect_eq(answer.written, 0);
	cr_expect(is_untouched(&answer, FRONT_PROBE_ANSWER));
	front_destroy(&rig);
}

Test(virtio_iommu, s53_s54_a_list_too_small_gets_no_property)
{
	const uint32_t sizes[] = { 0, 1, 4, 24, VIRTIO_IOMMU_PROBE_SIZE - 1 };
	struct iommu_front rig = { 0 };
	struct front_answer answer;
	unsigned int i;

	front_start(&rig);
	for (i = 0; i < ARRAY_SIZE(sizes); i++) {
		answer = front_probe(&rig, FRONT_FIRST, sizes[i] + FRONT_TAIL);
		cr_expect_eq(answer.written, sizes[i] + FRONT_TAIL);
		cr_expect_eq(answer.status, VIRTIO_IOMMU_S_INVAL);
		cr_expect(is_zero(answer.bytes, sizes[i]));
	}
	front_destroy(&rig);
}

Test(virtio_iommu, a_larger_probe_buffer_has_its_tail_after_the_list)
{
	struct iommu_front rig = { 0 };
	struct front_answer answer;

	front_start(&rig);
	answer = front_probe(&rig, FRONT_FIRST, FRONT_PROBE_ANSWER + 100);
	cr_expect_eq(answer.written, FRONT_PROBE_ANSWER);
	cr_expect_eq(answer.status, VIRTIO_IOMMU_S_OK);
	cr_expect_eq(answer.bytes[FRONT_PROBE_ANSWER], FRONT_UNTOUCHED);
	front_destroy(&rig);
}

Test(virtio_iommu, s68_a_request_too_small_writes_nothing)
{
	const uint32_t sizes[] = {
		[VIRTIO_IOMMU_T_ATTACH] = 20, [VIRTIO_IOMMU_T_DETACH] = 20,
		[VIRTIO_IOMMU_T_MAP] = 36,    [VIRTIO_IOMMU_T_UNMAP] = 28,
		[VIRTIO_IOMMU_T_PROBE] = 72,
	};
	struct iommu_front rig = { 0 };
	struct front_answer answer;
	uint8_t request[72] = { 0 };
	uint8_t type;
	uint32_t len;

	front_start(&rig);
	for (type = 1; type < ARRAY_SIZE(sizes); type++) {
		request[0] = type;
		for (len = 0; len < sizes[type]; len++) {
			answer = front_send(&rig, request, len,
					    FRONT_PROBE_ANSWER);
			cr_expect_eq(answer.written, 0);
			cr_expect(is_untouched(&answer, FRONT_PROBE_ANSWER));
		}
		/* Whole, and no room, or not enough, for the tail. */
		for (len = 0; len < FRONT_TAIL; len++) {
			answer = front_send(&rig, request, sizes[type], len);
			cr_expect_eq(answer.written, 0);
			cr_expect(is_untouched(&answer, len));
		}
		answer = front_send(&rig, request, sizes[type], FRONT_TAIL);
		cr_expect_eq(answer.written, FRONT_TAIL);
	}
	front_destroy(&rig);
}

Test(virtio_iommu, a_request_without_room_for_its_answer_is_not_obeyed)
{
	const struct virtio_iommu_req_attach request = {
		.head.type = VIRTIO_IOMMU_T_ATTACH,
		.domain = 7,
		.endpoint = FRONT_FIRST,
	};
	const struct driver_buffer buffers[] = {
		{ IOVA(FRONT_REQUEST), 20, false },
		/* Where no RAM is, the last byte at least. */
		{ IOVA(FRONT_RAM - 3), 4, true },
	};
	struct iommu_front rig = { 0 };
	struct driver *driver = &rig.drivers[VIRTIO_IOMMU_REQUESTS];
	uint32_t written;
	uint16_t head;

	front_start(&rig);
	memcpy(front_host(&rig, FRONT_REQUEST), &request, 20);
	cr_assert_geq(driver_add(driver, buffers, 2), 0);
	front_notify(&rig);
	cr_assert(driver_take_used(driver, &head, &written));
	cr_expect_eq(written, 0);
	cr_expect_eq(iommu_read_counters(&rig.iommu).attach, 0);
	cr_expect_eq(front_read(&rig, VIRTIO_MMIO_STATUS), 15);
	front_destroy(&rig);
}

Test(virtio_iommu, a_request_in_pieces_of_one_byte)
{
	const struct virtio_iommu_req_attach request = {
		.head.type = VIRTIO_IOMMU_T_ATTACH,
		.domain = 7,
		.endpoint = FRONT_FIRST,
	};
	struct driver_buffer buffers[24];
	struct iommu_front rig = { 0 };
	struct driver *driver = &rig.drivers[VIRTIO_IOMMU_REQUESTS];
	uint32_t written;
	uint16_t head;
	unsigned int i;

	front_start(&rig);
	for (i = 0; i < 20; i++) {
		/* Each byte in a page of its own. */
		buffers[i] = (struct driver_buffer){
			IOVA(FRONT_REQUEST + 0x1800 * i), 1, false
		};
		memcpy(front_host(&rig, buffers[i].address.v),
		       (const uint8_t *)&request + i, 1);
	}
	for (; i < 24; i++) {
		buffers[i] =
			(struct driver_buffer){ IOVA(FRONT_ANSWER + 0x1800 * i),
						1, true };
		memset(front_host(&rig, buffers[i].address.v), FRONT_UNTOUCHED,
		       1);
	}
	cr_assert_geq(driver_add(driver, buffers, 24), 0);
	front_notify(&rig);
	cr_assert(driver_take_used(driver, &head, &written));
	cr_expect_eq(written, 4);
	for (i = 20; i < 24; i++)
		cr_expect(is_zero(front_host(&rig, buffers[i].address.v), 1));
	cr_expect_eq(iommu_read_counters(&rig.iommu).attach, 1);
	front_destroy(&rig);
}

Test(virtio_iommu, map_and_unmap_that_were_not_accepted_write_nothing)
{
	const struct virtio_iommu_req_map request = {
		.head.type = VIRTIO_IOMMU_T_MAP,
	};
	struct iommu_front rig = {
		.refused_features = VIRTIO_FEATURE(VIRTIO_IOMMU_F_MAP_UNMAP),
	};

	front_start(&rig);
	cr_expect_eq(front_send(&rig, &request, 36, FRONT_TAIL).written, 0);
	front_destroy(&rig);
}

Test(virtio_iommu, a11_a_request_error_never_ends_the_monitor)
{
	struct iommu_front rig = { 0 };
	uint8_t request[80];
	unsigned int turn, i;

	srand(1);
	front_start(&rig);
	for (turn = 0; turn < 20000; turn++) {
		for (i = 0; i < sizeof(request); i++)
			request[i] = (uint8_t)(rand() % 4 ? 0 : rand());
		request[0] = (uint8_t)(rand() % 7);
		/* Domain and endpoint such as exist, often. */
		request[4] = (uint8_t)(rand() % 3);
		request[8] = (uint8_t)(rand() % 4);
		front_send(&rig, request,
			   1 + (uint32_t)rand() % (sizeof(request) - 1),
			   (uint32_t)rand() % 140);
	}
	cr_expect_eq(front_read(&rig, VIRTIO_MMIO_STATUS), 15);
	front_destroy(&rig);
}
