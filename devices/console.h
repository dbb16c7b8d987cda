/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The host's end of the guest's console. Output goes through a ring to stdout,
 * a bounded file or nowhere; input comes from stdin, on a terminal with Ctrl-A
 * as the escape character: Ctrl-A x quits, Ctrl-A Ctrl-A is one Ctrl-A, Ctrl-A
 * before any other key is passed on with it. Nothing is lost either way: when
 * the reader of stdout is slow the serial port reports "transmitter busy", and
 * input waits until the guest has room.
 *
 * console_put and console_input_wanted are for any thread, the rest for the
 * main thread. Listeners are called without the console's lock, so they may
 * take the serial port's: serial's lock comes before console's.
 */
#ifndef DEVICES_CONSOLE_H
#define DEVICES_CONSOLE_H

#include "devices/console_sink.h"
#include "devices/event_loop.h"
#include "memory/lock.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CONSOLE_RING_BYTES 65536
/* From here on console_put says "full". What is left is for guests that write
 * on regardless (Linux does after 10 ms without a ready transmitter). */
#define CONSOLE_RING_FULL (CONSOLE_RING_BYTES / 4 * 3)
/* Down here the writer is told that there is room again. */
#define CONSOLE_RING_LOW (CONSOLE_RING_BYTES / 4)
#define CONSOLE_PENDING_BYTES 4096

enum console_output { CONSOLE_STDIO, CONSOLE_NONE, CONSOLE_FILE };

/* What the console tells others. All main thread, from the event loop or
 * console_drain, never from console_init; each may be NULL. */
struct console_listener {
	/* Offers input; returns how many bytes were taken; the rest is offered
	 * again after console_input_wanted, or with the next input. */
	size_t (*input)(void *context, const uint8_t *bytes, size_t count);
	/* Room in the output ring again after console_put said "full". */
	void (*writable)(void *context);
	/* Ctrl-A x was typed. */
	void (*quit)(void *context);
	/* Output bytes as they leave, written or lost (for "Kernel panic" and
	 * the watchdog). */
	void (*seen)(void *context, const uint8_t *bytes, size_t count);
	void *context;
};

/* How input is waited for. */
enum console_input {
	CONSOLE_INPUT_NONE, /* there is none, or it has ended */
	CONSOLE_INPUT_EVENTS, /* the event loop says when */
	CONSOLE_INPUT_READY, /* a file or /dev/null: always ready, read when wanted */
};

struct console {
	enum console_output output;
	struct console_sink sink;
	struct console_listener listener;
	struct event_loop *loop;
	struct event_source in_source, out_source, wake_source;
	int wake_fd; /* eventfd: the ring is no longer empty, or input is wanted */
	bool input_wanted; /* atomic */
	struct lock lock;
	/* Under lock. The bytes themselves belong to the main thread once queued. */
	uint8_t *ring;
	size_t ring_head, ring_count;
	bool was_full; /* console_put said so: writable follows */
	uint64_t dropped_bytes; /* written into a ring without any room */
	/* Main thread. */
	enum console_input input;
	uint8_t pending
		[CONSOLE_PENDING_BYTES]; /* input that the guest has no room for */
	size_t pending_count;
	bool escapes;
	bool escape; /* Ctrl-A was the last byte typed */
	bool in_armed, out_armed; /* the source is in the loop */
	bool in_paused; /* reading failed: until console_resume */
	bool warned; /* of lost output */
	uint64_t lost_bytes; /* the output failed (EPIPE, ENOSPC), or dropped_bytes */
	uint64_t total_bytes; /* that left the ring */
};

/*
 * @in_fd and @out_fd stay the caller's, may be -1, and are not used afterwards
 * (the console keeps its own descriptors). CONSOLE_FILE: see console_sink_init.
 * Escapes are recognised when @escapes and @in_fd is a terminal; else input is
 * passed on as it is. Opens /proc/self/fd, so call it before the sandbox.
 * 0 or -errno.
 */
int console_init(struct console *console, struct event_loop *loop,
		 enum console_output output, int in_fd, int out_fd,
		 bool escapes, const struct console_listener *listener);
/* Before the loop goes. What is still in the ring is gone: see console_drain. */
void console_destroy(struct console *console);

/*
 * Any vCPU thread. Queues one byte. True: there is room for more. False: that
 * was the last byte that should come; listener.writable follows. A caller that
 * ignores a false may go on for 16 KiB; then bytes are dropped and counted.
 */
bool console_put(struct console *console, uint8_t byte);

/* The guest can take input again. Any thread. */
void console_input_wanted(struct console *console);

/*
 * The terminal may be ours again (SIGCONT): reads that failed, as they do in the
 * background, are tried anew.
 */
void console_resume(struct console *console);

/*
 * Writes out what the ring holds, waiting at most @timeout_ms for a slow reader;
 * what is left then is lost. At the end, when the vCPUs have stopped.
 */
void console_drain(struct console *console, int timeout_ms);

#endif
