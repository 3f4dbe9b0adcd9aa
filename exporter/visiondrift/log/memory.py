"""The prediction log in a list, moments in a dict: for replays, and for tests of what stands on a log."""

import math
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from visiondrift.drift.embedding.moments import BlockMoments
from visiondrift.drift.thinning import evenly
from visiondrift.errors import LogError
from visiondrift.log import Appended, Census, Holding, Stream, Window, WindowQuery, microseconds
from visiondrift.log.moments import (
    BlockQuery,
    KeptMoments,
    MomentKey,
    kept_bytes,
    packed,
    refuse_other_dimension,
    unpacked,
)
from visiondrift.prediction import PredictionEvent, Rejection, Slices, bias_of, joined_reasons, sample_of

_EVENT_BYTES = 512
"""What an event is taken to cost beside its two vectors."""

_StreamKey = tuple[str, str, Slices, str | None, tuple[str, ...], str]


class MemoryLog:
    """A ``PredictionLog`` and a ``MomentLog`` in memory."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._closed = False
        self._streams: dict[_StreamKey, list[PredictionEvent]] = {}
        self._ids: set[tuple[str, str]] = set()
        self._rejections: Counter[tuple[int, str]] = Counter()
        self._moments: dict[MomentKey, dict[int, bytes]] = {}

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
            for row in duplicate_rows:
                self._join_reasons(kept[row])
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
        sample = sample_of(
            [matching[row] for row in evenly(len(matching), query.limit)],
            classes=query.classes,
            dimension=query.dimension,
        )
        return Window(sample if query.biased else sample.unbiased(), total=len(matching), rejected=rejected)

    def census(self) -> Census:
        """What the log holds; ``size_bytes`` is an estimate."""
        with self._lock:
            self._refuse_closed()
            rows: Counter[tuple[str, str, Slices]] = Counter()
            newest: dict[tuple[str, str, Slices], float] = {}
            answers: set[tuple[str, str, Slices]] = set()
            for (model, version, slices, _, classes, bias), members in self._streams.items():
                if bias:
                    continue
                name = (model, version, slices)
                answers |= {name} if classes else set()
                rows[name] += len(members)
                newest[name] = max(newest.get(name, -np.inf), *(event.time for event in members))
            size = sum(_bytes(event) for members in self._streams.values() for event in members)
            size += self._moment_bytes()
            events = sum(map(len, self._streams.values()))
        return Census(tuple(Stream(*name, rows[name], newest[name], name in answers) for name in rows), events, size)

    def holdings(self, model: str, *, since: float, until: float) -> tuple[Holding, ...]:
        """What there is of a model in some time. See ``PredictionLog.holdings``."""
        first, last = microseconds(since), microseconds(until)
        found: Counter[tuple[str, Slices, str, bool]] = Counter()
        with self._lock:
            self._refuse_closed()
            for (of_model, version, slices, embedder, _, bias), members in self._streams.items():
                if of_model == model and embedder is not None:
                    rows = sum(first <= microseconds(event.time) < last for event in members)
                    found[version, slices, embedder, bool(bias)] += rows
        return tuple(Holding(*shared, rows) for shared, rows in found.items() if rows)

    def oldest(self) -> float | None:
        """The time of the oldest event. See ``PredictionLog.oldest``."""
        with self._lock:
            self._refuse_closed()
            return min((event.time for members in self._streams.values() for event in members), default=None)

    def prune(self, *, older_than: float, max_bytes: int) -> int:
        """Drop old events, oldest first. See ``PredictionLog.prune``."""
        with self._lock:
            self._refuse_closed()
            events = sorted((event for members in self._streams.values() for event in members), key=_age)
            size = sum(_bytes(event) for event in events) + self._moment_bytes()
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

    def rows_by_block(self, query: BlockQuery) -> dict[int, int]:
        """Events by block. See ``MomentLog.rows_by_block``."""
        since, until = microseconds(query.since), microseconds(query.until)
        with self._lock:
            self._refuse_closed()
            return dict(
                Counter(
                    math.floor(event.time / query.seconds)
                    for (model, version, slices, embedder, _, bias), members in self._streams.items()
                    if (model, version, embedder, bias) == (query.model, query.version, query.embedder, "")
                    and (query.slice is None or query.slice in slices)
                    for event in members
                    if since <= microseconds(event.time) < until
                )
            )

    def kept_moments(self, key: MomentKey, *, since_block: int, until_block: int) -> KeptMoments:
        """The moments of a range of blocks. See ``MomentLog.kept_moments``."""
        with self._lock, _told():
            self._refuse_closed()
            series = self._series(key)
            blocks = sorted(block for block in series if since_block <= block < until_block)
            return unpacked(key, blocks, [series[block] for block in blocks])

    def keep_moments(self, key: MomentKey, blocks: NDArray[np.int64], moments: BlockMoments) -> None:
        """Keep moments until the process ends. See ``MomentLog.keep_moments``."""
        with self._lock, _told():
            self._refuse_closed()
            numbers, rows = packed(key, blocks, moments)
            kept = {**self._series(key), **dict(zip(numbers, map(np.ndarray.tobytes, rows), strict=True))}
            if kept:
                self._moments[key] = kept

    def prune_moments(self, *, older_than: float, max_bytes: int) -> int:
        """Drop old blocks, oldest first. See ``MomentLog.prune_moments``."""
        with self._lock:
            self._refuse_closed()
            size, dropped = self._moment_bytes(), 0
            for end, key, block in sorted(
                ((key.end_us(block), key, block) for key, series in self._moments.items() for block in series),
                key=lambda place: place[0],
            ):
                if end > microseconds(older_than) and size <= max_bytes:
                    break
                del self._moments[key][block]
                size, dropped = size - kept_bytes(key.dimension), dropped + 1
            self._moments = {key: series for key, series in self._moments.items() if series}
        return dropped

    def close(self) -> None:
        """Let everything go. Calling it twice is harmless; any other call afterwards raises LogError."""
        with self._lock:
            self._closed = True
            self._streams.clear()
            self._moments.clear()

    def _join_reasons(self, again: PredictionEvent) -> None:
        """Add what an event that came ``again`` is kept for to what it was kept for before."""
        for key, members in self._streams.items():
            if key[:3] != (again.model, again.version, again.slices):
                continue
            for place, event in enumerate(members):
                if (event.id, event.time) == (again.id, again.time):
                    kept = joined_reasons(event.kept, again.kept)
                    if kept != event.kept:
                        del members[place]
                        self._streams = {own: rest for own, rest in self._streams.items() if rest}
                        joined = replace(event, kept=kept)
                        self._streams.setdefault(_stream_key(joined), []).append(joined)
                    return

    def _series(self, key: MomentKey) -> dict[int, bytes]:
        for kept in self._moments:
            if replace(kept, dimension=key.dimension) == key:
                refuse_other_dimension(key, kept.dimension)
        return self._moments.get(key, {})

    def _moment_bytes(self) -> int:
        return sum(len(series) * kept_bytes(key.dimension) for key, series in self._moments.items())

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


@contextmanager
def _told() -> Iterator[None]:
    try:
        yield
    except ValueError as error:
        raise LogError(str(error)) from error


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
    return event.model, event.version, event.slices, embedder, event.classes, bias_of(event.kept)


def _matches(key: _StreamKey, query: WindowQuery) -> bool:
    model, version, slices, embedder, _, bias = key
    return (
        (model, version) == (query.model, query.version)
        and embedder in (None, query.embedder)
        and (query.biased or not bias)
        and (query.slice is None or query.slice in slices)
    )
