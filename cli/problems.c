/* SPDX-License-Identifier: Apache-2.0 */
/*
 * No stdio: `run` keeps its heap small, and a line shall reach a shared stderr
 * in one piece.
 */
#include "cli/problems.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* An error's text, a file's name before it, and some. */
#define LINE_MAX_BYTES 1024

static void problems_make_printable(char *text)
{
	for (; *text; text++) {
		unsigned char byte = (unsigned char)*text;

		if (byte < 0x20 || byte == 0x7f)
			*text = '?';
	}
}

void problems_add(struct problems *problems, enum exit_status status,
		  const char *format, ...)
{
	char line[LINE_MAX_BYTES];
	va_list arguments;
	int len;

	va_start(arguments, format);
	len = vsnprintf(line, sizeof(line), format, arguments);
	va_end(arguments);
	if (len < 0)
		return;
	if ((size_t)len >= sizeof(line))
		memcpy(line + sizeof(line) - sizeof("..."), "...",
		       sizeof("..."));
	problems_make_printable(line);

	if (problems->count++ == 0 || status == EXIT_STATUS_CONFIGURATION)
		problems->status = status;
	problems->report(problems->context, line);
}

void problems_add_error(struct problems *problems, const struct error *error)
{
	problems_add(problems, error->status, "sluice: %s", error->text);
}

void problems_print(const char *text)
{
	char line[LINE_MAX_BYTES + 1];
	size_t len = strnlen(text, LINE_MAX_BYTES);

	memcpy(line, text, len);
	line[len++] = '\n';
	/* Nobody can be told that stderr is gone. */
	if (write(STDERR_FILENO, line, len) < 0)
		return;
}

void problems_report_first(void *context, const char *line)
{
	const struct problems *problems = context;

	if (problems->count == 1)
		problems_print(line);
}

void problems_report_all(void *context, const char *line)
{
	(void)context;
	problems_print(line);
}
