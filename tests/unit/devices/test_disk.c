/* SPDX-License-Identifier: Apache-2.0 */
#include "devices/disk.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <linux/loop.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

#include "devices/disk_format.h"
#include "devices/error.h"
#include "memory/base.h"
#include "tests/unit/devices/disk_support.h"
#include "tests/unit/devices/host_io.h"

#define BYTES (64 * KIB)

static void write_at(int fd, const void *bytes, size_t len, off_t offset)
{
	cr_assert_eq(pwrite(fd, bytes, len, offset), (ssize_t)len);
}

/* Whether all of @len bytes at @offset of @fd are @byte. */
static bool holds(int fd, uint64_t offset, size_t len, uint8_t byte)
{
	uint8_t *buffer = malloc(len);
	bool same = true;
	size_t i;

	cr_assert_eq(pread(fd, buffer, len, (off_t)offset), (ssize_t)len);
	for (i = 0; i < len; i++)
		same &= buffer[i] == byte;
	free(buffer);
	return same;
}

Test(disk, file_is_measured)
{
	struct disk disk;

	must_open(&disk, make_file(BYTES), false);
	cr_assert_eq(disk.bytes, BYTES);
	cr_assert_not(disk.read_only);
	cr_assert_not(disk.is_block_device);
	cr_assert(disk.can_write_zeroes);
	cr_assert_eq(disk.logical_bytes, 512);
	cr_assert_eq(disk.block_bytes, 4096);
	disk_close(&disk);
	must_open(&disk, make_file(BYTES), true);
	cr_assert(disk.read_only);
	cr_assert_not(disk.can_discard);
	cr_assert_not(disk.can_write_zeroes);
	disk_close(&disk);
}

Test(disk, images_that_are_not_raw_are_refused_with_the_command_that_converts)
{
	static const struct {
		const char *format;
		unsigned int offset, len;
		const char *magic;
	} cases[] = {
		{ "qcow2", 0, 4, "QFI\xfb" },
		{ "vmdk", 0, 4, "KDMV" },
		{ "vmdk", 0, 4, "COWD" },
		{ "vmdk", 0, 21, "# Disk DescriptorFile" },
		{ "vhdx", 0, 8, "vhdxfile" },
		{ "vhd", 0, 8, "conectix" },
		{ "vdi", 64, 4, "\x7f\x10\xda\xbe" },
	};
	static const uint64_t sizes[] = { BYTES, BYTES + 100 };
	char text[200];
	unsigned int i;
	int fd;

	for (i = 0; i < 2 * ARRAY_SIZE(cases); i++) {
		fd = make_file(sizes[i % 2]);
		write_at(fd, cases[i / 2].magic, cases[i / 2].len,
			 cases[i / 2].offset);
		snprintf(text, sizeof(text),
			 "disk.img: is a %s image; convert it: "
			 "qemu-img convert -O raw disk.img disk.raw",
			 cases[i / 2].format);
		must_refuse(fd, i & 2, text);
	}
}

Test(disk, vhd_of_fixed_size_is_known_by_a_footer_with_its_checksum)
{
	uint8_t footer[512] = "conectix";
	struct disk disk;
	uint32_t sum = 0;
	unsigned int i;
	int fd;

	for (i = 0; i < sizeof(footer); i++)
		sum += footer[i];
	sum = ~sum;
	for (i = 0; i < 4; i++)
		footer[64 + i] = (uint8_t)(sum >> (24 - 8 * i));
	fd = make_file(BYTES);
	write_at(fd, footer, 512, BYTES - 512);
	must_refuse(fd, true,
		    "disk.img: is a vhd image; convert it: "
		    "qemu-img convert -O raw disk.img disk.raw");
	/* Eight letters in the last sector are data. */
	footer[100] = 1;
	fd = make_file(BYTES);
	write_at(fd, footer, 512, BYTES - 512);
	must_open(&disk, fd, false);
	disk_close(&disk);
}

Test(disk_format, name_of_the_raw_file_is_never_the_image)
{
	static const char *const cases[][2] = {
		{ "disk.qcow2", "disk.raw" },
		{ "disk", "disk.raw" },
		{ "/a.b/disk", "/a.b/disk.raw" },
		{ "/a.b/disk.vmdk", "/a.b/disk.raw" },
		{ "disk.raw", "disk.raw.raw" },
		{ ".img", ".img.raw" },
		{ "a/.img", "a/.img.raw" },
	};
	char raw[64];
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		disk_format_raw_name(cases[i][0], raw, sizeof(raw));
		cr_assert_str_eq(raw, cases[i][1]);
	}
}

