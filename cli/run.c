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

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct run {
	const struct vmm_config *config;
	const struct config_entries *entries; /* which line an error belongs to */
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
	vm_files_open_own(&files);
	status = vmm_run(&options, &error);
	if (error.text[0])
		config_entries_report_error(run->entries, &error);
	return status;
}

/* Where messages go. 0, or -1 with @error. The file stays open to the end. */
static int run_open_log(const struct options *options, struct error *error)
{
	int fd = STDERR_FILENO;

	if (options->log) {
		fd = open(options->log,
			  O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOCTTY,
			  0644);
		if (fd < 0)
			return error_set(error, EXIT_STATUS_CONFIGURATION,
					 "--log: %s: %s", options->log,
					 strerror(errno));
	}
	log_open(fd, options->log_level);
	return 0;
}

static int run_configured(const struct options *options,
			  struct vmm_config *config,
			  const struct config_entries *entries,
			  uint64_t started_ns)
{
	struct run run = { .config = config,
			   .entries = entries,
			   .started_ns = started_ns };
	const struct supervised supervised = {
		.body = run_vm,
		.context = &run,
		.terminal_fd = config->console == CONSOLE_STDIO ? STDIN_FILENO
								: -1,
	};
	struct error error;

	config->boot_times = options->boot_times;
	if (options->stats) {
		config->stats_path = strdup(options->stats);
		if (!config->stats_path) {
			error_set(&error, EXIT_STATUS_INTERNAL,
				  "--stats: out of memory");
			goto failed;
		}
	}
	if (run_open_log(options, &error))
		goto failed;
	return supervise_run(&supervised);

failed:
	problems_add_error(entries->problems, &error);
	return (int)error.status;
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
