"""A recording in the place of a log: a sample, of which only what lies before the present can be read.

It is what a replay evaluates. Nothing can be added to it; the moments that are made of it are kept in memory.
"""

from collections import Counter
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from visiondrift.drift.baseline import align_classes, spread
from visiondrift.drift.embedding.moments import BlockMoments
from visiondrift.log import Census, Stream, Window, WindowQuery, microseconds
from visiondrift.log.moments import BlockQuery, KeptMoments, MomentKey
from visiondrift.prediction import Sample, Slices


class Recording:
    """``Events`` and ``Ticks`` of one version of one model. ``now`` is the present; for one thread."""

    def __init__(self, sample: Sample, *, model: str, version: str) -> None:
        self._sample = sample
        self._at = np.array([microseconds(float(time)) for time in sample.times], dtype=np.int64)
        self._model, self._version = model, version
        self._kept: dict[MomentKey, dict[int, tuple[float, NDArray[np.float64], NDArray[np.float64]]]] = {}
        self._slices = _slices(sample)
        self.now = float("-inf")

    def window(self, query: WindowQuery) -> Window:
        """The events of a window. See ``PredictionLog.window``."""
        rows = self._rows(query.since, query.until, query.slice)
        total = len(rows)
        part = self._sample.take(rows[spread(total, query.limit)])
        return Window(align_classes(part, query.classes), total=total, rejected=0)

    def census(self) -> Census:
        """What had come in until now."""
        last = int(np.searchsorted(self._at, microseconds(self.now)))
        found = Counter(self._slices[:last])
        newest = {slices: float(self._sample.times[row]) for row, slices in enumerate(self._slices[:last])}
        streams = tuple(
            Stream(self._model, self._version, slices, rows, newest[slices]) for slices, rows in sorted(found.items())
        )
        return Census(streams, events=last, size_bytes=0)

    def rows_by_block(self, query: BlockQuery) -> Mapping[int, int]:
        """See ``MomentLog.rows_by_block``."""
        rows = self._rows(query.since, query.until, query.slice)
        rows = rows[self._sample.has_embedding[rows]]
        blocks = np.floor(self._at[rows] / 1e6 / query.seconds).astype(np.int64)
        return {int(block): int(count) for block, count in zip(*np.unique(blocks, return_counts=True), strict=True)}

    def kept_moments(self, key: MomentKey, *, since_block: int, until_block: int) -> KeptMoments:
        """See ``MomentLog.kept_moments``."""
        kept = self._kept.get(key, {})
        blocks = [block for block in sorted(kept) if since_block <= block < until_block]
        if not blocks:
            empty = np.zeros((0, key.dimension))
            return KeptMoments(np.zeros(0, dtype=np.int64), BlockMoments(np.zeros(0), empty, empty))
        counts, totals, squares = zip(*(kept[block] for block in blocks), strict=True)
        return KeptMoments(
            np.array(blocks, dtype=np.int64), BlockMoments(np.array(counts), np.stack(totals), np.stack(squares))
        )

    def keep_moments(self, key: MomentKey, blocks: NDArray[np.int64], moments: BlockMoments) -> None:
        """See ``MomentLog.keep_moments``."""
        kept = self._kept.setdefault(key, {})
        for place, block in enumerate(blocks):
            kept[int(block)] = (float(moments.counts[place]), moments.totals[place], moments.squares[place])

    def _rows(self, since: float, until: float, pair: tuple[str, str] | None) -> NDArray[np.intp]:
        first, last = np.searchsorted(self._at, [microseconds(since), microseconds(until)])
        rows = np.arange(first, max(first, last))
        if pair is None:
            return rows
        column = self._sample.slices.get(pair[0])
        return rows[:0] if column is None else rows[column[rows] == pair[1]]


def _slices(sample: Sample) -> list[Slices]:
    """The slice labels of every event."""
    labels = sorted(sample.slices)
    columns = [sample.slices[label] for label in labels]
    return [
        tuple((label, str(value)) for label, value in zip(labels, values, strict=True) if value)
        for values in zip(*columns, strict=True)
    ] or [()] * len(sample)
