/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Three steps: the file's entries, --set over them, and then the values, by
 * the table: so a wrong value that --set replaces does no harm.
 */
#include "cli/config_load.h"

#include "cli/config_entries.h"
#include "cli/config_ini.h"
#include "cli/config_keys.h"
#include "cli/config_values.h"
#include "cli/problems.h"
#include "devices/error.h"
#include "memory/base.h"
#include "vmm/config.h"
#include "vmm/net_files.h"
#include "vmm/plan.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define FILE_MAX_BYTES MIB
#define READ_STEP (8 * KIB)

_Static_assert(CONFIG_SECTION_NAME_MAX > sizeof("disk.") + CONFIG_NAME_MAX,
	       "a section's name");

/* Where the value of a key is stored: a config, or one of its disks or nets. */
struct config_target {
	char *base;
	const char *
		file; /* that relative paths start from; NULL: the current directory */
};

static int load_no_memory(struct error *error)
{
	return error_set(error, EXIT_STATUS_INTERNAL, "out of memory");
}

/* Puts @text (NULL: out of memory) into the string at @place. */
static int load_replace(char **place, char *text, struct error *error)
{
	if (!text)
		return load_no_memory(error);
	free(*place);
	*place = text;
	return 0;
}

/* @path as seen from the directory of the file @from. NULL: out of memory. */
static char *load_resolve(const char *path, const char *from)
{
	const char *slash = from ? strrchr(from, '/') : NULL;
	size_t prefix = slash && path[0] != '/' ? (size_t)(slash - from) + 1
						: 0;
	size_t len = strlen(path);
	char *whole = malloc(prefix + len + 1);

	if (!whole)
		return NULL;
	memcpy(whole, from ? from : "", prefix);
	memcpy(whole + prefix, path, len + 1);
	return whole;
}

static int load_missing(struct error *error)
{
	return error_set(error, EXIT_STATUS_CONFIGURATION,
			 "a value is missing");
}

static int load_console(const struct config_target *target, const char *value,
			struct error *error)
{
	static const char prefix[] = "file:";
	static const char *const choices[] = { "stdio", "none", "file:PATH",
					       NULL };
	struct vmm_config *config = (struct vmm_config *)target->base;
	unsigned int index;

	if (strncmp(value, prefix, strlen(prefix)) == 0) {
		value += strlen(prefix);
		if (!*value)
			return error_set(error, EXIT_STATUS_CONFIGURATION,
					 "a path is missing: file:PATH");
		config->console = CONSOLE_FILE;
		return load_replace(&config->console_path,
				    load_resolve(value, target->file), error);
	}
	if (config_values_choice(value, choices, &index, error))
		return -1;
	config->console = index == 0 ? CONSOLE_STDIO : CONSOLE_NONE;
	return 0;
}

static int load_root(const struct config_key *key, struct disk_config *disk,
		     const char *value, struct error *error)
{
	unsigned int partition;
	bool root;

	if (value[0] < '0' || value[0] > '9') {
		if (config_values_boolean(value, &root, error))
			return error_set(
				error, EXIT_STATUS_CONFIGURATION,
				"%.60s is not yes, no or a partition's number",
				value);
		disk->root = root;
		disk->root_partition = 0;
		return 0;
	}
	if (config_values_count(value, key->min, key->max, &partition, error))
		return -1;
	disk->root = true;
	disk->root_partition = partition;
	return 0;
}

/* Judges @value and stores it. 0, or -1 with @error. */
static int load_value(const struct config_key *key,
		      const struct config_target *target, const char *value,
		      struct error *error)
{
	void *place = target->base + key->offset;

	switch (key->type) {
	case KEY_TEXT:
		return load_replace(place, strdup(value), error);
	case KEY_WORD:
	case KEY_TAP:
		return *value ? load_replace(place, strdup(value), error)
			      : load_missing(error);
	case KEY_NAME:
		if (config_values_name(value, error))
			return -1;
		return load_replace(place, strdup(value), error);
	case KEY_PATH:
		if (!*value)
			return load_missing(error);
		return load_replace(place, load_resolve(value, target->file),
				    error);
	case KEY_PASST:
		if (!*value)
			return load_missing(error);
		return load_replace(place,
				    strcmp(value, NET_FILES_AUTO) == 0
					    ? strdup(value)
					    : load_resolve(value, target->file),
				    error);
	case KEY_SIZE:
		return config_values_size(value, place, error);
	case KEY_DURATION:
		return config_values_duration(value, place, error);
	case KEY_COUNT:
		return config_values_count(value, key->min, key->max, place,
					   error);
	case KEY_BOOLEAN:
		return config_values_boolean(value, place, error);
	case KEY_CHOICE:
		/* The enumerations are unsigned int, as config_keys.c asserts. */
		return config_values_choice(value, key->choices, place, error);
	case KEY_ROOT:
		return load_root(key, (struct disk_config *)target->base, value,
				 error);
	case KEY_CONSOLE:
		return load_console(target, value, error);
	case KEY_MAC:
		return config_values_mac(value, place, error);
	}
	return error_set(error, EXIT_STATUS_INTERNAL,
			 "a type that nobody reads");
}

