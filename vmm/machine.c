/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm/machine.h"

#include "devices/error.h"
#include "memory/base.h"
#include "vmm/boot.h"
#include "vmm/cpu.h"
#include "vmm/cpuid.h"
#include "vmm/machine_device.h"

#include <errno.h>
#include <linux/kvm.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

static bool serial_transmit(void *context, uint8_t byte)
{
	struct machine *machine = context;

	return machine->listener.transmit(machine->listener.context, byte);
}

static void serial_receive_wanted(void *context)
{
	struct machine *machine = context;

	machine->listener.receive_wanted(machine->listener.context);
}

static void serial_interrupt(void *context)
{
	struct machine *machine = context;

	eventfd_write(machine->serial_irq_fd, 1);
}

int machine_init(struct machine *machine, const struct plan *plan,
		 const struct vmm_config *config,
		 const struct machine_listener *listener, struct error *error)
{
	memset(machine, 0, sizeof(*machine));
	machine->plan = plan;
	machine->config = config;
	machine->listener = *listener;
	machine->serial_irq_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	machine->button_irq_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	machine->stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (machine->serial_irq_fd < 0 || machine->button_irq_fd < 0 ||
	    machine->stop_fd < 0)
		return error_set(error, EXIT_STATUS_INTERNAL,
				 "machine: eventfd: %m");
	return 0;
}

int machine_create_memory(struct machine *machine, struct error *error)
{
	const struct plan *plan = machine->plan;
	enum guest_memory_pages pages = machine->config->pages;
	int err = guest_memory_init(&machine->memory, plan->ram,
				    plan->ram_count, pages);

	if (err == -ENOMEM && pages == GUEST_MEMORY_2M)
		return error_set(
			error, EXIT_STATUS_HOST,
			"machine.hugepages: the host's pool of 2M pages is too small; "
			"mend it with: sudo sysctl vm.nr_hugepages=%llu",
			(unsigned long long)(machine->config->memory /
					     (2 * MIB)));
	if (err != 0)
		return error_set(error, EXIT_STATUS_HOST, "machine.memory: %s",
				 strerror(-err));
	machine->has_memory = true;
	return 0;
}

int machine_create_kvm(struct machine *machine, int kvm_fd, struct error *error)
{
	int err;

	if (kvm_init(&machine->kvm, kvm_fd, error) != 0)
		return -1;
	machine->has_kvm = true;
	if (machine->plan->vcpus > machine->kvm.vcpus_max)
		return error_set(
			error, EXIT_STATUS_HOST,
			"machine.vcpus: %u are more than this host's KVM can: %u",
			machine->plan->vcpus, machine->kvm.vcpus_max);
	err = kvm_add_memory(&machine->kvm, &machine->memory);
	if (err < 0)
		return error_set(error, EXIT_STATUS_HOST,
				 "/dev/kvm: memory slots: %s", strerror(-err));
	return kvm_add_irqchip(&machine->kvm, machine->plan->vcpus, error);
}

static int create_ports(struct machine *machine)
{
	const struct {
		uint64_t first, size;
		const struct bus_handler *handler;
		void *device;
	} windows[] = {
		{ LAYOUT_PORT_COM1, SERIAL_PORTS, &serial_bus_handler,
		  &machine->serial },
		{ LAYOUT_PORT_SLEEP, PLATFORM_SLEEP_PORTS,
		  &platform_sleep_handler, &machine->platform },
		{ LAYOUT_PORT_RESET, 1, &platform_reset_handler,
		  &machine->platform },
		{ LAYOUT_PORT_KEYBOARD, 1, &platform_keyboard_handler,
		  &machine->platform },
		{ LAYOUT_PORT_PVPANIC, 1, &platform_pvpanic_handler,
		  &machine->platform },
		{ LAYOUT_PORT_MARK, 1, &platform_mark_handler,
		  &machine->platform },
	};
	unsigned int i;
	int err;

	for (i = 0; i < ARRAY_SIZE(windows); i++) {
		err = bus_add(&machine->ports, windows[i].first,
			      windows[i].size, windows[i].handler,
			      windows[i].device);
		if (err != 0)
			return err;
	}
	err = kvm_add_irqfd(&machine->kvm, machine->serial_irq_fd,
			    LAYOUT_IRQ_COM1);
	if (err < 0)
		return err;
	return kvm_add_irqfd(&machine->kvm, machine->button_irq_fd,
			     LAYOUT_IRQ_POWER_BUTTON);
}

int machine_create_devices(struct machine *machine, struct vm_files *files,
			   struct error *error)
{
	const struct machine_listener *listener = &machine->listener;
	const struct serial_backend backend = { serial_transmit,
						serial_receive_wanted,
						serial_interrupt, machine };
	struct machine_device *device;
	unsigned int i;
	int err;

	serial_init(&machine->serial, &backend);
	machine->has_serial = true;
	machine->platform.listener = (struct platform_listener){
		.power_off = listener->power_off,
		.reset = listener->reset,
		.panicked = listener->panicked,
		.mark = listener->mark,
		.context = listener->context,
	};
	err = create_ports(machine);
	if (err != 0)
		return error_set(error, EXIT_STATUS_HOST,
				 "machine: platform ports: %s", strerror(-err));
	for (i = 0; i < machine->plan->device_count; i++) {
		device = &machine->devices[i];
		device->plan = &machine->plan->devices[i];
		device->machine = machine;
		if (machine_device_create(device, files, error) != 0)
			return -1;
		machine->device_count++;
	}
	return 0;
}

int machine_watch(struct machine *machine, struct event_loop *loop,
		  struct error *error)
{
	struct machine_device *device;
	unsigned int i;
	int err;

