/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The INI file, its values, and --set. The input is the file; what stands
 * behind the first 0xff byte, if any, is split at further ones into --set
 * values.
 */
#include "cli/config_entries.h"
#include "cli/config_load.h"
#include "cli/problems.h"
#include "vmm/config.h"

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define SETS_MAX 8

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* A report is one line, in which nothing can play with a terminal. */
static void check_line(void *context, const char *line)
{
	(void)context;
	if (!*line)
		abort();
	for (; *line; line++) {
		if ((unsigned char)*line < 0x20 || *line == 0x7f)
			abort();
	}
}

/* What the rooms below rely on, whatever the file said. */
static void check_config(const struct vmm_config *config, int err)
{
	if (config->order_count > CONFIG_DEVICES_MAX ||
	    config->disk_count + config->net_count != config->order_count)
		abort();
	if (err)
		return;
	if (!config->name || !config->kernel || !config->cmdline ||
	    !config->vcpus || !config->memory ||
	    strlen(config->cmdline) > CONFIG_CMDLINE_MAX)
		abort();
	if ((config->console == CONSOLE_FILE) && !config->console_path)
		abort();
	for (unsigned int i = 0; i < config->disk_count; i++) {
		const struct disk_config *disk = &config->disks[i];

		if (!disk->path || !disk->queues || !disk->name[0])
			abort();
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct problems problems = { .report = check_line };
	struct config_entries entries;
	struct vmm_config config;
	const char *sets[SETS_MAX];
	unsigned int count = 0;
	char *text = malloc(size + 1);
	size_t file_size = size;
	char *at;
	int err;

	if (!text)
		return 0;
	memcpy(text, data, size);
	text[size] = 0;
	at = memchr(text, 0xff, size);
	if (at) {
		file_size = (size_t)(at - text);
		while (at && count < SETS_MAX) {
			*at++ = 0;
			sets[count++] = at;
			at = strchr(at, 0xff);
		}
	}
	config_entries_init(&entries, "dir/fuzz.ini", &problems);
	err = config_load_text(&config, &entries, text, file_size, sets, count);
	if ((err != 0) != (problems.count != 0))
		abort();
	check_config(&config, err);
	vmm_config_destroy(&config);
	config_entries_destroy(&entries);
	free(text);
	return 0;
}
