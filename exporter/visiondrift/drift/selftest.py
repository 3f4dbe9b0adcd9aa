"""A replay of the reference through its own detector: does it cry wolf as seldom as it says?

The detector is built anew on three quarters of the reference, and windows of the last quarter, which it has never seen,
are put to it, as in production: by moments and neighbours, each slice by itself, and all slices together; four times
over, so that all of it is asked once. Nothing has drifted in them, so that the share of alarms at a nominal level is
the rate of false ones. A window is a stretch of time: blocks drawn here and there would be as independent as they are
said to be, and hide it where they are not. The quarters are of the same time in every slice, so that what cameras have
in common, such as the weather, is as new to the detector as it will be. Where the stretches begin, and which are asked
together, is drawn anew for each seed; of very many slices, some are.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import special

from visiondrift.drift.calibration.blocks import Blocks
from visiondrift.drift.calibration.nulls import MANY_SLICES, MIN_HELD_BLOCKS, MIN_WINDOW_BLOCKS
from visiondrift.drift.embedding.detector import Detector, EmbeddingEvidence, build_detector
from visiondrift.drift.embedding.fit import WindowRows
from visiondrift.drift.embedding.moments import block_moments
from visiondrift.signals import ALL_SLICES

NOMINAL = 0.05
"""The level at which alarms are counted: high, so that a reference has windows enough to count any."""

CONFIDENCE = 0.99

MOST_SLICES = MANY_SLICES
"""Slices that one test asks, which costs no more than their calibration; of more, others each time."""

_FOLDS = 4
_LARGEST_WINDOW = 12
_FEWEST_WINDOWS = 20
_FEWEST_TOGETHER = 2 * _FOLDS
"""Windows of all slices together that tell anything: each holds many blocks, and a reference has few of them."""

Part = Literal["slices", "all"]


@dataclass(frozen=True)
class SelfTest:
    """``alarms`` of ``windows`` without drift were below the ``nominal`` level.

    ``rate`` lies between ``low`` and ``high``, and so does that of the other part, with 99 % confidence; intervals are
    wider where alarms come together. ``part`` says what the windows are of: each slice by itself, or all together;
    told is the part that is more surely above the nominal level.
    """

    windows: int
    alarms: int
    nominal: float
    low: float
    high: float
    part: Part = "slices"

    @property
    def rate(self) -> float:
        """The share of false alarms."""
        return self.alarms / self.windows

    @property
    def cries_wolf(self) -> bool:
        """Whether false alarms are surely more than was said."""
        return self.low > self.nominal


@dataclass(frozen=True)
class _Look:
    """Whether a window of ``part`` raised an alarm; looks of one ``group``, or of one ``segment``, may come together.

    A group is what one detector says of one target, a segment a stretch of time.
    """

    part: Part
    group: tuple[int, str]
    segment: int
    alarm: bool


def self_test(
    embeddings: NDArray[np.floating], blocks: Blocks, *, times: NDArray[np.float64] | None = None, seed: int = 0
) -> SelfTest | None:
    """Of a reference's ``embeddings`` (n, d) in ``blocks``; None where these are too few to tell anything."""
    rng = np.random.default_rng((seed, 17))
    asked = _asked(blocks, rng)
    if not asked.all():
        rows = np.flatnonzero(asked[blocks.of_row])
        embeddings, blocks = embeddings[rows], blocks.only(asked)
        times = None if times is None else times[rows]
    segment, stretch = _stretches(blocks, times, rng)
    fold = (rng.permutation(int(segment.max()) + 1) % _FOLDS)[segment]
    found: list[_Look] = []
    for tested in range(_FOLDS):
        own = fold == tested
        in_test = own[blocks.of_row]
        built = blocks.only(~own)
        if len(built) < 2 * MIN_HELD_BLOCKS:
            return None
        detector = build_detector(
            embeddings[~in_test],
            built,
            times=None if times is None else times[~in_test],
            largest=int(np.bincount(segment).max()),
            splits=2,
            draws=100,
            seed=seed,
        )
        held = _Held.of(detector, embeddings, blocks, times, np.flatnonzero(in_test))
        found += [
            _Look(part, (tested, target), at, p <= NOMINAL)
            for part, target, at, window in _windows(blocks, own, segment, stretch)
            if (p := held.p(target, window)) is not None
        ]
    return _told(found)


