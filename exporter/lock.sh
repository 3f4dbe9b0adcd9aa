#!/usr/bin/env bash
# Writes requirements.txt and requirements-dev.txt: every package pinned and hashed, for all platforms, without the
# lines that name an index. torch and what only its GPU build needs stay out: their hashes differ between the CPU and
# the GPU wheels, so exporter/install.sh installs them by version (requirements-torch.txt).
set -euo pipefail
cd "$(dirname "$0")/.."

compile() { # compile OUTPUT [ARGUMENT...]
    uv pip compile pyproject.toml --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
        --no-header --no-annotate --output-file "$@"
}

scratch=$(mktemp)
trap 'rm -f "$scratch"' EXIT
compile "$scratch" --extra dev
mapfile -t gpu < <(grep -oE '^(torch|torchvision|triton|(nvidia|cuda)-[a-z0-9-]+)==' "$scratch" | sed 's/==$//; s/^/--no-emit-package=/')
compile requirements.txt "${gpu[@]}"
compile requirements-dev.txt --extra dev "${gpu[@]}"
grep -hoE '^(torch|torchvision)==[0-9.]+' "$scratch" | sort -u > requirements-torch.txt
