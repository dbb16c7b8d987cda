/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm/watchdog.h"

#include <criterion/criterion.h>
#include <string.h>
#include <unistd.h>

#include "memory/base.h"

#define KERNEL_RIP 0xffffffff81000000

/* A kernel with paging on that made some exits and has a console. */
static struct watchdog_facts usual(void)
{
	return (struct watchdog_facts){
		.answered = true,
		.registers = { .rip = KERNEL_RIP, .cr0 = 0x80000011 },
		.exits = { .pio = 5000 },
		.cmdline = "console=ttyS0 panic=-1",
	};
}

static void expect_guess(const struct watchdog_facts *facts, const char *part)
{
	const char *guess = watchdog_guess(facts);

	cr_expect(strstr(guess, part), "\"%s\" without \"%s\"", guess, part);
}

Test(watchdog, vcpu_that_does_not_answer_is_the_hosts_fault)
{
	struct watchdog_facts facts = usual();

	facts.answered = false;
	expect_guess(&facts, "host's KVM is stuck");
}

Test(watchdog, decompressor_without_exits_points_at_the_probe)
{
	struct watchdog_facts facts = usual();

	facts.registers.rip = 0x474ab00;
	facts.exits.pio = 3;
	expect_guess(&facts, "sluice probe");
	facts.registers = (struct vcpu_registers){ .rip = 0x100000 };
	expect_guess(&facts, "sluice probe");
}

Test(watchdog, missing_console_is_named)
{
	static const char *const silent[] = {
		"",
		"quiet panic=-1",
		"console=tty0",
		"xconsole=ttyS0",
		"console=hvc0 panic=-1",
	};
	static const char *const heard[] = {
		"console=ttyS0,115200n8",
		"quiet console=ttyS0 console=tty0",
		"earlyprintk=ttyS0",
		"console=uart8250,io,0x3f8",
	};
	struct watchdog_facts facts = usual();
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(silent); i++) {
		facts.cmdline = silent[i];
		expect_guess(&facts, "no console=ttyS0");
	}
	for (i = 0; i < ARRAY_SIZE(heard); i++) {
		facts.cmdline = heard[i];
		cr_expect_not(strstr(watchdog_guess(&facts),
				     "no console=ttyS0"),
			      "%s", heard[i]);
	}
}

Test(watchdog, polled_port_tells_what_is_waited_for)
{
	static const struct {
		uint64_t port;
		const char *part;
	} cases[] = {
		{ 0x43, "PIT" },  { 0x61, "PIT" },  { 0x64, "keyboard" },
		{ 0x71, "CMOS" }, { 0xcfc, "PCI" }, { 0x80, "earlyprintk" },
	};
	struct watchdog_facts facts = usual();
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		facts.last_port =
			(struct vcpu_access){ cases[i].port, 1, false };
		expect_guess(&facts, cases[i].part);
	}
	/* Once is not polling. */
	facts.exits.pio = 200;
	facts.last_port.address = 0xcfc;
	expect_guess(&facts, "earlyprintk");
}

Test(watchdog, quiet_and_devices_are_mentioned)
{
	struct watchdog_facts facts = usual();

	facts.is_device = true;
	expect_guess(&facts, "virtio device");
	facts.cmdline = "console=ttyS0 quiet";
	expect_guess(&facts, "says quiet");
	facts.cmdline = "console=ttyS0 quietly";
	expect_guess(&facts, "virtio device");
}

static void burn(void *argument)
{
	while (!__atomic_load_n((bool *)argument, __ATOMIC_RELAXED))
		;
}

/* A halted guest has vCPUs that sleep. */
static void sleep_on(void *argument)
{
	while (!__atomic_load_n((bool *)argument, __ATOMIC_RELAXED))
		usleep(1000);
}

Test(watchdog, only_a_busy_vcpu_is_worth_a_report, .timeout = 30)
{
	static struct vcpu vcpus[3];
	static struct threads threads;
	bool stop = false;
	unsigned int i;

	/* Those that never started have used nothing. */
	cr_expect_null(watchdog_busiest(vcpus, 3, 1));
	for (i = 0; i < 3; i++)
		cr_assert_eq(threads_start(&threads, &vcpus[i].thread,
					   THREAD_VCPU, "vcpu",
					   i == 1 ? burn : sleep_on, &stop),
			     0);
	while (thread_cpu_us(&vcpus[1].thread) < 200000)
		usleep(1000);
	cr_expect_null(watchdog_busiest(vcpus, 1, 100000), "it sleeps");
	cr_expect_eq(watchdog_busiest(vcpus, 3, 100000), &vcpus[1]);
	__atomic_store_n(&stop, true, __ATOMIC_RELAXED);
	for (i = 0; i < 3; i++)
		thread_join(&vcpus[i].thread);
}
