/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The header before each frame (struct virtio_net_hdr_v1; virtio 1.2, 5.1.6). It
 * tells the other side where to put a checksum and where to cut: numbers that
 * have hurt hosts before. Plain functions over a private copy.
 */
#ifndef DEVICES_NET_HEADER_H
#define DEVICES_NET_HEADER_H

#include <stdbool.h>
#include <stdint.h>

#include "devices/net_features.h"

/*
 * Judges the header of a frame of @frame_bytes from the guest, which negotiated
 * @features (virtio 1.2, 5.1.6.2.1 and 5.1.6.2.2). True: *@clean is what may be
 * told to the host; every number in it was checked, what has no meaning for this
 * frame is 0. False: the driver broke a rule, the frame must go nowhere.
 */
bool net_header_from_guest(const struct virtio_net_hdr_v1 *header,
			   uint32_t frame_bytes, uint64_t features,
			   struct virtio_net_hdr_v1 *clean);

/*
 * Makes the header that the host gave a frame one that a guest with the receive
 * @offloads (NET_GUEST_OFFLOADS) understands; num_buffers is 0 afterwards.
 * False: it cannot take the frame.
 */
bool net_header_to_guest(struct virtio_net_hdr_v1 *header, uint64_t offloads);

#endif
