"""How a model's confidences become probabilities: one temperature, or a curve a class where labels are plentiful.

Temperature scaling (Guo et al. 2017) has one parameter and cannot overfit. One-vs-rest isotonic regression (Zadrozny
and Elkan 2002) is taken only with a thousand labels of every class, and only where it was better on unseen rows. What
either leaves on average over the reference is a level, added to the predicted class, so that what is told of a window
is a difference from the reference's true accuracy (Guillory et al. 2021).
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import isotonic_regression, minimize_scalar

from visiondrift.drift.performance.folds import stratified_folds

MIN_LABELS_FOR_CURVES = 1000
"""Labels of every class before curves are tried."""

_SPLITS = 3
_FLOOR = 1e-9  # a confidence of 0 is a rounded or an unsent one, and its logarithm must be finite
_LOG_TEMPERATURE = (-3.0, 3.0)
_ECE_BINS = 15

Curve = tuple[NDArray[np.float64], NDArray[np.float64]]
"""Confidences ascending, and the probability at each; straight lines between, flat beyond."""


@dataclass(frozen=True, eq=False)
class Normalised:
    """Confidences whose rows add up to 1, ``shares`` (n, C), ready for any number of calibrators."""

    shares: NDArray[np.float64]

    @classmethod
    def of(cls, confidences: "NDArray[Any] | Normalised") -> "Normalised":
        """Confidences (n, C) without NaN; what is normalised already stays."""
        return confidences if isinstance(confidences, Normalised) else cls(normalised(confidences))

    @cached_property
    def logits(self) -> NDArray[np.float64]:
        """(n, C) logarithms, the highest of each row 0."""
        logits = np.log(np.maximum(self.shares, _FLOOR))
        return np.asarray(logits - logits.max(axis=1, keepdims=True))


@dataclass(frozen=True, eq=False)
class Calibrator:
    """A fitted map from confidences to probabilities. ``curves`` holds one a class, or none: then temperature alone.

    ``level`` is how much more often the predicted class was right in the reference than its probability says.
    """

    temperature: float
    curves: tuple[Curve, ...] = ()
    level: float = 0.0

    @property
    def method(self) -> str:
        """``isotonic`` or ``temperature``."""
        return "isotonic" if self.curves else "temperature"

    def apply(self, confidences: NDArray[Any] | Normalised) -> NDArray[np.float64]:
        """(n, C) probabilities, each row adding up to 1, from (n, C) confidences without NaN."""
        if not self.curves:
            return scaled(confidences, self.temperature)
        given = Normalised.of(confidences).shares
        curved = np.column_stack([np.interp(given[:, place], *curve) for place, curve in enumerate(self.curves)])
        # Where every curve says zero the model's own order is all there is.
        total = curved.sum(axis=1, keepdims=True)
        return np.where(total > _FLOOR, curved / np.maximum(total, _FLOOR), given)

    def of_predicted(self, confidences: NDArray[Any] | Normalised, predicted: NDArray[Any]) -> NDArray[np.float64]:
        """As ``apply``, with the level added to each row's ``predicted`` (n,) class and taken from the others."""
        probabilities = self.apply(confidences)
        own = probabilities[np.arange(len(predicted)), predicted]
        raised = np.clip(own + self.level, 0.0, 1.0)
        classes = probabilities.shape[1]
        rest = np.where(own < 1.0, (1.0 - raised) / np.where(own < 1.0, 1.0 - own, 1.0), 0.0)
        moved = probabilities * rest[:, None]
        # A class that was certain leaves no others to share in proportion: they share alike.
        moved += np.where(own < 1.0, 0.0, (1.0 - raised) / max(classes - 1, 1))[:, None]
        moved[np.arange(len(predicted)), predicted] = raised
        return moved

    def levelled(self, confidences: NDArray[Any], predicted: NDArray[Any], labels: NDArray[Any]) -> "Calibrator":
        """With the level of these (n,) labelled rows."""
        own = self.apply(confidences)[np.arange(len(predicted)), predicted]
        return replace(self, level=float((predicted == labels).mean() - own.mean()))

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers and lists."""
        return {
            "temperature": self.temperature,
            "curves": [[x.tolist(), y.tolist()] for x, y in self.curves],
            "level": self.level,
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "Calibrator":
        """The inverse of ``to_dict``."""
        curves = tuple((np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)) for x, y in data["curves"])
        return cls(float(data["temperature"]), curves, float(data["level"]))


def normalised(confidences: NDArray[Any]) -> NDArray[np.float64]:
    """(n, C) with rows that add up to 1; a row of zeros becomes uniform."""
    given = np.clip(np.asarray(confidences, dtype=np.float64), 0.0, None)
    total = given.sum(axis=1, keepdims=True)
    return np.where(total > 0, given / np.where(total > 0, total, 1.0), 1.0 / given.shape[1])


def scaled(confidences: NDArray[Any] | Normalised, temperature: float) -> NDArray[np.float64]:
    """(n, C) softmax of the log-confidences divided by ``temperature``; 1 changes nothing."""
    raised = np.exp(Normalised.of(confidences).logits / temperature)
    return np.asarray(raised / raised.sum(axis=1, keepdims=True))


def fit_calibrator(
    confidences: NDArray[Any], labels: NDArray[Any], block_of: NDArray[np.intp], *, seed: int
) -> Calibrator:
    """The calibrator for (n, C) ``confidences`` with true classes ``labels`` (n,): curves only if they earn it."""
    counts = np.bincount(labels, minlength=confidences.shape[1])
    if counts.min() < MIN_LABELS_FOR_CURVES:
        return fit_temperature(confidences, labels)
    fold_of = stratified_folds(labels, block_of, folds=_SPLITS, seed=seed)
    errors = np.zeros(2)
    for fold in range(_SPLITS):
        inside, outside = fold_of != fold, fold_of == fold
        for place, fit in enumerate((fit_temperature, fit_curves)):
            fitted = fit(confidences[inside], labels[inside])
            errors[place] += expected_calibration_error(fitted.apply(confidences[outside]), labels[outside])
    return fit_curves(confidences, labels) if errors[1] < errors[0] else fit_temperature(confidences, labels)


def refit(like: Calibrator, confidences: NDArray[Any], labels: NDArray[Any]) -> Calibrator:
    """A calibrator of the same kind as ``like`` on other rows, as a bootstrap needs it."""
    return fit_curves(confidences, labels) if like.curves else fit_temperature(confidences, labels)


def fit_temperature(confidences: NDArray[Any], labels: NDArray[Any]) -> Calibrator:
    """The temperature of the highest likelihood, within e^-3 to e^3."""
    logits = Normalised.of(confidences).logits
    true = logits[np.arange(len(labels)), labels]

    def loss(log_temperature: float) -> float:
        inverse = float(np.exp(-log_temperature))
        return float(np.mean(np.log(np.exp(logits * inverse).sum(axis=1)) - true * inverse))

    found = minimize_scalar(loss, bounds=_LOG_TEMPERATURE, method="bounded", options={"xatol": 1e-4})
    return Calibrator(float(np.exp(found.x)))


def fit_curves(confidences: NDArray[Any], labels: NDArray[Any]) -> Calibrator:
    """One isotonic curve a class: how often the class was true at such a confidence."""
    given = normalised(confidences)
    return Calibrator(1.0, tuple(_curve(given[:, place], labels == place) for place in range(given.shape[1])))


def expected_calibration_error(probabilities: NDArray[np.float64], labels: NDArray[Any]) -> float:
    """Mean distance between confidence and accuracy of the top class, over 15 equal bins (Naeini et al. 2015)."""
    top = probabilities.argmax(axis=1)
    confidence = probabilities[np.arange(len(top)), top]
    bins = np.minimum((confidence * _ECE_BINS).astype(np.intp), _ECE_BINS - 1)
    gap = np.bincount(bins, weights=confidence - (top == labels), minlength=_ECE_BINS)
    return float(np.abs(gap).sum() / len(top))


def _curve(confidence: NDArray[np.float64], hit: NDArray[np.bool_]) -> Curve:
    """Equal confidences are one point; the corners of the fitted steps are all that is kept."""
    # Dividing by a row's sum leaves dust in the last digits, which must not part equal confidences.
    x, place, weights = np.unique(np.round(confidence, 12), return_inverse=True, return_counts=True)
    means = np.bincount(place.reshape(-1), weights=hit.astype(np.float64)) / weights
    y = np.asarray(isotonic_regression(means, weights=weights.astype(np.float64)).x)
    corner = np.ones(len(x), dtype=bool)
    corner[1:-1] = (y[1:-1] != y[:-2]) | (y[1:-1] != y[2:])
    return x[corner], y[corner]
