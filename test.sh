#!/usr/bin/env bash
# Installs what the tests need where it is missing, builds, publishes the Native AOT binary, runs every test.
# The last line is "N passed, N failed". Options:
#   --quick    unit tests and some tests of the daemon as a process, without those that take long: a few
#              minutes, and needs nothing but the SDK and curl
#   --no-aot   everything that needs no published binary; tests of a process run the debug build
set -u
cd "$(dirname "${BASH_SOURCE[0]}")"

aot=1 quick=0
for argument in "$@"; do
  case $argument in
    --no-aot) aot=0 ;;
    --quick) quick=1 ;;
    *) echo "usage: ./test.sh [--quick | --no-aot]" >&2; exit 2 ;;
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
  [ -e /usr/include/apache2/mod_ssl_openssl.h ] || missing+=(apache2-ssl-dev)
  compgen -G '/usr/lib/apache2/modules/libphp*.so' >/dev/null || missing+=(libapache2-mod-php)
  compgen -G '/usr/sbin/php-fpm*' >/dev/null || missing+=(php-fpm)
  # The PHP library of apache/php, and its fallback for development.
  command -v phpunit >/dev/null || missing+=(phpunit)
  compgen -G '/usr/lib/php/*/curl.so' >/dev/null || missing+=(php-curl)
  # The frameworks of docs/php.md.
  [ -e /usr/share/php/Symfony/Bundle/FrameworkBundle ] || missing+=(php-symfony-framework-bundle)
  [ -e /usr/share/php/Symfony/Bundle/SecurityBundle ] || missing+=(php-symfony-security-bundle)
  [ -e /usr/share/php/Illuminate/Foundation ] || missing+=(php-laravel-framework)
  [ -e /usr/share/wordpress/wp-settings.php ] || missing+=(wordpress)
  compgen -G '/usr/lib/php/*/mysqli.so' >/dev/null || missing+=(php-mysql)
  [ -x /usr/sbin/mariadbd ] || missing+=(mariadb-server-core)
  # The database that apache/deliver.php writes to.
  compgen -G '/usr/lib/php/*/pdo_sqlite.so' >/dev/null || missing+=(php-sqlite3)
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
  command -v lintian >/dev/null || missing+=(lintian)
  command -v caddy >/dev/null || missing+=(caddy)
  # Helm's own template engine and functions, for the chart.
  command -v go >/dev/null || missing+=(golang-go)
  [ -e /usr/share/gocode/src/github.com/Masterminds/sprig ] || missing+=(golang-github-masterminds-sprig-dev)
  [ -e /usr/share/gocode/src/github.com/ghodss/yaml ] || missing+=(golang-github-ghodss-yaml-dev)
  # The rules of others that the files are judged by come from npm (tests/deploy/schemas), and a client of the
  # chat completions API (tests/apache/openai).
  command -v node >/dev/null || missing+=(nodejs)
  command -v npm >/dev/null || missing+=(npm)
  # What the pages tell their readers to run.
  command -v unshare >/dev/null || missing+=(util-linux)
  [ -e /usr/include/liburing.h ] || missing+=(liburing-dev)
  command -v debootstrap >/dev/null || missing+=(debootstrap)
  command -v runc >/dev/null || missing+=(runc)
  # deploy/test-compose.sh: the engine, and what starts docker-compose.yml.
  [ -x /usr/sbin/dockerd ] || missing+=(docker.io)
  command -v docker-compose >/dev/null || missing+=(docker-compose)
  # deploy/pin-images.sh.
  command -v skopeo >/dev/null || missing+=(skopeo)
  # deploy/seccomp/trace.sh, and what counts system calls.
  command -v strace >/dev/null || missing+=(strace)
  # Kept answers that several daemons share.
  command -v redis-server >/dev/null || missing+=(redis-server)
  [ -e /usr/include/seccomp.h ] || missing+=(libseccomp-dev)
  # The virtual machine of tests/vm: what it runs on, and the clients in it.
  command -v qemu-system-x86_64 >/dev/null || missing+=(qemu-system-x86)
  [ -x /bin/busybox ] || missing+=(busybox-static)
  command -v cpio >/dev/null || missing+=(cpio)
  # The daemon for arm64: what links it, and what it runs on.
  command -v qemu-system-aarch64 >/dev/null || missing+=(qemu-system-arm)
  command -v lld >/dev/null || missing+=(lld)
  command -v aarch64-linux-gnu-objcopy >/dev/null || missing+=(binutils-aarch64-linux-gnu)
  [ -e /usr/aarch64-linux-gnu/lib/libc.so.6 ] || missing+=(libc6-dev-arm64-cross)
  compgen -G '/usr/lib/gcc-cross/aarch64-linux-gnu/*/libgcc.a' >/dev/null || missing+=(libgcc-12-dev-arm64-cross)
  command -v gnutls-cli >/dev/null || missing+=(gnutls-bin)
  command -v openssl >/dev/null || missing+=(openssl)
  compgen -G '/usr/lib/python3/dist-packages/pycurl*.so' >/dev/null || missing+=(python3 python3-pycurl)
  command -v nginx >/dev/null || missing+=(nginx-light)
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

