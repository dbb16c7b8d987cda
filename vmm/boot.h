/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Kernels: telling what a file is, and putting it, its initrd and its command
 * line where the guest expects them. Two formats: bzImage by the 64-bit boot
 * protocol (Linux Documentation/arch/x86/boot.rst) and ELF with a PVH entry
 * note (xen/include/public/arch-x86/hvm/start_info.h).
 *
 * All of a file is untrusted: every offset and size in it is checked against
 * the file's size and guest RAM.
 */
#ifndef VMM_BOOT_H
#define VMM_BOOT_H

#include "memory/addr.h"

#include <stdbool.h>
#include <stdint.h>

struct error;
struct guest_memory;
struct plan;

enum kernel_format { KERNEL_BZIMAGE, KERNEL_ELF_PVH };

struct kernel_info {
	enum kernel_format format;
	char version[160]; /* "6.12.9-amd64 (...)"; empty when the file has none */
	uint64_t file_bytes;
	bool relocatable;
	uint16_t protocol; /* bzImage: boot protocol version */
	uint32_t cmdline_max; /* bytes, without the 0 */
	uint64_t entry; /* PVH: physical entry */
	uint64_t memory_needed; /* bytes from LAYOUT_KERNEL up, initrd excluded */
};

/*
 * The state that the boot processor starts with. Both modes: flat segments as
 * in the GDT (base 0, limit 4 GiB), interrupts off. Long mode: paging on with
 * the first 4 GiB identity-mapped. Protected mode: paging off.
 */
enum boot_mode { BOOT_LONG_MODE, BOOT_PROTECTED_MODE };

/*
 * Selectors in the GDT that boot_load writes; Linux's __BOOT_CS and __BOOT_DS.
 * The code segment is of the entry's mode.
 */
#define BOOT_SELECTOR_CODE 0x10
#define BOOT_SELECTOR_DATA 0x18

struct boot_entry {
	enum boot_mode mode;
	uint64_t rip;
	uint64_t rsi; /* long mode: boot_params */
	uint64_t rbx; /* protected mode: start_info */
	uint64_t cr3; /* long mode */
	uint64_t gdt; /* guest-physical address of the GDT */
	uint16_t gdt_limit;
};

/*
 * Says what @fd (named @path in errors; stays the caller's) is. Returns 0, or
 * -1 with @error, which says what the file is when it is no kernel ("is a text
 * file", "is an ELF file without a PVH note", "is truncated: ...").
 */
int kernel_identify(int fd, const char *path, struct kernel_info *info,
		    struct error *error);

struct boot_files {
	int kernel_fd;
	const char *kernel_path;
	int initrd_fd; /* -1: none */
	const char *initrd_path;
};

/*
 * Whether boot_load is going to find that all fits: files, RAM and command line.
 * Nothing is loaded. Returns and blames as boot_load.
 */
int boot_check(const struct plan *plan, const struct boot_files *files,
	       struct error *error);

/*
 * Loads kernel and initrd, writes ACPI, the command line, boot_params or
 * start_info, page tables and GDT. @memory has @plan's RAM and was never
 * written to. Set-up, before any vCPU runs. Files are copied into RAM, once;
 * only an initrd that nobody can change any more is mapped instead (boot.c says
 * why). Returns 0, or -1 with @error, which begins with the key that is to blame
 * ("boot.initrd: "); what is missing when RAM is too small is said there.
 */
int boot_load(struct guest_memory *memory, const struct plan *plan,
	      const struct boot_files *files, struct boot_entry *entry,
	      struct error *error);

#endif
