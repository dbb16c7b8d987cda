/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Kicks. A kick sets what it wants (platform->stop, a request), then
 * run->immediate_exit, then sends a signal. Wherever the vCPU's thread is, it
 * comes round: before KVM looks at immediate_exit, KVM_RUN returns at once;
 * after that the signal interrupts KVM_RUN. The thread takes immediate_exit
 * back by an atomic exchange, a full fence, and only then looks at the requests:
 * a kick that comes before the exchange has its wish seen, one that comes after
 * it has its immediate_exit stand. The signal's handler does nothing.
 */
#include "vmm/vcpu.h"

#include "devices/bus.h"
#include "devices/error.h"
#include "memory/base.h"
#include "vmm/kvm.h"
#include "vmm/vcpu_exit.h"

#include <errno.h>
#include <linux/kvm.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#define KICK_SIGNAL SIGRTMIN

#define REQUEST_REGISTERS 1u

static void ignore_kick(int number)
{
	(void)number;
}

int vcpu_set_up_kick(void)
{
	struct sigaction action = { .sa_handler = ignore_kick };

	/* No SA_RESTART: system calls of a vCPU's thread look at `stop` too. */
	sigemptyset(&action.sa_mask);
	return sigaction(KICK_SIGNAL, &action, NULL) == 0 ? 0 : -errno;
}

int vcpu_init(struct vcpu *vcpu, const struct kvm *kvm, unsigned int index,
	      struct vcpu_platform *platform, struct error *error)
{
	int err;

	memset(vcpu, 0, sizeof(*vcpu));
	vcpu->index = index;
	vcpu->platform = platform;
	vcpu->run_bytes = kvm->run_bytes;
	vcpu->fd = kvm_ioctl(kvm->vm_fd, KVM_CREATE_VCPU, index);
	if (vcpu->fd < 0)
		return error_set(error, EXIT_STATUS_HOST,
				 "/dev/kvm: vCPU %u: KVM_CREATE_VCPU: %s",
				 index, strerror(-vcpu->fd));
	vcpu->run = mmap(NULL, vcpu->run_bytes, PROT_READ | PROT_WRITE,
			 MAP_SHARED, vcpu->fd, 0);
	if (vcpu->run == MAP_FAILED) {
		err = errno;
		close(vcpu->fd);
		return error_set(error, EXIT_STATUS_HOST,
				 "/dev/kvm: vCPU %u: mmap: %s", index,
				 strerror(err));
	}
	lock_init(&vcpu->lock);
	return 0;
}

void vcpu_destroy(struct vcpu *vcpu)
{
	lock_destroy(&vcpu->lock);
	munmap(vcpu->run, vcpu->run_bytes);
	close(vcpu->fd);
}

void vcpu_kick(struct vcpu *vcpu)
{
	/* Pairs with the exchange in serve_requests. */
	__atomic_store_n(&vcpu->run->immediate_exit, 1, __ATOMIC_SEQ_CST);
	if (vcpu->started)
		pthread_kill(vcpu->thread.id, KICK_SIGNAL);
}

void vcpu_request_registers(struct vcpu *vcpu)
{
	__atomic_fetch_or(&vcpu->requests, REQUEST_REGISTERS, __ATOMIC_SEQ_CST);
	vcpu_kick(vcpu);
}

uint64_t vcpu_published_registers(struct vcpu *vcpu,
				  struct vcpu_registers *registers)
{
	uint64_t version;

	lock_take(&vcpu->lock);
	version = vcpu->registers_version;
	if (version != 0)
		*registers = vcpu->registers;
	lock_drop(&vcpu->lock);
	return version;
}

