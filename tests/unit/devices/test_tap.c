/* SPDX-License-Identifier: Apache-2.0 */
#include "devices/tap.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <net/if.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "devices/error.h"
#include "devices/log.h"
#include "tests/unit/devices/net_namespace.h"
#include "tests/unit/devices/net_rig.h"
#include "virtio/mmio.h"

static struct error error;
static int fds[TAP_QUEUES_MAX];

static void expect_refusal(const char *name, bool create, unsigned int queues,
			   enum exit_status status, const char *part)
{
	int none[TAP_QUEUES_MAX];

	cr_expect_eq(tap_open(name, create, 0, queues, none, &error), -1, "%s",
		     name);
	cr_expect_eq(error.status, status, "%s", error.text);
	cr_expect(strstr(error.text, part), "\"%s\" without \"%s\"", error.text,
		  part);
}

Test(tap, is_made_brought_up_and_goes_with_its_descriptor)
{
	namespace_enter();
	cr_assert_eq(tap_open("fresh", true, 9000, 1, fds, &error), 0, "%s",
		     error.text);
	cr_expect_neq(if_nametoindex("fresh"), 0);
	cr_expect_eq(tap_mtu(fds[0]), 9000);
	cr_expect(tap_is_up(fds[0]));
	namespace_ip("link show fresh up | grep -q UP");
	expect_refusal("fresh", true, 1, EXIT_STATUS_HOST,
		       "fresh: is there already");
	close(fds[0]);
	cr_expect_eq(if_nametoindex("fresh"), 0);
}

Test(tap, what_is_missing_is_said_with_how_to_mend_it)
{
	namespace_enter();
	expect_refusal("gone", false, 1, EXIT_STATUS_HOST,
		       "gone: no such interface; mend it with: sudo ip tuntap "
		       "add gone mode tap user ");
	cr_expect_eq(if_nametoindex("gone"), 0, "it was not made");
	expect_refusal("gone", false, 2, EXIT_STATUS_HOST,
		       "mode tap multi_queue user ");
	expect_refusal("lo", false, 1, EXIT_STATUS_HOST, "lo: is no tap");
	expect_refusal("a-name-of-16-byt", false, 1, EXIT_STATUS_CONFIGURATION,
		       "is no interface's name");
	expect_refusal("", false, 1, EXIT_STATUS_CONFIGURATION, "is no");
	expect_refusal("a/b", true, 1, EXIT_STATUS_CONFIGURATION, "is no");
	expect_refusal("a%d", true, 1, EXIT_STATUS_CONFIGURATION, "is no");
	namespace_ip("tuntap add single mode tap");
	expect_refusal("single", false, 2, EXIT_STATUS_HOST,
		       "was not made for several queues");
	cr_assert_eq(tap_open("single", false, 0, 1, fds, &error), 0, "%s",
		     error.text);
	expect_refusal("single", false, 1, EXIT_STATUS_HOST,
		       "single: another program has it open");
	close(fds[0]);
	namespace_ip("tuntap add several mode tap multi_queue");
	cr_assert_eq(tap_open("several", false, 0, 1, fds, &error), 0, "%s",
		     error.text);
	close(fds[0]);
}

static void tap_create(struct tap *tap, unsigned int queues)
{
	namespace_enter();
	cr_assert_eq(tap_open("t0", true, 0, queues, fds, &error), 0, "%s",
		     error.text);
	tap_init(tap, fds, queues);
}

