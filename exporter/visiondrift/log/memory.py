"""The prediction log in a list: for tests of what stands on a log. Nothing outlives the process."""

import threading
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from visiondrift.errors import LogError
from visiondrift.log import Appended, Census, Stream, Window, WindowQuery, microseconds
from visiondrift.prediction import PredictionEvent, Rejection, Slices, sample_of

_EVENT_BYTES = 512
"""What an event is taken to cost beside its two vectors."""

_StreamKey = tuple[str, str, Slices, str | None, tuple[str, ...]]


class MemoryLog:
    """A ``PredictionLog`` in memory."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._closed = False
        self._streams: dict[_StreamKey, list[PredictionEvent]] = {}
        self._ids: set[tuple[str, str]] = set()
        self._rejections: Counter[tuple[int, str]] = Counter()

    def append(self, events: Sequence[PredictionEvent], rejections: Sequence[Rejection], *, now: float) -> Appended:
        """Keep events until the process ends. See ``PredictionLog.append``."""
        kept = [_as_kept(event) for event in events]
        with self._lock:
            self._refuse_closed()
            new: list[int] = []
            duplicate_rows: list[int] = []
            for row, event in enumerate(kept):
                known = (event.model, event.id) in self._ids
                (duplicate_rows if known else new).append(row)
                self._ids.add((event.model, event.id))
            for row in new:
                self._streams.setdefault(_stream_key(kept[row]), []).append(kept[row])
            self._rejections.update((_second(now), rejection.model) for rejection in rejections)
        return Appended(
            stored=len(new),
            duplicates=len(duplicate_rows),
            stored_by_model=Counter(kept[row].model for row in new),
            duplicates_by_model=Counter(kept[row].model for row in duplicate_rows),
            duplicate_rows=tuple(duplicate_rows),
        )

    def window(self, query: WindowQuery) -> Window:
        """The events of a window. See ``PredictionLog.window``."""
        since, until = microseconds(query.since), microseconds(query.until)
        with self._lock:
            self._refuse_closed()
            matching = [
                event
                for key, members in self._streams.items()
                if _matches(key, query)
                for event in sorted(members, key=_age)
                if since <= microseconds(event.time) < until
            ]
            rejected = sum(
                count
                for (second, model), count in self._rejections.items()
                if model == query.model and since <= second * 1_000_000 < until
            )
        sample = sample_of(_evenly(matching, query.limit), classes=query.classes, dimension=query.dimension)
        return Window(sample=sample, total=len(matching), rejected=rejected)

    def census(self) -> Census:
        """What the log holds; ``size_bytes`` is an estimate."""
        with self._lock:
            self._refuse_closed()
            rows: Counter[tuple[str, str, Slices]] = Counter()
            newest: dict[tuple[str, str, Slices], float] = {}
            for (model, version, slices, *_), members in self._streams.items():
                name = (model, version, slices)
                rows[name] += len(members)
                newest[name] = max(newest.get(name, -np.inf), *(event.time for event in members))
            size = sum(_bytes(event) for members in self._streams.values() for event in members)
        return Census(tuple(Stream(*name, rows[name], newest[name]) for name in rows), rows.total(), size)

    def prune(self, *, older_than: float, max_bytes: int) -> int:
        """Drop old events, oldest first. See ``PredictionLog.prune``."""
        with self._lock:
            self._refuse_closed()
            events = sorted((event for members in self._streams.values() for event in members), key=_age)
            size = sum(_bytes(event) for event in events)
            dropped = 0
            while dropped < len(events) and (
                microseconds(events[dropped].time) < microseconds(older_than) or size > max_bytes
            ):
                size -= _bytes(events[dropped])
                dropped += 1
            self._forget(events[:dropped])
            for key in [key for key in self._rejections if key[0] < _second(older_than)]:
                del self._rejections[key]
        return dropped

    def close(self) -> None:
        """Let the events go. Calling it twice is harmless; any other call afterwards raises LogError."""
        with self._lock:
            self._closed = True
            self._streams.clear()

    def _forget(self, events: Sequence[PredictionEvent]) -> None:
        gone = {(event.model, event.id) for event in events}
        self._ids -= gone
        left = {
            key: [event for event in members if (event.model, event.id) not in gone]
            for key, members in self._streams.items()
        }
        self._streams = {key: members for key, members in left.items() if members}

    def _refuse_closed(self) -> None:
        if self._closed:
            raise LogError("the prediction log is closed")


def _as_kept(event: PredictionEvent) -> PredictionEvent:
    try:
        return replace(event, time=microseconds(event.time) / 1e6, slices=tuple(sorted(event.slices)))
    except ValueError as error:
        raise LogError(f"an event cannot be stored: {error}") from error


def _second(time: float) -> int:
    return microseconds(time) // 1_000_000


def _age(event: PredictionEvent) -> tuple[float, str]:
    return event.time, event.id


def _bytes(event: PredictionEvent) -> int:
    return _EVENT_BYTES + sum(vector.nbytes for vector in (event.embedding, event.confidences) if vector is not None)


def _stream_key(event: PredictionEvent) -> _StreamKey:
    embedder = None if event.embedding is None else event.embedder
    return event.model, event.version, event.slices, embedder, event.classes


def _matches(key: _StreamKey, query: WindowQuery) -> bool:
    model, version, slices, embedder, _ = key
    return (
        (model, version) == (query.model, query.version)
        and embedder in (None, query.embedder)
        and (query.slice is None or query.slice in slices)
    )


def _evenly(events: Sequence[PredictionEvent], limit: int) -> list[PredictionEvent]:
    """At most ``limit`` of the events: those at which place * limit / total passes a whole number."""
    total = len(events)
    if total <= limit:
        return list(events)
    return [event for place, event in enumerate(events) if (place + 1) * limit // total > place * limit // total]
