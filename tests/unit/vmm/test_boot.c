/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm/boot.h"

#include <asm/bootparam.h>
#include <criterion/criterion.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "devices/error.h"
#include "memory/base.h"
#include "tests/unit/vmm/boot_support.h"

#define RAM (64 * MIB)

static uint8_t kernel[KERNEL_BYTES];
static struct plan plan;
static struct guest_memory memory;
static struct boot_entry entry;
static struct error error;

static void start(uint64_t ram)
{
	make_plan(&plan, ram);
	cr_assert_eq(guest_memory_init(&memory, plan.ram, plan.ram_count,
				       GUEST_MEMORY_SMALL_PAGES),
		     0);
}

static const void *guest(uint64_t address)
{
	const void *host = guest_memory_host(&memory, GPA(address), 4096);

	cr_assert_not_null(host, "no RAM at 0x%lx", address);
	return host;
}

/* Loads what is in `kernel`, and @initrd (-1: none), into fresh RAM of @ram bytes. */
static int load(uint64_t ram, int initrd)
{
	struct boot_files files = {
		.kernel_fd = make_file(kernel, sizeof(kernel)),
		.kernel_path = "dir/vmlinuz",
		.initrd_fd = initrd,
		.initrd_path = "dir/initrd",
	};
	int result;

	start(ram);
	memset(&error, 0, sizeof(error));
	result = boot_load(&memory, &plan, &files, &entry, &error);
	close(files.kernel_fd);
	if (result)
		guest_memory_destroy(&memory);
	return result;
}

static void expect_refusal(int result, const char *text)
{
	cr_assert_eq(result, -1);
	cr_expect_eq(error.status, EXIT_STATUS_CONFIGURATION);
	cr_expect(strstr(error.text, text), "'%s' says nothing of '%s'",
		  error.text, text);
	/* cli/ finds the line by it. */
	cr_expect(strncmp(error.text, "boot.", 5) == 0 ||
			  strncmp(error.text, "machine.memory: ", 16) == 0,
		  "'%s'", error.text);
}

static int make_initrd(size_t len)
{
	uint8_t *bytes = malloc(len);
	size_t i;
	int fd;

	for (i = 0; i < len; i++)
		bytes[i] = (uint8_t)(i * 13 + (i >> 8));
	fd = make_file(bytes, len);
	free(bytes);
	return fd;
}

static void expect_initrd_at(uint64_t address, size_t len)
{
	const uint8_t *bytes = guest_memory_host(&memory, GPA(address), len);
	size_t i;

	cr_assert_not_null(bytes);
	for (i = 0; i < len; i++)
		if (bytes[i] != (uint8_t)(i * 13 + (i >> 8)))
			break;
	cr_expect_eq(i, len, "the initrd differs at %zu", i);
}

/* --- bzImage ------------------------------------------------------------------ */

Test(boot, bzimage_is_identified_with_its_version)
{
	struct kernel_info info;

	make_bzimage(kernel);
	cr_assert_eq(kernel_identify(make_file(kernel, sizeof(kernel)), "k",
				     &info, &error),
		     0);
	cr_expect_eq(info.format, KERNEL_BZIMAGE);
	cr_expect_str_eq(info.version, KERNEL_VERSION);
	cr_expect_eq(info.file_bytes, KERNEL_BYTES);
	cr_expect_eq(info.protocol, 0x020f);
	cr_expect_eq(info.cmdline_max, 2047);
	cr_expect(info.relocatable);
	cr_expect_eq(info.memory_needed,
		     BZIMAGE_LOAD + BZIMAGE_INIT_SIZE - LAYOUT_KERNEL);
}

