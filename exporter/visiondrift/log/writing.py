"""What a transaction changes: rows, their ids, and the counters of their streams, put in and taken off together."""

import json
import sqlite3
from collections import Counter
from collections.abc import Iterator, Sequence
from heapq import merge
from itertools import islice
from typing import Any

import numpy as np
from numpy.typing import NDArray

from visiondrift.log import Appended, microseconds
from visiondrift.prediction import PredictionEvent, Rejection, Slices, bias_of, joined_reasons

StreamKey = tuple[str, str, Slices, str | None, tuple[str, ...], str]
"""What a stream's events share: model, version, slices, embedder (None where there is no embedding), classes, bias."""

Row = tuple[Any, ...]
"""An event's columns in the order of the table, without the stream."""

Key = tuple[int, int, str]
"""Where an event lies: stream, microseconds, id."""

_FIND_STREAM = """SELECT id FROM streams
    WHERE model = ? AND version = ? AND slices = ? AND embedder IS ? AND classes = ?
    AND kept = ?"""

_ADD_STREAM = """INSERT INTO streams (model, version, slices, embedder, classes, kept) VALUES (?, ?, ?, ?, ?, ?)
    RETURNING id"""

_ADD_ROW = """INSERT INTO predictions (stream, time_us, id, predicted_class, latency_ms, image_uri, trace_id, metadata,
    confidences, embedding, image_stats, kept) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"""

_COUNT_ROWS = """UPDATE streams SET events = events + :events,
    newest_us = CASE WHEN events = 0 THEN :newest ELSE max(newest_us, :newest) END WHERE id = :id"""

_STREAMS_OF = """SELECT id, embedder, classes, kept FROM streams WHERE model = ? AND version = ? AND slices = ?"""

_KEPT_OF = "SELECT kept FROM predictions WHERE stream = ? AND time_us = ? AND id = ?"

_SET_KEPT = "UPDATE predictions SET kept = :kept, stream = :to WHERE stream = :stream AND time_us = :time AND id = :id"

_OLDEST_OF_STREAM = """SELECT time_us, id, stream FROM predictions INDEXED BY predictions_by_time
    WHERE stream = ? AND time_us < ? ORDER BY time_us, id"""


def row_of(event: PredictionEvent) -> Row:
    """The columns of an event. Raises TypeError, ValueError or OverflowError where a value cannot be stored."""
    return (
        microseconds(event.time),
        event.id,
        event.predicted_class,
        event.latency_ms,
        event.image_uri,
        event.trace_id,
        json.dumps(dict(event.metadata)) if event.metadata else None,
        _blob(event.confidences),
        _blob(event.embedding),
        None if event.image_stats is None else _blob(event.image_stats.joined),
        event.kept or None,
    )


def store(connection: sqlite3.Connection, events: Sequence[PredictionEvent], rows: Sequence[Row]) -> Appended:
    """Put in the events whose (model, id) is new, and add the reasons of the others to those that they were kept for.

    ``rows`` are their columns. Needs an open transaction.
    """
    new: list[int] = []
    duplicate_rows: list[int] = []
    for position, event in enumerate(events):
        added = connection.execute(
            "INSERT INTO ids (model, id) VALUES (?, ?) ON CONFLICT DO NOTHING", (event.model, event.id)
        ).rowcount
        (new if added else duplicate_rows).append(position)
    by_stream: dict[StreamKey, list[Row]] = {}
    for position in new:
        by_stream.setdefault(_stream_key(events[position]), []).append(rows[position])
    for stream, members in by_stream.items():
        _add_rows(connection, _stream_id(connection, stream), members)
    for position in duplicate_rows:
        if events[position].kept:
            _join_reasons(connection, events[position])
    return Appended(
        stored=len(new),
        duplicates=len(duplicate_rows),
        stored_by_model=Counter(events[position].model for position in new),
        duplicates_by_model=Counter(events[position].model for position in duplicate_rows),
        duplicate_rows=tuple(duplicate_rows),
    )


def count_rejections(connection: sqlite3.Connection, rejections: Sequence[Rejection], *, now: float) -> None:
    """Count refused events by model and second."""
    second = microseconds(now) // 1_000_000
    counts = Counter(rejection.model for rejection in rejections)
    connection.executemany(
        "INSERT INTO rejections (second, model, count) VALUES (?, ?, ?)"
        " ON CONFLICT DO UPDATE SET count = count + excluded.count",
        [(second, model, count) for model, count in counts.items()],
    )


