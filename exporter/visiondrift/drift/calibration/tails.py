"""How far out a score is: the upper tail of its null by three numbers, and between window sizes by interpolation.

A null that was drawn a thousand times says nothing at one in a hundred thousand, and mean + k sd is wrong there by a
factor of ten for the skewed nulls that sums of squares have. A Pearson III curve (a shifted gamma) matched to mean,
standard deviation and skewness follows those to within a small factor; the exponential is one, and so is the normal.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import special

_NORMAL_BELOW = 1e-3
"""Skewness below which the curve is taken as normal: its gamma shape would pass four million."""

Numbers = NDArray[np.float64] | Sequence[float] | float

_LEAST_P = 1e-300
_LEAST_SD = 1e-12
_MOST_SKEW = 6.0
_ARCTAN_ENDS = 1e6


def upper_tail(values: Numbers, mean: Numbers, sd: Numbers, skew: Numbers) -> NDArray[np.float64]:
    """P(X >= value) of a Pearson III variable, elementwise with broadcasting; at least 1e-300.

    Source: the standardised gamma of Wilson and Hilferty's family, as ``scipy.stats.pearson3`` (the oracle in the
    tests), which does not take arrays of skewness across its normal case.
    """
    spread = np.maximum(np.asarray(sd, dtype=np.float64), _LEAST_SD)
    z, skewness = np.broadcast_arrays((np.asarray(values, dtype=np.float64) - np.asarray(mean)) / spread, skew)
    curved = np.where(np.abs(skewness) < _NORMAL_BELOW, 1.0, skewness)
    shape = 4.0 / curved**2
    at = np.maximum(shape + z * 2.0 / curved, 0.0)
    gamma = np.where(curved > 0, special.gammaincc(shape, at), special.gammainc(shape, at))
    p = np.where(np.abs(skewness) < _NORMAL_BELOW, special.ndtr(-z), gamma)
    return np.asarray(np.clip(p, _LEAST_P, 1.0), dtype=np.float64)


def quantile_above(alpha: Numbers, mean: Numbers, sd: Numbers, skew: Numbers) -> NDArray[np.float64]:
    """The value that a Pearson III variable passes with probability ``alpha``: the inverse of ``upper_tail``."""
    level, skewness = np.broadcast_arrays(np.asarray(alpha, dtype=np.float64), np.asarray(skew, dtype=np.float64))
    curved = np.where(np.abs(skewness) < _NORMAL_BELOW, 1.0, skewness)
    shape = 4.0 / curved**2
    at = np.where(curved > 0, special.gammainccinv(shape, level), special.gammaincinv(shape, level))
    z = np.where(np.abs(skewness) < _NORMAL_BELOW, -special.ndtri(level), (at - shape) * curved / 2.0)
    return np.asarray(np.asarray(mean) + np.maximum(np.asarray(sd), _LEAST_SD) * z, dtype=np.float64)


def surprise(p: float) -> float:
    """-log10 of a chance: 2 is one in a hundred, 4 one in ten thousand; at most 300."""
    return float(0.0 - np.log10(max(p, _LEAST_P)))  # of 1 it is 0, not -0


def cauchy_combination(p: NDArray[np.float64]) -> NDArray[np.float64]:
    """One p of several dependent ones, along the last axis (Liu and Xie 2020); valid for small p whatever depends."""
    clipped = np.clip(p, 1e-15, 1 - 1e-15)
    mean = np.mean(np.tan((0.5 - clipped) * np.pi), axis=-1)
    # arctan loses every digit below 1e-16; the tail of a Cauchy variable is 1 / (pi x).
    return np.asarray(np.where(mean > _ARCTAN_ENDS, 1 / (np.pi * np.maximum(mean, 1.0)), 0.5 - np.arctan(mean) / np.pi))


@dataclass(frozen=True)
class Tail:
    """The null of one score at one window size: the mean, standard deviation and skewness of its Pearson III curve.

    ``witnesses`` is how many blocks of a reference the curve was drawn from. Few of them do not tell how steeply it
    falls where none of them is: of an exponential tail whose rate was learnt from m witnesses, what comes next is
    beyond x with the chance (1 + x/m)^-m (its predictive distribution; Aitchison and Dunsmore 1975), which is e^-x
    where there are many.
    """

    mean: float
    sd: float
    skew: float
    witnesses: float = math.inf

    def p(self, score: float) -> float:
        """The chance of this score or a higher one where nothing has drifted."""
        p = float(upper_tail(score, self.mean, self.sd, self.skew))
        if math.isinf(self.witnesses):
            return p
        return math.exp(-self.witnesses * math.log1p(-math.log(p) / self.witnesses))

    def threshold(self, alpha: float) -> float:
        """The score that is reached with probability ``alpha`` where nothing has drifted."""
        if math.isfinite(self.witnesses):
            least = math.log(_LEAST_P)
            alpha = math.exp(max(least, -self.witnesses * math.expm1(-math.log(alpha) / self.witnesses)))
        return float(quantile_above(alpha, self.mean, self.sd, self.skew))


@dataclass(frozen=True)
class Null:
    """The null of one score over window sizes, in blocks, ascending: what a reference stores, three numbers a size."""

    sizes: tuple[float, ...]
    means: tuple[float, ...]
    sds: tuple[float, ...]
    skews: tuple[float, ...]

    def at(self, blocks: float) -> Tail:
        """The tail for a window of ``blocks`` blocks, held to the calibrated sizes.

        Sums of squares scale as a power of the size, so positive numbers are interpolated by logarithms.
        """
        x = np.log(np.clip(blocks, self.sizes[0], self.sizes[-1]))
        grid = np.log(self.sizes)
        return Tail(_between(x, grid, self.means), _between(x, grid, self.sds), float(np.interp(x, grid, self.skews)))

    def to_dict(self) -> dict[str, list[float]]:
        """JSON-able: four lists of equal length."""
        return {
            "sizes": list(self.sizes),
            "means": list(self.means),
            "sds": list(self.sds),
            "skews": list(self.skews),
        }

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> "Null":
        """What ``to_dict`` gave. Raises KeyError where a list is missing, ValueError where lengths differ."""
        lists = [tuple(float(value) for value in stored[name]) for name in ("sizes", "means", "sds", "skews")]
        if not lists[0] or len({len(values) for values in lists}) != 1:
            msg = "a null needs sizes, means, sds and skews as lists of one length, at least 1"
            raise ValueError(msg)
        return cls(*lists)


def fit_null(sizes: tuple[float, ...], drawn: list[NDArray[np.float64]]) -> tuple[Null, ...]:
    """A null for each score from what was drawn: for each size a matrix (draws, scores). Raises ValueError on NaN."""
    columns = [_three_numbers(matrix) for matrix in drawn]
    return tuple(
        Null(sizes, *(tuple(float(three[which, score]) for three in columns) for which in range(3)))
        for score in range(drawn[0].shape[1])
    )


def _three_numbers(matrix: NDArray[np.float64]) -> NDArray[np.float64]:
    """(3, scores) mean, standard deviation and skewness of each column."""
    if not np.isfinite(matrix).all():
        msg = "a score drawn under the null is NaN or infinite; a statistic must have a value for every window"
        raise ValueError(msg)
    mean = matrix.mean(axis=0)
    apart = matrix - mean
    sd = np.maximum(np.sqrt((apart**2).mean(axis=0)), _LEAST_SD)
    skew = np.clip(((apart / sd) ** 3).mean(axis=0), -_MOST_SKEW, _MOST_SKEW)
    return np.stack([mean, sd, skew])


def _between(x: float, grid: NDArray[np.float64], values: tuple[float, ...]) -> float:
    given = np.asarray(values)
    if (given > 0).all():
        return float(np.exp(np.interp(x, grid, np.log(given))))
    return float(np.interp(x, grid, given))
