# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
#
# What the benchmarks share: sourced. Each is one command that prints one or more
# tables in Markdown; docs/benchmarks.md has them.

top=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/../.." && pwd)
# shellcheck source=tests/support/guest.sh
. "$top/tests/support/guest.sh"

bench=$top/build/bench
# shellcheck disable=SC2034
guest=$top/build/images/guest

die()
{
	printf '%s: %s\n' "${0##*/}" "$*" >&2
	exit 1
}

say()
{
	printf '%s: %s\n' "${0##*/}" "$*" >&2
}

# bench_scratch DIRECTORY: makes $work in it, which goes when the script ends.
bench_scratch()
{
	work=$(mktemp -d "$1/bench.XXXXXXXX")
	trap 'rm -rf -- "$work"' EXIT
	trap 'exit 130' INT
	trap 'exit 143' TERM HUP
}

# bench_sluice [TARGET...]: builds sluice, and the targets; $sluice is its path.
# SLUICE_BINARY names another one to be measured.
bench_sluice()
{
	sluice=${SLUICE_BINARY:-}
	if [ -z "$sluice" ]; then
		sluice=$top/build/sluice
		set -- build/sluice "$@"
	fi
	[ $# -eq 0 ] || make -s -C "$top" "$@"
}

# bench_program NAME [OPTION...]: builds build/bench/NAME from NAME.c if it is
# older; the options are gcc's.
bench_program()
{
	local name=$1 source=$top/tests/bench/$1.c

	shift
	mkdir -p -- "$bench"
	[ "$source" -nt "$bench/$name" ] || return 0
	gcc -std=gnu17 -D_GNU_SOURCE -Wall -Wextra -O2 "$@" -o "$bench/$name.new" "$source"
	mv -f -- "$bench/$name.new" "$bench/$name"
}

# median: of the numbers on stdin, one per line; "-" of none.
median()
{
	sort -g | awk '
		{ value[NR] = $1 }
		END {
			if (!NR) { print "-"; exit }
			half = int((NR + 1) / 2)
			print NR % 2 ? value[half] : (value[half] + value[half + 1]) / 2
		}'
}

# whole NAME NUMBER LEAST: a whole number of at least LEAST, or the script ends.
whole()
{
	case $2 in
	'' | *[!0-9]*) ;;
	*)	[ "$2" -lt "$3" ] || return 0 ;;
	esac
	echo "${0##*/}: $1: \"$2\" is no whole number from $3 up" >&2
	exit 2
}
