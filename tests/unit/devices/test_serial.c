/* SPDX-License-Identifier: Apache-2.0 */
/* Registers; streams of bytes are in test_serial_traffic.c. */
#include "devices/serial.h"

#include "memory/base.h"

#include <criterion/criterion.h>
#include <string.h>

enum { RBR, IER, IIR, LCR, MCR, LSR, MSR, SCR };
#define THR RBR
#define FCR IIR

static struct serial serial;
static struct bus bus;

static struct {
	uint8_t sent[256];
	unsigned int count;
	unsigned int room; /* transmit says "no more" when it reaches 0 */
	unsigned int wanted;
	unsigned int pulses;
} host;

static bool transmit(void *context, uint8_t byte)
{
	(void)context;
	host.sent[host.count++] = byte;
	if (host.room)
		host.room--;
	return host.room > 0;
}

static void receive_wanted(void *context)
{
	(void)context;
	host.wanted++;
	/* The lock is free: the backend may answer from here. */
	lock_take(&serial.lock);
	lock_drop(&serial.lock);
}

static void interrupt(void *context)
{
	(void)context;
	host.pulses++;
}

static void setup(void)
{
	static const struct serial_backend backend = {
		.transmit = transmit,
		.receive_wanted = receive_wanted,
		.interrupt = interrupt,
	};

	host.room = 1000;
	serial_init(&serial, &backend);
	cr_assert_eq(bus_add(&bus, 0x3f8, SERIAL_PORTS, &serial_bus_handler,
			     &serial),
		     0);
}

static void teardown(void)
{
	serial_destroy(&serial);
}

TestSuite(serial, .init = setup, .fini = teardown, .timeout = 10);

static uint8_t in(unsigned int offset)
{
	uint8_t value;

	cr_assert(bus_read(&bus, 0x3f8 + offset, &value, 1));
	return value;
}

static void out(unsigned int offset, uint8_t value)
{
	cr_assert(bus_write(&bus, 0x3f8 + offset, &value, 1));
}

/* The pulses since the last call. */
static unsigned int pulses(void)
{
	unsigned int count = host.pulses;

	host.pulses = 0;
	return count;
}

static size_t receive(const char *text)
{
	return serial_receive(&serial, (const uint8_t *)text, strlen(text));
}

Test(serial, registers_after_reset_and_writes_to_read_only_ones)
{
	out(LSR, 0);
	out(MSR, 0);
	cr_assert_eq(in(RBR), 0);
	cr_assert_eq(in(IER), 0);
	cr_assert_eq(in(IIR), 0x01);
	cr_assert_eq(in(LCR), 0);
	cr_assert_eq(in(MCR), 0);
	cr_assert_eq(in(LSR), 0x60);
	cr_assert_eq(in(MSR), 0xb0);
	cr_assert_eq(in(SCR), 0);
}

Test(serial, scratch_line_control_and_divisor_keep_their_values)
{
	out(SCR, 0xa5);
	cr_assert_eq(in(SCR), 0xa5);
	out(LCR, 0x83);
	out(0, 0x0c);
	out(1, 0x34);
	cr_assert_eq(in(0), 0x0c);
	cr_assert_eq(in(1), 0x34);
	out(LCR, 0x03);
	cr_assert_eq(in(LCR), 0x03);
	cr_assert_eq(in(IER), 0,
		     "the divisor is not the interrupt enable register");
	cr_assert_eq(host.count, 0);
}

Test(serial, bits_that_the_chip_does_not_have_read_zero)
{
	/* Linux: autoconfig tests IER's upper bits for other chips. */
	out(IER, 0xff);
	cr_assert_eq(in(IER), 0x0f);
	out(MCR, 0xef);
	cr_assert_eq(in(MCR), 0x0f);
}

Test(serial, fifos_are_reported_when_enabled_as_a_16550a)
{
	out(FCR, 0x07);
	cr_assert_eq(in(IIR), 0xc1);
	/* Linux: a 16750 would show bit 5 after this. */
	out(LCR, 0x80);
	out(FCR, 0x21);
	cr_assert_eq(in(IIR) >> 5, 6);
	out(LCR, 0);
	out(FCR, 0);
	cr_assert_eq(in(IIR), 0x01);
	out(FCR, 0xc0); /* without the enable bit the rest is not looked at */
	cr_assert_eq(in(IIR), 0x01);
}

