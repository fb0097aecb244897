#!/usr/bin/env bash
# Builds both images and runs docker-compose.yml with Docker's own engine, of this machine's packages: no registry is asked.
# The base images are stand-ins, made of the Debian packages that are installed here. The engine is a second one, with
# addresses and firewall rules of its own, and goes with this script.
# usage: deploy/test-compose.sh BINARY   a Native AOT binary that was linked on this release of Debian, and which the image's
#                                        build takes for the one that it would publish; needs root.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

binary=$(realpath "${1:?usage: deploy/test-compose.sh BINARY}")

fail() { echo "test-compose.sh: $1" >&2; exit 1; }
needed() { command -v "$1" >/dev/null || fail "$1 is missing: apt-get install $2"; }
needed dockerd docker.io
needed docker-compose docker-compose
needed clang clang
needed curl curl
[ "$(id -u)" -eq 0 ] || fail "needs root, for the engine"
if [ -z "${IN_NETWORK_OF_ITS_OWN:-}" ]; then
  exec env IN_NETWORK_OF_ITS_OWN=1 unshare --net --mount deploy/test-compose.sh "$binary"
fi

work=$(mktemp -d) engine=''
export DOCKER_HOST=unix://$work/engine.sock COMPOSE_PROJECT_NAME=test
docker() { /usr/bin/docker "$@"; }
clean() {
  local left
  if [ -n "$engine" ]; then
    left=$(docker ps --quiet 2>/dev/null) || left=
    # shellcheck disable=SC2086
    [ -z "$left" ] || docker kill $left >/dev/null 2>&1 || true
    kill "$engine" 2>/dev/null || true
    wait "$engine" 2>/dev/null || true
  fi
  rm -rf "$work"
}
trap clean EXIT
# Waits up to so many seconds for a condition.
until_true() {
  local end=$((SECONDS + $1))
  shift
  until "$@" >/dev/null 2>&1; do
    [ $SECONDS -lt $end ] || return 1
    sleep 0.2
  done
}
logged() { compose logs --no-color >&2 || true; fail "$1"; }
inspect() { docker inspect --format "$2" "test_$1_1"; }

echo "== an engine"
ip link set lo up
dockerd --data-root "$work/data" --exec-root "$work/run" --pidfile "$work/engine.pid" --host "$DOCKER_HOST" \
  >"$work/engine.log" 2>&1 &
engine=$!
until_true 60 docker version || { tail "$work/engine.log" >&2; fail "the engine did not start"; }
docker version --format '{{.Server.Version}}'

echo "== base images"
mapfile -t wanted < <(dpkg-query --show --showformat '${Essential} ${Package}\n' | sed -n 's/^yes //p')
wanted+=(apt mawk ca-certificates curl libssl3 make apache2 apache2-dev apache2-ssl-dev libapache2-mod-php clang zlib1g-dev
  python3)
mapfile -t packages < <(apt-cache depends --recurse --installed --no-recommends --no-suggests --no-conflicts --no-breaks \
  --no-replaces --no-enhances "${wanted[@]}" | grep '^[a-z0-9]' | sort -u)
base=$work/base
mkdir -p "$base"/{tmp,root,proc,dev,sys,run/lock} "$base"/usr/{bin,sbin,lib,lib64} "$base"/usr/local/bin \
  "$base"/var/{www/html,log/apache2,lib/dpkg/info,lib/apt/lists/partial,cache/apt/archives/partial}
chmod 1777 "$base/tmp"
{
  printf '%s\n' /bin /sbin /lib /lib64 /var/run /var/lock /etc/alternatives /etc/passwd /etc/group /etc/ssl /etc/ld.so.conf \
    /etc/ld.so.conf.d /etc/ld.so.cache /etc/os-release /etc/apache2 /usr/lib/ssl \
    /var/lib/dpkg/info/format
  for package in "${packages[@]}"; do
    compgen -G "/var/lib/dpkg/info/$package.list" || compgen -G "/var/lib/dpkg/info/$package:*.list" || true
  done | tee "$work/lists" | xargs --delimiter='\n' cat
  cat "$work/lists"
  find /etc/alternatives /etc/ssl /etc/apache2 /etc/ld.so.conf.d /usr/local/share/ca-certificates
  # What alternatives put beside the packages' own files.
  find /usr/bin /usr/sbin -lname '/etc/alternatives/*'
} | sort -u | tar --create --directory / --no-recursion --ignore-failed-read --files-from - 2>/dev/null |
  tar --extract --directory "$base"
