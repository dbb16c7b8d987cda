/* SPDX-License-Identifier: Apache-2.0 */
/* The network device as a whole: what it offers, link, queues, reset. */
#include <criterion/criterion.h>
#include <errno.h>
#include <linux/virtio_ids.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "devices/log.h"
#include "tests/unit/devices/net_rig.h"
#include "virtio/mmio.h"

Test(virtio_net, offers_what_the_backend_can_do)
{
	struct net_rig poor = { 0 };
	struct net_rig rich = { .pairs = 3,
				.mtu = 9000,
				.features = NET_RIG_OFFLOADS };
	struct virtio_net_config config;

	net_rig_create(&poor);
	cr_expect_eq(net_rig_read(&poor, VIRTIO_MMIO_DEVICE_ID), VIRTIO_ID_NET);
	cr_expect_eq(poor.net.device.offered,
		     VIRTIO_FEATURE_VERSION_1 | VIRTIO_FEATURE_INDIRECT_DESC |
			     VIRTIO_FEATURE_EVENT_IDX | NET_FEATURE(MAC) |
			     NET_FEATURE(STATUS) | NET_FEATURE(MRG_RXBUF) |
			     NET_FEATURE(CTRL_VQ) | NET_FEATURE(CTRL_RX) |
			     NET_FEATURE(CTRL_MAC_ADDR));
	cr_expect_eq(poor.net.device.queue_count, 3);
	config = net_rig_config(&poor);
	cr_expect_arr_eq(config.mac, ((uint8_t[]){ 2, 1, 2, 3, 4, 5 }), 6);
	cr_expect_eq(config.status, VIRTIO_NET_S_LINK_UP);
	cr_expect_eq(config.max_virtqueue_pairs, 1);
	net_rig_destroy(&poor);

	net_rig_create(&rich);
	cr_expect_eq(rich.net.device.offered & NET_RIG_OFFLOADS,
		     NET_RIG_OFFLOADS);
	cr_expect(rich.net.device.offered & NET_FEATURE(MTU));
	cr_expect(rich.net.device.offered & NET_FEATURE(MQ));
	cr_expect(rich.net.device.offered & NET_FEATURE(CTRL_GUEST_OFFLOADS));
	cr_expect_eq(rich.net.device.queue_count, 7);
	config = net_rig_config(&rich);
	cr_expect_eq(config.max_virtqueue_pairs, 3);
	cr_expect_eq(config.mtu, 9000);
	net_rig_destroy(&rich);
}

Test(virtio_net, threads_are_named_after_their_queues)
{
	static const char *const one[] = { "net.eth0.rx", "net.eth0.tx",
					   "net.eth0.ctrl" };
	static const char *const two[] = { "net.eth0.rx.0", "net.eth0.tx.0",
					   "net.eth0.rx.1", "net.eth0.tx.1",
					   "net.eth0.ctrl" };
	struct net_rig rig = { 0 }, multi = { .pairs = 2 };
	unsigned int i;

	net_rig_start(&rig);
	cr_assert_eq(rig.threads.count, 3);
	for (i = 0; i < 3; i++)
		cr_expect_str_eq(rig.threads.list[i]->name, one[i]);
	net_rig_destroy(&rig);
	net_rig_start(&multi);
	cr_assert_eq(multi.threads.count, 5);
	for (i = 0; i < 5; i++)
		cr_expect_str_eq(multi.threads.list[i]->name, two[i]);
	net_rig_destroy(&multi);
}

Test(virtio_net, frames_pass_both_ways_and_are_counted)
{
	struct net_rig rig = { 0 };
	struct virtio_net_counters counters;

	net_rig_start(&rig);
	cr_expect(net_rig_is_alive(&rig));
	counters = virtio_net_count(&rig.net);
	cr_expect_eq(counters.requests, 2);
	cr_expect_eq(counters.errors, 0);
	cr_expect_eq(counters.bytes_read, 64);
	cr_expect_eq(counters.bytes_written, 60);
	cr_expect_gt(rig.interrupts, 0);
	net_rig_destroy(&rig);
}

Test(virtio_net, works_without_any_optional_feature)
{
	struct net_rig rig = { .refused_features = ~VIRTIO_FEATURE_VERSION_1,
			       .features = NET_RIG_OFFLOADS };

	net_rig_start(&rig);
	cr_expect_eq(rig.fake.offloads, 0);
	cr_expect(net_rig_is_alive(&rig));
	cr_expect(net_rig_is_alive(&rig));
	net_rig_destroy(&rig);
}

