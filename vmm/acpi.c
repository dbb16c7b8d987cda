/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Tables are appended to the buffer one after the other, and the XSDT, which
 * names them, comes last; the RSDP in front names the XSDT. Section numbers are
 * those of ACPI 6.4. Everything is little-endian, as the host is.
 */
#include "vmm/acpi.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "devices/platform.h"
#include "devices/serial.h"
#include "memory/base.h"
#include "vmm/acpi_tables.h"
#include "vmm/aml.h"
#include "vmm/layout.h"
#include "vmm/plan.h"

#define TABLE_ALIGNMENT 64
#define TABLES_MAX 4 /* that the XSDT names */

struct acpi_writer {
	uint8_t *bytes;
	size_t size;
	size_t used;
	uint64_t address; /* of bytes[0] in the guest */
	bool overflow;
	unsigned int count;
	uint64_t listed[TABLES_MAX];
};

/* Sums to 0 once the result is added. */
static uint8_t checksum(const void *bytes, size_t count)
{
	const uint8_t *byte = bytes;
	uint8_t sum = 0;

	while (count-- > 0)
		sum = (uint8_t)(sum + *byte++);
	return (uint8_t)-sum;
}

/* @size zeroed bytes at the next aligned place, or NULL when they do not fit. */
static void *table_reserve(struct acpi_writer *writer, size_t size)
{
	size_t start = align_up(writer->used, TABLE_ALIGNMENT);

	if (writer->overflow || start > writer->size ||
	    size > writer->size - start) {
		writer->overflow = true;
		return NULL;
	}
	memset(writer->bytes + writer->used, 0, start + size - writer->used);
	writer->used = start + size;
	return writer->bytes + start;
}

static uint64_t table_address(const struct acpi_writer *writer,
			      const void *table)
{
	return writer->address +
	       (uint64_t)((const uint8_t *)table - writer->bytes);
}

static void table_finish(void *table, const char *signature, size_t length,
			 uint8_t revision)
{
	struct acpi_header *header = table;

	memcpy(header->signature, signature, sizeof(header->signature));
	header->length = (uint32_t)length;
	header->revision = revision;
	memcpy(header->oem_id, "SLUICE", sizeof(header->oem_id));
	memcpy(header->oem_table_id, "MICROVM ", sizeof(header->oem_table_id));
	header->oem_revision = 1;
	memcpy(header->creator_id, "SLCE", sizeof(header->creator_id));
	header->creator_revision = 1;
	header->checksum = 0;
	header->checksum = checksum(table, length);
}

static void table_list(struct acpi_writer *writer, const void *table)
{
	writer->listed[writer->count++] = table_address(writer, table);
}

static void dsdt_com1(struct aml *aml)
{
	struct aml_body device = aml_device_begin(aml, "COM1");
	struct aml_body resources;

	aml_name(aml, "_HID");
	aml_eisa_id(aml, "PNP0501");
	aml_name(aml, "_UID");
	aml_integer(aml, 0);
	aml_name(aml, "_CRS");
	resources = aml_resources_begin(aml);
	aml_io(aml, LAYOUT_PORT_COM1, SERIAL_PORTS);
	/* Not IRQNoFlags: only Interrupt() gives a trigger mode without the 8259. */
	aml_interrupt(aml, LAYOUT_IRQ_COM1);
	aml_resources_end(aml, resources);
	aml_end(aml, device);
}

static void dsdt_virtio(struct aml *aml, const struct planned_device *planned,
			unsigned int number)
{
	struct aml_body device, resources;
	char name[5];

	snprintf(name, sizeof(name), "VD%02u", number % 100);
	device = aml_device_begin(aml, name);
	aml_name(aml, "_HID");
	aml_string(aml, "LNRO0005");
	aml_name(aml, "_UID");
	aml_integer(aml, number);
	/* DMA is coherent. */
	aml_name(aml, "_CCA");
	aml_integer(aml, 1);
	aml_name(aml, "_CRS");
	resources = aml_resources_begin(aml);
	aml_memory32_fixed(aml, (uint32_t)planned->mmio,
			   LAYOUT_MMIO_DEVICE_SIZE);
	aml_interrupt(aml, planned->irq);
	aml_resources_end(aml, resources);
	aml_end(aml, device);
}

/*
 * Hardware-reduced ACPI has no fixed power button: an interrupt of the generic
 * event device (5.6.9) notifies a button device (4.8.2.2.1.2).
 */
