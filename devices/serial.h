/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A 16550A UART: the guest's COM1. Registers are accessed by vCPU threads,
 * input arrives from the main thread; `lock` orders them. The interrupt line
 * is edge-triggered: it pulses whenever a new cause appears.
 *
 * Bytes leave at once; the baud rate is a number without effect. Received bytes
 * are refused rather than lost: when the FIFO is full, while the guest has
 * lowered RTS after it had raised it (stty crtscts), and as long as nobody in
 * the guest listens, for a driver that opens the port throws away what it finds
 * there. Somebody listens when the receive interrupt is enabled or the line
 * status is polled several times in a row.
 */
#ifndef DEVICES_SERIAL_H
#define DEVICES_SERIAL_H

#include "devices/bus.h"
#include "memory/lock.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SERIAL_PORTS 8 /* I/O ports that it occupies */
#define SERIAL_FIFO 64 /* received bytes that wait for the guest */

struct serial_backend {
	/* A byte left the transmitter. False: no room for another one until
	 * serial_set_writable; from a guest that does not wait another one comes
	 * anyway. vCPU thread, under the serial's lock. */
	bool (*transmit)(void *context, uint8_t byte);
	/* The receiver has room again. vCPU thread, lock not held. */
	void (*receive_wanted)(void *context);
	/* Pulse the interrupt line. Any thread, under the lock. */
	void (*interrupt)(void *context);
	void *context;
};

struct serial {
	struct serial_backend backend;
	struct lock lock;
	/* Under lock. */
	uint8_t fifo[SERIAL_FIFO];
	unsigned int fifo_head, fifo_count;
	uint8_t ier, lcr, mcr, scr, fcr, dll, dlm;
	uint8_t modem_changes; /* MSR's low half; loopback alone changes anything */
	bool overrun; /* in loopback */
	bool thr_pending; /* "transmitter empty" waits to be reported */
	bool thr_noticed; /* LSR said so: the next write is an answer to it */
	bool writable; /* the backend has room */
	uint8_t causes; /* enabled and pending at the last look; IER's bits */
	bool rts_used; /* the guest has raised RTS once */
	unsigned int polls; /* reads of LSR in a row that found nothing to do */
	bool input_refused; /* the backend waits for receive_wanted */
};

/*
 * device = struct serial. As on the ISA bus, an access of several bytes is one
 * of single bytes to successive registers, each with its side effects.
 */
extern const struct bus_handler serial_bus_handler;

/* All of @backend is set. */
void serial_init(struct serial *serial, const struct serial_backend *backend);
void serial_destroy(struct serial *serial);

/* Offers received bytes; returns how many fit. Main thread. */
size_t serial_receive(struct serial *serial, const uint8_t *bytes,
		      size_t count);

/* The backend has room again. Main thread. */
void serial_set_writable(struct serial *serial);

#endif
