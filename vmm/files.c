/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm/files.h"

#include "devices/error.h"

#include <errno.h>
#include <fcntl.h>
#include <pwd.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define KVM_PATH "/dev/kvm"

void vm_files_init(struct vm_files *files)
{
	unsigned int i;

	files->kvm = -1;
	files->kernel = -1;
	files->initrd = -1;
	files->console = -1;
	files->stats = -1;
	files->log = -1;
	files->smaps[0] = -1;
	files->smaps[1] = -1;
	for (i = 0; i < CONFIG_DEVICES_MAX; i++) {
		files->disks[i] = -1;
		files->nets[i] = (struct net_files){ 0 };
	}
}

static void close_one(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

void vm_files_close(struct vm_files *files)
{
	unsigned int i;

	close_one(&files->kvm);
	close_one(&files->kernel);
	close_one(&files->initrd);
	close_one(&files->console);
	close_one(&files->stats);
	close_one(&files->log);
	close_one(&files->smaps[0]);
	close_one(&files->smaps[1]);
	for (i = 0; i < CONFIG_DEVICES_MAX; i++) {
		close_one(&files->disks[i]);
		net_files_close(&files->nets[i]);
	}
}

/* Says who would have to be in the group; "USER" where no name is known. */
static int kvm_forbidden(struct error *error)
{
	const struct passwd *user = getpwuid(geteuid());

	return error_set(
		error, EXIT_STATUS_HOST,
		KVM_PATH
		": no permission; mend it with: sudo usermod -aG kvm %s "
		"(and log in again)",
		user ? user->pw_name : "USER");
}

int vm_files_open_kvm(struct error *error)
{
	int fd = open(KVM_PATH, O_RDWR | O_CLOEXEC);

	if (fd >= 0)
		return fd;
	switch (errno) {
	case EACCES:
	case EPERM:
		return kvm_forbidden(error);
	case ENOENT:
	case ENXIO:
	case ENODEV:
		return error_set(
			error, EXIT_STATUS_HOST,
			KVM_PATH
			": not there: this machine has no KVM (no hardware "
			"virtualisation, or the modules kvm_intel or kvm_amd "
			"are not loaded)");
	default:
		return error_set(error, EXIT_STATUS_HOST, KVM_PATH ": %s",
				 strerror(errno));
	}
}

/*
 * O_NONBLOCK only so that a FIFO does not block the open; it is taken back,
 * because io_uring would heed it.
 */
static int open_path(const char *key, const char *path, int flags,
		     struct error *error)
{
	int fd = open(path, flags | O_CLOEXEC | O_NOCTTY | O_NONBLOCK, 0644);

	if (fd < 0)
		return error_set(error, EXIT_STATUS_CONFIGURATION, "%s: %s: %s",
				 key, path, strerror(errno));
	if (fcntl(fd, F_SETFL, flags & ~O_CREAT) < 0) {
		error_set(error, EXIT_STATUS_INTERNAL, "%s: %s: %s", key, path,
			  strerror(errno));
		close(fd);
		return -1;
	}
	return fd;
}

static bool same_file(int one, int other)
{
	struct stat a, b;

	if (one < 0 || other < 0 || fstat(one, &a) != 0 ||
	    fstat(other, &b) != 0)
		return false;
	/* A device has any number of nodes. */
	if (S_ISBLK(a.st_mode) && S_ISBLK(b.st_mode))
		return a.st_rdev == b.st_rdev;
	return a.st_dev == b.st_dev && a.st_ino == b.st_ino &&
	       S_ISREG(a.st_mode);
}

static bool is_ini(int fd, const struct vmm_config *config)
{
	struct stat status;

	return config->ini_inode && fstat(fd, &status) == 0 &&
	       status.st_dev == config->ini_device &&
	       status.st_ino == config->ini_inode;
}

/*
 * Console, statistics and log are written without asking, so none may be a
 * file that the VM needs, nor another of them. Two disks on one file are found out by their locks.
 */
static int check_written(const struct vm_files *files,
			 const struct vmm_config *config, int fd,
			 const char *key, const char *path, struct error *error)
{
	unsigned int i;

	if (fd < 0)
		return 0;
	if (same_file(fd, files->kernel) || same_file(fd, files->initrd))
		return error_set(error, EXIT_STATUS_CONFIGURATION,
				 "%s: %s: is also the kernel or the initrd",
				 key, path);
	if (is_ini(fd, config))
		return error_set(error, EXIT_STATUS_CONFIGURATION,
				 "%s: %s: is also the VM's INI", key, path);
	for (i = 0; i < config->disk_count; i++)
		if (same_file(fd, files->disks[i]))
			return error_set(error, EXIT_STATUS_CONFIGURATION,
					 "%s: %s: is also disk %s", key, path,
					 config->disks[i].name);
	return 0;
}

static int check_all_written(const struct vm_files *files,
			     const struct vmm_config *config,
			     struct error *error)
{
	if (same_file(files->console, files->stats))
		return error_set(error, EXIT_STATUS_CONFIGURATION,
				 "--stats: %s: is also the console's file",
				 config->stats_path);
	if (same_file(files->console, files->log))
		return error_set(error, EXIT_STATUS_CONFIGURATION,
				 "console.output: %s: is also the log",
				 config->console_path);
	if (same_file(files->stats, files->log))
		return error_set(error, EXIT_STATUS_CONFIGURATION,
				 "--stats: %s: is also the log",
				 config->stats_path);
	if (check_written(files, config, files->console, "console.output",
			  config->console_path, error) != 0 ||
	    check_written(files, config, files->log, "--log", config->log_path,
			  error) != 0)
		return -1;
	return check_written(files, config, files->stats, "--stats",
			     config->stats_path, error);
}

static int open_disks(struct vm_files *files, const struct vmm_config *config,
		      struct error *error)
{
	char key[CONFIG_NAME_MAX + sizeof("disk..path")];
	const struct disk_config *disk;
	unsigned int i;

	for (i = 0; i < config->disk_count; i++) {
		disk = &config->disks[i];
		stpcpy(stpcpy(stpcpy(key, "disk."), disk->name), ".path");
		files->disks[i] = open_path(key, disk->path,
					    disk->read_only ? O_RDONLY : O_RDWR,
					    error);
		if (files->disks[i] < 0)
			return -1;
	}
	return 0;
}

static int open_nets(struct vm_files *files, const struct vmm_config *config,
		     struct error *error)
{
	unsigned int i;

	for (i = 0; i < config->net_count; i++)
		if (net_files_open(&files->nets[i], &config->nets[i], error) !=
		    0)
			return -1;
	return 0;
}

/* What the VM writes of its own: console, statistics, log. */
static int open_written(struct vm_files *files, const struct vmm_config *config,
			struct error *error)
{
	if (config->console == CONSOLE_FILE) {
		files->console = open_path("console.output",
					   config->console_path,
					   O_RDWR | O_CREAT, error);
		if (files->console < 0)
			return -1;
	}
	if (config->stats_path) {
		files->stats = open_path("--stats", config->stats_path,
					 O_RDWR | O_CREAT, error);
		if (files->stats < 0)
			return -1;
	}
	if (config->log_path) {
		files->log = open_path("--log", config->log_path,
				       O_WRONLY | O_APPEND | O_CREAT, error);
		if (files->log < 0)
			return -1;
	}
	return check_all_written(files, config, error);
}

static int open_all(struct vm_files *files, const struct vmm_config *config,
		    struct error *error)
{
	files->kernel =
		open_path("boot.kernel", config->kernel, O_RDONLY, error);
	if (files->kernel < 0)
		return -1;
	if (config->initrd) {
		files->initrd = open_path("boot.initrd", config->initrd,
					  O_RDONLY, error);
		if (files->initrd < 0)
			return -1;
	}
	if (open_disks(files, config, error) != 0)
		return -1;
	if (open_written(files, config, error) != 0)
		return -1;
	/* An earlier VM's statistics are not this one's; a device has none. */
	if (files->stats >= 0 && ftruncate(files->stats, 0) != 0 &&
	    errno != EINVAL)
		return error_set(error, EXIT_STATUS_CONFIGURATION,
				 "--stats: %s: %s", config->stats_path,
				 strerror(errno));
	/* Late: they may start a process, and disturb who else uses them. */
	if (open_nets(files, config, error) != 0)
		return -1;
	/* Last: a mistake in the configuration is told on every machine. */
	files->kvm = vm_files_open_kvm(error);
	return files->kvm < 0 ? -1 : 0;
}

int vm_files_open(struct vm_files *files, const struct vmm_config *config,
		  struct error *error)
{
	vm_files_init(files);
	if (open_all(files, config, error) == 0)
		return 0;
	vm_files_close(files);
	return -1;
}

void vm_files_open_own(struct vm_files *files)
{
	char parent[32];

	snprintf(parent, sizeof(parent), "/proc/%d/smaps", (int)getppid());
	files->smaps[0] = open("/proc/self/smaps", O_RDONLY | O_CLOEXEC);
	files->smaps[1] = open(parent, O_RDONLY | O_CLOEXEC);
}
