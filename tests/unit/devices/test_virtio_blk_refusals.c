/* SPDX-License-Identifier: Apache-2.0 */
/* What the block device answers to drivers that ask for the impossible. */
#include "devices/virtio_blk.h"

#include <criterion/criterion.h>
#include <unistd.h>

#include "memory/base.h"
#include "tests/unit/devices/blk_rig.h"
#include "tests/unit/devices/blk_support.h"
#include "virtio/mmio.h"

Test(virtio_blk, bug11_ranges_that_may_not_be_cleared_change_nothing)
{
	const uint32_t discard = VIRTIO_BLK_T_DISCARD;
	const uint32_t zeroes = VIRTIO_BLK_T_WRITE_ZEROES;
	const uint8_t ioerr = VIRTIO_BLK_S_IOERR, unsupp = VIRTIO_BLK_S_UNSUPP;
	const struct {
		uint32_t type;
		uint64_t sector;
		uint32_t sectors, flags;
		unsigned int count;
		uint8_t status;
	} cases[] = {
		{ discard, 0, SECTORS + 1, 0, 1, ioerr },
		{ discard, SECTORS, 1, 0, 1, ioerr },
		{ discard, SECTORS - 1, 2, 0, 1, ioerr },
		{ discard, SECTORS + 1, 0, 0, 1, ioerr },
		{ discard, UINT64_MAX, 1, 0, 1, ioerr },
		{ discard, UINT64_MAX / 512, 1, 0, 1, ioerr },
		{ discard, UINT64_MAX / 512 + 1, 8, 0, 1, ioerr },
		{ discard, 0, UINT32_MAX, 0, 1, ioerr },
		{ discard, 0, 8, 1, 1, unsupp },
		{ discard, 0, 8, 2, 1, unsupp },
		{ discard, 0, 8, 0x80000000, 1, unsupp },
		{ discard, 0, 8, 0, 0, ioerr },
		{ discard, 16 * 8, 8, 0, 17, ioerr },
		/* The first fifteen are good, the last is not. */
		{ discard, SECTORS - 7, 8, 0, 16, ioerr },
		{ discard, 15 * 8, 8, 1, 16, unsupp },
		{ zeroes, 0, SECTORS + 1, 0, 1, ioerr },
		{ zeroes, SECTORS - 1, 2, 1, 1, ioerr },
		{ zeroes, UINT64_MAX / 512 + 1, 8, 0, 1, ioerr },
		{ zeroes, UINT64_MAX - 7, 8, 0, 1, ioerr },
		{ zeroes, 0, UINT32_MAX, 0, 1, ioerr },
		{ zeroes, 0, 8, 2, 1, unsupp },
		{ zeroes, 0, 8, 3, 1, unsupp },
		{ zeroes, 0, 8, 0, 0, ioerr },
		{ zeroes, 8, 8, 0, 2, ioerr },
	};
	struct rig_answer answer;
	struct rig rig = { 0 };
	unsigned int i;

	rig_start(&rig);
	blk_file_fill(&rig, 5);
	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		answer = blk_clear(&rig, cases[i].type, cases[i].sector,
				   cases[i].sectors, cases[i].flags,
				   cases[i].count);
		cr_expect_eq(answer.status, cases[i].status, "case %u: %u", i,
			     answer.status);
		cr_expect_eq(answer.written, 1);
		cr_assert(blk_file_holds(&rig, 0, MIB, 5), "case %u", i);
	}
	/* A range and a half. */
	blk_expect(rig_request(&rig, discard, 0, 24, 0), ioerr, 1);
	blk_expect(rig_request(&rig, zeroes, 0, 15, 0), ioerr, 1);
	cr_expect_eq(virtio_blk_count(&rig.blk).errors, ARRAY_SIZE(cases) + 2);
	cr_expect(rig_is_alive(&rig));
	rig_destroy(&rig);
}

Test(virtio_blk, bug11_more_sectors_than_the_limit_are_refused)
{
	struct rig rig = { .disk_bytes = 2 * GIB };

	rig_start(&rig);
	blk_expect(blk_clear(&rig, VIRTIO_BLK_T_DISCARD, 0,
			     VIRTIO_BLK_DISCARD_SECTORS_MAX, 0, 1),
		   VIRTIO_BLK_S_OK, 1);
	blk_expect(blk_clear(&rig, VIRTIO_BLK_T_DISCARD, 0,
			     VIRTIO_BLK_DISCARD_SECTORS_MAX + 1, 0, 1),
		   VIRTIO_BLK_S_IOERR, 1);
	blk_expect(blk_clear(&rig, VIRTIO_BLK_T_WRITE_ZEROES, 0,
			     VIRTIO_BLK_ZEROES_SECTORS_MAX, 1, 1),
		   VIRTIO_BLK_S_OK, 1);
	blk_expect(blk_clear(&rig, VIRTIO_BLK_T_WRITE_ZEROES, 0,
			     VIRTIO_BLK_ZEROES_SECTORS_MAX + 1, 1, 1),
		   VIRTIO_BLK_S_IOERR, 1);
	rig_destroy(&rig);
}

