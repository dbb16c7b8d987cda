/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <pthread.h>
#include <sched.h>

#include "support.h"
#include "virtio/device.h"
#include "virtio/mmio.h"

#define ALL_STEPS                                           \
	(VIRTIO_STATUS_ACKNOWLEDGE | VIRTIO_STATUS_DRIVER | \
	 VIRTIO_STATUS_FEATURES_OK | VIRTIO_STATUS_DRIVER_OK)

/* A device thread against the registers. */

struct race {
	struct virtio_device *device;
	pthread_t thread;
	unsigned int interrupts; /* atomic, like the rest */
	uint32_t round; /* the main thread's: begin */
	uint32_t done; /* the device thread's */
};

static void count_interrupt(void *context)
{
	struct race *race = context;

	__atomic_fetch_add(&race->interrupts, 1, __ATOMIC_RELAXED);
}

static void race_start(struct race *race, struct fake *fake,
		       void *(*body)(void *))
{
	*race = (struct race){ .device = &fake->device };
	fake->device.interrupt = count_interrupt;
	fake->device.interrupt_context = race;
	cr_assert_eq(pthread_create(&race->thread, NULL, body, race), 0);
}

#define SIGNALS 10000

/* Each signal waits until the one before was acknowledged. */
static void *signal_used_often(void *context)
{
	struct race *race = context;
	unsigned int i;

	for (i = 0; i < SIGNALS; i++) {
		virtio_device_signal_used(race->device);
		while (__atomic_load_n(&race->device->interrupt_status,
				       __ATOMIC_SEQ_CST))
			sched_yield();
	}
	__atomic_store_n(&race->done, 1, __ATOMIC_RELEASE);
	return NULL;
}

Test(device_race, acknowledging_one_interrupt_never_swallows_another,
     .timeout = 60)
{
	unsigned int acknowledged = 0;
	struct fake fake;
	struct race race;

	fake_init(&fake);
	fake_to_driver_ok(&fake);
	race_start(&race, &fake, signal_used_often);
	while (!__atomic_load_n(&race.done, __ATOMIC_ACQUIRE)) {
		unsigned int i;

		for (i = 0; i < 100; i++)
			fake_write(&fake, VIRTIO_MMIO_INTERRUPT_ACK,
				   VIRTIO_INTERRUPT_CONFIG);
		if (fake_read(&fake, VIRTIO_MMIO_INTERRUPT_STATUS) &
		    VIRTIO_INTERRUPT_USED) {
			acknowledged++;
			fake_write(&fake, VIRTIO_MMIO_INTERRUPT_ACK,
				   VIRTIO_INTERRUPT_USED);
		}
		sched_yield();
	}
	pthread_join(race.thread, NULL);
	cr_assert_eq(acknowledged, SIGNALS);
	cr_assert_eq(race.interrupts, SIGNALS);
	fake_destroy(&fake);
}

#define ROUNDS 5000

static void *need_reset_often(void *context)
{
	struct race *race = context;
	uint32_t round;

	for (round = 1; round <= ROUNDS; round++) {
		while (__atomic_load_n(&race->round, __ATOMIC_ACQUIRE) != round)
			sched_yield();
		virtio_device_needs_reset(race->device);
		__atomic_store_n(&race->done, round, __ATOMIC_RELEASE);
	}
	return NULL;
}

Test(device_race, needs_reset_racing_with_driver_ok_interrupts_once,
     .timeout = 60)
{
	struct fake fake;
	struct race race;
	uint32_t round;

	fake_init(&fake);
	race_start(&race, &fake, need_reset_often);
	for (round = 1; round <= ROUNDS; round++) {
		fake_to_features_ok(&fake, ALL_RING_FEATURES);
		__atomic_store_n(&race.interrupts, 0, __ATOMIC_RELAXED);
		__atomic_store_n(&race.round, round, __ATOMIC_RELEASE);
		fake_write(&fake, VIRTIO_MMIO_STATUS, ALL_STEPS);
		while (__atomic_load_n(&race.done, __ATOMIC_ACQUIRE) != round)
			sched_yield();
		cr_assert_eq(virtio_device_status(&fake.device),
			     ALL_STEPS | VIRTIO_STATUS_NEEDS_RESET);
		cr_assert_eq(
			__atomic_load_n(&race.interrupts, __ATOMIC_RELAXED), 1);
		fake_forget(&fake);
	}
	pthread_join(race.thread, NULL);
	fake_destroy(&fake);
}
