/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/options.h"

#include "cli/config_values.h"
#include "cli/suggest.h"
#include "devices/error.h"
#include "memory/base.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BIT(verb) (1u << (verb))
#define EVERY_VERB                                                             \
	(BIT(VERB_RUN) | BIT(VERB_CHECK) | BIT(VERB_PROBE) | BIT(VERB_BENCH) | \
	 BIT(VERB_HELP))

/* Of a benchmark. */
#define SECONDS_MAX 3600

/* What getopt_long returns for a word that is none, when told to begin with '-'. */
#define OPERAND 1

const struct options_verb options_verbs[] = {
	{ VERB_RUN, "run", "FILE.ini",
	  "Run the VM that FILE.ini describes, its console on this terminal; Ctrl-A x ends it, "
	  "Ctrl-A Ctrl-A sends one Ctrl-A." },
	{ VERB_CHECK, "check", "FILE.ini",
	  "Verify without running: every key, the kernel, initrd and disks, and this host; print "
	  "the effective command line, the memory map and the devices." },
	{ VERB_PROBE, "probe", "",
	  "Say what this host can do and how fast its KVM runs guest code." },
	{ VERB_BENCH, "bench", "dma",
	  "Measure what DMA translation costs: off, bypass, hit and miss, announcing and fences, "
	  "MAP and UNMAP." },
	{ VERB_HELP, "help", "[config | options | COMMAND]",
	  "Explain every key of the INI file, every option, or a command." },
};

const unsigned int options_verb_count = ARRAY_SIZE(options_verbs);

const struct options_option options_table[] = {
	{ OPTION_SET, "set", "section.key=value",
	  BIT(VERB_RUN) | BIT(VERB_CHECK),
	  "Set a key, whatever the file says; a path is relative to the current directory." },
	{ OPTION_STATS, "stats", "FILE.json", BIT(VERB_RUN),
	  "Write statistics to this file when the VM ends, and at SIGUSR1." },
	{ OPTION_BOOT_TIMES, "boot-times", NULL, BIT(VERB_RUN),
	  "Print on stderr how long the start took, step by step." },
	{ OPTION_LOG, "log", "FILE", BIT(VERB_RUN),
	  "Append messages to this file instead of writing them to stderr; errors go to "
	  "stderr nevertheless." },
	{ OPTION_LOG_LEVEL, "log-level", "LEVEL", BIT(VERB_RUN),
	  "Which messages: error, warn (the default), info or debug." },
	{ OPTION_FORMAT, "format", "FORMAT", BIT(VERB_HELP),
	  "How to print: text (the default), or man for the manual page." },
	{ OPTION_JSON, "json", "FILE", BIT(VERB_BENCH),
	  "Write the rows to this file, too, as one JSON object." },
	{ OPTION_CSV, "csv", "FILE", BIT(VERB_BENCH),
	  "Write the rows to this file, too, as comma-separated values." },
	{ OPTION_SECONDS, "seconds", "N", BIT(VERB_BENCH),
	  "Measure for about this long, 1 to 3600 (15 is the default)." },
	{ OPTION_HELP, "help", NULL, EVERY_VERB | BIT(VERB_NONE),
	  "Explain a command, or all." },
	{ OPTION_VERSION, "version", NULL, BIT(VERB_NONE),
	  "Print the version." },
};

const unsigned int options_count = ARRAY_SIZE(options_table);

const struct options_verb *options_find_verb(const char *name)
{
	for (unsigned int i = 0; i < options_verb_count; i++) {
		if (strcmp(options_verbs[i].name, name) == 0)
			return &options_verbs[i];
	}
	return NULL;
}

static int options_reject(struct error *error, const char *what,
			  const char *why, const struct suggestion *suggestion)
{
	char phrase[SUGGEST_PHRASE_MAX];

	return error_set(error, EXIT_STATUS_CONFIGURATION, "%.100s: %s%s", what,
			 why, suggest_phrase(suggestion, phrase));
}