work=$(mktemp -d)
trap 'end_compiler; rm -rf "$work"' EXIT
: >"$work/results"

# Each command of the SDK leaves two empty directories in TMPDIR: they go with their parent. So does the compiler's
# socket, which makes the server that compiles one project after another this script's own. A compiler lives for a
# minute here: the instrumented code of dynamic PGO costs it more than it saves.
mkdir "$work/sdk"
sdk() { TMPDIR=$work/sdk DOTNET_TieredPGO=0 dotnet "$@" -v quiet -p:UseSharedCompilation=true; }
end_compiler() { TMPDIR=$work/sdk dotnet build-server shutdown --vbcscompiler >/dev/null 2>&1; }

# Notes what one test program said: passed, failed, skipped.
note() { echo "$1 $2 $3" >>"$work/results"; }

# Runs one test program, with further arguments where there are any, and notes its closing line; a program
# without one has failed. Before the program, --jobs N runs its parts in N processes.
run_tests() {
  local name=$1 log line
  shift
  log=$(mktemp -p "$work")
  echo "== $name"
  tests/run.sh "$@" >"$log" 2>&1
  line=$(tail -n 1 "$log")
  if [[ $line =~ Total:\ ([0-9]+),\ Errors:\ ([0-9]+),\ Failed:\ ([0-9]+),\ Skipped:\ ([0-9]+),\ Not\ Run:\ ([0-9]+) ]]; then
    local bad=$((BASH_REMATCH[2] + BASH_REMATCH[3])) not_run=$((BASH_REMATCH[4] + BASH_REMATCH[5]))
    note $((BASH_REMATCH[1] - BASH_REMATCH[3] - not_run)) $bad $not_run
  else
    note 0 1 0
  fi
  # One line if all passed.
  cat "$log"
}

declare -A process_of
# Runs functions of this script side by side, at most $1 at a time, and prints the output of each when all have
# ended, with its time and CPU time. Name the longest first: then none runs alone at the end.
side_by_side() {
  local at_once=$1 lane
  shift
  for lane in "$@"; do
    while [ "$(jobs -pr | wc -l)" -ge "$at_once" ]; do wait -n; done
    { TIMEFORMAT="-- $lane: %0R s, %0U s of CPU in programs, %0S s in the kernel"; time "$lane"; } >"$work/$lane" 2>&1 &
    process_of[$lane]=$!
  done
  wait
  for lane in "$@"; do
    cat "$work/$lane"
  done
}

# Prints the sums, and ends.
finish() {
  local passed failed skipped
  read -r passed failed skipped < <(awk '{ p += $1; f += $2; s += $3 } END { print p + 0, f + 0, s + 0 }' "$work/results")
  if [ "$skipped" -gt 0 ]; then
    echo "$passed passed, $failed failed, $skipped skipped"
  else
    echo "$passed passed, $failed failed"
  fi
  [ "$failed" -eq 0 ] && [ "$passed" -gt 0 ]
  exit
}

unit_tests() {
  local project=$1
  shift
  run_tests "$project" "tests/$project/bin/Debug/net10.0/$project" "$@"
}

functional_tests=tests/StreamingDaemon.FunctionalTests/bin/Debug/net10.0/StreamingDaemon.FunctionalTests
apache_tests=tests/apache/bin/Debug/net10.0/StreamingDaemon.ApacheTests
chat_page_tests=tests/chatpage/bin/Debug/net10.0/StreamingDaemon.ChatPageTests
deploy_tests=tests/deploy/bin/Debug/net10.0/StreamingDaemon.DeployTests
vm_tests=tests/vm/bin/Debug/net10.0/StreamingDaemon.VmTests
docs_tests=tests/docs/bin/Debug/net10.0/StreamingDaemon.DocsTests

if [ $quick -eq 1 ]; then
  sdk build tests/quick.slnf -c Debug || fail "the build failed"
  end_compiler
  short=(-trait- Needs=Tools -trait- Takes=Long)
  ring_lane() {
    unit_tests StreamingDaemon.Uring.Tests "${short[@]}"
    unit_tests StreamingDaemon.Host.Tests "${short[@]}"
  }
  daemon_lane() {
    unit_tests StreamingDaemon.Backends.Tests "${short[@]}"
    run_tests "StreamingDaemon.FunctionalTests, the quick ones" "$functional_tests" -trait Quick=Yes \
      -trait- Needs=NativeAot "${short[@]}"
  }
  side_by_side 2 ring_lane daemon_lane
  finish
fi

