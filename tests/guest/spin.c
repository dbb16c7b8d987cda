/* SPDX-License-Identifier: Apache-2.0 */
/* Runs until someone ends it. */
#include "tests/guest/guest.h"

void guest_main(void)
{
	print("spinning\n");
	for (;;)
		pause();
}
