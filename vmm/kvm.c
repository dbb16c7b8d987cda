/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm/kvm.h"

#include "devices/error.h"
#include "memory/base.h"
#include "memory/guest_memory.h"
#include "vmm/layout.h"

#include <errno.h>
#include <linux/kvm.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define API_VERSION 12

/* What no VM can do without. */
static const struct {
	int number;
	const char *name;
} required[] = {
	{ KVM_CAP_USER_MEMORY, "KVM_CAP_USER_MEMORY" },
	{ KVM_CAP_EXT_CPUID, "KVM_CAP_EXT_CPUID" },
	{ KVM_CAP_IRQCHIP, "KVM_CAP_IRQCHIP" },
	{ KVM_CAP_IRQFD, "KVM_CAP_IRQFD" },
	{ KVM_CAP_IOEVENTFD, "KVM_CAP_IOEVENTFD" },
	{ KVM_CAP_SET_TSS_ADDR, "KVM_CAP_SET_TSS_ADDR" },
	{ KVM_CAP_SET_IDENTITY_MAP_ADDR, "KVM_CAP_SET_IDENTITY_MAP_ADDR" },
	{ KVM_CAP_IMMEDIATE_EXIT, "KVM_CAP_IMMEDIATE_EXIT" },
};

int kvm_ioctl(int fd, unsigned long request, uintptr_t argument)
{
	int result;

	do
		result = ioctl(fd, request, argument);
	while (result < 0 && errno == EINTR);
	return result < 0 ? -errno : result;
}

static int check_extension(const struct kvm *kvm, int number)
{
	int result = kvm_ioctl(kvm->fd, KVM_CHECK_EXTENSION, number);

	return MAX(result, 0);
}

static int check_host(struct kvm *kvm, struct error *error)
{
	int version = kvm_ioctl(kvm->fd, KVM_GET_API_VERSION, 0);
	unsigned int i;
	int bytes;

	if (version != API_VERSION)
		return error_set(error, EXIT_STATUS_HOST,
				 "/dev/kvm: API version %d, but %d is needed",
				 version, API_VERSION);
	for (i = 0; i < ARRAY_SIZE(required); i++)
		if (!check_extension(kvm, required[i].number))
			return error_set(error, EXIT_STATUS_HOST,
					 "/dev/kvm: lacks %s",
					 required[i].name);
	bytes = kvm_ioctl(kvm->fd, KVM_GET_VCPU_MMAP_SIZE, 0);
	if (bytes < (int)sizeof(struct kvm_run))
		return error_set(error, EXIT_STATUS_HOST,
				 "/dev/kvm: KVM_GET_VCPU_MMAP_SIZE: %d", bytes);
	kvm->run_bytes = bytes;
	kvm->vcpus_max = check_extension(kvm, KVM_CAP_MAX_VCPUS);
	if (kvm->vcpus_max == 0)
		kvm->vcpus_max = MAX(check_extension(kvm, KVM_CAP_NR_VCPUS), 1);
	kvm->has_tsc_deadline =
		check_extension(kvm, KVM_CAP_TSC_DEADLINE_TIMER);
	kvm->has_any_length =
		check_extension(kvm, KVM_CAP_IOEVENTFD_ANY_LENGTH);
	return 0;
}

int kvm_init(struct kvm *kvm, int kvm_fd, struct error *error)
{
	memset(kvm, 0, sizeof(*kvm));
	kvm->fd = kvm_fd;
	kvm->vm_fd = -1;
	if (check_host(kvm, error) != 0)
		return -1;
	kvm->vm_fd = kvm_ioctl(kvm_fd, KVM_CREATE_VM, 0);
	if (kvm->vm_fd < 0)
		return error_set(error, EXIT_STATUS_HOST,
				 "/dev/kvm: KVM_CREATE_VM: %s",
				 strerror(-kvm->vm_fd));
	return 0;
}

void kvm_destroy(struct kvm *kvm)
{
	if (kvm->vm_fd >= 0)
		close(kvm->vm_fd);
	kvm->vm_fd = -1;
}

int kvm_add_slot(struct kvm *kvm, uint64_t gpa, void *host, uint64_t bytes)
{
	struct kvm_userspace_memory_region region = {
		.slot = kvm->slots,
		.guest_phys_addr = gpa,
		.memory_size = bytes,
		.userspace_addr = (uintptr_t)host,
	};
	int err = kvm_ioctl(kvm->vm_fd, KVM_SET_USER_MEMORY_REGION,
			    (uintptr_t)&region);

	if (err == 0)
		kvm->slots++;
	return err;
}

