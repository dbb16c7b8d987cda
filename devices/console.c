/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Output. vCPU threads queue bytes in the ring; the main thread takes them out
 * and never waits. Only the main thread moves ring_head, so it may read the
 * queued bytes without the lock while others append. wake_fd is written when
 * the ring stops being empty, and the main thread rests only when it has seen it
 * empty or waits for EPOLLOUT: no byte is forgotten, and bytes that come while
 * it works cost no wake-up. It leaves after one ring's worth, for a guest that
 * floods the console must not keep the main thread from its other sources.
 *
 * Input. Bytes are read while `pending` has room, whether or not the guest takes
 * them, so that Ctrl-A x is seen with a guest that hangs. Then the source leaves
 * the loop (EPOLLHUP could not be silenced otherwise) until `pending` has room.
 */
#include "devices/console.h"

#include "devices/log.h"
#include "memory/base.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#define CTRL_A 1

static void wake(struct console *console)
{
	uint64_t one = 1;
	ssize_t n;

	/* It fails only when the main thread has 2^64 - 1 wake-ups to read. */
	n = write(console->wake_fd, &one, sizeof(one));
	(void)n;
}

bool console_put(struct console *console, uint8_t byte)
{
	bool was_empty, has_room;
	size_t tail;

	lock_take(&console->lock);
	was_empty = console->ring_count == 0;
	if (console->ring_count < CONSOLE_RING_BYTES) {
		tail = (console->ring_head + console->ring_count) %
		       CONSOLE_RING_BYTES;
		console->ring[tail] = byte;
		console->ring_count++;
	} else {
		console->dropped_bytes++;
	}
	has_room = console->ring_count < CONSOLE_RING_FULL;
	if (!has_room)
		console->was_full = true;
	lock_drop(&console->lock);
	if (was_empty)
		wake(console);
	return has_room;
}

void console_input_wanted(struct console *console)
{
	/* Pairs with the exchange in console_woken. */
	if (!__atomic_exchange_n(&console->input_wanted, true,
				 __ATOMIC_ACQ_REL))
		wake(console);
}

static void warn_lost(struct console *console, const char *why)
{
	if (console->warned)
		return;
	console->warned = true;
	log_warn("console: %s: output is lost", why);
}

/* The oldest bytes that are in one piece. */
static size_t ring_peek(struct console *console, const uint8_t **bytes)
{
	uint64_t dropped;
	size_t count;

	lock_take(&console->lock);
	*bytes = console->ring + console->ring_head;
	count = MIN(console->ring_count,
		    CONSOLE_RING_BYTES - console->ring_head);
	dropped = console->dropped_bytes;
	console->dropped_bytes = 0;
	lock_drop(&console->lock);
	if (dropped) {
		console->lost_bytes += dropped;
		warn_lost(console,
			  "the guest writes faster than the reader reads");
	}
	return count;
}

/* @count of the bytes that ring_peek gave have left. */
static void ring_consume(struct console *console, const uint8_t *bytes,
			 size_t count)
{
	bool writable;

	if (console->listener.seen)
		console->listener.seen(console->listener.context, bytes, count);
	console->total_bytes += count;
	lock_take(&console->lock);
	console->ring_head = (console->ring_head + count) % CONSOLE_RING_BYTES;
	console->ring_count -= count;
	writable = console->was_full && console->ring_count <= CONSOLE_RING_LOW;
	if (writable)
		console->was_full = false;
	lock_drop(&console->lock);
	if (writable && console->listener.writable)
		console->listener.writable(console->listener.context);
}

static void lose(struct console *console, const uint8_t *bytes, size_t count,
		 const char *why)
{
	console->lost_bytes += count;
	warn_lost(console, why);
	ring_consume(console, bytes, count);
}

/* How many bytes left: 0 when the ring is empty, -EAGAIN when the reader is slow. */
static ssize_t flush_piece(struct console *console)
{
	const uint8_t *bytes;
	size_t count;
	ssize_t n;

	count = ring_peek(console, &bytes);
	if (!count)
		return 0;
	n = console_sink_write(&console->sink, bytes, count);
	if (n == -EAGAIN)
		return n;
	if (n > 0) {
		ring_consume(console, bytes, (size_t)n);
		return n;
	}
	lose(console, bytes, count, strerror((int)-n));
	return (ssize_t)count;
}

