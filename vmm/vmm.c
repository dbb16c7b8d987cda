/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The life of a VM. Set-up, step by step; then the main thread serves the event
 * loop (console, control socket, timers) while the vCPUs run; then the end, for
 * whatever reason came first, from whatever thread:
 *
 *	vm_end()	notes the reason, tells the vCPUs to leave, ends the loop
 *	finisher	vCPUs stop, device threads are joined, disks flushed
 *	main		waits for that with a time-out, drains the console, writes
 *			the statistics
 */
#include "vmm/vmm.h"

#include "devices/error.h"
#include "devices/log.h"
#include "memory/base.h"
#include "vmm/boot.h"
#include "vmm/machine_iommu.h"
#include "vmm/vm.h"

#include <errno.h>
#include <malloc.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* A disk that takes longer to come to rest is given up, if that is hurried. */
#define FINISH_MS 5000
#define CONSOLE_DRAIN_MS 2000
/* After a reported panic: for the guest's last words, and its own reset. */
#define PANIC_GRACE_MS 3000

static void vm_end(struct vm *vm, enum end_reason reason, int signal,
		   const char *detail)
{
	end_note(&vm->end, reason, signal, detail);
	machine_leave(&vm->machine);
	event_loop_end(&vm->loop);
}

/* What the guest does; vCPU threads. */

static bool on_transmit(void *context, uint8_t byte)
{
	struct vm *vm = context;

	if (!__atomic_load_n(&vm->spoke, __ATOMIC_RELAXED)) {
		__atomic_store_n(&vm->spoke, true, __ATOMIC_RELAXED);
		vm_note_time(vm, VM_TIME_FIRST_CONSOLE);
	}
	if (panic_scan_byte(&vm->panic_scan, byte))
		__atomic_store_n(&vm->end.panic_printed, true,
				 __ATOMIC_RELEASE);
	return console_put(&vm->console, byte);
}

static void on_receive_wanted(void *context)
{
	struct vm *vm = context;

	console_input_wanted(&vm->console);
}

static void on_power_off(void *context)
{
	struct vm *vm = context;

	if (__atomic_load_n(&vm->end.panic_reported, __ATOMIC_ACQUIRE))
		vm_end(vm, END_PANIC, 0, "reported through pvpanic");
	else
		vm_end(vm, END_POWER_OFF, 0, NULL);
}

static void on_reset(void *context)
{
	struct vm *vm = context;

	if (__atomic_load_n(&vm->end.panic_reported, __ATOMIC_ACQUIRE))
		vm_end(vm, END_PANIC, 0, "reported through pvpanic");
	else if (__atomic_load_n(&vm->end.panic_printed, __ATOMIC_ACQUIRE))
		vm_end(vm, END_PANIC, 0, "the console said so before a reset");
	else
		vm_end(vm, END_RESET, 0, NULL);
}

static void on_panicked(void *context)
{
	struct vm *vm = context;

	if (!__atomic_exchange_n(&vm->end.panic_reported, true,
				 __ATOMIC_ACQ_REL))
		timer_set(&vm->panic_timer, PANIC_GRACE_MS);
}

static void on_mark(void *context, uint8_t value)
{
	vm_report_mark(context, value);
}

static void on_vcpu_ended(void *context, unsigned int index, enum vcpu_end end,
			  const char *detail)
{
	(void)index;
	switch (end) {
	case VCPU_END_TRIPLE_FAULT:
		vm_end(context, END_TRIPLE_FAULT, 0, detail);
		break;
	case VCPU_END_UNRECOVERABLE:
		vm_end(context, END_UNRECOVERABLE, 0, detail);
		break;
	case VCPU_END_HOST:
		vm_end(context, END_HOST, 0, detail);
		break;
	case VCPU_END_POWER_OFF:
		on_power_off(context);
		break;
	case VCPU_END_RESET:
		on_reset(context);
		break;
	}
}

static void on_first_run(void *context)
{
	/* The main thread may be later than the guest. */
	vm_note_time(context, VM_TIME_STARTED);
	vm_note_time(context, VM_TIME_FIRST_RUN);
}

