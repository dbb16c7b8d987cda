/* SPDX-License-Identifier: Apache-2.0 */
#include "support.h"

#include <criterion/criterion.h>
#include <string.h>

#include "memory/base.h"
#include "virtio/mmio.h"

/* Of the address sanitizer, where there is one; silent at a Criterion worker's exit. */
int __lsan_do_recoverable_leak_check(void) __attribute__((weak));

static void check_leaks(void)
{
	if (__lsan_do_recoverable_leak_check)
		cr_assert_eq(__lsan_do_recoverable_leak_check(), 0);
}

void memory_setup(struct guest_memory *memory)
{
	static const struct guest_memory_range ranges[] = {
		{ 0, LOW_END },
		{ HIGH_FIRST, HIGH_END - HIGH_FIRST },
	};

	cr_assert_eq(guest_memory_init(memory, ranges, ARRAY_SIZE(ranges),
				       GUEST_MEMORY_SMALL_PAGES),
		     0);
}

static void start(struct rig *rig, uint16_t size, uint64_t features)
{
	uint16_t entries =
		features & VIRTIO_FEATURE_INDIRECT_DESC ? MIN(size, 16) : 0;

	cr_assert_eq(driver_init(&rig->driver,
				 rig_host(rig, RINGS_AT, RINGS_BYTES),
				 RINGS_BYTES, IOVA(RINGS_AT), size, entries,
				 features & VIRTIO_FEATURE_EVENT_IDX),
		     0);
	driver_attach(&rig->driver, &rig->queue);
	cr_assert_eq(queue_start(&rig->queue, features), 0);
}

void rig_init(struct rig *rig, uint16_t size, uint64_t features)
{
	memory_setup(&rig->memory);
	cr_assert_eq(queue_init(&rig->queue, &rig->memory, size), 0);
	start(rig, size, features);
}

void rig_destroy(struct rig *rig)
{
	queue_stop(&rig->queue);
	driver_destroy(&rig->driver);
	queue_destroy(&rig->queue);
	guest_memory_destroy(&rig->memory);
	check_leaks();
}

void rig_restart(struct rig *rig)
{
	uint64_t features = VIRTIO_FEATURE_VERSION_1;
	uint16_t size = rig->driver.size;

	if (rig->queue.indirect)
		features |= VIRTIO_FEATURE_INDIRECT_DESC;
	if (rig->queue.event_idx)
		features |= VIRTIO_FEATURE_EVENT_IDX;
	queue_stop(&rig->queue);
	queue_reset(&rig->queue);
	driver_destroy(&rig->driver);
	start(rig, size, features);
}

void *rig_host(const struct rig *rig, uint64_t address, uint64_t len)
{
	void *host = guest_memory_host(&rig->memory, GPA(address), len);

	cr_assert_not_null(host);
	return host;
}

void rig_descriptor(struct rig *rig, uint16_t index, uint64_t address,
		    uint32_t len, uint16_t flags, uint16_t next)
{
	rig_descriptors(rig)[index] =
		(struct vring_desc){ address, len, flags, next };
}

void rig_offer(struct rig *rig, uint16_t head)
{
	struct vring_avail *available = rig_available(rig);

	available->ring[available->idx % rig->driver.size] = head;
	__atomic_store_n(&available->idx, available->idx + 1, __ATOMIC_RELEASE);
}

struct vring_desc *rig_descriptors(struct rig *rig)
{
	return driver_ring(&rig->driver, QUEUE_DESCRIPTORS);
}

struct vring_avail *rig_available(struct rig *rig)
{
	return driver_ring(&rig->driver, QUEUE_AVAILABLE);
}

struct vring_used *rig_used(struct rig *rig)
{
	return driver_ring(&rig->driver, QUEUE_USED);
}

uint16_t *rig_used_event(struct rig *rig)
{
	return &rig_available(rig)->ring[rig->driver.size];
}

uint16_t *rig_avail_event(struct rig *rig)
{
	return (uint16_t *)&rig_used(rig)->ring[rig->driver.size];
}

struct chain *rig_take(struct rig *rig)
{
	struct chain *chains[2];

	cr_assert_eq(queue_next(&rig->queue, chains, 2), 1);
	return chains[0];
}

int rig_request(struct rig *rig, uint32_t len)
{
	struct driver_buffer buffer = { IOVA(DATA_AT), len, true };

	return driver_add(&rig->driver, &buffer, 1);
}

bool rig_serve(struct rig *rig)
{
	struct chain *chains[16];
	unsigned int count;
	unsigned int i;

	while ((count = queue_next(&rig->queue, chains, ARRAY_SIZE(chains))) >
	       0) {
		for (i = 0; i < count; i++)
			queue_complete(&rig->queue, chains[i],
				       (uint32_t)chains[i]->writable_bytes);
	}
	return queue_publish(&rig->queue);
}

static struct fake *fake_of(struct virtio_device *device)
{
	return container_of(device, struct fake, device);
}

static void record(struct virtio_device *device, char what, unsigned int index)
{
	struct fake *fake = fake_of(device);

	cr_assert_lt(fake->call_count, LOG_MAX);
	fake->calls[fake->call_count++] = (struct fake_call){
		.what = what,
		.index = index,
		.status = virtio_device_status(device),
		.live = device->queues[index].live,
	};
}

static void fake_config_read(struct virtio_device *device, uint32_t offset,
			     void *buffer, uint32_t len)
{
	cr_assert_leq((uint64_t)offset + len, FAKE_CONFIG);
	memcpy(buffer, fake_of(device)->config + offset, len);
}

