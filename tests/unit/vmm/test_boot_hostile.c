/* SPDX-License-Identifier: Apache-2.0 */
/* bug-classes.md 19: files that are no kernels, or want to do harm. */
#include <criterion/criterion.h>
#include <elf.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "devices/error.h"
#include "memory/base.h"
#include "tests/unit/vmm/boot_support.h"
#include "vmm/boot.h"

static uint8_t kernel[KERNEL_BYTES];
static struct error error;

/* Both ways in refuse the file, with its name and @text. */
static void expect_refusal_fd(int fd, const char *text)
{
	struct boot_files files = { .kernel_fd = fd,
				    .kernel_path = "k",
				    .initrd_fd = -1 };
	struct guest_memory memory;
	struct boot_entry entry;
	struct kernel_info info;
	struct plan plan;

	memset(&error, 0, sizeof(error));
	cr_assert_eq(kernel_identify(fd, "k", &info, &error), -1);
	cr_expect_eq(error.status, EXIT_STATUS_CONFIGURATION);
	cr_expect(strncmp(error.text, "k: ", 3) == 0, "'%s'", error.text);
	cr_expect(strstr(error.text, text), "'%s' says nothing of '%s'",
		  error.text, text);

	make_plan(&plan, 64 * MIB);
	cr_assert_eq(guest_memory_init(&memory, plan.ram, 1,
				       GUEST_MEMORY_SMALL_PAGES),
		     0);
	cr_expect_eq(boot_load(&memory, &plan, &files, &entry, &error), -1);
	cr_expect(strncmp(error.text, "boot.kernel: k: ", 16) == 0, "'%s'",
		  error.text);
	cr_expect(strstr(error.text, text), "'%s' says nothing of '%s'",
		  error.text, text);
	guest_memory_destroy(&memory);
}

static void expect_refusal(const void *bytes, size_t len, const char *text)
{
	int fd = make_file(bytes, len);

	cr_assert_geq(fd, 0);
	expect_refusal_fd(fd, text);
	close(fd);
}

#define FILE_OF(bytes) bytes, sizeof(bytes) - 1

Test(boot_hostile, bug19_file_that_is_no_kernel_is_named_for_what_it_is)
{
	static const struct {
		const char *bytes;
		size_t len;
		const char *text;
	} cases[] = {
		{ "", 0, "is empty" },
		{ FILE_OF("x"), "a text file" },
		{ FILE_OF("Hello,\tw\xc3\xb6rld\r\n"), "a text file" },
		{ FILE_OF("#!/bin/sh\n"), "a script" },
		{ FILE_OF("\0\0\0\0"), "no known format" },
		{ FILE_OF("\x1f\x8b\x08\0\0"), "compressed with gzip" },
		{ FILE_OF("\3757zXZ\0\0"), "compressed with xz" },
		{ FILE_OF("\x28\xb5\x2f\xfd\0"), "compressed with zstd" },
		{ FILE_OF("BZh91AY"), "compressed with bzip2" },
		{ FILE_OF("MZ\0\0zimg\0\0"), "is truncated" },
		{ FILE_OF("070701000000"), "a cpio archive" },
		{ FILE_OF("QFI\xfb\0\0\0\3"), "a qcow2 disk image" },
		{ FILE_OF("\177ELF"), "is truncated" },
		{ FILE_OF("MZ"), "is truncated" },
	};
	static char large[8192];
	size_t i;

	for (i = 0; i < ARRAY_SIZE(cases); i++)
		expect_refusal(cases[i].bytes, cases[i].len, cases[i].text);

	expect_refusal(large, sizeof(large), "no known format");
	memcpy(large, "MZ", 2);
	expect_refusal(large, sizeof(large), "an EFI or Windows program");
	memcpy(large + 4, "zimg", 4);
	expect_refusal(large, sizeof(large), "an EFI zboot image");
	memcpy(large + 56, "ARM\x64", 4);
	expect_refusal(large, sizeof(large), "a kernel for arm64");
}

Test(boot_hostile, bug19_what_is_no_regular_file_is_refused)
{
	int fds[2];

	expect_refusal_fd(open("/tmp", O_RDONLY), "is a directory");
	expect_refusal_fd(open("/dev/zero", O_RDONLY), "is not a regular file");
	cr_assert_eq(pipe(fds), 0);
	expect_refusal_fd(fds[0], "is not a regular file");
}

Test(boot_hostile, bug19_bzimage_cut_anywhere_is_refused)
{
	size_t len;

	make_bzimage(kernel);
	for (len = 2; len < sizeof(kernel); len += len < 0x300 ? 1 : 13)
		expect_refusal(kernel, len, "is truncated");
}

