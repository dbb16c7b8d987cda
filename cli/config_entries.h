/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sections and keys as they were written, before their values are judged: from
 * the INI file, then from --set, which replaces what the file says.
 */
#ifndef CLI_CONFIG_ENTRIES_H
#define CLI_CONFIG_ENTRIES_H

#include <stdbool.h>
#include <stddef.h>

struct config_key;
struct config_section;
struct error;
struct problems;

#define CONFIG_SECTION_NAME_MAX \
	48 /* bytes, with the 0; "disk." and a device's name fit */

struct config_entry_section {
	char name[CONFIG_SECTION_NAME_MAX]; /* "disk.root" */
	const struct config_section *kind;
	unsigned int line; /* of its first heading; 0: it came with --set */
};

struct config_entry {
	unsigned int section; /* index */
	const struct config_key *key;
	char *value;
	unsigned int line; /* 0: it came with --set */
};

struct config_entries {
	const char *file; /* as the user named it; the caller's */
	struct problems *problems; /* the caller's */
	unsigned int section_count;
	struct config_entry_section
		*sections; /* in the order of the file, then of --set */
	unsigned int count;
	struct config_entry *list;
	bool out_of_memory;
};

/* What an add function returns when nothing was added. */
#define CONFIG_ENTRIES_NONE (~0u)

void config_entries_init(struct config_entries *entries, const char *file,
			 struct problems *problems);
void config_entries_destroy(struct config_entries *entries);

/*
 * The section @name, known from before or new. CONFIG_ENTRIES_NONE, and the
 * problem reported, when there is no such section. @line: 0 for --set.
 */
unsigned int config_entries_add_section(struct config_entries *entries,
					const char *name, unsigned int line);

/*
 * Adds key @name with a copy of @value to section @section. CONFIG_ENTRIES_NONE,
 * and the problem reported, when the key is unknown or was given before; but a
 * @line of 0 (--set) replaces what was given.
 */
unsigned int config_entries_add(struct config_entries *entries,
				unsigned int section, const char *name,
				const char *value, unsigned int line);

/* Appends a blank and @more to the value of entry @index. */
void config_entries_append(struct config_entries *entries, unsigned int index,
			   const char *more);

/* The entry of @key in section @section, or NULL. */
const struct config_entry *
config_entries_find(const struct config_entries *entries, unsigned int section,
		    const char *key);

/* The section named @name, or CONFIG_ENTRIES_NONE. */
unsigned int config_entries_find_section(const struct config_entries *entries,
					 const char *name);

/* What --set says: each "section.key=value". Problems are reported. */
void config_entries_set(struct config_entries *entries, const char *const *sets,
			unsigned int count);

/*
 * Reports `FILE:LINE: what: why`, or for a @line of 0 `sluice: --set what: why`.
 * @what may be empty.
 */
void config_entries_report(const struct config_entries *entries,
			   unsigned int line, const char *what,
			   const char *why);

/*
 * Reports an error that was found later: `FILE:LINE: ` goes before a text that
 * starts with "section.key: ", `sluice: ` before any other.
 */
void config_entries_report_error(const struct config_entries *entries,
				 const struct error *error);

#endif
