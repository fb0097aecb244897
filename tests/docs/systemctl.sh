#!/bin/bash
# systemctl for a machine whose first process is not systemd: it does what the unit files say that systemd would do, and
# refuses what they do not say. Units' sandboxing is systemd-analyze's to judge, in tests/deploy.
set -euo pipefail
cd /
# What touches files alone systemd's own can do.
real=/usr/lib/systemd/systemctl
[[ " $* " != *' --root='* ]] || exec $real "$@"
state=/run/units
mkdir -p $state
quiet=0 now=0 words=()
for word in "$@"; do
  case $word in
    --quiet | -q) quiet=1 ;;
    --now) now=1 ;;
    --system | --no-pager | --) ;;
    -*) echo "systemctl: unknown option $word" >&2; exit 1 ;;
    *) words+=("$word") ;;
  esac
done
verb=${words[0]} units=("${words[@]:1}")

file() {
  local directory
  for directory in /etc/systemd/system /lib/systemd/system; do
    [ ! -f "$directory/$1" ] || { echo "$directory/$1"; return; }
  done
  echo "Unit $1 could not be found." >&2
  return 4
}
said() { sed -n "s/^$2=//p" "$(file "$1")" | head -n 1; }
pid() { cat "$state/$1" 2>/dev/null || true; }
active() {
  if [[ $1 == *.socket ]]; then [ -e "$state/$1" ]; else [ -n "$(pid "$1")" ] && [ -d "/proc/$(pid "$1")" ]; fi
}

# The daemon makes the path itself here; what is the manager's is that it can, and who is there.
start_socket() {
  getent passwd "$(said "$1" SocketUser)" >/dev/null && getent group "$(said "$1" SocketGroup)" >/dev/null &&
    [ -n "$(said "$1" ListenSequentialPacket)" ] || { echo "$1: no such user or group, or no path" >&2; return 1; }
  : >"$state/$1"
}

# A copy for the service alone; SetCredential= is what there is if there is no file.
load_credential() {
  local unit=$1 user=$2 load id directory=/run/credentials/$1
  load=$(said "$unit" LoadCredential) id=${load%%:*}
  [ -n "$load" ] || return 0
  rm -rf "$directory"
  install -d -m 500 -o "$user" "$directory"
  if [ -e "${load#*:}" ]; then
    install -m 400 -o "$user" "${load#*:}" "$directory/$id"
  elif [[ $(said "$unit" SetCredential) == "$id:"* ]]; then
    printf %b "$(said "$unit" SetCredential | cut -d: -f2-)" | install -m 400 -o "$user" /dev/stdin "$directory/$id"
  else
    echo "$unit: no credential $id" >&2
    return 1
  fi
}

start() {
  active "$1" && return
  if [[ $1 == *.socket ]]; then start_socket "$1"; return; fi
  local wanted
  for wanted in $(said "$1" Wants); do [[ $wanted != *.socket ]] || active "$wanted" || start_socket "$wanted"; done
  local command type user directory
  command=$(said "$1" ExecStart) type=$(said "$1" Type) user=$(said "$1" User) directory=$(said "$1" RuntimeDirectory)
  if [ "$type" = forking ]; then $command; return; fi
  [ -z "$directory" ] ||
    install -d -o "$user" -g "$(said "$1" Group)" -m "$(said "$1" RuntimeDirectoryMode)" "/run/$directory"
  load_credential "$1" "$user"
  # Of the environment nothing but what the unit says, and no signal ignored: apt lets its children ignore SIGHUP.
  environment=$(said "$1" EnvironmentFile)
  mapfile -t variables < <(cat "${environment#-}" 2>/dev/null || true)
  : >"$state/$1.log"
  env -i --default-signal PATH=/usr/bin:/bin "${variables[@]}" \
    setpriv --reuid "$user" --regid "$(said "$1" Group)" --clear-groups --no-new-privs \
    $command >>"$state/$1.log" 2>&1 </dev/null &
  echo $! >"$state/$1"
  # Type=notify: a start has happened when the daemon says so.
  for _ in $(seq 300); do
    ! grep -q 'listening on' "$state/$1.log" || return 0
    active "$1" || break
    sleep 0.1
  done
  cat "$state/$1.log" >&2
  return 1
}
stop() {
  active "$1" || return 0
  if [[ $1 == *.socket ]]; then rm "$state/$1"; return; fi
  kill -TERM "$(pid "$1")"
  while active "$1"; do sleep 0.1; done
}

for unit in "${units[@]}"; do
  [[ $unit == *.* ]] || unit=$unit.service
  file "$unit" >/dev/null
  case $verb in
    is-enabled) $real --root=/ is-enabled "$unit" ;;
    enable)
      $real --root=/ enable "$unit"
      [ $now -eq 0 ] || start "$unit"
      ;;
    is-active) active "$unit" ;;
    start) start "$unit" ;;
    # Nothing here fails for good.
    reset-failed) ;;
    stop) stop "$unit" ;;
    restart) stop "$unit" && start "$unit" ;;
    reload)
      reload=$(said "$unit" ExecReload)
      [ -n "$reload" ] || { echo "$unit says no ExecReload" >&2; exit 1; }
      MAINPID=$(pid "$unit") bash -c "$reload"
      ;;
    status)
      [ $quiet -eq 1 ] || echo "$unit - $(said "$unit" Description)"
      active "$unit" || { echo "inactive (dead)"; exit 3; }
      echo "active (running)"
      ;;
    *) echo "systemctl: $verb is not known here" >&2; exit 1 ;;
  esac
done
[ ${#units[@]} -gt 0 ] || [ "$verb" = daemon-reload ] || { echo "systemctl: $verb of what?" >&2; exit 1; }