static void dsdt_power_button(struct aml *aml)
{
	struct aml_body device, body, condition;

	device = aml_device_begin(aml, "PWRB");
	aml_name(aml, "_HID");
	aml_eisa_id(aml, "PNP0C0C");
	aml_name(aml, "_UID");
	aml_integer(aml, 0);
	aml_end(aml, device);

	device = aml_device_begin(aml, "GED");
	aml_name(aml, "_HID");
	aml_string(aml, "ACPI0013");
	aml_name(aml, "_UID");
	aml_integer(aml, 0);
	aml_name(aml, "_CRS");
	body = aml_resources_begin(aml);
	aml_interrupt(aml, LAYOUT_IRQ_POWER_BUTTON);
	aml_resources_end(aml, body);
	body = aml_method_begin(aml, "_EVT", 1, true);
	condition =
		aml_if_argument_equals_begin(aml, 0, LAYOUT_IRQ_POWER_BUTTON);
	aml_notify(aml, "\\_SB.PWRB", 0x80); /* pressed */
	aml_end(aml, condition);
	aml_end(aml, body);
	aml_end(aml, device);
}

static void dsdt_pvpanic(struct aml *aml)
{
	struct aml_body device = aml_device_begin(aml, "PEVT");
	struct aml_body resources;

	aml_name(aml, "_HID");
	aml_string(aml, "QEMU0001");
	aml_name(aml, "_STA");
	aml_integer(aml, 0xf); /* present, enabled, shown, working */
	aml_name(aml, "_CRS");
	resources = aml_resources_begin(aml);
	aml_io(aml, LAYOUT_PORT_PVPANIC, 1);
	aml_resources_end(aml, resources);
	aml_end(aml, device);
}

static const void *write_dsdt(struct acpi_writer *writer,
			      const struct plan *plan)
{
	void *table = table_reserve(writer, sizeof(struct acpi_header));
	struct aml_body scope, package;
	struct aml aml;
	unsigned int i;

	if (!table)
		return NULL;
	aml_init(&aml, writer->bytes + writer->used,
		 writer->size - writer->used);

	/* 7.4.2.6, and 4.8.3.7: the value for SLEEP_CONTROL's SLP_TYP. */
	aml_name(&aml, "\\_S5");
	package = aml_package_begin(&aml, 4);
	aml_integer(&aml, PLATFORM_SLEEP_TYPE_S5);
	for (i = 0; i < 3; i++)
		aml_integer(&aml, 0);
	aml_end(&aml, package);

	scope = aml_scope_begin(&aml, "\\_SB");
	dsdt_com1(&aml);
	for (i = 0; i < plan->device_count; i++)
		dsdt_virtio(&aml, &plan->devices[i], i);
	dsdt_power_button(&aml);
	dsdt_pvpanic(&aml);
	aml_end(&aml, scope);

	if (aml.overflow)
		writer->overflow = true;
	writer->used += aml.used;
	/* 5.2.11.1: from revision 2 on, integers have 64 bits. */
	table_finish(table, "DSDT", sizeof(struct acpi_header) + aml.used, 2);
	return table;
}

static void write_fadt(struct acpi_writer *writer, const void *dsdt)
{
	const struct acpi_generic_address port = {
		.space = ACPI_SPACE_IO,
		.bit_width = 8,
		.access_size = ACPI_ACCESS_BYTE,
	};
	struct acpi_fadt *fadt = table_reserve(writer, sizeof(*fadt));

	if (!fadt)
		return;
	fadt->boot_architecture = ACPI_FADT_BOOT_NO_VGA |
				  ACPI_FADT_BOOT_NO_CMOS_RTC;
	fadt->flags = ACPI_FADT_HW_REDUCED_ACPI | ACPI_FADT_RESET_REG_SUP |
		      ACPI_FADT_PWR_BUTTON | ACPI_FADT_SLP_BUTTON;
	fadt->reset_register = port;
	fadt->reset_register.address = LAYOUT_PORT_RESET;
	fadt->reset_value = LAYOUT_RESET_VALUE;
	fadt->minor_version = ACPI_FADT_MINOR_VERSION;
	fadt->x_dsdt = table_address(writer, dsdt);
	/* Linux powers off only when both are there. */
	fadt->sleep_control = port;
	fadt->sleep_control.address = LAYOUT_PORT_SLEEP;
	fadt->sleep_status = port;
	fadt->sleep_status.address = LAYOUT_PORT_SLEEP + 1;
	table_finish(fadt, "FACP", sizeof(*fadt), ACPI_FADT_REVISION);
	table_list(writer, fadt);
}

/*
 * No interrupt source overrides: they describe the 8259's lines, and every
 * interrupt here comes with its mode, in an Interrupt() descriptor.
 */
