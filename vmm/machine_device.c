/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm/machine_device.h"

#include "devices/disk.h"
#include "devices/error.h"
#include "devices/virtio_blk.h"
#include "memory/base.h"
#include "virtio/device.h"
#include "virtio/mmio.h"
#include "vmm/files.h"
#include "vmm/machine_iommu.h"
#include "vmm/machine_net.h"
#include "vmm/machine_rng.h"

#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

static int block_create(struct machine_device *device, struct vm_files *files,
			struct error *error)
{
	struct machine *machine = device->machine;
	const struct disk_config *config =
		&machine->config->disks[device->plan->index];
	struct virtio_blk *blk;
	struct error why;
	struct disk disk;
	int err;

	blk = calloc(1, sizeof(*blk));
	if (!blk)
		return error_set(error, EXIT_STATUS_INTERNAL,
				 "disk.%s: no memory", config->name);
	if (disk_open(&disk, files->disks[device->plan->index], config->path,
		      config->read_only, &why) != 0) {
		error_set(error, why.status, "disk.%s.path: %s", config->name,
			  why.text);
		goto err_free;
	}
	files->disks[device->plan->index] = -1;
	err = virtio_blk_init(blk, config->name, &disk, config->queues,
			      &machine->memory, machine->stop_fd);
	if (err != 0) {
		error_set(error, EXIT_STATUS_INTERNAL, "disk.%s: %s",
			  config->name, strerror(-err));
		goto err_close_disk;
	}
	virtio_blk_set_limit(blk, &config->rate);
	device->self = blk;
	device->device = &blk->device;
	return 0;

err_close_disk:
	disk_close(&disk);
err_free:
	free(blk);
	return -1;
}

static int block_start_threads(struct machine_device *device,
			       struct threads *threads)
{
	return virtio_blk_start_threads(device->self, threads);
}

static int block_join_threads(struct machine_device *device)
{
	return virtio_blk_join_threads(device->self);
}

static void block_destroy(struct machine_device *device)
{
	virtio_blk_destroy(device->self);
	free(device->self);
}

static int block_kick_fd(const struct machine_device *device,
			 unsigned int index)
{
	return virtio_blk_kick_fd(device->self, index);
}

static struct machine_device_counters
block_count(const struct machine_device *device)
{
	struct virtio_blk_counters counters = virtio_blk_count(device->self);

	return (struct machine_device_counters){
		.requests = counters.requests,
		.errors = counters.errors,
		.bytes_read = counters.bytes_read,
		.bytes_written = counters.bytes_written,
	};
}

static const struct machine_device_class block_class = {
	.create = block_create,
	.start_threads = block_start_threads,
	.join_threads = block_join_threads,
	.destroy = block_destroy,
	.kick_fd = block_kick_fd,
	.count = block_count,
};

/* Types without an entry are not in this version. */
static const struct machine_device_class *const classes[] = {
	[PLANNED_IOMMU] = &machine_iommu_class,
	[PLANNED_BLOCK] = &block_class,
	[PLANNED_NET] = &machine_net_class,
	[PLANNED_RNG] = &machine_rng_class,
};

static void window_read(void *device, uint64_t offset, void *data, uint32_t len)
{
	virtio_mmio_read(device, offset, data, len);
}

static void window_write(void *device, uint64_t offset, const void *data,
			 uint32_t len)
{
	virtio_mmio_write(device, offset, data, len);
}

static const struct bus_handler window_handler = { window_read, window_write };

static void interrupt(void *context)
{
	const struct machine_device *device = context;

	eventfd_write(device->irq_fd, 1);
}

/*
 * With one queue whatever is written to QueueNotify means that queue; a kick
 * too many finds nothing to do.
 */
static int connect_queues(struct machine_device *device)
{
	unsigned int count = device->device->queue_count, i;
	uint64_t notify = device->plan->mmio + VIRTIO_MMIO_QUEUE_NOTIFY;
	int fd, err;

	for (i = 0; i < count; i++) {
		fd = device->class->kick_fd(device, i);
		if (fd < 0)
			continue;
		err = kvm_add_ioeventfd(&device->machine->kvm, fd, notify, i,
					count == 1);
		if (err < 0)
			return err;
	}
	return 0;
}

static int connect(struct machine_device *device)
{
	int err;

	err = bus_add(&device->machine->mmio, device->plan->mmio,
		      VIRTIO_MMIO_WINDOW, &window_handler, device->device);
	if (err != 0)
		return err;
	device->device->interrupt = interrupt;
	device->device->interrupt_context = device;
	err = kvm_add_irqfd(&device->machine->kvm, device->irq_fd,
			    device->plan->irq);
	if (err < 0)
		return err;
	return connect_queues(device);
}

int machine_device_create(struct machine_device *device, struct vm_files *files,
			  struct error *error)
{
	const struct planned_device *plan = device->plan;
	int err;

	if (plan->type >= ARRAY_SIZE(classes) || !classes[plan->type])
		return error_set(error, EXIT_STATUS_CONFIGURATION,
				 "%s: %s is not available in this version",
				 plan->name, planned_type_name(plan->type));
	device->class = classes[plan->type];
	device->irq_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (device->irq_fd < 0)
		return error_set(error, EXIT_STATUS_INTERNAL, "%s: eventfd: %m",
				 plan->name);
	if (device->class->create(device, files, error) != 0)
		goto err_close_irq;
	if (machine_iommu_attach(device, error) != 0)
		goto err_destroy;
	err = connect(device);
	if (err < 0) {
		error_set(error, EXIT_STATUS_HOST,
			  "%s: cannot connect the device: %s", plan->name,
			  strerror(-err));
		goto err_destroy;
	}
	return 0;

err_destroy:
	device->class->destroy(device);
err_close_irq:
	close(device->irq_fd);
	return -1;
}

void machine_device_destroy(struct machine_device *device)
{
	device->class->destroy(device);
	close(device->irq_fd);
}
