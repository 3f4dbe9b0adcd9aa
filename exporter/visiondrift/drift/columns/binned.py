"""How columns are binned for the scores that compare shares, which is Evidently's way of it, with all its thresholds.

PSI, Jensen-Shannon and Hellinger say nothing without their bins, and the same names over other bins are other numbers.
Evidently's bins follow from both samples: equal widths over the common range, as many as Sturges' rule says, for a
column whose reference has more than 20 different values; else each value is a bin. What can be prepared is the order
of the values: with it, counting a bin is looking up its edges. Hellinger's rule counts different values, not rows, and
as it goes by the logarithm of their number, knowing that roughly is nearly always enough.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import rel_entr

from visiondrift.drift.columns.ordered import OrderedColumns, PreparedColumns, blocks, distinct_values, order_window

FEW_VALUES = 20
"""Different values of the reference up to which each value is a bin of its own."""

_LAST_BITS = 16
"""Of a float, by which it is told from others."""

EMPTY_SHARE = 0.0001
"""What PSI takes for the share of an empty bin, unless a share of the sample is as small: then a millionth of that."""


@dataclass(frozen=True, eq=False)
class ColumnShares:
    """Shares of the reference and of the window in the bins of some columns, each (columns, bins)."""

    columns: NDArray[np.intp]
    reference: NDArray[np.float64]
    window: NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class BinnedColumns:
    """The shares of all ``dimension`` columns, those with equally many bins together."""

    dimension: int
    groups: tuple[ColumnShares, ...]


def bin_columns(reference: PreparedColumns, window: NDArray[Any] | OrderedColumns) -> BinnedColumns:
    """Bins and shares for ``psi`` and ``jensen_shannon``. Raises ValueError as ``order_window`` does."""
    compared = order_window(reference, window)
    many = reference.distinct > FEW_VALUES
    low, high = _range(reference, compared)
    rows = np.full(compared.dimension, reference.rows + compared.rows)
    groups = _equal_widths(reference, compared, np.flatnonzero(many), _sturges(low, high, rows))
    return BinnedColumns(
        compared.dimension,
        (*groups, *(_each_value(reference, compared, column) for column in np.flatnonzero(~many))),
    )


def psi(binned: BinnedColumns) -> NDArray[np.float64]:
    """(d,) population stability index, 0 to infinity; Evidently's method ``psi``."""
    scores = np.empty(binned.dimension)
    for group in binned.groups:
        p, q = _filled(group.reference), _filled(group.window)
        scores[group.columns] = ((p - q) * np.log(p / q)).sum(axis=1)
    return scores


def jensen_shannon(binned: BinnedColumns) -> NDArray[np.float64]:
    """(d,) Jensen-Shannon distance by the natural logarithm, 0 to 0.8326; Evidently's method ``jensenshannon``."""
    scores = np.empty(binned.dimension)
    for group in binned.groups:
        p, q = group.reference, group.window
        middle = (p + q) / 2
        divergence = (rel_entr(p, middle) + rel_entr(q, middle)).sum(axis=1) / 2
        scores[group.columns] = np.sqrt(np.maximum(divergence, 0))
    return scores


def hellinger(
    reference: PreparedColumns, window: NDArray[Any] | OrderedColumns, *, binned: BinnedColumns | None = None
) -> NDArray[np.float64]:
    """(d,) Hellinger distance, 0-1; Evidently's method ``hellinger``. Raises ValueError as ``order_window`` does.

    Its bins are its own: Sturges' rule is given the number of different values that both samples have together. Where
    they come to be as many as those of ``binned``, which are of the same two samples, they are the same.
    """
    compared = order_window(reference, window)
    bins = _hellinger_bins(reference, compared)
    groups, left = [], np.ones(compared.dimension, dtype=bool)
    for group in binned.groups if binned is not None else ():
        own = group.columns
        alike = (reference.distinct[own] > FEW_VALUES) & (bins.count[own] == group.reference.shape[1])
        groups.append(ColumnShares(own[alike], group.reference[alike], group.window[alike]))
        left[own[alike]] = False
    groups += _equal_widths(reference, compared, np.flatnonzero(left), bins)
    scores = np.empty(compared.dimension)
    for group in groups:
        overlap = np.sqrt(group.reference * group.window).sum(axis=1)
        scores[group.columns] = np.sqrt(1 - np.clip(overlap, 0, 1))
    return scores


def _range(reference: OrderedColumns, window: OrderedColumns) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    low = np.minimum(reference.ordered[:, 0], window.ordered[:, 0]).astype(np.float64)
    return low, np.maximum(reference.ordered[:, -1], window.ordered[:, -1]).astype(np.float64)


@dataclass(frozen=True, eq=False)
class _Bins:
    """The range (d,) and number (d,) of each column's bins of equal width."""

    low: NDArray[np.float64]
    high: NDArray[np.float64]
    count: NDArray[np.intp]


