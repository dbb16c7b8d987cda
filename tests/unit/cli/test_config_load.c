/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/config_entries.h"
#include "cli/config_load.h"
#include "memory/base.h"
#include "tests/unit/cli/collect.h"
#include "vmm/config.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

/* Loads @text as the file "dir/vm.ini". */
static int load(struct vmm_config *config, struct collector *collector,
		const char *text, size_t size, const char *const *sets,
		unsigned int count)
{
	struct config_entries entries;
	int err;

	collector_init(collector);
	config_entries_init(&entries, "dir/vm.ini", &collector->problems);
	err = config_load_text(config, &entries, text, size, sets, count);
	config_entries_destroy(&entries);
	return err;
}

#define BOOT "[boot]\nkernel = k\n"

struct set_case {
	const char *set;
	const char *error; /* NULL: none */
};

static const struct set_case set_cases[] = {
	{ "machine.memory=1G", NULL },
	{ "disk.root.path=a.b=c.d", NULL },
	{ "boot.cmdline=a.b=c", NULL },
	{ "boot.cmdline=", NULL },
	{ "machine.memory",
	  "sluice: --set machine.memory: expected section.key=value\n" },
	{ "memory=1G",
	  "sluice: --set memory=1G: expected section.key=value\n" },
	{ ".memory=1G",
	  "sluice: --set .memory=1G: expected section.key=value\n" },
	{ "machine.=1G",
	  "sluice: --set machine.=1G: expected section.key=value\n" },
	{ "=", "sluice: --set =: expected section.key=value\n" },
	{ "", "sluice: --set \"\": expected section.key=value\n" },
	{ "machine.memroy=1G",
	  "sluice: --set machine.memroy: unknown key (did you mean memory?)\n" },
	{ "machin.memory=1G",
	  "sluice: --set machin: unknown section (did you mean machine?)\n" },
	{ "machine.memory=lots",
	  "sluice: --set machine.memory: lots is not a size: a number, and "
	  "K, M or G behind it, as in 128M\n" },
	{ "disk.new.root=no", "sluice: --set disk.new.path: is missing\n" },
	{ "sandbox.jail=yes",
	  "sluice: --set sandbox.jail: yes is not available in this version\n" },
	{ "net.a.ops=1",
	  "sluice: --set net.a.ops: not available in this version\n" },
	{ "net.a.queues=2",
	  "sluice: --set net.a.tap: is missing, and so is passt: one of them "
	  "is needed\n" },
	{ "net.a.tap=x", NULL },
	{ "net.a.tap=", "sluice: --set net.a.tap: a value is missing\n" },
	{ "net.a.passt=", "sluice: --set net.a.passt: a value is missing\n" },
	{ "boot.cmdline=a\nb",
	  "sluice: --set boot.cmdline: a control character\n" },
	{ "machine.memory=1",
	  "sluice: --set machine.memory: 1 bytes are too few: 2M at least\n" },
	{ "boot.kernel=", "sluice: --set boot.kernel: a value is missing\n" },
};

Test(config_set, each_gives_its_value_or_its_error)
{
	for (unsigned int i = 0; i < ARRAY_SIZE(set_cases); i++) {
		const struct set_case *set = &set_cases[i];
		struct collector collector;
		struct vmm_config config;

		load(&config, &collector, BOOT, strlen(BOOT), &set->set, 1);
		cr_expect_str_eq(collector.text, set->error ? set->error : "",
				 "case %u: got %s", i, collector.text);
		vmm_config_destroy(&config);
	}
}

