/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `sluice help`, `--help` and the generated parts of the manual pages.
 */
#ifndef CLI_HELP_H
#define CLI_HELP_H

#include <stdio.h>

struct options;

/* `sluice help ...`, `--help`, `VERB --help`: prints to stdout; the exit status. */
int help_verb(const struct options *options);

/* The table of keys, for people or as the body of sluice.ini(5). */
void help_config_text(FILE *out);
void help_config_man(FILE *out);

/* The tables of commands and options, for people or as the body of sluice(1). */
void help_usage_text(FILE *out);
void help_options_text(FILE *out);
void help_options_man(FILE *out);

/*
 * Prints @text between columns @indent and 78, the first line from column @at
 * on, and ends the line.
 */
void help_wrap(FILE *out, const char *text, unsigned int indent,
	       unsigned int at);

#endif
