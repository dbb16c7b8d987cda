/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whole VMs: how each end of a guest becomes an exit status, and what the
 * console and the statistics say of it.
 */
#include "vmm/vmm.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "memory/base.h"
#include "tests/unit/vmm/guest_support.h"
#include "vmm/panic_scan.h"

TestSuite(vmm_run, .init = guest_need_kvm, .timeout = 60);

static const uint8_t stay[] = { GUEST_STAY };

static int status_of(const uint8_t *code, size_t len)
{
	struct guest_run run;

	guest_run_init(&run);
	guest_run(&run, code, len);
	cr_expect_str_eq(run.error.text, "");
	return run.status;
}

#define STATUS_OF(...)                              \
	status_of((const uint8_t[]){ __VA_ARGS__ }, \
		  sizeof((const uint8_t[]){ __VA_ARGS__ }))

Test(vmm_run, guest_that_powers_off_gives_0)
{
	cr_expect_eq(STATUS_OF(GUEST_POWER_OFF), 0);
}

Test(vmm_run, guest_that_resets_by_acpi_gives_0)
{
	cr_expect_eq(STATUS_OF(GUEST_OUT(0x604, 1), GUEST_STAY), 0);
}

Test(vmm_run, guest_that_resets_by_the_keyboard_controller_gives_0)
{
	cr_expect_eq(STATUS_OF(GUEST_OUT(0x64, 0xfe), GUEST_STAY), 0);
}

/* ud2 without an interrupt descriptor table */
Test(vmm_run, triple_fault_gives_4_and_says_so)
{
	static const uint8_t code[] = { 0x0f, 0x0b };
	struct guest_run run;

	guest_run_init(&run);
	guest_run(&run, code, sizeof(code));
	cr_expect_eq(run.status, 4);
	cr_expect(strstr(run.stats, "\"reason\": \"triple fault\""));
}

Test(vmm_run, panic_reported_through_pvpanic_gives_4_whatever_follows)
{
	cr_expect_eq(STATUS_OF(GUEST_OUT(0x505, 1), GUEST_POWER_OFF), 4);
	cr_expect_eq(STATUS_OF(GUEST_OUT(0x505, 1), GUEST_OUT(0x604, 1),
			       GUEST_STAY),
		     4);
}

Test(vmm_run, panic_that_no_reset_follows_ends_the_vm)
{
	cr_expect_eq(STATUS_OF(GUEST_OUT(0x505, 1), GUEST_STAY), 4);
}

/*
 * mov esi, text; mov ecx, length; mov dx, 0x3f8; cld; rep outsb; then the
 * reset; the text follows.
 */
static size_t put_text_guest(uint8_t *code, const char *text,
			     const uint8_t *end, size_t end_len)
{
	const uint8_t head[] = { 0xbe, 0,    0,	   0,	 0,    0xb9,
				 0,    0,    0,	   0,	 0x66, 0xba,
				 0xf8, 0x03, 0xfc, 0xf3, 0x6e };
	uint32_t address = GUEST_ENTRY + sizeof(head) + (uint32_t)end_len;
	uint32_t len = (uint32_t)strlen(text);

	memcpy(code, head, sizeof(head));
	memcpy(code + 1, &address, 4);
	memcpy(code + 6, &len, 4);
	memcpy(code + sizeof(head), end, end_len);
	memcpy(code + sizeof(head) + end_len, text, len);
	return sizeof(head) + end_len + len;
}

Test(vmm_run, string_output_reaches_the_console_byte_for_byte)
{
	static const uint8_t end[] = { GUEST_POWER_OFF };
	static const char text[] = "the quick brown fox\r\njumps\n";
	struct guest_run run;
	uint8_t code[256];

	guest_run_init(&run);
	guest_run(&run, code, put_text_guest(code, text, end, sizeof(end)));
	cr_expect_eq(run.status, 0);
	cr_expect_str_eq(run.console, text);
	cr_expect_geq(guest_stat(&run, "first_console_us", 0), 0);
}

