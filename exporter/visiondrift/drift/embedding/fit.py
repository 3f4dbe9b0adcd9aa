"""How embeddings drift: what is fitted of a reference, and what a window scores against it.

``fit_embedding`` makes what is stored; ``EmbeddingFamily`` is the same thing under the calibration, many times over.
All slices together are compared within each slice, never as one pool: a busier camera is no drift.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from hashlib import sha256
from typing import Any

import numpy as np
from numpy.typing import NDArray

from visiondrift.drift.calibration.blocks import Blocks
from visiondrift.drift.calibration.nulls import UPPER, Draw, SliceCalibration, Split, luck, member_matrix, stretch
from visiondrift.drift.embedding.bank import STATISTICS, Centre, Deviations, bank, centre_of, deviation, deviations
from visiondrift.drift.embedding.basis import Basis, fit_basis
from visiondrift.drift.embedding.hours import DayCurves, DaySpread, fit_day, fit_spread
from visiondrift.drift.embedding.moments import BlockMoments, Moments, block_moments
from visiondrift.drift.embedding.novelty import (
    WINDOW_ROWS,
    Coreset,
    OutlierShare,
    build_coreset,
    knn_ratio,
    new_share,
    outlier_share,
    squared_distances,
    thinned,
    to_reference,
)
from visiondrift.drift.thinning import evenly
from visiondrift.signals import ALL_SLICES

NOVELTY = "knn_ratio"
SCORES = (*STATISTICS, NOVELTY)
"""The scores of an embedding window, in the order in which they are measured."""

_IS_SQUARE = np.array([name != "mah" for name in STATISTICS])
EMBEDDING = "embedding"
"""The name of their combination."""


@dataclass(frozen=True, eq=False)
class EmbeddingReference:
    """What windows are compared with: axes, the centre of each slice (by name), and rows to measure novelty against.

    ``day`` is what the hour of day explains of the mean, ``spread`` of how far rows lie from it; ``adjoining`` as in
    ``Blocks``.
    """

    basis: Basis
    centres: Mapping[str, Centre]
    coreset: Coreset
    day: DayCurves | None = None
    spread: DaySpread = field(default_factory=DaySpread)
    adjoining: bool = False

    @cached_property
    def identity(self) -> str:
        """What tells its axes from any other's: moments in other axes cannot be added to those in these."""
        parts = [self.basis.mean.astype("<f8"), self.basis.axes.astype("<f4")]
        digest = sha256()
        for curves in (self.day or DayCurves(), self.spread.curves):
            digest.update("\n".join(sorted(curves.coefficients)).encode())
            for name, own in sorted(curves.coefficients.items()):
                parts += [own.astype("<f4"), curves.known[name].astype("<f4"), curves.middle[name].astype("<f4")]
        parts += [middle.astype("<f4") for _, middle in sorted(self.spread.middles.items())]
        for part in parts:
            digest.update(np.ascontiguousarray(part).tobytes())
        return digest.hexdigest()[:16]

    @property
    def reach(self) -> int:
        """How many blocks further a scene may go on: 1 where blocks are cut by the clock."""
        return int(self.adjoining)

    def coordinates(
        self, embeddings: NDArray[Any], times: NDArray[np.float64] | None = None, slices: NDArray[Any] | None = None
    ) -> NDArray[np.float32]:
        """(n, k) of ``embeddings`` (n, d); where the reference knows the day, with times (n,) and slices (n,) too.

        Raises ValueError where these are lacking, or d differs.
        """
        if self.day is None:
            return self.basis.project(embeddings)
        if times is None or slices is None:
            msg = "the reference is adjusted for the hour of day: times and slices of the rows are needed"
            raise ValueError(msg)
        return self.spread.evened(self.basis.project(self.day.without(embeddings, times, slices)), times, slices)


@dataclass(frozen=True, eq=False)
class WindowRows:
    """Some rows of a window with their coordinates (m, k), for what moments cannot tell.

    ``of_row`` (m,) are blocks, numbered so that those of a slice that follow one another have numbers that do.
    """

    coordinates: NDArray[np.float32]
    of_row: NDArray[np.intp]