Test(serial, linux_finds_loopback_and_modem_lines)
{
	/* 8250_port.c, autoconfig: MCR = LOOP | 0x0a; MSR & 0xf0 must be 0x90. */
	out(MCR, 0x1a);
	cr_assert_eq(in(MSR)&0xf0, 0x90);
	out(MCR, 0x1f);
	cr_assert_eq(in(MSR)&0xf0, 0xf0);
	out(MCR, 0x15);
	cr_assert_eq(in(MSR)&0xf0, 0x60);
	out(MCR, 0);
	cr_assert_eq(in(MSR)&0xf0, 0xb0);
}

Test(serial, modem_changes_are_reported_once_and_interrupt)
{
	out(MCR, 0x1b);
	in(MSR);
	out(IER, 0x08);
	cr_assert_eq(pulses(), 0);
	out(MCR, 0x19); /* RTS falls: CTS changed */
	cr_assert_eq(pulses(), 1);
	cr_assert_eq(in(IIR), 0x00);
	cr_assert_eq(in(MSR), 0xa1);
	cr_assert_eq(in(MSR), 0xa0);
	cr_assert_eq(in(IIR), 0x01);
	/* Of the ring indicator the trailing edge. */
	out(MCR, 0x1d);
	cr_assert_eq(in(MSR), 0xe0);
	out(MCR, 0x19);
	cr_assert_eq(in(MSR), 0xa4);
}

Test(serial, loopback_returns_bytes_and_sends_none)
{
	unsigned int i;

	out(FCR, 0x01);
	out(MCR, 0x10);
	for (i = 0; i < 16; i++)
		out(THR, (uint8_t)i);
	for (i = 0; i < 16; i++) {
		cr_assert_eq(in(LSR), 0x61);
		cr_assert_eq(in(RBR), i);
	}
	cr_assert_eq(in(LSR), 0x60);
	cr_assert_eq(host.count, 0);
}

Test(serial, bug10_loopback_flood_overruns_and_says_so)
{
	unsigned int i;

	out(FCR, 0x01);
	out(MCR, 0x10);
	out(IER, 0x04);
	for (i = 0; i < 300; i++)
		out(THR, (uint8_t)i);
	cr_assert_geq(pulses(), 1);
	cr_assert_eq(in(IIR), 0xc6);
	cr_assert_eq(in(LSR), 0x63);
	cr_assert_eq(in(LSR), 0x61);
	cr_assert_eq(in(IIR), 0xc1);
	for (i = 0; in(LSR)&1; i++)
		cr_assert_eq(in(RBR), i);
	cr_assert_eq(i, 16);
	/* Without FIFOs there is one place. */
	out(FCR, 0);
	out(THR, 'a');
	out(THR, 'b');
	cr_assert_eq(in(RBR), 'a');
	cr_assert_eq(in(LSR), 0x62);
}

Test(serial, input_is_refused_in_loopback)
{
	out(IER, 0x01);
	out(MCR, 0x10);
	cr_assert_eq(receive("a"), 0);
	out(MCR, 0);
	cr_assert_eq(host.wanted, 1);
	cr_assert_eq(receive("a"), 1);
}

Test(serial, transmitted_bytes_reach_the_host)
{
	out(THR, 'o');
	out(THR, 'k');
	cr_assert_eq(host.count, 2);
	cr_assert_eq(memcmp(host.sent, "ok", 2), 0);
	cr_assert_eq(in(LSR), 0x60);
	cr_assert_eq(pulses(), 0);
}

Test(serial,
     enabling_the_transmit_interrupt_raises_it_again_and_iir_takes_it_back)
{
	unsigned int i;

	/* 8250_port.c, serial8250_THRE_test: twice in a row. */
	for (i = 0; i < 2; i++) {
		out(IER, 0x02);
		cr_assert_eq(pulses(), 1);
		cr_assert_eq(in(IIR), 0x02);
		cr_assert_eq(in(IIR), 0x01);
		out(IER, 0);
	}
	cr_assert_eq(pulses(), 0);
}

Test(serial, each_written_byte_raises_the_transmit_interrupt)
{
	out(IER, 0x02);
	in(IIR);
	pulses();
	out(THR, 'a');
	cr_assert_eq(pulses(), 1);
	cr_assert_eq(in(IIR), 0x02);
	/* Also for a driver that looks at LSR only. */
	out(THR, 'b');
	pulses();
	cr_assert_eq(in(LSR), 0x60);
	out(THR, 'c');
	cr_assert_eq(pulses(), 1);
	/* A burst costs one. */
	in(IIR);
	out(THR, 'd');
	out(THR, 'e');
	out(THR, 'f');
	cr_assert_eq(pulses(), 1);
}

