/* SPDX-License-Identifier: Apache-2.0 */
/* The bzImage loader, and what tells files apart, against any file. */
#include "tests/fuzz/boot_rig.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	rig_run(data, size);
	return 0;
}
