#!/usr/bin/env bash
# Publishes the daemon for arm64, boots it under qemu with Debian's cloud kernel, and prints what init wrote.
#
#   tests/vm/arm64/run.sh DIRECTORY RULES
#
# The binary is cross-compiled from a copy of the work tree. DIRECTORY keeps it, and the packages, for a look afterwards.
# RULES is the seccomp profile for tests/deploy/seccomp-profile.c, under which everything of the daemon runs.
# Needs: apt-get install qemu-system-arm clang lld binutils-aarch64-linux-gnu libc6-dev-arm64-cross
#        libgcc-12-dev-arm64-cross cpio
set -eu
rules=$(realpath "$2")
directory=$(mkdir -p "$1" && cd "$1" && pwd)
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
repository=$here/../../..
root=$directory/root
libraries=/usr/aarch64-linux-gnu/lib

fail() { echo "run.sh: $1" >&2; exit 1; }

publish() {
  rm -rf "$directory/source"
  mkdir "$directory/source"
  (cd "$repository" && git ls-files -z --cached --others --exclude-standard |
    while read -r -d '' file; do [ ! -e "$file" ] || printf '%s\0' "$file"; done |
    tar --create --null --files-from=-) | tar --extract --directory "$directory/source"
  git -C "$repository" log -1 --format='%H %ct' >"$directory/source/.revision"
  # The analyzers do not run: they have read the same sources in the build of these tests.
  (cd "$directory/source" &&
    DOTNET_TieredPGO=0 dotnet publish -c Release -r linux-arm64 src/StreamingDaemon.Host -o "$directory/published" -v quiet \
      -p:RunAnalyzers=false -p:LinkerFlavor=lld -p:ObjCopyName=aarch64-linux-gnu-objcopy) >&2
}

# Debian's packages of the other architecture, by an apt with lists of its own: this machine's stay as they are.
download() {
  local apt=(-qq -o APT::Architecture=arm64 -o APT::Architectures=arm64 -o APT::Sandbox::User=root
    -o Dir::State="$directory/apt" -o Dir::State::status=/dev/null -o Dir::Cache="$directory/apt")
  mkdir -p "$directory"/apt/{lists,archives}/partial
  local kernel
  local have=0
  for package in linux-image-* busybox-static_* libseccomp-dev_*; do
    compgen -G "$directory/$package.deb" >/dev/null && have=$((have + 1))
  done
  [ $have -lt 3 ] || return 0
  apt-get "${apt[@]}" update >&2 || fail "the package lists of arm64 cannot be read"
  kernel=$(apt-cache "${apt[@]}" depends linux-image-cloud-arm64 | awk '/Depends: linux-image/ { print $2; exit }')
  [ -n "$kernel" ] || fail "apt knows no linux-image-cloud-arm64: this needs Debian's packages"
  (cd "$directory" && apt-get "${apt[@]}" download "$kernel" busybox-static libseccomp-dev) >&2 || fail "$kernel cannot be downloaded"
}

make_image() {
  rm -rf "$root" "$directory/unpacked"
  mkdir -p "$root"/{bin,lib,proc,sys,dev,tmp,run,vm}
  dpkg -x "$directory"/linux-image-*.deb "$directory/unpacked"
  dpkg -x "$directory"/busybox-static_*.deb "$directory/unpacked"
  dpkg -x "$directory"/libseccomp-dev_*.deb "$directory/unpacked"
  cp "$directory"/unpacked/boot/vmlinuz-* "$directory/kernel"
  cp "$directory/unpacked/bin/busybox" "$root/bin/"
  cp -L "$libraries"/{ld-linux-aarch64.so.1,libc.so.6,libm.so.6} "$root/lib/"
  cp "$directory/published/streaming-daemon" "$root/vm/"
  cp "$here/init" "$root/init"
  # Linked statically: the machine has no libseccomp.
  clang --target=aarch64-linux-gnu -fuse-ld=lld -Wall -Werror -O2 -I"$directory/unpacked/usr/include" -o "$root/vm/seccomp-profile" \
    "$repository/tests/deploy/seccomp-profile.c" "$directory/unpacked/usr/lib/aarch64-linux-gnu/libseccomp.a"
  cp "$rules" "$root/vm/rules"
  (cd "$root" && find . | cpio -o -H newc --quiet) >"$directory/root.cpio"
  rm -rf "$directory/unpacked"
}

publish
download
make_image
timeout 300 qemu-system-aarch64 -machine virt -accel tcg,thread=multi -cpu max -smp 2 -m 1024 -nodefaults -no-reboot \
  -nographic -kernel "$directory/kernel" -initrd "$directory/root.cpio" -append "console=ttyAMA0 quiet panic=1" \
  -serial "file:$directory/console" >&2
tr -d '\r' <"$directory/console"
