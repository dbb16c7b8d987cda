/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation. All files are parsed and everything is placed before the
 * first byte is written: the kernel where it asks to be, the initrd at the top
 * of RAM below 3 GiB (or of what the kernel can reach), the small things in the
 * first MiB, where vmm/layout.h has them.
 *
 * Copying or mapping. Kernel and initrd are copied into RAM. To map the initrd
 * copy-on-write instead costs next to nothing (measured 0.01 ms, and 15 to 20 ms
 * to copy 32 MiB) and lets VMs share it, but then the file must not change: the
 * guest frees the initrd and uses its pages for anything, and a page that it has
 * not written since is the file's still. Where the file was truncated meanwhile
 * (an initrd that is rebuilt in place, an hour after the boot), the guest's
 * access ends KVM_RUN with EFAULT, a device's readv gets EFAULT, and our own
 * access to a ring or a header is a SIGBUS. So a file is mapped only when it
 * cannot change any more: sealed (memfd), under fs-verity, or immutable
 * (chattr +i). What is copied is the file as it was at the start.
 */
#include "vmm/boot.h"

#include <fcntl.h>
#include <linux/stat.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "devices/error.h"
#include "memory/guest_memory.h"
#include "vmm/acpi.h"
#include "vmm/boot_format.h"
#include "vmm/layout.h"
#include "vmm/plan.h"

/* x86 segment descriptors: base 0, limit 4 GiB, present, accessed, ring 0. */
#define DESCRIPTOR_CODE_64 UINT64_C(0x00af9b000000ffff)
#define DESCRIPTOR_CODE_32 UINT64_C(0x00cf9b000000ffff)
#define DESCRIPTOR_DATA UINT64_C(0x00cf93000000ffff)

int boot_write(struct guest_memory *memory, uint64_t address, const void *bytes,
	       size_t len)
{
	void *host = guest_memory_host(memory, GPA(address), len);

	if (!host)
		return -1;
	memcpy(host, bytes, len);
	return 0;
}

static void add_row(struct boot_memory_row *rows, unsigned int *count,
		    uint64_t first, uint64_t end, uint32_t type)
{
	rows[*count].first = first;
	rows[*count].bytes = end - first;
	rows[*count].type = type;
	++*count;
}

unsigned int boot_memory_map(const struct plan *plan,
			     struct boot_memory_row rows[BOOT_MEMORY_MAP_MAX])
{
	uint64_t end = plan->ram[0].first + plan->ram[0].size;
	unsigned int count = 0;

	add_row(rows, &count, 0, LAYOUT_LOW_MEMORY_END, BOOT_MEMORY_RAM);
	add_row(rows, &count, LAYOUT_LOW_MEMORY_END, LAYOUT_LOW_RESERVED_END,
		BOOT_MEMORY_RESERVED);
	add_row(rows, &count, LAYOUT_KERNEL, end, BOOT_MEMORY_RAM);
	/* Nothing of the guest's may come to lie where KVM keeps its own pages. */
	add_row(rows, &count, LAYOUT_KVM_IDENTITY_MAP,
		LAYOUT_KVM_TSS + 3 * PAGE_SIZE, BOOT_MEMORY_RESERVED);
	if (plan->ram_count > 1)
		add_row(rows, &count, plan->ram[1].first,
			plan->ram[1].first + plan->ram[1].size,
			BOOT_MEMORY_RAM);
	return count;
}

static uint64_t in_mib(uint64_t bytes)
{
	return align_up(bytes, MIB) / MIB;
}

/* RAM ends too early for @kernel_end, and @initrd_bytes after it. */
static int set_too_little(const struct boot_files *files, uint64_t ram_end,
			  uint64_t kernel_end, uint64_t initrd_bytes,
			  struct error *error)
{
	uint64_t needed = kernel_end + initrd_bytes;
	char initrd[48] = "";

