# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
#
# How much the tests do: CI's size, or with FULL=1 that of the specification.
# Sourced.

# stress_size NAME: the argument of a stress program
stress_size()
{
	case $1 in
	stress_queue)	[ -n "${FULL-}" ] && echo 2000000 || echo 100000 ;;	# requests
	stress_blk)	[ -n "${FULL-}" ] && echo 4000 || echo 200 ;;		# rounds
	stress_net)	[ -n "${FULL-}" ] && echo 2000 || echo 100 ;;		# rounds
	stress_unmap)	[ -n "${FULL-}" ] && echo 60s || echo 30s ;;
	litmus_fences)	[ -n "${FULL-}" ] && echo 10000000 || echo 1000000 ;;	# rounds
	esac
}
