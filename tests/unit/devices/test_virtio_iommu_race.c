/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Requests from two vCPUs at once, while a device uses what they map.
 */
#include <criterion/criterion.h>
#include <pthread.h>

#include "tests/unit/devices/iommu_front.h"
#include "virtio/mmio.h"

#define PAGE UINT64_C(0x10000) /* what is mapped and unmapped */
#define RAM UINT64_C(0x800000)
#define ROUNDS 3000

struct race {
	struct iommu_front rig;
	pthread_mutex_t driver; /* the driver's lock on its request queue */
	bool over; /* atomic */
	unsigned int mapped, reached;
};

static const struct virtio_iommu_req_map map_request = {
	.head.type = VIRTIO_IOMMU_T_MAP,
	.domain = 7,
	.virt_start = PAGE,
	.virt_end = PAGE + 0xfff,
	.phys_start = RAM,
	.flags = VIRTIO_IOMMU_MAP_F_READ,
};

static const struct virtio_iommu_req_detach detach_request = {
	.head.type = VIRTIO_IOMMU_T_DETACH,
	.domain = 7,
	.endpoint = FRONT_FIRST,
};

static const struct virtio_iommu_req_attach attach_request = {
	.head.type = VIRTIO_IOMMU_T_ATTACH,
	.domain = 7,
	.endpoint = FRONT_FIRST,
};

/*
 * As Linux does: adds under a lock, notifies, and spins. The notification is
 * outside of the lock, so that two vCPUs write it at once.
 */
static uint8_t ask(struct race *race, unsigned int n, const void *request,
		   uint32_t len)
{
	uint8_t *status = front_host(&race->rig, FRONT_ANSWER + 64 * n);
	uint8_t now;
	uint32_t written;
	uint16_t head;
	bool kick;

	pthread_mutex_lock(&race->driver);
	cr_assert_geq(front_add(&race->rig, n, request, len, FRONT_TAIL), 0);
	kick = driver_publish(&race->rig.drivers[VIRTIO_IOMMU_REQUESTS]);
	pthread_mutex_unlock(&race->driver);
	if (kick)
		front_write(&race->rig, VIRTIO_MMIO_QUEUE_NOTIFY,
			    VIRTIO_IOMMU_REQUESTS);
	do
		now = __atomic_load_n(status, __ATOMIC_ACQUIRE);
	while (now == FRONT_UNTOUCHED);
	pthread_mutex_lock(&race->driver);
	while (driver_take_used(&race->rig.drivers[VIRTIO_IOMMU_REQUESTS],
				&head, &written))
		cr_expect_eq(written, FRONT_TAIL);
	pthread_mutex_unlock(&race->driver);
	return now;
}

static void *map_all_the_time(void *argument)
{
	struct race *race = argument;
	uint8_t status;

	while (!__atomic_load_n(&race->over, __ATOMIC_ACQUIRE)) {
		status = ask(race, 1, &map_request, 36);
		cr_expect(status == VIRTIO_IOMMU_S_OK ||
			  status == VIRTIO_IOMMU_S_NOENT ||
			  status == VIRTIO_IOMMU_S_INVAL);
		race->mapped += status == VIRTIO_IOMMU_S_OK;
	}
	return NULL;
}

static void *read_all_the_time(void *argument)
{
	struct race *race = argument;

	while (!__atomic_load_n(&race->over, __ATOMIC_ACQUIRE))
		race->reached +=
			front_reaches(&race->rig, 0, PAGE, 64, DMA_READ, RAM);
	return NULL;
}

Test(virtio_iommu, a09_detach_races_map, .timeout = 120)
{
	static struct race race;
	pthread_t mapper, reader;
	unsigned int i;

	pthread_mutex_init(&race.driver, NULL);
	front_start(&race.rig);
	pthread_create(&mapper, NULL, map_all_the_time, &race);
	pthread_create(&reader, NULL, read_all_the_time, &race);
	for (i = 0; i < ROUNDS; i++) {
		cr_expect_eq(ask(&race, 0, &attach_request, 20), 0);
		cr_expect_eq(ask(&race, 0, &detach_request, 20), 0);
	}
	__atomic_store_n(&race.over, true, __ATOMIC_RELEASE);
	pthread_join(mapper, NULL);
	pthread_join(reader, NULL);
	/* Nothing is left behind by either order. */
	cr_expect(front_faults(&race.rig, 0, PAGE, 64, DMA_READ));
	cr_expect_eq(iommu_read_counters(&race.rig.iommu).mapped_bytes, 0);
	cr_expect_eq(front_read(&race.rig, VIRTIO_MMIO_STATUS), 15);
	front_destroy(&race.rig);
}
