/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation. The kernel gives frames to attached descriptors only, and
 * to them by the flow, so what the guest does not serve has to be detached. A
 * detached descriptor answers as if its interface were gone (EBADFD, POLLERR).
 * Which of the two it was is told by `changes`: whoever changes makes it odd
 * before and even after; whoever reads finds the same even number before and
 * after an EBADFD only if nothing changed meanwhile.
 */
#include "devices/tap.h"

#include <assert.h>
#include <errno.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "memory/base.h"

/* linux/if_tun.h of 6.1 lacks them. They come in pairs (Linux 6.2). */
#define TAP_F_USO4 0x20u
#define TAP_F_USO6 0x40u
#define TAP_F_USO (TAP_F_USO4 | TAP_F_USO6)

#define SEGMENTATION \
	((unsigned int)(TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6 | TUN_F_TSO_ECN))

static struct tap *tap_of(struct net_backend *backend)
{
	return container_of(backend, struct tap, backend);
}

static uint32_t changes_read(const struct tap *tap)
{
	return __atomic_load_n(&tap->changes, __ATOMIC_SEQ_CST);
}

/* What the failure of a call means, @before which `changes` was read. */
static int failure(const struct tap *tap, int error, uint32_t before)
{
	if (error == EAGAIN || error == EINTR)
		return -EAGAIN;
	if (error != EBADFD && error != ENODEV)
		return -error;
	if (before % 2 == 0 && changes_read(tap) == before)
		return -EPIPE;
	/* It was detached; whoever attaches it wakes its threads. */
	return -EAGAIN;
}

static ssize_t tap_receive(struct net_backend *backend, unsigned int pair,
			   struct virtio_net_hdr_v1 *header, struct iovec *iov,
			   unsigned int count)
{
	struct tap *tap = tap_of(backend);
	uint32_t before = changes_read(tap);
	ssize_t bytes;
	int err;

	iov[0] = (struct iovec){ header, sizeof(*header) };
	memset(header, 0, sizeof(*header));
	bytes = readv(tap->fds[pair], iov, (int)count + 1);
	if (bytes < 0) {
		err = failure(tap, errno, before);
		return err == -EAGAIN || err == -EPIPE ? err : -EMSGSIZE;
	}
	if (bytes < (ssize_t)(sizeof(*header) + NET_FRAME_MIN))
		return -EMSGSIZE;
	return bytes - (ssize_t)sizeof(*header);
}

static int tap_transmit(struct net_backend *backend, unsigned int pair,
			struct virtio_net_hdr_v1 *header, struct iovec *iov,
			unsigned int count, size_t bytes)
{
	struct tap *tap = tap_of(backend);
	uint32_t before = changes_read(tap);

	(void)bytes;
	iov[0] = (struct iovec){ header, sizeof(*header) };
	/* All of the frame or nothing. */
	if (writev(tap->fds[pair], iov, (int)count + 1) >= 0)
		return 0;
	return failure(tap, errno, before);
}

static int tap_fd(const struct net_backend *backend, unsigned int pair)
{
	return container_of(backend, const struct tap, backend)->fds[pair];
}

static int offload_set(const struct tap *tap, unsigned int flags)
{
	return ioctl(tap->fds[0], TUNSETOFFLOAD, (unsigned long)flags) < 0
		       ? -errno
		       : 0;
}

static int tap_set_offloads(struct net_backend *backend, uint64_t offloads)
{
	static const struct {
		uint64_t feature;
		unsigned int flag;
	} flags[] = {
		{ NET_FEATURE(GUEST_TSO4), TUN_F_TSO4 },
		{ NET_FEATURE(GUEST_TSO6), TUN_F_TSO6 },
		{ NET_FEATURE(GUEST_ECN), TUN_F_TSO_ECN },
		{ NET_FEATURE(GUEST_UFO), TUN_F_UFO },
		{ NET_GUEST_USO, TAP_F_USO },
	};
	unsigned int wanted = TUN_F_CSUM;
	unsigned int i;

	/* virtio 1.2, 5.1.3.1: none goes without GUEST_CSUM. */
	if (!(offloads & NET_FEATURE(GUEST_CSUM)))
		return offload_set(tap_of(backend), 0);
	for (i = 0; i < ARRAY_SIZE(flags); i++) {
		if ((offloads & flags[i].feature) == flags[i].feature)
			wanted |= flags[i].flag;
	}
	return offload_set(tap_of(backend), wanted);
}

static int queue_attach(int fd, bool attach)
{
	struct ifreq request = {
		.ifr_flags = attach ? IFF_ATTACH_QUEUE : IFF_DETACH_QUEUE,
	};

	return ioctl(fd, TUNSETQUEUE, &request) < 0 ? -errno : 0;
}

static int tap_set_pairs(struct net_backend *backend, unsigned int pairs)
{
	struct tap *tap = tap_of(backend);
	int err = 0;

	assert(pairs > 0 && pairs <= backend->pairs);
	if (pairs == tap->attached)
		return 0;
	__atomic_fetch_add(&tap->changes, 1, __ATOMIC_SEQ_CST);
	while (tap->attached < pairs && !err) {
		err = queue_attach(tap->fds[tap->attached], true);
		tap->attached += !err;
	}
	while (tap->attached > pairs && !err) {
		err = queue_attach(tap->fds[tap->attached - 1], false);
		tap->attached -= !err;
	}
	__atomic_fetch_add(&tap->changes, 1, __ATOMIC_SEQ_CST);
	return err;
}

static void tap_destroy(struct net_backend *backend)
{
	struct tap *tap = tap_of(backend);
	unsigned int i;

	for (i = 0; i < backend->pairs; i++)
		close(tap->fds[i]);
}

static const struct net_backend_ops tap_ops = {
	.what = "the tap",
	.receive = tap_receive,
	.transmit = tap_transmit,
	.fd = tap_fd,
	.set_offloads = tap_set_offloads,
	.set_pairs = tap_set_pairs,
	.destroy = tap_destroy,
};

/* What this host's kernel can do, found out by asking for it. */
static uint64_t features_find(const struct tap *tap)
{
	uint64_t features = NET_FEATURE(CSUM) | NET_FEATURE(HOST_TSO4) |
			    NET_FEATURE(HOST_TSO6) | NET_FEATURE(HOST_ECN) |
			    NET_FEATURE(GUEST_CSUM) | NET_FEATURE(GUEST_TSO4) |
			    NET_FEATURE(GUEST_TSO6) | NET_FEATURE(GUEST_ECN);

	if (offload_set(tap, SEGMENTATION | TAP_F_USO) == 0)
		features |= NET_FEATURE_HOST_USO | NET_GUEST_USO;
	else if (offload_set(tap, SEGMENTATION | TUN_F_UFO) == 0)
		features |= NET_FEATURE(HOST_UFO) | NET_FEATURE(GUEST_UFO);
	else if (offload_set(tap, SEGMENTATION) != 0)
		features = 0;
	offload_set(tap, 0);
	return features;
}

void tap_init(struct tap *tap, const int *fds, unsigned int queues)
{
	assert(queues > 0 && queues <= TAP_QUEUES_MAX);
	*tap = (struct tap){
		.backend = { .ops = &tap_ops,
			     .pairs = queues,
			     .frame_max = NET_FRAME_MAX },
		.attached = queues,
	};
	memcpy(tap->fds, fds, queues * sizeof(*fds));
	tap->backend.features = features_find(tap);
}
