"""What the hour of day alone does to embeddings, so that night is no drift where the reference knows nights.

A camera's mean embedding follows a curve through the day: a constant and harmonics, fitted for each slice, the faster
ones the more shrunk (a smoothing spline on a circle; Wahba 1990), by as much as generalized cross-validation says. Dusk
takes half an hour, and where the hour does nothing the curve is flat. What is left after taking the curve off is
compared. The blocks stay as they are: the curve is never quite right.

It is known at the hours that were seen on several days. Beyond them it fades to what it is on average: waves that were
fitted to ten hours would say anything of the other fourteen.

Nor are pictures as different from each other by night as by day. How far they lie from their mean follows such curves
too, one for the leading axes and one for each further stretch of them: a sensor's noise grows by night while what there
is to see becomes less. By each axis alone they would be mostly noise.

Of any one hour a curve is less sure than of the whole day: a window of an hour is held against a few such hours, not
against all that the reference has. What windows are drawn of follows one another in time, and shows by how much less.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

HARMONICS = 12
DAY_SECONDS = 86_400.0
_HOUR_SECONDS = 3_600.0
_HOURS = 24
MIN_DAYS = 3
"""Days that a slice of the reference must span, and on which an hour must have been seen, within an hour of it, before
the day is known there.
"""

SPREAD_AXES = (0, 8, 32, 128)
"""Where stretches of axes begin that have a curve of their own: those that the statistics tell apart (``bank.py``)."""

_LEAST_SPREAD = 0.1
"""Of a slice's mean squared spread, the least that an hour is taken to have."""

_NEARLY = 0.95
"""Of three days, what the first and the last of their frames are apart at least."""

_FADES = 1.0
"""Hours in which the curve fades to a third beyond those that are known."""

_SHRUNK = np.geomspace(1e-7, 1e3, 31)
"""Weights of the roughness that are tried, for each block."""

_PRICE = 1.4
"""What a degree of freedom costs in cross-validation: at 1, it follows noise now and then (Kim and Gu 2004)."""

_LEAST = 1e-9


@dataclass(frozen=True, eq=False)
class DayCurves:
    """For each slice by name the ``coefficients`` (2 h, d) of sines and cosines through the day, the hours (24,) that
    are ``known``, and the ``middle`` (2 h,), what sines and cosines are there on average.
    """

    coefficients: Mapping[str, NDArray[np.float32]] = field(default_factory=dict)
    known: Mapping[str, NDArray[np.bool_]] = field(default_factory=dict)
    middle: Mapping[str, NDArray[np.float32]] = field(default_factory=dict)

    def without(
        self, embeddings: NDArray[Any], times: NDArray[np.float64], slices: NDArray[Any]
    ) -> NDArray[np.float32]:
        """(n, d) ``embeddings`` with the curve of each row's slice (n,) at its time (n,), in seconds, taken off."""
        left = np.array(embeddings, dtype=np.float32)
        for own, waves, name in self._waves_of(times, slices):
            left[own] -= waves @ self.coefficients[name]
        return left

    def swing(self, times: NDArray[np.float64], slices: NDArray[Any], width: int) -> NDArray[np.float32]:
        """(n, ``width``) how far the curve of each row's slice is from what it is on average, at its time."""
        found = np.zeros((len(times), width), dtype=np.float32)
        for own, _, swing in self.swings(times, slices):
            found[own] = swing
        return found

    def swings(
        self, times: NDArray[np.float64], slices: NDArray[Any]
    ) -> Iterator[tuple[NDArray[np.bool_], str, NDArray[np.float32]]]:
        """For each slice with a curve that has rows: which these are, its name, and their swing (m, d)."""
        for own, waves, name in self._waves_of(times, slices):
            swing = (waves - self.middle[name]) @ self.coefficients[name]
            yield own, name, np.asarray(swing, dtype=np.float32)

    def _waves_of(
        self, times: NDArray[np.float64], slices: NDArray[Any]
    ) -> Iterator[tuple[NDArray[np.bool_], NDArray[np.float32], str]]:
        """For each slice with a curve that has rows: which these are, their sines and cosines, and its name."""
        for name in self.coefficients:
            own = slices == name
            if own.any():
                yield own, _waves(times[own], self.known[name], self.middle[name]), name


