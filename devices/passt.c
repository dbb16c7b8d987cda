/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation. A stream has no frames, so both directions keep what is
 * not a whole one in memory of their own, never in the guest's: a buffer of the
 * guest is held over no wait. On receive that costs a copy and spares system
 * calls, because one recv(2) brings several frames.
 */
#include "devices/passt.h"

#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "memory/base.h"

static struct passt *passt_of(struct net_backend *backend)
{
	return container_of(backend, struct passt, backend);
}

/* Copies @bytes to the iovecs. False: they do not fit. */
static bool scatter(const uint8_t *from, size_t bytes, const struct iovec *iov,
		    unsigned int count)
{
	size_t piece;
	unsigned int i;

	for (i = 0; i < count && bytes > 0; i++) {
		piece = MIN(bytes, iov[i].iov_len);
		memcpy(iov[i].iov_base, from, piece);
		from += piece;
		bytes -= piece;
	}
	return bytes == 0;
}

/* Copies what the iovecs hold from byte @skip on. Returns how much that was. */
static size_t gather(uint8_t *to, const struct iovec *iov, unsigned int count,
		     size_t skip)
{
	size_t total = 0, piece, over;
	unsigned int i;

	for (i = 0; i < count; i++) {
		over = MIN(skip, iov[i].iov_len);
		piece = iov[i].iov_len - over;
		memcpy(to + total, (uint8_t *)iov[i].iov_base + over, piece);
		skip -= over;
		total += piece;
	}
	return total;
}

/* Reads more of the stream. 0, -EAGAIN or -EPIPE. */
static int stream_fill(struct passt *passt)
{
	uint32_t bytes = passt->stream_end - passt->stream_first;
	ssize_t got;

	/* What is left is less than a frame. */
	memmove(passt->stream, passt->stream + passt->stream_first, bytes);
	passt->stream_first = 0;
	passt->stream_end = bytes;
	do
		got = recv(passt->fd, passt->stream + bytes,
			   sizeof(passt->stream) - bytes, MSG_DONTWAIT);
	while (got < 0 && errno == EINTR);
	if (got < 0)
		return errno == EAGAIN ? -EAGAIN : -EPIPE;
	passt->stream_end += (uint32_t)got;
	return got == 0 ? -EPIPE : 0;
}

/*
 * Whether all of a frame is in the stream: *@frame and *@bytes then. -EAGAIN: not
 * yet. -EPIPE: that is no frame, and where the next one starts is not known.
 */
static int stream_look(struct passt *passt, const uint8_t **frame,
		       uint32_t *bytes)
{
	uint32_t there = passt->stream_end - passt->stream_first;
	uint32_t length;

	if (there < sizeof(length))
		return -EAGAIN;
	memcpy(&length, passt->stream + passt->stream_first, sizeof(length));
	*bytes = be32toh(length);
	if (*bytes > NET_FRAME_MAX)
		return -EPIPE;
	if (there - sizeof(length) < *bytes)
		return -EAGAIN;
	*frame = passt->stream + passt->stream_first + sizeof(length);
	passt->stream_first += (uint32_t)sizeof(length) + *bytes;
	return 0;
}

static ssize_t passt_receive(struct net_backend *backend, unsigned int pair,
			     struct virtio_net_hdr_v1 *header,
			     struct iovec *iov, unsigned int count)
{
	struct passt *passt = passt_of(backend);
	const uint8_t *frame;
	uint32_t bytes;
	int err;

	(void)pair;
	memset(header, 0, sizeof(*header));
	while ((err = stream_look(passt, &frame, &bytes)) == -EAGAIN) {
		err = stream_fill(passt);
		if (err)
			return err;
	}
	if (err)
		return err;
	if (bytes < NET_FRAME_MIN || !scatter(frame, bytes, iov + 1, count))
		return -EMSGSIZE;
	return bytes;
}

static int send_error(int error)
{
	switch (error) {
	case EAGAIN:
	case EINTR:
		return -EAGAIN;
	case EPIPE:
	case ECONNRESET:
	case ENOTCONN:
		return -EPIPE;
	default:
		return -error;
	}
}

static int passt_flush(struct net_backend *backend, unsigned int pair)
{
	struct passt *passt = passt_of(backend);
	ssize_t sent;
	int err;

	(void)pair;
	while (passt->rest_first < passt->rest_end) {
		sent = send(passt->fd, passt->rest + passt->rest_first,
			    passt->rest_end - passt->rest_first,
			    MSG_NOSIGNAL | MSG_DONTWAIT);
		if (sent < 0) {
			err = send_error(errno);
			/* Half a frame is out: without the rest all is lost. */
			return err == -EAGAIN || errno == ENOBUFS ||
					       errno == ENOMEM
				       ? -EAGAIN
				       : -EPIPE;
		}
		passt->rest_first += (uint32_t)sent;
	}
	return 0;
}

static int passt_transmit(struct net_backend *backend, unsigned int pair,
			  struct virtio_net_hdr_v1 *header, struct iovec *iov,
			  unsigned int count, size_t bytes)
{
	struct passt *passt = passt_of(backend);
	uint32_t length = htobe32((uint32_t)bytes);
	struct msghdr message = { .msg_iov = iov, .msg_iovlen = count + 1 };
	ssize_t sent;
	int err;

	(void)header;
	err = passt_flush(backend, pair);
	if (err)
		return err;
	iov[0] = (struct iovec){ &length, sizeof(length) };
	sent = sendmsg(passt->fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
	if (sent < 0)
		return send_error(errno);
	if ((size_t)sent == sizeof(length) + bytes)
		return 0;
	passt->rest_first = 0;
	passt->rest_end =
		(uint32_t)gather(passt->rest, iov, count + 1, (size_t)sent);
	return 0;
}

static int passt_fd(const struct net_backend *backend, unsigned int pair)
{
	(void)pair;
	return container_of(backend, const struct passt, backend)->fd;
}

static void passt_destroy(struct net_backend *backend)
{
	close(passt_of(backend)->fd);
}

static const struct net_backend_ops passt_ops = {
	.what = "passt",
	.receive = passt_receive,
	.transmit = passt_transmit,
	.flush = passt_flush,
	.fd = passt_fd,
	.destroy = passt_destroy,
};

void passt_init(struct passt *passt, int fd)
{
	passt->backend = (struct net_backend){
		.ops = &passt_ops,
		.pairs = 1,
		.frame_max = PASST_FRAME_MAX,
	};
	passt->fd = fd;
	passt->rest_first = 0;
	passt->rest_end = 0;
	passt->stream_first = 0;
	passt->stream_end = 0;
	fcntl(fd, F_SETFL, O_NONBLOCK);
}
