/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm/files.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "devices/error.h"

static char directory[] = "/tmp/test-files.XXXXXX";
static struct vmm_config config;
static struct vm_files files;
static struct error error;

static char *path(const char *name)
{
	char *text;

	cr_assert_geq(asprintf(&text, "%s/%s", directory, name), 0);
	return text;
}

static char *make(const char *name)
{
	char *text = path(name);
	int fd = open(text, O_CREAT | O_WRONLY | O_EXCL, 0644);

	cr_assert_geq(fd, 0);
	close(fd);
	return text;
}

static void set_up(void)
{
	cr_assert_not_null(mkdtemp(directory));
	memset(&config, 0, sizeof(config));
	config.kernel = make("vmlinuz");
	strcpy(config.disks[0].name, "root");
	config.disks[0].path = make("root.img");
	config.disk_count = 1;
}

static void clean_up(void)
{
	char *command;

	vmm_config_destroy(&config);
	cr_assert_geq(asprintf(&command, "rm -rf %s", directory), 0);
	cr_expect_eq(system(command), 0);
	free(command);
}

TestSuite(vm_files, .init = set_up, .fini = clean_up);

/* Where there is no KVM that is the only thing missing. */
static bool opens(void)
{
	if (vm_files_open(&files, &config, &error) == 0)
		return true;
	return strncmp(error.text, "/dev/kvm: ", 10) == 0;
}

static void expect_refusal(enum exit_status status, const char *part)
{
	cr_expect_eq(vm_files_open(&files, &config, &error), -1);
	cr_expect_eq(error.status, status);
	cr_expect(strstr(error.text, part), "\"%s\" without \"%s\"", error.text,
		  part);
	cr_expect_eq(files.kernel, -1, "all is closed");
	cr_expect_eq(files.disks[0], -1);
}

Test(vm_files, descriptors_are_closed_on_exec_and_blocking)
{
	struct error none;
	int kvm = vm_files_open_kvm(&none);

	if (kvm < 0)
		cr_skip_test("%s", none.text);
	close(kvm);
	config.disks[0].read_only = true;
	cr_assert_eq(vm_files_open(&files, &config, &error), 0, "%s",
		     error.text);
	cr_expect_eq(fcntl(files.kernel, F_GETFD), FD_CLOEXEC);
	cr_expect_eq(fcntl(files.kernel, F_GETFL) & O_NONBLOCK, 0);
	cr_expect_eq(fcntl(files.disks[0], F_GETFL) & O_ACCMODE, O_RDONLY);
	cr_expect_eq(files.initrd, -1);
	cr_expect_eq(files.console, -1);
	vm_files_close(&files);
	cr_expect_eq(files.kvm, -1);
}

Test(vm_files, missing_files_are_named_with_their_key)
{
	free(config.disks[0].path);
	config.disks[0].path = path("nowhere.img");
	expect_refusal(EXIT_STATUS_CONFIGURATION, "disk.root.path: /tmp/");
	config.initrd = path("no-initrd");
	expect_refusal(EXIT_STATUS_CONFIGURATION,
		       "/no-initrd: No such file or directory");
	free(config.kernel);
	config.kernel = path("no-kernel");
	expect_refusal(EXIT_STATUS_CONFIGURATION, "boot.kernel: /tmp/");
}

Test(vm_files, fifo_for_a_kernel_does_not_block)
{
	free(config.kernel);
	config.kernel = path("fifo");
	cr_assert_eq(mkfifo(config.kernel, 0600), 0);
	cr_expect(opens(), "%s", error.text);
	vm_files_close(&files);
}

Test(vm_files, console_and_statistics_are_created_and_kept)
{
	struct stat status;

	config.console = CONSOLE_FILE;
	config.console_path = path("console");
	config.stats_path = path("stats");
	cr_assert(opens(), "%s", error.text);
	cr_expect_eq(stat(config.console_path, &status), 0);
	cr_expect_eq(stat(config.stats_path, &status), 0);
	vm_files_close(&files);
}

