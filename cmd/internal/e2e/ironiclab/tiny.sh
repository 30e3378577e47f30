#!/bin/bash
# tiny.sh KERNELDIR OUTDIR [AGENT]: makes OUTDIR/vmlinuz and OUTDIR/initrd.gz, a guest that
# says on ttyS0 that it runs, and on which machine, and repeats each line that is typed there.
# Its power button switches it off. With AGENT, a program, and ipa-api-url=URL on its command
# line it gets addresses by DHCP and runs that program.
# KERNELDIR is an unpacked kernel package.
set -euo pipefail

kernel=$1
out=$2
agent=${3:-}
modules=$(echo "$kernel"/lib/modules/*)
root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT

mkdir -p "$out" "$root"/{bin,dev,proc,sys,modules}
cp "$kernel"/boot/vmlinuz-* "$out/vmlinuz"
cp /bin/busybox "$root/bin/"
for applet in sh mount cat echo insmod sleep poweroff head ip mkdir udhcpc; do
	ln -s busybox "$root/bin/$applet"
done

# Modules that are not built in, each after what it needs.
order=0
need() {
	local entry dep
	entry=$(grep -m1 -E "(^|/)$1\.ko(\.xz|\.zst)?:" "$modules/modules.dep" || true)
	[ -n "$entry" ] || return 0
	# shellcheck disable=SC2046 # words
	for dep in $(echo "${entry#*:}" | tr ' ' '\n' | tac) "${entry%%:*}"; do
		compgen -G "$root/modules/*-${dep##*/}" >/dev/null && continue
		order=$((order + 1))
		cp "$modules/$dep" "$root/modules/$(printf '%02d' $order)-${dep##*/}"
	done
}
for m in virtio_pci virtio_net virtio_blk virtio_scsi sd_mod nvme af_packet button evdev; do
	need "$m"
done

cat >"$root/init" <<'INIT'
#!/bin/sh
export PATH=/bin
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
exec >/dev/ttyS0 2>&1 </dev/ttyS0
for m in /modules/*; do insmod "$m" 2>/dev/null; done
for nic in /sys/class/net/*; do
	[ "${nic##*/}" = lo ] || echo "TENKS-BOOT-MAC $(cat "$nic/address")"
done
echo "TENKS-BOOT-CMDLINE $(cat /proc/cmdline)"
# The power button is an input device, and its events are 24 bytes each.
for button in /dev/input/event*; do
	[ -e "$button" ] && { head -c 24 "$button" >/dev/null && echo TENKS-BUTTON && poweroff -f; } &
done
for disk in /sys/class/block/*; do
	case ${disk##*/} in vd* | sd* | nvme*) echo "TENKS-BOOT-DISK ${disk##*/} $(cat "$disk/size")" ;; esac
done
case " $(cat /proc/cmdline)" in
*" ipa-api-url="*)
	ip link set lo up
	for nic in /sys/class/net/*/device; do
		nic=${nic%/device}
		ip link set "${nic##*/}" up
		udhcpc -i "${nic##*/}" -f -t 5 -T 1 -A 1 -s /bin/lease >/dev/ttyS0 2>&1 &
	done
	;;
esac
echo "TENKS-BOOT-OK $(cat /proc/uptime)"
while read -r line; do echo "TENKS-HEARD $line"; done
while :; do sleep 3600; done
INIT

# What udhcpc runs: the first lease starts the agent.
cat >"$root/bin/lease" <<'LEASE'
#!/bin/sh
[ "$1" = bound ] || exit 0
ip addr add "$ip/$mask" dev "$interface"
[ -z "$router" ] || ip route add default via "${router%% *}"
echo "TENKS-BOOT-LEASE $interface $ip"
mkdir /running 2>/dev/null || exit 0
while :; do agent; sleep 1; done &
LEASE
chmod 755 "$root/init" "$root/bin/lease"
if [ -n "$agent" ]; then install -m 755 "$agent" "$root/bin/agent"; fi
(cd "$root" && find . | cpio -o -H newc --quiet | gzip -6) >"$out/initrd.gz.tmp"
mv "$out/initrd.gz.tmp" "$out/initrd.gz"