static void publish_registers(struct vcpu *vcpu)
{
	struct kvm_sregs sregs = { 0 };
	struct kvm_regs regs = { 0 };

	if (kvm_ioctl(vcpu->fd, KVM_GET_REGS, (uintptr_t)&regs) < 0 ||
	    kvm_ioctl(vcpu->fd, KVM_GET_SREGS, (uintptr_t)&sregs) < 0)
		return;
	lock_take(&vcpu->lock);
	vcpu->registers = (struct vcpu_registers){
		.rip = regs.rip,
		.rsp = regs.rsp,
		.rflags = regs.rflags,
		.cr0 = sregs.cr0,
		.cr3 = sregs.cr3,
		.cr4 = sregs.cr4,
		.efer = sregs.efer,
	};
	vcpu->registers_version++;
	lock_drop(&vcpu->lock);
}

static bool should_stop(const struct vcpu *vcpu)
{
	return __atomic_load_n(&vcpu->platform->stop, __ATOMIC_RELAXED) != 0;
}

/* After a kick. */
static void serve_requests(struct vcpu *vcpu)
{
	__atomic_exchange_n(&vcpu->run->immediate_exit, 0, __ATOMIC_SEQ_CST);
	if (__atomic_exchange_n(&vcpu->requests, 0, __ATOMIC_SEQ_CST) &
	    REQUEST_REGISTERS)
		publish_registers(vcpu);
}

static void end_by_error(struct vcpu *vcpu, int err)
{
	bool host = err == ENOMEM;
	char detail[128];

	snprintf(detail, sizeof(detail), "vCPU %u: KVM_RUN: %s%s", vcpu->index,
		 strerror(err), host ? ": the host is out of memory" : "");
	vcpu->platform->ended(vcpu->platform->context, vcpu->index,
			      host ? VCPU_END_HOST : VCPU_END_UNRECOVERABLE,
			      detail);
}

static void run_guest(struct vcpu *vcpu)
{
	bool alive = true;

	while (alive && !should_stop(vcpu)) {
		if (ioctl(vcpu->fd, KVM_RUN, 0) == 0) {
			alive = vcpu_exit_handle(vcpu);
			continue;
		}
		switch (errno) {
		case EINTR: /* kicked */
			serve_requests(vcpu);
			break;
		case EAGAIN: /* a sleeping processor was started */
			break;
		default:
			end_by_error(vcpu, errno);
			alive = false;
		}
	}
}

static void thread_body(void *argument)
{
	struct vcpu *vcpu = argument;
	sigset_t kick;

	sigemptyset(&kick);
	sigaddset(&kick, KICK_SIGNAL);
	pthread_sigmask(SIG_UNBLOCK, &kick, NULL);
	if (vcpu->index == 0 && vcpu->platform->first_run)
		vcpu->platform->first_run(vcpu->platform->context);
	run_guest(vcpu);
}

int vcpu_start(struct vcpu *vcpu, struct threads *threads)
{
	char name[THREAD_NAME_MAX];
	int err;

	snprintf(name, sizeof(name), "vcpu.%u", vcpu->index);
	err = threads_start(threads, &vcpu->thread, THREAD_VCPU, name,
			    thread_body, vcpu);
	vcpu->started = err == 0;
	return err;
}

struct vcpu_exits vcpu_count(const struct vcpu *vcpu)
{
	return (struct vcpu_exits){
		.mmio = __atomic_load_n(&vcpu->exits.mmio, __ATOMIC_RELAXED),
		.pio = __atomic_load_n(&vcpu->exits.pio, __ATOMIC_RELAXED),
		.hlt = __atomic_load_n(&vcpu->exits.hlt, __ATOMIC_RELAXED),
		.other = __atomic_load_n(&vcpu->exits.other, __ATOMIC_RELAXED),
	};
}

static struct vcpu_access last_access(const uint64_t *last)
{
	return vcpu_access_unpack(__atomic_load_n(last, __ATOMIC_RELAXED));
}

struct vcpu_access vcpu_last_port(const struct vcpu *vcpu)
{
	return last_access(&vcpu->last_port);
}

struct vcpu_access vcpu_last_mmio(const struct vcpu *vcpu)
{
	return last_access(&vcpu->last_mmio);
}
