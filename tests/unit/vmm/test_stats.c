/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm/stats.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "memory/base.h"
#include "vmm/json.h"

/*
 * A checker of JSON's grammar (RFC 8259): returns where the value ends, NULL
 * when it is none.
 */
static const char *check_value(const char *at);

static const char *skip(const char *at)
{
	return at + strspn(at, " \t\r\n");
}

static const char *check_string(const char *at)
{
	if (*at++ != '"')
		return NULL;
	while (*at != '"') {
		if ((unsigned char)*at < 0x20)
			return NULL;
		if (*at == '\\') {
			at++;
			if (*at == 'u' &&
			    strspn(at + 1, "0123456789abcdef") >= 4)
				at += 4;
			else if (!*at || !strchr("\"\\/bfnrt", *at))
				return NULL;
		}
		at++;
	}
	return at + 1;
}

static const char *check_group(const char *at, char end)
{
	at = skip(at + 1);
	if (*at == end)
		return at + 1;
	for (;;) {
		if (end == '}') {
			at = check_string(at);
			if (!at || *(at = skip(at)) != ':')
				return NULL;
			at = skip(at + 1);
		}
		at = check_value(at);
		if (!at)
			return NULL;
		at = skip(at);
		if (*at == end)
			return at + 1;
		if (*at != ',')
			return NULL;
		at = skip(at + 1);
	}
}

static const char *check_value(const char *at)
{
	static const char *const words[] = { "null", "true", "false" };
	char *end;
	unsigned int i;

	if (*at == '{')
		return check_group(at, '}');
	if (*at == '[')
		return check_group(at, ']');
	if (*at == '"')
		return check_string(at);
	for (i = 0; i < ARRAY_SIZE(words); i++)
		if (strncmp(at, words[i], strlen(words[i])) == 0)
			return at + strlen(words[i]);
	strtod(at, &end);
	return end == at ? NULL : end;
}

static bool is_json(const char *text)
{
	const char *end = check_value(skip(text));

	return end && *skip(end) == '\0';
}

static char *finish(struct json *json)
{
	size_t length = 0;
	char *text = json_finish(json, &length);

	cr_assert_not_null(text);
	cr_assert_eq(length, strlen(text));
	cr_assert_eq(text[length - 1], '\n');
	cr_expect(is_json(text), "%s", text);
	return text;
}

Test(json, elements_are_separated_and_nested)
{
	struct json json;
	char *text;

	json_init(&json);
	json_object(&json, NULL);
	json_number(&json, "a", UINT64_MAX - 1);
	json_array(&json, "b");
	json_signed(&json, NULL, -3);
	json_null(&json, NULL);
	json_array(&json, NULL);
	json_array_end(&json);
	json_object(&json, NULL);
	json_object_end(&json);
	json_array_end(&json);
	json_bool(&json, "c", true);
	json_object_end(&json);
	text = finish(&json);
	cr_expect_str_eq(text, "{\"a\": 18446744073709551614, "
			       "\"b\": [-3, null, [], {}], \"c\": true}\n");
	free(text);
}

Test(json, strings_are_escaped_and_become_utf_8)
{
	static const struct {
		const char *value;
		const char *text;
	} cases[] = {
		{ "plain", "\"plain\"\n" },
		{ "\"\\/", "\"\\\"\\\\/\"\n" },
		{ "a\nb\x01\x7f", "\"a\\u000ab\\u0001\\u007f\"\n" },
		{ "gr\xc3\xbc\xc3\x9f", "\"gr\xc3\xbc\xc3\x9f\"\n" },
		{ "\xf0\x9f\x8c\x8a", "\"\xf0\x9f\x8c\x8a\"\n" },
		{ "\xff", "\"\\ufffd\"\n" },
		{ "\xc3", "\"\\ufffd\"\n" },
		{ "\xc0\xaf", "\"\\ufffd\\ufffd\"\n" }, /* overlong */
		{ "\xed\xa0\x80", "\"\\ufffd\\ufffd\\ufffd\"\n" },
		{ "\xf4\x90\x80\x80", "\"\\ufffd\\ufffd\\ufffd\\ufffd\"\n" },
		{ NULL, "null\n" },
	};
	struct json json;
	unsigned int i;
	char *text;

	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		json_init(&json);
		json_string(&json, NULL, cases[i].value);
		text = finish(&json);
		cr_expect_str_eq(text, cases[i].text, "case %u: %s", i, text);
		free(text);
	}
}

Test(json, long_texts_grow)
{
	struct json json;
	unsigned int i;
	char *text;

	json_init(&json);
	json_array(&json, NULL);
	for (i = 0; i < 100000; i++)
		json_number(&json, NULL, i);
	json_array_end(&json);
	text = finish(&json);
	cr_expect_str_eq(strrchr(text, ' '), " 99999]\n");
	free(text);
}

static const struct stats_shape shape = {
	.vcpus = 2,
	.device_count = 2,
	.devices = {
		{ "root", "virtio-blk", STATS_UNKNOWN, 1 },
		{ "data", "virtio-blk", 7, 2 },
	},
};

#define COUNTERS (2 * 4 + 11 + 2 * 4 + 3 * 6)

