/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Small kernels made of nothing, for the loaders' tests: what a loader looks at
 * is there, what a processor would run is a pattern.
 */
#ifndef TESTS_UNIT_VMM_BOOT_SUPPORT_H
#define TESTS_UNIT_VMM_BOOT_SUPPORT_H

#include "vmm/plan.h"

#include <stddef.h>
#include <stdint.h>

#define KERNEL_BYTES 2048
#define KERNEL_VERSION "6.12.9-test (a@b) #1"

/* The bzImage: two sectors of setup code, then a payload. */
#define BZIMAGE_SETUP 1024
#define BZIMAGE_PAYLOAD 1024
#define BZIMAGE_LOAD 0x1000000
#define BZIMAGE_INIT_SIZE 0x300000

/* The ELF file: two segments, and a note with the entry. */
#define ELF_TEXT 0x1000000
#define ELF_TEXT_OFFSET 0x400
#define ELF_TEXT_BYTES 0x200
#define ELF_DATA 0x1200000
#define ELF_DATA_OFFSET 0x600
#define ELF_DATA_BYTES 0x180
#define ELF_DATA_MEMORY 0x5000
#define ELF_NOTE_OFFSET 0x200
#define ELF_ENTRY (ELF_TEXT + 0x40)

/* Each fills KERNEL_BYTES. */
void make_bzimage(uint8_t *bytes);
void make_elf(uint8_t *bytes);

/* A memfd with a copy of @bytes. */
int make_file(const void *bytes, size_t len);

/* @memory bytes of RAM, one vCPU, the command line "console=ttyS0 panic=-1". */
void make_plan(struct plan *plan, uint64_t memory);

/* @config: one vCPU, 128 MiB, nothing else. */
void make_config(struct vmm_config *config);
void add_disk(struct vmm_config *config, const char *name);

#endif
