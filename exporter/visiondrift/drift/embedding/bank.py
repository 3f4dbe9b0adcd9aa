"""Eight statistics of one deviation: which ways an embedding cloud can move, each seen by the one that sees it best.

All are functions of first and second moments alone, so they cost a product of small matrices however many rows the
window had. None wins everywhere (a whitened mean sees a changed lens, a plain one changed content, a variance noise),
which is why they are combined and none of them alerts by itself.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from visiondrift.drift.embedding.basis import Basis
from visiondrift.drift.embedding.moments import BlockMoments, Moments

STATISTICS = ("t_lw", "t_128", "t_32", "t_8", "t_eucl", "v_lw", "v_32", "mah")
"""Mean moves (whitened, leading axes, plain), variance moves (whitened, leading), and the cloud's dispersion."""

_LEADING = (128, 32, 8)
_VARIANCE_AXES = 32


@dataclass(frozen=True, eq=False)
class Centre:
    """What normal is in one slice: the mean (k,) in the axes of the basis, and the variance (k,) about it."""

    mean: NDArray[np.float64]
    variance: NDArray[np.float64]


def centre_of(held: BlockMoments, fitted: BlockMoments | None = None) -> Centre:
    """Of the blocks of a reference; there must be at least one held row.

    The mean is of all blocks, the variance of the held ones about it: the axes were chosen by the fitted blocks, which
    vary more along the leading ones, and less along the others, than anything to come. Means carry no such bias. The
    variance is what new rows will have about this mean.
    """
    n = held.counts.sum()
    parts = [held] if fitted is None else [held, fitted]
    rows = sum(float(part.counts.sum()) for part in parts)
    mean = np.sum([part.totals.sum(axis=0) for part in parts], axis=0) / rows
    about = held.squares.sum(axis=0) / n - 2 * mean * held.totals.sum(axis=0) / n + mean**2
    # Rows that made the mean are nearer to it than others by the variance of that mean, and new ones are farther by it.
    astray = np.sum([((p.totals - p.counts[:, None] * mean) ** 2).sum(axis=0) for p in parts], axis=0) / rows**2
    return Centre(mean, np.maximum(about, 0.0) + 2 * astray)


@dataclass(frozen=True, eq=False)
class Deviations:
    """How far each of B blocks (or windows) is from its centre, summed over its rows, so that deviations add.

    ``counts`` (B,) rows; ``first`` (B, k) Σ(y - mean); ``second`` (B, k) Σ((y - mean)² - variance).
    """

    counts: NDArray[np.float64]
    first: NDArray[np.float64]
    second: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.counts)

    def take(self, blocks: NDArray[np.intp]) -> "Deviations":
        """Some of the blocks."""
        return Deviations(self.counts[blocks], self.first[blocks], self.second[blocks])

    def summed(self, windows: NDArray[np.float64]) -> "Deviations":
        """Windows as sums of blocks: ``windows`` (W, B) says how often each block is in each window."""
        return Deviations(windows @ self.counts, windows @ self.first, windows @ self.second)


def deviations(blocks: BlockMoments, centre: Centre) -> Deviations:
    """Of each block from the centre of its slice."""
    counts = blocks.counts[:, None]
    first = blocks.totals - counts * centre.mean
    about = blocks.squares - 2 * centre.mean * blocks.totals + counts * centre.mean**2
    return Deviations(blocks.counts, first, about - counts * centre.variance)


def deviation(moments: Moments, centre: Centre) -> Deviations:
    """Of one window, as one row."""
    return deviations(BlockMoments(np.array([moments.count]), moments.total[None, :], moments.squares[None, :]), centre)


def mean_weights(variances: NDArray[np.float64]) -> list[NDArray[np.float64]]:
    """Weights (k,) of the axes in each statistic of the mean, of their shrunk ``variances`` (k,): whitened, leading,
    plain."""
    precision = 1.0 / variances
    leading = np.arange(len(variances))
    return [precision, *(np.where(leading < axes, precision, 0.0) for axes in _LEADING), np.ones(len(variances))]


def bank(
    basis: Basis, windows: Deviations, *, stretch_mean: float = 1.0, stretch_variance: float = 1.0
) -> NDArray[np.float64]:
    """(W, 8) the statistics of each window, in the order of ``STATISTICS``.

    With δ a window's mean deviation, v that of its variances and λ the shrunk variances of the basis: Σδ²/λ over all,
    the leading 128, 32 and 8 axes; Σδ²; Σ(v/λ)² over all and the leading 32 axes; |Σ v/λ|. The stretches multiply δ and
    v: windows drawn from the blocks that made the centre are nearer to it than a new window would be.
    """
    rows = np.maximum(windows.counts, 1.0)[:, None]
    mean, variance = windows.first / rows * stretch_mean, windows.second / rows * stretch_variance
    moved = (mean**2) @ np.stack(mean_weights(basis.variances), axis=1)
    relative = variance * (1.0 / basis.variances)
    spread = np.stack([(relative**2).sum(axis=1), (relative[:, :_VARIANCE_AXES] ** 2).sum(axis=1)], axis=1)
    return np.hstack([moved, spread, np.abs(relative.sum(axis=1, keepdims=True))])
