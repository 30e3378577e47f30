#!/bin/bash
# Installs what tests against real services need, on Debian 12 as root; may be repeated,
# and is quiet and quick when everything is there. Only the programs are wanted: no service
# of a package starts.
#
#   install.sh ironic   Ironic, and a kernel for the tiny guest, which is unpacked only
#   install.sh cloud    Keystone, Placement, Nova, Glance and what they stand on: about
#                       140 packages, 600 MB, beside those of ironic
set -euo pipefail

cache=/var/cache/tenks-ironiclab
ironic="ironic-api ironic-conductor python3-bcrypt sqlite3 curl
 ipmitool ipxe ipxe-qemu dnsmasq-base iproute2 qemu-system-x86 ovmf busybox-static cpio kmod
 socat grub-common grub-pc-bin grub-efi-amd64-bin xorriso mtools
 genisoimage isolinux syslinux-common fdisk"
# Without the packages that bring services of the system.
cloud="mariadb-server rabbitmq-server python3-keystone uwsgi-core uwsgi-plugin-python3
 python3-pymysql python3-placement nova-common glance-common python3-fixtures python3-libvirt
 python3-ironicclient"

case "${1:-}" in
ironic) packages=$ironic ;;
cloud) packages=$cloud ;;
*)
	sed -n '6,8s/^# \{0,1\}//p' "$0" >&2
	exit 2
	;;
esac
policy=/usr/sbin/policy-rc.d
log=$(mktemp)
made_policy=

finish() {
	rm -f "$log"
	if [ -n "$made_policy" ]; then rm -f "$policy"; fi
}
trap finish EXIT

quietly() {
	if ! "$@" >>"$log" 2>&1 </dev/null; then
		echo "install.sh: $*: failed:" >&2
		tail -n 20 "$log" >&2
		exit 1
	fi
}

apt() {
	DEBIAN_FRONTEND=noninteractive flock /tmp/apt.lock apt-get -q -o DPkg::Lock::Timeout=600 "$@"
}

installed() {
	dpkg-query -W -f='${db:Status-Abbrev}' "$1" 2>/dev/null | grep -q '^ii'
}

# No service of a package may start by itself: 101 is "not allowed".
guard() {
	[ -e "$policy" ] && return
	printf '#!/bin/sh\nexit 101\n' >"$policy"
	chmod 755 "$policy"
	made_policy=1
}

missing=
for p in $packages; do
	installed "$p" || missing="$missing $p"
done
if [ -n "$missing" ]; then
	guard
	# shellcheck disable=SC2086 # a list
	if ! apt install -y --no-install-recommends $missing >>"$log" 2>&1 </dev/null; then
		quietly apt update
		# shellcheck disable=SC2086
		quietly apt install -y --no-install-recommends $missing
	fi
fi

# The cloud kernel is small and has the virtio drivers.
if [ "$1" = ironic ] && [ ! -e "$cache/kernel/.complete" ]; then
	kernel=$(apt-cache depends linux-image-cloud-amd64 | awk '/Depends: linux-image/ {print $2; exit}')
	if [ -z "$kernel" ]; then
		quietly apt update
		kernel=$(apt-cache depends linux-image-cloud-amd64 | awk '/Depends: linux-image/ {print $2; exit}')
	fi
	rm -rf "$cache/kernel"
	mkdir -p "$cache/kernel"
	cd "$cache/kernel"
	quietly apt -o APT::Sandbox::User=root download "$kernel"
	quietly dpkg-deb -x "$kernel"_*.deb .
	rm -f ./*.deb
	quietly depmod -b "$PWD" "$(basename lib/modules/*)"
	touch .complete
fi
