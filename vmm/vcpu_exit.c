/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm/vcpu_exit.h"

#include "devices/bus.h"
#include "memory/base.h"
#include "vmm/kvm.h"

#include <linux/kvm.h>
#include <stdio.h>

#define ACCESS_LEN 0xfu
#define ACCESS_VALID (1u << 4)
#define ACCESS_WRITE (1u << 5)
#define ACCESS_ADDRESS_SHIFT 6

uint64_t vcpu_access_pack(uint64_t address, uint32_t len, bool write)
{
	return address << ACCESS_ADDRESS_SHIFT | (write ? ACCESS_WRITE : 0) |
	       ACCESS_VALID | (len & ACCESS_LEN);
}

struct vcpu_access vcpu_access_unpack(uint64_t packed)
{
	if (!(packed & ACCESS_VALID))
		return (struct vcpu_access){ 0 };
	return (struct vcpu_access){
		.address = packed >> ACCESS_ADDRESS_SHIFT,
		.len = packed & ACCESS_LEN,
		.write = packed & ACCESS_WRITE,
	};
}

/* One writer: a plain addition will do. Pairs with the relaxed loads of readers. */
static void count(uint64_t *counter)
{
	__atomic_store_n(counter, *counter + 1, __ATOMIC_RELAXED);
}

static void access_bus(const struct bus *bus, uint64_t address, uint8_t *data,
		       uint32_t len, bool write)
{
	if (write)
		bus_write(bus, address, data, len);
	else
		bus_read(bus, address, data, len);
}

/* KVM cuts what crosses a page or is a string, so any length up to 8 can come. */
static void access_pieces(const struct bus *bus, uint64_t address,
			  uint8_t *data, uint32_t len, bool write)
{
	uint32_t piece;

	if (is_power_of_two(len)) {
		access_bus(bus, address, data, len, write);
		return;
	}
	while (len > 0) {
		piece = len >= 4 ? 4 : len >= 2 ? 2 : 1;
		access_bus(bus, address, data, piece, write);
		address += piece;
		data += piece;
		len -= piece;
	}
}

static void handle_mmio(struct vcpu *vcpu)
{
	struct kvm_run *run = vcpu->run;
	uint32_t len = MIN(run->mmio.len, sizeof(run->mmio.data));

	count(&vcpu->exits.mmio);
	__atomic_store_n(&vcpu->last_mmio,
			 vcpu_access_pack(run->mmio.phys_addr, len,
					  run->mmio.is_write),
			 __ATOMIC_RELAXED);
	access_pieces(vcpu->platform->mmio, run->mmio.phys_addr, run->mmio.data,
		      len, run->mmio.is_write);
}

/* A string instruction makes `count` accesses to one port. */
static void handle_port(struct vcpu *vcpu)
{
	struct kvm_run *run = vcpu->run;
	uint8_t *data = (uint8_t *)run + run->io.data_offset;
	bool write = run->io.direction == KVM_EXIT_IO_OUT;
	uint32_t i;

	count(&vcpu->exits.pio);
	__atomic_store_n(&vcpu->last_port,
			 vcpu_access_pack(run->io.port, run->io.size, write),
			 __ATOMIC_RELAXED);
	for (i = 0; i < run->io.count; i++)
		access_bus(vcpu->platform->ports, run->io.port,
			   data + (size_t)i * run->io.size, run->io.size,
			   write);
}

static void end(struct vcpu *vcpu, enum vcpu_end how, const char *detail)
{
	vcpu->platform->ended(vcpu->platform->context, vcpu->index, how,
			      detail);
}

static void end_unrecoverable(struct vcpu *vcpu)
{
	const struct kvm_run *run = vcpu->run;
	struct kvm_regs regs = { 0 };
	char what[64], detail[160];

	switch (run->exit_reason) {
	case KVM_EXIT_INTERNAL_ERROR:
		/* 1: an instruction that KVM could not emulate */
		snprintf(what, sizeof(what), "KVM internal error %u%s",
			 run->internal.suberror,
			 run->internal.suberror == KVM_INTERNAL_ERROR_EMULATION
				 ? " (emulation)"
				 : "");
		break;
	case KVM_EXIT_FAIL_ENTRY:
		snprintf(what, sizeof(what),
			 "entry failed, hardware reason 0x%llx",
			 run->fail_entry.hardware_entry_failure_reason);
		break;
	case KVM_EXIT_UNKNOWN:
		snprintf(what, sizeof(what),
			 "unknown exit, hardware reason 0x%llx",
			 run->hw.hardware_exit_reason);
		break;
	default:
		snprintf(what, sizeof(what), "KVM exit %u", run->exit_reason);
	}
	kvm_ioctl(vcpu->fd, KVM_GET_REGS, (uintptr_t)&regs);
	snprintf(detail, sizeof(detail), "vCPU %u: %s at rip 0x%llx",
		 vcpu->index, what, regs.rip);
	end(vcpu, VCPU_END_UNRECOVERABLE, detail);
}

static void end_by_event(struct vcpu *vcpu)
{
	switch (vcpu->run->system_event.type) {
	case KVM_SYSTEM_EVENT_SHUTDOWN:
		end(vcpu, VCPU_END_POWER_OFF, "KVM system event");
		break;
	case KVM_SYSTEM_EVENT_RESET:
		end(vcpu, VCPU_END_RESET, "KVM system event");
		break;
	default:
		end(vcpu, VCPU_END_UNRECOVERABLE, "KVM reports a crash");
	}
}

static void end_by_triple_fault(struct vcpu *vcpu)
{
	char detail[32];

	snprintf(detail, sizeof(detail), "vCPU %u", vcpu->index);
	end(vcpu, VCPU_END_TRIPLE_FAULT, detail);
}

bool vcpu_exit_handle(struct vcpu *vcpu)
{
	switch (vcpu->run->exit_reason) {
	case KVM_EXIT_MMIO:
		handle_mmio(vcpu);
		return true;
	case KVM_EXIT_IO:
		handle_port(vcpu);
		return true;
	case KVM_EXIT_HLT:
		count(&vcpu->exits.hlt);
		return true;
	case KVM_EXIT_INTR:
	case KVM_EXIT_IRQ_WINDOW_OPEN:
	case KVM_EXIT_SET_TPR:
	case KVM_EXIT_DEBUG:
		count(&vcpu->exits.other);
		return true;
	}
	count(&vcpu->exits.other);
	switch (vcpu->run->exit_reason) {
	case KVM_EXIT_SHUTDOWN:
		end_by_triple_fault(vcpu);
		break;
	case KVM_EXIT_SYSTEM_EVENT:
		end_by_event(vcpu);
		break;
	default:
		end_unrecoverable(vcpu);
	}
	return false;
}