Test(boot, bzimage_version_ends_where_it_must)
{
	struct kernel_info info;

	make_bzimage(kernel);
	memset(kernel + 0x300, 'v', 0x100);
	cr_assert_eq(kernel_identify(make_file(kernel, sizeof(kernel)), "k",
				     &info, &error),
		     0);
	cr_expect_eq(strlen(info.version), sizeof(info.version) - 1);

	/* The last byte before the kernel proper. */
	memcpy(kernel + 0x20e, &(uint16_t){ BZIMAGE_SETUP - 0x200 - 1 }, 2);
	cr_assert_eq(kernel_identify(make_file(kernel, sizeof(kernel)), "k",
				     &info, &error),
		     0);
	cr_expect_str_eq(info.version, "v");
	memcpy(kernel + 0x20e, &(uint16_t){ BZIMAGE_SETUP - 0x200 }, 2);
	cr_assert_eq(kernel_identify(make_file(kernel, sizeof(kernel)), "k",
				     &info, &error),
		     0);
	cr_expect_str_eq(info.version, "");
}

Test(boot, bzimage_is_loaded_where_it_wants_to_be)
{
	const struct boot_params *params;

	make_bzimage(kernel);
	cr_assert_eq(load(RAM, -1), 0, "%s", error.text);
	cr_expect_eq(entry.mode, BOOT_LONG_MODE);
	cr_expect_eq(entry.rip, BZIMAGE_LOAD + 0x200);
	cr_expect_eq(entry.rsi, LAYOUT_ZERO_PAGE);
	cr_expect_arr_eq(guest(BZIMAGE_LOAD), kernel + BZIMAGE_SETUP,
			 BZIMAGE_PAYLOAD);

	params = guest(LAYOUT_ZERO_PAGE);
	cr_expect_eq(params->hdr.header, 0x53726448);
	cr_expect_eq(params->hdr.type_of_loader, 0xff);
	cr_expect_eq(params->hdr.init_size, BZIMAGE_INIT_SIZE);
	cr_expect_eq(params->hdr.setup_data, 0);
	cr_expect_eq(params->hdr.cmd_line_ptr, LAYOUT_CMDLINE);
	cr_expect_eq(params->hdr.ramdisk_image, 0);
	cr_expect_eq(params->hdr.ramdisk_size, 0);
	cr_expect_eq(params->sentinel, 0);
	cr_expect_eq(params->acpi_rsdp_addr, LAYOUT_ACPI);
	cr_expect_str_eq(guest(LAYOUT_CMDLINE), "console=ttyS0 panic=-1");
	cr_expect_arr_eq(guest(LAYOUT_ACPI), "RSD PTR ", 8);
}

Test(boot, bzimage_that_would_go_below_1_mib_goes_to_its_alignment)
{
	make_bzimage(kernel);
	memset(kernel + 0x258, 0, 8); /* pref_address */
	cr_assert_eq(load(RAM, -1), 0, "%s", error.text);
	cr_expect_eq(entry.rip, 0x200200);
}

Test(boot, bzimage_starts_with_4_gib_identity_mapped)
{
	const uint64_t *top, *upper, *lower;
	uint64_t i, j;

	make_bzimage(kernel);
	cr_assert_eq(load(RAM, -1), 0);
	top = guest(entry.cr3);
	cr_expect_eq(top[0] & 3, 3);
	upper = guest(top[0] & ~UINT64_C(0xfff));
	for (i = 0; i < 4; i++) {
		cr_expect_eq(upper[i] & 0x83, 3);
		lower = guest(upper[i] & ~UINT64_C(0xfff));
		for (j = 0; j < 512; j++)
			cr_assert_eq(lower[j], (i << 30 | j << 21) | 0x83);
	}
	cr_expect_eq(upper[4], 0);
	cr_expect_eq(top[1], 0);
}

static void expect_map(const struct boot_e820_entry *rows, unsigned int count,
		       uint64_t low_end, uint64_t high_bytes)
{
	cr_assert_eq(count, high_bytes ? 5 : 4);
	cr_expect(rows[0].addr == 0 && rows[0].size == 0xa0000 &&
		  rows[0].type == 1);
	cr_expect(rows[1].addr == 0xa0000 && rows[1].size == 0x60000 &&
		  rows[1].type == 2);
	cr_expect(rows[2].addr == MIB && rows[2].size == low_end - MIB &&
		  rows[2].type == 1);
	cr_expect(rows[3].addr == 0xfffbc000 && rows[3].size == 0x4000 &&
		  rows[3].type == 2);
	if (high_bytes)
		cr_expect(rows[4].addr == 4 * GIB &&
			  rows[4].size == high_bytes && rows[4].type == 1);
}

