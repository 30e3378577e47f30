#!/bin/sh
# From nothing to a running cluster of two virtual bare-metal nodes on this host:
#
#   ./setup.sh          install what is missing, build tenks, set this host up, tenks up
#   ./setup.sh build    install only what building needs, and build
#   ./setup.sh tests    install only what building and `make test` need
#   ./setup.sh cloud    that, and a small OpenStack for the tests with Nova and Placement (600 MB)
#
# Each may be repeated. Debian and Ubuntu, as root or with sudo; on another system it
# says what to install and goes on if that is there.
set -eu

here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
cd "$here"

# Go downloads the version that go.mod names; one that can is new enough to start with.
min_go=1.21
test_packages="libvirt-daemon-system libvirt-clients qemu-system-x86 qemu-utils ovmf swtpm swtpm-tools sbsigntool seabios
 ipxe-qemu ipmitool freeipmi-tools snmp dnsmasq-base iproute2 util-linux nftables e2fsprogs openvswitch-switch"

say() { echo "setup: $*" >&2; }

die() {
	say "$*"
	exit 1
}

usage() {
	sed -n '2,7s/^# \{0,1\}//p' "$0" >&2
	exit 2
}

# run DESCRIPTION COMMAND...: quiet, unless it fails.
run() {
	what=$1
	shift
	say "$what"
	if ! "$@" >>"$log" 2>&1 </dev/null; then
		say "$what: failed; the end of $log:"
		tail -n 20 "$log" >&2
		keep_log=1
		exit 1
	fi
}

as_root() {
	if [ "$(id -u)" = 0 ]; then
		"$@"
	elif command -v sudo >/dev/null 2>&1; then
		sudo "$@"
	else
		die "root is needed for: $*; run this as root, or install sudo"
	fi
}

finish() {
	if [ -n "$guard" ]; then
		as_root rm -f "$guard"
	fi
	if [ -z "$keep_log" ]; then
		rm -f "$log"
	fi
}

# --- packages ----------------------------------------------------------------------

have_apt() { command -v apt-get >/dev/null 2>&1 && command -v dpkg-query >/dev/null 2>&1; }

apt() {
	as_root env DEBIAN_FRONTEND=noninteractive \
		apt-get -q -y -o DPkg::Lock::Timeout=600 -o Dpkg::Use-Pty=0 "$@"
}

# missing PACKAGE...: those that are not installed.
missing() {
	for p; do
		[ "$(dpkg-query -W -f '${db:Status-Status}' "$p" 2>/dev/null)" = installed ] || printf '%s ' "$p"
	done
}

updated=
update_once() {
	[ -z "$updated" ] || return 0
	updated=1
	run "apt-get update" apt update
}

have_lists() { ls /var/lib/apt/lists/*Packages* >/dev/null 2>&1; }

# want PACKAGE...: installs what is missing. Package lists that are older than the
# archive lead to files that are gone: then once more with new lists.
want() {
	todo=$(missing "$@")
	[ -n "$todo" ] || return 0
	have_lists || update_once
	if [ -z "$updated" ]; then
		say "install $todo"
		# shellcheck disable=SC2086 # a list of packages
		if apt install --no-install-recommends $todo >>"$log" 2>&1 </dev/null; then return 0; fi
		update_once
	fi
	# shellcheck disable=SC2086
	run "install $todo" apt install --no-install-recommends $todo
}

# While only tests are prepared, no package may start its daemon: the tests start
# their own, and a build machine is left as it was.
guard_daemons() {
	[ ! -e /usr/sbin/policy-rc.d ] || return 0
	guard=/usr/sbin/policy-rc.d
	printf '#!/bin/sh\nexit 101\n' | as_root tee "$guard" >/dev/null
	as_root chmod 755 "$guard"
}

# --- Go ----------------------------------------------------------------------------

# at_least WANTED VERSION: compares as 1.9 < 1.21.
at_least() { [ "$(printf '%s\n%s\n' "$1" "$2" | sort -V | head -n 1)" = "$1" ]; }

# use_go DIR...: takes the first Go that is new enough.
use_go() {
	for dir; do
		[ -x "$dir/go" ] || continue
		# Its own version, not that of what it would fetch for our go.mod.
		v=$(cd / && GOTOOLCHAIN=local "$dir/go" env GOVERSION 2>/dev/null) || continue
		v=${v#go}
		v=${v%%[!0-9.]*}
		if at_least "$min_go" "${v:-0}"; then
			PATH="$dir:$PATH"
			export PATH
			return 0
		fi
	done
	return 1
}

find_go() {
	in_path=$(command -v go 2>/dev/null || true)
	# shellcheck disable=SC2046,SC2012 # the newest versions first, one word each
	use_go "$(dirname "${in_path:-/nowhere/go}")" /usr/local/go/bin /usr/lib/go/bin "$HOME/go/bin" \
		$(ls -d /usr/lib/go-*/bin 2>/dev/null | sort -rV)
}

