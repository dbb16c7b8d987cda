/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm/vm.h"

#include "devices/log.h"
#include "virtio/device.h"
#include "vmm/machine_device.h"
#include "vmm/machine_iommu.h"
#include "vmm/smaps.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* The Makefile says it. */
#ifndef SLUICE_VERSION
#define SLUICE_VERSION "unknown"
#endif

void vm_note_time(struct vm *vm, enum vm_time what)
{
	uint64_t none = 0;

	__atomic_compare_exchange_n(&vm->times[what], &none, timer_now_ns(),
				    false, __ATOMIC_RELAXED, __ATOMIC_RELAXED);
}

static uint64_t time_us(const struct vm *vm, enum vm_time what)
{
	uint64_t ns = __atomic_load_n(&vm->times[what], __ATOMIC_RELAXED);

	return ns ? (ns - vm->options->started_ns) / 1000 : STATS_UNKNOWN;
}

static void make_shape(struct stats_shape *shape, const struct machine *machine)
{
	const struct machine_device *device;
	struct stats_device *entry;
	unsigned int i;

	shape->vcpus = machine->vcpu_count;
	shape->device_count = machine->device_count;
	for (i = 0; i < machine->device_count; i++) {
		device = &machine->devices[i];
		entry = &shape->devices[i];
		entry->name = device->plan->name;
		entry->type = planned_type_name(device->plan->type);
		entry->endpoint = device->plan->endpoint == PLAN_NO_ENDPOINT
					  ? STATS_UNKNOWN
					  : device->plan->endpoint;
		entry->queues = device->device->queue_count;
	}
}

int vm_report_init(struct vm *vm)
{
	size_t count;

	make_shape(&vm->shape, &vm->machine);
	lock_init(&vm->marks.lock);
	count = stats_counter_count(&vm->shape);
	vm->marks.from = calloc(count, sizeof(uint64_t));
	vm->marks.to = calloc(count, sizeof(uint64_t));
	return vm->marks.from && vm->marks.to ? 0 : -ENOMEM;
}

void vm_report_destroy(struct vm *vm)
{
	free(vm->marks.from);
	free(vm->marks.to);
}

static uint64_t read_counter(const uint64_t *counter)
{
	return __atomic_load_n(counter, __ATOMIC_RELAXED);
}

static uint64_t *count_queue(const struct queue *queue, uint64_t *out)
{
	out[STATS_QUEUE_KICKS] = read_counter(&queue->counters.kicks);
	out[STATS_QUEUE_INTERRUPTS] = read_counter(&queue->counters.interrupts);
	out[STATS_QUEUE_CHAINS] = read_counter(&queue->counters.chains);
	out[STATS_QUEUE_HITS] = read_counter(&queue->dma.counters.hits);
	out[STATS_QUEUE_MISSES] = read_counter(&queue->dma.counters.misses);
	out[STATS_QUEUE_FAULTS] = read_counter(&queue->dma.counters.faults);
	return out + STATS_QUEUE_COUNTERS;
}

static uint64_t *count_device(const struct machine_device *device,
			      uint64_t *out)
{
	struct machine_device_counters counters = device->class->count(device);
	unsigned int i;

	out[STATS_DEVICE_REQUESTS] = counters.requests;
	out[STATS_DEVICE_ERRORS] = counters.errors;
	out[STATS_DEVICE_BYTES_READ] = counters.bytes_read;
	out[STATS_DEVICE_BYTES_WRITTEN] = counters.bytes_written;
	out += STATS_DEVICE_COUNTERS;
	for (i = 0; i < device->device->queue_count; i++)
		out = count_queue(&device->device->queues[i], out);
	return out;
}

/* Fills @out, stats_counter_count entries. Any thread; allocates nothing. */
static void count_all(const struct machine *machine, uint64_t *out)
{
	struct vcpu_exits exits;
	unsigned int i;

	for (i = 0; i < machine->vcpu_count; i++) {
		exits = vcpu_count(&machine->vcpus[i]);
		out[STATS_VCPU_MMIO] = exits.mmio;
		out[STATS_VCPU_PIO] = exits.pio;
		out[STATS_VCPU_HLT] = exits.hlt;
		out[STATS_VCPU_OTHER] = exits.other;
		out += STATS_VCPU_COUNTERS;
	}
	machine_iommu_count(machine, out);
	out += STATS_IOMMU_COUNTERS;
	for (i = 0; i < machine->device_count; i++)
		out = count_device(&machine->devices[i], out);
}

/*
 * The exit that writes a mark is counted before the mark is taken: the
 * difference has the writing of 3 in it and not that of 2.
 */
void vm_report_mark(struct vm *vm, uint8_t value)
{
	struct vm_marks *marks = &vm->marks;

	if (value == 1)
		vm_note_time(vm, VM_TIME_GUEST_READY);
	lock_take(&marks->lock);
	if (value == 2) {
		count_all(&vm->machine, marks->from);
		marks->from_ns = timer_now_ns();
		marks->has_from = true;
		marks->has_to = false;
	} else if (value == 3 && marks->has_from) {
		count_all(&vm->machine, marks->to);
		marks->to_ns = timer_now_ns();
		marks->has_to = true;
	}
	lock_drop(&marks->lock);
}

