/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm/net_files.h"

#include "devices/error.h"
#include "devices/passt.h"
#include "vmm/config.h"

#include <string.h>
#include <unistd.h>

/* "net.eth0.tap: why". Returns -1. */
static int name_key(const struct net_config *net, const char *key,
		    const struct error *why, struct error *error)
{
	return error_set(error, why->status, "net.%s.%s: %s", net->name, key,
			 why->text);
}

static int open_tap(struct net_files *files, const struct net_config *net,
		    struct error *error)
{
	size_t prefix = strlen(NET_FILES_NEW);
	bool create = strncmp(net->tap, NET_FILES_NEW, prefix) == 0;
	const char *name = create ? net->tap + prefix : net->tap;
	struct error why;

	if (tap_open(name, create, net->mtu, net->queues, files->fds, &why) !=
	    0)
		return name_key(net, "tap", &why, error);
	files->count = net->queues;
	return 0;
}

static int open_passt(struct net_files *files, const struct net_config *net,
		      struct error *error)
{
	struct error why;

	files->fds[0] = strcmp(net->passt, NET_FILES_AUTO) == 0
				? passt_start(&files->passt, &why)
				: passt_connect(net->passt, &why);
	if (files->fds[0] < 0) {
		files->passt = 0;
		return name_key(net, "passt", &why, error);
	}
	files->count = 1;
	return 0;
}

int net_files_open(struct net_files *files, const struct net_config *net,
		   struct error *error)
{
	*files = (struct net_files){ 0 };
	return net->tap ? open_tap(files, net, error)
			: open_passt(files, net, error);
}

void net_files_close(struct net_files *files)
{
	while (files->count > 0)
		close(files->fds[--files->count]);
	if (files->passt > 0)
		passt_end(files->passt);
	files->passt = 0;
}

int net_files_check(const struct net_config *net, struct net_files_found *found,
		    struct error *error)
{
	struct net_files files;
	struct error why;

	*found = (struct net_files_found){ 0 };
	if (!net->tap && strcmp(net->passt, NET_FILES_AUTO) == 0)
		return passt_find(&why) == 0
			       ? 0
			       : name_key(net, "passt", &why, error);
	if (net_files_open(&files, net, error) != 0)
		return -1;
	if (net->tap) {
		found->mtu = tap_mtu(files.fds[0]);
		found->is_down = !tap_is_up(files.fds[0]);
	}
	net_files_close(&files);
	return 0;
}
