/* SPDX-License-Identifier: Apache-2.0 */
/* Longer than other files, because the table is one. */
#include "cli/config_keys.h"

#include "cli/config_values.h"
#include "devices/error.h"
#include "devices/virtio_blk.h"
#include "devices/virtio_net.h"
#include "memory/base.h"
#include "vmm/config.h"

#include <stdio.h>
#include <string.h>

#define PARTITIONS_MAX 255

static const char *const pages_choices[] = { "off", "thp", "2M", NULL };
static const char *const service_choices[] = { "inline", "poll", NULL };
static const char *const engine_choices[] = { "auto", "io_uring", "threads",
					      NULL };
static const char *const seccomp_choices[] = { "kill", "log", "off", NULL };

/* A choice is stored as its index, in an unsigned int. */
_Static_assert(sizeof(enum guest_memory_pages) == sizeof(unsigned int) &&
		       sizeof(enum iommu_service) == sizeof(unsigned int) &&
		       sizeof(enum disk_engine) == sizeof(unsigned int) &&
		       sizeof(enum seccomp_mode) == sizeof(unsigned int),
	       "enumerations");
_Static_assert(GUEST_MEMORY_SMALL_PAGES == 0 && GUEST_MEMORY_THP == 1 &&
		       GUEST_MEMORY_2M == 2,
	       "pages_choices");
_Static_assert(IOMMU_SERVICE_INLINE == 0 && IOMMU_SERVICE_POLL == 1,
	       "service_choices");
_Static_assert(DISK_ENGINE_AUTO == 0 && DISK_ENGINE_IO_URING == 1 &&
		       DISK_ENGINE_THREADS == 2,
	       "engine_choices");
_Static_assert(SECCOMP_KILL == 0 && SECCOMP_LOG == 1 && SECCOMP_OFF == 2,
	       "seccomp_choices");

const struct config_section config_keys_sections[] = {
	{ .name = "machine", .summary = "The virtual machine as a whole." },
	{ .name = "boot", .summary = "What the machine starts." },
	{ .name = "console", .summary = "The guest's serial console." },
	{ .name = "iommu",
	  .summary =
		  "The virtio-iommu between the devices and the guest's memory." },
	{ .name = "disk",
	  .named = true,
	  .place = PLACE_DISK,
	  .summary =
		  "A disk, any number of times: /dev/vda, /dev/vdb and so on in the "
		  "order of the file." },
	{ .name = "net",
	  .named = true,
	  .place = PLACE_NET,
	  .summary = "A network interface, any number of times." },
	{ .name = "rng", .summary = "The guest's source of entropy." },
	{ .name = "sandbox",
	  .summary = "What confines the VM's process on the host." },
};

const unsigned int config_keys_section_count = ARRAY_SIZE(config_keys_sections);

#define IN_VMM(member) .offset = offsetof(struct vmm_config, member)
#define IN_DISK(member) .offset = offsetof(struct disk_config, member)
#define IN_NET(member) .offset = offsetof(struct net_config, member)

