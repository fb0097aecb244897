#!/usr/bin/env bash
# What a token of an upstream's costs until it is read, with the connections on .NET's epoll and on an io_uring
# of ours, in turns; both published with Native AOT. Half a minute.
#   bench/upstream-ring.sh [STREAMS [CHUNKS [DELAY_MS [ROUNDS]]]]
set -eu
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
publish() { dotnet publish -c Release -r linux-x64 "$root/bench/$1" -o "$root/artifacts/$2" -v quiet >&2; }
publish MockLlm mock-llm
publish UpstreamRing upstream-ring
exec "$root/artifacts/upstream-ring/upstream-ring" "$root/artifacts/mock-llm/mock-llm" \
  "${1:-1000}" "${2:-60}" "${3:-50}" "${4:-3}"
