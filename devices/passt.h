/* SPDX-License-Identifier: Apache-2.0 */
/*
 * passt (https://passt.top) as a net backend: a stream socket, on which each
 * frame follows its length in 32 bits, big-endian. No headers, no offloads, one
 * queue pair.
 */
#ifndef DEVICES_PASST_H
#define DEVICES_PASST_H

#include <stdint.h>
#include <sys/types.h>

#include "devices/net_backend.h"

struct error;

#define PASST_LENGTH_BYTES 4u
/* More closes the connection on passt's side. */
#define PASST_FRAME_MAX 65535u
/* Several frames come with one recv(2). */
#define PASST_STREAM_BYTES (256u * 1024u)

struct passt {
	struct net_backend backend;
	int fd; /* a non-blocking stream socket; owned */
	/* The transmitting thread's: what the socket did not take of a frame. */
	uint32_t rest_first, rest_end;
	uint8_t rest[PASST_LENGTH_BYTES + PASST_FRAME_MAX];
	/* The receiving thread's: what came, [first, end). */
	uint32_t stream_first, stream_end;
	uint8_t stream[PASST_STREAM_BYTES];
};

/* Over @fd, which it takes and makes non-blocking. */
void passt_init(struct passt *passt, int fd);

/*
 * Connects to the passt that listens at @path. The descriptor, or -1 with
 * @error. Set-up.
 */
int passt_connect(const char *path, struct error *error);

/*
 * Starts a passt of our own on one end of a socket pair. It ends when the other
 * end is closed. *@pid: passt_end's. The other end, or -1 with @error. Set-up,
 * with one thread.
 */
int passt_start(pid_t *pid, struct error *error);

/* Waits a moment for @pid, whose socket was closed, and then kills it. */
void passt_end(pid_t pid);

/* Whether there is a passt to start. 0, or -1 with @error. */
int passt_find(struct error *error);

#endif
