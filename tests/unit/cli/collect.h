/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Keeps what is reported, each line with its newline, for comparison.
 */
#ifndef TESTS_UNIT_CLI_COLLECT_H
#define TESTS_UNIT_CLI_COLLECT_H

#include "cli/problems.h"

#include <stdio.h>
#include <string.h>

struct collector {
	struct problems problems;
	char text[8192];
};

static inline void collector_report(void *context, const char *line)
{
	struct collector *collector = context;
	size_t len = strlen(collector->text);

	snprintf(collector->text + len, sizeof(collector->text) - len, "%s\n",
		 line);
}

static inline void collector_init(struct collector *collector)
{
	memset(collector, 0, sizeof(*collector));
	collector->problems.report = collector_report;
	collector->problems.context = collector;
}

#endif
