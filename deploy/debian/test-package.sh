#!/usr/bin/env bash
# Builds the package and, in a debootstrap root, installs it, runs what its unit runs as its unit's user, installs it
# again over itself, and purges it. No systemd runs there: the units themselves are judged by systemd-analyze.
# usage: deploy/debian/test-package.sh BINARY   a Native AOT binary that was linked on this release; needs root.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
binary=$(realpath "${1:?usage: deploy/debian/test-package.sh BINARY}")

fail() { echo "test-package.sh: $1" >&2; exit 1; }
command -v debootstrap >/dev/null || fail "debootstrap is missing: apt-get install debootstrap"
[ "$(id -u)" -eq 0 ] || fail "needs root, for debootstrap"

work=$(mktemp -d) daemon=
finish() {
  [ -z "$daemon" ] || kill "$daemon" 2>/dev/null || true
  umount "$work/root/proc" 2>/dev/null || true
  rm -rf "$work"
}
trap finish EXIT

package=$(deploy/debian/build.sh "$binary" "$work")
echo "== $(basename "$package")"
release=$(. /etc/os-release && echo "$VERSION_CODENAME")
debootstrap --variant=minbase --include="adduser,ca-certificates,$(deploy/debian/libssl.sh "$release")" "$release" "$work/root" \
  >"$work/log" 2>&1 || { cat "$work/log" >&2; fail "debootstrap could not make a root of $release"; }
mount -t proc proc "$work/root/proc"
cp "$package" "$work/root/package.deb"
inside() { chroot "$work/root" env PATH=/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C "$@"; }

echo "== install"
inside dpkg --install /package.deb >"$work/log" 2>&1 || { cat "$work/log"; fail "it does not install"; }
inside id streaming-daemon
for document in copyright changelog.gz THIRD-PARTY-NOTICES.gz streaming-daemon.cdx.json.gz; do
  [ -s "$work/root/usr/share/doc/streaming-daemon/$document" ] || fail "$document is not in it"
done
for enabled in multi-user.target.wants/streaming-daemon.service sockets.target.wants/streaming-daemon.socket; do
  [ -L "$work/root/etc/systemd/system/$enabled" ] || fail "$enabled is not enabled"
done

echo "== start, as the unit does"
unit() { sed -n "s/^$1=//p" "$work/root/lib/systemd/system/streaming-daemon.service"; }
directory=/run/$(unit RuntimeDirectory)
inside install -d -o "$(unit User)" -g "$(unit Group)" -m "$(unit RuntimeDirectoryMode)" "$directory"
read -r -a command <<<"$(unit ExecStart)"
: >"$work/out"
# No function: its shell would take the signal below, and leave the daemon be.
chroot --userspec="$(unit User):$(unit Group)" --groups= "$work/root" "${command[@]}" >"$work/out" 2>&1 &
daemon=$!
for _ in $(seq 100); do grep -q 'listening on' "$work/out" && break; sleep 0.1; done
grep -q 'listening on' "$work/out" || { cat "$work/out"; fail "it did not listen within 10 s"; }
[ "$(stat -c '%a %U %G' "$work/root${command[-1]}" | cut -d' ' -f1,3)" = "660 www-data" ] || fail "the socket's mode"
# Apache's user reaches it, another one does not.
chroot --userspec=www-data:www-data --groups= "$work/root" "${command[0]}" send --socket "${command[-1]}" \
  --prompt hello | grep -q 'User ID: 0' || { cat "$work/out"; fail "no answer"; }
! chroot --userspec=nobody:nogroup --groups= "$work/root" "${command[0]}" send --socket "${command[-1]}" \
  --prompt hello 2>/dev/null || fail "anybody may connect to the socket"

echo "== upgrade, while it runs"
inside dpkg --install /package.deb >"$work/log" 2>&1 || { cat "$work/log"; fail "it does not upgrade"; }
kill -0 $daemon || fail "the upgrade ended the daemon"
kill $daemon
status=0
wait $daemon || status=$?
[ $status -eq 0 ] || { cat "$work/out"; fail "it ended with status $status"; }
daemon=

echo "== purge"
inside dpkg --purge streaming-daemon >"$work/log" 2>&1 || { cat "$work/log"; fail "it does not go"; }
left=$(cd "$work/root" && find . -xdev -path ./proc -prune -o -name '*streaming-daemon*' -print)
[ -z "$left" ] || fail "it leaves behind: $left"
echo "the package comes and goes"