const struct config_key config_keys_table[] = {
	{ .section = "machine",
	  .name = "name",
	  .type = KEY_NAME,
	  .default_words = "the file's name",
	  IN_VMM(name),
	  .summary = "What messages and statistics call the VM." },
	{ .section = "machine",
	  .name = "vcpus",
	  .type = KEY_COUNT,
	  .min = 1,
	  .max = CONFIG_VCPUS_MAX,
	  .default_value = "1",
	  IN_VMM(vcpus),
	  .summary =
		  "How many processors the guest sees, at most what the host's KVM allows." },
	{ .section = "machine",
	  .name = "memory",
	  .type = KEY_SIZE,
	  .default_value = "128M",
	  IN_VMM(memory),
	  .summary =
		  "The guest's RAM, of which the host gives what the guest touches." },
	{ .section = "machine",
	  .name = "hugepages",
	  .type = KEY_CHOICE,
	  .choices = pages_choices,
	  .default_value = "off",
	  IN_VMM(pages),
	  .summary =
		  "Back RAM with small pages (off), with transparent huge pages where the "
		  "host has them (thp), or with pages of the host's reserved pool (2M)." },
	{ .section = "machine",
	  .name = "stop_timeout",
	  .type = KEY_DURATION,
	  .default_value = "10s",
	  IN_VMM(stop_timeout_ms),
	  .summary =
		  "How long the guest may take to shut down once SIGTERM has pressed its "
		  "power button." },

	{ .section = "boot",
	  .name = "kernel",
	  .type = KEY_PATH,
	  .required = true,
	  IN_VMM(kernel),
	  .summary = "The kernel: a bzImage, or an ELF file with a PVH note." },
	{ .section = "boot",
	  .name = "initrd",
	  .type = KEY_PATH,
	  IN_VMM(initrd),
	  .summary = "The initial RAM disk that the kernel is given." },
	{ .section = "boot",
	  .name = "cmdline",
	  .type = KEY_TEXT,
	  .default_value = "console=ttyS0",
	  IN_VMM(cmdline),
	  .summary =
		  "The kernel's command line; panic=-1 is added, and root= for a disk with "
		  "root, unless it has them." },

	{ .section = "console",
	  .name = "output",
	  .type = KEY_CONSOLE,
	  .default_value = "stdio",
	  IN_VMM(console),
	  .summary =
		  "Where the console goes: to this terminal, nowhere, or to a file, which "
		  "keeps at most the last 16 MiB." },

	{ .section = "iommu",
	  .name = "enabled",
	  .type = KEY_BOOLEAN,
	  .default_value = "yes",
	  IN_VMM(iommu.enabled),
	  .summary =
		  "Put every device behind an IOMMU that the guest programs; no: devices "
		  "use guest addresses as they are." },
	{ .section = "iommu",
	  .name = "service",
	  .type = KEY_CHOICE,
	  .choices = service_choices,
	  .default_value = "inline",
	  .not_yet = "poll",
	  IN_VMM(iommu.service),
	  .summary =
		  "Serve the guest's mapping requests on the processor that makes them, or "
		  "by a thread that polls." },
	{ .section = "iommu",
	  .name = "tables",
	  .type = KEY_SIZE,
	  .default_value = "64M",
	  IN_VMM(iommu.tables),
	  .summary =
		  "The most host memory that the guest's mappings may take." },
	{ .section = "iommu",
	  .name = "bypass",
	  .type = KEY_BOOLEAN,
	  .default_value = "no",
	  IN_VMM(iommu.bypass),
	  .summary =
		  "Let devices pass the IOMMU until the guest's driver decides otherwise." },

	{ .section = "disk",
	  .name = "path",
	  .type = KEY_PATH,
	  .required = true,
	  IN_DISK(path),
	  .summary = "The disk's content: a raw image or a block device." },
	{ .section = "disk",
	  .name = "root",
	  .type = KEY_ROOT,
	  .min = 1,
	  .max = PARTITIONS_MAX,
	  .default_value = "no",
	  IN_DISK(root),
	  .summary =
		  "Have the kernel mount this disk, or the partition with this number, as "
		  "its root." },
	{ .section = "disk",
	  .name = "read_only",
	  .type = KEY_BOOLEAN,
	  .default_value = "no",
	  IN_DISK(read_only),
	  .summary =
		  "Keep the guest from writing; such a disk may serve several VMs at once." },
	{ .section = "disk",
	  .name = "queues",
	  .type = KEY_COUNT,
	  .min = 1,
	  .max = VIRTIO_BLK_QUEUES_MAX,
	  .default_value = "1",
	  IN_DISK(queues),
	  .summary = "Request queues, each with a thread of its own." },
	{ .section = "disk",
	  .name = "engine",
	  .type = KEY_CHOICE,
	  .choices = engine_choices,
	  .default_value = "auto",
	  .not_yet = "io_uring",
	  IN_DISK(engine),
	  .summary =
		  "How the host does the I/O: through io_uring, by plain system calls, or "
		  "the better of what it has." },
	{ .section = "disk",
	  .name = "bandwidth",
	  .type = KEY_SIZE,
	  .default_words = "unlimited",
	  IN_DISK(rate.bandwidth),
	  .summary =
		  "Bytes per second over all queues, reads, writes and zeroes together." },
	{ .section = "disk",
	  .name = "ops",
	  .type = KEY_SIZE,
	  .default_words = "unlimited",
	  IN_DISK(rate.ops),
	  .summary =
		  "Requests per second over all queues, with a burst of a tenth of a "
		  "second's worth after a pause." },
	{ .section = "disk",
	  .name = "burst",
	  .type = KEY_SIZE,
	  .default_words = "a tenth of a second's worth",
	  IN_DISK(rate.burst),
	  .summary =
		  "Bytes that may pass at once after a pause, at least 10 ms's worth of "
		  "bandwidth." },

	{ .section = "net",
	  .name = "tap",
	  .type = KEY_TAP,
	  IN_NET(tap),
	  .summary =
		  "The host's tap interface that the guest is connected to; new:NAME makes "
		  "it and takes it away, which needs privilege." },
	{ .section = "net",
	  .name = "passt",
	  .type = KEY_PASST,
	  IN_NET(passt),
	  .summary =
		  "The socket of a passt that the guest is connected to, without any "
		  "privilege; auto starts one." },
	{ .section = "net",
	  .name = "mac",
	  .type = KEY_MAC,
	  .default_words = "made from the VM's and the section's name",
	  IN_NET(mac),
	  .summary = "The interface's Ethernet address." },
	{ .section = "net",
	  .name = "mtu",
	  .type = KEY_COUNT,
	  .min = 68,
	  .max = 65535,
	  .default_words = "what the host's side has",
	  IN_NET(mtu),
	  .summary = "The largest packet, in bytes." },
	{ .section = "net",
	  .name = "queues",
	  .type = KEY_COUNT,
	  .min = 1,
	  .max = VIRTIO_NET_PAIRS_MAX,
	  .default_value = "1",
	  IN_NET(queues),
	  .summary =
		  "Pairs of queues, each with two threads of its own; a tap made for several "
		  "(multi_queue) can have more than one." },
	{ .section = "net",
	  .name = "bandwidth",
	  .type = KEY_SIZE,
	  .default_words = "unlimited",
	  .not_yet = KEY_NOT_YET_AT_ALL,
	  IN_NET(rate.bandwidth),
	  .summary = "Bytes per second in each direction." },
	{ .section = "net",
	  .name = "ops",
	  .type = KEY_SIZE,
	  .default_words = "unlimited",
	  .not_yet = KEY_NOT_YET_AT_ALL,
	  IN_NET(rate.ops),
	  .summary = "Packets per second in each direction." },
	{ .section = "net",
	  .name = "burst",
	  .type = KEY_SIZE,
	  .default_words = "one second's worth",
	  .not_yet = KEY_NOT_YET_AT_ALL,
	  IN_NET(rate.burst),
	  .summary = "Bytes that may pass at once after a pause." },

	{ .section = "rng",
	  .name = "enabled",
	  .type = KEY_BOOLEAN,
	  .default_value = "yes",
	  IN_VMM(rng),
	  .summary =
		  "Give the guest a virtio-rng device, of at most 1 MiB of entropy per "
		  "second." },

	{ .section = "sandbox",
	  .name = "seccomp",
	  .type = KEY_CHOICE,
	  .choices = seccomp_choices,
	  .default_value = "off",
	  .not_yet = "kill log",
	  IN_VMM(sandbox.seccomp),
	  .summary =
		  "End the VM at a system call that a thread's job does not need (kill), "
		  "only say so (log), or allow all (off)." },
	{ .section = "sandbox",
	  .name = "jail",
	  .type = KEY_BOOLEAN,
	  .default_value = "no",
	  .not_yet = "yes",
	  IN_VMM(sandbox.jail),
	  .summary =
		  "Take away privileges, files and other processes before the guest starts, "
		  "as far as the host allows." },
	{ .section = "sandbox",
	  .name = "user",
	  .type = KEY_WORD,
	  .not_yet = KEY_NOT_YET_AT_ALL,
	  IN_VMM(sandbox.user),
	  .summary = "The user to become when started as root." },
	{ .section = "sandbox",
	  .name = "group",
	  .type = KEY_WORD,
	  .not_yet = KEY_NOT_YET_AT_ALL,
	  IN_VMM(sandbox.group),
	  .summary = "The group to become when started as root." },
	{ .section = "sandbox",
	  .name = "cgroup",
	  .type = KEY_WORD,
	  .not_yet = KEY_NOT_YET_AT_ALL,
	  IN_VMM(sandbox.cgroup),
	  .summary = "The version 2 control group to run in." },
	{ .section = "sandbox",
	  .name = "memory_max",
	  .type = KEY_SIZE,
	  .not_yet = KEY_NOT_YET_AT_ALL,
	  IN_VMM(sandbox.memory_max),
	  .summary = "The control group's limit of memory." },
	{ .section = "sandbox",
	  .name = "cpu_max",
	  .type = KEY_WORD,
	  .not_yet = KEY_NOT_YET_AT_ALL,
	  IN_VMM(sandbox.cpu_max),
	  .summary = "The control group's limit of processor time." },
};

