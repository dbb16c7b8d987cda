/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm/acpi.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "memory/base.h"
#include "tests/unit/vmm/boot_support.h"
#include "vmm/acpi_tables.h"

#define ADDRESS 0xe0000

static uint8_t tables[128 * KIB];
static struct plan plan;
static long used;

static void build(unsigned int vcpus, unsigned int disks, bool iommu)
{
	struct vmm_config config;
	char name[16];
	unsigned int i;

	make_config(&config);
	config.vcpus = vcpus;
	config.iommu.enabled = iommu;
	for (i = 0; i < disks; i++) {
		snprintf(name, sizeof(name), "d%u", i);
		add_disk(&config, name);
	}
	cr_assert_eq(plan_make(&plan, &config, NULL), 0);
	memset(tables, 0xa5, sizeof(tables));
	used = acpi_build(&plan, tables, sizeof(tables), ADDRESS);
	cr_assert_gt(used, 0);
}

static unsigned int sum(const void *bytes, size_t len)
{
	const uint8_t *byte = bytes;
	unsigned int total = 0;

	while (len-- > 0)
		total += *byte++;
	return total & 0xff;
}

static const struct acpi_header *table_at(uint64_t address)
{
	const struct acpi_header *header;

	cr_assert_geq(address, ADDRESS);
	cr_assert_leq(address + sizeof(*header), ADDRESS + (uint64_t)used);
	header = (const struct acpi_header *)(tables + (address - ADDRESS));
	cr_assert_leq(address + header->length, ADDRESS + (uint64_t)used);
	cr_expect_eq(sum(header, header->length), 0);
	return header;
}

static const struct acpi_header *xsdt(void)
{
	return table_at(((const struct acpi_rsdp *)tables)->xsdt);
}

/* NULL: the XSDT does not name it. */
static const void *find(const char *signature)
{
	const struct acpi_header *root = xsdt();
	unsigned int count = (unsigned int)(root->length - sizeof(*root)) / 8;
	unsigned int i;

	for (i = 0; i < count; i++) {
		const struct acpi_header *header;
		uint64_t address;

		memcpy(&address, (const uint8_t *)(root + 1) + 8 * i,
		       sizeof(address));
		header = table_at(address);
		if (memcmp(header->signature, signature, 4) == 0)
			return header;
	}
	return NULL;
}

Test(acpi, rsdp_leads_to_the_tables)
{
	const struct acpi_rsdp *rsdp = (const struct acpi_rsdp *)tables;

	build(1, 1, false);
	cr_expect_arr_eq(rsdp->signature, "RSD PTR ", 8);
	cr_expect_eq(rsdp->revision, 2);
	cr_expect_eq(rsdp->length, 36);
	cr_expect_eq(rsdp->rsdt, 0);
	cr_expect_eq(sum(rsdp, 20), 0);
	cr_expect_eq(sum(rsdp, 36), 0);
	cr_expect_arr_eq(xsdt()->signature, "XSDT", 4);
	cr_expect_eq(xsdt()->length, 36 + 2 * 8);
	cr_expect_not_null(find("FACP"));
	cr_expect_not_null(find("APIC"));
	cr_expect_null(find("VIOT"));
}

/* By the offsets of ACPI 6.4, table 5.9, not by our own struct. */
Test(acpi, fadt_is_hardware_reduced)
{
	static const uint8_t reset[12] = { 1, 8, 0, 1, 0x04, 0x06 };
	static const uint8_t control[12] = { 1, 8, 0, 1, 0x00, 0x06 };
	static const uint8_t status[12] = { 1, 8, 0, 1, 0x01, 0x06 };
	const uint8_t *fadt;
	uint64_t dsdt;
	size_t i;

	build(1, 1, false);
	fadt = find("FACP");
	cr_expect_eq(fadt[4] | fadt[5] << 8, 276);
	cr_expect_eq(fadt[8], 6);
	cr_expect_eq(fadt[131] & 0xf, 4);
	cr_expect_eq(fadt[109] | fadt[110] << 8, 1 << 2 | 1 << 5, "boot flags");
	cr_expect_eq(fadt[112], 1 << 4 | 1 << 5, "buttons");
	cr_expect_eq(fadt[113], 1 << 2, "reset register");
	cr_expect_eq(fadt[114], 1 << 4, "hardware-reduced");
	cr_expect_arr_eq(fadt + 116, reset, 12);
	cr_expect_eq(fadt[128], 1);
	cr_expect_arr_eq(fadt + 244, control, 12);
	cr_expect_arr_eq(fadt + 256, status, 12);
	memcpy(&dsdt, fadt + 140, sizeof(dsdt));
	cr_expect_arr_eq(table_at(dsdt)->signature, "DSDT", 4);
	cr_expect_eq(table_at(dsdt)->revision, 2);
	for (i = 36; i < 109; i++)
		cr_expect_eq(fadt[i], 0, "legacy field at %zu", i);
}

