"""What is remembered of a version's embeddings beyond the rows at hand: moments by tick, and memories that fade.

The log is read once: each tick of a slice (a stretch of at least one evaluation interval and one block) becomes a few
kilobytes of moments that are kept beside the events, and outlive them. Windows with more events than are compared, and
memories of a hundred ticks, are then additions; after a restart they are read back. An event that comes later than
``LATE`` after its tick is in its windows' rows, but not in the moments any more.

Memories are for shifts that no window shows. A drift that windows did show would stay in them long after its end, and
be told once more: where it is over, they begin anew with the window that shows none. When a drift was first shown and
when it was over is kept beside the ticks, so that a restart remembers what the process before it did.
"""

from collections.abc import Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from visiondrift.config.units import parse_duration
from visiondrift.drift.calibrated import Calibration
from visiondrift.drift.embedding.memory import Memory
from visiondrift.drift.embedding.moments import BlockMoments, Moments, block_moments
from visiondrift.log import Events, WindowQuery
from visiondrift.log.moments import BlockQuery, MomentKey, Ticks
from visiondrift.prediction import slice_name
from visiondrift.signals import ALL_SLICES
from visiondrift.turns import Turns
from visiondrift.windows import Moment, Pair

REMEMBERED_TICKS = 100
"""Ticks that memories are made of: of the longest, less than one part in a hundred is older."""

LATE = 60.0
"""Seconds for which a tick that has ended is still looked at again."""

MOST_ROWS = 200_000
"""Rows that are read in one turn to catch up, so that an evaluation never waits for a day of events."""

_ROWS_AT_ONCE = 20_000


@dataclass(frozen=True)
class _Task:
    """Ticks ``first`` to ``last`` of a slice that are to be read, ``rows`` in all."""

    value: str
    pair: Pair
    first: int
    last: int
    rows: int


