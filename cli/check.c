/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Everything is looked at, whatever was wrong before: a user wants to mend all
 * of it at once.
 */
#include "cli/check.h"

#include "cli/check_files.h"
#include "cli/config_entries.h"
#include "cli/config_keys.h"
#include "cli/config_load.h"
#include "cli/options.h"
#include "cli/problems.h"
#include "devices/error.h"
#include "memory/base.h"
#include "vmm/config.h"
#include "vmm/files.h"
#include "vmm/layout.h"
#include "vmm/probe.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

void check_line(const char *what, const char *format, ...)
{
	va_list arguments;

	printf("  %-14s ", what);
	va_start(arguments, format);
	vprintf(format, arguments);
	va_end(arguments);
	putchar('\n');
}

void check_warn(const char *format, ...)
{
	char line[768] = "sluice: warning: ";
	size_t len = strlen(line);
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(line + len, sizeof(line) - len, format, arguments);
	va_end(arguments);
	problems_print(line);
}

void check_report(const struct check *check, const char *key,
		  const struct error *error)
{
	struct error keyed;

	error_set(&keyed, error->status, "%s: %.440s", key, error->text);
	config_entries_report_error(check->entries, &keyed);
}

const char *check_size(uint64_t bytes, char buffer[static CHECK_SIZE_MAX])
{
	static const char *const units[] = { "bytes", "KiB", "MiB", "GiB",
					     "TiB" };
	double number = (double)bytes;
	unsigned int unit = 0;

	while (number >= 1024 && unit + 1 < ARRAY_SIZE(units)) {
		number /= 1024;
		unit++;
	}
	if (number == (double)(uint64_t)number)
		snprintf(buffer, CHECK_SIZE_MAX, "%llu %s",
			 (unsigned long long)number, units[unit]);
	else
		snprintf(buffer, CHECK_SIZE_MAX, "%.1f %s", number,
			 units[unit]);
	return buffer;
}

static void check_configuration(const struct check *check)
{
	static const char *const pages[] = {
		[GUEST_MEMORY_SMALL_PAGES] = "small pages",
		[GUEST_MEMORY_THP] = "transparent huge pages",
		[GUEST_MEMORY_2M] = "pages of 2 MiB",
	};
	static const char *const outputs[] = {
		[CONSOLE_STDIO] = "this terminal",
		[CONSOLE_NONE] = "none",
		[CONSOLE_FILE] = "file ",
	};
	const struct vmm_config *config = check->config;
	char size[CHECK_SIZE_MAX];

	printf("machine\n");
	check_line("name", "%s", config->name ? config->name : "");
	check_line("vcpus", "%u", config->vcpus);
	check_line("memory", "%s, %s", check_size(config->memory, size),
		   pages[config->pages]);
	check_line("console", "%s%s", outputs[config->console],
		   config->console_path ? config->console_path : "");
	check_line("iommu", "%s", config->iommu.enabled ? "on" : "off");
}

static void check_range(uint64_t first, uint64_t bytes, const char *what)
{
	char size[CHECK_SIZE_MAX];

	printf("  0x%012llx-0x%012llx  %-9s %s\n", (unsigned long long)first,
	       (unsigned long long)(first + bytes - 1), check_size(bytes, size),
	       what);
}

/* What the guest finds where, as vmm/layout.h has it. */
static void check_memory_map(const struct plan *plan)
{
	uint64_t low = plan->ram[0].size;

	printf("\nmemory map\n");
	check_range(0, MIN(low, LAYOUT_LOW_MEMORY_END), "RAM");
	check_range(LAYOUT_LOW_MEMORY_END,
		    LAYOUT_KERNEL - LAYOUT_LOW_MEMORY_END,
		    "reserved, ACPI tables");
	if (low > LAYOUT_KERNEL)
		check_range(LAYOUT_KERNEL, low - LAYOUT_KERNEL, "RAM");
	if (plan->device_count)
		check_range(LAYOUT_MMIO_DEVICES,
			    (uint64_t)plan->device_count *
				    LAYOUT_MMIO_DEVICE_SIZE,
			    "virtio devices");
	check_range(LAYOUT_IOAPIC, PAGE_SIZE, "IOAPIC");
	check_range(LAYOUT_MSI_FIRST,
		    (uint64_t)LAYOUT_MSI_LAST - LAYOUT_MSI_FIRST + 1,
		    "local APIC, MSIs");
	for (unsigned int i = 1; i < plan->ram_count; i++)
		check_range(plan->ram[i].first, plan->ram[i].size, "RAM");
}

static void check_devices(const struct plan *plan)
{
	printf("\ndevices\n  %-32s %-13s %-11s %-10s %s\n", "name", "type",
	       "address", "interrupt", "endpoint");
	printf("  %-32s %-13s %-11s %-10d %s\n", "console", "16550A",
	       "port 0x3f8", LAYOUT_IRQ_COM1, "-");
	for (unsigned int i = 0; i < plan->device_count; i++) {
		const struct planned_device *device = &plan->devices[i];
		char endpoint[16] = "-";

		if (device->endpoint != PLAN_NO_ENDPOINT)
			snprintf(endpoint, sizeof(endpoint), "%u",
				 device->endpoint);
		printf("  %-32s %-13s 0x%-9llx %-10u %s\n", device->name,
		       planned_type_name(device->type),
		       (unsigned long long)device->mmio, device->irq, endpoint);
	}
}

