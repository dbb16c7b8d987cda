/* SPDX-License-Identifier: Apache-2.0 */
/* The smallest payload: says one thing and powers off. */
#include "tests/guest/guest.h"

void guest_main(void)
{
	print("hello from the guest\n");
	power_off();
}