Test(tap, frames_pass_through_the_device_both_ways)
{
	static const size_t sizes[] = { 60, 1514, 300, 1000 };
	struct net_rig rig = { 0 };
	uint8_t frame[2000];
	struct tap tap;
	uint32_t written;
	uint16_t head;
	unsigned int i;
	int host;

	tap_create(&tap, 1);
	rig.other = &tap.backend;
	net_rig_start(&rig);
	cr_expect(rig.net.device.offered & NET_FEATURE(HOST_TSO4));
	cr_expect(rig.net.device.offered & NET_FEATURE(GUEST_TSO6));
	cr_expect(rig.net.device.offered &
		  (NET_FEATURE_HOST_USO | NET_FEATURE(HOST_UFO)));
	host = namespace_socket("t0");
	for (i = 0; i < ARRAY_SIZE(sizes); i++) {
		const struct virtio_net_hdr_v1 header = { 0 };

		namespace_frame(net_rig_host(&rig, NET_RIG_SLOT(0)), sizes[i],
				i);
		net_rig_send(&rig, 0, &header, (uint32_t)sizes[i]);
		cr_expect(namespace_expect(host, sizes[i], i));
		net_rig_post(&rig, 0, NET_RIG_SLOT(4), 2048);
		namespace_frame(frame, sizes[i], i + 50);
		cr_assert_eq(send(host, frame, sizes[i], 0), (ssize_t)sizes[i]);
		cr_assert(net_rig_wait(&rig, 0, &head, &written));
		cr_expect_eq(written, sizes[i] + 12);
		cr_expect_eq(
			memcmp((uint8_t *)net_rig_host(&rig, NET_RIG_SLOT(4)) +
				       12,
			       frame, sizes[i]),
			0);
	}
	cr_expect_eq(virtio_net_count(&rig.net).errors, 0);
	net_rig_destroy(&rig);
	close(host);
}

static uint16_t folded(uint32_t sum)
{
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)sum;
}

static uint32_t words(const uint8_t *bytes, size_t len)
{
	uint32_t sum = 0;
	size_t i;

	for (i = 0; i < len; i += 2)
		sum += (uint32_t)(bytes[i] << 8 | bytes[i + 1]);
	return sum;
}

static void put_word(uint8_t *bytes, unsigned int value)
{
	bytes[0] = (uint8_t)(value >> 8);
	bytes[1] = (uint8_t)value;
}

#define UDP_PORT 12345
#define UDP_PAYLOAD 42

/*
 * A UDP packet over IPv4, 10.9.9.2 to 10.9.9.1, of @bytes (even) of payload, whose
 * checksum somebody else has to complete: the pseudo header's sum alone is there.
 */
static void udp_frame(uint8_t *frame, unsigned int bytes)
{
	static const uint8_t head[UDP_PAYLOAD] = {
		0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2,	0, 0,	 0, 0,	1,
		8,    0,    0x45, 0,	0,    0,    0,	0, 0x40, 0, 64, 17,
		0,    0,    10,	  9,	9,    2,    10, 9, 9,	 1,
	};

	memcpy(frame, head, sizeof(head));
	put_word(frame + 16, 28 + bytes);
	put_word(frame + 24, (uint16_t)~folded(words(frame + 14, 20)));
	put_word(frame + 34, UDP_PORT);
	put_word(frame + 36, UDP_PORT);
	put_word(frame + 38, 8 + bytes);
	put_word(frame + 40, folded(words(frame + 26, 8) + 17 + 8 + bytes));
	net_rig_fill(frame + UDP_PAYLOAD, bytes, 3);
}

static int udp_socket(void)
{
	const struct sockaddr_in address = {
		.sin_family = AF_INET,
		.sin_port = htons(UDP_PORT),
	};
	const struct timeval patience = { .tv_sec = 5 };
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	cr_assert_eq(bind(fd, (const struct sockaddr *)&address,
			  sizeof(address)),
		     0);
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	return fd;
}

