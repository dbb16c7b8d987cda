/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Requests that wait for a device, and how the request queue is served: batches,
 * notifications, interrupts.
 */
#include <criterion/criterion.h>
#include <string.h>

#include "tests/unit/devices/iommu_front.h"
#include "tests/unit/devices/loop_support.h"
#include "virtio/mmio.h"

#define PAGE UINT64_C(0x10000) /* pages that tests map, from here on */
#define RAM UINT64_C(0x800000) /* to these */
#define RW (VIRTIO_IOMMU_MAP_F_READ | VIRTIO_IOMMU_MAP_F_WRITE)

/* Endpoint 1 has @pages pages, each by a MAP of its own. */
static void start_mapped(struct iommu_front *rig, unsigned int pages)
{
	unsigned int i;

	front_start(rig);
	cr_assert_eq(front_attach(rig, 7, FRONT_FIRST), 0);
	for (i = 0; i < pages; i++)
		cr_assert_eq(front_map(rig, 7, PAGE + i * PAGE_SIZE,
				       PAGE + i * PAGE_SIZE + 0xfff,
				       RAM + i * PAGE_SIZE, RW),
			     0);
}

/* Makes an UNMAP of page @page available as request @n. Its head. */
static int add_unmap(struct iommu_front *rig, unsigned int n, unsigned int page)
{
	const struct virtio_iommu_req_unmap request = {
		.head.type = VIRTIO_IOMMU_T_UNMAP,
		.domain = 7,
		.virt_start = PAGE + page * PAGE_SIZE,
		.virt_end = PAGE + page * PAGE_SIZE + 0xfff,
	};

	return front_add(rig, n, &request, 28, FRONT_TAIL);
}

static bool take(struct iommu_front *rig, uint16_t *head)
{
	uint32_t written;

	if (!driver_take_used(&rig->drivers[VIRTIO_IOMMU_REQUESTS], head,
			      &written))
		return false;
	cr_expect_eq(written, FRONT_TAIL);
	return true;
}

static uint8_t status_of(struct iommu_front *rig, unsigned int n)
{
	return *(uint8_t *)front_host(rig, FRONT_ANSWER + 64 * n);
}

Test(virtio_iommu, an_unmap_waits_for_what_overlaps_and_is_answered_then)
{
	struct iommu_front rig = { 0 };
	uint16_t head;
	int first, second;

	start_mapped(&rig, 2);
	front_hold(&rig, 0, 3, PAGE + 16, 64);
	first = add_unmap(&rig, 0, 0);
	second = add_unmap(&rig, 1, 1);
	front_notify(&rig);
	/* The other page's is answered. */
	cr_assert(take(&rig, &head));
	cr_expect_eq(head, second);
	cr_expect_eq(status_of(&rig, 1), 0);
	cr_expect_not(take(&rig, &head));
	cr_expect_eq(status_of(&rig, 0), FRONT_UNTOUCHED);
	cr_expect_eq(iommu_read_counters(&rig.iommu).unmap_waits, 1);
	/* And others go on meanwhile. */
	cr_expect_eq(front_attach(&rig, 8, FRONT_SECOND), 0);

	front_release(&rig, 0, 3);
	cr_assert(take(&rig, &head));
	cr_expect_eq(head, first);
	cr_expect_eq(status_of(&rig, 0), 0);
	front_destroy(&rig);
}

Test(virtio_iommu, an_answer_by_a_device_interrupts_if_asked_for)
{
	struct iommu_front rig = { 0 };
	uint16_t head;

	start_mapped(&rig, 1);
	front_hold(&rig, 0, 3, PAGE, 64);
	add_unmap(&rig, 0, 0);
	front_notify(&rig);
	driver_want_interrupt(&rig.drivers[VIRTIO_IOMMU_REQUESTS], true);
	rig.interrupts = 0;
	front_release(&rig, 0, 3);
	cr_expect_eq(rig.interrupts, 1);
	cr_expect(take(&rig, &head));
	front_destroy(&rig);
}

Test(virtio_iommu, a_reset_forgets_requests_that_wait)
{
	struct iommu_front rig = { 0 };
	uint16_t head;

	start_mapped(&rig, 1);
	front_hold(&rig, 0, 3, PAGE, 64);
	add_unmap(&rig, 0, 0);
	front_notify(&rig);
	/* QueueReady = 0 first: that waits for nobody. */
	front_write(&rig, VIRTIO_MMIO_QUEUE_SEL, VIRTIO_IOMMU_REQUESTS);
	front_write(&rig, VIRTIO_MMIO_QUEUE_READY, 0);
	cr_expect_eq(front_read(&rig, VIRTIO_MMIO_QUEUE_READY), 0);
	front_release(&rig, 0, 3);
	cr_expect_not(take(&rig, &head));
	cr_expect_eq(status_of(&rig, 0), FRONT_UNTOUCHED);
	/* The same head in the queue's next life is another request. */
	front_write(&rig, VIRTIO_MMIO_STATUS, 0);
	front_negotiate(&rig);
	cr_expect_eq(front_attach(&rig, 7, FRONT_FIRST), 0);
	front_destroy(&rig);
}

Test(virtio_iommu, an_answer_to_the_queues_former_life_is_for_nobody)
{
	struct iommu_front rig = { 0 };
	uint16_t head;

	start_mapped(&rig, 1);
	front_hold(&rig, 0, 3, PAGE, 64);
	add_unmap(&rig, 0, 0);
	front_notify(&rig);
	front_write(&rig, VIRTIO_MMIO_QUEUE_SEL, VIRTIO_IOMMU_REQUESTS);
	front_write(&rig, VIRTIO_MMIO_QUEUE_READY, 0);
	cr_expect_eq(front_read(&rig, VIRTIO_MMIO_STATUS), 15);
	front_release(&rig, 0, 3);
	cr_expect_not(take(&rig, &head));
	front_write(&rig, VIRTIO_MMIO_QUEUE_NOTIFY, VIRTIO_IOMMU_REQUESTS);
	cr_expect_eq(front_read(&rig, VIRTIO_MMIO_STATUS), 15);
	front_destroy(&rig);
}

