/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Registers as in National Semiconductor's PC16550D data sheet (its section
 * numbers below), as far as software can see them.
 *
 * Interrupts. The real chip holds its line up while any enabled cause is
 * pending; this line only pulses. So that no driver waits for an edge that does
 * not come, it pulses each time the set of pending causes changes into another
 * one that is not empty, and each time bytes arrive: whoever leaves its handler
 * with something undone hears again as soon as anything happens.
 */
#include "devices/serial.h"

#include "memory/base.h"

/* Registers; DLL and DLM stand in place of the first two while LCR says so. */
enum { RBR_THR, IER, IIR_FCR, LCR, MCR, LSR, MSR, SCR };

#define IER_RECEIVE 0x01
#define IER_TRANSMIT 0x02
#define IER_LINE 0x04
#define IER_MODEM 0x08
#define IER_ALL 0x0f

#define IIR_NONE 0x01
#define IIR_LINE 0x06
#define IIR_RECEIVE 0x04
#define IIR_TIMEOUT 0x0c
#define IIR_TRANSMIT 0x02
#define IIR_MODEM 0x00
#define IIR_FIFOS 0xc0

#define FCR_ENABLE 0x01
#define FCR_CLEAR_RECEIVE 0x02
#define FCR_KEPT 0xc9 /* trigger level, DMA mode, enable */

#define LCR_DIVISOR 0x80

#define MCR_DTR 0x01
#define MCR_RTS 0x02
#define MCR_OUT1 0x04
#define MCR_OUT2 0x08
#define MCR_LOOP 0x10
#define MCR_ALL 0x1f

#define LSR_DATA 0x01
#define LSR_OVERRUN 0x02
#define LSR_EMPTY 0x60 /* THR and transmitter: nothing is ever in between */

#define MSR_CTS 0x10
#define MSR_DSR 0x20
#define MSR_RING 0x40
#define MSR_CARRIER 0x80

#define HARDWARE_FIFO 16 /* what the chip has; seen in loopback */
#define POLLS_LISTENING 8

static unsigned int trigger_level(const struct serial *serial)
{
	static const uint8_t levels[] = { 1, 4, 8, 14 };

	return serial->fcr & FCR_ENABLE ? levels[serial->fcr >> 6] : 1;
}

static uint8_t pending_causes(const struct serial *serial)
{
	uint8_t causes = 0;

	if (serial->fifo_count)
		causes |= IER_RECEIVE;
	if (serial->thr_pending)
		causes |= IER_TRANSMIT;
	if (serial->overrun)
		causes |= IER_LINE;
	if (serial->modem_changes)
		causes |= IER_MODEM;
	return causes & serial->ier;
}

static void update_line(struct serial *serial) LOCK_REQUIRES(serial->lock)
{
	uint8_t causes = pending_causes(serial);

	if (causes && causes != serial->causes)
		serial->backend.interrupt(serial->backend.context);
	serial->causes = causes;
}

static bool somebody_listens(const struct serial *serial)
{
	if (serial->mcr & MCR_LOOP)
		return false;
	if (serial->rts_used && !(serial->mcr & MCR_RTS))
		return false;
	return (serial->ier & IER_RECEIVE) || serial->polls >= POLLS_LISTENING;
}

static void fifo_push(struct serial *serial, uint8_t byte)
{
	serial->fifo[(serial->fifo_head + serial->fifo_count++) % SERIAL_FIFO] =
		byte;
}

static uint8_t read_rbr(struct serial *serial)
{
	uint8_t byte;

	if (!serial->fifo_count)
		return 0;
	byte = serial->fifo[serial->fifo_head];
	serial->fifo_head = (serial->fifo_head + 1) % SERIAL_FIFO;
	serial->fifo_count--;
	return byte;
}

