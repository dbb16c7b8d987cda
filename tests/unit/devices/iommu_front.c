/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/devices/iommu_front.h"

#include <criterion/criterion.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "virtio/mmio.h"

#define FRONT_MSI_FIRST UINT64_C(0xfee00000)
#define FRONT_MSI_LAST UINT64_C(0xfeefffff)

static void count_interrupt(void *context)
{
	struct iommu_front *rig = context;

	__atomic_fetch_add(&rig->interrupts, 1, __ATOMIC_RELAXED);
}

static const char *endpoint_name(void *context, uint32_t endpoint)
{
	(void)context;
	return endpoint == FRONT_FIRST ? "disk root" : NULL;
}

static void core_create(struct iommu_front *rig)
{
	const struct iommu_config config = {
		.input_bits = 36,
		.domain_last = 0xffff,
		.endpoints_max = 3, /* two here, one for a test */
		.requests_max = VIRTIO_IOMMU_QUEUE_SIZE,
		.faults_max = 8,
		.tables = rig->tables ? rig->tables : 16 * MIB,
		.bypass = rig->bypass,
	};
	unsigned int i;

	cr_assert_eq(iommu_init(&rig->iommu, &config), 0);
	cr_assert_eq(iommu_reserve(&rig->iommu, IOVA(FRONT_MSI_FIRST),
				   IOVA(FRONT_MSI_LAST), IOMMU_RESERVED_MSI),
		     0);
	for (i = 0; i < ARRAY_SIZE(rig->doors); i++) {
		rig->endpoints[i] =
			iommu_add_endpoint(&rig->iommu, FRONT_FIRST + i);
		cr_assert_eq(
			dma_init(&rig->doors[i], &rig->memory, FRONT_HEADS), 0);
		cr_assert_eq(dma_attach_endpoint(&rig->doors[i],
						 rig->endpoints[i]),
			     0);
	}
}

static void abandoned(void *context)
{
	struct iommu_front *rig = context;

	rig->abandoned++;
}

void front_create(struct iommu_front *rig)
{
	const struct guest_memory_range ram = { 0, FRONT_RAM };
	struct virtio_iommu_options options = {
		.bypass_config = rig->bypass,
		.stop = &rig->stop,
		.endpoint_name = endpoint_name,
	};

	cr_assert_eq(guest_memory_init(&rig->memory, &ram, 1,
				       GUEST_MEMORY_SMALL_PAGES),
		     0);
	core_create(rig);
	rig->stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	options.stop_fd = rig->stop_fd;
	options.abandoned = abandoned;
	options.context = rig;
	cr_assert_eq(virtio_iommu_init(&rig->viommu, &rig->iommu, &rig->memory,
				       &options),
		     0);
	rig->viommu.device.interrupt = count_interrupt;
	rig->viommu.device.interrupt_context = rig;
}

static void queue_set_up(struct iommu_front *rig, unsigned int index)
{
	static const struct {
		uint32_t low;
		enum queue_part part;
	} registers[] = {
		{ VIRTIO_MMIO_QUEUE_DESC_LOW, QUEUE_DESCRIPTORS },
		{ VIRTIO_MMIO_QUEUE_AVAIL_LOW, QUEUE_AVAILABLE },
		{ VIRTIO_MMIO_QUEUE_USED_LOW, QUEUE_USED },
	};
	struct driver *driver = &rig->drivers[index];
	bool event_idx = !(rig->refused_features & VIRTIO_FEATURE_EVENT_IDX);
	uint64_t address;
	unsigned int i;

	driver_destroy(driver);
	cr_assert_eq(driver_init(driver, front_host(rig, FRONT_RINGS(index)),
				 MIB, IOVA(FRONT_RINGS(index)), 64,
				 index == VIRTIO_IOMMU_REQUESTS ? rig->indirect
								: 0,
				 event_idx),
		     0);
	front_write(rig, VIRTIO_MMIO_QUEUE_SEL, index);
	front_write(rig, VIRTIO_MMIO_QUEUE_NUM, driver->size);
	for (i = 0; i < ARRAY_SIZE(registers); i++) {
		address = driver->part_address[registers[i].part].v;
		front_write(rig, registers[i].low, (uint32_t)address);
		front_write(rig, registers[i].low + 4,
			    (uint32_t)(address >> 32));
	}
	front_write(rig, VIRTIO_MMIO_QUEUE_READY, 1);
}

