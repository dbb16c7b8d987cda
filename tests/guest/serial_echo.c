/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sends back what comes over the serial line: "poll" on the command line asks
 * the line status, anything else has interrupts. First come four bytes with the
 * number of those that follow, little-endian; after these it powers off.
 */
#include "tests/guest/guest.h"
#include "vmm/layout.h"

#define DATA LAYOUT_PORT_COM1
#define INTERRUPT_ENABLE (LAYOUT_PORT_COM1 + 1)
#define INTERRUPT_IDENTIFY (LAYOUT_PORT_COM1 + 2)
#define FIFO_CONTROL (LAYOUT_PORT_COM1 + 2)
#define LINE_STATUS (LAYOUT_PORT_COM1 + 5)

#define FIFOS_ON_TRIGGER_14 0xc1
#define RECEIVE 1
#define STATUS_DATA 0x01
#define STATUS_EMPTY 0x20
#define CAUSE_NONE 0x1
#define CAUSE_RECEIVE 0x4 /* as many as the trigger level says are there */
#define CAUSE_TIMEOUT 0xc
#define TRIGGER 14
#define TRANSMIT_FIFO 16

static uint8_t buffer[1024];
static size_t count;

static bool is_full(void)
{
	return count > sizeof(buffer) - TRIGGER;
}

static void receive_singly(void)
{
	while (!is_full() && in8(LINE_STATUS) & STATUS_DATA)
		buffer[count++] = in8(DATA);
}

static void interrupted(void)
{
	uint8_t cause;

	while (!is_full()) {
		cause = in8(INTERRUPT_IDENTIFY) & 0xf;
		if (cause == CAUSE_NONE)
			return;
		if (cause == CAUSE_TIMEOUT) {
			receive_singly();
		} else if (cause == CAUSE_RECEIVE) {
			in_bytes(DATA, buffer + count, TRIGGER);
			count += TRIGGER;
		}
	}
}

static void send(const uint8_t *bytes, size_t left)
{
	size_t piece;

	for (; left > 0; bytes += piece, left -= piece) {
		piece = left < TRANSMIT_FIFO ? left : TRANSMIT_FIFO;
		while (!(in8(LINE_STATUS) & STATUS_EMPTY))
			pause();
		out_bytes(DATA, bytes, piece);
	}
}

void guest_main(void)
{
	bool polls = command_line_begins("poll");
	uint32_t length = 0, header = 0, left = 1;
	size_t skipped;

	out8(FIFO_CONTROL, FIFOS_ON_TRIGGER_14);
	if (!polls) {
		guest_take_interrupt(LAYOUT_IRQ_COM1, interrupted);
		out8(INTERRUPT_ENABLE, RECEIVE);
	}
	while (left > 0) {
		if (polls)
			receive_singly();
		else
			interrupted(); /* what was left when it was full */
		if (count == 0) {
			if (!polls)
				sleep_for_interrupt();
			continue;
		}
		for (skipped = 0; header < 4 && skipped < count; skipped++)
			length |= (uint32_t)buffer[skipped] << 8 * header++;
		if (header == 4 && skipped > 0)
			left = length;
		send(buffer + skipped, count - skipped);
		left -= (uint32_t)(header == 4 ? count - skipped : 0);
		count = 0;
	}
	power_off();
}