/* 8.6: by priority. Reading it takes "transmitter empty" back, nothing else. */
static uint8_t read_iir(struct serial *serial)
{
	uint8_t fifos = serial->fcr & FCR_ENABLE ? IIR_FIFOS : 0;
	uint8_t causes = pending_causes(serial);

	if (causes & IER_LINE)
		return fifos | IIR_LINE;
	if (causes & IER_RECEIVE)
		return fifos | (serial->fifo_count < trigger_level(serial)
					? IIR_TIMEOUT
					: IIR_RECEIVE);
	if (causes & IER_TRANSMIT) {
		serial->thr_pending = false;
		return fifos | IIR_TRANSMIT;
	}
	if (causes & IER_MODEM)
		return fifos | IIR_MODEM;
	return fifos | IIR_NONE;
}

static uint8_t read_lsr(struct serial *serial)
{
	uint8_t value = 0;

	if (serial->fifo_count)
		value |= LSR_DATA;
	if (serial->overrun)
		value |= LSR_OVERRUN;
	if (serial->writable || (serial->mcr & MCR_LOOP))
		value |= LSR_EMPTY;
	serial->thr_noticed = value & LSR_EMPTY;
	serial->overrun = false;
	/* Whoever waits for the transmitter stops here, once it is empty. */
	if (value == LSR_EMPTY && serial->polls < POLLS_LISTENING)
		serial->polls++;
	return value;
}

/* 8.9: in loopback the outputs are the inputs; else the other end is ready. */
static uint8_t modem_lines(uint8_t mcr)
{
	uint8_t value = 0;

	if (!(mcr & MCR_LOOP))
		return MSR_CTS | MSR_DSR | MSR_CARRIER;
	if (mcr & MCR_RTS)
		value |= MSR_CTS;
	if (mcr & MCR_DTR)
		value |= MSR_DSR;
	if (mcr & MCR_OUT1)
		value |= MSR_RING;
	if (mcr & MCR_OUT2)
		value |= MSR_CARRIER;
	return value;
}

static void write_mcr(struct serial *serial, uint8_t value)
{
	uint8_t before = modem_lines(serial->mcr);
	uint8_t after, changed;

	serial->mcr = value & MCR_ALL;
	after = modem_lines(serial->mcr);
	changed = before ^ after;
	/* 8.9: of the ring indicator only the trailing edge counts. */
	if (after & MSR_RING)
		changed &= (uint8_t)~MSR_RING;
	serial->modem_changes |= changed >> 4;
	if ((value & MCR_RTS) && !(value & MCR_LOOP))
		serial->rts_used = true;
}

static uint8_t read_msr(struct serial *serial)
{
	uint8_t value = modem_lines(serial->mcr) | serial->modem_changes;

	serial->modem_changes = 0;
	return value;
}

static void write_thr(struct serial *serial, uint8_t value)
{
	unsigned int room = serial->fcr & FCR_ENABLE ? HARDWARE_FIFO : 1;

	/* The old cause ends here, though the byte leaves at once. */
	if (serial->thr_noticed)
		serial->causes &= (uint8_t)~IER_TRANSMIT;
	serial->thr_noticed = false;
	if (!(serial->mcr & MCR_LOOP)) {
		serial->writable = serial->backend.transmit(
			serial->backend.context, value);
		serial->thr_pending = serial->writable;
		return;
	}
	if (serial->fifo_count < room)
		fifo_push(serial, value);
	else
		serial->overrun = true;
	serial->thr_pending = true;
}

static void write_ier(struct serial *serial, uint8_t value)
{
	uint8_t enabled = value & ~serial->ier;

	serial->ier = value & IER_ALL;
	/* 8.6.1: enabling it with an empty transmitter raises it; Linux tests that. */
	if ((enabled & IER_TRANSMIT) &&
	    (serial->writable || (serial->mcr & MCR_LOOP)))
		serial->thr_pending = true;
}

static void write_fcr(struct serial *serial, uint8_t value)
{
	/*
	 * 8.5: without the enable bit the others are not looked at. The chip also
	 * empties its FIFOs when that bit changes. Not here: Linux changes it
	 * after it has enabled the interrupt, and would lose what has come.
	 */
	serial->fcr = value & FCR_ENABLE ? value & FCR_KEPT : 0;
	if ((value & FCR_ENABLE) && (value & FCR_CLEAR_RECEIVE))
		serial->fifo_count = 0;
}

