/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Feature bits of virtio-net (virtio 1.2, 5.1.3) that the device's files share,
 * and the largest frame. linux/virtio_net.h of 6.1 has no names for UDP
 * segmentation.
 */
#ifndef DEVICES_NET_FEATURES_H
#define DEVICES_NET_FEATURES_H

#include <linux/virtio_net.h>
#include <stdint.h>

#define NET_FEATURE(name) (UINT64_C(1) << VIRTIO_NET_F_##name)
#define NET_FEATURE_GUEST_USO4 (UINT64_C(1) << 54)
#define NET_FEATURE_GUEST_USO6 (UINT64_C(1) << 55)
#define NET_FEATURE_HOST_USO (UINT64_C(1) << 56)

#define NET_GSO_UDP_L4 5 /* gso_type of UDP segmentation */

/* What the guest takes from the host: CTRL_GUEST_OFFLOADS may change these. */
#define NET_GUEST_USO (NET_FEATURE_GUEST_USO4 | NET_FEATURE_GUEST_USO6)
#define NET_GUEST_OFFLOADS                                   \
	(NET_FEATURE(GUEST_CSUM) | NET_FEATURE(GUEST_TSO4) | \
	 NET_FEATURE(GUEST_TSO6) | NET_FEATURE(GUEST_ECN) |  \
	 NET_FEATURE(GUEST_UFO) | NET_GUEST_USO)

/* What the host takes from the guest. */
#define NET_HOST_OFFLOADS                                                      \
	(NET_FEATURE(CSUM) | NET_FEATURE(HOST_TSO4) | NET_FEATURE(HOST_TSO6) | \
	 NET_FEATURE(HOST_ECN) | NET_FEATURE(HOST_UFO) | NET_FEATURE_HOST_USO)

/*
 * Bytes of a frame, without the virtio header: an Ethernet header at least; at
 * most that with two VLAN tags and the longest IP packet.
 */
#define NET_FRAME_MIN 14u
#define NET_FRAME_MAX (14u + 8u + 65535u)

#endif
