/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The table of keys, `help config` and sluice.ini(5) say the same, and the
 * table says what the contract does.
 */
#include "cli/config_entries.h"
#include "cli/config_keys.h"
#include "cli/config_load.h"
#include "cli/help.h"
#include "cli/options.h"
#include "devices/error.h"
#include "memory/base.h"
#include "tests/unit/cli/collect.h"
#include "vmm/config.h"

#include <criterion/criterion.h>
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What @print prints; to be freed. */
static char *printed(void (*print)(FILE *out))
{
	char *text = NULL;
	size_t size = 0;
	FILE *out = open_memstream(&text, &size);

	cr_assert_not_null(out);
	print(out);
	fclose(out);
	return text;
}

/* All keys of the contract. */
static const char *const contract[] = {
	"machine.name",
	"machine.vcpus",
	"machine.memory",
	"machine.hugepages",
	"machine.stop_timeout",
	"boot.kernel",
	"boot.initrd",
	"boot.cmdline",
	"console.output",
	"iommu.enabled",
	"iommu.service",
	"iommu.tables",
	"iommu.bypass",
	"disk.path",
	"disk.root",
	"disk.read_only",
	"disk.queues",
	"disk.engine",
	"disk.bandwidth",
	"disk.ops",
	"disk.burst",
	"net.tap",
	"net.passt",
	"net.mac",
	"net.mtu",
	"net.queues",
	"net.bandwidth",
	"net.ops",
	"net.burst",
	"rng.enabled",
	"sandbox.seccomp",
	"sandbox.jail",
	"sandbox.user",
	"sandbox.group",
	"sandbox.cgroup",
	"sandbox.memory_max",
	"sandbox.cpu_max",
};

Test(config_keys, table_has_exactly_the_keys_of_the_contract)
{
	cr_assert_eq(config_keys_count, ARRAY_SIZE(contract));
	for (unsigned int i = 0; i < config_keys_count; i++) {
		char name[64];

		snprintf(name, sizeof(name), "%s.%s",
			 config_keys_table[i].section,
			 config_keys_table[i].name);
		cr_expect_str_eq(name, contract[i]);
	}
}

Test(config_keys, each_key_has_a_section_and_one_sentence)
{
	for (unsigned int i = 0; i < config_keys_count; i++) {
		const struct config_key *key = &config_keys_table[i];
		size_t len = strlen(key->summary);
		bool found = false;

		for (unsigned int j = 0; j < config_keys_section_count; j++)
			found = found || strcmp(config_keys_sections[j].name,
						key->section) == 0;
		cr_expect(found, "%s", key->section);
		cr_expect(len > 0 && key->summary[len - 1] == '.', "%s",
			  key->summary);
		cr_expect(isupper((unsigned char)key->summary[0]), "%s",
			  key->summary);
		cr_expect_eq(key->type == KEY_CHOICE, key->choices != NULL,
			     "%s", key->name);
		cr_expect_not(key->required && key->default_value, "%s",
			      key->name);
	}
}

Test(config_keys, no_default_asks_for_what_is_not_available)
{
	for (unsigned int i = 0; i < config_keys_count; i++) {
		const struct config_key *key = &config_keys_table[i];

		if (key->default_value && key->not_yet &&
		    strcmp(key->not_yet, "*") != 0)
			cr_expect_not(
				config_keys_is_not_yet(key, key->default_value),
				"%s.%s", key->section, key->name);
	}
}

/* A default written into the file is what the file without it gives. */
Test(config_keys, defaults_are_values_that_the_parser_takes)
{
	char text[2048] = "[boot]\nkernel = k\n[disk.a]\npath = p\n";
	struct vmm_config implied, written;

	for (unsigned int round = 0; round < 2; round++) {
		struct vmm_config *config = round ? &written : &implied;
		struct config_entries entries;
		struct collector collector;

		collector_init(&collector);
		config_entries_init(&entries, "vm.ini", &collector.problems);
		cr_expect_eq(config_load_text(config, &entries, text,
					      strlen(text), NULL, 0),
			     0, "%s", collector.text);
		config_entries_destroy(&entries);
		for (unsigned int i = 0; round == 0 && i < config_keys_count;
		     i++) {
			const struct config_key *key = &config_keys_table[i];
			size_t len = strlen(text);

			if (!key->default_value ||
			    strcmp(key->section, "net") == 0)
				continue;
			snprintf(text + len, sizeof(text) - len,
				 "[%s%s]\n%s = %s\n", key->section,
				 strcmp(key->section, "disk") == 0 ? ".a" : "",
				 key->name, key->default_value);
		}
	}
	/* Strings apart, they are the same bytes. */
	cr_expect_str_eq(implied.cmdline, written.cmdline);
	cr_expect_eq(implied.vcpus, written.vcpus);
	cr_expect_eq(implied.memory, written.memory);
	cr_expect_eq(implied.pages, written.pages);
	cr_expect_eq(implied.stop_timeout_ms, written.stop_timeout_ms);
	cr_expect_eq(implied.console, written.console);
	cr_expect_eq(memcmp(&implied.iommu, &written.iommu,
			    sizeof(implied.iommu)),
		     0);
	cr_expect_eq(implied.rng, written.rng);
	cr_expect_eq(implied.sandbox.seccomp, written.sandbox.seccomp);
	cr_expect_eq(implied.disks[0].queues, written.disks[0].queues);
	cr_expect_eq(implied.disks[0].engine, written.disks[0].engine);
	vmm_config_destroy(&implied);
	vmm_config_destroy(&written);
}