@dataclass(frozen=True, eq=False)
class DaySpread:
    """How far from its mean each slice lies at each hour: ``middles`` (k,) by slice, and ``curves`` of the squared
    distance over its average, along each of the stretches of axes that ``SPREAD_AXES`` begin. Without curves nothing is
    known of it.
    """

    middles: Mapping[str, NDArray[np.float32]] = field(default_factory=dict)
    curves: DayCurves = field(default_factory=DayCurves)

    def evened(
        self, coordinates: NDArray[np.float32], times: NDArray[np.float64], slices: NDArray[Any]
    ) -> NDArray[np.float32]:
        """(n, k) ``coordinates`` as far from the middle of their slice (n,) as they were at an average hour."""
        if not self.curves.coefficients:
            return coordinates
        evened = np.array(coordinates, dtype=np.float32)
        widths = [axes.stop - axes.start for axes in _stretches(coordinates.shape[1])]
        for own, name, swing in self.curves.swings(times, slices):
            usual = np.repeat(np.sqrt(np.maximum(1 + swing, _LEAST_SPREAD)), widths, axis=1)
            evened[own] = self.middles[name] + (evened[own] - self.middles[name]) / usual
        return evened


def fit_spread(
    coordinates: NDArray[np.float32],
    variances: NDArray[np.float64],
    times: NDArray[np.float64],
    slices: NDArray[Any],
    of_row: NDArray[np.intp],
) -> DaySpread:
    """Fit on rows (n, k) that have no curve any more, along axes of ``variances`` (k,); the others as for ``fit_day``.

    Every axis of a stretch counts as much as the others: along the leading ones what the curve of the mean is off by is
    most.
    """
    stretches = _stretches(coordinates.shape[1])
    middles, squared = {}, np.zeros((len(coordinates), len(stretches)))
    for value in np.unique(slices):
        own = slices == value
        middles[str(value)] = coordinates[own].mean(axis=0, dtype=np.float64).astype(np.float32)
        away = (coordinates[own] - middles[str(value)]).astype(np.float64)
        for place, axes in enumerate(stretches):
            distance = away[:, axes] ** 2 @ (1 / variances[axes])
            squared[own, place] = distance / max(float(distance.mean()), _LEAST)
    curves = fit_day(squared, times, slices, of_row)
    return DaySpread({name: middles[name] for name in curves.coefficients}, curves)


def _stretches(dimension: int) -> list[slice]:
    begins = [begin for begin in SPREAD_AXES if begin < dimension]
    return [slice(begin, end) for begin, end in zip(begins, [*begins[1:], dimension], strict=True)]


def fit_day(
    embeddings: NDArray[Any], times: NDArray[np.float64], slices: NDArray[Any], of_row: NDArray[np.intp]
) -> DayCurves:
    """Fit on rows (n, d) at ``times`` (n,) of ``slices`` (n,); ``of_row`` (n,) are blocks, each of which counts once.

    A slice that spans fewer than ``MIN_DAYS`` days, or of which no hour was seen on so many, gets no curve.
    """
    coefficients, known, middle = {}, {}, {}
    for value in np.unique(slices):
        own, name = slices == value, str(value)
        hours = _known_hours(times[own])
        if np.ptp(times[own]) >= _NEARLY * MIN_DAYS * DAY_SECONDS and hours.any():
            waves = _waves(times[own], hours, None)
            known[name] = hours
            middle[name] = waves.mean(axis=0)
            coefficients[name] = _fit_one(np.asarray(embeddings[own]), waves, of_row[own])
    return DayCurves(coefficients, known, middle)


def hour_of(times: NDArray[np.float64]) -> NDArray[np.intp]:
    """(n,) the hour that each of ``times`` (n,), in seconds, is in: blocks for ``fit_day`` where there are none."""
    return np.asarray(np.floor(times / _HOUR_SECONDS).astype(np.intp))