static void arm_output(struct console *console, bool armed)
{
	if (console->out_armed == armed)
		return;
	if (!armed) {
		event_loop_remove(console->loop, &console->out_source);
		console->out_armed = false;
		return;
	}
	if (event_loop_add(console->loop, &console->out_source, EPOLLOUT))
		wake(console); /* no memory: keep trying */
	else
		console->out_armed = true;
}

static void flush(struct console *console)
{
	size_t left = CONSOLE_RING_BYTES;
	ssize_t n;

	while (left) {
		n = flush_piece(console);
		if (n <= 0) {
			arm_output(console, n == -EAGAIN);
			return;
		}
		left -= MIN(left, (size_t)n);
	}
	arm_output(console, false);
	wake(console);
}

static void out_ready(void *context, uint32_t events)
{
	(void)events;
	flush(context);
}

static uint64_t now_ms(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return (uint64_t)time.tv_sec * 1000 + (uint64_t)time.tv_nsec / 1000000;
}

void console_drain(struct console *console, int timeout_ms)
{
	uint64_t end = now_ms() + (uint64_t)MAX(timeout_ms, 0);
	struct pollfd poller = { .fd = console->sink.fd, .events = POLLOUT };
	const uint8_t *bytes;
	uint64_t now;
	size_t count;
	ssize_t n;

	for (;;) {
		n = flush_piece(console);
		if (n == 0)
			return;
		now = now_ms();
		if (now >= end && n < 0)
			break;
		if (n < 0)
			poll(&poller, 1, (int)(end - now));
	}
	while ((count = ring_peek(console, &bytes)) > 0)
		lose(console, bytes, count, "its reader is too slow");
}

/* Appends what was typed to `pending`, which has room for @count + 1. */
static void accept_input(struct console *console, const uint8_t *bytes,
			 size_t count)
{
	uint8_t *pending = console->pending;
	size_t i;

	for (i = 0; i < count; i++) {
		if (!console->escapes) {
			pending[console->pending_count++] = bytes[i];
		} else if (!console->escape) {
			console->escape = bytes[i] == CTRL_A;
			if (!console->escape)
				pending[console->pending_count++] = bytes[i];
		} else {
			console->escape = false;
			if (bytes[i] == 'x') {
				if (console->listener.quit)
					console->listener.quit(
						console->listener.context);
				continue;
			}
			pending[console->pending_count++] = CTRL_A;
			if (bytes[i] != CTRL_A)
				pending[console->pending_count++] = bytes[i];
		}
	}
}

/* Most bytes that may be read: a Ctrl-A from before may come on top. */
static size_t input_room(const struct console *console)
{
	return CONSOLE_PENDING_BYTES - 1 -
	       MIN(console->pending_count, CONSOLE_PENDING_BYTES - 1);
}

static void end_input(struct console *console)
{
	if (console->in_armed)
		event_loop_remove(console->loop, &console->in_source);
	console->in_armed = false;
	console->input = CONSOLE_INPUT_NONE;
	if (console->in_source.fd >= 0)
		close(console->in_source.fd);
	console->in_source.fd = -1;
}

static void read_input(struct console *console)
{
	uint8_t bytes[CONSOLE_PENDING_BYTES];
	size_t room = input_room(console);
	ssize_t n;

	if (console->input == CONSOLE_INPUT_NONE || console->in_paused || !room)
		return;
	n = read(console->in_source.fd, bytes, room);
	if (n > 0)
		accept_input(console, bytes, (size_t)n);
	else if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	else if (n < 0 && errno == EIO &&
		 console->input == CONSOLE_INPUT_EVENTS)
		console->in_paused =
			true; /* a terminal whose foreground is another job */
	else
		end_input(console);
}

static void offer_input(struct console *console)
{
	size_t taken = console->pending_count;

	if (!taken)
		return;
	if (console->listener.input)
		taken = console->listener.input(console->listener.context,
						console->pending, taken);
	console->pending_count -= taken;
	memmove(console->pending, console->pending + taken,
		console->pending_count);
}

