#!/bin/sh
# Writes what is linked into the Native AOT binary, and under which licenses: streaming-daemon.cdx.json (CycloneDX 1.5)
# and THIRD-PARTY-NOTICES.txt. Publishing runs it, so both are of the build.
# usage: bill-of-materials.sh LIST VERSION OUTPUT-DIRECTORY
#   LIST is the compiler's own list of its inputs, streaming-daemon.ilc.rsp. What is below no package is our own.
set -eu
list=$1 version=$2 output=$3
export LC_ALL=C

# The directories of the packages, each once: the first with a nuspec, from the assembly upwards.
packages=$(sed -n 's|^-r:\(/.*\)/[^/]*$|\1|p' "$list" | sort -u | while read -r directory; do
  while [ "$directory" != / ] && ! ls "$directory"/*.nuspec >/dev/null 2>&1; do directory=$(dirname "$directory"); done
  [ "$directory" = / ] || echo "$directory"
done | sort -u)
[ -n "$packages" ] || { echo "bill-of-materials.sh: $list names no package" >&2; exit 1; }

nuspec() { sed -n "s|.*<$2[^>]*>\(.*\)</$2>.*|\1|p" "$1"/*.nuspec | head -n 1; }
license() {
  found=$(nuspec "$1" license)
  case $found in
    MIT | Apache-2.0 | BSD-2-Clause) echo "$found" ;;
    *) echo "bill-of-materials.sh: $1 has the license '$found', which is not looked at yet" >&2; return 1 ;;
  esac
}

{
  printf '{\n  "bomFormat": "CycloneDX",\n  "specVersion": "1.5",\n  "version": 1,\n  "metadata": {\n'
  printf '    "component": {"type": "application", "bom-ref": "streaming-daemon", "name": "streaming-daemon", '
  printf '"version": "%s", "licenses": [{"license": {"id": "Apache-2.0"}}]}\n  },\n  "components": [' "$version"
  separator=
  for package in $packages; do
    id=$(nuspec "$package" id) of=$(nuspec "$package" version) under=$(license "$package")
    printf '%s\n    {"type": "library", "bom-ref": "pkg:nuget/%s@%s", "name": "%s", "version": "%s", ' \
      "$separator" "$id" "$of" "$id" "$of"
    printf '"licenses": [{"license": {"id": "%s"}}], "purl": "pkg:nuget/%s@%s"}' "$under" "$id" "$of"
    separator=,
  done
  printf '\n  ]\n}\n'
} >"$output/streaming-daemon.cdx.json"

{
  echo "streaming-daemon links these packages. Their licenses follow."
  for package in $packages; do
    printf '\n%s %s\n' "$(nuspec "$package" id)" "$(nuspec "$package" version)"
    copyright=$(nuspec "$package" copyright)
    [ -n "$copyright" ] || copyright="Copyright $(nuspec "$package" authors)"
    printf '  %s\n  License: %s\n' "$copyright" "$(license "$package")"
  done
  for name in $(for package in $packages; do license "$package"; done | sort -u); do
    printf '\n======== %s ========\n\n' "$name"
    case $name in
      Apache-2.0) cat "$(dirname "$0")/../../LICENSE" ;;
      *) cat "$(dirname "$0")/$name.txt" ;;
    esac
  done
  for package in $packages; do
    for notices in "$package"/THIRD-PARTY-NOTICES.TXT; do
      [ -e "$notices" ] || continue
      printf '\n======== notices of %s ========\n\n' "$(nuspec "$package" id)"
      tr -d '\r' <"$notices"
    done
  done
} >"$output/THIRD-PARTY-NOTICES.txt"