def _asked(blocks: Blocks, rng: np.random.Generator) -> NDArray[np.bool_]:
    """(B,) the blocks of the slices that are asked."""
    named = np.array([place for place, name in enumerate(blocks.names) if name], dtype=np.intp)
    if len(named) <= MOST_SLICES:
        return np.ones(len(blocks), dtype=bool)
    return np.isin(blocks.stratum, rng.choice(named, MOST_SLICES, replace=False))


def _stretches(
    blocks: Blocks, times: NDArray[np.float64] | None, rng: np.random.Generator
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """(B,) the segment of time of each block, the same for every slice; and within it, its stretch.

    A stretch is as many of a slice's blocks as a window has, one after the other in time; a segment holds two of them
    of the slice that has the fewest, or is one where there is a single slice.
    """
    begins = np.full(len(blocks), np.inf)
    if times is not None:
        np.minimum.at(begins, blocks.of_row, times)
    strata = [np.flatnonzero(blocks.stratum == stratum) for stratum in range(len(blocks.names))]
    for place, own in enumerate(strata):
        if times is None:  # without times, slices are laid side by side
            begins[own] = (np.arange(len(own)) + 0.5) / max(len(own), 1)
        strata[place] = own[np.argsort(begins[own], kind="stable")]
    sizes = [_window_size(len(own)) for own in strata]
    segment = np.empty(len(blocks), dtype=np.intp)
    if len(strata) == 1:
        segment[strata[0]] = (np.arange(len(blocks)) + rng.integers(sizes[0])) // sizes[0]
    else:
        enough = 2 * MIN_HELD_BLOCKS * _FOLDS / (_FOLDS - 1)
        counts = [len(own) // size for own, size in zip(strata, sizes, strict=True) if len(own) >= enough]
        segments = max(_FEWEST_TOGETHER, min(counts, default=0) // 2)
        order = np.argsort(begins, kind="stable")
        segment[order] = np.floor(np.arange(len(blocks)) / len(blocks) * segments + rng.random())
    stretch = np.empty(len(blocks), dtype=np.intp)
    for own, size in zip(strata, sizes, strict=True):
        since = np.searchsorted(segment[own], segment[own])  # where the segment begins, in order of time
        stretch[own] = (np.arange(len(own)) - since) // size
    return segment, stretch


def _window_size(blocks: int) -> int:
    """How many blocks a window has, of a slice with so many."""
    return max(MIN_WINDOW_BLOCKS, min(_LARGEST_WINDOW, blocks // (6 * _FOLDS)))


def _windows(
    blocks: Blocks, own: NDArray[np.bool_], segment: NDArray[np.intp], stretch: NDArray[np.intp]
) -> Iterator[tuple[Part, str, int, NDArray[np.intp]]]:
    """The windows of the blocks ``own`` (B,): part, target, segment, and the blocks of each.

    A stretch that was cut off is no window. Events that carry no slice, where others do, are no target of their own.
    """
    alone = len(blocks.names) == 1
    for stratum, name in enumerate(blocks.names):
        if not name and not alone:
            continue
        size = _window_size(int((blocks.stratum == stratum).sum()))
        mine = np.flatnonzero(own & (blocks.stratum == stratum))
        keys, which, counts = np.unique(
            np.stack([segment[mine], stretch[mine]]), axis=1, return_inverse=True, return_counts=True
        )
        for number in np.flatnonzero(counts == size):
            target = ALL_SLICES if alone else name
            yield "slices", target, int(keys[0, number]), mine[which.reshape(-1) == number]
    for at in () if alone else np.unique(segment[own]):
        yield "all", ALL_SLICES, int(at), np.flatnonzero(own & (segment == at))


@dataclass(frozen=True, eq=False)
class _Held:
    """Rows that a detector has not seen, ready to be put to it: their ``coordinates`` in order of their blocks."""

    detector: Detector
    blocks: Blocks
    coordinates: NDArray[np.float32]
    of_row: NDArray[np.intp]

    @classmethod
    def of(
        cls,
        detector: Detector,
        embeddings: NDArray[np.floating],
        blocks: Blocks,
        times: NDArray[np.float64] | None,
        rows: NDArray[np.intp],
    ) -> "_Held":
        """Of some ``rows`` of the reference."""
        rows = rows[np.argsort(blocks.of_row[rows], kind="stable")]
        coordinates = detector.reference.coordinates(
            embeddings[rows],
            times=None if times is None else times[rows],
            slices=np.array(blocks.names)[blocks.of_row_stratum[rows]],
        )
        return cls(detector, blocks, coordinates, blocks.of_row[rows])

    def p(self, target: str, window: NDArray[np.intp]) -> float | None:
        """The chance that the detector gives a window of the blocks ``window``; None where it says nothing."""
        rows = np.flatnonzero(np.isin(self.of_row, window))
        coordinates, of_row = self.coordinates[rows], self.of_row[rows]
        moments = block_moments(coordinates, np.searchsorted(window, of_row), len(window))
        stratum = self.blocks.stratum[window]
        of_slice = {
            self.blocks.names[one]: moments.take(stratum == one).together() for one in np.unique(stratum).tolist()
        }
        # One slice's last block and the next one's first follow each other in number only.
        apart = of_row + self.blocks.stratum[of_row]
        look = self.detector.look(target, of_slice, WindowRows(coordinates, apart))
        return look.p if isinstance(look, EmbeddingEvidence) else None


def _told(found: list[_Look]) -> SelfTest | None:
    """Of the parts that have windows enough, the one whose rate is more surely too high."""
    fewest: dict[Part, int] = {"slices": _FEWEST_WINDOWS, "all": _FEWEST_TOGETHER}
    parts = [looks for part, few in fewest.items() if len(looks := [one for one in found if one.part == part]) >= few]
    tests = [_summary(looks, 1 - (1 - CONFIDENCE) / len(parts)) for looks in parts]
    return max(tests, key=lambda test: test.low, default=None)


def _summary(looks: list[_Look], confidence: float = CONFIDENCE) -> SelfTest:
    """Clopper and Pearson's interval (1934), its counts lowered by how much more looks differ than chance.

    That is the larger of how much the groups do, and how much the segments.
    """
    alarms, total = sum(one.alarm for one in looks), len(looks)
    excess = max(1.0, _excess(looks, lambda one: one.group), _excess(looks, lambda one: one.segment))
    n, k = total / excess, alarms / excess
    tail = (1 - confidence) / 2
    low = float(special.betaincinv(k, n - k + 1, tail)) if k > 0 else 0.0
    high = float(special.betaincinv(k + 1, n - k, 1 - tail)) if k < n else 1.0
    return SelfTest(total, alarms, NOMINAL, low, high, looks[0].part)


def _excess(looks: list[_Look], together: Callable[[_Look], object]) -> float:
    """How many times more the counts of alarms by what looks have ``together`` vary than those of chance."""
    rate = sum(one.alarm for one in looks) / len(looks)
    groups: dict[object, list[bool]] = {}
    for one in looks:
        groups.setdefault(together(one), []).append(one.alarm)
    if not 0 < rate < 1 or len(groups) == 1:
        return 1.0
    expected = sum(len(group) for group in groups.values()) * rate * (1 - rate)
    return float(sum((sum(group) - len(group) * rate) ** 2 for group in groups.values()) / max(expected, 1e-12))
