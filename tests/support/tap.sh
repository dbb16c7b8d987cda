# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
#
# Tests in bash that say how they went in TAP, for run-tests: sourced.
#
#	boots_with_one_vcpu() { ... }		# fails with its first command that fails
#	tap_case "boots with one vCPU" boots_with_one_vcpu
#	tap_done				# the last line
#
# A script that ends before tap_done has printed no plan, and counts as failed.

tap_count=0
tap_failed=0

# tap_ok NAME
tap_ok()
{
	tap_count=$((tap_count + 1))
	printf 'ok %d - %s\n' "$tap_count" "${1//#/}"
}

# tap_not_ok NAME [DETAIL...]: each detail may have several lines
tap_not_ok()
{
	local detail

	tap_count=$((tap_count + 1))
	tap_failed=$((tap_failed + 1))
	printf 'not ok %d - %s\n' "$tap_count" "${1//#/}"
	shift
	for detail; do
		printf '%s\n' "$detail" | LC_ALL=C tr -cd '\11\12\40-\176\200-\377' |
			sed 's/^/# /'
	done
}

# tap_skip NAME REASON
tap_skip()
{
	tap_count=$((tap_count + 1))
	printf 'ok %d - %s # SKIP %s\n' "$tap_count" "${1//#/}" "$2"
}

# tap_case NAME COMMAND [ARGUMENT...]: runs the command, mostly a function, in a
# shell of its own that ends with the first failure. Its output, which is shown if
# it fails, is not on stdout. It can end itself with case_skip and case_fail.
tap_case()
{
	local name=$1 output status options=$-

	shift
	output=$(mktemp)
	# not in a condition: there the shell ignores -e
	set +e
	(
		set -euo pipefail
		"$@"
	) >"$output" 2>&1 </dev/null
	status=$?
	[[ $options != *e* ]] || set -e
	case $status in
	0)	tap_ok "$name" ;;
	77)	tap_skip "$name" "$(tail -n 1 -- "$output")" ;;
	*)	tap_not_ok "$name" "status $status" "$(tail -n 100 -- "$output" | tr -d '\0')" ;;
	esac
	rm -f -- "$output"
}

# case_skip REASON, case_fail REASON: in a case
case_skip()
{
	printf '%s\n' "$*"
	exit 77
}

case_fail()
{
	printf '%s\n' "$*"
	exit 1
}

# tap_done: prints the plan; ends the script with status 1 if a test failed.
tap_done()
{
	printf '1..%d\n' "$tap_count"
	[ "$tap_failed" -eq 0 ] || exit 1
	exit 0
}
