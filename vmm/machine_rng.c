/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm/machine_rng.h"

#include "devices/error.h"
#include "devices/virtio_rng.h"
#include "vmm/machine_device.h"

#include <stdlib.h>
#include <string.h>

static int create(struct machine_device *device, struct vm_files *files,
		  struct error *error)
{
	struct machine *machine = device->machine;
	struct virtio_rng *rng;
	int err;

	(void)files;
	rng = calloc(1, sizeof(*rng));
	if (!rng)
		return error_set(error, EXIT_STATUS_INTERNAL, "rng: no memory");
	err = virtio_rng_init(rng, device->plan->name, &machine->memory,
			      machine->stop_fd);
	if (err) {
		free(rng);
		return error_set(error, EXIT_STATUS_HOST, "rng: %s",
				 strerror(-err));
	}
	device->self = rng;
	device->device = &rng->device;
	return 0;
}

static int start_threads(struct machine_device *device, struct threads *threads)
{
	return virtio_rng_start_threads(device->self, threads);
}

static int join_threads(struct machine_device *device)
{
	virtio_rng_join_threads(device->self);
	return 0;
}

static void destroy(struct machine_device *device)
{
	virtio_rng_destroy(device->self);
	free(device->self);
}

static int kick_fd(const struct machine_device *device, unsigned int index)
{
	(void)index;
	return virtio_rng_kick_fd(device->self);
}

static struct machine_device_counters count(const struct machine_device *device)
{
	struct virtio_rng_counters counters = virtio_rng_count(device->self);

	return (struct machine_device_counters){
		.requests = counters.requests,
		.errors = counters.errors,
		.bytes_read = counters.bytes_read,
	};
}

const struct machine_device_class machine_rng_class = {
	.create = create,
	.start_threads = start_threads,
	.join_threads = join_threads,
	.destroy = destroy,
	.kick_fd = kick_fd,
	.count = count,
};
