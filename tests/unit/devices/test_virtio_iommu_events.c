/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Faults on the event queue. sNN are the numbers of the specification's
 * statements (docs/conformance.md).
 */
#include <criterion/criterion.h>
#include <criterion/redirect.h>
#include <string.h>
#include <sys/eventfd.h>

#include "tests/unit/devices/iommu_front.h"
#include "tests/unit/devices/loop_support.h"
#include "virtio/mmio.h"

#define PAGE UINT64_C(0x10000) /* a page that tests map */
#define RAM UINT64_C(0x800000) /* to this one */

/* Endpoint 1 is attached, and may read PAGE; PAGE + 0x1000 is no RAM. */
static void start_attached(struct iommu_front *rig)
{
	front_start(rig);
	cr_assert_eq(front_attach(rig, 7, FRONT_FIRST), 0);
	cr_assert_eq(front_map(rig, 7, PAGE, PAGE + 0xfff, RAM,
			       VIRTIO_IOMMU_MAP_F_READ),
		     0);
	cr_assert_eq(front_map(rig, 7, PAGE + 0x1000, PAGE + 0x1fff, FRONT_RAM,
			       VIRTIO_IOMMU_MAP_F_READ),
		     0);
}

/* Makes endpoint @index's door fault, and has the main thread serve that. */
static void fault(struct iommu_front *rig, unsigned int index, uint64_t address,
		  enum dma_access access)
{
	cr_expect(front_faults(rig, index, address, 1, access));
	virtio_iommu_serve_faults(&rig->viommu);
}

static void expect_counted(const struct iommu_front *rig, uint64_t sent,
			   uint64_t dropped)
{
	struct virtio_iommu_counters counters =
		virtio_iommu_count(&rig->viommu);

	cr_expect_eq(counters.events_sent, sent);
	cr_expect_eq(counters.events_dropped, dropped);
}

static const struct {
	unsigned int index;
	uint64_t address;
	enum dma_access access;
	uint8_t reason;
	uint32_t flags;
	const char *words;
} faults[] = {
	{ 0, PAGE, DMA_WRITE, VIRTIO_IOMMU_FAULT_R_MAPPING,
	  VIRTIO_IOMMU_FAULT_F_WRITE,
	  "page fault from endpoint 1 (disk root) at 0x10000 write" },
	{ 0, PAGE - 1, DMA_READ, VIRTIO_IOMMU_FAULT_R_MAPPING,
	  VIRTIO_IOMMU_FAULT_F_READ,
	  "page fault from endpoint 1 (disk root) at 0xffff read" },
	{ 0, UINT64_MAX, DMA_READ, VIRTIO_IOMMU_FAULT_R_MAPPING,
	  VIRTIO_IOMMU_FAULT_F_READ, "at 0xffffffffffffffff read" },
	{ 0, PAGE + 0x1000, DMA_READ, VIRTIO_IOMMU_FAULT_R_UNKNOWN,
	  VIRTIO_IOMMU_FAULT_F_READ,
	  "access to what is no RAM from endpoint 1 (disk root)" },
	{ 1, RAM, DMA_READ, VIRTIO_IOMMU_FAULT_R_DOMAIN,
	  VIRTIO_IOMMU_FAULT_F_READ,
	  "domain fault from endpoint 2 at 0x800000 read" },
};

Test(virtio_iommu, s60_s61_s62_s63_s64_a_fault_is_a_record,
     .init = cr_redirect_stderr)
{
	struct virtio_iommu_fault record;
	struct iommu_front rig = { 0 };
	char said[4096] = "";
	uint32_t written;
	unsigned int i;

	start_attached(&rig);
	front_post_events(&rig, ARRAY_SIZE(faults), FRONT_RECORD);
	for (i = 0; i < ARRAY_SIZE(faults); i++) {
		fault(&rig, faults[i].index, faults[i].address,
		      faults[i].access);
		cr_assert(front_take_event(&rig, &record, &written));
		cr_expect_eq(written, 24);
		cr_expect_eq(record.reason, faults[i].reason);
		cr_expect_eq(record.flags,
			     faults[i].flags | VIRTIO_IOMMU_FAULT_F_ADDRESS);
		cr_expect_eq(record.endpoint, faults[i].index + 1);
		cr_expect_eq(record.address, faults[i].address);
		cr_expect_eq(memcmp(record.reserved, "\0\0\0", 3), 0);
		cr_expect_eq(memcmp(record.reserved2, "\0\0\0\0", 4), 0);
	}
	expect_counted(&rig, ARRAY_SIZE(faults), 0);
	fflush(stderr);
	cr_assert_gt(fread(said, 1, sizeof(said) - 1,
			   cr_get_redirected_stderr()),
		     0);
	for (i = 0; i < ARRAY_SIZE(faults); i++)
		cr_expect(strstr(said, faults[i].words), "\"%s\" in: %s",
			  faults[i].words, said);
	/* Others are not affected, and this one goes on. */
	cr_expect(front_reaches(&rig, 0, PAGE, 1, DMA_READ, RAM));
	front_destroy(&rig);
}

Test(virtio_iommu, s65_a_buffer_too_small_comes_back_empty)
{
	struct virtio_iommu_fault record;
	struct iommu_front rig = { 0 };
	uint32_t written;

	start_attached(&rig);
	front_post_events(&rig, 2, FRONT_RECORD - 1);
	front_post_events(&rig, 1, FRONT_RECORD + 8);
	fault(&rig, 1, RAM, DMA_READ);
	cr_assert(front_take_event(&rig, &record, &written));
	cr_expect_eq(written, 0);
	cr_expect_eq(record.endpoint, 0xeeeeeeee);
	cr_assert(front_take_event(&rig, &record, &written));
	cr_expect_eq(written, 0);
	cr_assert(front_take_event(&rig, &record, &written));
	cr_expect_eq(written, FRONT_RECORD);
	cr_expect_eq(record.endpoint, FRONT_SECOND);
	front_post_events(&rig, 1, FRONT_RECORD - 1);
	fault(&rig, 1, RAM, DMA_READ);
	expect_counted(&rig, 1, 1);
	cr_expect_eq(front_read(&rig, VIRTIO_MMIO_STATUS), 15);
	front_destroy(&rig);
}

