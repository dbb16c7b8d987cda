/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Everything goes through the host's page cache: pread and pwrite take any
 * alignment, so that nothing here depends on the block size, and a flush is
 * fdatasync.
 */
#include "devices/disk.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <linux/fs.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "devices/disk_format.h"
#include "devices/disk_lock.h"
#include "devices/error.h"
#include "memory/base.h"

/* What the page cache reads and writes back. */
#define FILE_BLOCK_BYTES 4096

/* Zeroes are written with so many iovecs of one page: 1 MiB a call. */
#define ZERO_IOVECS 256

static const uint8_t zero_page[4096];

/* Whether the block device's queue says that it discards. */
static bool device_discards(dev_t device)
{
	/* A partition has no queue of its own. */
	static const char *const places[] = { "", "../" };
	char path[96], text[32];
	bool discards = false;
	unsigned int i;
	FILE *file;

	for (i = 0; i < ARRAY_SIZE(places) && !discards; i++) {
		snprintf(path, sizeof(path),
			 "/sys/dev/block/%u:%u/%squeue/discard_max_bytes",
			 major(device), minor(device), places[i]);
		file = fopen(path, "re");
		if (!file)
			continue;
		if (fgets(text, sizeof(text), file))
			discards = strtoull(text, NULL, 10) > 0;
		fclose(file);
	}
	return discards;
}

/*
 * Whether holes can be punched, tried where there is nothing to lose: behind
 * the end.
 */
static bool file_discards(int fd, uint64_t bytes)
{
	return fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
			 (off_t)align_up(bytes, FILE_BLOCK_BYTES),
			 FILE_BLOCK_BYTES) == 0;
}

static int device_measure(struct disk *disk, const struct stat *stat,
			  const char *path, struct error *error)
{
	int logical, read_only;
	unsigned int physical;

	if (ioctl(disk->fd, BLKGETSIZE64, &disk->bytes) < 0 ||
	    ioctl(disk->fd, BLKSSZGET, &logical) < 0 ||
	    ioctl(disk->fd, BLKPBSZGET, &physical) < 0 ||
	    ioctl(disk->fd, BLKROGET, &read_only) < 0)
		return error_set(error, EXIT_STATUS_HOST,
				 "%s: cannot be measured: %m", path);
	if (read_only && !disk->read_only)
		return error_set(error, EXIT_STATUS_CONFIGURATION,
				 "%s: is a read-only device", path);
	if (is_power_of_two((unsigned int)logical) && logical > DISK_SECTOR)
		disk->logical_bytes = (uint32_t)logical;
	if (is_power_of_two(physical))
		disk->block_bytes = MAX(physical, disk->logical_bytes);
	disk->is_block_device = true;
	disk->can_discard = !disk->read_only && device_discards(stat->st_rdev);
	return 0;
}

/* Refuses what is no disk. */
static int kind_check(const struct stat *stat, const char *path,
		      struct error *error)
{
	const char *kind = "no file or block device";

	switch (stat->st_mode & S_IFMT) {
	case S_IFREG:
	case S_IFBLK:
		return 0;
	case S_IFDIR:
		kind = "a directory";
		break;
	case S_IFCHR:
		kind = "a character device";
		break;
	case S_IFIFO:
		kind = "a pipe";
		break;
	case S_IFSOCK:
		kind = "a socket";
		break;
	}
	return error_set(error, EXIT_STATUS_CONFIGURATION,
			 "%s: is %s; a disk is a file or a block device", path,
			 kind);
}

/* The size and what the file or device can do. Under the lock. */
static int disk_measure(struct disk *disk, const char *path,
			struct error *error)
{
	struct stat stat;

	if (fstat(disk->fd, &stat) < 0)
		return error_set(error, EXIT_STATUS_HOST, "%s: %m", path);
	if (S_ISBLK(stat.st_mode))
		return device_measure(disk, &stat, path, error);
	disk->bytes = (uint64_t)stat.st_size;
	disk->block_bytes = FILE_BLOCK_BYTES;
	disk->can_discard = !disk->read_only &&
			    file_discards(disk->fd, disk->bytes);
	return 0;
}

/* Whether the guest can have what is in the file. */
static int disk_judge(const struct disk *disk, const char *path,
		      struct error *error)
{
	const char *format;
	char raw[PATH_MAX];
	int err;

	if (disk->bytes == 0)
		return error_set(error, EXIT_STATUS_CONFIGURATION,
				 "%s: is empty", path);
	/* Images may have any size: what they are is the better answer. */
	if (disk->bytes >= DISK_SECTOR) {
		err = disk_format_probe(disk->fd, disk->bytes, &format);
		if (err) {
			errno = -err;
			return error_set(error, EXIT_STATUS_HOST,
					 "%s: cannot be read: %m", path);
		}
		if (format) {
			disk_format_raw_name(path, raw, sizeof(raw));
			return error_set(error, EXIT_STATUS_CONFIGURATION,
					 "%s: is a %s image; convert it: "
					 "qemu-img convert -O raw %s %s",
					 path, format, path, raw);
		}
	}
	if (disk->bytes % DISK_SECTOR)
		return error_set(error, EXIT_STATUS_CONFIGURATION,
				 "%s: its size, %" PRIu64 " bytes, is no "
				 "multiple of 512; extend it: "
				 "truncate -s %%512 %s",
				 path, disk->bytes, path);
	return 0;
}

int disk_open(struct disk *disk, int fd, const char *path, bool read_only,
	      struct error *error)
{
	int flags = fcntl(fd, F_GETFL);
	struct stat stat;

