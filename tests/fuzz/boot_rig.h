/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What both loaders' fuzzers do with a file: identify it, and load it, with an
 * initrd, into a small guest that is made once.
 */
#ifndef TESTS_FUZZ_BOOT_RIG_H
#define TESTS_FUZZ_BOOT_RIG_H

#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "devices/error.h"
#include "memory/base.h"
#include "vmm/boot.h"
#include "vmm/plan.h"

#define RIG_RAM (64 * MIB)
#define RIG_FILE_MAX (64 * KIB)
#define RIG_INITRD_BYTES 5000

struct boot_rig {
	struct guest_memory memory;
	struct plan plan;
	int kernel;
	int initrd;
};

static inline void rig_require(bool condition)
{
	if (!condition)
		abort();
}

static inline void rig_make(struct boot_rig *rig)
{
	static char cmdline[] = "console=ttyS0";
	static struct vmm_config config;
	static const uint8_t initrd[RIG_INITRD_BYTES] = { 1 };

	config.vcpus = 1;
	config.memory = RIG_RAM;
	config.cmdline = cmdline;
	rig_require(plan_make(&rig->plan, &config, NULL) == 0);
	rig_require(guest_memory_init(&rig->memory, rig->plan.ram,
				      rig->plan.ram_count,
				      GUEST_MEMORY_SMALL_PAGES) == 0);
	rig->kernel = memfd_create("kernel", MFD_CLOEXEC);
	rig->initrd = memfd_create("initrd", MFD_CLOEXEC);
	rig_require(pwrite(rig->initrd, initrd, sizeof(initrd), 0) ==
		    sizeof(initrd));
}

/* Where the guest is told that its initrd is: boot_params, or start_info. */
static inline uint64_t rig_initrd(const struct boot_rig *rig,
				  const struct boot_entry *entry)
{
	bool long_mode = entry->mode == BOOT_LONG_MODE;
	const uint8_t *info = guest_memory_host(
		&rig->memory, GPA(long_mode ? entry->rsi : entry->rbx), 4096);
	uint32_t address;

	memcpy(&address, info + (long_mode ? 0x218 : 56), sizeof(address));
	return address;
}

/* All that boot_load promises is where it says, whatever the file was. */
static inline void rig_check(const struct boot_rig *rig,
			     const struct boot_entry *entry)
{
	const struct guest_memory *memory = &rig->memory;
	const uint8_t *initrd = guest_memory_host(
		memory, GPA(rig_initrd(rig, entry)), RIG_INITRD_BYTES);

	rig_require(initrd && initrd[0] == 1 && initrd[4096] == 0);
	rig_require(entry->rip >= LAYOUT_KERNEL);
	rig_require(guest_memory_host(memory, GPA(entry->rip), 1) != NULL);
	rig_require(memcmp(guest_memory_host(memory, GPA(LAYOUT_ACPI), 8),
			   "RSD PTR ", 8) == 0);
	rig_require(strcmp(guest_memory_host(memory, GPA(LAYOUT_CMDLINE), 64),
			   rig->plan.cmdline) == 0);
}

static inline void rig_run(const uint8_t *data, size_t size)
{
	static struct boot_rig rig;
	static bool made;
	struct boot_files files = { .kernel_path = "kernel",
				    .initrd_path = "initrd" };
	struct kernel_info info;
	struct boot_entry entry;
	struct error error = { 0 };
	int identified, loaded;

	if (!made)
		rig_make(&rig);
	made = true;
	size = MIN(size, RIG_FILE_MAX);
	rig_require(ftruncate(rig.kernel, (off_t)size) == 0);
	rig_require(pwrite(rig.kernel, data, size, 0) == (ssize_t)size);
	files.kernel_fd = rig.kernel;
	files.initrd_fd = rig.initrd;

	identified = kernel_identify(rig.kernel, "kernel", &info, &error);
	rig_require(identified == 0 || strncmp(error.text, "kernel: ", 8) == 0);
	loaded = boot_load(&rig.memory, &rig.plan, &files, &entry, &error);
	rig_require(loaded < 0 || identified == 0);
	rig_require(loaded == 0 || error.status == EXIT_STATUS_CONFIGURATION);
	if (loaded == 0)
		rig_check(&rig, &entry);
	rig_require(fallocate(rig.memory.fd,
			      FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0,
			      RIG_RAM) == 0);
}

#endif