dpkg-query --status "${packages[@]}" >"$base/var/lib/dpkg/status" 2>/dev/null || true
cat >>"$base/var/lib/dpkg/status" <<'STATUS'

Package: dotnet-sdk-10.0
Status: install ok installed
Version: 10.0
Architecture: all
Maintainer: nobody <nobody@example.com>
Description: in the place of Ubuntu's
STATUS
# What php:apache has beside Debian's packages.
cat >"$base/usr/local/bin/apache2-foreground" <<'FOREGROUND'
#!/bin/sh
. /etc/apache2/envvars
rm -f "$APACHE_PID_FILE"
exec apache2 -DFOREGROUND
FOREGROUND
chmod +x "$base/usr/local/bin/apache2-foreground"
for log in access other_vhosts_access; do ln -s /dev/stdout "$base/var/log/apache2/$log.log"; done
ln -s /dev/stderr "$base/var/log/apache2/error.log"
mkdir -p "$base"/run/apache2 "$base"/run/lock/apache2
chmod 1777 "$base"/var/{log/apache2,www/html} "$base"/run/{apache2,lock/apache2}
# Published before: the rest of the build is the same.
mkdir "$base/published"
cp "$binary" "$(dirname "$binary")"/{THIRD-PARTY-NOTICES.txt,streaming-daemon.cdx.json} "$base/published/"
cat >"$base/usr/bin/dotnet" <<'PUBLISHED'
#!/bin/sh
while [ "$1" != -o ]; do shift; done
cp -r /published "$2"
PUBLISHED
chmod +x "$base/usr/bin/dotnet"
du -sh "$base" | sed 's/\t.*//'
tar --create --directory "$base" . |
  docker import --change 'CMD ["apache2-foreground"]' - stand-in >/dev/null
rm -r "$base"
export BASE_IMAGE=stand-in APACHE_BASE_IMAGE=stand-in

echo "== the images"
# docker-compose of Debian is the first generation: it takes no name, and no "value if set". Here none of these is set.
unset "${!OPENAI_@}" "${!STREAMING_DAEMON_@}"
for file in docker-compose.yml deploy/compose/key-file.yml; do
  sed -e '/^name: /d' -e 's/\${[A-Z_]*:+[^}]*}/""/' "$file" >"$work/$(basename "$file")"
done
# Not every machine lets its root raise limits.
limits=$work/limits.yml
# Slow enough that a stop comes in the middle of an answer.
printf 'services: {daemon: {environment: {STREAMING_DAEMON_MOCK__DELAY_MS: "200"}, ulimits: {' >"$limits"
prlimit --nofile=200000 true 2>/dev/null || printf 'nofile: %s, ' "$(ulimit -Hn)" >>"$limits"
prlimit --memlock=67108864 true 2>/dev/null || printf 'memlock: %s' "$(prlimit --memlock --output HARD --noheadings)" >>"$limits"
printf '}}}\n' >>"$limits"
files=(-f "$work/docker-compose.yml" -f "$limits")
compose() { docker-compose --project-directory . "${files[@]}" "$@"; }
compose build >"$work/build.log" 2>&1 || { tail -30 "$work/build.log" >&2; fail "an image was not built"; }
docker images --format '{{.Repository}} {{.Size}}'

echo "== up: Apache waits until the daemon is well"
compose up -d >"$work/up.log" 2>&1 || { cat "$work/up.log" >&2; logged "it did not start"; }
is_well() { [ "$(inspect "$1" '{{.State.Health.Status}}')" = healthy ]; }
is_well daemon || logged "the daemon is not healthy"
well=$(inspect daemon '{{range .State.Health.Log}}{{if eq .ExitCode 0}}{{.End.UTC.Format "2006-01-02T15:04:05.000"}} {{end}}{{end}}')
[[ $(inspect apache '{{.State.StartedAt}}') > ${well%% *} ]] || logged "Apache started before the daemon was well"
until_true 60 is_well apache || logged "Apache is not healthy"

