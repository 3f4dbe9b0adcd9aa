"""How far each numeric column moved, in its own unit or in reference standard deviations, all columns at once.

The Wasserstein scores are scipy's and Evidently's to the last digits (their own code is the oracle in the tests): the
first Wasserstein distance between the two samples of a column, raw or divided by the reference's standard deviation.
They take one column at a time; here the sorted columns are subtracted from each other. Beside the distances, the
shifts of the mean and of quantiles say in which direction a column went.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from visiondrift.drift.columns.ordered import (
    MIN_SPREAD,
    OrderedColumns,
    PreparedColumns,
    blocks,
    order_window,
    prepare_columns,
)

__all__ = [
    "MIN_SPREAD",
    "SHOWN_QUANTILES",
    "PreparedColumns",
    "drifted_share",
    "mean_shift",
    "prepare_columns",
    "quantile_shift",
    "wasserstein",
    "wasserstein_normed",
]

SHOWN_QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
"""The quantiles whose shifts tell a move (all alike) from a wider spread (the outer ones apart) and a new tail."""


def wasserstein(reference: PreparedColumns, window: NDArray[Any] | OrderedColumns) -> NDArray[np.float64]:
    """(d,) first Wasserstein distance of each column of ``window`` (m, d) from the reference, in the column's unit.

    It is the area between the two quantile functions. Both are steps, and where they step depends on n and m alone,
    so one list of widths and positions serves all columns. Equals ``scipy.stats.wasserstein_distance`` of the values
    as float64. Raises ValueError as ``order_window`` does.
    """
    compared = order_window(reference, window)
    n, m = reference.rows, compared.rows
    distances = np.empty(compared.dimension, dtype=np.float64)
    if n == m:
        for block in blocks(compared.dimension, n):
            distances[block] = _mean_gap(reference.ordered[block], compared.ordered[block])
        return distances
    widths, from_reference, from_window = _common_steps(n, m)
    for block in blocks(compared.dimension, len(widths)):
        gaps = reference.block(block).take(from_reference, axis=1)
        gaps -= compared.block(block).take(from_window, axis=1)
        np.abs(gaps, out=gaps)
        distances[block] = gaps @ widths
    return distances


def wasserstein_normed(reference: PreparedColumns, window: NDArray[Any] | OrderedColumns) -> NDArray[np.float64]:
    """(d,) the same in reference standard deviations: the score of Evidently's method ``wasserstein``."""
    return wasserstein(reference, window) / reference.spread


def drifted_share(distances: NDArray[np.float64], column_threshold: float) -> float:
    """Share of columns, 0-1, that moved by at least ``column_threshold`` reference standard deviations.

    This is the ``share`` of Evidently's ``DriftedColumnsCount`` with the method ``wasserstein``.
    """
    return float(np.mean(distances >= column_threshold))


def mean_shift(reference: PreparedColumns, window: NDArray[Any] | OrderedColumns) -> NDArray[np.float64]:
    """(d,) mean of the window minus mean of the reference, in reference standard deviations, signed."""
    return (order_window(reference, window).mean - reference.mean) / reference.spread


def quantile_shift(
    reference: PreparedColumns,
    window: NDArray[Any] | OrderedColumns,
    quantiles: tuple[float, ...] = SHOWN_QUANTILES,
) -> NDArray[np.float64]:
    """(len(quantiles), d) quantiles of the window minus those of the reference, in reference sd, signed.

    Quantiles are interpolated linearly, as ``numpy.quantile`` does of itself. Raises ValueError for one beyond 0-1.
    """
    if not all(0 <= quantile <= 1 for quantile in quantiles):
        msg = f"quantiles {quantiles}: accepted are numbers from 0 to 1"
        raise ValueError(msg)
    compared = order_window(reference, window)
    return (_quantiles(compared.ordered, quantiles) - _quantiles(reference.ordered, quantiles)) / reference.spread


def _mean_gap(a: NDArray[np.floating[Any]], b: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
    gaps = np.subtract(a, b, dtype=np.float64)
    np.abs(gaps, out=gaps)
    return np.asarray(gaps.mean(axis=1))


def _common_steps(n: int, m: int) -> tuple[NDArray[np.float64], NDArray[np.intp], NDArray[np.intp]]:
    """Widths on the probability axis, and the sorted row of the n and of the m that holds on each width."""
    edges = np.concatenate([np.arange(1, n + 1) * m, np.arange(1, m + 1) * n])
    edges.sort(kind="stable")  # two runs that ascend already
    edges = edges[np.diff(edges, prepend=0) > 0]
    widths = np.diff(edges, prepend=0) / (n * m)
    return widths, (edges - 1) // m, (edges - 1) // n


def _quantiles(ordered: NDArray[np.floating[Any]], quantiles: tuple[float, ...]) -> NDArray[np.float64]:
    position = np.array(quantiles) * (ordered.shape[1] - 1)
    below = np.floor(position).astype(np.intp)
    above = np.minimum(below + 1, ordered.shape[1] - 1)
    low, high = ordered[:, below].astype(np.float64), ordered[:, above].astype(np.float64)
    return np.asarray((low + (high - low) * (position - below)).T)
