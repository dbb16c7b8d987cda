/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `check` on files made for it. What it says of KVM depends on the machine and
 * is left out; the tests run in the project's directory.
 */
#include "cli/check.h"
#include "cli/check_files.h"
#include "cli/options.h"
#include "devices/error.h"
#include "memory/base.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct checked {
	int status;
	char out[16384];
	char err[16384];
};

static void read_back(int fd, char *text, size_t size)
{
	ssize_t got = pread(fd, text, size - 1, 0);

	cr_assert_geq(got, 0);
	text[got] = 0;
	close(fd);
}

static int redirect(int fd)
{
	char path[] = "/tmp/sluice-check-XXXXXX";
	int file = mkstemp(path);

	cr_assert_geq(file, 0);
	unlink(path);
	cr_assert_eq(dup2(file, fd), fd);
	return file;
}

/* Runs `sluice check directory/vm.ini`. */
static void check_directory(struct checked *checked, const char *directory)
{
	char path[128];
	struct options options = { .file = path };
	int out = redirect(1);
	int err = redirect(2);

	snprintf(path, sizeof(path), "%s/vm.ini", directory);
	checked->status = check_verb(&options);
	fflush(stdout);
	read_back(out, checked->out, sizeof(checked->out));
	read_back(err, checked->err, sizeof(checked->err));
}

static void put(const char *directory, const char *name, const char *text,
		size_t size)
{
	char path[128];
	int fd;

	snprintf(path, sizeof(path), "%s/%s", directory, name);
	fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	cr_assert_geq(fd, 0);
	cr_assert_eq(write(fd, text, size), (ssize_t)size);
	close(fd);
}

static void put_text(const char *directory, const char *name, const char *text)
{
	put(directory, name, text, strlen(text));
}

static void copy(const char *directory, const char *name, const char *from)
{
	static char bytes[8192];
	int fd = open(from, O_RDONLY | O_CLOEXEC);
	ssize_t got;

	cr_assert_geq(fd, 0, "%s: the tests run in the project's directory",
		      from);
	got = read(fd, bytes, sizeof(bytes));
	cr_assert_gt(got, 0);
	close(fd);
	put(directory, name, bytes, (size_t)got);
}

static void remove_all(const char *directory)
{
	char command[128];

	snprintf(command, sizeof(command), "rm -rf %s", directory);
	cr_assert_eq(system(command), 0);
}

#define KERNEL "tests/fuzz/corpus/bzimage/whole"
#define SMALL "[boot]\nkernel = kernel\n"
#define ROOT "[disk.root]\npath = root.img\nroot = yes\n"
#define HEADER(size, name_size)                                      \
	"07070100000001000081a4000000000000000000000001"             \
	"00000000" size "00000000000000000000000000000000" name_size \
	"00000000"

/* lib/modules/1.2.3/virtio_mmio.ko, empty, and the end. */
static const char initrd[] =
	HEADER("00000000", "00000021") "lib/modules/1.2.3/virtio_mmio.ko\0\0" HEADER(
		"00000000", "0000000b") "TRAILER!!!\0\0\0\0";

struct check_case {
	const char *ini;
	const char *out[6]; /* each is in what it prints */
	const char *err[6]; /* each is in what it reports */
	int status; /* -1: whatever the host is good for */
};

