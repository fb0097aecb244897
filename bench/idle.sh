#!/usr/bin/env bash
# Publishes the daemon with Native AOT, starts it idle with metrics on, and prints how long it took until
# /health answered, and what it then holds in memory. The best and the median of several starts: the first
# one reads the binary from disk.
#   bench/idle.sh [STARTS]
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
starts=${1:-9}
binary=$PWD/artifacts/aot/streaming-daemon
dotnet publish -c Release -r linux-x64 src/StreamingDaemon.Host -o artifacts/aot -v quiet >/dev/null
directory=$(mktemp -d)
trap 'rm -rf "$directory"' EXIT
for ((i = 0; i < starts; i++)); do
  port=$((20000 + RANDOM % 20000))
  begin=$(date +%s%N)
  "$binary" --socket "$directory/s" --metrics $port 2>"$directory/log" &
  pid=$!
  # Bash's own TCP, so that no program's start is measured with the daemon's. Until the socket of the handoffs is
  # there, the answer is a 503. The pauses leave the cores to the daemon.
  status=
  until [[ $status == *' 200 '* ]]; do
    sleep 0.005
    kill -0 $pid 2>/dev/null || { cat "$directory/log" >&2; exit 1; }
    [ $(($(date +%s%N) - begin)) -lt 10000000000 ] || { echo "/health after ten seconds: $status" >&2; kill $pid; exit 1; }
    { exec 3<>"/dev/tcp/127.0.0.1/$port"; } 2>/dev/null || continue
    printf 'GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n' >&3
    read -r status <&3 || true
    exec 3>&-
  done
  ready=$((($(date +%s%N) - begin) / 1000000))
  sleep 1
  rss=$(awk '/^VmRSS/ {print $2}' /proc/$pid/status)
  kill $pid
  wait $pid
  echo "$ready $rss"
done | sort -n >"$directory/results"
awk '{ready[NR] = $1; rss[NR] = $2; if ($2 > most) most = $2}
  END {printf "ready: best %d ms, median %d ms, worst %d ms (limit 200)\nresident, idle, metrics on: at most %.1f MB (limit 40)\n",
    ready[1], ready[int((NR + 1) / 2)], ready[NR], most / 1024
    exit ready[int((NR + 1) / 2)] > 200 || most > 40 * 1024}' "$directory/results"