const unsigned int config_keys_count = ARRAY_SIZE(config_keys_table);

/* Offers "boot" or "disk.root" where the user wrote something like it. */
static void config_keys_suggest_section(const char *section,
					struct error *error)
{
	struct suggestion suggestion = { 0 };
	char phrase[SUGGEST_PHRASE_MAX];
	char whole[SUGGEST_PHRASE_MAX];
	char word[64];
	const char *dot = strchr(section, '.');
	const char *rest = dot ? dot : "";

	snprintf(word, sizeof(word), "%.*s",
		 dot ? (int)MIN(dot - section, 63) : 63, section);
	for (unsigned int i = 0; i < config_keys_section_count; i++) {
		if (config_keys_sections[i].named == (dot != NULL))
			suggest_consider(&suggestion, word,
					 config_keys_sections[i].name);
	}
	if (suggestion.word && strlen(rest) <= CONFIG_NAME_MAX + 1) {
		snprintf(whole, sizeof(whole), "%s%s", suggestion.word, rest);
		suggestion.word = whole;
	}
	error_set(error, EXIT_STATUS_CONFIGURATION, "unknown section%s",
		  suggest_phrase(&suggestion, phrase));
}

const struct config_section *config_keys_find_section(const char *section,
						      struct error *error)
{
	const char *dot = strchr(section, '.');
	size_t len = dot ? (size_t)(dot - section) : strlen(section);