static const struct check_case check_cases[] = {
	{ SMALL ROOT,
	  { "bzImage, boot protocol 2.15", "6.12.9-test",
	    "console=ttyS0 panic=-1 root=/dev/vda rw",
	    "root.img: 64 KiB, raw file, read and write",
	    "iommu                            virtio-iommu  0xd0000000  5          -\n"
	    "  root                             virtio-blk    0xd0001000  6          1\n",
	    "0x000000100000-0x000007ffffff  127 MiB   RAM" },
	  { NULL },
	  -1 },
	{ SMALL ROOT "[iommu]\nenabled = no\n",
	  { "iommu          off",
	    "root                             virtio-blk    0xd0000000  5          -\n" },
	  { NULL },
	  -1 },
	{ SMALL ROOT
	  "[machine]\nmemory = 4G\nvcpus = 2\nhugepages = thp\n[console]\n"
	  "output = file:log\n",
	  { "0x000100000000-0x00013fffffff  1 GiB     RAM",
	    "4 GiB, transparent huge pages",
	    "seccomp        off (not available in this version)", "/log" },
	  { NULL },
	  -1 },
	{ SMALL ROOT "[boot]\ncmdline = quiet acpi=off\n",
	  { "quiet acpi=off panic=-1" },
	  { "warning: boot.cmdline: console=ttyS0 is not in it",
	    "warning: boot.cmdline: with acpi=off" },
	  -1 },
	{ SMALL "cmdline = console=ttyS0,115200 root=/dev/vda\n",
	  { NULL },
	  { "warning: boot.cmdline: it names a root, and there is no disk",
	    "warning: boot.initrd: neither an initrd nor a disk" },
	  -1 },
	{ SMALL "initrd = initrd\n" ROOT,
	  { "virtio_mmio    found", "virtio_blk     missing",
	    "modules for    1.2.3" },
	  { "warning: boot.initrd: it has no virtio_blk",
	    "warning: boot.initrd: it has no virtio_iommu, and no device works without it",
	    "echo virtio_iommu >> /etc/initramfs-tools/modules && update-initramfs -u",
	    "echo virtio_blk >> /etc/initramfs-tools/modules && update-initramfs -u",
	    "its modules are for 1.2.3, and the kernel is 6.12.9-test" },
	  -1 },
	{ SMALL "initrd = text\n",
	  { NULL },
	  { "sluice: warning: boot.initrd: ", "text: is no cpio archive" },
	  -1 },
	{ SMALL "[machine]\nmemory = 64G\nvcpus = 1024\n" ROOT,
	  { "64 GiB" },
	  { NULL },
	  -1 },
	{ SMALL "[machine]\nmemory = 1048576G\n" ROOT,
	  { NULL },
	  { "warning: machine.memory: 1024 TiB are more than this host's" },
	  -1 },
	{ SMALL "initrd = initrd\n[net.eth0]\ntap = sluice-none\n[net.eth1]\n"
		"passt = nowhere/socket\nmac = 52:54:00:12:34:56\n",
	  { "virtio_net     missing",
	    "eth0                             virtio-net    0xd0001000  6          1\n" },
	  { "sluice: net.eth0.tap: ", "sluice: net.eth1.passt: ",
	    "nowhere/socket: cannot connect: No such file or directory; mend "
	    "it with: passt --socket ",
	    "boot.initrd: it has no virtio_net, and no network is found" },
	  3 },
	{ SMALL "[net.eth0]\nmtu = 1500\n",
	  { "networks\n" },
	  { "vm.ini:3: net.eth0.tap: is missing, and so is passt" },
	  2 },
	/* All problems at once. */
	{ "[boot]\nkernel = text\ninitrd = nothing\nfoo = bar\n[disk.a]\npath = nothing\n"
	  "[disk.b]\npath = text\n[disk.c]\npath = root.img\nread_only = maybe\n",
	  { "disks", "host" },
	  { "vm.ini:4: boot.foo: unknown key\n", "vm.ini:2: boot.kernel: ",
	    "is a text file", "vm.ini:3: boot.initrd: ",
	    "vm.ini:6: disk.a.path: ", "vm.ini:11: disk.c.read_only" },
	  2 },
	{ SMALL
	  "initrd = .\n[disk.b]\npath = odd\n[console]\noutput = file:/nonexistent/a\n",
	  { NULL },
	  { "vm.ini:3: boot.initrd: ", "is no regular file",
	    "vm.ini:5: disk.b.path: ",
	    "vm.ini:7: console.output: /nonexistent/a: No such file" },
	  2 },
	/* What `run` would say. */
	{ SMALL ROOT "[disk.again]\npath = root.img\n",
	  { NULL },
	  { "vm.ini:7: disk.again.path: ", "is already used by this VM" },
	  2 },
	{ SMALL "initrd = large\n[machine]\nmemory = 64M\n" ROOT,
	  { NULL },
	  { "vm.ini:5: machine.memory: 64M is too little: the kernel needs",
	    "and an initrd of 80M" },
	  2 },
	{ "nonsense\n",
	  { "machine" },
	  { "vm.ini:1: ", "boot.kernel: is missing" },
	  2 },
};

static void check_one(const struct check_case *what, unsigned int number,
		      const char *directory)
{
	static struct checked checked;

	put_text(directory, "vm.ini", what->ini);
	check_directory(&checked, directory);
	if (what->status >= 0)
		cr_expect_eq(checked.status, what->status, "case %u: %d",
			     number, checked.status);
	else
		cr_expect(checked.status == 0 ||
				  checked.status == EXIT_STATUS_HOST,
			  "case %u: %d\n%s", number, checked.status,
			  checked.err);
	for (unsigned int i = 0; i < 6 && what->out[i]; i++)
		cr_expect_not_null(strstr(checked.out, what->out[i]),
				   "case %u: %s\n%s", number, what->out[i],
				   checked.out);
	for (unsigned int i = 0; i < 6 && what->err[i]; i++)
		cr_expect_not_null(strstr(checked.err, what->err[i]),
				   "case %u: %s\n%s", number, what->err[i],
				   checked.err);
	if (!what->err[0])
		cr_expect_null(strstr(checked.err, "vm.ini:"), "case %u: %s",
			       number, checked.err);
}

Test(check, says_what_is_there_and_all_that_is_wrong, .timeout = 120)
{
	static const char zeroes[65536];
	char directory[] = "/tmp/sluice-check-XXXXXX";
	char large[128];

	cr_assert_not_null(mkdtemp(directory));
	copy(directory, "kernel", KERNEL);
	put_text(directory, "text",
		 "just a line of text, a bit longer than others are\n");
	put(directory, "root.img", zeroes, sizeof(zeroes));
	put(directory, "odd", zeroes, 1000);
	put(directory, "initrd", initrd, sizeof(initrd) - 1);
	put(directory, "large", initrd, sizeof(initrd) - 1);
	snprintf(large, sizeof(large), "%s/large", directory);
	cr_assert_eq(truncate(large, 80 * MIB), 0);
	for (unsigned int i = 0; i < ARRAY_SIZE(check_cases); i++)
		check_one(&check_cases[i], i, directory);
	remove_all(directory);
}

Test(check, missing_file_is_status_2_in_one_line)
{
	static struct checked checked;

	check_directory(&checked, "/nonexistent");
	cr_expect_eq(checked.status, EXIT_STATUS_CONFIGURATION);
	cr_expect_str_eq(
		checked.err,
		"sluice: /nonexistent/vm.ini: No such file or directory\n");
	cr_expect_str_eq(checked.out, "");
}

Test(check, sizes_are_for_people)
{
	char size[CHECK_SIZE_MAX];

	cr_expect_str_eq(check_size(0, size), "0 bytes");
	cr_expect_str_eq(check_size(1023, size), "1023 bytes");
	cr_expect_str_eq(check_size(1536, size), "1.5 KiB");
	cr_expect_str_eq(check_size(128 * MIB, size), "128 MiB");
	cr_expect_str_eq(check_size(UINT64_MAX, size), "16777216 TiB");
}
