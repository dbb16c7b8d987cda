/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/initrd.h"
#include "devices/error.h"
#include "memory/base.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static const char *const modules[] = { "virtio_mmio", "virtio_blk",
				       "virtio_iommu" };

/* A file in memory, built piece by piece. */
struct archive {
	int fd;
	size_t start; /* of the cpio archive that is being written */
	size_t size;
};

static void archive_create(struct archive *archive)
{
	archive->fd = memfd_create("archive", MFD_CLOEXEC);
	cr_assert_geq(archive->fd, 0);
	archive->start = 0;
	archive->size = 0;
}

static void archive_bytes(struct archive *archive, const void *bytes,
			  size_t count)
{
	cr_assert_eq(pwrite(archive->fd, bytes, count, (off_t)archive->size),
		     (ssize_t)count);
	archive->size += count;
}

static void archive_pad(struct archive *archive, size_t unit)
{
	while ((archive->size - archive->start) % unit)
		archive_bytes(archive, "", 1);
}

/* One entry, whose header says @size and @name_size. */
static void archive_raw(struct archive *archive, const char *name,
			unsigned int name_size, const char *content,
			unsigned int size)
{
	char header[111];

	snprintf(header, sizeof(header),
		 "070701%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x",
		 1, 0100644, 0, 0, 1, 0, size, 0, 0, 0, 0, name_size, 0);
	archive_bytes(archive, header, 110);
	archive_bytes(archive, name, strlen(name) + 1);
	archive_pad(archive, 4);
	archive_bytes(archive, content, strlen(content));
	archive_pad(archive, 4);
}

static void archive_add(struct archive *archive, const char *name,
			const char *content)
{
	archive_raw(archive, name, (unsigned int)strlen(name) + 1, content,
		    (unsigned int)strlen(content));
}

static void archive_end(struct archive *archive)
{
	archive_add(archive, "TRAILER!!!", "");
	archive_pad(archive, 512);
	archive->start = archive->size;
}

/* Replaces the archive from @from on by what `COMMAND` makes of it. False: no such program. */
static bool archive_compress(struct archive *archive, size_t from,
			     const char *command)
{
	char path[] = "/tmp/sluice-initrd-XXXXXX";
	int in = mkstemp(path);
	char line[256];
	char buffer[4096];
	FILE *out;
	size_t count;

	cr_assert_geq(in, 0);
	cr_assert_eq(lseek(archive->fd, (off_t)from, SEEK_SET), (off_t)from);
	for (ssize_t got;
	     (got = read(archive->fd, buffer, sizeof(buffer))) > 0;)
		cr_assert_eq(write(in, buffer, (size_t)got), got);
	close(in);
	snprintf(line, sizeof(line), "exec < %s; %s 2>/dev/null", path,
		 command);
	out = popen(line, "r");
	cr_assert_not_null(out);
	cr_assert_eq(ftruncate(archive->fd, (off_t)from), 0);
	archive->size = from;
	while ((count = fread(buffer, 1, sizeof(buffer), out)) > 0)
		archive_bytes(archive, buffer, count);
	unlink(path);
	return pclose(out) == 0 && archive->size > from;
}

static int look(const struct archive *archive, struct initrd_info *info,
		struct error *error)
{
	error->text[0] = 0;
	cr_assert_eq(lseek(archive->fd, 0, SEEK_SET), 0);
	return initrd_read(archive->fd, "initrd", modules, ARRAY_SIZE(modules),
			   info, error);
}

/* What a Debian initrd has, as far as it matters. */
static void archive_fill(struct archive *archive)
{
	archive_add(archive, "init", "#!/bin/sh\n");
	archive_add(
		archive, "usr/lib/modules/6.12.9-amd64/modules.builtin",
		"kernel/drivers/virtio/virtio.ko\nkernel/drivers/block/virtio-blk.ko\n");
	archive_add(
		archive,
		"usr/lib/modules/6.12.9-amd64/kernel/drivers/virtio/virtio_mmio.ko.xz",
		"odd");
	archive_end(archive);
}

static void expect_filled(const struct initrd_info *info, const char *what)
{
	cr_expect_eq(info->version_count, 1, "%s", what);
	cr_expect_str_eq(info->versions[0], "6.12.9-amd64", "%s", what);
	cr_expect_eq(info->states[0], INITRD_MODULE_FOUND, "%s", what);
	cr_expect_eq(info->states[1], INITRD_MODULE_BUILT_IN, "%s", what);
	cr_expect_eq(info->states[2], INITRD_MODULE_MISSING, "%s", what);
	cr_expect(info->has_modules);
}

Test(initrd, plain_archive_shows_version_and_modules)
{
	struct archive archive;
	struct initrd_info info;
	struct error error;

	archive_create(&archive);
	archive_fill(&archive);
	cr_expect_eq(look(&archive, &info, &error), 0, "%s", error.text);
	expect_filled(&info, "plain");
	cr_expect_str_eq(info.compression, "no");
	cr_expect_eq(info.entries, 3);
	close(archive.fd);
}

