"""What tests share that start programs: the program or why there is none, a port, and waiting for what it does.

Nothing here depends on how busy the machine is: what is waited for comes in its own time, and only what never comes
fails.
"""

import os
import random
import shutil
import socket
import time
from collections.abc import Callable
from typing import TypeVar

import pytest

PATIENCE_S = 240.0
"""Longer than anything takes that is waited for, on a machine with twenty times as much to do."""

_WORKERS = 16
_WORKER = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) % _WORKERS
_PORTS = range(20_000 + _WORKER, 32_000, _WORKERS)
"""Of this worker alone, and below the ports that Linux gives to those who connect: between the asking and the
listening, which takes a program seconds, nobody else gets one."""

_untried = iter(random.SystemRandom().sample(_PORTS, len(_PORTS)))

_Answer = TypeVar("_Answer")


def program(*names: str, package: str) -> str:
    """The path of the first of these programs that is there; without any, a test is skipped on a desk, fails in CI."""
    for name in names:
        if found := shutil.which(name):
            return found
    reason = f"{' or '.join(names)} is not installed (package {package})"
    if os.environ.get("CI") == "true":
        pytest.fail(reason)
    pytest.skip(reason)


def free_port() -> int:
    """A port on loopback that nobody listens on, another one each time."""
    return next(port for port in _untried if _is_free(port))


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def until(
    ask: Callable[[], _Answer],
    *,
    seconds: float = PATIENCE_S,
    every: float = 0.05,
    what: str = "the expected answer",
) -> _Answer:
    """Ask until the answer is true; the answer. Fails with the last one where it never is."""
    give_up = time.monotonic() + seconds
    while True:
        answer = ask()
        if answer:
            return answer
        if time.monotonic() > give_up:
            raise AssertionError(f"{what} did not come within {seconds:g} s; the last answer was {answer!r}")
        time.sleep(every)