static void load_defaults(const char *section,
			  const struct config_target *target)
{
	for (unsigned int i = 0; i < config_keys_count; i++) {
		const struct config_key *key = &config_keys_table[i];
		struct error error;

		if (key->default_value && strcmp(key->section, section) == 0)
			load_value(key, target, key->default_value, &error);
	}
}

/* "/a/Web Server.ini" names the VM "web-server". */
static char *load_name_from_file(const char *file)
{
	const char *slash = strrchr(file, '/');
	const char *base = slash ? slash + 1 : file;
	const char *dot = strrchr(base, '.');
	size_t len = dot && dot != base ? (size_t)(dot - base) : strlen(base);
	char name[CONFIG_NAME_MAX + 1];
	size_t i;

	for (i = 0; i < len && i < CONFIG_NAME_MAX; i++) {
		char byte = base[i];

		if (byte >= 'A' && byte <= 'Z')
			byte = (char)(byte - 'A' + 'a');
		else if (!((byte >= 'a' && byte <= 'z') ||
			   (byte >= '0' && byte <= '9')))
			byte = '-';
		name[i] = byte;
	}
	if (i == 0)
		name[i++] = '-';
	name[i] = 0;
	return strdup(name);
}

/* Gives section @index, a disk or net, its place in @config. NULL: there are too many. */
static char *load_device(struct vmm_config *config,
			 const struct config_entry_section *section)
{
	bool is_disk = section->kind->place == PLACE_DISK;
	const char *name = strchr(section->name, '.') + 1;
	unsigned int index = is_disk ? config->disk_count : config->net_count;
	struct config_target target = { 0 };

	if (config->order_count == CONFIG_DEVICES_MAX)
		return NULL;
	config->order[config->order_count++] = (struct device_reference){
		.kind = is_disk ? DEVICE_DISK : DEVICE_NET,
		.index = index,
	};
	if (is_disk) {
		struct disk_config *disk = &config->disks[config->disk_count++];

		snprintf(disk->name, sizeof(disk->name), "%s", name);
		target.base = (char *)disk;
	} else {
		struct net_config *net = &config->nets[config->net_count++];

		snprintf(net->name, sizeof(net->name), "%s", name);
		target.base = (char *)net;
	}
	load_defaults(section->kind->name, &target);
	return target.base;
}

static void load_report(const struct config_entries *entries, unsigned int line,
			const char *section, const char *key, const char *why)
{
	char what[160];

	snprintf(what, sizeof(what), "%s%s%s", section, *key ? "." : "", key);
	config_entries_report(entries, line, what, why);
}

/* The entries of one section, into @base. */
static void load_section(const struct config_entries *entries,
			 unsigned int index, char *base)
{
	const struct config_entry_section *section = &entries->sections[index];

	for (unsigned int i = 0; i < entries->count; i++) {
		const struct config_entry *entry = &entries->list[i];
		struct config_target target = {
			.base = base,
			.file = entry->line ? entries->file : NULL,
		};
		struct error error;

		if (entry->section != index)
			continue;
		if (config_keys_is_not_yet(entry->key, entry->value)) {
			bool all = strcmp(entry->key->not_yet,
					  KEY_NOT_YET_AT_ALL) == 0;

			error_set(&error, EXIT_STATUS_CONFIGURATION,
				  "%s%snot available in this version",
				  all ? "" : entry->value, all ? "" : " is ");
		} else if (load_value(entry->key, &target, entry->value,
				      &error) == 0) {
			continue;
		}
		load_report(entries, entry->line, section->name,
			    entry->key->name, error.text);
	}
}

/* What section @name of kind @kind must have; @index may be CONFIG_ENTRIES_NONE. */
static void load_check_required(const struct config_entries *entries,
				unsigned int index, const char *kind,
				const char *name, unsigned int line)
{
	for (unsigned int i = 0; i < config_keys_count; i++) {
		const struct config_key *key = &config_keys_table[i];

		if (!key->required || strcmp(key->section, kind) != 0)
			continue;
		if (index == CONFIG_ENTRIES_NONE ||
		    !config_entries_find(entries, index, key->name))
			load_report(entries, line, name, key->name,
				    "is missing");
	}
}

