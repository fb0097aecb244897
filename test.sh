#!/usr/bin/env bash
# Installs what the tests need where it is missing, builds, publishes the Native AOT binary, runs every test.
# The last line is "N passed, N failed". Options: --no-aot skips the second run against the AOT binary.
set -u
cd "$(dirname "${BASH_SOURCE[0]}")"

aot=1
for argument in "$@"; do
  case $argument in
    --no-aot) aot=0 ;;
    *) echo "usage: ./test.sh [--no-aot]" >&2; exit 2 ;;
  esac
done

export DOTNET_CLI_TELEMETRY_OPTOUT=1 DOTNET_NOLOGO=1 DOTNET_CLI_UI_LANGUAGE=en
# The daemon under test takes its configuration from the tests alone.
unset DAEMON_UNDER_TEST ${!OPENAI_@} ${!STREAMING_DAEMON_@} MOCK_LATENCY_MS

fail() { echo "$1" >&2; echo "0 passed, 1 failed"; exit 1; }

install_packages() {
  local missing=()
  command -v apache2 >/dev/null || [ -x /usr/sbin/apache2 ] || missing+=(apache2)
  command -v apxs >/dev/null || missing+=(apache2-dev)
  compgen -G '/usr/lib/apache2/modules/libphp*.so' >/dev/null || missing+=(libapache2-mod-php)
  compgen -G '/usr/sbin/php-fpm*' >/dev/null || missing+=(php-fpm)
  command -v curl >/dev/null || missing+=(curl)
  command -v gcc >/dev/null || missing+=(gcc libc6-dev)
  # Native AOT links with clang, against zlib.
  command -v clang >/dev/null || missing+=(clang)
  [ -e /usr/include/zlib.h ] || missing+=(zlib1g-dev)
  # The chat page is read by a browser.
  command -v chromium >/dev/null || missing+=(chromium)
  command -v chromedriver >/dev/null || missing+=(chromium-driver)
  # What judges the files of deploy/.
  command -v systemd-analyze >/dev/null || missing+=(systemd)
  command -v promtool >/dev/null || missing+=(prometheus)
  command -v caddy >/dev/null || missing+=(caddy)
  # Helm's own template engine and functions, for the chart.
  command -v go >/dev/null || missing+=(golang-go)
  [ -e /usr/share/gocode/src/github.com/Masterminds/sprig ] || missing+=(golang-github-masterminds-sprig-dev)
  [ -e /usr/share/gocode/src/github.com/ghodss/yaml ] || missing+=(golang-github-ghodss-yaml-dev)
  # The rules of others that the files are judged by come from npm (tests/deploy/schemas).
  command -v node >/dev/null || missing+=(nodejs)
  command -v npm >/dev/null || missing+=(npm)
  # What the pages tell their readers to run.
  command -v unshare >/dev/null || missing+=(util-linux)
  [ -e /usr/include/liburing.h ] || missing+=(liburing-dev)
  command -v debootstrap >/dev/null || missing+=(debootstrap)
  command -v runc >/dev/null || missing+=(runc)
  # deploy/seccomp/trace.sh, and what counts system calls.
  command -v strace >/dev/null || missing+=(strace)
  [ -e /usr/include/seccomp.h ] || missing+=(libseccomp-dev)
  # bench/trials.c and bench/floor.c.
  [ -e /usr/include/liburing.h ] || missing+=(liburing-dev)
  [ ${#missing[@]} -eq 0 ] && return 0
  echo "missing: ${missing[*]}"
  if ! command -v apt-get >/dev/null || [ "$(id -u)" -ne 0 ]; then
    echo "install them first, for example: sudo apt-get install ${missing[*]}" >&2
    return 1
  fi
  # A server that the package starts by itself would be in nobody's interest here.
  local policy=/usr/sbin/policy-rc.d made=0 status=0
  if [ ! -e $policy ]; then printf '#!/bin/sh\nexit 101\n' >$policy && chmod +x $policy && made=1; fi
  { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
      "${missing[@]}"; } >/dev/null || status=1
  [ $made -eq 1 ] && rm -f $policy
  return $status
}

passed=0 failed=0 skipped=0

# Runs one test program, with further arguments where there are any, and adds its closing line to the sums; a
# program without one has failed.
run_tests() {
  local name=$1 program=$2 log status line
  shift 2
  log=$(mktemp)
  echo "== $name"
  timeout --kill-after=30 1200 "$program" -noColor -noLogo "$@" >"$log" 2>&1
  status=$?
  line=$(grep -E '^ +StreamingDaemon[^ ]* +Total: ' "$log" | tail -n 1)
  if [[ $line =~ Total:\ ([0-9]+),\ Errors:\ ([0-9]+),\ Failed:\ ([0-9]+),\ Skipped:\ ([0-9]+),\ Not\ Run:\ ([0-9]+) ]]; then
    local bad=$((BASH_REMATCH[2] + BASH_REMATCH[3])) not_run=$((BASH_REMATCH[4] + BASH_REMATCH[5]))
    [ $bad -eq 0 ] && [ $status -ne 0 ] && bad=1
    passed=$((passed + BASH_REMATCH[1] - BASH_REMATCH[3] - not_run))
    failed=$((failed + bad))
    skipped=$((skipped + not_run))
    echo "$line"
    [ $bad -ne 0 ] && cat "$log"
  else
    failed=$((failed + 1))
    cat "$log"
    echo "$name ended with status $status and without a result"
  fi
  rm -f "$log"
}

install_packages || fail "the packages that the tests need could not be installed"
dotnet build StreamingDaemon.sln -c Debug -v quiet || fail "the build failed"

for project in StreamingDaemon.Uring.Tests StreamingDaemon.Backends.Tests StreamingDaemon.Host.Tests \
  StreamingDaemon.Bench.Tests StreamingDaemon.FunctionalTests; do
  run_tests "$project" "tests/$project/bin/Debug/net10.0/$project" -trait- Needs=NativeAot
done
# What a token allocates is a promise of the release build: a debug build makes objects of async methods.
backends_tests=tests/StreamingDaemon.Backends.Tests
if dotnet build $backends_tests -c Release -v quiet; then
  run_tests "StreamingDaemon.Backends.Tests, Release" \
    $backends_tests/bin/Release/net10.0/StreamingDaemon.Backends.Tests -class '*AllocationTests'
else
  failed=$((failed + 1))
fi
deploy_tests=tests/deploy/bin/Debug/net10.0/StreamingDaemon.DeployTests
chat_page_tests=tests/chatpage/bin/Debug/net10.0/StreamingDaemon.ChatPageTests
docs_tests=tests/docs/bin/Debug/net10.0/StreamingDaemon.DocsTests
apache_tests=tests/apache/bin/Debug/net10.0/StreamingDaemon.ApacheTests
run_tests StreamingDaemon.ApacheTests $apache_tests

if [ $aot -eq 1 ]; then
  published=$PWD/artifacts/aot
  # Warnings are errors in our own projects, those of trimming and AOT included.
  dotnet publish -c Release -r linux-x64 src/StreamingDaemon.Host -o "$published" -v quiet ||
    fail "Native AOT publishing failed"
  export DAEMON_UNDER_TEST=$published/streaming-daemon
  run_tests "StreamingDaemon.FunctionalTests, Native AOT" \
    tests/StreamingDaemon.FunctionalTests/bin/Debug/net10.0/StreamingDaemon.FunctionalTests
  run_tests "StreamingDaemon.ApacheTests, Native AOT" $apache_tests
  run_tests "StreamingDaemon.ChatPageTests, Native AOT" $chat_page_tests
  run_tests StreamingDaemon.DeployTests $deploy_tests
  run_tests StreamingDaemon.DocsTests $docs_tests
else
  run_tests StreamingDaemon.ChatPageTests $chat_page_tests
  # What is deployed is the AOT binary: without one, the rest of what the files of deploy/ promise.
  run_tests StreamingDaemon.DeployTests $deploy_tests -trait- Needs=NativeAot
  run_tests StreamingDaemon.DocsTests $docs_tests -trait- Needs=NativeAot
fi

if [ $skipped -gt 0 ]; then
  echo "$passed passed, $failed failed, $skipped skipped"
else
  echo "$passed passed, $failed failed"
fi
[ $failed -eq 0 ]
