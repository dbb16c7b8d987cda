/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A tap interface of the host as a net backend: one descriptor of /dev/net/tun
 * per queue pair, the virtio header before each frame as the kernel takes it.
 */
#ifndef DEVICES_TAP_H
#define DEVICES_TAP_H

#include <stdbool.h>
#include <stdint.h>

#include "devices/net_backend.h"

struct error;

#define TAP_QUEUES_MAX 16

struct tap {
	struct net_backend backend;
	int fds[TAP_QUEUES_MAX]; /* backend.pairs of them; owned */
	unsigned int attached; /* of them, the first, get frames */
	/*
	 * Steps before and after each change of that. Atomic: a thread that is
	 * told "no interface" in the midst of one knows why.
	 */
	uint32_t changes;
};

/*
 * Opens @queues (1 to TAP_QUEUES_MAX) non-blocking descriptors of the interface
 * @name into @fds, the caller's. @create: it is made, must not be there yet, goes
 * with the last descriptor, and is brought up with @mtu (0: as the kernel likes).
 * 0, or -1 with @error, which says how to mend it. Set-up.
 */
int tap_open(const char *name, bool create, unsigned int mtu,
	     unsigned int queues, int *fds, struct error *error);

/* The MTU of the interface behind @fd; 0 where that is not known. */
unsigned int tap_mtu(int fd);

/* Whether it is up: else it takes no frames. */
bool tap_is_up(int fd);

/* Over the @queues descriptors @fds of tap_open, which it takes. */
void tap_init(struct tap *tap, const int *fds, unsigned int queues);

#endif
