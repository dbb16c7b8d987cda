/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm/panic_scan.h"

#include <stddef.h>

bool panic_scan_byte(struct panic_scan *scan, uint8_t byte)
{
	static const char text[] = PANIC_SCAN_TEXT;

	/* 'K' stands only at the front: no other part can begin a new match. */
	if (byte != (uint8_t)text[scan->matched])
		scan->matched = 0;
	if (byte == (uint8_t)text[scan->matched])
		scan->matched++;
	if (scan->matched < sizeof(text) - 1)
		return false;
	scan->matched = 0;
	return true;
}
