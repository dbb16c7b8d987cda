/* SPDX-License-Identifier: Apache-2.0 */
#include "devices/passt.h"

#include <criterion/criterion.h>
#include <endian.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "devices/error.h"
#include "devices/log.h"
#include "tests/unit/devices/net_rig.h"
#include "virtio/mmio.h"

/* A device in front of one end of a stream; the test plays passt. */
struct stream_rig {
	struct net_rig rig;
	struct passt passt;
	int peer;
};

static const struct virtio_net_hdr_v1 plain;

static void start(struct stream_rig *stream)
{
	int ends[2];

	log_open(-1, LOG_LEVEL_ERROR);
	cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends),
		     0);
	stream->peer = ends[1];
	passt_init(&stream->passt, ends[0]);
	stream->rig.other = &stream->passt.backend;
	net_rig_start(&stream->rig);
}

static void stop(struct stream_rig *stream)
{
	net_rig_destroy(&stream->rig);
	if (stream->peer >= 0)
		close(stream->peer);
}

static void put(struct stream_rig *stream, const void *bytes, size_t len)
{
	cr_assert_eq(send(stream->peer, bytes, len, MSG_NOSIGNAL),
		     (ssize_t)len);
}

static void put_length(struct stream_rig *stream, uint32_t length)
{
	length = htobe32(length);
	put(stream, &length, sizeof(length));
}

/* Reads exactly @len bytes that the device sent. */
static void get(struct stream_rig *stream, void *bytes, size_t len)
{
	cr_assert_eq(recv(stream->peer, bytes, len, MSG_WAITALL), (ssize_t)len);
}

static void expect_frame(struct stream_rig *stream, uint32_t bytes,
			 unsigned int seed)
{
	static uint8_t frame[PASST_FRAME_MAX];
	uint32_t length;

	get(stream, &length, sizeof(length));
	cr_assert_eq(be32toh(length), bytes);
	get(stream, frame, bytes);
	cr_expect(net_rig_holds(frame, bytes, seed, 0));
}

static void expect_received(struct stream_rig *stream, uint32_t bytes,
			    unsigned int seed, uint64_t slot)
{
	uint32_t written;
	uint16_t head;

	cr_assert(net_rig_wait(&stream->rig, 0, &head, &written));
	cr_assert_eq(written, bytes + 12);
	cr_expect(
		net_rig_holds((uint8_t *)net_rig_host(&stream->rig, slot) + 12,
			      bytes, seed, 0));
}

Test(passt, offers_no_offloads_and_one_pair)
{
	static struct stream_rig stream;

	start(&stream);
	cr_expect_eq(stream.rig.net.device.offered &
			     (NET_HOST_OFFLOADS | NET_GUEST_OFFLOADS |
			      NET_FEATURE(MQ) |
			      NET_FEATURE(CTRL_GUEST_OFFLOADS)),
		     0);
	stop(&stream);
}

Test(passt, frames_follow_their_length)
{
	static const uint32_t sizes[] = { 14, 60, 1514, 9000, 65535 };
	static struct stream_rig stream;
	static uint8_t frame[PASST_FRAME_MAX];
	unsigned int i;

	start(&stream);
	for (i = 0; i < ARRAY_SIZE(sizes); i++) {
		net_rig_fill(net_rig_host(&stream.rig, NET_RIG_SLOT(0)),
			     sizes[i], i);
		net_rig_send(&stream.rig, 0, &plain, sizes[i]);
		expect_frame(&stream, sizes[i], i);
		net_rig_post(&stream.rig, 0, NET_RIG_SLOT(4), 66000);
		net_rig_fill(frame, sizes[i], i + 40);
		put_length(&stream, sizes[i]);
		put(&stream, frame, sizes[i]);
		expect_received(&stream, sizes[i], i + 40, NET_RIG_SLOT(4));
	}
	/* One byte more would end the connection on passt's side. */
	net_rig_send(&stream.rig, 0, &plain, 65536);
	cr_expect_eq(virtio_net_count(&stream.rig.net).errors, 1);
	stop(&stream);
}

Test(passt, frames_arrive_in_pieces_and_several_at_once)
{
	static struct stream_rig stream;
	static uint8_t bytes[40 * 104];
	const uint32_t length = htobe32(100);
	unsigned int i;
	size_t at;

	start(&stream);
	for (i = 0; i < 40; i++) {
		memcpy(bytes + 104 * i, &length, 4);
		net_rig_fill(bytes + 104 * i + 4, 100, i);
		net_rig_post(&stream.rig, 0, NET_RIG_SLOT(4 + i), 2048);
	}
	/* Byte by byte over the first three, then the rest with one call. */
	for (at = 0; at < 300; at++) {
		put(&stream, bytes + at, 1);
		if (at % 50 == 3)
			usleep(500);
	}
	cr_expect(net_rig_eventually(net_rig_nothing_in_flight, &stream.rig),
		  "a part of a frame parks no buffer");
	put(&stream, bytes + at, sizeof(bytes) - at);
	for (i = 0; i < 40; i++)
		expect_received(&stream, 100, i, NET_RIG_SLOT(4 + i));
	cr_expect_eq(virtio_net_count(&stream.rig.net).errors, 0);
	stop(&stream);
}