Test(vmm_run, reset_after_a_panic_on_the_console_gives_4)
{
	static const uint8_t reset[] = { GUEST_OUT(0x604, 1), GUEST_STAY };
	static const uint8_t off[] = { GUEST_POWER_OFF };
	static const char text[] = "[ 1.0] " PANIC_SCAN_TEXT ": no init\n";
	struct guest_run run;
	uint8_t code[256];

	guest_run_init(&run);
	guest_run(&run, code, put_text_guest(code, text, reset, sizeof(reset)));
	cr_expect_eq(run.status, 4);
	cr_expect(strstr(run.stats, "\"reason\": \"panic\""));

	/* Somebody reads a log aloud: no crash. */
	guest_run_init(&run);
	guest_run(&run, code, put_text_guest(code, text, off, sizeof(off)));
	cr_expect_eq(run.status, 0);
}

/* Sends a command, a while after the start. */
struct sender {
	int fd;
	uint8_t message[2];
};

static void *send_later(void *context)
{
	const struct sender *sender = context;

	usleep(100000);
	cr_expect_eq(send(sender->fd, sender->message, 2, 0), 2);
	return NULL;
}

static void run_with_command(struct guest_run *run, const uint8_t *code,
			     size_t len, enum vmm_command command, int number)
{
	struct sender sender = { run->control[0],
				 { (uint8_t)command, (uint8_t)number } };
	pthread_t thread;

	pthread_create(&thread, NULL, send_later, &sender);
	guest_run(run, code, len);
	pthread_join(thread, NULL);
}

Test(vmm_run, end_command_stops_a_guest_that_loops)
{
	struct guest_run run;

	guest_run_init(&run);
	run_with_command(&run, stay, sizeof(stay), VMM_COMMAND_END, SIGINT);
	cr_expect_eq(run.status, 128 + SIGINT);
	cr_expect(strstr(run.stats, "\"reason\": \"signal\""));
}

Test(vmm_run, end_command_stops_a_guest_that_is_halted)
{
	static const uint8_t code[] = { 0xfa, 0xf4, 0xeb, 0xfc };
	struct guest_run run;

	guest_run_init(&run);
	run_with_command(&run, code, sizeof(code), VMM_COMMAND_END, SIGTERM);
	cr_expect_eq(run.status, 128 + SIGTERM);
}

Test(vmm_run, all_vcpus_stop_also_those_that_never_ran)
{
	struct guest_run run;

	guest_run_init(&run);
	run.config.vcpus = 4;
	run_with_command(&run, stay, sizeof(stay), VMM_COMMAND_END, SIGTERM);
	cr_expect_eq(run.status, 128 + SIGTERM);
	cr_expect_eq(guest_stat(&run, "mmio", 3), 0);
	cr_expect_eq(guest_stat(&run, "mmio", 4), -1);
}

Test(vmm_run, power_button_that_nobody_hears_ends_the_vm_after_the_time_out)
{
	struct guest_run run;

	guest_run_init(&run);
	run_with_command(&run, stay, sizeof(stay), VMM_COMMAND_POWER_BUTTON,
			 SIGTERM);
	cr_expect_eq(run.status, 128 + SIGTERM);
	cr_expect_geq(guest_stat(&run, "uptime_ms", 0), 200);
}

Test(vmm_run, end_of_the_control_socket_ends_the_vm)
{
	struct guest_run run;

	guest_run_init(&run);
	shutdown(run.control[0], SHUT_RDWR);
	guest_run(&run, stay, sizeof(stay));
	cr_expect_eq(run.status, 128 + SIGHUP);
}

/* 10 times out 0x80 between the marks; the mark 3 itself is in the difference. */
Test(vmm_run, marks_hold_the_difference_of_the_counters)
{
	static const uint8_t code[] = {
		GUEST_OUT(0x501, 1),
		GUEST_OUT(0x501, 2),
		0xb9,
		10,
		0,
		0,
		0, /* mov ecx, 10 */
		0xe6,
		0x80, /* out 0x80, al */
		0x49,
		0x75,
		0xfb, /* dec ecx; jnz */
		GUEST_OUT(0x501, 3),
		GUEST_POWER_OFF,
	};
	struct guest_run run;

	guest_run_init(&run);
	guest_run(&run, code, sizeof(code));
	cr_expect_eq(run.status, 0);
	cr_expect_eq(guest_stat(&run, "pio", 0), 14, "%s", run.stats);
	cr_expect_eq(guest_stat(&run, "pio", 1), 11, "%s", run.stats);
	cr_expect_geq(guest_stat(&run, "guest_ready_us", 0), 0);
	cr_expect_geq(guest_stat(&run, "first_run_us", 0), 0);
	cr_expect_geq(guest_stat(&run, "overhead_bytes", 0), 4096);
}

