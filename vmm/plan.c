/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm/plan.h"

#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "devices/error.h"
#include "memory/base.h"

/* Room below the kernel's place is not enough for any guest. */
#define MEMORY_MIN (2 * MIB)

/* With less for its tables a guest gets hardly a disk going. */
#define IOMMU_TABLES_MIN (1 * MIB)

static const char *const type_names[] = {
	[PLANNED_IOMMU] = "virtio-iommu",
	[PLANNED_BLOCK] = "virtio-blk",
	[PLANNED_NET] = "virtio-net",
	[PLANNED_RNG] = "virtio-rng",
};

const char *planned_type_name(enum planned_type type)
{
	return type_names[type];
}

static int plan_ram(struct plan *plan, const struct vmm_config *config,
		    struct error *error)
{
	uint64_t unit = config->pages == GUEST_MEMORY_2M ? 2 * MIB : PAGE_SIZE;
	uint64_t bytes = config->memory;

	if (bytes < MEMORY_MIN)
		return error_set(
			error, EXIT_STATUS_CONFIGURATION,
			"machine.memory: %llu bytes are too few: 2M at least",
			(unsigned long long)bytes);
	if (!is_aligned(bytes, unit))
		return error_set(
			error, EXIT_STATUS_CONFIGURATION,
			"machine.memory: %llu bytes are no multiple of %s",
			(unsigned long long)bytes,
			unit == PAGE_SIZE ? "4K" : "2M");
	if (bytes > GUEST_MEMORY_END - LAYOUT_HIGH_RAM)
		return error_set(
			error, EXIT_STATUS_CONFIGURATION,
			"machine.memory: %llu bytes are more than x86 can address",
			(unsigned long long)bytes);

	plan->ram[0].first = 0;
	plan->ram[0].size = MIN(bytes, LAYOUT_LOW_RAM_MAX);
	plan->ram_count = 1;
	if (bytes > LAYOUT_LOW_RAM_MAX) {
		plan->ram[1].first = LAYOUT_HIGH_RAM;
		plan->ram[1].size = bytes - LAYOUT_LOW_RAM_MAX;
		plan->ram_count = 2;
	}
	return 0;
}

/* A burst of bytes is the bandwidth's. */
static int plan_rates(const struct vmm_config *config, struct error *error)
{
	unsigned int i;

	for (i = 0; i < config->disk_count; i++) {
		const struct disk_config *disk = &config->disks[i];

		if (disk->rate.burst && !disk->rate.bandwidth)
			return error_set(error, EXIT_STATUS_CONFIGURATION,
					 "disk.%s.burst: without bandwidth it "
					 "has no meaning",
					 disk->name);
	}
	return 0;
}

/* Counts also what does not fit, for the error. */
static void plan_device(struct plan *plan, enum planned_type type,
			const char *name, unsigned int index, uint32_t endpoint)
{
	unsigned int number = plan->device_count++;
	struct planned_device *device;

	if (number >= LAYOUT_DEVICES_MAX)
		return;
	device = &plan->devices[number];
	device->type = type;
	device->name = name;
	device->index = index;
	device->mmio = LAYOUT_MMIO_DEVICES +
		       (uint64_t)number * LAYOUT_MMIO_DEVICE_SIZE;
	device->irq = LAYOUT_IRQ_DEVICES + number;
	device->endpoint = endpoint;
}

static int plan_devices(struct plan *plan, const struct vmm_config *config,
			struct error *error)
{
	bool iommu = config->iommu.enabled;
	uint32_t endpoint = 1;
	unsigned int i;

	if (iommu && config->iommu.tables < IOMMU_TABLES_MIN)
		return error_set(error, EXIT_STATUS_CONFIGURATION,
				 "iommu.tables: %llu bytes are too few: 1M at "
				 "least",
				 (unsigned long long)config->iommu.tables);
	if (iommu)
		plan_device(plan, PLANNED_IOMMU, "iommu", 0, PLAN_NO_ENDPOINT);
	for (i = 0; i < config->order_count; i++) {
		unsigned int index = config->order[i].index;
		bool disk = config->order[i].kind == DEVICE_DISK;

		plan_device(plan, disk ? PLANNED_BLOCK : PLANNED_NET,
			    disk ? config->disks[index].name
				 : config->nets[index].name,
			    index, iommu ? endpoint++ : PLAN_NO_ENDPOINT);
	}
	if (config->rng)
		plan_device(plan, PLANNED_RNG, "rng", 0,
			    iommu ? endpoint : PLAN_NO_ENDPOINT);

	if (plan->device_count > LAYOUT_DEVICES_MAX)
		return error_set(
			error, EXIT_STATUS_CONFIGURATION,
			"devices: %u (with iommu and rng) are too many: at most %d, "
			"one interrupt line each",
			plan->device_count, LAYOUT_DEVICES_MAX);
	return 0;
}

/*
 * The length of the parameter at @text, as Linux's next_arg() cuts it: white
 * space inside double quotes does not end it.
 */
static size_t parameter_length(const char *text)
{
	bool quoted = false;
	size_t length;

	for (length = 0; text[length]; length++) {
		if (isspace((unsigned char)text[length]) && !quoted)
			break;
		if (text[length] == '"')
			quoted = !quoted;
	}
	return length;
}

static const char *skip_space(const char *text)
{
	while (isspace((unsigned char)*text))
		text++;
	return text;
}

