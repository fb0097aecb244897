#!/usr/bin/env bash
# A copy of this machine that is thrown away: its root is an overlay over this one's, and whatever is written goes into
# memory; processes, network and mounts are its own. Its first process is systemd. It ends with this script's standard input.
# usage: unshare --mount machine.sh BUNDLE REPOSITORY NAME     BUNDLE holds config.json and seed/, files to begin with
set -euo pipefail
bundle=$1 repository=$2 name=$3
mkdir "$bundle/memory" "$bundle/root"
mount -t tmpfs tmpfs "$bundle/memory"
over() {
  mkdir -p "$bundle/memory/$1/new" "$bundle/memory/$1/work" "$3"
  mount -t overlay overlay \
    -o "lowerdir=$2,upperdir=$bundle/memory/$1/new,workdir=$bundle/memory/$1/work" "$3"
}
over machine / "$bundle/root"
# What somebody left there is in nobody's way.
mount -t tmpfs -o mode=1777 tmpfs "$bundle/root/tmp"
# A mount of its own, as a volume, would not be in the copy.
over repository "$repository" "$bundle/root$repository"
cp -r "$bundle/seed/." "$bundle/root/"
# What keeps packages from starting services, where there is one: here they may.
rm -f "$bundle/root/usr/sbin/policy-rc.d"
# Nobody searches the index of manual pages here: no package has to renew it.
rm -f "$bundle/root/var/lib/man-db/auto-update"
runc --root "$bundle/state" run --bundle "$bundle" "$name" </dev/null &
cat >/dev/null
runc --root "$bundle/state" kill "$name" KILL || true
wait