void front_negotiate(struct iommu_front *rig)
{
	uint64_t features = rig->viommu.device.offered & ~rig->refused_features;
	unsigned int i;

	front_write(rig, VIRTIO_MMIO_STATUS, 1);
	front_write(rig, VIRTIO_MMIO_STATUS, 3);
	for (i = 0; i < 2; i++) {
		front_write(rig, VIRTIO_MMIO_DRIVER_FEATURES_SEL, i);
		front_write(rig, VIRTIO_MMIO_DRIVER_FEATURES,
			    (uint32_t)(features >> 32 * i));
	}
	front_write(rig, VIRTIO_MMIO_STATUS, 11);
	for (i = 0; i < VIRTIO_IOMMU_QUEUES; i++)
		queue_set_up(rig, i);
	if (rig->before_driver_ok) {
		front_add(rig, 0, rig->before_driver_ok, 20, FRONT_TAIL);
		front_notify(rig);
	}
	front_write(rig, VIRTIO_MMIO_STATUS, 15);
	cr_assert_eq(front_read(rig, VIRTIO_MMIO_STATUS), 15);
}

void front_start(struct iommu_front *rig)
{
	front_create(rig);
	front_negotiate(rig);
}

void front_destroy(struct iommu_front *rig)
{
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(rig->doors); i++) {
		dma_reset(&rig->doors[i]);
		dma_destroy(&rig->doors[i]);
	}
	virtio_iommu_destroy(&rig->viommu);
	iommu_destroy(&rig->iommu);
	for (i = 0; i < VIRTIO_IOMMU_QUEUES; i++)
		driver_destroy(&rig->drivers[i]);
	guest_memory_destroy(&rig->memory);
	close(rig->stop_fd);
}

uint32_t front_read(struct iommu_front *rig, uint32_t offset)
{
	uint32_t value;

	virtio_mmio_read(&rig->viommu.device, offset, &value, sizeof(value));
	return value;
}

void front_write(struct iommu_front *rig, uint32_t offset, uint32_t value)
{
	virtio_mmio_write(&rig->viommu.device, offset, &value, sizeof(value));
}

uint64_t front_config(struct iommu_front *rig, uint32_t offset, uint32_t len)
{
	uint64_t value = 0;

	virtio_mmio_read(&rig->viommu.device, VIRTIO_MMIO_CONFIG + offset,
			 &value, len);
	return value;
}

void front_config_write(struct iommu_front *rig, uint32_t offset, uint32_t len,
			uint64_t value)
{
	virtio_mmio_write(&rig->viommu.device, VIRTIO_MMIO_CONFIG + offset,
			  &value, len);
}

void *front_host(struct iommu_front *rig, uint64_t address)
{
	return guest_memory_host(&rig->memory, GPA(address), 1);
}

int front_add(struct iommu_front *rig, unsigned int n, const void *request,
	      uint32_t len, uint32_t room)
{
	const uint64_t from = FRONT_REQUEST + 128 * n,
		       to = FRONT_ANSWER + 64 * n;
	struct driver *driver = &rig->drivers[VIRTIO_IOMMU_REQUESTS];
	struct driver_buffer buffers[2];
	unsigned int count = 0;

	memcpy(front_host(rig, from), request, len);
	memset(front_host(rig, to), FRONT_UNTOUCHED, MAX(room, 64U));
	if (len > 0)
		buffers[count++] =
			(struct driver_buffer){ IOVA(from), len, false };
	if (room > 0)
		buffers[count++] =
			(struct driver_buffer){ IOVA(to), room, true };
	return rig->indirect ? driver_add_indirect(driver, buffers, count)
			     : driver_add(driver, buffers, count);
}

void front_notify(struct iommu_front *rig)
{
	if (driver_publish(&rig->drivers[VIRTIO_IOMMU_REQUESTS]))
		front_write(rig, VIRTIO_MMIO_QUEUE_NOTIFY,
			    VIRTIO_IOMMU_REQUESTS);
}

struct front_answer front_send(struct iommu_front *rig, const void *request,
			       uint32_t len, uint32_t room)
{
	struct front_answer answer = { .bytes = front_host(rig, FRONT_ANSWER) };
	int head = front_add(rig, 0, request, len, room);
	uint16_t used;

	cr_assert_geq(head, 0);
	front_notify(rig);
	cr_assert(driver_take_used(&rig->drivers[VIRTIO_IOMMU_REQUESTS], &used,
				   &answer.written),
		  "no answer");
	cr_assert_eq(used, head);
	answer.status = FRONT_UNTOUCHED;
	if (answer.written >= FRONT_TAIL)
		answer.status = answer.bytes[answer.written - FRONT_TAIL];
	return answer;
}

uint8_t front_status(struct iommu_front *rig, const void *request, size_t len)
{
	struct front_answer answer =
		front_send(rig, request, (uint32_t)len, FRONT_TAIL);

	cr_expect_eq(answer.written, FRONT_TAIL, "used length %u",
		     answer.written);
	return answer.status;
}

