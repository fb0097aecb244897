#!/usr/bin/env bash
# Runs one test program: tests/run.sh PROGRAM [ARGUMENT...]. The last line is its result, as xunit prints it.
# Tests that fail, if there are at most three, run once more with nothing of their program beside them. A time
# limit that only a busy machine missed is kept there; a test that fails again has failed. Both are printed, so
# that a test which often needs its second run is found, and mended. MOST_RETRIES is another number than three.
set -u

limit_s=2400 most_retries=${MOST_RETRIES:-3}
log=$(mktemp)
trap 'rm -f "$log" "$log.again"' EXIT

# A shell runs what it puts in the background with SIGINT ignored. Tests send that signal to their children.
run() { timeout --kill-after=30 $limit_s env --default-signal=INT "$@" -noColor -noLogo; }

# Sets total, failed and not_run from the closing line of a log. Errors count as failures.
result_of() {
  local line
  line=$(grep -E '^ +StreamingDaemon[^ ]* +Total: ' "$1" | tail -n 1)
  [[ $line =~ Total:\ ([0-9]+),\ Errors:\ ([0-9]+),\ Failed:\ ([0-9]+),\ Skipped:\ ([0-9]+),\ Not\ Run:\ ([0-9]+) ]] ||
    return 1
  total=${BASH_REMATCH[1]} errors=${BASH_REMATCH[2]} failed=${BASH_REMATCH[3]}
  skipped=${BASH_REMATCH[4]} not_run=${BASH_REMATCH[5]} time=${line##*Time: }
}

run "$@" >"$log" 2>&1
status=$?
if ! result_of "$log"; then
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
echo "   $(basename "$1")  Total: $total, Errors: $errors, Failed: $failed, Skipped: $skipped, Not Run: $not_run, Time: $time"
[ $((errors + failed)) -eq 0 ]