Test(tap, the_host_completes_checksums_and_cuts_segments)
{
	struct virtio_net_hdr_v1 header = {
		.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM,
		.csum_start = 34,
		.csum_offset = 6,
	};
	struct net_rig rig = { 0 };
	uint8_t datagram[2000];
	struct tap tap;
	unsigned int i;
	int host;

	tap_create(&tap, 1);
	namespace_ip("addr add 10.9.9.1/24 dev t0");
	host = udp_socket();
	rig.other = &tap.backend;
	net_rig_start(&rig);
	udp_frame(net_rig_host(&rig, NET_RIG_SLOT(0)), 100);
	net_rig_send(&rig, 0, &header, UDP_PAYLOAD + 100);
	cr_expect_eq(recv(host, datagram, sizeof(datagram), 0), 100);
	cr_expect(net_rig_holds(datagram, 100, 3, 0));
	/* Without the offload the sum is wrong, as it should be. */
	header.flags = 0;
	net_rig_send(&rig, 0, &header, UDP_PAYLOAD + 100);
	usleep(20000);
	cr_expect_eq(recv(host, datagram, sizeof(datagram), MSG_DONTWAIT), -1);

	if (rig.net.device.offered & NET_FEATURE_HOST_USO) {
		header.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM;
		header.gso_type = NET_GSO_UDP_L4;
		header.gso_size = 400;
		header.hdr_len = UDP_PAYLOAD;
		udp_frame(net_rig_host(&rig, NET_RIG_SLOT(0)), 1600);
		net_rig_send(&rig, 0, &header, UDP_PAYLOAD + 1600);
		for (i = 0; i < 4; i++) {
			cr_expect_eq(recv(host, datagram, sizeof(datagram), 0),
				     400);
			cr_expect(net_rig_holds(datagram, 400, 3, 400 * i));
		}
	}
	net_rig_destroy(&rig);
	close(host);
}

Test(tap, pairs_that_are_not_in_use_get_nothing)
{
	struct net_rig rig = { .pairs = 2 };
	struct virtio_net_ctrl_mq pairs;
	const struct virtio_net_hdr_v1 header = { 0 };
	uint8_t frame[100];
	struct tap tap;
	uint32_t written;
	uint16_t head;
	unsigned int round, i, came;
	int host;

	log_open(-1, LOG_LEVEL_ERROR);
	tap_create(&tap, 2);
	rig.other = &tap.backend;
	net_rig_start(&rig);
	cr_expect_eq(tap.attached, 1);
	host = namespace_socket("t0");
	for (i = 0; i < 60; i++) {
		net_rig_post(&rig, 0, NET_RIG_SLOT(4 + i), 2048);
		net_rig_post(&rig, 1, NET_RIG_SLOT(70 + i), 2048);
	}
	for (round = 0; round < 100; round++) {
		pairs.virtqueue_pairs = (uint16_t)(2 - round % 2);
		cr_assert_eq(net_rig_control(&rig, VIRTIO_NET_CTRL_MQ, 0,
					     &pairs, 2),
			     VIRTIO_NET_OK);
		net_rig_send(&rig, 0, &header, 60);
		if (round % 2 == 0)
			continue;
		namespace_frame(frame, 100, round);
		cr_assert_eq(send(host, frame, 100, 0), 100);
		cr_assert(net_rig_wait(&rig, 0, &head, &written));
		cr_expect_eq(written, 112);
		net_rig_post(&rig, 0, NET_RIG_SLOT(4), 2048);
	}
	cr_expect_eq(net_rig_config(&rig).status, VIRTIO_NET_S_LINK_UP,
		     "a detached queue is not a tap that is gone");
	/* With both, the kernel spreads flows: all frames come somewhere. */
	pairs.virtqueue_pairs = 2;
	net_rig_control(&rig, VIRTIO_NET_CTRL_MQ, 0, &pairs, 2);
	for (i = 0; i < 40; i++) {
		namespace_frame(frame, 100, i);
		frame[6 + 5] = (uint8_t)i;
		cr_assert_eq(send(host, frame, 100, 0), 100);
	}
	for (i = 0, came = 0; i < 20000 && came < 40; i++) {
		came += driver_take_used(&rig.drivers[0], &head, &written);
		came += driver_take_used(&rig.drivers[2], &head, &written);
		usleep(100);
	}
	cr_expect_eq(came, 40);
	net_rig_destroy(&rig);
	close(host);
}

