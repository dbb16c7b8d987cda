/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Walks over a cpio archive in the "newc" format (Linux
 * Documentation/driver-api/early-userspace/buffer-format.rst): names, and the
 * content of files that the visitor asks for. Made for archives of any origin.
 */
#ifndef CLI_CPIO_H
#define CLI_CPIO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct byte_stream;

#define CPIO_NAME_MAX 4096 /* bytes with the 0, as in Linux */
#define CPIO_ENTRIES_MAX (1u << 20)

struct cpio_visitor {
	/* True: the content of the file @name is wanted. */
	bool (*entry)(void *context, const char *name, uint64_t bytes);
	/* A part of the content. */
	void (*content)(void *context, const uint8_t *bytes, size_t count);
	void *context;
};

/* Whether @bytes start like such an archive. */
#define CPIO_MAGIC_BYTES 6
bool cpio_is_magic(const uint8_t *bytes);

/*
 * Walks over the archive that starts at the next byte of @stream, its end mark
 * included. *@entries counts what was found. False: damaged, or it ended early.
 */
bool cpio_walk(struct byte_stream *stream, const struct cpio_visitor *visitor,
	       unsigned int *entries);

#endif
