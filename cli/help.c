/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/help.h"

#include "cli/config_keys.h"
#include "cli/options.h"
#include "cli/problems.h"
#include "devices/error.h"

#include <stdio.h>
#include <string.h>

#define LAST_COLUMN 78

void help_wrap(FILE *out, const char *text, unsigned int indent,
	       unsigned int at)
{
	while (*text) {
		size_t word = strcspn(text, " ");

		if (at > indent && at + 1 + word > LAST_COLUMN) {
			fputc('\n', out);
			at = 0;
		}
		if (at < indent)
			at += (unsigned int)fprintf(out, "%*s",
						    (int)(indent - at), "");
		else if (at > indent)
			at += (unsigned int)fprintf(out, " ");
		at += (unsigned int)fprintf(out, "%.*s", (int)word, text);
		text += word;
		text += strspn(text, " ");
	}
	fputc('\n', out);
}

/* "[disk.NAME]" */
static void help_section_title(FILE *out, const struct config_section *section)
{
	fprintf(out, "[%s%s]", section->name, section->named ? ".NAME" : "");
}

static void help_key_text(FILE *out, const struct config_key *key)
{
	char type[CONFIG_KEYS_TYPE_MAX];

	fprintf(out, "  %s = %s  (%s%s)\n", key->name,
		config_keys_describe_type(key, type),
		key->required ? "" : "default: ",
		config_keys_describe_default(key));
	help_wrap(out, key->summary, 6, 0);
	if (key->not_yet && strcmp(key->not_yet, KEY_NOT_YET_AT_ALL) == 0)
		fprintf(out, "      Not available in this version.\n");
	else if (key->not_yet)
		fprintf(out, "      Not available in this version: %s.\n",
			key->not_yet);
}

void help_config_text(FILE *out)
{
	fprintf(out,
		"SIZE is a number, and K, M or G (powers of 1024) behind it; DURATION a\n"
		"number, and s or ms behind it; NAME 1 to 32 of a-z, 0-9 and -.\n");
	for (unsigned int i = 0; i < config_keys_section_count; i++) {
		const struct config_section *section = &config_keys_sections[i];

		fputc('\n', out);
		help_section_title(out, section);
		fputc('\n', out);
		help_wrap(out, section->summary, 2, 0);
		for (unsigned int j = 0; j < config_keys_count; j++) {
			if (strcmp(config_keys_table[j].section,
				   section->name) == 0)
				help_key_text(out, &config_keys_table[j]);
		}
	}
}

static void help_roff_word(FILE *out, const char *text, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		if (text[i] == '\\')
			fputs("\\e", out);
		else if (text[i] == '-')
			fputs("\\-", out);
		else
			fputc(text[i], out);
	}
}

/* A sentence for roff, in lines of which none starts like a request. */
static void help_roff(FILE *out, const char *text)
{
	size_t at = 0;

	while (*text) {
		size_t word = strcspn(text, " ");

		if (at > 0) {
			bool fits = at + 1 + word <= LAST_COLUMN - 4;

			fputc(fits ? ' ' : '\n', out);
			at = fits ? at + 1 : 0;
		}
		if (at == 0 && (*text == '.' || *text == '\''))
			fputs("\\&", out);
		help_roff_word(out, text, word);
		at += word;
		text += word;
		text += strspn(text, " ");
	}
	fputc('\n', out);
}

/* The words of a macro's line: what could be taken for a macro or a delimiter is escaped. */
static void help_roff_words(FILE *out, const char *text)
{
	while (*text) {
		size_t word = strcspn(text, " ");

		fputs(" \\&", out);
		help_roff_word(out, text, word);
		if (text[word - 1] == ']')
			fputs("\\&", out);
		text += word;
		text += strspn(text, " ");
	}
}

static void help_key_man(FILE *out, const struct config_key *key)
{
	char type[CONFIG_KEYS_TYPE_MAX];

	fprintf(out, ".It Cm %s No =", key->name);
	help_roff_words(out, config_keys_describe_type(key, type));
	fputc('\n', out);
	help_roff(out, key->summary);
	if (key->required) {
		fprintf(out, "This key is required.\n");
	} else {
		fprintf(out, "The default is\n.Cm");
		help_roff_words(out, config_keys_describe_default(key));
		fprintf(out, " .\n");
	}
	if (key->not_yet && strcmp(key->not_yet, KEY_NOT_YET_AT_ALL) == 0) {
		fprintf(out, "Not available in this version.\n");
	} else if (key->not_yet) {
		fprintf(out, "Not available in this version:\n.Cm");
		help_roff_words(out, key->not_yet);
		fprintf(out, " .\n");
	}
}

