/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bzImage by the 64-bit boot protocol (Linux Documentation/arch/x86/boot.rst).
 * The file is setup code, which only a BIOS boot runs, with a header in it; then
 * the kernel proper, which is copied to where it wants to run: the decompressor
 * moves its input upwards from there, within init_size.
 */
#include "vmm/boot_format.h"

#include <asm/bootparam.h>
#include <string.h>

#include "devices/error.h"
#include "memory/guest_memory.h"
#include "vmm/layout.h"
#include "vmm/plan.h"

#define SECTOR 512
#define HEADER_START 0x1f1
#define BOOT_FLAG 0xaa55
#define HEADER_MAGIC 0x53726448 /* "HdrS" */
#define HEADER_MAGIC_OFFSET 0x202
#define HEADER_MAGIC_END 0x206

/* 2.12 has xloadflags, which tell whether there is a 64-bit entry. */
#define PROTOCOL_MIN 0x020c

/* The header is as long as the jump instruction at 0x200 skips. */
#define HEADER_LENGTH_OFFSET 0x201
#define HEADER_LENGTH_BASE 0x202
#define HEADER_END_MIN 0x268 /* handover_offset, the last field of 2.12 */

#define ENTRY_64_OFFSET 0x200
#define LOADER_UNDEFINED 0xff

#define PAGE_TABLE_ENTRIES 512
#define PAGE_PRESENT 0x1
#define PAGE_WRITE 0x2
#define PAGE_LARGE 0x80
#define MAPPED_GIB 4

_Static_assert(offsetof(struct boot_params, hdr) == HEADER_START,
	       "boot_params");
_Static_assert(sizeof(struct boot_params) == 4096, "boot_params");
_Static_assert(sizeof(struct setup_header) <= BOOT_SETUP_HEADER_MAX,
	       "setup_header");

bool boot_bzimage_matches(const uint8_t *head, size_t len)
{
	uint32_t magic;

	if (len < HEADER_MAGIC_END)
		return false;
	memcpy(&magic, head + HEADER_MAGIC_OFFSET, sizeof(magic));
	return magic == HEADER_MAGIC;
}

static int refuse(const struct boot_file *file, struct error *error,
		  const char *why)
{
	return error_set(error, EXIT_STATUS_CONFIGURATION,
			 "%s: is a bzImage, but %s", file->path, why);
}

static int set_truncated(const struct boot_file *file, uint64_t wanted,
			 struct error *error)
{
	return error_set(
		error, EXIT_STATUS_CONFIGURATION,
		"%s: is truncated: a bzImage of %llu bytes, by its header; the file has "
		"%llu",
		file->path, (unsigned long long)wanted,
		(unsigned long long)file->bytes);
}

/* Copies the header, once, into @image; @header is what of it we know. */
static int read_header(const struct boot_file *file, struct kernel_image *image,
		       struct setup_header *header, struct error *error)
{
	uint8_t length;
	size_t end;

	if (!boot_file_has(file, 0, HEADER_END_MIN))
		return set_truncated(file, HEADER_END_MIN, error);
	if (boot_file_read(file, HEADER_LENGTH_OFFSET, &length, sizeof(length),
			   error))
		return -1;
	end = MIN(HEADER_LENGTH_BASE + (size_t)length,
		  HEADER_START + sizeof(*header));
	if (!boot_file_has(file, 0, end))
		return set_truncated(file, end, error);
	memset(header, 0, sizeof(*header));
	if (boot_file_read(file, HEADER_START, header,
			   MAX(end, HEADER_END_MIN) - HEADER_START, error))
		return -1;
	/* The rest of what was read is checked with the protocol's version. */
	image->setup_header_bytes = end - HEADER_START;
	return 0;
}

static int check_header(const struct boot_file *file,
			const struct kernel_image *image,
			const struct setup_header *header, struct error *error)
{
	if (header->boot_flag != BOOT_FLAG || header->header != HEADER_MAGIC)
		return refuse(file, error, "its boot sector has no signature");
	if (header->version < PROTOCOL_MIN)
		return error_set(
			error, EXIT_STATUS_CONFIGURATION,
			"%s: is a bzImage of boot protocol %u.%02u; 2.12 (Linux 3.8) is "
			"needed",
			file->path, header->version >> 8,
			header->version & 0xff);
	if (image->setup_header_bytes < HEADER_END_MIN - HEADER_START)
		return refuse(file, error, "its setup header is too short");
	if (!(header->loadflags & LOADED_HIGH))
		return refuse(file, error,
			      "is not to be loaded high (a zImage?)");
	if (!(header->xloadflags & XLF_KERNEL_64))
		return refuse(file, error,
			      "of a 32-bit kernel: a 64-bit one is needed");
	return 0;
}

/*
 * Where the kernel proper goes: where it runs best. A relocatable one that is
 * loaded lower moves itself up to pref_address all the same, so a smaller guest
 * would not do.
 */
static int place(const struct boot_file *file, struct kernel_image *image,
		 const struct setup_header *header, uint64_t bytes,
		 struct error *error)
{
	uint64_t alignment = header->kernel_alignment;
	uint64_t first = header->pref_address;