@dataclass(frozen=True)
class Effect:
    """How large a drift is, apart from how sure; against the cloud as it is at that hour, where the hours are known.

    ``mean_moved`` is in sizes of the cloud, with what chance alone would give taken off; ``spread_ratio`` the window's
    total variance over the reference's; ``new_share`` is a lower bound at 95 %;
    ``low_variance_share`` the part of the whitened move beyond the leading quarter of the axes (128 at most), where
    content hardly reaches: imaging or preprocessing.
    """

    mean_moved: float
    spread_ratio: float
    new_share: float
    low_variance_share: float


def fit_embedding(
    embeddings: NDArray[Any], split: Split, *, times: NDArray[np.float64] | None = None, seed: int = 0
) -> EmbeddingReference:
    """From a reference's rows (n, d); with ``times`` (n,) adjusted for the hour of day.

    Raises ValueError where a part has too few rows or blocks.
    """
    return _fit(embeddings, split, times, seed)[0]


@dataclass(frozen=True, eq=False)
class WindowDeviation:
    """How far a window is from normal: ``deviations`` as one row, and what it is worth.

    ``blocks`` are its effective blocks, ``rows`` the rows of so many, ``evenness`` as in ``Moments``.
    """

    deviations: Deviations
    blocks: float
    rows: float
    evenness: float


def window_deviation(
    reference: EmbeddingReference, moments: Mapping[str, Moments], shares: Mapping[str, float] | None = None
) -> WindowDeviation:
    """How far a window is from normal; ``moments`` by slice, each to its own centre.

    With ``shares``, those of the reference by slice, the window's slices weigh as theirs do: more traffic of a livelier
    camera is no drift. Slices that the reference does not know are left out: that they are new is said elsewhere.
    """
    inside = {name: window for name, window in moments.items() if name in reference.centres and window.count > 0}
    plain = sum(inside.values(), start=Moments.none(reference.basis.dimension))
    blocks = plain.effective_blocks
    if shares is not None and len(inside) > 1:
        all_shares = sum(shares[name] for name in inside)
        wanted = {name: shares[name] / all_shares for name in inside}
        # With share w of the weight and q blocks, slices of variance s² are off by the sum of w² s² / q, which is no
        # more than that of a window in the reference's mix which has as many blocks as the scarcest slice suggests.
        blocks = min(window.effective_blocks / wanted[name] for name, window in inside.items())
        inside = {name: w.scaled(wanted[name] * plain.count / w.count) for name, w in inside.items()}
    each = [deviation(window, reference.centres[name]) for name, window in inside.items()]
    zero = np.zeros((1, reference.basis.dimension))
    total = Deviations(
        sum((d.counts for d in each), start=np.zeros(1)),
        sum((d.first for d in each), start=zero),
        sum((d.second for d in each), start=zero),
    )
    rows_a_block = plain.count / plain.blocks if plain.blocks else 0.0
    return WindowDeviation(total, blocks, blocks * rows_a_block, plain.evenness)


def traffic_shares(slices: Mapping[str, SliceCalibration], centres: Mapping[str, Centre]) -> Mapping[str, float] | None:
    """Each slice's share of a reference's rows, "" for those of none; None where it has no slices."""
    rows = {name: one.blocks * one.rows for name, one in slices.items() if name in centres}
    whole = slices[ALL_SLICES].blocks * slices[ALL_SLICES].rows
    if not rows:
        return None
    unnamed = max(0.0, whole - sum(rows.values())) if "" in centres else 0.0
    return {name: count / whole for name, count in rows.items()} | ({"": unnamed / whole} if unnamed else {})


@dataclass(frozen=True, eq=False)
class Novelty:
    """What a window's rows say: the score, the share that is new at least, the outliers.

    ``ratios`` (2, m) are positions of the rows looked at, and their ratios.
    """

    score: float
    new_share: float
    outliers: OutlierShare | None
    ratios: NDArray[np.float64]