Test(disk, bug19_sizes_that_no_disk_has_are_refused)
{
	must_refuse(make_file(0), false, "disk.img: is empty");
	must_refuse(make_file(BYTES + 1), false,
		    "disk.img: its size, 65537 bytes, is no multiple of 512; "
		    "extend it: truncate -s %512 disk.img");
	must_refuse(make_file(511), true,
		    "disk.img: its size, 511 bytes, is no multiple of 512; "
		    "extend it: truncate -s %512 disk.img");
}

Test(disk, what_is_no_disk_is_refused)
{
	int pipes[2], sockets[2];

	cr_assert_eq(pipe(pipes), 0);
	cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, sockets), 0);
	must_refuse(open("/tmp", O_RDONLY | O_DIRECTORY), true,
		    "disk.img: is a directory; a disk is a file or a block "
		    "device");
	must_refuse(open("/dev/zero", O_RDWR), false,
		    "disk.img: is a character device; a disk is a file or a "
		    "block device");
	must_refuse(pipes[0], true,
		    "disk.img: is a pipe; a disk is a file or a block device");
	must_refuse(sockets[0], true,
		    "disk.img: is a socket; a disk is a file or a block "
		    "device");
}

Test(disk, descriptor_that_cannot_write_is_refused)
{
	int fd = make_file(BYTES);

	must_refuse(reopen(fd, O_RDONLY), false,
		    "disk.img: is not open for writing");
	must_refuse(reopen(fd, O_WRONLY), true,
		    "disk.img: is not open for reading");
	close(fd);
}

Test(disk, read_and_write_move_all_bytes_of_all_iovecs)
{
	char out[3][1000], in[3000], empty[1];
	struct iovec write_iov[] = { { empty, 0 },
				     { out[0], 1000 },
				     { empty, 0 },
				     { out[1], 1000 },
				     { out[2], 1000 } };
	struct iovec read_iov[] = {
		{ in, 1 }, { in + 1, 2000 }, { empty, 0 }, { in + 2001, 999 }
	};
	struct disk disk;
	unsigned int i;

	for (i = 0; i < 3; i++)
		memset(out[i], 'a' + (int)i, 1000);
	must_open(&disk, make_file(BYTES), false);
	cr_assert_eq(disk_write(&disk, write_iov, 5, 700), 0);
	cr_assert_eq(disk_flush(&disk), 0);
	cr_assert_eq(disk_read(&disk, read_iov, 4, 700), 0);
	cr_assert_eq(memcmp(in, out, 3000), 0);
	cr_assert(holds(disk.fd, 0, 700, 'x'));
	cr_assert(holds(disk.fd, 3700, 1000, 'x'));
	disk_close(&disk);
}

Test(disk, bug12_short_and_interrupted_transfers_are_continued)
{
	char out[5000], in[5000] = { 0 };
	struct iovec iov[] = { { out, 3000 }, { out + 3000, 2000 } };
	struct disk disk;
	unsigned int i;

	for (i = 0; i < sizeof(out); i++)
		out[i] = (char)i;
	must_open(&disk, make_file(BYTES), false);
	host_io.piece = 333;
	host_io.interrupt = true;
	cr_assert_eq(disk_write(&disk, iov, 2, 512), 0);
	iov[0] = (struct iovec){ in, 1 };
	iov[1] = (struct iovec){ in + 1, 4999 };
	cr_assert_eq(disk_read(&disk, iov, 2, 512), 0);
	cr_assert_eq(memcmp(in, out, sizeof(in)), 0);
	cr_assert_gt(host_io.reads, 30);
	cr_assert_gt(host_io.writes, 30);
	cr_assert(holds(disk.fd, 0, 512, 'x'));
	cr_assert(holds(disk.fd, 5512, 512, 'x'));
	disk_close(&disk);
}

Test(disk, bug12_short_write_is_continued_until_the_error)
{
	char *out = malloc(8192);
	struct iovec iov[4];
	struct disk disk;
	unsigned int i;

	/* A write over the limit is short; the next one fails. */
	signal(SIGXFSZ, SIG_IGN);
	memset(out, 'n', 8192);
	must_open(&disk, make_file(BYTES), false);
	cr_assert_eq(setrlimit(RLIMIT_FSIZE, &(struct rlimit){ 5000, 5000 }),
		     0);
	for (i = 0; i < 4; i++)
		iov[i] = (struct iovec){ out + (size_t)2048 * i, 2048 };
	cr_assert_eq(disk_write(&disk, iov, 4, 0), -EFBIG);
	cr_assert(holds(disk.fd, 0, 5000, 'n'));
	cr_assert(holds(disk.fd, 5000, 1000, 'x'));
	disk_close(&disk);
	free(out);
}

