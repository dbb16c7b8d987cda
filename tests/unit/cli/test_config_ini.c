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

struct bad_case {
	const char *text;
	size_t size; /* 0: strlen */
	const char *errors;
};

/* 200 letters, for lines that are too long. */
#define LETTERS_50 "aaaaaaaaaabbbbbbbbbbccccccccccddddddddddeeeeeeeeee"
#define LETTERS_200 LETTERS_50 LETTERS_50 LETTERS_50 LETTERS_50
#define TEXT(literal) literal, sizeof(literal) - 1

static const struct bad_case bad_cases[] = {
	{ "", 0, "dir/vm.ini:1: boot.kernel: is missing\n" },
	{ "[boot]\n", 0, "dir/vm.ini:1: boot.kernel: is missing\n" },
	{ "\n\n[boot]\n", 0, "dir/vm.ini:3: boot.kernel: is missing\n" },
	{ "[boot]\nkernel =\n", 0,
	  "dir/vm.ini:2: boot.kernel: a value is missing\n" },
	{ "[boot]\nkernel = ; nothing\n", 0,
	  "dir/vm.ini:2: boot.kernel: a value is missing\n" },
	/* sections */
	{ BOOT "[bott]\nx = y\nz = a\n", 0,
	  "dir/vm.ini:3: bott: unknown section (did you mean boot?)\n" },
	{ BOOT "[dsik.root]\npath = x\n", 0,
	  "dir/vm.ini:3: dsik.root: unknown section (did you mean disk.root?)\n" },
	{ BOOT "[something]\n", 0,
	  "dir/vm.ini:3: something: unknown section\n" },
	{ BOOT "[disk]\npath = x\n", 0,
	  "dir/vm.ini:3: disk: needs a name, as in [disk.root]\n" },
	{ BOOT "[boot.x]\n", 0, "dir/vm.ini:3: boot.x: unknown section\n" },
	{ BOOT "[disk.Root]\npath = x\n", 0,
	  "dir/vm.ini:3: disk.Root: the name after disk. must be 1 to 32 of a-z, 0-9 and -\n" },
	{ BOOT "[disk.]\n", 0,
	  "dir/vm.ini:3: disk.: the name after disk. must be 1 to 32 of a-z, 0-9 and -\n" },
	{ BOOT "[disk.abcdefghijklmnopqrstuvwxyz0123456]\n", 0,
	  "dir/vm.ini:3: disk.abcdefghijklmnopqrstuvwxyz0123456: the name after disk. must be 1 "
	  "to 32 of a-z, 0-9 and -\n" },
	{ BOOT "[disk." LETTERS_50 "]\npath = x\n", 0,
	  "dir/vm.ini:3: a section's name is too long\n" },
	{ BOOT "[]\n", 0, "dir/vm.ini:3: []: unknown section\n" },
	{ BOOT "[disk.a\npath = x\n", 0,
	  "dir/vm.ini:3: a section's heading without ]\n" },
	{ BOOT "[disk.a] path = x\n", 0,
	  "dir/vm.ini:3: text behind a section's heading\n" },
	{ BOOT "[disk.a];x\n", 0,
	  "dir/vm.ini:3: text behind a section's heading\n" },
	{ BOOT "[disk.a]\n", 0, "dir/vm.ini:3: disk.a.path: is missing\n" },
	{ BOOT "[disk.a]\nroot = yes\n[disk.b]\npath = x\nroot = 2\n", 0,
	  "dir/vm.ini:3: disk.a.path: is missing\n" },
	/* keys */
	{ "kernel = k\n" BOOT, 0,
	  "dir/vm.ini:1: a key before the first [section]\n" },
	{ BOOT "inird = x\n", 0,
	  "dir/vm.ini:3: boot.inird: unknown key (did you mean initrd?)\n" },
	{ BOOT "memory = 1G\n", 0,
	  "dir/vm.ini:3: boot.memory: unknown key (it belongs to section machine)\n" },
	{ BOOT "wibble = x\n", 0, "dir/vm.ini:3: boot.wibble: unknown key\n" },
	{ BOOT "Kernel = x\n", 0,
	  "dir/vm.ini:3: boot.Kernel: unknown key (did you mean kernel?)\n" },
	{ BOOT "kernel = l\n", 0,
	  "dir/vm.ini:3: boot.kernel: given twice, first in line 2\n" },
	{ BOOT "[rng]\n[boot]\nkernel = l\n", 0,
	  "dir/vm.ini:5: boot.kernel: given twice, first in line 2\n" },
	{ BOOT LETTERS_50 " = x\n", 0,
	  "dir/vm.ini:3: boot." LETTERS_50 ": unknown key\n" },
	{ BOOT "initrd\n", 0,
	  "dir/vm.ini:3: neither a [section] nor key = value\n" },
	{ BOOT "initrd", 0,
	  "dir/vm.ini:3: neither a [section] nor key = value\n" },
	{ BOOT "init ;rd = x\n", 0,
	  "dir/vm.ini:3: neither a [section] nor key = value\n" },
	{ BOOT "= x\n", 0, "dir/vm.ini:3: a key's name is missing\n" },
	/* lines */
	{ BOOT "initrd = " LETTERS_200 "\n", 0,
	  "dir/vm.ini:3: the line is too long: 209 bytes, at most 198 fit (cmdline may go on over "
	  "indented lines)\n" },
	{ BOOT "cmdline = " LETTERS_200 "\n  x\n", 0,
	  "dir/vm.ini:3: the line is too long: 210 bytes, at most 198 fit (cmdline may go on over "
	  "indented lines)\n" },
	{ BOOT "  initrd = x\n", 0,
	  "dir/vm.ini:3: an indented line: cmdline alone goes on over several lines\n" },
	{ BOOT "initrd = a\n\tb\n", 0,
	  "dir/vm.ini:4: an indented line: cmdline alone goes on over several lines\n" },
	{ BOOT "cmdline = a\n[machine]\n  b\n", 0,
	  "dir/vm.ini:5: an indented line: cmdline alone goes on over several lines\n" },
	{ BOOT "cmdline = a\ninitrd = b\n  c\n", 0,
	  "dir/vm.ini:5: an indented line: cmdline alone goes on over several lines\n" },
	{ " [boot]\nkernel = k\n", 0,
	  "dir/vm.ini:1: an indented line: cmdline alone goes on over several lines\n"
	  "dir/vm.ini:2: a key before the first [section]\n"
	  "dir/vm.ini:1: boot.kernel: is missing\n" },
	{ BOOT "cmdline = a\ncmdline = b\n  c\n", 0,
	  "dir/vm.ini:4: boot.cmdline: given twice, first in line 3\n" },
	{ TEXT(BOOT "initrd = a\0b\n"),
	  "dir/vm.ini:3: a control character (0x00) in column 11\n" },
	{ TEXT("\0"), "dir/vm.ini:1: a control character (0x00) in column 1\n"
		      "dir/vm.ini:1: boot.kernel: is missing\n" },
	{ BOOT "initrd = a\rb\n", 0,
	  "dir/vm.ini:3: a control character (0x0d) in column 11\n" },
	{ BOOT "initrd = a\033[1m\n", 0,
	  "dir/vm.ini:3: a control character (0x1b) in column 11\n" },
	{ BOOT "\vinitrd = a\n", 0,
	  "dir/vm.ini:3: a control character (0x0b) in column 1\n" },
	/* values */
	{ BOOT "[machine]\nmemory = 12x\n", 0,
	  "dir/vm.ini:4: machine.memory: 12x is not a size: a number, and K, M or G behind it, as "
	  "in 128M\n" },
	{ BOOT "[machine]\nmemory = 128M # much\n", 0,
	  "dir/vm.ini:4: machine.memory: 128M # much is not a size: a number, and K, M or G behind "
	  "it, as in 128M\n" },
	{ BOOT "[machine]\nmemory = 99999999999999999999G\n", 0,
	  "dir/vm.ini:4: machine.memory: 99999999999999999999G is too large\n" },
	{ BOOT "[machine]\nvcpus = 0\n", 0,
	  "dir/vm.ini:4: machine.vcpus: 0 is not a number from 1 to 1024\n" },
	{ BOOT "[machine]\nhugepages = tph\n", 0,
	  "dir/vm.ini:4: machine.hugepages: tph is not one of off, thp, 2M (did you mean thp?)\n" },
	{ BOOT "[machine]\nname = A\n", 0,
	  "dir/vm.ini:4: machine.name: A is not a name: 1 to 32 of a-z, 0-9 and -\n" },
	{ BOOT "[machine]\nstop_timeout = 10\n", 0,
	  "dir/vm.ini:4: machine.stop_timeout: 10 is not a duration: a number, and s or ms behind "
	  "it, as in 10s\n" },
	{ BOOT "[disk.a]\npath = x\nread_only = true\n", 0,
	  "dir/vm.ini:5: disk.a.read_only: true is not yes or no\n" },
	{ BOOT "[disk.a]\npath = x\nroot = maybe\n", 0,
	  "dir/vm.ini:5: disk.a.root: maybe is not yes, no or a partition's number\n" },
	{ BOOT "[disk.a]\npath = x\nroot = 0\n", 0,
	  "dir/vm.ini:5: disk.a.root: 0 is not a number from 1 to 255\n" },
	{ BOOT "[console]\noutput = file:\n", 0,
	  "dir/vm.ini:4: console.output: a path is missing: file:PATH\n" },
	{ BOOT "[console]\noutput = screen\n", 0,
	  "dir/vm.ini:4: console.output: screen is not one of stdio, none, file:PATH\n" },
	{ BOOT "[net.eth0]\ntap = tap0\nmac = x\n", 0,
	  "dir/vm.ini:5: net.eth0.mac: x is not a MAC address of one machine, as in "
	  "52:54:00:12:34:56\n" },
	{ BOOT "[net.eth0]\ntap = tap0\nmtu = 67\nqueues = 17\n", 0,
	  "dir/vm.ini:5: net.eth0.mtu: 67 is not a number from 68 to 65535\n"
	  "dir/vm.ini:6: net.eth0.queues: 17 is not a number from 1 to 16\n" },
	{ BOOT "[net.eth0]\nqueues = 2\n", 0,
	  "dir/vm.ini:3: net.eth0.tap: is missing, and so is passt: one of them is needed\n" },
	{ BOOT "[net.eth0]\ntap = t\npasst = auto\n", 0,
	  "dir/vm.ini:5: net.eth0.passt: there is a tap already\n" },
	{ BOOT "[net.eth0]\npasst = auto\nqueues = 2\n", 0,
	  "dir/vm.ini:5: net.eth0.queues: passt has one pair\n" },
	/* not in this version */
	{ BOOT "[net.eth0]\ntap = tap0\nbandwidth = 1M\n", 0,
	  "dir/vm.ini:5: net.eth0.bandwidth: not available in this version\n" },
	{ BOOT "[sandbox]\njail = yes\n", 0,
	  "dir/vm.ini:4: sandbox.jail: yes is not available in this version\n" },
	{ BOOT "[sandbox]\nseccomp = kill\n", 0,
	  "dir/vm.ini:4: sandbox.seccomp: kill is not available in this version\n" },
	{ BOOT "[sandbox]\nseccomp = log\njail = yes\nuser = a\n", 0,
	  "dir/vm.ini:4: sandbox.seccomp: log is not available in this version\n"
	  "dir/vm.ini:5: sandbox.jail: yes is not available in this version\n"
	  "dir/vm.ini:6: sandbox.user: not available in this version\n" },
	{ BOOT "[disk.a]\npath = x\nengine = io_uring\n", 0,
	  "dir/vm.ini:5: disk.a.engine: io_uring is not available in this version\n" },
	/* together */
	{ BOOT "[disk.a]\npath = x\nroot = yes\n[disk.b]\npath = y\nroot = 1\n",
	  0, "dir/vm.ini:8: disk.b.root: disk.a is the root disk already\n" },
	{ BOOT "[disk.a]\npath = x\nops = 5\nburst = 1M\n", 0,
	  "dir/vm.ini:6: disk.a.burst: without bandwidth it has no meaning\n" },
	/* all of them */
	{ "[boot]\nkernle = k\n[machine]\nvcpus = x\nfoo\n", 0,
	  "dir/vm.ini:2: boot.kernle: unknown key (did you mean kernel?)\n"
	  "dir/vm.ini:5: neither a [section] nor key = value\n"
	  "dir/vm.ini:1: boot.kernel: is missing\n"
	  "dir/vm.ini:4: machine.vcpus: x is not a number from 1 to 1024\n" },
};

