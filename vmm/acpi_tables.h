/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ACPI tables as they lie in memory, for acpi.c and its test. Section numbers
 * are those of ACPI 6.4. Everything is little-endian, as the host is.
 */
#ifndef VMM_ACPI_TABLES_H
#define VMM_ACPI_TABLES_H

#include <stddef.h>
#include <stdint.h>

#define ACPI_PACKED __attribute__((packed))

struct acpi_rsdp { /* 5.2.5.3 */
	char signature[8];
	uint8_t checksum; /* of the first 20 bytes */
	char oem_id[6];
	uint8_t revision;
	uint32_t rsdt;
	uint32_t length;
	uint64_t xsdt;
	uint8_t extended_checksum;
	uint8_t reserved[3];
} ACPI_PACKED;

struct acpi_header { /* 5.2.6 */
	char signature[4];
	uint32_t length;
	uint8_t revision;
	uint8_t checksum;
	char oem_id[6];
	char oem_table_id[8];
	uint32_t oem_revision;
	char creator_id[4];
	uint32_t creator_revision;
} ACPI_PACKED;

struct acpi_generic_address { /* 5.2.3.2 */
	uint8_t space;
	uint8_t bit_width;
	uint8_t bit_offset;
	uint8_t access_size;
	uint64_t address;
} ACPI_PACKED;

#define ACPI_SPACE_IO 1
#define ACPI_ACCESS_BYTE 1

struct acpi_fadt { /* 5.2.9; what hardware-reduced ACPI does not have is left 0 */
	struct acpi_header header;
	uint8_t legacy_1[73];
	uint16_t boot_architecture;
	uint8_t reserved;
	uint32_t flags;
	struct acpi_generic_address reset_register;
	uint8_t reset_value;
	uint16_t arm_boot_architecture;
	uint8_t minor_version;
	uint64_t x_firmware_control;
	uint64_t x_dsdt;
	struct acpi_generic_address legacy_2[8];
	struct acpi_generic_address sleep_control;
	struct acpi_generic_address sleep_status;
	uint64_t hypervisor_vendor;
} ACPI_PACKED;

_Static_assert(sizeof(struct acpi_fadt) == 276, "FADT of revision 6");
_Static_assert(offsetof(struct acpi_fadt, flags) == 112, "FADT flags");

#define ACPI_FADT_REVISION 6
#define ACPI_FADT_MINOR_VERSION 4

/*
 * 5.2.9.3. "Legacy devices" and "8042" are clear: Linux then looks for no PNP
 * BIOS and no keyboard controller. COM1 is found through the DSDT.
 */
#define ACPI_FADT_BOOT_NO_VGA (1u << 2)
#define ACPI_FADT_BOOT_NO_CMOS_RTC (1u << 5)

/* 5.2.9, table 5.10. The button flags say "no fixed button": PWRB is a device. */
#define ACPI_FADT_PWR_BUTTON (1u << 4)
#define ACPI_FADT_SLP_BUTTON (1u << 5)
#define ACPI_FADT_RESET_REG_SUP (1u << 10)
#define ACPI_FADT_HW_REDUCED_ACPI (1u << 20)

struct acpi_madt { /* 5.2.12 */
	struct acpi_header header;
	uint32_t local_apic;
	uint32_t flags; /* PCAT_COMPAT clear: no 8259 to mask */
} ACPI_PACKED;

struct acpi_madt_local_apic {
	uint8_t type; /* 0 */
	uint8_t length;
	uint8_t processor;
	uint8_t id;
	uint32_t flags;
} ACPI_PACKED;

struct acpi_madt_io_apic {
	uint8_t type; /* 1 */
	uint8_t length;
	uint8_t id;
	uint8_t reserved;
	uint32_t address;
	uint32_t first_interrupt;
} ACPI_PACKED;

struct acpi_madt_x2apic {
	uint8_t type; /* 9 */
	uint8_t length;
	uint16_t reserved;
	uint32_t id;
	uint32_t flags;
	uint32_t processor;
} ACPI_PACKED;

#define ACPI_MADT_REVISION 5
#define ACPI_MADT_LOCAL_APIC 0
#define ACPI_MADT_IO_APIC 1
#define ACPI_MADT_X2APIC 9
#define ACPI_MADT_ENABLED 1

/* 5.2.12.12: ids from 255 on need an x2APIC entry (255 is the broadcast). */
#define ACPI_XAPIC_IDS 255

/* Virtual I/O translation table, new with ACPI 6.5. */
struct acpi_viot {
	struct acpi_header header;
	uint16_t node_count;
	uint16_t node_offset;
	uint8_t reserved[8];
} ACPI_PACKED;

struct acpi_viot_endpoint {
	uint8_t type; /* 2: a single MMIO endpoint */
	uint8_t reserved;
	uint16_t length;
	uint32_t endpoint;
	uint64_t base;
	uint16_t output_node; /* offset from the start of the table */
	uint8_t reserved_2[6];
} ACPI_PACKED;

struct acpi_viot_iommu {
	uint8_t type; /* 4: virtio-iommu over MMIO */
	uint8_t reserved;
	uint16_t length;
	uint8_t reserved_2[4];
	uint64_t base;
} ACPI_PACKED;

#define ACPI_VIOT_MMIO_ENDPOINT 2
#define ACPI_VIOT_IOMMU_MMIO 4

#endif
