/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A mapping's first line begins with its addresses in lower-case hexadecimal,
 * the lines of its fields with a capital: "Pss:   12 kB" (Linux
 * Documentation/filesystems/proc.rst).
 */
#include "vmm/smaps.h"

#include "memory/base.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct sum {
	const struct smaps_range *excluded;
	unsigned int count;
	bool skip; /* the mapping in hand is excluded */
	bool any; /* there was a mapping */
	uint64_t bytes;
};

static bool is_excluded(const struct sum *sum, uint64_t address)
{
	unsigned int i;

	for (i = 0; i < sum->count; i++)
		if (address - sum->excluded[i].first < sum->excluded[i].bytes)
			return true;
	return false;
}

static void take_line(struct sum *sum, const char *line)
{
	if ((*line >= '0' && *line <= '9') || (*line >= 'a' && *line <= 'f')) {
		sum->any = true;
		sum->skip = is_excluded(sum, strtoull(line, NULL, 16));
	} else if (!sum->skip && strncmp(line, "Pss:", 4) == 0) {
		sum->bytes += strtoull(line + 4, NULL, 10) * KIB;
	}
}

int smaps_sum(int fd, const struct smaps_range *excluded, unsigned int count,
	      uint64_t *bytes)
{
	struct sum sum = { .excluded = excluded, .count = count };
	char line[64]; /* the rest of a longer one does not matter */
	char buffer[4096];
	size_t used = 0;
	off_t offset = 0;
	ssize_t n, i;

	while ((n = pread(fd, buffer, sizeof(buffer), offset)) > 0) {
		offset += n;
		for (i = 0; i < n; i++) {
			if (buffer[i] != '\n') {
				if (used < sizeof(line) - 1)
					line[used++] = buffer[i];
				continue;
			}
			line[used] = '\0';
			take_line(&sum, line);
			used = 0;
		}
	}
	if (n < 0)
		return -errno;
	if (!sum.any)
		return -EBADMSG;
	*bytes = sum.bytes;
	return 0;
}
