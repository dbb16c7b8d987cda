/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm/shutdown_watch.h"

#include "vmm/vcpu.h"

static uint64_t exits_so_far(const struct shutdown_watch *watch)
{
	uint64_t sum = 0;
	unsigned int i;

	for (i = 0; i < watch->vcpu_count; i++) {
		struct vcpu_exits exits = vcpu_count(&watch->vcpus[i]);

		sum += exits.mmio + exits.pio + exits.hlt + exits.other;
	}
	return sum;
}

static uint64_t cpu_us_so_far(const struct shutdown_watch *watch)
{
	uint64_t sum = 0;
	unsigned int i;

	for (i = 0; i < watch->vcpu_count; i++)
		sum += thread_cpu_us(&watch->vcpus[i].thread);
	return sum;
}

static void expired(void *context)
{
	struct shutdown_watch *watch = context;
	uint64_t cpu_us = cpu_us_so_far(watch);
	uint64_t exits = exits_so_far(watch);
	uint64_t enough_us =
		watch->interval_ms * UINT64_C(1000) / SHUTDOWN_WATCH_BUSY;
	bool silent = watch->looked && exits == watch->exits;

	if (watch->is_over(watch->context)) {
		watch->looked = false;
		return;
	}
	if (silent && cpu_us - watch->cpu_us >= enough_us) {
		watch->looked = false;
		watch->hung(watch->context);
		return;
	}
	watch->looked = true;
	watch->exits = exits;
	watch->cpu_us = cpu_us;
	timer_set(&watch->timer, watch->interval_ms);
}

int shutdown_watch_init(struct shutdown_watch *watch, struct event_loop *loop,
			const struct vcpu *vcpus, unsigned int vcpu_count,
			bool (*is_over)(void *context),
			void (*hung)(void *context), void *context)
{
	*watch = (struct shutdown_watch){
		.vcpus = vcpus,
		.vcpu_count = vcpu_count,
		.interval_ms = SHUTDOWN_WATCH_MS,
		.is_over = is_over,
		.hung = hung,
		.context = context,
	};
	return timer_init(&watch->timer, loop, expired, watch);
}

void shutdown_watch_destroy(struct shutdown_watch *watch)
{
	timer_destroy(&watch->timer);
}

void shutdown_watch_begin(struct shutdown_watch *watch)
{
	/* Soon, for a first look; the second one then has something to compare. */
	timer_set(&watch->timer, 1);
}
