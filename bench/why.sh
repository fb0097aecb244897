#!/usr/bin/env bash
# What a site gains: one Apache (prefork, 150 workers, mod_php), with PHP that streams its answers by itself, and with
# PHP that hands them over to the daemon. 50, 150 and 400 visitors come within a second; an answer takes five.
# Prints a table: time to the first word, time of a static page meanwhile, memory. Fails if an answer was not whole.
#   bench/why.sh [ROUNDS]       about a minute a round; of several rounds the medians (default 3)
#   bench/why.sh --quick        a few visitors and short answers: shows that it runs, and no more
# DAEMON_UNDER_TEST names another binary or command line; nothing is published for it.
set -eu
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
fail() { echo "$*" >&2; exit 2; }
rounds=${1:-3} counts='50 150 400'
delay_ms=294 # 17 pauses between 18 events: five seconds
if [ "$rounds" = --quick ]; then rounds=1 counts=10 delay_ms=20; fi
[[ $# -le 1 && $rounds =~ ^[1-9][0-9]?$ ]] || fail "usage: bench/why.sh [--quick | ROUNDS]"
PATH=$PATH:/usr/sbin
for program in apache2 apxs php make gcc; do
  command -v $program >/dev/null ||
    fail "$program is missing: sudo apt-get install apache2 apache2-dev libapache2-mod-php php-cli make gcc"
done
modules=$(apxs -q LIBEXECDIR)
mod_php=$(ls "$modules"/libphp*.so 2>/dev/null | tail -1)
[ -n "$mod_php" ] || fail "needs mod_php: sudo apt-get install libapache2-mod-php"

directory=$(mktemp -d)
apache='' daemon=''
end() { # Each process by its id.
  for pid in $apache $daemon; do kill "$pid" 2>/dev/null || continue; wait "$pid" 2>/dev/null || true; done
  apache='' daemon=''
}
trap 'end; rm -rf "$directory"' EXIT
trap 'exit 130' INT TERM

if [ -z "${DAEMON_UNDER_TEST:-}" ]; then
  dotnet publish -c Release -r linux-x64 "$root/src/StreamingDaemon.Host" -o "$root/artifacts/aot" -v quiet >&2
  DAEMON_UNDER_TEST=$root/artifacts/aot/streaming-daemon
fi
make -s -C "$root/apache" TLS=no BUILD="$directory/module" >"$directory/make.log" 2>&1 || fail "$(cat "$directory/make.log")"

chmod 755 "$directory"
mkdir "$directory/run" "$directory/chat"
cp "$root/apache/index.html" "$root/apache/stream.php" "$root/bench/why/by-itself.php" "$directory/chat/"
user=''
# Apache as root runs its workers as another user: therefore the socket's mode below.
[ "$(id -u)" != 0 ] || user=$'User www-data\nGroup www-data'
socket=$directory/run/daemon.sock
port=$((20000 + RANDOM % 10000))

cat >"$directory/httpd.conf" <<END
ServerRoot $directory
ServerName localhost
DefaultRuntimeDir $directory
Mutex file:$directory
PidFile $directory/httpd.pid
ErrorLog $directory/error.log
Listen 127.0.0.1:$port
$user
$(for name in mpm_prefork authz_core dir alias env mime; do
  echo "LoadModule ${name}_module $modules/mod_$name.so"
done)
LoadModule php_module $mod_php
LoadModule socket_handoff_module $directory/module/.libs/mod_socket_handoff.so
TypesConfig /dev/null
AddType text/html .html
# All workers are there from the start, so that nobody waits for a fork.
StartServers 150
MinSpareServers 150
MaxSpareServers 150
ServerLimit 150
MaxRequestWorkers 150
DocumentRoot $directory
SetEnv HANDOFF_SOCKET $socket
SetEnv DELAY_MS $delay_ms
SocketHandoffAllowedPrefix $directory/run
<Directory $directory/chat>
  Require all granted
</Directory>
<FilesMatch "\.php\$">
  SetHandler application/x-httpd-php
</FilesMatch>
END

until_ready() { # until_ready PID COMMAND...: within ten seconds, while the process lives.
  local pid=$1 i
  shift
  for ((i = 0; i < 100; i++)); do
    if "$@" 2>/dev/null; then return; fi
    kill -0 "$pid" 2>/dev/null || break
    sleep 0.1
  done
  cat "$directory"/*.log >&2
  fail "it did not start: $*"
}
answers() { exec 3<>"/dev/tcp/127.0.0.1/$port" && exec 3>&-; }
workers() { [ "$(pgrep -c -P "$apache")" -ge 150 ]; }

# A group of its own: Apache ends by a signal to its group, which would be this script's.
start() {
  setsid apache2 -f "$directory/httpd.conf" -DFOREGROUND >"$directory/apache.log" 2>&1 &
  apache=$!
  until_ready "$apache" answers
  until_ready "$apache" workers
  if [ "$1" = handed ]; then
    # Words of a command line.
    # shellcheck disable=SC2086
    $DAEMON_UNDER_TEST --socket "$socket" --socket-mode 0666 --delay $delay_ms >"$directory/daemon.log" 2>&1 &
    daemon=$!
    until_ready "$daemon" test -S "$socket"
  fi
}

# What processes hold together, in MB: a page that they share counts once.
memory() {
  local pid
  for pid; do cat "/proc/$pid/smaps_rollup"; done 2>/dev/null |
    awk '/^Pss:/ {kb += $2} END {printf "%.0f ", kb / 1024}'
}

measure() { # measure WAY VISITORS: one line of figures.
  local path=/chat/by-itself.php
  [ "$1" = itself ] || path=/chat/stream.php
  start "$1"
  # All visitors read by then.
  (sleep 3; { memory $apache $(pgrep -P "$apache"); memory $daemon; } >"$directory/memory") &
  local sampler=$!
  timeout 90 php -n "$root/bench/why/visitors.php" "$port" "$path" "$2" >"$directory/figures"
  wait $sampler
  end
  echo "$1 $2 $(cat "$directory/figures" "$directory/memory" | tr '\n' ' ')" >>"$directory/all"
  echo "$(tail -1 "$directory/all")" >&2
}

echo "way, visitors, first word (median, worst) ms, static page (median, worst) ms, not whole, MB of Apache and daemon:" >&2
for ((round = 0; round < rounds; round++)); do
  for visitors in $counts; do
    measure itself $visitors
    measure handed $visitors
  done
done

awk -v counts="$counts" '
  function median(key, column,   n, i, j, t, v) {
    n = split(list[key, column], v, " ")
    for (i = 1; i <= n; i++)
      for (j = i + 1; j <= n; j++)
        if (v[j] + 0 < v[i] + 0) {t = v[i]; v[i] = v[j]; v[j] = t}
    return v[int((n + 1) / 2)]
  }
  function time(ms) {return ms < 1000 ? sprintf("%.0f ms", ms) : sprintf("%.1f s", ms / 1000)}
  function row(key) {
    return time(median(key, 3)) " (" time(median(key, 4)) ") | " time(median(key, 5)) " (" time(median(key, 6)) ") | " \
      median(key, 8) " MB | " (median(key, 9) > 0 ? median(key, 9) " MB" : "") " |"
  }
  {
    for (column = 3; column <= 9; column++) list[$1 " " $2, column] = list[$1 " " $2, column] " " $column
    bad += $7
  }
  END {
    print "| visitors | PHP | first word: median (worst) | static page: median (worst) | Apache | daemon |"
    print "|---|---|---|---|---|---|"
    n = split(counts, count, " ")
    for (i = 1; i <= n; i++) {
      print "| " count[i] " | streams by itself | " row("itself " count[i])
      print "| | hands over | " row("handed " count[i])
    }
    if (bad) print bad " answers or pages were not whole"
    exit bad > 0
  }' "$directory/all"
