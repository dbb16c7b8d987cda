/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The device beside its queues: features, configuration space, bypass, reset.
 * sNN are the numbers of the specification's statements (docs/conformance.md).
 */
#include <criterion/criterion.h>
#include <pthread.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "tests/unit/devices/iommu_front.h"
#include "virtio/mmio.h"

#define PAGE 0x10000 /* a page that tests map */
#define RAM 0x800000 /* to this one */
#define RW (VIRTIO_IOMMU_MAP_F_READ | VIRTIO_IOMMU_MAP_F_WRITE)

#define AT(member) offsetof(struct virtio_iommu_config, member)

static bool offers(const struct iommu_front *rig, unsigned int bit)
{
	return rig->viommu.device.offered & VIRTIO_FEATURE(bit);
}

Test(virtio_iommu, s01_s02_s03_features)
{
	struct iommu_front strict = { 0 }, bypass = { .bypass = true };

	front_create(&strict);
	front_create(&bypass);
	cr_expect_eq(front_read(&strict, VIRTIO_MMIO_DEVICE_ID), 23);
	cr_expect(offers(&strict, VIRTIO_IOMMU_F_MAP_UNMAP));
	cr_expect(offers(&strict, VIRTIO_IOMMU_F_INPUT_RANGE));
	cr_expect(offers(&strict, VIRTIO_IOMMU_F_DOMAIN_RANGE));
	cr_expect(offers(&strict, VIRTIO_IOMMU_F_PROBE));
	cr_expect(offers(&strict, VIRTIO_IOMMU_F_MMIO));
	cr_expect(offers(&strict, 28)); /* INDIRECT_DESC */
	cr_expect(offers(&strict, 29)); /* EVENT_IDX */
	cr_expect(offers(&strict, 32)); /* VERSION_1 */
	cr_expect_not(offers(&strict, VIRTIO_IOMMU_F_BYPASS_CONFIG));
	cr_expect(offers(&bypass, VIRTIO_IOMMU_F_BYPASS_CONFIG));
	cr_expect_not(offers(&strict, VIRTIO_IOMMU_F_BYPASS));
	cr_expect_not(offers(&bypass, VIRTIO_IOMMU_F_BYPASS));
	/* It stands before the IOMMU, not behind one. */
	cr_expect_not(offers(&strict, 33));
	front_destroy(&strict);
	front_destroy(&bypass);
}

Test(virtio_iommu, s04_s05_configuration_space)
{
	struct iommu_front rig = { 0 };

	front_start(&rig);
	cr_expect_eq(sizeof(struct virtio_iommu_config), 40);
	cr_expect_eq(front_config(&rig, AT(page_size_mask), 8),
		     0x1000 | 0x200000 | 0x40000000);
	cr_expect_eq(front_config(&rig, AT(input_range.start), 8), 0);
	cr_expect_eq(front_config(&rig, AT(input_range.end), 8), 0xfffffffff);
	cr_expect_eq(front_config(&rig, AT(domain_range.start), 4), 0);
	cr_expect_eq(front_config(&rig, AT(domain_range.end), 4), 0xffff);
	cr_expect_eq(front_config(&rig, AT(probe_size), 4),
		     VIRTIO_IOMMU_PROBE_SIZE);
	cr_expect_eq(front_config(&rig, AT(bypass), 4), 0);
	/* 40 bytes, no more. */
	cr_expect_eq(front_config(&rig, 40, 1), 0);
	cr_expect_eq(front_config(&rig, 36, 8), 0);
	front_destroy(&rig);
}

Test(virtio_iommu, a10_only_byte_36_is_writable_and_only_if_offered)
{
	uint8_t before[40], after[40];
	unsigned int bypass, i;

	for (bypass = 0; bypass < 2; bypass++) {
		struct iommu_front rig = { .bypass = bypass };

		front_start(&rig);
		for (i = 0; i < sizeof(before); i++)
			before[i] = (uint8_t)front_config(&rig, i, 1);
		for (i = 0; i < 64; i++) {
			if (i != 36)
				front_config_write(&rig, i, 1, 0x5a);
			if (i % 4 == 0 && i != 36)
				front_config_write(&rig, i, 4, 0x5a5a5a5a);
		}
		if (!bypass)
			front_config_write(&rig, 36, 1, 1);
		for (i = 0; i < sizeof(after); i++)
			after[i] = (uint8_t)front_config(&rig, i, 1);
		cr_expect_eq(memcmp(before, after, sizeof(before)), 0);
		/* Of a wider access, that byte counts. */
		front_config_write(&rig, 32, 8, 0xffffff00ffffffff);
		cr_expect_eq(front_config(&rig, 36, 4), 0);
		cr_expect_eq(front_config(&rig, 32, 4),
			     VIRTIO_IOMMU_PROBE_SIZE);
		front_config_write(&rig, 36, 4, 0xffffff01);
		cr_expect_eq(front_config(&rig, 36, 4), bypass);
		front_destroy(&rig);
	}
}

