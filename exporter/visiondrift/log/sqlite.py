"""The prediction log in one SQLite file: who may write, what is one commit, and what goes when room is short.

One connection writes, under a lock; each read opens a connection of its own and sees one snapshot, so that neither
waits for the other (WAL). ``synchronous=FULL``: an append that returned survives a power cut.
"""

import errno
import json
import shutil
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from visiondrift.drift.embedding.moments import BlockMoments
from visiondrift.errors import LogError, LogFull
from visiondrift.log import Appended, Census, Holding, Stream, Window, WindowQuery, microseconds
from visiondrift.log.blocks import count_by_block, drop_moments, moments_held, put_moments, read_moments
from visiondrift.log.moments import BlockQuery, KeptMoments, MomentKey, packed
from visiondrift.log.reading import read_holdings, read_oldest, read_window
from visiondrift.log.schema import PAGE_BYTES, open_reader, open_writer
from visiondrift.log.writing import count_rejections, drop_events, row_of, store
from visiondrift.prediction import PredictionEvent, Rejection

_CHUNK = 500
"""Rows dropped, or blocks kept, under one hold of the lock: an append waits for milliseconds, not for all of it."""

_PAUSE = 0.002
"""Seconds between chunks. A lock released and taken at once would never reach the thread that waits for it."""

_NO_ROOM_BYTES = 4 * PAGE_BYTES
"""An input/output error on a file system with less room than this is told as a full disk."""

_DAMAGED = "; the file is damaged: stop the service, move it and its -wal away, restore a copy or start anew"
_ADVICE = {
    sqlite3.SQLITE_BUSY: "; another program is writing to it and does not end: stop that one",
    sqlite3.SQLITE_CORRUPT: _DAMAGED,
    sqlite3.SQLITE_NOTADB: _DAMAGED,
    sqlite3.SQLITE_READONLY: "; its folder must be writable for the user of the service",
    sqlite3.SQLITE_CANTOPEN: "; it must be there, in a folder that is writable for the user of the service",
}

_FOREVER = microseconds(float("inf"))


class _Drop(Protocol):
    """Takes off the ``count`` oldest of what lies before a microsecond; returns how many they were."""

    def __call__(self, connection: sqlite3.Connection, *, before: int, count: int) -> int: ...


_Beyond = Callable[[sqlite3.Connection, int], int]
"""About how many take the room that there is beyond some bytes; 0 where they fit."""