Test(config_ini, bug19_wrong_file_gives_the_exact_errors_with_file_and_line)
{
	for (unsigned int i = 0; i < ARRAY_SIZE(bad_cases); i++) {
		const struct bad_case *bad = &bad_cases[i];
		struct collector collector;
		struct vmm_config config;
		int err;

		err = load(&config, &collector, bad->text,
			   bad->size ? bad->size : strlen(bad->text), NULL, 0);
		cr_expect_eq(err, -1, "case %u", i);
		cr_expect_str_eq(collector.text, bad->errors,
				 "case %u (%s): got\n%s", i, bad->text,
				 collector.text);
		cr_expect_eq(collector.problems.status,
			     EXIT_STATUS_CONFIGURATION, "case %u", i);
		vmm_config_destroy(&config);
	}
}

struct cmdline_case {
	const char *text;
	const char *cmdline;
	const char *kernel;
};

static const struct cmdline_case cmdline_cases[] = {
	{ BOOT, "console=ttyS0", "dir/k" },
	{ BOOT "cmdline =\n", "", "dir/k" },
	{ BOOT "cmdline = a b\n", "a b", "dir/k" },
	{ BOOT "cmdline = a\n  b\n\tc = d  \n", "a b c = d", "dir/k" },
	{ BOOT "cmdline =\n  b\n  c\n", "b c", "dir/k" },
	{ BOOT
	  "cmdline = a ; comment\n  b ; comment\n  # comment\n\n  ; comment\n  c;d\n",
	  "a b c;d", "dir/k" },
	{ BOOT "cmdline = a # b\n  c # d\n", "a # b c # d", "dir/k" },
	{ BOOT "cmdline = a\t; b\n", "a", "dir/k" },
	{ BOOT "cmdline = x=y;z ;\n", "x=y;z", "dir/k" },
	{ BOOT "cmdline = a", "a", "dir/k" },
	{ BOOT "cmdline = a\n  b", "a b", "dir/k" },
	{ BOOT "cmdline = \"a b\" \xc3\xa4\n", "\"a b\" \xc3\xa4", "dir/k" },
	{ BOOT "cmdline: a:b=c\n", "a:b=c", "dir/k" },
	{ "[boot]\r\nkernel = k\r\ncmdline = a\r\n  b\r\n", "a b", "dir/k" },
	{ "\xef\xbb\xbf[boot]\nkernel = k\ncmdline = a\n", "a", "dir/k" },
	{ "; c\n# c\n  # c\n\n[boot] ; c\nkernel=k\n", "console=ttyS0",
	  "dir/k" },
	{ "[boot]\nkernel = /abs/k;l\n", "console=ttyS0", "/abs/k;l" },
	{ "[boot]\nkernel = a b#c ;d\n", "console=ttyS0", "dir/a b#c" },
	{ "[boot]\ncmdline = a\n[machine]\nvcpus = 2\n[boot]\nkernel = k\n",
	  "a", "dir/k" },
};

