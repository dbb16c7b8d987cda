/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/config_values.h"
#include "cli/suggest.h"
#include "devices/error.h"
#include "memory/base.h"

#include <criterion/criterion.h>
#include <limits.h>
#include <string.h>

/* What the results hold when nothing was stored. */
#define UNTOUCHED 77

struct number_case {
	const char *text;
	bool good;
	uint64_t number;
};

Test(config_values, size_takes_powers_of_1024_and_checks_overflow)
{
	static const struct number_case cases[] = {
		{ "0", true, 0 },
		{ "1", true, 1 },
		{ "007", true, 7 },
		{ "1K", true, KIB },
		{ "128M", true, 128 * MIB },
		{ "3G", true, 3 * GIB },
		{ "18446744073709551615", true, UINT64_MAX },
		{ "17179869183G", true, 17179869183 * GIB },
		{ "18446744073709551616", false, 0 },
		{ "17179869184G", false, 0 },
		{ "99999999999999999999999999999", false, 0 },
		{ "", false, 0 },
		{ "M", false, 0 },
		{ "-1", false, 0 },
		{ "+1", false, 0 },
		{ " 1", false, 0 },
		{ "1 ", false, 0 },
		{ "1 M", false, 0 },
		{ "1m", false, 0 },
		{ "1MB", false, 0 },
		{ "1KK", false, 0 },
		{ "1.5G", false, 0 },
		{ "0x10", false, 0 },
		{ "1T", false, 0 },
	};

	for (unsigned int i = 0; i < ARRAY_SIZE(cases); i++) {
		struct error error = { 0 };
		uint64_t bytes = UNTOUCHED;
		int err = config_values_size(cases[i].text, &bytes, &error);

		cr_expect_eq(err, cases[i].good ? 0 : -1, "%s", cases[i].text);
		cr_expect_eq(bytes, cases[i].good ? cases[i].number : UNTOUCHED,
			     "%s", cases[i].text);
		cr_expect_eq(error.text[0] != 0, !cases[i].good, "%s",
			     cases[i].text);
	}
}

Test(config_values, duration_needs_a_unit)
{
	static const struct number_case cases[] = {
		{ "0s", true, 0 },
		{ "10s", true, 10000 },
		{ "500ms", true, 500 },
		{ "2147483647ms", true, 2147483647 },
		{ "2147483s", true, 2147483000 },
		{ "2147483648ms", false, 0 },
		{ "2147484s", false, 0 },
		{ "18446744073709551616ms", false, 0 },
		{ "10", false, 0 },
		{ "10 s", false, 0 },
		{ "10m", false, 0 },
		{ "10S", false, 0 },
		{ "s", false, 0 },
		{ "", false, 0 },
		{ "-1s", false, 0 },
		{ "1.5s", false, 0 },
	};

	for (unsigned int i = 0; i < ARRAY_SIZE(cases); i++) {
		struct error error;
		uint32_t milliseconds = UNTOUCHED;
		int err = config_values_duration(cases[i].text, &milliseconds,
						 &error);

		cr_expect_eq(err, cases[i].good ? 0 : -1, "%s", cases[i].text);
		cr_expect_eq(milliseconds,
			     cases[i].good ? cases[i].number : UNTOUCHED, "%s",
			     cases[i].text);
	}
}

Test(config_values, count_keeps_to_its_range)
{
	static const struct number_case cases[] = {
		{ "2", true, 2 },
		{ "9", true, 9 },
		{ "1", false, 0 },
		{ "10", false, 0 },
		{ "4294967298", false, 0 },
		{ "", false, 0 },
		{ "x", false, 0 },
		{ "3x", false, 0 },
		{ "18446744073709551618", false, 0 },
	};

	for (unsigned int i = 0; i < ARRAY_SIZE(cases); i++) {
		struct error error;
		unsigned int count = UNTOUCHED;
		int err = config_values_count(cases[i].text, 2, 9, &count,
					      &error);

		cr_expect_eq(err, cases[i].good ? 0 : -1, "%s", cases[i].text);
		cr_expect_eq(count, cases[i].good ? cases[i].number : UNTOUCHED,
			     "%s", cases[i].text);
	}
}

Test(config_values, boolean_is_yes_or_no)
{
	static const char *const wrong[] = {
		"", "true", "Yes", "1", "yes ", "n"
	};
	struct error error;
	bool value = false;

	cr_expect_eq(config_values_boolean("yes", &value, &error), 0);
	cr_expect(value);
	cr_expect_eq(config_values_boolean("no", &value, &error), 0);
	cr_expect_not(value);
	for (unsigned int i = 0; i < ARRAY_SIZE(wrong); i++)
		cr_expect_eq(config_values_boolean(wrong[i], &value, &error),
			     -1, "%s", wrong[i]);
}

