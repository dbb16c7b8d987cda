/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The configuration is read before the fork, so that its errors need no child,
 * and the child has it for nothing. Both processes count as the VM's memory:
 * no stdio, no locale, nothing kept that is not needed.
 */
#include "cli/run.h"

#include "cli/config_entries.h"
#include "cli/config_load.h"
#include "cli/options.h"
#include "cli/problems.h"
#include "cli/supervise.h"
#include "devices/error.h"
#include "devices/log.h"
#include "vmm/config.h"
#include "vmm/files.h"
#include "vmm/vmm.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct run {
	const struct vmm_config *config;
	const struct config_entries *entries; /* which line an error belongs to */
	enum log_level log_level;
	uint64_t started_ns;
};

/* The child. */
static int run_vm(void *context, int control_fd)
{
	const struct run *run = context;
	bool on_terminal = run->config->console == CONSOLE_STDIO;
	struct error error = { 0 };
	struct vm_files files;
	struct vmm_options options = {
		.config = run->config,
		.files = &files,
		.control_fd = control_fd,
		.console_in = on_terminal ? STDIN_FILENO : -1,
		.console_out = STDOUT_FILENO,
		.started_ns = run->started_ns,
	};
	int status;

	if (vm_files_open(&files, run->config, &error)) {
		config_entries_report_error(run->entries, &error);
		return (int)error.status;
	}
	log_open(files.log >= 0 ? files.log : STDERR_FILENO, run->log_level);
	vm_files_open_own(&files);
	status = vmm_run(&options, &error);
	if (error.text[0])
		config_entries_report_error(run->entries, &error);
	return status;
}

/* Keeps a copy of the path @path (NULL: none) in *@place. 0, or -1 with @error. */
static int run_keep_path(char **place, const char *option, const char *path,
			 struct error *error)
{
	if (!path)
		return 0;
	*place = strdup(path);
	if (!*place)
		return error_set(error, EXIT_STATUS_INTERNAL,
				 "%s: out of memory", option);
	return 0;
}

static int run_configured(const struct options *options,
			  struct vmm_config *config,
			  const struct config_entries *entries,
			  uint64_t started_ns)
{
	struct run run = { .config = config,
			   .entries = entries,
			   .log_level = options->log_level,
			   .started_ns = started_ns };
	const struct supervised supervised = {
		.body = run_vm,
		.context = &run,
		.terminal_fd = config->console == CONSOLE_STDIO ? STDIN_FILENO
								: -1,
	};
	struct error error;

	config->boot_times = options->boot_times;
	if (run_keep_path(&config->stats_path, "--stats", options->stats,
			  &error) ||
	    run_keep_path(&config->log_path, "--log", options->log, &error)) {
		problems_add_error(entries->problems, &error);
		return (int)error.status;
	}
	return supervise_run(&supervised);
}

int run_verb(const struct options *options, uint64_t started_ns)
{
	struct problems problems = { .report = problems_report_first,
				     .context = &problems };
	struct config_entries entries;
	struct vmm_config config;
	int status;

	config_entries_init(&entries, options->file, &problems);
	if (config_load(&config, &entries, options->sets, options->set_count))
		status = (int)problems.status;
	else
		status = run_configured(options, &config, &entries, started_ns);
	vmm_config_destroy(&config);
	config_entries_destroy(&entries);
	return status;
}
