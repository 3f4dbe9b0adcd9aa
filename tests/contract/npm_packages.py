"""What Grafana and Prometheus publish on npm: the packages of ``grafana_node``, and what their programs say.

The decision hidden here: how they get there. They are installed once, by whoever needs them first.
"""

from __future__ import annotations

import fcntl
import json
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from programs import PATIENCE_S, program

NODE = Path(__file__).parent / "grafana_node"
_MODULES = NODE / "node_modules"


def installed() -> Path:
    """The packages at the versions of the lock file. Skips the test where npm cannot get them."""
    if problem := _problem_with_installing(program("npm", package="npm")):
        pytest.skip(f"npm could not install the packages of {NODE.name}: {problem}")
    return _MODULES


@cache
def _problem_with_installing(npm: str) -> str:
    with _alone_in(NODE):
        if not (_MODULES / ".package-lock.json").exists():
            command = [npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
            try:
                subprocess.run(command, cwd=NODE, capture_output=True, text=True, check=True, timeout=PATIENCE_S)
            except subprocess.SubprocessError as error:
                return f"{error}; {error.stderr or ''}"[-400:]
    return ""


@contextmanager
def _alone_in(folder: Path) -> Iterator[None]:
    """One process at a time: npm would remove what another one is just installing."""
    held = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(held, fcntl.LOCK_EX)
        yield
    finally:
        os.close(held)


def node(*arguments: str | Path, cwd: Path = NODE, given: str = "") -> str:
    """What a script prints, whatever its exit status."""
    installed()
    command = [program("node", package="nodejs"), *map(str, arguments)]
    return subprocess.run(command, cwd=cwd, input=given, capture_output=True, text=True, check=False).stdout


def refused_by_the_grammar(expressions: list[str]) -> list[dict[str, Any]]:
    """Those that are no PromQL in Prometheus's present grammar, each with the place of its first error."""
    return list(json.loads(node("promql.mjs", given=json.dumps(expressions))))
