/* SPDX-License-Identifier: Apache-2.0 */
/* The event queue of virtio-iommu; for virtio_iommu.c alone. */
#ifndef DEVICES_VIRTIO_IOMMU_EVENTS_H
#define DEVICES_VIRTIO_IOMMU_EVENTS_H

#include <stdbool.h>

struct virtio_iommu;

/*
 * The event queue may be used from now on, or no more. vCPU thread, while the
 * device's lock keeps the queue live.
 */
void virtio_iommu_set_events_live(struct virtio_iommu *viommu, bool live);

#endif