static void expect_processors(unsigned int vcpus)
{
	const struct acpi_madt *madt;
	unsigned int seen = 0;
	unsigned int io_apics = 0;
	const uint8_t *at, *end;

	build(vcpus, 0, false);
	madt = find("APIC");
	cr_expect_eq(madt->local_apic, 0xfee00000);
	cr_expect_eq(madt->flags, 0);
	at = (const uint8_t *)(madt + 1);
	end = (const uint8_t *)madt + madt->header.length;
	for (; at < end; at += at[1]) {
		cr_assert_gt(at[1], 0);
		if (at[0] == 0) {
			cr_expect_eq(at[1], 8);
			cr_expect_lt(seen, 255);
			cr_expect_eq(at[2], seen);
			cr_expect_eq(at[3], seen++);
			cr_expect_eq(at[4], 1);
		} else if (at[0] == 9) {
			const struct acpi_madt_x2apic *x2apic =
				(const void *)at;

			cr_expect_eq(x2apic->length, 16);
			cr_expect_geq(seen, 255);
			cr_expect_eq(x2apic->processor, seen);
			cr_expect_eq(x2apic->id, seen++);
			cr_expect_eq(x2apic->flags, 1);
		} else {
			const struct acpi_madt_io_apic *io_apic =
				(const void *)at;

			cr_expect_eq(io_apic->type, 1);
			cr_expect_eq(io_apic->length, 12);
			cr_expect_eq(io_apic->address, 0xfec00000);
			cr_expect_eq(io_apic->first_interrupt, 0);
			io_apics++;
		}
	}
	cr_expect_eq(at, end);
	cr_expect_eq(seen, vcpus);
	cr_expect_eq(io_apics, 1);
}

Test(acpi, madt_has_each_vcpu_and_the_ioapic)
{
	expect_processors(1);
	expect_processors(2);
	expect_processors(255);
	expect_processors(256);
	expect_processors(CONFIG_VCPUS_MAX);
}

static uint64_t number(const uint8_t *bytes, unsigned int len)
{
	uint64_t value = 0;

	memcpy(&value, bytes, len);
	return value;
}

/* iasl does not know this table. Offsets: ACPI 6.5, VIOT. */
Test(acpi, viot_names_the_iommu_and_its_endpoints)
{
	const uint8_t *viot;
	unsigned int i;

	build(1, 3, true);
	viot = find("VIOT");
	cr_assert_not_null(viot);
	cr_expect_eq(number(viot + 4, 4), 48 + 16 + 3 * 24);
	cr_expect_eq(viot[8], 0, "revision");
	cr_expect_eq(number(viot + 36, 2), 4, "nodes");
	cr_expect_eq(number(viot + 38, 2), 48, "offset of the first");
	cr_expect_eq(number(viot + 40, 8), 0);

	cr_expect_eq(viot[48], 4);
	cr_expect_eq(number(viot + 50, 2), 16);
	cr_expect_eq(number(viot + 56, 8), 0xd0000000);
	for (i = 0; i < 3; i++) {
		const uint8_t *node = viot + 64 + 24 * i;

		cr_expect_eq(node[0], 2);
		cr_expect_eq(node[1], 0);
		cr_expect_eq(number(node + 2, 2), 24);
		cr_expect_eq(number(node + 4, 4), 1 + i, "endpoint");
		cr_expect_eq(number(node + 8, 8), 0xd0001000 + 0x1000 * i);
		cr_expect_eq(number(node + 16, 2), 48, "output node");
		cr_expect_eq(number(node + 18, 6), 0);
	}
}

