# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
#
# What the tests with payload guests share: sourced. SLUICE names another monitor
# than build/sluice, GUESTS another directory than build/guest.

top=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/../.." && pwd)
# shellcheck source=tests/support/tap.sh
. "$top/tests/support/tap.sh"

sluice=${SLUICE:-$top/build/sluice}
guests=${GUESTS:-$top/build/guest}
work=$(mktemp -d "${TMPDIR:-/tmp}/guest.XXXXXXXX")
trap 'rm -rf -- "$work"' EXIT

# What a script puts into the background ignores SIGINT and SIGQUIT, and so would sluice.
interruptible=(env '--default-signal=INT,QUIT')

# Longer than any of these takes, even where KVM itself is emulated.
patience=120
[ -z "${FULL-}" ] && [ -z "${SLUICE_GUEST_NESTED-}" ] || patience=1800

# guest_size CI FULL: a quarter of CI's where KVM itself is emulated
guest_size()
{
	if [ -n "${SLUICE_GUEST_NESTED-}" ]; then
		echo $(($1 / 4))
	elif [ -n "${FULL-}" ]; then
		echo "$2"
	else
		echo "$1"
	fi
}

# The same for payloads that repeat themselves: guest_rounds() in guest.c reads it.
guest_rounds()
{
	if [ -n "${SLUICE_GUEST_NESTED-}" ]; then echo few; else echo "${FULL:+full}"; fi
}

# expect WHAT ACTUAL EXPECTED
expect()
{
	[ "$2" = "$3" ] || case_fail "$1: \"$2\" instead of \"$3\""
}

# In a case: a directory of its own, as the current one.
own_directory()
{
	cd -- "$(mktemp -d "$work/case.XXXXXXXX")"
}

# vm_ini PAYLOAD CMDLINE [LINE...]: writes vm.ini; lines are added as they are.
# There are no devices but those that they name.
vm_ini()
{
	local payload=$1 cmdline=$2

	shift 2
	{
		printf '[boot]\nkernel = %s\ncmdline = %s\n' "$guests/$payload" "$cmdline"
		printf '[iommu]\nenabled = no\n[rng]\nenabled = no\n'
		[ $# -eq 0 ] || printf '%s\n' "$@"
	} >vm.ini
}

# vm_run: runs vm.ini to its end; console, stderr and stats are files.
# Sets $vm_status. stdin is the caller's.
vm_run()
{
	vm_status=0
	timeout -k 30 "$patience" "$sluice" run vm.ini --stats stats \
		>console 2>stderr || vm_status=$?
}

# vm_start: the same in the background, as $vm, with stdin from
# nowhere; the case's end ends it.
vm_start()
{
	"${interruptible[@]}" "$sluice" run vm.ini --stats stats </dev/null >console 2>stderr &
	vm=$!
	trap 'kill -KILL "$vm" 2>/dev/null || :' EXIT
}

# until_true COMMAND...: waits for it, or fails
until_true()
{
	local tries=0

	until "$@"; do
		tries=$((tries + 1))
		[ "$tries" -lt $((patience * 20)) ] ||
			case_fail "waited in vain for: $*; $(vm_explain)"
		sleep 0.05
	done
}

vm_is_ready()
{
	grep -q ready console
}

vm_has_ended()
{
	[ ! -e "/proc/$vm" ] || grep -q '^State:.Z' "/proc/$vm/status"
}

# vm_wait: until it has ended; sets $vm_status
vm_wait()
{
	until_true vm_has_ended
	vm_status=0
	wait "$vm" || vm_status=$?
}

# stat_of JQ-EXPRESSION
stat_of()
{
	jq -r "$1" stats
}

vm_explain()
{
	printf 'status %s; stderr:\n' "${vm_status-unknown}"
	cat -- stderr
	echo 'the end of the console:'
	tail -c 2000 -- console | tail -n 20
}

# vm_ended STATUS REASON STDERR: how the last one did; STDERR is the whole of it,
# as an extended regular expression.
vm_ended()
{
	[ "$vm_status" = "$1" ] || case_fail "status $vm_status instead of $1; $(vm_explain)"
	expect 'reason' "$(stat_of .end.reason)" "$2"
	[[ $(<stderr) =~ ^($3)$ ]] || case_fail "stderr: $(<stderr)"
}
