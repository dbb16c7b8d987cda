/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Looks for the line that a panicking Linux prints, in console output that
 * comes in pieces of any size.
 */
#ifndef VMM_PANIC_SCAN_H
#define VMM_PANIC_SCAN_H

#include <stdbool.h>
#include <stdint.h>

#define PANIC_SCAN_TEXT "Kernel panic - not syncing"

/* Zeroed at start. One thread at a time. */
struct panic_scan {
	uint32_t matched; /* characters of the text that the last bytes are */
};

/* True when @byte completes the text. */
bool panic_scan_byte(struct panic_scan *scan, uint8_t byte);

#endif
