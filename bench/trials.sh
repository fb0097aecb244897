#!/usr/bin/env bash
# What io_uring offers beyond the floor, tried on the floor's own workload: compiles trials.c and floor.c,
# runs every variant in turns (several rounds), and prints one Markdown table. About 80 seconds; --quick six,
# with few clients: it shows that everything runs, its figures say nothing.
#   bench/trials.sh [--quick] [--rounds N]
# CPU and ratio are medians over the rounds. A ratio is taken within a round, to that round's SEND: it is what
# counts on a machine that others use too. In brackets the least and the most of it.
set -eu
usage() { echo "usage: bench/trials.sh [--quick] [--rounds N]" >&2; exit 2; }
rounds=5 clients=5000 passes=4 floor_rounds=8 events=10000 table=(1000 5000 15000) closes=512
while [ $# -gt 0 ]; do
  case $1 in
    --quick) rounds=1 clients=500 passes=3 floor_rounds=2 events=4000 table=(100 200 300) closes=16 ;;
    --rounds) [[ ${2:-} =~ ^[1-9][0-9]?$ ]] || usage; rounds=$2; shift ;;
    *) usage ;;
  esac
  shift
done
# An event has the daemon's size. TCP is fed more slowly: loop, reader and producer share the cores.
bytes=66 unix_rate=100000 tcp_rate=25000

cd "$(dirname "${BASH_SOURCE[0]}")"
command -v gcc >/dev/null && [ -e /usr/include/liburing.h ] || {
  echo "the trials need gcc and liburing: sudo apt-get install gcc liburing-dev" >&2
  exit 2
}
directory=$(mktemp -d)
trap 'rm -rf "$directory"' EXIT
gcc -O2 floor.c -luring -o "$directory/floor"
gcc -O2 trials.c -luring -o "$directory/trials"

# The program to the end, within a bound; its output for rows.
run() {
  timeout 60 "$directory/$1" "${@:2}" >"$directory/out" || { echo "failed or too slow: $*" >&2; exit 1; }
}
# round, transport, what was measured, then the program's own columns: variant, CPU, remark.
rows() { sed "s/^/$round\t$1\t$2\t/" "$directory/out" >>"$directory/rows"; }
for ((round = 1; round <= rounds; round++)); do
  echo "round $round of $rounds" >&2
  for transport in unix tcp; do
    rate=${transport}_rate
    # Its first rounds are those of fresh connections; trials.c has left them behind when it begins.
    run floor $clients $floor_rounds $bytes $transport uring
    sed -i 's/.*cpu_us_per_event=\(.*\)/floor.c\t\1\tfresh connections/' "$directory/out"
    rows $transport burst
    run trials burst $transport $clients $passes $bytes
    rows $transport burst
    run trials trickle $transport $clients $((events * ${!rate} / unix_rate)) ${!rate} $bytes
    rows $transport "${!rate} a second"
  done
  for size in "${table[@]}"; do
    run trials close "$size" $closes
    rows unix "once a stream"
  done
done

echo "Linux $(uname -r), $(nproc) cores, $clients clients, events of $bytes bytes, $rounds rounds"
echo
echo "| variant | CPU an event, µs | ratio to the floor | remark |"
echo "|---|---|---|---|"
awk -F '\t' '
  function sort(list, count,   i, j, item) {
    for (i = 2; i <= count; i++) {
      item = list[i]
      for (j = i - 1; j > 0 && list[j] > item; j--) list[j + 1] = list[j]
      list[j + 1] = item
    }
  }
  $4 == "SEND (the floor)" { floor[$1, $2] = $5 }
  {
    key = ($2 == "tcp" ? "TCP" : "Unix") ", " $3 ": " $4
    if (!(key in count)) order[++keys] = key
    round[key, ++count[key]] = $1
    transport[key] = $2
    cpu[key, count[key]] = $5
    remark[key, count[key]] = $6
  }
  END {
    for (k = 1; k <= keys; k++) {
      key = order[k]
      measured = 0
      for (i = 1; i <= count[key]; i++) {
        if (cpu[key, i] == "-") continue
        values[++measured] = cpu[key, i] + 0
        unit = floor[round[key, i], transport[key]]
        if (unit <= 0) { print "a round without a floor" >"/dev/stderr"; exit 1 }
        ratios[measured] = cpu[key, i] / unit
      }
      if (!measured) { printf "| %s | – | – | %s |\n", key, remark[key, 1]; continue }
      sort(values, measured)
      sort(ratios, measured)
      middle = int((measured + 1) / 2)
      for (i = 1; cpu[key, i] + 0 != values[middle]; i++);
      printf "| %s | %.2f | %.2f (%.2f–%.2f) | %s |\n", key, values[middle], ratios[middle],
        ratios[1], ratios[measured], remark[key, i]
    }
  }' "$directory/rows"