int kvm_add_memory(struct kvm *kvm, const struct guest_memory *memory)
{
	const struct guest_memory_region *region;
	unsigned int i;
	int err;

	for (i = 0; i < memory->region_count; i++) {
		region = &memory->regions[i];
		err = kvm_add_slot(kvm, region->first, region->host,
				   region->last - region->first + 1);
		if (err != 0)
			return err;
	}
	return 0;
}

/*
 * APIC ids above 254 need 32 bits, and 255 must stop meaning "all". Where the
 * host cannot do that, KVM_CREATE_VCPU will refuse.
 */
static void allow_long_apic_ids(const struct kvm *kvm)
{
	struct kvm_enable_cap cap = {
		.cap = KVM_CAP_X2APIC_API,
		.args = { KVM_X2APIC_API_USE_32BIT_IDS |
			  KVM_X2APIC_API_DISABLE_BROADCAST_QUIRK },
	};

	kvm_ioctl(kvm->vm_fd, KVM_ENABLE_CAP, (uintptr_t)&cap);
}

int kvm_add_irqchip(struct kvm *kvm, unsigned int vcpus, struct error *error)
{
	uint64_t identity_map = LAYOUT_KVM_IDENTITY_MAP;
	int err;

	/* Intel hosts keep real-mode helpers in guest memory, others ignore it. */
	err = kvm_ioctl(kvm->vm_fd, KVM_SET_IDENTITY_MAP_ADDR,
			(uintptr_t)&identity_map);
	if (err < 0)
		return error_set(error, EXIT_STATUS_HOST,
				 "/dev/kvm: KVM_SET_IDENTITY_MAP_ADDR: %s",
				 strerror(-err));
	err = kvm_ioctl(kvm->vm_fd, KVM_SET_TSS_ADDR, LAYOUT_KVM_TSS);
	if (err < 0)
		return error_set(error, EXIT_STATUS_HOST,
				 "/dev/kvm: KVM_SET_TSS_ADDR: %s",
				 strerror(-err));
	if (vcpus > 254)
		allow_long_apic_ids(kvm);
	err = kvm_ioctl(kvm->vm_fd, KVM_CREATE_IRQCHIP, 0);
	if (err < 0)
		return error_set(error, EXIT_STATUS_HOST,
				 "/dev/kvm: KVM_CREATE_IRQCHIP: %s",
				 strerror(-err));
	return 0;
}

int kvm_add_irqfd(struct kvm *kvm, int fd, unsigned int pin)
{
	struct kvm_irqfd irqfd = { .fd = fd, .gsi = pin };

	return kvm_ioctl(kvm->vm_fd, KVM_IRQFD, (uintptr_t)&irqfd);
}

int kvm_add_ioeventfd(struct kvm *kvm, int fd, uint64_t gpa, uint32_t value,
		      bool any)
{
	struct kvm_ioeventfd ioeventfd = {
		.datamatch = any ? 0 : value,
		.addr = gpa,
		.len = any && kvm->has_any_length ? 0 : sizeof(value),
		.fd = fd,
		.flags = any ? 0 : KVM_IOEVENTFD_FLAG_DATAMATCH,
	};

	return kvm_ioctl(kvm->vm_fd, KVM_IOEVENTFD, (uintptr_t)&ioeventfd);
}

/* KVM says E2BIG until the table is large enough; 128 was enough for every host seen. */
struct kvm_cpuid2 *kvm_supported_cpuid(const struct kvm *kvm,
				       unsigned int spare, struct error *error)
{
	struct kvm_cpuid2 *table;
	unsigned int entries;
	int err = -E2BIG;

	for (entries = 128; err == -E2BIG && entries <= 4096; entries *= 2) {
		table = calloc(1, sizeof(*table) +
					  (entries + spare) *
						  sizeof(table->entries[0]));
		if (!table) {
			err = -ENOMEM;
			break;
		}
		table->nent = entries;
		err = kvm_ioctl(kvm->fd, KVM_GET_SUPPORTED_CPUID,
				(uintptr_t)table);
		if (err == 0)
			return table;
		free(table);
	}
	error_set(error, EXIT_STATUS_HOST,
		  "/dev/kvm: KVM_GET_SUPPORTED_CPUID: %s", strerror(-err));
	return NULL;
}