Test(config_set, overrides_the_file_and_resolves_from_the_current_directory)
{
	static const char text[] =
		"[boot]\nkernel = k\ninitrd = i\n[machine]\nvcpus = wrong\n"
		"[iommu]\nenabled = yes\n";
	static const char *const sets[] = {
		"machine.vcpus=4",	  "iommu.enabled=no",
		"boot.kernel=other",	  "disk.a.path=img",
		"disk.a.path=images/img", "console.output=file:log",
	};
	struct collector collector;
	struct vmm_config config;

	cr_expect_eq(load(&config, &collector, text, strlen(text), sets,
			  ARRAY_SIZE(sets)),
		     0, "%s", collector.text);
	cr_expect_eq(config.vcpus, 4);
	cr_expect_str_eq(config.kernel, "other");
	cr_expect_str_eq(config.initrd, "dir/i");
	cr_assert_eq(config.disk_count, 1);
	cr_expect_str_eq(config.disks[0].path, "images/img");
	cr_expect_eq(config.console, CONSOLE_FILE);
	cr_expect_str_eq(config.console_path, "log");
	vmm_config_destroy(&config);
}

struct name_case {
	const char *file;
	const char *name;
};

Test(config_load, name_comes_from_the_file_name)
{
	static const struct name_case cases[] = {
		{ "vm.ini", "vm" },
		{ "/a.b/Web Server.ini", "web-server" },
		{ "x", "x" },
		{ ".ini", "-ini" },
		{ "a.b.ini", "a-b" },
		{ "abcdefghijklmnopqrstuvwxyz0123456789.ini",
		  "abcdefghijklmnopqrstuvwxyz012345" },
	};

	for (unsigned int i = 0; i < ARRAY_SIZE(cases); i++) {
		struct config_entries entries;
		struct collector collector;
		struct vmm_config config;

		collector_init(&collector);
		config_entries_init(&entries, cases[i].file,
				    &collector.problems);
		config_load_text(&config, &entries, BOOT, strlen(BOOT), NULL,
				 0);
		cr_expect_str_eq(config.name, cases[i].name, "%s: %s",
				 cases[i].file, config.name);
		config_entries_destroy(&entries);
		vmm_config_destroy(&config);
	}
}

Test(config_load, bug19_file_that_cannot_be_read_is_named)
{
	static const struct name_case cases[] = {
		{ "/nonexistent/vm.ini",
		  "sluice: /nonexistent/vm.ini: No such file or directory\n" },
		{ "/tmp", "sluice: /tmp: Is a directory\n" },
		{ "/dev/zero",
		  "sluice: /dev/zero: more than 1 MiB: not a configuration\n" },
	};

	for (unsigned int i = 0; i < ARRAY_SIZE(cases); i++) {
		struct config_entries entries;
		struct collector collector;
		struct vmm_config config;

		collector_init(&collector);
		config_entries_init(&entries, cases[i].file,
				    &collector.problems);
		cr_expect_eq(config_load(&config, &entries, NULL, 0), -1);
		cr_expect_str_eq(collector.text, cases[i].name, "%s",
				 collector.text);
		config_entries_destroy(&entries);
		vmm_config_destroy(&config);
	}
}

Test(config_load, error_found_later_gets_its_line)
{
	static const char text[] = "[boot]\nkernel = k\n[disk.a]\n\npath = x\n";
	struct config_entries entries;
	struct collector collector;
	struct vmm_config config;
	struct error error;

	collector_init(&collector);
	config_entries_init(&entries, "vm.ini", &collector.problems);
	config_load_text(&config, &entries, text, strlen(text), NULL, 0);
	error_set(&error, EXIT_STATUS_CONFIGURATION,
		  "disk.a.path: x: No such file");
	config_entries_report_error(&entries, &error);
	error_set(&error, EXIT_STATUS_CONFIGURATION, "/a.b: is a text file");
	config_entries_report_error(&entries, &error);
	error_set(&error, EXIT_STATUS_HOST, "boot.kernel: what");
	config_entries_report_error(&entries, &error);
	cr_expect_str_eq(collector.text,
			 "vm.ini:5: disk.a.path: x: No such file\n"
			 "sluice: /a.b: is a text file\n"
			 "sluice: boot.kernel: what\n");
	config_entries_destroy(&entries);
	vmm_config_destroy(&config);
}
