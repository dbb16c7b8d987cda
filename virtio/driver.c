/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation. The driver believes no ring: which descriptors are free
 * and how they are linked stands in `next`, how many a request took in
 * `chain_length`. The rings are written, and of the device's only used
 * elements, used->idx, used->flags and avail_event are read. The fences are the
 * other ends of the exchanges that virtio/queue.c describes.
 */
#include "virtio/driver.h"

#include <assert.h>
#include <errno.h>
#include <linux/virtio_ring.h>
#include <stdlib.h>
#include <string.h>

#include "memory/base.h"

/* Where the available and the used ring start, and how far they go. */
static size_t available_offset(uint16_t size)
{
	return size * sizeof(struct vring_desc);
}

static size_t used_offset(uint16_t size)
{
	return align_up(available_offset(size) + 6 + 2 * (size_t)size,
			PAGE_SIZE);
}

size_t driver_ring_bytes(uint16_t size)
{
	return align_up(used_offset(size) + 6 +
				sizeof(struct vring_used_elem) * size,
			PAGE_SIZE);
}

static struct vring_desc *descriptors(const struct driver *driver)
{
	return (struct vring_desc *)driver->part[QUEUE_DESCRIPTORS];
}

static struct vring_avail *available(const struct driver *driver)
{
	return (struct vring_avail *)driver->part[QUEUE_AVAILABLE];
}

static struct vring_used *used(const struct driver *driver)
{
	return (struct vring_used *)driver->part[QUEUE_USED];
}

/* The word after the available ring, and the one after the used ring. */
static uint16_t *used_event(const struct driver *driver)
{
	return &available(driver)->ring[driver->size];
}

static uint16_t *avail_event(const struct driver *driver)
{
	return (uint16_t *)&used(driver)->ring[driver->size];
}

static void lay_out(struct driver *driver, uint8_t *host, iova_t address)
{
	const size_t offsets[QUEUE_PARTS] = {
		[QUEUE_AVAILABLE] = available_offset(driver->size),
		[QUEUE_USED] = used_offset(driver->size),
	};
	size_t rings = driver_ring_bytes(driver->size);
	unsigned int i;

	for (i = 0; i < QUEUE_PARTS; i++) {
		driver->part[i] = host + offsets[i];
		driver->part_address[i] = IOVA(address.v + offsets[i]);
	}
	if (driver->indirect_entries > 0) {
		driver->indirect = host + rings;
		driver->indirect_address = IOVA(address.v + rings);
	}
	memset(host, 0, rings);
}

int driver_init(struct driver *driver, void *host, size_t bytes, iova_t address,
		uint16_t size, uint16_t indirect_entries, bool event_idx)
{
	size_t tables =
		(size_t)size * indirect_entries * sizeof(struct vring_desc);
	uint16_t i;

	if (!is_power_of_two(size) || size > QUEUE_SIZE_MAX ||
	    bytes < driver_ring_bytes(size) + tables ||
	    !is_aligned(address.v, PAGE_SIZE) ||
	    !is_aligned((uintptr_t)host, PAGE_SIZE))
		return -EINVAL;

	memset(driver, 0, sizeof(*driver));
	driver->size = size;
	driver->event_idx = event_idx;
	driver->indirect_entries = indirect_entries;
	driver->free_count = size;
	driver->next = calloc(size, sizeof(*driver->next));
	driver->chain_length = calloc(size, sizeof(*driver->chain_length));
	if (!driver->next || !driver->chain_length) {
		driver_destroy(driver);
		return -ENOMEM;
	}
	lay_out(driver, host, address);
	for (i = 0; i < size; i++)
		driver->next[i] = (uint16_t)(i + 1);
	return 0;
}

void driver_destroy(struct driver *driver)
{
	free(driver->next);
	free(driver->chain_length);
}

void driver_attach(const struct driver *driver, struct queue *queue)
{
	assert(!queue->live);

	queue->size = driver->size;
	memcpy(queue->part_address, driver->part_address,
	       sizeof(queue->part_address));
	queue->ready = true;
}

static struct vring_desc buffer_descriptor(const struct driver_buffer *buffer)
{
	return (struct vring_desc){
		.addr = buffer->address.v,
		.len = buffer->len,
		.flags = buffer->writable ? VRING_DESC_F_WRITE : 0,
	};
}

/* Takes @count descriptors off the free list; returns the request's head. */
static uint16_t take_descriptors(struct driver *driver, unsigned int count,
				 uint16_t last)
{
	uint16_t head = driver->free_head;

	driver->free_head = driver->next[last];
	driver->free_count = (uint16_t)(driver->free_count - count);
	driver->chain_length[head] = (uint16_t)count;

	available(driver)->ring[driver->available++ & (driver->size - 1)] =
		head;
	return head;
}

