/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm/watchdog.h"

#include "devices/log.h"
#include "vmm/layout.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define POLL_MS 50

#define CR0_PG (UINT64_C(1) << 31)
/* Where Linux's own mappings begin: below are its decompressor and first page tables. */
#define KERNEL_HALF (UINT64_C(1) << 63)

#define FEW_EXITS 100
#define POLLING_EXITS 1000

/* The console that Linux takes for /dev/console is the last one named. */
static bool has_serial_console(const char *cmdline)
{
	const char *at = cmdline, *found;
	bool serial = false;

	while ((found = strstr(at, "console="))) {
		at = found + strlen("console=");
		if (found == cmdline || found[-1] == ' ')
			serial |= strncmp(at, "ttyS0", 5) == 0 ||
				  strncmp(at, "uart", 4) == 0;
	}
	return serial || strstr(cmdline, "earlyprintk=ttyS0") ||
	       strstr(cmdline, "earlyprintk=serial");
}

static bool has_word(const char *cmdline, const char *word)
{
	size_t length = strlen(word);
	const char *at = cmdline;

	while ((at = strstr(at, word))) {
		if ((at == cmdline || at[-1] == ' ') &&
		    (at[length] == ' ' || at[length] == '\0'))
			return true;
		at += length;
	}
	return false;
}

/* Whoever waits at a port that does not answer comes there again and again. */
static const char *guess_by_port(const struct watchdog_facts *facts)
{
	if (facts->last_port.len == 0 || facts->exits.pio < POLLING_EXITS)
		return NULL;
	switch (facts->last_port.address) {
	case 0x40:
	case 0x41:
	case 0x42:
	case 0x43:
	case 0x61:
		return "it waits for the PC's old timer (PIT), which is not "
		       "there: is the kernel built with CONFIG_KVM_GUEST?";
	case 0x60:
	case LAYOUT_PORT_KEYBOARD:
		return "it waits for a keyboard controller, which is not "
		       "there; add i8042.noaux i8042.nokbd to the command line";
	case 0x70:
	case 0x71:
		return "it waits for the PC's clock chip (CMOS), which is not "
		       "there: is the kernel built with CONFIG_ACPI?";
	case 0xcf8:
	case 0xcfc:
		return "it looks for PCI, which is not there; add pci=off to "
		       "the command line";
	}
	return NULL;
}

static bool few_exits(const struct vcpu_exits *exits)
{
	return exits->mmio + exits->pio + exits->hlt + exits->other < FEW_EXITS;
}

/* The likeliest cause comes first. */
const char *watchdog_guess(const struct watchdog_facts *facts)
{
	const struct vcpu_registers *registers = &facts->registers;
	const char *guess;
	bool early;

	if (!facts->answered)
		return "the host's KVM is stuck in the guest, or the host is "
		       "overloaded";
	early = !(registers->cr0 & CR0_PG) || registers->rip < KERNEL_HALF;
	if (early && few_exits(&facts->exits))
		return "the kernel still unpacks itself: the host is very "
		       "slow, or its KVM interprets guest code instead of "
		       "running it (`sluice probe` measures that)";
	if (!has_serial_console(facts->cmdline))
		return "the command line has no console=ttyS0: the guest may "
		       "be well and silent";
	guess = guess_by_port(facts);
	if (guess)
		return guess;
	if (has_word(facts->cmdline, "quiet"))
		return "the command line says quiet, and the guest is slow; "
		       "without it the kernel says what it does";
	if (facts->is_device)
		return "it waits for a virtio device";
	if (early)
		return "it hangs before its own set-up: is the kernel built "
		       "for x86_64 and KVM?";
	return "it hangs early; add earlyprintk=ttyS0 to the command line to "
	       "see where";
}

static void describe_access(char *text, size_t size,
			    const struct vcpu_access *access)
{
	if (access->len == 0)
		snprintf(text, size, "none");
	else
		snprintf(text, size, "%u-byte %s at 0x%" PRIx64, access->len,
			 access->write ? "write" : "read", access->address);
}