	if (first < LAYOUT_KERNEL) {
		if (!header->relocatable_kernel)
			return refuse(file, error,
				      "it has to be loaded below 1 MiB");
		if (!is_power_of_two(alignment) || alignment > GIB)
			return refuse(file, error,
				      "its alignment is not valid");
		first = align_up(LAYOUT_KERNEL, alignment);
	}
	if (!is_aligned(first, PAGE_SIZE))
		return refuse(file, error,
			      "its preferred address is not page-aligned");
	/* Below 3 GiB is all that the loader offers; larger ones also run out of 64 bits. */
	if (first >= LAYOUT_LOW_RAM_MAX)
		return refuse(file, error,
			      "its preferred address is above 3 GiB");
	image->end = first + MAX((uint64_t)header->init_size, bytes);
	image->entry = first + ENTRY_64_OFFSET;
	image->segment_count = 1;
	image->segments[0].first = first;
	image->segments[0].file_bytes = bytes;
	return 0;
}

int boot_bzimage_parse(const struct boot_file *file, struct kernel_image *image,
		       struct error *error)
{
	struct setup_header header = { 0 };
	uint64_t setup, bytes;

	image->format = KERNEL_BZIMAGE;
	if (read_header(file, image, &header, error) ||
	    check_header(file, image, &header, error))
		return -1;

	/* boot.rst: 0 setup sectors mean 4; the boot sector is one more. */
	setup = ((header.setup_sects ? header.setup_sects : 4u) + UINT64_C(1)) *
		SECTOR;
	bytes = (uint64_t)header.syssize * 16;
	if (!boot_file_has(file, setup, bytes))
		return set_truncated(file, setup + bytes, error);
	if (bytes <= ENTRY_64_OFFSET)
		return refuse(file, error, "it has no 64-bit entry");
	if (place(file, image, &header, bytes, error))
		return -1;
	image->segments[0].file_offset = setup;

	image->initrd_end = (uint64_t)header.initrd_addr_max + 1;
	image->cmdline_max = header.cmdline_size;
	image->relocatable = header.relocatable_kernel;
	image->protocol = header.version;
	if (header.kernel_version &&
	    header.kernel_version + (uint64_t)SECTOR < setup) {
		image->version_offset =
			header.kernel_version + (uint64_t)SECTOR;
		image->version_end = setup;
	}
	memcpy(image->setup_header, &header, image->setup_header_bytes);
	return 0;
}

/* Maps the first 4 GiB, each address to itself, with pages of 2 MiB. */
static int write_page_tables(struct guest_memory *memory)
{
	const uint64_t flags = PAGE_PRESENT | PAGE_WRITE;
	uint64_t upper = LAYOUT_BOOT_PAGE_TABLES + PAGE_SIZE;
	uint64_t lower = upper + PAGE_SIZE;
	uint64_t table[PAGE_TABLE_ENTRIES] = { 0 };
	uint64_t i, j;

	table[0] = upper | flags;
	if (boot_write(memory, LAYOUT_BOOT_PAGE_TABLES, table, sizeof(table)))
		return -1;
	for (i = 0; i < MAPPED_GIB; i++)
		table[i] = (lower + i * PAGE_SIZE) | flags;
	if (boot_write(memory, upper, table, sizeof(table)))
		return -1;
	for (i = 0; i < MAPPED_GIB; i++) {
		for (j = 0; j < PAGE_TABLE_ENTRIES; j++)
			table[j] = (i * GIB + j * 2 * MIB) | flags | PAGE_LARGE;
		if (boot_write(memory, lower + i * PAGE_SIZE, table,
			       sizeof(table)))
			return -1;
	}
	return 0;
}

static void fill_memory_map(struct boot_params *params, const struct plan *plan)
{
	struct boot_memory_row rows[BOOT_MEMORY_MAP_MAX];
	unsigned int count = boot_memory_map(plan, rows);
	unsigned int i;

	params->e820_entries = (uint8_t)count;
	for (i = 0; i < count; i++) {
		params->e820_table[i].addr = rows[i].first;
		params->e820_table[i].size = rows[i].bytes;
		params->e820_table[i].type = rows[i].type;
	}
}

int boot_bzimage_finish(struct guest_memory *memory, const struct plan *plan,
			const struct kernel_image *image,
			const struct boot_initrd *initrd,
			struct boot_entry *entry)
{
	struct boot_params params;

	memset(&params, 0, sizeof(params));
	memcpy(&params.hdr, image->setup_header, image->setup_header_bytes);
	params.hdr.type_of_loader = LOADER_UNDEFINED;
	params.hdr.setup_data = 0;
	params.hdr.cmd_line_ptr = LAYOUT_CMDLINE;
	params.hdr.ramdisk_image = (uint32_t)initrd->first;
	params.hdr.ramdisk_size = (uint32_t)initrd->bytes;
	params.ext_ramdisk_image = (uint32_t)(initrd->first >> 32);
	params.ext_ramdisk_size = (uint32_t)(initrd->bytes >> 32);
	params.acpi_rsdp_addr = LAYOUT_ACPI;
	fill_memory_map(&params, plan);
	if (boot_write(memory, LAYOUT_ZERO_PAGE, &params, sizeof(params)) ||
	    write_page_tables(memory))
		return -1;

	entry->mode = BOOT_LONG_MODE;
	entry->rip = image->entry;
	entry->rsi = LAYOUT_ZERO_PAGE;
	entry->cr3 = LAYOUT_BOOT_PAGE_TABLES;
	return 0;
}
