/* SPDX-License-Identifier: Apache-2.0 */
/* The machine's entropy device, as one of its devices. */
#ifndef VMM_MACHINE_RNG_H
#define VMM_MACHINE_RNG_H

struct machine_device_class;

extern const struct machine_device_class machine_rng_class;

#endif