static int options_reject_verb(const char *word, struct error *error)
{
	struct suggestion suggestion = { 0 };

	for (unsigned int i = 0; i < options_verb_count; i++)
		suggest_consider(&suggestion, word, options_verbs[i].name);
	return options_reject(error, word, "unknown command", &suggestion);
}

/* @word is an option that @verb does not have, or has in another form. */
static int options_reject_option(enum verb verb, const char *word,
				 struct error *error)
{
	struct suggestion suggestion = { 0 };
	char candidates[ARRAY_SIZE(options_table)][32];
	char name[64];

	snprintf(name, sizeof(name), "%.*s", (int)MIN(strcspn(word, "="), 63),
		 word);
	for (unsigned int i = 0; i < options_count; i++) {
		const struct options_option *option = &options_table[i];

		if (!(option->verbs & BIT(verb)))
			continue;
		snprintf(candidates[i], sizeof(candidates[i]), "--%s",
			 option->name);
		if (strcmp(candidates[i], name) == 0)
			return options_reject(error, name,
					      option->argument
						      ? "its value is missing"
						      : "takes no value",
					      &suggestion);
		suggest_consider(&suggestion, name, candidates[i]);
	}
	return options_reject(error, name, "unknown option", &suggestion);
}

static int options_take_format(struct options *options, const char *value,
			       struct error *error)
{
	if (strcmp(value, "man") == 0)
		options->format = FORMAT_MAN;
	else if (strcmp(value, "text") == 0)
		options->format = FORMAT_TEXT;
	else
		return error_set(error, EXIT_STATUS_CONFIGURATION,
				 "--format: %.60s is not text or man", value);
	return 0;
}

static int options_take_seconds(struct options *options, const char *value,
				struct error *error)
{
	struct error why;

	if (config_values_count(value, 1, SECONDS_MAX, &options->seconds, &why))
		return error_set(error, EXIT_STATUS_CONFIGURATION,
				 "--seconds: %s", why.text);
	return 0;
}

static int options_take(struct options *options, int id, const char *value,
			struct error *error)
{
	switch (id) {
	case OPTION_SET:
		options->sets[options->set_count++] = value;
		return 0;
	case OPTION_STATS:
		options->stats = value;
		return 0;
	case OPTION_BOOT_TIMES:
		options->boot_times = true;
		return 0;
	case OPTION_LOG:
		options->log = value;
		return 0;
	case OPTION_LOG_LEVEL:
		if (log_level_parse(value, &options->log_level))
			return 0;
		return error_set(
			error, EXIT_STATUS_CONFIGURATION,
			"--log-level: %.60s is not error, warn, info or debug",
			value);
	case OPTION_FORMAT:
		return options_take_format(options, value, error);
	case OPTION_JSON:
		options->json = value;
		return 0;
	case OPTION_CSV:
		options->csv = value;
		return 0;
	case OPTION_SECONDS:
		return options_take_seconds(options, value, error);
	case OPTION_HELP:
		options->help = true;
		return 0;
	case OPTION_VERSION:
		options->version = true;
		return 0;
	default:
		return error_set(error, EXIT_STATUS_INTERNAL,
				 "an option that nobody takes");
	}
}

/* getopt's table of the options that @verb has. */
static void options_describe(enum verb verb, struct option *described)
{
	unsigned int count = 0;

	for (unsigned int i = 0; i < options_count; i++) {
		const struct options_option *option = &options_table[i];

		if (!(option->verbs & BIT(verb)))
			continue;
		described[count++] = (struct option){
			.name = option->name,
			.has_arg = option->argument ? required_argument
						    : no_argument,
			.val = (int)option->id,
		};
	}
	described[count] = (struct option){ 0 };
}

/*
 * The options of @argv, whose first element is the program's or the verb's name.
 * They end at the verb; behind it they stand in any order with the operands, of
 * which there are @operands afterwards, from argv[1] on: getopt would not sort
 * them with POSIXLY_CORRECT.
 */
