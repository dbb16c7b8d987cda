/* SPDX-License-Identifier: Apache-2.0 */
#include "devices/net_header.h"

#include <criterion/criterion.h>
#include <string.h>

#include "memory/base.h"

#define CSUM VIRTIO_NET_HDR_F_NEEDS_CSUM
#define TCP4 VIRTIO_NET_HDR_GSO_TCPV4
#define TCP6 VIRTIO_NET_HDR_GSO_TCPV6
#define UFO VIRTIO_NET_HDR_GSO_UDP
#define USO NET_GSO_UDP_L4
#define ECN VIRTIO_NET_HDR_GSO_ECN
#define ALL NET_HOST_OFFLOADS
#define NOT(feature) (ALL & ~(UINT64_C(1) << VIRTIO_NET_F_##feature))

/* What a guest may say of a frame, and what it may not. */
static const struct {
	const char *what;
	uint32_t frame;
	uint8_t flags, gso_type;
	uint16_t hdr_len, gso_size, csum_start, csum_offset;
	uint64_t features;
	bool good;
} cases[] = {
	/* plain frames */
	{ "shortest", 14, 0, 0, 0, 0, 0, 0, 0, true },
	{ "runt", 13, 0, 0, 0, 0, 0, 0, ALL, false },
	{ "nothing", 0, 0, 0, 0, 0, 0, 0, ALL, false },
	{ "longest", NET_FRAME_MAX, 0, 0, 0, 0, 0, 0, 0, true },
	{ "longer", NET_FRAME_MAX + 1, 0, 0, 0, 0, 0, 0, ALL, false },
	{ "2^32 - 1", UINT32_MAX, 0, 0, 0, 0, 0, 0, ALL, false },
	{ "numbers without meaning", 60, 0, 0, 0xffff, 0xffff, 0xffff, 0xffff,
	  0, true },
	{ "flags of receive", 60, 0xfe, 0, 0, 0, 0, 0, 0, true },
	/* checksums */
	{ "TCP checksum", 60, CSUM, 0, 0, 0, 34, 16, ALL, true },
	{ "ends with the frame", 52, CSUM, 0, 0, 0, 34, 16, ALL, true },
	{ "one byte over the end", 51, CSUM, 0, 0, 0, 34, 16, ALL, false },
	{ "start at the end", 60, CSUM, 0, 0, 0, 60, 0, ALL, false },
	{ "start far out", 60, CSUM, 0, 0, 0, 0xffff, 0, ALL, false },
	{ "offset far out", 60, CSUM, 0, 0, 0, 34, 0xffff, ALL, false },
	{ "a sum over 2^16", 60, CSUM, 0, 0, 0, 0xfff0, 0x0020, ALL, false },
	{ "both at their most", NET_FRAME_MAX, CSUM, 0, 0, 0, 0xffff, 0xffff,
	  ALL, false },
	{ "in the Ethernet header", 60, CSUM, 0, 0, 0, 13, 0, ALL, false },
	{ "right behind it", 60, CSUM, 0, 0, 0, 14, 0, ALL, true },
	{ "not negotiated", 60, CSUM, 0, 0, 0, 34, 16, NOT(CSUM), false },
	/* segmentation */
	{ "TSO4", 4000, CSUM, TCP4, 54, 1448, 34, 16, ALL, true },
	{ "TSO6", 4000, CSUM, TCP6, 74, 1428, 54, 16, ALL, true },
	{ "TSO4 with ECN", 4000, CSUM, TCP4 | ECN, 54, 1448, 34, 16, ALL,
	  true },
	{ "TSO6 with ECN", 4000, CSUM, TCP6 | ECN, 74, 1428, 54, 16, ALL,
	  true },
	{ "UFO", 4000, CSUM, UFO, 42, 1448, 34, 6, ALL, true },
	{ "USO", 4000, CSUM, USO, 42, 1448, 34, 6, ALL, true },
	{ "the longest", NET_FRAME_MAX, CSUM, TCP4, 54, 1448, 34, 16, ALL,
	  true },
	{ "a size above the frame's", 60, CSUM, TCP4, 54, 0xffff, 34, 16, ALL,
	  true },
	{ "TSO4 not negotiated", 4000, CSUM, TCP4, 54, 1448, 34, 16,
	  NOT(HOST_TSO4), false },
	{ "TSO6 not negotiated", 4000, CSUM, TCP6, 74, 1428, 54, 16,
	  NOT(HOST_TSO6), false },
	{ "ECN not negotiated", 4000, CSUM, TCP4 | ECN, 54, 1448, 34, 16,
	  NOT(HOST_ECN), false },
	{ "UFO not negotiated", 4000, CSUM, UFO, 42, 1448, 34, 6, NOT(HOST_UFO),
	  false },
	{ "USO not negotiated", 4000, CSUM, USO, 42, 1448, 34, 6,
	  ALL & ~NET_FEATURE_HOST_USO, false },
	{ "ECN alone", 4000, CSUM, ECN, 54, 1448, 34, 16, ALL, false },
	{ "UDP with ECN", 4000, CSUM, USO | ECN, 42, 1448, 34, 6, ALL, false },
	{ "unknown type 2", 4000, CSUM, 2, 54, 1448, 34, 16, ALL, false },
	{ "unknown type 6", 4000, CSUM, 6, 54, 1448, 34, 16, ALL, false },
	{ "unknown type 0x41", 4000, CSUM, 0x41, 54, 1448, 34, 16, ALL, false },
	{ "unknown type 0x7f", 4000, CSUM, 0x7f, 54, 1448, 34, 16, ALL, false },
	{ "no checksum", 4000, 0, TCP4, 54, 1448, 34, 16, ALL, false },
	{ "size 0", 4000, CSUM, TCP4, 54, 0, 34, 16, ALL, false },
	{ "headers beyond the frame", 60, CSUM, TCP4, 61, 1448, 34, 16, ALL,
	  false },
	{ "headers as long as it", 60, CSUM, TCP4, 60, 1448, 34, 16, ALL,
	  true },
	{ "header length 0, a hint", 60, CSUM, TCP4, 0, 1448, 34, 16, ALL,
	  true },
	{ "TCP header over the end", 53, CSUM, TCP4, 53, 1448, 34, 16, ALL,
	  false },
	{ "UDP header up to the end", 42, CSUM, USO, 42, 1448, 34, 6, ALL,
	  true },
	{ "UDP header over the end", 41, CSUM, USO, 41, 1448, 34, 6, ALL,
	  false },
	{ "no TCP checksum", 4000, CSUM, TCP4, 54, 1448, 34, 6, ALL, false },
	{ "no UDP checksum", 4000, CSUM, USO, 42, 1448, 34, 16, ALL, false },
	{ "everything set", 4000, 0xff, 0xff, 0xffff, 0xffff, 0xffff, 0xffff,
	  UINT64_MAX, false },
};

