/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/config_entries.h"

#include "cli/config_keys.h"
#include "cli/problems.h"
#include "devices/error.h"
#include "memory/base.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define GROW_BY 16

/* Room for "disk.NAME.read_only" and for a wrong name that is shown cut. */
#define WHAT_MAX 160

void config_entries_init(struct config_entries *entries, const char *file,
			 struct problems *problems)
{
	*entries =
		(struct config_entries){ .file = file, .problems = problems };
}

void config_entries_destroy(struct config_entries *entries)
{
	for (unsigned int i = 0; i < entries->count; i++)
		free(entries->list[i].value);
	free(entries->list);
	free(entries->sections);
}

void config_entries_report(const struct config_entries *entries,
			   unsigned int line, const char *what, const char *why)
{
	const char *colon = *what ? ": " : "";

	if (line)
		problems_add(entries->problems, EXIT_STATUS_CONFIGURATION,
			     "%.600s:%u: %s%s%s", entries->file, line, what,
			     colon, why);
	else
		problems_add(entries->problems, EXIT_STATUS_CONFIGURATION,
			     "sluice: --set %s%s%s", what, colon, why);
}

static void entries_report_memory(struct config_entries *entries)
{
	if (!entries->out_of_memory)
		problems_add(entries->problems, EXIT_STATUS_INTERNAL,
			     "sluice: configuration: out of memory");
	entries->out_of_memory = true;
}

/* Makes room for one more of @size bytes behind @count of them. */
static void *entries_grow(void *array, unsigned int count, size_t size)
{
	if (count % GROW_BY != 0)
		return array;
	return reallocarray(array, count + GROW_BY, size);
}

unsigned int config_entries_find_section(const struct config_entries *entries,
					 const char *name)
{
	for (unsigned int i = 0; i < entries->section_count; i++) {
		if (strcmp(entries->sections[i].name, name) == 0)
			return i;
	}
	return CONFIG_ENTRIES_NONE;
}

unsigned int config_entries_add_section(struct config_entries *entries,
					const char *name, unsigned int line)
{
	unsigned int index = config_entries_find_section(entries, name);
	const struct config_section *kind;
	struct config_entry_section *grown;
	struct error error;

	if (index != CONFIG_ENTRIES_NONE)
		return index;
	kind = config_keys_find_section(name, &error);
	if (kind && config_keys_section_is_not_yet(kind)) {
		error_set(&error, EXIT_STATUS_CONFIGURATION,
			  "not available in this version");
		kind = NULL;
	}
	if (!kind) {
		char shown[WHAT_MAX];

		snprintf(shown, sizeof(shown), "%.100s", name);
		config_entries_report(entries, line, *shown ? shown : "[]",
				      error.text);
		return CONFIG_ENTRIES_NONE;
	}
	grown = entries_grow(entries->sections, entries->section_count,
			     sizeof(*grown));
	if (!grown) {
		entries_report_memory(entries);
		return CONFIG_ENTRIES_NONE;
	}
	entries->sections = grown;
	index = entries->section_count++;
	grown[index] =
		(struct config_entry_section){ .kind = kind, .line = line };
	snprintf(grown[index].name, sizeof(grown[index].name), "%s", name);
	return index;
}

static struct config_entry *entries_find(const struct config_entries *entries,
					 unsigned int section, const char *key)
{
	for (unsigned int i = 0; i < entries->count; i++) {
		struct config_entry *entry = &entries->list[i];

		if (entry->section == section &&
		    strcmp(entry->key->name, key) == 0)
			return entry;
	}
	return NULL;
}

const struct config_entry *
config_entries_find(const struct config_entries *entries, unsigned int section,
		    const char *key)
{
	return entries_find(entries, section, key);
}

/* Puts another value into the entry; NULL when there is no memory for it. */
static struct config_entry *entries_replace(struct config_entries *entries,
					    struct config_entry *entry,
					    const char *value,
					    unsigned int line)
{
	char *copy = strdup(value);

	if (!copy) {
		entries_report_memory(entries);
		return NULL;
	}
	free(entry->value);
	entry->value = copy;
	entry->line = line;
	return entry;
}

