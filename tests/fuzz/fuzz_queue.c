/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A queue and its chains before a driver that obeys nothing: the input says
 * where the rings lie and what is in them, byte by byte; the device side takes
 * chains, maps all of them, copies in and out, and answers. Whatever comes, the
 * queue touches RAM only, takes no more than there is, and ends broken or empty.
 */
#include <assert.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "memory/base.h"
#include "memory/guest_memory.h"
#include "virtio/queue.h"

#define RAM_BYTES (64 * KIB)
#define QUEUE_SIZE 16
#define IOVECS 8

/* What stands before the bytes of RAM in an input. */
struct input_head {
	uint16_t ring_size;
	uint16_t part[QUEUE_PARTS]; /* address / 16, near RAM */
	uint8_t features;
	uint8_t batch;
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct guest_memory memory;
static uint8_t *ram;

static void set_up(void)
{
	const struct guest_memory_range range = { 0, RAM_BYTES };

	if (ram)
		return;
	if (guest_memory_init(&memory, &range, 1, GUEST_MEMORY_SMALL_PAGES))
		abort();
	ram = guest_memory_host(&memory, GPA(0), RAM_BYTES);
}

static void touch(struct queue *queue, const struct chain *chain,
		  enum dma_access part)
{
	struct chain_cursor cursor = chain_cursor(chain, part, 0);
	struct iovec iov[IOVECS];
	uint64_t bytes, sum = 0;
	int count, i;

	while (cursor.left > 0) {
		count = chain_map(queue, chain, &cursor, UINT64_MAX, iov,
				  IOVECS, &bytes);
		if (count <= 0)
			break;
		for (i = 0; i < count; i++) {
			uint8_t *base = iov[i].iov_base;

			assert(base >= ram && iov[i].iov_len > 0);
			assert(iov[i].iov_len <=
			       (size_t)(ram + RAM_BYTES - base));
			bytes -= iov[i].iov_len;
			sum += iov[i].iov_len;
			if (part == DMA_WRITE)
				base[iov[i].iov_len - 1] ^= 0x55;
		}
		assert(bytes == 0);
	}
	assert(sum <= (part == DMA_READ ? chain->readable_bytes
					: chain->writable_bytes));
}

static void answer(struct queue *queue, struct chain *chain)
{
	struct chain_cursor cursor;
	uint8_t header[16];

	assert(chain->head < queue->ring_size);
	assert(chain->span_count <= queue->ring_size);
	cursor = chain_cursor(chain, DMA_READ, 0);
	(void)chain_read(queue, chain, &cursor, header, sizeof(header));
	touch(queue, chain, DMA_READ);
	touch(queue, chain, DMA_WRITE);
	cursor = chain_cursor(chain, DMA_WRITE, chain->writable_bytes / 2);
	(void)chain_write(queue, chain, &cursor, header, 1);
	queue_complete(queue, chain, (uint32_t)chain->writable_bytes);
}

static void serve(struct queue *queue, unsigned int batch)
{
	struct chain *chains[QUEUE_SIZE];
	unsigned int round, taken, i;

	/* A driver that always has more is cut off, as a real device would be. */
	for (round = 0; round < 4 * QUEUE_SIZE; round++) {
		taken = queue_next(queue, chains, batch);
		assert(taken <= batch);
		if (taken == 0)
			break;
		for (i = 0; i < taken; i++)
			answer(queue, chains[i]);
		(void)queue_publish(queue);
	}
	if (!queue_is_broken(queue))
		(void)queue_arm(queue);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input_head head;
	struct queue queue;
	unsigned int i;

	set_up();
	if (size < sizeof(head))
		return 0;
	memcpy(&head, data, sizeof(head));
	data += sizeof(head);
	size -= sizeof(head);
	memset(ram, 0, RAM_BYTES);
	memcpy(ram, data, MIN(size, RAM_BYTES));

	if (queue_init(&queue, &memory, QUEUE_SIZE))
		abort();
	queue.size = head.ring_size;
	queue.ready = true;
	for (i = 0; i < QUEUE_PARTS; i++)
		queue.part_address[i] = IOVA((uint64_t)head.part[i] * 16);
	if (queue_start(&queue, (uint64_t)(head.features & 3) << 28 |
					UINT64_C(1) << 32) == 0) {
		serve(&queue, head.batch % QUEUE_SIZE + 1);
		queue_stop(&queue);
	}
	queue_destroy(&queue);
	return 0;
}
