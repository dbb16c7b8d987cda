/* SPDX-License-Identifier: Apache-2.0 */
/* What `sluice check` finds out about networks: it opens them as `run` would. */
#include "cli/check_files.h"

#include "cli/config_entries.h"
#include "cli/problems.h"
#include "devices/error.h"
#include "vmm/config.h"
#include "vmm/net_files.h"

#include <stdio.h>

static void check_tap(const struct net_config *net,
		      const struct net_files_found *found)
{
	if (found->is_down)
		check_warn(
			"net.%s.tap: %s is down: it takes no packets; mend it "
			"with: sudo ip link set %s up",
			net->name, net->tap, net->tap);
	if (found->mtu != 0 && net->mtu > found->mtu)
		check_warn(
			"net.%s.mtu: %u is more than the tap's %u: the host "
			"loses large packets; mend it with: sudo ip link set "
			"%s mtu %u",
			net->name, net->mtu, found->mtu, net->tap, net->mtu);
}

static void check_net(const struct check *check, const struct net_config *net)
{
	struct net_files_found found;
	struct error error;
	unsigned int mtu;
	uint8_t mac[6];
	char size[32] = "";

	if (net_files_check(net, &found, &error) != 0) {
		config_entries_report_error(check->entries, &error);
		return;
	}
	if (net->tap)
		check_tap(net, &found);
	mtu = net->mtu != 0 ? net->mtu : found.mtu;
	if (mtu != 0)
		snprintf(size, sizeof(size), ", MTU %u", mtu);
	net_config_mac(check->config, net, mac);
	check_line(net->name,
		   "%s %s: %u pair%s of queues%s, "
		   "MAC %02x:%02x:%02x:%02x:%02x:%02x",
		   net->tap ? "tap" : "passt", net->tap ? net->tap : net->passt,
		   net->queues, net->queues > 1 ? "s" : "", size, mac[0],
		   mac[1], mac[2], mac[3], mac[4], mac[5]);
}

void check_nets(const struct check *check)
{
	const struct vmm_config *config = check->config;
	const struct net_config *net;
	unsigned int i;

	printf("\nnetworks\n");
	for (i = 0; i < config->net_count; i++) {
		net = &config->nets[i];
		/* The other cases loading has told of. */
		if (!net->tap != !net->passt)
			check_net(check, net);
	}
	if (config->net_count == 0)
		printf("  none\n");
}