Test(virtio_iommu, s74_without_a_buffer_the_event_is_dropped_and_counted)
{
	struct virtio_iommu_fault record;
	struct iommu_front rig = { 0 };
	uint32_t written;

	start_attached(&rig);
	fault(&rig, 1, RAM, DMA_READ);
	expect_counted(&rig, 0, 1);
	/* A buffer that comes later is for later faults; a notification too. */
	front_post_events(&rig, 1, FRONT_RECORD);
	front_write(&rig, VIRTIO_MMIO_QUEUE_NOTIFY, VIRTIO_IOMMU_EVENTS);
	cr_expect_not(front_take_event(&rig, &record, &written));
	fault(&rig, 1, RAM + 1, DMA_READ);
	cr_assert(front_take_event(&rig, &record, &written));
	cr_expect_eq(record.address, RAM + 1);
	expect_counted(&rig, 1, 1);
	front_destroy(&rig);
}

Test(virtio_iommu, faults_that_are_the_same_are_one_event)
{
	struct virtio_iommu_fault record;
	struct iommu_front rig = { 0 };
	uint32_t written;
	unsigned int i;

	start_attached(&rig);
	front_post_events(&rig, 4, FRONT_RECORD);
	for (i = 0; i < 10; i++)
		cr_expect(front_faults(&rig, 1, RAM, 1, DMA_READ));
	virtio_iommu_serve_faults(&rig.viommu);
	cr_expect(front_take_event(&rig, &record, &written));
	cr_expect_not(front_take_event(&rig, &record, &written));
	expect_counted(&rig, 1, 0);
	front_destroy(&rig);
}

Test(virtio_iommu, a_flood_of_faults_overflows_and_is_counted)
{
	struct iommu_front rig = { 0 };
	unsigned int i;

	start_attached(&rig);
	front_post_events(&rig, 4, FRONT_RECORD);
	for (i = 0; i < 1000; i++)
		cr_expect(front_faults(&rig, 1, RAM + i, 1, DMA_READ));
	virtio_iommu_serve_faults(&rig.viommu);
	/* The fault queue has room for 8, and there are 4 buffers. */
	expect_counted(&rig, 4, 996);
	cr_expect(front_reaches(&rig, 0, PAGE, 1, DMA_READ, RAM));
	front_destroy(&rig);
}

Test(virtio_iommu, faults_wake_the_loop_and_interrupt_the_driver)
{
	struct iommu_front rig = { 0 };
	struct event_loop loop;

	cr_assert_eq(event_loop_init(&loop), 0);
	start_attached(&rig);
	cr_assert_eq(virtio_iommu_watch(&rig.viommu, &loop), 0);
	front_post_events(&rig, 4, FRONT_RECORD);
	driver_want_interrupt(&rig.drivers[VIRTIO_IOMMU_EVENTS], true);
	rig.interrupts = 0;
	cr_expect(front_faults(&rig, 1, RAM, 1, DMA_READ));
	loop_run_for(&loop, 20);
	expect_counted(&rig, 1, 0);
	cr_expect_eq(rig.interrupts, 1);
	cr_expect(front_faults(&rig, 1, RAM, 1, DMA_READ));
	loop_run_for(&loop, 20);
	expect_counted(&rig, 2, 0);
	/* It was not asked for again. */
	cr_expect_eq(rig.interrupts, 1);
	front_destroy(&rig);
	event_loop_destroy(&loop);
}

Test(virtio_iommu, without_a_driver_events_are_dropped)
{
	struct iommu_front rig = { 0 };

	start_attached(&rig);
	front_post_events(&rig, 4, FRONT_RECORD);
	front_write(&rig, VIRTIO_MMIO_STATUS, 0);
	fault(&rig, 1, RAM, DMA_READ);
	expect_counted(&rig, 0, 1);
	front_negotiate(&rig);
	front_post_events(&rig, 4, FRONT_RECORD);
	fault(&rig, 1, RAM, DMA_READ);
	expect_counted(&rig, 1, 1);
	/* QueueReady = 0 of that queue alone. */
	front_write(&rig, VIRTIO_MMIO_QUEUE_SEL, VIRTIO_IOMMU_EVENTS);
	front_write(&rig, VIRTIO_MMIO_QUEUE_READY, 0);
	fault(&rig, 1, RAM, DMA_READ);
	expect_counted(&rig, 1, 2);
	cr_expect_eq(front_attach(&rig, 7, FRONT_FIRST), 0);
	front_destroy(&rig);
}

Test(virtio_iommu, a_broken_event_queue_needs_a_reset)
{
	struct iommu_front rig = { 0 };
	uint16_t *avail;

	start_attached(&rig);
	avail = driver_ring(&rig.drivers[VIRTIO_IOMMU_EVENTS], QUEUE_AVAILABLE);
	avail[1] = 1000;
	fault(&rig, 1, RAM, DMA_READ);
	cr_expect(front_read(&rig, VIRTIO_MMIO_STATUS) &
		  VIRTIO_STATUS_NEEDS_RESET);
	expect_counted(&rig, 0, 1);
	front_destroy(&rig);
}