class SqliteLog:
    """A ``PredictionLog`` and a ``MomentLog`` in the file ``path``, with its write-ahead file beside it.

    ``max_bytes`` is a hard limit of the database: an append beyond it raises LogFull (``prune`` is the soft one).
    ``patience``: seconds to wait for another process that writes the same file. Raises LogError where the file cannot
    be opened, is damaged, is of a newer version, or belongs to another program; LogFull where the disk is full.
    """

    def __init__(self, path: Path, *, max_bytes: int | None = None, patience: float = 5.0) -> None:
        self._path = path
        self._patience = patience
        self._lock = threading.Lock()
        self._files = (path, path.with_name(path.name + "-wal"))
        with _told(path):
            self._writer: sqlite3.Connection | None = open_writer(path, max_bytes=max_bytes, patience=patience)
            self._opened = [_identity(file) for file in self._files]

    def append(self, events: Sequence[PredictionEvent], rejections: Sequence[Rejection], *, now: float) -> Appended:
        """Store events durably, in one commit. See ``PredictionLog.append``."""
        with _told(self._path, wrong="an event cannot be stored: "):
            rows = [row_of(event) for event in events]
            with self._transaction() as connection:
                appended = store(connection, events, rows)
                count_rejections(connection, rejections, now=now)
        return appended

    def window(self, query: WindowQuery) -> Window:
        """The events of a window. See ``PredictionLog.window``."""
        with self._reading() as connection:
            return read_window(connection, query)

    def census(self) -> Census:
        """What the log holds, from counters kept with the rows. ``size_bytes`` includes the write-ahead file."""
        with self._reading() as connection:
            found = connection.execute(
                "SELECT model, version, slices, sum(events), max(newest_us), max(classes <> '[]') FROM streams"
                " WHERE kept = ''"
                " GROUP BY model, version, slices ORDER BY min(id)"
            ).fetchall()
            events = connection.execute("SELECT coalesce(sum(events), 0) FROM streams").fetchone()[0]
            size = sum(file.stat().st_size for file in self._files if file.exists())
        streams = tuple(
            Stream(model, version, tuple(json.loads(slices).items()), rows, newest_us / 1e6, bool(answers))
            for model, version, slices, rows, newest_us, answers in found
        )
        return Census(streams, events, size)

    def holdings(self, model: str, *, since: float, until: float) -> tuple[Holding, ...]:
        """What there is of a model in some time, from the index by time. See ``PredictionLog.holdings``."""
        with self._reading() as connection:
            return read_holdings(connection, model, since=since, until=until)

    def oldest(self) -> float | None:
        """The time of the oldest event, from the index by time. See ``PredictionLog.oldest``."""
        with self._reading() as connection:
            return read_oldest(connection)

    def prune(self, *, older_than: float, max_bytes: int) -> int:
        """Drop old events, oldest first, in chunks between which writers go on. See ``PredictionLog.prune``.

        The room goes back to the file system.
        """
        before = microseconds(older_than)
        with _told(self._path):
            with self._transaction() as connection:
                connection.execute("DELETE FROM rejections WHERE second < ?", (before // 1_000_000,))
            dropped = self._drop_older(drop_events, before) + self._drop_to_fit(drop_events, _events_beyond, max_bytes)
            if dropped:
                self._shorten()
        return dropped

    def rows_by_block(self, query: BlockQuery) -> dict[int, int]:
        """Events by block, from the index by time. See ``MomentLog.rows_by_block``."""
        with self._reading() as connection:
            return count_by_block(connection, query)

    def kept_moments(self, key: MomentKey, *, since_block: int, until_block: int) -> KeptMoments:
        """The moments of a range of blocks. See ``MomentLog.kept_moments``."""
        with self._reading() as connection:
            return read_moments(connection, key, since_block=since_block, until_block=until_block)

    def keep_moments(self, key: MomentKey, blocks: NDArray[np.int64], moments: BlockMoments) -> None:
        """Keep moments durably, in chunks between which appends go on. See ``MomentLog.keep_moments``."""
        with _told(self._path):
            numbers, rows = packed(key, blocks, moments)
            for start in range(0, len(numbers), _CHUNK):
                chunk = slice(start, start + _CHUNK)
                with self._transaction() as connection:
                    put_moments(connection, key, numbers[chunk], rows[chunk])
                time.sleep(_PAUSE)

    def prune_moments(self, *, older_than: float, max_bytes: int) -> int:
        """Drop old blocks, oldest first, in chunks like events. See ``MomentLog.prune_moments``."""
        with _told(self._path):
            dropped = self._drop_older(drop_moments, microseconds(older_than))
            dropped += self._drop_to_fit(drop_moments, _blocks_beyond, max_bytes)
            if dropped:
                self._shorten()
        return dropped

    def close(self) -> None:
        """Release the file. Calling it twice is harmless; any other call afterwards raises LogError."""
        with self._lock, _told(self._path):
            writer, self._writer = self._writer, None
            if writer is not None:
                writer.close()

    def _drop_older(self, drop: _Drop, before: int) -> int:
        dropped = 0
        while True:
            chunk = self._drop_oldest(drop, before=before, count=_CHUNK)
            dropped += chunk
            if chunk < _CHUNK:
                return dropped

    def _drop_to_fit(self, drop: _Drop, beyond: _Beyond, max_bytes: int) -> int:
        dropped = 0
        while (too_many := self._too_many(beyond, max_bytes)) > 0:
            chunk = self._drop_oldest(drop, before=_FOREVER, count=min(too_many, _CHUNK))
            dropped += chunk
            if chunk == 0:  # empty, and an empty database has a size too
                break
        return dropped

    def _too_many(self, beyond: _Beyond, max_bytes: int) -> int:
        with self._reading() as connection:
            return beyond(connection, max_bytes)

    def _drop_oldest(self, drop: _Drop, *, before: int, count: int) -> int:
        """One chunk. The lock is free for a moment after each hold, so that a waiting append comes first."""
        with self._transaction() as connection:
            dropped = drop(connection, before=before, count=count)
        time.sleep(_PAUSE)
        if dropped:
            with self._lock:
                # Not execute(): that takes one step of this statement, which is one page.
                self._open().executescript("PRAGMA incremental_vacuum")
            time.sleep(_PAUSE)
        return dropped

    def _shorten(self) -> None:
        """Move the write-ahead file into the database and cut both; a reader may put it off until the next time."""
        with self._lock:
            connection = self._open()
            connection.execute("PRAGMA busy_timeout = 100")
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
            connection.execute(f"PRAGMA busy_timeout = {int(self._patience * 1000)}")

    def _open(self) -> sqlite3.Connection:
        if self._writer is None:
            raise LogError(f"{self._path}: the prediction log is closed")
        return self._writer

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        """The writing connection inside a transaction: committed at the end, or nothing of it is kept."""
        with self._lock:
            connection = self._open()
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
                connection.execute("COMMIT")
                self._refuse_removed()
            finally:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")

    def _refuse_removed(self) -> None:
        """SQLite goes on writing into files that somebody has removed: what it takes then is lost with the process."""
        for file, opened in zip(self._files, self._opened, strict=True):
            if _identity(file) != opened:
                raise LogError(
                    f"{file} was removed or replaced under the running service, so nothing more can be kept;"
                    " put it back and restart the service, or restart it to begin a new log"
                )

    @contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        self._open()
        with _told(self._path), closing(open_reader(self._path, patience=self._patience)) as connection:
            yield connection


@contextmanager
def _told(path: Path, *, wrong: str = "") -> Iterator[None]:
    """Every failure inside becomes a LogError, or LogFull where there is no room, that names the file.

    ``wrong`` begins the sentence about a value that is refused.
    """
    try:
        yield
    except (sqlite3.Error, OSError) as error:
        if _is_full(error, path):
            raise LogFull(
                f"{path}: no room is left for the prediction log ({error}); free some on that file system,"
                " or let the log keep less"
            ) from error
        raise LogError(f"{path}: {error}{_ADVICE.get(_code(error), '')}") from error
    except (TypeError, ValueError, OverflowError) as error:
        raise LogError(f"{path}: {wrong}{error}") from error


def _events_beyond(connection: sqlite3.Connection, max_bytes: int) -> int:
    """The whole database counts: what moments take of it, events do without."""
    size = connection.execute("PRAGMA page_count").fetchone()[0] * PAGE_BYTES
    events = connection.execute("SELECT coalesce(sum(events), 0) FROM streams").fetchone()[0]
    return max(1, events * (size - max_bytes) // size) if size > max_bytes else 0


def _blocks_beyond(connection: sqlite3.Connection, max_bytes: int) -> int:
    blocks, size = moments_held(connection)
    return max(1, blocks * (size - max_bytes) // size) if size > max_bytes else 0


def _identity(file: Path) -> tuple[int, int] | None:
    """What tells a file from any other on this machine; None where there is none."""
    try:
        found = file.stat()
    except FileNotFoundError:
        return None
    return found.st_dev, found.st_ino


def _code(error: sqlite3.Error | OSError) -> int:
    """SQLite's primary result code; that of a failure of unknown kind for any other error."""
    return int(getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR)) & 0xFF


def _is_full(error: sqlite3.Error | OSError, path: Path) -> bool:
    if isinstance(error, OSError):
        return error.errno in (errno.ENOSPC, errno.EDQUOT)
    code = _code(error)
    if code in (sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN):
        # The shared-memory file beside the log has no code of its own for a full disk.
        with suppress(OSError):
            return shutil.disk_usage(path.parent).free < _NO_ROOM_BYTES
    return code == sqlite3.SQLITE_FULL
