/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From an INI file and --set to a struct vmm_config.
 */
#ifndef CLI_CONFIG_LOAD_H
#define CLI_CONFIG_LOAD_H

#include <stddef.h>

struct config_entries;
struct vmm_config;

/*
 * Reads the file of @entries, which are new, and over it the @count @sets
 * ("section.key=value") into @config, which the caller destroys in any case
 * (vmm_config_destroy). Every problem is reported. Returns 0, or -1 when there
 * was one: what is wrong has its default then, and what is missing is NULL.
 * @entries goes on to know which line said what.
 */
int config_load(struct vmm_config *config, struct config_entries *entries,
		const char *const *sets, unsigned int count);

/* The same, of a file whose @size bytes at @data have been read. */
int config_load_text(struct vmm_config *config, struct config_entries *entries,
		     const char *data, size_t size, const char *const *sets,
		     unsigned int count);

#endif
