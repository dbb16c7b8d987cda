/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Tells images of other machines from raw disks. Only to refuse them: a raw
 * disk whose guest wrote such a magic number is refused too, and never
 * interpreted. Set-up only.
 */
#ifndef DEVICES_DISK_FORMAT_H
#define DEVICES_DISK_FORMAT_H

#include <stddef.h>
#include <stdint.h>

/*
 * The name of @fd's image format ("qcow2"), or NULL for a raw disk of @bytes
 * bytes. 0, or -errno when the first or last bytes cannot be read.
 */
int disk_format_probe(int fd, uint64_t bytes, const char **format);

/*
 * Writes "disk.raw" for "disk.qcow2" to @raw, never @path itself; cut to
 * @size, which is not 0.
 */
void disk_format_raw_name(const char *path, char *raw, size_t size);

#endif