struct compressor {
	const char *name;
	const char *command;
};

static const struct compressor compressors[] = {
	{ "gzip", "gzip -c" },
	{ "bzip2", "bzip2 -c" },
	{ "xz", "xz -c --check=crc32" },
	{ "lzma", "xz --format=lzma -c" },
	{ "lzo", "lzop -c" },
	{ "lz4", "lz4 -l -c" },
	{ "lz4", "lz4 -c" },
	{ "zstd", "zstd -c" },
};

Test(initrd, compressed_archive_behind_plain_ones_is_unpacked, .timeout = 60)
{
	unsigned int tried = 0;

	for (unsigned int i = 0; i < ARRAY_SIZE(compressors); i++) {
		struct archive archive;
		struct initrd_info info;
		struct error error;

		archive_create(&archive);
		archive_add(&archive, "kernel/x86/microcode/GenuineIntel.bin",
			    "odd bytes");
		archive_end(&archive);
		archive_add(&archive, "early2", "");
		archive_end(&archive);
		archive_fill(&archive);
		/* From the third on. */
		if (archive_compress(&archive, 1024, compressors[i].command)) {
			tried++;
			cr_expect_eq(look(&archive, &info, &error), 0, "%s: %s",
				     compressors[i].command, error.text);
			expect_filled(&info, compressors[i].command);
			cr_expect_str_eq(info.compression, compressors[i].name);
			cr_expect_eq(info.entries, 5);
		}
		close(archive.fd);
	}
	cr_expect_geq(tried, 2, "gzip and xz are everywhere");
}

Test(initrd, module_names_are_told_from_similar_ones)
{
	static const char *const right[] = {
		"virtio_mmio.ko", "a/virtio-mmio.ko", "x/virtio_mmio.ko.gz",
		"b/100-virtio_mmio.ko", "virtio_mmio.ko.zst"
	};
	static const char *const wrong[] = {
		"virtio_mmio",	     "virtio_mmio.txt",	 "my_virtio_mmio.ko",
		"virtio_mmio_x.ko",  "virtio_mmio.ko/x", "virtio_mmio.kox",
		"100virtio_mmio.ko", "x-virtio_mmio.ko", "12-"
	};
	struct archive archive;
	struct initrd_info info;
	struct error error;

	for (unsigned int i = 0; i < ARRAY_SIZE(right) + ARRAY_SIZE(wrong);
	     i++) {
		bool is_right = i < ARRAY_SIZE(right);
		const char *name = is_right ? right[i]
					    : wrong[i - ARRAY_SIZE(right)];

		archive_create(&archive);
		archive_add(&archive, name, "");
		archive_end(&archive);
		cr_expect_eq(look(&archive, &info, &error), 0, "%s",
			     error.text);
		cr_expect_eq(info.states[0],
			     is_right ? INITRD_MODULE_FOUND
				      : INITRD_MODULE_MISSING,
			     "%s", name);
		close(archive.fd);
	}
}

Test(initrd, bug19_what_is_no_archive_is_an_error_that_names_the_file)
{
	static const char *const contents[] = { "",
						"x",
						"plain text, and long enough",
						"0707",
						"070701",
						"07070",
						"\x1f\x8b",
						"\x1f\x8b\x08 nonsense",
						"(\xb5/\xfd nonsense",
						"BZh",
						"\3757zXZ" };
	struct archive archive;
	struct initrd_info info;
	struct error error;

	for (unsigned int i = 0; i < ARRAY_SIZE(contents); i++) {
		archive_create(&archive);
		archive_bytes(&archive, contents[i], strlen(contents[i]));
		cr_expect_eq(look(&archive, &info, &error), -1, "case %u", i);
		cr_expect_eq(strncmp(error.text, "initrd: ", 8), 0,
			     "case %u: %s", i, error.text);
		close(archive.fd);
	}
}

Test(initrd, bug19_truncated_archive_is_an_error_at_every_length)
{
	struct archive archive;
	struct initrd_info info;
	struct error error;
	size_t end;

	archive_create(&archive);
	archive_fill(&archive);
	/* What follows the end mark is padding, which Linux does not miss. */
	end = archive.size;
	do {
		char byte;

		cr_assert_eq(pread(archive.fd, &byte, 1, (off_t)--end), 1);
		if (byte)
			break;
	} while (end);
	for (size_t size = 0; size < end; size++) {
		cr_assert_eq(ftruncate(archive.fd, (off_t)size), 0);
		/* Made anew, as truncation loses bytes. */
		archive.size = archive.start = 0;
		archive_fill(&archive);
		cr_assert_eq(ftruncate(archive.fd, (off_t)size), 0);
		cr_expect_eq(look(&archive, &info, &error), -1, "%zu", size);
	}
	close(archive.fd);
}

