/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm/machine_iommu.h"

#include "devices/error.h"
#include "devices/virtio_iommu.h"
#include "memory/base.h"
#include "vmm/machine_device.h"
#include "vmm/stats.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Device addresses have so many bits, or as many as RAM needs. */
#define INPUT_BITS 36

#define DOMAIN_LAST 0xffff
#define FAULTS_MAX 256

/*
 * A guest that maps device addresses one to one (iommu=pt) reaches all RAM.
 */
static unsigned int input_bits(const struct plan *plan)
{
	const struct guest_memory_range *top = &plan->ram[plan->ram_count - 1];
	unsigned int bits = INPUT_BITS;

	while (bits < IOMMU_INPUT_BITS_MAX &&
	       (top->first + top->size - 1) >> bits != 0)
		bits++;
	return bits;
}

static unsigned int count_endpoints(const struct plan *plan)
{
	unsigned int count = 0;
	unsigned int i;

	for (i = 0; i < plan->device_count; i++)
		count += plan->devices[i].endpoint != PLAN_NO_ENDPOINT;
	return count;
}

static int core_create(struct machine *machine, struct error *error)
{
	const struct vmm_config *config = machine->config;
	const struct iommu_config core = {
		.input_bits = input_bits(machine->plan),
		.domain_first = 0,
		.domain_last = DOMAIN_LAST,
		.endpoints_max = MAX(count_endpoints(machine->plan), 1U),
		.requests_max = VIRTIO_IOMMU_QUEUE_SIZE,
		.faults_max = FAULTS_MAX,
		.tables = config->iommu.tables,
		.bypass = config->iommu.bypass,
	};
	int err = iommu_init(&machine->iommu, &core);

	if (err == -EINVAL)
		return error_set(error, EXIT_STATUS_CONFIGURATION,
				 "iommu.tables: %llu bytes are too few",
				 (unsigned long long)config->iommu.tables);
	if (err)
		return error_set(error, EXIT_STATUS_HOST, "iommu: %s",
				 strerror(-err));
	machine->has_iommu = true;
	err = iommu_reserve(&machine->iommu, IOVA(LAYOUT_MSI_FIRST),
			    IOVA(LAYOUT_MSI_LAST), IOMMU_RESERVED_MSI);
	if (err)
		return error_set(error, EXIT_STATUS_INTERNAL,
				 "iommu: the MSI region: %s", strerror(-err));
	return 0;
}

/* "disk root", for messages. Main thread. */
static const char *endpoint_name(void *context, uint32_t endpoint)
{
	static const char *const kinds[] = {
		[PLANNED_IOMMU] = "iommu",
		[PLANNED_BLOCK] = "disk",
		[PLANNED_NET] = "net",
		[PLANNED_RNG] = "device",
	};
	struct machine *machine = context;
	unsigned int i;

	for (i = 0; i < machine->device_count; i++) {
		const struct planned_device *plan = machine->devices[i].plan;

		if (plan->endpoint != endpoint)
			continue;
		snprintf(machine->endpoint_name, sizeof(machine->endpoint_name),
			 "%s %s", kinds[plan->type], plan->name);
		return machine->endpoint_name;
	}
	return NULL;
}

static void abandoned(void *context)
{
	struct machine *machine = context;

	machine->listener.iommu_abandoned(machine->listener.context);
}

static int create(struct machine_device *device, struct vm_files *files,
		  struct error *error)
{
	struct machine *machine = device->machine;
	const struct virtio_iommu_options options = {
		.bypass_config = machine->config->iommu.bypass,
		.stop = &machine->vcpu_platform.stop,
		.stop_fd = machine->stop_fd,
		.abandoned = abandoned,
		.endpoint_name = endpoint_name,
		.context = machine,
	};
	struct virtio_iommu *viommu;
	int err;

	(void)files;
	if (core_create(machine, error) != 0)
		return -1;
	viommu = calloc(1, sizeof(*viommu));
	if (!viommu)
		return error_set(error, EXIT_STATUS_INTERNAL,
				 "iommu: no memory");
	err = virtio_iommu_init(viommu, &machine->iommu, &machine->memory,
				&options);
	if (err) {
		free(viommu);
		return error_set(error, EXIT_STATUS_INTERNAL, "iommu: %s",
				 strerror(-err));
	}
	device->self = viommu;
	device->device = &viommu->device;
	machine->viommu = viommu;
	return 0;
}

