/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/devices/net_namespace.h"

#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <fcntl.h>
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define FRAME_ROOM 70000

static void write_file(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);

	if (fd < 0)
		return;
	if (write(fd, text, strlen(text)) < 0)
		cr_log_warn("%s: %m", path);
	close(fd);
}

void namespace_enter(void)
{
	char map[32];
	uid_t user = geteuid();

	if (access("/dev/net/tun", R_OK | W_OK) != 0)
		cr_skip_test("no /dev/net/tun");
	/*
	 * The test runner has threads of its own, and a process that has may make
	 * no user namespace: without privilege there is nothing to be tried.
	 */
	if (unshare(CLONE_NEWNET) != 0) {
		if (unshare(CLONE_NEWUSER | CLONE_NEWNET) != 0)
			cr_skip_test("no network namespace: %m");
		snprintf(map, sizeof(map), "0 %u 1", user);
		write_file("/proc/self/uid_map", map);
	}
	/* Else the kernel has frames of its own to send. */
	write_file("/proc/sys/net/ipv6/conf/default/disable_ipv6", "1");
	namespace_ip("link set lo up");
}

void namespace_ip(const char *arguments)
{
	char command[256];

	snprintf(command, sizeof(command), "ip %s", arguments);
	cr_assert_eq(system(command), 0, "%s", command);
}

int namespace_socket(const char *name)
{
	struct sockaddr_ll address = {
		.sll_family = AF_PACKET,
		.sll_protocol = htons(ETH_P_ALL),
		.sll_ifindex = (int)if_nametoindex(name),
	};
	int fd = socket(AF_PACKET, SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC,
			htons(ETH_P_ALL));

	cr_assert_geq(fd, 0);
	cr_assert_eq(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	return fd;
}

void namespace_frame(uint8_t *frame, size_t bytes, unsigned int seed)
{
	static const uint8_t head[14] = { 0xff,
					  0xff,
					  0xff,
					  0xff,
					  0xff,
					  0xff,
					  2,
					  0,
					  0,
					  0,
					  0,
					  1,
					  NAMESPACE_ETHERTYPE >> 8,
					  NAMESPACE_ETHERTYPE & 0xff };
	size_t i;

	memcpy(frame, head, sizeof(head));
	for (i = sizeof(head); i < bytes; i++)
		frame[i] = (uint8_t)(seed + i * 7 + i / 251);
}

bool namespace_expect(int socket_fd, size_t bytes, unsigned int seed)
{
	static uint8_t wanted[FRAME_ROOM], frame[FRAME_ROOM];
	unsigned int turn;
	ssize_t got;

	namespace_frame(wanted, bytes, seed);
	for (turn = 0; turn < 20000; turn++) {
		got = recv(socket_fd, frame, sizeof(frame), 0);
		if (got == (ssize_t)bytes && memcmp(frame, wanted, bytes) == 0)
			return true;
		if (got < 0)
			usleep(200);
	}
	return false;
}