Test(boot_hostile, bug19_elf_cut_anywhere_is_refused)
{
	size_t len;

	make_elf(kernel);
	for (len = 4; len < ELF_DATA_OFFSET + ELF_DATA_BYTES; len++)
		expect_refusal(kernel, len, "is truncated");
}

struct patch {
	size_t offset;
	unsigned int len;
	uint64_t value;
	const char *text;
};

static void expect_patches(void (*make)(uint8_t *bytes),
			   const struct patch *patches, size_t count)
{
	size_t i;

	for (i = 0; i < count; i++) {
		make(kernel);
		memcpy(kernel + patches[i].offset, &patches[i].value,
		       patches[i].len);
		expect_refusal(kernel, sizeof(kernel), patches[i].text);
	}
}

Test(boot_hostile, bug19_bzimage_with_a_hostile_header_is_refused)
{
	static const struct patch patches[] = {
		{ 0x1f1, 1, 2, "is truncated" }, /* setup_sects */
		{ 0x1f1, 1, 0, "is truncated" },
		{ 0x1f1, 1, 0xff, "is truncated" },
		{ 0x1f4, 4, 0, "no 64-bit entry" }, /* syssize */
		{ 0x1f4, 4, 0x20, "no 64-bit entry" },
		{ 0x1f4, 4, BZIMAGE_PAYLOAD / 16 + 1, "is truncated" },
		{ 0x1f4, 4, 0xffffffff, "is truncated" },
		{ 0x1fe, 2, 0, "signature" },
		{ 0x201, 1, 0x65, "too short" }, /* length of the header */
		{ 0x201, 1, 0, "too short" },
		{ 0x206, 2, 0x020b, "protocol 2.11" },
		{ 0x206, 2, 0, "protocol 0.00" },
		{ 0x211, 1, 0, "loaded high" }, /* loadflags */
		{ 0x236, 2, 0, "32-bit kernel" }, /* xloadflags */
		{ 0x258, 8, UINT64_MAX, "page-aligned" }, /* pref_address */
		{ 0x258, 8, UINT64_MAX - 4095, "above 3 GiB" },
		{ 0x258, 8, 3 * GIB, "above 3 GiB" },
		{ 0x258, 8, BZIMAGE_LOAD + 1, "page-aligned" },
	};
	static const uint32_t alignments[] = { 0, 3, 0x80000000, 0xffffffff };
	size_t i;

	expect_patches(make_bzimage, patches, ARRAY_SIZE(patches));
	for (i = 0; i < ARRAY_SIZE(alignments); i++) {
		make_bzimage(kernel);
		memset(kernel + 0x258, 0, 8);
		memcpy(kernel + 0x230, &alignments[i], 4);
		expect_refusal(kernel, sizeof(kernel), "alignment");
	}
	kernel[0x234] = 0; /* relocatable */
	expect_refusal(kernel, sizeof(kernel), "below 1 MiB");
}

#define PROGRAM(index, field) (64 + 56 * (index) + offsetof(Elf64_Phdr, field))
#define HEADER(field) offsetof(Elf64_Ehdr, field)