uint8_t front_attach(struct iommu_front *rig, uint32_t domain,
		     uint32_t endpoint)
{
	const struct virtio_iommu_req_attach request = {
		.head.type = VIRTIO_IOMMU_T_ATTACH,
		.domain = domain,
		.endpoint = endpoint,
	};

	return FRONT_STATUS(rig, request);
}

uint8_t front_detach(struct iommu_front *rig, uint32_t domain,
		     uint32_t endpoint)
{
	const struct virtio_iommu_req_detach request = {
		.head.type = VIRTIO_IOMMU_T_DETACH,
		.domain = domain,
		.endpoint = endpoint,
	};

	return FRONT_STATUS(rig, request);
}

uint8_t front_map(struct iommu_front *rig, uint32_t domain, uint64_t first,
		  uint64_t last, uint64_t physical, uint32_t flags)
{
	const struct virtio_iommu_req_map request = {
		.head.type = VIRTIO_IOMMU_T_MAP,
		.domain = domain,
		.virt_start = first,
		.virt_end = last,
		.phys_start = physical,
		.flags = flags,
	};

	return FRONT_STATUS(rig, request);
}

uint8_t front_unmap(struct iommu_front *rig, uint32_t domain, uint64_t first,
		    uint64_t last)
{
	const struct virtio_iommu_req_unmap request = {
		.head.type = VIRTIO_IOMMU_T_UNMAP,
		.domain = domain,
		.virt_start = first,
		.virt_end = last,
	};

	return FRONT_STATUS(rig, request);
}

struct front_answer front_probe(struct iommu_front *rig, uint32_t endpoint,
				uint32_t room)
{
	const struct virtio_iommu_req_probe request = {
		.head.type = VIRTIO_IOMMU_T_PROBE,
		.endpoint = endpoint,
	};

	return front_send(rig, &request, sizeof(request), room);
}

/* Publishes one span and translates it; the host address, or NULL. */
static void *reach(struct dma *door, uint64_t address, uint32_t len,
		   enum dma_access access)
{
	const struct dma_span span = { IOVA(address), len, access };
	struct dma_position position = { 0 };
	const struct dma_span *published;
	struct dma_fault fault;
	struct iovec iov = { 0 };
	int count;

	cr_assert_eq(dma_publish(door, 0, &span, 1, &published), 0);
	dma_commit(door);
	count = dma_translate(door, published, 1, access, len, &position, &iov,
			      1, &fault);
	dma_clear(door, 0);
	dma_settle(door);
	return count == 1 && iov.iov_len == len ? iov.iov_base : NULL;
}

bool front_reaches(struct iommu_front *rig, unsigned int index,
		   uint64_t address, uint32_t len, enum dma_access access,
		   uint64_t physical)
{
	return reach(&rig->doors[index], address, len, access) ==
	       front_host(rig, physical);
}

bool front_faults(struct iommu_front *rig, unsigned int index, uint64_t address,
		  uint32_t len, enum dma_access access)
{
	uint64_t faults = rig->doors[index].counters.faults;

	return !reach(&rig->doors[index], address, len, access) &&
	       rig->doors[index].counters.faults == faults + 1;
}

void front_hold(struct iommu_front *rig, unsigned int index, uint16_t head,
		uint64_t address, uint32_t len)
{
	const struct dma_span span = { IOVA(address), len, DMA_READ };
	const struct dma_span *published;

	cr_assert_eq(
		dma_publish(&rig->doors[index], head, &span, 1, &published), 0);
	dma_commit(&rig->doors[index]);
}

void front_release(struct iommu_front *rig, unsigned int index, uint16_t head)
{
	dma_clear(&rig->doors[index], head);
	dma_settle(&rig->doors[index]);
}

void front_post_events(struct iommu_front *rig, unsigned int count,
		       uint32_t len)
{
	struct driver *driver = &rig->drivers[VIRTIO_IOMMU_EVENTS];
	struct driver_buffer buffer = { .len = len, .writable = true };

	while (count-- > 0) {
		/* That is the head it is going to have. */
		buffer.address = IOVA(FRONT_EVENT(driver->free_head));
		memset(front_host(rig, buffer.address.v), FRONT_UNTOUCHED, len);
		cr_assert_geq(driver_add(driver, &buffer, 1), 0);
	}
	/* As Linux does: no notification. */
	driver_publish(driver);
}

bool front_take_event(struct iommu_front *rig,
		      struct virtio_iommu_fault *record, uint32_t *written)
{
	uint16_t head;

	if (!driver_take_used(&rig->drivers[VIRTIO_IOMMU_EVENTS], &head,
			      written))
		return false;
	memcpy(record, front_host(rig, FRONT_EVENT(head)), sizeof(*record));
	return true;
}
