"""Which rows are one witness: the length of a block, and the block of every row.

Frames of one camera are alike as long as the scene lasts. A block is a slice's stretch of time so long that the next
one says something new; it is the unit that is counted, drawn and kept, in the reference and in a window alike. Where
scenes or clips are labelled, the label is the block.

Slices are witnesses of their own only as far as they have nothing in common, and cameras of one site have the weather.
What all slices together show in one moment is therefore drawn and kept together.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from visiondrift.drift.thinning import evenly

MAX_BLOCKS = 4_000
"""Blocks of a slice's reference at most; longer blocks are as right as short ones, and cost less."""

ALIKE = 0.05
"""Autocorrelation below which two moments count as unrelated."""

NEXT_ALIKE = 0.1
"""Correlation of neighbouring blocks' means above which the blocks are too short."""

LEAST_BLOCKS = 40
"""Blocks of a slice that can be judged by itself."""

FEWEST_BLOCKS = 8
"""Blocks that fit into a slice's reference at least: of what stays alike for longer it cannot tell how long it does."""

_LENGTHS = 2.0
"""Block length in decorrelation times: what crosses a boundary is then a small part of a block's variance."""

_LAG_RATIO = 1.25
_MAX_LAGS = 60
_MAX_ROWS = 20_000
_QUARTILE = 75.0


@dataclass(frozen=True, eq=False)
class Blocks:
    """``of_row`` (n,) the block of each row, ``stratum`` (B,) the slice of each block as an index into ``names``.

    ``moment`` (B,) is one number for blocks of several slices that are of one time or label; where slices have blocks
    of their own length, it may be one for several of a slice. Blocks are numbered by slice and time or label.
    ``adjoining`` says that windows are cut by the clock, so that a scene may lie in two neighbouring blocks;
    ``ordered`` that blocks and moments which follow one another do so in time.
    """

    of_row: NDArray[np.intp]
    stratum: NDArray[np.intp]
    names: tuple[str, ...]
    moment: NDArray[np.intp]
    adjoining: bool = False
    ordered: bool = False

    def __len__(self) -> int:
        return len(self.stratum)

    @property
    def of_row_stratum(self) -> NDArray[np.intp]:
        """(n,) the slice of each row."""
        return np.asarray(self.stratum[self.of_row])

    @property
    def sizes(self) -> NDArray[np.int64]:
        """(B,) rows of each block."""
        return np.bincount(self.of_row, minlength=len(self)).astype(np.int64)

    def only(self, wanted: NDArray[np.bool_]) -> "Blocks":
        """Some of the blocks, ``wanted`` (B,), with their rows in order, numbered anew."""
        number = np.cumsum(wanted) - 1
        of_row = number[self.of_row[wanted[self.of_row]]].astype(np.intp)
        return replace(self, of_row=of_row, stratum=self.stratum[wanted], moment=self.moment[wanted])

    def of_rows(self, rows: NDArray[np.intp]) -> "Blocks":
        """The blocks that some ``rows`` are of, numbered anew."""
        kept, of_row = np.unique(self.of_row[rows], return_inverse=True)
        of_row = of_row.reshape(-1).astype(np.intp)
        return replace(self, of_row=of_row, stratum=self.stratum[kept], moment=self.moment[kept])


def labelled_blocks(labels: NDArray[Any], slices: NDArray[Any] | None = None) -> Blocks:
    """Blocks by label (n,), such as a scene or clip, within each of ``slices`` (n,)."""
    names, stratum = _strata(len(labels), slices)
    place = np.unique(labels, return_inverse=True)[1]
    pairs, of_row = np.unique(np.stack([stratum, place], axis=1), axis=0, return_inverse=True)
    stratum, moment = pairs.T.astype(np.intp)
    return Blocks(of_row.reshape(-1).astype(np.intp), stratum, names, moment)


def timed_blocks(
    times: NDArray[np.float64],
    seconds: float | NDArray[np.float64],
    slices: NDArray[Any] | None = None,
    *,
    together: float = 0.0,
) -> Blocks:
    """Blocks of ``seconds`` by the clock (n,), within each of ``slices``; the same bins in reference and window.

    Slices may have blocks of their own length: ``seconds`` is then that of each row's slice (n,). What is in blocks of
    one moment, of the longest of these lengths and at least ``together`` seconds, is of one moment.
    """
    at = np.asarray(times, dtype=np.float64)
    blocks = labelled_blocks(np.floor(at / seconds).astype(np.int64), slices)
    return replace(blocks, moment=_moments(at, seconds, blocks, together), adjoining=True, ordered=True)


