"""How a window becomes columns: which rows of which streams are read, and how their bytes become matrices.

A window is taken from its streams laid end to end, each in the order of its key. Where it has more rows than asked
for, every k-th row of that line is taken: evenly over each stream's time, and from each stream in proportion.
"""

import json
import sqlite3
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from visiondrift.log import Holding, Window, WindowQuery, microseconds
from visiondrift.prediction import ImageStats, Sample

_COLUMNS = "p.time_us, p.id, p.predicted_class, p.latency_ms, p.confidences, p.embedding, p.image_stats, p.kept"

_COUNT = """SELECT count(*) FROM predictions INDEXED BY predictions_by_time
    WHERE stream = ? AND time_us >= ? AND time_us < ?"""

_OLDEST = "SELECT min(time_us) FROM predictions INDEXED BY predictions_by_time WHERE stream = ?"

_ALL = f"""SELECT {_COLUMNS} FROM predictions p
    WHERE p.stream = ? AND p.time_us >= ? AND p.time_us < ? ORDER BY p.time_us, p.id"""  # noqa: S608

# The number of the row on the line of all streams is place; it is taken where place * limit / total passes a whole
# number. CROSS JOIN keeps SQLite to this order: choose by the narrow index, then fetch the chosen rows by key.
_EVENLY = f"""WITH line AS (
        SELECT time_us, id, row_number() OVER (ORDER BY time_us, id) - 1 + :before AS place
        FROM predictions INDEXED BY predictions_by_time
        WHERE stream = :stream AND time_us >= :since AND time_us < :until)
    SELECT {_COLUMNS} FROM line CROSS JOIN predictions p
    ON p.stream = :stream AND p.time_us = line.time_us AND p.id = line.id
    WHERE (line.place + 1) * :limit / :total > line.place * :limit / :total
    ORDER BY p.time_us, p.id"""  # noqa: S608

_REJECTED = "SELECT coalesce(sum(count), 0) FROM rejections WHERE model = ? AND second >= ? AND second < ?"


@dataclass(frozen=True)
class _Stream:
    """A stream that a query touches, and how many of its events lie in the window."""

    id: int
    slices: dict[str, str]
    classes: tuple[str, ...]
    bias: str
    rows: int


@dataclass(frozen=True, eq=False)
class _Part:
    """What was read of one stream: n rows, by column, and their three matrices."""

    slices: dict[str, str]
    bias: str
    columns: tuple[tuple[Any, ...], ...]
    embeddings: NDArray[np.float32]
    confidences: NDArray[np.float32]
    image_stats: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.columns[0])


def read_window(connection: sqlite3.Connection, query: WindowQuery) -> Window:
    """The window of ``query``, as of one moment. Raises sqlite3.Error."""
    connection.execute("BEGIN")  # count and rows must be of one snapshot
    streams = _streams(connection, query)
    total = sum(stream.rows for stream in streams)
    parts, before = [], 0
    for stream in streams:
        parts.append(_part(stream, _rows(connection, query, stream, before=before, total=total), query))
        before += stream.rows
    rejected = connection.execute(_REJECTED, (query.model, *_seconds(query))).fetchone()[0]
    connection.execute("COMMIT")
    return Window(sample=_joined([part for part in parts if len(part)], query), total=total, rejected=rejected)


def read_holdings(connection: sqlite3.Connection, model: str, *, since: float, until: float) -> tuple[Holding, ...]:
    """Events with an embedding by what they share, as of one moment. Raises sqlite3.Error."""
    span = microseconds(since), microseconds(until)
    found: Counter[tuple[str, str, str, bool]] = Counter()
    connection.execute("BEGIN")  # all streams must be of one snapshot
    streams = connection.execute(
        "SELECT id, version, slices, embedder, kept != '' FROM streams WHERE model = ? AND embedder IS NOT NULL"
        " ORDER BY id",
        (model,),
    ).fetchall()
    for stream, version, slices, embedder, biased in streams:
        found[version, slices, embedder, bool(biased)] += connection.execute(_COUNT, (stream, *span)).fetchone()[0]
    connection.execute("COMMIT")
    return tuple(
        Holding(version, tuple(json.loads(slices).items()), embedder, biased, rows)
        for (version, slices, embedder, biased), rows in found.items()
        if rows
    )


def read_oldest(connection: sqlite3.Connection) -> float | None:
    """The time of the oldest event, None where there is none. Raises sqlite3.Error."""
    connection.execute("BEGIN")
    streams = connection.execute("SELECT id FROM streams WHERE events > 0").fetchall()
    times = [connection.execute(_OLDEST, stream).fetchone()[0] for stream in streams]
    connection.execute("COMMIT")
    return min(times) / 1e6 if times else None


