/* SPDX-License-Identifier: Apache-2.0 */
/* The machine's network devices, for machine_device.c's table. */
#ifndef VMM_MACHINE_NET_H
#define VMM_MACHINE_NET_H

#include "vmm/machine_device.h"

extern const struct machine_device_class machine_net_class;

#endif
