/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A virtual processor and the thread that runs it: KVM_RUN, its exits, and
 * getting it out of there from another thread.
 */
#ifndef VMM_VCPU_H
#define VMM_VCPU_H

#include "devices/thread.h"
#include "memory/lock.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct bus;
struct error;
struct kvm;
struct kvm_run;

/* Counted by the vCPU's thread, read by any (relaxed atomics). */
struct vcpu_exits {
	uint64_t mmio;
	uint64_t pio;
	uint64_t hlt;
	uint64_t other;
};

/* The last access to a port or a register window; what it was is in `write` and `len`. */
struct vcpu_access {
	uint64_t address;
	uint32_t len; /* 0: there was none */
	bool write;
};

struct vcpu_registers {
	uint64_t rip, rsp, rflags, cr0, cr3, cr4, efer;
};

/* Why a vCPU left its loop for good. */
enum vcpu_end {
	VCPU_END_TRIPLE_FAULT,
	VCPU_END_UNRECOVERABLE, /* an exit that nothing can be done about */
	VCPU_END_HOST, /* the host has no memory */
	VCPU_END_POWER_OFF, /* KVM_EXIT_SYSTEM_EVENT */
	VCPU_END_RESET,
};

/* What all vCPUs of a VM share. Constant while they run, but for `stop`. */
struct vcpu_platform {
	const struct bus *ports;
	const struct bus *mmio;
	uint32_t stop; /* atomic: leave the loop */
	/* vCPU thread; @detail is one line, the caller's. */
	void (*ended)(void *context, unsigned int index, enum vcpu_end end,
		      const char *detail);
	/* Just before the first KVM_RUN of vCPU 0, on its thread. May be NULL. */
	void (*first_run)(void *context);
	void *context;
};

struct vcpu {
	unsigned int index;
	int fd; /* owned */
	struct kvm_run *run; /* shared with KVM, owned */
	size_t run_bytes;
	struct vcpu_platform *platform;
	struct thread thread;
	bool started;

	uint32_t requests; /* atomic */
	struct vcpu_exits exits;
	uint64_t last_port; /* atomics: packed struct vcpu_access */
	uint64_t last_mmio;

	struct lock lock;
	/* Under lock. */
	struct vcpu_registers registers;
	uint64_t registers_version; /* 0: none published yet */
};

/* Process-wide, once, before any vCPU starts: the signal that kicks. 0 or -errno. */
int vcpu_set_up_kick(void);

/* Creates vCPU @index of @kvm, not set up (vmm/cpu.h). 0 or -1 with @error. */
int vcpu_init(struct vcpu *vcpu, const struct kvm *kvm, unsigned int index,
	      struct vcpu_platform *platform, struct error *error);
/* Its thread has been joined, or was never started. */
void vcpu_destroy(struct vcpu *vcpu);

/* Starts the thread "vcpu.N", which runs the guest. 0 or -errno. */
int vcpu_start(struct vcpu *vcpu, struct threads *threads);

/*
 * Makes the vCPU leave KVM_RUN soon and look at platform->stop and requests;
 * no kick is lost. Any thread, while the vCPU's thread is not joined.
 */
void vcpu_kick(struct vcpu *vcpu);

/*
 * Asks the vCPU to publish its registers (KVM_GET_REGS from another thread
 * would wait for as long as the guest runs).
 */
void vcpu_request_registers(struct vcpu *vcpu);

/* What was published last, and its version: 0, nothing filled, when nothing was. */
uint64_t vcpu_published_registers(struct vcpu *vcpu,
				  struct vcpu_registers *registers);

struct vcpu_exits vcpu_count(const struct vcpu *vcpu);
struct vcpu_access vcpu_last_port(const struct vcpu *vcpu);
struct vcpu_access vcpu_last_mmio(const struct vcpu *vcpu);

#endif
