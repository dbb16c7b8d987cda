# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
#
# What the scripts in tests/images share: sourced, never run. It sets
#
#	top	the top of the source tree
#	images	where everything made goes
#
# Each product is made in a scratch directory beside its place and renamed into
# it, under one lock: a script that is interrupted leaves the old product, and
# two that run at once make it once. A product remembers what it was made from
# (its key), so that a newer kernel or a changed script makes it anew.

top=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/../.." && pwd)
# shellcheck disable=SC2034
images=$top/build/images

die()
{
	printf '%s: %s\n' "${0##*/}" "$*" >&2
	exit 1
}

# images_begin: takes the lock and makes the scratch directory $scratch.
images_begin()
{
	mkdir -p -- "$images"
	exec {images_lock}>"$images/.lock"
	flock "$images_lock"
	scratch=$(mktemp -d "$images/.scratch.XXXXXX")
	trap 'rm -rf -- "$scratch"' EXIT
	trap 'exit 130' INT
	trap 'exit 143' TERM HUP
}

# images_key WORD... -- FILE...: a digest of the words and the files' contents.
images_key()
{
	{
		while [ $# -gt 0 ] && [ "$1" != -- ]; do
			printf '%s\n' "$1"
			shift
		done
		[ $# -eq 0 ] || shift
		[ $# -eq 0 ] || sha256sum <(cat -- "$@")
	} | sed 's|  /dev/fd/.*||' | sha256sum | cut -d ' ' -f 1
}

# images_current FILE KEY: is FILE there, made from KEY?
images_current()
{
	[ -e "$1" ] && [ -e "$1.key" ] && [ "$(<"$1.key")" = "$2" ]
}

# images_publish NEW FILE KEY: puts NEW in FILE's place.
images_publish()
{
	mv -f -- "$1" "$2"
	printf '%s\n' "$3" >"$2.key.new"
	mv -f -- "$2.key.new" "$2.key"
}

# images_need COMMAND PACKAGE...: names the package if the command is missing.
images_need()
{
	local command

	while [ $# -gt 0 ]; do
		command=$1
		[ -x "/usr/sbin/$command" ] ||
			command -v -- "$command" >/dev/null ||
			die "no $command here: package $2 (tests/setup installs it)"
		shift 2
	done
}

# The static busybox: Debian's other flavour is linked dynamically and useless
# in an initramfs.
images_busybox()
{
	local path

	path=$(command -v busybox) ||
		die "no busybox here: package busybox-static (tests/setup installs it)"
	if LC_ALL=C ldd "$path" >/dev/null 2>&1; then
		die "$path is not static: package busybox-static"
	fi
	printf '%s\n' "$path"
}

# busybox_install BUSYBOX DIR: with a link for each of its commands.
busybox_install()
{
	local name

	cp -- "$1" "$2/busybox"
	while IFS= read -r name; do
		[ "$name" = busybox ] || ln -s busybox "$2/$name"
	done < <("$1" --list)
}

# module_unpack FILE: the module, uncompressed, on stdout.
module_unpack()
{
	case $1 in
	*.ko)	cat -- "$1" ;;
	*.xz)	xz -dc -- "$1" ;;
	*.zst)	zstd -qdc -- "$1" ;;
	*.gz)	gzip -dc -- "$1" ;;
	*)	die "$1: compressed in a way not known here" ;;
	esac
}

# modules_copy MODULES_DIR OUT_DIR NAME...: copies the modules, uncompressed,
# with all that they depend on, as NNN-name.ko, numbered in an order in which
# insmod can load them. The dependencies are read from the modules themselves:
# an unpacked package has no modules.dep, and depmod (kmod) is often missing.
# A name that no file has is built into the kernel.
modules_copy()
{
	local dir=$1 out=$2 name path
	local -A module_path=() module_done=()
	local -i module_number=100

	shift 2
	while IFS= read -r -d '' path; do
		name=${path##*/}
		name=${name%%.ko*}
		module_path[${name//-/_}]=$path
	done < <(find "$dir/" -name '*.ko*' -print0)
	mkdir -p -- "$out"
	for name; do
		modules_copy_one "$out" "${name//-/_}"
	done
}

# Uses its caller's three variables.
modules_copy_one()
{
	local out=$1 name=$2 file depends dependency

	[ -z "${module_done[$name]-}" ] || return 0
	module_done[$name]=1
	[ -n "${module_path[$name]-}" ] || return 0
	file=$out/$name.tmp
	module_unpack "${module_path[$name]}" >"$file"
	depends=$(tr '\0' '\n' <"$file" |
		sed -n 's/.*depends=\([A-Za-z0-9_,-]*\)$/\1/p' | head -n 1)
	for dependency in ${depends//,/ }; do
		modules_copy_one "$out" "${dependency//-/_}"
	done
	mv -- "$file" "$out/$module_number-$name.ko"
	module_number+=1
}

# initramfs_pack DIR FILE. Not compressed: the guest would pay for unpacking.
initramfs_pack()
{
	(cd -- "$1" && find . -mindepth 1 -print0 | LC_ALL=C sort -z |
		cpio --quiet -0 -o -H newc --owner=0:0 --reproducible) >"$2"
}
