"""What the hour of day alone does to embeddings, so that night is no drift where the reference knows nights.

A camera's mean embedding follows a smooth curve through the day: a constant and a few harmonics, fitted for each slice.
What is left after taking the curve off is compared. The blocks stay as they are: the curve is never quite right.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

HARMONICS = 3
DAY_SECONDS = 86_400.0
_HOUR_SECONDS = 3_600.0
MIN_DAYS = 3.0
"""Days that a slice of the reference must span before its day is known; with fewer, nothing is taken off."""

_RIDGE = 1.0


@dataclass(frozen=True, eq=False)
class DayCurves:
    """For each slice by name the coefficients (2 h, d) of sines and cosines through the day."""

    coefficients: Mapping[str, NDArray[np.float32]]

    def without(
        self, embeddings: NDArray[Any], times: NDArray[np.float64], slices: NDArray[Any]
    ) -> NDArray[np.float32]:
        """(n, d) ``embeddings`` with the curve of each row's slice (n,) at its time (n,), in seconds, taken off."""
        left = np.array(embeddings, dtype=np.float32)
        for name, coefficients in self.coefficients.items():
            own = slices == name
            if own.any():
                left[own] -= _waves(times[own]) @ coefficients
        return left


def fit_day(
    embeddings: NDArray[Any], times: NDArray[np.float64], slices: NDArray[Any], of_row: NDArray[np.intp]
) -> DayCurves:
    """Fit on rows (n, d) at ``times`` (n,) of ``slices`` (n,); ``of_row`` (n,) are blocks, each of which counts once.

    A slice that spans fewer than ``MIN_DAYS`` days gets no curve.
    """
    coefficients = {}
    for name in np.unique(slices):
        own = slices == name
        if times[own].max() - times[own].min() >= MIN_DAYS * DAY_SECONDS:
            coefficients[str(name)] = _fit_one(np.asarray(embeddings[own]), times[own], of_row[own])
    return DayCurves(coefficients)


def hour_of(times: NDArray[np.float64]) -> NDArray[np.intp]:
    """(n,) the hour that each of ``times`` (n,), in seconds, is in: blocks for ``fit_day`` where there are none."""
    return np.asarray(np.floor(times / _HOUR_SECONDS).astype(np.intp))


def _fit_one(values: NDArray[Any], times: NDArray[np.float64], of_row: NDArray[np.intp]) -> NDArray[np.float32]:
    place = np.unique(of_row, return_inverse=True)[1]
    counts = np.bincount(place)
    order = np.argsort(place, kind="stable")
    starts = np.concatenate(([0], np.cumsum(counts)[:-1]))
    means = np.add.reduceat(values[order].astype(np.float64), starts, axis=0) / counts[:, None]
    waves = np.add.reduceat(_waves(times[order]).astype(np.float64), starts, axis=0) / counts[:, None]
    centred, means = waves - waves.mean(axis=0), means - means.mean(axis=0)
    gram = centred.T @ centred + _RIDGE * np.eye(centred.shape[1])
    return np.asarray(np.linalg.solve(gram, centred.T @ means), dtype=np.float32)


def _waves(times: NDArray[np.float64]) -> NDArray[np.float32]:
    """(n, 2 h) sines and cosines of the time of day."""
    angle = 2 * np.pi * np.outer(times / DAY_SECONDS % 1.0, np.arange(1, HARMONICS + 1))
    return np.hstack([np.sin(angle), np.cos(angle)]).astype(np.float32)
