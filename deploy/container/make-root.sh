#!/bin/sh
# Lays out the root of the image: the binary, the libraries that it loads, certificates, and no shell.
# usage: make-root.sh BINARY CONFIG ROOT
# Runs where the libraries are that fit the binary: in the Dockerfile, and in deploy/test-image.sh.
set -eu
binary=$1 config=$2 root=$3

mkdir -p "$root/usr/bin" "$root/etc/streaming-daemon" "$root/etc/ssl" "$root/usr/lib" "$root/tmp" \
  "$root/var/run/streaming-daemon"
chmod 1777 "$root/tmp"
cp "$binary" "$root/usr/bin/streaming-daemon"
cp "$config" "$root/etc/streaming-daemon/config.toml"

# OpenSSL is loaded by name at run time, and so in no list of the binary's.
tls=$(ldconfig -p | sed -n 's/.* => \(.*\/libssl\.so\.3\)$/\1/p' | head -n 1)
[ -n "$tls" ] || { echo "make-root.sh: libssl.so.3 is missing: install libssl3" >&2; exit 1; }
for library in "$tls" $(ldd "$binary" "$tls" | grep -o '/[^ ():]*\.so[^ ():]*' | sort -u); do
  mkdir -p "$root$(dirname "$library")"
  cp -L "$library" "$root$library"
done
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
