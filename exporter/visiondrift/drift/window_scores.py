"""The scores of one window against the rows it is compared with: what is judged, and what is drawn under the null.

Each score comes with the number of events behind it, or is None with the reason. Who asks for a verdict is
``evaluation``; who asks how such scores come out by chance is ``calibrate``.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from visiondrift.drift.baseline import MIN_ROWS, Baseline, ConfidenceBaseline, Settings, filled, predicted_or_top
from visiondrift.drift.columns.categories import (
    capped_shares,
    class_counts,
    class_shares,
    jensen_shannon,
    pool_classes,
    shown_classes,
)
from visiondrift.drift.columns.distances import drifted_share, wasserstein_normed
from visiondrift.drift.independence import (
    BEYOND,
    BEYOND_WORST,
    COLUMN_CHANCE,
    Looks,
    mix_chance,
    similarity_chance,
)
from visiondrift.drift.judge import PropertyMove, ScoreOrReason
from visiondrift.prediction import PROPERTIES, Sample

EMBEDDING_SIGNALS = ("embedding_drift", "clip_similarity")
IMAGE_SIGNALS = ("image_drift", *(f"image_drift:{name}" for name in PROPERTIES))
"""The signal, and each property by itself: these explain, and have nulls of their own."""

CONFIDENCE_SIGNALS = ("prediction_drift", "confidence_drift", "confidence_drop", "low_confidence_rise")

MIN_CLASS_REFERENCE = 10
"""Predictions of a class that the reference must hold before the class's own confidence is judged."""

MIN_CLASS_EXPECTED = 2
"""Predictions of a class to expect in a window before the class's own confidence is judged in it."""

_NEUTRAL = {"clip_similarity": 1.0}
"""What a score is where nothing has drifted; else 0."""


@dataclass(frozen=True, eq=False)
class Question:
    """Everything that the scores of one window are computed from.

    ``crowding`` is the share of its events that as many blocks of the reference have, at most 1: more frames of the
    same scenes are no more to judge by.
    """

    window: Sample
    baseline: Baseline
    min_samples: int
    settings: Settings
    looks: Looks
    crowding: float = 1.0

    def may_speak(self, samples: int, part: str) -> str:
        """Why there is no score on ``part`` with so many samples; empty where there is one."""
        if samples < self.min_samples:
            with_part = f" with {part}" if part else ""
            return f"the window has {samples} events{with_part}, and {self.min_samples} are needed"
        available = self.baseline.available.get(part, MIN_ROWS)
        if available < MIN_ROWS:
            return f"the reference has {available} events with {part}, and {MIN_ROWS} are needed"
        return ""


@dataclass(frozen=True)
class ConfidenceView:
    """What confidences say beyond their scores: as they were sent, ``reference_mean`` as expected at these hours."""

    class_drift: Mapping[str, float]
    mean: float
    reference_mean: float
    low_ratio: float


def score_window(question: Question, names: Sequence[str]) -> dict[str, float]:
    """The scores ``names`` as plain numbers; what they are without drift where the window has nothing to score, NaN
    where the reference has too little to compare with.
    """
    scores: dict[str, ScoreOrReason] = {}
    if set(names) & set(EMBEDDING_SIGNALS):
        scores |= embedding_scores(question)
    if "prediction_drift" in names:
        scores["prediction_drift"] = prediction_score(question)[0]
    if set(names) & set(IMAGE_SIGNALS):
        drift, moves = image_scores(question)
        scores["image_drift"] = drift
        scores |= {f"image_drift:{name}": ScoreOrReason(move.moved, drift.samples) for name, move in moves.items()}
    if set(names) & set(CONFIDENCE_SIGNALS[1:]):
        scores |= confidence_scores(question)[0]
    neutral = dict.fromkeys(names, 0.0) | _NEUTRAL | dict.fromkeys(_beyond(question.baseline), float("nan"))
    values = {name: scores[name].value if name in scores else None for name in names}
    return {name: neutral[name] if value is None else value for name, value in values.items()}


