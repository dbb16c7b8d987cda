# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
#
# What the end-to-end tests share: sourced. Each script is a TAP program. Disks
# and images go to $work, in $TMPDIR: on the emulated machine that is memory,
# where files have everything that disks need.

top=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/../.." && pwd)
# shellcheck source=tests/support/tap.sh
. "$top/tests/support/tap.sh"
# shellcheck source=tests/support/guest.sh
. "$top/tests/support/guest.sh"

sluice=${SLUICE_BINARY:-$top/build/sluice}
guest=$top/build/images/guest
initrd=$top/build/images/guest.cpio
work=$(mktemp -d "${TMPDIR:-/tmp}/e2e.XXXXXXXX")
trap 'rm -rf -- "$work"' EXIT

# FULL=1 asks for the sizes of the specification, everything else for CI's.
size()
{
	if [ -n "${FULL-}" ]; then echo "$2"; else echo "$1"; fi
}

# expect WHAT ACTUAL EXPECTED
expect()
{
	[ "$2" = "$3" ] || case_fail "$1: \"$2\" instead of \"$3\""
}

# fresh_root FILE: the guest's root disk, its own copy
fresh_root()
{
	cp --sparse=always -- "$top/build/images/root.img" "$1"
}

# vm_ini FILE [LINE...]: an INI with the stock kernel and initramfs; lines are
# added as they are.
vm_ini()
{
	local file=$1
	shift
	{
		printf '[boot]\nkernel = %s\ninitrd = %s\n' "$guest/vmlinuz" "$initrd"
		printf 'cmdline = console=ttyS0 quiet\n'
		printf '%s\n' "$@"
	} >"$file"
}

# vm_run INI [OPTION...]: runs it, its console to $work/console, stderr to
# $work/stderr and the statistics to $work/stats; sets $status. A VM that hangs is
# ended; on the emulated machine it is tried once more, and e2e_done says so: that
# emulation of nested guests now and then loses one in its first second.
vm_run()
{
	local ini=$1 try
	shift
	for try in 1 2; do
		status=0
		timeout -s TERM "$(size 280 1500)" "$sluice" run "$ini" --stats "$work/stats" "$@" \
			</dev/null >"$work/console" 2>"$work/stderr" || status=$?
		if [ "$status" -ne 124 ] || [ "$(cat /sys/class/dmi/id/sys_vendor)" != QEMU ]; then
			break
		fi
		[ "$try" -eq 2 ] || {
			echo "hung, tried again: $(tail -n 1 -- "$work/console")"
			echo >>"$work/hung"
		}
	done
}

# e2e_done: tap_done, and one skipped case for boots that had to be tried again
e2e_done()
{
	[ ! -e "$work/hung" ] ||
		tap_skip "$(wc -l <"$work/hung") boots hung and were tried again" \
			'nested emulation'
	tap_done
}

# vm_explain: what a failed VM said, for case_fail
vm_explain()
{
	printf 'exit status %s; stderr:\n' "$status"
	cat -- "$work/stderr"
	echo 'the end of the console:'
	tail -n 30 -- "$work/console"
}

# vm_job INI COMMANDS: adds the job disk, runs the VM, prints the commands' stdout
# (to $work/out too) and fails unless VM and commands ended with status 0.
vm_job()
{
	local ini=$1 result=0

	guest_job_disk "$work/job.img" "$2"
	printf '[disk.job]\npath = %s\n' "$work/job.img" >>"$ini"
	vm_run "$ini"
	[ "$status" -eq 0 ] || case_fail "$(vm_explain)"
	guest_job_result "$work/job.img" >"$work/out" || result=$?
	cat -- "$work/out"
	[ "$result" -eq 0 ] || case_fail "the job's status is $result; $(vm_explain)"
}

# stat_of JQ-EXPRESSION: from the last run's statistics
stat_of()
{
	jq -r "$1" "$work/stats"
}
