/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation. Doors put faults into the fault queue (memory/fault_queue.h),
 * which holds each one once; the main thread takes them out, says them, and hands
 * them to the guest in the buffers of the event queue. Linux posts buffers without
 * a notification, so the queue is looked at when there is a fault, and only then;
 * a fault that finds no buffer is dropped and counted.
 *
 * vCPU threads start and stop the event queue under events_lock, which the main
 * thread holds while it uses the queue, for bounded work without a system call
 * that blocks. Never the device's lock: whoever resets the IOMMU holds that while
 * it waits for disks, and the main thread is the one that ends such a wait.
 */
#include "devices/virtio_iommu_events.h"

#include <inttypes.h>
#include <string.h>
#include <sys/eventfd.h>

#include "devices/virtio_iommu.h"
#include "devices/virtio_iommu_format.h"
#include "memory/base.h"

/* The faults of one turn: others than the guest want the main thread, too. */
#define TURN 64

static struct queue *event_queue(struct virtio_iommu *viommu)
{
	return &viommu->device.queues[VIRTIO_IOMMU_EVENTS];
}

/* One line for the operator. */
static void say(struct virtio_iommu *viommu, const struct fault *fault)
{
	static const char *const reasons[] = {
		[FAULT_UNKNOWN] = "access to what is no RAM",
		[FAULT_DOMAIN] = "domain fault",
		[FAULT_MAPPING] = "page fault",
	};
	const struct virtio_iommu_options *options = &viommu->options;
	const char *name = NULL;

	if (options->endpoint_name)
		name = options->endpoint_name(options->context,
					      fault->endpoint);
	log_limited(&viommu->log_limit, LOG_LEVEL_WARN,
		    "iommu: %s from endpoint %" PRIu32 "%s%s%s at 0x%" PRIx64
		    " %s",
		    reasons[fault->reason], fault->endpoint, name ? " (" : "",
		    name ? name : "", name ? ")" : "", fault->address,
		    fault->flags & FAULT_WRITE ? "write" : "read");
}

/* Fills one buffer. False when it cannot be: it is given back empty. */
static bool fill(struct queue *queue, struct chain *chain,
		 const struct fault *fault)
{
	const struct viommu_fault record = {
		.reason = (uint8_t)fault->reason,
		.flags = fault->flags | VIOMMU_FAULT_ADDRESS,
		.endpoint = fault->endpoint,
		.address = fault->address,
	};
	struct chain_cursor cursor = chain_cursor(chain, DMA_WRITE, 0);
	bool filled = chain_write(queue, chain, &cursor, &record,
				  sizeof(record)) == 0;

	/* virtio 1.2, 5.13.6.9.2: never spread over two buffers. */
	queue_complete(queue, chain, filled ? sizeof(record) : 0);
	return filled;
}

/* Hands @fault to the guest. False when it has posted no buffer for it. */
static bool deliver(struct virtio_iommu *viommu, const struct fault *fault)
	LOCK_REQUIRES(&viommu->events_lock)
{
	struct queue *queue = event_queue(viommu);
	struct chain *chain;

	if (!viommu->events_live)
		return false;
	while (queue_next(queue, &chain, 1) == 1)
		if (fill(queue, chain, fault))
			return true;
	return false;
}

/* Hands @count faults to the guest, in one publication. */
static void deliver_all(struct virtio_iommu *viommu, const struct fault *faults,
			unsigned int count)
{
	struct queue *queue = event_queue(viommu);
	uint64_t *counter;
	bool interrupt = false;
	unsigned int i;

	lock_take(&viommu->events_lock);
	for (i = 0; i < count; i++) {
		counter = deliver(viommu, &faults[i]) ? &viommu->events_sent
						      : &viommu->events_dropped;
		queue_count(counter, 1);
	}
	if (viommu->events_live) {
		interrupt = queue_publish(queue);
		virtio_device_check_queue(&viommu->device, queue);
	}
	lock_drop(&viommu->events_lock);
	if (interrupt)
		virtio_device_signal_used(&viommu->device);
}

void virtio_iommu_serve_faults(struct virtio_iommu *viommu)
{
	struct fault_queue *queue = &viommu->iommu->faults;
	struct fault faults[TURN];
	unsigned int count = 0;
	eventfd_t token;
	unsigned int i;

	eventfd_read(queue->event_fd, &token);
	while (count < TURN && fault_queue_pop(queue, &faults[count]))
		count++;
	if (count == TURN)
		eventfd_write(queue->event_fd, 1);
	if (count == 0)
		return;
	deliver_all(viommu, faults, count);
	for (i = 0; i < count; i++)
		say(viommu, &faults[i]);
}

void virtio_iommu_set_events_live(struct virtio_iommu *viommu, bool live)
{
	lock_take(&viommu->events_lock);
	viommu->events_live = live;
	lock_drop(&viommu->events_lock);
}
