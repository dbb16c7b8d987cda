/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Guests of a few bytes, run by the real KVM of this machine, which may be one
 * that interprets: that is fast enough for them.
 */
#ifndef TESTS_UNIT_VMM_GUEST_SUPPORT_H
#define TESTS_UNIT_VMM_GUEST_SUPPORT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "devices/error.h"
#include "vmm/config.h"
#include "vmm/files.h"

/*
 * 32-bit code, entered by PVH: mov dx, port; mov al, value; out dx, al.
 * GUEST_STAY is jmp to itself.
 */
#define GUEST_OUT(port, value) \
	0x66, 0xba, (port)&0xff, (port) >> 8, 0xb0, (value), 0xee
#define GUEST_STAY 0xeb, 0xfe
#define GUEST_POWER_OFF GUEST_OUT(0x600, 0x34), GUEST_STAY

#define GUEST_ENTRY 0x100000

/* Skips the running test where /dev/kvm cannot be opened. */
void guest_need_kvm(void);

/* A memfd with an ELF file that enters @code at GUEST_ENTRY. */
int guest_file(const uint8_t *code, size_t len);

/* One vCPU, 16 MiB, console none. */
void guest_config(struct vmm_config *config);

/* A run of a guest, and what came of it. */
struct guest_run {
	struct vmm_config config; /* changed before guest_run() as needed */
	int control[2]; /* [0] is the parent's end */
	bool has_disk; /* an empty one of 1 MiB */
	char console[4096]; /* NUL-terminated */
	char stats[8192];
	struct error error;
	int status;
};

void guest_run_init(struct guest_run *run);
/* Runs @code to its end in this process. */
void guest_run(struct guest_run *run, const uint8_t *code, size_t len);
/* The number after the @nth (from 0) "@key": in run->stats; -1: not there. */
long long guest_stat(const struct guest_run *run, const char *key,
		     unsigned int nth);

#endif
