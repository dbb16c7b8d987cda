/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The block device by its requests. What it refuses is in
 * test_virtio_blk_refusals.c, hosts that fail in test_virtio_blk_host.c, resets
 * and broken queues in test_virtio_blk_life.c.
 */
#include "devices/virtio_blk.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "memory/base.h"
#include "tests/unit/devices/blk_rig.h"
#include "tests/unit/devices/blk_support.h"
#include "virtio/mmio.h"

Test(virtio_blk, what_is_written_is_read_back_and_in_the_file)
{
	struct rig rig = { 0 };
	uint8_t *payload;

	rig_start(&rig);
	payload = rig_host(&rig, RIG_PAYLOAD);
	blk_fill(payload, 64 * KIB, 3);
	blk_expect(rig_request(&rig, VIRTIO_BLK_T_OUT, 8, 64 * KIB, 0),
		   VIRTIO_BLK_S_OK, 1);
	cr_expect(blk_file_holds(&rig, 4096, 64 * KIB, 3));
	memset(payload, 0, 64 * KIB);
	blk_expect(rig_request(&rig, VIRTIO_BLK_T_IN, 8, 0, 64 * KIB),
		   VIRTIO_BLK_S_OK, 64 * KIB + 1);
	cr_expect(blk_holds(payload, 64 * KIB, 3));
	cr_expect_eq(virtio_blk_count(&rig.blk).requests, 2);
	cr_expect_eq(virtio_blk_count(&rig.blk).errors, 0);
	cr_expect_eq(virtio_blk_count(&rig.blk).bytes_read, 64 * KIB);
	cr_expect_eq(virtio_blk_count(&rig.blk).bytes_written, 64 * KIB);
	cr_expect_geq(__atomic_load_n(&rig.interrupts, __ATOMIC_RELAXED), 1);
	rig_destroy(&rig);
}

Test(virtio_blk, last_sector_can_be_read_and_written)
{
	struct rig rig = { 0 };

	rig_start(&rig);
	blk_fill(rig_host(&rig, RIG_PAYLOAD), 512, 1);
	blk_expect(rig_request(&rig, VIRTIO_BLK_T_OUT, SECTORS - 1, 512, 0),
		   VIRTIO_BLK_S_OK, 1);
	blk_expect(rig_request(&rig, VIRTIO_BLK_T_IN, SECTORS - 1, 0, 512),
		   VIRTIO_BLK_S_OK, 513);
	cr_expect(blk_file_holds(&rig, MIB - 512, 512, 1));
	rig_destroy(&rig);
}

/* Cuts [address, address + len) into @buffers of @step bytes. */
static unsigned int cut(struct driver_buffer *buffers, uint64_t address,
			uint32_t len, uint32_t step, bool writable)
{
	unsigned int count = 0;

	for (; len > 0; len -= step, address += step) {
		step = MIN(step, len);
		buffers[count++] =
			(struct driver_buffer){ IOVA(address), step, writable };
	}
	return count;
}

Test(virtio_blk, any_layout_of_descriptors_is_understood)
{
	/* Header and payload, then payload and status, share descriptors. */
	static const uint32_t steps[] = { 9, 15, 17, 33, 512, 528, 1000 };
	struct driver_buffer buffers[64];
	struct rig rig = { 0 };
	unsigned int count, i;
	uint8_t *memory;
	uint32_t written;
	uint16_t head;

	rig_start(&rig);
	memory = rig_host(&rig, RIG_PAYLOAD);
	for (i = 0; i < ARRAY_SIZE(steps); i++) {
		rig_header(&rig, 0, VIRTIO_BLK_T_OUT, i);
		memcpy(memory, rig_host(&rig, RIG_HEADER(0)), 16);
		blk_fill(memory + 16, 512, i);
		count = cut(buffers, RIG_PAYLOAD, 528, steps[i], false);
		count += cut(buffers + count, RIG_STATUS(0), 1, 1, true);
		rig_submit(&rig, 0, buffers, count);
		cr_assert(rig_wait(&rig, 0, &head, &written));
		cr_expect_eq(*(uint8_t *)rig_host(&rig, RIG_STATUS(0)), 0);
		cr_expect_eq(written, 1);

		rig_header(&rig, 0, VIRTIO_BLK_T_IN, i);
		memset(memory, RIG_UNTOUCHED, 514);
		count = cut(buffers, RIG_HEADER(0), 16, i > 2 ? 1 : 9, false);
		count += cut(buffers + count, RIG_PAYLOAD, 513, steps[i], true);
		rig_submit(&rig, 0, buffers, count);
		cr_assert(rig_wait(&rig, 0, &head, &written));
		cr_expect_eq(written, 513);
		cr_expect(blk_holds(memory, 512, i), "step %u", steps[i]);
		cr_expect_eq(memory[512], VIRTIO_BLK_S_OK);
		cr_expect_eq(memory[513], RIG_UNTOUCHED);
	}
	rig_destroy(&rig);
}

