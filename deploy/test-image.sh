#!/usr/bin/env bash
# Builds the image's root as the Dockerfile does and runs it as an engine would, without one: its own stage in a
# debootstrap root, then runc with the user, the entry point and the health check that the Dockerfile states, no
# capabilities, a read-only root and our seccomp profile.
# usage: deploy/test-image.sh BINARY   a Native AOT binary that was linked on this release of Debian; needs root.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
binary=$(realpath "${1:?usage: deploy/test-image.sh BINARY}")

fail() { echo "test-image.sh: $1" >&2; exit 1; }
for program in debootstrap runc; do
  command -v $program >/dev/null || fail "$program is missing: apt-get install $program"
done
[ "$(id -u)" -eq 0 ] || fail "needs root, for debootstrap and runc"

work=$(mktemp -d) name=streaming-daemon-$$
trap 'runc --root "$work/state" delete --force $name >/dev/null 2>&1 || true; rm -rf "$work"' EXIT

# What the Dockerfile says, in its exec forms.
stated() { sed -n "s/^$1 *//p" Dockerfile | tail -n 1; }
user=$(stated USER) entrypoint=$(stated ENTRYPOINT)
health=$(stated 'HEALTHCHECK .* CMD')
[ -n "$user" ] && [ -n "$entrypoint" ] && [ -n "$health" ] || fail "the Dockerfile states no user, start or health"

echo "== the stage of the build, in a debootstrap root"
release=$(. /etc/os-release && echo "$VERSION_CODENAME")
debootstrap --variant=minbase --include="ca-certificates,$(deploy/debian/libssl.sh "$release")" "$release" "$work/build" \
  >"$work/log" 2>&1 ||
  { cat "$work/log" >&2; fail "debootstrap could not make a root of $release"; }
mkdir "$work/build/source"
cp "$binary" "$(dirname "$binary")/THIRD-PARTY-NOTICES.txt" "$(dirname "$binary")/streaming-daemon.cdx.json" \
  "$work/build/source/"
cp -r deploy "$work/build/source/"
make_root() {
  SOURCE_DATE_EPOCH=1700000000 chroot "$work/build" /source/deploy/container/make-root.sh \
    /source/streaming-daemon /source/deploy/container/config.toml "$1"
}
bytes() { tar --create --sort=name --numeric-owner --directory "$work/build/$1" . | sha256sum; }
make_root /root-of-the-image
# A second one, at another time.
touch "$work/build/source/streaming-daemon" "$work/build/source/deploy/container/config.toml"
make_root /second-root
[ "$(bytes root-of-the-image)" = "$(bytes second-root)" ] || fail "two roots of the same things differ"
rm -r "$work/build/second-root"
mkdir "$work/bundle"
mv "$work/build/root-of-the-image" "$work/bundle/rootfs"
root=$work/bundle/rootfs
du -sh "$root" | sed 's/\t.*/ in all/'
[ "$(stat -c '%a %u:%g' "$root/var/lib/streaming-daemon")" = "700 $user" ] || fail "the spool is not $user's alone"
[ ! -e "$root/bin/sh" ] && [ ! -e "$root/usr/bin/sh" ] || fail "there is a shell in the image"

echo "== what a scanner finds"
for library in $(cd "$root" && find . -name '*.so*' -type f); do
  name=$(basename "$(chroot "$work/build" readlink -f "${library#.}")")
  package=$(chroot "$work/build" dpkg-query --search "*/$name" | sed -n '1s/:.*//p')
  found=$(sed -n 's/^Version: //p' "$root/var/lib/dpkg/status.d/$package") || fail "$package of $library is in no list"
  [ "$found" = "$(chroot "$work/build" dpkg-query --show --showformat '${Version}' "$package")" ] ||
    fail "$package is not $found"
done
for package in libc6 "$(deploy/debian/libssl.sh "$release")"; do
  [ -s "$root/var/lib/dpkg/status.d/$package" ] && [ -s "$root/usr/share/doc/$package/copyright" ] ||
    fail "$package is not listed"
done
grep -q '^ID=' "$root/etc/os-release" || fail "the release is not named"
grep -q '"bomFormat": "CycloneDX"' "$root/usr/share/doc/streaming-daemon/streaming-daemon.cdx.json" || fail "no bill"
grep -q '^======== MIT' "$root/usr/share/doc/streaming-daemon/THIRD-PARTY-NOTICES.txt" || fail "no notices"

echo "== run as $user, read-only, without capabilities, under the profile"
mkdir -p "$work/volume" "$root/proc" "$root/dev" "$root/sys"
chown --reference="$root/var/run/streaming-daemon" "$work/volume"
chmod --reference="$root/var/run/streaming-daemon" "$work/volume"
cat >"$work/bundle/config.json" <<END
{
  "ociVersion": "1.0.2",
  "process": {
    "user": { "uid": ${user%:*}, "gid": ${user#*:} }, "cwd": "/", "args": $entrypoint,
    "env": ["PATH=/usr/bin"], "noNewPrivileges": true, "capabilities": {},
    "rlimits": [{ "type": "RLIMIT_NOFILE", "soft": 20000, "hard": 20000 }]
  },
  "root": { "path": "rootfs", "readonly": true },
  "mounts": [
    { "destination": "/proc", "type": "proc", "source": "proc" },
    { "destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "mode=755"] },
    { "destination": "/var/run/streaming-daemon", "type": "bind", "source": "$work/volume", "options": ["rbind"] }
  ],
  "linux": {
    "namespaces": [{ "type": "pid" }, { "type": "network" }, { "type": "ipc" }, { "type": "mount" }],
    "seccomp": $(cat deploy/seccomp/streaming-daemon.json)
  }
}
END
run() { runc --root "$work/state" "$@"; }
inside() { run exec $name /usr/bin/streaming-daemon "$@"; }
logged() { cat "$work/out" >&2; fail "$1"; }
run run --bundle "$work/bundle" --pid-file "$work/pid" $name >"$work/out" 2>&1 &
container=$!
for _ in $(seq 100); do
  grep -q 'listening on' "$work/out" && break
  kill -0 $container 2>/dev/null || logged "the container ended"
  sleep 0.1
done
grep -q 'listening on' "$work/out" || logged "the daemon did not listen within 10 s"

status=/proc/$(cat "$work/pid")/status
grep -q "^Uid:.${user%:*}" "$status" || fail "not the user $user"
grep -q '^CapBnd:.0000000000000000' "$status" || fail "it has capabilities"
grep -q '^Seccomp:.2' "$status" || fail "no seccomp filter is on"
inside check --socket /var/run/streaming-daemon/another --metrics 0 || fail "check finds something missing"
inside send --prompt hello >"$work/answer" || logged "no answer"
grep -q '"User ID: 0"' "$work/answer" || logged "not the answer of the mock"

echo "== the health check of the Dockerfile: $health"
IFS=' ' read -r -a words <<<"$(tr -d '[],"' <<<"$health")"
[ "$(run exec $name "${words[@]}")" = ok ] || logged "the health check fails"

echo "== SIGTERM"
run kill $name TERM
status=0
wait $container || status=$?
[ $status -eq 0 ] || logged "it ended with status $status"
grep -q 'all streams have ended' "$work/out" || logged "it did not drain"
echo "the image's root runs"
