/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/probe.h"

#include "cli/problems.h"
#include "devices/error.h"
#include "vmm/probe.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

/* linux/landlock.h of Debian 12 has it, that of older ones has not. */
#define LANDLOCK_VERSION_FLAG 1u

/* struct io_uring_params: 120 bytes of zero ask for nothing special. */
#define IO_URING_PARAMS_BYTES 120

static void probe_line(const char *what, const char *answer)
{
	printf("%-18s %s\n", what, answer);
}

static void probe_kvm(const struct probe_result *result)
{
	if (!result->kvm_present) {
		probe_line("KVM", "no");
		return;
	}
	probe_line("KVM", "yes");
	probe_line("guest code",
		   result->native
			   ? "runs natively"
			   : "is interpreted, one instruction at a time");
	printf("%-18s %.2f ns\n", "an instruction", result->ns_per_instruction);
	printf("%-18s %.2f us\n", "an MMIO exit", result->exit_us);
	printf("%-18s %u\n", "vCPUs at most", result->vcpus_max);
}

static void probe_io_uring(void)
{
	uint8_t parameters[IO_URING_PARAMS_BYTES] = { 0 };
	long fd = syscall(SYS_io_uring_setup, 1, parameters);

	if (fd >= 0)
		close((int)fd);
	probe_line("io_uring", fd >= 0 ? "yes" : strerror(errno));
}

/* In a process of its own, which becomes root of nothing and ends. */
static void probe_user_namespaces(void)
{
	pid_t child = fork();
	int status = 0;

	if (child == 0)
		_exit(unshare(CLONE_NEWUSER) ? errno : 0);
	if (child < 0 || waitpid(child, &status, 0) != child ||
	    !WIFEXITED(status)) {
		probe_line("user namespaces", "unknown");
		return;
	}
	probe_line("user namespaces",
		   WEXITSTATUS(status) ? strerror(WEXITSTATUS(status)) : "yes");
}

static void probe_landlock(void)
{
	long version = syscall(SYS_landlock_create_ruleset, NULL, (size_t)0,
			       LANDLOCK_VERSION_FLAG);

	if (version < 0)
		probe_line("Landlock", strerror(errno));
	else
		printf("%-18s ABI %ld\n", "Landlock", version);
}

static void probe_tun(void)
{
	int fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC);

	probe_line("tun", fd >= 0 ? "yes" : strerror(errno));
	if (fd >= 0)
		close(fd);
}

/* The first line of @path without its newline; false when it cannot be read. */
static bool probe_read(const char *path, char *line, int size)
{
	FILE *file = fopen(path, "re");
	bool read;

	if (!file)
		return false;
	read = fgets(line, size, file) != NULL;
	fclose(file);
	if (read)
		line[strcspn(line, "\n")] = 0;
	return read;
}

static void probe_hugepages(void)
{
	char total[32];
	char free_pages[32];
	char modes[96];

	if (probe_read("/sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages",
		       total, sizeof(total)) &&
	    probe_read(
		    "/sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages",
		    free_pages, sizeof(free_pages)))
		printf("%-18s %s reserved, %s free\n", "pages of 2 MiB", total,
		       free_pages);
	else
		probe_line("pages of 2 MiB", "no");
	if (probe_read("/sys/kernel/mm/transparent_hugepage/shmem_enabled",
		       modes, sizeof(modes)))
		probe_line("transparent ones", modes);
	else
		probe_line("transparent ones", "no");
}

int probe_verb(void)
{
	struct problems problems = { .report = problems_report_all };
	struct probe_result result = { 0 };
	struct error error;

	if (probe_run(&result, &error)) {
		problems_add_error(&problems, &error);
		return (int)error.status;
	}
	probe_kvm(&result);
	/* Before the fork below, or both processes would print it. */
	fflush(stdout);
	probe_io_uring();
	probe_user_namespaces();
	probe_landlock();
	probe_tun();
	probe_hugepages();
	if (!result.reason[0])
		return EXIT_STATUS_OK;
	fflush(stdout);
	error_set(&error, EXIT_STATUS_HOST, "%s", result.reason);
	problems_add_error(&problems, &error);
	return EXIT_STATUS_HOST;
}