static void load_sections(struct vmm_config *config,
			  const struct config_entries *entries)
{
	for (unsigned int i = 0; i < entries->section_count; i++) {
		const struct config_entry_section *section =
			&entries->sections[i];
		char *base = (char *)config;
		char why[64];

		if (section->kind->place != PLACE_VMM)
			base = load_device(config, section);
		if (!base) {
			snprintf(why, sizeof(why), "more than %d devices",
				 CONFIG_DEVICES_MAX);
			load_report(entries, section->line, section->name, "",
				    why);
			return;
		}
		load_section(entries, i, base);
		if (section->kind->named)
			load_check_required(entries, i, section->kind->name,
					    section->name, section->line);
	}
}

/* Rules that take more than one key are the plan's. */
static void load_check_plan(const struct config_entries *entries,
			    const struct vmm_config *config)
{
	struct error error;
	struct plan plan;

	if (plan_make(&plan, config, &error))
		config_entries_report_error(entries, &error);
}

/* The defaults of the sections that exist once, and what they must have. */
static void load_single_sections(struct vmm_config *config,
				 const struct config_entries *entries)
{
	const struct config_target whole = { .base = (char *)config };

	for (unsigned int i = 0; i < config_keys_section_count; i++) {
		const struct config_section *kind = &config_keys_sections[i];
		unsigned int index =
			config_entries_find_section(entries, kind->name);
		unsigned int line = 1;

		if (kind->named)
			continue;
		if (index != CONFIG_ENTRIES_NONE)
			line = entries->sections[index].line;
		load_defaults(kind->name, &whole);
		load_check_required(entries, index, kind->name, kind->name,
				    line);
	}
}

int config_load_text(struct vmm_config *config, struct config_entries *entries,
		     const char *data, size_t size, const char *const *sets,
		     unsigned int count)
{
	struct problems *problems = entries->problems;
	unsigned int before = problems->count;

	memset(config, 0, sizeof(*config));
	config_ini_parse(entries, data, size);
	config_entries_set(entries, sets, count);
	load_single_sections(config, entries);
	config->name = load_name_from_file(entries->file);
	if (!config->name)
		problems_add(problems, EXIT_STATUS_INTERNAL,
			     "sluice: %s: out of memory", entries->file);
	load_sections(config, entries);
	if (problems->count == before)
		load_check_plan(entries, config);
	return problems->count == before ? 0 : -1;
}

/* All of @fd, in *@data (the caller's to free) and *@size. 0, or -1 with @error. */
static int load_read(int fd, const char *file, char **data, size_t *size,
		     struct error *error)
{
	size_t room = 0;
	ssize_t got;

	*data = NULL;
	*size = 0;
	do {
		if (*size == room) {
			char *grown = realloc(*data, room + READ_STEP);

			if (!grown)
				return load_no_memory(error);
			*data = grown;
			room += READ_STEP;
		}
		got = read(fd, *data + *size, room - *size);
		if (got < 0)
			return error_set(error, EXIT_STATUS_CONFIGURATION,
					 "%s: %s", file, strerror(errno));
		*size += (size_t)got;
		if (*size > FILE_MAX_BYTES)
			return error_set(
				error, EXIT_STATUS_CONFIGURATION,
				"%s: more than 1 MiB: not a configuration",
				file);
	} while (got > 0);
	return 0;
}

int config_load(struct vmm_config *config, struct config_entries *entries,
		const char *const *sets, unsigned int count)
{
	int fd = open(entries->file, O_RDONLY | O_CLOEXEC);
	struct stat status = { 0 };
	struct error error;
	char *data = NULL;
	size_t size = 0;
	int err;

	memset(config, 0, sizeof(*config));
	if (fd < 0)
		err = error_set(&error, EXIT_STATUS_CONFIGURATION, "%s: %s",
				entries->file, strerror(errno));
	else
		err = load_read(fd, entries->file, &data, &size, &error);
	if (fd >= 0) {
		fstat(fd, &status);
		close(fd);
	}
	if (err)
		problems_add_error(entries->problems, &error);
	else
		err = config_load_text(config, entries, data, size, sets,
				       count);
	if (S_ISREG(status.st_mode)) {
		config->ini_device = status.st_dev;
		config->ini_inode = status.st_ino;
	}
	free(data);
	return err;
}