candidate() { apt-cache policy "$1" 2>/dev/null | sed -n 's/^ *Candidate: *//p' | sed 's/^[0-9]*://; s/[~+-].*//' | grep '^[0-9]' || echo 0; }

# newest_versioned: the newest golang-1.N-go that apt can install, or nothing.
newest_versioned() {
	apt-cache search --names-only '^golang-1\.[0-9]+-go$' | sed 's/ .*//' | sort -V | tail -n 1
}

install_go() {
	have_apt || die "Go $min_go or newer is needed: install it from https://go.dev/dl/ to /usr/local/go, and run this again"
	have_lists || update_once
	if at_least "$min_go" "$(candidate golang-go)"; then
		want golang-go
		return
	fi
	p=$(newest_versioned)
	v=${p#golang-}
	if [ -n "$p" ] && at_least "$min_go" "${v%-go}"; then
		want "$p"
		return
	fi
	install_go_from_backports
}

# Debian keeps newer versions in a suite of its own, from which nothing is taken that
# is not asked for.
install_go_from_backports() {
	codename=$(sed -n 's/^VERSION_CODENAME=//p' /etc/os-release)
	distro=$(sed -n 's/^ID=//p' /etc/os-release)
	if [ "$distro" != debian ] || [ -z "$codename" ]; then
		die "Go $min_go or newer is needed, and apt has none: install it from https://go.dev/dl/ to /usr/local/go, and run this again"
	fi
	list=/etc/apt/sources.list.d/tenks-backports.list
	if ! grep -rqs "^[^#]*$codename-backports" /etc/apt/sources.list /etc/apt/sources.list.d; then
		say "add $codename-backports to the package sources ($list), for Go"
		echo "deb http://deb.debian.org/debian $codename-backports main" | as_root tee "$list" >/dev/null
		updated=
	fi
	update_once
	run "install Go from $codename-backports" apt install --no-install-recommends -t "$codename-backports" golang-go
}

need_go() {
	find_go && return 0
	install_go
	find_go || die "Go $min_go or newer is needed: install it from https://go.dev/dl/ to /usr/local/go, and run this again"
}

# --- what the targets need -----------------------------------------------------------

need_cloud() {
	have_apt || die "the OpenStack of the tests is Debian's: there is no apt here"
	run "OpenStack for the tests" as_root bash cmd/internal/e2e/install.sh cloud
}

need_build() {
	if have_apt; then
		want make gcc libc6-dev ca-certificates gzip
	fi
	for tool in make gcc gzip; do
		command -v "$tool" >/dev/null 2>&1 || die "$tool is needed: install it with your package manager, and run this again"
	done
	need_go
	# A distribution's Go is set to stay at its own version.
	GOTOOLCHAIN=${GOTOOLCHAIN:-auto}
	export GOTOOLCHAIN
}

need_tests() {
	if ! have_apt; then
		say "no apt here: tests whose programs are missing will be skipped"
		return 0
	fi
	guard_daemons
	# shellcheck disable=SC2086 # a list of packages
	want $test_packages
	run "Ironic for the tests" as_root bash cmd/internal/e2e/install.sh ironic
}

build() {
	say "build tenks with $(go version | cut -d' ' -f3) (the first time takes minutes)"
	run "make" make
}

# --- main ----------------------------------------------------------------------------

[ $# -le 1 ] || usage
if [ "${1:-}" = go ]; then # for the Makefile: where a Go that is new enough is
	if find_go; then dirname "$(command -v go)"; fi
	exit 0
fi
guard=
keep_log=
log=$(mktemp "${TMPDIR:-/tmp}/tenks-setup.XXXXXX")
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

case "${1:-all}" in
build)
	need_build
	build
	;;
tests)
	need_build
	need_tests
	;;
cloud)
	need_build
	need_tests
	need_cloud
	;;
all)
	need_build
	build
	as_root bin/tenks host setup
	as_root bin/tenks up
	;;
*) usage ;;
esac
