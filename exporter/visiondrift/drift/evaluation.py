"""One window against its reference: every signal's score, what it is worth, and the verdict, or why there is none.

Who may speak: a score needs ``min_samples`` events that have what it looks at, and ``MIN_ROWS`` such rows of the
reference; a level that follows from the budget needs a calibrated reference; otherwise the verdict is ``insufficient``
and says why. A signal that does not apply is left out: a model without configured classes has no prediction and
confidence signals, and where neither reference nor window has any embedding (or any confidences) nothing is said of
them. The rejected events of a model carry no slice, so ``invalid_ratio`` exists for all slices together only.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from visiondrift.config import SliceThresholds
from visiondrift.drift.baseline import PreparedReference, Settings, align_classes
from visiondrift.drift.columns.categories import class_shares
from visiondrift.drift.explain.influence import Influence, chosen, influence_of, plain_influence, shown_images
from visiondrift.drift.explain.shift import Spread, spread_of
from visiondrift.drift.judge import PropertyMove, ScoreOrReason, WindowEvaluation, judge, worst
from visiondrift.drift.weighing import (
    Scale,
    Weighed,
    block_count,
    blocks_in,
    cause_of,
    crowding_of,
    findings,
    held_against,
    held_moves,
    weigh,
)
from visiondrift.drift.window_scores import (
    Question,
    confidence_scores,
    embedding_scores,
    image_scores,
    prediction_score,
)
from visiondrift.prediction import Sample, slice_values
from visiondrift.signals import ALL_SLICES, SIGNALS

__all__ = ["PreparedReference", "Scale", "Settings", "evaluate_window"]


def evaluate_window(
    reference: PreparedReference,
    sample: Sample,
    *,
    slice_: str,
    window: str,
    min_samples: int,
    settings: Settings,
    thresholds: SliceThresholds,
    scale: Scale | None = None,
    rejected: int = 0,
    total: int | None = None,
    answers: bool = True,
) -> WindowEvaluation:
    """Score and judge ``sample``, the events of ``slice_`` in the window called ``window``, against ``reference``.

    ``total`` events were in the window, of which the sample holds at most the configured maximum; ``rejected`` events
    of the model were refused in that time; without ``answers`` no event of the model ever has confidences. Without a
    ``scale`` scores are held against fixed levels alone. Pure: equal arguments give equal answers. Raises
    ReferenceUnusable where window and reference have embeddings of different length.
    """
    sample = align_classes(sample, settings.classes)
    total = len(sample) if total is None else total
    looks = reference.looks(slice_, sample)
    baseline = reference.baseline(slice_, sample)
    blocks = blocks_in(sample, slice_, scale)
    crowding = crowding_of(blocks, slice_, scale)
    # Frames that crowd in a block are no more looks than the reference has in such a block.
    most = looks.reference / max(baseline.rows, 1) * crowding * len(sample)
    counted = replace(looks, window=min(looks.window, most)) if crowding < 1 else looks
    question = Question(sample, baseline, min_samples, settings, counted, crowding)
    scores: dict[str, ScoreOrReason] = {}
    if reference.has_embeddings or sample.has_embedding.any():
        scores |= embedding_scores(question)
    moves: Mapping[str, PropertyMove] = {}
    if reference.has_properties or sample.has_properties.any():
        scores["image_drift"], moves = image_scores(question)
    class_share: Mapping[str, float] = {}
    reference_class_share: Mapping[str, float] = {}
    confidence = None
    if settings.classes:
        scores["prediction_drift"], class_share, reference_class_share = prediction_score(question)
        if reference.has_confidences or sample.has_confidences.any():
            found, confidence = confidence_scores(question)
            scores |= found
    scores["missing_ratio"] = _missing_ratio(question, reference, answers=answers)
    if slice_ == ALL_SLICES:
        scores["invalid_ratio"] = _invalid_ratio(question, rejected, total)
    weighed = weigh(question, scores, slice_, thresholds, scale, blocks=blocks) if scale else Weighed()
    scores |= weighed.scores
    levels, worth = held_against(scores, weighed, thresholds, scale)
    mix = _mix(reference, sample, settings) if slice_ == ALL_SLICES else _Mix()
    judgements = judge({s.name: scores[s.name] for s in SIGNALS if s.name in scores}, levels, worth)
    told = {judgement.signal for judgement in judgements if judgement.score is not None}
    is_drifted = worst(judgement.verdict for judgement in judgements) in {"warning", "critical"}
    influence = _influence(question, reference, slice_, weighed) if is_drifted else None
    return WindowEvaluation(
        slice=slice_,
        window=window,
        samples=len(sample),
        min_samples=min_samples,
        judgements=judgements,
        class_drift=confidence.class_drift if confidence and "confidence_drift" in told else {},
        properties=held_moves(moves, weighed, thresholds, scale),
        class_share=class_share,
        reference_class_share=reference_class_share,
        slice_share=mix.shares,
        reference_slice_share=mix.reference_shares,
        mean_confidence=confidence.mean if confidence else None,
        reference_mean_confidence=confidence.reference_mean if confidence else None,
        low_confidence_ratio=confidence.low_ratio if confidence else None,
        total=total,
        rejected=rejected,
        reference_rows=question.baseline.rows,
        reference_slice=question.baseline.slice,
        independent_samples=looks.window,
        reference_independent_samples=looks.reference,
        block_count=block_count(weighed),
        embedding=findings(weighed, scale),
        performance=weighed.performance,
        influence=influence,
        spread=_spread(question, reference, weighed) if slice_ == ALL_SLICES else None,
        images=shown_images(sample, influence, chosen(influence, sample.embeddings)) if influence else (),
        cause=cause_of(weighed, sample, judgements),
        unknown="" if reference.holds(slice_) else f"the reference has no events of {slice_.replace('=', ' ', 1)}",
    )


def _influence(question: Question, reference: PreparedReference, slice_: str, weighed: Weighed) -> Influence | None:
    """What the window's images have to do with its drift; None where it or the reference has no embeddings."""
    window = question.window
    positions = np.flatnonzero(window.has_embedding)
    if not len(positions) or question.baseline.embedding is None:
        return None
    calibration = weighed.calibration
    if weighed.evidence is None or weighed.rows is None or calibration is None or calibration.detector is None:
        compared = reference.rows(slice_, window)
        return plain_influence(
            window.embeddings[positions], compared.embeddings[compared.has_embedding], positions=positions
        )
    return influence_of(
        calibration.detector.reference,
        weighed.evidence,
        weighed.rows,
        slices=slice_values(window, calibration.label)[positions],
        positions=positions,
    )