Test(boot, bzimage_gets_the_memory_map)
{
	const struct boot_params *params;

	make_bzimage(kernel);
	cr_assert_eq(load(RAM, -1), 0);
	params = guest(LAYOUT_ZERO_PAGE);
	expect_map(params->e820_table, params->e820_entries, RAM, 0);
	guest_memory_destroy(&memory);

	cr_assert_eq(load(5 * GIB, -1), 0);
	params = guest(LAYOUT_ZERO_PAGE);
	expect_map(params->e820_table, params->e820_entries, 3 * GIB, 2 * GIB);
}

static void expect_gdt(uint64_t code)
{
	const uint64_t *gdt = guest(entry.gdt);

	cr_expect_eq(entry.gdt, LAYOUT_BOOT_GDT);
	cr_expect_eq(entry.gdt_limit, 31);
	cr_expect_eq(gdt[0], 0);
	cr_expect_eq(gdt[BOOT_SELECTOR_CODE / 8], code);
	cr_expect_eq(gdt[BOOT_SELECTOR_DATA / 8], 0x00cf93000000ffff);
}

Test(boot, gdt_fits_the_mode)
{
	make_bzimage(kernel);
	cr_assert_eq(load(RAM, -1), 0);
	expect_gdt(0x00af9b000000ffff);
	guest_memory_destroy(&memory);
	make_elf(kernel);
	cr_assert_eq(load(RAM, -1), 0);
	expect_gdt(0x00cf9b000000ffff);
}

/* --- initrd ------------------------------------------------------------------- */

Test(boot, reset_vector_pulls_the_reset_register)
{
	static const uint8_t code[] = { 0xba, 0x04, 0x06, 0xb0, 0x01, 0xee };

	make_bzimage(kernel);
	cr_assert_eq(load(128 * MIB, -1), 0);
	cr_expect_arr_eq(guest_memory_host(&memory, GPA(0xffff0), 16), code,
			 sizeof(code));
	guest_memory_destroy(&memory);
}

Test(boot, initrd_lies_at_the_top_of_low_ram)
{
	const struct boot_params *params;
	size_t len = 123457;

	make_bzimage(kernel);
	cr_assert_eq(load(RAM, make_initrd(len)), 0, "%s", error.text);
	params = guest(LAYOUT_ZERO_PAGE);
	cr_expect_eq(params->hdr.ramdisk_image, RAM - 31 * 4096);
	cr_expect_eq(params->hdr.ramdisk_size, len);
	cr_expect_eq(params->ext_ramdisk_image, 0);
	cr_expect_eq(params->ext_ramdisk_size, 0);
	expect_initrd_at(params->hdr.ramdisk_image, len);
}

Test(boot, initrd_stays_below_what_the_kernel_takes)
{
	const struct boot_params *params;

	make_bzimage(kernel);
	cr_assert_eq(load(5 * GIB, make_initrd(5000)), 0, "%s", error.text);
	params = guest(LAYOUT_ZERO_PAGE);
	cr_expect_eq(params->hdr.ramdisk_image, 2 * GIB - 8192);
	guest_memory_destroy(&memory);

	memcpy(kernel + 0x22c, &(uint32_t){ BZIMAGE_LOAD + BZIMAGE_INIT_SIZE },
	       4);
	expect_refusal(load(RAM, make_initrd(5000)),
		       "boot.initrd: dir/initrd: does not fit");
	expect_refusal(load(RAM, make_initrd(5000)), "between 19M and 19M");
}

Test(boot, too_little_memory_says_how_much_is_needed)
{
	make_bzimage(kernel);
	expect_refusal(
		load(16 * MIB, -1),
		"machine.memory: 16M is too little: the kernel needs the first 19M: 19M");
	cr_expect_eq(load(19 * MIB, -1), 0);
	guest_memory_destroy(&memory);
	expect_refusal(load(19 * MIB, make_initrd(4096)),
		       "and an initrd of 1M: 20M at least");
	cr_expect_eq(load(20 * MIB, make_initrd(MIB)), 0);
	guest_memory_destroy(&memory);

	memset(kernel + 0x260, 0xff, 4); /* init_size */
	expect_refusal(load(5 * GIB, -1), "all has to be below 3G");
	expect_refusal(load(5 * GIB, -1), "boot.kernel: dir/vmlinuz: does not");
}

