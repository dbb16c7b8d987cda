/* SPDX-License-Identifier: Apache-2.0 */
#include "devices/bus.h"

#include "memory/base.h"

#include <errno.h>
#include <string.h>

int bus_add(struct bus *bus, uint64_t first, uint64_t size,
	    const struct bus_handler *handler, void *device)
{
	struct bus_window *window;
	unsigned int at;
	uint64_t last;

	/* A window may end at 2^64 - 1: its size is then 2^64 - first. */
	if (size == 0 || __builtin_add_overflow(first, size - 1, &last))
		return -EINVAL;
	for (at = 0; at < bus->count && bus->windows[at].first <= last; at++) {
		if (bus->windows[at].last >= first)
			return -EEXIST;
	}
	if (bus->count == BUS_WINDOWS_MAX)
		return -ENOSPC;
	window = &bus->windows[at];
	memmove(window + 1, window, (bus->count - at) * sizeof(*window));
	*window = (struct bus_window){ first, last, handler, device };
	bus->count++;
	return 0;
}

/* The window that holds all of the access, or NULL. */
static const struct bus_window *bus_find(const struct bus *bus,
					 uint64_t address, uint32_t len)
{
	unsigned int low = 0, high = bus->count, middle;
	const struct bus_window *window;

	/*
	 * KVM cuts an access that crosses a page into pieces of any length; no
	 * register here crosses one.
	 */
	if (len > 8 || !is_power_of_two(len))
		return NULL;
	while (low < high) {
		middle = (low + high) / 2;
		window = &bus->windows[middle];
		if (address < window->first)
			high = middle;
		else if (address > window->last)
			low = middle + 1;
		else
			return window->last - address >= len - 1 ? window
								 : NULL;
	}
	return NULL;
}

bool bus_read(const struct bus *bus, uint64_t address, void *data, uint32_t len)
{
	const struct bus_window *window = bus_find(bus, address, len);

	if (!window) {
		memset(data, 0xff, len);
		return false;
	}
	window->handler->read(window->device, address - window->first, data,
			      len);
	return true;
}

bool bus_write(const struct bus *bus, uint64_t address, const void *data,
	       uint32_t len)
{
	const struct bus_window *window = bus_find(bus, address, len);

	if (!window)
		return false;
	window->handler->write(window->device, address - window->first, data,
			       len);
	return true;
}
