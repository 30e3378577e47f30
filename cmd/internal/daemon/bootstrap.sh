#!/bin/sh
# Installs Tenks on this host and makes it a peer of a mesh. It comes from a peer, over
# TLS that is pinned to that peer's key, and so does the program that it installs. The
# join token is in TENKS_TOKEN, never in an argument; arguments are those of tenks join.
set -eu
umask 077
url='@URL@'
pin='@PIN@'
sum='@SUM@'
to=${TENKS_BIN:-/usr/local/bin/tenks}

fail() {
	echo "tenks: $*" >&2
	exit 1
}

[ "$(id -u)" = 0 ] || fail 'run the line as root, in a shell of root (sudo -i)'
[ "$(uname -s)" = Linux ] || fail "this host runs $(uname -s), not Linux"
case $(uname -m) in
@MACHINE@) ;;
*) fail "the program is for @ARCH@, and this host is $(uname -m): install Tenks for it by hand, then tenks join" ;;
esac
[ -n "${TENKS_TOKEN:-}" ] || fail 'there is no join token in TENKS_TOKEN'
token=$TENKS_TOKEN
unset TENKS_TOKEN # nothing but tenks join gets it: what is installed may start services

mkdir -p "${to%/*}"
tmp=$(mktemp "$to.XXXXXX")
trap 'rm -f "$tmp"' EXIT
curl -fsSk --tlsv1.3 --http1.1 --retry 5 --retry-delay 2 --pinnedpubkey "sha256//$pin" "$url/tenks" -o "$tmp" ||
	fail 'the program was not downloaded'
[ "$(sha256sum <"$tmp" | cut -c1-64)" = "$sum" ] || fail 'the program is not the one that was promised: nothing was installed'
chmod 755 "$tmp"
mv "$tmp" "$to"
trap - EXIT
"$to" host check >/dev/null 2>&1 || "$to" host setup ||
	echo "tenks: this host still lacks what is named above; it joins all the same" >&2
export TENKS_TOKEN="$token"
exec "$to" join "$@"
