#!/bin/bash
# Installs what the tests against a small real OpenStack need (Keystone, Placement, Nova,
# Glance and what they stand on), on Debian 12 as root; may be repeated, and is quiet and
# quick when everything is there. About 140 packages, 600 MB.
#
# Only the programs: the packages that bring services of the system are left out.
set -euo pipefail

packages="mariadb-server rabbitmq-server python3-keystone uwsgi-core uwsgi-plugin-python3
 python3-pymysql python3-placement nova-common glance-common python3-fixtures python3-libvirt
 python3-ironicclient"
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
		echo "cloudlab: $*: failed:" >&2
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
