#!/usr/bin/env bash
# Runs the functional tests with the daemon under strace, and compares the calls it made with the profile.
# usage: deploy/seccomp/trace.sh BINARY [options of the tests, such as -class NAME]     BINARY: Native AOT
# PROFILE names another profile.
# Exits 1 where the profile lacks a call. What it allows and nobody called is for other machines and rare moments:
# docs/seccomp.md says which group each is in. Tests that fail because strace is slow take nothing away from the list.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
usage="usage: deploy/seccomp/trace.sh BINARY [options of the tests]"
binary=$(realpath "${1:?$usage}")
shift
profile=${PROFILE:-deploy/seccomp/streaming-daemon.json}
command -v strace >/dev/null || { echo "strace is missing: apt-get install strace" >&2; exit 1; }
tests=tests/StreamingDaemon.FunctionalTests/bin/Debug/net10.0/StreamingDaemon.FunctionalTests
[ -x $tests ] || { echo "$tests is missing: dotnet build" >&2; exit 1; }

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
# -D: the daemon is the process that the tests started and send signals to, and strace the one beside it.
cat >"$work/traced" <<END
#!/bin/sh
touch $work/started.\$\$
exec strace -D -f -qq -s 0 -e signal=none -o '|grep -oE "^[0-9]+ +[a-z0-9_]+\\(" | grep -oE "[a-z][a-z0-9_]*" |
  sort -u >$work/part.'\$\$" && mv $work/part.\$\$ $work/calls.\$\$" '$binary' "\$@"
END
chmod +x "$work/traced"
echo "== the functional tests, under strace"
DAEMON_UNDER_TEST=$work/traced $tests -noColor -noLogo "$@" >"$work/log" 2>&1 || true
grep -E '^ +StreamingDaemon[^ ]* +Total: ' "$work/log" || { cat "$work/log"; exit 1; }

# A tracer writes its list when its daemon is gone.
for started in "$work"/started.*; do
  for _ in $(seq 100); do [ ! -e "$work/calls.${started##*.}" ] || break; sleep 0.1; done
done
# The profile refuses clone3 on purpose: the C library then takes clone, whose flags a filter sees.
# On a busy machine strace has printed a call's result for its number, a negative one or a thread's: no call
# has so high a number.
cat "$work"/calls.* | sed -E 's/^clone3$/clone/; /^syscall_0x[0-9a-f]{4,}$/d' | sort -u >"$work/called"
awk '/"names": \[/ { inside = 1; next } /\]/ { inside = 0 } inside { gsub(/[ ",]/, ""); print }' \
  "$profile" | grep -vx clone3 | sort -u >"$work/allowed"
lacks=$(comm -23 "$work/called" "$work/allowed" | tr '\n' ' ')
echo "called: $(wc -l <"$work/called")"
echo "called, and not in the profile: ${lacks:-none}"
echo "in the profile, and not called: $(comm -13 "$work/called" "$work/allowed" | tr '\n' ' ')"
[ -z "$lacks" ]
