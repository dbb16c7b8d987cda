/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The driver's side of a split virtqueue in plain memory: what unit tests,
 * fuzzers, stress programs and the benchmark put in front of a device. It
 * plays by the rules; tests that break them write to the rings through
 * driver_ring().
 *
 * One thread at a time. The memory given is used through the host's address
 * and named to the device by its device address.
 */
#ifndef VIRTIO_DRIVER_H
#define VIRTIO_DRIVER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "memory/addr.h"
#include "virtio/queue.h"

/* One buffer of a request, as in a descriptor. */
struct driver_buffer {
	iova_t address;
	uint32_t len;
	bool writable;
};

struct driver {
	uint16_t size;
	bool event_idx;
	iova_t part_address[QUEUE_PARTS];
	uint8_t *part[QUEUE_PARTS];
	uint8_t *indirect; /* a table of indirect_entries per head, or NULL */
	iova_t indirect_address;
	uint16_t indirect_entries;
	uint16_t free_head; /* list through the descriptors' next */
	uint16_t free_count;
	uint16_t available; /* index not yet shown to the device */
	uint16_t shown; /* index shown to the device */
	uint16_t last_used;
	uint16_t *next; /* the driver's own copy of the links */
	uint16_t *chain_length; /* per head, in descriptors; 0: free */
};

/* Bytes that the rings of a queue of @size entries take, page-aligned. */
size_t driver_ring_bytes(uint16_t size);

/*
 * Lays the rings out in @bytes at @host, which the device knows as @address.
 * @size is a power of two up to QUEUE_SIZE_MAX; @indirect_entries > 0 adds an
 * indirect table of so many descriptors for each head after the rings. Returns
 * 0, -EINVAL (size, too little room, @address or @host not page-aligned), or
 * -ENOMEM. @host stays the caller's.
 */
int driver_init(struct driver *driver, void *host, size_t bytes, iova_t address,
		uint16_t size, uint16_t indirect_entries, bool event_idx);
void driver_destroy(struct driver *driver);

/* Gives @queue (not live) size and addresses, and marks it ready. */
void driver_attach(const struct driver *driver, struct queue *queue);

/*
 * Makes a request of @count (at least 1) buffers available, not yet shown:
 * readable ones before writable ones. Returns its head, or -ENOSPC.
 */
int driver_add(struct driver *driver, const struct driver_buffer *buffers,
	       unsigned int count);

/* The same through the head's table; -ENOSPC too when that is short. */
int driver_add_indirect(struct driver *driver,
			const struct driver_buffer *buffers,
			unsigned int count);

/* Shows what was added to the device. True when the device wants a kick. */
bool driver_publish(struct driver *driver);

/*
 * Takes one used element. False when there is none. An element that names no
 * request of ours is returned and frees nothing.
 */
bool driver_take_used(struct driver *driver, uint16_t *head, uint32_t *written);

/*
 * Asks for an interrupt at the next used element (used_event, flags), or for
 * none. The caller then looks once more, driver_take_used, before it sleeps:
 * what was published before the wish was seen raises no interrupt.
 */
void driver_want_interrupt(struct driver *driver, bool wanted);

/* The raw ring part, for tests that break the rules. */
void *driver_ring(struct driver *driver, enum queue_part part);

#endif
