/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ELF kernels with a PVH entry (xen/include/public/arch-x86/hvm/start_info.h):
 * a note holds the physical address of a 32-bit entry point, and %ebx points at
 * a description of the machine.
 */
#include "vmm/boot_format.h"

#include <elf.h>
#include <string.h>

#include "devices/error.h"
#include "memory/guest_memory.h"
#include "vmm/layout.h"
#include "vmm/plan.h"

#define PROGRAM_HEADERS_MAX 64
#define NOTES_BYTES_MAX 16384 /* Linux has about 500 */

#define XEN_NOTE_NAME "Xen"
#define XEN_NOTE_PHYS32_ENTRY 18

#define COMMAND_LINE_MAX 2047 /* Linux's COMMAND_LINE_SIZE, without the 0 */

#define START_INFO_MAGIC 0x336ec578
#define START_INFO_VERSION 1

struct start_info {
	uint32_t magic;
	uint32_t version;
	uint32_t flags;
	uint32_t module_count;
	uint64_t modules;
	uint64_t cmdline;
	uint64_t rsdp;
	uint64_t memory_map;
	uint32_t memory_map_rows;
	uint32_t reserved;
};

struct start_info_module {
	uint64_t address;
	uint64_t size;
	uint64_t cmdline;
	uint64_t reserved;
};

struct start_info_row {
	uint64_t address;
	uint64_t size;
	uint32_t type;
	uint32_t reserved;
};

/* All that the guest gets, in one page. */
struct pvh_page {
	struct start_info info;
	struct start_info_module module;
	struct start_info_row rows[BOOT_MEMORY_MAP_MAX];
};

_Static_assert(sizeof(struct start_info) == 56, "hvm_start_info of version 1");
_Static_assert(sizeof(struct pvh_page) <= LAYOUT_ZERO_PAGE - LAYOUT_PVH_INFO,
	       "pvh_page");

bool boot_pvh_matches(const uint8_t *head, size_t len)
{
	return len >= SELFMAG && memcmp(head, ELFMAG, SELFMAG) == 0;
}

static int refuse(const struct boot_file *file, struct error *error,
		  const char *why)
{
	return error_set(error, EXIT_STATUS_CONFIGURATION,
			 "%s: is an ELF file %s", file->path, why);
}

static int set_truncated(const struct boot_file *file, const char *what,
			 struct error *error)
{
	return error_set(
		error, EXIT_STATUS_CONFIGURATION,
		"%s: is truncated: an ELF file whose %s end beyond its %llu bytes",
		file->path, what, (unsigned long long)file->bytes);
}

static const char *machine_name(unsigned int machine)
{
	switch (machine) {
	case EM_386:
		return "32-bit x86";
	case EM_AARCH64:
		return "arm64";
	case EM_ARM:
		return "arm";
	case EM_RISCV:
		return "RISC-V";
	case EM_PPC64:
		return "ppc64";
	case EM_S390:
		return "s390";
	case EM_MIPS:
		return "MIPS";
	default:
		return "another architecture";
	}
}

static int check_header(const struct boot_file *file, const Elf64_Ehdr *header,
			struct error *error)
{
	bool little_endian = header->e_ident[EI_DATA] == ELFDATA2LSB;

	if (header->e_ident[EI_CLASS] != ELFCLASS64)
		return refuse(file, error,
			      "of 32 bits; a kernel for x86-64 is needed");
	if (!little_endian || header->e_machine != EM_X86_64)
		return error_set(
			error, EXIT_STATUS_CONFIGURATION,
			"%s: is an ELF file for %s; a kernel for x86-64 is needed",
			file->path,
			little_endian ? machine_name(header->e_machine)
				      : "a big-endian machine");
	if (header->e_type != ET_EXEC && header->e_type != ET_DYN)
		return refuse(file, error,
			      "that is no program (a module or a core dump?)");
	if (header->e_phnum == 0)
		return refuse(file, error, "without program headers");
	if (header->e_phentsize != sizeof(Elf64_Phdr))
		return refuse(file, error,
			      "with program headers of a wrong size");
	if (header->e_phnum > PROGRAM_HEADERS_MAX)
		return refuse(file, error,
			      "with more program headers than any kernel has");
	if (!boot_file_has(file, header->e_phoff,
			   header->e_phnum * sizeof(Elf64_Phdr)))
		return set_truncated(file, "program headers", error);
	return 0;
}

static int add_segment(const struct boot_file *file, struct kernel_image *image,
		       const Elf64_Phdr *program, struct error *error)
{
	struct boot_segment *segment;
	uint64_t end;

	if (program->p_memsz == 0)
		return 0;
	if (program->p_filesz > program->p_memsz)
		return refuse(
			file, error,
			"with a segment that is larger in the file than in memory");
	if (!boot_file_has(file, program->p_offset, program->p_filesz))
		return set_truncated(file, "segments", error);
	if (program->p_paddr < LAYOUT_KERNEL)
		return refuse(file, error, "with a segment below 1 MiB");
	if (__builtin_add_overflow(program->p_paddr, program->p_memsz, &end) ||
	    end > 4 * GIB)
		return refuse(file, error, "with a segment above 4 GiB");
	image->end = MAX(image->end, end);
	if (program->p_filesz == 0)
		return 0;
	if (image->segment_count == BOOT_SEGMENTS_MAX)
		return refuse(file, error,
			      "with more segments than any kernel has");
	segment = &image->segments[image->segment_count++];
	segment->first = program->p_paddr;
	segment->file_offset = program->p_offset;
	segment->file_bytes = program->p_filesz;
	return 0;
}

