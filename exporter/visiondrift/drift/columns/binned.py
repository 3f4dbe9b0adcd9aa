"""How columns are binned for the scores that compare shares, which is Evidently's way of it, with all its thresholds.

PSI, Jensen-Shannon and Hellinger say nothing without their bins, and the same names over other bins are other numbers.
Evidently's bins follow from both samples: equal widths over the common range, as many as Sturges' rule says, for a
column whose reference has more than 20 different values; else each value is a bin. What can be prepared is the order
of the values: with it, counting a bin is looking up its edges. Hellinger's rule counts different values, not rows.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import rel_entr

from visiondrift.drift.columns.ordered import OrderedColumns, PreparedColumns, blocks, distinct_values, order_window

FEW_VALUES = 20
"""Different values of the reference up to which each value is a bin of its own."""

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


def hellinger(reference: PreparedColumns, window: NDArray[Any] | OrderedColumns) -> NDArray[np.float64]:
    """(d,) Hellinger distance, 0-1; Evidently's method ``hellinger``. Raises ValueError as ``order_window`` does.

    Its bins are its own: Sturges' rule is given the number of different values that both samples have together.
    """
    compared = order_window(reference, window)
    low, high = _range(reference, compared)
    bins = _sturges(low, high, _distinct_together(reference, compared))
    scores = np.empty(compared.dimension)
    for group in _equal_widths(reference, compared, np.arange(compared.dimension), bins):
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


def _distinct_together(reference: OrderedColumns, window: OrderedColumns) -> NDArray[np.int64]:
    """(d,) how many different values the two samples of each column have together."""
    distinct = np.empty(reference.dimension, dtype=np.int64)
    for block in blocks(reference.dimension, reference.rows + window.rows):
        merged = np.concatenate([reference.ordered[block], window.ordered[block]], axis=1)
        merged.sort(axis=1)
        distinct[block] = distinct_values(merged)
    return distinct