	if (initrd_bytes)
		snprintf(initrd, sizeof(initrd), " and an initrd of %lluM",
			 (unsigned long long)in_mib(initrd_bytes));
	if (needed > LAYOUT_LOW_RAM_MAX)
		return error_set(
			error, EXIT_STATUS_CONFIGURATION,
			"%s: %s: does not fit: the kernel ends at %lluM%s, and all has to be "
			"below 3G",
			initrd_bytes ? "boot.initrd" : "boot.kernel",
			initrd_bytes ? files->initrd_path : files->kernel_path,
			(unsigned long long)in_mib(kernel_end), initrd);
	return error_set(
		error, EXIT_STATUS_CONFIGURATION,
		"machine.memory: %lluM is too little: the kernel needs the first %lluM%s: "
		"%lluM at least",
		(unsigned long long)(ram_end / MIB),
		(unsigned long long)in_mib(kernel_end), initrd,
		(unsigned long long)in_mib(needed));
}

/* @image fits into RAM, and @file, when there is one, behind it. */
static int place_initrd(const struct plan *plan, const struct boot_files *files,
			const struct kernel_image *image,
			const struct boot_file *file,
			struct boot_initrd *initrd, struct error *error)
{
	uint64_t ram_end = plan->ram[0].first + plan->ram[0].size;
	uint64_t kernel_end = align_up(image->end, PAGE_SIZE);
	uint64_t bytes = file ? file->bytes : 0;
	uint64_t top = align_down(MIN(ram_end, image->initrd_end), PAGE_SIZE);

	initrd->first = 0;
	initrd->bytes = bytes;
	/* A file has less than 2^63 bytes, and a kernel ends below 8 GiB: no overflow. */
	bytes = align_up(bytes, PAGE_SIZE);
	if (kernel_end > ram_end || bytes > ram_end - kernel_end)
		return set_too_little(files, ram_end, kernel_end, bytes, error);
	if (!bytes)
		return 0;
	if (kernel_end > top || bytes > top - kernel_end)
		return error_set(
			error, EXIT_STATUS_CONFIGURATION,
			"boot.initrd: %s: does not fit: it has %lluM, and this kernel "
			"takes an initrd only between %lluM and %lluM",
			files->initrd_path, (unsigned long long)in_mib(bytes),
			(unsigned long long)in_mib(kernel_end),
			(unsigned long long)(top / MIB));
	initrd->first = top - bytes;
	return 0;
}

/* Whether nobody can change or truncate @fd any more (see above). */
static bool file_is_frozen(int fd)
{
	const uint64_t frozen = STATX_ATTR_IMMUTABLE | STATX_ATTR_VERITY;
	const int sealed = F_SEAL_SHRINK | F_SEAL_WRITE;
	int seals = fcntl(fd, F_GET_SEALS);
	struct statx status;

	if (seals >= 0 && (seals & sealed) == sealed)
		return true;
	return statx(fd, "", AT_EMPTY_PATH, 0, &status) == 0 &&
	       (status.stx_attributes & frozen);
}

/* @why is about the file that @key names. */
static int blame(struct error *error, const char *key, const struct error *why)
{
	return error_set(error, why->status, "%s: %s", key, why->text);
}

static int load_files(struct guest_memory *memory,
		      const struct kernel_image *image,
		      const struct boot_file *kernel,
		      const struct boot_initrd *initrd,
		      const struct boot_file *initrd_file, struct error *error)
{
	struct error why;
	unsigned int i;

	for (i = 0; i < image->segment_count; i++) {
		const struct boot_segment *segment = &image->segments[i];

		if (boot_file_load(kernel, segment->file_offset,
				   segment->file_bytes, memory,
				   GPA(segment->first), &why))
			return blame(error, "boot.kernel", &why);
	}
	if (!initrd->bytes)
		return 0;
	if (file_is_frozen(initrd_file->fd) &&
	    guest_memory_map_file(memory, GPA(initrd->first), initrd_file->fd,
				  0, initrd->bytes) == 0)
		return 0;
	if (boot_file_load(initrd_file, 0, initrd->bytes, memory,
			   GPA(initrd->first), &why))
		return blame(error, "boot.initrd", &why);
	return 0;
}

static int write_acpi(struct guest_memory *memory, const struct plan *plan)
{
	size_t size = LAYOUT_ACPI_END - LAYOUT_ACPI;
	uint8_t *tables = guest_memory_host(memory, GPA(LAYOUT_ACPI), size);

	return tables && acpi_build(plan, tables, size, LAYOUT_ACPI) > 0 ? 0
									 : -1;
}

