/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm/config.h"

#include <stdlib.h>
#include <string.h>

/* FNV-1a, 64 bits: http://www.isthe.com/chongo/tech/comp/fnv/ */
#define FNV_START UINT64_C(0xcbf29ce484222325)
#define FNV_PRIME UINT64_C(0x100000001b3)

static uint64_t hash_add(uint64_t hash, const char *text)
{
	/* With the 0 at its end: "a" and "bc" are not "ab" and "c". */
	do
		hash = (hash ^ (uint8_t)*text) * FNV_PRIME;
	while (*text++);
	return hash;
}

void net_config_mac(const struct vmm_config *config,
		    const struct net_config *net, uint8_t mac[static 6])
{
	static const uint8_t none[6];
	uint64_t hash = FNV_START;
	unsigned int i;

	memcpy(mac, net->mac, sizeof(none));
	if (memcmp(mac, none, sizeof(none)) != 0)
		return;
	hash = hash_add(hash, config->name ? config->name : "");
	hash = hash_add(hash, net->name);
	for (i = 0; i < sizeof(none); i++)
		mac[i] = (uint8_t)(hash >> 8 * i);
	/* One machine's, locally administered. */
	mac[0] = (uint8_t)((mac[0] & ~1) | 2);
}

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