install_packages || fail "the packages that the tests need could not be installed"
sdk build StreamingDaemon.sln -c Debug || fail "the build failed"

ring_lane() { unit_tests StreamingDaemon.Uring.Tests; }
other_lane() {
  unit_tests StreamingDaemon.Backends.Tests
  unit_tests StreamingDaemon.Host.Tests
  unit_tests StreamingDaemon.Bench.Tests
}
backends_tests=tests/StreamingDaemon.Backends.Tests
published=$PWD/artifacts/aot
# Both build the release configuration, so one after the other.
release_lane() {
  # First, because other lanes wait for it. Warnings are errors in our own projects, those of trimming and AOT
  # included. The analyzers do not run: they have read the same sources in the debug build.
  [ $aot -eq 0 ] ||
    sdk publish -c Release -r linux-x64 src/StreamingDaemon.Host -o "$published" -p:RunAnalyzers=false ||
    : >"$work/unpublished"
  : >"$work/released"
  # What a token allocates is a promise of the release build: a debug build makes objects of async methods.
  if sdk build $backends_tests -c Release -p:RunAnalyzers=false; then
    run_tests "StreamingDaemon.Backends.Tests, Release" \
      $backends_tests/bin/Release/net10.0/StreamingDaemon.Backends.Tests -class '*AllocationTests'
  else
    note 0 1 0
  fi
  end_compiler
}

if [ $aot -eq 0 ]; then
  side_by_side 3 ring_lane other_lane release_lane
  run_tests StreamingDaemon.FunctionalTests --jobs 3 "$functional_tests" -trait- Needs=NativeAot -trait- Seccomp=No
  run_tests "StreamingDaemon.FunctionalTests, the others" "$functional_tests" -trait Seccomp=No -trait- Needs=NativeAot
  run_tests StreamingDaemon.ApacheTests "$apache_tests"
  run_tests StreamingDaemon.ChatPageTests "$chat_page_tests"
  # What is deployed is the AOT binary: without one, the rest of what the files of deploy/ promise.
  run_tests StreamingDaemon.DeployTests "$deploy_tests" -trait- Needs=NativeAot
  run_tests StreamingDaemon.DocsTests "$docs_tests" -trait- Needs=NativeAot
  finish
fi

# Waits until the binary is published. Fails if publishing failed, or was killed.
has_binary() {
  until [ -e "$work/released" ] || ! kill -0 "${process_of[release_lane]}" 2>/dev/null; do sleep 1; done
  export DAEMON_UNDER_TEST=$published/streaming-daemon
  [ -e "$work/released" ] && [ ! -e "$work/unpublished" ]
}
# The tests of the daemon as a process run once, on the binary that is shipped: under the seccomp profile that
# is shipped (a test of deploy/ runs them), and by themselves where the profile is in the way.
profile_lane() {
  has_binary || return
  # The test itself repeats the few that fail.
  MOST_RETRIES=0 run_tests "StreamingDaemon.FunctionalTests, under the seccomp profile" "$deploy_tests" \
    -method '*.Functional_tests_pass_under_the_profile'
}
deploy_lane() {
  has_binary || return
  run_tests StreamingDaemon.DeployTests "$deploy_tests" -method- '*.Functional_tests_pass_under_the_profile' \
    -class- '*.EngineTests' -class- '*.ImageTests' -class- '*.PackageTests'
}
# The tests that build and run images and packages: half of the time of all deploy tests.
images_lane() {
  has_binary || return
  run_tests "StreamingDaemon.DeployTests, images and packages" "$deploy_tests" \
    -class '*.EngineTests' -class '*.ImageTests' -class '*.PackageTests'
}
# A virtual machine with the lowest kernel that is supported, and one of arm64.
vm_lane() { has_binary && run_tests StreamingDaemon.VmTests "$vm_tests"; }
apache_lane() { has_binary && run_tests StreamingDaemon.ApacheTests "$apache_tests"; }
chat_page_lane() { has_binary && run_tests StreamingDaemon.ChatPageTests "$chat_page_tests"; }
docs_lane() { has_binary && run_tests StreamingDaemon.DocsTests "$docs_tests"; }
# These tests wait more than they compute, and compare gaps with those of the same machine a moment before.
others_lane() {
  has_binary &&
    run_tests "StreamingDaemon.FunctionalTests, the others" "$functional_tests" -trait Seccomp=No -trait- Machine=Alone
}
# The tests wait half of their time, so three lanes keep two cores busy.
side_by_side 3 release_lane ring_lane other_lane profile_lane vm_lane others_lane deploy_lane images_lane docs_lane \
  apache_lane chat_page_lane
has_binary || fail "Native AOT publishing failed"
# They have the kernel compute for 20 ms and more at a time, which delays whatever else is timed.
run_tests "StreamingDaemon.FunctionalTests, those with the machine to themselves" "$functional_tests" -trait Machine=Alone
finish
