/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The host's side of a [net.NAME]: the descriptors of its tap, or passt's socket
 * and process. Opened with the other files (vmm/files.h).
 */
#ifndef VMM_NET_FILES_H
#define VMM_NET_FILES_H

#include "devices/tap.h"

#include <stdbool.h>
#include <sys/types.h>

struct error;
struct net_config;

struct net_files {
	unsigned int count; /* of descriptors; 0: none, or taken */
	int fds[TAP_QUEUES_MAX];
	pid_t passt; /* 0, or a process of ours */
};

/* `tap = new:NAME`, `passt = auto` */
#define NET_FILES_NEW "new:"
#define NET_FILES_AUTO "auto"

/*
 * Opens what @net names, tap or passt. 0, or -1 with @error ("net.eth0.tap: why")
 * and nothing open.
 */
int net_files_open(struct net_files *files, const struct net_config *net,
		   struct error *error);

/* Also for zeroed ones. Whatever took the descriptors has closed them. */
void net_files_close(struct net_files *files);

/* What was found out about a tap; of passt nothing is known. */
struct net_files_found {
	unsigned int mtu; /* 0: not known */
	bool is_down;
};

/*
 * Whether that would work, with nothing left open or running. `passt = auto` is
 * not started, only looked for. 0 or -1 as above.
 */
int net_files_check(const struct net_config *net, struct net_files_found *found,
		    struct error *error);

#endif