static void write_madt(struct acpi_writer *writer, const struct plan *plan)
{
	unsigned int xapics = MIN(plan->vcpus, ACPI_XAPIC_IDS);
	size_t size = sizeof(struct acpi_madt) +
		      sizeof(struct acpi_madt_io_apic) +
		      xapics * sizeof(struct acpi_madt_local_apic) +
		      (plan->vcpus - xapics) * sizeof(struct acpi_madt_x2apic);
	struct acpi_madt *madt = table_reserve(writer, size);
	struct acpi_madt_local_apic *local;
	struct acpi_madt_io_apic *io_apic;
	struct acpi_madt_x2apic *x2apic;
	unsigned int i;

	if (!madt)
		return;
	madt->local_apic = LAYOUT_LOCAL_APIC;
	local = (struct acpi_madt_local_apic *)(madt + 1);
	for (i = 0; i < xapics; i++, local++) {
		local->type = ACPI_MADT_LOCAL_APIC;
		local->length = sizeof(*local);
		local->processor = (uint8_t)i;
		local->id = (uint8_t)i;
		local->flags = ACPI_MADT_ENABLED;
	}
	x2apic = (struct acpi_madt_x2apic *)local;
	for (; i < plan->vcpus; i++, x2apic++) {
		x2apic->type = ACPI_MADT_X2APIC;
		x2apic->length = sizeof(*x2apic);
		x2apic->id = i;
		x2apic->flags = ACPI_MADT_ENABLED;
		x2apic->processor = i;
	}
	io_apic = (struct acpi_madt_io_apic *)x2apic;
	io_apic->type = ACPI_MADT_IO_APIC;
	io_apic->length = sizeof(*io_apic);
	io_apic->id = 0; /* as KVM's has it after reset */
	io_apic->address = LAYOUT_IOAPIC;
	table_finish(madt, "APIC", size, ACPI_MADT_REVISION);
	table_list(writer, madt);
}

static const struct planned_device *find_iommu(const struct plan *plan)
{
	unsigned int i;

	for (i = 0; i < plan->device_count; i++)
		if (plan->devices[i].type == PLANNED_IOMMU)
			return &plan->devices[i];
	return NULL;
}

static void write_viot(struct acpi_writer *writer, const struct plan *plan)
{
	const struct planned_device *planned = find_iommu(plan);
	unsigned int endpoints = 0;
	struct acpi_viot_endpoint *endpoint;
	struct acpi_viot_iommu *iommu;
	struct acpi_viot *viot;
	unsigned int i;
	size_t size;

	if (!planned)
		return;
	for (i = 0; i < plan->device_count; i++)
		endpoints += plan->devices[i].endpoint != PLAN_NO_ENDPOINT;
	size = sizeof(*viot) + sizeof(*iommu) + endpoints * sizeof(*endpoint);
	viot = table_reserve(writer, size);
	if (!viot)
		return;

	viot->node_count = (uint16_t)(1 + endpoints);
	viot->node_offset = sizeof(*viot);
	iommu = (struct acpi_viot_iommu *)(viot + 1);
	iommu->type = ACPI_VIOT_IOMMU_MMIO;
	iommu->length = sizeof(*iommu);
	iommu->base = planned->mmio;
	endpoint = (struct acpi_viot_endpoint *)(iommu + 1);
	for (i = 0; i < plan->device_count; i++) {
		if (plan->devices[i].endpoint == PLAN_NO_ENDPOINT)
			continue;
		endpoint->type = ACPI_VIOT_MMIO_ENDPOINT;
		endpoint->length = sizeof(*endpoint);
		endpoint->endpoint = plan->devices[i].endpoint;
		endpoint->base = plan->devices[i].mmio;
		endpoint->output_node = sizeof(*viot); /* the IOMMU's node */
		endpoint++;
	}
	table_finish(viot, "VIOT", size, 0);
	table_list(writer, viot);
}

static const void *write_xsdt(struct acpi_writer *writer)
{
	size_t size = sizeof(struct acpi_header) +
		      writer->count * sizeof(writer->listed[0]);
	uint8_t *xsdt = table_reserve(writer, size);

	if (!xsdt)
		return NULL;
	memcpy(xsdt + sizeof(struct acpi_header), writer->listed,
	       size - sizeof(struct acpi_header));
	table_finish(xsdt, "XSDT", size, 1);
	return xsdt;
}

long acpi_build(const struct plan *plan, uint8_t *buffer, size_t size,
		uint64_t address)
{
	struct acpi_writer writer = { .bytes = buffer,
				      .size = size,
				      .address = address };
	struct acpi_rsdp *rsdp = table_reserve(&writer, sizeof(*rsdp));
	const void *dsdt = write_dsdt(&writer, plan);
	const void *xsdt;

	if (dsdt)
		write_fadt(&writer, dsdt);
	write_madt(&writer, plan);
	write_viot(&writer, plan);
	xsdt = write_xsdt(&writer);
	if (writer.overflow)
		return -ENOSPC;

	memcpy(rsdp->signature, "RSD PTR ", sizeof(rsdp->signature));
	memcpy(rsdp->oem_id, "SLUICE", sizeof(rsdp->oem_id));
	rsdp->revision = 2;
	rsdp->length = sizeof(*rsdp);
	rsdp->xsdt = table_address(&writer, xsdt);
	rsdp->checksum = checksum(rsdp, offsetof(struct acpi_rsdp, length));
	rsdp->extended_checksum = checksum(rsdp, sizeof(*rsdp));
	return (long)writer.used;
}