Test(boot, initrd_that_is_none_is_refused_by_name)
{
	int fds[2];

	make_bzimage(kernel);
	expect_refusal(load(RAM, make_file("", 0)),
		       "boot.initrd: dir/initrd: is empty");
	expect_refusal(load(RAM, open("/", O_RDONLY)),
		       "boot.initrd: dir/initrd: is a directory");
	cr_assert_eq(pipe(fds), 0);
	expect_refusal(load(RAM, fds[0]),
		       "boot.initrd: dir/initrd: is not a regular file");
}

Test(boot, bug19_initrd_of_any_size_is_refused_or_loaded)
{
	static const off_t sizes[] = {
		45 * MIB, 45 * MIB + 1, 3 * GIB,
		4 * GIB,  5 * GIB,	INT64_MAX - 4095,
	};
	size_t i;

	make_bzimage(kernel);
	for (i = 0; i < ARRAY_SIZE(sizes); i++) {
		int fd = make_file("x", 1);

		if (ftruncate(fd, sizes[i]) == 0 && i > 0)
			expect_refusal(load(RAM, fd),
				       i < 2 ? "machine.memory" : "dir/initrd");
		else if (i == 0)
			cr_expect_eq(load(RAM, fd), 0, "%s", error.text);
		close(fd);
	}
}

Test(boot, initrd_that_shrinks_later_does_not_matter)
{
	int fd = make_initrd(9000);

	make_bzimage(kernel);
	cr_assert_eq(load(RAM, fd), 0);
	cr_assert_eq(ftruncate(fd, 0), 0);
	expect_initrd_at(RAM - 3 * 4096, 9000);
}

static bool in_memfd(uint64_t address)
{
	uint8_t byte = 0;

	cr_assert_eq(pread(memory.fd, &byte, 1,
			   (off_t)(memory.regions[0].fd_offset + address)),
		     1);
	return byte != 0;
}

Test(boot, only_an_initrd_that_nobody_can_change_is_mapped)
{
	int fd = make_initrd(9000);
	uint64_t first = RAM - 3 * 4096;
	uint8_t *bytes, byte;

	make_bzimage(kernel);
	cr_assert_eq(load(RAM, fd), 0);
	expect_initrd_at(first, 9000);
	cr_expect(in_memfd(first + 1));
	guest_memory_destroy(&memory);

	cr_assert_eq(fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_WRITE), 0);
	cr_assert_eq(load(RAM, fd), 0);
	expect_initrd_at(first, 9000);
	cr_expect_not(in_memfd(first + 1));
	bytes = guest_memory_host(&memory, GPA(first), 9000);
	bytes[1] = 0;
	cr_assert_eq(pread(fd, &byte, 1, 1), 1);
	cr_expect_neq(byte, 0, "the guest wrote to the file");
}

/* --- ELF ---------------------------------------------------------------------- */

Test(boot, elf_is_identified_with_its_version)
{
	struct kernel_info info;

	make_elf(kernel);
	cr_assert_eq(kernel_identify(make_file(kernel, sizeof(kernel)), "k",
				     &info, &error),
		     0, "%s", error.text);
	cr_expect_eq(info.format, KERNEL_ELF_PVH);
	cr_expect_str_eq(info.version, KERNEL_VERSION);
	cr_expect_eq(info.entry, ELF_ENTRY);
	cr_expect_eq(info.cmdline_max, 2047);
	cr_expect_eq(info.memory_needed,
		     ELF_DATA + ELF_DATA_MEMORY - LAYOUT_KERNEL);
}