def _beyond(baseline: Baseline) -> Iterator[str]:
    """The scores for which the reference has too few rows."""
    parts: Mapping[tuple[str, ...], object] = {
        EMBEDDING_SIGNALS: baseline.embedding,
        IMAGE_SIGNALS: baseline.properties,
        CONFIDENCE_SIGNALS[:1]: baseline.counts,
        CONFIDENCE_SIGNALS[1:]: baseline.confidence,
    }
    return (name for names, part in parts.items() if part is None for name in names)


def embedding_scores(question: Question) -> dict[str, ScoreOrReason]:
    """Share of columns that moved, and the cosine of the means."""
    rows = question.window.has_embedding
    samples = int(rows.sum())
    why = question.may_speak(samples, "embedding")
    baseline = question.baseline.embedding
    if why or baseline is None:
        return dict.fromkeys(("embedding_drift", "clip_similarity"), ScoreOrReason(None, samples, why))
    embeddings = question.window.embeddings[rows]
    looks = question.looks
    # What a column moves by chance between so few independent frames is no drift of it, whatever the setting.
    moved = max(question.settings.column_threshold, BEYOND * COLUMN_CHANCE * looks.noise)
    share = drifted_share(wasserstein_normed(baseline.columns, embeddings), moved)
    similarity = _cosine(embeddings.mean(axis=0, dtype=np.float64), baseline.mean)
    chance = BEYOND * similarity_chance(baseline.cloud, looks)
    return {
        "embedding_drift": ScoreOrReason(share, samples),
        "clip_similarity": ScoreOrReason(similarity, samples, chance=chance, neutral=1.0, looks=looks.words),
    }


def image_scores(question: Question) -> tuple[ScoreOrReason, Mapping[str, PropertyMove]]:
    """The movement of the property that moved most, and every property's own."""
    rows = question.window.has_properties
    samples = int(rows.sum())
    why = question.may_speak(samples, "measured image")
    baseline = question.baseline.properties
    properties = question.window.properties
    if why or baseline is None or properties is None:
        return ScoreOrReason(None, samples, why), {}
    left = baseline.without_day(question.window)
    moved = baseline.movement(left)
    means = properties[rows].mean(axis=0, dtype=np.float64)
    expected = means - left.mean(axis=0, dtype=np.float64) + baseline.mean
    moves = {
        name: PropertyMove(float(mean), float(usual), float(move))
        for name, mean, usual, move in zip(PROPERTIES, means, expected, moved, strict=True)
    }
    chance = BEYOND_WORST * COLUMN_CHANCE * question.looks.noise
    return ScoreOrReason(float(moved.max()), samples, chance=chance, looks=question.looks.words), moves


def prediction_score(question: Question) -> tuple[ScoreOrReason, Mapping[str, float], Mapping[str, float]]:
    """The score, and the class shares of window and reference as they are shown."""
    classes = question.settings.classes
    predicted = predicted_or_top(question.window)
    counts = class_counts(predicted, len(classes))
    samples = int(counts.sum())
    why = question.may_speak(samples, "predicted class")
    reference = question.baseline.counts
    if why or reference is None:
        return ScoreOrReason(None, samples, why), {}, {}
    pooled_reference, pooled = pool_classes(_expected(question.baseline, question.window.take(predicted >= 0)), counts)
    distance = jensen_shannon(class_shares(pooled_reference), class_shares(pooled))
    shares, reference_shares = class_shares(counts), class_shares(reference)
    shown = shown_classes(classes, reference_shares, question.settings.max_classes)
    return (
        ScoreOrReason(
            distance,
            samples,
            chance=BEYOND * mix_chance(len(pooled), question.looks),
            looks=question.looks.words,
        ),
        capped_shares(classes, shares, shown),
        capped_shares(classes, reference_shares, shown),
    )