static char *report_text(const struct stats_report *report)
{
	size_t length = 0;
	char *text = stats_to_json(report, &length);

	cr_assert_not_null(text);
	cr_assert_eq(length, strlen(text));
	cr_expect(is_json(text), "%s", text);
	return text;
}

static void expect_part(const char *text, const char *part)
{
	cr_expect(strstr(text, part), "no %s in %s", part, text);
}

static void count_up(uint64_t *counters, uint64_t factor)
{
	unsigned int i;

	for (i = 0; i < COUNTERS; i++)
		counters[i] = i * factor;
}

Test(stats, shape_says_how_many_counters_there_are)
{
	cr_expect_eq(stats_counter_count(&shape), COUNTERS);
}

Test(stats, every_key_of_the_contract_is_there)
{
	static const char *const keys[] = {
		"version",
		"vm",
		"uptime_ms",
		"end",
		"reason",
		"detail",
		"boot",
		"setup_us",
		"first_run_us",
		"first_console_us",
		"guest_ready_us",
		"memory",
		"guest_bytes",
		"overhead_bytes",
		"vcpus",
		"exits",
		"mmio",
		"pio",
		"hlt",
		"other",
		"iommu",
		"enabled",
		"attach",
		"detach",
		"map",
		"unmap",
		"probe",
		"rejected",
		"mapped_bytes",
		"faults",
		"events_sent",
		"events_dropped",
		"unmap_waits",
		"devices",
		"name",
		"type",
		"endpoint",
		"requests",
		"errors",
		"bytes_read",
		"bytes_written",
		"queues",
		"kicks",
		"interrupts",
		"chains",
		"iotlb_hits",
		"iotlb_misses",
		"threads",
		"seccomp_rules",
		"cpu_us",
		"marks",
	};
	static const struct stats_thread thread = { "main", STATS_UNKNOWN, 3 };
	uint64_t counters[COUNTERS];
	const struct stats_report report = {
		.version = "1.2",
		.shape = &shape,
		.counters = counters,
		.thread_count = 1,
		.threads = &thread,
	};
	char key[32];
	unsigned int i;
	char *text;

	count_up(counters, 1);
	text = report_text(&report);
	for (i = 0; i < ARRAY_SIZE(keys); i++) {
		stpcpy(stpcpy(stpcpy(key, "\""), keys[i]), "\": ");
		expect_part(text, key);
	}
	free(text);
}

Test(stats, counters_stand_where_the_shape_says)
{
	uint64_t counters[COUNTERS];
	const struct stats_report report = {
		.vm = "a\"b",
		.end_reason = "power off",
		.setup_us = STATS_UNKNOWN,
		.first_run_us = 12,
		.overhead_bytes = STATS_UNKNOWN,
		.iommu = true,
		.shape = &shape,
		.counters = counters,
	};
	char *text;

	count_up(counters, 1);
	text = report_text(&report);
	expect_part(text, "\"vm\": \"a\\\"b\"");
	expect_part(text, "\"end\": {\"reason\": \"power off\", "
			  "\"detail\": null}");
	expect_part(text, "\"setup_us\": null, \"first_run_us\": 12");
	expect_part(text, "\"overhead_bytes\": null");
	expect_part(text, "[{\"exits\": {\"mmio\": 0, \"pio\": 1, "
			  "\"hlt\": 2, \"other\": 3}}, "
			  "{\"exits\": {\"mmio\": 4, ");
	expect_part(text, "{\"enabled\": true, \"attach\": 8, ");
	expect_part(text, "\"unmap_waits\": 18}");
	expect_part(text, "{\"name\": \"root\", \"type\": \"virtio-blk\", "
			  "\"endpoint\": null, \"requests\": 19, ");
	expect_part(text, "\"endpoint\": 7, \"requests\": 29, ");
	expect_part(text, "\"faults\": 44}]}], \"threads\": [], "
			  "\"marks\": null}");
	free(text);
}

Test(stats, marks_are_the_difference)
{
	uint64_t from[COUNTERS], to[COUNTERS];
	const struct stats_report report = {
		.shape = &shape,
		.counters = to,
		.mark_from = from,
		.mark_to = to,
		.mark_elapsed_us = 99,
	};
	char *text;

	count_up(from, 2);
	count_up(to, 5);
	to[14] = 1; /* a gauge: mapped_bytes went down */
	text = report_text(&report);
	expect_part(text, "\"marks\": {\"elapsed_us\": 99, \"vcpus\": "
			  "[{\"exits\": {\"mmio\": 0, \"pio\": 3, ");
	expect_part(text, "\"mapped_bytes\": -27, ");
	expect_part(text, "\"faults\": 132}]}]}}");
	free(text);
}

Test(stats, difference_with_an_unknown_is_unknown)
{
	uint64_t from[COUNTERS], to[COUNTERS];
	const struct stats_report report = {
		.shape = &shape,
		.counters = to,
		.mark_from = from,
		.mark_to = to,
	};
	char *text;

	count_up(from, 1);
	count_up(to, 1);
	from[0] = to[0] = STATS_UNKNOWN;
	from[1] = STATS_UNKNOWN;
	to[2] = STATS_UNKNOWN;
	text = report_text(&report);
	expect_part(strstr(text, "\"marks\""),
		    "{\"mmio\": null, \"pio\": null, \"hlt\": null, "
		    "\"other\": 0}");
	free(text);
}