static uint8_t read_register(struct serial *serial, uint64_t offset)
{
	bool divisor = serial->lcr & LCR_DIVISOR;

	/* A driver that polls reads LSR, and RBR when LSR says so. */
	if (offset != LSR && offset != RBR_THR)
		serial->polls = 0;
	switch (offset) {
	case RBR_THR:
		return divisor ? serial->dll : read_rbr(serial);
	case IER:
		return divisor ? serial->dlm : serial->ier;
	case IIR_FCR:
		return read_iir(serial);
	case LCR:
		return serial->lcr;
	case MCR:
		return serial->mcr;
	case LSR:
		return read_lsr(serial);
	case MSR:
		return read_msr(serial);
	case SCR:
		return serial->scr;
	default:
		return 0xff;
	}
}

static void write_register(struct serial *serial, uint64_t offset,
			   uint8_t value)
{
	bool divisor = serial->lcr & LCR_DIVISOR;

	serial->polls = 0;
	switch (offset) {
	case RBR_THR:
		if (divisor)
			serial->dll = value;
		else
			write_thr(serial, value);
		break;
	case IER:
		if (divisor)
			serial->dlm = value;
		else
			write_ier(serial, value);
		break;
	case IIR_FCR:
		write_fcr(serial, value);
		break;
	case LCR:
		serial->lcr = value;
		break;
	case MCR:
		write_mcr(serial, value);
		break;
	case SCR:
		serial->scr = value;
		break;
	default:
		break; /* LSR and MSR are written in factories only */
	}
}

/* After an access; whether the backend is to offer input again. */
static bool settle(struct serial *serial) LOCK_REQUIRES(serial->lock)
{
	update_line(serial);
	/* Not at each byte: every refill costs an interrupt. */
	if (!serial->input_refused || serial->fifo_count > SERIAL_FIFO / 4 ||
	    !somebody_listens(serial))
		return false;
	serial->input_refused = false;
	return true;
}

static void serial_read(void *device, uint64_t offset, void *data, uint32_t len)
{
	struct serial *serial = device;
	uint8_t *bytes = data;
	bool wanted;
	uint32_t i;

	lock_take(&serial->lock);
	for (i = 0; i < len; i++)
		bytes[i] = read_register(serial, offset + i);
	wanted = settle(serial);
	lock_drop(&serial->lock);
	if (wanted)
		serial->backend.receive_wanted(serial->backend.context);
}

static void serial_write(void *device, uint64_t offset, const void *data,
			 uint32_t len)
{
	struct serial *serial = device;
	const uint8_t *bytes = data;
	bool wanted;
	uint32_t i;

	lock_take(&serial->lock);
	for (i = 0; i < len; i++)
		write_register(serial, offset + i, bytes[i]);
	wanted = settle(serial);
	lock_drop(&serial->lock);
	if (wanted)
		serial->backend.receive_wanted(serial->backend.context);
}

const struct bus_handler serial_bus_handler = { serial_read, serial_write };

void serial_init(struct serial *serial, const struct serial_backend *backend)
{
	/* The divisor that firmware leaves: 115200 baud. */
	*serial = (struct serial){ .backend = *backend,
				   .writable = true,
				   .dll = 1 };
	lock_init(&serial->lock);
}

void serial_destroy(struct serial *serial)
{
	lock_destroy(&serial->lock);
}

size_t serial_receive(struct serial *serial, const uint8_t *bytes, size_t count)
{
	size_t taken = 0;

	lock_take(&serial->lock);
	if (somebody_listens(serial)) {
		while (taken < count && serial->fifo_count < SERIAL_FIFO)
			fifo_push(serial, bytes[taken++]);
	}
	if (taken < count)
		serial->input_refused = true;
	if (taken) {
		/* New bytes are a new cause, even if old ones were still there. */
		serial->causes &= (uint8_t)~IER_RECEIVE;
		update_line(serial);
	}
	lock_drop(&serial->lock);
	return taken;
}

void serial_set_writable(struct serial *serial)
{
	lock_take(&serial->lock);
	if (!serial->writable) {
		serial->writable = true;
		serial->thr_pending = true;
		update_line(serial);
	}
	lock_drop(&serial->lock);
}
