/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A network of a test's own: its process gets namespaces in which it may make
 * interfaces, and nothing of it is seen outside. Frames go in and out on the
 * host's side of an interface through a packet socket.
 */
#ifndef TESTS_UNIT_DEVICES_NET_NAMESPACE_H
#define TESTS_UNIT_DEVICES_NET_NAMESPACE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* Of the frames that tests make: local experimental. */
#define NAMESPACE_ETHERTYPE 0x88b5

/* Skips the test where the host allows no such thing. */
void namespace_enter(void);

/* Runs `ip ...`; the test fails when that does. */
void namespace_ip(const char *arguments);

/* A packet socket on interface @name, non-blocking. */
int namespace_socket(const char *name);

/* A frame of @bytes (at least 15) whose content is made of @seed. */
void namespace_frame(uint8_t *frame, size_t bytes, unsigned int seed);

/* Waits for such a frame, past others. Whether it came. */
bool namespace_expect(int socket_fd, size_t bytes, unsigned int seed);

#endif
