# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
#
# Running a command in a guest and getting its output back, byte for byte:
# sourced. Command and result travel on a disk of their own, so that the console
# stays out of it; tests/images/init-guest is the other side.
#
#	guest_job_disk job.img 'uname -r; exit 7'
#	...boot build/images/root.img with job.img as another disk...
#	guest_job_result job.img	# prints 6.12..., returns 7

# What guest_job_result returns if the guest left no result: no command of the
# guest's does.
# shellcheck disable=SC2034
guest_no_result=250

# guest_job_disk FILE COMMANDS [SIZE]: makes the disk, sparse. SIZE (16M) bounds
# what the commands may print.
guest_job_disk()
{
	local file=$1 commands=$2 size=${3:-16M} dir

	dir=$(mktemp -d "${TMPDIR:-/tmp}/guest-job.XXXXXXXX") || return
	printf '%s\n' "$commands" >"$dir/sluice-job" &&
		rm -f -- "$file" &&
		tar -c -f "$file" --format=ustar --owner=0 --group=0 -C "$dir" sluice-job &&
		truncate -s "$size" -- "$file"
	set -- $?
	rm -rf -- "$dir"
	return "$1"
}

# guest_job_ended FILE: is there a result?
guest_job_ended()
{
	[ "$(head -c 13 -- "$1" 2>/dev/null | tr '\0' ' ')" = sluice-result ] &&
		tar -t -f "$1" sluice-end >/dev/null 2>&1
}

# guest_job_result FILE: the commands' stdout on stdout, stderr on stderr; returns
# their status, or $guest_no_result, with a word on stderr, if the disk holds no
# whole result.
guest_job_result()
{
	local file=$1 dir status=

	if ! guest_job_ended "$file"; then
		echo "guest_job_result: $file: the guest did not run the job to its end" >&2
		return "$guest_no_result"
	fi
	dir=$(mktemp -d "${TMPDIR:-/tmp}/guest-job.XXXXXXXX") || return "$guest_no_result"
	if tar -x -f "$file" -C "$dir"; then
		cat -- "$dir/stdout" &&
			cat -- "$dir/stderr" >&2
		status=$(<"$dir/sluice-result")
	fi
	rm -rf -- "$dir"
	case $status in
	'' | *[!0-9]*)
		[ -z "$status" ] || echo "guest_job_result: $file: $status" >&2
		return "$guest_no_result"
		;;
	esac
	return "$status"
}

# guest_initrd_job INITRD OUT COMMANDS: an initramfs that runs the commands, with
# the console as output between the lines "job: begins" and "job: ended with
# status N", if it is booted without a disk and with sluice.initonly. The kernel
# unpacks archives one after the other.
guest_initrd_job()
{
	local initrd=$1 out=$2 commands=$3 dir

	dir=$(mktemp -d "${TMPDIR:-/tmp}/guest-job.XXXXXXXX") || return
	printf '%s\n' "$commands" >"$dir/job" &&
		(cd -- "$dir" && echo job | cpio --quiet -o -H newc --owner=0:0) >"$dir/cpio" &&
		cat -- "$initrd" "$dir/cpio" >"$out"
	set -- $?
	rm -rf -- "$dir"
	return "$1"
}