Test(tap, bug15_tap_that_is_deleted_takes_the_link_down)
{
	const struct virtio_net_hdr_v1 header = { 0 };
	struct net_rig rig = { .pairs = 2 };
	struct tap tap;

	log_open(-1, LOG_LEVEL_ERROR);
	tap_create(&tap, 2);
	rig.other = &tap.backend;
	net_rig_start(&rig);
	net_rig_send(&rig, 0, &header, 60);
	namespace_ip("link del t0");
	/* The receiver waits for buffers; the transmitter finds it out. */
	net_rig_send(&rig, 0, &header, 60);
	cr_expect(net_rig_eventually(net_rig_link_is_down, &rig));
	net_rig_send(&rig, 0, &header, 60);
	cr_expect_eq(net_rig_control(&rig, VIRTIO_NET_CTRL_RX, 0, "\1", 1),
		     VIRTIO_NET_OK);
	net_rig_write(&rig, VIRTIO_MMIO_STATUS, 0);
	net_rig_negotiate(&rig);
	net_rig_send(&rig, 0, &header, 60);
	cr_expect_eq(net_rig_config(&rig).status, 0);
	net_rig_destroy(&rig);
}

Test(tap, bug15_receiver_that_waits_finds_out_that_the_tap_is_gone)
{
	struct net_rig rig = { 0 };
	struct tap tap;

	log_open(-1, LOG_LEVEL_ERROR);
	tap_create(&tap, 1);
	rig.other = &tap.backend;
	net_rig_start(&rig);
	net_rig_post(&rig, 0, NET_RIG_SLOT(4), 2048);
	usleep(10000);
	namespace_ip("link del t0");
	cr_expect(net_rig_eventually(net_rig_link_is_down, &rig));
	net_rig_destroy(&rig);
}

Test(tap, that_is_down_loses_frames_and_not_the_link)
{
	const struct virtio_net_hdr_v1 header = { 0 };
	struct net_rig rig = { 0 };
	struct tap tap;

	log_open(-1, LOG_LEVEL_ERROR);
	tap_create(&tap, 1);
	namespace_ip("link set t0 down");
	cr_expect_not(tap_is_up(fds[0]));
	rig.other = &tap.backend;
	net_rig_start(&rig);
	net_rig_post(&rig, 0, NET_RIG_SLOT(4), 2048);
	net_rig_send(&rig, 0, &header, 60);
	cr_expect_eq(virtio_net_count(&rig.net).errors, 1);
	cr_expect_eq(net_rig_config(&rig).status, VIRTIO_NET_S_LINK_UP);
	namespace_ip("link set t0 up");
	net_rig_send(&rig, 0, &header, 60);
	cr_expect_eq(virtio_net_count(&rig.net).errors, 1);
	net_rig_destroy(&rig);
}

Test(tap, offloads_follow_the_guest)
{
	static const uint64_t wishes[] = {
		0,
		NET_FEATURE(GUEST_TSO4), /* means nothing alone */
		NET_FEATURE(GUEST_CSUM),
		NET_FEATURE(GUEST_CSUM) | NET_FEATURE(GUEST_TSO4) |
			NET_FEATURE(GUEST_ECN),
		NET_FEATURE(GUEST_CSUM) | NET_FEATURE_GUEST_USO4,
	};
	struct tap tap;
	unsigned int i;

	tap_create(&tap, 1);
	for (i = 0; i < ARRAY_SIZE(wishes); i++)
		cr_expect_eq(tap.backend.ops->set_offloads(&tap.backend,
							   wishes[i]),
			     0, "case %u", i);
	cr_expect_eq(tap.backend.ops->set_offloads(&tap.backend,
						   tap.backend.features &
							   NET_GUEST_OFFLOADS),
		     0);
	tap.backend.ops->destroy(&tap.backend);
}