int driver_add(struct driver *driver, const struct driver_buffer *buffers,
	       unsigned int count)
{
	struct vring_desc *ring = descriptors(driver);
	uint16_t index = driver->free_head;
	uint16_t last = index;
	unsigned int i;

	assert(count > 0);

	if (count > driver->free_count)
		return -ENOSPC;
	for (i = 0; i < count; i++) {
		last = index;
		ring[index] = buffer_descriptor(&buffers[i]);
		if (i + 1 < count) {
			ring[index].flags |= VRING_DESC_F_NEXT;
			ring[index].next = driver->next[index];
		}
		index = driver->next[index];
	}
	return take_descriptors(driver, count, last);
}

int driver_add_indirect(struct driver *driver,
			const struct driver_buffer *buffers, unsigned int count)
{
	size_t bytes = driver->indirect_entries * sizeof(struct vring_desc);
	uint16_t head = driver->free_head;
	struct vring_desc *table;
	unsigned int i;

	assert(count > 0);

	if (driver->free_count == 0 || count > driver->indirect_entries)
		return -ENOSPC;
	table = (struct vring_desc *)(driver->indirect + head * bytes);
	for (i = 0; i < count; i++) {
		table[i] = buffer_descriptor(&buffers[i]);
		if (i + 1 < count) {
			table[i].flags |= VRING_DESC_F_NEXT;
			table[i].next = (uint16_t)(i + 1);
		}
	}
	descriptors(driver)[head] = (struct vring_desc){
		.addr = driver->indirect_address.v + head * bytes,
		.len = (uint32_t)(count * sizeof(*table)),
		.flags = VRING_DESC_F_INDIRECT,
	};
	return take_descriptors(driver, 1, head);
}

bool driver_publish(struct driver *driver)
{
	uint16_t old = driver->shown;

	if (driver->available == old)
		return false;
	driver->shown = driver->available;
	/* Pairs with the acquire of avail->idx in queue_next. */
	__atomic_store_n(&available(driver)->idx, driver->shown,
			 __ATOMIC_RELEASE);

	/* Pairs with the fence in queue_arm. */
	full_fence();
	if (driver->event_idx)
		return vring_need_event(__atomic_load_n(avail_event(driver),
							__ATOMIC_RELAXED),
					driver->shown, old);
	return !(__atomic_load_n(&used(driver)->flags, __ATOMIC_RELAXED) &
		 VRING_USED_F_NO_NOTIFY);
}

/* Gives the descriptors of request @head back. */
static void free_descriptors(struct driver *driver, uint16_t head)
{
	uint16_t length = driver->chain_length[head];
	uint16_t last = head;
	uint16_t i;

	for (i = 1; i < length; i++)
		last = driver->next[last];
	driver->next[last] = driver->free_head;
	driver->free_head = head;
	driver->free_count = (uint16_t)(driver->free_count + length);
	driver->chain_length[head] = 0;
}

bool driver_take_used(struct driver *driver, uint16_t *head, uint32_t *written)
{
	const struct vring_used_elem *element;
	uint32_t id;

	/* Pairs with the release of used->idx in queue_publish. */
	if (__atomic_load_n(&used(driver)->idx, __ATOMIC_ACQUIRE) ==
	    driver->last_used)
		return false;
	/* Ordered by that acquire. */
	element = &used(driver)->ring[driver->last_used++ & (driver->size - 1)];
	id = __atomic_load_n(&element->id, __ATOMIC_RELAXED);
	*written = __atomic_load_n(&element->len, __ATOMIC_RELAXED);
	*head = (uint16_t)id;
	if (id < driver->size && driver->chain_length[id] > 0)
		free_descriptors(driver, (uint16_t)id);
	return true;
}

void driver_want_interrupt(struct driver *driver, bool wanted)
{
	/* An event index just passed is not passed again for 2^16 requests. */
	uint16_t event = (uint16_t)(driver->last_used - (wanted ? 0 : 1));

	if (driver->event_idx)
		__atomic_store_n(used_event(driver), event, __ATOMIC_RELAXED);
	else
		__atomic_store_n(&available(driver)->flags,
				 wanted ? 0 : VRING_AVAIL_F_NO_INTERRUPT,
				 __ATOMIC_RELAXED);
	/* Pairs with the fence of dma_settle in queue_publish. */
	full_fence();
}

void *driver_ring(struct driver *driver, enum queue_part part)
{
	return driver->part[part];
}
