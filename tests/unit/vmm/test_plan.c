/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm/plan.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "devices/error.h"
#include "tests/unit/vmm/boot_support.h"

/* Large; each test is a process of its own. */
static struct vmm_config config;
static struct plan plan;
static struct error error;

static void expect_refusal(const char *text)
{
	memset(&error, 0, sizeof(error));
	cr_assert_eq(plan_make(&plan, &config, &error), -1);
	cr_expect_eq(error.status, EXIT_STATUS_CONFIGURATION);
	cr_expect(strstr(error.text, text), "'%s' says nothing of '%s'",
		  error.text, text);
}

Test(plan, ram_lies_below_3_gib_and_goes_on_at_4_gib)
{
	static const struct {
		uint64_t memory;
		unsigned int count;
		uint64_t low, high;
	} cases[] = {
		{ 2 * MIB, 1, 2 * MIB, 0 },
		{ 128 * MIB, 1, 128 * MIB, 0 },
		{ 3 * GIB, 1, 3 * GIB, 0 },
		{ 3 * GIB + 4 * KIB, 2, 3 * GIB, 4 * KIB },
		{ 4 * GIB, 2, 3 * GIB, GIB },
		{ 1024 * GIB, 2, 3 * GIB, 1021 * GIB },
	};
	size_t i;

	make_config(&config);
	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		config.memory = cases[i].memory;
		cr_assert_eq(plan_make(&plan, &config, &error), 0);
		cr_expect_eq(plan.ram_count, cases[i].count);
		cr_expect_eq(plan.ram[0].first, 0);
		cr_expect_eq(plan.ram[0].size, cases[i].low);
		if (plan.ram_count == 1)
			continue;
		cr_expect_eq(plan.ram[1].first, 4 * GIB);
		cr_expect_eq(plan.ram[1].size, cases[i].high);
	}
}

Test(plan, memory_that_cannot_be_is_refused)
{
	static const struct {
		uint64_t memory;
		enum guest_memory_pages pages;
		const char *text;
	} cases[] = {
		{ 0, GUEST_MEMORY_SMALL_PAGES, "too few" },
		{ MIB, GUEST_MEMORY_SMALL_PAGES, "too few" },
		{ 128 * MIB + 1, GUEST_MEMORY_SMALL_PAGES,
		  "no multiple of 4K" },
		{ 129 * MIB, GUEST_MEMORY_2M, "no multiple of 2M" },
		{ GUEST_MEMORY_END, GUEST_MEMORY_SMALL_PAGES, "more than" },
		{ UINT64_MAX - 4095, GUEST_MEMORY_SMALL_PAGES, "more than" },
	};
	size_t i;

	make_config(&config);
	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		config.memory = cases[i].memory;
		config.pages = cases[i].pages;
		expect_refusal(cases[i].text);
		expect_refusal("machine.memory: ");
	}
}

Test(plan, vcpus_out_of_range_are_refused)
{
	make_config(&config);
	config.vcpus = 0;
	expect_refusal("machine.vcpus: ");
	config.vcpus = CONFIG_VCPUS_MAX + 1;
	expect_refusal("machine.vcpus: ");
}

Test(plan, devices_get_windows_and_pins_in_file_order)
{
	unsigned int i;

	make_config(&config);
	add_disk(&config, "b");
	add_disk(&config, "a");
	config.order[0].index = 1;
	config.order[1].index = 0;
	cr_assert_eq(plan_make(&plan, &config, &error), 0);
	cr_assert_eq(plan.device_count, 2);
	cr_expect_str_eq(plan.devices[0].name, "a");
	cr_expect_eq(plan.devices[0].index, 1);
	cr_expect_str_eq(plan.devices[1].name, "b");
	for (i = 0; i < 2; i++) {
		cr_expect_eq(plan.devices[i].type, PLANNED_BLOCK);
		cr_expect_eq(plan.devices[i].mmio, 0xd0000000 + i * 0x1000);
		cr_expect_eq(plan.devices[i].irq, 5 + i);
		cr_expect_eq(plan.devices[i].endpoint, PLAN_NO_ENDPOINT);
	}
}

Test(plan, iommu_comes_first_and_the_others_are_its_endpoints)
{
	make_config(&config);
	config.iommu.enabled = true;
	add_disk(&config, "a");
	add_disk(&config, "b");
	cr_assert_eq(plan_make(&plan, &config, &error), 0);
	cr_assert_eq(plan.device_count, 3);
	cr_expect_eq(plan.devices[0].type, PLANNED_IOMMU);
	cr_expect_eq(plan.devices[0].endpoint, PLAN_NO_ENDPOINT);
	cr_expect_eq(plan.devices[1].endpoint, 1);
	cr_expect_eq(plan.devices[2].endpoint, 2);
	cr_expect_eq(plan.devices[2].mmio, 0xd0002000);
	cr_expect_str_eq(planned_type_name(plan.devices[0].type),
			 "virtio-iommu");
	cr_expect_str_eq(planned_type_name(plan.devices[1].type), "virtio-blk");
}

