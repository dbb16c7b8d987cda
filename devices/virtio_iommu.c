/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation. Requests are in virtio_iommu_request.c, faults in
 * virtio_iommu_events.c; here is what a device is beside its queues: identity,
 * features, configuration space and reset.
 *
 * Two register writes take mappings away: Status = 0 all of them, and bypass = 0
 * what endpoints reached without any. The guest's driver does not look whether
 * that is done, and frees memory next. So the vCPU waits until no device uses what
 * it took away, on an eventfd, with nothing locked but this device; the end of the
 * VM ends the wait.
 */
#include "devices/virtio_iommu.h"

#include <errno.h>
#include <linux/virtio_iommu.h>
#include <poll.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "devices/virtio_iommu_events.h"
#include "devices/virtio_iommu_format.h"
#include "devices/virtio_iommu_request.h"
#include "memory/base.h"

#define DEVICE_ID 23 /* virtio 1.2, 5.13.1 */

/* The layouts of virtio_iommu_format.h are Linux's. */
#define SAME_SIZE(ours, linux_s, more) \
	_Static_assert(sizeof(ours) + (more) == sizeof(linux_s), #ours)
#define SAME_PLACE(ours, linux_s, member)                                   \
	_Static_assert(offsetof(ours, member) == offsetof(linux_s, member), \
		       #ours)
#define TAIL sizeof(struct virtio_iommu_req_tail)
SAME_SIZE(struct viommu_attach, struct virtio_iommu_req_attach, TAIL);
SAME_SIZE(struct viommu_detach, struct virtio_iommu_req_detach, TAIL);
SAME_SIZE(struct viommu_map, struct virtio_iommu_req_map, TAIL);
SAME_SIZE(struct viommu_unmap, struct virtio_iommu_req_unmap, TAIL);
SAME_SIZE(struct viommu_probe, struct virtio_iommu_req_probe, 0);
SAME_SIZE(struct viommu_tail, struct virtio_iommu_req_tail, 0);
SAME_SIZE(struct viommu_reserved_memory, struct virtio_iommu_probe_resv_mem, 0);
SAME_SIZE(struct viommu_fault, struct virtio_iommu_fault, 0);
SAME_SIZE(struct viommu_config, struct virtio_iommu_config, 0);
SAME_PLACE(struct viommu_attach, struct virtio_iommu_req_attach, flags);
SAME_PLACE(struct viommu_map, struct virtio_iommu_req_map, phys_start);
SAME_PLACE(struct viommu_map, struct virtio_iommu_req_map, flags);
SAME_PLACE(struct viommu_unmap, struct virtio_iommu_req_unmap, virt_end);
SAME_PLACE(struct viommu_fault, struct virtio_iommu_fault, address);
SAME_PLACE(struct viommu_config, struct virtio_iommu_config, bypass);

/* So are the numbers. */
_Static_assert(VIOMMU_F_INPUT_RANGE == VIRTIO_IOMMU_F_INPUT_RANGE &&
		       VIOMMU_F_DOMAIN_RANGE == VIRTIO_IOMMU_F_DOMAIN_RANGE &&
		       VIOMMU_F_MAP_UNMAP == VIRTIO_IOMMU_F_MAP_UNMAP &&
		       VIOMMU_F_PROBE == VIRTIO_IOMMU_F_PROBE &&
		       VIOMMU_F_MMIO == VIRTIO_IOMMU_F_MMIO &&
		       VIOMMU_F_BYPASS_CONFIG == VIRTIO_IOMMU_F_BYPASS_CONFIG,
	       "features");
_Static_assert(VIOMMU_ATTACH == VIRTIO_IOMMU_T_ATTACH &&
		       VIOMMU_DETACH == VIRTIO_IOMMU_T_DETACH &&
		       VIOMMU_MAP == VIRTIO_IOMMU_T_MAP &&
		       VIOMMU_UNMAP == VIRTIO_IOMMU_T_UNMAP &&
		       VIOMMU_PROBE == VIRTIO_IOMMU_T_PROBE,
	       "types of requests");
_Static_assert(IOMMU_OK == VIRTIO_IOMMU_S_OK &&
		       IOMMU_DEVERR == VIRTIO_IOMMU_S_DEVERR &&
		       IOMMU_INVAL == VIRTIO_IOMMU_S_INVAL &&
		       IOMMU_RANGE == VIRTIO_IOMMU_S_RANGE &&
		       IOMMU_NOENT == VIRTIO_IOMMU_S_NOENT &&
		       IOMMU_NOMEM == VIRTIO_IOMMU_S_NOMEM,
	       "answers");
_Static_assert(IOMMU_ATTACH_BYPASS == VIRTIO_IOMMU_ATTACH_F_BYPASS &&
		       IOMMU_MAP_READ == VIRTIO_IOMMU_MAP_F_READ &&
		       IOMMU_MAP_WRITE == VIRTIO_IOMMU_MAP_F_WRITE &&
		       IOMMU_MAP_MMIO == VIRTIO_IOMMU_MAP_F_MMIO,
	       "flags of requests");
_Static_assert(VIOMMU_PROPERTY_RESERVED_MEMORY ==
			       VIRTIO_IOMMU_PROBE_T_RESV_MEM &&
		       IOMMU_RESERVED == VIRTIO_IOMMU_RESV_MEM_T_RESERVED &&
		       IOMMU_RESERVED_MSI == VIRTIO_IOMMU_RESV_MEM_T_MSI,
	       "properties");
_Static_assert(FAULT_UNKNOWN == VIRTIO_IOMMU_FAULT_R_UNKNOWN &&
		       FAULT_DOMAIN == VIRTIO_IOMMU_FAULT_R_DOMAIN &&
		       FAULT_MAPPING == VIRTIO_IOMMU_FAULT_R_MAPPING &&
		       FAULT_READ == VIRTIO_IOMMU_FAULT_F_READ &&
		       FAULT_WRITE == VIRTIO_IOMMU_FAULT_F_WRITE &&
		       VIOMMU_FAULT_ADDRESS == VIRTIO_IOMMU_FAULT_F_ADDRESS,
	       "faults");

static struct virtio_iommu *viommu_of(struct virtio_device *device)
{
	return container_of(device, struct virtio_iommu, device);
}

static bool bypass_read(struct virtio_iommu *viommu)
{
	struct iommu *iommu = viommu->iommu;
	bool bypass;

	iommu_begin(iommu);
	bypass = iommu->bypass;
	iommu_end(iommu);
	return bypass;
}

static void viommu_config_read(struct virtio_device *device, uint32_t offset,
			       void *buffer, uint32_t len)
{
	struct virtio_iommu *viommu = viommu_of(device);
	const struct iommu *iommu = viommu->iommu;
	const struct viommu_config config = {
		.page_size_mask = VIRTIO_IOMMU_PAGE_SIZES,
		.input_end = iommu->input_last,
		.domain_start = iommu->domain_first,
		.domain_end = iommu->domain_last,
		.probe_size = VIRTIO_IOMMU_PROBE_SIZE,
		.bypass = bypass_read(viommu),
	};

	memcpy(buffer, (const char *)&config + offset, len);
}

/*
 * Waits until nobody uses what was taken away. 0, or -EINTR when the VM ends:
 * then somebody still may.
 */
static int wait_until_quiet(struct virtio_iommu *viommu)
{
	struct pollfd fds[] = {
		{ .fd = viommu->quiet_fd, .events = POLLIN },
		{ .fd = viommu->options.stop_fd, .events = POLLIN },
	};
	struct iommu *iommu = viommu->iommu;
	eventfd_t token;
	bool quiet;

	for (;;) {
		/* Before the look: a token of an earlier wait means nothing. */
		eventfd_read(viommu->quiet_fd, &token);
		iommu_begin(iommu);
		quiet = iommu_is_quiet(iommu);
		iommu_end(iommu);
		if (quiet)
			return 0;
		/* A signal to this vCPU's thread is no reason to give up. */
		if (poll(fds, ARRAY_SIZE(fds), -1) > 0 && fds[1].revents)
			return -EINTR;
	}
}

/* virtio 1.2, 5.13.4: only bypass can be written, where it is offered. */
static void viommu_config_write(struct virtio_device *device, uint32_t offset,
				const void *buffer, uint32_t len)
{
	const uint32_t place = offsetof(struct viommu_config, bypass);
	struct virtio_iommu *viommu = viommu_of(device);
	struct iommu *iommu = viommu->iommu;
	uint8_t value;
	int err;

	if (!(device->offered & VIRTIO_FEATURE(VIOMMU_F_BYPASS_CONFIG)) ||
	    place < offset || place - offset >= len)
		return;
	value = ((const uint8_t *)buffer)[place - offset];
	/* It never reads as anything else. */
	if (value > 1)
		return;
	iommu_begin(iommu);
	err = iommu_set_bypass(iommu, value);
	iommu_end(iommu);
	if (err)
		wait_until_quiet(viommu);
}

static int viommu_start(struct virtio_device *device)
{
	struct virtio_iommu *viommu = viommu_of(device);

	if (device->queues[VIRTIO_IOMMU_REQUESTS].live)
		virtio_iommu_start_requests(viommu);
	virtio_iommu_set_events_live(viommu,
				     device->queues[VIRTIO_IOMMU_EVENTS].live);
	/* What came before DRIVER_OK was announced to nobody. */
	virtio_iommu_serve_requests(viommu);
	return 0;
}

static int viommu_stop_queue(struct virtio_device *device, unsigned int index)
{
	struct virtio_iommu *viommu = viommu_of(device);
	const struct virtio_iommu_options *options = &viommu->options;

	if (index != VIRTIO_IOMMU_REQUESTS) {
		virtio_iommu_set_events_live(viommu, false);
		return 0;
	}
	if (virtio_iommu_stop_requests(viommu) && options->abandoned)
		options->abandoned(options->context);
	return 0;
}

/* virtio 1.2, 5.13.6.3: a reset detaches every endpoint. bypass stays. */
static int viommu_reset(struct virtio_device *device)
{
	struct virtio_iommu *viommu = viommu_of(device);
	struct iommu *iommu = viommu->iommu;
	int err;

	iommu_begin(iommu);
	err = iommu_reset(iommu);
	iommu_end(iommu);
	return err ? wait_until_quiet(viommu) : 0;
}

static void viommu_notify(struct virtio_device *device, unsigned int index)
{
	/* Buffers for events are found when there is an event. */
	if (index != VIRTIO_IOMMU_REQUESTS)
		return;
	queue_count(&device->queues[index].counters.kicks, 1);
	virtio_iommu_serve_requests(viommu_of(device));
}

static const struct virtio_device_ops viommu_ops = {
	.id = DEVICE_ID,
	.config_read = viommu_config_read,
	.config_write = viommu_config_write,
	.start = viommu_start,
	.stop_queue = viommu_stop_queue,
	.reset = viommu_reset,
	.notify = viommu_notify,
};

static uint64_t features_offer(const struct virtio_iommu_options *options)
{
	uint64_t features =
		VIRTIO_FEATURE_INDIRECT_DESC | VIRTIO_FEATURE_EVENT_IDX |
		VIRTIO_FEATURE(VIOMMU_F_INPUT_RANGE) |
		VIRTIO_FEATURE(VIOMMU_F_DOMAIN_RANGE) |
		VIRTIO_FEATURE(VIOMMU_F_MAP_UNMAP) |
		VIRTIO_FEATURE(VIOMMU_F_PROBE) | VIRTIO_FEATURE(VIOMMU_F_MMIO);

	if (options->bypass_config)
		features |= VIRTIO_FEATURE(VIOMMU_F_BYPASS_CONFIG);
	return features;
}

int virtio_iommu_init(struct virtio_iommu *viommu, struct iommu *iommu,
		      const struct guest_memory *memory,
		      const struct virtio_iommu_options *options)
{
	int err;

	memset(viommu, 0, sizeof(*viommu));
	viommu->iommu = iommu;
	viommu->options = *options;
	viommu->quiet_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (viommu->quiet_fd < 0)
		return -errno;
	viommu->again_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (viommu->again_fd < 0) {
		err = -errno;
		goto err_close_quiet;
	}
	err = virtio_device_init(&viommu->device, &viommu_ops, "iommu", memory,
				 VIRTIO_IOMMU_QUEUES, VIRTIO_IOMMU_QUEUE_SIZE);
	if (err)
		goto err_close_again;
	viommu->device.config_size = sizeof(struct viommu_config);
	viommu->device.offered |= features_offer(options);
	lock_init(&viommu->events_lock);
	iommu_set_answers(iommu, &virtio_iommu_answers, viommu);
	return 0;

err_close_again:
	close(viommu->again_fd);
err_close_quiet:
	close(viommu->quiet_fd);
	return err;
}

void virtio_iommu_destroy(struct virtio_iommu *viommu)
{
	if (viommu->loop) {
		event_loop_remove(viommu->loop, &viommu->faults);
		event_loop_remove(viommu->loop, &viommu->again);
	}
	virtio_device_destroy(&viommu->device);
	lock_destroy(&viommu->events_lock);
	close(viommu->again_fd);
	close(viommu->quiet_fd);
}

static void faults_ready(void *context, uint32_t events)
{
	(void)events;
	virtio_iommu_serve_faults(context);
}

static void again_ready(void *context, uint32_t events)
{
	struct virtio_iommu *viommu = context;
	eventfd_t token;

	(void)events;
	eventfd_read(viommu->again_fd, &token);
	/* One batch: the main thread has other work, too. */
	if (virtio_iommu_serve_batch(viommu))
		eventfd_write(viommu->again_fd, 1);
}

int virtio_iommu_watch(struct virtio_iommu *viommu, struct event_loop *loop)
{
	int err;

	viommu->faults = (struct event_source){
		.fd = viommu->iommu->faults.event_fd,
		.ready = faults_ready,
		.context = viommu,
	};
	viommu->again = (struct event_source){
		.fd = viommu->again_fd,
		.ready = again_ready,
		.context = viommu,
	};
	err = event_loop_add(loop, &viommu->faults, EPOLLIN);
	if (err)
		return err;
	err = event_loop_add(loop, &viommu->again, EPOLLIN);
	if (err) {
		event_loop_remove(loop, &viommu->faults);
		return err;
	}
	viommu->loop = loop;
	return 0;
}

struct virtio_iommu_counters
virtio_iommu_count(const struct virtio_iommu *viommu)
{
	struct fault_counters faults =
		fault_queue_read_counters(&viommu->iommu->faults);

	return (struct virtio_iommu_counters){
		.probe = __atomic_load_n(&viommu->probes, __ATOMIC_RELAXED),
		.events_sent =
			__atomic_load_n(&viommu->events_sent, __ATOMIC_RELAXED),
		.events_dropped = faults.dropped +
				  __atomic_load_n(&viommu->events_dropped,
						  __ATOMIC_RELAXED),
	};
}