Test(passt, the_unsent_rest_of_a_frame_is_kept_and_sent_first)
{
	static struct stream_rig stream;
	const struct driver_buffer buffers[] = {
		{ IOVA(NET_RIG_SLOT(1)), 12, false },
		{ IOVA(NET_RIG_SLOT(0)), 60000, false },
	};
	unsigned int i, sent, done = 0;
	uint32_t written;
	uint16_t head;

	start(&stream);
	net_rig_fill(net_rig_host(&stream.rig, NET_RIG_SLOT(0)), 60000, 5);
	memset(net_rig_host(&stream.rig, NET_RIG_SLOT(1)), 0, 12);
	for (sent = 0; sent < 30; sent++)
		net_rig_submit(&stream.rig, 1, buffers, 2);
	usleep(20000);
	while (driver_take_used(&stream.rig.drivers[1], &head, &written))
		done++;
	cr_expect_lt(done, sent);
	cr_expect(net_rig_nothing_in_flight(&stream.rig));
	for (i = 0; i < sent; i++)
		expect_frame(&stream, 60000, 5);
	for (; done < sent; done++)
		cr_assert(net_rig_wait(&stream.rig, 1, &head, &written));
	cr_expect_eq(virtio_net_count(&stream.rig.net).errors, 0);
	cr_expect_eq(recv(stream.peer, &i, 1, MSG_DONTWAIT), -1);
	stop(&stream);
}

Test(passt, bug12_half_a_frame_is_completed_after_a_reset)
{
	static struct stream_rig stream;
	const struct driver_buffer buffers[] = {
		{ IOVA(NET_RIG_SLOT(1)), 12, false },
		{ IOVA(NET_RIG_SLOT(0)), 60000, false },
	};
	static uint8_t bytes[70000];
	uint32_t length, left;
	unsigned int i;
	ssize_t got;

	start(&stream);
	memset(net_rig_host(&stream.rig, NET_RIG_SLOT(1)), 0, 12);
	for (i = 0; i < 30; i++)
		net_rig_submit(&stream.rig, 1, buffers, 2);
	usleep(20000);
	net_rig_write(&stream.rig, VIRTIO_MMIO_STATUS, 0);
	net_rig_negotiate(&stream.rig);
	net_rig_fill(net_rig_host(&stream.rig, NET_RIG_SLOT(0)), 60, 9);
	/* The stream stays a stream of frames up to the first new one. */
	for (i = 0; i < 40; i++) {
		if (i == 0) {
			const struct driver_buffer last[] = {
				{ IOVA(NET_RIG_SLOT(1)), 12, false },
				{ IOVA(NET_RIG_SLOT(0)), 60, false },
			};

			net_rig_submit(&stream.rig, 1, last, 2);
		}
		get(&stream, &length, sizeof(length));
		left = be32toh(length);
		cr_assert(left == 60000 || left == 60, "%u", left);
		got = recv(stream.peer, bytes, left, MSG_WAITALL);
		cr_assert_eq(got, (ssize_t)left);
		if (left == 60)
			break;
	}
	cr_expect_lt(i, 40);
	cr_expect(net_rig_holds(bytes, 60, 9, 0));
	stop(&stream);
}

/* What no passt sends. */
static const struct {
	uint32_t length;
	bool ends; /* where the next frame starts is not known any more */
} hostile[] = {
	{ 0, false },
	{ 13, false },
	{ NET_FRAME_MAX, false },
	{ NET_FRAME_MAX + 1, true },
	{ 0x80000000, true },
	{ UINT32_MAX, true },
};

Test(passt, bug15_hostile_lengths_end_the_link_at_most)
{
	static uint8_t bytes[NET_FRAME_MAX];
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(hostile); i++) {
		static struct stream_rig stream;

		memset(&stream, 0, sizeof(stream));
		start(&stream);
		net_rig_post(&stream.rig, 0, NET_RIG_SLOT(4), 2048);
		put_length(&stream, hostile[i].length);
		if (!hostile[i].ends) {
			put(&stream, bytes, hostile[i].length);
			/* It may take all buffers that there are with it. */
			while (virtio_net_count(&stream.rig.net).requests < 1)
				usleep(100);
			net_rig_post(&stream.rig, 0, NET_RIG_SLOT(5), 2048);
			put_length(&stream, 100);
			put(&stream, bytes, 100);
			while (virtio_net_count(&stream.rig.net).requests < 2)
				usleep(100);
			cr_expect_eq(virtio_net_count(&stream.rig.net).errors,
				     1, "length %u", hostile[i].length);
		} else {
			cr_expect(net_rig_eventually(net_rig_link_is_down,
						     &stream.rig));
		}
		net_rig_send(&stream.rig, 0, &plain, 60);
		stop(&stream);
	}
}

