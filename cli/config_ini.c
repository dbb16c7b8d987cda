/* SPDX-License-Identifier: Apache-2.0 */
/*
 * inih splits `key = value`, joins continuation lines to their key, and strips
 * comments. It also cuts lines at 199 bytes and names at 49, joins a line that
 * starts with a blank to whatever key was before, tells its handler no line
 * number, says nothing of sections, stops a line at a NUL, and (version 55)
 * leaves comments in continuation lines.
 *
 * So it sees no line that it would misread: the reader below hands it one line
 * of the file at a time, and puts an empty line in place of one that is wrong
 * (having reported it) or that is none of inih's business. What is left over:
 *
 *	- the handler is called for one line at the most, the one read last;
 *	- a continuation line reaches inih only behind a `cmdline` that was
 *	  accepted;
 *	- a line that should have made a call and made none has no "=".
 */
#include "cli/config_ini.h"

#include "cli/config_entries.h"
#include "cli/config_keys.h"
#include "memory/base.h"

#include <ini.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

struct ini_parser {
	struct config_entries *entries;
	const char *data;
	size_t size;
	size_t at;
	unsigned int line;
	unsigned int
		section; /* CONFIG_ENTRIES_NONE: before the first, or an unknown one */
	bool in_unknown_section; /* its keys are passed over in silence */
	unsigned int
		continued; /* the entry that an indented line adds to; NONE: none */
	bool after_wrong_line; /* its indented lines are passed over in silence */
	bool expect_call; /* the line read last is a key's or adds to one */
	bool is_continuation; /* the line read last adds to a key */
};

static bool is_blank(char byte)
{
	return byte == ' ' || byte == '\t';
}

static void ini_report(struct ini_parser *parser, const char *what,
		       const char *why)
{
	config_entries_report(parser->entries, parser->line, what, why);
}

/* The line fits into inih's buffer. False, and the problem reported, when not. */
static bool ini_check_length(struct ini_parser *parser, size_t len, size_t most)
{
	char why[128];

	if (len <= most)
		return true;
	snprintf(
		why, sizeof(why),
		"the line is too long: %zu bytes, at most %zu fit (cmdline may go on over "
		"indented lines)",
		len, most);
	ini_report(parser, "", why);
	return false;
}

/* The bytes of a line are text. False, and the problem reported, when not. */
static bool ini_check_bytes(struct ini_parser *parser, const char *text,
			    size_t len)
{
	for (size_t i = 0; i < len; i++) {
		unsigned char byte = (unsigned char)text[i];
		char why[64];

		if ((byte >= 0x20 && byte != 0x7f) || byte == '\t')
			continue;
		snprintf(why, sizeof(why),
			 "a control character (0x%02x) in column %zu", byte,
			 i + 1);
		ini_report(parser, "", why);
		return false;
	}
	return true;
}

/* "[NAME]" or "[NAME] ; comment", at @text of @len bytes. */
static void ini_begin_section(struct ini_parser *parser, const char *text,
			      size_t len)
{
	const char *end = memchr(text, ']', len);
	const char *rest = end ? end + 1 : text + len;
	const char *stop = text + len;
	char name[CONFIG_SECTION_NAME_MAX];

	parser->section = CONFIG_ENTRIES_NONE;
	parser->in_unknown_section = true;
	while (rest < stop && is_blank(*rest))
		rest++;
	if (!end) {
		ini_report(parser, "", "a section's heading without ]");
		return;
	}
	if (rest < stop && (*rest != ';' || rest == end + 1)) {
		ini_report(parser, "", "text behind a section's heading");
		return;
	}
	if ((size_t)(end - text - 1) >= sizeof(name)) {
		ini_report(parser, "", "a section's name is too long");
		return;
	}
	snprintf(name, sizeof(name), "%.*s", (int)(end - text - 1), text + 1);
	parser->section =
		config_entries_add_section(parser->entries, name, parser->line);
	parser->in_unknown_section = parser->section == CONFIG_ENTRIES_NONE;
}

/* A line was wrong as a whole: what belongs to it is passed over in silence. */
static void ini_pass_over(struct ini_parser *parser, const char *text,
			  bool indented)
{
	if (indented)
		return;
	parser->continued = CONFIG_ENTRIES_NONE;
	parser->after_wrong_line = true;
	if (text[0] == '[') {
		parser->section = CONFIG_ENTRIES_NONE;
		parser->in_unknown_section = true;
	}
}