def measure_rows(reference: EmbeddingReference, rows: WindowRows, blocks: int, most_rows: int) -> Novelty:
    """Look at some rows of a window.

    At most ``blocks`` blocks are looked at, evenly spread, and ``most_rows`` of their rows: the more images, the nearer
    the siblings, and the null was drawn with so many.
    """
    present = np.unique(rows.of_row)
    places = np.flatnonzero(np.isin(rows.of_row, present[evenly(len(present), max(1, blocks))]))
    places = places[thinned(rows.of_row[places], most_rows)]
    places = places[evenly(len(places), WINDOW_ROWS)]
    coordinates, of_row = rows.coordinates[places, : reference.coreset.rows.shape[1]], rows.of_row[places]
    distances = to_reference(reference.coreset.rows, coordinates)
    score, ratios = knn_ratio(distances, squared_distances(coordinates, coordinates), of_row, reach=reference.reach)
    return Novelty(
        score,
        new_share(reference.coreset, distances, of_row),
        outlier_share(reference.coreset, distances, of_row),
        np.stack([places.astype(np.float64), ratios]),
    )


def effect_of(reference: EmbeddingReference, window: Deviations, worth: float, held: int, new: float) -> Effect:
    """Of one window worth so many blocks, against a centre made of ``held``; the excess over chance, never below 0."""
    basis = reference.basis
    mean, variance = window.first[0] / window.counts[0], window.second[0] / window.counts[0]
    moved = mean**2
    by_chance = basis.spread * (1 / max(worth, 1.0) + 1 / max(2 * held, 1))
    whitened = moved / basis.variances
    return Effect(
        mean_moved=float(np.sqrt(max(0.0, moved.sum() - by_chance) / basis.spread)),
        spread_ratio=float(max(0.0, 1 + variance.sum() / basis.spread)),
        new_share=new,
        low_variance_share=float(whitened[_content_axes(basis) :].sum() / max(whitened.sum(), 1e-300)),
    )