static void on_iommu_abandoned(void *context)
{
	struct vm *vm = context;

	shutdown_watch_begin(&vm->shutdown_watch);
}

/* What the host does; main thread. */

static size_t on_input(void *context, const uint8_t *bytes, size_t count)
{
	struct vm *vm = context;

	return machine_console_input(&vm->machine, bytes, count);
}

static void on_writable(void *context)
{
	struct vm *vm = context;

	machine_console_writable(&vm->machine);
}

static void on_quit(void *context)
{
	vm_end(context, END_QUIT, 0, "Ctrl-A x");
}

static void on_panic_timer(void *context)
{
	vm_end(context, END_PANIC, 0, "reported through pvpanic");
}

static bool iommu_is_back(void *context)
{
	const struct vm *vm = context;

	return machine_iommu_is_live(&vm->machine);
}

static void on_shutdown_hung(void *context)
{
	log_warn(
		"the guest hangs in its shutdown: it waits for its IOMMU, which "
		"it has reset (iommu.strict=1 on its command line avoids that); "
		"switched off");
	vm_end(context, END_POWER_OFF, 0, "the guest hung in its shutdown");
}

static void on_stop_timer(void *context)
{
	struct vm *vm = context;

	log_info("the guest did not power off within %u ms",
		 vm->config->stop_timeout_ms);
	vm_end(vm, END_SIGNAL, vm->stop_signal,
	       "the guest did not power off in time");
}

static void press_power_button(struct vm *vm, int signal)
{
	machine_press_power_button(&vm->machine);
	vm->stop_signal = signal;
	timer_set(&vm->stop_timer, vm->config->stop_timeout_ms);
}

static void on_command(void *context, uint8_t command, int signal)
{
	struct vm *vm = context;

	if (command == VMM_COMMAND_END)
		vm->hurried = true;
	/* The machine is coming to rest: nobody is there to tell. */
	if (vm->over)
		return;
	switch (command) {
	case VMM_COMMAND_POWER_BUTTON:
		press_power_button(vm, signal);
		break;
	case VMM_COMMAND_END:
		vm_end(vm, END_SIGNAL, signal, NULL);
		break;
	case VMM_COMMAND_STATISTICS:
		vm_report_write(vm);
		break;
	case VMM_COMMAND_TERMINAL:
		console_resume(&vm->console);
		break;
	}
}

static void on_control_ended(void *context)
{
	struct vm *vm = context;

	vm->hurried = true;
	if (!vm->over)
		vm_end(vm, END_SIGNAL, SIGHUP, "the parent process has gone");
}

/* Set-up. */

/*
 * The parent has the signals and sends commands; a terminal's reach this
 * process too, and wait for ever. Not those of the thread's own faults.
 */
static void prepare_process(void)
{
	static const int faults[] = { SIGSEGV, SIGBUS, SIGILL, SIGFPE,
				      SIGTRAP, SIGSYS, SIGABRT };
	sigset_t blocked;
	unsigned int i;

	mallopt(M_ARENA_MAX, 1);
	signal(SIGPIPE, SIG_IGN);
	signal(SIGXFSZ, SIG_IGN);
	sigfillset(&blocked);
	for (i = 0; i < ARRAY_SIZE(faults); i++)
		sigdelset(&blocked, faults[i]);
	sigprocmask(SIG_SETMASK, &blocked, NULL);
}

static int set_up_loop(struct vm *vm, struct error *error)
{
	const struct console_listener listener = {
		.input = on_input,
		.writable = on_writable,
		.quit = on_quit,
		.context = vm,
	};
	const struct vmm_options *options = vm->options;
	int out_fd = vm->config->console == CONSOLE_FILE ? vm->files->console
							 : options->console_out;
	int err;

	err = event_loop_init(&vm->loop);
	if (err != 0)
		return error_set(error, EXIT_STATUS_INTERNAL, "epoll: %s",
				 strerror(-err));
	vm->has_loop = true;
	err = console_init(&vm->console, &vm->loop, vm->config->console,
			   options->console_in, out_fd, true, &listener);
	if (err != 0)
		return error_set(error, EXIT_STATUS_INTERNAL, "console: %s",
				 strerror(-err));
	vm->has_console = true;
	err = timer_init(&vm->stop_timer, &vm->loop, on_stop_timer, vm);
	if (err == 0)
		err = timer_init(&vm->panic_timer, &vm->loop, on_panic_timer,
				 vm);
	if (err == 0 && options->control_fd >= 0)
		err = control_init(&vm->control, &vm->loop, options->control_fd,
				   on_command, on_control_ended, vm);
	if (err != 0)
		return error_set(error, EXIT_STATUS_INTERNAL, "event loop: %s",
				 strerror(-err));
	return 0;
}

