/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/check_files.h"

#include "cli/config_entries.h"
#include "cli/initrd.h"
#include "devices/disk.h"
#include "devices/error.h"
#include "memory/base.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Opens what @key names, without waiting for anybody. The fd, or -1 (reported). */
static int check_open(const struct check *check, const char *key,
		      const char *path, int flags)
{
	int fd = open(path, flags | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	struct error error;

	if (fd >= 0)
		return fd;
	error_set(&error, EXIT_STATUS_CONFIGURATION, "%s: %s", path,
		  strerror(errno));
	check_report(check, key, &error);
	return -1;
}

/*
 * Linux 6.15.0 to 6.16.3 lose devices behind a virtio-iommu. @version begins with
 * a release.
 */
static bool check_iommu_is_broken(const char *version)
{
	unsigned long minor, patch = 0;
	char *end;

	if (strncmp(version, "6.", 2) != 0)
		return false;
	minor = strtoul(version + 2, &end, 10);
	if (*end == '.')
		patch = strtoul(end + 1, NULL, 10);
	return minor == 15 || (minor == 16 && patch <= 3);
}

void check_kernel(struct check *check)
{
	static const char key[] = "boot.kernel";
	const struct kernel_info *info = &check->kernel;
	char size[CHECK_SIZE_MAX];
	struct error error;
	int err;
	int fd;

	printf("\nkernel\n");
	if (!check->config->kernel)
		return;
	check_line("file", "%s", check->config->kernel);
	fd = check_open(check, key, check->config->kernel, O_RDONLY);
	if (fd < 0)
		return;
	err = kernel_identify(fd, check->config->kernel, &check->kernel,
			      &error);
	close(fd);
	if (err) {
		check_report(check, key, &error);
		return;
	}
	check->can_load = true;
	check->is_linux = info->version[0] != 0;
	if (info->format == KERNEL_BZIMAGE)
		check_line("format", "bzImage, boot protocol %u.%02u",
			   info->protocol >> 8, info->protocol & 0xffu);
	else
		check_line("format", "ELF, PVH entry 0x%llx",
			   (unsigned long long)info->entry);
	check_line("version", "%s",
		   check->is_linux ? info->version : "unknown");
	check_line("size", "%s", check_size(info->file_bytes, size));
	if (check->is_linux && check->config->iommu.enabled &&
	    check_iommu_is_broken(info->version))
		check_warn(
			"boot.kernel: the virtio-iommu driver of Linux 6.15.0 to 6.16.3 does not "
			"work: take another kernel, or set iommu.enabled = no");
}

/* A driver without which a stock kernel does not come up. */
struct needed_module {
	const char *name;
	const char *why;
};

/* What the guest's initrd must bring, at most INITRD_MODULES_MAX. Returns how many. */
static unsigned int
check_needed_modules(const struct check *check,
		     struct needed_module needed[static INITRD_MODULES_MAX])
{
	const struct vmm_config *config = check->config;
	/* No guest waits for the entropy device. */
	bool has_devices = config->disk_count + config->net_count > 0;
	unsigned int count = 0;

	if (has_devices && config->iommu.enabled)
		needed[count++] =
			(struct needed_module){ "virtio_iommu",
						"no device works without it" };
	if (has_devices)
		needed[count++] = (struct needed_module){
			"virtio_mmio", "no device is found without it"
		};
	if (config->disk_count)
		needed[count++] =
			(struct needed_module){ "virtio_blk",
						"no disk is found without it" };
	if (config->net_count)
		needed[count++] = (struct needed_module){
			"virtio_net", "no network is found without it"
		};
	return count;
}

static void check_initrd_modules(const struct check *check,
				 const struct initrd_info *info,
				 const struct needed_module *needed)
{
	static const char *const words[] = {
		[INITRD_MODULE_MISSING] = "missing",
		[INITRD_MODULE_FOUND] = "found",
		[INITRD_MODULE_BUILT_IN] = "built into the kernel",
	};
	size_t release = strcspn(check->kernel.version, " ");
	bool matches = info->version_count == 0 || !check->is_linux;

	for (unsigned int i = 0; i < info->module_count; i++) {
		check_line(needed[i].name, "%s", words[info->states[i]]);
		if (info->states[i] == INITRD_MODULE_MISSING && check->is_linux)
			check_warn(
				"boot.initrd: it has no %s, and %s unless the kernel has it built "
				"in; on Debian: echo %s >> /etc/initramfs-tools/modules && "
				"update-initramfs -u",
				needed[i].name, needed[i].why, needed[i].name);
	}
	for (unsigned int i = 0; i < info->version_count; i++) {
		check_line("modules for", "%s", info->versions[i]);
		if (strlen(info->versions[i]) == release &&
		    strncmp(info->versions[i], check->kernel.version,
			    release) == 0)
			matches = true;
	}
	if (!matches)
		check_warn(
			"boot.initrd: its modules are for %s, and the kernel is %.*s: it will "
			"load none of them",
			info->versions[0], (int)release, check->kernel.version);
}

static void check_initrd_content(const struct check *check, int fd)
{
	struct needed_module needed[INITRD_MODULES_MAX] = { 0 };
	const char *names[INITRD_MODULES_MAX];
	unsigned int count = check_needed_modules(check, needed);
	struct initrd_info info;
	struct error error;
	int err;

	for (unsigned int i = 0; i < count; i++)
		names[i] = needed[i].name;
	err = initrd_read(fd, check->config->initrd, names, count, &info,
			  &error);
	if (err) {
		/* It is the kernel that must understand it, not we. */
		check_warn("boot.initrd: %s", error.text);
		return;
	}
	check_line("compression", "%s", info.compression);
	check_line("entries", "%u", info.entries);
	check_initrd_modules(check, &info, needed);
}

void check_initrd(struct check *check)
{
	const char *path = check->config->initrd;
	char size[CHECK_SIZE_MAX];
	struct error error;
	struct stat status;
	int fd;

	printf("\ninitrd\n");
	if (!path) {
		check_line("file", "none");
		if (check->config->disk_count)
			check_line(
				"modules",
				"%svirtio_mmio and virtio_blk must be built into the "
				"kernel",
				check->config->iommu.enabled ? "virtio_iommu, "
							     : "");
		if (check->is_linux && !check->config->disk_count)
			check_warn(
				"boot.initrd: neither an initrd nor a disk: the kernel has nothing "
				"to start");
		return;
	}
	check_line("file", "%s", path);
	fd = check_open(check, "boot.initrd", path, O_RDONLY);
	if (fd < 0) {
		check->can_load = false;
		return;
	}
	if (fstat(fd, &status) || !S_ISREG(status.st_mode)) {
		check->can_load = false;
		error_set(&error, EXIT_STATUS_CONFIGURATION,
			  "%s: is no regular file", path);
		check_report(check, "boot.initrd", &error);
	} else {
		check_line("size", "%s",
			   check_size((uint64_t)status.st_size, size));
		check_initrd_content(check, fd);
	}
	close(fd);
}

void check_boot(const struct check *check)
{
	const struct vmm_config *config = check->config;
	struct boot_files files = {
		.kernel_fd = -1,
		.kernel_path = config->kernel,
		.initrd_fd = -1,
		.initrd_path = config->initrd,
	};
	struct error error;

	if (!check->can_load)
		return;
	files.kernel_fd = open(config->kernel, O_RDONLY | O_CLOEXEC);
	if (config->initrd)
		files.initrd_fd = open(config->initrd, O_RDONLY | O_CLOEXEC);
	if (boot_check(&check->plan, &files, &error))
		config_entries_report_error(check->entries, &error);
	if (files.initrd_fd >= 0)
		close(files.initrd_fd);
	close(files.kernel_fd);
}

/* Opens it into *@disk, which stays locked; false when that cannot be. */
static bool check_disk(const struct check *check,
		       const struct disk_config *config, struct disk *disk)
{
	char key[CONFIG_NAME_MAX + 16];
	char size[CHECK_SIZE_MAX];
	struct error error;
	int fd;

	snprintf(key, sizeof(key), "disk.%s.path", config->name);
	fd = check_open(check, key, config->path,
			config->read_only ? O_RDONLY : O_RDWR);
	if (fd < 0)
		return false;
	if (disk_open(disk, fd, config->path, config->read_only, &error)) {
		close(fd);
		check_report(check, key, &error);
		return false;
	}
	check_line(config->name, "%s: %s, raw %s, %s, not locked", config->path,
		   check_size(disk->bytes, size),
		   disk->is_block_device ? "block device" : "file",
		   config->read_only ? "read only" : "read and write");
	return true;
}

/* All are open until the last one was: two may be the same file. */
void check_disks(const struct check *check)
{
	struct disk disks[CONFIG_DEVICES_MAX];
	unsigned int count = 0;

	printf("\ndisks\n");
	for (unsigned int i = 0; i < check->config->disk_count; i++) {
		if (check->config->disks[i].path &&
		    check_disk(check, &check->config->disks[i], &disks[count]))
			count++;
	}
	if (check->config->disk_count == 0)
		printf("  none\n");
	while (count > 0)
		disk_close(&disks[--count]);
}

/* The console's file can be written, or made. */
void check_console(const struct check *check)
{
	const char *path = check->config->console_path;
	const char *slash;
	char directory[4096];
	struct error error;

	if (check->config->console != CONSOLE_FILE || !path)
		return;
	if (access(path, W_OK) == 0)
		return;
	if (errno == ENOENT) {
		slash = strrchr(path, '/');
		snprintf(directory, sizeof(directory), "%.*s",
			 slash ? (int)MIN(slash - path + 1, 4095) : 1,
			 slash ? path : ".");
		if (access(directory, W_OK | X_OK) == 0)
			return;
	}
	error_set(&error, EXIT_STATUS_CONFIGURATION, "%s: %s", path,
		  strerror(errno));
	check_report(check, "console.output", &error);
}
