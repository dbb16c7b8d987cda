/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A VM's statistics as one JSON object (docs: sluice(1), "Statistics"). Plain
 * data in, text out: who fills a report is vmm/vm_report.c.
 *
 * All counters of a VM are one array, in the order that stats_counter_count's
 * comment gives, so that a snapshot is a copy and a difference a subtraction.
 */
#ifndef VMM_STATS_H
#define VMM_STATS_H

#include "vmm/layout.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define STATS_UNKNOWN UINT64_MAX /* null in the text */

enum {
	STATS_VCPU_MMIO,
	STATS_VCPU_PIO,
	STATS_VCPU_HLT,
	STATS_VCPU_OTHER,
	STATS_VCPU_COUNTERS
};

enum {
	STATS_IOMMU_ATTACH,
	STATS_IOMMU_DETACH,
	STATS_IOMMU_MAP,
	STATS_IOMMU_UNMAP,
	STATS_IOMMU_PROBE,
	STATS_IOMMU_REJECTED,
	STATS_IOMMU_MAPPED_BYTES,
	STATS_IOMMU_FAULTS,
	STATS_IOMMU_EVENTS_SENT,
	STATS_IOMMU_EVENTS_DROPPED,
	STATS_IOMMU_UNMAP_WAITS,
	STATS_IOMMU_COUNTERS
};

enum {
	STATS_DEVICE_REQUESTS,
	STATS_DEVICE_ERRORS,
	STATS_DEVICE_BYTES_READ,
	STATS_DEVICE_BYTES_WRITTEN,
	STATS_DEVICE_COUNTERS
};

enum {
	STATS_QUEUE_KICKS,
	STATS_QUEUE_INTERRUPTS,
	STATS_QUEUE_CHAINS,
	STATS_QUEUE_HITS,
	STATS_QUEUE_MISSES,
	STATS_QUEUE_FAULTS,
	STATS_QUEUE_COUNTERS
};

struct stats_device {
	const char *name;
	const char *type;
	uint64_t endpoint; /* STATS_UNKNOWN: behind no IOMMU */
	unsigned int queues;
};

/* Which counters there are. Constant once the machine is built. */
struct stats_shape {
	unsigned int vcpus;
	unsigned int device_count;
	struct stats_device devices[LAYOUT_DEVICES_MAX];
};

/*
 * Entries of the array: STATS_VCPU_COUNTERS per vCPU, STATS_IOMMU_COUNTERS,
 * then per device STATS_DEVICE_COUNTERS and STATS_QUEUE_COUNTERS per queue.
 */
size_t stats_counter_count(const struct stats_shape *shape);

struct stats_thread {
	const char *name;
	uint64_t seccomp_rules; /* STATS_UNKNOWN: no filter */
	uint64_t cpu_us;
};

struct stats_report {
	const char *version;
	const char *vm;
	uint64_t uptime_ms;
	const char *end_reason; /* NULL: it still runs */
	const char *end_detail;
	uint64_t setup_us, first_run_us, first_console_us, guest_ready_us;
	uint64_t guest_bytes;
	uint64_t overhead_bytes;
	bool iommu;
	const struct stats_shape *shape;
	const uint64_t *counters;
	/* The guest's marks (port 0x501): NULL, or the counters at 2 and at 3. */
	const uint64_t *mark_from, *mark_to;
	uint64_t mark_elapsed_us;
	unsigned int thread_count;
	const struct stats_thread *threads;
};

/* The text, on the heap, and its length. NULL: no memory. */
char *stats_to_json(const struct stats_report *report, size_t *length);

#endif