class Recollection:
    """Of one version of a model, in the axes of one calibration that has a detector. For one thread."""

    def __init__(self, log: Events, kept: Ticks, calibration: Calibration, moment: Moment) -> None:
        assert calibration.detector is not None  # noqa: S101  the caller has asked
        self._log = log
        self._kept = kept
        self._calibration = calibration
        self._reference = calibration.detector.reference
        self._tick = max(moment.model.evaluate_every, *calibration.seconds.values())
        self._model, self._version, self._embedder = moment.model.name, moment.version, moment.embedder
        self._dimension = moment.dimension
        horizon = max(REMEMBERED_TICKS * self._tick, *map(parse_duration, moment.model.windows))
        self._first = int((moment.now - horizon) // self._tick)
        self._next: dict[str, int] = {}  # the ticks of a slice before this one are kept
        self._fed = max(self._first, int(moment.now // self._tick) - REMEMBERED_TICKS)
        self._memory = Memory()
        self._shown: frozenset[str] = frozenset()
        self._turns = Turns(kept, self._model, self._version)
        self._is_behind = True
        self._restored: set[str] = set()

    @property
    def identity(self) -> tuple[object, ...]:
        """What it hangs on: where that differs, another must be made."""
        return self._reference.identity, self._tick, self._embedder

    def catch_up(self, pairs: Sequence[Pair], now: float) -> None:
        """Take up every tick that has ended by ``now``, of the slices that the reference knows. Raises LogError."""
        current = int(now // self._tick)
        slices = self._slices(pairs)
        self._restore(slices)
        left = MOST_ROWS
        behind = current
        for value, pair in slices.items():
            begun = self._next.setdefault(value, self._first)
            for task in self._tasks(value, pair, begun, current, now):
                if left <= 0:
                    break
                self._take_up(task)
                left -= task.rows
                self._next[value] = max(self._next[value], task.last + 1)
            else:
                self._next[value] = current
            behind = min(behind, self._next[value])
        if slices:
            self._feed(slices, behind)
            self._is_behind = behind < current

    def window(self, pairs: Sequence[Pair], *, since: float, until: float) -> Mapping[str, Moments] | None:
        """The moments of the whole ticks of a window, by slice; None while these are not all taken up."""
        first, last = int(np.ceil(since / self._tick)), int(until // self._tick)
        slices = self._slices(pairs)
        if first >= last or any(self._next.get(value, first) < last for value in slices):
            return None
        found = {}
        for value in slices:
            kept = self._read(value, first, last)
            if len(kept[0]):
                found[value] = _sum(kept[1])
        return found

    @property
    def memory(self) -> Memory:
        """What fading memories hold of the ticks until now; nothing while these are not all taken up, as what was over
        since would be told once more.
        """
        return Memory() if self._is_behind else self._memory

    def settle(
        self, shown: AbstractSet[str], calm: AbstractSet[str], pairs: Sequence[Pair], *, since: float, until: float
    ) -> frozenset[str]:
        """Take up which targets' windows show a drift, and which are calm; those whose drift has thereby ended. Their
        memories now hold the window from ``since`` until ``until``. Raises LogError.
        """
        over = frozenset[str]() if self._is_behind else self._shown & calm
        for target in shown - self._shown:
            self._turns.shown(target, until)
        for target in over:
            self._turns.over(target, until, until - since)
        self._shown = (self._shown - over) | shown
        self._begin_anew(dict.fromkeys(over, (since, until)), self._slices(pairs))
        return over

    def _slices(self, pairs: Sequence[Pair]) -> dict[str, Pair]:
        """The reference's slices among ``pairs``, by value."""
        label, known = self._calibration.label, self._reference.centres
        if not label:
            return {"": None}
        return {pair[1]: pair for pair in pairs if pair is not None and pair[0] == label and pair[1] in known}

    def _key(self, value: str) -> MomentKey:
        return MomentKey(
            basis=self._reference.identity,
            model=self._model,
            version=self._version,
            slice=self._target(value),
            seconds=self._tick,
            dimension=self._reference.basis.dimension + 1,
        )

    def _target(self, value: str) -> str:
        label = self._calibration.label
        return slice_name(label, value) if label else ALL_SLICES

    def _tasks(self, value: str, pair: Pair, begun: int, current: int, now: float) -> Iterator[_Task]:
        """What is to be read: ticks with more events than they had when they were read last."""
        first = max(self._first, min(begun, int((now - LATE) // self._tick) - 1))
        query = BlockQuery(
            model=self._model,
            version=self._version,
            embedder=self._embedder,
            since=first * self._tick,
            until=current * self._tick,
            seconds=self._tick,
            slice=pair,
        )
        counts = {tick: rows for tick, rows in self._kept.rows_by_block(query).items() if first <= tick < current}
        known = dict(zip(*self._counts_kept(value, first, current), strict=True))
        changed = sorted(tick for tick, rows in counts.items() if rows > known.get(tick, 0))
        start, rows = 0, 0
        for place, tick in enumerate(changed):
            rows += counts[tick]
            if place + 1 == len(changed) or rows + counts[changed[place + 1]] > _ROWS_AT_ONCE:
                yield _Task(value, pair, changed[start], tick, rows)
                start, rows = place + 1, 0

    def _counts_kept(self, value: str, first: int, last: int) -> tuple[list[int], list[int]]:
        ticks, moments = self._read(value, first, last)
        return [int(tick) for tick in ticks], [round(count) for count in moments.counts]

    def _take_up(self, task: _Task) -> None:
        """Read ticks, and keep their moments, with one coordinate more for the blocks.

        Its sum is how many they are, its sum of squares that of the squared rows of each: these add up, too.
        """
        query = WindowQuery(
            model=self._model,
            version=self._version,
            embedder=self._embedder,
            since=task.first * self._tick,
            until=(task.last + 1) * self._tick,
            classes=(),
            dimension=self._dimension,
            limit=10**9,
            slice=task.pair,
        )
        sample = self._log.window(query).sample
        sample = sample.take(sample.has_embedding)
        if not len(sample):
            return
        blocks = self._calibration.blocks_of(sample)
        values = np.full(len(sample), task.value)
        coordinates = self._reference.coordinates(sample.embeddings, times=sample.times, slices=values)
        tick = np.floor(sample.times / self._tick).astype(np.int64)
        numbers, place = np.unique(tick, return_inverse=True)
        sizes = [np.unique(blocks.of_row[tick == number], return_counts=True)[1] for number in numbers]
        witnesses = np.array([len(own) for own in sizes], dtype=np.float64)
        crowding = np.array([float((own.astype(np.float64) ** 2).sum()) for own in sizes])
        moments = block_moments(coordinates, place.reshape(-1), len(numbers))
        counted = BlockMoments(
            moments.counts,
            np.hstack([moments.totals, witnesses[:, None]]),
            np.hstack([moments.squares, crowding[:, None]]),
        )
        self._kept.keep_moments(self._key(task.value), numbers, counted)

    def _read(self, value: str, first: int, last: int) -> tuple[NDArray[np.int64], BlockMoments]:
        kept = self._kept.kept_moments(self._key(value), since_block=first, until_block=last)
        return kept.blocks, kept.moments

    def _feed(self, slices: Mapping[str, Pair], until: int) -> None:
        """Let the memories see every tick before ``until`` that they have not seen, in order, and every end of a drift.

        One that is seen twice, when it came and with the ticks after it, changes nothing.
        """
        if until <= self._fed:
            return
        ticks: dict[int, dict[str, Moments]] = {}
        for value in slices:
            numbers, moments = self._read(value, self._fed, until)
            for place, number in enumerate(numbers):
                ticks.setdefault(int(number), {})[value] = _sum(moments.take(np.array([place])))
        ended: dict[int, dict[str, tuple[float, float]]] = {}
        for target in self._targets(slices):
            for at, length in self._turns.ends(target, self._fed * self._tick, (until + 1) * self._tick).items():
                ended.setdefault(int(at // self._tick), {})[target] = at - length, at
        for number in sorted(ticks.keys() | ended.keys()):
            self._begin_anew(ended.get(number, {}), slices)
            if number in ticks:
                self._memory = self._memory.after(ticks[number])
        self._fed = until

    def _targets(self, slices: Mapping[str, Pair]) -> list[str]:
        return sorted({ALL_SLICES, *map(self._target, slices)})

    def _restore(self, slices: Mapping[str, Pair]) -> None:
        """Of targets that are met first: whether a drift was shown when the process before this one ended."""
        for target in self._targets(slices):
            if target not in self._restored:
                self._restored.add(target)
                self._shown |= {target} if self._turns.is_shown(target) else set()

    def _begin_anew(self, ended: Mapping[str, tuple[float, float]], slices: Mapping[str, Pair]) -> None:
        """Let the memories of the slices of targets whose drift ``ended`` hold the window that said so, from when until
        when, and nothing else.
        """
        begun: dict[str, Moments | None] = {}
        for value in slices:
            spans = [ended[target] for target in (ALL_SLICES, self._target(value)) if target in ended]
            if spans:
                first, last = int(np.ceil(spans[0][0] / self._tick)), int(spans[0][1] // self._tick)
                kept = self._read(value, first, last)[1]
                # A memory weighs as much as one tick, however many it holds.
                begun[value] = _sum(kept).scaled(1 / (last - first)) if len(kept) else None
        if begun:
            self._memory = self._memory.anew(begun)


def _sum(kept: BlockMoments) -> Moments:
    """The moments of ticks as one, with what the last coordinate says of their blocks."""
    blocks, crowding = float(kept.totals[:, -1].sum()), float(kept.squares[:, -1].sum())
    totals: NDArray[Any] = kept.totals[:, :-1].sum(axis=0)
    return Moments(float(kept.counts.sum()), totals, kept.squares[:, :-1].sum(axis=0), blocks, blocks, crowding)