Test(vm_files, statistics_may_not_be_a_disk_nor_the_console)
{
	config.stats_path = path("./root.img");
	expect_refusal(EXIT_STATUS_CONFIGURATION, "is also disk root");
	free(config.stats_path);
	config.stats_path = path("vmlinuz");
	expect_refusal(EXIT_STATUS_CONFIGURATION, "the kernel or the initrd");
	free(config.stats_path);
	config.console = CONSOLE_FILE;
	config.stats_path = path("text");
	config.console_path = path("text");
	expect_refusal(EXIT_STATUS_CONFIGURATION, "the console's file");
}

Test(vm_files, log_may_be_nothing_else)
{
	config.log_path = path("./root.img");
	expect_refusal(EXIT_STATUS_CONFIGURATION, "--log: /tmp/");
	expect_refusal(EXIT_STATUS_CONFIGURATION, "is also disk root");
	free(config.log_path);
	config.log_path = path("vmlinuz");
	expect_refusal(EXIT_STATUS_CONFIGURATION, "the kernel or the initrd");
	free(config.log_path);
	config.log_path = path("text");
	config.stats_path = path("text");
	expect_refusal(EXIT_STATUS_CONFIGURATION, "is also the log");
	free(config.stats_path);
	config.stats_path = NULL;
	config.console = CONSOLE_FILE;
	config.console_path = path("text");
	expect_refusal(EXIT_STATUS_CONFIGURATION, "is also the log");
}

Test(vm_files, nothing_is_written_over_the_ini)
{
	struct stat status;

	config.stats_path = make("vm.ini");
	cr_assert_eq(stat(config.stats_path, &status), 0);
	config.ini_device = status.st_dev;
	config.ini_inode = status.st_ino;
	expect_refusal(EXIT_STATUS_CONFIGURATION, "--stats: /tmp/");
	expect_refusal(EXIT_STATUS_CONFIGURATION, "is also the VM's INI");
	config.log_path = config.stats_path;
	config.stats_path = NULL;
	expect_refusal(EXIT_STATUS_CONFIGURATION, "is also the VM's INI");
	config.console = CONSOLE_FILE;
	config.console_path = config.log_path;
	config.log_path = NULL;
	expect_refusal(EXIT_STATUS_CONFIGURATION, "is also the VM's INI");
}

Test(vm_files, log_is_appended_to)
{
	struct stat status;

	config.log_path = make("log");
	cr_assert_eq(truncate(config.log_path, 3), 0);
	cr_assert(opens(), "%s", error.text);
	cr_assert_eq(stat(config.log_path, &status), 0);
	cr_expect_eq(status.st_size, 3);
	vm_files_close(&files);
}

/* Whether @fd is the smaps of process @pid: its first line is the same. */
static bool is_smaps_of(int fd, pid_t pid)
{
	char expected[64] = "", found[64] = "", name[32];
	int other;

	snprintf(name, sizeof(name), "/proc/%d/smaps", (int)pid);
	other = open(name, O_RDONLY | O_CLOEXEC);
	cr_assert_geq(other, 0);
	cr_assert_gt(pread(other, expected, 26, 0), 0);
	cr_assert_gt(pread(fd, found, 26, 0), 0);
	close(other);
	return strcmp(expected, found) == 0;
}

Test(vm_files, smaps_are_those_of_the_caller_and_its_parent)
{
	vm_files_init(&files);
	cr_expect_eq(files.smaps[0], -1);
	cr_expect_eq(files.smaps[1], -1);
	vm_files_open_own(&files);
	cr_expect(is_smaps_of(files.smaps[0], getpid()));
	cr_expect(is_smaps_of(files.smaps[1], getppid()));
	vm_files_close(&files);
}

/* Also where the VM is not built in the end: this machine may have no KVM. */
Test(vm_files, earlier_statistics_are_gone_once_the_files_are_open)
{
	struct stat status;
	int fd;

	config.stats_path = make("stats.json");
	fd = open(config.stats_path, O_WRONLY);
	cr_assert_eq(write(fd, "old", 3), 3);
	close(fd);
	cr_assert(opens());
	cr_assert_eq(stat(config.stats_path, &status), 0);
	cr_expect_eq(status.st_size, 0);
	vm_files_close(&files);
}

Test(vm_files, statistics_can_go_to_a_device)
{
	config.stats_path = strdup("/dev/null");
	cr_assert(opens(), "%s", error.text);
	vm_files_close(&files);
}
