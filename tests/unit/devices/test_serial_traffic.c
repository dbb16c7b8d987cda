/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Streams through the serial port and the console, with a guest that drives the
 * chip as Linux's 8250 driver does: it sleeps until the line pulses, then serves
 * causes until IIR says that there is none. A lost edge hangs the test.
 */
#include "devices/console.h"
#include "devices/serial.h"

#include "memory/base.h"
#include "tests/unit/devices/loop_support.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define STREAM_BYTES (1u << 20)

enum { RBR, IER, IIR, LCR, MCR, LSR, MSR, SCR };

static struct event_loop loop;
static struct console console;
static struct serial serial;
static struct bus bus;
static sem_t line; /* the interrupt line's edges */

static uint8_t stream_byte(size_t at)
{
	return (uint8_t)(at ^ (at >> 8) * 3 ^ (at >> 16));
}

static size_t console_input(void *context, const uint8_t *bytes, size_t count)
{
	return serial_receive(context, bytes, count);
}

static void console_writable(void *context)
{
	serial_set_writable(context);
}

static bool serial_transmit(void *context, uint8_t byte)
{
	return console_put(context, byte);
}

static void serial_wanted(void *context)
{
	console_input_wanted(context);
}

static void serial_pulse(void *context)
{
	int edges;

	(void)context;
	/* An interrupt controller remembers one edge, not each. */
	sem_getvalue(&line, &edges);
	if (edges == 0)
		sem_post(&line);
}

static void open_machine(int in_fd, int out_fd)
{
	const struct console_listener listener = {
		.input = console_input,
		.writable = console_writable,
		.context = &serial,
	};
	const struct serial_backend backend = { serial_transmit, serial_wanted,
						serial_pulse, &console };

	signal(SIGPIPE, SIG_IGN);
	sem_init(&line, 0, 0);
	serial_init(&serial, &backend);
	cr_assert_eq(bus_add(&bus, 0x3f8, SERIAL_PORTS, &serial_bus_handler,
			     &serial),
		     0);
	cr_assert_eq(event_loop_init(&loop), 0);
	cr_assert_eq(console_init(&console, &loop, CONSOLE_STDIO, in_fd, out_fd,
				  false, &listener),
		     0);
}

static void close_machine(void)
{
	console_destroy(&console);
	event_loop_destroy(&loop);
	serial_destroy(&serial);
}

/* The guest. */
static struct {
	size_t to_send, sent;
	size_t to_receive, received;
	bool wrong;
	unsigned int interrupts, idle_interrupts;
} guest;

static uint8_t in(unsigned int offset)
{
	uint8_t value;

	bus_read(&bus, 0x3f8 + offset, &value, 1);
	return value;
}

static void out(unsigned int offset, uint8_t value)
{
	bus_write(&bus, 0x3f8 + offset, &value, 1);
}

static void guest_receive(void)
{
	while (in(LSR)&0x01) {
		if (in(RBR) != stream_byte(guest.received))
			guest.wrong = true;
		guest.received++;
	}
}

static void guest_send(void)
{
	unsigned int i;

	for (i = 0; i < 16 && guest.sent < guest.to_send; i++)
		out(RBR, stream_byte(guest.sent++));
	if (guest.sent == guest.to_send)
		out(IER, 0x05);
}

static void guest_interrupt(void)
{
	unsigned int causes = 0;
	uint8_t iir, lsr;

	while (!((iir = in(IIR)) & 1)) {
		causes++;
		lsr = in(LSR);
		if (lsr & 0x01)
			guest_receive();
		in(MSR);
		if ((lsr & 0x20) && (iir & 0x0f) == 0x02)
			guest_send();
	}
	guest.interrupts++;
	guest.idle_interrupts += causes == 0;
}

