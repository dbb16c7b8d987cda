/* SPDX-License-Identifier: Apache-2.0 */
/* The request queue of virtio-iommu; for virtio_iommu.c alone. */
#ifndef DEVICES_VIRTIO_IOMMU_REQUEST_H
#define DEVICES_VIRTIO_IOMMU_REQUEST_H

#include <stdbool.h>

struct iommu_answers;
struct virtio_iommu;

/*
 * Serves requests, a bounded number. False when the queue is empty and armed, or
 * cannot be served. Any thread.
 */
bool virtio_iommu_serve_batch(struct virtio_iommu *viommu);

/* Serves all of them, or until the VM stops. vCPU thread. */
void virtio_iommu_serve_requests(struct virtio_iommu *viommu);

/*
 * The request queue is served from now on, or no more; then the requests so far
 * get no answer, and stop returns whether there were any. vCPU thread, while the
 * device's lock keeps the queue live.
 */
void virtio_iommu_start_requests(struct virtio_iommu *viommu);
bool virtio_iommu_stop_requests(struct virtio_iommu *viommu);

/* Their context is the struct virtio_iommu. */
extern const struct iommu_answers virtio_iommu_answers;

#endif
