"""The two-sample Kolmogorov-Smirnov test of every column: its statistic without ranking every value, and its p-value.

Both are those of ``scipy.stats.ks_2samp`` with its defaults, which Evidently's method ``ks`` calls: two-sided, exact
up to 10,000 rows a side, asymptotic beyond. The statistic is the widest gap between two staircases. Between two of
its steps a staircase can rise by so much only, so a look at every 32nd step says where the widest gap may lie, every
8th step there says where within, and the few steps left are looked at one by one. Gaps are counted in whole numbers of
1 / (n m), so that none is rounded.
"""

from dataclasses import dataclass
from itertools import pairwise
from math import gcd
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaln
from scipy.stats import kstwo

from visiondrift.drift.columns.ordered import OrderedColumns, PreparedColumns, blocks, order_window

EXACT_ROWS = 10_000
"""Rows of the larger sample up to which the p-value is exact; scipy's limit."""

_STEPS = (32, 8, 1)
_HEIGHTS_AT_ONCE = 256
_STEPS_AT_ONCE = 256
_NEGLIGIBLE = 750.0
"""exp of minus this is zero in float64."""


def ks_statistic(reference: PreparedColumns, window: NDArray[Any] | OrderedColumns) -> NDArray[np.float64]:
    """(d,) widest gap, 0-1, between the distribution functions of the window's (m, d) and the reference's column.

    Raises ValueError as ``order_window`` does.
    """
    compared = order_window(reference, window)
    n, m = reference.rows, compared.rows
    kind = np.result_type(reference.ordered, compared.ordered)
    gaps = [
        _widest_gaps(*(np.asarray(side.ordered[block], dtype=kind) for side in (reference, compared)))
        for block in blocks(compared.dimension, 1 + m // _STEPS[0])
    ]
    return np.concatenate(gaps) // gcd(n, m) / _least_common_multiple(n, m)


def ks_pvalue(statistic: NDArray[np.float64], n: int, m: int) -> NDArray[np.float64]:
    """(d,) the chance of a ``statistic`` (d,) as large or larger between n and m rows of one distribution.

    Equal sizes cost next to nothing. Unequal sizes cost some n * m * statistic additions for each different
    statistic, a second or so for 512 columns of 5,000 rows: no part of what runs at every tick.
    """
    values, place = np.unique(statistic, return_inverse=True)
    if max(n, m) > EXACT_ROWS:
        size = np.round(float(n) * m / (float(n) + m))
        return np.asarray(np.clip(kstwo.sf(values, size), 0, 1)[place])
    heights = np.rint(values * _least_common_multiple(n, m)).astype(np.int64)
    chances = np.ones(len(heights))
    above = np.flatnonzero(heights)
    if n == m:
        chances[above] = _equal_sizes(heights[above], n)
    else:
        for start in range(0, len(above), _HEIGHTS_AT_ONCE):
            some = above[start : start + _HEIGHTS_AT_ONCE]
            chances[some] = _unequal_sizes(heights[some], max(n, m), min(n, m))
    return np.asarray(np.clip(chances, 0, 1)[place])


def _least_common_multiple(n: int, m: int) -> int:
    return n // gcd(n, m) * m


@dataclass(frozen=True, eq=False)
class _Stretches:
    """Stretches of sorted windows: what lies between the places ``begin`` and ``end`` of a ``column``, each (k,).

    ``at`` values of the reference are at most the window's value at ``begin``, ``before`` less than that at ``end``.
    """

    column: NDArray[np.intp]
    begin: NDArray[np.intp]
    end: NDArray[np.intp]
    at: NDArray[np.intp]
    before: NDArray[np.intp]

    def that_may_hide(self, gap: NDArray[np.int64], n: int, m: int) -> "_Stretches":
        """Those within which there could be a gap beyond the ``gap`` of their column, times n m.

        At most the window rises to just before the end with the reference still where it was at the beginning, or the
        reference to just before the end with the window one step past the beginning.
        """
        most = np.maximum(self.end * n - self.at * m, self.before * m - (self.begin + 1) * n)
        left = np.flatnonzero(most > gap[self.column])
        return _Stretches(self.column[left], self.begin[left], self.end[left], self.at[left], self.before[left])


def _widest_gaps(reference: NDArray[Any], window: NDArray[Any]) -> NDArray[np.int64]:
    """(d,) the widest gap of each column times n m, of ``reference`` (d, n) and ``window`` (d, m), both ascending.

    The window's staircase is highest above the reference's at one of its own values (counting that), and lowest below
    it just before one. At first the whole of every column is one stretch, from before its values to after them.
    """
    (columns, n), m = reference.shape, window.shape[1]
    widest, none = np.zeros(columns, dtype=np.int64), np.zeros(columns, dtype=np.intp)
    hiding = _Stretches(np.arange(columns), none - 1, none + m, none, none + n)
    length = m + 1
    for step in _STEPS:
        inner = hiding.begin[:, None] + np.arange(step, length, step)
        inner = np.minimum(inner, hiding.end[:, None] - 1)
        at, before = _ranks(reference, hiding.column, window[hiding.column[:, None], inner])
        gaps = np.maximum((inner + 1) * n - at * m, before * m - inner * n)
        np.maximum.at(widest, hiding.column, gaps.max(axis=1, initial=0))
        parts = _Stretches(
            np.repeat(hiding.column, inner.shape[1] + 1),
            np.column_stack([hiding.begin, inner]).ravel(),
            np.column_stack([inner, hiding.end]).ravel(),
            np.column_stack([hiding.at, at]).ravel(),
            np.column_stack([before, hiding.before]).ravel(),
        )
        hiding, length = parts.that_may_hide(widest, n, m), step
    return widest


def _ranks(
    reference: NDArray[Any], column: NDArray[np.intp], values: NDArray[Any]
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """How many values of its reference column are at most, and how many less than, each of ``values`` (k, c).

    Row i of ``values`` belongs to ``column[i]``, which ascends.
    """
    own, begins = np.unique(column, return_index=True)
    rows_of = [slice(*ends) for ends in pairwise([*begins.tolist(), len(column)])]
    at = np.empty(values.shape, dtype=np.intp)
    for which, rows in zip(own.tolist(), rows_of, strict=True):
        at[rows] = reference[which].searchsorted(values[rows], "right")
    # Where none is at most the value, the index -1 finds the largest, which is no tie either.
    tied = (reference[column[:, None], at - 1] == values).any(axis=1)
    before = at.copy()
    for place in np.unique(np.searchsorted(own, column[tied])).tolist():
        before[rows_of[place]] = reference[own[place]].searchsorted(values[rows_of[place]])
    return at, before


def _equal_sizes(heights: NDArray[np.int64], n: int) -> NDArray[np.float64]:
    """P(D >= h / n) by reflection (Gnedenko and Korolyuk 1951): 2 sum_k (-1)^(k-1) C(2n, n - kh) / C(2n, n).

    The logarithms of the ratios are added up from the middle outwards, where they are small and lose no digits.
    """
    step = np.arange(n)
    log_ratio = np.concatenate([[0.0], np.cumsum(np.log((n - step) / (n + step + 1)))])
    log_ratio = log_ratio[log_ratio > -_NEGLIGIBLE]
    chances = np.zeros(len(heights))
    for place, height in enumerate(heights):
        terms = np.exp(log_ratio[height::height])
        chances[place] = 2 * (terms[::2].sum() - terms[1::2].sum())
    return chances


def _unequal_sizes(heights: NDArray[np.int64], n: int, m: int) -> NDArray[np.float64]:
    """P(D >= h / lcm(n, m)), n > m, by the paths of n steps right and m steps up that leave the corridor.

    The two samples in one ascending row are such a path, and all paths are equally likely (Hodges 1958). A walk that
    goes up with chance m / (n + m) takes each with the same chance too. ``left`` (m + 3, heights) holds the chance
    that the walk is at height j (its row j + 1) and has left the corridor on its way; on the corridor's rim, where it
    is sure to have left, that is the binomial chance of being there. All is added, nothing subtracted, so that the
    smallest p-values keep their digits. Beyond the rim nothing is read, so what lies there does not matter.
    """
    common = gcd(n, m)
    right, up = n // common, m // common
    rise, columns = m / (n + m), np.arange(len(heights))
    left = np.zeros((m + 3, len(heights)))
    for start in range(1, n + m + 1, _STEPS_AT_ONCE):
        steps = np.arange(start, min(start + _STEPS_AT_ONCE, n + m + 1))[:, None]
        lower = np.clip((up * steps - heights) // (up + right), -1, m)
        upper = np.clip(-((-up * steps - heights) // (up + right)), 0, m + 1)
        rims = [(rim + 1, _walk_is_at(rim, steps, rise)) for rim in (lower, upper)]
        first, last = lower.min(axis=1) + 1, upper.max(axis=1) + 1
        for step in range(len(steps)):
            own = left[max(1, first[step]) : last[step] + 1]
            came = left[max(1, first[step]) - 1 : last[step]] * rise
            own *= 1 - rise
            own += came
            for rows, chance in rims:
                left[rows[step], columns] = chance[step]
    return np.asarray(left[m + 1] / _walk_is_at(np.array(m), np.array(n + m), rise))


def _walk_is_at(height: NDArray[Any], steps: NDArray[Any], rise: float) -> NDArray[np.float64]:
    """Binomial chance of ``height`` rises in ``steps``; zero for an impossible height."""
    ways = gammaln(steps + 1) - gammaln(height + 1) - gammaln(steps - height + 1)
    return np.asarray(np.exp(ways + height * np.log(rise) + (steps - height) * np.log1p(-rise)))