/* mov eax, [0xd0000000]; cmp eax, -1; jne (triple fault); power off */
Test(vmm_run, window_without_a_device_reads_as_ones)
{
	static const uint8_t code[] = {
		0xa1,
		0,
		0,
		0,
		0xd0,
		0x83,
		0xf8,
		0xff,
		0x74,
		0x02,
		0x0f,
		0x0b,
		GUEST_POWER_OFF,
	};
	struct guest_run run;

	guest_run_init(&run);
	guest_run(&run, code, sizeof(code));
	cr_expect_eq(run.status, 0);
	cr_expect_eq(guest_stat(&run, "mmio", 0), 1);
}

Test(vmm_run, as_many_vcpus_as_there_can_be_run_or_are_an_error_of_the_host)
{
	static const uint8_t code[] = { GUEST_POWER_OFF };
	struct guest_run run;

	guest_run_init(&run);
	run.config.vcpus = CONFIG_VCPUS_MAX;
	guest_run(&run, code, sizeof(code));
	if (run.status != 0) {
		cr_expect_eq(run.status, 3);
		cr_expect_str_neq(run.error.text, "");
	}
}

Test(vmm_run, kernel_that_is_none_is_an_error_of_the_configuration)
{
	struct guest_run run;
	struct vm_files files;
	struct vmm_options options = {
		.config = &run.config,
		.files = &files,
		.control_fd = -1,
		.console_in = -1,
		.console_out = -1,
	};

	guest_run_init(&run);
	vm_files_init(&files);
	files.kvm = vm_files_open_kvm(&run.error);
	files.kernel = guest_file(stay, sizeof(stay));
	cr_assert_eq(ftruncate(files.kernel, 30), 0);
	cr_expect_eq(vmm_run(&options, &run.error), 2);
	cr_expect(strncmp(run.error.text, "boot.kernel: ", 13) == 0, "'%s'",
		  run.error.text);
	vmm_config_destroy(&run.config);
}

Test(vmm_run, disk_that_is_none_is_an_error_of_its_key)
{
	struct guest_run run;
	struct vm_files files;
	struct vmm_options options = {
		.config = &run.config,
		.files = &files,
		.control_fd = -1,
		.console_in = -1,
		.console_out = -1,
	};

	guest_run_init(&run);
	vm_files_init(&files);
	files.kvm = vm_files_open_kvm(&run.error);
	files.kernel = guest_file(stay, sizeof(stay));
	files.disks[0] = guest_file(stay, sizeof(stay));
	cr_assert_eq(ftruncate(files.disks[0], 1000), 0);
	run.config.disks[0] = (struct disk_config){ .name = "root",
						    .path = strdup("odd"),
						    .queues = 1 };
	run.config.disk_count = 1;
	run.config.order[0].kind = DEVICE_DISK;
	run.config.order_count = 1;
	cr_expect_eq(vmm_run(&options, &run.error), 2);
	cr_expect(strncmp(run.error.text, "disk.root.path: odd: ", 21) == 0,
		  "'%s'", run.error.text);
	vmm_config_destroy(&run.config);
}

int __lsan_do_recoverable_leak_check(void) __attribute__((weak));

static unsigned int open_descriptors(void)
{
	unsigned int fd, count = 0;

	for (fd = 0; fd < 256; fd++)
		count += fcntl((int)fd, F_GETFD) >= 0;
	return count;
}

Test(vmm_run, nothing_is_left_behind)
{
	unsigned int before = open_descriptors();

	cr_expect_eq(STATUS_OF(GUEST_POWER_OFF), 0);
	cr_expect_eq(open_descriptors(), before);
	if (__lsan_do_recoverable_leak_check)
		cr_expect_eq(__lsan_do_recoverable_leak_check(), 0);
}
