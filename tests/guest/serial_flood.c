/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Writes to the serial line as much as the command line says: "flood KIB". Each
 * 8 bytes are their own number. It waits for the transmitter like any driver.
 */
#include "tests/guest/guest.h"
#include "vmm/layout.h"

#define LINE_STATUS (LAYOUT_PORT_COM1 + 5)
#define STATUS_EMPTY 0x20
#define PIECE 2 /* words: the transmitter's FIFO */

static uint64_t kibibytes(void)
{
	const char *at = command_line();
	uint64_t value = 0;

	while (*at != '\0' && *at != ' ')
		at++;
	for (at++; *at >= '0' && *at <= '9'; at++)
		value = value * 10 + (uint64_t)(*at - '0');
	return value;
}

void guest_main(void)
{
	uint64_t words = kibibytes() * 1024 / sizeof(uint64_t);
	uint64_t piece[PIECE];

	for (uint64_t word = 0; word < words; word += PIECE) {
		for (unsigned int i = 0; i < PIECE; i++)
			piece[i] = word + i;
		while (!(in8(LINE_STATUS) & STATUS_EMPTY))
			pause();
		out_bytes(LAYOUT_PORT_COM1, piece, sizeof(piece));
	}
	power_off();
}
