/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An address space of registers: I/O ports or MMIO. Built at set-up, constant
 * afterwards, so that vCPU threads look up without a lock. Handlers are called
 * on the vCPU thread that made the access, several at a time.
 */
#ifndef DEVICES_BUS_H
#define DEVICES_BUS_H

#include <stdbool.h>
#include <stdint.h>

#define BUS_WINDOWS_MAX 48

struct bus_handler {
	/* @len is 1, 2, 4 or 8; @offset is below the window's size. */
	void (*read)(void *device, uint64_t offset, void *data, uint32_t len);
	void (*write)(void *device, uint64_t offset, const void *data,
		      uint32_t len);
};

struct bus_window {
	uint64_t first;
	uint64_t last; /* inclusive */
	const struct bus_handler *handler;
	void *device;
};

struct bus {
	unsigned int count;
	struct bus_window windows[BUS_WINDOWS_MAX]; /* ascending */
};

/* Adds @size bytes at @first. Returns 0, -EEXIST (overlap), -ENOSPC or -EINVAL. */
int bus_add(struct bus *bus, uint64_t first, uint64_t size,
	    const struct bus_handler *handler, void *device);

/*
 * One access. Where nothing answers (or the access runs over a window's end)
 * reads give all ones, writes vanish, and the result is false.
 */
bool bus_read(const struct bus *bus, uint64_t address, void *data,
	      uint32_t len);
bool bus_write(const struct bus *bus, uint64_t address, const void *data,
	       uint32_t len);

#endif
