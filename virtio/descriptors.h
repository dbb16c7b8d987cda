/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reading a descriptor chain out of guest memory, for queue.c alone.
 *
 * This is where what the guest wrote becomes what the monitor believes: each
 * descriptor is copied exactly once, judged by its copy, and published at the
 * door before anything it names is touched.
 */
#ifndef VIRTIO_DESCRIPTORS_H
#define VIRTIO_DESCRIPTORS_H

#include <stdint.h>

struct queue;

/* A chain longer than 2^32 bytes is not to be made (virtio 1.2, 2.7.4.2). */
#define DESCRIPTORS_BYTES_MAX (UINT64_C(1) << 32)

/*
 * Reads the chain that starts at descriptor @head (below ring_size) into
 * queue->chains[head] and publishes it. Inside a ring section. Returns 0;
 * -EAGAIN, nothing published, when the door has no room now; -EBUSY when the
 * head is in flight; -EINVAL when the chain breaks a rule. The last two are
 * broken queues.
 */
int descriptors_collect(struct queue *queue, uint16_t head);

#endif
