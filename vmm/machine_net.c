/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm/machine_net.h"

#include "devices/error.h"
#include "devices/passt.h"
#include "devices/tap.h"
#include "devices/virtio_net.h"
#include "vmm/files.h"

#include <stdlib.h>
#include <string.h>

_Static_assert(VIRTIO_NET_PAIRS_MAX <= TAP_QUEUES_MAX, "a queue for each pair");

/* A device, and the backend that its configuration asks for. */
struct machine_net {
	struct virtio_net net;
	union {
		struct tap tap;
		struct passt passt;
	};
};

/* Takes the descriptors. */
static struct net_backend *backend_init(struct machine_net *self,
					const struct net_config *config,
					struct net_files *files)
{
	unsigned int count = files->count;

	files->count = 0;
	if (config->tap) {
		tap_init(&self->tap, files->fds, count);
		return &self->tap.backend;
	}
	passt_init(&self->passt, files->fds[0]);
	return &self->passt.backend;
}

static int create(struct machine_device *device, struct vm_files *files,
		  struct error *error)
{
	struct machine *machine = device->machine;
	unsigned int index = device->plan->index;
	const struct net_config *config = &machine->config->nets[index];
	struct net_files *net_files = &files->nets[index];
	struct virtio_net_options options = {
		.name = config->name,
		.mtu = config->mtu,
	};
	struct net_backend *backend;
	struct machine_net *self;
	int err;

	/* Only what is touched of it costs memory. */
	self = calloc(1, sizeof(*self));
	if (!self)
		return error_set(error, EXIT_STATUS_INTERNAL,
				 "net.%s: no memory", config->name);
	net_config_mac(machine->config, config, options.mac);
	if (config->tap && config->mtu == 0)
		options.mtu = tap_mtu(net_files->fds[0]);
	backend = backend_init(self, config, net_files);
	err = virtio_net_init(&self->net, &options, backend, &machine->memory,
			      machine->stop_fd);
	if (err != 0) {
		backend->ops->destroy(backend);
		free(self);
		return error_set(error, EXIT_STATUS_INTERNAL, "net.%s: %s",
				 config->name, strerror(-err));
	}
	device->self = self;
	device->device = &self->net.device;
	return 0;
}

static struct virtio_net *net_of(const struct machine_device *device)
{
	struct machine_net *self = device->self;

	return &self->net;
}

static int start_threads(struct machine_device *device, struct threads *threads)
{
	return virtio_net_start_threads(net_of(device), threads);
}

static int join_threads(struct machine_device *device)
{
	virtio_net_join_threads(net_of(device));
	return 0;
}

static void destroy(struct machine_device *device)
{
	virtio_net_destroy(net_of(device));
	free(device->self);
}

static int kick_fd(const struct machine_device *device, unsigned int index)
{
	return virtio_net_kick_fd(net_of(device), index);
}

static struct machine_device_counters count(const struct machine_device *device)
{
	struct virtio_net_counters counters = virtio_net_count(net_of(device));

	return (struct machine_device_counters){
		.requests = counters.requests,
		.errors = counters.errors,
		.bytes_read = counters.bytes_read,
		.bytes_written = counters.bytes_written,
	};
}

const struct machine_device_class machine_net_class = {
	.create = create,
	.start_threads = start_threads,
	.join_threads = join_threads,
	.destroy = destroy,
	.kick_fd = kick_fd,
	.count = count,
};
