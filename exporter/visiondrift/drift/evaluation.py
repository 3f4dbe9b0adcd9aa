"""One window against its reference: every signal's score, or the sentence that says why there is none.

Who may speak: a score needs ``min_samples`` events that have what it looks at, and ``MIN_ROWS`` such rows of the
reference; otherwise its verdict is ``insufficient`` and says why. A signal that does not apply is left out: a model
without configured classes has no prediction and confidence signals, and where neither reference nor window has any
embedding (or any confidences) nothing is said of them. The rejected events of a model carry no slice, so
``invalid_ratio`` exists for all slices together only.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from visiondrift.config import SliceThresholds
from visiondrift.drift.baseline import (
    MIN_ROWS,
    Baseline,
    ConfidenceBaseline,
    PreparedReference,
    Settings,
    align_classes,
    filled,
    predicted_or_top,
)
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
from visiondrift.drift.judge import ScoreOrReason, WindowEvaluation, judge
from visiondrift.prediction import Sample
from visiondrift.signals import ALL_SLICES, SIGNALS

__all__ = ["PreparedReference", "Settings", "evaluate_window"]

MIN_CLASS_REFERENCE = 10
"""Predictions of a class that the reference must hold before the class's own confidence is judged."""

MIN_CLASS_EXPECTED = 2
"""Predictions of a class to expect in a window before the class's own confidence is judged in it."""


@dataclass(frozen=True, eq=False)
class _Question:
    """Everything that the scores of one window are computed from."""

    window: Sample
    baseline: Baseline
    min_samples: int
    settings: Settings
    looks: Looks

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
class _Confidence:
    """What confidences say beyond their scores."""

    class_drift: Mapping[str, float]
    mean: float
    reference_mean: float
    low_ratio: float


def evaluate_window(
    reference: PreparedReference,
    sample: Sample,
    *,
    slice_: str,
    window: str,
    min_samples: int,
    settings: Settings,
    thresholds: SliceThresholds,
    rejected: int = 0,
    total: int | None = None,
) -> WindowEvaluation:
    """Score and judge ``sample``, the events of ``slice_`` in the window called ``window``, against ``reference``.

    ``total`` events were in the window, of which the sample holds at most the configured maximum; ``rejected`` events
    of the model were refused in that time. Pure: equal arguments give equal answers. Raises ReferenceUnusable where
    window and reference have embeddings of different length.
    """
    sample = align_classes(sample, settings.classes)
    total = len(sample) if total is None else total
    looks = reference.looks(slice_, sample)
    question = _Question(sample, reference.baseline(slice_, sample), min_samples, settings, looks)
    scores: dict[str, ScoreOrReason] = {}
    if reference.has_embeddings or sample.has_embedding.any():
        scores |= _embedding_scores(question)
    class_share: Mapping[str, float] = {}
    reference_class_share: Mapping[str, float] = {}
    confidence = None
    if settings.classes:
        scores["prediction_drift"], class_share, reference_class_share = _prediction_score(question)
        if reference.has_confidences or sample.has_confidences.any():
            confidence_scores, confidence = _confidence_scores(question)
            scores |= confidence_scores
    scores["missing_ratio"] = _missing_ratio(question, reference)
    if slice_ == ALL_SLICES:
        scores["invalid_ratio"] = _invalid_ratio(question, rejected, total)
    judgements = judge({s.name: scores[s.name] for s in SIGNALS if s.name in scores}, thresholds)
    told = {judgement.signal for judgement in judgements if judgement.score is not None}
    return WindowEvaluation(
        slice=slice_,
        window=window,
        samples=len(sample),
        min_samples=min_samples,
        judgements=judgements,
        class_drift=confidence.class_drift if confidence and "confidence_drift" in told else {},
        class_share=class_share,
        reference_class_share=reference_class_share,
        mean_confidence=confidence.mean if confidence else None,
        reference_mean_confidence=confidence.reference_mean if confidence else None,
        low_confidence_ratio=confidence.low_ratio if confidence else None,
        total=total,
        rejected=rejected,
        reference_rows=question.baseline.rows,
        reference_slice=question.baseline.slice,
        independent_samples=looks.window,
        reference_independent_samples=looks.reference,
    )


def _embedding_scores(question: _Question) -> dict[str, ScoreOrReason]:
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


def _prediction_score(question: _Question) -> tuple[ScoreOrReason, Mapping[str, float], Mapping[str, float]]:
    """The score, and the class shares of window and reference as they are shown."""
    classes = question.settings.classes
    counts = class_counts(predicted_or_top(question.window), len(classes))
    samples = int(counts.sum())
    why = question.may_speak(samples, "predicted class")
    reference = question.baseline.counts
    if why or reference is None:
        return ScoreOrReason(None, samples, why), {}, {}
    pooled_reference, pooled = pool_classes(reference, counts)
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


def _confidence_scores(question: _Question) -> tuple[dict[str, ScoreOrReason], _Confidence | None]:
    window, baseline = question.window, question.baseline.confidence
    names = ("confidence_drift", "confidence_drop", "low_confidence_rise")
    samples = int(window.has_confidences.sum())
    why = question.may_speak(samples, "confidences")
    if why or baseline is None:
        return dict.fromkeys(names, ScoreOrReason(None, samples, why)), None
    top, limit = window.top_confidence, question.settings.low_confidence_below
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
    return scores, _Confidence(drift, mean, reference_mean, low)


def _class_drift(question: _Question, baseline: ConfidenceBaseline, samples: int) -> dict[str, float]:
    """Class -> movement of its confidence, for the classes frequent enough to be judged by themselves.

    The confidence of a class that is hardly ever predicted is near zero but for a few events, and its movement in
    reference standard deviations is chance: with a hundred such classes the worst would pass any threshold.
    """
    shares = class_shares(baseline.counts)
    frequent = (baseline.counts >= MIN_CLASS_REFERENCE) & (shares * samples >= MIN_CLASS_EXPECTED)
    classes = question.settings.classes
    shown = set(shown_classes(classes, shares, question.settings.max_classes))
    judged = [index for index in np.flatnonzero(frequent) if classes[index] in shown]
    if not judged:
        return {}
    confidences = filled(question.window.confidences[question.window.has_confidences])
    distances = wasserstein_normed(baseline.columns.take(judged), confidences[:, judged])
    return {classes[index]: float(distance) for index, distance in zip(judged, distances, strict=True)}


def _missing_ratio(question: _Question, reference: PreparedReference) -> ScoreOrReason:
    """Missed is what the reference has: a model that never sent embeddings misses none."""
    window = question.window
    why = question.may_speak(len(window), "")
    if why:
        return ScoreOrReason(None, len(window), why)
    missing = np.zeros(len(window), dtype=bool)
    if reference.has_embeddings:
        missing |= ~window.has_embedding
    if reference.has_confidences:
        missing |= ~window.has_confidences
    return ScoreOrReason(float(missing.mean()), len(window))


def _invalid_ratio(question: _Question, rejected: int, total: int) -> ScoreOrReason:
    sent = rejected + total
    why = question.may_speak(sent, "")
    return ScoreOrReason(None, sent, why) if why else ScoreOrReason(rejected / sent, sent)


def _cosine(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    """The cosine of two vectors; 0 where one has no direction, clipped to what a cosine can be."""
    lengths = float(np.linalg.norm(a) * np.linalg.norm(b))
    return float(np.clip(a @ b / lengths, -1.0, 1.0)) if lengths > 0 else 0.0
