/* SPDX-License-Identifier: Apache-2.0 */
/* The control queue: every command has an answer. */
#include <criterion/criterion.h>
#include <string.h>

#include "tests/unit/devices/net_rig.h"
#include "virtio/mmio.h"

#define BYTES(...) { __VA_ARGS__ }, sizeof((uint8_t[]){ __VA_ARGS__ })

static const struct {
	const char *what;
	uint8_t class, command;
	uint8_t data[40];
	uint32_t len;
	uint8_t answer;
} cases[] = {
	{ "promiscuous", 0, 0, BYTES(1), VIRTIO_NET_OK },
	{ "all multicast", 0, 1, BYTES(0), VIRTIO_NET_OK },
	{ "modes that were not offered", 0, 2, BYTES(1), VIRTIO_NET_ERR },
	{ "unknown mode", 0, 99, BYTES(1), VIRTIO_NET_ERR },
	{ "mode without data", 0, 0, { 0 }, 0, VIRTIO_NET_ERR },
	{ "mode with too much", 0, 0, BYTES(1, 1), VIRTIO_NET_ERR },
	{ "no addresses", 1, 0, BYTES(0, 0, 0, 0, 0, 0, 0, 0), VIRTIO_NET_OK },
	{ "an address each", 1, 0,
	  BYTES(1, 0, 0, 0, 2, 0, 0, 0, 0, 1, 1, 0, 0, 0, 1, 0, 94, 0, 0, 1),
	  VIRTIO_NET_OK },
	{ "more than there are", 1, 0,
	  BYTES(2, 0, 0, 0, 2, 0, 0, 0, 0, 1, 0, 0, 0, 0), VIRTIO_NET_ERR },
	{ "2^32 - 1 addresses", 1, 0, BYTES(0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0),
	  VIRTIO_NET_ERR },
	{ "one list", 1, 0, BYTES(0, 0, 0, 0), VIRTIO_NET_ERR },
	{ "half a count", 1, 0, BYTES(0, 0, 0, 0, 0, 0), VIRTIO_NET_ERR },
	{ "bytes behind the lists", 1, 0, BYTES(0, 0, 0, 0, 0, 0, 0, 0, 9),
	  VIRTIO_NET_ERR },
	{ "short address", 1, 1, BYTES(2, 0, 0, 0, 0), VIRTIO_NET_ERR },
	{ "long address", 1, 1, BYTES(2, 0, 0, 0, 0, 0, 0), VIRTIO_NET_ERR },
	{ "unknown of class 1", 1, 2, BYTES(0), VIRTIO_NET_ERR },
	{ "VLAN, not offered", 2, 0, BYTES(1, 0), VIRTIO_NET_ERR },
	{ "announcement, not offered", 3, 0, { 0 }, 0, VIRTIO_NET_ERR },
	{ "no pairs", 4, 0, BYTES(0, 0), VIRTIO_NET_ERR },
	{ "one pair", 4, 0, BYTES(1, 0), VIRTIO_NET_OK },
	{ "both pairs", 4, 0, BYTES(2, 0), VIRTIO_NET_OK },
	{ "three pairs", 4, 0, BYTES(3, 0), VIRTIO_NET_ERR },
	{ "257 pairs", 4, 0, BYTES(1, 1), VIRTIO_NET_ERR },
	{ "pairs in a byte", 4, 0, BYTES(1), VIRTIO_NET_ERR },
	{ "RSS, not offered", 4, 1, BYTES(0, 0), VIRTIO_NET_ERR },
	{ "no offloads", 5, 0, BYTES(0, 0, 0, 0, 0, 0, 0, 0), VIRTIO_NET_OK },
	{ "checksums", 5, 0, BYTES(2, 0, 0, 0, 0, 0, 0, 0), VIRTIO_NET_OK },
	{ "offloads of the host's", 5, 0, BYTES(1, 0, 0, 0, 0, 0, 0, 0),
	  VIRTIO_NET_ERR },
	{ "UFO, not negotiated", 5, 0, BYTES(0, 4, 0, 0, 0, 0, 0, 0),
	  VIRTIO_NET_ERR },
	{ "offloads in 4 bytes", 5, 0, BYTES(0, 0, 0, 0), VIRTIO_NET_ERR },
	{ "unknown class", 6, 0, BYTES(0, 0), VIRTIO_NET_ERR },
	{ "unknown class", 255, 255, BYTES(0, 0), VIRTIO_NET_ERR },
};