	if (flags < 0 || fstat(fd, &stat) < 0)
		return error_set(error, EXIT_STATUS_INTERNAL, "%s: %m", path);
	if (kind_check(&stat, path, error) < 0)
		return -1;
	if ((flags & O_ACCMODE) == O_WRONLY ||
	    (!read_only && (flags & O_ACCMODE) != O_RDWR))
		return error_set(error, EXIT_STATUS_INTERNAL,
				 "%s: is not open for %s", path,
				 read_only ? "reading" : "writing");
	*disk = (struct disk){
		.fd = fd,
		.read_only = read_only,
		.can_write_zeroes = !read_only,
		.logical_bytes = DISK_SECTOR,
		.block_bytes = DISK_SECTOR,
	};
	if (disk_lock_take(fd, path, !read_only, error) < 0)
		return -1;
	/* From here on nobody who respects the lock changes the file. */
	if (disk_measure(disk, path, error) < 0 ||
	    disk_judge(disk, path, error) < 0) {
		disk_lock_drop(fd);
		return -1;
	}
	return 0;
}

void disk_close(struct disk *disk)
{
	disk_lock_drop(disk->fd);
	close(disk->fd);
	disk->fd = -1;
}

/* Drops the first @done bytes, which have been transferred, from @iov. */
static void iov_advance(struct iovec **iov, unsigned int *count, size_t done)
{
	while (*count > 0 && done >= (*iov)->iov_len) {
		done -= (*iov)->iov_len;
		(*iov)++;
		(*count)--;
	}
	if (*count > 0) {
		(*iov)->iov_base = (char *)(*iov)->iov_base + done;
		(*iov)->iov_len -= done;
	}
}

int disk_read(struct disk *disk, struct iovec *iov, unsigned int count,
	      uint64_t offset)
{
	ssize_t done;

	iov_advance(&iov, &count, 0);
	while (count > 0) {
		done = preadv(disk->fd, iov, (int)count, (off_t)offset);
		if (done < 0 && errno == EINTR)
			continue;
		if (done < 0)
			return -errno;
		if (done == 0)
			return -EIO;
		offset += (uint64_t)done;
		iov_advance(&iov, &count, (size_t)done);
	}
	return 0;
}

int disk_write(struct disk *disk, struct iovec *iov, unsigned int count,
	       uint64_t offset)
{
	ssize_t done;

	if (disk->read_only)
		return -EROFS;
	iov_advance(&iov, &count, 0);
	while (count > 0) {
		done = pwritev(disk->fd, iov, (int)count, (off_t)offset);
		if (done < 0 && errno == EINTR)
			continue;
		if (done < 0)
			return -errno;
		if (done == 0)
			return -EIO;
		offset += (uint64_t)done;
		iov_advance(&iov, &count, (size_t)done);
	}
	return 0;
}

int disk_flush(struct disk *disk)
{
	int err;

	if (disk->read_only)
		return 0;
	do
		err = fdatasync(disk->fd) < 0 ? -errno : 0;
	while (err == -EINTR);
	return err;
}

static int file_allocate(struct disk *disk, int mode, uint64_t offset,
			 uint64_t len)
{
	mode |= FALLOC_FL_KEEP_SIZE;
	while (fallocate(disk->fd, mode, (off_t)offset, (off_t)len) < 0) {
		if (errno != EINTR)
			return -errno;
	}
	return 0;
}

/* BLKDISCARD or BLKZEROOUT. -EINVAL: not whole logical blocks. */
static int device_range(struct disk *disk, unsigned long request,
			uint64_t offset, uint64_t len)
{
	uint64_t range[2] = { offset, len };

	return ioctl(disk->fd, request, range) < 0 ? -errno : 0;
}

int disk_discard(struct disk *disk, uint64_t offset, uint64_t len)
{
	uint64_t first, end;

	if (disk->read_only)
		return -EROFS;
	if (!disk->can_discard)
		return -EOPNOTSUPP;
	if (len == 0)
		return 0;
	if (!disk->is_block_device)
		return file_allocate(disk, FALLOC_FL_PUNCH_HOLE, offset, len);
	/* Parts of a block may keep their content. */
	first = align_up(offset, disk->logical_bytes);
	end = align_down(offset + len, disk->logical_bytes);
	if (first >= end)
		return 0;
	return device_range(disk, BLKDISCARD, first, end - first);
}

static int zeroes_write(struct disk *disk, uint64_t offset, uint64_t len)
{
	struct iovec iov[ZERO_IOVECS];
	unsigned int count;
	uint64_t bytes;
	int err;

	while (len > 0) {
		bytes = 0;
		for (count = 0; count < ZERO_IOVECS && bytes < len; count++) {
			iov[count].iov_base = (void *)zero_page;
			iov[count].iov_len =
				MIN(sizeof(zero_page), len - bytes);
			bytes += iov[count].iov_len;
		}
		err = disk_write(disk, iov, count, offset);
		if (err)
			return err;
		offset += bytes;
		len -= bytes;
	}
	return 0;
}

int disk_write_zeroes(struct disk *disk, uint64_t offset, uint64_t len,
		      bool may_unmap)
{
	int err = -EOPNOTSUPP;

	if (disk->read_only)
		return -EROFS;
	if (len == 0)
		return 0;
	if (disk->is_block_device)
		err = device_range(disk, BLKZEROOUT, offset, len);
	else if (may_unmap && disk->can_discard)
		err = file_allocate(disk, FALLOC_FL_PUNCH_HOLE, offset, len);
	if (err == -EOPNOTSUPP && !disk->is_block_device)
		err = file_allocate(disk, FALLOC_FL_ZERO_RANGE, offset, len);
	/* tmpfs has no zero ranges; devices want whole blocks. */
	if (err == -EOPNOTSUPP || err == -EINVAL)
		err = zeroes_write(disk, offset, len);
	return err;
}