Test(serial, transmitter_is_busy_until_the_host_has_room_again)
{
	host.room = 2;
	out(IER, 0x02);
	in(IIR);
	out(THR, 'a');
	cr_assert_eq(in(IIR), 0x02);
	pulses();
	out(THR, 'b');
	cr_assert_eq(in(LSR), 0x00);
	cr_assert_eq(in(IIR), 0x01);
	out(IER, 0);
	out(IER, 0x02);
	cr_assert_eq(in(IIR), 0x01, "not empty: nothing to raise");
	cr_assert_eq(pulses(), 0);
	/* The guest does not wait: its byte is not lost. */
	out(THR, 'c');
	cr_assert_eq(host.count, 3);
	cr_assert_eq(in(LSR), 0x00);
	host.room = 1000;
	serial_set_writable(&serial);
	cr_assert_eq(pulses(), 1);
	cr_assert_eq(in(LSR), 0x60);
	cr_assert_eq(in(IIR), 0x02);
	serial_set_writable(&serial);
	cr_assert_eq(pulses(), 0);
}

Test(serial, input_interrupts_and_is_read_in_order)
{
	out(FCR, 0x81); /* 8 bytes are "enough" */
	out(IER, 0x05);
	cr_assert_eq(pulses(), 0);
	cr_assert_eq(receive("abc"), 3);
	cr_assert_eq(pulses(), 1);
	cr_assert_eq(in(IIR), 0xcc, "few bytes: time-out");
	cr_assert_eq(receive("defgh"), 5);
	cr_assert_eq(pulses(), 1, "new bytes are a new cause");
	cr_assert_eq(in(IIR), 0xc4);
	cr_assert_eq(in(LSR), 0x61);
	cr_assert_eq(in(RBR), 'a');
	cr_assert_eq(in(IIR), 0xcc);
	out(IER, 0);
	cr_assert_eq(in(IIR), 0xc1);
	out(IER, 0x05);
	cr_assert_eq(pulses(), 1, "data is there when it is enabled");
	cr_assert_eq(in(RBR), 'b');
	while (in(LSR)&1)
		in(RBR);
	cr_assert_eq(in(IIR), 0xc1);
	cr_assert_eq(in(RBR), 0);
	cr_assert_eq(pulses(), 0);
}

Test(serial, trigger_levels_are_those_of_the_chip)
{
	static const uint8_t levels[] = { 1, 4, 8, 14 };
	unsigned int i;

	out(IER, 0x01);
	for (i = 0; i < ARRAY_SIZE(levels); i++) {
		out(FCR, (uint8_t)(0x03 | i << 6));
		cr_assert_eq(in(IIR), 0xc1);
		while (serial.fifo_count < levels[i]) {
			cr_assert_eq(receive("x"), 1);
			cr_assert_eq(in(IIR), serial.fifo_count < levels[i]
						      ? 0xcc
						      : 0xc4);
		}
	}
	out(FCR, 0);
	cr_assert_eq(in(IIR), 0x04);
}

Test(serial, cause_that_remains_after_another_ended_pulses_again)
{
	out(FCR, 0x01);
	out(IER, 0x03);
	cr_assert_eq(pulses(), 1);
	receive("a");
	cr_assert_eq(pulses(), 1);
	cr_assert_eq(in(IIR), 0xc4);
	cr_assert_eq(in(RBR), 'a');
	cr_assert_eq(pulses(), 1, "the transmitter is empty still");
	cr_assert_eq(in(IIR), 0xc2);
	cr_assert_eq(in(IIR), 0xc1);
	cr_assert_eq(pulses(), 0);
}

Test(serial, full_fifo_refuses_input_until_it_has_room)
{
	char text[SERIAL_FIFO + 11];
	unsigned int i;

	memset(text, 'x', sizeof(text) - 1);
	text[sizeof(text) - 1] = 0;
	out(IER, 0x01);
	cr_assert_eq(receive(text), SERIAL_FIFO);
	cr_assert_eq(receive("y"), 0);
	for (i = 0; i < SERIAL_FIFO * 3 / 4 - 1; i++)
		in(RBR);
	cr_assert_eq(host.wanted, 0, "not for each byte");
	in(RBR);
	cr_assert_eq(host.wanted, 1);
	in(RBR);
	cr_assert_eq(host.wanted, 1, "once");
	cr_assert_eq(receive("y"), 1);
	while (in(LSR)&1)
		i = in(RBR);
	cr_assert_eq(i, 'y');
	cr_assert_eq(host.wanted, 1);
}

