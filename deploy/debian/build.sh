#!/usr/bin/env bash
# Makes a Debian package of the Native AOT binary, the systemd units, a configuration and the manual page.
# The same binary makes the same package, byte for byte: its files are of the commit's time, or of SOURCE_DATE_EPOCH.
# usage: deploy/debian/build.sh BINARY OUTPUT-DIRECTORY      prints the package's path
# The binary runs on releases whose C library is at least as new as the one it was linked against.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
binary=${1:?usage: deploy/debian/build.sh BINARY OUTPUT-DIRECTORY}
output=${2:?usage: deploy/debian/build.sh BINARY OUTPUT-DIRECTORY}
version=$(sed -n 's/.*<Version>\(.*\)<\/Version>.*/\1/p' Directory.Build.props)
architecture=$(dpkg --print-architecture)
libc=$(objdump -T "$binary" | grep -o 'GLIBC_[0-9.]*' | sort -uV | tail -n 1)

# The commit's time: of a clone, or of an archive of git.
if [ -z "${SOURCE_DATE_EPOCH:-}" ]; then
  read -r _ SOURCE_DATE_EPOCH <.revision
  case $SOURCE_DATE_EPOCH in
    *[!0-9]*) SOURCE_DATE_EPOCH=$(git log -1 --format=%ct 2>/dev/null || date +%s) ;;
  esac
fi
export SOURCE_DATE_EPOCH
umask 022

root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT
chmod 755 "$root"
put() { install -D -m "$1" "$2" "$root$3"; }
put 755 "$binary" /usr/bin/streaming-daemon
strip --strip-unneeded "$root/usr/bin/streaming-daemon"
for unit in deploy/systemd/*; do put 644 "$unit" "/lib/systemd/system/${unit##*/}"; done
put 644 streaming-daemon.toml /etc/streaming-daemon/config.toml
put 644 deploy/debian/streaming-daemon.1 /usr/share/man/man1/streaming-daemon.1
put 644 deploy/debian/copyright /usr/share/doc/streaming-daemon/copyright
documents=/usr/share/doc/streaming-daemon
put 644 CHANGELOG.md $documents/changelog
# Publishing has written both beside the binary.
put 644 "$(dirname "$binary")/THIRD-PARTY-NOTICES.txt" $documents/THIRD-PARTY-NOTICES
put 644 "$(dirname "$binary")/streaming-daemon.cdx.json" $documents/streaming-daemon.cdx.json
gzip -9n "$root/usr/share/man/man1/streaming-daemon.1" "$root$documents/changelog" \
  "$root$documents/THIRD-PARTY-NOTICES" "$root$documents/streaming-daemon.cdx.json"

for script in postinst prerm postrm; do put 755 deploy/debian/$script /DEBIAN/$script; done
echo /etc/streaming-daemon/config.toml >"$root/DEBIAN/conffiles"
cat >"$root/DEBIAN/control" <<END
Package: streaming-daemon
Version: $version
Architecture: $architecture
Maintainer: ${DEBFULLNAME:-streaming-daemon} <${DEBEMAIL:-root@localhost}>
Installed-Size: $(find "$root" -path "$root/DEBIAN" -prune -o -printf '%y %s\n' |
  awk '{ kib += $1 == "f" ? int(($2 + 1023) / 1024) : 1 } END { print kib }')
Depends: adduser, ca-certificates, libc6 (>= ${libc#GLIBC_}), libssl3 | libssl3t64
Suggests: apache2
Section: web
Priority: optional
Description: streams language models' answers to clients that Apache hands over
 Apache passes the socket of a client to this daemon and is free again at once.
 The daemon calls the model and streams its answer as server-sent events. It
 needs Linux 6.1 or newer, with io_uring.
END
mkdir -p "$output"
package=$output/streaming-daemon_${version}_$architecture.deb
# Several threads of xz would write other bytes than one.
DPKG_DEB_THREADS_MAX=1 dpkg-deb --root-owner-group --build "$root" "$package" >/dev/null
echo "$package"