def _known_hours(times: NDArray[np.float64]) -> NDArray[np.bool_]:
    """(24,) whether each hour, or one beside it, was seen on enough days."""
    hours = np.unique(hour_of(times))
    seen = np.zeros((int(hours[-1] - hours[0]) // _HOURS + 2, _HOURS), dtype=bool)
    seen[hours // _HOURS - hours[0] // _HOURS, hours % _HOURS] = True
    near = seen | np.roll(seen, 1, axis=1) | np.roll(seen, -1, axis=1)
    # Thin traffic knows an hour by its neighbours too; one in which there never was any it does not know.
    enough: NDArray[np.bool_] = (near.sum(axis=0) >= MIN_DAYS) & seen.any(axis=0)
    return enough


def _fit_one(values: NDArray[Any], waves: NDArray[np.float32], of_row: NDArray[np.intp]) -> NDArray[np.float32]:
    place = np.unique(of_row, return_inverse=True)[1]
    counts = np.bincount(place)
    order = np.argsort(place, kind="stable")
    starts = np.concatenate(([0], np.cumsum(counts)[:-1]))
    means = np.add.reduceat(values[order].astype(np.float64), starts, axis=0) / counts[:, None]
    of_blocks = np.add.reduceat(waves[order].astype(np.float64), starts, axis=0) / counts[:, None]
    centred, means = of_blocks - of_blocks.mean(axis=0), means - means.mean(axis=0)
    return _smooth(centred, means).astype(np.float32)


def _smooth(waves: NDArray[np.float64], means: NDArray[np.float64]) -> NDArray[np.float64]:
    """(2 h, d) coefficients of centred ``waves`` (B, 2 h) that explain centred ``means`` (B, d) of blocks best.

    One weight of the roughness for all columns: each by itself would follow its own noise.
    """
    count = len(means)
    rough = np.tile(np.arange(1, HARMONICS + 1, dtype=np.float64), 2) ** 4
    gram, by_column = waves.T @ waves, waves.T @ means
    total = float((means**2).sum())
    best = np.inf
    found: NDArray[np.float64] = np.zeros_like(by_column)
    for weight in _SHRUNK * count:
        shrunk = gram + np.diag(weight * rough + _LEAST * count)
        coefficients = np.linalg.solve(shrunk, by_column)
        left = total - 2 * float((coefficients * by_column).sum()) + float((coefficients * (gram @ coefficients)).sum())
        freedom = 1 + float(np.trace(np.linalg.solve(shrunk, gram)))
        if _PRICE * freedom >= count:
            continue
        score = left / (1 - _PRICE * freedom / count) ** 2
        if score < best:
            best, found = score, np.asarray(coefficients)
    return found


def _waves(
    times: NDArray[np.float64], known: NDArray[np.bool_], middle: NDArray[np.float32] | None
) -> NDArray[np.float32]:
    """(n, 2 h) sines and cosines of the time of day. Where its hour is not known, those of the nearest that is, fading
    to the ``middle`` where there is one.
    """
    at = times / _HOUR_SECONDS % _HOURS
    away = np.zeros(len(at))
    if not known.all():
        begins = np.flatnonzero(known).astype(np.float64)
        # How far each hour's beginning, and its end, lie around the clock.
        ahead = ((begins - at[:, None]) % _HOURS).min(axis=1)
        behind = ((at[:, None] - begins - 1) % _HOURS).min(axis=1)
        beyond = ~known[np.minimum(at.astype(np.intp), _HOURS - 1)]
        away[beyond] = np.minimum(ahead, behind)[beyond]
        at = np.where(beyond, np.where(ahead <= behind, at + ahead, at - behind) % _HOURS, at)
    angle = 2 * np.pi * np.outer(at / _HOURS, np.arange(1, HARMONICS + 1))
    waves = np.hstack([np.sin(angle), np.cos(angle)])
    if middle is not None:
        waves = middle + (waves - middle) * np.exp(-away / _FADES)[:, None]
    return waves.astype(np.float32)
