/* SPDX-License-Identifier: Apache-2.0 */
/* Files for the tests of disks. */
#ifndef TESTS_UNIT_DEVICES_DISK_SUPPORT_H
#define TESTS_UNIT_DEVICES_DISK_SUPPORT_H

#include <criterion/criterion.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "devices/disk.h"
#include "devices/error.h"
#include "memory/base.h"

/* A file of @bytes bytes of 'x', unlinked. */
static inline int make_file(uint64_t bytes)
{
	char path[] = "/tmp/sluice-disk-XXXXXX";
	int fd = mkostemp(path, O_CLOEXEC);
	char block[512];
	uint64_t at;

	cr_assert_geq(fd, 0);
	unlink(path);
	memset(block, 'x', sizeof(block));
	for (at = 0; at < bytes; at += sizeof(block))
		cr_assert_gt(pwrite(fd, block, MIN(sizeof(block), bytes - at),
				    (off_t)at),
			     0);
	return fd;
}

/* Another open file description of @fd's file. */
static inline int reopen(int fd, int flags)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	fd = open(path, flags | O_CLOEXEC);
	cr_assert_geq(fd, 0);
	return fd;
}

static inline void must_open(struct disk *disk, int fd, bool read_only)
{
	struct error error = { 0 };

	cr_assert_eq(disk_open(disk, fd, "disk.img", read_only, &error), 0,
		     "%s", error.text);
}

static inline void must_refuse(int fd, bool read_only, const char *text)
{
	struct error error = { 0 };
	struct disk disk;

	cr_assert_eq(disk_open(&disk, fd, "disk.img", read_only, &error), -1);
	cr_assert_str_eq(error.text, text);
	/* It is the caller's still, and not locked. */
	cr_assert_geq(fcntl(fd, F_GETFD), 0);
	close(fd);
}

#endif