static void fake_config_write(struct virtio_device *device, uint32_t offset,
			      const void *buffer, uint32_t len)
{
	cr_assert_leq((uint64_t)offset + len, FAKE_CONFIG);
	memcpy(fake_of(device)->config + offset, buffer, len);
}

static int fake_start(struct virtio_device *device)
{
	record(device, 's', 0);
	return fake_of(device)->start_result;
}

static int fake_stop_queue(struct virtio_device *device, unsigned int index)
{
	record(device, 'q', index);
	return fake_of(device)->stop_result;
}

static void fake_notify(struct virtio_device *device, unsigned int index)
{
	record(device, 'n', index);
}

static void fake_interrupt(void *context)
{
	record(context, 'i', 0);
}

const struct virtio_device_ops fake_ops = {
	.id = FAKE_ID,
	.config_read = fake_config_read,
	.config_write = fake_config_write,
	.start = fake_start,
	.stop_queue = fake_stop_queue,
	.notify = fake_notify,
};

void fake_init(struct fake *fake)
{
	unsigned int i;

	memset(fake, 0, sizeof(*fake));
	memory_setup(&fake->memory);
	cr_assert_eq(virtio_device_init(&fake->device, &fake_ops, "fake",
					&fake->memory, FAKE_QUEUES,
					FAKE_QUEUE_SIZE),
		     0);
	fake->device.offered |= ALL_RING_FEATURES | FAKE_FEATURE;
	fake->device.config_size = FAKE_CONFIG;
	fake->device.interrupt = fake_interrupt;
	fake->device.interrupt_context = &fake->device;
	for (i = 0; i < FAKE_CONFIG; i++)
		fake->config[i] = (uint8_t)(0x80 + i);
	for (i = 0; i < FAKE_QUEUES; i++) {
		uint64_t at = RINGS_AT * (i + 1);
		void *host =
			guest_memory_host(&fake->memory, GPA(at), RINGS_AT);

		cr_assert_eq(driver_init(&fake->drivers[i], host, RINGS_AT,
					 IOVA(at), FAKE_QUEUE_SIZE, 0, true),
			     0);
	}
}

void fake_destroy(struct fake *fake)
{
	unsigned int i;

	for (i = 0; i < FAKE_QUEUES; i++)
		driver_destroy(&fake->drivers[i]);
	virtio_device_destroy(&fake->device);
	guest_memory_destroy(&fake->memory);
	check_leaks();
}

unsigned int fake_count(const struct fake *fake, char what)
{
	unsigned int count = 0;
	unsigned int i;

	for (i = 0; i < fake->call_count; i++)
		count += fake->calls[i].what == what;
	return count;
}

void fake_forget(struct fake *fake)
{
	fake->call_count = 0;
}

uint32_t fake_read(struct fake *fake, uint32_t offset)
{
	uint32_t value;

	virtio_mmio_read(&fake->device, offset, &value, sizeof(value));
	return value;
}

void fake_write(struct fake *fake, uint32_t offset, uint32_t value)
{
	virtio_mmio_write(&fake->device, offset, &value, sizeof(value));
}

void fake_to_driver(struct fake *fake)
{
	fake_write(fake, VIRTIO_MMIO_STATUS, 0);
	fake_write(fake, VIRTIO_MMIO_STATUS, VIRTIO_STATUS_ACKNOWLEDGE);
	fake_write(fake, VIRTIO_MMIO_STATUS,
		   VIRTIO_STATUS_ACKNOWLEDGE | VIRTIO_STATUS_DRIVER);
}

void fake_to_features_ok(struct fake *fake, uint64_t features)
{
	fake_to_driver(fake);
	fake_write(fake, VIRTIO_MMIO_DRIVER_FEATURES_SEL, 0);
	fake_write(fake, VIRTIO_MMIO_DRIVER_FEATURES, (uint32_t)features);
	fake_write(fake, VIRTIO_MMIO_DRIVER_FEATURES_SEL, 1);
	fake_write(fake, VIRTIO_MMIO_DRIVER_FEATURES,
		   (uint32_t)(features >> 32));
	fake_write(fake, VIRTIO_MMIO_STATUS,
		   fake_read(fake, VIRTIO_MMIO_STATUS) |
			   VIRTIO_STATUS_FEATURES_OK);
}

void fake_set_up_queue(struct fake *fake, unsigned int index)
{
	static const uint32_t registers[QUEUE_PARTS] = {
		VIRTIO_MMIO_QUEUE_DESC_LOW,
		VIRTIO_MMIO_QUEUE_AVAIL_LOW,
		VIRTIO_MMIO_QUEUE_USED_LOW,
	};
	unsigned int i;

	fake_write(fake, VIRTIO_MMIO_QUEUE_SEL, index);
	fake_write(fake, VIRTIO_MMIO_QUEUE_NUM, FAKE_QUEUE_SIZE);
	for (i = 0; i < QUEUE_PARTS; i++) {
		uint64_t address = fake->drivers[index].part_address[i].v;

		fake_write(fake, registers[i], (uint32_t)address);
		fake_write(fake, registers[i] + 4, (uint32_t)(address >> 32));
	}
	fake_write(fake, VIRTIO_MMIO_QUEUE_READY, 1);
}

void fake_to_driver_ok(struct fake *fake)
{
	unsigned int i;

	fake_to_features_ok(fake, ALL_RING_FEATURES);
	for (i = 0; i < FAKE_QUEUES; i++)
		fake_set_up_queue(fake, i);
	fake_write(fake, VIRTIO_MMIO_STATUS,
		   fake_read(fake, VIRTIO_MMIO_STATUS) |
			   VIRTIO_STATUS_DRIVER_OK);
}
