/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a vCPU's thread does when KVM_RUN comes back: counts the exit, and
 * answers it from the buses.
 */
#ifndef VMM_VCPU_EXIT_H
#define VMM_VCPU_EXIT_H

#include "vmm/vcpu.h"

#include <stdbool.h>
#include <stdint.h>

/* Handles the exit in vcpu->run. False: the vCPU has ended and said so. */
bool vcpu_exit_handle(struct vcpu *vcpu);

/*
 * An access in one word, so that other threads see one that happened: address
 * (below 2^58) << 6 | write << 5 | valid << 4 | len (1 to 8).
 */
uint64_t vcpu_access_pack(uint64_t address, uint32_t len, bool write);
struct vcpu_access vcpu_access_unpack(uint64_t packed);

#endif
