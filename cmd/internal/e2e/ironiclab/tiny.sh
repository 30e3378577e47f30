#!/bin/bash
# tiny.sh KERNELDIR OUTDIR: makes OUTDIR/vmlinuz and OUTDIR/initrd.gz, a guest that says
# on ttyS0 that it runs, and on which machine. KERNELDIR is an unpacked kernel package.
set -euo pipefail

kernel=$1
out=$2
modules=$(echo "$kernel"/lib/modules/*)
root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT

mkdir -p "$out" "$root"/{bin,dev,proc,sys,modules}
cp "$kernel"/boot/vmlinuz-* "$out/vmlinuz"
cp /bin/busybox "$root/bin/"
for applet in sh mount cat echo insmod sleep poweroff; do
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
for m in virtio_pci virtio_net button evdev; do
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
echo "TENKS-BOOT-OK $(cat /proc/uptime)"
while :; do sleep 3600; done
INIT
chmod 755 "$root/init"
(cd "$root" && find . | cpio -o -H newc --quiet | gzip -6) >"$out/initrd.gz.tmp"
mv "$out/initrd.gz.tmp" "$out/initrd.gz"
