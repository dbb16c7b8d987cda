# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
#
# The monitors that are compared, and what they boot: sourced after lib.sh.

# vm_initramfs DIRECTORY OUT: the guests' initramfs with what is in DIRECTORY
# added; kernels unpack one archive after the other.
vm_initramfs()
{
	(cd -- "$1" && find . -mindepth 1 | LC_ALL=C sort |
		cpio --quiet -o -H newc --owner=0:0 --reproducible) >"$2.extra"
	cat -- "${top:?}/build/images/guest.cpio" "$2.extra" >"$2"
	rm -- "$2.extra"
}

# vm_command NAME MEBIBYTES INITRAMFS CMDLINE [DISK[:ro]]...: sets $command to what
# runs the monitor NAME, from $work: sluice, vmlinuz, INITRAMFS, DISK.img. NAME is
# sluice, qemu-microvm or qemu-q35, each without an IOMMU, or, behind one,
# sluice-lazy, sluice-strict, qemu-q35-lazy or qemu-q35-strict. Each has one
# virtual processor, the console on stdout and, if it is sluice, statistics in
# NAME.json.
vm_command()
{
	local vm=$1 memory=$2 initramfs=$3 cmdline=$4

	shift 4
	case $vm in
	*-strict) cmdline+=' iommu.strict=1' ;;
	esac
	case $vm in
	sluice | sluice-lazy | sluice-strict)
		vm_sluice "$@" ;;
	qemu-microvm | qemu-q35 | qemu-q35-lazy | qemu-q35-strict)
		vm_qemu "$@" ;;
	*)	die "no monitor is called \"$vm\"" ;;
	esac
}

# The following two use their caller's variables.

vm_sluice()
{
	local enabled=yes disk

	[ "$vm" != sluice ] || enabled=no
	{
		printf '[machine]\nmemory = %dM\n[iommu]\nenabled = %s\n' "$memory" "$enabled"
		# as the others: no entropy device
		printf '[rng]\nenabled = no\n'
		printf '[boot]\nkernel = %s\ninitrd = %s\n' "$work/vmlinuz" "$work/$initramfs"
		printf 'cmdline = %s\n' "$cmdline"
		for disk; do
			printf '[disk.%s]\npath = %s\n' "${disk%:ro}" "$work/${disk%:ro}.img"
			[ "$disk" = "${disk%:ro}" ] || echo 'read_only = yes'
		done
	} >"${work:?}/$vm.ini"
	command=("$work/sluice" run "$work/$vm.ini" --stats "$work/$vm.json")
}

vm_qemu()
{
	local machine=q35 device=virtio-blk-pci,disable-legacy=on disk name read_only

	case $vm in
	qemu-microvm)
		# without a clock chip the kernel loses seconds looking for one
		machine=microvm,rtc=on
		device=virtio-blk-device
		;;
	*-lazy | *-strict)
		device+=,iommu_platform=on
		;;
	esac
	# shellcheck disable=SC2054 # commas within options
	command=(qemu-system-x86_64 -M "$machine,accel=kvm" -cpu host -smp 1 -m "$memory"
		-name "$vm,debug-threads=on"
		-nodefaults -no-user-config -no-reboot -display none -monitor none -nic none
		-chardev stdio,id=console,signal=off -serial chardev:console
		-kernel "$work/vmlinuz" -initrd "$work/$initramfs" -append "$cmdline")
	case $vm in
	*-lazy | *-strict) command+=(-device virtio-iommu-pci) ;;
	esac
	for disk; do
		name=${disk%:ro}
		read_only=on
		[ "$disk" != "$name" ] || read_only=off
		command+=(-drive
			"id=$name,if=none,format=raw,file=$work/$name.img,readonly=$read_only"
			-device "$device,drive=$name,serial=$name")
	done
}

# vm_find_disk: commands by which a guest sets $data to the disk called "data".
vm_find_disk()
{
	cat <<-'EOT2'
		for disk in /sys/block/vd*; do
			[ "$(cat $disk/serial)" != data ] || data=/dev/${disk##*/}
		done
	EOT2
}