Test(virtio_blk, bug11_transfers_that_no_disk_can_do_are_answered_with_ioerr)
{
	const uint32_t read = VIRTIO_BLK_T_IN, write = VIRTIO_BLK_T_OUT;
	const struct {
		uint32_t type;
		uint64_t sector;
		uint32_t bytes;
	} cases[] = {
		{ read, SECTORS, 512 },
		{ read, SECTORS - 1, 1024 },
		{ read, SECTORS + 1, 0 },
		{ read, 0, MIB + 512 },
		{ read, UINT64_MAX, 512 },
		{ read, UINT64_MAX / 512, 512 },
		{ read, UINT64_MAX / 512 + 1, 512 },
		{ read, UINT64_MAX / 512 + 1, 0 },
		{ read, 0, 1 },
		{ read, 0, 511 },
		{ read, 0, 513 },
		{ read, SECTORS - 1, 520 },
		{ write, SECTORS, 512 },
		{ write, SECTORS - 1, 1024 },
		{ write, SECTORS + 1, 0 },
		{ write, UINT64_MAX, 512 },
		{ write, UINT64_MAX / 512 + 1, 512 },
		{ write, 0, 511 },
		{ write, 0, 513 },
		{ write, 0, 1 },
	};
	struct rig_answer answer;
	struct rig rig = { 0 };
	uint8_t *payload;
	unsigned int i;

	rig_start(&rig);
	blk_file_fill(&rig, 5);
	payload = rig_host(&rig, RIG_PAYLOAD);
	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		bool in = cases[i].type == read;
		uint32_t bytes = cases[i].bytes;

		memset(payload, RIG_UNTOUCHED, 2048);
		answer = rig_request(&rig, cases[i].type, cases[i].sector,
				     in ? 0 : bytes, in ? bytes : 0);
		cr_expect_eq(answer.status, VIRTIO_BLK_S_IOERR, "case %u", i);
		/* No data came in: the first byte is the status, or untouched. */
		cr_expect_eq(answer.written, !in || bytes == 0 ? 1 : 0,
			     "case %u", i);
		cr_expect_eq(payload[0], RIG_UNTOUCHED, "case %u", i);
		cr_assert(blk_file_holds(&rig, 0, MIB, 5), "case %u", i);
	}
	cr_expect_eq(virtio_blk_count(&rig.blk).errors, ARRAY_SIZE(cases));
	cr_expect_eq(virtio_blk_count(&rig.blk).bytes_written, 0);
	cr_expect(rig_is_alive(&rig));
	rig_destroy(&rig);
}

Test(virtio_blk, bug11_read_only_disk_refuses_changes_whatever_was_negotiated)
{
	struct rig rig = {
		.read_only = true,
		.refused_features = VIRTIO_FEATURE(VIRTIO_BLK_F_RO),
	};
	unsigned int turn;

	rig_create(&rig);
	blk_file_fill(&rig, 7);
	for (turn = 0; turn < 2; turn++) {
		rig_negotiate(&rig);
		blk_expect(rig_request(&rig, VIRTIO_BLK_T_OUT, 0, 512, 0),
			   VIRTIO_BLK_S_IOERR, 1);
		blk_expect(rig_request(&rig, VIRTIO_BLK_T_OUT, 0, 0, 0),
			   VIRTIO_BLK_S_IOERR, 1);
		blk_expect(blk_clear(&rig, VIRTIO_BLK_T_DISCARD, 0, 8, 0, 1),
			   VIRTIO_BLK_S_IOERR, 1);
		blk_expect(blk_clear(&rig, VIRTIO_BLK_T_WRITE_ZEROES, 0, 8, 1,
				     1),
			   VIRTIO_BLK_S_IOERR, 1);
		blk_expect(rig_request(&rig, VIRTIO_BLK_T_FLUSH, 0, 0, 0),
			   VIRTIO_BLK_S_OK, 1);
		blk_expect(rig_request(&rig, VIRTIO_BLK_T_IN, 0, 0, 4096),
			   VIRTIO_BLK_S_OK, 4097);
		cr_expect(blk_holds(rig_host(&rig, RIG_PAYLOAD), 4096, 7));
		rig_write(&rig, VIRTIO_MMIO_STATUS, 0);
		rig.refused_features = 0;
	}
	cr_expect(blk_file_holds(&rig, 0, MIB, 7));
	rig_destroy(&rig);
}

