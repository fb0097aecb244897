#!/usr/bin/env bash
# Prints each image that the Dockerfiles, docker-compose.yml and the DaemonSet of the seccomp profile pull, with the digest
# that its tag has now, as variables that compose and docker build take. docs/operations.md says how.
# usage: deploy/pin-images.sh >images.env             asks the registries, with skopeo or docker
#        deploy/pin-images.sh --check images.env      exit 1 if one is missing in the file, or has no digest
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

# Variable and image: the defaults that stand in those files, and nowhere else.
images() {
  {
    sed -n 's/^ARG BASE=\(.*\)/BASE_IMAGE \1/p' "$here/Dockerfile"
    sed -n 's/^ARG BASE=\(.*\)/APACHE_BASE_IMAGE \1/p' "$here/apache/Dockerfile"
    sed -n 's/^ *image: ${\([A-Z_]*\):-\(.*\)}$/\1 \2/p' "$here/docker-compose.yml"
    sed -n 's/^ *image: \(.*\)/SECCOMP_IMAGE \1/p' "$here/deploy/kubernetes/seccomp/daemonset.yaml"
  } | sort -u
}

# Of the index of all platforms, if there is one.
digest() {
  if command -v skopeo >/dev/null; then
    skopeo inspect --raw "docker://$1" >"$manifest" || return 1
    echo "sha256:$(sha256sum <"$manifest" | cut -d' ' -f1)"
  elif command -v docker >/dev/null; then
    docker buildx imagetools inspect "$1" --format '{{.Manifest.Digest}}'
  else
    echo "pin-images.sh: needs docker or skopeo: apt-get install skopeo" >&2
    return 1
  fi
}

if [ "${1:-}" = --check ]; then
  file=${2:?usage: deploy/pin-images.sh --check FILE}
  status=0
  while read -r variable image; do
    grep -Exq "$variable=${image//./\\.}@sha256:[0-9a-f]{64}" "$file" && continue
    echo "pin-images.sh: $file has no digest for $variable ($image): deploy/pin-images.sh >$file" >&2
    status=1
  done < <(images)
  exit $status
fi

manifest=$(mktemp)
trap 'rm -f "$manifest"' EXIT
while read -r variable image; do
  found=$(digest "$image") && [[ $found =~ ^sha256:[0-9a-f]{64}$ ]] ||
    { echo "pin-images.sh: $image has no digest" >&2; exit 1; }
  echo "$variable=$image@$found"
done < <(images)
