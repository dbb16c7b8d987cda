/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/options.h"
#include "devices/error.h"
#include "memory/base.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#define WORDS_MAX 8

/* Parses "sluice @words", which ends with NULL. */
static int parse(struct options *options, const char *const *words,
		 struct error *error)
{
	char *argv[WORDS_MAX + 2] = { (char *)"sluice" };
	int argc = 1;

	for (; *words; words++)
		argv[argc++] = (char *)*words;
	error->text[0] = 0;
	return options_parse(options, argc, argv, error);
}

struct wrong_case {
	const char *words[WORDS_MAX];
	const char *error;
};

static const struct wrong_case wrong_cases[] = {
	{ { NULL }, "a command is missing (see sluice --help)" },
	{ { "rnu", "x" }, "rnu: unknown command (did you mean run?)" },
	{ { "frobnicate" }, "frobnicate: unknown command" },
	{ { "" }, ": unknown command" },
	{ { "--verison" },
	  "--verison: unknown option (did you mean --version?)" },
	{ { "--stats", "x", "run" }, "--stats: unknown option" },
	{ { "--version=2" }, "--version: takes no value" },
	{ { "-h" }, "-h: unknown option" },
	{ { "run" }, "run: FILE.ini is missing (see sluice run --help)" },
	{ { "check", "--set", "a.b=c" },
	  "check: FILE.ini is missing (see sluice check --help)" },
	{ { "run", "a", "b" }, "run: b: one argument too many" },
	{ { "run", "a", "--stat" },
	  NULL /* an abbreviation, whose value is missing */ },
	{ { "run", "a", "--stats" }, "--stats: its value is missing" },
	{ { "run", "a", "--boot-time=3" }, NULL },
	{ { "run", "a", "--boot-times=3" }, "--boot-times: takes no value" },
	{ { "run", "a", "--sett", "x" },
	  "--sett: unknown option (did you mean --set?)" },
	{ { "run", "--sett", "x", "a" },
	  "--sett: unknown option (did you mean --set?)" },
	{ { "run", "a", "-x" }, "-x: unknown option" },
	{ { "run", "a", "-xyz" }, "-x: unknown option" },
	{ { "run", "a", "--log-level", "loud" },
	  "--log-level: loud is not error, warn, info or debug" },
	{ { "run", "a", "--version" }, "--version: unknown option" },
	{ { "check", "a", "--stats", "x" }, "--stats: unknown option" },
	{ { "probe", "x" }, "probe: x: one argument too many" },
	{ { "probe", "--set", "x" }, "--set: unknown option" },
	{ { "help", "a", "b" }, "help: b: one argument too many" },
	{ { "bench" }, "bench: dma is missing (see sluice bench --help)" },
	{ { "bench", "net" }, "bench: net: unknown benchmark (there is dma)" },
	{ { "bench", "dma", "x" }, "bench: x: one argument too many" },
	{ { "bench", "dma", "--jsn", "x" },
	  "--jsn: unknown option (did you mean --json?)" },
	{ { "bench", "dma", "--csv" }, "--csv: its value is missing" },
	{ { "bench", "dma", "--seconds", "0" },
	  "--seconds: 0 is not a number from 1 to 3600" },
	{ { "bench", "dma", "--seconds", "2x" },
	  "--seconds: 2x is not a number from 1 to 3600" },
	{ { "bench", "dma", "--stats", "x" }, "--stats: unknown option" },
	{ { "help", "config", "--format=html" },
	  "--format: html is not text or man" },
};

Test(options, wrong_command_lines_give_one_line_and_status_2)
{
	for (unsigned int i = 0; i < ARRAY_SIZE(wrong_cases); i++) {
		const struct wrong_case *wrong = &wrong_cases[i];
		struct options options;
		struct error error;

		cr_expect_eq(parse(&options, wrong->words, &error), -1,
			     "case %u", i);
		cr_expect_eq(error.status, EXIT_STATUS_CONFIGURATION, "case %u",
			     i);
		if (wrong->error)
			cr_expect_str_eq(error.text, wrong->error,
					 "case %u: %s", i, error.text);
		options_destroy(&options);
	}
}

