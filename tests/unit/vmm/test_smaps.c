/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm/smaps.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "memory/base.h"

static int file_with(const char *text)
{
	int fd = memfd_create("smaps", MFD_CLOEXEC);

	cr_assert_eq(write(fd, text, strlen(text)), (ssize_t)strlen(text));
	return fd;
}

static const char smaps[] =
	"55d8c1000000-55d8c1002000 r--p 00000000 08:01 1   /bin/sluice Pss: 9\n"
	"Size:                  8 kB\n"
	"Rss:                   8 kB\n"
	"Pss:                   4 kB\n"
	"Pss_Dirty:            99 kB\n"
	"7f0000000000-7f0008000000 rw-s 00000000 00:01 2   /memfd:sluice\n"
	"Pss:              131072 kB\n"
	"7f0004000000-7f0004100000 rw-p 00000000 08:01 3   /boot/initrd\n"
	"Pss:                1024 kB\n"
	"7f0008000000-7f0008001000 rw-p 00000000 00:00 0\n"
	"Pss:                   3 kB\n"
	"VmFlags: rd wr mr mw me ac\n";

Test(smaps, guest_memory_is_left_out_files_mapped_over_it_too)
{
	const struct smaps_range ram = { 0x7f0000000000, 0x8000000 };
	int fd = file_with(smaps);
	uint64_t bytes;

	cr_assert_eq(smaps_sum(fd, &ram, 1, &bytes), 0);
	cr_expect_eq(bytes, 7 * KIB);
	/* Again from the start. */
	cr_assert_eq(smaps_sum(fd, NULL, 0, &bytes), 0);
	cr_expect_eq(bytes, (7 + 1024 + 131072) * KIB);
	close(fd);
}

Test(smaps, what_is_no_smaps_is_an_error)
{
	int fd = file_with("");
	uint64_t bytes;

	cr_expect_eq(smaps_sum(fd, NULL, 0, &bytes), -EBADMSG);
	close(fd);
	cr_expect_eq(smaps_sum(-1, NULL, 0, &bytes), -EBADF);
}

Test(smaps, own_memory_is_found)
{
	int fd = open("/proc/self/smaps", O_RDONLY | O_CLOEXEC);
	uint64_t bytes;

	cr_assert_eq(smaps_sum(fd, NULL, 0, &bytes), 0);
	cr_expect_gt(bytes, 64 * KIB);
	close(fd);
}