def _moments(
    times: NDArray[np.float64], seconds: float | NDArray[np.float64], blocks: Blocks, together: float
) -> NDArray[np.intp]:
    """(B,) the moment of each block: what lies in the same stretch, as long as a block of the slowest slice and no
    shorter than ``together``.

    A slice of few blocks does not count: it is not judged by itself, and would make one moment of hours.
    """
    length, begin = np.zeros(len(blocks)), np.zeros(len(blocks))
    length[blocks.of_row] = seconds
    begin[blocks.of_row] = np.floor(times / seconds) * seconds
    many = np.bincount(blocks.stratum, minlength=len(blocks.names)) >= LEAST_BLOCKS
    among = many[blocks.stratum] if many.any() else np.ones(len(blocks), dtype=bool)
    # The middle of a block, as its beginning may lie a rounding before that of the stretch.
    longest = max(float(length[among].max(initial=0.0)), together)
    stretch = np.floor((begin + length / 2) / longest)
    return np.unique(stretch, return_inverse=True)[1].astype(np.intp)


_STILL = 1e-9
"""Of its size, the standard deviation below which a series is what rounding leaves of a constant."""


def block_seconds(times: NDArray[np.float64], series: NDArray[Any]) -> float:
    """How long a block must be for one slice: ``times`` (n,) in seconds, ``series`` (n, p) what may be correlated.

    ``series`` are projections on leading axes and confidences. Twice the time after which they no longer resemble
    themselves, and doubled as long as the means of neighbouring blocks do; never so long that fewer than eight fit,
    where it is for the calibration to say that the reference is too short. Of very many rows evenly spread ones are
    looked at, as the slow changes show over the whole only. Raises ValueError with fewer than two rows.
    """
    if len(times) < 2:  # noqa: PLR2004
        msg = f"{len(times)} rows have no autocorrelation; at least 2 are needed"
        raise ValueError(msg)
    at, values = _in_order(times, series)
    span = max(float(at[-1] - at[0]), 1e-9)
    if at[-1] <= at[0] or is_still(values):
        return span / FEWEST_BLOCKS  # all at one time, or all alike: nothing tells how long anything lasts
    values = _standardised(values)
    shortest = span / min(len(at), MAX_BLOCKS)
    apart = decorrelation_seconds(at, values)
    length = max(shortest, _LENGTHS * apart if apart > shortest else shortest)
    while length < span / FEWEST_BLOCKS and _neighbours_alike(at, values, length) > NEXT_ALIKE:
        length *= 2
    return float(min(length, span / FEWEST_BLOCKS))


def is_still(series: NDArray[Any]) -> bool:
    """Whether nothing in ``series`` (n, p) ever changes, so that it cannot tell how long anything lasts."""
    return bool((series.std(axis=0) <= _STILL * np.abs(series).max(axis=0)).all())


def common_seconds(slices: Sequence[tuple[NDArray[np.float64], NDArray[Any]]]) -> float:
    """How long a moment must be, in which several slices are drawn together: ``slices`` are times (n,) and series
    (n, p) of each, p the same in all.

    What they have in common may be little of each and most of their mean, so it is the mean that must have forgotten
    the moment before: at twice the longest time, of those that double, at which neighbours are alike beyond what so few
    of them show by chance. Never so long that fewer than eight fit.
    """
    ordered = [_in_order(times, series) for times, series in slices]
    times = np.concatenate([at for at, _ in ordered])
    values = np.concatenate([_standardised(series) for _, series in ordered])
    span = float(np.ptp(times))
    if span <= 0:
        return 0.0
    most = min(max(len(at) for at, _ in ordered), MAX_BLOCKS)
    found = 0.0
    while most >= FEWEST_BLOCKS:
        length = span / most
        if _neighbours_alike(times, values, length) > max(NEXT_ALIKE, 2.0 / np.sqrt(most)):
            found = 2 * length
        most //= 2
    return float(min(found, span / FEWEST_BLOCKS))


