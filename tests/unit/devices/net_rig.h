/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A network device with a well-behaved driver in front of it, which tests then
 * make misbehave, and a backend of socket pairs behind it: each message is a
 * virtio header and a frame, as with a tap, and the test has the other ends.
 * Guest RAM is NET_RIG_RAM bytes at 0: the rings first, then room for frames.
 */
#ifndef TESTS_UNIT_DEVICES_NET_RIG_H
#define TESTS_UNIT_DEVICES_NET_RIG_H

#include <stdbool.h>
#include <stdint.h>

#include "devices/virtio_net.h"
#include "devices/virtio_net_queue.h"
#include "memory/base.h"
#include "memory/guest_memory.h"
#include "virtio/driver.h"

#define NET_RIG_PAIRS_MAX 4
#define NET_RIG_QUEUES_MAX (2 * NET_RIG_PAIRS_MAX + 1)
#define NET_RIG_RAM (32 * MIB)
#define NET_RIG_DRIVER_BYTES (1 * MIB) /* rings and tables of one queue */
#define NET_RIG_SIZE 64 /* entries of each queue */
/* Room that tests use as they like, 128 KiB a slot. */
#define NET_RIG_SLOT(n) (12 * MIB + 128 * KIB * (n))

#define NET_RIG_TIMEOUT_MS 20000

/* Everything that a tap can offer. */
#define NET_RIG_OFFLOADS (NET_HOST_OFFLOADS | NET_GUEST_OFFLOADS)

struct fake_backend {
	struct net_backend backend;
	int fds[NET_RIG_PAIRS_MAX]; /* the device's ends */
	int peers[NET_RIG_PAIRS_MAX]; /* the test's */
	/* Atomics: what it was told, and what it is to answer. */
	uint64_t offloads;
	unsigned int pairs;
	int refusal; /* of transmit: an errno */
	unsigned int receives; /* calls */
};

struct net_rig {
	/* Set by the test before net_rig_start; 0 is a sensible value of each. */
	unsigned int pairs; /* 1 */
	unsigned int mtu;
	uint64_t features; /* of the backend */
	uint64_t refused_features; /* that the driver does not accept */
	struct net_backend *other; /* another backend than the fake one */

	struct guest_memory memory;
	struct virtio_net net;
	struct fake_backend fake;
	struct driver drivers[NET_RIG_QUEUES_MAX];
	struct threads threads;
	int stop_fd;
	unsigned int interrupts; /* atomic */
};

/* The device exists, its threads run, the driver is not there yet. */
void net_rig_create(struct net_rig *rig);
/* The driver's side of virtio 1.2, 3.1.1; again after a reset. */
void net_rig_negotiate(struct net_rig *rig);
/* Both. */
void net_rig_start(struct net_rig *rig);
void net_rig_destroy(struct net_rig *rig);

uint32_t net_rig_read(struct net_rig *rig, uint32_t offset);
void net_rig_write(struct net_rig *rig, uint32_t offset, uint32_t value);
struct virtio_net_config net_rig_config(struct net_rig *rig);

/* The host address of guest memory. */
void *net_rig_host(struct net_rig *rig, uint64_t address);

/* The queues' numbers. */
#define NET_RIG_RX(pair) (2 * (pair))
#define NET_RIG_TX(pair) (2 * (pair) + 1)
unsigned int net_rig_control_queue(const struct net_rig *rig);

/* Adds, shows and, if the device wants it, notifies. Returns the head. */
uint16_t net_rig_submit(struct net_rig *rig, unsigned int queue,
			const struct driver_buffer *buffers,
			unsigned int count);
/* Posts a receive buffer of @len bytes. */
uint16_t net_rig_post(struct net_rig *rig, unsigned int pair, uint64_t address,
		      uint32_t len);
/* Waits for the next used element. False after NET_RIG_TIMEOUT_MS. */
bool net_rig_wait(struct net_rig *rig, unsigned int queue, uint16_t *head,
		  uint32_t *written);
/* That there is none, now. */
bool net_rig_is_quiet(struct net_rig *rig, unsigned int queue);

/*
 * Sends @bytes of frame from slot 0 behind @header, in two buffers, and waits for
 * its completion, whose length must be 0.
 */
void net_rig_send(struct net_rig *rig, unsigned int pair,
		  const struct virtio_net_hdr_v1 *header, uint32_t bytes);

/* A control command with @len bytes of data: the answer. */
uint8_t net_rig_control(struct net_rig *rig, uint8_t class, uint8_t command,
			const void *data, uint32_t len);

/* The host's end: gives the guest a frame of @bytes made of @seed. */
void net_rig_give(struct net_rig *rig, unsigned int pair,
		  const struct virtio_net_hdr_v1 *header, uint32_t bytes,
		  unsigned int seed);
/* Takes a frame: its bytes, -1 when there is none now. */
ssize_t net_rig_take(struct net_rig *rig, unsigned int pair,
		     struct virtio_net_hdr_v1 *header, uint8_t *frame,
		     size_t room);

/* Bytes of a frame, and whether they are those. */
void net_rig_fill(void *bytes, size_t len, unsigned int seed);
bool net_rig_holds(const void *bytes, size_t len, unsigned int seed,
		   size_t offset);

/* Whether a frame passes each way, which proves that the device lives. */
bool net_rig_is_alive(struct net_rig *rig);

/* Conditions, on a struct net_rig. */
bool net_rig_needs_reset(void *context);
bool net_rig_link_is_down(void *context);
/* Nothing of any queue is in flight at its door. */
bool net_rig_nothing_in_flight(void *context);

/* Polls @condition until it is true; false after NET_RIG_TIMEOUT_MS. */
bool net_rig_eventually(bool (*condition)(void *context), void *context);

#endif
