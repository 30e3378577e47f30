#!/bin/bash
# tiny.sh KERNELDIR OUTDIR: makes OUTDIR/vmlinuz and OUTDIR/initrd.gz, a guest that says
# on ttyS0 that it runs, and on which machine, and repeats each line that is typed there.
# Its power button switches it off. With tenks.agent=URL tenks.address=IP/BITS
# tenks.router=IP on its command line it is a deploy agent of the Ironic at URL.
# KERNELDIR is an unpacked kernel package.
set -euo pipefail

kernel=$1
out=$2
modules=$(echo "$kernel"/lib/modules/*)
root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT

mkdir -p "$out" "$root"/{bin,dev,proc,sys,modules}
cp "$kernel"/boot/vmlinuz-* "$out/vmlinuz"
cp /bin/busybox "$root/bin/"
for applet in sh mount cat echo insmod sleep poweroff head ip nc sed timeout tr; do
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
for m in virtio_pci virtio_net af_packet button evdev; do
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
param() { sed -n "s/.*$1=\([^ ]*\).*/\1/p" /proc/cmdline; }
api=$(param tenks.agent)
[ -z "$api" ] || agent "$api" "$(param tenks.address)" "$(param tenks.router)" &
echo "TENKS-BOOT-OK $(cat /proc/uptime)"
while read -r line; do echo "TENKS-HEARD $line"; done
while :; do sleep 3600; done
INIT

# A deploy agent without a step of its own: it says that the machine has booted
# (ironic-python-agent's API: lookup, heartbeat, commands).
cat >"$root/bin/agent" <<'AGENT'
#!/bin/sh
api=${1#http://} address=$2 router=$3
ip link set lo up
ip addr add "$address" dev eth0
ip link set eth0 up
ip route add default via "$router"
nc -ll -p 9999 -e /bin/answer &
# Not wget, whose look-up of the port "http" crashes in a static busybox.
call() {
	printf '%s %s HTTP/1.0\r\nHost: %s\r\nX-OpenStack-Ironic-API-Version: 1.68\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s' \
		"$1" "$2" "$api" ${#3} "$3" | timeout 10 nc "${api%:*}" "${api#*:}"
}
field() { echo "$found" | tr ',{}' '\n\n\n' | sed -n "s/^ *\"$1\": *\"\([^\"]*\)\".*/\1/p" | head -n 1; }
node=
until [ -n "$node" ]; do
	found=$(call GET "/v1/lookup?addresses=$(cat /sys/class/net/eth0/address)")
	node=$(field uuid) token=$(field agent_token)
	[ -n "$node" ] || sleep 0.5
done
echo "TENKS-AGENT $node"
while :; do
	call POST "/v1/heartbeat/$node" "{\"callback_url\": \"http://${address%/*}:9999\", \"agent_version\": \"9.4.3\", \"agent_token\": \"$token\"}" >/dev/null
	sleep 1
done
AGENT

# One request on the agent's port: there are no steps, and no command is running.
cat >"$root/bin/answer" <<'ANSWER'
#!/bin/sh
read -r method _
length=0
while read -r name value; do
	value=${value%?} # the carriage return
	case $name in
	[Cc]ontent-[Ll]ength:) length=$value ;;
	?) break ;;
	esac
done
[ "$length" = 0 ] || head -c "$length" >/dev/null
body='{"commands": []}'
if [ "$method" = POST ]; then
	body='{"id": "1", "command_name": "get_clean_steps", "command_status": "SUCCEEDED", "command_error": null,
 "command_result": {"clean_steps": {}, "hardware_manager_version": {"none": "1"}}}'
fi
printf 'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s' ${#body} "$body"
ANSWER
chmod 755 "$root/init" "$root/bin/agent" "$root/bin/answer"
(cd "$root" && find . | cpio -o -H newc --quiet | gzip -6) >"$out/initrd.gz.tmp"
mv "$out/initrd.gz.tmp" "$out/initrd.gz"
