/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm/aml.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "memory/base.h"

static uint8_t buffer[4 << 20];
static struct aml aml;

static void expect_bytes(const char *bytes, size_t len)
{
	cr_expect_not(aml.overflow);
	cr_expect_eq(aml.used, len, "%zu bytes instead of %zu", aml.used, len);
	cr_expect_arr_eq(aml.bytes, bytes, len);
}

#define EXPECT_BYTES(bytes) expect_bytes(bytes, sizeof(bytes) - 1)

Test(aml, integers_take_their_shortest_form)
{
	static const struct {
		uint64_t value;
		size_t len;
		const char *bytes;
	} cases[] = {
		{ 0, 1, "\x00" },
		{ 1, 1, "\x01" },
		{ 2, 2, "\x0a\x02" },
		{ 0xff, 2, "\x0a\xff" },
		{ 0x100, 3, "\x0b\x00\x01" },
		{ 0xffff, 3, "\x0b\xff\xff" },
		{ 0x10000, 5, "\x0c\x00\x00\x01\x00" },
		{ 0xffffffff, 5, "\x0c\xff\xff\xff\xff" },
		{ 0x100000000, 9, "\x0e\x00\x00\x00\x00\x01\x00\x00\x00" },
	};
	size_t i;

	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		aml_init(&aml, buffer, sizeof(buffer));
		aml_integer(&aml, cases[i].value);
		expect_bytes(cases[i].bytes, cases[i].len);
	}
}

Test(aml, paths_are_padded_and_prefixed)
{
	static const struct {
		const char *path;
		const char *bytes;
	} cases[] = {
		{ "COM1", "\x08"
			  "COM1" },
		{ "GED", "\x08"
			 "GED_" },
		{ "\\_S5", "\x08\\_S5_" },
		{ "\\_SB.PWRB", "\x08\\\x2e_SB_PWRB" },
		{ "A.BB.CCC", "\x08\x2f\x03"
			      "A___BB__CCC_" },
	};
	size_t i;

	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		aml_init(&aml, buffer, sizeof(buffer));
		aml_name(&aml, cases[i].path);
		expect_bytes(cases[i].bytes, strlen(cases[i].bytes));
	}
}

/* ACPI 6.4, 19.3.4 and the values that every firmware has. */
Test(aml, eisa_ids_are_packed)
{
	aml_init(&aml, buffer, sizeof(buffer));
	aml_eisa_id(&aml, "PNP0501");
	aml_eisa_id(&aml, "PNP0C0C");
	EXPECT_BYTES("\x0c\x41\xd0\x05\x01\x0c\x41\xd0\x0c\x0c");
}

Test(aml, lengths_count_themselves_at_every_size)
{
	static const struct {
		size_t content; /* bytes between the length and the end */
		unsigned int encoded;
		const char *bytes;
	} cases[] = {
		{ 5, 1, "\x06" },
		{ 62, 1, "\x3f" },
		{ 63, 2, "\x41\x04" },
		{ 4093, 2, "\x4f\xff" },
		{ 4094, 3, "\x81\x00\x01" },
		{ 0xffffc, 3, "\x8f\xff\xff" },
		{ 0xffffd, 4, "\xc1\x00\x00\x01" },
	};
	size_t i, j;

	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		struct aml_body body;

		aml_init(&aml, buffer, sizeof(buffer));
		body = aml_scope_begin(&aml, "_SB");
		for (j = 4; j < cases[i].content; j++)
			aml_integer(&aml, 1);
		aml_end(&aml, body);
		cr_assert_not(aml.overflow);
		cr_expect_eq(aml.used, 1 + cases[i].encoded + cases[i].content);
		cr_expect_eq(buffer[0], 0x10);
		cr_expect_arr_eq(buffer + 1, cases[i].bytes, cases[i].encoded);
		cr_expect_arr_eq(buffer + 1 + cases[i].encoded, "_SB_", 4);
		cr_expect_eq(buffer[aml.used - 1],
			     cases[i].content > 4 ? 1 : '_');
	}
}

Test(aml, terms_nest)
{
	struct aml_body device, method, condition;

	aml_init(&aml, buffer, sizeof(buffer));
	device = aml_device_begin(&aml, "GED");
	aml_name(&aml, "_HID");
	aml_string(&aml, "X");
	method = aml_method_begin(&aml, "_EVT", 1, true);
	condition = aml_if_argument_equals_begin(&aml, 0, 3);
	aml_notify(&aml, "\\_SB.PWRB", 0x80);
	aml_end(&aml, condition);
	aml_end(&aml, method);
	aml_end(&aml, device);
	EXPECT_BYTES("\x5b\x82\x27"
		     "GED_"
		     "\x08_HID\x0dX\0"
		     "\x14\x19_EVT\x09"
		     "\xa0\x12\x93\x68\x0a\x03"
		     "\x86\\\x2e_SB_PWRB\x0a\x80");
}

Test(aml, package_has_a_count)
{
	struct aml_body package;

	aml_init(&aml, buffer, sizeof(buffer));
	package = aml_package_begin(&aml, 2);
	aml_integer(&aml, 5);
	aml_integer(&aml, 0);
	aml_end(&aml, package);
	EXPECT_BYTES("\x12\x05\x02\x0a\x05\x00");
}

Test(aml, resources_are_a_buffer_with_an_end_tag)
{
	struct aml_body resources;

	aml_init(&aml, buffer, sizeof(buffer));
	resources = aml_resources_begin(&aml);
	aml_io(&aml, 0x3f8, 8);
	aml_memory32_fixed(&aml, 0xd0001000, 0x1000);
	aml_interrupt(&aml, 4);
	aml_resources_end(&aml, resources);
	EXPECT_BYTES("\x11\x22\x0a\x1f"
		     "\x47\x01\xf8\x03\xf8\x03\x01\x08"
		     "\x86\x09\x00\x01\x00\x10\x00\xd0\x00\x10\x00\x00"
		     "\x89\x06\x00\x03\x01\x04\x00\x00\x00"
		     "\x79\x00");
}

static void write_all(struct aml *out)
{
	struct aml_body scope = aml_scope_begin(out, "\\_SB");
	struct aml_body device = aml_device_begin(out, "DEV0");
	struct aml_body resources;

	aml_name(out, "_HID");
	aml_string(out, "LNRO0005");
	aml_name(out, "_CRS");
	resources = aml_resources_begin(out);
	aml_memory32_fixed(out, 0xd0000000, 0x1000);
	aml_interrupt(out, 5);
	aml_resources_end(out, resources);
	aml_end(out, device);
	aml_end(out, scope);
}

Test(aml, what_does_not_fit_is_said_and_not_written)
{
	size_t needed, size;

	aml_init(&aml, buffer, sizeof(buffer));
	write_all(&aml);
	cr_assert_not(aml.overflow);
	needed = aml.used;
	for (size = 0; size <= needed; size++) {
		uint8_t *exact = malloc(size + 1);

		exact[size] = 0xa5;
		aml_init(&aml, exact, size);
		write_all(&aml);
		cr_expect_eq(aml.overflow, size < needed);
		cr_expect_leq(aml.used, size);
		cr_expect_eq(exact[size], 0xa5);
		free(exact);
	}
}
