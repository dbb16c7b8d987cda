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
# ended: 124.
vm_run()
{
	local ini=$1

	shift
	status=0
	timeout -s TERM "$(size 280 1500)" "$sluice" run "$ini" --stats "$work/stats" "$@" \
		</dev/null >"$work/console" 2>"$work/stderr" || status=$?
}

# e2e_case NAME COMMAND [ARGUMENT...]: as tap_case. On the emulated machine a case
# that failed is tried once more, and e2e_done counts it as skipped besides: that
# emulation of nested guests now and then loses one, whatever the monitor.
e2e_case()
{
	local count=$tap_count failed=$tap_failed name=$1

	tap_case "$@" >"$work/first-try"
	if [ "$tap_failed" -eq "$failed" ] ||
		[ "$(cat /sys/class/dmi/id/sys_vendor)" != QEMU ]; then
		cat -- "$work/first-try"
		return
	fi
	sed 's/^/# first try: /' "$work/first-try"
	printf '%s: %s; ' "$name" "$(sed -n '3,8p' "$work/first-try" | tr -d '#' | tr '\n' ' ')" \
		>>"$work/again"
	tap_count=$count tap_failed=$failed
	shift
	tap_case "$name (second try)" "$@"
}

# e2e_done: tap_done, and one skipped case for those that were tried again
e2e_done()
{
	[ ! -e "$work/again" ] ||
		tap_skip "$(tr ';' '\n' <"$work/again" | grep -c ': ') cases failed and were tried again" \
			"nested emulation: $(cut -c 1-400 "$work/again")"
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