static int build_machine(struct vm *vm, struct error *error)
{
	static const struct machine_listener callbacks = {
		.transmit = on_transmit,
		.receive_wanted = on_receive_wanted,
		.power_off = on_power_off,
		.reset = on_reset,
		.panicked = on_panicked,
		.mark = on_mark,
		.vcpu_ended = on_vcpu_ended,
		.first_run = on_first_run,
		.iommu_abandoned = on_iommu_abandoned,
	};
	struct machine_listener listener = callbacks;
	struct machine *machine = &vm->machine;

	listener.context = vm;
	vm->has_machine = true;
	if (machine_init(machine, &vm->plan, vm->config, &listener, error) !=
		    0 ||
	    machine_create_memory(machine, error) != 0)
		return -1;
	vm_note_time(vm, VM_TIME_MEMORY);
	if (machine_create_kvm(machine, vm->files->kvm, error) != 0)
		return -1;
	vm_note_time(vm, VM_TIME_KVM);
	if (machine_create_devices(machine, vm->files, error) != 0 ||
	    machine_watch(machine, &vm->loop, error) != 0)
		return -1;
	vm_note_time(vm, VM_TIME_DEVICES);
	if (machine_create_vcpus(machine, error) != 0)
		return -1;
	vm_note_time(vm, VM_TIME_VCPUS);
	return 0;
}

static int load_kernel(struct vm *vm, struct error *error)
{
	const struct boot_files files = {
		.kernel_fd = vm->files->kernel,
		.kernel_path = vm->config->kernel,
		.initrd_fd = vm->files->initrd,
		.initrd_path = vm->config->initrd,
	};

	if (machine_load(&vm->machine, &files, error) != 0)
		return -1;
	vm_note_time(vm, VM_TIME_KERNEL);
	return 0;
}

static void finish(void *context)
{
	struct vm *vm = context;

	if (machine_stop(&vm->machine) != 0)
		__atomic_store_n(&vm->end.flush_failed, true, __ATOMIC_RELEASE);
}

static int start(struct vm *vm, struct error *error)
{
	int err;

	if (vm_report_init(vm) != 0)
		return error_set(error, EXIT_STATUS_INTERNAL,
				 "statistics: no memory");
	err = finisher_start(&vm->finisher, &vm->threads, finish, vm);
	if (err != 0)
		return error_set(error, EXIT_STATUS_HOST,
				 "cannot start a thread: %s", strerror(-err));
	vm->has_finisher = true;
	if (vm->config->console != CONSOLE_NONE) {
		err = watchdog_init(&vm->watchdog, &vm->loop, vm->machine.vcpus,
				    vm->machine.vcpu_count, vm->plan.cmdline,
				    &vm->spoke);
		if (err != 0)
			return error_set(error, EXIT_STATUS_INTERNAL,
					 "watchdog: %s", strerror(-err));
	}
	err = shutdown_watch_init(&vm->shutdown_watch, &vm->loop,
				  vm->machine.vcpus, vm->machine.vcpu_count,
				  iommu_is_back, on_shutdown_hung, vm);
	if (err != 0)
		return error_set(error, EXIT_STATUS_INTERNAL,
				 "shutdown watch: %s", strerror(-err));
	if (machine_start(&vm->machine, &vm->threads, error) != 0)
		return -1;
	vm_note_time(vm, VM_TIME_STARTED);
	return 0;
}

static int set_up(struct vm *vm, struct error *error)
{
	threads_register_main(&vm->threads, &vm->main_thread, "main");
	if (plan_make(&vm->plan, vm->config, error) != 0 ||
	    set_up_loop(vm, error) != 0 || build_machine(vm, error) != 0 ||
	    load_kernel(vm, error) != 0)
		return -1;
	return start(vm, error);
}

