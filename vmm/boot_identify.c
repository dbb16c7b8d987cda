/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Telling what a file is, so that the error for what is no kernel helps: most
 * often it is the right file, packed in a way that another loader unpacks.
 */
#include "vmm/boot_format.h"

#include <ctype.h>
#include <string.h>

#include "devices/error.h"
#include "vmm/layout.h"

#define HEAD_BYTES 4096

/* A bzImage has two sectors at least before the kernel proper. */
#define SETUP_BYTES_MIN 1024

#define WANTED "a kernel is a bzImage, or an ELF vmlinux with a PVH note"

struct file_magic {
	unsigned int offset;
	unsigned int length;
	const char *bytes;
	const char *what;
};

#define MAGIC(offset, bytes, what)                     \
	{                                              \
		offset, sizeof(bytes) - 1, bytes, what \
	}

/* The first that fits says it. */
static const struct file_magic magics[] = {
	MAGIC(0, "\x1f\x8b", "compressed with gzip"),
	MAGIC(0, "\3757zXZ\0", "compressed with xz"),
	MAGIC(0, "\x28\xb5\x2f\xfd", "compressed with zstd"),
	MAGIC(0, "\x02\x21\x4c\x18", "compressed with lz4"),
	MAGIC(0, "\x04\x22\x4d\x18", "compressed with lz4"),
	MAGIC(0, "\x89LZO", "compressed with lzop"),
	MAGIC(0, "\x5d\0\0", "compressed with lzma"),
	MAGIC(0, "BZh", "compressed with bzip2"),
	MAGIC(0, "PK\x03\x04", "a zip archive"),
	MAGIC(0, "070701", "a cpio archive (an initrd?)"),
	MAGIC(0, "070702", "a cpio archive (an initrd?)"),
	MAGIC(0, "!<arch>\n", "an ar archive (a package?)"),
	MAGIC(257, "ustar", "a tar archive"),
	MAGIC(0, "\x27\x05\x19\x56", "a U-Boot image"),
	MAGIC(0, "\xd0\x0d\xfe\xed", "a device tree or U-Boot FIT image"),
	MAGIC(56, "ARM\x64", "a kernel for arm64"),
	MAGIC(56, "RSC\x05", "a kernel for RISC-V"),
	MAGIC(4, "zimg",
	      "an EFI zboot image, which only EFI firmware can start"),
	MAGIC(0, "QFI\xfb", "a qcow2 disk image"),
	MAGIC(0, "#!", "a script"),
	MAGIC(0, "hsqs", "a squashfs file system"),
	MAGIC(1080, "\x53\xef", "an ext2, ext3 or ext4 file system"),
	MAGIC(0, "MZ", "an EFI or Windows program, but no bzImage"),
};

static bool is_text(const uint8_t *head, size_t len)
{
	size_t i;

	/* UTF-8 counts; control characters other than white space do not. */
	for (i = 0; i < len; i++)
		if ((head[i] < 0x20 && !isspace(head[i])) || head[i] == 0x7f)
			return false;
	return true;
}

static const char *what_it_is(const uint8_t *head, size_t len)
{
	size_t i;

	for (i = 0; i < ARRAY_SIZE(magics); i++) {
		const struct file_magic *magic = &magics[i];

		if (magic->offset + magic->length <= len &&
		    memcmp(head + magic->offset, magic->bytes, magic->length) ==
			    0)
			return magic->what;
	}
	return is_text(head, len) ? "a text file" : "of no known format";
}

int kernel_image_parse(const struct boot_file *file, struct kernel_image *image,
		       struct error *error)
{
	size_t len = MIN(file->bytes, HEAD_BYTES);
	uint8_t head[HEAD_BYTES];