static void *guest_main(void *argument)
{
	struct timespec end;

	(void)argument;
	clock_gettime(CLOCK_REALTIME, &end);
	end.tv_sec += 40;
	/* As Linux opens the port. */
	out(2, 0x01);
	out(2, 0x07);
	out(2, 0x00);
	in(LSR);
	in(RBR);
	in(IIR);
	in(MSR);
	out(MCR, 0x0b);
	out(IER, guest.to_send ? 0x07 : 0x05);
	out(2, 0x81);
	while (guest.sent < guest.to_send ||
	       guest.received < guest.to_receive) {
		if (sem_timedwait(&line, &end) && errno == ETIMEDOUT)
			break;
		guest_interrupt();
	}
	event_loop_end(&loop);
	return NULL;
}

/* The world around: a writer into stdin, a reader of stdout. */
struct world {
	int fd;
	size_t piece;
	unsigned int pause_us;
	size_t count;
	bool wrong;
	pthread_t thread;
};

static void *write_world(void *argument)
{
	struct world *world = argument;
	uint8_t bytes[65536];
	size_t count, i;

	while (world->count < STREAM_BYTES) {
		count = MIN(world->piece, STREAM_BYTES - world->count);
		for (i = 0; i < count; i++)
			bytes[i] = stream_byte(world->count + i);
		if (write(world->fd, bytes, count) != (ssize_t)count)
			break;
		world->count += count;
		usleep(world->pause_us);
	}
	close(world->fd);
	return NULL;
}

static void *read_world(void *argument)
{
	struct world *world = argument;
	uint8_t bytes[65536];
	ssize_t n, i;

	while ((n = read(world->fd, bytes, world->piece)) > 0) {
		for (i = 0; i < n; i++)
			world->wrong |= bytes[i] != stream_byte(world->count++);
		usleep(world->pause_us);
	}
	return NULL;
}

static void run_machine(pthread_t guest_thread)
{
	cr_assert_eq(event_loop_run(&loop), 0);
	pthread_join(guest_thread, NULL);
	console_drain(&console, 10000);
	cr_assert_eq(console.lost_bytes, 0);
	cr_assert_not(guest.wrong);
}

static void check_output(size_t piece, unsigned int pause_us)
{
	struct world reader = { .piece = piece, .pause_us = pause_us };
	pthread_t thread;
	int fds[2];

	cr_assert_eq(pipe(fds), 0);
	reader.fd = fds[0];
	guest.to_send = STREAM_BYTES;
	open_machine(-1, fds[1]);
	close(fds[1]);
	pthread_create(&reader.thread, NULL, read_world, &reader);
	pthread_create(&thread, NULL, guest_main, NULL);
	run_machine(thread);
	close_machine();
	pthread_join(reader.thread, NULL);
	cr_assert_eq(guest.sent, STREAM_BYTES);
	cr_assert_eq(reader.count, STREAM_BYTES);
	cr_assert_not(reader.wrong);
}

Test(serial_traffic, mebibyte_goes_out_to_a_fast_reader, .timeout = 60)
{
	check_output(65536, 0);
}

Test(serial_traffic, mebibyte_goes_out_to_a_slow_reader, .timeout = 60)
{
	check_output(3000, 1000);
}

static void check_input(size_t piece, unsigned int pause_us)
{
	struct world writer = { .piece = piece, .pause_us = pause_us };
	pthread_t thread;
	int fds[2];

	cr_assert_eq(pipe(fds), 0);
	writer.fd = fds[1];
	guest.to_receive = STREAM_BYTES;
	open_machine(fds[0], -1);
	pthread_create(&writer.thread, NULL, write_world, &writer);
	/* The input is there long before the guest opens the port. */
	loop_run_for(&loop, 20);
	pthread_create(&thread, NULL, guest_main, NULL);
	run_machine(thread);
	pthread_join(writer.thread, NULL);
	close_machine();
	cr_assert_eq(guest.received, STREAM_BYTES);
}

Test(serial_traffic, mebibyte_comes_in_from_a_fast_writer, .timeout = 60)
{
	check_input(65536, 0);
}

Test(serial_traffic, mebibyte_comes_in_from_a_slow_writer, .timeout = 60)
{
	check_input(1500, 100);
}

