/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm/probe.h"

#include <criterion/criterion.h>

#include "devices/error.h"
#include "tests/unit/vmm/guest_support.h"

Test(probe, kvm_of_this_machine_is_measured, .timeout = 60)
{
	struct probe_result result;
	struct error error;

	guest_need_kvm();
	cr_assert_eq(probe_run(&result, &error), 0);
	cr_expect(result.kvm_present);
	cr_expect_gt(result.ns_per_instruction, 0.01);
	cr_expect_lt(result.ns_per_instruction, 1e6);
	cr_expect_gt(result.exit_us, 0.1);
	cr_expect_geq(result.vcpus_max, 1);
	cr_expect_eq(result.native, result.ns_per_instruction < 50);
	cr_expect_eq(result.native, result.reason[0] == '\0');
}
