#!/bin/sh
# A million mutated inputs each for the reader of handoffs and the reader of upstreams.
#   bench/fuzz.sh [ITERATIONS]      FUZZ_SEED=N repeats a run
set -eu
cd "$(dirname "$0")/.."
dotnet build -c Release -v quiet --nologo
export FUZZ_ITERATIONS="${1:-1000000}"
for project in StreamingDaemon.Host.Tests StreamingDaemon.Backends.Tests; do
    "tests/$project/bin/Release/net10.0/$project" -noColor -noLogo -class '*Fuzz'
done
