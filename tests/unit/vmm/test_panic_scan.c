/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm/panic_scan.h"

#include <criterion/criterion.h>
#include <stddef.h>

static unsigned int count_in(const char *text)
{
	struct panic_scan scan = { 0 };
	unsigned int count = 0;

	for (; *text; text++)
		count += panic_scan_byte(&scan, (uint8_t)*text);
	return count;
}

Test(panic_scan, text_is_found_wherever_it_stands)
{
	cr_expect_eq(count_in(PANIC_SCAN_TEXT), 1);
	cr_expect_eq(count_in("[    1.2] " PANIC_SCAN_TEXT ": VFS\r\n"), 1);
	cr_expect_eq(count_in("KKernel pKernel panic - not"
			      "K" PANIC_SCAN_TEXT),
		     1);
	cr_expect_eq(count_in(PANIC_SCAN_TEXT PANIC_SCAN_TEXT), 2);
}

Test(panic_scan, what_only_resembles_it_is_not)
{
	cr_expect_eq(count_in(""), 0);
	cr_expect_eq(count_in("kernel panic - not syncing"), 0);
	cr_expect_eq(count_in("Kernel panic - not syncin"), 0);
	cr_expect_eq(count_in("Kernel panic - not\r\n syncing"), 0);
	cr_expect_eq(count_in("Kernel panic  - not syncing"), 0);
}
