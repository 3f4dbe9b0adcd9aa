"""How far each numeric column moved: the normed Wasserstein distance, all columns at once, reference sorted once.

The score is Evidently's ``wasserstein`` method to the last digits (its own code is the oracle in the tests): the first
Wasserstein distance between the two samples of a column, divided by the reference's standard deviation. Evidently
takes one column at a time; here one sort of the window and two gathers serve every column.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

MIN_SPREAD = 0.001
"""The least standard deviation that a distance is divided by; Evidently's own floor, so that a constant column of
the reference gives a large number and not infinity."""

_BLOCK_VALUES = 2**19
"""Values in one block of columns: 4 MiB of float64, so that memory stays bounded however wide the matrix is."""

_MATRIX = 2


@dataclass(frozen=True, eq=False)
class PreparedColumns:
    """A reference matrix of n rows and d columns, ready for any number of windows.

    ``ordered`` (d, n) holds each column ascending, float32 or float64 as given; ``spread`` (d,) float64 holds each
    column's standard deviation (divisor n), at least ``MIN_SPREAD``.
    """

    ordered: NDArray[np.floating[Any]]
    spread: NDArray[np.float64]

    @property
    def rows(self) -> int:
        """Rows of the reference, n."""
        return int(self.ordered.shape[1])

    @property
    def dimension(self) -> int:
        """Columns, d."""
        return int(self.ordered.shape[0])

    def take(self, columns: list[Any]) -> "PreparedColumns":
        """The columns at these positions, in that order."""
        return PreparedColumns(self.ordered[columns], self.spread[columns])


def prepare_columns(matrix: NDArray[Any]) -> PreparedColumns:
    """Sort each column of ``matrix`` (n, d) and take its spread.

    Raises ValueError where the matrix is empty, not two-dimensional, or holds NaN or infinity: rows without values
    are dropped before they get here.
    """
    ordered = _sorted_columns(matrix, "reference")
    spread = np.empty(len(ordered), dtype=np.float64)
    for block in _blocks(*ordered.shape):
        spread[block] = ordered[block].astype(np.float64).std(axis=1)
    return PreparedColumns(ordered, np.maximum(spread, MIN_SPREAD))


def wasserstein_normed(prepared: PreparedColumns, window: NDArray[Any]) -> NDArray[np.float64]:
    """(d,) normed Wasserstein distance of each column of ``window`` (m, d) from the reference, in reference sd.

    W1 is the area between the two quantile functions. Both are steps, and where they step depends on n and m alone,
    so one list of widths and positions serves all columns. Raises ValueError as ``prepare_columns`` does, and where
    the number of columns differs.
    """
    ordered = _sorted_columns(window, "window")
    if len(ordered) != prepared.dimension:
        msg = f"the window has {len(ordered)} columns, the reference {prepared.dimension}: they must be equal"
        raise ValueError(msg)
    widths, from_reference, from_window = _common_steps(prepared.rows, ordered.shape[1])
    distances = np.empty(len(ordered), dtype=np.float64)
    for block in _blocks(len(ordered), len(widths)):
        gaps = prepared.ordered[block].astype(np.float64)[:, from_reference]
        gaps -= ordered[block].astype(np.float64)[:, from_window]
        np.abs(gaps, out=gaps)
        distances[block] = gaps @ widths
    return distances / prepared.spread


def drifted_share(distances: NDArray[np.float64], column_threshold: float) -> float:
    """Share of columns, 0-1, that moved by at least ``column_threshold`` reference standard deviations.

    This is the ``share`` of Evidently's ``DriftedColumnsCount`` with the method ``wasserstein``.
    """
    return float(np.mean(distances >= column_threshold))


def _sorted_columns(matrix: NDArray[Any], name: str) -> NDArray[np.floating[Any]]:
    if matrix.ndim != _MATRIX or 0 in matrix.shape:
        msg = f"the {name} has the shape {matrix.shape}; accepted is (rows, columns) with at least one of each"
        raise ValueError(msg)
    kind: type[np.floating[Any]] = np.float32 if matrix.dtype in (np.float16, np.float32) else np.float64
    columns: NDArray[np.floating[Any]] = np.array(matrix.T, dtype=kind, order="C")
    columns.sort(axis=1)
    # NaN sorts last and infinities to both ends, so the ends alone tell.
    if not (np.isfinite(columns[:, 0]).all() and np.isfinite(columns[:, -1]).all()):
        msg = f"the {name} holds NaN or infinite values; drop such rows before comparing columns"
        raise ValueError(msg)
    return columns


def _common_steps(n: int, m: int) -> tuple[NDArray[np.float64], NDArray[np.intp], NDArray[np.intp]]:
    """Widths on the probability axis, and the sorted row of the n and of the m that holds on each width."""
    edges = np.union1d(np.arange(1, n + 1) * m, np.arange(1, m + 1) * n)
    widths = np.diff(edges, prepend=0) / (n * m)
    return widths, (edges - 1) // m, (edges - 1) // n


def _blocks(columns: int, values_per_column: int) -> list[slice]:
    step = max(1, _BLOCK_VALUES // values_per_column)
    return [slice(start, start + step) for start in range(0, columns, step)]