def _expected(baseline: Baseline, named: Sample) -> NDArray[Any]:
    """(C,) the reference's counts, which there are, as they would be at the hours of the events ``named``."""
    assert baseline.counts is not None  # noqa: S101  the caller has asked
    if not baseline.day.named.coefficients:
        return baseline.counts
    swing = baseline.day.named_swing(named).mean(axis=0, dtype=np.float64)
    shares = np.maximum(class_shares(baseline.counts) + swing, 0.0)
    return np.asarray(shares * (baseline.counts.sum() / shares.sum()))


def confidence_scores(question: Question) -> tuple[dict[str, ScoreOrReason], ConfidenceView | None]:
    """Drift, drop and low confidences, and what is shown beside them; None where there is nothing to show."""
    window, baseline = question.window, question.baseline.confidence
    names = ("confidence_drift", "confidence_drop", "low_confidence_rise")
    samples = int(window.has_confidences.sum())
    why = question.may_speak(samples, "confidences")
    if why or baseline is None:
        return dict.fromkeys(names, ScoreOrReason(None, samples, why)), None
    sent, limit = window.top_confidence, question.settings.low_confidence_below
    top = sent - question.baseline.day.top_swing(window)
    low, reference_low = float(np.mean(top < limit)), float(np.mean(baseline.top < limit))
    mean, reference_mean = (float(values.mean(dtype=np.float64)) for values in (top, baseline.top))
    drift = _class_drift(question, baseline, samples)
    nothing = (
        f"no class is frequent enough: the reference needs {MIN_CLASS_REFERENCE} predictions of one, "
        f"and a window of {samples} events must have {MIN_CLASS_EXPECTED} of it to expect"
    )
    looks = question.looks
    share = np.clip((low + reference_low) / 2, 1 / samples, 1 - 1 / samples)
    spreads = {
        "confidence_drift": COLUMN_CHANCE,
        "confidence_drop": float(baseline.top.std()),
        "low_confidence_rise": float(np.sqrt(share * (1 - share))),
    }
    values = {
        "confidence_drift": max(drift.values(), default=None),
        "confidence_drop": reference_mean - mean,
        "low_confidence_rise": low - reference_low,
    }
    scores = {
        name: ScoreOrReason(
            value,
            samples,
            "" if value is not None else nothing,
            chance=BEYOND_WORST * spreads[name] * looks.noise,
            looks=looks.words,
        )
        for name, value in values.items()
    }
    shown = float(sent.mean(dtype=np.float64))
    return scores, ConfidenceView(drift, shown, shown + reference_mean - mean, float(np.mean(sent < limit)))


def _class_drift(question: Question, baseline: ConfidenceBaseline, samples: int) -> dict[str, float]:
    """Class -> movement of its confidence, for the classes frequent enough to be judged by themselves.

    The confidence of a class that is hardly ever predicted is near zero but for a few events, and its movement in
    reference standard deviations is chance: with a hundred such classes the worst would pass any threshold.
    """
    shares = class_shares(baseline.counts)
    frequent = (baseline.counts >= MIN_CLASS_REFERENCE) & (shares * samples * question.crowding >= MIN_CLASS_EXPECTED)
    classes = question.settings.classes
    shown = set(shown_classes(classes, shares, question.settings.max_classes))
    judged = [index for index in np.flatnonzero(frequent) if classes[index] in shown]
    if not judged:
        return {}
    confidences = filled(question.window.confidences[question.window.has_confidences])
    distances = wasserstein_normed(baseline.columns.take(judged), confidences[:, judged])
    return {classes[index]: float(distance) for index, distance in zip(judged, distances, strict=True)}


def _cosine(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    """The cosine of two vectors; 0 where one has no direction, clipped to what a cosine can be."""
    lengths = float(np.linalg.norm(a) * np.linalg.norm(b))
    return float(np.clip(a @ b / lengths, -1.0, 1.0)) if lengths > 0 else 0.0
