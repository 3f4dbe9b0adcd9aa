"""Performance from probabilities alone: what accuracy, precision and recall to expect if the probabilities are right.

Confidence-based performance estimation: each event is right with the calibrated probability of its predicted class.
True as long as the probabilities are, which holds under no shift and, with a corrected prior, under label shift; a
damaged input makes a model wrong and sure, and is not seen here.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

COVERAGE = 0.90
"""What share of windows an interval is meant to hold the truth of."""

Z = 1.6448536269514722
"""Standard deviations to either side of a normal variable that hold ``COVERAGE`` of it."""

MIN_CLASS_EVENTS = 10
"""Predictions of a class (for its precision), or expected events of it (for its recall), before either is told."""

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Interval:
    """A share, 0-1, with the ends of its 90 % interval."""

    value: float
    low: float
    high: float

    @classmethod
    def around(cls, value: float, error: float) -> "Interval":
        """``value`` with ``error``, its standard error, cut to what a share can be."""
        value, reach = float(value), Z * float(error)
        return cls(min(max(value, 0.0), 1.0), min(max(value - reach, 0.0), 1.0), min(max(value + reach, 0.0), 1.0))


@dataclass(frozen=True)
class ClassPerformance:
    """One class: how often it was predicted, how many events of it are expected; None where too few to tell."""

    name: str
    predicted: int
    expected: float
    precision: Interval | None
    recall: Interval | None
    f1: Interval | None


@dataclass(frozen=True)
class ConfidenceEstimate:
    """What the confidences say of a window."""

    accuracy: Interval
    classes: tuple[ClassPerformance, ...]


def estimate_from_confidences(
    probabilities: Floats,
    predicted: NDArray[np.int32],
    names: tuple[str, ...],
    *,
    replicas: Sequence[Floats] = (),
    design_effect: float = 1.0,
) -> ConfidenceEstimate:
    """Accuracy and per-class performance of m events with calibrated ``probabilities`` (m, C).

    ``replicas`` are the same events' probabilities by other calibrators, refitted on resampled labels: their spread is
    the calibrator's own uncertainty. ``design_effect`` is how correlated events inflate the variance.
    """
    rates, variances = _rates(probabilities, predicted)
    errors = variances * design_effect
    if len(replicas) > 1:
        errors = errors + np.var([_rates(replica, predicted)[0] for replica in replicas], axis=0, ddof=1)
    errors = np.sqrt(errors)
    counts = np.bincount(predicted, minlength=len(names))
    expected = probabilities.sum(axis=0)
    classes = tuple(
        _class(name, int(counts[k]), float(expected[k]), rates[1:, k], errors[1:, k]) for k, name in enumerate(names)
    )
    return ConfidenceEstimate(Interval.around(rates[0, 0], errors[0, 0]), classes)


def reweighted(probabilities: Floats, ratio: Floats) -> Floats:
    """(m, C) probabilities under another prior; ``ratio`` (C,) is the new share of each class over the old."""
    raised = probabilities * ratio
    total = raised.sum(axis=1, keepdims=True)
    return np.where(total > 0, raised / np.where(total > 0, total, 1.0), probabilities)


def _rates(probabilities: Floats, predicted: NDArray[np.int32]) -> tuple[Floats, Floats]:
    """(4, C) accuracy (in every column), precision, recall and F1, and the sampling variance of each.

    Variances by the delta method, with true positives and misses as independent sums of Bernoulli variables.
    """
    rows, classes = probabilities.shape
    own = probabilities[np.arange(rows), predicted]
    counts = np.bincount(predicted, minlength=classes).astype(np.float64)
    hits = np.bincount(predicted, weights=own, minlength=classes)
    hits_variance = np.bincount(predicted, weights=own * (1 - own), minlength=classes)
    expected = probabilities.sum(axis=0)
    missed_variance = (probabilities * (1 - probabilities)).sum(axis=0) - hits_variance
    n, e, s = np.maximum(counts, 1.0), np.maximum(expected, 1e-12), np.maximum(counts + expected, 1e-12)
    recall = hits / e
    rates = np.stack([np.full(classes, own.mean()), hits / n, recall, 2 * hits / s])
    variances = np.stack(
        [
            np.full(classes, hits_variance.sum() / rows**2),
            hits_variance / n**2,
            ((1 - recall) ** 2 * hits_variance + recall**2 * missed_variance) / e**2,
            4 * ((s - hits) ** 2 * hits_variance + hits**2 * missed_variance) / s**4,
        ]
    )
    return rates, np.maximum(variances, 0.0)


def _class(name: str, predicted: int, expected: float, rates: Floats, errors: Floats) -> ClassPerformance:
    enough_predicted, enough_expected = predicted >= MIN_CLASS_EVENTS, expected >= MIN_CLASS_EVENTS
    precision, recall, f1 = (Interval.around(rate, error) for rate, error in zip(rates, errors, strict=True))
    return ClassPerformance(
        name,
        predicted,
        expected,
        precision if enough_predicted else None,
        recall if enough_expected else None,
        f1 if enough_predicted and enough_expected else None,
    )