static void report(struct watchdog *watchdog, bool answered)
{
	struct watchdog_facts facts = {
		.answered = answered,
		.exits = vcpu_count(watchdog->vcpu),
		.last_port = vcpu_last_port(watchdog->vcpu),
		.last_mmio = vcpu_last_mmio(watchdog->vcpu),
		.cmdline = watchdog->cmdline,
	};
	char port[48], mmio[48], where[64];

	snprintf(where, sizeof(where), "vCPU %u does not come out of the guest",
		 watchdog->vcpu->index);
	if (answered) {
		vcpu_published_registers(watchdog->vcpu, &facts.registers);
		snprintf(where, sizeof(where), "vCPU %u is at rip 0x%" PRIx64,
			 watchdog->vcpu->index, facts.registers.rip);
	}
	facts.is_device =
		facts.last_mmio.len != 0 &&
		facts.last_mmio.address - LAYOUT_MMIO_DEVICES <
			(uint64_t)LAYOUT_DEVICES_MAX * LAYOUT_MMIO_DEVICE_SIZE;
	describe_access(port, sizeof(port), &facts.last_port);
	describe_access(mmio, sizeof(mmio), &facts.last_mmio);
	log_warn("nothing on the console for %u s: %s; exits: mmio %" PRIu64
		 ", pio %" PRIu64 ", hlt %" PRIu64 ", other %" PRIu64
		 "; last port access: %s; last mmio access: %s",
		 WATCHDOG_SILENCE_MS / 1000, where, facts.exits.mmio,
		 facts.exits.pio, facts.exits.hlt, facts.exits.other, port,
		 mmio);
	log_warn("a guess: %s", watchdog_guess(&facts));
}

struct vcpu *watchdog_busiest(struct vcpu *vcpus, unsigned int count,
			      uint64_t least_us)
{
	struct vcpu *busiest = NULL;
	uint64_t us, most_us = 0;
	unsigned int i;

	for (i = 0; i < count; i++) {
		us = thread_cpu_us(&vcpus[i].thread);
		if (us < least_us || (busiest && us <= most_us))
			continue;
		busiest = &vcpus[i];
		most_us = us;
	}
	return busiest;
}

static void expired(void *context)
{
	struct watchdog *watchdog = context;
	struct vcpu_registers registers;

	if (__atomic_load_n(watchdog->spoke, __ATOMIC_RELAXED))
		return;
	if (!watchdog->asked) {
		watchdog->vcpu = watchdog_busiest(watchdog->vcpus,
						  watchdog->vcpu_count,
						  WATCHDOG_BUSY_US);
		if (!watchdog->vcpu)
			return;
		watchdog->asked = true;
		watchdog->version =
			vcpu_published_registers(watchdog->vcpu, &registers);
		vcpu_request_registers(watchdog->vcpu);
	} else if (vcpu_published_registers(watchdog->vcpu, &registers) !=
		   watchdog->version) {
		report(watchdog, true);
		return;
	} else if (watchdog->waited_ms >= WATCHDOG_ANSWER_MS) {
		report(watchdog, false);
		return;
	}
	watchdog->waited_ms += POLL_MS;
	timer_set(&watchdog->timer, POLL_MS);
}

int watchdog_init(struct watchdog *watchdog, struct event_loop *loop,
		  struct vcpu *vcpus, unsigned int vcpu_count,
		  const char *cmdline, const bool *spoke)
{
	int err;

	*watchdog = (struct watchdog){ .vcpus = vcpus,
				       .vcpu_count = vcpu_count,
				       .cmdline = cmdline,
				       .spoke = spoke };
	err = timer_init(&watchdog->timer, loop, expired, watchdog);
	if (err == 0)
		timer_set(&watchdog->timer, WATCHDOG_SILENCE_MS);
	return err;
}

void watchdog_destroy(struct watchdog *watchdog)
{
	timer_destroy(&watchdog->timer);
}