	for (unsigned int i = 0; i < config_keys_section_count; i++) {
		const struct config_section *kind = &config_keys_sections[i];

		if (strlen(kind->name) != len ||
		    strncmp(kind->name, section, len) != 0)
			continue;
		if (kind->named && !dot) {
			error_set(error, EXIT_STATUS_CONFIGURATION,
				  "needs a name, as in [%s.%s]", kind->name,
				  kind->place == PLACE_DISK ? "root" : "eth0");
			return NULL;
		}
		if (!kind->named && dot)
			break;
		if (kind->named && !config_values_is_name(dot + 1)) {
			error_set(
				error, EXIT_STATUS_CONFIGURATION,
				"the name after %s. must be 1 to %u of a-z, 0-9 and -",
				kind->name, CONFIG_NAME_MAX);
			return NULL;
		}
		return kind;
	}
	config_keys_suggest_section(section, error);
	return NULL;
}

const struct config_key *config_keys_find(const struct config_section *section,
					  const char *name, struct error *error)
{
	struct suggestion suggestion = { 0 };
	char phrase[SUGGEST_PHRASE_MAX];
	const char *elsewhere = NULL;

	for (unsigned int i = 0; i < config_keys_count; i++) {
		const struct config_key *key = &config_keys_table[i];

		if (strcmp(key->section, section->name) == 0) {
			if (strcmp(key->name, name) == 0)
				return key;
			suggest_consider(&suggestion, name, key->name);
		} else if (strcmp(key->name, name) == 0 && !elsewhere) {
			elsewhere = key->section;
		}
	}
	if (!suggestion.word && elsewhere)
		error_set(error, EXIT_STATUS_CONFIGURATION,
			  "unknown key (it belongs to section %s)", elsewhere);
	else
		error_set(error, EXIT_STATUS_CONFIGURATION, "unknown key%s",
			  suggest_phrase(&suggestion, phrase));
	return NULL;
}

