# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
#
# Which KVM tests and demo use: sourced. Needs $top.

# kvm_mode: prints "native" if this machine's KVM can run stock kernels, else
# "emulated". SLUICE_KVM=native or =emulated decides without looking. Where a
# usable /dev/kvm is closed to the caller it says what opens it and returns 3:
# the emulated machine would do, but at a fortieth of the speed.
kvm_mode()
{
	case ${SLUICE_KVM-} in
	native | emulated)
		printf '%s\n' "$SLUICE_KVM"
		return 0
		;;
	'')	;;
	*)
		echo "SLUICE_KVM=$SLUICE_KVM: native or emulated" >&2
		return 2
		;;
	esac
	if [ -e /dev/kvm ] && ! { [ -r /dev/kvm ] && [ -w /dev/kvm ]; } &&
		grep -qE '^flags.* (vmx|svm)( |$)' /proc/cpuinfo; then
		echo "no access to /dev/kvm; mend it with: sudo usermod -aG kvm $(id -un)" \
			"(and log in again)" >&2
		return 3
	fi
	if [ -e /dev/kvm ] && "${top:?}/build/sluice" probe >/dev/null 2>&1; then
		echo native
	else
		echo emulated
	fi
}