static void expect_any_order(void)
{
	static const char *const orders[][WORDS_MAX + 1] = {
		{ "run", "vm.ini", "--set", "a.b=c", "--set=d.e=f", "--stats=s",
		  "--boot-times" },
		{ "run", "--set", "a.b=c", "--set=d.e=f", "vm.ini", "--stats",
		  "s", "--boot-times" },
		{ "run", "--boot-times", "--stats", "s", "--set=a.b=c",
		  "--set=d.e=f", "--", "vm.ini" },
	};

	for (unsigned int i = 0; i < ARRAY_SIZE(orders); i++) {
		struct options options;
		struct error error;

		cr_assert_eq(parse(&options, orders[i], &error), 0, "%s",
			     error.text);
		cr_expect_eq(options.verb, VERB_RUN);
		cr_expect_str_eq(options.file, "vm.ini");
		cr_assert_eq(options.set_count, 2);
		cr_expect_str_eq(options.sets[0], "a.b=c");
		cr_expect_str_eq(options.sets[1], "d.e=f");
		cr_expect_str_eq(options.stats, "s");
		cr_expect(options.boot_times);
		cr_expect_null(options.log);
		cr_expect_eq(options.log_level, LOG_LEVEL_WARN);
		options_destroy(&options);
	}
}

Test(options, run_takes_them_in_any_order)
{
	expect_any_order();
}

Test(options, posixly_correct_changes_nothing)
{
	cr_assert_eq(setenv("POSIXLY_CORRECT", "1", 1), 0);
	expect_any_order();
}

Test(options, bench_takes_a_benchmark_files_and_seconds)
{
	static const char *const words[] = { "bench",	    "--csv",  "c",
					     "dma",	    "--json", "j",
					     "--seconds=7", NULL };
	struct options options;
	struct error error;

	cr_assert_eq(parse(&options, words, &error), 0, "%s", error.text);
	cr_expect_str_eq(options.benchmark, "dma");
	cr_expect_str_eq(options.csv, "c");
	cr_expect_str_eq(options.json, "j");
	cr_expect_eq(options.seconds, 7);
	options_destroy(&options);
}

Test(options, log_and_its_level)
{
	static const char *const words[] = { "run", "x",	   "--log",
					     "l",   "--log-level", "debug",
					     NULL };
	struct options options;
	struct error error;

	cr_assert_eq(parse(&options, words, &error), 0, "%s", error.text);
	cr_expect_str_eq(options.log, "l");
	cr_expect_eq(options.log_level, LOG_LEVEL_DEBUG);
	options_destroy(&options);
}

struct right_case {
	const char *words[WORDS_MAX];
	enum verb verb;
	bool help, version;
	const char *topic;
	enum options_format format;
};

Test(options, help_version_and_the_rest)
{
	static const struct right_case cases[] = {
		{ { "--help" }, VERB_NONE, true, false, NULL, FORMAT_TEXT },
		{ { "--version" }, VERB_NONE, false, true, NULL, FORMAT_TEXT },
		{ { "run", "--help" }, VERB_RUN, true, false, NULL, FORMAT_TEXT },
		{ { "check", "--help" },
		  VERB_CHECK,
		  true,
		  false,
		  NULL,
		  FORMAT_TEXT },
		{ { "bench", "--help" },
		  VERB_BENCH,
		  true,
		  false,
		  NULL,
		  FORMAT_TEXT },
		{ { "bench", "dma", "--json", "x" },
		  VERB_BENCH,
		  false,
		  false,
		  NULL,
		  FORMAT_TEXT },
		{ { "probe" }, VERB_PROBE, false, false, NULL, FORMAT_TEXT },
		{ { "help" }, VERB_HELP, false, false, NULL, FORMAT_TEXT },
		{ { "help", "config" },
		  VERB_HELP,
		  false,
		  false,
		  "config",
		  FORMAT_TEXT },
		{ { "help", "config", "--format=man" },
		  VERB_HELP,
		  false,
		  false,
		  "config",
		  FORMAT_MAN },
	};

	for (unsigned int i = 0; i < ARRAY_SIZE(cases); i++) {
		const struct right_case *right = &cases[i];
		struct options options;
		struct error error;

		cr_assert_eq(parse(&options, right->words, &error), 0,
			     "case %u: %s", i, error.text);
		cr_expect_eq(options.verb, right->verb, "case %u", i);
		cr_expect_eq(options.help, right->help, "case %u", i);
		cr_expect_eq(options.version, right->version, "case %u", i);
		cr_expect_eq(options.format, right->format, "case %u", i);
		cr_expect_eq(options.topic != NULL, right->topic != NULL,
			     "case %u", i);
		if (right->topic && options.topic)
			cr_expect_str_eq(options.topic, right->topic, "case %u",
					 i);
		options_destroy(&options);
	}
}

Test(options, verbs_are_found_by_name_and_by_number)
{
	for (unsigned int i = 0; i < options_verb_count; i++) {
		cr_expect_eq(options_verbs[i].verb, VERB_RUN + i);
		cr_expect_eq(options_find_verb(options_verbs[i].name),
			     &options_verbs[i]);
	}
	cr_expect_null(options_find_verb("ru"));
}