@dataclass(frozen=True)
class Autocorrelation:
    """Of one slice: its frames resemble each other for ``seconds``, its neighbouring blocks correlate by ``next``."""

    seconds: float
    next: float


def autocorrelation(times: NDArray[np.float64], series: NDArray[Any], seconds: float) -> Autocorrelation:
    """Of ``series`` (n, p) at ``times`` (n,), n at least 2, in blocks of ``seconds``: what their length rests on."""
    at, values = _in_order(times, series)
    values = _standardised(values)
    return Autocorrelation(decorrelation_seconds(at, values), _neighbours_alike(at, values, seconds))


def decorrelation_seconds(times: NDArray[np.float64], values: NDArray[np.float64]) -> float:
    """The lag from which ``values`` (n, p), standardised and in order of ``times``, no longer resemble themselves.

    Pairs of rows are gathered by their distance in time, not in rows: bursts and gaps are usual. Of the p series the
    upper quartile speaks. 0 where already neighbours are unrelated; the whole span where nothing ever is.
    """
    n = len(times)
    steps = np.unique(np.geomspace(1, max(1, n // 3), _MAX_LAGS).astype(int))
    lags = np.concatenate([times[step:] - times[:-step] for step in steps])
    usable = lags > 0
    if not usable.any():
        return 0.0
    products = np.concatenate([values[step:] * values[:-step] for step in steps])[usable]
    lags = lags[usable]
    place = (np.log(lags / lags.min()) / np.log(_LAG_RATIO)).astype(int)
    counts = np.bincount(place)
    sums = np.stack([np.bincount(place, weights=column) for column in products.T], axis=1)
    distance = np.bincount(place, weights=lags)
    known = counts >= min(30, counts.max())
    alike = np.percentile(sums[known] / counts[known, None], _QUARTILE, axis=1)
    distance = distance[known] / counts[known]
    # Pairs of a short series repeat each other: what n rows can tell at best is one over the root of n.
    unrelated = alike < max(ALIKE, 2.0 / np.sqrt(n))
    unrelated[:-1] &= unrelated[1:]
    if not unrelated.any():
        return float(times[-1] - times[0])
    first = int(np.argmax(unrelated))
    return 0.0 if first == 0 else float(distance[first])


def _neighbours_alike(times: NDArray[np.float64], values: NDArray[np.float64], seconds: float) -> float:
    """Mean correlation of the means of blocks that follow one another, over the series; 0 where they are few.

    Of a camera that sends less often than a block is long, blocks without a frame lie between: they are left out, but
    where so many do that it was off.
    """
    place = np.floor(times / seconds).astype(np.int64)
    bins, of_row, counts = np.unique(place, return_inverse=True, return_counts=True)
    means = np.stack([np.bincount(of_row, weights=column) / counts for column in values.T], axis=1)
    apart = np.diff(bins)
    next_to = np.flatnonzero(apart <= max(1, np.median(apart))) if len(apart) else apart
    if len(next_to) < FEWEST_BLOCKS:
        return 0.0
    variance = np.maximum((means**2).mean(axis=0), 1e-12)
    return float(np.mean((means[next_to] * means[next_to + 1]).mean(axis=0) / variance))


def _in_order(times: NDArray[np.float64], series: NDArray[Any]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Both in order of time; of very many rows evenly spread ones."""
    order = np.argsort(times, kind="stable")
    order = order[evenly(len(order), _MAX_ROWS)]
    return np.asarray(times, dtype=np.float64)[order], np.asarray(series, dtype=np.float64)[order]


def _standardised(values: NDArray[np.float64]) -> NDArray[np.float64]:
    values = values - values.mean(axis=0)
    return np.asarray(values / np.maximum(values.std(axis=0), 1e-12))


def _strata(rows: int, slices: NDArray[Any] | None) -> tuple[tuple[str, ...], NDArray[np.intp]]:
    if slices is None:
        return ("",), np.zeros(rows, dtype=np.intp)
    names, place = np.unique(np.asarray(slices).astype(str), return_inverse=True)
    return tuple(str(name) for name in names), place.astype(np.intp)
