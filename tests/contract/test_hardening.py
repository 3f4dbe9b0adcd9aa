"""What an attacker, a careless client and a tired operator get: nothing acknowledged is lost, nothing fails silently."""

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from intake_parts import NOW, stored_event
from visiondrift.errors import LogError
from visiondrift.log.sqlite import SqliteLog


def removed(file: Path) -> None:
    file.unlink()


def replaced(file: Path) -> None:
    copy = file.with_suffix(".copy")
    copy.write_bytes(file.read_bytes())
    copy.replace(file)


@pytest.mark.parametrize("harm", [removed, replaced])
@pytest.mark.parametrize("suffix", ["", "-wal"])
def test_nothing_is_acknowledged_into_a_log_that_was_removed(
    tmp_path: Path, harm: Callable[[Path], None], suffix: str
) -> None:
    """SQLite would go on writing into the removed file, and its end would be the end of what it holds."""
    path = tmp_path / "predictions.sqlite"
    with closing(SqliteLog(path)) as log:
        log.append([stored_event(1)], [], now=NOW)
        harm(path.with_name(path.name + suffix))
        for number in (2, 3):
            with pytest.raises(LogError, match="removed or replaced under the running service"):
                log.append([stored_event(number)], [], now=NOW)


def test_a_damaged_log_says_what_to_do(tmp_path: Path) -> None:
    path = tmp_path / "predictions.sqlite"
    path.write_bytes(b"this was a database once" * 1000)
    with pytest.raises(LogError, match=r"predictions\.sqlite: file is not a database; the file is damaged: stop"):
        SqliteLog(path)


def test_a_log_that_another_program_holds_says_so(tmp_path: Path) -> None:
    path = tmp_path / "predictions.sqlite"
    with closing(SqliteLog(path, patience=0.1)) as log, closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(LogError, match="locked; another program is writing to it"):
            log.append([stored_event(1)], [], now=NOW)
        other.execute("ROLLBACK")
        assert log.append([stored_event(1)], [], now=NOW).stored == 1