/* The value of the last parameter @name ("root=") of @cmdline that starts with @value. */
static bool check_cmdline_has(const char *cmdline, const char *parameter,
			      bool whole)
{
	size_t len = strlen(parameter);

	for (const char *at = strstr(cmdline, parameter); at;
	     at = strstr(at + 1, parameter)) {
		if ((at == cmdline || at[-1] == ' ') &&
		    (!whole || at[len] == 0 || at[len] == ' ' ||
		     at[len] == ','))
			return true;
	}
	return false;
}

static void check_cmdline(const struct check *check)
{
	const char *cmdline = check->plan.cmdline;

	printf("\ncommand line\n  %s\n", cmdline);
	if (!check->is_linux)
		return;
	if (!check_cmdline_has(cmdline, "console=ttyS0", true))
		check_warn(
			"boot.cmdline: console=ttyS0 is not in it: the kernel will be silent");
	if (check_cmdline_has(cmdline, "acpi=off", true))
		check_warn(
			"boot.cmdline: with acpi=off the kernel finds no device");
	if (check_cmdline_has(cmdline, "root=", false) &&
	    check->config->disk_count == 0)
		check_warn(
			"boot.cmdline: it names a root, and there is no disk");
}

static void check_host_memory(const struct check *check)
{
	long pages = sysconf(_SC_PHYS_PAGES);
	uint64_t bytes = (uint64_t)MAX(pages, 0) * PAGE_SIZE;
	char guest[CHECK_SIZE_MAX];
	char host[CHECK_SIZE_MAX];

	check_line("memory", "%s", check_size(bytes, host));
	if (bytes && check->config->memory > bytes)
		check_warn("machine.memory: %s are more than this host's %s",
			   check_size(check->config->memory, guest), host);
}

static void check_kvm(const struct check *check)
{
	struct problems *problems = check->entries->problems;
	struct probe_result result = { 0 };
	struct error error;
	int fd = vm_files_open_kvm(&error);

	if (fd < 0) {
		check_line("KVM", "no");
		problems_add_error(problems, &error);
		return;
	}
	close(fd);
	fflush(stdout);
	if (probe_run(&result, &error)) {
		problems_add_error(problems, &error);
		return;
	}
	check_line("KVM", "%s, %u vCPUs at most",
		   result.native ? "runs guest code natively"
				 : "interprets guest code",
		   result.vcpus_max);
	if (result.reason[0])
		check_warn("%s", result.reason);
	if (result.vcpus_max && check->config->vcpus > result.vcpus_max) {
		error_set(&error, EXIT_STATUS_HOST,
			  "machine.vcpus: this host's KVM has %u at most",
			  result.vcpus_max);
		problems_add_error(problems, &error);
	}
}

static void check_layer(const char *key_name, const char *state)
{
	const struct config_section *section =
		config_keys_find_section("sandbox", NULL);
	const struct config_key *key =
		config_keys_find(section, key_name, NULL);

	check_line(key_name, "%s%s", state,
		   key->not_yet ? " (not available in this version)" : "");
}

/* The layers, and what this version makes of them. */
static void check_sandbox(const struct check *check)
{
	static const char *const seccomp[] = {
		[SECCOMP_KILL] = "kill",
		[SECCOMP_LOG] = "log",
		[SECCOMP_OFF] = "off",
	};
	const struct vmm_config *config = check->config;

	printf("\nsandbox\n");
	check_layer("seccomp", seccomp[config->sandbox.seccomp]);
	check_layer("jail", config->sandbox.jail ? "on" : "off");
	check_layer("cgroup",
		    config->sandbox.cgroup ? config->sandbox.cgroup : "off");
}

static void check_all(struct check *check)
{
	struct error error;

	check_configuration(check);
	check_console(check);
	check_kernel(check);
	check_initrd(check);
	check_disks(check);
	check_nets(check);
	/* What it can say against the configuration, loading has said. */
	if (plan_make(&check->plan, check->config, &error) == 0) {
		check_boot(check);
		check_cmdline(check);
		check_memory_map(&check->plan);
		check_devices(&check->plan);
	}
	printf("\nhost\n");
	check_host_memory(check);
	check_kvm(check);
	check_sandbox(check);
}

int check_verb(const struct options *options)
{
	struct problems problems = { .report = problems_report_all };
	struct config_entries entries;
	struct vmm_config config;
	struct check check = { .config = &config, .entries = &entries };

	config_entries_init(&entries, options->file, &problems);
	config_load(&config, &entries, options->sets, options->set_count);
	/* A file that could not be read has no name. */
	if (config.name)
		check_all(&check);
	vmm_config_destroy(&config);
	config_entries_destroy(&entries);
	return problems.count ? (int)problems.status : EXIT_STATUS_OK;
}
