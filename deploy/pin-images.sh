#!/usr/bin/env bash
# Replaces the digest of each image that the Dockerfiles, docker-compose.yml and the DaemonSet of the seccomp profile pull by
# the one that its tag has now. docs/operations.md says when.
# usage: deploy/pin-images.sh             asks the registries, with skopeo or docker; prints what has changed
#        deploy/pin-images.sh --check     asks nobody; exit 1 if an image has no digest, or two for one tag
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
files=("$here/Dockerfile" "$here/apache/Dockerfile" "$here/docker-compose.yml" "$here/deploy/kubernetes/seccomp/daemonset.yaml")

# What stands in those files, with its digest if it has one.
images() {
  sed -nE -e 's/^ARG BASE=(.*)/\1/p' -e 's/^ *(BASE|image): \$\{[A-Z_]*:-(.*)\}$/\2/p' -e 's/^ *image: ([^$]*)$/\1/p' \
    "${files[@]}" | sort -u
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
  status=0
  while read -r image; do
    [[ $image =~ ^[^@]+:[^@]+@sha256:[0-9a-f]{64}$ ]] && continue
    echo "pin-images.sh: $image has no digest: deploy/pin-images.sh" >&2
    status=1
  done < <(images)
  for twice in $(images | sed 's/@.*//' | uniq --repeated); do
    echo "pin-images.sh: $twice has two digests: deploy/pin-images.sh" >&2
    status=1
  done
  exit $status
fi

manifest=$(mktemp)
trap 'rm -f "$manifest"' EXIT
# All are asked first: no file is half of today's.
edits=()
for tag in $(images | sed 's/@.*//' | sort -u); do
  found=$(digest "$tag") && [[ $found =~ ^sha256:[0-9a-f]{64}$ ]] ||
    { echo "pin-images.sh: $tag has no digest" >&2; exit 1; }
  edits+=(-e "s#(BASE=|:-|image: )${tag//./\\.}(@sha256:[0-9a-f]{64})?(\}?)\$#\\1$tag@$found\\3#")
  images | grep -qx "$tag@$found" || echo "$tag@$found"
done
sed --in-place -E "${edits[@]}" "${files[@]}"