	if (boot_file_read(file, 0, head, len, error))
		return -1;
	memset(image, 0, sizeof(*image));
	if (boot_bzimage_matches(head, len))
		return boot_bzimage_parse(file, image, error);
	if (boot_pvh_matches(head, len))
		return boot_pvh_parse(file, image, error);
	if (len < SETUP_BYTES_MIN && len >= 2 && memcmp(head, "MZ", 2) == 0)
		return error_set(
			error, EXIT_STATUS_CONFIGURATION,
			"%s: is truncated: %zu bytes that begin like a bzImage",
			file->path, len);
	return error_set(error, EXIT_STATUS_CONFIGURATION, "%s: is %s; " WANTED,
			 file->path, what_it_is(head, len));
}

/* Copies what is printable, up to the first byte that is not. */
static void copy_version(char *version, size_t size, const char *text,
			 size_t len)
{
	size_t i;

	for (i = 0; i + 1 < size && i < len && isprint((unsigned char)text[i]);
	     i++)
		version[i] = text[i];
	version[i] = '\0';
}

/* Boot protocol: "kernel_version" points at a string, 0-terminated. */
static void find_bzimage_version(const struct boot_file *file,
				 const struct kernel_image *image,
				 struct kernel_info *info)
{
	char text[sizeof(info->version)];
	size_t len;

	if (!image->version_offset)
		return;
	len = MIN(sizeof(text), image->version_end - image->version_offset);
	if (!boot_file_read(file, image->version_offset, text, len, NULL))
		copy_version(info->version, sizeof(info->version), text, len);
}

/* linux_banner, somewhere in the read-only data. */
#define BANNER "Linux version "
#define BANNER_LENGTH (sizeof(BANNER) - 1)
#define BANNER_SEARCH_MAX (128 * MIB)

/* One that starts in the first @starts of @len bytes. */
static bool find_banner(const char *text, size_t len, size_t starts,
			struct kernel_info *info)
{
	const char *end = text + len;
	const char *at = text;

	while ((at = memmem(at, (size_t)(end - at), BANNER, BANNER_LENGTH)) &&
	       at < text + starts) {
		at += BANNER_LENGTH;
		/* Format strings have a '%' there. */
		if (at < end && isdigit((unsigned char)*at)) {
			copy_version(info->version, sizeof(info->version), at,
				     (size_t)(end - at));
			return true;
		}
	}
	return false;
}

/*
 * Chunks overlap by as much as banner and version take, and a banner that starts
 * in the overlap is left to the next chunk, which has all of it.
 */
static void find_elf_version(const struct boot_file *file,
			     const struct kernel_image *image,
			     struct kernel_info *info)
{
	const size_t overlap = BANNER_LENGTH + sizeof(info->version);
	uint64_t budget = BANNER_SEARCH_MAX;
	char text[64 * KIB];
	unsigned int i;

	for (i = 0; i < image->segment_count; i++) {
		uint64_t offset = image->segments[i].file_offset;
		uint64_t end = offset + image->segments[i].file_bytes;

		while (offset < end && budget > 0) {
			size_t len =
				MIN(MIN(end - offset, sizeof(text)), budget);
			size_t starts = end - offset <= sizeof(text)
						? len
						: len - overlap;

			if (boot_file_read(file, offset, text, len, NULL) ||
			    find_banner(text, len, starts, info))
				return;
			budget -= len;
			offset += starts;
		}
	}
}

int kernel_identify(int fd, const char *path, struct kernel_info *info,
		    struct error *error)
{
	struct kernel_image image;
	struct boot_file file;

	memset(info, 0, sizeof(*info));
	if (boot_file_init(&file, fd, path, error) ||
	    kernel_image_parse(&file, &image, error))
		return -1;
	info->format = image.format;
	info->file_bytes = file.bytes;
	info->relocatable = image.relocatable;
	info->protocol = image.protocol;
	info->cmdline_max = image.cmdline_max;
	info->entry = image.entry;
	info->memory_needed = image.end - LAYOUT_KERNEL;
	if (image.format == KERNEL_BZIMAGE)
		find_bzimage_version(&file, &image, info);
	else
		find_elf_version(&file, &image, info);
	return 0;
}