echo "== a browser's request"
chat=http://127.0.0.1:8080/chat
ask() { curl --silent --show-error --no-buffer --max-time 60 --data prompt=hello "$chat/stream.php"; }
answered() { ask >"$work/answer" 2>"$work/error" && [ "$(grep '^data: ' "$work/answer" | tail -n 1)" = 'data: [DONE]' ]; }
curl --silent --fail "$chat/" | grep -q '<title>' || logged "no page"
answered || { cat "$work/answer" "$work/error" >&2; logged "no whole answer"; }
grep -c '^data: ' "$work/answer" | sed 's/$/ events/'

echo "== what is stated holds"
holds() { [ "$(inspect "$1" "$2")" = "$3" ] || logged "$1: $2 is $(inspect "$1" "$2"), not $3"; }
holds daemon '{{.HostConfig.Memory}}' $((256 << 20))
holds apache '{{.HostConfig.Memory}}' $((512 << 20))
for service in daemon apache; do
  holds $service '{{.HostConfig.LogConfig.Type}} {{index .HostConfig.LogConfig.Config "max-size"}}' 'json-file 50m'
  holds $service '{{.HostConfig.ReadonlyRootfs}} {{.HostConfig.CapDrop}}' 'true [ALL]'
  status=/proc/$(inspect $service '{{.State.Pid}}')/status
  grep -q '^CapBnd:.0000000000000000' "$status" || logged "$service has capabilities"
  grep -q '^NoNewPrivs:.1' "$status" || logged "$service may get new rights"
  grep -q '^Seccomp:.2' "$status" || logged "$service runs without a seccomp filter"
done
grep -q '^Uid:.10001' "/proc/$(inspect daemon '{{.State.Pid}}')/status" || logged "the daemon's user"
grep -q '^Uid:.33' "/proc/$(inspect apache '{{.State.Pid}}')/status" || logged "Apache's user"
curl --silent http://127.0.0.1:9090/metrics | grep "^streaming_daemon_cgroup_memory_max_bytes $((256 << 20))" ||
  logged "the daemon does not see its limit"

echo "== a key in a file is read, and nobody sees it who inspects the container"
printf %s sk-of-this-test >"$work/key"
chown "$(sed -n 's/^USER \([0-9]*\):.*/\1/p' Dockerfile)" "$work/key"
chmod 400 "$work/key"
export OPENAI_API_KEY_FILE=$work/key
compose -f "$work/key-file.yml" run -d --no-deps --name keyed daemon check --socket /var/run/streaming-daemon/check --metrics 0 >/dev/null 2>&1
status=$(docker wait keyed)
docker logs keyed 2>&1 | grep 'backend openai' || { docker logs keyed >&2; fail "no backend openai: $status"; }
! docker inspect keyed | grep sk-of-this-test || fail "the key can be seen"
docker rm keyed >/dev/null
unset OPENAI_API_KEY_FILE

echo "== a crash: the engine starts the daemon again, and Apache finds it"
kill -KILL "$(inspect daemon '{{.State.Pid}}')"
started_again() { [ "$(inspect daemon '{{.RestartCount}}')" = 1 ]; }
until_true 30 started_again || logged "it was not started again"
until_true 60 answered || { cat "$work/answer" "$work/error" >&2; logged "no answer after a crash"; }

echo "== a stop waits for the stream"
ask >"$work/answer" &
reader=$!
until_true 20 grep -q '^data: ' "$work/answer" || logged "no stream"
! grep -q DONE "$work/answer" || fail "the stream is too short for this test"
compose stop >"$work/stop.log" 2>&1 || { cat "$work/stop.log" >&2; logged "no stop"; }
wait $reader || { cat "$work/answer"; logged "the reader was cut off"; }
grep -q 'DONE' "$work/answer" || logged "the stream was cut short"
[ "$(inspect daemon '{{.State.ExitCode}}')" = 0 ] || logged "exit code of the daemon"
docker logs test_daemon_1 2>&1 | grep -q 'all streams have ended' || logged "no drain"
echo "compose runs"