Test(plan, too_little_memory_for_tables_is_refused)
{
	make_config(&config);
	config.iommu.tables = 1 * MIB - 1;
	cr_assert_eq(plan_make(&plan, &config, &error), 0);
	config.iommu.enabled = true;
	expect_refusal("iommu.tables: ");
	expect_refusal("1M at least");
	config.iommu.tables = 1 * MIB;
	cr_assert_eq(plan_make(&plan, &config, &error), 0);
}

Test(plan, burst_without_bandwidth_is_refused)
{
	make_config(&config);
	add_disk(&config, "a");
	add_disk(&config, "b");
	config.disks[1].rate.ops = 100;
	cr_assert_eq(plan_make(&plan, &config, &error), 0);
	config.disks[1].rate.burst = MIB;
	expect_refusal("disk.b.burst: ");
	config.disks[1].rate.bandwidth = MIB;
	cr_assert_eq(plan_make(&plan, &config, &error), 0);
}

static void add_net(struct vmm_config *to, const char *name, const char *tap,
		    const char *passt)
{
	struct net_config *net = &to->nets[to->net_count];

	snprintf(net->name, sizeof(net->name), "%s", name);
	net->tap = (char *)tap;
	net->passt = (char *)passt;
	net->queues = 1;
	to->order[to->order_count++] =
		(struct device_reference){ DEVICE_NET, to->net_count++ };
}

Test(plan, disks_and_nets_keep_the_order_of_the_file)
{
	make_config(&config);
	add_net(&config, "eth0", "t", NULL);
	add_disk(&config, "a");
	add_net(&config, "eth1", NULL, "auto");
	cr_assert_eq(plan_make(&plan, &config, &error), 0);
	cr_assert_eq(plan.device_count, 3);
	cr_expect_eq(plan.devices[0].type, PLANNED_NET);
	cr_expect_str_eq(plan.devices[0].name, "eth0");
	cr_expect_eq(plan.devices[1].type, PLANNED_BLOCK);
	cr_expect_eq(plan.devices[2].type, PLANNED_NET);
	cr_expect_eq(plan.devices[2].index, 1);
}

Test(plan, a_net_has_one_thing_that_carries_it)
{
	make_config(&config);
	add_net(&config, "eth0", NULL, NULL);
	expect_refusal("net.eth0.tap: is missing");
	config.nets[0].tap = (char *)"t";
	config.nets[0].passt = (char *)"auto";
	expect_refusal("net.eth0.passt: ");
	config.nets[0].tap = NULL;
	config.nets[0].queues = 2;
	expect_refusal("net.eth0.queues: ");
}

Test(plan, mac_addresses_come_from_the_names_or_are_given)
{
	uint8_t one[6], again[6], other[6];

	make_config(&config);
	config.name = (char *)"vm";
	add_net(&config, "eth0", "t", NULL);
	add_net(&config, "eth1", "u", NULL);
	net_config_mac(&config, &config.nets[0], one);
	net_config_mac(&config, &config.nets[0], again);
	net_config_mac(&config, &config.nets[1], other);
	cr_expect_arr_eq(one, again, 6);
	cr_expect_arr_neq(one, other, 6);
	cr_expect_eq(one[0] & 3, 2, "one machine's, locally administered");
	cr_expect_eq(other[0] & 3, 2);
	config.name = (char *)"vmeth0";
	net_config_mac(&config, &config.nets[0], other);
	cr_expect_arr_neq(one, other, 6);
	/* The same in every version. */
	cr_expect_arr_eq(
		one, ((uint8_t[]){ 0xde, 0x44, 0xb8, 0x73, 0xfd, 0xf2 }), 6);
	memcpy(config.nets[0].mac, "\x52\x54\0\1\2\3", 6);
	net_config_mac(&config, &config.nets[0], one);
	cr_expect_arr_eq(one, config.nets[0].mac, 6);
	config.name = NULL;
}

Test(plan, rng_comes_last)
{
	make_config(&config);
	config.rng = true;
	cr_assert_eq(plan_make(&plan, &config, &error), 0);
	cr_assert_eq(plan.device_count, 1);
	cr_expect_eq(plan.devices[0].endpoint, PLAN_NO_ENDPOINT);
	config.iommu.enabled = true;
	add_disk(&config, "a");
	cr_assert_eq(plan_make(&plan, &config, &error), 0);
	cr_assert_eq(plan.device_count, 3);
	cr_expect_eq(plan.devices[2].type, PLANNED_RNG);
	cr_expect_str_eq(plan.devices[2].name, "rng");
	cr_expect_eq(plan.devices[2].endpoint, 2);
	cr_expect_str_eq(planned_type_name(plan.devices[2].type), "virtio-rng");
}