def _seconds(query: WindowQuery) -> tuple[int, int]:
    """The seconds whose beginning lies in the window: rejections are counted by second."""
    since, until = _span(query)
    return -(-since // 1_000_000), -(-until // 1_000_000)


def _span(query: WindowQuery) -> tuple[int, int]:
    return microseconds(query.since), microseconds(query.until)


def _streams(connection: sqlite3.Connection, query: WindowQuery) -> list[_Stream]:
    found = connection.execute(
        "SELECT id, slices, classes, kept FROM streams WHERE model = ? AND version = ?"
        " AND (embedder IS NULL OR embedder = ?) AND (kept = '' OR ?) ORDER BY id",
        (query.model, query.version, query.embedder, query.biased),
    ).fetchall()
    streams = []
    for stream_id, slices_json, classes_json, bias in found:
        slices = json.loads(slices_json)
        if query.slice is not None and slices.get(query.slice[0]) != query.slice[1]:
            continue
        rows = connection.execute(_COUNT, (stream_id, *_span(query))).fetchone()[0]
        streams.append(_Stream(stream_id, slices, tuple(json.loads(classes_json)), bias, rows))
    return streams


def _rows(
    connection: sqlite3.Connection, query: WindowQuery, stream: _Stream, *, before: int, total: int
) -> list[tuple[Any, ...]]:
    since, until = _span(query)
    if total <= query.limit:
        return connection.execute(_ALL, (stream.id, since, until)).fetchall()
    values = {"stream": stream.id, "since": since, "until": until, "before": before}
    return connection.execute(_EVENLY, {**values, "limit": query.limit, "total": total}).fetchall()


def _part(stream: _Stream, rows: list[tuple[Any, ...]], query: WindowQuery) -> _Part:
    columns = tuple(zip(*rows, strict=True)) or ((),) * 8
    vectors = _matrix(columns[4], len(stream.classes))
    confidences = np.full((len(rows), len(query.classes)), np.nan, dtype=np.float32)
    column_of = {name: index for index, name in enumerate(query.classes)}
    known = [index for index, name in enumerate(stream.classes) if name in column_of]
    confidences[:, [column_of[stream.classes[index]] for index in known]] = vectors[:, known]
    stats = _matrix(columns[6], ImageStats.LENGTH)
    return _Part(stream.slices, stream.bias, columns, _matrix(columns[5], query.dimension), confidences, stats)


def _matrix(blobs: Sequence[bytes | None], width: int) -> NDArray[np.float32]:
    """(n, width) float32; NaN where there is no vector, or one of another length."""
    size = 4 * width
    missing = np.full(width, np.nan, dtype="<f4").tobytes()
    joined = b"".join(blob if blob is not None and len(blob) == size else missing for blob in blobs)
    return np.frombuffer(joined, dtype="<f4").reshape(len(blobs), width).astype(np.float32, copy=False)


def _joined(parts: list[_Part], query: WindowQuery) -> Sample:
    """The parts end to end, sorted by time."""
    columns = [[value for part in parts for value in part.columns[index]] for index in range(4)]
    time_us, ids, predicted, latency = columns
    column_of: dict[str | None, int] = {name: index for index, name in enumerate(query.classes)}
    labels = sorted({label for part in parts for label in part.slices})
    stats = _stacked([part.image_stats for part in parts], ImageStats.LENGTH)
    properties, layouts = ImageStats.parted(stats)
    sample = Sample(
        times=np.array(time_us, dtype=np.int64) / 1e6,
        ids=np.array(ids, dtype=object),
        slices={label: _labelled(parts, label) for label in labels},
        classes=query.classes,
        embeddings=_stacked([part.embeddings for part in parts], query.dimension),
        confidences=_stacked([part.confidences for part in parts], len(query.classes)),
        predicted=np.array([column_of.get(name, -1) for name in predicted], dtype=np.int32),
        latency_ms=np.array(latency, dtype=np.float64),
        properties=properties,
        layouts=layouts,
        kept=_kept(parts) if query.biased else None,
    )
    return sample.take(np.argsort(sample.times, kind="stable"))


def _labelled(parts: list[_Part], label: str) -> NDArray[np.object_]:
    return np.concatenate([np.full(len(part), part.slices.get(label, ""), dtype=object) for part in parts])


def _kept(parts: list[_Part]) -> NDArray[np.object_] | None:
    """Why each event was kept; of those that came before that was kept in their rows, what their stream says."""
    found = [reasons or part.bias for part in parts for reasons in part.columns[7]]
    return np.array(found, dtype=object) if any(found) else None


def _stacked(blocks: list[NDArray[np.float32]], width: int) -> NDArray[np.float32]:
    return np.concatenate(blocks) if blocks else np.empty((0, width), dtype=np.float32)