Test(boot_hostile, bug19_elf_with_hostile_headers_is_refused)
{
	static const struct patch patches[] = {
		{ EI_CLASS, 1, ELFCLASS32, "of 32 bits" },
		{ EI_CLASS, 1, 0, "of 32 bits" },
		{ EI_DATA, 1, ELFDATA2MSB, "big-endian" },
		{ HEADER(e_machine), 2, EM_AARCH64, "for arm64" },
		{ HEADER(e_machine), 2, 0, "another architecture" },
		{ HEADER(e_type), 2, ET_REL, "no program" },
		{ HEADER(e_type), 2, ET_CORE, "no program" },
		{ HEADER(e_phnum), 2, 0, "without program headers" },
		{ HEADER(e_phnum), 2, 0xffff, "more program headers" },
		{ HEADER(e_phentsize), 2, 0, "wrong size" },
		{ HEADER(e_phentsize), 2, 0xffff, "wrong size" },
		{ HEADER(e_phoff), 8, UINT64_MAX, "is truncated" },
		{ HEADER(e_phoff), 8, UINT64_MAX - 167, "is truncated" },
		{ HEADER(e_phoff), 8, KERNEL_BYTES - 100, "is truncated" },
		{ PROGRAM(0, p_offset), 8, UINT64_MAX, "is truncated" },
		{ PROGRAM(0, p_offset), 8, KERNEL_BYTES, "is truncated" },
		{ PROGRAM(0, p_offset), 8, (uint64_t)INT64_MAX,
		  "is truncated" },
		{ PROGRAM(0, p_filesz), 8, UINT64_MAX, "larger in the file" },
		{ PROGRAM(0, p_memsz), 8, 1, "larger in the file" },
		{ PROGRAM(0, p_memsz), 8, UINT64_MAX, "above 4 GiB" },
		{ PROGRAM(0, p_memsz), 8, 4 * GIB, "above 4 GiB" },
		{ PROGRAM(0, p_paddr), 8, 0, "below 1 MiB" },
		{ PROGRAM(0, p_paddr), 8, 0xfffff, "below 1 MiB" },
		{ PROGRAM(0, p_paddr), 8, UINT64_MAX, "above 4 GiB" },
		{ PROGRAM(0, p_paddr), 8, 4 * GIB, "above 4 GiB" },
		{ PROGRAM(0, p_paddr), 8, 2 * MIB, "entry lies outside" },
		{ PROGRAM(0, p_type), 4, PT_NULL, "entry lies outside" },
		{ PROGRAM(2, p_type), 4, PT_NULL, "without a PVH note" },
		{ PROGRAM(2, p_offset), 8, UINT64_MAX, "is truncated" },
		{ PROGRAM(2, p_filesz), 8, UINT64_MAX, "is truncated" },
		{ PROGRAM(2, p_filesz), 8, 0, "without a PVH note" },
		{ PROGRAM(2, p_filesz), 8, 43, "without a PVH note" },
		{ ELF_NOTE_OFFSET, 4, UINT32_MAX, "without a PVH note" },
		{ ELF_NOTE_OFFSET + 4, 4, UINT32_MAX, "without a PVH note" },
		{ ELF_NOTE_OFFSET + 20, 4, 5, "without a PVH note" },
		{ ELF_NOTE_OFFSET + 24, 4, 0, "without a PVH note" },
		{ ELF_NOTE_OFFSET + 24, 4, 5, "without a PVH note" },
		{ ELF_NOTE_OFFSET + 28, 4, 17, "without a PVH note" },
		{ ELF_NOTE_OFFSET + 32, 1, 'Y', "without a PVH note" },
		{ ELF_NOTE_OFFSET + 36, 4, 0, "entry lies outside" },
		{ ELF_NOTE_OFFSET + 36, 8, UINT64_MAX, "entry lies outside" },
		{ ELF_NOTE_OFFSET + 36, 8, ELF_TEXT + ELF_TEXT_BYTES,
		  "entry lies outside" },
		{ ELF_NOTE_OFFSET + 36, 8, ELF_ENTRY + 4 * GIB,
		  "entry lies outside" },
	};

	expect_patches(make_elf, patches, ARRAY_SIZE(patches));
}

/* RAM ends at 64 MiB: what is right as a file may still be too large. */
Test(boot_hostile, bug19_elf_beyond_ram_is_refused)
{
	static const struct patch patches[] = {
		{ PROGRAM(1, p_paddr), 8, 64 * MIB, "machine.memory" },
		{ PROGRAM(1, p_paddr), 8, 64 * MIB - 4096, "machine.memory" },
		{ PROGRAM(1, p_paddr), 8, 3 * GIB, "below 3G" },
		{ PROGRAM(1, p_paddr), 8, 4 * GIB - ELF_DATA_MEMORY,
		  "below 3G" },
		{ PROGRAM(1, p_memsz), 8, 2 * GIB, "machine.memory" },
	};
	struct boot_files files = { .kernel_path = "k", .initrd_fd = -1 };
	struct guest_memory memory;
	struct boot_entry entry;
	struct plan plan;
	size_t i;

	make_plan(&plan, 64 * MIB);
	for (i = 0; i < ARRAY_SIZE(patches); i++) {
		make_elf(kernel);
		memcpy(kernel + patches[i].offset, &patches[i].value,
		       patches[i].len);
		files.kernel_fd = make_file(kernel, sizeof(kernel));
		cr_assert_eq(guest_memory_init(&memory, plan.ram, 1,
					       GUEST_MEMORY_SMALL_PAGES),
			     0);
		cr_expect_eq(boot_load(&memory, &plan, &files, &entry, &error),
			     -1);
		cr_expect(strstr(error.text, patches[i].text),
			  "'%s' says nothing of '%s'", error.text,
			  patches[i].text);
		guest_memory_destroy(&memory);
		close(files.kernel_fd);
	}
}