Test(acpi, buffer_that_is_too_small_is_refused)
{
	long size;

	build(2, 3, true);
	for (size = 0; size < used; size += 1 + size / 64) {
		uint8_t *exact = malloc((size_t)size + 1);

		cr_expect_eq(acpi_build(&plan, exact, (size_t)size, ADDRESS),
			     -ENOSPC);
		free(exact);
	}
	cr_expect_eq(acpi_build(&plan, tables, (size_t)used, ADDRESS), used);
}

Test(acpi, largest_platform_fits_into_its_place)
{
	build(CONFIG_VCPUS_MAX, LAYOUT_DEVICES_MAX - 1, true);
	cr_expect_lt(used, LAYOUT_ACPI_END - LAYOUT_ACPI);
}

/* --- what Intel's compiler says of the tables ---------------------------- */

static char directory[] = "/tmp/sluice-acpi-XXXXXX";

static void save(const char *name, const struct acpi_header *table)
{
	char path[64];
	FILE *file;

	snprintf(path, sizeof(path), "%s/%s.aml", directory, name);
	file = fopen(path, "w");
	cr_assert_not_null(file);
	cr_expect_eq(fwrite(table, 1, table->length, file), table->length);
	fclose(file);
}

/* Runs @command in the directory. Returns its status. */
static int run(const char *command)
{
	char line[1024];

	cr_assert_lt(snprintf(line, sizeof(line), "cd %s || exit 1; %s",
			      directory, command),
		     (int)sizeof(line));
	return system(line);
}

/*
 * Disassembles the table $T; the compiler has nothing to remark on the result,
 * and makes the same bytes of it (its own name stands in the header: bytes 28
 * to 35; and so the checksum, 9, differs; cmp counts from 1).
 */
static void expect_clean(const char *name, const struct acpi_header *table)
{
	save(name, table);
	setenv("T", name, 1);
	cr_assert_eq(run("iasl -p ${T}_new -d $T.aml >$T.log 2>&1"), 0);
	cr_expect_neq(run("grep -iE 'error|warning|remark|unknown' $T.log >&2"),
		      0);
	cr_expect_eq(run("iasl -oa -p ${T}_again ${T}_new.dsl >$T.log 2>&1"),
		     0);
	cr_expect_eq(
		run("grep -q ' 0 Errors, 0 Warnings, 0 Remarks' $T.log || {"
		    " cat $T.log >&2; exit 1; }"),
		0, "iasl finds fault with %s", name);
	cr_expect_eq(
		run("cmp -l $T.aml ${T}_again.aml 2>&1 | awk "
		    "'NF != 3 || ($1 != 10 && ($1 < 29 || $1 > 36)) { bad = 1 }"
		    " END { exit bad }'"),
		0, "%s comes back changed", name);
}

Test(acpi, iasl_has_nothing_to_say)
{
	const struct acpi_fadt *fadt;

	if (system("command -v iasl >/dev/null") != 0)
		cr_skip_test("no iasl (package acpica-tools)");
	cr_assert_not_null(mkdtemp(directory));
	build(3, 18, true);
	fadt = find("FACP");
	expect_clean("dsdt", table_at(fadt->x_dsdt));
	expect_clean("facp", &fadt->header);
	expect_clean("apic", find("APIC"));
	expect_clean("xsdt", xsdt());

	/* What the DSDT says, in the words of the language. */
	cr_expect_eq(run("grep -q 'Name (.*_S5, Package (0x04)' dsdt_new.dsl"),
		     0);
	cr_expect_eq(run("grep -q 'EisaId (\"PNP0501\")' dsdt_new.dsl"), 0);
	cr_expect_eq(run("grep -q 'EisaId (\"PNP0C0C\")' dsdt_new.dsl"), 0);
	cr_expect_eq(run("test $(grep -c '\"LNRO0005\"' dsdt_new.dsl) = 19"),
		     0);
	cr_expect_eq(run("test $(grep -c '_CCA, One' dsdt_new.dsl) = 19"), 0);
	cr_expect_eq(run("grep -q 'Notify (\\\\_SB.PWRB, 0x80)' dsdt_new.dsl"),
		     0);
	cr_expect_eq(
		run("test $(grep -c 'Interrupt (ResourceConsumer, Edge, ActiveHigh, "
		    "Exclusive' dsdt_new.dsl) = 21"),
		0);
	run("rm -rf ../${PWD##*/}");
}
