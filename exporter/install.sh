#!/usr/bin/env bash
# Makes the environment that VisionDrift runs in: exporter/install.sh VENV [--dev]
# Used by the Makefile and by exporter/Dockerfile, so that both install the same pinned, hash-checked packages.
#
#   PYTHON         the interpreter to make the environment with (python3)
#   TORCH_BACKEND  which torch wheels: auto (default: CPU where there is no GPU), cpu, cu130, ... ; "index" takes what
#                  the ordinary package index has, which on Linux is the GPU build of several gigabytes
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
venv=$1
requirements=$root/requirements.txt
[ "${2:-}" = --dev ] && requirements=$root/requirements-dev.txt
python=${PYTHON:-python3}
backend=${TORCH_BACKEND:-auto}

"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || {
    echo "install.sh: VisionDrift needs Python 3.11 or newer, and '$python' is $("$python" --version 2>&1);" \
        "name another with PYTHON=/path/to/python3" >&2
    exit 1
}

say() { echo "install.sh: $*"; }

# uv knows where the CPU wheels of torch are, so it is worth having; plain pip does where it cannot be had.
uv=$(command -v uv || true)
if [ ! -x "$venv/bin/python" ]; then
    if [ -n "$uv" ]; then
        "$uv" venv --quiet --python "$python" "$venv"
    else
        "$python" -m venv "$venv" || {
            echo "install.sh: '$python -m venv' failed; on Debian and Ubuntu: apt install python3-venv" >&2
            exit 1
        }
    fi
fi
if [ -z "$uv" ] && "$venv/bin/pip" install --quiet --disable-pip-version-check uv; then
    uv=$venv/bin/uv
fi
install() {
    if [ -n "$uv" ]; then
        "$uv" pip install --quiet --python "$venv/bin/python" "$@"
    else
        "$venv/bin/pip" install --quiet --disable-pip-version-check "$@"
    fi
}

say "installing $(grep -c == "$requirements") pinned packages into $venv"
install --require-hashes --no-deps -r "$requirements"

if ! "$venv/bin/python" -c 'import torch, torchvision' 2> /dev/null; then
    log=$(mktemp)
    trap 'rm -f "$log"' EXIT
    # One retry: where torch's own index is walled off, the ordinary one should not be long in coming.
    if [ -n "$uv" ] && [ "$backend" != index ] &&
        UV_HTTP_RETRIES=1 "$uv" pip install --quiet --python "$venv/bin/python" --torch-backend="$backend" \
            -r "$root/requirements-torch.txt" 2> "$log"; then
        say "installed torch (backend: $backend)"
    else
        [ -s "$log" ] && sed 's/^/install.sh:   /' "$log" >&2
        say "no torch wheels for backend '$backend' within reach; taking the ordinary index's (several GB on Linux)"
        install -r "$root/requirements-torch.txt"
    fi
fi
