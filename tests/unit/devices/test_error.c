/* SPDX-License-Identifier: Apache-2.0 */
#include "devices/error.h"

#include <criterion/criterion.h>
#include <string.h>

Test(error, set_fills_status_and_text_and_returns_minus_one)
{
	struct error error;

	cr_assert_eq(error_set(&error, EXIT_STATUS_HOST, "%s: %s", "/dev/kvm",
			       "no"),
		     -1);
	cr_assert_eq(error.status, EXIT_STATUS_HOST);
	cr_assert_str_eq(error.text, "/dev/kvm: no");
}

Test(error, nobody_to_tell_is_no_crash)
{
	cr_assert_eq(error_set(NULL, EXIT_STATUS_INTERNAL, "%d", 1), -1);
}

Test(error, long_text_is_cut_with_dots)
{
	struct error error;
	char text[sizeof(error.text) + 1];

	memset(text, 'a', sizeof(text) - 1);
	text[sizeof(text) - 1] = 0;
	error_set(&error, EXIT_STATUS_CONFIGURATION, "%s", text);
	cr_assert_eq(strlen(error.text), sizeof(error.text) - 1);
	cr_assert_str_eq(error.text + sizeof(error.text) - 5, "a...");
	/* What just fits is left alone. */
	text[sizeof(error.text) - 1] = 0;
	error_set(&error, EXIT_STATUS_CONFIGURATION, "%s", text);
	cr_assert_str_eq(error.text, text);
}

Test(error, control_characters_are_replaced)
{
	struct error error;

	error_set(&error, EXIT_STATUS_CONFIGURATION, "a\nb\033[2J\177\xc3\xa4");
	cr_assert_str_eq(error.text, "a?b?[2J?\xc3\xa4");
}