def drop_events(connection: sqlite3.Connection, *, before: int, count: int) -> int:
    """Take off the ``count`` oldest events of all streams, of those before a time in microseconds.

    Their ids and counts go too, and a stream with its last event. Returns how many they were. Needs an open
    transaction.
    """
    events = _oldest(connection, before=before, count=count)
    model_of = dict(connection.execute("SELECT id, model FROM streams").fetchall())
    connection.executemany("DELETE FROM predictions WHERE stream = ? AND time_us = ? AND id = ?", events)
    connection.executemany(
        "DELETE FROM ids WHERE model = ? AND id = ?", [(model_of[stream], event_id) for stream, _, event_id in events]
    )
    for stream, gone in Counter(stream for stream, _, _ in events).items():
        _count_off(connection, stream, gone)
    return len(events)


def _oldest(connection: sqlite3.Connection, *, before: int, count: int) -> list[Key]:
    """Where the ``count`` oldest events of all streams lie, of those before a time in microseconds."""

    def one_stream(stream_id: int) -> Iterator[tuple[int, str, int]]:
        # Read only as far as the merge needs it.
        yield from connection.execute(_OLDEST_OF_STREAM, (stream_id, before))

    streams = connection.execute("SELECT id FROM streams").fetchall()
    in_order = merge(*(one_stream(stream_id) for (stream_id,) in streams))
    return [(stream, time_us, event_id) for time_us, event_id, stream in islice(in_order, count)]


def _blob(vector: NDArray[np.float32] | None) -> bytes | None:
    return None if vector is None else np.asarray(vector, dtype="<f4").tobytes()


def _stream_key(event: PredictionEvent) -> StreamKey:
    embedder = None if event.embedding is None else event.embedder
    return event.model, event.version, event.slices, embedder, event.classes, bias_of(event.kept)


def _slices_text(slices: Slices) -> str:
    return json.dumps(dict(slices), sort_keys=True)


def _stream_id(connection: sqlite3.Connection, stream: StreamKey) -> int:
    model, version, slices, embedder, classes, kept = stream
    return _stream_of(connection, (model, version, _slices_text(slices), embedder, json.dumps(classes), kept))


def _stream_of(connection: sqlite3.Connection, values: tuple[str, str, str, str | None, str, str]) -> int:
    """The stream of these columns; made where there is none."""
    found = connection.execute(_FIND_STREAM, values).fetchone()
    if found is None:
        found = connection.execute(_ADD_STREAM, values).fetchone()
    return int(found[0])


def _join_reasons(connection: sqlite3.Connection, again: PredictionEvent) -> None:
    """Add what an event that came ``again`` is kept for to what it was kept for before, if that was anything.

    Its first reason may be another now, or its bias gone: then its row goes into the stream of the others like it.
    """
    time_us = microseconds(again.time)
    slices = _slices_text(again.slices)
    for stream, embedder, classes, bias in connection.execute(
        _STREAMS_OF, (again.model, again.version, slices)
    ).fetchall():
        found = connection.execute(_KEPT_OF, (stream, time_us, again.id)).fetchone()
        if found is None:
            continue
        before = found[0] or bias  # rows of older files do not say it themselves
        kept = joined_reasons(before, again.kept)
        if kept != before:
            values = (again.model, again.version, slices, embedder, classes, bias_of(kept))
            to = stream if bias_of(kept) == bias else _stream_of(connection, values)
            connection.execute(_SET_KEPT, {"kept": kept, "to": to, "stream": stream, "time": time_us, "id": again.id})
            if to != stream:
                connection.execute(_COUNT_ROWS, {"events": 1, "newest": time_us, "id": to})
                _count_off(connection, stream, 1)
        return


def _count_off(connection: sqlite3.Connection, stream: int, gone: int) -> None:
    """Take ``gone`` events off the count of a stream; it goes with its last one."""
    connection.execute("UPDATE streams SET events = events - ? WHERE id = ?", (gone, stream))
    connection.execute("DELETE FROM streams WHERE id = ? AND events = 0", (stream,))


def _add_rows(connection: sqlite3.Connection, stream_id: int, rows: Sequence[Row]) -> None:
    connection.executemany(_ADD_ROW, [(stream_id, *row) for row in rows])
    newest = max(row[0] for row in rows)
    connection.execute(_COUNT_ROWS, {"events": len(rows), "newest": newest, "id": stream_id})
