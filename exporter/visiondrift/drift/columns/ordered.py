"""How columns are held for comparison: each sorted once, one behind the other in memory, and never with a gap.

Every score of a column needs its values in order, and nothing else costs as much. The reference is sorted when it is
prepared, a window once however many scores are taken of it. Only whole, finite columns are held: an event has its
embedding (its confidences, its image columns) or has not, so that rows without are dropped before they get here. Of a
frame whose missing rows are NaN, Evidently drops the same rows, and its numbers are those of the rows that remain.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

MIN_SPREAD = 0.001
"""The least standard deviation that a distance is divided by; Evidently's own floor, so that a constant column of
the reference gives a large number and not infinity."""

_BLOCK_VALUES = 2**17
"""Values in one block of columns: 1 MiB of float64, which a processor's cache holds; memory stays bounded however
wide the matrix is."""

_TURNED_ROWS = 16

_MATRIX = 2


@dataclass(frozen=True, eq=False)
class OrderedColumns:
    """A matrix of n rows and d columns as ``ordered`` (d, n): each column ascending, float32 or float64 as given."""

    ordered: NDArray[np.floating[Any]]

    @property
    def rows(self) -> int:
        """Rows, n."""
        return int(self.ordered.shape[1])

    @property
    def dimension(self) -> int:
        """Columns, d."""
        return int(self.ordered.shape[0])

    @cached_property
    def mean(self) -> NDArray[np.float64]:
        """(d,) mean of each column."""
        return np.asarray(self.ordered.mean(axis=1, dtype=np.float64))

    @cached_property
    def distinct(self) -> NDArray[np.int64]:
        """(d,) how many different values each column has."""
        return distinct_values(self.ordered)

    def block(self, columns: slice) -> NDArray[np.float64]:
        """The columns of ``blocks`` as float64, in which every score is computed."""
        return np.asarray(self.ordered[columns], dtype=np.float64)


@dataclass(frozen=True, eq=False)
class PreparedColumns(OrderedColumns):
    """A reference, ready for any number of windows.

    ``spread`` (d,) float64 holds each column's standard deviation (divisor n), at least ``MIN_SPREAD``.
    """

    spread: NDArray[np.float64]

    def take(self, columns: list[Any]) -> "PreparedColumns":
        """The columns at these positions, in that order."""
        return PreparedColumns(self.ordered[columns], self.spread[columns])


def prepare_columns(matrix: NDArray[Any]) -> PreparedColumns:
    """Sort each column of ``matrix`` (n, d) and take its spread.

    Raises ValueError where the matrix is empty, not two-dimensional, or holds NaN or infinity.
    """
    ordered = _sorted_columns(matrix, "reference")
    spread = np.empty(len(ordered), dtype=np.float64)
    for block in blocks(*ordered.shape):
        spread[block] = ordered[block].astype(np.float64).std(axis=1)
    return PreparedColumns(ordered, np.maximum(spread, MIN_SPREAD))


def order_window(reference: OrderedColumns, window: NDArray[Any] | OrderedColumns) -> OrderedColumns:
    """``window`` (m, d), sorted if it is not yet, as something that ``reference`` can be compared with.

    Raises ValueError as ``prepare_columns`` does, and where the number of columns differs.
    """
    ordered = window if isinstance(window, OrderedColumns) else OrderedColumns(_sorted_columns(window, "window"))
    if ordered.dimension != reference.dimension:
        msg = f"the window has {ordered.dimension} columns, the reference {reference.dimension}: they must be equal"
        raise ValueError(msg)
    return ordered


def distinct_values(ordered: NDArray[np.floating[Any]]) -> NDArray[np.int64]:
    """(d,) how many different values each row of ``ordered`` (d, n), ascending, has."""
    return np.asarray(1 + np.count_nonzero(ordered[:, 1:] != ordered[:, :-1], axis=1), dtype=np.int64)


def blocks(columns: int, values_per_column: int) -> list[slice]:
    """All columns in turn, a few at a time."""
    step = max(1, _BLOCK_VALUES // values_per_column)
    return [slice(start, start + step) for start in range(0, columns, step)]


def _sorted_columns(matrix: NDArray[Any], name: str) -> NDArray[np.floating[Any]]:
    if matrix.ndim != _MATRIX or 0 in matrix.shape:
        msg = f"the {name} has the shape {matrix.shape}; accepted is (rows, columns) with at least one of each"
        raise ValueError(msg)
    kind: type[np.floating[Any]] = np.float32 if matrix.dtype in (np.float16, np.float32) else np.float64
    columns: NDArray[np.floating[Any]] = np.empty(matrix.shape[::-1], dtype=kind)
    # A few rows at a time: a column at a time, a power of two of them to a row, meets few of the cache's lines.
    for start in range(0, len(matrix), _TURNED_ROWS):
        columns[:, start : start + _TURNED_ROWS] = matrix[start : start + _TURNED_ROWS].T
    columns.sort(axis=1)
    # NaN sorts last and infinities to both ends, so the ends alone tell.
    if not (np.isfinite(columns[:, 0]).all() and np.isfinite(columns[:, -1]).all()):
        msg = f"the {name} holds NaN or infinite values; drop such rows before comparing columns"
        raise ValueError(msg)
    return columns