Test(virtio_blk, indirect_tables_are_understood)
{
	struct driver_buffer buffers[] = {
		{ IOVA(RIG_HEADER(0)), 16, false },
		{ IOVA(RIG_PAYLOAD), 4096, true },
		{ IOVA(RIG_PAYLOAD + 16384), 4096, true },
		{ IOVA(RIG_STATUS(0)), 1, true },
	};
	struct rig rig = { 0 };
	uint32_t written;
	uint16_t head;

	rig_start(&rig);
	blk_file_fill(&rig, 0);
	rig_header(&rig, 0, VIRTIO_BLK_T_IN, 0);
	cr_assert_geq(driver_add_indirect(&rig.drivers[0], buffers, 4), 0);
	driver_publish(&rig.drivers[0]);
	rig_write(&rig, VIRTIO_MMIO_QUEUE_NOTIFY, 0);
	cr_assert(rig_wait(&rig, 0, &head, &written));
	cr_expect_eq(written, 8193);
	cr_expect(blk_holds(rig_host(&rig, RIG_PAYLOAD), 4096, 0));
	cr_expect_eq(*(uint8_t *)rig_host(&rig, RIG_STATUS(0)), 0);
	rig_destroy(&rig);
}

Test(virtio_blk, flush_get_id_and_empty_transfers_succeed)
{
	struct rig rig = { 0 };

	rig_start(&rig);
	blk_expect(rig_request(&rig, VIRTIO_BLK_T_FLUSH, 0, 0, 0),
		   VIRTIO_BLK_S_OK, 1);
	blk_expect(rig_request(&rig, VIRTIO_BLK_T_IN, 0, 0, 0), VIRTIO_BLK_S_OK,
		   1);
	blk_expect(rig_request(&rig, VIRTIO_BLK_T_OUT, SECTORS, 0, 0),
		   VIRTIO_BLK_S_OK, 1);
	blk_expect(rig_request(&rig, VIRTIO_BLK_T_GET_ID, 0, 0, 20),
		   VIRTIO_BLK_S_OK, 21);
	cr_expect_arr_eq(rig_host(&rig, RIG_PAYLOAD), "root\0\0\0\0\0\0\0\0",
			 12);
	rig_destroy(&rig);
}

Test(virtio_blk, id_is_cut_to_the_buffer_and_never_longer_than_20_bytes)
{
	struct rig rig = { 0 };
	uint8_t *payload;

	rig_start(&rig);
	payload = rig_host(&rig, RIG_PAYLOAD);
	memset(payload, RIG_UNTOUCHED, 512);
	blk_expect(rig_request(&rig, VIRTIO_BLK_T_GET_ID, 0, 0, 2),
		   VIRTIO_BLK_S_OK, 3);
	cr_expect_arr_eq(payload, "ro\xee", 3);
	/* Twenty bytes and a gap before the status: 20 are accounted for. */
	blk_expect(rig_request(&rig, VIRTIO_BLK_T_GET_ID, 0, 0, 512),
		   VIRTIO_BLK_S_OK, 20);
	cr_expect_eq(payload[19], 0);
	cr_expect_eq(payload[20], RIG_UNTOUCHED);
	blk_expect(rig_request(&rig, VIRTIO_BLK_T_GET_ID, 0, 0, 0),
		   VIRTIO_BLK_S_OK, 1);
	rig_destroy(&rig);
}

