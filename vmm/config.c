/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm/config.h"

#include <stdlib.h>

void vmm_config_destroy(struct vmm_config *config)
{
	unsigned int i;

	free(config->name);
	free(config->kernel);
	free(config->initrd);
	free(config->cmdline);
	free(config->console_path);
	for (i = 0; i < config->disk_count; i++)
		free(config->disks[i].path);
	for (i = 0; i < config->net_count; i++) {
		free(config->nets[i].tap);
		free(config->nets[i].passt);
	}
	free(config->sandbox.user);
	free(config->sandbox.group);
	free(config->sandbox.cgroup);
	free(config->sandbox.cpu_max);
	free(config->stats_path);
	free(config->log_path);
}
