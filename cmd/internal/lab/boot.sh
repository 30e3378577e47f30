#!/bin/sh
# The first process of a lab host. It runs in the host's own network, mount and UTS
# namespace, gives it its disk and its /run, and then stays, so that the namespaces do.
#   LAB_NAME   host name
#   LAB_DISK   directory that a reboot keeps
#   LAB_IMAGE  ext4 image to mount there; empty: none
#   LAB_RUN    empty directory: /run
#   LAB_BOOT_ID file with this boot's ID
#   LAB_READY  file made when the host is up
set -eu

# A directory that this machine lacks is made in the host only: its parent becomes a
# tmpfs with everything bound into it that was there.
widen() {
	aside=$LAB_RUN/.aside
	mkdir -p "$aside"
	mount --rbind "$1" "$aside"
	mount -t tmpfs -o mode=755 lab "$1"
	for old in "$aside"/* "$aside"/.[!.]*; do
		if [ -L "$old" ]; then
			cp -P "$old" "$1/"
			continue
		elif [ -d "$old" ]; then
			mkdir "$1/${old##*/}"
		elif [ -e "$old" ]; then
			: >"$1/${old##*/}"
		else
			continue
		fi
		mount --rbind "$old" "$1/${old##*/}"
	done
	umount -R "$aside"
	rmdir "$aside"
}

# private DIR: the host's own DIR, kept on its disk.
private() {
	mkdir -p "$LAB_DISK$1"
	if [ ! -d "$1" ]; then
		widen "${1%/*}"
		mkdir "$1"
	fi
	mount --bind "$LAB_DISK$1" "$1"
}

# node NAME: a device of this machine, if it has it, as it has it.
node() {
	[ -c "/dev/$1" ] || return 0
	# shellcheck disable=SC2046 # mode, owner, group, major and minor number
	set -- "$1" $(stat -c '%a %u:%g 0x%t 0x%T' "/dev/$1")
	mknod -m "$2" "$dev/$1" c "$4" "$5"
	chown "$3" "$dev/$1"
}

# The host's own /dev: the kernel numbers network interfaces per network namespace, but
# names the nodes of macvtap devices by these numbers in the one /dev of the machine.
# The lab makes and removes such nodes here, as udev would.
own_dev() {
	dev=$LAB_RUN/.dev
	mkdir "$dev"
	mount -t tmpfs -o mode=755,nosuid lab "$dev"
	mkdir "$dev/pts" "$dev/shm" "$dev/mqueue" "$dev/net"
	for name in null zero full random urandom tty kvm net/tun vhost-net vhost-vsock fuse; do
		node "$name"
	done
	mount -t devpts -o newinstance,ptmxmode=0666,mode=0620,gid=5 lab "$dev/pts"
	mount -t tmpfs -o mode=1777,nosuid,nodev lab "$dev/shm"
	mount -t mqueue lab "$dev/mqueue" 2>/dev/null || : # no kernel must have it
	ln -s pts/ptmx "$dev/ptmx"
	ln -s /proc/self/fd "$dev/fd"
	for fd in 0:stdin 1:stdout 2:stderr; do
		ln -s "/proc/self/fd/${fd%:*}" "$dev/${fd#*:}"
	done
	mount --move "$dev" /dev
	rmdir "$dev"
}

hostname "$LAB_NAME"
[ -z "$LAB_IMAGE" ] || mount -o loop,noatime "$LAB_IMAGE" "$LAB_DISK"
# A mount of another host's network namespace would keep it alive.
umount -l /run/netns/* /run/netns 2>/dev/null || :
# /sys shows the network namespace it was mounted in.
mount -t sysfs sysfs /sys
mount -t tmpfs -o mode=755 tmpfs /sys/fs/cgroup 2>/dev/null || :
own="/var/lib/libvirt /var/log/libvirt /var/cache/libvirt /etc/libvirt /var/lib/tenks /etc/tenks"
for dir in $own; do
	private "$dir"
done
# A directory that is this machine's after all would be written to: better not boot.
for dir in $own; do
	if [ "$(stat -c %d:%i "$dir")" != "$(stat -c %d:%i "$LAB_DISK$dir")" ]; then
		echo "$dir is not the host's own" >&2
		exit 1
	fi
done
mount --bind "$LAB_BOOT_ID" /proc/sys/kernel/random/boot_id
own_dev
mkdir -p "$LAB_RUN/lock" "$LAB_RUN/libvirt" "$LAB_RUN/netns" "$LAB_RUN/udev"
: >"$LAB_RUN/udev/control" # where programs look whether device nodes are looked after
ready=$LAB_READY
mount --bind "$LAB_RUN" /run
: >"$ready"
exec sleep infinity