Test(net_header, bug14_headers_of_the_guest_are_sound_or_the_frame_is_dropped)
{
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		const struct virtio_net_hdr_v1 header = {
			.flags = cases[i].flags,
			.gso_type = cases[i].gso_type,
			.hdr_len = cases[i].hdr_len,
			.gso_size = cases[i].gso_size,
			.csum_start = cases[i].csum_start,
			.csum_offset = cases[i].csum_offset,
			.num_buffers = 0xffff,
		};
		struct virtio_net_hdr_v1 clean;

		cr_expect_eq(net_header_from_guest(&header, cases[i].frame,
						   cases[i].features, &clean),
			     cases[i].good, "%s", cases[i].what);
		if (!cases[i].good)
			continue;
		/* Nothing that was not judged goes on. */
		cr_expect_eq(clean.flags, header.flags & CSUM, "%s",
			     cases[i].what);
		cr_expect_eq(clean.num_buffers, 0);
		cr_expect_eq(clean.gso_type, header.gso_type);
		cr_expect_eq(clean.csum_start,
			     clean.flags ? header.csum_start : 0);
		cr_expect_eq(clean.gso_size,
			     clean.gso_type ? header.gso_size : 0);
		cr_expect_eq(clean.hdr_len,
			     clean.gso_type ? header.hdr_len : 0);
	}
}

/* What a host may have in store for a guest that has changed its mind. */
static const struct {
	uint8_t flags, gso_type;
	uint64_t offloads;
	bool good;
	uint8_t flags_after;
} receive_cases[] = {
	{ 0, 0, 0, true, 0 },
	{ VIRTIO_NET_HDR_F_DATA_VALID, 0, 0, true, 0 },
	{ VIRTIO_NET_HDR_F_DATA_VALID, 0, NET_GUEST_OFFLOADS, true,
	  VIRTIO_NET_HDR_F_DATA_VALID },
	{ 0xfc, 0, NET_GUEST_OFFLOADS, true, 0 },
	{ CSUM, 0, 0, false, 0 },
	{ CSUM, 0, NET_FEATURE(GUEST_CSUM), true, CSUM },
	{ CSUM, TCP4, NET_FEATURE(GUEST_CSUM), false, 0 },
	{ CSUM, TCP4, NET_FEATURE(GUEST_CSUM) | NET_FEATURE(GUEST_TSO4), true,
	  CSUM },
	{ CSUM, TCP6, NET_FEATURE(GUEST_CSUM) | NET_FEATURE(GUEST_TSO4), false,
	  0 },
	{ CSUM, TCP4 | ECN, NET_FEATURE(GUEST_CSUM) | NET_FEATURE(GUEST_TSO4),
	  false, 0 },
	{ CSUM, TCP4 | ECN, NET_GUEST_OFFLOADS, true, CSUM },
	{ CSUM, USO, NET_FEATURE(GUEST_CSUM) | NET_FEATURE_GUEST_USO4, false,
	  0 },
	{ CSUM, USO, NET_GUEST_OFFLOADS, true, CSUM },
	{ CSUM, 2, NET_GUEST_OFFLOADS, false, 0 },
};

Test(net_header, a_guest_is_given_what_it_negotiated)
{
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(receive_cases); i++) {
		struct virtio_net_hdr_v1 header = {
			.flags = receive_cases[i].flags,
			.gso_type = receive_cases[i].gso_type,
			.num_buffers = 0xffff,
		};

		cr_expect_eq(net_header_to_guest(&header,
						 receive_cases[i].offloads),
			     receive_cases[i].good, "case %u", i);
		if (receive_cases[i].good) {
			cr_expect_eq(header.flags, receive_cases[i].flags_after,
				     "case %u", i);
			cr_expect_eq(header.num_buffers, 0);
		}
	}
}
