/* SPDX-License-Identifier: Apache-2.0 */
/* Content and expectations for the tests of the block device's requests. */
#ifndef TESTS_UNIT_DEVICES_BLK_SUPPORT_H
#define TESTS_UNIT_DEVICES_BLK_SUPPORT_H

#include <criterion/criterion.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "memory/base.h"
#include "tests/unit/devices/blk_rig.h"

#define SECTORS (MIB / 512) /* of the rig's disk */

static inline void blk_fill(void *bytes, size_t len, unsigned int seed)
{
	uint8_t *to = bytes;
	size_t i;

	for (i = 0; i < len; i++)
		to[i] = (uint8_t)(seed + i * 7 + i / 251);
}

static inline bool blk_holds(const void *bytes, size_t len, unsigned int seed)
{
	uint8_t *expected = malloc(len);
	bool same;

	blk_fill(expected, len, seed);
	same = memcmp(bytes, expected, len) == 0;
	free(expected);
	return same;
}

static inline bool blk_file_holds(struct rig *rig, uint64_t offset, size_t len,
				  unsigned int seed)
{
	uint8_t *bytes = malloc(len);
	bool same;

	rig_file_read(rig, bytes, len, offset);
	same = blk_holds(bytes, len, seed);
	free(bytes);
	return same;
}

static inline bool blk_file_is_zero(struct rig *rig, uint64_t offset,
				    size_t len)
{
	uint8_t *bytes = malloc(len);
	bool zero = true;
	size_t i;

	rig_file_read(rig, bytes, len, offset);
	for (i = 0; i < len; i++)
		zero &= bytes[i] == 0;
	free(bytes);
	return zero;
}

static inline void blk_file_fill(struct rig *rig, unsigned int seed)
{
	uint8_t *bytes = malloc(rig->disk_bytes);

	blk_fill(bytes, rig->disk_bytes, seed);
	cr_assert_eq(pwrite(rig->file, bytes, rig->disk_bytes, 0),
		     (ssize_t)rig->disk_bytes);
	free(bytes);
}

static inline void blk_expect(struct rig_answer answer, uint8_t status,
			      uint32_t written)
{
	cr_expect_eq(answer.status, status, "status %u, not %u", answer.status,
		     status);
	cr_expect_eq(answer.written, written, "%u bytes used, not %u",
		     answer.written, written);
}

/* Writes the ranges of a DISCARD or WRITE_ZEROES and sends it. */
static inline struct rig_answer blk_clear(struct rig *rig, uint32_t type,
					  uint64_t sector, uint32_t sectors,
					  uint32_t flags, unsigned int count)
{
	struct virtio_blk_discard_write_zeroes *range =
		rig_host(rig, RIG_PAYLOAD);
	unsigned int i;

	/* The ranges beside each other, the given one last. */
	for (i = 0; i < count; i++) {
		range[i].sector = sector - (count - 1 - i) * sectors;
		range[i].num_sectors = sectors;
		range[i].flags = i == count - 1 ? flags : 0;
	}
	return rig_request(rig, type, 0, count * (uint32_t)sizeof(*range), 0);
}

#endif