def _spread(question: Question, reference: PreparedReference, weighed: Weighed) -> Spread | None:
    """How a drift is spread over the slices; None where they are not known apart, or their embeddings say nothing."""
    calibration, rows, window = weighed.calibration, weighed.rows, question.window
    if rows is None or calibration is None or calibration.detector is None or not calibration.label:
        return None
    embedded = window.has_embedding
    found = spread_of(
        calibration.detector,
        rows,
        slice_values(window, calibration.label)[embedded],
        embeddings=window.embeddings[embedded],
        reference_mean=reference.mean_embedding,
    )
    return found.named(calibration.label)


@dataclass(frozen=True)
class _Mix:
    """Slice -> its share of the traffic, in the window and in the reference."""

    shares: Mapping[str, float] = field(default_factory=dict)
    reference_shares: Mapping[str, float] = field(default_factory=dict)


def _mix(reference: PreparedReference, sample: Sample, settings: Settings) -> _Mix:
    """How much of the traffic each slice of the first label is: information, never drift."""
    label = next((label for label in settings.slices if label in sample.slices), None)
    if label is None or not len(sample):
        return _Mix()
    known = label in reference.sample.slices
    return _Mix(_shares_of(sample, label), _shares_of(reference.sample, label) if known else {})


def _shares_of(sample: Sample, label: str) -> dict[str, float]:
    values, counts = np.unique(sample.slices[label].astype(str), return_counts=True)
    shares = class_shares(counts)
    return {f"{label}={value}": float(share) for value, share in zip(values, shares, strict=True) if value}


def _missing_ratio(question: Question, reference: PreparedReference, *, answers: bool) -> ScoreOrReason:
    """Missed is what the reference has: a model that never sent embeddings misses none. Without ``answers`` the images
    are watched alone, as of a camera whose model is not asked, and confidences are not missed either.
    """
    window = question.window
    why = question.may_speak(len(window), "")
    if why:
        return ScoreOrReason(None, len(window), why)
    missing = np.zeros(len(window), dtype=bool)
    if reference.has_embeddings:
        missing |= ~window.has_embedding
    if reference.has_confidences and answers:
        missing |= ~window.has_confidences
    return ScoreOrReason(float(missing.mean()), len(window))


def _invalid_ratio(question: Question, rejected: int, total: int) -> ScoreOrReason:
    sent = rejected + total
    why = question.may_speak(sent, "")
    return ScoreOrReason(None, sent, why) if why else ScoreOrReason(rejected / sent, sent)
