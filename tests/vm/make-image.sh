#!/usr/bin/env bash
# Makes what the virtual machine of these tests boots: Debian's cloud kernel, and a root of this machine's Apache, PHP,
# nginx, Python, curl and OpenSSL with the daemon and both modules, as an initramfs.
#
#   tests/vm/make-image.sh DIRECTORY DAEMON     writes DIRECTORY/kernel and DIRECTORY/root.cpio
#
# Needs: apt-get install qemu-system-x86 busybox-static cpio apache2 apache2-dev apache2-ssl-dev libapache2-mod-php
#        php-fpm nginx-light curl gnutls-bin openssl python3 python3-pycurl gcc
set -eu
directory=$(mkdir -p "$1" && cd "$1" && pwd)
daemon=$(readlink -f "$2")
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
repository=$here/../..
root=$directory/root
PATH=$PATH:/usr/sbin:/sbin

fail() { echo "make-image.sh: $1" >&2; exit 1; }

need() {
  local missing=()
  [ -x /bin/busybox ] || missing+=(busybox-static)
  command -v cpio >/dev/null || missing+=(cpio)
  command -v apache2 >/dev/null || missing+=(apache2)
  command -v apxs >/dev/null || missing+=(apache2-dev)
  [ -e /usr/include/apache2/mod_ssl_openssl.h ] || missing+=(apache2-ssl-dev)
  compgen -G '/usr/lib/apache2/modules/libphp*.so' >/dev/null || missing+=(libapache2-mod-php)
  compgen -G '/usr/sbin/php-fpm*' >/dev/null || missing+=(php-fpm)
  command -v nginx >/dev/null || missing+=(nginx-light)
  command -v curl >/dev/null || missing+=(curl)
  command -v gnutls-cli >/dev/null || missing+=(gnutls-bin)
  command -v openssl >/dev/null || missing+=(openssl)
  [ -x /usr/bin/python3 ] || missing+=(python3)
  compgen -G '/usr/lib/python3/dist-packages/pycurl*.so' >/dev/null || missing+=(python3-pycurl)
  [ ${#missing[@]} -eq 0 ] || fail "missing: apt-get install ${missing[*]}"
}

# The distribution's package of the kernel, kept for the next time.
unpack_kernel() {
  local package
  package=$(apt-cache depends linux-image-cloud-amd64 2>/dev/null | awk '/Depends: linux-image/ { print $2; exit }')
  [ -n "$package" ] || fail "apt knows no linux-image-cloud-amd64: this needs Debian's packages (apt-get update)"
  compgen -G "$directory/${package}_*.deb" >/dev/null || (cd "$directory" && apt-get download -qq "$package" 2>&1) >&2 ||
    fail "$package cannot be downloaded"
  rm -rf "$directory/unpacked"
  dpkg -x "$directory/${package}"_*.deb "$directory/unpacked"
  cp "$directory"/unpacked/boot/vmlinuz-* "$directory/kernel"
  version=${package#linux-image-}
  local modules=lib/modules/$version
  # TLS with its ciphers, and a network card.
  for part in crypto arch/x86/crypto lib/crypto net/tls drivers/virtio drivers/net/virtio_net.ko drivers/net/net_failover.ko \
    net/core/failover.ko; do
    mkdir -p "$root/usr/$modules/kernel/$(dirname "$part")"
    cp -r "$directory/unpacked/$modules/kernel/$part" "$root/usr/$modules/kernel/$(dirname "$part")"
  done
  cp "$directory/unpacked/$modules"/modules.{order,builtin} "$root/usr/$modules/"
  # Its modules are in /lib, which is a link.
  (cd "$root" && busybox depmod -b "$root" "$version")
  rm -rf "$directory/unpacked"
}

# A file, at the same place in the root; links become what they lead to.
copy() {
  local file place
  for file in "$@"; do
    place=$root$(readlink -f "$(dirname "$file")")
    mkdir -p "$place"
    [ -e "$place/$(basename "$file")" ] || cp -L "$file" "$place/"
  done
}

# The libraries that programs and libraries are linked with.
copy_libraries() {
  local libraries
  libraries=$(ldd "$@" 2>/dev/null | grep -o '/[^ ]*\.so[^ ]*' | grep -v ':$' | sort -u)
  # shellcheck disable=SC2086
  copy $libraries
}

copy_programs() {
  copy "$@"
  copy_libraries "$@"
}

copy_python() {
  local library
  library=$(/usr/bin/python3 -c 'import sysconfig; print(sysconfig.get_path("stdlib"))')
  copy_programs /usr/bin/python3 /usr/lib/python3/dist-packages/pycurl*.so
  mkdir -p "$root$library"
  (cd "$library" && tar -c --exclude=test --exclude=idlelib --exclude=lib2to3 --exclude=ensurepip --exclude='config-*' .) |
    tar -x -C "$root$library"
  copy_libraries "$library"/lib-dynload/*.so
}

make_root() {
  rm -rf "$root"
  mkdir -p "$root"/usr/{bin,sbin,lib,lib64} "$root"/{proc,sys,dev,tmp,run,etc,var,vm}
  ln -s usr/bin usr/sbin usr/lib usr/lib64 "$root/"
  ln -s /run "$root/var/run"
  copy_programs /bin/busybox /usr/sbin/apache2 /usr/sbin/php-fpm[0-9]* /usr/sbin/nginx \
    /usr/bin/{curl,gnutls-cli,openssl,env}
  local modules=/usr/lib/apache2/modules
  copy_programs $modules/mod_{mpm_prefork,mpm_event,authz_core,dir,env,mime,reqtimeout,ssl,socache_shmcb,headers,alias}.so \
    $modules/mod_{proxy,proxy_fcgi,http2}.so $modules/libphp*.so
  copy_python
  # The root user's and www-data's names; OpenSSL's defaults.
  grep -E '^(root|www-data|nobody):' /etc/passwd >"$root/etc/passwd"
  grep -E '^(root|www-data|nogroup):' /etc/group >"$root/etc/group"
  copy /etc/ssl/openssl.cnf /usr/share/zoneinfo/{UTC,Etc/UTC,tzdata.zi,zone.tab}
  mkdir -p "$root/usr/lib/ssl"
  ln -sf /etc/ssl/openssl.cnf "$root/usr/lib/ssl/openssl.cnf"
  echo '127.0.0.1 localhost a.test b.test' >"$root/etc/hosts"
  echo 'passwd: files
group: files
hosts: files' >"$root/etc/nsswitch.conf"
}

make_ours() {
  make -s -C "$repository/apache" BUILD="$directory/module" >/dev/null
  cp "$directory"/module/.libs/mod_socket_handoff{,_tls}.so "$here"/guest/* "$root/vm/"
  cp "$daemon" "$root/vm/streaming-daemon"
  # The same with AddressSanitizer.
  make -s -C "$repository/apache" BUILD="$directory/module-asan" \
    FLAGS="-g -fsanitize=address -fno-omit-frame-pointer" >/dev/null
  mkdir "$root/vm/asan"
  cp "$directory"/module-asan/.libs/mod_socket_handoff{,_tls}.so "$root/vm/asan/"
  cp -L "$(gcc -print-file-name=libasan.so)" "$root/vm/asan/libasan.so"
  copy_libraries "$root/vm/asan/libasan.so"
  cp -r "$repository/tests/apache/www" "$root/vm/www"
  cp "$here"/www/* "$root/vm/www/"
  head -c 300000 /dev/zero | tr '\0' l >"$root/vm/www/large.html"
  gcc -shared -fPIC -Wall -Werror -o "$root/vm/wrong-number.so" "$here/wrong-number.c" -ldl
  gcc -shared -fPIC -Wall -Werror -o "$root/vm/late-sendmsg.so" "$repository/tests/apache/late-sendmsg.c" -ldl
  cp "$here/guest/init" "$root/init"
  chmod 755 "$root/init"
}

# Two sites with a key of each kind, and an authority with one client.
make_certificates() {
  local to=$root/vm/certificates
  mkdir -p "$to"
  openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=a.test -addext subjectAltName=DNS:a.test,DNS:localhost \
    -keyout "$to/a.key" -out "$to/a.pem"
  openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=b.test \
    -addext subjectAltName=DNS:b.test -keyout "$to/b.key" -out "$to/b.pem"
  openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=authority \
    -keyout "$to/authority.key" -out "$to/authority.pem"
  openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=client -keyout "$to/client.key" |
    openssl x509 -req -days 2 -CA "$to/authority.pem" -CAkey "$to/authority.key" -CAcreateserial -out "$to/client.pem"
} 2>/dev/null

need
make_root
unpack_kernel
make_ours
make_certificates
(cd "$root" && find . | cpio -o -H newc --quiet) >"$directory/root.cpio"
rm -rf "$root"
