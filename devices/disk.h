/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The host's side of a disk: a raw file or block device, checked and locked.
 *
 * disk_open is set-up; the other calls are made by several queue threads at a
 * time, each on its own range, and answer -errno for whatever the file does.
 * Growing a file past RLIMIT_FSIZE is -EFBIG only where SIGXFSZ is blocked or
 * ignored; else it ends the process.
 */
#ifndef DEVICES_DISK_H
#define DEVICES_DISK_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

struct error;

#define DISK_SECTOR 512

struct disk {
	int fd; /* owned */
	bool read_only;
	bool is_block_device;
	bool can_discard; /* holes can be punched, or the device discards */
	bool can_write_zeroes; /* writable; falls back to writing them */
	uint64_t bytes; /* a multiple of DISK_SECTOR, > 0; constant */
	uint32_t logical_bytes; /* smallest addressable block: 512 for files */
	uint32_t block_bytes; /* physical block: what writes should be multiples of */
};

/*
 * Takes @fd (consumed on success, the caller's on failure), opened for
 * reading, and for writing unless @read_only. Refuses, with a line in @error
 * that starts with @path: what is neither file nor block device; images that
 * are not raw (devices/disk_format.h); an empty file or one whose size is no
 * multiple of 512; a disk that someone else has locked (an exclusive OFD lock
 * when writable, a shared one when read-only), naming the holder. Returns 0 or
 * -1. The lock goes with disk_close, or with the last copy of @fd.
 */
int disk_open(struct disk *disk, int fd, const char *path, bool read_only,
	      struct error *error);
void disk_close(struct disk *disk);

/*
 * All of the bytes of @iov (1 to IOV_MAX of them) at @offset, inside the disk:
 * short transfers are continued. @iov may be changed. 0 or -errno; -EIO when
 * the file has ended early (it was truncated). -ENOSPC, -EDQUOT, -EFBIG as the
 * host says; -EROFS when a read-only disk is to be changed.
 */
int disk_read(struct disk *disk, struct iovec *iov, unsigned int count,
	      uint64_t offset);
int disk_write(struct disk *disk, struct iovec *iov, unsigned int count,
	       uint64_t offset);

/* What was written before is on stable storage. */
int disk_flush(struct disk *disk);

/*
 * Content undefined afterwards (discard), or zero. @len may be 0. Without
 * @may_unmap the space stays allocated. -EOPNOTSUPP: cannot.
 */
int disk_discard(struct disk *disk, uint64_t offset, uint64_t len);
int disk_write_zeroes(struct disk *disk, uint64_t offset, uint64_t len,
		      bool may_unmap);

#endif
