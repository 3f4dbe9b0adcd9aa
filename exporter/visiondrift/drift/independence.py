"""How many independent looks a sample amounts to, and what chance alone makes of a score between so few.

Frames of one camera repeat each other: a minute of video may hold ten independent looks and a thousand frames. The
pace at which normal looks new is learned from the reference, camera by camera, because a window that is changing
would pass its own change off as correlation.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from visiondrift.prediction import Sample

COLUMN_CHANCE = 1.17
"""Median normed Wasserstein distance of a column between samples of n and m independent rows, over sqrt(1/n + 1/m).

For two Gaussian samples; within 5 % for 10 to 5,000 rows (``tests/unit/test_drift_independence.py`` simulates it).
"""

BEYOND = 2.0
"""A score of one number must pass this many times its chance size before it is told."""

BEYOND_WORST = 3.0
"""The same for a score that is the worst of several numbers, or that chance moves in either direction."""

_MOST_ROWS = 10_000
_PROJECTED = 32
_SOKAL = 5.0
_INDEPENDENT = 1.5


@dataclass(frozen=True)
class Pace:
    """Seconds that normal takes to look new, by value of the slice label ``label`` ("" where there is no label)."""

    label: str | None
    seconds: Mapping[str, float]

    def looks(self, sample: Sample) -> float:
        """Independent looks in ``sample``: stretches of correlation time that hold at least one row, over cameras."""
        slowest = max(self.seconds.values(), default=0.0)
        total = 0.0
        for value, rows in _groups(sample, self.label).items():
            seconds = self.seconds.get(value, slowest)
            times = sample.times[rows]
            # Counted from the first row, so that when a window was recorded makes no difference.
            total += len(times) if seconds <= 0 else len(np.unique((times - times[0]) // seconds))
        return total


@dataclass(frozen=True)
class Looks:
    """Independent looks on either side of a comparison."""

    reference: float
    window: float

    @property
    def noise(self) -> float:
        """sqrt(1/n + 1/m): what every chance size below is proportional to. Infinite where a side has no look."""
        if self.reference <= 0 or self.window <= 0:
            return float("inf")
        return float(np.sqrt(1 / self.reference + 1 / self.window))

    @property
    def words(self) -> str:
        """Both numbers in a sentence's part."""
        return f"{self.window:.0f} independent looks in the window and {self.reference:.0f} in the reference"


def pace_of(reference: Sample, label: str | None) -> Pace:
    """The pace of a reference, from its embeddings, or its confidences where it has none."""
    groups = _groups(reference, label)
    return Pace(label, {value: _correlation_seconds(reference.take(rows)) for value, rows in groups.items()})


def correlation_rows(matrix: NDArray[np.floating]) -> float:
    """Rows of ``matrix`` (n, d), in time order and of one camera, that amount to one independent look; at least 1.

    The integrated autocorrelation of the cloud (the trace of its autocovariance), summed up to five times itself
    (Sokal 1989). A run shorter than some fifteen times the answer is too short to show how long it is: the answer
    then stays near n / 15.
    """
    n, d = matrix.shape
    values = matrix.astype(np.float64)
    if d > _PROJECTED:
        # A random projection keeps the shape of the trace's autocovariance at a fraction of the cost.
        values = values @ np.random.default_rng(0).normal(size=(d, _PROJECTED))
    values -= values.mean(axis=0)
    spectrum = np.fft.rfft(values, n=2 * n, axis=0)
    covariance = np.fft.irfft((spectrum.real**2 + spectrum.imag**2).sum(axis=1), n=2 * n)[:n]
    if n < 3 or covariance[0] <= 1e-12 * n:  # noqa: PLR2004 - too few rows, or rows that are all the same
        return 1.0
    total = 1.0
    for lag in range(1, n // 2):
        total += 2 * float(covariance[lag] / covariance[0])
        if lag >= _SOKAL * total:
            break
    return max(1.0, total)


def similarity_chance(cloud: float, looks: Looks) -> float:
    """Fall of the cosine of two means by chance; ``cloud`` is the variance of the embeddings over |mean| squared."""
    return cloud * looks.noise**2 / 2


def mix_chance(classes: int, looks: Looks) -> float:
    """Jensen-Shannon distance (base 2) of two samples of one mix of ``classes`` categories, by chance."""
    return float(np.sqrt(max(0, classes - 1) / (8 * np.log(2)))) * looks.noise


def _correlation_seconds(rows: Sample) -> float:
    known = rows.has_embedding
    matrix = rows.embeddings[known] if known.any() else np.nan_to_num(rows.confidences)
    times = (rows.times[known] if known.any() else rows.times)[:_MOST_ROWS]
    matrix = matrix[:_MOST_ROWS]
    if len(matrix) < 3 or matrix.shape[1] == 0:  # noqa: PLR2004 - nothing to correlate
        return 0.0
    steps = np.diff(times)
    correlated = correlation_rows(matrix)
    if correlated < _INDEPENDENT or not (steps > 0).any():
        return 0.0
    return correlated * float(np.median(steps[steps > 0]))


def _groups(sample: Sample, label: str | None) -> dict[str, NDArray[np.intp]]:
    if not len(sample):  # an empty window may lack the label's column, too
        return {}
    column = sample.slices.get(label) if label else None
    if column is None:
        return {"": np.arange(len(sample))}
    values, place, counts = np.unique(column.astype(str), return_inverse=True, return_counts=True)
    order, ends = np.argsort(place, kind="stable"), np.cumsum(counts)
    return {str(v): order[end - n : end] for v, end, n in zip(values, ends, counts, strict=True)}