Test(virtio_net, backend_that_is_gone_takes_the_link_down_and_the_device_lives)
{
	const struct virtio_net_hdr_v1 header = { 0 };
	struct net_rig rig = { 0 };
	unsigned int before;
	uint64_t errors;

	log_open(-1, LOG_LEVEL_ERROR);
	net_rig_start(&rig);
	cr_assert(net_rig_is_alive(&rig));
	net_rig_post(&rig, 0, NET_RIG_SLOT(3), 2048);
	before = net_rig_read(&rig, VIRTIO_MMIO_CONFIG_GENERATION);
	shutdown(rig.fake.peers[0], SHUT_RDWR);
	cr_assert(net_rig_eventually(net_rig_link_is_down, &rig));
	cr_expect_eq(net_rig_read(&rig, VIRTIO_MMIO_CONFIG_GENERATION),
		     before + 1, "told once");
	cr_expect(net_rig_read(&rig, VIRTIO_MMIO_INTERRUPT_STATUS) &
		  VIRTIO_INTERRUPT_CONFIG);
	errors = virtio_net_count(&rig.net).errors;
	net_rig_send(&rig, 0, &header, 60);
	net_rig_send(&rig, 0, &header, 60);
	cr_expect_eq(virtio_net_count(&rig.net).errors, errors + 2);
	cr_expect(net_rig_is_quiet(&rig, NET_RIG_RX(0)));
	cr_expect_eq(net_rig_control(&rig, VIRTIO_NET_CTRL_RX, 0, "\1", 1),
		     VIRTIO_NET_OK);
	/* Down until the next start of the VM. */
	net_rig_write(&rig, VIRTIO_MMIO_STATUS, 0);
	net_rig_negotiate(&rig);
	cr_expect_eq(net_rig_config(&rig).status, 0);
	net_rig_send(&rig, 0, &header, 60);
	cr_expect_eq(net_rig_read(&rig, VIRTIO_MMIO_STATUS), 15);
	net_rig_destroy(&rig);
}

Test(virtio_net, bug15_backend_that_is_gone_costs_no_processor_time)
{
	struct net_rig rig = { 0 };
	unsigned int before;

	log_open(-1, LOG_LEVEL_ERROR);
	net_rig_start(&rig);
	shutdown(rig.fake.peers[0], SHUT_RDWR);
	net_rig_post(&rig, 0, NET_RIG_SLOT(3), 2048);
	cr_assert(net_rig_eventually(net_rig_link_is_down, &rig));
	before = rig.fake.receives;
	usleep(50000);
	cr_expect_eq(rig.fake.receives, before, "nobody polls it");
	net_rig_destroy(&rig);
}

Test(virtio_net, bug04_reset_in_the_midst_of_traffic_and_everything_works_again)
{
	const struct virtio_net_hdr_v1 header = { 0 };
	const struct driver_buffer out[] = {
		{ IOVA(NET_RIG_SLOT(1)), sizeof(header), false },
		{ IOVA(NET_RIG_SLOT(0)), 1000, false },
	};
	struct net_rig rig = { .features = NET_RIG_OFFLOADS };
	struct virtio_net_hdr_v1 taken;
	unsigned int round, i;
	uint8_t frame[2000];

	net_rig_start(&rig);
	memset(net_rig_host(&rig, NET_RIG_SLOT(1)), 0, sizeof(header));
	for (round = 0; round < 30; round++) {
		for (i = 0; i < 20; i++) {
			net_rig_post(&rig, 0, NET_RIG_SLOT(4 + i), 2048);
			net_rig_give(&rig, 0, NULL, 1000, i);
			net_rig_submit(&rig, NET_RIG_TX(0), out, 2);
		}
		if (round % 2)
			usleep(200);
		net_rig_write(&rig, VIRTIO_MMIO_STATUS, 0);
		cr_expect_eq(net_rig_read(&rig, VIRTIO_MMIO_STATUS), 0);
		/* Nothing is written any more. */
		for (i = 0; i < 20; i++)
			memset(net_rig_host(&rig, NET_RIG_SLOT(4 + i)), 0xee,
			       2048);
		while (net_rig_take(&rig, 0, &taken, frame, sizeof(frame)) >= 0)
			;
		for (i = 0; i < 20; i++)
			cr_expect_eq(*(uint8_t *)net_rig_host(
					     &rig, NET_RIG_SLOT(4 + i)),
				     0xee);
		net_rig_negotiate(&rig);
		/* What was not fetched. */
		for (i = 0; i < 20; i++)
			net_rig_post(&rig, 0, NET_RIG_SLOT(4 + i), 2048);
		usleep(1000);
		while (driver_take_used(&rig.drivers[0], &(uint16_t){ 0 },
					&(uint32_t){ 0 }))
			;
	}
	net_rig_write(&rig, VIRTIO_MMIO_STATUS, 0);
	net_rig_negotiate(&rig);
	cr_expect(net_rig_is_alive(&rig));
	net_rig_destroy(&rig);
}

