/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm/stats.h"

#include "vmm/json.h"

/*
 * Walks through the counters while they are written. With `from` what is
 * written is the difference, which a gauge may have below 0.
 */
struct walk {
	struct json *json;
	const uint64_t *at;
	const uint64_t *from; /* or NULL */
};

size_t stats_counter_count(const struct stats_shape *shape)
{
	size_t count = shape->vcpus * (size_t)STATS_VCPU_COUNTERS +
		       STATS_IOMMU_COUNTERS;
	unsigned int i;

	for (i = 0; i < shape->device_count; i++)
		count +=
			STATS_DEVICE_COUNTERS +
			shape->devices[i].queues * (size_t)STATS_QUEUE_COUNTERS;
	return count;
}

static void number_or_null(struct json *json, const char *key, uint64_t value)
{
	if (value == STATS_UNKNOWN)
		json_null(json, key);
	else
		json_number(json, key, value);
}

static void write_counter(struct walk *walk, const char *key)
{
	uint64_t value = *walk->at++;
	uint64_t from = walk->from ? *walk->from++ : 0;

	if (value == STATS_UNKNOWN || from == STATS_UNKNOWN)
		json_null(walk->json, key);
	else if (walk->from)
		json_signed(walk->json, key, (int64_t)(value - from));
	else
		json_number(walk->json, key, value);
}

static void write_counters(struct walk *walk, const char *const *keys,
			   unsigned int count)
{
	unsigned int i;

	for (i = 0; i < count; i++)
		write_counter(walk, keys[i]);
}

static void write_vcpus(struct walk *walk, const struct stats_shape *shape)
{
	static const char *const keys[STATS_VCPU_COUNTERS] = {
		[STATS_VCPU_MMIO] = "mmio",
		[STATS_VCPU_PIO] = "pio",
		[STATS_VCPU_HLT] = "hlt",
		[STATS_VCPU_OTHER] = "other",
	};
	unsigned int i;

	json_array(walk->json, "vcpus");
	for (i = 0; i < shape->vcpus; i++) {
		json_object(walk->json, NULL);
		json_object(walk->json, "exits");
		write_counters(walk, keys, STATS_VCPU_COUNTERS);
		json_object_end(walk->json);
		json_object_end(walk->json);
	}
	json_array_end(walk->json);
}

static void write_iommu(struct walk *walk, bool enabled)
{
	static const char *const keys[STATS_IOMMU_COUNTERS] = {
		[STATS_IOMMU_ATTACH] = "attach",
		[STATS_IOMMU_DETACH] = "detach",
		[STATS_IOMMU_MAP] = "map",
		[STATS_IOMMU_UNMAP] = "unmap",
		[STATS_IOMMU_PROBE] = "probe",
		[STATS_IOMMU_REJECTED] = "rejected",
		[STATS_IOMMU_MAPPED_BYTES] = "mapped_bytes",
		[STATS_IOMMU_FAULTS] = "faults",
		[STATS_IOMMU_EVENTS_SENT] = "events_sent",
		[STATS_IOMMU_EVENTS_DROPPED] = "events_dropped",
		[STATS_IOMMU_UNMAP_WAITS] = "unmap_waits",
	};

	json_object(walk->json, "iommu");
	json_bool(walk->json, "enabled", enabled);
	write_counters(walk, keys, STATS_IOMMU_COUNTERS);
	json_object_end(walk->json);
}

static void write_queues(struct walk *walk, unsigned int count)
{
	static const char *const keys[STATS_QUEUE_COUNTERS] = {
		[STATS_QUEUE_KICKS] = "kicks",
		[STATS_QUEUE_INTERRUPTS] = "interrupts",
		[STATS_QUEUE_CHAINS] = "chains",
		[STATS_QUEUE_HITS] = "iotlb_hits",
		[STATS_QUEUE_MISSES] = "iotlb_misses",
		[STATS_QUEUE_FAULTS] = "faults",
	};
	unsigned int i;

	json_array(walk->json, "queues");
	for (i = 0; i < count; i++) {
		json_object(walk->json, NULL);
		write_counters(walk, keys, STATS_QUEUE_COUNTERS);
		json_object_end(walk->json);
	}
	json_array_end(walk->json);
}

static void write_devices(struct walk *walk, const struct stats_shape *shape)
{
	static const char *const keys[STATS_DEVICE_COUNTERS] = {
		[STATS_DEVICE_REQUESTS] = "requests",
		[STATS_DEVICE_ERRORS] = "errors",
		[STATS_DEVICE_BYTES_READ] = "bytes_read",
		[STATS_DEVICE_BYTES_WRITTEN] = "bytes_written",
	};
	const struct stats_device *device;
	unsigned int i;

	json_array(walk->json, "devices");
	for (i = 0; i < shape->device_count; i++) {
		device = &shape->devices[i];
		json_object(walk->json, NULL);
		json_string(walk->json, "name", device->name);
		json_string(walk->json, "type", device->type);
		number_or_null(walk->json, "endpoint", device->endpoint);
		write_counters(walk, keys, STATS_DEVICE_COUNTERS);
		write_queues(walk, device->queues);
		json_object_end(walk->json);
	}
	json_array_end(walk->json);
}

static void write_all_counters(struct json *json,
			       const struct stats_report *report,
			       const uint64_t *counters, const uint64_t *from)
{
	struct walk walk = { .json = json, .at = counters, .from = from };

	write_vcpus(&walk, report->shape);
	write_iommu(&walk, report->iommu);
	write_devices(&walk, report->shape);
}

static void write_threads(struct json *json, const struct stats_report *report)
{
	const struct stats_thread *thread;
	unsigned int i;

	json_array(json, "threads");
	for (i = 0; i < report->thread_count; i++) {
		thread = &report->threads[i];
		json_object(json, NULL);
		json_string(json, "name", thread->name);
		number_or_null(json, "seccomp_rules", thread->seccomp_rules);
		number_or_null(json, "cpu_us", thread->cpu_us);
		json_object_end(json);
	}
	json_array_end(json);
}

static void write_marks(struct json *json, const struct stats_report *report)
{
	if (!report->mark_from || !report->mark_to) {
		json_null(json, "marks");
		return;
	}
	json_object(json, "marks");
	json_number(json, "elapsed_us", report->mark_elapsed_us);
	write_all_counters(json, report, report->mark_to, report->mark_from);
	json_object_end(json);
}

static void write_head(struct json *json, const struct stats_report *report)
{
	json_string(json, "version", report->version);
	json_string(json, "vm", report->vm);
	json_number(json, "uptime_ms", report->uptime_ms);
	json_object(json, "end");
	json_string(json, "reason", report->end_reason);
	json_string(json, "detail", report->end_detail);
	json_object_end(json);
	json_object(json, "boot");
	number_or_null(json, "setup_us", report->setup_us);
	number_or_null(json, "first_run_us", report->first_run_us);
	number_or_null(json, "first_console_us", report->first_console_us);
	number_or_null(json, "guest_ready_us", report->guest_ready_us);
	json_object_end(json);
	json_object(json, "memory");
	json_number(json, "guest_bytes", report->guest_bytes);
	number_or_null(json, "overhead_bytes", report->overhead_bytes);
	json_object_end(json);
}

char *stats_to_json(const struct stats_report *report, size_t *length)
{
	struct json json;

	json_init(&json);
	json_object(&json, NULL);
	write_head(&json, report);
	write_all_counters(&json, report, report->counters, NULL);
	write_threads(&json, report);
	write_marks(&json, report);
	json_object_end(&json);
	return json_finish(&json, length);
}
