// SPDX-License-Identifier: Apache-2.0
/*
 * bare_kvm MEBIBYTES FILE...: the calls without which there is no VM, and the
 * files read into its memory once; then the first KVM_RUN, which returns at
 * once. What a monitor needs more time than this for is its own doing.
 */
#include <err.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define MIB (1024UL * 1024)
#define LOAD_ADDRESS MIB
#define TSS_ADDRESS 0xfffbd000UL
#define IDENTITY_MAP 0xfffbc000UL
#define CPUID_ENTRIES 128

static int call(int fd, unsigned long request, unsigned long argument,
		const char *name)
{
	int result = ioctl(fd, request, argument);

	if (result < 0)
		err(1, "%s", name);
	return result;
}
#define CALL(fd, request, argument) \
	call(fd, request, (unsigned long)(argument), #request)

static void *map(int fd, size_t bytes, int flags)
{
	void *address = mmap(NULL, bytes, PROT_READ | PROT_WRITE, flags, fd, 0);

	if (address == MAP_FAILED)
		err(1, "mmap");
	return address;
}

/* Returns where the next file goes. */
static size_t read_file(const char *path, uint8_t *memory, size_t bytes,
			size_t at)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	struct stat status;
	size_t end;
	ssize_t got;

	if (fd < 0 || fstat(fd, &status) < 0)
		err(1, "%s", path);
	end = at + (size_t)status.st_size;
	if (end > bytes)
		errx(1, "%s does not fit", path);
	while (at < end) {
		got = read(fd, memory + at, end - at);
		if (got <= 0)
			err(1, "%s", path);
		at += (size_t)got;
	}
	close(fd);
	return (end + MIB) & ~(MIB - 1);
}

static int create_vm(int kvm, uint8_t *memory, size_t bytes)
{
	struct kvm_userspace_memory_region region = {
		.memory_size = bytes,
		.userspace_addr = (uintptr_t)memory,
	};
	uint64_t identity_map = IDENTITY_MAP;
	int vm;

	CALL(kvm, KVM_GET_API_VERSION, 0);
	vm = CALL(kvm, KVM_CREATE_VM, 0);
	CALL(vm, KVM_SET_USER_MEMORY_REGION, &region);
	CALL(vm, KVM_SET_IDENTITY_MAP_ADDR, &identity_map);
	CALL(vm, KVM_SET_TSS_ADDR, TSS_ADDRESS);
	CALL(vm, KVM_CREATE_IRQCHIP, 0);
	return vm;
}

static int create_vcpu(int kvm, int vm, struct kvm_run **run)
{
	int bytes = CALL(kvm, KVM_GET_VCPU_MMAP_SIZE, 0);
	int vcpu = CALL(vm, KVM_CREATE_VCPU, 0);
	struct kvm_sregs sregs;
	struct kvm_regs regs;
	struct kvm_cpuid2 *cpuid = calloc(
		1, sizeof(*cpuid) + CPUID_ENTRIES * sizeof(cpuid->entries[0]));

	if (!cpuid)
		err(1, "cpuid");
	*run = map(vcpu, (size_t)bytes, MAP_SHARED);
	cpuid->nent = CPUID_ENTRIES;
	CALL(kvm, KVM_GET_SUPPORTED_CPUID, cpuid);
	CALL(vcpu, KVM_SET_CPUID2, cpuid);
	free(cpuid);
	CALL(vcpu, KVM_GET_SREGS, &sregs);
	CALL(vcpu, KVM_SET_SREGS, &sregs);
	CALL(vcpu, KVM_GET_REGS, &regs);
	regs.rip = LOAD_ADDRESS;
	CALL(vcpu, KVM_SET_REGS, &regs);
	return vcpu;
}

int main(int argc, char **argv)
{
	size_t bytes, at = LOAD_ADDRESS;
	struct kvm_run *run;
	uint8_t *memory;
	int kvm, vm, vcpu, i;

	if (argc < 3)
		errx(2, "usage: bare_kvm MEBIBYTES FILE...");
	bytes = strtoul(argv[1], NULL, 10) * MIB;
	kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	if (kvm < 0)
		err(3, "/dev/kvm");
	memory = map(-1, bytes, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE);
	vm = create_vm(kvm, memory, bytes);
	vcpu = create_vcpu(kvm, vm, &run);
	for (i = 2; i < argc; i++)
		at = read_file(argv[i], memory, bytes, at);
	run->immediate_exit = 1;
	ioctl(vcpu, KVM_RUN, 0);
	return 0;
}
