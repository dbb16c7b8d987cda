/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The one place where a VM's files are opened, statistics included: all before
 * the sandbox closes, so that nothing later needs a path.
 */
#ifndef VMM_FILES_H
#define VMM_FILES_H

#include "vmm/config.h"
#include "vmm/net_files.h"

struct error;

struct vm_files {
	int kvm; /* -1 when not asked for */
	int kernel;
	int initrd; /* -1: none */
	int console; /* -1 unless [console] output = file:PATH */
	int stats; /* -1: none */
	int log; /* -1: messages go to stderr */
	int smaps[2]; /* /proc/PID/smaps of the VM's process and its parent; -1: none */
	int disks[CONFIG_DEVICES_MAX];
	struct net_files nets[CONFIG_DEVICES_MAX];
};

/* Nothing is open. */
void vm_files_init(struct vm_files *files);

/*
 * Opens what @config names. Errors name key or path and the reason; a missing
 * or forbidden /dev/kvm says how to mend it (EXIT_STATUS_HOST). On failure
 * everything is closed. 0 or -1.
 */
int vm_files_open(struct vm_files *files, const struct vmm_config *config,
		  struct error *error);
void vm_files_close(struct vm_files *files);

/*
 * Opens what belongs to the calling process, which runs the VM: smaps, its
 * own and its parent's, for the memory overhead in the statistics. Where that
 * fails it stays -1.
 */
void vm_files_open_own(struct vm_files *files);

/* Opens /dev/kvm alone: the fd, or -1 with @error. */
int vm_files_open_kvm(struct error *error);

#endif
