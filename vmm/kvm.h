/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The KVM virtual machine: its memory slots, interrupt controllers and the
 * eventfds that stand for interrupts and notifications. All of it is set-up,
 * on the main thread; a running VM only writes and reads the eventfds.
 *
 * The order matters: all memory slots come before the irqchip and the
 * ioeventfds (measured on a 6.18 host: 0.6 ms instead of 7 ms), and the irqchip
 * before the first vCPU.
 */
#ifndef VMM_KVM_H
#define VMM_KVM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct error;
struct guest_memory;
struct kvm_cpuid2;

struct kvm {
	int fd; /* /dev/kvm; the caller's */
	int vm_fd; /* owned */
	unsigned int slots; /* in use */
	size_t run_bytes; /* of a vCPU's shared page */
	unsigned int vcpus_max; /* the host's limit */
	bool has_tsc_deadline;
	bool has_any_length; /* ioeventfds that match writes of any width */
};

/*
 * Creates a VM on @kvm_fd, an open /dev/kvm (stays the caller's). Missing
 * capabilities are named in @error (EXIT_STATUS_HOST). 0 or -1.
 */
int kvm_init(struct kvm *kvm, int kvm_fd, struct error *error);
void kvm_destroy(struct kvm *kvm);

/* One memory slot; @host stays the caller's and mapped. 0 or -errno. */
int kvm_add_slot(struct kvm *kvm, uint64_t gpa, void *host, uint64_t bytes);

/* A slot for each region of RAM. 0 or -errno. */
int kvm_add_memory(struct kvm *kvm, const struct guest_memory *memory);

/*
 * IOAPIC, PIC and local APICs in the kernel; @vcpus decides about 32-bit APIC
 * ids. 0 or -1 with @error.
 */
int kvm_add_irqchip(struct kvm *kvm, unsigned int vcpus, struct error *error);

/* A write to eventfd @fd pulses pin @pin. @fd stays the caller's. 0 or -errno. */
int kvm_add_irqfd(struct kvm *kvm, int fd, unsigned int pin);

/*
 * A guest's 4-byte write of @value to @gpa adds 1 to eventfd @fd, without an
 * exit to us. @any: whatever is written (of whatever width where the host can,
 * which spares decoding the instruction on Intel). 0 or -errno.
 */
int kvm_add_ioeventfd(struct kvm *kvm, int fd, uint64_t gpa, uint32_t value,
		      bool any);

/*
 * What CPUID leaves the host can give to a guest, on the heap, with room for
 * @spare more entries; entries beyond nent are zero. NULL with @error.
 */
struct kvm_cpuid2 *kvm_supported_cpuid(const struct kvm *kvm,
				       unsigned int spare, struct error *error);

/* ioctl that is repeated on EINTR. -errno instead of -1. */
int kvm_ioctl(int fd, unsigned long request, uintptr_t argument);

#endif
