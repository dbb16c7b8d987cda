/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/vmm/guest_support.h"

#include <criterion/criterion.h>
#include <elf.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "memory/base.h"
#include "vmm/timer.h"
#include "vmm/vmm.h"

#define NOTE_OFFSET 0x100
#define CODE_OFFSET 0x1000

void guest_need_kvm(void)
{
	struct error error;
	int fd = vm_files_open_kvm(&error);

	if (fd < 0)
		cr_skip_test("%s", error.text);
	close(fd);
}

int guest_file(const uint8_t *code, size_t len)
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
		.e_phnum = 2,
	};
	const Elf64_Phdr segments[] = {
		{ .p_type = PT_LOAD,
		  .p_offset = CODE_OFFSET,
		  .p_paddr = GUEST_ENTRY,
		  .p_filesz = len,
		  .p_memsz = len },
		{ .p_type = PT_NOTE,
		  .p_offset = NOTE_OFFSET,
		  .p_filesz = 20,
		  .p_memsz = 20,
		  .p_align = 4 },
	};
	/* 4 bytes "Xen", 4 bytes of content, type 18: the entry */
	const uint32_t note[] = { 4, 4, 18, 0x006e6558, GUEST_ENTRY };
	int fd = memfd_create("guest", MFD_CLOEXEC);

	cr_assert_geq(fd, 0);
	cr_assert_eq(pwrite(fd, &header, sizeof(header), 0), sizeof(header));
	cr_assert_eq(pwrite(fd, segments, sizeof(segments), sizeof(header)),
		     sizeof(segments));
	cr_assert_eq(pwrite(fd, note, sizeof(note), NOTE_OFFSET), sizeof(note));
	cr_assert_eq(pwrite(fd, code, len, CODE_OFFSET), (ssize_t)len);
	return fd;
}

void guest_config(struct vmm_config *config)
{
	memset(config, 0, sizeof(*config));
	config->name = strdup("test");
	config->vcpus = 1;
	config->memory = 16 * MIB;
	config->stop_timeout_ms = 100;
	config->kernel = strdup("guest");
	config->cmdline = strdup("console=ttyS0");
	config->console = CONSOLE_FILE;
	config->console_path = strdup("console");
	config->stats_path = strdup("stats");
}

void guest_run_init(struct guest_run *run)
{
	memset(run, 0, sizeof(*run));
	guest_config(&run->config);
	cr_assert_eq(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0,
				run->control),
		     0);
}

static void read_back(int fd, char *text, size_t size)
{
	ssize_t n = pread(fd, text, size - 1, 0);

	text[n < 0 ? 0 : n] = '\0';
	close(fd);
}

void guest_run(struct guest_run *run, const uint8_t *code, size_t len)
{
	struct vm_files files;
	struct vmm_options options = {
		.config = &run->config,
		.files = &files,
		.control_fd = run->control[1],
		.console_in = -1,
		.console_out = -1,
		.started_ns = timer_now_ns(),
	};
	int console, stats;

	vm_files_init(&files);
	files.kvm = vm_files_open_kvm(&run->error);
	cr_assert_geq(files.kvm, 0);
	files.kernel = guest_file(code, len);
	files.console = memfd_create("console", MFD_CLOEXEC);
	files.stats = memfd_create("stats", MFD_CLOEXEC);
	if (run->has_disk) {
		files.disks[0] = memfd_create("disk", MFD_CLOEXEC);
		cr_assert_eq(ftruncate(files.disks[0], MIB), 0);
		run->config.disks[0] = (struct disk_config){
			.name = "root", .path = strdup("disk"), .queues = 1
		};
		run->config.disk_count = 1;
		run->config.order[0].kind = DEVICE_DISK;
		run->config.order_count = 1;
	}
	console = dup(files.console);
	stats = dup(files.stats);
	vm_files_open_own(&files);
	run->status = vmm_run(&options, &run->error);
	read_back(console, run->console, sizeof(run->console));
	read_back(stats, run->stats, sizeof(run->stats));
	vmm_config_destroy(&run->config);
	close(run->control[0]);
	close(run->control[1]);
}

long long guest_stat(const struct guest_run *run, const char *key,
		     unsigned int nth)
{
	char quoted[64];
	const char *at = run->stats;

	snprintf(quoted, sizeof(quoted), "\"%s\": ", key);
	do {
		at = strstr(at, quoted);
		if (!at)
			return -1;
		at += strlen(quoted);
	} while (nth-- > 0);
	return strtoll(at, NULL, 10);
}
