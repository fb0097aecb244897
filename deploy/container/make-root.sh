#!/bin/sh
# Lays out the root of the image: the binary, the libraries that it loads, certificates, and no shell. Scanners find
# each library's package, and the bill of materials of the binary, which publishing has written beside it.
# With SOURCE_DATE_EPOCH, every file has that time: two builds of the same things are the same bytes.
# usage: make-root.sh BINARY CONFIG ROOT
# Runs where the libraries are that fit the binary: in the Dockerfile, and in deploy/test-image.sh.
set -eu
binary=$1 config=$2 root=$3

mkdir -p "$root/usr/bin" "$root/etc/streaming-daemon" "$root/etc/ssl" "$root/usr/lib" "$root/tmp" \
  "$root/var/run/streaming-daemon" "$root/var/lib/streaming-daemon"
chmod 1777 "$root/tmp"
cp "$binary" "$root/usr/bin/streaming-daemon"
cp "$config" "$root/etc/streaming-daemon/config.toml"

# OpenSSL is loaded by name at run time, and so in no list of the binary's.
tls=$(ldconfig -p | sed -n 's/.* => \(.*\/libssl\.so\.3\)$/\1/p' | head -n 1)
[ -n "$tls" ] || { echo "make-root.sh: libssl.so.3 is missing: install libssl3" >&2; exit 1; }
libraries="$tls $(ldd "$binary" "$tls" | grep -o '/[^ ():]*\.so[^ ():]*' | sort -u)"
for library in $libraries; do
  mkdir -p "$root$(dirname "$library")"
  cp -L "$library" "$root$library"
done

# As Debian's own tools keep it, a file a package: scanners look there where there is no dpkg.
mkdir -p "$root/var/lib/dpkg/status.d" "$root/usr/share/doc/streaming-daemon"
for library in $libraries; do
  # Directories of libraries are links in some releases: the package knows one of the two paths.
  package=$(dpkg-query --search "*/$(basename "$(readlink -f "$library")")" | sed -n '1s/:.*//p')
  [ -n "$package" ] || { echo "make-root.sh: $library is of no package" >&2; exit 1; }
  echo "$package"
done | sort -u >"$root/var/lib/dpkg/packages"
echo ca-certificates >>"$root/var/lib/dpkg/packages"
while read -r package; do
  dpkg-query --status "$package" >"$root/var/lib/dpkg/status.d/$package"
  mkdir -p "$root/usr/share/doc/$package"
  cp -L "/usr/share/doc/$package/copyright" "$root/usr/share/doc/$package/"
done <"$root/var/lib/dpkg/packages"
rm "$root/var/lib/dpkg/packages"
cp -L /etc/os-release "$root/etc/os-release"
cp "$(dirname "$binary")/THIRD-PARTY-NOTICES.txt" "$(dirname "$binary")/streaming-daemon.cdx.json" \
  "$root/usr/share/doc/streaming-daemon/"
# Where OpenSSL looks for certificates: links into /etc/ssl.
cp -a /usr/lib/ssl "$root/usr/lib/ssl"
cp -aL /etc/ssl/certs "$root/etc/ssl/certs"
cp -L /etc/ssl/openssl.cnf "$root/etc/ssl/openssl.cnf"

printf 'root:x:0:0:root:/:/none\nstreaming-daemon:x:10001:33:streaming-daemon:/:/none\n' >"$root/etc/passwd"
# 33 is www-data, Apache's group: the socket has it, and mode 0660.
printf 'root:x:0:\nwww-data:x:33:\n' >"$root/etc/group"
printf 'passwd: files\ngroup: files\nhosts: files dns\n' >"$root/etc/nsswitch.conf"
chown 10001:33 "$root/var/run/streaming-daemon"
chmod 0750 "$root/var/run/streaming-daemon"
# Answers that wait to be delivered. A new volume gets this owner and mode from the image.
chown 10001:33 "$root/var/lib/streaming-daemon"
chmod 0700 "$root/var/lib/streaming-daemon"

if [ -n "${SOURCE_DATE_EPOCH:-}" ]; then
  find "$root" -depth -exec touch --no-dereference --date="@$SOURCE_DATE_EPOCH" {} +
fi
