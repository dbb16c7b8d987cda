/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The parts of `sluice check`. Each prints what it finds to stdout, adds what
 * keeps `run` from working to the problems, and warns of what will not boot.
 */
#ifndef CLI_CHECK_FILES_H
#define CLI_CHECK_FILES_H

#include "vmm/boot.h"
#include "vmm/plan.h"

#include <stdbool.h>

struct config_entries;
struct error;

struct check {
	const struct vmm_config *config;
	const struct config_entries *entries; /* its problems are the check's */
	struct plan plan;
	bool is_linux; /* the kernel says its version */
	bool can_load; /* kernel and initrd are what they should be */
	struct kernel_info kernel;
};

/* "what  answer", as one line below a heading. */
void check_line(const char *what, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

/* `sluice: warning: text` on stderr. */
void check_warn(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Adds @error, which is about the key @key ("boot.kernel"). */
void check_report(const struct check *check, const char *key,
		  const struct error *error);

/* "128 MiB", "1.5 GiB", "512 bytes". Returns @buffer. */
#define CHECK_SIZE_MAX 32
const char *check_size(uint64_t bytes, char buffer[static CHECK_SIZE_MAX]);

void check_kernel(struct check *check);
void check_initrd(struct check *check);
/* Whether both fit into RAM, and the command line into the kernel. */
void check_boot(const struct check *check);
void check_disks(const struct check *check);
void check_nets(const struct check *check); /* cli/check_nets.c */
void check_console(const struct check *check);

#endif