/* Resident memory of this process and its parent that is not guest RAM. */
static uint64_t overhead_bytes(const struct vm *vm)
{
	const struct guest_memory *memory = &vm->machine.memory;
	struct smaps_range ranges[GUEST_MEMORY_REGIONS_MAX];
	uint64_t own, parents;
	unsigned int i;

	for (i = 0; i < memory->region_count; i++) {
		ranges[i].first = (uintptr_t)memory->regions[i].reserved;
		ranges[i].bytes = memory->regions[i].reserved_size;
	}
	if (smaps_sum(vm->files->smaps[0], ranges, memory->region_count, &own))
		return STATS_UNKNOWN;
	/* The parent has no guest RAM. */
	if (smaps_sum(vm->files->smaps[1], NULL, 0, &parents))
		return STATS_UNKNOWN;
	return own + parents;
}

static unsigned int list_threads(const struct vm *vm, struct stats_thread *list)
{
	unsigned int i;

	for (i = 0; i < vm->threads.count; i++) {
		list[i].name = vm->threads.list[i]->name;
		list[i].seccomp_rules = STATS_UNKNOWN;
		list[i].cpu_us = thread_cpu_us(vm->threads.list[i]);
	}
	return vm->threads.count;
}

static void fill_report(struct vm *vm, struct stats_report *report)
{
	*report = (struct stats_report){
		.version = SLUICE_VERSION,
		.vm = vm->config->name,
		.uptime_ms =
			(timer_now_ns() - vm->options->started_ns) / 1000000,
		.end_reason = vm->over ? end_reason_name(vm->end.reason) : NULL,
		.end_detail = vm->over && vm->end.detail[0] ? vm->end.detail
							    : NULL,
		.setup_us = time_us(vm, VM_TIME_STARTED),
		.first_run_us = time_us(vm, VM_TIME_FIRST_RUN),
		.first_console_us = time_us(vm, VM_TIME_FIRST_CONSOLE),
		.guest_ready_us = time_us(vm, VM_TIME_GUEST_READY),
		.guest_bytes = vm->machine.memory.bytes,
		.overhead_bytes = overhead_bytes(vm),
		.iommu = vm->config->iommu.enabled,
		.shape = &vm->shape,
	};
}

/* A regular file is written over; into a pipe or terminal the text just goes. */
static int write_file(int fd, const char *text, size_t length)
{
	size_t done = 0;
	ssize_t n;

	while (done < length) {
		n = pwrite(fd, text + done, length - done, (off_t)done);
		if (n < 0 && errno == ESPIPE)
			n = write(fd, text + done, length - done);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		done += (size_t)n;
	}
	/* What an earlier, longer text left; a device file has none. */
	if (ftruncate(fd, (off_t)length) != 0 && errno != EINVAL)
		return -errno;
	return 0;
}

/* The counters now and the marks, in one allocation of three arrays. */
static char *make_text(struct vm *vm, size_t *length)
{
	size_t count = stats_counter_count(&vm->shape);
	uint64_t *counters = calloc(count * 3, sizeof(*counters));
	struct stats_thread *threads = calloc(THREADS_MAX, sizeof(*threads));
	struct stats_report report;
	char *text = NULL;

	if (!counters || !threads)
		goto out;
	fill_report(vm, &report);
	count_all(&vm->machine, counters);
	report.counters = counters;
	lock_take(&vm->marks.lock);
	if (vm->marks.has_to) {
		report.mark_from =
			memcpy(counters + count, vm->marks.from, count * 8);
		report.mark_to =
			memcpy(counters + 2 * count, vm->marks.to, count * 8);
		report.mark_elapsed_us =
			(vm->marks.to_ns - vm->marks.from_ns) / 1000;
	}
	lock_drop(&vm->marks.lock);
	report.thread_count = list_threads(vm, threads);
	report.threads = threads;
	text = stats_to_json(&report, length);
out:
	free(threads);
	free(counters);
	return text;
}

void vm_report_write(struct vm *vm)
{
	size_t length;
	char *text;
	int err;

	if (vm->files->stats < 0)
		return;
	text = make_text(vm, &length);
	err = text ? write_file(vm->files->stats, text, length) : -ENOMEM;
	if (err != 0)
		log_warn("--stats: %s: %s", vm->config->stats_path,
			 strerror(-err));
	free(text);
}

static uint64_t step_us(const struct vm *vm, enum vm_time what)
{
	uint64_t before = what == 0 ? vm->options->started_ns
				    : vm->times[what - 1];

	return vm->times[what] < before ? 0 : (vm->times[what] - before) / 1000;
}

void vm_report_boot_times(const struct vm *vm)
{
	static const struct {
		const char *name;
		enum vm_time time;
	} later[] = {
		{ "first guest instruction", VM_TIME_FIRST_RUN },
		{ "first console byte", VM_TIME_FIRST_CONSOLE },
		{ "guest ready", VM_TIME_GUEST_READY },
	};
	unsigned int i;

	/* Asked for: comes out whatever the log level, on stderr always. */
	log_line(LOG_LEVEL_ERROR,
		 "boot times, us: configuration and files %" PRIu64
		 ", memory %" PRIu64 ", KVM %" PRIu64 ", devices %" PRIu64
		 ", vCPUs %" PRIu64 ", kernel %" PRIu64 ", threads %" PRIu64,
		 step_us(vm, VM_TIME_CALLED), step_us(vm, VM_TIME_MEMORY),
		 step_us(vm, VM_TIME_KVM), step_us(vm, VM_TIME_DEVICES),
		 step_us(vm, VM_TIME_VCPUS), step_us(vm, VM_TIME_KERNEL),
		 step_us(vm, VM_TIME_STARTED));
	for (i = 0; i < sizeof(later) / sizeof(later[0]); i++)
		if (time_us(vm, later[i].time) != STATS_UNKNOWN)
			log_line(LOG_LEVEL_ERROR,
				 "boot times, us since the start: %s %" PRIu64,
				 later[i].name, time_us(vm, later[i].time));
}
