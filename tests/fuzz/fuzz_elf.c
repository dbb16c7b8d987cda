/* SPDX-License-Identifier: Apache-2.0 */
/* The ELF loader: every input is taken for an ELF file. */
#include <elf.h>

#include "tests/fuzz/boot_rig.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static uint8_t file[RIG_FILE_MAX];

	size = MIN(size, sizeof(file));
	if (size < SELFMAG)
		return 0;
	memcpy(file, data, size);
	memcpy(file, ELFMAG, SELFMAG);
	rig_run(file, size);
	return 0;
}