/* Where the kernel's own parameters end: at a lone "--", what follows is init's. */
static size_t kernel_part_length(const char *cmdline)
{
	const char *at = skip_space(cmdline);
	const char *end = cmdline;

	while (*at) {
		size_t length = parameter_length(at);

		if (length == 2 && memcmp(at, "--", 2) == 0)
			break;
		end = at + length;
		at = skip_space(end);
	}
	return (size_t)(end - cmdline);
}

/* Whether the kernel's part of @cmdline has the parameter @name, with or without a value. */
static bool cmdline_has(const char *cmdline, const char *name)
{
	const char *end = cmdline + kernel_part_length(cmdline);
	size_t name_length = strlen(name);
	const char *at = skip_space(cmdline);

	while (at < end) {
		size_t length = parameter_length(at);
		const char *bare = *at == '"' ? at + 1 : at;

		if (strncmp(bare, name, name_length) == 0 &&
		    (bare[name_length] == '=' ||
		     bare + name_length >= at + length))
			return true;
		at = skip_space(at + length);
	}
	return false;
}

/* The root disk and its place among the disks. Returns NULL when there is none. */
static const struct disk_config *find_root(const struct vmm_config *config,
					   unsigned int *place,
					   const struct disk_config **second)
{
	const struct disk_config *root = NULL;
	unsigned int disks = 0;
	unsigned int i;

	*second = NULL;
	for (i = 0; i < config->order_count; i++) {
		const struct disk_config *disk =
			&config->disks[config->order[i].index];

		if (config->order[i].kind != DEVICE_DISK)
			continue;
		if (disk->root && root && !*second)
			*second = disk;
		if (disk->root && !root) {
			root = disk;
			*place = disks;
		}
		disks++;
	}
	return root;
}

/* snprintf at the end of @text; a text that does not fit only counts. */
static void append(char *text, size_t size, size_t *used, const char *format,
		   ...) __attribute__((format(printf, 4, 5)));

static void append(char *text, size_t size, size_t *used, const char *format,
		   ...)
{
	size_t at = MIN(*used, size - 1);
	va_list arguments;

	va_start(arguments, format);
	*used += (size_t)vsnprintf(text + at, size - at, format, arguments);
	va_end(arguments);
}

static int plan_cmdline(struct plan *plan, const struct vmm_config *config,
			struct error *error)
{
	const char *user = skip_space(config->cmdline ? config->cmdline : "");
	size_t kernel_part = kernel_part_length(user);
	size_t size = sizeof(plan->cmdline);
	char *text = plan->cmdline;
	const struct disk_config *root, *second;
	unsigned int place = 0;
	size_t used = 0;

	root = find_root(config, &place, &second);
	if (second)
		return error_set(
			error, EXIT_STATUS_CONFIGURATION,
			"disk.%s.root: disk.%s is the root disk already",
			second->name, root->name);

	if (kernel_part >= size)
		used = kernel_part;
	else
		append(text, size, &used, "%.*s", (int)kernel_part, user);
	if (!cmdline_has(user, "panic"))
		append(text, size, &used, "%spanic=-1", used ? " " : "");
	if (root && !cmdline_has(user, "root")) {
		append(text, size, &used, " root=/dev/vd%c",
		       (int)('a' + place));
		if (root->root_partition)
			append(text, size, &used, "%u", root->root_partition);
	}
	if (root && !cmdline_has(user, "rw") && !cmdline_has(user, "ro"))
		append(text, size, &used, " %s", root->read_only ? "ro" : "rw");
	user = skip_space(user + kernel_part);
	if (*user)
		append(text, size, &used, " %s", user);

	if (used >= size)
		return error_set(
			error, EXIT_STATUS_CONFIGURATION,
			"boot.cmdline: %zu bytes, with what sluice adds, are too many: "
			"at most %d",
			used, CONFIG_CMDLINE_MAX);
	return 0;
}

/* Each net has one thing that carries it. */
static int check_nets(const struct vmm_config *config, struct error *error)
{
	const struct net_config *net;
	unsigned int i;

	for (i = 0; i < config->net_count; i++) {
		net = &config->nets[i];
		if (!net->tap && !net->passt)
			return error_set(error, EXIT_STATUS_CONFIGURATION,
					 "net.%s.tap: is missing, and so is "
					 "passt: one of them is needed",
					 net->name);
		if (net->tap && net->passt)
			return error_set(error, EXIT_STATUS_CONFIGURATION,
					 "net.%s.passt: there is a tap already",
					 net->name);
		if (net->passt && net->queues > 1)
			return error_set(error, EXIT_STATUS_CONFIGURATION,
					 "net.%s.queues: passt has one pair",
					 net->name);
	}
	return 0;
}

int plan_make(struct plan *plan, const struct vmm_config *config,
	      struct error *error)
{
	memset(plan, 0, sizeof(*plan));
	if (config->vcpus < 1 || config->vcpus > CONFIG_VCPUS_MAX)
		return error_set(error, EXIT_STATUS_CONFIGURATION,
				 "machine.vcpus: %u is not between 1 and %d",
				 config->vcpus, CONFIG_VCPUS_MAX);
	plan->vcpus = config->vcpus;
	if (plan_ram(plan, config, error) || plan_rates(config, error) ||
	    check_nets(config, error) || plan_devices(plan, config, error))
		return -1;
	return plan_cmdline(plan, config, error);
}
