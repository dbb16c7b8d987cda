/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <string.h>

#include "memory/base.h"
#include "support.h"
#include "virtio/mmio.h"

/* bug-classes.md 3: accesses of any place and width. */

/* Registers that a driver may read: the rest must read as 0. */
static bool is_readable(uint64_t offset)
{
	static const uint32_t readable[] = {
		VIRTIO_MMIO_MAGIC_VALUE,     VIRTIO_MMIO_VERSION,
		VIRTIO_MMIO_DEVICE_ID,	     VIRTIO_MMIO_VENDOR_ID,
		VIRTIO_MMIO_DEVICE_FEATURES, VIRTIO_MMIO_QUEUE_NUM_MAX,
		VIRTIO_MMIO_QUEUE_READY,     VIRTIO_MMIO_INTERRUPT_STATUS,
		VIRTIO_MMIO_STATUS,	     VIRTIO_MMIO_SHM_LEN_LOW,
		VIRTIO_MMIO_SHM_LEN_HIGH,    VIRTIO_MMIO_SHM_BASE_LOW,
		VIRTIO_MMIO_SHM_BASE_HIGH,   VIRTIO_MMIO_CONFIG_GENERATION,
	};
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(readable); i++) {
		if (readable[i] == offset)
			return true;
	}
	return false;
}

Test(mmio_access, bug03_reads_of_any_offset_and_width)
{
	static const uint32_t widths[] = { 1, 2, 4, 8 };
	static const uint8_t zeroes[8];
	struct fake fake;
	uint64_t offset;
	unsigned int i;
	unsigned int j;

	fake_init(&fake);
	fake_to_driver_ok(&fake);
	virtio_device_signal_used(&fake.device);
	virtio_device_signal_config(&fake.device);
	for (offset = 0; offset < VIRTIO_MMIO_WINDOW + 8; offset++) {
		for (i = 0; i < ARRAY_SIZE(widths); i++) {
			uint32_t len = widths[i];
			uint64_t at = offset - VIRTIO_MMIO_CONFIG;
			uint8_t data[9];

			memset(data, 0xaa, sizeof(data));
			virtio_mmio_read(&fake.device, offset, data, len);
			cr_assert_eq(data[len], 0xaa,
				     "no byte more is written");
			if (offset >= VIRTIO_MMIO_CONFIG &&
			    at + len <= FAKE_CONFIG) {
				for (j = 0; j < len; j++)
					cr_assert_eq(data[j], 0x80 + at + j);
			} else if (offset < VIRTIO_MMIO_CONFIG && len == 4 &&
				   is_readable(offset)) {
				cr_assert_neq(memcmp(data, zeroes, len), 0,
					      "%#lx", offset);
			} else {
				cr_assert_eq(memcmp(data, zeroes, len), 0,
					     "%#lx/%u", offset, len);
			}
		}
	}
	fake_destroy(&fake);
}

Test(mmio_access, bug03_writes_of_odd_width_or_place_are_ignored)
{
	static const uint32_t widths[] = { 1, 2, 4, 8 };
	static const uint8_t one[8] = { 1 };
	struct fake fake;
	uint64_t offset;
	unsigned int i;

	fake_init(&fake);
	fake_to_driver_ok(&fake);
	fake_forget(&fake);
	for (offset = 0; offset < VIRTIO_MMIO_CONFIG; offset++) {
		for (i = 0; i < ARRAY_SIZE(widths); i++) {
			if (widths[i] == 4 && offset % 4 == 0)
				continue;
			virtio_mmio_write(&fake.device, offset, one, widths[i]);
		}
	}
	cr_assert_eq(fake.call_count, 0);
	cr_assert_eq(fake_read(&fake, VIRTIO_MMIO_STATUS), 15);
	cr_assert_eq(fake_read(&fake, VIRTIO_MMIO_QUEUE_READY), 1);
	cr_assert_eq(fake.device.queue_select, FAKE_QUEUES - 1);
	fake_destroy(&fake);
}

Test(mmio_access, bug03_unknown_registers_swallow_writes)
{
	struct fake fake;
	uint32_t offset;

	fake_init(&fake);
	fake_to_driver_ok(&fake);
	fake_forget(&fake);
	for (offset = 0; offset < VIRTIO_MMIO_CONFIG; offset += 4) {
		switch (offset) {
		case VIRTIO_MMIO_QUEUE_SEL:
		case VIRTIO_MMIO_QUEUE_NOTIFY:
		case VIRTIO_MMIO_STATUS:
			continue;
		default:
			fake_write(&fake, offset, 1);
			fake_write(&fake, offset, 0xffffffff);
		}
	}
	cr_assert_eq(fake.call_count, 0);
	cr_assert_eq(fake_read(&fake, VIRTIO_MMIO_STATUS), 15);
	fake_destroy(&fake);
}

Test(mmio_access, bug03_config_access_must_lie_inside)
{
	static const struct {
		uint64_t offset;
		uint32_t len;
		bool good;
	} cases[] = {
		{ 0, 1, true },
		{ 0, 8, true },
		{ 1, 2, true },
		{ 3, 4, true },
		{ FAKE_CONFIG - 1, 1, true },
		{ FAKE_CONFIG - 1, 2, false },
		{ FAKE_CONFIG - 4, 4, true },
		{ FAKE_CONFIG - 3, 4, false },
		{ FAKE_CONFIG - 8, 8, true },
		{ FAKE_CONFIG - 7, 8, false },
		{ FAKE_CONFIG, 1, false },
		{ FAKE_CONFIG + 100, 4, false },
		{ 0, 3, false },
		{ 0, 16, false },
		{ 0, 0, false },
		{ UINT64_MAX - 0x100, 1, false },
		{ UINT64_MAX - 0x107, 8, false },
	};
	struct fake fake;
	unsigned int i;

	fake_init(&fake);
	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		uint8_t before[FAKE_CONFIG];
		uint8_t data[16];

		memset(data, 0x11, sizeof(data));
		memcpy(before, fake.config, sizeof(before));
		virtio_mmio_write(&fake.device,
				  VIRTIO_MMIO_CONFIG + cases[i].offset, data,
				  cases[i].len);
		cr_assert_eq(memcmp(before, fake.config, sizeof(before)) != 0,
			     cases[i].good, "case %u", i);
		memcpy(fake.config, before, sizeof(before));
		virtio_mmio_read(&fake.device,
				 VIRTIO_MMIO_CONFIG + cases[i].offset, data,
				 cases[i].len);
		if (cases[i].good)
			cr_assert_arr_eq(data, before + cases[i].offset,
					 cases[i].len);
		else if (cases[i].len > 0)
			cr_assert_eq(data[0], 0, "case %u", i);
	}
	fake_destroy(&fake);
}

Test(mmio_access, config_without_a_write_operation_is_read_only)
{
	struct virtio_device_ops ops = fake_ops;
	uint8_t value = 1;
	struct fake fake;

	fake_init(&fake);
	ops.config_write = NULL;
	fake.device.ops = &ops;
	virtio_mmio_write(&fake.device, VIRTIO_MMIO_CONFIG, &value, 1);
	cr_assert_eq(fake.config[0], 0x80);
	fake_destroy(&fake);
}

Test(mmio_access, device_without_config_space_reads_zero)
{
	uint64_t value = 1;
	struct fake fake;

	fake_init(&fake);
	fake.device.config_size = 0;
	virtio_mmio_read(&fake.device, VIRTIO_MMIO_CONFIG, &value, 8);
	cr_assert_eq(value, 0);
	fake_destroy(&fake);
}
