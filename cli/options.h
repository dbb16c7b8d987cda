/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The command line: verbs and their options, in two tables that `--help`,
 * getopt and sluice(1) share.
 */
#ifndef CLI_OPTIONS_H
#define CLI_OPTIONS_H

#include "devices/log.h"

#include <stdbool.h>

struct error;

enum verb {
	VERB_NONE,
	VERB_RUN,
	VERB_CHECK,
	VERB_PROBE,
	VERB_BENCH,
	VERB_HELP
};

struct options_verb {
	enum verb verb;
	const char *name;
	const char *arguments; /* as in "FILE.ini" */
	const char *summary; /* one sentence */
};

enum option_id {
	OPTION_SET = 256, /* above every character: getopt_long's val */
	OPTION_STATS,
	OPTION_BOOT_TIMES,
	OPTION_LOG,
	OPTION_LOG_LEVEL,
	OPTION_FORMAT,
	OPTION_JSON,
	OPTION_CSV,
	OPTION_SECONDS,
	OPTION_HELP,
	OPTION_VERSION,
};

struct options_option {
	enum option_id id;
	const char *name; /* without "--" */
	const char *argument; /* as in "FILE"; NULL: it takes none */
	unsigned int verbs; /* bits 1 << enum verb; VERB_NONE: without a verb */
	const char *summary; /* one sentence */
};

extern const struct options_verb options_verbs[];
extern const unsigned int options_verb_count;
extern const struct options_option options_table[];
extern const unsigned int options_count;

enum options_format { FORMAT_TEXT, FORMAT_MAN };

struct options {
	enum verb verb;
	bool help; /* --help: of the verb, or of all */
	bool version;
	const char *file; /* run, check */
	const char *topic; /* help: NULL, "config", "options" or a verb */
	enum options_format format; /* help */
	const char *benchmark; /* bench: "dma" */
	const char *json; /* bench */
	const char *csv; /* bench */
	unsigned int seconds; /* bench; 0: its own choice */
	unsigned int set_count;
	const char **sets; /* "section.key=value" */
	const char *stats;
	bool boot_times;
	const char *log;
	enum log_level log_level;
};

/*
 * Reads the command line, whose strings @options borrows. Returns 0, or -1
 * with @error. The caller calls options_destroy in both cases.
 */
int options_parse(struct options *options, int argc, char **argv,
		  struct error *error);
void options_destroy(struct options *options);

/* The verb named @name, or NULL. */
const struct options_verb *options_find_verb(const char *name);

#endif
