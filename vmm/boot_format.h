/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Between the loaders' files (boot*.c); nothing else includes this. A kernel
 * file is parsed into a struct kernel_image, in which every offset and size has
 * been checked against the file and against overflow, and against RAM's start;
 * boot.c checks it against RAM's end, and then trusts it.
 */
#ifndef VMM_BOOT_FORMAT_H
#define VMM_BOOT_FORMAT_H

#include "memory/addr.h"
#include "memory/base.h"
#include "vmm/boot.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* More than any kernel has (5); a bound for what a file can make us do. */
#define BOOT_SEGMENTS_MAX 32

/* Copied from a bzImage: offsets 0x1f1 to 0x290 of the file. */
#define BOOT_SETUP_HEADER_MAX (0x290 - 0x1f1)

#define BOOT_MEMORY_MAP_MAX 5

/* A regular file of constant size, read with pread only. */
struct boot_file {
	int fd; /* the caller's */
	const char *path; /* for errors */
	uint64_t bytes;
};

struct boot_segment {
	uint64_t first; /* guest-physical */
	uint64_t file_offset;
	uint64_t file_bytes; /* the rest of it is zero */
};

struct kernel_image {
	enum kernel_format format;
	uint64_t end; /* guest-physical: all from here on is free at run time */
	uint64_t entry;
	uint64_t initrd_end; /* an initrd must end at or below this address */
	uint32_t cmdline_max; /* without the 0 */
	bool relocatable;
	uint16_t protocol;
	unsigned int segment_count;
	struct boot_segment segments[BOOT_SEGMENTS_MAX];
	uint64_t version_offset; /* bzImage: of the version string; 0: none */
	uint64_t version_end; /* it must end before */
	size_t setup_header_bytes;
	uint8_t setup_header[BOOT_SETUP_HEADER_MAX];
};

/* Where the initrd is; bytes = 0: there is none. */
struct boot_initrd {
	uint64_t first;
	uint64_t bytes;
};

/* One row of the memory map: e820 and PVH use the same types. */
struct boot_memory_row {
	uint64_t first;
	uint64_t bytes;
	uint32_t type;
};

#define BOOT_MEMORY_RAM 1
#define BOOT_MEMORY_RESERVED 2

/* boot_file.c */

/* Refuses what is no regular file, and what is empty. 0, or -1 with @error. */
int boot_file_init(struct boot_file *file, int fd, const char *path,
		   struct error *error);

/* Exactly @len bytes at @offset. 0, or -1 with @error. */
int boot_file_read(const struct boot_file *file, uint64_t offset, void *buffer,
		   size_t len, struct error *error);

/* Copies @len bytes at @offset to RAM at @address. 0, or -1 with @error. */
int boot_file_load(const struct boot_file *file, uint64_t offset, uint64_t len,
		   struct guest_memory *memory, gpa_t address,
		   struct error *error);

/* Whether [offset, offset + len) lies in the file; len may be 0. */
bool boot_file_has(const struct boot_file *file, uint64_t offset, uint64_t len);

/* boot_identify.c */

/* Parses either format, or says in @error what the file is instead. 0 or -1. */
int kernel_image_parse(const struct boot_file *file, struct kernel_image *image,
		       struct error *error);

/* boot_bzimage.c */
bool boot_bzimage_matches(const uint8_t *head, size_t len);
int boot_bzimage_parse(const struct boot_file *file, struct kernel_image *image,
		       struct error *error);

/* Writes boot_params and the page tables; fills @entry. 0, or -1 when that is not RAM. */
int boot_bzimage_finish(struct guest_memory *memory, const struct plan *plan,
			const struct kernel_image *image,
			const struct boot_initrd *initrd,
			struct boot_entry *entry);

/* boot_pvh.c */
bool boot_pvh_matches(const uint8_t *head, size_t len);
int boot_pvh_parse(const struct boot_file *file, struct kernel_image *image,
		   struct error *error);

/* Writes start_info and what it points to; fills @entry. 0, or -1 when that is not RAM. */
int boot_pvh_finish(struct guest_memory *memory, const struct plan *plan,
		    const struct kernel_image *image,
		    const struct boot_initrd *initrd, struct boot_entry *entry);

/* boot.c */

/* 0, or -1 when that is not RAM. */
int boot_write(struct guest_memory *memory, uint64_t address, const void *bytes,
	       size_t len);

/* Fills @rows; returns how many. */
unsigned int boot_memory_map(const struct plan *plan,
			     struct boot_memory_row rows[BOOT_MEMORY_MAP_MAX]);

#endif