Test(help, config_and_man_page_have_every_key_with_type_and_default)
{
	char *text = printed(help_config_text);
	char *man = printed(help_config_man);
	const char *text_at = text;
	const char *man_at = man;

	for (unsigned int i = 0; i < config_keys_count; i++) {
		const struct config_key *key = &config_keys_table[i];
		const char *words = config_keys_describe_default(key);
		char type[CONFIG_KEYS_TYPE_MAX];
		char line[256];

		/* In the order of the table, so that one of each is enough. */
		snprintf(line, sizeof(line), "\n  %s = %s  (%s%s)\n", key->name,
			 config_keys_describe_type(key, type),
			 key->required ? "" : "default: ", words);
		text_at = strstr(text_at, line);
		cr_assert_not_null(text_at, "%s", line);
		text_at += 1;
		snprintf(line, sizeof(line), ".It Cm %s No =", key->name);
		man_at = strstr(man_at, line);
		cr_assert_not_null(man_at, "%s", line);
		man_at += 1;
		if (!key->required) {
			snprintf(line, sizeof(line),
				 "The default is\n.Cm \\&%.*s",
				 (int)strcspn(words, " -"), words);
			cr_expect_not_null(strstr(man_at, line), "%s", line);
		}
	}
	for (unsigned int i = 0; i < config_keys_section_count; i++) {
		const struct config_section *section = &config_keys_sections[i];
		char line[64];

		snprintf(line, sizeof(line), "\n[%s%s]\n", section->name,
			 section->named ? ".NAME" : "");
		cr_expect_not_null(strstr(text, line), "%s", line);
		snprintf(line, sizeof(line), ".Ss [%s%s]", section->name,
			 section->named ? ".NAME" : "");
		cr_expect_not_null(strstr(man, line), "%s", line);
	}
	free(text);
	free(man);
}

Test(help, options_and_man_page_have_every_option_of_every_command)
{
	char *usage = printed(help_usage_text);
	char *text = printed(help_options_text);
	char *man = printed(help_options_man);

	for (unsigned int i = 0; i < options_verb_count; i++) {
		char line[64];

		snprintf(line, sizeof(line), "  %s ", options_verbs[i].name);
		cr_expect_not_null(strstr(usage, line), "%s", line);
		snprintf(line, sizeof(line), "usage: sluice %s",
			 options_verbs[i].name);
		cr_expect_not_null(strstr(text, line), "%s", line);
		snprintf(line, sizeof(line), ".It Cm %s",
			 options_verbs[i].name);
		cr_expect_not_null(strstr(man, line), "%s", line);
	}
	for (unsigned int i = 0; i < options_count; i++) {
		char line[64];

		if (options_table[i].id == OPTION_VERSION)
			continue;
		snprintf(line, sizeof(line), "  --%s", options_table[i].name);
		cr_expect_not_null(strstr(text, line), "%s", line);
		snprintf(line, sizeof(line), ".It Fl Fl %s",
			 options_table[i].name);
		cr_expect_not_null(strstr(man, line), "%s", line);
	}
	free(usage);
	free(text);
	free(man);
}

/* No line is wider than a terminal, none of the man pages' would be a request by accident. */
Test(help, lines_are_short_and_no_text_is_a_request)
{
	char *const texts[] = {
		printed(help_config_text),  printed(help_usage_text),
		printed(help_options_text), printed(help_config_man),
		printed(help_options_man),
	};

	for (unsigned int i = 0; i < ARRAY_SIZE(texts); i++) {
		const char *line = texts[i];

		while (*line) {
			size_t len = strcspn(line, "\n");

			cr_expect_leq(len, 80, "%.*s", (int)len, line);
			cr_expect_neq(line[0], '\'');
			if (line[0] == '.')
				cr_expect(isupper((unsigned char)line[1]),
					  "%.*s", (int)len, line);
			line += len + (line[len] == '\n');
		}
		free(texts[i]);
	}
}

/* The template of a man page has the line that its generated part replaces. */
static void expect_line(const char *path, const char *wanted)
{
	FILE *file = fopen(path, "r");
	char line[512];
	unsigned int found = 0;

	cr_assert_not_null(file, "%s: the tests run in the project's directory",
			   path);
	while (fgets(line, sizeof(line), file))
		found += strcmp(line, wanted) == 0;
	fclose(file);
	cr_expect_eq(found, 1, "%s: %s", path, wanted);
}

Test(help, man_page_templates_have_their_placeholders)
{
	expect_line("docs/sluice.1.in", "@OPTIONS@\n");
	expect_line("docs/sluice.ini.5.in", "@KEYS@\n");
}

Test(help, wrap_breaks_between_words)
{
	char *text = NULL;
	size_t size = 0;
	FILE *out = open_memstream(&text, &size);

	help_wrap(out, "a  b", 2, 0);
	help_wrap(out, "x", 4, 1);
	fclose(out);
	cr_expect_str_eq(text, "  a b\n   x\n", "%s", text);
	free(text);
}
