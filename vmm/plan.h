/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The platform that a configuration asks for, computed without touching the
 * host: where RAM lies, which device has which window, interrupt and endpoint,
 * and the effective command line. `check` prints it, ACPI describes it, the
 * machine is built from it.
 */
#ifndef VMM_PLAN_H
#define VMM_PLAN_H

#include "memory/guest_memory.h"
#include "vmm/config.h"
#include "vmm/layout.h"

struct error;

enum planned_type { PLANNED_IOMMU, PLANNED_BLOCK, PLANNED_NET, PLANNED_RNG };

#define PLAN_NO_ENDPOINT UINT32_MAX

struct planned_device {
	enum planned_type type;
	const char *name; /* the config's, or a constant */
	unsigned int index; /* into the config's disks or nets */
	uint64_t mmio; /* guest-physical base of its window */
	unsigned int irq; /* IOAPIC pin */
	uint32_t endpoint; /* behind the IOMMU; PLAN_NO_ENDPOINT without one */
};

struct plan {
	unsigned int vcpus;
	unsigned int ram_count;
	struct guest_memory_range ram[2];
	unsigned int device_count;
	struct planned_device devices[LAYOUT_DEVICES_MAX];
	char cmdline[CONFIG_CMDLINE_MAX + 1];
};

/*
 * Fills @plan; it borrows from @config. Returns 0, or -1 with @error: too many
 * devices, too little memory, two root disks, a net without tap and passt or with
 * both, a command line that is too long.
 */
int plan_make(struct plan *plan, const struct vmm_config *config,
	      struct error *error);

/* "virtio-blk", "virtio-net", ... */
const char *planned_type_name(enum planned_type type);

#endif
