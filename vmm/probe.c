/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The guest is a loop in protected mode, a page long:
 *
 *	0x1000	dec ecx; jnz 0x1000; hlt
 *	0x1010	mov [esi], eax; dec ecx; jnz 0x1010; hlt
 *
 * The first measures instructions, the second exits: esi points at no memory.
 * The turns are doubled until a run is long enough, and the shortest run (one
 * turn) is subtracted: entering and leaving the guest once can take as long as
 * thousands of instructions.
 */
#include "vmm/probe.h"

#include "devices/error.h"
#include "memory/base.h"
#include "vmm/files.h"
#include "vmm/kvm.h"
#include "vmm/timer.h"

#include <errno.h>
#include <linux/kvm.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#define CODE_LOOP 0x1000
#define CODE_MMIO 0x1010
#define MMIO_ADDRESS 0xd0000000u

#define LONG_ENOUGH_NS 5000000
#define TURNS_MAX (1u << 30)
#define LOOP_INSTRUCTIONS 2 /* per turn */
#define EXITS 64
#define ROUNDS 5 /* the best one counts: noise only adds */
#define NATIVE_NS 50

struct guest {
	struct kvm kvm;
	uint8_t *memory; /* two pages at 0 */
	int vcpu_fd;
	struct kvm_run *run;
};

static int fail(struct probe_result *result, const char *what, int err)
{
	snprintf(result->reason, sizeof(result->reason), "/dev/kvm: %s: %s",
		 what, strerror(err));
	return -1;
}

static void put_code(uint8_t *memory)
{
	static const uint8_t loop[] = { 0x49, 0x75, 0xfd, 0xf4 };
	static const uint8_t mmio[] = { 0x89, 0x06, 0x49, 0x75, 0xfb, 0xf4 };

	memcpy(memory + CODE_LOOP, loop, sizeof(loop));
	memcpy(memory + CODE_MMIO, mmio, sizeof(mmio));
}

static int set_segments(const struct guest *guest)
{
	const struct kvm_segment data = {
		.limit = UINT32_MAX,
		.selector = 0x18,
		.type = 3,
		.present = 1,
		.db = 1,
		.s = 1,
		.g = 1,
	};
	struct kvm_sregs sregs;
	int err = kvm_ioctl(guest->vcpu_fd, KVM_GET_SREGS, (uintptr_t)&sregs);

	if (err < 0)
		return err;
	sregs.ds = sregs.es = sregs.fs = sregs.gs = sregs.ss = sregs.cs = data;
	sregs.cs.selector = 0x10;
	sregs.cs.type = 11;
	sregs.cr0 |= 1; /* protected mode */
	return kvm_ioctl(guest->vcpu_fd, KVM_SET_SREGS, (uintptr_t)&sregs);
}

static int create_vcpu(struct guest *guest, struct probe_result *result)
{
	int err;

	guest->vcpu_fd = kvm_ioctl(guest->kvm.vm_fd, KVM_CREATE_VCPU, 0);
	if (guest->vcpu_fd < 0)
		return fail(result, "KVM_CREATE_VCPU", -guest->vcpu_fd);
	guest->run = mmap(NULL, guest->kvm.run_bytes, PROT_READ | PROT_WRITE,
			  MAP_SHARED, guest->vcpu_fd, 0);
	if (guest->run == MAP_FAILED) {
		err = errno;
		goto err_close;
	}
	err = -set_segments(guest);
	if (err == 0)
		return 0;
	munmap(guest->run, guest->kvm.run_bytes);
err_close:
	close(guest->vcpu_fd);
	return fail(result, "vCPU", err);
}