Test(virtio_net_control, bug08_each_command_is_answered_for_what_it_is)
{
	struct net_rig rig = {
		.pairs = 2,
		.features = NET_RIG_OFFLOADS & ~NET_FEATURE(GUEST_UFO),
	};
	unsigned int i;

	net_rig_start(&rig);
	for (i = 0; i < ARRAY_SIZE(cases); i++)
		cr_expect_eq(net_rig_control(&rig, cases[i].class,
					     cases[i].command, cases[i].data,
					     cases[i].len),
			     cases[i].answer, "%s", cases[i].what);
	cr_expect_eq(rig.fake.offloads, NET_FEATURE(GUEST_CSUM));
	net_rig_destroy(&rig);
}

Test(virtio_net_control, nothing_is_done_that_was_not_negotiated)
{
	struct net_rig rig = {
		.pairs = 2,
		.features = NET_RIG_OFFLOADS,
		.refused_features = NET_FEATURE(CTRL_RX) |
				    NET_FEATURE(CTRL_MAC_ADDR) |
				    NET_FEATURE(CTRL_GUEST_OFFLOADS),
	};
	static const uint8_t mac[6] = { 2, 9, 9, 9, 9, 9 };

	net_rig_start(&rig);
	cr_expect_eq(net_rig_control(&rig, 0, 0, "\1", 1), VIRTIO_NET_ERR);
	cr_expect_eq(net_rig_control(&rig, 1, 0, "\0\0\0\0\0\0\0\0", 8),
		     VIRTIO_NET_ERR);
	cr_expect_eq(net_rig_control(&rig, 1, 1, mac, 6), VIRTIO_NET_ERR);
	cr_expect_eq(net_rig_control(&rig, 5, 0, "\0\0\0\0\0\0\0\0", 8),
		     VIRTIO_NET_ERR);
	net_rig_destroy(&rig);
}

Test(virtio_net_control, mac_changes_until_the_next_reset)
{
	static const uint8_t mac[6] = { 2, 9, 8, 7, 6, 5 };
	static const uint8_t own[6] = { 2, 1, 2, 3, 4, 5 };
	struct net_rig rig = { 0 };
	struct virtio_net_config config;

	net_rig_start(&rig);
	cr_expect_eq(net_rig_control(&rig, 1, 1, mac, 6), VIRTIO_NET_OK);
	config = net_rig_config(&rig);
	cr_expect_arr_eq(config.mac, mac, 6);
	net_rig_write(&rig, VIRTIO_MMIO_STATUS, 0);
	config = net_rig_config(&rig);
	cr_expect_arr_eq(config.mac, own, 6);
	net_rig_destroy(&rig);
}

/* Chains that are no command: completed, so that nobody spins for ever. */
static const struct {
	const char *what;
	unsigned int count;
	struct driver_buffer buffers[3];
	uint32_t written;
} odd_cases[] = {
	{ "no answer wanted", 1, { { IOVA(NET_RIG_SLOT(2)), 3, false } }, 0 },
	{ "an answer outside RAM",
	  2,
	  { { IOVA(NET_RIG_SLOT(2)), 3, false },
	    { IOVA(NET_RIG_RAM), 1, true } },
	  0 },
	{ "no command", 1, { { IOVA(NET_RIG_SLOT(2) + 32), 1, true } }, 1 },
	{ "half a header",
	  2,
	  { { IOVA(NET_RIG_SLOT(2)), 1, false },
	    { IOVA(NET_RIG_SLOT(2) + 32), 1, true } },
	  1 },
	{ "a command outside RAM",
	  2,
	  { { IOVA(NET_RIG_RAM), 3, false },
	    { IOVA(NET_RIG_SLOT(2) + 32), 1, true } },
	  1 },
	{ "data outside RAM",
	  3,
	  { { IOVA(NET_RIG_SLOT(2)), 2, false },
	    { IOVA(NET_RIG_RAM), 1, false },
	    { IOVA(NET_RIG_SLOT(2) + 32), 1, true } },
	  1 },
};

Test(virtio_net_control, bug08_chains_that_are_no_command_are_completed)
{
	struct net_rig rig = { 0 };
	unsigned int i;

	net_rig_start(&rig);
	for (i = 0; i < ARRAY_SIZE(odd_cases); i++) {
		uint8_t *slot = net_rig_host(&rig, NET_RIG_SLOT(2));
		uint32_t written;
		uint16_t head;

		memset(slot, 0, 8);
		slot[32] = 0xee;
		net_rig_submit(&rig, 2, odd_cases[i].buffers,
			       odd_cases[i].count);
		cr_assert(net_rig_wait(&rig, 2, &head, &written), "%s",
			  odd_cases[i].what);
		cr_expect_eq(written, odd_cases[i].written, "%s",
			     odd_cases[i].what);
		cr_expect_eq(slot[32],
			     odd_cases[i].written ? VIRTIO_NET_ERR : 0xee, "%s",
			     odd_cases[i].what);
	}
	cr_expect_eq(net_rig_control(&rig, 0, 0, "\1", 1), VIRTIO_NET_OK);
	net_rig_destroy(&rig);
}
