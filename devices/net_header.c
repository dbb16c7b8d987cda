/* SPDX-License-Identifier: Apache-2.0 */
#include "devices/net_header.h"

#include <endian.h>
#include <stddef.h>

#define CHECKSUM_BYTES 2u
#define TCP_HEADER_BYTES 20u
#define TCP_CHECKSUM_OFFSET 16u
#define UDP_HEADER_BYTES 8u
#define UDP_CHECKSUM_OFFSET 6u

/* A kind of frame that is to be cut into packets. */
struct segmentation {
	uint64_t host_feature; /* that lets the guest send it */
	uint64_t guest_feature; /* that lets it receive it */
	uint32_t header_bytes; /* of the transport, at least */
	uint32_t checksum_offset; /* in that header */
	bool may_have_ecn;
};

/* NULL: no such type. */
static const struct segmentation *segmentation_of(uint8_t gso_type)
{
	static const struct segmentation tcp4 = { NET_FEATURE(HOST_TSO4),
						  NET_FEATURE(GUEST_TSO4),
						  TCP_HEADER_BYTES,
						  TCP_CHECKSUM_OFFSET, true };
	static const struct segmentation tcp6 = { NET_FEATURE(HOST_TSO6),
						  NET_FEATURE(GUEST_TSO6),
						  TCP_HEADER_BYTES,
						  TCP_CHECKSUM_OFFSET, true };
	static const struct segmentation fragments = {
		NET_FEATURE(HOST_UFO), NET_FEATURE(GUEST_UFO), UDP_HEADER_BYTES,
		UDP_CHECKSUM_OFFSET, false
	};
	static const struct segmentation udp = { NET_FEATURE_HOST_USO,
						 NET_GUEST_USO,
						 UDP_HEADER_BYTES,
						 UDP_CHECKSUM_OFFSET, false };

	switch (gso_type & ~VIRTIO_NET_HDR_GSO_ECN) {
	case VIRTIO_NET_HDR_GSO_TCPV4:
		return &tcp4;
	case VIRTIO_NET_HDR_GSO_TCPV6:
		return &tcp6;
	case VIRTIO_NET_HDR_GSO_UDP:
		return &fragments;
	case NET_GSO_UDP_L4:
		return &udp;
	default:
		return NULL;
	}
}

/* The two bytes of the checksum lie in the frame, behind its Ethernet header. */
static bool checksum_is_inside(uint32_t start, uint32_t offset,
			       uint32_t frame_bytes)
{
	return start >= NET_FRAME_MIN &&
	       start + offset + CHECKSUM_BYTES <= frame_bytes;
}

static bool segmentation_is_sound(const struct virtio_net_hdr_v1 *header,
				  uint32_t frame_bytes, uint64_t features)
{
	const struct segmentation *kind = segmentation_of(header->gso_type);
	bool ecn = header->gso_type & VIRTIO_NET_HDR_GSO_ECN;
	uint32_t start = le16toh(header->csum_start);

	if (!kind || !(features & kind->host_feature))
		return false;
	if (ecn && (!kind->may_have_ecn || !(features & NET_FEATURE(HOST_ECN))))
		return false;
	/* virtio 1.2, 5.1.6.2.1: with a checksum to be made, and a size. */
	if (!(header->flags & VIRTIO_NET_HDR_F_NEEDS_CSUM) ||
	    header->gso_size == 0)
		return false;
	/* hdr_len is a hint; one beyond the frame is none. */
	return le16toh(header->hdr_len) <= frame_bytes &&
	       le16toh(header->csum_offset) == kind->checksum_offset &&
	       start + kind->header_bytes <= frame_bytes;
}

bool net_header_from_guest(const struct virtio_net_hdr_v1 *header,
			   uint32_t frame_bytes, uint64_t features,
			   struct virtio_net_hdr_v1 *clean)
{
	*clean = (struct virtio_net_hdr_v1){
		.gso_type = VIRTIO_NET_HDR_GSO_NONE,
	};
	if (frame_bytes < NET_FRAME_MIN || frame_bytes > NET_FRAME_MAX)
		return false;
	/* virtio 1.2, 5.1.6.2.2: other flags are ignored. */
	if (header->flags & VIRTIO_NET_HDR_F_NEEDS_CSUM) {
		if (!(features & NET_FEATURE(CSUM)) ||
		    !checksum_is_inside(le16toh(header->csum_start),
					le16toh(header->csum_offset),
					frame_bytes))
			return false;
		clean->flags = VIRTIO_NET_HDR_F_NEEDS_CSUM;
		clean->csum_start = header->csum_start;
		clean->csum_offset = header->csum_offset;
	}
	if (header->gso_type != VIRTIO_NET_HDR_GSO_NONE) {
		if (!segmentation_is_sound(header, frame_bytes, features))
			return false;
		clean->gso_type = header->gso_type;
		clean->gso_size = header->gso_size;
		clean->hdr_len = header->hdr_len;
	}
	return true;
}

bool net_header_to_guest(struct virtio_net_hdr_v1 *header, uint64_t offloads)
{
	const struct segmentation *kind;

	header->num_buffers = 0;
	/* virtio 1.2, 5.1.6.4.1: without GUEST_CSUM the flags are 0. */
	if (!(offloads & NET_FEATURE(GUEST_CSUM))) {
		if (header->flags & VIRTIO_NET_HDR_F_NEEDS_CSUM)
			return false;
		header->flags = 0;
	}
	header->flags &= VIRTIO_NET_HDR_F_NEEDS_CSUM |
			 VIRTIO_NET_HDR_F_DATA_VALID;
	if (header->gso_type == VIRTIO_NET_HDR_GSO_NONE)
		return true;
	kind = segmentation_of(header->gso_type);
	if (!kind || (offloads & kind->guest_feature) != kind->guest_feature)
		return false;
	return !(header->gso_type & VIRTIO_NET_HDR_GSO_ECN) ||
	       offloads & NET_FEATURE(GUEST_ECN);
}
