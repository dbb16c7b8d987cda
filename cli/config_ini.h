/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reads the INI format (sluice.ini(5)); the only user of inih.
 */
#ifndef CLI_CONFIG_INI_H
#define CLI_CONFIG_INI_H

#include <stddef.h>

struct config_entries;

/*
 * Adds what the @size bytes at @data say to @entries. Each problem is reported
 * with its line, and reading goes on with the next one.
 */
void config_ini_parse(struct config_entries *entries, const char *data,
		      size_t size);

#endif