Test(config_values, choice_is_the_index_or_names_them_all)
{
	static const char *const choices[] = { "off", "thp", "2M", NULL };
	unsigned int index = UNTOUCHED;
	struct error error;

	cr_expect_eq(config_values_choice("2M", choices, &index, &error), 0);
	cr_expect_eq(index, 2);
	cr_expect_eq(config_values_choice("on", choices, &index, &error), -1);
	cr_expect_str_eq(error.text, "on is not one of off, thp, 2M");
	cr_expect_eq(config_values_choice("", choices, &index, &error), -1);
	cr_expect_str_eq(error.text, "a value is missing: one of off, thp, 2M");
	cr_expect_eq(index, 2);
}

Test(config_values, name_is_short_and_plain)
{
	static const char *const wrong[] = {
		"",
		"A",
		"a_b",
		"a.b",
		"a b",
		"\xc3\xa4",
		"abcdefghijklmnopqrstuvwxyz0123456"
	};

	cr_expect(config_values_is_name("a"));
	cr_expect(config_values_is_name("-0z"));
	cr_expect(config_values_is_name("abcdefghijklmnopqrstuvwxyz012345"));
	for (unsigned int i = 0; i < ARRAY_SIZE(wrong); i++)
		cr_expect_not(config_values_is_name(wrong[i]), "%s", wrong[i]);
}

Test(config_values, mac_is_of_one_machine)
{
	static const char *const wrong[] = {
		"",
		"52:54:00:12:34",
		"52:54:00:12:34:5",
		"52:54:00:12:34:56:",
		"52-54-00-12-34-56",
		"52:54:00:12:34:5g",
		"53:54:00:12:34:56",
		"00:00:00:00:00:00",
		"ff:ff:ff:ff:ff:ff",
		"5 :54:00:12:34:56",
	};
	static const uint8_t right[6] = { 0x52, 0x54, 0, 0x12, 0xab, 0xcd };
	uint8_t mac[6] = { UNTOUCHED };
	struct error error;

	for (unsigned int i = 0; i < ARRAY_SIZE(wrong); i++) {
		cr_expect_eq(config_values_mac(wrong[i], mac, &error), -1, "%s",
			     wrong[i]);
		cr_expect_eq(mac[0], UNTOUCHED);
	}
	cr_expect_eq(config_values_mac("52:54:00:12:aB:Cd", mac, &error), 0);
	cr_expect_arr_eq(mac, right, 6);
}

Test(config_values, long_wrong_value_is_cut_in_the_error)
{
	char text[3000];
	struct error error;
	uint64_t bytes;

	memset(text, '9', sizeof(text));
	text[sizeof(text) - 1] = 0;
	cr_expect_eq(config_values_size(text, &bytes, &error), -1);
	cr_expect_lt(strlen(error.text), 200);
}

struct distance_case {
	const char *a, *b;
	unsigned int distance;
};

Test(suggest, distance_counts_edits_and_swaps)
{
	static const struct distance_case cases[] = {
		{ "", "", 0 },
		{ "a", "", 1 },
		{ "", "ab", 2 },
		{ "kernel", "kernel", 0 },
		{ "kernle", "kernel", 1 },
		{ "krnel", "kernel", 1 },
		{ "kerrnel", "kernel", 1 },
		{ "kermel", "kernel", 1 },
		{ "abc", "xyz", 3 },
		{ "kitten", "sitting", 3 },
		{ "inital", "initrd", 2 },
	};
	char large[100];

	for (unsigned int i = 0; i < ARRAY_SIZE(cases); i++) {
		cr_expect_eq(suggest_distance(cases[i].a, cases[i].b),
			     cases[i].distance, "%s %s", cases[i].a,
			     cases[i].b);
		cr_expect_eq(suggest_distance(cases[i].b, cases[i].a),
			     cases[i].distance, "%s %s", cases[i].b,
			     cases[i].a);
	}
	memset(large, 'a', sizeof(large));
	large[sizeof(large) - 1] = 0;
	cr_expect_eq(suggest_distance(large, "a"), UINT_MAX);
	cr_expect_eq(suggest_distance("a", large), UINT_MAX);
}

Test(suggest, nearest_wins_and_what_is_far_does_not_count)
{
	struct suggestion suggestion = { 0 };
	char phrase[SUGGEST_PHRASE_MAX];

	suggest_consider(&suggestion, "initdr", "kernel");
	cr_expect_null(suggestion.word);
	cr_expect_str_eq(suggest_phrase(&suggestion, phrase), "");
	suggest_consider(&suggestion, "initdr", "inited");
	suggest_consider(&suggestion, "initdr", "initrd");
	suggest_consider(&suggestion, "initdr", "initds");
	cr_expect_str_eq(suggest_phrase(&suggestion, phrase),
			 " (did you mean initrd?)");
}
