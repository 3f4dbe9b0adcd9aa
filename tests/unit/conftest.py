"""Logs for the tests that hold both kinds of them to the same answers."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from log_parts import new_log
from visiondrift.log.memory import MemoryLog
from visiondrift.log.sqlite import SqliteLog


@pytest.fixture(params=["memory", "sqlite"])
def log(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[MemoryLog | SqliteLog]:
    """A log of either kind."""
    opened = new_log(request.param, tmp_path)
    yield opened
    opened.close()


@pytest.fixture
def file_log(tmp_path: Path) -> Iterator[SqliteLog]:
    """A log in a file."""
    opened = SqliteLog(tmp_path / "log.sqlite")
    yield opened
    opened.close()
