"""How the log lies in its SQLite file: tables, connection settings, and the steps from one version to the next.

``PRAGMA user_version`` is the number of steps that a file has been through. A step, once released, never changes:
another layout is another step.
"""

import sqlite3
from pathlib import Path

from visiondrift.errors import LogError

APPLICATION_ID = 0x56444C47
"""``VDLG`` in the header of the file: it tells a prediction log from any other SQLite database."""

PAGE_BYTES = 32768
"""Fixed when a file is made. A row of a WITHOUT ROWID table stays in one piece up to a quarter of a page, so this
holds embeddings of up to 1,800 columns; with pages of 16 KiB, 1,024 columns would already cost 18 KiB per event."""

CHECKPOINT_PAGES = 512
"""Pages in the write-ahead file (16 MiB) after which SQLite moves them into the database."""

Steps = tuple[tuple[str, ...], ...]

STEPS: Steps = (
    (
        # A stream is what its events share. Its rows are counted here, in the transaction that changes them, so that
        # a census reads no events. embedder: NULL where the events have no embedding; newest_us: microseconds.
        """CREATE TABLE streams (
            id INTEGER PRIMARY KEY,
            model TEXT NOT NULL,
            version TEXT NOT NULL,
            slices TEXT NOT NULL,
            embedder TEXT,
            classes TEXT NOT NULL,
            events INTEGER NOT NULL DEFAULT 0,
            newest_us INTEGER NOT NULL DEFAULT 0
        )""",
        "CREATE INDEX streams_by_name ON streams (model, version, slices)",
        # The key is the order on disk: a window of one stream is one range. Vectors are little-endian float32.
        """CREATE TABLE predictions (
            stream INTEGER NOT NULL,
            time_us INTEGER NOT NULL,
            id TEXT NOT NULL,
            predicted_class TEXT,
            latency_ms REAL,
            image_uri TEXT,
            trace_id TEXT,
            metadata TEXT,
            confidences BLOB,
            embedding BLOB,
            PRIMARY KEY (stream, time_us, id)
        ) WITHOUT ROWID""",
        # The same key without the vectors: counting a window, and choosing rows of it, need not read megabytes.
        "CREATE INDEX predictions_by_time ON predictions (stream, time_us)",
        "CREATE TABLE ids (model TEXT NOT NULL, id TEXT NOT NULL, PRIMARY KEY (model, id)) WITHOUT ROWID",
        """CREATE TABLE rejections (
            second INTEGER NOT NULL,
            model TEXT NOT NULL,
            count INTEGER NOT NULL,
            PRIMARY KEY (second, model)
        ) WITHOUT ROWID""",
    ),
    (
        # A series is what its blocks share; they are counted here as events are in streams. seconds: of each block.
        """CREATE TABLE moment_series (
            id INTEGER PRIMARY KEY,
            basis TEXT NOT NULL,
            model TEXT NOT NULL,
            version TEXT NOT NULL,
            slice TEXT NOT NULL,
            seconds REAL NOT NULL,
            dimension INTEGER NOT NULL,
            blocks INTEGER NOT NULL DEFAULT 0
        )""",
        "CREATE UNIQUE INDEX moment_series_by_name ON moment_series (basis, model, version, slice, seconds)",
        # numbers: 2 dimension + 1 little-endian float32. A table with row ids, because in one without, a row of 1,024
        # dimensions would pass a quarter of a page and take a page of its own. end_us: microseconds.
        """CREATE TABLE moments (
            id INTEGER PRIMARY KEY,
            series INTEGER NOT NULL,
            block INTEGER NOT NULL,
            end_us INTEGER NOT NULL,
            numbers BLOB NOT NULL
        )""",
        "CREATE UNIQUE INDEX moments_by_block ON moments (series, block)",
        "CREATE INDEX moments_by_end ON moments (end_us, series)",
    ),
    (
        # What was measured of the image: its properties, then its layout, little-endian float32.
        "ALTER TABLE predictions ADD COLUMN image_stats BLOB",
        # Why an event was kept where that was for what it shows, "" where chance or the clock chose it: events chosen
        # by content say nothing of how much content there is, so they are a stream of their own.
        "ALTER TABLE streams ADD COLUMN kept TEXT NOT NULL DEFAULT ''",
    ),
    (
        # All reasons for which the event was kept, those of chance and the clock too; NULL where all was sent, and in
        # rows from before, of which the stream's is known alone. Whether a window reads an event, the stream says.
        "ALTER TABLE predictions ADD COLUMN kept TEXT",
    ),
)


def open_writer(path: Path, *, max_bytes: int | None, patience: float) -> sqlite3.Connection:
    """A connection that commits durably, for one thread at a time; the file is made or brought up to date first.

    ``patience`` is how long to wait, in seconds, for another process that writes. Raises LogError where the file is
    of a newer version or not a prediction log; sqlite3.Error and OSError where it cannot be opened.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    connection = sqlite3.connect(path, timeout=patience, isolation_level=None, check_same_thread=False)
    try:
        # These two hold only before the first table, and before WAL.
        connection.execute(f"PRAGMA page_size = {PAGE_BYTES}")
        connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
        _refuse_foreign(connection, path)
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute(f"PRAGMA wal_autocheckpoint = {CHECKPOINT_PAGES}")
        connection.execute(f"PRAGMA journal_size_limit = {CHECKPOINT_PAGES * PAGE_BYTES}")
        connection.execute("PRAGMA cache_size = -65536")
        if max_bytes is not None:
            connection.execute(f"PRAGMA max_page_count = {max(1, max_bytes // PAGE_BYTES)}")
        migrate(connection, STEPS, path=path)
    except BaseException:
        connection.close()
        raise
    return connection


def open_reader(path: Path, *, patience: float) -> sqlite3.Connection:
    """A connection that can only read. Raises sqlite3.Error."""
    uri = f"{path.absolute().as_uri()}?mode=ro"
    return sqlite3.connect(uri, uri=True, timeout=patience, isolation_level=None, check_same_thread=False)


def migrate(connection: sqlite3.Connection, steps: Steps, *, path: Path) -> None:
    """Bring a database to the version ``len(steps)``: all missing steps in one transaction, or none.

    Raises LogError where the file is of a newer version; sqlite3.Error where a step fails.
    """
    if _pragma(connection, "user_version") == len(steps):
        return
    connection.execute("BEGIN IMMEDIATE")
    try:
        present = _pragma(connection, "user_version")  # read again: another process may have been faster
        if present > len(steps):
            raise LogError(
                f"{path}: a prediction log of version {present}, but this program knows versions up to {len(steps)}; "
                "start the newer program that wrote it, or give another path"
            )
        for step in steps[present:]:
            for statement in step:
                connection.execute(statement)
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute(f"PRAGMA user_version = {len(steps)}")
        connection.execute("COMMIT")
    finally:
        if connection.in_transaction:
            connection.execute("ROLLBACK")


def _refuse_foreign(connection: sqlite3.Connection, path: Path) -> None:
    tables = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
    if tables and _pragma(connection, "application_id") != APPLICATION_ID:
        raise LogError(f"{path}: an SQLite database of another program, not a prediction log; give another path")


def _pragma(connection: sqlite3.Connection, name: str) -> int:
    return int(connection.execute(f"PRAGMA {name}").fetchone()[0])