unsigned int config_entries_add(struct config_entries *entries,
				unsigned int section, const char *name,
				const char *value, unsigned int line)
{
	const struct config_entry_section *in = &entries->sections[section];
	struct config_entry *entry = entries_find(entries, section, name);
	const struct config_key *key;
	struct config_entry *grown;
	struct error error;
	char what[WHAT_MAX];

	snprintf(what, sizeof(what), "%s.%.80s", in->name, name);
	if (entry && line) {
		error_set(&error, EXIT_STATUS_CONFIGURATION,
			  "given twice, first in line %u", entry->line);
		config_entries_report(entries, line, what, error.text);
		return CONFIG_ENTRIES_NONE;
	}
	key = config_keys_find(in->kind, name, &error);
	if (!key) {
		config_entries_report(entries, line, what, error.text);
		return CONFIG_ENTRIES_NONE;
	}
	if (!entry) {
		grown = entries_grow(entries->list, entries->count,
				     sizeof(*grown));
		if (!grown) {
			entries_report_memory(entries);
			return CONFIG_ENTRIES_NONE;
		}
		entries->list = grown;
		entry = &grown[entries->count];
		*entry =
			(struct config_entry){ .section = section, .key = key };
		if (!entries_replace(entries, entry, value, line))
			return CONFIG_ENTRIES_NONE;
		return entries->count++;
	}
	entries_replace(entries, entry, value, line);
	return (unsigned int)(entry - entries->list);
}

void config_entries_append(struct config_entries *entries, unsigned int index,
			   const char *more)
{
	struct config_entry *entry = &entries->list[index];
	size_t len = strlen(entry->value);
	char *grown = realloc(entry->value, len + strlen(more) + 2);

	if (!grown) {
		entries_report_memory(entries);
		return;
	}
	entry->value = grown;
	if (len > 0)
		grown[len++] = ' ';
	memcpy(grown + len, more, strlen(more) + 1);
}

/* The line that says most of @key of @section; 0: --set did. */
static unsigned int entries_line(const struct config_entries *entries,
				 const char *section, const char *key)
{
	unsigned int index = config_entries_find_section(entries, section);
	const struct config_entry *entry;

	if (index == CONFIG_ENTRIES_NONE)
		return 1;
	entry = entries_find(entries, index, key);
	return entry ? entry->line : entries->sections[index].line;
}

void config_entries_report_error(const struct config_entries *entries,
				 const struct error *error)
{
	const char *colon = strstr(error->text, ": ");
	const char *dot =
		colon ? memrchr(error->text, '.', (size_t)(colon - error->text))
		      : NULL;
	const struct config_section *kind;
	char section[CONFIG_SECTION_NAME_MAX];
	char key[32];

	if (!dot || error->status != EXIT_STATUS_CONFIGURATION)
		goto plain;
	snprintf(section, sizeof(section), "%.*s", (int)(dot - error->text),
		 error->text);
	snprintf(key, sizeof(key), "%.*s", (int)(colon - dot - 1), dot + 1);
	kind = config_keys_find_section(section, NULL);
	if (!kind || !config_keys_find(kind, key, NULL))
		goto plain;
	config_entries_report(entries, entries_line(entries, section, key), "",
			      error->text);
	return;

plain:
	problems_add_error(entries->problems, error);
}

/* One --set; @text is "section.key=value", split at the last dot before the first "=". */
static void entries_set_one(struct config_entries *entries, const char *text)
{
	const char *equals = strchr(text, '=');
	const char *dot = equals ? memrchr(text, '.', (size_t)(equals - text))
				 : NULL;
	char what[WHAT_MAX];
	char section[WHAT_MAX];
	char key[WHAT_MAX];
	unsigned int index;

	snprintf(what, sizeof(what), "%.100s", text);
	if (!dot || dot == text || dot + 1 == equals) {
		config_entries_report(entries, 0, *what ? what : "\"\"",
				      "expected section.key=value");
		return;
	}
	if (equals - text >= WHAT_MAX) {
		config_entries_report(entries, 0, what, "unknown section");
		return;
	}
	snprintf(what, sizeof(what), "%.*s", (int)(equals - text), text);
	snprintf(section, sizeof(section), "%.*s", (int)(dot - text), text);
	snprintf(key, sizeof(key), "%.*s", (int)(equals - dot - 1), dot + 1);
	for (const char *at = equals + 1; *at; at++) {
		if ((unsigned char)*at < 0x20 || *at == 0x7f) {
			config_entries_report(entries, 0, what,
					      "a control character");
			return;
		}
	}
	index = config_entries_add_section(entries, section, 0);
	if (index != CONFIG_ENTRIES_NONE)
		config_entries_add(entries, index, key, equals + 1, 0);
}

void config_entries_set(struct config_entries *entries, const char *const *sets,
			unsigned int count)
{
	for (unsigned int i = 0; i < count; i++)
		entries_set_one(entries, sets[i]);
}