Test(passt, link_goes_down_with_the_other_end_and_no_signal_comes)
{
	static struct stream_rig stream;

	start(&stream);
	net_rig_post(&stream.rig, 0, NET_RIG_SLOT(4), 2048);
	close(stream.peer);
	stream.peer = -1;
	cr_expect(net_rig_eventually(net_rig_link_is_down, &stream.rig));
	net_rig_send(&stream.rig, 0, &plain, 60);
	net_rig_send(&stream.rig, 0, &plain, 60);
	cr_expect_eq(virtio_net_count(&stream.rig.net).errors, 2);
	stop(&stream);
}

/* --- the process and the socket ------------------------------------------------- */

static char directory[] = "/tmp/sluice-passt-XXXXXX";

/* Puts a program of this text in front of PATH. */
static void program(const char *text)
{
	char path[300], search[400];
	FILE *file;

	cr_assert_not_null(mkdtemp(directory));
	snprintf(path, sizeof(path), "%s/passt", directory);
	file = fopen(path, "w");
	cr_assert_not_null(file);
	fputs(text, file);
	fclose(file);
	cr_assert_eq(chmod(path, 0755), 0);
	snprintf(search, sizeof(search), "%s:%s", directory, getenv("PATH"));
	setenv("PATH", search, 1);
}

static void clean_up(void)
{
	char command[300];

	snprintf(command, sizeof(command), "rm -rf %s", directory);
	cr_expect_eq(system(command), 0);
}

Test(passt, is_started_on_a_socket_and_ends_with_it)
{
	struct error error;
	char text[200] = { 0 };
	sigset_t blocked;
	size_t len = 0;
	ssize_t got;
	pid_t pid;
	int fd;

	/* Says its arguments and its blocked signals on the socket. */
	program("#!/bin/bash\n"
		"eval \"exec 9<>/proc/self/fd/0\" 2>/dev/null\n"
		"fd=${!#}\n"
		"{ echo \"$*\"; grep SigBlk /proc/self/status; echo end; } >&$fd\n"
		"cat <&$fd >/dev/null\n");
	sigfillset(&blocked);
	sigprocmask(SIG_SETMASK, &blocked, NULL);
	cr_expect_eq(passt_find(&error), 0);
	fd = passt_start(&pid, &error);
	cr_assert_geq(fd, 0, "%s", error.text);
	while (!strstr(text, "end\n") && len < sizeof(text) - 1) {
		got = recv(fd, text + len, sizeof(text) - 1 - len, 0);
		cr_assert_gt(got, 0);
		len += (size_t)got;
	}
	cr_expect(strstr(text, "--foreground --one-off --quiet --fd "), "%s",
		  text);
	cr_expect(strstr(text, "SigBlk:\t0000000000000000"), "%s", text);
	close(fd);
	passt_end(pid);
	cr_expect_eq(kill(pid, 0), -1);
	clean_up();
}

Test(passt, that_does_not_end_is_killed)
{
	struct error error;
	pid_t pid;
	int fd;

	program("#!/bin/sh\ntrap '' TERM\nexec sleep 1000\n");
	fd = passt_start(&pid, &error);
	cr_assert_geq(fd, 0, "%s", error.text);
	close(fd);
	passt_end(pid);
	cr_expect_eq(kill(pid, 0), -1);
	clean_up();
}

Test(passt, that_is_not_installed_is_said)
{
	struct error error;
	pid_t pid;

	setenv("PATH", "/nowhere:/nor/here", 1);
	cr_expect_eq(passt_find(&error), -1);
	cr_expect_str_eq(error.text, "passt is not installed; mend it with: "
				     "sudo apt-get install passt");
	cr_expect_eq(passt_start(&pid, &error), -1);
	cr_expect_str_eq(error.text, "passt is not installed; mend it with: "
				     "sudo apt-get install passt");
	cr_expect_eq(error.status, EXIT_STATUS_HOST);
}

Test(passt, sockets_that_cannot_be_connected_are_named)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	char text[200];
	struct error error;
	int listener, fd;

	memset(text, 'x', sizeof(text) - 1);
	text[sizeof(text) - 1] = 0;
	cr_expect_eq(passt_connect(text, &error), -1);
	cr_expect_eq(error.status, EXIT_STATUS_CONFIGURATION);
	cr_expect_eq(passt_connect("/nowhere/socket", &error), -1);
	cr_expect_str_eq(error.text,
			 "/nowhere/socket: cannot connect: No such file or "
			 "directory; mend it with: passt --socket "
			 "/nowhere/socket");
	cr_assert_not_null(mkdtemp(directory));
	snprintf(address.sun_path, sizeof(address.sun_path), "%s/socket",
		 directory);
	listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	cr_assert_eq(bind(listener, (struct sockaddr *)&address,
			  sizeof(address)),
		     0);
	cr_expect_eq(passt_connect(address.sun_path, &error), -1,
		     "nobody listens");
	cr_assert_eq(listen(listener, 1), 0);
	fd = passt_connect(address.sun_path, &error);
	cr_expect_geq(fd, 0);
	close(fd);
	close(listener);
	clean_up();
}
