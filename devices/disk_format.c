/* SPDX-License-Identifier: Apache-2.0 */
#include "devices/disk_format.h"

#include <endian.h>
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "devices/disk.h"
#include "memory/base.h"

/* What an image begins with. Sources: QEMU docs/interop/qcow2.txt, [MS-VHDX]
 * 2.2.1, VMware "Virtual Disk Format 5.0", VirtualBox VDICore.h. */
static const struct {
	const char *format;
	unsigned int offset;
	unsigned int len;
	const char *magic;
} magics[] = {
	{ "qcow2", 0, 4, "QFI\xfb" },
	{ "vmdk", 0, 4, "KDMV" },
	{ "vmdk", 0, 4, "COWD" },
	{ "vmdk", 0, 21, "# Disk DescriptorFile" },
	{ "vhdx", 0, 8, "vhdxfile" },
	{ "vhd", 0, 8, "conectix" },
	{ "vdi", 64, 4, "\x7f\x10\xda\xbe" },
};

#define VHD_FOOTER_BYTES 512
#define VHD_CHECKSUM 64 /* offset of the big-endian checksum */

/*
 * A VHD of fixed size is a raw disk followed by a footer. Eight letters in the
 * last sector may be anybody's data; with the checksum they are a footer.
 */
static bool is_vhd_footer(const uint8_t *sector)
{
	uint32_t stored, sum = 0;
	unsigned int i;

	if (memcmp(sector, "conectix", 8) != 0)
		return false;
	memcpy(&stored, sector + VHD_CHECKSUM, sizeof(stored));
	for (i = 0; i < VHD_FOOTER_BYTES; i++) {
		if (i < VHD_CHECKSUM || i >= VHD_CHECKSUM + sizeof(stored))
			sum += sector[i];
	}
	return be32toh(stored) == ~sum;
}

static int sector_read(int fd, uint8_t *sector, uint64_t offset)
{
	ssize_t done = pread(fd, sector, DISK_SECTOR, (off_t)offset);

	if (done < 0)
		return -errno;
	return done == DISK_SECTOR ? 0 : -EIO;
}

int disk_format_probe(int fd, uint64_t bytes, const char **format)
{
	uint8_t sector[DISK_SECTOR];
	unsigned int i;
	int err;

	*format = NULL;
	err = sector_read(fd, sector, 0);
	if (err)
		return err;
	for (i = 0; i < ARRAY_SIZE(magics); i++) {
		if (memcmp(sector + magics[i].offset, magics[i].magic,
			   magics[i].len) == 0) {
			*format = magics[i].format;
			return 0;
		}
	}
	err = sector_read(fd, sector, bytes - VHD_FOOTER_BYTES);
	if (!err && is_vhd_footer(sector))
		*format = "vhd";
	return err;
}

void disk_format_raw_name(const char *path, char *raw, size_t size)
{
	const char *slash = strrchr(path, '/');
	const char *name = slash ? slash + 1 : path;
	const char *dot = strrchr(name, '.');
	size_t stem = strlen(path);

	/* ".img" is a name, "a.raw" would be overwritten. */
	if (dot && dot != name && strcmp(dot, ".raw") != 0)
		stem = (size_t)(dot - path);
	snprintf(raw, size, "%.*s.raw", (int)stem, path);
}