Test(virtio_blk, zeroes_are_written_and_discarded_space_reads_as_zeroes)
{
	struct rig rig = { 0 };

	rig_start(&rig);
	blk_file_fill(&rig, 9);
	blk_expect(blk_clear(&rig, VIRTIO_BLK_T_WRITE_ZEROES, 3, 5, 0, 1),
		   VIRTIO_BLK_S_OK, 1);
	blk_expect(blk_clear(&rig, VIRTIO_BLK_T_WRITE_ZEROES, 16, 8,
			     VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP, 1),
		   VIRTIO_BLK_S_OK, 1);
	cr_expect(blk_file_is_zero(&rig, 3 * 512, 5 * 512));
	cr_expect(blk_file_is_zero(&rig, 16 * 512, 8 * 512));
	cr_expect(blk_file_holds(&rig, 0, 3 * 512, 9));
	cr_assert(rig.blk.disk.can_discard, "/tmp punches holes");
	blk_expect(blk_clear(&rig, VIRTIO_BLK_T_DISCARD, 1024 + 3 * 8, 8, 0, 4),
		   VIRTIO_BLK_S_OK, 1);
	cr_expect(blk_file_is_zero(&rig, 1024 * 512, 4 * 4096));
	/* Nothing is done as well. */
	blk_expect(blk_clear(&rig, VIRTIO_BLK_T_DISCARD, SECTORS, 0, 0, 1),
		   VIRTIO_BLK_S_OK, 1);
	blk_expect(blk_clear(&rig, VIRTIO_BLK_T_WRITE_ZEROES, 0, 0, 0, 1),
		   VIRTIO_BLK_S_OK, 1);
	rig_destroy(&rig);
}

Test(virtio_blk, unknown_types_and_discards_without_holes_are_not_supported)
{
	static const uint32_t types[] = {
		2,
		3,
		5,
		9,
		10,
		12,
		VIRTIO_BLK_T_SECURE_ERASE,
		15,
		0x80000000,
		UINT32_MAX,
	};
	struct rig rig = { 0 };
	unsigned int i;

	rig_start(&rig);
	for (i = 0; i < ARRAY_SIZE(types); i++) {
		blk_expect(rig_request(&rig, types[i], 0, 512, 0),
			   VIRTIO_BLK_S_UNSUPP, 1);
		blk_expect(rig_request(&rig, types[i], 0, 0, 512),
			   VIRTIO_BLK_S_UNSUPP, 0);
	}
	rig_write(&rig, VIRTIO_MMIO_STATUS, 0);
	rig.blk.disk.can_discard = false;
	rig_negotiate(&rig);
	blk_expect(blk_clear(&rig, VIRTIO_BLK_T_DISCARD, 0, 8, 0, 1),
		   VIRTIO_BLK_S_UNSUPP, 1);
	blk_expect(blk_clear(&rig, VIRTIO_BLK_T_WRITE_ZEROES, 0, 8, 1, 1),
		   VIRTIO_BLK_S_OK, 1);
	rig_destroy(&rig);
}

Test(virtio_blk, bug09_header_that_changes_after_it_was_read_has_no_effect)
{
	/*
	 * The payload of this read is its own header: the disk's content turns
	 * it into a write to sector 5 while it is being done.
	 */
	const struct virtio_blk_outhdr evil = { VIRTIO_BLK_T_OUT, 0, 5 };
	const struct driver_buffer buffers[] = {
		{ IOVA(RIG_HEADER(0)), 16, false },
		{ IOVA(RIG_HEADER(0)), 512, true },
		{ IOVA(RIG_STATUS(0)), 1, true },
	};
	struct rig rig = { 0 };
	uint32_t written;
	uint16_t head;

	rig_start(&rig);
	blk_file_fill(&rig, 4);
	cr_assert_eq(pwrite(rig.file, &evil, sizeof(evil), 1024), 16);
	rig_header(&rig, 0, VIRTIO_BLK_T_IN, 2);
	rig_submit(&rig, 0, buffers, 3);
	cr_assert(rig_wait(&rig, 0, &head, &written));
	cr_expect_eq(written, 513);
	cr_expect_eq(*(uint8_t *)rig_host(&rig, RIG_STATUS(0)), 0);
	cr_expect_arr_eq(rig_host(&rig, RIG_HEADER(0)), &evil, sizeof(evil));
	cr_expect(rig_is_alive(&rig));
	rig_destroy(&rig);
}

