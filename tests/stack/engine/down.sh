#!/usr/bin/env bash
# Stop the engine that up.sh started, and no other. Images, volumes and the build cache stay on disk.
set -euo pipefail

state="${VISIONDRIFT_ENGINE_STATE:-/var/tmp/visiondrift-engine}"
pid_file="$state/dockerd.pid"

say() { printf 'engine: %s\n' "$*"; }

is_ours() { [[ -r /proc/$1/comm && "$(cat "/proc/$1/comm")" == dockerd ]]; }

if [[ ! -s $pid_file ]]; then
  say "none was started from here; nothing to stop"
  exit 0
fi
pid="$(cat "$pid_file")"
if is_ours "$pid"; then
  say "stopping dockerd ($pid); its containers stop with it"
  kill -TERM "$pid"
  for ((waited = 0; waited < 120; waited++)); do
    is_ours "$pid" || break
    sleep 0.5
  done
  ! is_ours "$pid" || { say "error: dockerd ($pid) still runs after 60 s" >&2; exit 1; }
fi
rm -f "$pid_file"
say "stopped"
