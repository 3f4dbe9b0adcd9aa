"""A replay of the reference through its own detector: does it cry wolf as seldom as it says?

The detector is built anew on three quarters of the reference, and windows of the last quarter, which it has never seen,
are put to it; four times over, so that all of it is asked once. Nothing has drifted in them, so that the share of
alarms at a nominal level is the rate of false ones. A window is a stretch of time, as in production: blocks drawn here
and there would be as independent as they are said to be, and hide it where they are not. Where the stretches begin, and
which are asked together, is drawn anew for each seed.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import special

from visiondrift.drift.calibration.blocks import Blocks
from visiondrift.drift.calibration.nulls import MIN_HELD_BLOCKS, MIN_WINDOW_BLOCKS
from visiondrift.drift.embedding.detector import Detector, EmbeddingEvidence, build_detector
from visiondrift.drift.embedding.moments import BlockMoments, block_moments
from visiondrift.signals import ALL_SLICES

NOMINAL = 0.05
"""The level at which alarms are counted: high, so that a reference has windows enough to count any."""

CONFIDENCE = 0.99
_FOLDS = 4
_LARGEST_WINDOW = 12
_FEWEST_WINDOWS = 20


@dataclass(frozen=True)
class SelfTest:
    """``alarms`` of ``windows`` without drift were below the ``nominal`` level.

    ``rate`` lies between ``low`` and ``high`` with 99 % confidence; the interval is wider where alarms come together.
    """

    windows: int
    alarms: int
    nominal: float
    low: float
    high: float

    @property
    def rate(self) -> float:
        """The share of false alarms."""
        return self.alarms / self.windows

    @property
    def cries_wolf(self) -> bool:
        """Whether false alarms are surely more than was said."""
        return self.low > self.nominal


def self_test(
    embeddings: NDArray[np.floating], blocks: Blocks, *, times: NDArray[np.float64] | None = None, seed: int = 0
) -> SelfTest | None:
    """Of a reference's ``embeddings`` (n, d) in ``blocks``; None where these are too few to tell anything."""
    rng = np.random.default_rng((seed, 17))
    stretch, fold = _stretches(blocks, times, rng)
    found: list[list[bool]] = []
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
            draws=150,
            novelty=False,
            seed=seed,
        )
        asked = blocks.only(own)
        rows = np.flatnonzero(in_test)
        found.extend(
            _alarms(detector, embeddings[rows], asked, stretch[own], times=None if times is None else times[rows])
        )
    found = [alarms for alarms in found if alarms]
    total = sum(map(len, found))
    return None if total < _FEWEST_WINDOWS else _summary(found, total)


def _stretches(
    blocks: Blocks, times: NDArray[np.float64] | None, rng: np.random.Generator
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """(B,) the stretch of each block: so many of a slice's as a window has, one after the other in time; and its fold.

    Of each slice's stretches there are as many in one fold as in another.
    """
    begins = np.arange(len(blocks), dtype=np.float64)
    if times is not None:
        begins = np.full(len(blocks), np.inf)
        np.minimum.at(begins, blocks.of_row, times)
    stretch, fold = np.empty(len(blocks), dtype=np.intp), np.empty(len(blocks), dtype=np.intp)
    number = 0
    for stratum in range(len(blocks.names)):
        own = np.flatnonzero(blocks.stratum == stratum)
        own = own[np.argsort(begins[own], kind="stable")]
        size = _window_size(len(own))
        place = (np.arange(len(own)) + rng.integers(size)) // size
        count = int(place.max(initial=-1)) + 1
        stretch[own] = number + place
        fold[own] = (rng.permutation(count) % _FOLDS)[place]
        number += count
    return stretch, fold


def _window_size(blocks: int) -> int:
    """How many blocks a window has, of a slice with so many."""
    return max(MIN_WINDOW_BLOCKS, min(_LARGEST_WINDOW, blocks // (6 * _FOLDS)))


def _alarms(
    detector: Detector,
    embeddings: NDArray[np.floating],
    blocks: Blocks,
    stretch: NDArray[np.intp],
    *,
    times: NDArray[np.float64] | None,
) -> list[list[bool]]:
    """For each slice (all events, where it is the only one) whether each of its windows is below the level.

    A stretch that was cut off at an end of the reference is no window. Events that carry no slice, where others do, are
    no target of their own.
    """
    names = np.array(blocks.names)
    coordinates = detector.reference.coordinates(embeddings, times=times, slices=names[blocks.of_row_stratum])
    moments = block_moments(coordinates, blocks.of_row, len(blocks))
    found = []
    for stratum, name in enumerate(blocks.names):
        if not name and len(blocks.names) > 1:
            continue
        own = np.flatnonzero(blocks.stratum == stratum)
        numbers, sizes = np.unique(stretch[own], return_counts=True)
        whole = numbers[sizes == sizes.max(initial=MIN_WINDOW_BLOCKS)]
        windows = [moments.take(own[stretch[own] == number]) for number in whole]
        looks = [_p(detector, name or ALL_SLICES, name, window) for window in windows]
        found.append([p <= NOMINAL for p in looks if p is not None])
    return found


def _p(detector: Detector, target: str, name: str, window: BlockMoments) -> float | None:
    look = detector.look(target, {name: window.together()}, None)
    return look.p if isinstance(look, EmbeddingEvidence) else None


def _summary(found: list[list[bool]], total: int) -> SelfTest:
    """Clopper and Pearson's interval (1934), its counts lowered by how much more the groups differ than chance."""
    alarms = sum(map(sum, found))
    rate = alarms / total
    sizes = np.array([len(group) for group in found], dtype=np.float64)
    counts = np.array([sum(group) for group in found], dtype=np.float64)
    expected = np.maximum(sizes * rate * (1 - rate), 1e-12)
    excess = float(((counts - sizes * rate) ** 2).sum() / expected.sum()) if 0 < rate < 1 and len(found) > 1 else 1.0
    n, k = total / max(1.0, excess), alarms / max(1.0, excess)
    tail = (1 - CONFIDENCE) / 2
    low = float(special.betaincinv(k, n - k + 1, tail)) if k > 0 else 0.0
    high = float(special.betaincinv(k + 1, n - k, 1 - tail)) if k < n else 1.0
    return SelfTest(total, alarms, NOMINAL, low, high)