/* The end. */

static void say_crash(const struct vm *vm)
{
	if (vm->end.reason == END_HOST)
		log_error("host: %s", vm->end.detail);
	if (end_status(&vm->end) != EXIT_STATUS_GUEST_CRASHED)
		return;
	log_error("guest: %s%s%s", end_reason_name(vm->end.reason),
		  vm->end.detail[0] ? ": " : "", vm->end.detail);
}

static void tear_down(struct vm *vm)
{
	shutdown_watch_destroy(&vm->shutdown_watch);
	watchdog_destroy(&vm->watchdog);
	control_destroy(&vm->control);
	timer_destroy(&vm->panic_timer);
	timer_destroy(&vm->stop_timer);
	if (vm->has_machine)
		machine_destroy(&vm->machine);
	if (vm->has_console)
		console_destroy(&vm->console);
	if (vm->has_loop)
		event_loop_destroy(&vm->loop);
	vm_report_destroy(vm);
	end_destroy(&vm->end);
	vm_files_close(vm->files);
	free(vm);
}

/* Everything that ran has stopped, or is given up. */
static void say_last_words(struct vm *vm)
{
	console_drain(&vm->console, CONSOLE_DRAIN_MS);
	vm_report_write(vm);
	if (vm->config->boot_times)
		vm_report_boot_times(vm);
	say_crash(vm);
}

/* False: it was hurried, by a signal before or meanwhile, and took too long. */
static bool wait_for_rest(struct vm *vm)
{
	enum finisher_state state;
	bool said = false;

	/* Not after a SIGTERM that the guest did not obey: nobody is in a hurry. */
	vm->hurried |= vm->end.reason == END_NONE;
	finisher_begin(&vm->finisher);
	for (;;) {
		state = finisher_wait(
			&vm->finisher, said && !vm->hurried ? -1 : FINISH_MS,
			vm->hurried ? -1 : control_fd(&vm->control));
		if (state == FINISHER_DONE)
			return true;
		if (state == FINISHER_WOKEN) {
			control_serve(&vm->control);
			continue;
		}
		if (vm->hurried)
			return false;
		said = true;
		log_warn(
			"what the guest wrote is not on the disks yet: waiting "
			"(SIGINT gives it %d s more)",
			FINISH_MS / 1000);
	}
}

static void stop(struct vm *vm)
{
	if (!vm->has_finisher) {
		machine_stop(&vm->machine);
		return;
	}
	if (wait_for_rest(vm))
		return;
	__atomic_store_n(&vm->end.flush_failed, true, __ATOMIC_RELEASE);
	log_error(
		"the VM did not come to rest within %d s (does a disk hang?): giving up; what "
		"the guest wrote last may be lost",
		FINISH_MS / 1000);
	say_last_words(vm);
	_exit(end_status(&vm->end));
}

static int run(struct vm *vm, struct error *error)
{
	int err, status;

	err = event_loop_run(&vm->loop);
	if (err != 0) {
		error_set(error, EXIT_STATUS_INTERNAL, "event loop: %s",
			  strerror(-err));
		vm_end(vm, END_INTERNAL, 0, "event loop");
	}
	vm->over = true;
	stop(vm);
	say_last_words(vm);
	status = end_status(&vm->end);
	tear_down(vm);
	return status;
}

int vmm_run(const struct vmm_options *options, struct error *error)
{
	struct vm *vm;

	error->status = EXIT_STATUS_OK;
	error->text[0] = '\0';
	prepare_process();
	vm = calloc(1, sizeof(*vm));
	if (!vm) {
		vm_files_close(options->files);
		error_set(error, EXIT_STATUS_INTERNAL, "vm: no memory");
		return error->status;
	}
	vm->options = options;
	vm->config = options->config;
	vm->files = options->files;
	end_init(&vm->end);
	vm_note_time(vm, VM_TIME_CALLED);
	if (set_up(vm, error) == 0)
		return run(vm, error);
	if (vm->has_machine)
		stop(vm);
	tear_down(vm);
	return error->status;
}
