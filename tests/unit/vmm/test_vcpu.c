/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm/vcpu.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "memory/base.h"
#include "tests/unit/vmm/guest_support.h"
#include "vmm/boot.h"
#include "vmm/machine.h"
#include "vmm/vcpu_exit.h"

Test(vcpu, accesses_survive_packing)
{
	static const struct vcpu_access cases[] = {
		{ 0, 1, false },
		{ 0x3f8, 1, true },
		{ 0xd0000050, 4, true },
		{ 0xfffffffffffff, 8, false },
	};
	struct vcpu_access access;
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		access = vcpu_access_unpack(vcpu_access_pack(
			cases[i].address, cases[i].len, cases[i].write));
		cr_expect_eq(access.address, cases[i].address);
		cr_expect_eq(access.len, cases[i].len);
		cr_expect_eq(access.write, cases[i].write);
	}
	cr_expect_eq(vcpu_access_unpack(0).len, 0);
}

TestSuite(machine, .init = guest_need_kvm, .timeout = 60);

static bool transmit(void *context, uint8_t byte)
{
	(void)context;
	(void)byte;
	return true;
}

static void nothing(void *context)
{
	(void)context;
}

static void mark(void *context, uint8_t value)
{
	(void)context;
	(void)value;
}

static void vcpu_ended(void *context, unsigned int index, enum vcpu_end end,
		       const char *detail)
{
	(void)context;
	(void)index;
	(void)end;
	(void)detail;
}

static const struct machine_listener listener = {
	.transmit = transmit,
	.receive_wanted = nothing,
	.power_off = nothing,
	.reset = nothing,
	.panicked = nothing,
	.mark = mark,
	.vcpu_ended = vcpu_ended,
};

static struct vmm_config config;
static struct plan plan;
static struct machine machine;
static struct threads threads;
static struct error error;

/* Starts @code on a machine of its own. */
static void start(const uint8_t *code, size_t len, unsigned int vcpus)
{
	struct boot_files boot = { .kernel_path = "guest", .initrd_fd = -1 };
	struct vm_files files;
	int kvm = vm_files_open_kvm(&error);

	guest_config(&config);
	config.vcpus = vcpus;
	vm_files_init(&files);
	boot.kernel_fd = guest_file(code, len);
	cr_assert_eq(plan_make(&plan, &config, &error), 0);
	cr_assert_eq(machine_init(&machine, &plan, &config, &listener, &error),
		     0);
	cr_assert_eq(machine_create_memory(&machine, &error), 0);
	cr_assert_eq(machine_create_kvm(&machine, kvm, &error), 0);
	cr_assert_eq(machine_create_devices(&machine, &files, &error), 0);
	cr_assert_eq(machine_create_vcpus(&machine, &error), 0);
	cr_assert_eq(machine_load(&machine, &boot, &error), 0, "%s",
		     error.text);
	cr_assert_eq(machine_start(&machine, &threads, &error), 0);
	close(boot.kernel_fd);
}

static void stop(void)
{
	machine_stop(&machine);
	machine_destroy(&machine);
	vmm_config_destroy(&config);
}

static uint64_t wait_registers(struct vcpu *vcpu,
			       struct vcpu_registers *registers, uint64_t after)
{
	uint64_t version;
	unsigned int i;

	for (i = 0; i < 5000; i++) {
		version = vcpu_published_registers(vcpu, registers);
		if (version > after)
			return version;
		usleep(1000);
	}
	return 0;
}

Test(machine, running_vcpu_publishes_its_registers_each_time_it_is_asked)
{
	static const uint8_t code[] = { GUEST_STAY };
	struct vcpu_registers registers = { 0 };
	uint64_t version = 0, next;
	unsigned int i;

	start(code, sizeof(code), 1);
	cr_expect_eq(vcpu_published_registers(machine.vcpus, &registers), 0);
	for (i = 0; i < 50; i++) {
		vcpu_request_registers(machine.vcpus);
		next = wait_registers(machine.vcpus, &registers, version);
		cr_assert_gt(next, version);
		version = next;
		cr_expect_eq(registers.rip, GUEST_ENTRY);
		cr_expect_eq(registers.cr0 & 1, 1);
	}
	stop();
}

Test(machine, vcpu_that_waits_to_be_started_answers_too)
{
	static const uint8_t code[] = { GUEST_STAY };
	struct vcpu_registers registers;

	start(code, sizeof(code), 2);
	vcpu_request_registers(&machine.vcpus[1]);
	cr_expect_gt(wait_registers(&machine.vcpus[1], &registers, 0), 0);
	stop();
}

/* Stops at any moment, also before the vCPU has come into the guest. */
Test(machine, stop_is_never_missed)
{
	static const uint8_t code[] = { GUEST_STAY };
	unsigned int i;

	for (i = 0; i < 60; i++) {
		memset(&threads, 0, sizeof(threads));
		start(code, sizeof(code), 1 + i % 2);
		usleep(i * 50);
		stop();
	}
}

/* mov [0xd0000000], eax; out 0x80, al; stay */
Test(machine, exits_are_counted_and_the_last_accesses_kept)
{
	static const uint8_t code[] = { 0xa3, 0,    0,	  0,
					0xd0, 0xe6, 0x80, GUEST_STAY };
	struct vcpu_access access;
	unsigned int i;

	start(code, sizeof(code), 1);
	for (i = 0; i < 5000 && vcpu_count(machine.vcpus).pio == 0; i++)
		usleep(1000);
	cr_expect_eq(vcpu_count(machine.vcpus).mmio, 1);
	cr_expect_eq(vcpu_count(machine.vcpus).pio, 1);
	access = vcpu_last_mmio(machine.vcpus);
	cr_expect_eq(access.address, 0xd0000000);
	cr_expect_eq(access.len, 4);
	cr_expect(access.write);
	access = vcpu_last_port(machine.vcpus);
	cr_expect_eq(access.address, 0x80);
	cr_expect_eq(access.len, 1);
	cr_expect(access.write);
	stop();
}