Test(config_ini, good_file_gives_kernel_and_command_line)
{
	for (unsigned int i = 0; i < ARRAY_SIZE(cmdline_cases); i++) {
		const struct cmdline_case *good = &cmdline_cases[i];
		struct collector collector;
		struct vmm_config config;
		int err;

		err = load(&config, &collector, good->text, strlen(good->text),
			   NULL, 0);
		cr_expect_eq(err, 0, "case %u: %s", i, collector.text);
		cr_expect_str_eq(config.cmdline, good->cmdline, "case %u: %s",
				 i, config.cmdline);
		cr_assert_not_null(config.kernel);
		cr_expect_str_eq(config.kernel, good->kernel, "case %u: %s", i,
				 config.kernel);
		vmm_config_destroy(&config);
	}
}

Test(config_ini, line_of_198_bytes_is_read_whole)
{
	char text[512];
	struct collector collector;
	struct vmm_config config;
	size_t len = 188;

	for (unsigned int newline = 0; newline < 2; newline++) {
		snprintf(text, sizeof(text), BOOT "cmdline = %.*s%s", (int)len,
			 LETTERS_200, newline ? "\n" : "");
		cr_expect_eq(load(&config, &collector, text, strlen(text), NULL,
				  0),
			     0, "%s", collector.text);
		cr_expect_eq(strlen(config.cmdline), len);
		vmm_config_destroy(&config);
	}
}

