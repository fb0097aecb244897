#!/usr/bin/env bash
# Runs one test program: tests/run.sh [--jobs N] PROGRAM [ARGUMENT...]. The last line is its result, as xunit
# prints it.
# With --jobs, N processes run the program's classes, dealt out into more parts than that: whoever is done takes the
# next part. The arguments may leave tests out (-trait-), not name any (-class, -trait).
# Tests that fail, if there are at most three, run once more with nothing of their program beside them. A time
# limit that only a busy machine missed is kept there; a test that fails again has failed. Both are printed, so
# that a test which often needs its second run is found, and fixed. MOST_RETRIES is another number than three.
set -u

limit_s=2400 most_retries=${MOST_RETRIES:-3}
jobs=0
if [ "$1" = --jobs ]; then
  jobs=$2
  shift 2
  # xunit would run these and the part; each part would repeat them.
  for argument in "$@"; do
    case $argument in -class | -method | -namespace | -trait) echo "tests/run.sh: $argument with --jobs" >&2; exit 2 ;; esac
  done
fi
logs=$(mktemp -d)
trap 'rm -rf "$logs"' EXIT

# A shell runs what it puts in the background with SIGINT ignored. Tests send that signal to their children.
run() { timeout --kill-after=30 $limit_s env --default-signal=INT "$@" -noColor -noLogo; }

# Sets total, failed and the like from the closing line of a log. Errors count as failures.
result_of() {
  local line
  line=$(grep -E '^ +StreamingDaemon[^ ]* +Total: ' "$1" | tail -n 1)
  [[ $line =~ Total:\ ([0-9]+),\ Errors:\ ([0-9]+),\ Failed:\ ([0-9]+),\ Skipped:\ ([0-9]+),\ Not\ Run:\ ([0-9]+) ]] ||
    return 1
  total=${BASH_REMATCH[1]} errors=${BASH_REMATCH[2]} failed=${BASH_REMATCH[3]}
  skipped=${BASH_REMATCH[4]} not_run=${BASH_REMATCH[5]} time=${line##*Time: }
}

# The closing line of several.
close() {
  echo "   $(basename "$program")  Total: $total, Errors: $errors, Failed: $failed, Skipped: $skipped," \
    "Not Run: $not_run, Time: $time"
}

# Prints the filters of each part, a line each: "-class NAME -class NAME". To start a process takes seconds, so the
# parts are few. Classes with tests that take long are dealt out first, one to each part.
parts() {
  { "$@" -noColor -noLogo -list classes -trait Takes=Long; "$@" -noColor -noLogo -list classes; } |
    awk -v parts=$((jobs * 4)) '/^StreamingDaemon\./ && !seen[$0]++ { part[n++ % parts] = part[(n - 1) % parts] " -class " $0 }
      END { for (i = 0; i < parts && i < n; i++) print part[i] }'
}

# Takes parts from the list, and runs each, until none is left.
work() {
  local part filter
  while part=$(flock "$logs/next" sh -c 'read -r n <"$1"; echo $((n + 1)) >"$1"; echo "$n"' - "$logs/next") &&
    [ "$part" -le $count ]; do
    read -r -a filter < <(sed -n "${part}p" "$logs/parts")
    run "$@" "${filter[@]}" >"$logs/$part" 2>&1
    echo $? >"$logs/$part.status"
  done
}

# Runs the parts in so many processes at a time; the log is that of all, and ends with their sum. Returns 125 if a
# part has no result.
run_parts() {
  local job part count sums=(0 0 0 0 0) started=$SECONDS worst=0
  parts "$@" >"$logs/parts"
  count=$(wc -l <"$logs/parts")
  echo 1 >"$logs/next"
  for ((job = 0; job < jobs; job++)); do work "$@" & done
  wait
  for ((part = 1; part <= count; part++)); do
    cat "$logs/$part"
    if ! result_of "$logs/$part"; then
      echo "part$(sed -n "${part}p" "$logs/parts") ended with status $(<"$logs/$part.status") and without a result"
      return 125
    fi
    sums=($((sums[0] + total)) $((sums[1] + errors)) $((sums[2] + failed)) $((sums[3] + skipped)) $((sums[4] + not_run)))
    [ "$(<"$logs/$part.status")" -eq 0 ] || worst=$(<"$logs/$part.status")
  done
  total=${sums[0]} errors=${sums[1]} failed=${sums[2]} skipped=${sums[3]} not_run=${sums[4]}
  time=$((SECONDS - started))s
  close
  return $worst
}

program=$1
log=$logs/log
if [ $jobs -gt 1 ]; then run_parts "$@" >"$log" 2>&1; else run "$@" >"$log" 2>&1; fi
status=$?
if [ $status -eq 125 ] || ! result_of "$log"; then
  cat "$log"
  echo "$1 ended with status $status and without a result"
  exit 1
fi
if [ $((errors + failed)) -gt 0 ] || [ $status -ne 0 ]; then
  cat "$log"
else
  # What a program of tests within this one ran twice.
  grep '^== ' "$log"
fi

# A method's name has no parenthesis; what follows one are a theory's arguments.
mapfile -t methods < <(sed -nE 's/^ +(StreamingDaemon\.[A-Za-z0-9_.]+)(\(.*)? \[FAIL\]$/\1/p' "$log" | sort -u)
if [ "$failed" -gt 0 ] && [ "$errors" -eq 0 ] && [ ${#methods[@]} -gt 0 ] && [ ${#methods[@]} -le $most_retries ]; then
  echo "== once more, by themselves: ${methods[*]}"
  first_total=$total first_skipped=$skipped first_not_run=$not_run first_time=$time
  # Array of "-method NAME" pairs.
  again=()
  for method in "${methods[@]}"; do again+=(-method "$method"); done
  run "$1" "${again[@]}" >"$log.again" 2>&1
  status=$?
  cat "$log.again"
  if result_of "$log.again" && [ "$total" -gt 0 ]; then
    [ $((errors + failed + skipped)) -eq 0 ] && [ $status -eq 0 ] && echo "== passed by themselves: ${methods[*]}"
  else
    failed=${#methods[@]}
  fi
  total=$first_total skipped=$first_skipped not_run=$first_not_run time=$first_time
fi
[ $status -ne 0 ] && [ $((errors + failed)) -eq 0 ] && failed=1
close
[ $((errors + failed)) -eq 0 ]