static int create_guest(struct guest *guest, struct probe_result *result)
{
	int err;

	guest->memory = mmap(NULL, 2 * PAGE_SIZE, PROT_READ | PROT_WRITE,
			     MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (guest->memory == MAP_FAILED)
		return fail(result, "memory", errno);
	put_code(guest->memory);
	err = kvm_add_slot(&guest->kvm, 0, guest->memory, 2 * PAGE_SIZE);
	if (err < 0) {
		fail(result, "KVM_SET_USER_MEMORY_REGION", -err);
		goto err_unmap;
	}
	if (create_vcpu(guest, result) == 0)
		return 0;
err_unmap:
	munmap(guest->memory, 2 * PAGE_SIZE);
	return -1;
}

static void destroy_guest(struct guest *guest)
{
	munmap(guest->run, guest->kvm.run_bytes);
	close(guest->vcpu_fd);
	munmap(guest->memory, 2 * PAGE_SIZE);
}

/* Runs @turns of the code at @address up to its hlt: nanoseconds, 0 when it went astray. */
static uint64_t run_code(struct guest *guest, uint64_t address, uint32_t turns)
{
	struct kvm_regs regs = {
		.rip = address,
		.rcx = turns,
		.rsi = MMIO_ADDRESS,
		.rflags = 2,
	};
	uint64_t start;

	if (kvm_ioctl(guest->vcpu_fd, KVM_SET_REGS, (uintptr_t)&regs) < 0)
		return 0;
	start = timer_now_ns();
	for (;;) {
		if (kvm_ioctl(guest->vcpu_fd, KVM_RUN, 0) < 0)
			return 0;
		if (guest->run->exit_reason == KVM_EXIT_HLT)
			return timer_now_ns() - start;
		if (guest->run->exit_reason != KVM_EXIT_MMIO)
			return 0;
	}
}

static uint64_t best_run(struct guest *guest, uint64_t address, uint32_t turns)
{
	uint64_t best = UINT64_MAX, ns;
	unsigned int i;

	for (i = 0; i < ROUNDS; i++) {
		ns = run_code(guest, address, turns);
		if (ns == 0)
			return 0;
		best = MIN(best, ns);
	}
	return best;
}

static int measure(struct guest *guest, struct probe_result *result)
{
	uint64_t shortest = best_run(guest, CODE_LOOP, 1), ns = 0, exits;
	uint32_t turns = 1;

	if (shortest == 0)
		goto err_astray;
	do {
		turns *= 2;
		ns = run_code(guest, CODE_LOOP, turns);
		if (ns == 0)
			goto err_astray;
	} while (ns - MIN(ns, shortest) < LONG_ENOUGH_NS && turns < TURNS_MAX);
	result->ns_per_instruction = (double)(ns - MIN(ns, shortest)) /
				     ((double)(turns - 1) * LOOP_INSTRUCTIONS);

	shortest = best_run(guest, CODE_MMIO, 1);
	exits = best_run(guest, CODE_MMIO, 1 + EXITS);
	if (shortest == 0 || exits == 0)
		goto err_astray;
	result->exit_us = (double)(exits - MIN(exits, shortest)) / EXITS / 1000;
	return 0;

err_astray:
	snprintf(result->reason, sizeof(result->reason),
		 "/dev/kvm: a loop of four instructions does not run (exit %u)",
		 guest->run->exit_reason);
	return -1;
}

static void judge(struct probe_result *result)
{
	result->native = result->ns_per_instruction < NATIVE_NS;
	if (!result->native)
		snprintf(
			result->reason, sizeof(result->reason),
			"/dev/kvm: interprets guest code (%.0f ns an instruction): a stock kernel "
			"would take hours to boot",
			result->ns_per_instruction);
}

int probe_run(struct probe_result *result, struct error *error)
{
	struct error why;
	struct guest guest;
	int fd;

	(void)error;
	memset(result, 0, sizeof(*result));
	fd = vm_files_open_kvm(&why);
	if (fd < 0) {
		snprintf(result->reason, sizeof(result->reason), "%.*s",
			 (int)sizeof(result->reason) - 1, why.text);
		return 0;
	}
	if (kvm_init(&guest.kvm, fd, &why) != 0) {
		snprintf(result->reason, sizeof(result->reason), "%.*s",
			 (int)sizeof(result->reason) - 1, why.text);
		goto out_close;
	}
	result->kvm_present = true;
	result->vcpus_max = guest.kvm.vcpus_max;
	if (create_guest(&guest, result) == 0) {
		if (measure(&guest, result) == 0)
			judge(result);
		destroy_guest(&guest);
	}
	kvm_destroy(&guest.kvm);
out_close:
	close(fd);
	return 0;
}