Test(config_ini, smallest_file_has_the_defaults)
{
	struct collector collector;
	struct vmm_config config;

	cr_assert_eq(load(&config, &collector, BOOT, strlen(BOOT), NULL, 0), 0);
	cr_expect_str_eq(config.name, "vm");
	cr_expect_eq(config.vcpus, 1);
	cr_expect_eq(config.memory, 128 * MIB);
	cr_expect_eq(config.pages, GUEST_MEMORY_SMALL_PAGES);
	cr_expect_eq(config.stop_timeout_ms, 10000);
	cr_expect_null(config.initrd);
	cr_expect_eq(config.console, CONSOLE_STDIO);
	cr_expect_eq(config.iommu.tables, 64 * MIB);
	cr_expect_eq(config.iommu.service, IOMMU_SERVICE_INLINE);
	cr_expect_not(config.iommu.bypass);
	cr_expect_eq(config.disk_count + config.net_count + config.order_count,
		     0);
	vmm_config_destroy(&config);
}

Test(config_ini, disks_keep_the_order_of_the_file)
{
	static const char text[] =
		"[disk.b]\npath = /b\n[boot]\nkernel = k\n[disk.a]\npath = a\n"
		"root = 2\nread_only = yes\nqueues = 4\nengine = threads\n"
		"bandwidth = 10M\nops = 500\nburst = 64K\n";
	struct collector collector;
	struct vmm_config config;

	cr_assert_eq(load(&config, &collector, text, strlen(text), NULL, 0), 0,
		     "%s", collector.text);
	cr_assert_eq(config.disk_count, 2);
	cr_expect_eq(config.order_count, 2);
	cr_expect_eq(config.order[1].kind, DEVICE_DISK);
	cr_expect_eq(config.order[1].index, 1);
	cr_expect_str_eq(config.disks[0].name, "b");
	cr_expect_str_eq(config.disks[0].path, "/b");
	cr_expect_eq(config.disks[0].queues, 1);
	cr_expect_not(config.disks[0].root);
	cr_expect_str_eq(config.disks[1].path, "dir/a");
	cr_expect(config.disks[1].root);
	cr_expect(config.disks[1].read_only);
	cr_expect_eq(config.disks[1].root_partition, 2);
	cr_expect_eq(config.disks[1].queues, 4);
	cr_expect_eq(config.disks[1].engine, DISK_ENGINE_THREADS);
	cr_expect_eq(config.disks[0].rate.bandwidth, 0);
	cr_expect_eq(config.disks[1].rate.bandwidth, 10 * MIB);
	cr_expect_eq(config.disks[1].rate.ops, 500);
	cr_expect_eq(config.disks[1].rate.burst, 64 * KIB);
	vmm_config_destroy(&config);
}

