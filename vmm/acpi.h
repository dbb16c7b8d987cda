/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The ACPI tables of the platform (ACPI 6.4): hardware-reduced, built from a
 * plan into guest memory. design: docs/architecture.md, "Platform".
 */
#ifndef VMM_ACPI_H
#define VMM_ACPI_H

#include "memory/addr.h"

#include <stddef.h>
#include <stdint.h>

struct plan;

/*
 * Writes RSDP, XSDT, FADT, MADT, DSDT into @buffer of @size bytes, which the
 * guest will see at @address (RSDP first, so that @address is the RSDP's).
 * Returns the bytes used, or -ENOSPC.
 */
long acpi_build(const struct plan *plan, uint8_t *buffer, size_t size,
		uint64_t address);

#endif
