/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/guest/blk.h"

#include "memory/base.h"
#include "tests/guest/guest.h"
#include "vmm/layout.h"

#define INDIRECT_ENTRIES 4
#define RING_BYTES 16384

/* A status register is looked at only so often: an exit takes its time. */
#define POLLS_PER_LOOK 64

static uint8_t rings[LAYOUT_DEVICES_MAX][BLK_QUEUES_MAX][RING_BYTES]
	__attribute__((aligned(4096)));

/* One request at a time and queue is all that blk_do makes. */
static struct {
	struct virtio_blk_outhdr header;
	uint8_t status;
} slots[BLK_QUEUES_MAX];

static unsigned int disk_index(const struct blk *blk)
{
	return (unsigned int)((blk->window - LAYOUT_MMIO_DEVICES) /
			      LAYOUT_MMIO_DEVICE_SIZE);
}

void blk_init(struct blk *blk, unsigned int index)
{
	memset(blk, 0, sizeof(*blk));
	blk->window = LAYOUT_MMIO_DEVICES + index * LAYOUT_MMIO_DEVICE_SIZE;
}

uint32_t blk_read(const struct blk *blk, uint32_t offset)
{
	return read32(blk->window + offset);
}

void blk_write(const struct blk *blk, uint32_t offset, uint32_t value)
{
	write32(blk->window + offset, value);
}

uint64_t blk_offered(const struct blk *blk)
{
	uint64_t features;

	blk_write(blk, VIRTIO_MMIO_DEVICE_FEATURES_SEL, 1);
	features = (uint64_t)blk_read(blk, VIRTIO_MMIO_DEVICE_FEATURES) << 32;
	blk_write(blk, VIRTIO_MMIO_DEVICE_FEATURES_SEL, 0);
	return features | blk_read(blk, VIRTIO_MMIO_DEVICE_FEATURES);
}

bool blk_negotiate(struct blk *blk, uint64_t features)
{
	blk_write(blk, VIRTIO_MMIO_STATUS, 0);
	blk_write(blk, VIRTIO_MMIO_STATUS, BLK_STATUS_ACKNOWLEDGE);
	blk_write(blk, VIRTIO_MMIO_STATUS, BLK_STATUS_DRIVER);
	blk->features = blk_offered(blk) & (features | BLK_VERSION_1);
	for (uint32_t half = 0; half < 2; half++) {
		blk_write(blk, VIRTIO_MMIO_DRIVER_FEATURES_SEL, half);
		blk_write(blk, VIRTIO_MMIO_DRIVER_FEATURES,
			  (uint32_t)(blk->features >> 32 * half));
	}
	blk_write(blk, VIRTIO_MMIO_STATUS, BLK_STATUS_FEATURES);
	return blk_read(blk, VIRTIO_MMIO_STATUS) == BLK_STATUS_FEATURES;
}

void blk_write_addresses(const struct blk *blk, const uint64_t *addresses)
{
	static const uint32_t low[QUEUE_PARTS] = {
		[QUEUE_DESCRIPTORS] = VIRTIO_MMIO_QUEUE_DESC_LOW,
		[QUEUE_AVAILABLE] = VIRTIO_MMIO_QUEUE_AVAIL_LOW,
		[QUEUE_USED] = VIRTIO_MMIO_QUEUE_USED_LOW,
	};

	for (unsigned int part = 0; part < QUEUE_PARTS; part++) {
		blk_write(blk, low[part], (uint32_t)addresses[part]);
		blk_write(blk, low[part] + 4,
			  (uint32_t)(addresses[part] >> 32));
	}
}

bool blk_set_up_queue(struct blk *blk, unsigned int index)
{
	struct driver *driver = &blk->queues[index];
	void *memory = rings[disk_index(blk)][index];
	uint64_t addresses[QUEUE_PARTS];

	if (driver->size)
		driver_destroy(driver);
	if (driver_init(driver, memory, RING_BYTES, IOVA((uintptr_t)memory),
			BLK_QUEUE_SIZE, INDIRECT_ENTRIES,
			blk->features & BLK_EVENT_IDX))
		return false;
	for (unsigned int part = 0; part < QUEUE_PARTS; part++)
		addresses[part] = driver->part_address[part].v;
	blk_write(blk, VIRTIO_MMIO_QUEUE_SEL, index);
	blk_write(blk, VIRTIO_MMIO_QUEUE_NUM, BLK_QUEUE_SIZE);
	blk_write_addresses(blk, addresses);
	blk_write(blk, VIRTIO_MMIO_QUEUE_READY, 1);
	return blk_read(blk, VIRTIO_MMIO_QUEUE_READY) == 1;
}