Test(serial, clearing_the_fifo_makes_room)
{
	char text[SERIAL_FIFO + 2];

	memset(text, 'x', sizeof(text) - 1);
	text[sizeof(text) - 1] = 0;
	out(IER, 0x01);
	receive(text);
	out(FCR, 0x01);
	cr_assert_eq(in(LSR), 0x61, "enabling the FIFOs drops nothing");
	out(FCR, 0x02);
	cr_assert_eq(in(LSR), 0x61,
		     "without the enable bit nothing is cleared");
	out(FCR, 0x03);
	cr_assert_eq(in(LSR), 0x60);
	cr_assert_eq(host.wanted, 1);
}

Test(serial, input_waits_until_somebody_listens)
{
	unsigned int i;

	/* What a booting kernel does would throw it away. */
	cr_assert_eq(receive("early"), 0);
	for (i = 0; i < 100; i++) {
		in(LSR);
		out(THR, 'p');
	}
	cr_assert_eq(receive("early"), 0);
	cr_assert_eq(host.wanted, 0);
	out(IER, 0x05);
	cr_assert_eq(host.wanted, 1);
	cr_assert_eq(receive("early"), 5);
	/* printk turns interrupts off for a moment. */
	out(IER, 0);
	cr_assert_eq(receive("late"), 0);
	out(IER, 0x05);
	cr_assert_eq(host.wanted, 2);
}

Test(serial, polling_guest_gets_input)
{
	unsigned int i;

	cr_assert_eq(receive("ab"), 0);
	for (i = 0; i < 8; i++)
		cr_assert_eq(in(LSR), 0x60);
	cr_assert_eq(host.wanted, 1);
	cr_assert_eq(receive("ab"), 2);
	cr_assert_eq(pulses(), 0);
	for (i = 0; i < 2; i++) {
		cr_assert_eq(in(LSR), 0x61);
		cr_assert_eq(in(RBR), 'a' + i);
	}
	cr_assert_eq(receive("c"), 1);
	in(RBR);
	out(THR, 'c');
	cr_assert_eq(receive("d"), 0);
}

Test(serial, waiting_for_a_busy_transmitter_is_not_listening)
{
	unsigned int i;

	host.room = 1;
	out(THR, 'a');
	for (i = 0; i < 100; i++)
		cr_assert_eq(in(LSR), 0);
	cr_assert_eq(receive("x"), 0);
}

Test(serial, lowered_rts_holds_input_back)
{
	out(IER, 0x01);
	cr_assert_eq(receive("a"), 1,
		     "a guest that never raises it is not meant");
	out(MCR, 0x0b);
	cr_assert_eq(receive("b"), 1);
	in(RBR);
	in(RBR);
	out(MCR, 0x09);
	cr_assert_eq(receive("c"), 0);
	cr_assert_eq(host.wanted, 0);
	out(MCR, 0x0b);
	cr_assert_eq(host.wanted, 1);
	cr_assert_eq(receive("c"), 1);
}

Test(serial, bug03_wide_accesses_are_successive_registers)
{
	uint8_t data[8] = { 0 };
	uint32_t word = 0;

	out(SCR, 0x77);
	cr_assert(bus_read(&bus, 0x3f8, data, 8));
	cr_assert_eq(memcmp(data, "\0\0\1\0\0\x60\xb0\x77", 8), 0);
	word = 0x00000141; /* THR, IER, FCR, LCR */
	cr_assert(bus_write(&bus, 0x3f8, &word, 4));
	cr_assert_eq(host.count, 1);
	cr_assert_eq(host.sent[0], 0x41);
	cr_assert_eq(in(IER), 0x01);
	/* Beyond the last register: the bus answers. */
	cr_assert_not(bus_read(&bus, 0x3ff, data, 2));
	cr_assert_not(bus_write(&bus, 0x3fe, &word, 4));
	cr_assert_not(bus_read(&bus, 0x3f8, data, 3));
	cr_assert_eq(in(SCR), 0x77);
	serial_bus_handler.read(&serial, 8, data, 1);
	cr_assert_eq(data[0], 0xff);
	serial_bus_handler.write(&serial, UINT64_MAX, data, 1);
	cr_assert_eq(host.count, 1);
}
