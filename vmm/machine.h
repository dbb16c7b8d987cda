/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The guest's machine as a whole: RAM, KVM, vCPUs, serial port, platform ports
 * and the virtio devices of the plan. Built in steps, in the order of the
 * functions below; taken apart by machine_stop and machine_destroy, whatever
 * step was reached.
 *
 * Main thread, unless said otherwise.
 */
#ifndef VMM_MACHINE_H
#define VMM_MACHINE_H

#include "devices/bus.h"
#include "devices/platform.h"
#include "devices/serial.h"
#include "memory/guest_memory.h"
#include "memory/iommu.h"
#include "vmm/kvm.h"
#include "vmm/plan.h"
#include "vmm/vcpu.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct boot_files;
struct error;
struct event_loop;
struct machine;
struct machine_device_class;
struct threads;
struct virtio_device;
struct virtio_iommu;
struct vm_files;

struct machine_device {
	const struct planned_device *plan;
	const struct machine_device_class *class;
	struct machine *machine;
	void *self; /* the class's object, owned */
	struct virtio_device *device; /* inside it */
	int irq_fd; /* eventfd: pulses its pin; owned */
};

/* What the machine tells; vCPU threads, all set. */
struct machine_listener {
	/* A byte of console output. False: no room until machine_console_writable. */
	bool (*transmit)(void *context, uint8_t byte);
	/* The serial port takes input again. */
	void (*receive_wanted)(void *context);
	void (*power_off)(void *context);
	void (*reset)(void *context);
	void (*panicked)(void *context);
	void (*mark)(void *context, uint8_t value);
	void (*vcpu_ended)(void *context, unsigned int index, enum vcpu_end end,
			   const char *detail);
	void (*first_run)(void *context);
	/* It stopped its IOMMU with requests that have no answer. */
	void (*iommu_abandoned)(void *context);
	void *context;
};

struct machine {
	const struct plan *plan; /* the caller's */
	const struct vmm_config *config; /* the caller's */
	struct machine_listener listener;
	bool has_memory, has_kvm, has_serial, has_iommu;
	struct guest_memory memory;
	struct kvm kvm;
	struct bus ports, mmio;
	struct serial serial;
	struct platform platform;
	int serial_irq_fd, button_irq_fd; /* eventfds, owned */
	int stop_fd; /* eventfd: readable once the VM ends; owned */
	struct vcpu_platform vcpu_platform;
	unsigned int vcpu_count; /* created */
	struct vcpu *vcpus;
	struct iommu iommu; /* if has_iommu */
	struct virtio_iommu *viommu; /* its device, or NULL */
	char endpoint_name[64]; /* the main thread's, for messages */
	unsigned int device_count; /* created */
	struct machine_device devices[LAYOUT_DEVICES_MAX];
};

/* Nothing is there yet; @plan, @config and @listener's context outlive the machine. 0 or -1. */
int machine_init(struct machine *machine, const struct plan *plan,
		 const struct vmm_config *config,
		 const struct machine_listener *listener, struct error *error);

/* The steps: 0, or -1 with @error. */
int machine_create_memory(struct machine *machine, struct error *error);
/* @kvm_fd stays the caller's, open until the end. Memory slots, then the irqchip. */
int machine_create_kvm(struct machine *machine, int kvm_fd,
		       struct error *error);
/* Takes the disks' and nets' descriptors out of @files. */
int machine_create_devices(struct machine *machine, struct vm_files *files,
			   struct error *error);
/* What devices have for the main thread. @loop lives longer than the machine. */
int machine_watch(struct machine *machine, struct event_loop *loop,
		  struct error *error);
int machine_create_vcpus(struct machine *machine, struct error *error);
int machine_load(struct machine *machine, const struct boot_files *files,
		 struct error *error);
/* Device threads, then the vCPUs': the guest runs. */
int machine_start(struct machine *machine, struct threads *threads,
		  struct error *error);

/* Makes vCPUs leave their loops soon, at once the one that calls. Any thread. */
void machine_leave(struct machine *machine);

/*
 * Stops and joins all threads, vCPUs first; disks are flushed. May take as long
 * as a disk does. One thread, after the event loop has ended. 0, or -errno of
 * a flush that failed, which is logged.
 */
int machine_stop(struct machine *machine);

/* After machine_stop. */
void machine_destroy(struct machine *machine);

void machine_press_power_button(struct machine *machine);

/* Console input: how many bytes were taken. */
size_t machine_console_input(struct machine *machine, const uint8_t *bytes,
			     size_t count);
void machine_console_writable(struct machine *machine);

#endif