static uint64_t config(struct rig *rig, size_t offset, uint32_t len)
{
	uint64_t value = 0;

	virtio_mmio_read(&rig->blk.device, VIRTIO_MMIO_CONFIG + offset, &value,
			 len);
	return value;
}

#define CONFIG(rig, field)                                     \
	config(rig, offsetof(struct virtio_blk_config, field), \
	       sizeof(((struct virtio_blk_config *)0)->field))

Test(virtio_blk, configuration_says_what_the_disk_is)
{
	struct rig rig = { .queues = 3 };
	uint8_t whole[60];
	unsigned int i;

	rig_start(&rig);
	cr_expect_eq(rig_read(&rig, VIRTIO_MMIO_DEVICE_ID), 2);
	cr_expect_eq(CONFIG(&rig, capacity), SECTORS);
	cr_expect_eq(CONFIG(&rig, size_max), 0);
	cr_expect_eq(CONFIG(&rig, seg_max), 254);
	cr_expect_eq(CONFIG(&rig, blk_size), 512);
	cr_expect_eq(CONFIG(&rig, physical_block_exp), 3);
	cr_expect_eq(CONFIG(&rig, alignment_offset), 0);
	cr_expect_eq(CONFIG(&rig, min_io_size), 8);
	cr_expect_eq(CONFIG(&rig, num_queues), 3);
	cr_expect_eq(CONFIG(&rig, max_discard_sectors), 1u << 21);
	cr_expect_eq(CONFIG(&rig, max_discard_seg), 16);
	cr_expect_eq(CONFIG(&rig, discard_sector_alignment), 8);
	cr_expect_eq(CONFIG(&rig, max_write_zeroes_sectors), 1u << 17);
	cr_expect_eq(CONFIG(&rig, max_write_zeroes_seg), 1);
	cr_expect_eq(CONFIG(&rig, write_zeroes_may_unmap), 1);
	/* bug03: every byte alone is the same; behind the end there is nothing. */
	for (i = 0; i < sizeof(whole); i++)
		whole[i] = (uint8_t)config(&rig, i, 1);
	for (i = 0; i + 4 <= sizeof(whole); i++) {
		uint32_t word = (uint32_t)config(&rig, i, 4);

		cr_expect_arr_eq(&word, whole + i, 4);
	}
	cr_expect_eq(config(&rig, 60, 1), 0);
	cr_expect_eq(config(&rig, 57, 4), 0);
	rig_destroy(&rig);
}

Test(virtio_blk, features_follow_the_disk)
{
	const uint64_t changing = VIRTIO_FEATURE(VIRTIO_BLK_F_DISCARD) |
				  VIRTIO_FEATURE(VIRTIO_BLK_F_WRITE_ZEROES);
	const uint64_t always = VIRTIO_FEATURE(VIRTIO_BLK_F_SEG_MAX) |
				VIRTIO_FEATURE(VIRTIO_BLK_F_BLK_SIZE) |
				VIRTIO_FEATURE(VIRTIO_BLK_F_FLUSH) |
				VIRTIO_FEATURE(VIRTIO_BLK_F_TOPOLOGY) |
				VIRTIO_FEATURE_VERSION_1 |
				VIRTIO_FEATURE_INDIRECT_DESC |
				VIRTIO_FEATURE_EVENT_IDX;
	struct rig writable = { .queues = 2 },
		   read_only = { .read_only = true };

	rig_create(&writable);
	rig_create(&read_only);
	cr_expect_eq(writable.blk.device.offered,
		     always | changing | VIRTIO_FEATURE(VIRTIO_BLK_F_MQ));
	cr_expect_eq(read_only.blk.device.offered,
		     always | VIRTIO_FEATURE(VIRTIO_BLK_F_RO));
	rig_destroy(&writable);
	rig_destroy(&read_only);
}