def _sturges(low: NDArray[np.float64], high: NDArray[np.float64], size: NDArray[np.int64]) -> _Bins:
    """As ``numpy.histogram_bin_edges(..., bins="sturges")`` has it, rounding and all: it divides twice."""
    extent = high - low
    constant = extent == 0
    width = extent / (np.log2(size) + 1.0)
    count = np.ones(len(low), dtype=np.intp)
    # A range at the bottom of float64 has no width left to divide by, and is one bin.
    wide = width > 0
    count[wide] = np.ceil(extent[wide] / width[wide]).astype(np.intp)
    return _Bins(np.where(constant, low - 0.5, low), np.where(constant, high + 0.5, high), count)


def _equal_widths(
    reference: OrderedColumns, window: OrderedColumns, columns: NDArray[np.intp], bins: _Bins
) -> list[ColumnShares]:
    groups = []
    for count in np.unique(bins.count[columns]):
        chosen = columns[bins.count[columns] == count]
        edges = np.linspace(bins.low[chosen], bins.high[chosen], count + 1, axis=1)
        shares = (_shares(side.ordered, chosen, edges) for side in (reference, window))
        groups.append(ColumnShares(chosen, *shares))
    return groups


def _shares(
    ordered: NDArray[np.floating[Any]], columns: NDArray[np.intp], edges: NDArray[np.float64]
) -> NDArray[np.float64]:
    """A value on an edge belongs to the bin above it; the last bin has both its edges."""
    inner = np.array(
        [
            ordered[column].astype(np.float64, copy=False).searchsorted(own)
            for column, own in zip(columns, edges[:, 1:-1], strict=True)
        ]
    )
    return np.asarray(np.diff(inner, axis=1, prepend=0, append=ordered.shape[1]) / ordered.shape[1])


def _each_value(reference: OrderedColumns, window: OrderedColumns, column: np.intp) -> ColumnShares:
    own, other = (side.ordered[column].astype(np.float64) for side in (reference, window))
    values = np.union1d(own, other)
    shares = (
        (side.searchsorted(values, "right") - side.searchsorted(values))[np.newaxis] / len(side)
        for side in (own, other)
    )
    return ColumnShares(np.array([column]), *shares)


def _filled(shares: NDArray[np.float64]) -> NDArray[np.float64]:
    """Shares (columns, bins) with a small one for each empty bin; they add up to a little more than 1, as they do
    with Evidently."""
    least = np.where(shares > 0, shares, np.inf).min(axis=1, keepdims=True)
    return np.where(shares > 0, shares, np.where(least <= EMPTY_SHARE, least / 10**6, EMPTY_SHARE))


def _hellinger_bins(reference: OrderedColumns, window: OrderedColumns) -> _Bins:
    low, high = _range(reference, window)
    # Where the fewest different values that there can be ask for as many bins as the most do, it is as many.
    bins = _sturges(low, high, reference.distinct + window.distinct)
    fewest = _sturges(low, high, np.maximum(reference.distinct, window.distinct)).count
    unsure = np.flatnonzero(fewest < bins.count)
    fewest = _sturges(low[unsure], high[unsure], _at_least(reference, window, unsure)).count
    unsure = unsure[fewest < bins.count[unsure]]
    bins.count[unsure] = _sturges(low[unsure], high[unsure], _distinct_together(reference, window, unsure)).count
    return bins


def _at_least(reference: OrderedColumns, window: OrderedColumns, columns: NDArray[np.intp]) -> NDArray[np.int64]:
    """(len(columns),) how many different values the two samples of each have together, at the least.

    Values whose last bits no value of the other sample has are in one sample alone. Numbers of few digits end alike and
    tell nothing; those of a network hardly ever do.
    """
    kind = np.result_type(reference.ordered, window.ordered)
    bits = f"u{kind.itemsize}"
    found, there = np.empty(len(columns), dtype=np.int64), np.empty(1 << _LAST_BITS, dtype=bool)
    for place, column in enumerate(columns):
        own, other = (
            (side.ordered[column].astype(kind, copy=False).view(bits) & ((1 << _LAST_BITS) - 1)).astype(np.intp)
            for side in (reference, window)
        )
        there[:] = False
        there[own] = True
        found[place] = len(other) - np.count_nonzero(there.take(other))
    again = window.rows - window.distinct[columns]
    return np.asarray(reference.distinct[columns] + np.maximum(found - again, 0))


def _distinct_together(
    reference: OrderedColumns, window: OrderedColumns, columns: NDArray[np.intp]
) -> NDArray[np.int64]:
    """(len(columns),) how many different values the two samples of each have together."""
    distinct = np.empty(len(columns), dtype=np.int64)
    for block in blocks(len(columns), reference.rows + window.rows):
        merged = np.concatenate([side.ordered[columns[block]] for side in (reference, window)], axis=1)
        merged.sort(axis=1)
        distinct[block] = distinct_values(merged)
    return distinct
