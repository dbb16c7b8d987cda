/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One virtio device of the machine: its object by type, its register window,
 * interrupt and notifications. What differs by type stands in one table.
 */
#ifndef VMM_MACHINE_DEVICE_H
#define VMM_MACHINE_DEVICE_H

#include "vmm/machine.h"

#include <stdint.h>

/* Counters beside those of the queues; UINT64_MAX: not known for this type. */
struct machine_device_counters {
	uint64_t requests;
	uint64_t errors;
	uint64_t bytes_read;
	uint64_t bytes_written;
};

struct machine_device_class {
	/* Sets device->self and device->device. 0 or -1 with @error. */
	int (*create)(struct machine_device *device, struct vm_files *files,
		      struct error *error);
	/* Puts what the main thread does for it on the loop; 0 or -errno. NULL: nothing. */
	int (*watch)(struct machine_device *device, struct event_loop *loop);
	int (*start_threads)(struct machine_device *device,
			     struct threads *threads);
	/*
	 * After the vCPUs have ended; counters stay readable. -errno: what the
	 * guest wrote may be lost, and that is logged.
	 */
	int (*join_threads)(struct machine_device *device);
	void (*destroy)(struct machine_device *device);
	/* The eventfd for notifications of queue @index; -1: they exit to us. */
	int (*kick_fd)(const struct machine_device *device, unsigned int index);
	/* Any thread. */
	struct machine_device_counters (*count)(
		const struct machine_device *device);
};

/* Creates the device that device->plan asks for and puts it on bus and pins. 0 or -1. */
int machine_device_create(struct machine_device *device, struct vm_files *files,
			  struct error *error);
void machine_device_destroy(struct machine_device *device);

#endif