Test(config_ini, what_is_not_there_yet_may_be_turned_off)
{
	static const char text[] = BOOT
		"[iommu]\nenabled = no\nservice = inline\ntables = 1M\n"
		"bypass = no\n[rng]\nenabled = no\n[sandbox]\n"
		"seccomp = off\njail = no\n[disk.a]\npath = x\n"
		"engine = auto\n";
	struct collector collector;
	struct vmm_config config;

	cr_expect_eq(load(&config, &collector, text, strlen(text), NULL, 0), 0,
		     "%s", collector.text);
	cr_expect_eq(config.iommu.tables, MIB);
	cr_expect_eq(config.sandbox.seccomp, SECCOMP_OFF);
	cr_expect_not(config.sandbox.jail);
	vmm_config_destroy(&config);
}

Test(config_ini, too_many_devices_are_an_error)
{
	struct collector collector;
	struct vmm_config config;
	char text[4096] = BOOT;

	for (unsigned int i = 0; i < CONFIG_DEVICES_MAX + 3; i++) {
		size_t len = strlen(text);

		snprintf(text + len, sizeof(text) - len,
			 "[disk.d%u]\npath = x\n", i);
	}
	cr_expect_eq(load(&config, &collector, text, strlen(text), NULL, 0),
		     -1);
	cr_expect_str_eq(collector.text,
			 "dir/vm.ini:51: disk.d24: more than 24 devices\n",
			 "%s", collector.text);
	vmm_config_destroy(&config);
}

Test(config_ini, sixteen_disks_fit)
{
	struct collector collector;
	struct vmm_config config;
	char text[4096] = BOOT;

	for (unsigned int i = 0; i < 16; i++) {
		size_t len = strlen(text);

		snprintf(text + len, sizeof(text) - len,
			 "[disk.d%u]\npath = x\n", i);
	}
	cr_expect_eq(load(&config, &collector, text, strlen(text), NULL, 0), 0,
		     "%s", collector.text);
	cr_expect_eq(config.disk_count, 16);
	vmm_config_destroy(&config);
}
