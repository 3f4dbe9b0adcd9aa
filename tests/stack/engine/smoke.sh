#!/usr/bin/env bash
# Prove the engine that up.sh left: build with a package index, bridge network, published port, named volumes,
# health checks, read-only roots, tmpfs, dropped capabilities, limits. About half a minute; leaves nothing behind.
set -euo pipefail

here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
compose=(docker compose --progress quiet -f "$here/smoke/compose.yml")

say() { printf 'smoke: %s\n' "$*"; }
# The tags are the shipped files' business, so take whichever up.sh prepared.
newest() { docker image ls --format '{{.Repository}}:{{.Tag}}' --filter dangling=false "$1" | head -n 1; }
# The shell's own HTTP: a bare machine has no curl.
published() {
  exec 3<>/dev/tcp/127.0.0.1/18999
  printf 'GET /%s HTTP/1.0\r\n\r\n' "$1" >&3
  cat <&3
  exec 3>&-
}

PROMETHEUS_IMAGE="$(newest prom/prometheus)"
ALERTMANAGER_IMAGE="$(newest prom/alertmanager)"
PYTHON_IMAGE="$(newest python)"
export PROMETHEUS_IMAGE ALERTMANAGER_IMAGE PYTHON_IMAGE
[[ -n $PROMETHEUS_IMAGE && -n $ALERTMANAGER_IMAGE && -n $PYTHON_IMAGE ]] || { say "error: run up.sh first" >&2; exit 1; }
cleanup() { "${compose[@]}" down --volumes --rmi local --timeout 2 >/dev/null 2>&1 || true; }
trap cleanup EXIT
cleanup

say "building with a package from the Python index"
"${compose[@]}" build --quiet >/dev/null
say "starting; the probe waits for three healthy services"
"${compose[@]}" up --quiet-pull --detach server prometheus alertmanager
"${compose[@]}" run --rm --no-TTY client
"${compose[@]}" exec -T server sh -c 'echo kept > /data/kept'
published kept | grep -x kept >/dev/null
say "the port is published on 127.0.0.1"
"${compose[@]}" up --detach --force-recreate --wait server
published kept | grep -x kept >/dev/null
say "the named volume outlives its container"
if [[ "$("${compose[@]}" port server 8000)" != 127.0.0.1:* ]]; then
  say "error: the port is open to the network" >&2
  exit 1
fi
say "all held"