Test(disk, bug12_truncated_file_is_an_error_and_not_a_loop)
{
	char buffer[8192];
	struct iovec iov[2] = { { buffer, 4096 }, { buffer + 4096, 4096 } };
	struct disk disk;

	must_open(&disk, make_file(BYTES), false);
	cr_assert_eq(ftruncate(disk.fd, 6000), 0);
	memset(buffer, 0, sizeof(buffer));
	cr_assert_eq(disk_read(&disk, iov, 2, 0), -EIO);
	cr_assert_eq(buffer[5999], 'x', "what is there was read");
	iov[0] = (struct iovec){ buffer, 512 };
	cr_assert_eq(disk_read(&disk, iov, 1, BYTES - 512), -EIO);
	disk_close(&disk);
}

Test(disk, bug12_device_that_is_full_is_an_error)
{
	char buffer[512] = { 0 };
	struct iovec iov = { buffer, 512 };
	struct disk disk = { .fd = open("/dev/full", O_RDWR), .bytes = BYTES };

	cr_assert_eq(disk_write(&disk, &iov, 1, 0), -ENOSPC);
	close(disk.fd);
}

Test(disk, bug12_full_file_system_is_an_error)
{
	char path[] = "/tmp/sluice-full-XXXXXX", name[64], *buffer;
	struct iovec iov;
	struct disk disk;
	int fd;

	cr_assert_not_null(mkdtemp(path));
	if (mount("none", path, "tmpfs", 0, "size=64k") < 0) {
		rmdir(path);
		cr_skip_test("cannot mount a tmpfs");
	}
	snprintf(name, sizeof(name), "%s/disk", path);
	fd = open(name, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	cr_assert_eq(ftruncate(fd, MIB), 0);
	must_open(&disk, fd, false);
	buffer = calloc(1, 128 * KIB);
	iov = (struct iovec){ buffer, 128 * KIB };
	cr_assert_eq(disk_write(&disk, &iov, 1, 0), -ENOSPC);
	cr_assert_eq(disk_write_zeroes(&disk, 0, 128 * KIB, false), -ENOSPC);
	/* tmpfs punches holes but has no zero ranges. */
	cr_assert_eq(disk_discard(&disk, 0, MIB), 0);
	iov = (struct iovec){ buffer, 32 * KIB };
	cr_assert_eq(disk_write(&disk, &iov, 1, 0), 0);
	cr_assert_eq(disk_write_zeroes(&disk, 512, 1024, false), 0);
	cr_assert_eq(disk_write_zeroes(&disk, 512, 1024, true), 0);
	free(buffer);
	disk_close(&disk);
	umount(path);
	rmdir(path);
}

Test(disk, read_only_disk_is_never_changed)
{
	char buffer[512] = { 0 };
	struct iovec iov = { buffer, 512 };
	int file = make_file(BYTES);
	struct disk disk;

	/* Even through a descriptor that could. */
	must_open(&disk, reopen(file, O_RDWR), true);
	cr_assert_eq(disk_write(&disk, &iov, 1, 0), -EROFS);
	cr_assert_eq(disk_discard(&disk, 0, BYTES), -EROFS);
	cr_assert_eq(disk_write_zeroes(&disk, 0, BYTES, true), -EROFS);
	cr_assert_eq(disk_flush(&disk), 0);
	disk_close(&disk);
	cr_assert(holds(file, 0, BYTES, 'x'));
	close(file);
}

Test(disk, zeroes_cover_the_range_and_nothing_else)
{
	static const struct {
		uint64_t offset, len;
	} ranges[] = {
		{ 4096, 8192 }, { 512, 512 },	      { 1536, 9728 },
		{ 0, BYTES },	{ BYTES - 512, 512 }, { 1024, 0 },
	};
	struct disk disk;
	unsigned int i;

	for (i = 0; i < 3 * ARRAY_SIZE(ranges); i++) {
		uint64_t first = ranges[i / 3].offset;
		uint64_t end = first + ranges[i / 3].len;

		must_open(&disk, make_file(BYTES), false);
		/* i % 3 == 2: a file system that cannot punch holes. */
		if (i % 3 == 2)
			disk.can_discard = false;
		cr_assert_eq(disk_write_zeroes(&disk, first, end - first,
					       i % 3 > 0),
			     0);
		cr_assert(holds(disk.fd, 0, first, 'x'));
		cr_assert(holds(disk.fd, first, end - first, 0));
		cr_assert(holds(disk.fd, end, BYTES - end, 'x'));
		disk_close(&disk);
	}
}

static uint64_t allocated(int fd)
{
	struct stat stat;

	cr_assert_eq(fstat(fd, &stat), 0);
	return (uint64_t)stat.st_blocks * 512;
}

Test(disk, discard_and_unmapping_zeroes_give_space_back)
{
	struct disk disk;
	uint64_t before;

	must_open(&disk, make_file(MIB), false);
	if (!disk.can_discard)
		cr_skip_test("this file system punches no holes");
	before = allocated(disk.fd);
	cr_assert_eq(disk_write_zeroes(&disk, 0, 256 * KIB, false), 0);
	cr_assert_geq(allocated(disk.fd), before, "space stays");
	cr_assert_eq(disk_write_zeroes(&disk, 0, 256 * KIB, true), 0);
	cr_assert_leq(allocated(disk.fd), before - 256 * KIB);
	cr_assert_eq(disk_discard(&disk, 512 * KIB, 256 * KIB), 0);
	cr_assert_leq(allocated(disk.fd), before - 512 * KIB);
	cr_assert_eq(disk_discard(&disk, 512 * KIB, 0), 0);
	cr_assert(holds(disk.fd, 768 * KIB, 256 * KIB, 'x'));
	disk_close(&disk);
}

Test(disk, discard_that_the_file_system_lacks_is_not_supported)
{
	struct disk disk;

	must_open(&disk, make_file(BYTES), false);
	disk.can_discard = false;
	cr_assert_eq(disk_discard(&disk, 0, 4096), -EOPNOTSUPP);
	disk_close(&disk);
}

/* A loop device over a new file, or -1. */
static int make_loop(uint64_t bytes, unsigned int block)
{
	struct loop_config config = { .block_size = block };
	int control, number, fd = -1;
	char path[64];

	control = open("/dev/loop-control", O_RDWR | O_CLOEXEC);
	if (control < 0)
		return -1;
	number = ioctl(control, LOOP_CTL_GET_FREE);
	close(control);
	snprintf(path, sizeof(path), "/dev/loop%d", number);
	if (number >= 0)
		fd = open(path, O_RDWR | O_CLOEXEC);
	if (fd < 0)
		return -1;
	config.fd = (uint32_t)make_file(bytes);
	config.info.lo_flags = LO_FLAGS_AUTOCLEAR;
	if (ioctl(fd, LOOP_CONFIGURE, &config) < 0) {
		close(fd);
		fd = -1;
	}
	close((int)config.fd);
	return fd;
}

Test(disk, block_device_is_measured_and_works)
{
	int fd = make_loop(MIB, 4096);
	char buffer[512];
	struct iovec iov = { buffer, 512 };
	struct disk disk;

	if (fd < 0)
		cr_skip_test("no loop device here");
	must_open(&disk, fd, false);
	cr_assert(disk.is_block_device);
	cr_assert_eq(disk.bytes, MIB);
	cr_assert_eq(disk.logical_bytes, 4096);
	cr_assert_geq(disk.block_bytes, 4096);
	memset(buffer, 'n', sizeof(buffer));
	cr_assert_eq(disk_write(&disk, &iov, 1, 1536), 0);
	cr_assert_eq(disk_flush(&disk), 0);
	cr_assert(holds(fd, 1536, 512, 'n'));
	/* Whole blocks by the device, parts of blocks by writing. */
	cr_assert_eq(disk_write_zeroes(&disk, 8192, 8192, true), 0);
	cr_assert_eq(disk_write_zeroes(&disk, 20480 + 512, 512, true), 0);
	cr_assert(holds(fd, 8192, 8192, 0));
	cr_assert(holds(fd, 16384, 4096 + 512, 'x'));
	cr_assert(holds(fd, 20992, 512, 0));
	cr_assert(holds(fd, 21504, 4096, 'x'));
	cr_assert(disk.can_discard, "a loop device over a file discards");
	cr_assert_eq(disk_discard(&disk, 65536 + 512, 8192), 0);
	cr_assert(holds(fd, 65536, 4096, 'x'));
	cr_assert(holds(fd, 65536 + 8192, 4096, 'x'));
	cr_assert_eq(disk_discard(&disk, 512, 512), 0);
	disk_close(&disk);
}