Test(serial_traffic, mebibyte_each_way_at_once, .timeout = 60)
{
	struct world writer = { .piece = 7777 },
		     reader = { .piece = 5000, .pause_us = 200 };
	pthread_t thread;
	int ins[2], outs[2];

	cr_assert_eq(pipe(ins), 0);
	cr_assert_eq(pipe(outs), 0);
	writer.fd = ins[1];
	reader.fd = outs[0];
	guest.to_receive = guest.to_send = STREAM_BYTES;
	open_machine(ins[0], outs[1]);
	close(outs[1]);
	pthread_create(&writer.thread, NULL, write_world, &writer);
	pthread_create(&reader.thread, NULL, read_world, &reader);
	pthread_create(&thread, NULL, guest_main, NULL);
	run_machine(thread);
	close_machine();
	pthread_join(writer.thread, NULL);
	pthread_join(reader.thread, NULL);
	cr_assert_eq(guest.received, STREAM_BYTES);
	cr_assert_eq(reader.count, STREAM_BYTES);
	cr_assert_not(reader.wrong);
}

/* A guest that knows no interrupts: it polls LSR for both ways. */
static void *polling_main(void *argument)
{
	size_t spins = 0;
	uint8_t lsr;

	(void)argument;
	while (guest.received < guest.to_receive && spins < 400000000) {
		spins++;
		lsr = in(LSR);
		if (lsr & 0x01) {
			guest.wrong |= in(RBR) != stream_byte(guest.received);
			guest.received++;
		}
		if ((lsr & 0x20) && guest.sent < guest.received)
			out(RBR, stream_byte(guest.sent++));
	}
	event_loop_end(&loop);
	return NULL;
}

Test(serial_traffic, polling_guest_echoes_without_loss, .timeout = 60)
{
	struct world writer = { .piece = 65536 }, reader = { .piece = 65536 };
	pthread_t thread;
	int ins[2], outs[2];

	cr_assert_eq(pipe(ins), 0);
	cr_assert_eq(pipe(outs), 0);
	writer.fd = ins[1];
	reader.fd = outs[0];
	guest.to_receive = STREAM_BYTES / 8;
	writer.count = 0;
	open_machine(ins[0], outs[1]);
	close(outs[1]);
	pthread_create(&writer.thread, NULL, write_world, &writer);
	pthread_create(&reader.thread, NULL, read_world, &reader);
	pthread_create(&thread, NULL, polling_main, NULL);
	run_machine(thread);
	close(ins[0]);
	close_machine();
	pthread_join(writer.thread, NULL);
	pthread_join(reader.thread, NULL);
	cr_assert_eq(guest.received, STREAM_BYTES / 8);
	cr_assert_geq(guest.sent, STREAM_BYTES / 8 - SERIAL_FIFO);
	cr_assert_eq(reader.count, guest.sent);
	cr_assert_not(reader.wrong);
}

/*
 * Linux's printk with a reader that stands still: 10 ms of waiting a byte, then
 * it writes regardless.
 */
Test(serial_traffic, impatient_guest_loses_nothing_to_a_short_stop,
     .timeout = 60)
{
	struct world reader = { .piece = 65536 };
	int fds[2];
	unsigned int i;

	cr_assert_eq(pipe(fds), 0);
	reader.fd = fds[0];
	open_machine(-1, fds[1]);
	close(fds[1]);
	while (in(LSR)&0x20)
		out(RBR, stream_byte(guest.sent++));
	loop_run_for(&loop, 20); /* the pipe is full now */
	while (in(LSR)&0x20)
		out(RBR, stream_byte(guest.sent++));
	for (i = 0; i < CONSOLE_RING_BYTES - CONSOLE_RING_FULL; i++) {
		cr_assert_eq(in(LSR)&0x20, 0);
		out(RBR, stream_byte(guest.sent++));
	}
	pthread_create(&reader.thread, NULL, read_world, &reader);
	console_drain(&console, 10000);
	cr_assert_eq(in(LSR)&0x20, 0x20);
	cr_assert_eq(console.lost_bytes, 0);
	close_machine();
	pthread_join(reader.thread, NULL);
	cr_assert_eq(reader.count, guest.sent);
	cr_assert_not(reader.wrong);
}