void help_config_man(FILE *out)
{
	for (unsigned int i = 0; i < config_keys_section_count; i++) {
		const struct config_section *section = &config_keys_sections[i];

		fprintf(out, ".Ss ");
		help_section_title(out, section);
		fputs("\\&\n", out);
		help_roff(out, section->summary);
		fprintf(out, ".Bl -tag -width Ds\n");
		for (unsigned int j = 0; j < config_keys_count; j++) {
			if (strcmp(config_keys_table[j].section,
				   section->name) == 0)
				help_key_man(out, &config_keys_table[j]);
		}
		fprintf(out, ".El\n");
	}
}

static void help_option_text(FILE *out, const struct options_option *option)
{
	int at = fprintf(out, "  --%s%s%s", option->name,
			 option->argument ? " " : "",
			 option->argument ? option->argument : "");

	if (at > 28) {
		fputc('\n', out);
		at = 0;
	}
	help_wrap(out, option->summary, 30, (unsigned int)at);
}

/* The options that @verb has. */
static void help_verb_options_text(FILE *out, enum verb verb)
{
	for (unsigned int i = 0; i < options_count; i++) {
		if (options_table[i].verbs & 1u << verb)
			help_option_text(out, &options_table[i]);
	}
}

static void help_usage_line(FILE *out, const struct options_verb *verb)
{
	fprintf(out, "usage: sluice %s%s%s [OPTION]...\n", verb->name,
		*verb->arguments ? " " : "", verb->arguments);
}

void help_usage_text(FILE *out)
{
	fprintf(out,
		"usage: sluice COMMAND [ARGUMENT]... [OPTION]...\n"
		"\n"
		"Runs Linux in a microVM, its devices' memory accesses behind an IOMMU.\n"
		"\n");
	for (unsigned int i = 0; i < options_verb_count; i++) {
		const struct options_verb *verb = &options_verbs[i];
		int at = fprintf(out, "  %s %s", verb->name, verb->arguments);

		if (at > 20) {
			fputc('\n', out);
			at = 0;
		}
		help_wrap(out, verb->summary, 22, (unsigned int)at);
	}
	fputc('\n', out);
	help_verb_options_text(out, VERB_NONE);
	fprintf(out,
		"\nsluice help config explains the INI file; see also sluice(1).\n");
}

static void help_one_verb(FILE *out, const struct options_verb *verb)
{
	help_usage_line(out, verb);
	fputc('\n', out);
	help_wrap(out, verb->summary, 0, 0);
	fputc('\n', out);
	help_verb_options_text(out, verb->verb);
}

void help_options_text(FILE *out)
{
	for (unsigned int i = 0; i < options_verb_count; i++) {
		fprintf(out, "%s", i ? "\n" : "");
		help_one_verb(out, &options_verbs[i]);
	}
}

static void help_option_man(FILE *out, const struct options_option *option)
{
	fprintf(out, ".It Fl Fl %s", option->name);
	if (option->argument)
		fprintf(out, " Ar %s", option->argument);
	fputc('\n', out);
	help_roff(out, option->summary);
}

void help_options_man(FILE *out)
{
	fprintf(out, ".Bl -tag -width Ds\n");
	for (unsigned int i = 0; i < options_verb_count; i++) {
		const struct options_verb *verb = &options_verbs[i];

		fprintf(out, ".It Cm %s", verb->name);
		if (*verb->arguments) {
			fprintf(out, " Ar");
			help_roff_words(out, verb->arguments);
		}
		fputc('\n', out);
		help_roff(out, verb->summary);
		fprintf(out, ".Bl -tag -width Ds\n");
		for (unsigned int j = 0; j < options_count; j++) {
			const struct options_option *option = &options_table[j];

			if (option->verbs & 1u << verb->verb)
				help_option_man(out, option);
		}
		fprintf(out, ".El\n");
	}
	fprintf(out, ".El\n");
}

/* `sluice help TOPIC`. False: there is no such topic. */
static bool help_topic(const struct options *options, const char *topic)
{
	const struct options_verb *verb = options_find_verb(topic);
	bool man = options->format == FORMAT_MAN;

	if (strcmp(topic, "config") == 0)
		(man ? help_config_man : help_config_text)(stdout);
	else if (strcmp(topic, "options") == 0)
		(man ? help_options_man : help_options_text)(stdout);
	else if (verb)
		help_one_verb(stdout, verb);
	else
		return false;
	return true;
}

int help_verb(const struct options *options)
{
	const char *topic = options->topic;
	char line[160];

	if (options->help && options->verb != VERB_NONE)
		topic = options_verbs[options->verb - VERB_RUN].name;
	if (!topic) {
		help_usage_text(stdout);
	} else if (!help_topic(options, topic)) {
		snprintf(line, sizeof(line),
			 "sluice: help: %.60s: no such topic (config, options "
			 "or a command)",
			 topic);
		problems_print(line);
		return EXIT_STATUS_CONFIGURATION;
	}
	return EXIT_STATUS_OK;
}