/* Fills the request queue's door with requests that wait, by long chains. */
static unsigned int stall(struct iommu_front *rig, unsigned int pages)
{
	const struct virtio_iommu_req_unmap request = {
		.head.type = VIRTIO_IOMMU_T_UNMAP,
		.domain = 7,
		.virt_start = PAGE,
		.virt_end = PAGE + pages * PAGE_SIZE - 1,
	};
	struct driver *driver = &rig->drivers[VIRTIO_IOMMU_REQUESTS];
	struct driver_buffer buffers[64];
	unsigned int count = 0, i;

	memcpy(front_host(rig, FRONT_REQUEST), &request, 28);
	for (i = 0; i < ARRAY_SIZE(buffers); i++)
		buffers[i] = (struct driver_buffer){
			IOVA(FRONT_REQUEST + (i < 28 ? i : 0)), 1, false
		};
	buffers[63] = (struct driver_buffer){ IOVA(FRONT_ANSWER), 4, true };
	while (driver_add_indirect(driver, buffers, ARRAY_SIZE(buffers)) >= 0)
		count++;
	return count;
}

Test(virtio_iommu, requests_that_no_notification_announces_are_served)
{
	struct iommu_front rig = { .indirect = 64 };
	struct queue *queue;
	struct event_loop loop;
	unsigned int sent, answered = 0;
	uint16_t head;

	cr_assert_eq(event_loop_init(&loop), 0);
	start_mapped(&rig, 1);
	cr_assert_eq(virtio_iommu_watch(&rig.viommu, &loop), 0);
	queue = &rig.viommu.device.queues[VIRTIO_IOMMU_REQUESTS];
	front_hold(&rig, 0, 3, PAGE, 64);
	sent = stall(&rig, 1);
	front_notify(&rig);
	/* Some could not be taken, or the test shows nothing. */
	cr_assert(queue->stalled);
	front_release(&rig, 0, 3);
	loop_run_for(&loop, 20);
	while (take(&rig, &head))
		answered++;
	cr_expect_eq(answered, sent);
	front_destroy(&rig);
	event_loop_destroy(&loop);
}

Test(virtio_iommu, a_notification_serves_more_than_a_batch)
{
	struct iommu_front rig = { .indirect = 2 };
	unsigned int i, answered = 0;
	uint16_t head;

	start_mapped(&rig, 1);
	for (i = 0; i < 64; i++)
		cr_assert_geq(add_unmap(&rig, i, 1), 0);
	front_notify(&rig);
	while (take(&rig, &head))
		answered++;
	cr_expect_eq(answered, 64);
	/* It is armed: the next one is notified of, and served. */
	cr_expect_eq(front_attach(&rig, 8, FRONT_SECOND), 0);
	front_destroy(&rig);
}

Test(virtio_iommu, interrupts_for_requests_only_as_the_driver_asks)
{
	struct iommu_front rig = { 0 };
	unsigned int i;

	front_start(&rig);
	driver_want_interrupt(&rig.drivers[VIRTIO_IOMMU_REQUESTS], false);
	rig.interrupts = 0;
	for (i = 0; i < 100; i++)
		cr_expect_eq(front_attach(&rig, 7, FRONT_FIRST), 0);
	cr_expect_eq(rig.interrupts, 0);
	driver_want_interrupt(&rig.drivers[VIRTIO_IOMMU_REQUESTS], true);
	cr_expect_eq(front_attach(&rig, 7, FRONT_FIRST), 0);
	cr_expect_eq(rig.interrupts, 1);
	front_destroy(&rig);
}

Test(virtio_iommu, without_event_idx_too)
{
	struct iommu_front rig = {
		.refused_features = VIRTIO_FEATURE_EVENT_IDX |
				    VIRTIO_FEATURE_INDIRECT_DESC,
	};

	front_start(&rig);
	driver_want_interrupt(&rig.drivers[VIRTIO_IOMMU_REQUESTS], false);
	rig.interrupts = 0;
	cr_expect_eq(front_attach(&rig, 7, FRONT_FIRST), 0);
	cr_expect_eq(rig.interrupts, 0);
	driver_want_interrupt(&rig.drivers[VIRTIO_IOMMU_REQUESTS], true);
	cr_expect_eq(front_detach(&rig, 7, FRONT_FIRST), 0);
	cr_expect_eq(rig.interrupts, 1);
	front_destroy(&rig);
}

Test(virtio_iommu, a_vcpu_that_is_to_stop_serves_no_more)
{
	struct iommu_front rig = { 0 };
	uint16_t head;

	start_mapped(&rig, 1);
	rig.stop = 1;
	add_unmap(&rig, 0, 0);
	front_notify(&rig);
	cr_expect_not(take(&rig, &head));
	front_destroy(&rig);
}

Test(virtio_iommu, requests_before_driver_ok_are_served_at_driver_ok)
{
	const struct virtio_iommu_req_attach request = {
		.head.type = VIRTIO_IOMMU_T_ATTACH,
		.domain = 7,
		.endpoint = FRONT_FIRST,
	};
	struct iommu_front rig = { 0 };
	uint16_t head;

	rig.before_driver_ok = &request;
	front_start(&rig);
	cr_expect(take(&rig, &head));
	cr_expect_eq(status_of(&rig, 0), 0);
	cr_expect_eq(iommu_read_counters(&rig.iommu).attach, 1);
	front_destroy(&rig);
}