	for (i = 0; i < machine->device_count; i++) {
		device = &machine->devices[i];
		if (!device->class->watch)
			continue;
		err = device->class->watch(device, loop);
		if (err != 0)
			return error_set(error, EXIT_STATUS_INTERNAL,
					 "%s: event loop: %s",
					 device->plan->name, strerror(-err));
	}
	return 0;
}

static int set_up_vcpus(struct machine *machine, struct kvm_cpuid2 *table,
			struct error *error)
{
	unsigned int i;
	int err;

	for (i = 0; i < machine->plan->vcpus; i++) {
		if (vcpu_init(&machine->vcpus[i], &machine->kvm, i,
			      &machine->vcpu_platform, error) != 0)
			return -1;
		machine->vcpu_count++;
		err = cpu_set_up(machine->vcpus[i].fd, table, i);
		if (err < 0)
			return error_set(
				error, EXIT_STATUS_HOST,
				"/dev/kvm: vCPU %u: cannot set it up: %s", i,
				strerror(-err));
	}
	return 0;
}

int machine_create_vcpus(struct machine *machine, struct error *error)
{
	const struct machine_listener *listener = &machine->listener;
	const struct cpuid_machine cpuid = {
		.vcpus = machine->plan->vcpus,
		.tsc_deadline = machine->kvm.has_tsc_deadline,
	};
	struct kvm_cpuid2 *table;
	int err;

	machine->vcpu_platform = (struct vcpu_platform){
		.ports = &machine->ports,
		.mmio = &machine->mmio,
		.ended = listener->vcpu_ended,
		.first_run = listener->first_run,
		.context = listener->context,
	};
	err = vcpu_set_up_kick();
	if (err != 0)
		return error_set(error, EXIT_STATUS_INTERNAL,
				 "machine: sigaction: %s", strerror(-err));
	machine->vcpus = calloc(machine->plan->vcpus, sizeof(*machine->vcpus));
	if (!machine->vcpus)
		return error_set(error, EXIT_STATUS_INTERNAL,
				 "machine: no memory");
	table = kvm_supported_cpuid(&machine->kvm, CPUID_SPARE, error);
	if (!table)
		return -1;
	cpuid_prepare(table, &cpuid);
	err = set_up_vcpus(machine, table, error);
	free(table);
	return err;
}

int machine_load(struct machine *machine, const struct boot_files *files,
		 struct error *error)
{
	struct boot_entry entry;
	int err;

	if (boot_load(&machine->memory, machine->plan, files, &entry, error) !=
	    0)
		return -1;
	err = cpu_set_entry(machine->vcpus[0].fd, &entry);
	if (err < 0)
		return error_set(
			error, EXIT_STATUS_HOST,
			"/dev/kvm: vCPU 0: cannot set its registers: %s",
			strerror(-err));
	return 0;
}

int machine_start(struct machine *machine, struct threads *threads,
		  struct error *error)
{
	struct machine_device *device;
	unsigned int i;
	int err;

	for (i = 0; i < machine->device_count; i++) {
		device = &machine->devices[i];
		err = device->class->start_threads(device, threads);
		if (err != 0)
			return error_set(error, EXIT_STATUS_HOST,
					 "%s: cannot start a thread: %s",
					 device->plan->name, strerror(-err));
	}
	/* Vcpu 0 last: until then the others wait to be woken by it. */
	for (i = machine->vcpu_count; i-- > 0;) {
		err = vcpu_start(&machine->vcpus[i], threads);
		if (err != 0)
			return error_set(error, EXIT_STATUS_HOST,
					 "vCPU %u: cannot start its thread: %s",
					 i, strerror(-err));
	}
	return 0;
}

void machine_leave(struct machine *machine)
{
	__atomic_store_n(&machine->vcpu_platform.stop, 1, __ATOMIC_SEQ_CST);
}

int machine_stop(struct machine *machine)
{
	unsigned int i;
	int err, first = 0;

	machine_leave(machine);
	/* For vCPUs that wait for a device thread to be quiet. */
	eventfd_write(machine->stop_fd, 1);
	for (i = 0; i < machine->vcpu_count; i++)
		vcpu_kick(&machine->vcpus[i]);
	for (i = 0; i < machine->vcpu_count; i++)
		thread_join(&machine->vcpus[i].thread);
	for (i = 0; i < machine->device_count; i++) {
		err = machine->devices[i].class->join_threads(
			&machine->devices[i]);
		if (err != 0 && first == 0)
			first = err;
	}
	return first;
}

static void close_fd(int fd)
{
	if (fd >= 0)
		close(fd);
}

void machine_destroy(struct machine *machine)
{
	while (machine->vcpu_count > 0)
		vcpu_destroy(&machine->vcpus[--machine->vcpu_count]);
	free(machine->vcpus);
	while (machine->device_count > 0)
		machine_device_destroy(
			&machine->devices[--machine->device_count]);
	if (machine->has_iommu)
		iommu_destroy(&machine->iommu);
	if (machine->has_serial)
		serial_destroy(&machine->serial);
	if (machine->has_kvm)
		kvm_destroy(&machine->kvm);
	if (machine->has_memory)
		guest_memory_destroy(&machine->memory);
	close_fd(machine->serial_irq_fd);
	close_fd(machine->button_irq_fd);
	close_fd(machine->stop_fd);
}

void machine_press_power_button(struct machine *machine)
{
	eventfd_write(machine->button_irq_fd, 1);
}

size_t machine_console_input(struct machine *machine, const uint8_t *bytes,
			     size_t count)
{
	return serial_receive(&machine->serial, bytes, count);
}

void machine_console_writable(struct machine *machine)
{
	serial_set_writable(&machine->serial);
}
