/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Ends of VMs on a host that fails: stands in front of the C library's
 * fdatasync and ioctl. Criterion gives each test its own process.
 */
#include "vmm/vmm.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <linux/kvm.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "devices/log.h"
#include "tests/unit/vmm/guest_support.h"

TestSuite(vmm_end, .init = guest_need_kvm, .timeout = 60);

static struct {
	int sync_error, run_error;
	unsigned int sync_seconds;
	unsigned int syncs; /* atomic: calls so far */
} host;

int fdatasync(int fd)
{
	__atomic_fetch_add(&host.syncs, 1, __ATOMIC_SEQ_CST);
	sleep(host.sync_seconds);
	errno = host.sync_error;
	return errno ? -1 : (int)syscall(SYS_fdatasync, fd);
}

int ioctl(int fd, unsigned long request, ...)
{
	va_list arguments;
	void *argument;

	va_start(arguments, request);
	argument = va_arg(arguments, void *);
	va_end(arguments);
	if (request == KVM_RUN && host.run_error) {
		errno = host.run_error;
		return -1;
	}
	return (int)syscall(SYS_ioctl, fd, request, argument);
}

static const uint8_t power_off[] = { GUEST_POWER_OFF };

static void run_with_disk(struct guest_run *run)
{
	guest_run_init(run);
	run->has_disk = true;
	guest_run(run, power_off, sizeof(power_off));
	cr_expect_str_eq(run->error.text, "");
}

Test(vmm_end, failed_last_flush_gives_1)
{
	struct guest_run run;

	host.sync_error = EIO;
	run_with_disk(&run);
	cr_expect_eq(run.status, 1);
	cr_expect_eq(host.syncs, 1);
	host.sync_error = 0;
	run_with_disk(&run);
	cr_expect_eq(run.status, 0);
	cr_expect_eq(host.syncs, 2);
}

Test(vmm_end, power_off_waits_for_a_slow_disk)
{
	struct guest_run run;

	host.sync_seconds = 6;
	run_with_disk(&run);
	cr_expect_eq(run.status, 0);
	cr_expect_eq(host.syncs, 1);
}

/* Its disk is slow, and nobody said that it may not be. */
Test(vmm_end, guest_that_does_not_power_off_has_its_disks_flushed,
     .timeout = 30)
{
	static const uint8_t stay[] = { GUEST_STAY };
	const uint8_t message[2] = { VMM_COMMAND_POWER_BUTTON, SIGTERM };
	struct guest_run run;

	host.sync_seconds = 6;
	guest_run_init(&run);
	run.has_disk = true;
	cr_assert_eq(send(run.control[0], message, 2, 0), 2);
	guest_run(&run, stay, sizeof(stay));
	cr_expect_eq(run.status, 128 + SIGTERM);
	cr_expect_eq(host.syncs, 1);
}

static void *end_during_flush(void *context)
{
	const uint8_t message[2] = { VMM_COMMAND_END, SIGINT };
	const struct guest_run *run = context;

	while (!__atomic_load_n(&host.syncs, __ATOMIC_SEQ_CST))
		usleep(10000);
	cr_expect_eq(send(run->control[0], message, 2, 0), 2);
	return NULL;
}

/* The process ends, with 1. */
Test(vmm_end, signal_limits_the_wait_for_a_hung_disk, .exit_code = 1,
     .timeout = 20)
{
	struct guest_run run;
	pthread_t thread;

	host.sync_seconds = 1000;
	guest_run_init(&run);
	run.has_disk = true;
	pthread_create(&thread, NULL, end_during_flush, &run);
	guest_run(&run, power_off, sizeof(power_off));
}

Test(vmm_end, host_without_memory_is_no_crash_of_the_guest)
{
	struct guest_run run;

	host.run_error = ENOMEM;
	guest_run_init(&run);
	guest_run(&run, power_off, sizeof(power_off));
	cr_expect_eq(run.status, 3);
	host.run_error = EFAULT;
	guest_run_init(&run);
	guest_run(&run, power_off, sizeof(power_off));
	cr_expect_eq(run.status, 4);
}
