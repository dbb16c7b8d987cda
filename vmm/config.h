/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a VM is to be: validated plain data, the boundary between cli/, which
 * fills it from an INI file and options, and vmm/, which builds from it. All
 * strings are the config's own (heap); absent ones are NULL.
 */
#ifndef VMM_CONFIG_H
#define VMM_CONFIG_H

#include "devices/console.h"
#include "devices/log.h"
#include "devices/rate_limit.h"
#include "memory/guest_memory.h"

#include <stdbool.h>
#include <stdint.h>

#define CONFIG_NAME_MAX 32 /* bytes of a device's name, without the 0 */
#define CONFIG_VCPUS_MAX \
	1024 /* the host's limit is checked when the VM starts */
#define CONFIG_DEVICES_MAX 24 /* disks and nets that an INI may name */
#define CONFIG_CMDLINE_MAX 2047 /* bytes that Linux takes on x86 */

enum disk_engine {
	DISK_ENGINE_AUTO,
	DISK_ENGINE_IO_URING,
	DISK_ENGINE_THREADS
};

struct disk_config {
	char name[CONFIG_NAME_MAX + 1];
	char *path;
	bool root;
	unsigned int root_partition; /* 0: the whole disk */
	bool read_only;
	unsigned int queues;
	enum disk_engine engine;
	struct rate_config rate;
};

struct net_config {
	char name[CONFIG_NAME_MAX + 1];
	char *tap;
	char *passt;
	uint8_t mac[6]; /* all 0: not given */
	unsigned int mtu; /* 0: not given */
	unsigned int queues;
	struct rate_config rate;
};

enum device_kind { DEVICE_DISK, DEVICE_NET };

/* The disks and nets in the order of the file. */
struct device_reference {
	enum device_kind kind;
	unsigned int index; /* into disks or nets */
};

enum seccomp_mode { SECCOMP_KILL, SECCOMP_LOG, SECCOMP_OFF };
enum iommu_service { IOMMU_SERVICE_INLINE, IOMMU_SERVICE_POLL };

struct vmm_config {
	/* [machine] */
	char *name;
	unsigned int vcpus;
	uint64_t memory; /* bytes, a multiple of 2 MiB or of the page size */
	enum guest_memory_pages pages;
	uint32_t stop_timeout_ms;

	/* [boot] */
	char *kernel;
	char *initrd;
	char *cmdline; /* as the user gave it */

	/* [console] */
	enum console_output console;
	char *console_path;

	/* [iommu] */
	struct {
		bool enabled;
		enum iommu_service service;
		uint64_t tables; /* bytes */
		bool bypass;
	} iommu;

	/* [disk.*], [net.*], [rng] */
	unsigned int disk_count;
	struct disk_config disks[CONFIG_DEVICES_MAX];
	unsigned int net_count;
	struct net_config nets[CONFIG_DEVICES_MAX];
	unsigned int order_count;
	struct device_reference order[CONFIG_DEVICES_MAX];
	bool rng;

	/* [sandbox] */
	struct {
		enum seccomp_mode seccomp;
		bool jail;
		char *user;
		char *group;
		char *cgroup;
		uint64_t memory_max; /* 0: none */
		char *cpu_max;
	} sandbox;

	/* The INI that all this is from, which nothing may be written to; or 0. */
	uint64_t ini_device, ini_inode;

	/* Options of `run`, not keys of the file. */
	char *stats_path;
	char *log_path; /* NULL: stderr */
	bool boot_times;
};

/*
 * The Ethernet address of @net: what was given, or one that the names of VM and
 * section always give again: locally administered, and whatever else is the same,
 * another one for another name.
 */
void net_config_mac(const struct vmm_config *config,
		    const struct net_config *net, uint8_t mac[static 6]);

/* Frees the strings. @config itself stays the caller's. */
void vmm_config_destroy(struct vmm_config *config);

#endif