Test(virtio_blk, bug08_short_headers_and_payload_outside_ram_are_ioerr)
{
	const uint64_t status = RIG_STATUS(0), header = RIG_HEADER(0);
	const struct {
		uint32_t type;
		unsigned int count;
		struct driver_buffer buffers[4];
	} cases[] = {
		/* No header, a short one, one outside RAM. */
		{ 0, 1, { { IOVA(status), 1, true } } },
		{ 0,
		  2,
		  { { IOVA(header), 15, false }, { IOVA(status), 1, true } } },
		{ 0,
		  2,
		  { { IOVA(RIG_RAM), 16, false }, { IOVA(status), 1, true } } },
		{ 0,
		  2,
		  { { IOVA(RIG_RAM - 8), 16, false },
		    { IOVA(status), 1, true } } },
		/* Payload of IN and of OUT outside, wholly or at the end. */
		{ VIRTIO_BLK_T_IN,
		  3,
		  { { IOVA(header), 16, false },
		    { IOVA(RIG_RAM), 512, true },
		    { IOVA(status), 1, true } } },
		{ VIRTIO_BLK_T_IN,
		  3,
		  { { IOVA(header), 16, false },
		    { IOVA(UINT64_MAX - 255), 512, true },
		    { IOVA(status), 1, true } } },
		{ VIRTIO_BLK_T_IN,
		  3,
		  { { IOVA(header), 16, false },
		    { IOVA(RIG_RAM - 512), 1024, true },
		    { IOVA(status), 1, true } } },
		{ VIRTIO_BLK_T_OUT,
		  3,
		  { { IOVA(header), 16, false },
		    { IOVA(RIG_RAM), 512, false },
		    { IOVA(status), 1, true } } },
		{ VIRTIO_BLK_T_OUT,
		  3,
		  { { IOVA(header), 16, false },
		    { IOVA(RIG_RAM - 512), 1024, false },
		    { IOVA(status), 1, true } } },
		{ VIRTIO_BLK_T_OUT,
		  4,
		  { { IOVA(header), 16, false },
		    { IOVA(RIG_PAYLOAD), 512, false },
		    { IOVA(RIG_RAM), 512, false },
		    { IOVA(status), 1, true } } },
		/* ID and ranges too. */
		{ VIRTIO_BLK_T_GET_ID,
		  3,
		  { { IOVA(header), 16, false },
		    { IOVA(RIG_RAM), 20, true },
		    { IOVA(status), 1, true } } },
		{ VIRTIO_BLK_T_DISCARD,
		  3,
		  { { IOVA(header), 16, false },
		    { IOVA(RIG_RAM), 16, false },
		    { IOVA(status), 1, true } } },
	};
	struct rig rig = { 0 };
	uint16_t head, used;
	uint32_t written;
	unsigned int i;

	rig_start(&rig);
	blk_file_fill(&rig, 4);
	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		rig_header(&rig, 0, cases[i].type, 0);
		head = rig_submit(&rig, 0, cases[i].buffers, cases[i].count);
		cr_assert(rig_wait(&rig, 0, &used, &written), "case %u", i);
		cr_expect_eq(used, head);
		cr_expect_eq(*(uint8_t *)rig_host(&rig, status),
			     VIRTIO_BLK_S_IOERR, "case %u", i);
		cr_expect_leq(written, 1);
		cr_expect(rig_is_alive(&rig), "case %u", i);
	}
	/* Nothing of a write whose payload faults reaches the file. */
	cr_expect(blk_file_holds(&rig, 0, MIB, 4));
	rig_destroy(&rig);
}

Test(virtio_blk, bug08_request_without_a_status_byte_needs_a_reset)
{
	const struct driver_buffer header = { IOVA(RIG_HEADER(0)), 16, false };
	const struct driver_buffer payload = { IOVA(RIG_PAYLOAD), 512, false };
	const struct {
		unsigned int count;
		struct driver_buffer buffers[3];
	} cases[] = {
		/* None at all, of length 0, outside RAM. */
		{ 2, { header, payload } },
		{ 3, { header, payload, { IOVA(RIG_STATUS(0)), 0, true } } },
		{ 3, { header, payload, { IOVA(RIG_RAM), 1, true } } },
		{ 3, { header, payload, { IOVA(RIG_RAM - 8), 9, true } } },
		{ 1, { { IOVA(RIG_RAM - 8), 9, true } } },
	};
	struct rig rig = { 0 };
	uint32_t written;
	unsigned int i;
	uint16_t head;

	rig_create(&rig);
	blk_file_fill(&rig, 4);
	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		unsigned int interrupts;

		rig_negotiate(&rig);
		interrupts = __atomic_load_n(&rig.interrupts, __ATOMIC_RELAXED);
		rig_header(&rig, 0, VIRTIO_BLK_T_OUT, 0);
		rig_submit(&rig, 0, cases[i].buffers, cases[i].count);
		cr_assert(rig_eventually(rig_needs_reset, &rig));
		cr_assert_eq(rig_read(&rig, VIRTIO_MMIO_STATUS), 15 | 64);
		cr_expect_eq(rig_read(&rig, VIRTIO_MMIO_INTERRUPT_STATUS) & 2,
			     2);
		cr_expect_gt(__atomic_load_n(&rig.interrupts, __ATOMIC_RELAXED),
			     interrupts);
		/* A used element would say that it was done. */
		cr_expect_not(
			driver_take_used(&rig.drivers[0], &head, &written));
		cr_expect(blk_file_holds(&rig, 0, MIB, 4), "case %u", i);
		rig_write(&rig, VIRTIO_MMIO_STATUS, 0);
		cr_assert_eq(rig_read(&rig, VIRTIO_MMIO_STATUS), 0);
	}
	rig_negotiate(&rig);
	cr_expect(rig_is_alive(&rig));
	rig_destroy(&rig);
}