bool config_keys_section_is_not_yet(const struct config_section *section)
{
	for (unsigned int i = 0; i < config_keys_count; i++) {
		const struct config_key *key = &config_keys_table[i];

		if (strcmp(key->section, section->name) != 0)
			continue;
		if (!key->not_yet ||
		    strcmp(key->not_yet, KEY_NOT_YET_AT_ALL) != 0)
			return false;
	}
	return true;
}

bool config_keys_is_not_yet(const struct config_key *key, const char *value)
{
	const char *at = key->not_yet;
	size_t len = strlen(value);

	if (!at)
		return false;
	if (strcmp(at, KEY_NOT_YET_AT_ALL) == 0)
		return true;
	while (*at) {
		size_t word = strcspn(at, " ");

		if (word == len && strncmp(at, value, len) == 0)
			return true;
		at += word;
		at += strspn(at, " ");
	}
	return false;
}

const char *config_keys_describe_type(const struct config_key *key,
				      char buffer[static CONFIG_KEYS_TYPE_MAX])
{
	static const char *const words[] = {
		[KEY_TEXT] = "TEXT",
		[KEY_WORD] = "TEXT",
		[KEY_NAME] = "NAME",
		[KEY_PATH] = "PATH",
		[KEY_TAP] = "NAME | new:NAME",
		[KEY_PASST] = "PATH | auto",
		[KEY_SIZE] = "SIZE",
		[KEY_DURATION] = "DURATION",
		[KEY_COUNT] = "NUMBER",
		[KEY_BOOLEAN] = "yes | no",
		[KEY_CHOICE] = "",
		[KEY_ROOT] = "yes | no | NUMBER",
		[KEY_CONSOLE] = "stdio | none | file:PATH",
		[KEY_MAC] = "MAC",
	};
	size_t len = 0;

	snprintf(buffer, CONFIG_KEYS_TYPE_MAX, "%s", words[key->type]);
	if (key->type == KEY_COUNT)
		snprintf(buffer, CONFIG_KEYS_TYPE_MAX, "%u to %u", key->min,
			 key->max);
	for (unsigned int i = 0; key->choices && key->choices[i]; i++) {
		len += (size_t)snprintf(buffer + len,
					CONFIG_KEYS_TYPE_MAX - len, "%s%s",
					i ? " | " : "", key->choices[i]);
		len = MIN(len, CONFIG_KEYS_TYPE_MAX - 1);
	}
	return buffer;
}

const char *config_keys_describe_default(const struct config_key *key)
{
	if (key->required)
		return "required";
	if (key->default_words)
		return key->default_words;
	return key->default_value ? key->default_value : "none";
}
