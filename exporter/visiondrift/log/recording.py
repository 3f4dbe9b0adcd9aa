"""A recording in the place of a log: a sample, of which only what lies before the present can be read.

It is what a replay evaluates. Nothing can be added to it; the moments that are made of it are kept in memory.
"""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from visiondrift.drift.baseline import align_classes
from visiondrift.drift.embedding.moments import BlockMoments
from visiondrift.drift.thinning import evenly_of_each
from visiondrift.log import Census, Stream, Window, WindowQuery, microseconds
from visiondrift.log.memory import MemoryLog
from visiondrift.log.moments import BlockQuery, KeptMoments, MomentKey
from visiondrift.prediction import Sample, Slices


class Recording:
    """``Events`` and ``Ticks`` of one version of one model. ``now`` is the present; for one thread."""

    def __init__(self, sample: Sample, *, model: str, version: str) -> None:
        self._sample = sample
        self._at = np.array([microseconds(float(time)) for time in sample.times], dtype=np.int64)
        self._model, self._version = model, version
        self._moments = MemoryLog()
        self._streams = sample.streams()
        self._rows_of = _rows_of(sample, self._streams)
        self._answers = bool(sample.has_confidences.any())
        self.now = float("-inf")

    def window(self, query: WindowQuery) -> Window:
        """The events of a window. See ``PredictionLog.window``."""
        rows = self._rows(query.since, query.until, query.slice)
        total = len(rows)
        part = self._sample.take(rows[evenly_of_each(self._streams[rows], query.limit)])
        return Window(align_classes(part, query.classes), total=total, rejected=0)

    def census(self) -> Census:
        """What had come in until now."""
        last = int(np.searchsorted(self._at, microseconds(self.now)))
        streams = []
        for slices, rows in sorted(self._rows_of.items()):
            before = int(np.searchsorted(rows, last))
            if before:
                newest = float(self._sample.times[rows[before - 1]])
                streams.append(Stream(self._model, self._version, slices, before, newest, self._answers))
        return Census(tuple(streams), events=last, size_bytes=0)

    def rows_by_block(self, query: BlockQuery) -> Mapping[int, int]:
        """See ``MomentLog.rows_by_block``."""
        rows = self._rows(query.since, query.until, query.slice)
        rows = rows[self._sample.has_embedding[rows]]
        blocks = np.floor(self._at[rows] / 1e6 / query.seconds).astype(np.int64)
        return {int(block): int(count) for block, count in zip(*np.unique(blocks, return_counts=True), strict=True)}

    def kept_moments(self, key: MomentKey, *, since_block: int, until_block: int) -> KeptMoments:
        """See ``MomentLog.kept_moments``."""
        return self._moments.kept_moments(key, since_block=since_block, until_block=until_block)

    def keep_moments(self, key: MomentKey, blocks: NDArray[np.int64], moments: BlockMoments) -> None:
        """See ``MomentLog.keep_moments``."""
        self._moments.keep_moments(key, blocks, moments)

    def _rows(self, since: float, until: float, pair: tuple[str, str] | None) -> NDArray[np.intp]:
        first, last = np.searchsorted(self._at, [microseconds(since), microseconds(until)])
        rows = np.arange(first, max(first, last))
        if pair is None:
            return rows
        column = self._sample.slices.get(pair[0])
        return rows[:0] if column is None else rows[column[rows] == pair[1]]


def _rows_of(sample: Sample, streams: NDArray[np.intp]) -> dict[Slices, NDArray[np.intp]]:
    """The rows of every set of slice labels that events carry, ascending."""
    rows = {}
    for stream in np.unique(streams):
        own = np.flatnonzero(streams == stream)
        pairs = ((label, str(sample.slices[label][own[0]])) for label in sorted(sample.slices))
        rows[tuple(pair for pair in pairs if pair[1])] = own
    return rows