/* Has the source in the loop, or the next wake-up pending, if input can be taken. */
static void arm_input(struct console *console)
{
	bool armed = console->input == CONSOLE_INPUT_EVENTS &&
		     !console->in_paused && input_room(console);

	if (console->input == CONSOLE_INPUT_READY && !console->pending_count) {
		console_input_wanted(console);
		return;
	}
	if (armed == console->in_armed)
		return;
	if (!armed)
		event_loop_remove(console->loop, &console->in_source);
	else if (event_loop_add(console->loop, &console->in_source, EPOLLIN))
		armed = false;
	console->in_armed = armed;
}

static void in_ready(void *context, uint32_t events)
{
	struct console *console = context;

	(void)events;
	read_input(console);
	offer_input(console);
	arm_input(console);
}

static void woken(void *context, uint32_t events)
{
	struct console *console = context;
	uint64_t count;
	ssize_t n;

	(void)events;
	n = read(console->wake_fd, &count, sizeof(count));
	(void)n;
	/* Pairs with the exchange in console_input_wanted. */
	if (__atomic_exchange_n(&console->input_wanted, false,
				__ATOMIC_ACQ_REL)) {
		if (console->input == CONSOLE_INPUT_READY &&
		    !console->pending_count)
			read_input(console);
		offer_input(console);
		arm_input(console);
	}
	flush(console);
}

void console_resume(struct console *console)
{
	console->in_paused = false;
	arm_input(console);
}

static int open_input(struct console *console, int in_fd, bool escapes)
{
	bool own;
	int fd, err;

	console->in_source = (struct event_source){ -1, in_ready, console };
	if (in_fd < 0)
		return 0;
	fd = console_fd_open(in_fd, O_RDONLY, &own);
	if (fd == -EBADF)
		return 0; /* stdin is closed: no input, as with /dev/null */
	if (fd < 0)
		return fd;
	console->in_source.fd = fd;
	console->escapes = escapes && isatty(fd);
	console->input = CONSOLE_INPUT_EVENTS;
	err = event_loop_add(console->loop, &console->in_source, EPOLLIN);
	if (err == -EPERM) {
		/* Files and /dev/null cannot be waited for. */
		console->input = CONSOLE_INPUT_READY;
		console_input_wanted(console);
		return 0;
	}
	if (err) {
		end_input(console);
		return err;
	}
	console->in_armed = true;
	return 0;
}

int console_init(struct console *console, struct event_loop *loop,
		 enum console_output output, int in_fd, int out_fd,
		 bool escapes, const struct console_listener *listener)
{
	int err;

	*console = (struct console){ .output = output,
				     .loop = loop,
				     .listener = *listener };
	console->ring = malloc(CONSOLE_RING_BYTES);
	if (!console->ring)
		return -ENOMEM;
	lock_init(&console->lock);
	err = console_sink_init(&console->sink,
				output == CONSOLE_NONE ? -1 : out_fd,
				output == CONSOLE_FILE);
	if (err)
		goto err_free_ring;
	console->out_source =
		(struct event_source){ console->sink.fd, out_ready, console };
	console->wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	if (console->wake_fd < 0) {
		err = -errno;
		goto err_destroy_sink;
	}
	console->wake_source =
		(struct event_source){ console->wake_fd, woken, console };
	err = event_loop_add(loop, &console->wake_source, EPOLLIN);
	if (err)
		goto err_close_wake;
	err = open_input(console, in_fd, escapes);
	if (err)
		goto err_remove_wake;
	return 0;

err_remove_wake:
	event_loop_remove(loop, &console->wake_source);
err_close_wake:
	close(console->wake_fd);
err_destroy_sink:
	console_sink_destroy(&console->sink);
err_free_ring:
	lock_destroy(&console->lock);
	free(console->ring);
	return err;
}

void console_destroy(struct console *console)
{
	end_input(console);
	arm_output(console, false);
	event_loop_remove(console->loop, &console->wake_source);
	close(console->wake_fd);
	console_sink_destroy(&console->sink);
	lock_destroy(&console->lock);
	free(console->ring);
}
