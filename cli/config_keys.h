/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every section and key of the INI file, with type, default and meaning: the
 * one table that parsing, defaults, `help config` and sluice.ini(5) come from.
 *
 * To make available what was not: clear `not_yet`, and set the default.
 */
#ifndef CLI_CONFIG_KEYS_H
#define CLI_CONFIG_KEYS_H

#include "cli/suggest.h"

#include <stdbool.h>
#include <stddef.h>

struct disk_config;
struct error;
struct net_config;
struct vmm_config;

enum key_type {
	KEY_TEXT, /* any text, possibly empty */
	KEY_WORD, /* any text, not empty */
	KEY_NAME,
	KEY_PATH, /* of a file, relative to the INI's directory */
	KEY_TAP, /* an interface, or new:NAME */
	KEY_PASST, /* auto, or the path of a socket */
	KEY_SIZE,
	KEY_DURATION,
	KEY_COUNT, /* min to max */
	KEY_BOOLEAN,
	KEY_CHOICE, /* choices */
	KEY_ROOT, /* yes, no, or a partition's number */
	KEY_CONSOLE, /* stdio, none, file:PATH */
	KEY_MAC,
};

/* Where a key's value goes. */
enum key_place { PLACE_VMM, PLACE_DISK, PLACE_NET };

#define KEY_NOT_YET_AT_ALL "*"

struct config_key {
	const char *section; /* "boot", or "disk" for [disk.NAME] */
	const char *name;
	enum key_type type;
	unsigned int min, max; /* KEY_COUNT; KEY_ROOT: of a partition */
	const char *const
		*choices; /* KEY_CHOICE: in the order of the enumeration */
	const char *default_value; /* NULL: absent */
	const char *
		default_words; /* what to tell of a default that is no value; NULL: none */
	bool required;
	/*
	 * What this version cannot do: values with a blank between them,
	 * KEY_NOT_YET_AT_ALL for each value, NULL for nothing.
	 */
	const char *not_yet;
	size_t offset; /* of the value, in the struct that the section's place says */
	const char *summary; /* one sentence */
};

struct config_section {
	const char *name; /* "boot", or "disk" for [disk.NAME] */
	bool named; /* it is written [NAME.name], any number of times */
	enum key_place place;
	const char *summary;
};

/* All of them, in the order of the documentation. */
extern const struct config_section config_keys_sections[];
extern const unsigned int config_keys_section_count;
extern const struct config_key config_keys_table[];
extern const unsigned int config_keys_count;

/*
 * The kind of section that @section ("boot", "disk.root") names. NULL with
 * @error, which suggests what was meant, when it names none.
 */
const struct config_section *config_keys_find_section(const char *section,
						      struct error *error);

/* The key @name of @section; NULL with @error as above. */
const struct config_key *config_keys_find(const struct config_section *section,
					  const char *name,
					  struct error *error);

/* Whether this version has no use for any key of @section. */
bool config_keys_section_is_not_yet(const struct config_section *section);

/* Whether this version cannot do what @value asks of @key. */
bool config_keys_is_not_yet(const struct config_key *key, const char *value);

/* Room for what config_keys_describe_type writes. */
#define CONFIG_KEYS_TYPE_MAX 96

/* "SIZE", "yes | no", "1 to 1024": what can be written behind the "=". Returns @buffer. */
const char *config_keys_describe_type(const struct config_key *key,
				      char buffer[static CONFIG_KEYS_TYPE_MAX]);

/* "128M", "the file's name", "none", "required". */
const char *config_keys_describe_default(const struct config_key *key);

#endif
