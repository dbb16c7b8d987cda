/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every guest-physical address, I/O port and interrupt number of the platform,
 * in one table. Nothing else in the project writes one down.
 */
#ifndef VMM_LAYOUT_H
#define VMM_LAYOUT_H

#include "memory/base.h"

/*
 * Guest-physical memory
 *
 *	0x00000000  RAM; its first MiB holds what the loaders put there:
 *	0x00000500    GDT of the boot processor
 *	0x00006000    PVH start_info, module list, memory map
 *	0x00007000    Linux boot_params (zero page)
 *	0x00009000    boot page tables (64-bit entry)
 *	0x00020000    kernel command line
 *	0x000a0000  legacy hole: reserved in the memory map
 *	0x000e0000    RSDP and the other ACPI tables
 *	0x000ffff0    reset vector: code that pulls the reset register
 *	0x00100000  RAM: kernel, initrd at the top
 *	0xc0000000  end of low RAM at most
 *	0xd0000000  virtio-mmio windows, one page each
 *	0xfec00000  IOAPIC
 *	0xfee00000  local APIC, MSIs
 *	0x100000000 RAM above 4 GiB
 */
#define LAYOUT_BOOT_GDT 0x500
#define LAYOUT_PVH_INFO 0x6000
#define LAYOUT_ZERO_PAGE 0x7000
#define LAYOUT_BOOT_PAGE_TABLES 0x9000
#define LAYOUT_CMDLINE 0x20000
#define LAYOUT_LOW_MEMORY_END 0xa0000 /* usable RAM below */
#define LAYOUT_ACPI 0xe0000
#define LAYOUT_ACPI_END 0xf0000
#define LAYOUT_RESET_VECTOR 0xffff0 /* where real mode starts, f000:fff0 */
#define LAYOUT_LOW_RESERVED_END 0x100000
#define LAYOUT_KERNEL 0x100000
#define LAYOUT_LOW_RAM_MAX (3 * GIB)
#define LAYOUT_MMIO_DEVICES 0xd0000000u
#define LAYOUT_MMIO_DEVICE_SIZE 0x1000u
#define LAYOUT_IOAPIC 0xfec00000u
#define LAYOUT_LOCAL_APIC 0xfee00000u
#define LAYOUT_MSI_FIRST 0xfee00000u
#define LAYOUT_MSI_LAST 0xfeefffffu
#define LAYOUT_KVM_IDENTITY_MAP 0xfffbc000u /* Intel only: one page */
#define LAYOUT_KVM_TSS 0xfffbd000u /* Intel only: three pages */
#define LAYOUT_HIGH_RAM (4 * GIB)

/* I/O ports */
#define LAYOUT_PORT_KEYBOARD 0x64 /* 0xfe: reset */
#define LAYOUT_PORT_COM1 0x3f8
#define LAYOUT_PORT_MARK 0x501
#define LAYOUT_PORT_PVPANIC 0x505
#define LAYOUT_PORT_SLEEP 0x600 /* SLEEP_CONTROL, SLEEP_STATUS */
#define LAYOUT_PORT_RESET 0x604
#define LAYOUT_RESET_VALUE 1

/* IOAPIC pins (global system interrupts) */
#define LAYOUT_IRQ_POWER_BUTTON 3
#define LAYOUT_IRQ_COM1 4
#define LAYOUT_IRQ_DEVICES 5 /* the first virtio device's */
#define LAYOUT_IRQ_PINS 24
#define LAYOUT_DEVICES_MAX (LAYOUT_IRQ_PINS - LAYOUT_IRQ_DEVICES)

#endif