bool blk_open(struct blk *blk, uint64_t features, unsigned int queues)
{
	if (!blk_negotiate(blk, features))
		return false;
	blk->queue_count = queues;
	for (unsigned int i = 0; i < queues; i++)
		if (!blk_set_up_queue(blk, i))
			return false;
	blk_write(blk, VIRTIO_MMIO_STATUS, BLK_STATUS_LIVE);
	return blk_read(blk, VIRTIO_MMIO_STATUS) == BLK_STATUS_LIVE;
}

void blk_notify(const struct blk *blk, unsigned int queue)
{
	blk_write(blk, VIRTIO_MMIO_QUEUE_NOTIFY, queue);
}

enum blk_outcome blk_wait(struct blk *blk, unsigned int queue, uint16_t *head,
			  uint32_t *written)
{
	uint64_t start = ticks();

	for (unsigned int polls = 0; ticks() - start < TICKS_PATIENCE;
	     polls++) {
		if (driver_take_used(&blk->queues[queue], head, written))
			return BLK_USED;
		if (polls % POLLS_PER_LOOK == POLLS_PER_LOOK - 1 &&
		    blk_read(blk, VIRTIO_MMIO_STATUS) &
			    VIRTIO_CONFIG_S_NEEDS_RESET)
			return BLK_NEEDS_RESET;
		pause();
	}
	return BLK_NOTHING;
}

/* Header, data if any, status; returns the number of buffers. */
static unsigned int make_request(unsigned int queue, uint32_t type,
				 uint64_t sector, void *data, uint32_t bytes,
				 struct driver_buffer *buffers)
{
	bool data_in = type == VIRTIO_BLK_T_IN || type == VIRTIO_BLK_T_GET_ID;
	unsigned int count = 0;

	slots[queue].header =
		(struct virtio_blk_outhdr){ .type = type, .sector = sector };
	slots[queue].status = BLK_S_NONE;
	buffers[count++] =
		(struct driver_buffer){ IOVA((uintptr_t)&slots[queue].header),
					sizeof(slots[queue].header), false };
	if (bytes)
		buffers[count++] =
			(struct driver_buffer){ IOVA((uintptr_t)data), bytes,
						data_in };
	buffers[count++] =
		(struct driver_buffer){ IOVA((uintptr_t)&slots[queue].status),
					1, true };
	return count;
}

static uint8_t finish_request(struct blk *blk, unsigned int queue, int head,
			      uint32_t *written)
{
	uint32_t length;
	uint16_t used;

	if (head < 0)
		return BLK_S_NONE;
	if (driver_publish(&blk->queues[queue]))
		blk_notify(blk, queue);
	if (blk_wait(blk, queue, &used, &length) != BLK_USED || used != head)
		return BLK_S_NONE;
	if (written)
		*written = length;
	return __atomic_load_n(&slots[queue].status, __ATOMIC_RELAXED);
}

uint8_t blk_do(struct blk *blk, unsigned int queue, uint32_t type,
	       uint64_t sector, void *data, uint32_t bytes, uint32_t *written)
{
	struct driver_buffer buffers[3];
	unsigned int count =
		make_request(queue, type, sector, data, bytes, buffers);

	return finish_request(blk, queue,
			      driver_add(&blk->queues[queue], buffers, count),
			      written);
}

uint8_t blk_do_indirect(struct blk *blk, unsigned int queue, uint32_t type,
			uint64_t sector, void *data, uint32_t bytes)
{
	struct driver_buffer buffers[3];
	unsigned int count =
		make_request(queue, type, sector, data, bytes, buffers);

	return finish_request(
		blk, queue,
		driver_add_indirect(&blk->queues[queue], buffers, count), NULL);
}

bool blk_is_sector(const void *data, uint64_t first, uint32_t bytes)
{
	const uint64_t *words = data;

	for (uint32_t i = 0; i < bytes / sizeof(*words); i++)
		if (words[i] != first + i * sizeof(*words) / BLK_SECTOR)
			return false;
	return true;
}

bool blk_recovers(struct blk *blk)
{
	static uint64_t sector[BLK_SECTOR / sizeof(uint64_t)];

	sector[0] = 0;
	if (!blk_open(blk, BLK_ALL & ~BLK_EVENT_IDX, 1))
		return false;
	return blk_do(blk, 0, VIRTIO_BLK_T_IN, 7, sector, sizeof(sector),
		      NULL) == VIRTIO_BLK_S_OK &&
	       blk_is_sector(sector, 7, sizeof(sector));
}