/* The note at @at of @notes: name and descriptor are padded to @alignment each. */
struct note {
	const uint8_t *name;
	const uint8_t *descriptor;
	Elf64_Nhdr header;
	uint64_t next;
};

static bool note_read(struct note *note, const uint8_t *notes, uint64_t len,
		      uint64_t at, uint64_t alignment)
{
	uint64_t descriptor;

	if (len - at < sizeof(note->header))
		return false;
	memcpy(&note->header, notes + at, sizeof(note->header));
	at += sizeof(note->header);
	/* Sums of 32-bit numbers: no overflow in 64. */
	descriptor = at + align_up(note->header.n_namesz, alignment);
	if (descriptor + note->header.n_descsz > len)
		return false;
	note->name = notes + at;
	note->descriptor = notes + descriptor;
	note->next = MIN(
		descriptor + align_up(note->header.n_descsz, alignment), len);
	return true;
}

static bool note_is_entry(const struct note *note, uint64_t *entry)
{
	uint32_t len = note->header.n_descsz;

	if (note->header.n_type != XEN_NOTE_PHYS32_ENTRY ||
	    note->header.n_namesz != sizeof(XEN_NOTE_NAME) ||
	    memcmp(note->name, XEN_NOTE_NAME, sizeof(XEN_NOTE_NAME)) != 0 ||
	    (len != 4 && len != 8))
		return false;
	*entry = 0;
	memcpy(entry, note->descriptor, len);
	return true;
}

/* 1 with *@entry, 0 when the note is not in this segment, or -1 with @error. */
static int find_entry(const struct boot_file *file, const Elf64_Phdr *program,
		      uint64_t *entry, struct error *error)
{
	uint64_t alignment = program->p_align == 8 ? 8 : 4;
	uint64_t len = MIN(program->p_filesz, NOTES_BYTES_MAX);
	uint8_t notes[NOTES_BYTES_MAX];
	struct note note;
	uint64_t at;

	if (!boot_file_has(file, program->p_offset, program->p_filesz))
		return set_truncated(file, "notes", error);
	if (boot_file_read(file, program->p_offset, notes, len, error))
		return -1;
	for (at = 0; note_read(&note, notes, len, at, alignment);
	     at = note.next)
		if (note_is_entry(&note, entry))
			return 1;
	return 0;
}

/* The 32-bit entry is code of the file. */
static bool entry_is_loaded(const struct kernel_image *image)
{
	unsigned int i;

	for (i = 0; i < image->segment_count; i++)
		if (image->entry >= image->segments[i].first &&
		    image->entry - image->segments[i].first <
			    image->segments[i].file_bytes)
			return true;
	return false;
}

int boot_pvh_parse(const struct boot_file *file, struct kernel_image *image,
		   struct error *error)
{
	Elf64_Phdr programs[PROGRAM_HEADERS_MAX];
	Elf64_Ehdr header;
	int found = 0;
	unsigned int i;

	if (!boot_file_has(file, 0, sizeof(header)))
		return set_truncated(file, "headers", error);
	if (boot_file_read(file, 0, &header, sizeof(header), error) ||
	    check_header(file, &header, error) ||
	    boot_file_read(file, header.e_phoff, programs,
			   header.e_phnum * sizeof(programs[0]), error))
		return -1;

	/* The note first: it is what other programs lack. */
	for (i = 0; i < header.e_phnum && !found; i++)
		if (programs[i].p_type == PT_NOTE)
			found = find_entry(file, &programs[i], &image->entry,
					   error);
	if (found < 0)
		return -1;
	if (!found)
		return refuse(file, error,
			      "without a PVH note: no kernel, or one without "
			      "CONFIG_PVH=y");

	image->format = KERNEL_ELF_PVH;
	for (i = 0; i < header.e_phnum; i++)
		if (programs[i].p_type == PT_LOAD &&
		    add_segment(file, image, &programs[i], error))
			return -1;
	if (!entry_is_loaded(image))
		return refuse(file, error,
			      "whose PVH entry lies outside its segments");
	image->initrd_end = LAYOUT_LOW_RAM_MAX;
	image->cmdline_max = COMMAND_LINE_MAX;
	return 0;
}

int boot_pvh_finish(struct guest_memory *memory, const struct plan *plan,
		    const struct kernel_image *image,
		    const struct boot_initrd *initrd, struct boot_entry *entry)
{
	struct boot_memory_row rows[BOOT_MEMORY_MAP_MAX];
	unsigned int count = boot_memory_map(plan, rows);
	struct pvh_page page;
	unsigned int i;

	memset(&page, 0, sizeof(page));
	page.info.magic = START_INFO_MAGIC;
	page.info.version = START_INFO_VERSION;
	page.info.cmdline = LAYOUT_CMDLINE;
	page.info.rsdp = LAYOUT_ACPI;
	page.info.memory_map =
		LAYOUT_PVH_INFO + offsetof(struct pvh_page, rows);
	page.info.memory_map_rows = count;
	if (initrd->bytes) {
		page.info.module_count = 1;
		page.info.modules =
			LAYOUT_PVH_INFO + offsetof(struct pvh_page, module);
		page.module.address = initrd->first;
		page.module.size = initrd->bytes;
	}
	for (i = 0; i < count; i++) {
		page.rows[i].address = rows[i].first;
		page.rows[i].size = rows[i].bytes;
		page.rows[i].type = rows[i].type;
	}
	if (boot_write(memory, LAYOUT_PVH_INFO, &page, sizeof(page)))
		return -1;

	entry->mode = BOOT_PROTECTED_MODE;
	entry->rip = image->entry;
	entry->rbx = LAYOUT_PVH_INFO;
	return 0;
}
