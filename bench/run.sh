#!/usr/bin/env bash
# The table of targets: publishes the daemon and the mock LLM with Native AOT, runs every load that has a
# target, and prints each figure beside it, with the floor of the same minute. Fails where one is missed.
#   bench/run.sh [--quick] [--only TEXT] [--json FILE]
# About twenty minutes; --quick about two. --only "as shipped" selects the loads of that name.
# DAEMON_UNDER_TEST and MOCK_LLM name other binaries (or command lines); nothing is published for those.
set -eu
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
command -v gcc >/dev/null && [ -e /usr/include/liburing.h ] || {
  echo "the floor needs gcc and liburing: sudo apt-get install gcc liburing-dev" >&2
  exit 2
}
publish() { dotnet publish -c Release -r linux-x64 "$root/$1" -o "$root/artifacts/$2" -v quiet >&2; }
if [ -z "${DAEMON_UNDER_TEST:-}" ]; then
  publish src/StreamingDaemon.Host aot
  DAEMON_UNDER_TEST=$root/artifacts/aot/streaming-daemon
fi
if [ -z "${MOCK_LLM:-}" ]; then
  publish bench/MockLlm mock-llm
  MOCK_LLM=$root/artifacts/mock-llm/mock-llm
fi
dotnet build -c Release "$root/bench/HandoffBench" -v quiet --nologo >&2
exec "$root/bench/HandoffBench/bin/Release/net10.0/HandoffBench" targets \
  --binary "$DAEMON_UNDER_TEST" --mock-llm "$MOCK_LLM" --floor "$root/bench/floor.c" "$@"
