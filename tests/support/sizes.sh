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
	*)		[ -n "${FULL-}" ] && echo 60 || echo 10 ;;		# seconds
	esac
}
