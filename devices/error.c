/* SPDX-License-Identifier: Apache-2.0 */
#include "devices/error.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

int error_set(struct error *error, enum exit_status status, const char *format,
	      ...)
{
	va_list arguments;
	char *c;
	int len;

	if (!error)
		return -1;
	error->status = status;
	va_start(arguments, format);
	len = vsnprintf(error->text, sizeof(error->text), format, arguments);
	va_end(arguments);
	if (len < 0)
		snprintf(error->text, sizeof(error->text), "unprintable error");
	else if ((size_t)len >= sizeof(error->text))
		memcpy(error->text + sizeof(error->text) - sizeof("..."), "...",
		       sizeof("..."));
	/* The text quotes files and names that others made: one line, no escapes. */
	for (c = error->text; *c; c++) {
		if ((unsigned char)*c < 0x20 || *c == 0x7f)
			*c = '?';
	}
	return -1;
}