static int options_parse_options(struct options *options, int argc, char **argv,
				 int *operands, struct error *error)
{
	struct option described[ARRAY_SIZE(options_table) + 1];
	const char *stop = options->verb == VERB_NONE ? "+:" : "-:";
	int id;

	options_describe(options->verb, described);
	opterr = 0;
	optind = 0; /* glibc: start anew */
	*operands = 0;
	for (;;) {
		char letter[] = "-x";

		id = getopt_long(argc, argv, stop, described, NULL);
		if (id == -1)
			break;
		if (id == OPERAND) {
			/* getopt is beyond this place. */
			argv[1 + (*operands)++] = optarg;
			continue;
		}
		if (id != '?' && id != ':') {
			if (options_take(options, id, optarg, error))
				return -1;
			continue;
		}
		/* One of several letters: getopt has not gone past the word. */
		if (optopt > 0 && optopt < OPTION_SET) {
			letter[1] = (char)optopt;
			return options_reject_option(options->verb, letter,
						     error);
		}
		return options_reject_option(options->verb, argv[optind - 1],
					     error);
	}
	/* The verb and what is its own, or what stands behind "--". */
	while (optind < argc)
		argv[1 + (*operands)++] = argv[optind++];
	return 0;
}

/* Where the operand of the verb goes; NULL: it has none. */
static const char **options_operand(struct options *options)
{
	switch (options->verb) {
	case VERB_RUN:
	case VERB_CHECK:
		return &options->file;
	case VERB_BENCH:
		return &options->benchmark;
	case VERB_HELP:
		return &options->topic;
	case VERB_PROBE:
	case VERB_NONE:
		break;
	}
	return NULL;
}

/* What stands behind the options: the file, the benchmark, or help's topic. */
static int options_parse_operands(struct options *options, int count,
				  char **operands, struct error *error)
{
	const struct options_verb *verb =
		&options_verbs[options->verb - VERB_RUN];
	const char **place = options_operand(options);

	if (count > (place ? 1 : 0))
		return error_set(error, EXIT_STATUS_CONFIGURATION,
				 "%s: %.100s: one argument too many",
				 verb->name, operands[count - 1]);
	if (count == 1)
		*place = operands[0];
	else if (place && options->verb != VERB_HELP && !options->help)
		return error_set(error, EXIT_STATUS_CONFIGURATION,
				 "%s: %s is missing (see sluice %s --help)",
				 verb->name, verb->arguments, verb->name);
	if (options->benchmark && strcmp(options->benchmark, "dma") != 0)
		return error_set(
			error, EXIT_STATUS_CONFIGURATION,
			"bench: %.100s: unknown benchmark (there is dma)",
			options->benchmark);
	return 0;
}

int options_parse(struct options *options, int argc, char **argv,
		  struct error *error)
{
	const struct options_verb *verb;
	int operands = 0;

	*options = (struct options){ .log_level = LOG_LEVEL_WARN };
	options->sets = calloc((size_t)argc + 1, sizeof(*options->sets));
	if (!options->sets)
		return error_set(error, EXIT_STATUS_INTERNAL, "out of memory");
	if (argc > 0 &&
	    options_parse_options(options, argc, argv, &operands, error))
		return -1;
	if (options->help || options->version)
		return 0;
	if (operands == 0)
		return error_set(error, EXIT_STATUS_CONFIGURATION,
				 "a command is missing (see sluice --help)");
	argc = operands;
	argv++;
	verb = options_find_verb(argv[0]);
	if (!verb)
		return options_reject_verb(argv[0], error);
	options->verb = verb->verb;
	if (options_parse_options(options, argc, argv, &operands, error))
		return -1;
	return options_parse_operands(options, operands, argv + 1, error);
}

void options_destroy(struct options *options)
{
	free(options->sets);
	options->sets = NULL;
}