Test(virtio_iommu, s09_bypass_reads_as_0_or_1_only)
{
	struct iommu_front rig = { .bypass = true };

	front_start(&rig);
	front_config_write(&rig, 36, 1, 2);
	cr_expect_eq(front_config(&rig, 36, 1), 1);
	front_config_write(&rig, 36, 1, 0);
	front_config_write(&rig, 36, 1, 255);
	cr_expect_eq(front_config(&rig, 36, 1), 0);
	front_destroy(&rig);
}

Test(virtio_iommu, s06_bypass_starts_as_configured)
{
	struct iommu_front rig = { .bypass = true };

	/* A system reset is a new VM, which is where this is written. */
	front_create(&rig);
	cr_expect_eq(front_config(&rig, 36, 1), 1);
	cr_expect(front_reaches(&rig, 0, RAM, 64, DMA_WRITE, RAM));
	front_destroy(&rig);
}

Test(virtio_iommu, s07_a_reset_does_not_change_bypass)
{
	struct iommu_front rig = { .bypass = true };

	front_start(&rig);
	front_config_write(&rig, 36, 1, 0);
	front_write(&rig, VIRTIO_MMIO_STATUS, 0);
	cr_expect_eq(front_config(&rig, 36, 1), 0);
	cr_expect(front_faults(&rig, 0, RAM, 64, DMA_READ));
	front_config_write(&rig, 36, 1, 1);
	front_negotiate(&rig);
	front_write(&rig, VIRTIO_MMIO_STATUS, 0);
	cr_expect_eq(front_config(&rig, 36, 1), 1);
	cr_expect(front_reaches(&rig, 0, RAM, 64, DMA_READ, RAM));
	front_destroy(&rig);
}

Test(virtio_iommu, s70_bypass_holds_even_if_the_feature_was_not_accepted)
{
	struct iommu_front rig = {
		.bypass = true,
		.refused_features =
			VIRTIO_FEATURE(VIRTIO_IOMMU_F_BYPASS_CONFIG),
	};

	front_start(&rig);
	cr_expect(front_reaches(&rig, 0, RAM, 64, DMA_WRITE, RAM));
	front_destroy(&rig);
}

Test(virtio_iommu, s15_an_endpoint_that_is_not_attached_reaches_nothing)
{
	struct iommu_front rig = { 0 };

	front_start(&rig);
	cr_expect(front_faults(&rig, 0, RAM, 64, DMA_READ));
	cr_expect(front_faults(&rig, 1, 0, 1, DMA_WRITE));
	front_destroy(&rig);
}

Test(virtio_iommu, s67_a_device_reset_detaches_every_endpoint)
{
	struct iommu_front rig = { 0 };
	unsigned int i;

	front_start(&rig);
	for (i = 0; i < 2; i++) {
		cr_assert_eq(front_attach(&rig, i, FRONT_FIRST + i), 0);
		cr_assert_eq(front_map(&rig, i, PAGE, PAGE + 0xfff, RAM, RW),
			     0);
		cr_expect(front_reaches(&rig, i, PAGE, 64, DMA_READ, RAM));
	}
	front_write(&rig, VIRTIO_MMIO_STATUS, 0);
	cr_expect_eq(front_read(&rig, VIRTIO_MMIO_STATUS), 0);
	for (i = 0; i < 2; i++)
		cr_expect(front_faults(&rig, i, PAGE, 64, DMA_READ));
	/* The domains went, too. */
	front_negotiate(&rig);
	cr_expect_eq(front_map(&rig, 0, PAGE, PAGE + 0xfff, RAM, RW),
		     VIRTIO_IOMMU_S_NOENT);
	cr_expect_eq(front_attach(&rig, 0, FRONT_FIRST), 0);
	cr_expect(front_faults(&rig, 0, PAGE, 64, DMA_READ));
	front_destroy(&rig);
}

/* A vCPU that writes a register, and says when it is through. */
struct writer {
	struct iommu_front *rig;
	uint32_t offset, value;
	bool done;
	pthread_t thread;
};

static void *write_register(void *argument)
{
	struct writer *writer = argument;

	if (writer->offset < VIRTIO_MMIO_CONFIG)
		front_write(writer->rig, writer->offset, writer->value);
	else
		front_config_write(writer->rig,
				   writer->offset - VIRTIO_MMIO_CONFIG, 1,
				   writer->value);
	__atomic_store_n(&writer->done, true, __ATOMIC_SEQ_CST);
	return NULL;
}

/* Starts @writer, and sees that it is not through after a while. */
static void expect_waiting(struct writer *writer)
{
	pthread_create(&writer->thread, NULL, write_register, writer);
	usleep(50000);
	cr_expect_not(__atomic_load_n(&writer->done, __ATOMIC_SEQ_CST));
}