Test(plan, more_devices_than_interrupt_lines_are_refused_by_number)
{
	char name[16];
	int i;

	make_config(&config);
	for (i = 0; i < 19; i++) {
		snprintf(name, sizeof(name), "d%d", i);
		add_disk(&config, name);
	}
	cr_assert_eq(plan_make(&plan, &config, &error), 0);
	cr_expect_eq(plan.device_count, 19);
	cr_expect_eq(plan.devices[18].irq, LAYOUT_IRQ_PINS - 1);

	config.iommu.enabled = true;
	expect_refusal("20 ");
	expect_refusal("at most 19");
	config.iommu.enabled = false;
	add_disk(&config, "one-more");
	expect_refusal("at most 19");
}

#define ROOT 1
#define READ_ONLY 2

Test(plan, command_line_gets_what_it_lacks)
{
	static const struct {
		const char *user;
		unsigned int disk;
		unsigned int partition;
		const char *effective;
	} cases[] = {
		{ NULL, 0, 0, "panic=-1" },
		{ "", 0, 0, "panic=-1" },
		{ "console=ttyS0", 0, 0, "console=ttyS0 panic=-1" },
		{ "  a  b  ", 0, 0, "a  b panic=-1" },
		{ "panic=5", 0, 0, "panic=5" },
		{ "a panic=0 b", 0, 0, "a panic=0 b" },
		{ "panic", 0, 0, "panic" },
		{ "\"panic=3\"", 0, 0, "\"panic=3\"" },
		/* What only looks like it. */
		{ "oops=panic", 0, 0, "oops=panic panic=-1" },
		{ "panic_on_oops=1", 0, 0, "panic_on_oops=1 panic=-1" },
		{ "x=\"a panic=5\"", 0, 0, "x=\"a panic=5\" panic=-1" },
		/* The root disk. */
		{ "a", ROOT, 0, "a panic=-1 root=/dev/vda rw" },
		{ "a", ROOT, 3, "a panic=-1 root=/dev/vda3 rw" },
		{ "a", ROOT | READ_ONLY, 0, "a panic=-1 root=/dev/vda ro" },
		{ "", ROOT, 0, "panic=-1 root=/dev/vda rw" },
		{ "root=LABEL=x", ROOT, 0, "root=LABEL=x panic=-1 rw" },
		{ "ro", ROOT, 0, "ro panic=-1 root=/dev/vda" },
		{ "rw", ROOT | READ_ONLY, 0, "rw panic=-1 root=/dev/vda" },
		{ "panic=1 root=/dev/vdb ro", ROOT, 2,
		  "panic=1 root=/dev/vdb ro" },
		{ "rootwait row=1", ROOT, 0,
		  "rootwait row=1 panic=-1 root=/dev/vda rw" },
		/* What is init's stays init's. */
		{ "a -- b", ROOT, 0, "a panic=-1 root=/dev/vda rw -- b" },
		{ "-- panic=1", 0, 0, "panic=-1 -- panic=1" },
		{ "a --b c", 0, 0, "a --b c panic=-1" },
	};
	char user[64];
	size_t i;

	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		make_config(&config);
		add_disk(&config, "disk");
		config.disks[0].root = cases[i].disk & ROOT;
		config.disks[0].read_only = cases[i].disk & READ_ONLY;
		config.disks[0].root_partition = cases[i].partition;
		snprintf(user, sizeof(user), "%s",
			 cases[i].user ? cases[i].user : "");
		config.cmdline = cases[i].user ? user : NULL;
		cr_assert_eq(plan_make(&plan, &config, &error), 0);
		cr_expect_str_eq(plan.cmdline, cases[i].effective);
	}
}

Test(plan, root_is_named_by_its_place_among_the_disks)
{
	make_config(&config);
	add_disk(&config, "a");
	config.order[config.order_count++].kind = DEVICE_NET;
	add_disk(&config, "b");
	add_disk(&config, "c");
	config.disks[2].root = true;
	cr_assert_eq(plan_make(&plan, &config, &error), 0);
	cr_expect_str_eq(plan.cmdline, "panic=-1 root=/dev/vdc rw");
}

Test(plan, second_root_disk_is_refused)
{
	make_config(&config);
	add_disk(&config, "a");
	add_disk(&config, "b");
	config.disks[0].root = true;
	config.disks[1].root = true;
	expect_refusal("disk.b.root: disk.a ");
}

Test(plan, command_line_may_have_2047_bytes_and_no_more)
{
	static char user[8192];
	size_t added = strlen(" panic=-1");

	make_config(&config);
	config.cmdline = user;
	memset(user, 'x', 2047 - added);
	cr_assert_eq(plan_make(&plan, &config, &error), 0);
	cr_expect_eq(strlen(plan.cmdline), 2047);
	user[2047 - added] = 'x';
	expect_refusal("boot.cmdline: 2048 bytes");
	memset(user, 'x', sizeof(user) - 1);
	expect_refusal("at most 2047");
	strcpy(user + 100, " -- ");
	memset(user + 104, 'x', sizeof(user) - 105);
	expect_refusal("at most 2047");
}