Test(initrd, bug19_hostile_headers_are_errors)
{
	struct raw_case {
		const char *name;
		unsigned int name_size;
		unsigned int size;
	};
	static const struct raw_case cases[] = {
		{ "a", 0, 0 },
		{ "a", 4097, 0 },
		{ "a", 0xffffffff, 0 },
		{ "a", 2, 0xffffffff },
		{ "a", 2, 0x7fffffff },
		{ "a", 1000, 0 },
		{ "TRAILER!!!", 11, 600 },
		{ "modules.builtin", 16, 0xfffffff0 },
	};
	struct archive archive;
	struct initrd_info info;
	struct error error;

	for (unsigned int i = 0; i < ARRAY_SIZE(cases); i++) {
		archive_create(&archive);
		archive_raw(&archive, cases[i].name, cases[i].name_size, "",
			    cases[i].size);
		cr_expect_eq(look(&archive, &info, &error), -1, "case %u", i);
		close(archive.fd);
	}
	archive_create(&archive);
	archive_bytes(&archive, "0707010000000g", 14);
	for (unsigned int i = 0; i < 20; i++)
		archive_bytes(&archive, "zzzzzzzz", 8);
	cr_expect_eq(look(&archive, &info, &error), -1);
	close(archive.fd);
}

/* A directory with a program "zstd" that does @what; it becomes the whole PATH's first. */
static void fake_zstd(char *directory, const char *what)
{
	char path[128];
	FILE *script;

	cr_assert_not_null(mkdtemp(directory));
	snprintf(path, sizeof(path), "%s/zstd", directory);
	script = fopen(path, "w");
	cr_assert_not_null(script);
	fprintf(script, "#!/bin/sh\n%s\n", what);
	fclose(script);
	cr_assert_eq(chmod(path, 0755), 0);
	snprintf(path, sizeof(path), "%s:/usr/bin:/bin", directory);
	setenv("PATH", path, 1);
}

static void remove_fake(const char *directory)
{
	char path[128];

	snprintf(path, sizeof(path), "%s/zstd", directory);
	unlink(path);
	rmdir(directory);
}

/* More comes out than any initrd has: an entry of 4 GiB, or zeroes for ever. */
Test(initrd, bug19_bomb_ends_in_an_error_and_its_program_with_it)
{
	static const char *const bombs[] = {
		"printf 070701%0104d 0 | sed 's/0\\{16\\}$/0000000200000000/;"
		"s/^\\(.\\{54\\}\\)0\\{8\\}/\\1ffffffff/' ; exec cat /dev/zero",
		"exec cat /dev/zero",
	};

	for (unsigned int i = 0; i < ARRAY_SIZE(bombs); i++) {
		char directory[] = "/tmp/sluice-path-XXXXXX";
		struct archive archive;
		struct initrd_info info;
		struct error error;

		fake_zstd(directory, bombs[i]);
		archive_create(&archive);
		archive_bytes(&archive, "(\xb5/\xfd nonsense", 13);
		cr_expect_eq(look(&archive, &info, &error), -1);
		cr_expect_not_null(strstr(error.text, "too l"), "%s",
				   error.text);
		cr_expect_eq(waitpid(-1, NULL, WNOHANG), -1);
		remove_fake(directory);
		close(archive.fd);
	}
}

Test(initrd, missing_program_says_which_package_has_it)
{
	struct archive archive;
	struct initrd_info info;
	struct error error;

	archive_create(&archive);
	archive_bytes(&archive, "(\xb5/\xfd nonsense", 13);
	setenv("PATH", "/nonexistent", 1);
	cr_expect_eq(look(&archive, &info, &error), -1);
	cr_expect_str_eq(
		error.text,
		"initrd: zstd is needed to look into it: No such file or "
		"directory (apt install zstd)");
	close(archive.fd);
}

Test(initrd, more_versions_and_odd_paths_do_no_harm)
{
	struct archive archive;
	struct initrd_info info;
	struct error error;
	char name[400] = "lib/modules/";

	archive_create(&archive);
	for (unsigned int i = 0; i < 10; i++) {
		snprintf(name, sizeof(name), "./lib/modules/%u/kernel", i);
		archive_add(&archive, name, "");
		archive_add(&archive, name, "");
	}
	memset(name + 12, 'v', 300);
	name[312] = 0;
	archive_add(&archive, name, "");
	archive_add(&archive, "lib/modules/", "");
	archive_add(&archive, "", "");
	archive_add(&archive, "/", "");
	archive_end(&archive);
	cr_expect_eq(look(&archive, &info, &error), 0, "%s", error.text);
	cr_expect_eq(info.version_count, INITRD_VERSIONS_MAX);
	cr_expect_str_eq(info.versions[3], "3");
	close(archive.fd);
}