def _content_axes(basis: Basis) -> int:
    return min(128, basis.dimension // 4)


def drawn_scores(
    reference: EmbeddingReference, held: Deviations, draw: Draw, neighbours: NDArray[np.intp]
) -> NDArray[np.float64]:
    """(W, 8) of drawn windows, as far out as new windows of an unlucky reference; ``held`` are all blocks' deviations.

    The degrees of freedom of each sum of squares are read from the drawn windows (Satterthwaite 1946). How well the
    blocks tell its size is read from theirs: the sums' sizes are means over twice as many blocks as are held, as the
    splits take turns, and are taken at the upper end of their 80 % interval. What ``neighbours`` (P, 2) share is added:
    a new window has all of its blocks side by side, and a drawn one not always. Where it has, to count it twice errs on
    the quiet side.
    """
    own, places = np.unique(draw.windows, return_inverse=True)
    blocks, basis = held.take(own), reference.basis
    # Of its own blocks alone: of a hundred slices the others' are most.
    windows = blocks.summed(member_matrix(places.reshape(draw.windows.shape), len(own)))
    scores = bank(basis, windows, stretch_mean=stretch(draw.share / 2), stretch_variance=stretch(draw.share))
    squared = np.where(_IS_SQUARE, scores, scores**2)
    freedom = np.clip(2 * squared.mean(axis=0) ** 2 / np.maximum(squared.var(axis=0), 1e-300), 1.0, 1e4)
    of_mean = np.array([name.startswith("t_") for name in STATISTICS])
    further = np.where(of_mean, luck(draw.share / 2, freedom), luck(draw.share, freedom))
    alone = _size(basis, blocks.first, blocks.second)
    mean = np.maximum(alone.mean(axis=0), 1e-300)
    unsure = alone.std(axis=0) / mean / np.sqrt(2 * len(own))
    beside = 2 * _shared(basis, held, neighbours[np.isin(neighbours, own).all(axis=1)]) / mean
    further = further * (1 + UPPER * unsure) * (1 + beside)
    return np.asarray(scores * np.where(_IS_SQUARE, further, np.sqrt(further)))


def as_of_fewer(calibration: SliceCalibration, scores: NDArray[np.float64], spans: float) -> NDArray[np.float64]:
    """(8,) the statistics of a window that ``spans`` more blocks than any that was drawn, as the largest has them.

    A window of q blocks is off a centre of n by its own chance, one in q, and by that of the centre, one in n, taken at
    its 90th percentile as in ``drawn_scores``. The first falls with the window, the second stays: however long a memory
    is, it is no surer of what is normal than the reference.
    """
    most = calibration.largest
    if spans <= most:
        return scores
    tails = [calibration.nulls[name].at(most) for name in STATISTICS]
    freedom = np.array([2 * (tail.mean / tail.sd) ** 2 for tail in tails])
    freedom = np.where(_IS_SQUARE, np.clip(freedom, 1.0, 1e4), 1.0)
    centre = calibration.held * np.where([name.startswith("t_") for name in STATISTICS], 2.0, 1.0)

    def usual(blocks: float) -> NDArray[np.float64]:
        return luck(blocks / centre, freedom) * (1 / blocks + 1 / centre)

    farther = usual(most) / usual(spans)
    return np.asarray(scores * np.where(_IS_SQUARE, farther, np.sqrt(farther)))


def _size(basis: Basis, first: NDArray[np.float64], second: NDArray[np.float64]) -> NDArray[np.float64]:
    """(B, 8) the statistics, squared where they are not sums of squares, of deviations as they are."""
    sizes = bank(basis, Deviations(np.ones(len(first)), first, second))
    return np.asarray(np.where(_IS_SQUARE, sizes, sizes**2))


def _shared(basis: Basis, held: Deviations, pairs: NDArray[np.intp]) -> NDArray[np.float64]:
    """(8,) mean product of neighbouring blocks' deviations, in each statistic's own metric; never below 0."""
    if not len(pairs):
        return np.zeros(len(STATISTICS))
    (a, b), (c, d) = (held.first[pairs.T], held.second[pairs.T])
    # |x + y|² - |x - y|² = 4 x y
    product = (_size(basis, a + b, c + d) - _size(basis, a - b, c - d)) / 4
    return np.asarray(np.maximum(product.mean(axis=0), 0.0))


class EmbeddingFamily:
    """The embedding scores for the calibration: fitted on a part of ``embeddings`` (n, d), measured on the other.

    ``novelty=False`` leaves the neighbours out, which are most of the cost; ``times`` (n,) adjust for the hour of day.
    """

    def __init__(
        self,
        embeddings: NDArray[Any],
        *,
        times: NDArray[np.float64] | None = None,
        novelty: bool = True,
        seed: int = 0,
    ) -> None:
        self._embeddings = embeddings
        self._times = times
        self._novelty = novelty
        self._seed = seed

    @property
    def names(self) -> tuple[str, ...]:
        """The eight statistics, and the neighbours'."""
        return SCORES if self._novelty else STATISTICS

    def fit(self, split: Split) -> "_Measured":
        """Fit on ``split.fitted``, centre on ``split.held``."""
        reference, coordinates, moments = _fit(self._embeddings, split, self._times, self._seed)
        return _Measured(
            reference, coordinates, moments, split.blocks, neighbours=split.neighbours, novelty=self._novelty
        )


class _Measured:
    """Drawn windows against one fit."""

    def __init__(
        self,
        reference: EmbeddingReference,
        coordinates: NDArray[np.float32],
        moments: BlockMoments,
        blocks: Blocks,
        *,
        neighbours: NDArray[np.intp],
        novelty: bool,
    ) -> None:
        self._reference = reference
        self._deviations = _within(moments, blocks, reference.centres)
        self._novelty = novelty
        self._neighbours = neighbours
        self._near = np.ascontiguousarray(coordinates[:, : reference.coreset.rows.shape[1]])
        self._rows = np.split(np.argsort(blocks.of_row, kind="stable"), np.cumsum(blocks.sizes)[:-1])
        self._distances = to_reference(reference.coreset.rows, self._near) if novelty else np.zeros(0)

    def __call__(self, draw: Draw) -> NDArray[np.float64]:
        """(W, 8 or 9) as ``Measure``."""
        scores = drawn_scores(self._reference, self._deviations, draw, self._neighbours)
        if not self._novelty:
            return scores
        ratios = np.array([self._ratio(window) for window in np.sort(draw.windows, axis=1)])
        # Drawn without replacement, they are nearer to one another than windows to come by this factor.
        apart = (ratios - ratios.mean()) / np.sqrt(1 - draw.share)
        return np.hstack([scores, (ratios.mean() + apart)[:, None]])

    def _ratio(self, window: NDArray[np.intp]) -> float:
        parts = [self._rows[block] for block in window]
        rows = np.concatenate(parts)
        kept = evenly(len(rows), WINDOW_ROWS)
        rows = rows[kept]
        among = squared_distances(self._near[rows], self._near[rows])
        # As in a window: blocks that follow one another are neighbours, though here they are strangers.
        place = np.repeat(np.arange(len(parts)), [len(part) for part in parts])[kept]
        return knn_ratio(self._distances[rows], among, place, reach=self._reference.reach)[0]


def _fit(
    embeddings: NDArray[Any], split: Split, times: NDArray[np.float64] | None, seed: int, *, even: bool = True
) -> tuple[EmbeddingReference, NDArray[np.float32], BlockMoments]:
    """The fit, and the held rows' coordinates and moments; ``even`` where what the hour does to the spread goes too."""
    fitted, held = embeddings[split.fitted], embeddings[split.held]
    blocks, of_fitted = split.blocks, split.fitted_blocks
    day, spread = None, DaySpread()
    if times is not None:
        (at, at_held), (slices, slices_held) = (times[split.fitted], times[split.held]), _slices(split)
        day = fit_day(fitted, at, slices, of_fitted.of_row)
        fitted, held = day.without(fitted, at, slices), day.without(held, at_held, slices_held)
    basis = fit_basis(fitted, of_fitted.of_row, of_fitted.of_row_stratum)
    near, coordinates = basis.project(fitted), basis.project(held)
    if times is not None and even:
        spread = fit_spread(near, basis.variances, at, slices, of_fitted.of_row)
        near, coordinates = spread.evened(near, at, slices), spread.evened(coordinates, at_held, slices_held)
    moments = block_moments(coordinates, blocks.of_row, len(blocks))
    used = block_moments(near, of_fitted.of_row, len(of_fitted))
    centres = {
        name: centre_of(moments.take(blocks.stratum == stratum), used.take(of_fitted.stratum == stratum))
        for stratum, name in enumerate(blocks.names)
        if (blocks.stratum == stratum).any()
    }
    coreset = build_coreset(near, coordinates, blocks.of_row, np.random.default_rng(seed))
    return EmbeddingReference(basis, centres, coreset, day, spread, blocks.adjoining), coordinates, moments


def _slices(split: Split) -> tuple[NDArray[np.str_], NDArray[np.str_]]:
    """The names of the slices of the fitted and of the held rows."""
    names = np.array(split.blocks.names)
    return names[split.fitted_blocks.of_row_stratum], names[split.blocks.of_row_stratum]


def held_deviations(
    embeddings: NDArray[Any],
    split: Split,
    *,
    times: NDArray[np.float64] | None = None,
    seed: int = 0,
    even: bool = True,
) -> tuple[EmbeddingReference, Deviations]:
    """The fit of ``fit_embedding`` and the deviation of each held block from the centre of its own slice.

    Without ``even``, moves are as long by night as by day, though they are more of what there is to see by night.
    """
    reference, _, moments = _fit(embeddings, split, times, seed, even=even)
    return reference, _within(moments, split.blocks, reference.centres)


def _within(moments: BlockMoments, blocks: Blocks, centres: Mapping[str, Centre]) -> Deviations:
    """Every block's deviation from the centre of its own slice."""
    first, second = np.zeros_like(moments.totals), np.zeros_like(moments.squares)
    for stratum, name in enumerate(blocks.names):
        own = blocks.stratum == stratum
        if own.any():
            part = deviations(moments.take(own), centres[name])
            # The centre's variance is for new rows; about their own mean these deviate by nothing altogether. They are
            # nearer to a mean that they made, and their squares vary by as much less.
            offset = part.second.sum(axis=0) / part.counts.sum()
            near = centres[name].variance + offset
            farther = np.divide(centres[name].variance, near, out=np.ones_like(near), where=near > 0)
            first[own], second[own] = part.first, (part.second - part.counts[:, None] * offset) * farther
    return Deviations(moments.counts, first, second)