/* Where a comment starts behind the text of a continuation line, or @len. */
static size_t ini_find_comment(const char *text, size_t len)
{
	for (size_t i = 1; i < len; i++) {
		if (text[i] == ';' && is_blank(text[i - 1]))
			return i;
	}
	return len;
}

/* Whether inih shall see the line, whose first byte that is not blank is at @first. */
static bool ini_admit(struct ini_parser *parser, const char *text, size_t len,
		      size_t first)
{
	bool indented = first > 0;

	if (first == len || text[first] == ';' || text[first] == '#')
		return false;
	if (indented) {
		parser->is_continuation = true;
		if (parser->continued != CONFIG_ENTRIES_NONE)
			return true;
		if (!parser->after_wrong_line && !parser->in_unknown_section)
			ini_report(
				parser, "",
				"an indented line: cmdline alone goes on over several lines");
		return false;
	}
	parser->continued = CONFIG_ENTRIES_NONE;
	parser->after_wrong_line = false;
	if (text[0] == '[') {
		ini_begin_section(parser, text, len);
		return false;
	}
	if (parser->in_unknown_section)
		return false;
	if (parser->section == CONFIG_ENTRIES_NONE) {
		ini_report(parser, "", "a key before the first [section]");
		return false;
	}
	return true;
}

/* The line read last should have reached the handler: it has no "=". */
static void ini_finish_line(struct ini_parser *parser)
{
	if (parser->expect_call)
		ini_report(parser, "", "neither a [section] nor key = value");
	parser->expect_call = false;
}

/* inih's fgets: one line, or NULL at the end. @room counts its newline and its 0. */
static char *ini_read_line(char *buffer, int room, void *stream)
{
	struct ini_parser *parser = stream;
	const char *text = parser->data + parser->at;
	size_t left = parser->size - parser->at;
	const char *newline = left ? memchr(text, '\n', left) : NULL;
	size_t len = newline ? (size_t)(newline - text) : left;
	size_t first = 0;
	bool admitted = false;

	ini_finish_line(parser);
	if (left == 0 || room < 2)
		return NULL;
	parser->at += len + (newline ? 1 : 0);
	parser->line++;
	parser->is_continuation = false;
	if (len > 0 && text[len - 1] == '\r')
		len--;
	while (first < len && is_blank(text[first]))
		first++;

	if (ini_check_length(parser, len, (size_t)room - 2) &&
	    ini_check_bytes(parser, text, len))
		admitted = ini_admit(parser, text, len, first);
	else
		ini_pass_over(parser, text, first > 0);
	parser->expect_call = admitted;
	if (!admitted)
		len = 0;
	if (parser->is_continuation)
		len = ini_find_comment(text, len);
	memcpy(buffer, text, len);
	buffer[len] = '\n';
	buffer[len + 1] = 0;
	return buffer;
}

/* inih's handler. Nonzero is success; it goes on in either case. */
static int ini_take(void *user, const char *section, const char *name,
		    const char *value)
{
	struct ini_parser *parser = user;

	(void)section; /* inih has not been told */
	parser->expect_call = false;
	if (parser->is_continuation) {
		config_entries_append(parser->entries, parser->continued,
				      value);
		return 1;
	}
	if (!*name) {
		ini_report(parser, "", "a key's name is missing");
		return 1;
	}
	parser->continued = config_entries_add(parser->entries, parser->section,
					       name, value, parser->line);
	if (strcmp(name, "cmdline") != 0) {
		parser->continued = CONFIG_ENTRIES_NONE;
	} else if (parser->continued == CONFIG_ENTRIES_NONE ||
		   parser->entries->list[parser->continued].key->type !=
			   KEY_TEXT) {
		parser->after_wrong_line = true;
	}
	return 1;
}

void config_ini_parse(struct config_entries *entries, const char *data,
		      size_t size)
{
	static const char byte_order_mark[] = "\xef\xbb\xbf";
	struct ini_parser parser = {
		.entries = entries,
		.data = size ? data : "",
		.size = size,
		.section = CONFIG_ENTRIES_NONE,
		.continued = CONFIG_ENTRIES_NONE,
	};

	if (size >= 3 && memcmp(data, byte_order_mark, 3) == 0)
		parser.at = 3;
	/* Its result is the first line that it disliked; the reader saw them all. */
	ini_parse_stream(ini_read_line, &parser, ini_take, &parser);
}
