/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The machine's IOMMU: the core of memory/iommu.h, its virtio device, and the
 * endpoints that stand behind it.
 */
#ifndef VMM_MACHINE_IOMMU_H
#define VMM_MACHINE_IOMMU_H

#include <stdbool.h>
#include <stdint.h>

struct error;
struct machine;
struct machine_device;
struct machine_device_class;

/* The device; it is created before those behind it. */
extern const struct machine_device_class machine_iommu_class;

/* Puts @device, just created, behind the IOMMU as its plan says. 0 or -1. */
int machine_iommu_attach(struct machine_device *device, struct error *error);

/* Whether the guest has its IOMMU set up. Any thread. */
bool machine_iommu_is_live(const struct machine *machine);

/* Fills STATS_IOMMU_COUNTERS counters; 0 without an IOMMU. Any thread. */
void machine_iommu_count(const struct machine *machine, uint64_t *out);

#endif
