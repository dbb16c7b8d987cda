/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is in an initrd: which kernel's modules, and whether those that a
 * microVM needs are among them.
 *
 * It may be several archives one behind the other, as Linux takes them: plain
 * ones first (processor microcode), one compressed with any of the usual
 * programs last, which that program unpacks into a pipe.
 */
#ifndef CLI_INITRD_H
#define CLI_INITRD_H

#include <stdbool.h>
#include <stdint.h>

struct error;

#define INITRD_VERSIONS_MAX 4
#define INITRD_VERSION_BYTES 96
#define INITRD_MODULES_MAX 8

enum initrd_module {
	INITRD_MODULE_MISSING,
	INITRD_MODULE_FOUND,
	INITRD_MODULE_BUILT_IN, /* modules.builtin names it */
};

struct initrd_info {
	const char *compression; /* "zstd", "no", ...; constant */
	unsigned int entries; /* files, directories and so on */
	/* lib/modules/VERSION directories, the first few. */
	unsigned int version_count;
	char versions[INITRD_VERSIONS_MAX][INITRD_VERSION_BYTES];
	/* The modules that were asked for, - and _ being the same. */
	unsigned int module_count;
	const char *const *modules; /* the caller's */
	enum initrd_module states[INITRD_MODULES_MAX];
	bool has_modules; /* there is at least one *.ko, or a modules.builtin */
};

/*
 * Reads @fd (the caller's; its offset moves) named @path in errors, and looks
 * for the @count @modules ("virtio_mmio"). At most some seconds and 2 GiB.
 * Returns 0, or -1 with @error when it cannot be understood (damaged, an
 * unknown format, the program to unpack it is not installed); @info then holds
 * what was found before that.
 */
int initrd_read(int fd, const char *path, const char *const *modules,
		unsigned int count, struct initrd_info *info,
		struct error *error);

#endif