Test(virtio_net, bug06_broken_ring_needs_a_reset_and_works_after_it)
{
	struct net_rig rig = { .pairs = 2 };
	unsigned int queue;
	uint16_t *available;

	net_rig_start(&rig);
	for (queue = 0; queue < 5; queue++) {
		/* Receivers look at their ring when there is a frame. */
		if (queue == 0)
			net_rig_give(&rig, 0, NULL, 64, 2);
		if (queue == 2)
			continue;
		available = driver_ring(&rig.drivers[queue], QUEUE_AVAILABLE);
		__atomic_store_n(&available[1], 1000, __ATOMIC_RELEASE);
		net_rig_write(&rig, VIRTIO_MMIO_QUEUE_NOTIFY, queue);
		cr_expect(net_rig_eventually(net_rig_needs_reset, &rig));
		net_rig_write(&rig, VIRTIO_MMIO_STATUS, 0);
		net_rig_negotiate(&rig);
	}
	net_rig_post(&rig, 0, NET_RIG_SLOT(3), 2048);
	cr_expect(net_rig_wait(&rig, 0, &(uint16_t){ 0 }, &(uint32_t){ 0 }),
		  "the frame was not lost");
	cr_expect(net_rig_is_alive(&rig));
	net_rig_destroy(&rig);
}

/* The pairs of a device with two, one frame each way. */
static void pair_works(struct net_rig *rig, unsigned int pair)
{
	const struct virtio_net_hdr_v1 header = { 0 };
	struct virtio_net_hdr_v1 taken;
	uint8_t frame[100];
	uint32_t written;
	uint16_t head;

	net_rig_send(rig, pair, &header, 60);
	cr_expect_eq(net_rig_take(rig, pair, &taken, frame, sizeof(frame)), 60);
	net_rig_post(rig, pair, NET_RIG_SLOT(3), 2048);
	net_rig_give(rig, pair, NULL, 64, pair);
	cr_assert(net_rig_wait(rig, NET_RIG_RX(pair), &head, &written));
	cr_expect_eq(written, 76);
}

Test(virtio_net, second_pair_waits_for_the_driver_to_ask_for_it)
{
	const struct virtio_net_hdr_v1 header = { 0 };
	struct net_rig rig = { .pairs = 2 };
	struct virtio_net_ctrl_mq pairs = { .virtqueue_pairs = 2 };
	unsigned int round;

	net_rig_start(&rig);
	cr_expect_eq(rig.fake.pairs, 1);
	for (round = 0; round < 5; round++) {
		pairs.virtqueue_pairs = 2;
		cr_assert_eq(net_rig_control(&rig, VIRTIO_NET_CTRL_MQ, 0,
					     &pairs, 2),
			     VIRTIO_NET_OK);
		cr_expect_eq(rig.fake.pairs, 2);
		pair_works(&rig, 1);
		pair_works(&rig, 0);
		pairs.virtqueue_pairs = 1;
		cr_assert_eq(net_rig_control(&rig, VIRTIO_NET_CTRL_MQ, 0,
					     &pairs, 2),
			     VIRTIO_NET_OK);
		cr_expect_eq(rig.fake.pairs, 1);
		/* Completed, and dropped. */
		net_rig_send(&rig, 1, &header, 60);
		pair_works(&rig, 0);
	}
	cr_expect_eq(virtio_net_count(&rig.net).errors, 5);
	net_rig_destroy(&rig);
}

Test(virtio_net, driver_without_mq_finds_the_control_queue_behind_one_pair)
{
	struct net_rig rig = { .pairs = 2,
			       .refused_features = NET_FEATURE(MQ) };

	net_rig_start(&rig);
	cr_expect_eq(net_rig_control(&rig, VIRTIO_NET_CTRL_RX, 0, "\1", 1),
		     VIRTIO_NET_OK);
	cr_expect_eq(net_rig_control(&rig, VIRTIO_NET_CTRL_MQ, 0, "\2\0", 2),
		     VIRTIO_NET_ERR);
	cr_expect(net_rig_is_alive(&rig));
	net_rig_destroy(&rig);
}

Test(virtio_net, device_without_threads_can_be_destroyed)
{
	const struct guest_memory_range ram = { 0, MIB };
	const struct virtio_net_options options = { .name = "a" };
	struct fake_backend *fake = calloc(1, sizeof(*fake));
	struct guest_memory memory;
	struct net_rig rig = { .pairs = 1 };
	struct virtio_net net;

	/* The rig's backend, without the rig. */
	net_rig_create(&rig);
	*fake = rig.fake;
	fake->fds[0] = dup(rig.fake.fds[0]);
	cr_assert_eq(guest_memory_init(&memory, &ram, 1,
				       GUEST_MEMORY_SMALL_PAGES),
		     0);
	cr_assert_eq(virtio_net_init(&net, &options, &fake->backend, &memory,
				     -1),
		     0);
	virtio_net_destroy(&net);
	guest_memory_destroy(&memory);
	free(fake);
	net_rig_destroy(&rig);
}