/*
 * A kernel that trusts neither ACPI's reset register nor the keyboard controller
 * jumps to the BIOS's reset vector in real mode: Linux does so on every
 * hardware-reduced platform, because it takes EFI's reset for granted there and
 * falls back to this. Without code here it would run through zeroes for ever.
 */
static int write_reset_vector(struct guest_memory *memory)
{
	static const uint8_t code[] = {
		0xba,
		LAYOUT_PORT_RESET & 0xff,
		LAYOUT_PORT_RESET >> 8, /* mov dx */
		0xb0,
		LAYOUT_RESET_VALUE, /* mov al */
		0xee, /* out dx, al */
		0xf4, /* hlt */
		0xeb,
		0xfd, /* jmp to the hlt */
	};

	return boot_write(memory, LAYOUT_RESET_VECTOR, code, sizeof(code));
}

static int write_gdt(struct guest_memory *memory, struct boot_entry *entry)
{
	const uint64_t gdt[] = {
		[BOOT_SELECTOR_CODE / 8] = entry->mode == BOOT_LONG_MODE
						   ? DESCRIPTOR_CODE_64
						   : DESCRIPTOR_CODE_32,
		[BOOT_SELECTOR_DATA / 8] = DESCRIPTOR_DATA,
	};

	entry->gdt = LAYOUT_BOOT_GDT;
	entry->gdt_limit = sizeof(gdt) - 1;
	return boot_write(memory, LAYOUT_BOOT_GDT, gdt, sizeof(gdt));
}

static int check_cmdline(const struct plan *plan,
			 const struct boot_files *files,
			 const struct kernel_image *image, struct error *error)
{
	size_t len = strlen(plan->cmdline);

	if (len <= image->cmdline_max)
		return 0;
	return error_set(
		error, EXIT_STATUS_CONFIGURATION,
		"boot.cmdline: %zu bytes, with what sluice adds, are too many: %s takes "
		"%u",
		len, files->kernel_path, image->cmdline_max);
}

/* What is to be loaded, and where the initrd goes. */
struct boot_job {
	struct boot_file kernel, initrd_file;
	struct kernel_image image;
	struct boot_initrd initrd;
};

static int boot_prepare(const struct plan *plan, const struct boot_files *files,
			struct boot_job *job, struct error *error)
{
	bool has_initrd = files->initrd_fd >= 0;
	struct error why;

	if (boot_file_init(&job->kernel, files->kernel_fd, files->kernel_path,
			   &why) ||
	    kernel_image_parse(&job->kernel, &job->image, &why))
		return blame(error, "boot.kernel", &why);
	if (has_initrd && boot_file_init(&job->initrd_file, files->initrd_fd,
					 files->initrd_path, &why))
		return blame(error, "boot.initrd", &why);
	if (check_cmdline(plan, files, &job->image, error) ||
	    place_initrd(plan, files, &job->image,
			 has_initrd ? &job->initrd_file : NULL, &job->initrd,
			 error))
		return -1;
	return 0;
}

int boot_check(const struct plan *plan, const struct boot_files *files,
	       struct error *error)
{
	struct boot_job job;

	return boot_prepare(plan, files, &job, error);
}

int boot_load(struct guest_memory *memory, const struct plan *plan,
	      const struct boot_files *files, struct boot_entry *entry,
	      struct error *error)
{
	struct boot_job job;
	int err;

	memset(entry, 0, sizeof(*entry));
	if (boot_prepare(plan, files, &job, error) ||
	    load_files(memory, &job.image, &job.kernel, &job.initrd,
		       &job.initrd_file, error))
		return -1;

	err = boot_write(memory, LAYOUT_CMDLINE, plan->cmdline,
			 strlen(plan->cmdline) + 1);
	err |= write_acpi(memory, plan);
	err |= write_reset_vector(memory);
	if (job.image.format == KERNEL_BZIMAGE)
		err |= boot_bzimage_finish(memory, plan, &job.image,
					   &job.initrd, entry);
	else
		err |= boot_pvh_finish(memory, plan, &job.image, &job.initrd,
				       entry);
	err |= write_gdt(memory, entry);
	if (err)
		return error_set(
			error, EXIT_STATUS_INTERNAL,
			"boot: the tables do not fit into the first MiB");
	return 0;
}