static void destroy(struct machine_device *device)
{
	device->machine->viommu = NULL;
	virtio_iommu_destroy(device->self);
	free(device->self);
}

static int watch(struct machine_device *device, struct event_loop *loop)
{
	return virtio_iommu_watch(device->self, loop);
}

/* Requests are served on the vCPUs' threads. */
static int start_threads(struct machine_device *device, struct threads *threads)
{
	(void)device;
	(void)threads;
	return 0;
}

static int join_threads(struct machine_device *device)
{
	(void)device;
	return 0;
}

static int kick_fd(const struct machine_device *device, unsigned int index)
{
	(void)device;
	(void)index;
	return -1;
}

static struct machine_device_counters count(const struct machine_device *device)
{
	const struct virtio_iommu *viommu = device->self;
	struct iommu_counters core = iommu_read_counters(viommu->iommu);

	return (struct machine_device_counters){
		.requests = core.attach + core.detach + core.map + core.unmap +
			    core.rejected + virtio_iommu_count(viommu).probe,
		.errors = core.rejected,
		.bytes_read = UINT64_MAX,
		.bytes_written = UINT64_MAX,
	};
}

const struct machine_device_class machine_iommu_class = {
	.create = create,
	.watch = watch,
	.start_threads = start_threads,
	.join_threads = join_threads,
	.destroy = destroy,
	.kick_fd = kick_fd,
	.count = count,
};

int machine_iommu_attach(struct machine_device *device, struct error *error)
{
	struct virtio_device *virtio = device->device;
	struct iommu_endpoint *endpoint;
	unsigned int i;
	int err = 0;

	if (device->plan->endpoint == PLAN_NO_ENDPOINT)
		return 0;
	endpoint = iommu_add_endpoint(&device->machine->iommu,
				      device->plan->endpoint);
	if (!endpoint)
		return error_set(error, EXIT_STATUS_INTERNAL,
				 "%s: endpoint %u is taken", device->plan->name,
				 device->plan->endpoint);
	for (i = 0; i < virtio->queue_count && !err; i++)
		err = dma_attach_endpoint(&virtio->queues[i].dma, endpoint);
	if (err)
		return error_set(error, EXIT_STATUS_INTERNAL, "%s: iommu: %s",
				 device->plan->name, strerror(-err));
	/* The driver has to take it: addresses are not the guest's own. */
	virtio->offered |= VIRTIO_FEATURE_ACCESS_PLATFORM;
	return 0;
}

bool machine_iommu_is_live(const struct machine *machine)
{
	return machine->viommu &&
	       virtio_device_status(&machine->viommu->device) &
		       VIRTIO_STATUS_DRIVER_OK;
}

void machine_iommu_count(const struct machine *machine, uint64_t *out)
{
	struct virtio_iommu_counters front;
	struct iommu_counters core;

	memset(out, 0, STATS_IOMMU_COUNTERS * sizeof(*out));
	if (!machine->viommu)
		return;
	core = iommu_read_counters(&machine->iommu);
	front = virtio_iommu_count(machine->viommu);
	out[STATS_IOMMU_ATTACH] = core.attach;
	out[STATS_IOMMU_DETACH] = core.detach;
	out[STATS_IOMMU_MAP] = core.map;
	out[STATS_IOMMU_UNMAP] = core.unmap;
	out[STATS_IOMMU_PROBE] = front.probe;
	out[STATS_IOMMU_REJECTED] = core.rejected;
	out[STATS_IOMMU_MAPPED_BYTES] = core.mapped_bytes;
	out[STATS_IOMMU_FAULTS] =
		fault_queue_read_counters(&machine->iommu.faults).reported;
	out[STATS_IOMMU_EVENTS_SENT] = front.events_sent;
	out[STATS_IOMMU_EVENTS_DROPPED] = front.events_dropped;
	out[STATS_IOMMU_UNMAP_WAITS] = core.unmap_waits;
}
