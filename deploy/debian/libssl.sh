#!/bin/sh
# Prints the package of a release that has libssl.so.3: releases after the change of time_t call it libssl3t64, earlier
# ones libssl3. apt-get installs either by the other's name; debootstrap does not.
# usage: deploy/debian/libssl.sh RELEASE   its codename, as debootstrap takes it.
set -u
release=${1:?usage: deploy/debian/libssl.sh RELEASE}

# A machine may have several releases in its package sources, so that a name is known says nothing about this one.
# What comes from the default release, and nothing else, has the priority 990 (apt_preferences(5)).
apt-cache -o APT::Default-Release="$release" -o Dir::Etc::Preferences=/dev/null \
  -o Dir::Etc::PreferencesParts=/dev/null policy libssl3t64 libssl3 2>/dev/null |
  awk '/^[^ ]/ { name = $1; sub(/:$/, "", name) } /^ +990 / { print name; found = 1; exit } END { exit !found }' && exit

# apt does not know the release: its lists were removed. What is built for is the machine's own release.
name=$(dpkg-query --search '*/libssl.so.3' 2>/dev/null | sed -n '1s/:.*//p')
[ -n "$name" ] || { echo "libssl.sh: no package of $release has libssl.so.3: run apt-get update" >&2; exit 1; }
echo "$name"
