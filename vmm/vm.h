/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One running VM: what vmm.c builds, and vm_report.c reports on. Private to
 * these two.
 */
#ifndef VMM_VM_H
#define VMM_VM_H

#include "devices/console.h"
#include "devices/event_loop.h"
#include "devices/thread.h"
#include "memory/lock.h"
#include "vmm/control.h"
#include "vmm/end.h"
#include "vmm/finisher.h"
#include "vmm/machine.h"
#include "vmm/panic_scan.h"
#include "vmm/plan.h"
#include "vmm/shutdown_watch.h"
#include "vmm/stats.h"
#include "vmm/timer.h"
#include "vmm/vmm.h"
#include "vmm/watchdog.h"

#include <stdbool.h>
#include <stdint.h>

/* Points in time; the steps of set-up in their order, then what the guest does. */
enum vm_time {
	VM_TIME_CALLED, /* configuration read, files opened, process made */
	VM_TIME_MEMORY,
	VM_TIME_KVM,
	VM_TIME_DEVICES,
	VM_TIME_VCPUS,
	VM_TIME_KERNEL, /* loaded */
	VM_TIME_STARTED, /* threads run: set-up is over */
	VM_TIME_FIRST_RUN,
	VM_TIME_FIRST_CONSOLE,
	VM_TIME_GUEST_READY,
	VM_TIMES
};

/* The guest's snapshots by port 0x501. */
struct vm_marks {
	struct lock lock;
	/* Under lock. Arrays of stats_counter_count entries, owned. */
	uint64_t *from, *to;
	uint64_t from_ns, to_ns;
	bool has_from, has_to;
};

struct vm {
	const struct vmm_options *options;
	const struct vmm_config *config;
	struct vm_files *files;
	struct plan plan;
	uint64_t times[VM_TIMES]; /* CLOCK_MONOTONIC; atomics; 0: not yet */
	struct threads threads;
	struct thread main_thread;
	struct end end;
	bool over; /* main thread: the event loop has ended */
	bool hurried; /* main thread: to end within a time, the disks' too */
	bool has_loop, has_console, has_machine, has_finisher;
	struct event_loop loop;
	struct console console;
	struct machine machine;
	struct finisher finisher;
	struct control control;
	struct timer stop_timer; /* the power button was pressed */
	struct timer panic_timer; /* the guest reported a panic */
	int stop_signal; /* that pressed the button */
	struct watchdog watchdog;
	struct shutdown_watch shutdown_watch;
	struct panic_scan panic_scan; /* under the serial port's lock */
	bool spoke; /* atomic: there was console output */
	struct stats_shape shape;
	struct vm_marks marks;
};

/* Notes now as the time of @what, unless it was noted before. Any thread. */
void vm_note_time(struct vm *vm, enum vm_time what);

/* After the machine was built: makes room for the marks. 0 or -ENOMEM. */
int vm_report_init(struct vm *vm);
/* Also for a zeroed one. */
void vm_report_destroy(struct vm *vm);

/* The guest wrote @value to port 0x501. vCPU thread. */
void vm_report_mark(struct vm *vm, uint8_t value);

/* Writes the statistics' file, if there is one. Main thread. */
void vm_report_write(struct vm *vm);

/* --boot-times, on stderr. */
void vm_report_boot_times(const struct vm *vm);

#endif