static void expect_through(struct writer *writer)
{
	pthread_join(writer->thread, NULL);
	cr_expect(writer->done);
}

Test(virtio_iommu, reset_waits_for_what_is_in_flight)
{
	struct iommu_front rig = { 0 };
	struct writer writer = { &rig, VIRTIO_MMIO_STATUS, 0, false, 0 };

	front_start(&rig);
	cr_assert_eq(front_attach(&rig, 0, FRONT_FIRST), 0);
	cr_assert_eq(front_map(&rig, 0, PAGE, PAGE + 0xfff, RAM, RW), 0);
	front_hold(&rig, 0, 3, PAGE, 64);
	expect_waiting(&writer);
	front_release(&rig, 0, 3);
	expect_through(&writer);
	cr_expect_eq(front_read(&rig, VIRTIO_MMIO_STATUS), 0);
	front_negotiate(&rig);
	cr_expect_eq(front_attach(&rig, 0, FRONT_FIRST), 0);
	front_destroy(&rig);
}

Test(virtio_iommu, a_reset_tells_of_requests_that_have_no_answer)
{
	static const struct virtio_iommu_req_unmap unmap = {
		.head.type = VIRTIO_IOMMU_T_UNMAP,
		.domain = 1,
		.virt_end = PAGE_SIZE - 1,
	};
	const uint32_t len = offsetof(__typeof__(unmap), tail);
	struct iommu_front rig = { 0 };

	front_start(&rig);
	cr_assert_eq(front_attach(&rig, 1, FRONT_FIRST), VIRTIO_IOMMU_S_OK);
	front_write(&rig, VIRTIO_MMIO_STATUS, 0);
	cr_expect_eq(rig.abandoned, 0, "all were answered");
	front_negotiate(&rig);
	front_add(&rig, 0, &unmap, len, FRONT_TAIL);
	driver_publish(&rig.drivers[VIRTIO_IOMMU_REQUESTS]);
	front_write(&rig, VIRTIO_MMIO_STATUS, 0);
	cr_expect_eq(rig.abandoned, 1, "one was put off");
	front_write(&rig, VIRTIO_MMIO_STATUS, 0);
	cr_expect_eq(rig.abandoned, 1, "once");
	front_destroy(&rig);
}

Test(virtio_iommu, the_end_of_the_vm_ends_a_reset_that_waits)
{
	struct iommu_front rig = { 0 };
	struct writer writer = { &rig, VIRTIO_MMIO_STATUS, 0, false, 0 };

	front_start(&rig);
	cr_assert_eq(front_attach(&rig, 0, FRONT_FIRST), 0);
	cr_assert_eq(front_map(&rig, 0, PAGE, PAGE + 0xfff, RAM, RW), 0);
	front_hold(&rig, 0, 3, PAGE, 64);
	expect_waiting(&writer);
	rig.stop = 1;
	cr_assert_eq(eventfd_write(rig.stop_fd, 1), 0);
	expect_through(&writer);
	front_release(&rig, 0, 3);
	front_destroy(&rig);
}

Test(virtio_iommu, bypass_0_waits_for_what_is_in_flight)
{
	struct iommu_front rig = { .bypass = true };
	struct writer writer = { &rig, VIRTIO_MMIO_CONFIG + 36, 0, false, 0 };

	front_start(&rig);
	front_hold(&rig, 0, 3, PAGE, 64);
	expect_waiting(&writer);
	/* Requests go on meanwhile? Not by this vCPU, nor any: one device. */
	front_release(&rig, 0, 3);
	expect_through(&writer);
	cr_expect_eq(front_config(&rig, 36, 1), 0);
	cr_expect(front_faults(&rig, 0, PAGE, 64, DMA_READ));
	front_destroy(&rig);
}

Test(virtio_iommu, s75_an_internal_error_needs_a_reset)
{
	struct iommu_front rig = { 0 };
	uint16_t *avail;

	front_start(&rig);
	avail = driver_ring(&rig.drivers[VIRTIO_IOMMU_REQUESTS],
			    QUEUE_AVAILABLE);
	avail[1] = 1000; /* more requests than the queue has entries */
	front_write(&rig, VIRTIO_MMIO_QUEUE_NOTIFY, VIRTIO_IOMMU_REQUESTS);
	cr_expect(front_read(&rig, VIRTIO_MMIO_STATUS) &
		  VIRTIO_STATUS_NEEDS_RESET);
	cr_expect_eq(rig.interrupts, 1);
	/* And a reset helps. */
	front_write(&rig, VIRTIO_MMIO_STATUS, 0);
	front_negotiate(&rig);
	cr_expect_eq(front_attach(&rig, 0, FRONT_FIRST), 0);
	front_destroy(&rig);
}