/* Where the search's chunks meet. */
Test(boot, elf_version_is_found_wherever_it_lies)
{
	static const char banner[] = "Linux version 1.2.3-x\n";
	static uint8_t large[200000];
	struct kernel_info info;
	size_t at;
	int fd;

	make_elf(kernel);
	memcpy(large, kernel, ELF_DATA_OFFSET);
	memcpy(large + 64 + 56 + 32,
	       &(uint64_t){ sizeof(large) - ELF_DATA_OFFSET }, 8);
	memcpy(large + 64 + 56 + 40, &(uint64_t){ sizeof(large) }, 8);
	fd = make_file(large, sizeof(large));
	for (at = ELF_DATA_OFFSET; at + sizeof(banner) < sizeof(large);
	     at += 61) {
		cr_assert_eq(pwrite(fd, banner, sizeof(banner), (off_t)at),
			     sizeof(banner));
		cr_assert_eq(kernel_identify(fd, "k", &info, &error), 0, "%s",
			     error.text);
		cr_assert_str_eq(info.version, "1.2.3-x");
		cr_assert_eq(pwrite(fd, large + at, sizeof(banner), (off_t)at),
			     sizeof(banner));
	}
}

struct start_info {
	uint32_t magic, version, flags, module_count;
	uint64_t modules, cmdline, rsdp, memory_map;
	uint32_t rows, reserved;
};

Test(boot, elf_is_loaded_and_finds_start_info)
{
	const struct start_info *info;
	const struct {
		uint64_t address, size, cmdline, reserved;
	} * module;
	const struct {
		uint64_t address, size;
		uint32_t type, reserved;
	} * rows;

	make_elf(kernel);
	cr_assert_eq(load(5 * GIB, make_initrd(70000)), 0, "%s", error.text);
	cr_expect_eq(entry.mode, BOOT_PROTECTED_MODE);
	cr_expect_eq(entry.rip, ELF_ENTRY);
	cr_expect_eq(entry.rbx, LAYOUT_PVH_INFO);
	cr_expect_arr_eq(guest(ELF_TEXT), kernel + ELF_TEXT_OFFSET,
			 ELF_TEXT_BYTES);
	cr_expect_arr_eq(guest(ELF_DATA), kernel + ELF_DATA_OFFSET,
			 ELF_DATA_BYTES);

	info = guest(entry.rbx);
	cr_expect_eq(info->magic, 0x336ec578);
	cr_expect_eq(info->version, 1);
	cr_expect_eq(info->rsdp, LAYOUT_ACPI);
	cr_expect_str_eq(guest(info->cmdline), "console=ttyS0 panic=-1");
	cr_assert_eq(info->module_count, 1);
	module = (const void *)((const uint8_t *)info +
				(info->modules - LAYOUT_PVH_INFO));
	cr_expect_eq(module->size, 70000);
	expect_initrd_at(module->address, 70000);
	cr_assert_eq(info->rows, 5);
	rows = (const void *)((const uint8_t *)info +
			      (info->memory_map - LAYOUT_PVH_INFO));
	cr_expect(rows[2].address == MIB && rows[2].size == 3 * GIB - MIB &&
		  rows[2].type == 1);
	cr_expect(rows[4].address == 4 * GIB && rows[4].size == 2 * GIB &&
		  rows[4].type == 1);
}

Test(boot, elf_entry_note_may_have_4_bytes)
{
	make_elf(kernel);
	memcpy(kernel + ELF_NOTE_OFFSET + 24, &(uint32_t){ 4 }, 4);
	cr_assert_eq(load(RAM, -1), 0, "%s", error.text);
	cr_expect_eq(entry.rip, ELF_ENTRY);
}

Test(boot, command_line_that_the_kernel_cannot_take_is_refused)
{
	make_bzimage(kernel);
	memcpy(kernel + 0x238, &(uint32_t){ 10 }, 4); /* cmdline_size */
	expect_refusal(load(RAM, -1), "boot.cmdline: 22 bytes");
	expect_refusal(load(RAM, -1), "dir/vmlinuz takes 10");
	memcpy(kernel + 0x238, &(uint32_t){ 22 }, 4);
	cr_expect_eq(load(RAM, -1), 0);
}
