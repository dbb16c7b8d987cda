/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/vmm/boot_support.h"

#include <asm/bootparam.h>
#include <elf.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static void fill_pattern(uint8_t *bytes, size_t len, unsigned int seed)
{
	size_t i;

	for (i = 0; i < len; i++)
		bytes[i] = (uint8_t)(seed + i * 7);
}

void make_bzimage(uint8_t *bytes)
{
	struct setup_header header = {
		.setup_sects = 1,
		.syssize = BZIMAGE_PAYLOAD / 16,
		.boot_flag = 0xaa55,
		.jump = 0x6aeb, /* jmp to 0x26c */
		.header = 0x53726448,
		.version = 0x020f,
		.kernel_version = 0x300 - 0x200,
		.loadflags = LOADED_HIGH,
		.initrd_addr_max = 0x7fffffff,
		.kernel_alignment = 0x200000,
		.relocatable_kernel = 1,
		.xloadflags = XLF_KERNEL_64,
		.cmdline_size = 2047,
		.pref_address = BZIMAGE_LOAD,
		.init_size = BZIMAGE_INIT_SIZE,
		.setup_data = 0x1234, /* a loader has to clear it */
	};

	memset(bytes, 0, KERNEL_BYTES);
	memcpy(bytes, "MZ", 2);
	memcpy(bytes + 0x1f1, &header, sizeof(header));
	strcpy((char *)bytes + 0x300, KERNEL_VERSION);
	fill_pattern(bytes + BZIMAGE_SETUP, BZIMAGE_PAYLOAD, 1);
}

static void make_notes(uint8_t *bytes)
{
	static const uint32_t other[] = { 4, 4, 5, 0x006e6558, 0xffffffff };
	static const uint32_t entry[] = { 4, 8, 18, 0x006e6558, ELF_ENTRY, 0 };

	memcpy(bytes, other, sizeof(other));
	memcpy(bytes + sizeof(other), entry, sizeof(entry));
}

void make_elf(uint8_t *bytes)
{
	const Elf64_Ehdr header = {
		.e_ident = { 0x7f, 'E', 'L', 'F', ELFCLASS64, ELFDATA2LSB,
			     EV_CURRENT },
		.e_type = ET_EXEC,
		.e_machine = EM_X86_64,
		.e_version = EV_CURRENT,
		.e_phoff = sizeof(header),
		.e_ehsize = sizeof(header),
		.e_phentsize = sizeof(Elf64_Phdr),
		.e_phnum = 3,
	};
	const Elf64_Phdr programs[] = {
		{ .p_type = PT_LOAD,
		  .p_offset = ELF_TEXT_OFFSET,
		  .p_paddr = ELF_TEXT,
		  .p_filesz = ELF_TEXT_BYTES,
		  .p_memsz = ELF_TEXT_BYTES },
		{ .p_type = PT_LOAD,
		  .p_offset = ELF_DATA_OFFSET,
		  .p_paddr = ELF_DATA,
		  .p_filesz = ELF_DATA_BYTES,
		  .p_memsz = ELF_DATA_MEMORY },
		{ .p_type = PT_NOTE,
		  .p_offset = ELF_NOTE_OFFSET,
		  .p_filesz = 44,
		  .p_memsz = 44,
		  .p_align = 4 },
	};

	memset(bytes, 0, KERNEL_BYTES);
	memcpy(bytes, &header, sizeof(header));
	memcpy(bytes + sizeof(header), programs, sizeof(programs));
	make_notes(bytes + ELF_NOTE_OFFSET);
	fill_pattern(bytes + ELF_TEXT_OFFSET, ELF_TEXT_BYTES, 3);
	fill_pattern(bytes + ELF_DATA_OFFSET, ELF_DATA_BYTES, 5);
	strcpy((char *)bytes + ELF_DATA_OFFSET + 0x20,
	       "Linux version %s\nLinux version " KERNEL_VERSION "\n");
}

int make_file(const void *bytes, size_t len)
{
	int fd = memfd_create("test", MFD_CLOEXEC | MFD_ALLOW_SEALING);

	if (fd >= 0 && pwrite(fd, bytes, len, 0) != (ssize_t)len) {
		close(fd);
		return -1;
	}
	return fd;
}

void make_config(struct vmm_config *config)
{
	memset(config, 0, sizeof(*config));
	config->vcpus = 1;
	config->memory = 128 * MIB;
	config->iommu.tables = 64 * MIB;
}

void add_disk(struct vmm_config *config, const char *name)
{
	struct device_reference *reference =
		&config->order[config->order_count++];

	reference->kind = DEVICE_DISK;
	reference->index = config->disk_count;
	snprintf(config->disks[config->disk_count++].name, CONFIG_NAME_MAX + 1,
		 "%s", name);
}

void make_plan(struct plan *plan, uint64_t memory)
{
	static char cmdline[] = "console=ttyS0";
	struct vmm_config config;

	make_config(&config);
	config.memory = memory;
	config.cmdline = cmdline;
	plan_make(plan, &config, NULL);
}
