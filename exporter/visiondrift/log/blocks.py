"""How blocks lie in the file: events counted by block from the index alone, and moments as one row a block.

A row stays where it was first put, so that rows lie in the order of time: old ones free whole pages when they go.
"""

import json
import sqlite3
from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from visiondrift.log import microseconds
from visiondrift.log.moments import BlockQuery, KeptMoments, MomentKey, kept_bytes, refuse_other_dimension, unpacked

_STREAMS = "SELECT id, slices FROM streams WHERE model = ? AND version = ? AND embedder = ? AND kept = ''"

# floor(time / seconds) in the arithmetic of numpy, so that an event is in the same block here and where its window is
# cut into blocks. CAST cuts towards zero, floor() is not in every SQLite.
_COUNT = """SELECT CAST(time_us / 1e6 / :seconds AS INTEGER)
        - (time_us / 1e6 / :seconds < CAST(time_us / 1e6 / :seconds AS INTEGER)) AS block, count(*)
    FROM predictions INDEXED BY predictions_by_time
    WHERE stream = :stream AND time_us >= :since AND time_us < :until GROUP BY block"""

_FIND_SERIES = """SELECT id, dimension FROM moment_series
    WHERE basis = ? AND model = ? AND version = ? AND slice = ? AND seconds = ?"""

_ADD_SERIES = """INSERT INTO moment_series (basis, model, version, slice, seconds, dimension) VALUES (?, ?, ?, ?, ?, ?)
    RETURNING id"""

_READ = """SELECT block, numbers FROM moments INDEXED BY moments_by_block
    WHERE series = ? AND block >= ? AND block < ? ORDER BY block"""

_ADD = "INSERT INTO moments (series, block, end_us, numbers) VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING"

_REPLACE = "UPDATE moments SET numbers = ? WHERE series = ? AND block = ?"

_OLDEST = """SELECT id, series FROM moments INDEXED BY moments_by_end
    WHERE end_us <= ? ORDER BY end_us LIMIT ?"""


def count_by_block(connection: sqlite3.Connection, query: BlockQuery) -> dict[int, int]:
    """Events by block, as of one moment. Raises sqlite3.Error."""
    span = {"since": microseconds(query.since), "until": microseconds(query.until), "seconds": float(query.seconds)}
    found: Counter[int] = Counter()
    connection.execute("BEGIN")  # all streams must be of one snapshot
    streams = connection.execute(_STREAMS, (query.model, query.version, query.embedder)).fetchall()
    for stream, slices in streams:
        if query.slice is None or json.loads(slices).get(query.slice[0]) == query.slice[1]:
            found.update(dict(connection.execute(_COUNT, {**span, "stream": stream}).fetchall()))
    connection.execute("COMMIT")
    return dict(found)


def read_moments(connection: sqlite3.Connection, key: MomentKey, *, since_block: int, until_block: int) -> KeptMoments:
    """The moments of a range of blocks. Raises sqlite3.Error; ValueError where they are of another dimension."""
    connection.execute("BEGIN")
    series = _series(connection, key)
    found = [] if series is None else connection.execute(_READ, (series, since_block, until_block)).fetchall()
    connection.execute("COMMIT")
    return unpacked(key, [block for block, _ in found], [numbers for _, numbers in found])


def put_moments(
    connection: sqlite3.Connection, key: MomentKey, blocks: Sequence[int], rows: NDArray[np.float32]
) -> None:
    """Put in or replace the ``rows`` of ``blocks``, as ``packed`` gave them. Needs an open transaction."""
    series = _series(connection, key)
    if series is None:
        series = int(connection.execute(_ADD_SERIES, (*_name(key), key.dimension)).fetchone()[0])
    new = 0
    for block, row in zip(blocks, rows, strict=True):
        numbers = row.tobytes()
        added = connection.execute(_ADD, (series, block, key.end_us(block), numbers)).rowcount
        if not added:
            connection.execute(_REPLACE, (numbers, series, block))
        new += added
    connection.execute("UPDATE moment_series SET blocks = blocks + ? WHERE id = ?", (new, series))


def drop_moments(connection: sqlite3.Connection, *, before: int, count: int) -> int:
    """Take off the ``count`` oldest blocks of all series, of those that end by ``before`` in microseconds.

    A series goes with its last block. Returns how many blocks they were. Needs an open transaction.
    """
    found = connection.execute(_OLDEST, (before, count)).fetchall()
    connection.executemany("DELETE FROM moments WHERE id = ?", [(row,) for row, _ in found])
    for series, gone in Counter(series for _, series in found).items():
        connection.execute("UPDATE moment_series SET blocks = blocks - ? WHERE id = ?", (gone, series))
        connection.execute("DELETE FROM moment_series WHERE id = ? AND blocks = 0", (series,))
    return len(found)


def moments_held(connection: sqlite3.Connection) -> tuple[int, int]:
    """How many blocks are kept, and about how many bytes they take; from counters kept with the rows."""
    found = connection.execute("SELECT dimension, sum(blocks) FROM moment_series GROUP BY dimension").fetchall()
    return sum(blocks for _, blocks in found), sum(kept_bytes(dimension) * blocks for dimension, blocks in found)


def _series(connection: sqlite3.Connection, key: MomentKey) -> int | None:
    """The id of a series, None where nothing of it is kept. Raises ValueError where that has another dimension."""
    found = connection.execute(_FIND_SERIES, _name(key)).fetchone()
    if found is None:
        return None
    refuse_other_dimension(key, found[1])
    return int(found[0])


def _name(key: MomentKey) -> tuple[str, str, str, str, float]:
    return key.basis, key.model, key.version, key.slice, float(key.seconds)
