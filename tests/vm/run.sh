#!/usr/bin/env bash
# Boots what make-image.sh made, for one run, and prints what it wrote. The console is in DIRECTORY/console.
#
#   tests/vm/run.sh DIRECTORY [RUN [PORT]]     RUN is a program of tests/vm/guest: tls (default), cpu or browser
#
# With PORT, that port of this machine's loopback leads to the HTTPS site of the machine inside.
#
# There is no KVM in many places where tests run, so the processor is emulated: the machine boots in seconds all the same.
set -eu
directory=$1
results=$directory/results-${2:-tls}
network=()
[ -z "${3:-}" ] || network=(-netdev "user,id=network,restrict=on,hostfwd=tcp:127.0.0.1:$3-:8466"
  -device virtio-net-pci,netdev=network,romfile=)
processors=(-accel tcg,thread=multi -smp 2)
# What is measured is time: of instructions, not of this machine, which has other things to do.
[ "${2:-tls}" = cpu ] && processors=(-accel tcg,thread=single -smp 1 -icount shift=2,sleep=off)
# On a busy machine a kernel may find at the boot that its emulated timers do not work. Then it is booted again.
for _ in 1 2 3; do
  : >"$results"
  qemu-system-x86_64 "${processors[@]}" -cpu max -m 1536 -nodefaults -no-reboot -nographic \
    -kernel "$directory/kernel" -initrd "$directory/root.cpio" \
    -append "console=ttyS0 quiet panic=1 no_timer_check vm.run=${2:-tls}" \
    -serial "file:$directory/console" -serial "file:$results" "${network[@]}"
  [ -s "$results" ] && break
done
cat "$results"
