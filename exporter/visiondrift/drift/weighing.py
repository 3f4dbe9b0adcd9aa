"""What the scores of a window are worth: the calibration asked, levels in force, and whether drift has done harm.

It adds the scores that only a calibrated reference has (evidence of drift, the estimated drop of accuracy), and says of
every score how surely it is no chance.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

import numpy as np
from scipy import special

from visiondrift.config import SliceThresholds
from visiondrift.drift.baseline import predicted_or_top
from visiondrift.drift.calibrated import EVIDENCE, CalibratedReference, Calibration, WindowBlocks
from visiondrift.drift.calibration.budget import Terms
from visiondrift.drift.calibration.nulls import HELD_PER_WINDOW, MIN_HELD_BLOCKS
from visiondrift.drift.calibration.tails import surprise
from visiondrift.drift.embedding.detector import EmbeddingEvidence
from visiondrift.drift.embedding.fit import WindowRows
from visiondrift.drift.embedding.memory import Memory, accumulated
from visiondrift.drift.embedding.moments import Moments
from visiondrift.drift.explain.causes import Cause
from visiondrift.drift.judge import BlockCount, EmbeddingFindings, Judgement, Levels, PropertyMove, ScoreOrReason, Worth
from visiondrift.drift.levels import Standard, standard_of
from visiondrift.drift.performance.cbpe import Interval, Z
from visiondrift.drift.performance.estimate import PerformanceEstimate, estimate_performance, measured_accuracy
from visiondrift.drift.performance.model import evidence_of
from visiondrift.drift.window_scores import Question
from visiondrift.prediction import Sample
from visiondrift.signals import ALL_SLICES, BY_NAME, SEVERITIES, Severity

LARGE_MOVE = 1.0
"""Of the cloud's size: a mean embedding that has moved so far is a large change whatever the estimate says."""

LARGE_NEW_SHARE = 0.5
"""Of the images, surely new: the same."""


@dataclass(frozen=True, eq=False)
class Scale:
    """What the scores of a window are weighed with.

    ``calibrated`` is None where ``why`` says why the reference is not. ``terms`` is what a look may cost. ``moments``
    maps the slices of the window to those of all its events, where the sample is a part of them, and ``measured`` is
    then the accuracy of those that bring their true class; ``memory`` is what fading memories hold of the slices of the
    first label, for the one window of a slice that speaks of them.
    """

    calibrated: CalibratedReference | None
    terms: Terms
    why: str = ""
    moments: Mapping[str, Moments] | None = None
    memory: Memory | None = None
    measured: Interval | None = None


@dataclass(frozen=True, eq=False)
class Weighed:
    """What the calibration says of one window. ``evidence`` is None where it says nothing of the embeddings; ``rows``
    are those that it was found in, and ``moments`` by slice are kept for whoever asks more of them.
    """

    scores: Mapping[str, ScoreOrReason] = field(default_factory=dict)
    standards: Mapping[str, Standard] = field(default_factory=dict)
    evidence: EmbeddingEvidence | None = None
    rows: WindowRows | None = None
    performance: PerformanceEstimate | None = None
    calibration: Calibration | None = None
    target: str = ALL_SLICES
    blocks: int = 0
    worth: float = 0.0
    moments: Mapping[str, Moments] | None = None


def blocks_in(window: Sample, slice_: str, scale: Scale | None) -> WindowBlocks | None:
    """The blocks of a window of a slice; None where nothing is calibrated for it."""
    calibration = scale.calibrated.of_slice(slice_) if scale and scale.calibrated else None
    return calibration.blocks_of(window) if calibration else None


def crowding_of(blocks: WindowBlocks | None, slice_: str, scale: Scale | None) -> float:
    """Share, at most 1, of a window's events that as many blocks of the reference have; 1 where that is unknown."""
    calibration = scale.calibrated.of_slice(slice_) if scale and scale.calibrated else None
    if calibration is None or blocks is None:
        return 1.0
    return calibration.crowding(calibration.target(slice_), blocks)


def weigh(
    question: Question,
    scores: Mapping[str, ScoreOrReason],
    slice_: str,
    thresholds: SliceThresholds,
    scale: Scale,
    *,
    blocks: WindowBlocks | None,
) -> Weighed:
    """Ask the calibration; where there is none, every level that follows from the budget lacks, with the reason.

    ``blocks`` are those of the window, by ``blocks_in``.
    """
    calibration = scale.calibrated.of_slice(slice_) if scale.calibrated else None
    embedded = "embedding_drift" in scores
    if calibration is None or blocks is None:
        why = scale.why or f"the reference is not calibrated for {slice_}"
        samples = int(question.window.has_embedding.sum())
        first = question.may_speak(samples, "embedding") or why
        unknown = {"drift_evidence": ScoreOrReason(None, samples, first)} if embedded else {}
        names = (*scores, *unknown)
        return Weighed(unknown, {name: standard_of(name, thresholds, None, why) for name in names})
    target = calibration.target(slice_)
    worth = calibration.worth(target, blocks)
    standards = {}
    for name in scores:
        tail = calibration.tail(target, name, worth)
        why = "" if tail else calibration.why_no_null(target, name, blocks)
        standards[name] = standard_of(name, thresholds, tail, why)
    added: dict[str, ScoreOrReason] = {}
    evidence, rows, moments = None, None, None
    if embedded:
        evidence, rows, moments, found = _evidence(question, calibration, target, blocks, scale)
        added |= found
        standards |= {name: standard_of(name, thresholds, None, given.why) for name, given in found.items()}
    performance = None
    if scale.calibrated and scale.calibrated.performance:
        performance, added["accuracy_drop"] = _accuracy(question, scale, blocks)
    return Weighed(
        added,
        standards,
        evidence,
        rows,
        performance,
        calibration,
        target=target,
        blocks=blocks.count,
        worth=worth,
        moments=moments,
    )


def _evidence(
    question: Question, calibration: Calibration, target: str, blocks: WindowBlocks, scale: Scale
) -> tuple[EmbeddingEvidence | None, WindowRows | None, Mapping[str, Moments] | None, dict[str, ScoreOrReason]]:
    """What the window's embeddings say, the rows looked at, their moments, and what the memories say where asked."""
    window = question.window
    samples = int(window.has_embedding.sum())
    found: dict[str, ScoreOrReason] = {}
    why = question.may_speak(samples, "embedding")
    rows = None
    look: EmbeddingEvidence | str = why
    moments: Mapping[str, Moments] = {}
    if not why:
        if calibration.detector:
            moments, rows = calibration.moments_of(window, blocks)
        moments = scale.moments or moments
        look = calibration.look(target, moments, rows)
    if isinstance(look, str):
        found["drift_evidence"] = ScoreOrReason(None, samples, look)
    else:
        found["drift_evidence"] = ScoreOrReason(look.surprise, samples)
    # Other labels' slices have axes and values of their own, which the memories know nothing of.
    if scale.memory is not None and scale.calibrated and calibration is scale.calibrated.of_slice(ALL_SLICES):
        # A slice that sends fewer events than are asked for is not to be judged by what it sent before.
        found["accumulated_evidence"] = (
            ScoreOrReason(None, samples, why) if why else _remembered(calibration, target, scale.memory, samples)
        )
    return (None if isinstance(look, str) else look), rows, moments or None, found


def _remembered(calibration: Calibration, target: str, memory: Memory, samples: int) -> ScoreOrReason:
    if calibration.detector is None or target not in calibration.detector.slices:
        return ScoreOrReason(None, samples, calibration.why_silent(target) or "the reference has too few embeddings")
    # A tick is part of a window, which is judged by itself; alone it may be a few frames, of which one may be odd.
    own = memory.lasting if target == ALL_SLICES else memory.lasting.of(target)
    found = accumulated(calibration.detector, target, own)
    if found is None:
        return ScoreOrReason(None, samples, calibration.why_silent(target) or "nothing has accumulated yet")
    return ScoreOrReason(surprise(found.p), samples)


def _accuracy(
    question: Question, scale: Scale, blocks: WindowBlocks
) -> tuple[PerformanceEstimate | None, ScoreOrReason]:
    """What was measured or estimated, and its drop: an estimate's where it is valid; and by chance no larger than the
    budget lets pass.
    """
    assert scale.calibrated and scale.calibrated.performance  # noqa: S101, PT018  the caller has asked
    window = question.window
    measured = scale.measured or measured_in(window, blocks)
    samples = int(window.has_confidences.sum())
    why = question.may_speak(samples, "confidences")
    if why:
        return None, ScoreOrReason(None, samples, why)
    estimate = estimate_performance(scale.calibrated.performance, evidence_of(window, blocks=blocks.of_row))
    if measured is not None:
        estimate = replace(estimate, measured=measured)
        chance = (measured.high - measured.low) / (2 * Z) * _deviations(scale.terms.alpha["warning"])
        drop = estimate.reference_accuracy - measured.value
        return estimate, ScoreOrReason(drop, samples, chance=chance, looks="so few events of a known class")
    if estimate.drop is None or estimate.accuracy is None or not estimate.valid:
        return estimate, ScoreOrReason(None, samples, estimate.why)
    # The lower of two opinions on the same events errs by no more than both together. How far they lie apart is what
    # was found, and no error: readers that contradict a sure model are the reason to ask them.
    opinions = [one for one in (estimate.by_confidence, estimate.by_readers) if one is not None]
    error = sum((one.high - one.value) / Z for one in opinions)
    chance = error * _deviations(scale.terms.alpha["warning"])
    return estimate, ScoreOrReason(estimate.drop, samples, chance=chance, looks="an estimate as unsure as this one")


def measured_in(window: Sample, blocks: WindowBlocks) -> Interval | None:
    """The accuracy of the events of a window whose true class is known; None where they are too few."""
    if window.labels is None:
        return None
    return measured_accuracy(predicted_or_top(window), window.labels, blocks=blocks.of_row)


def _deviations(alpha: float) -> float:
    """Standard deviations that a normal variable passes with probability ``alpha``."""
    return float(-special.ndtri(min(max(alpha, 1e-300), 0.5)))


def held_against(
    scores: Mapping[str, ScoreOrReason], weighed: Weighed, thresholds: SliceThresholds, scale: Scale | None
) -> tuple[dict[str, Levels], dict[str, Worth]]:
    """The levels in force of every score, and what score and levels are worth."""
    if scale is None:
        return {name: _fixed(thresholds, name) for name in scores}, {}
    terms = scale.terms
    standards = {name: weighed.standards.get(name) or standard_of(name, thresholds, None, scale.why) for name in scores}
    harmful = _is_harmful(scores, standards, weighed, thresholds, terms)
    levels = {name: standard.levels(terms, harmful=harmful) for name, standard in standards.items()}
    seen = weighed.evidence.worth if weighed.evidence else 0.0
    worth = {
        name: worth_of(
            standard,
            levels[name],
            terms,
            calibration=weighed.calibration,
            target=weighed.target,
            blocks=seen,
            score=scores[name].value,
        )
        for name, standard in standards.items()
    }
    return levels, worth


def held_moves(
    moves: Mapping[str, PropertyMove], weighed: Weighed, thresholds: SliceThresholds, scale: Scale | None
) -> dict[str, PropertyMove]:
    """Every image property's movement with what the calibration says of it: levels as of the signal, and the chance."""
    calibration = weighed.calibration
    if scale is None or calibration is None:
        return dict(moves)
    held = {}
    for name, move in moves.items():
        tail = calibration.tail(weighed.target, f"image_drift:{name}", weighed.worth)
        standard = standard_of("image_drift", thresholds, tail, "")
        held[name] = replace(move, threshold=standard.levels(scale.terms, harmful=False), p=standard.p(move.moved))
    return held


def _fixed(thresholds: SliceThresholds, name: str) -> Levels:
    standard = standard_of(name, thresholds, None, "a level that follows from the budget needs a calibrated reference")
    return standard.levels(Terms({"warning": 1.0, "critical": 1.0}, 1.0), harmful=False)


def _is_harmful(
    scores: Mapping[str, ScoreOrReason],
    standards: Mapping[str, Standard],
    weighed: Weighed,
    thresholds: SliceThresholds,
    terms: Terms,
) -> bool:
    """Whether drift is worth a critical page: the model is measured or estimated to be worse, or the change is very
    large.
    """
    drop = scores.get("accuracy_drop")
    level = thresholds["accuracy_drop"].warning if "accuracy_drop" in thresholds else None
    if drop and drop.value is not None and isinstance(level, float) and drop.value >= max(level, drop.chance):
        return True
    effect = weighed.evidence.effect if weighed.evidence else None
    evidence = scores.get("drift_evidence")
    is_sure = evidence is not None and evidence.value is not None and 10.0**-evidence.value <= terms.alpha["critical"]
    if effect and is_sure and (effect.mean_moved >= LARGE_MOVE or effect.new_share >= LARGE_NEW_SHARE):
        return True
    return any(
        given.value is not None and standards[name].is_large(given.value, terms) for name, given in scores.items()
    )


def worth_of(
    standard: Standard,
    levels: Levels,
    terms: Terms,
    *,
    calibration: Calibration | None,
    target: str,
    blocks: float,
    score: float | None = None,
) -> Worth:
    """What levels are worth, and a ``score`` where there is one, in a window of ``target`` worth so many ``blocks``."""
    if not standard.has_null:
        return Worth()
    pages: dict[Severity, float] = {}
    for severity in SEVERITIES:
        level = levels.level(severity)
        p = None if level is None else standard.p(level)
        if p is not None:
            pages[severity] = terms.pages(p)
    name, detectable = standard.signal.name, None
    if name == "drift_evidence" and levels.warning is not None and calibration:
        detectable = calibration.detectable("mean", target, worth=blocks, surprise=levels.warning)
    elif name not in EVIDENCE and levels.warning is not None:
        detectable = standard.detectable(levels.warning)
    return Worth(p=None if score is None else standard.p(score), false_pages=pages, detectable=detectable)


def block_count(weighed: Weighed) -> BlockCount | None:
    """How many independent blocks either side holds; None where nothing was calibrated."""
    if weighed.calibration is None:
        return None
    calibration = weighed.calibration.scores.get(weighed.target)
    needed = 2 * max(MIN_HELD_BLOCKS, int(np.ceil(HELD_PER_WINDOW * weighed.blocks)))
    worth = weighed.evidence.worth if weighed.evidence else weighed.worth
    return BlockCount(window=worth, reference=calibration.blocks if calibration else 0, needed=needed)


def cause_of(weighed: Weighed, window: Sample, judgements: Iterable[Judgement]) -> Cause | None:
    """Why a window has drifted where one of its drift signals is past a level; None where no witness was prepared."""
    calibration = weighed.calibration
    if calibration is None or calibration.explainer is None:
        return None
    blocks = calibration.blocks_of(window)
    return calibration.explainer.explain(
        weighed.target,
        window,
        of_row=blocks.of_row,
        slices=blocks.slices,
        drifted=any(BY_NAME[j.signal].calibrated and j.verdict in SEVERITIES for j in judgements),
        moments=weighed.moments,
    )


def findings(weighed: Weighed, scale: Scale | None) -> EmbeddingFindings | None:
    """What explains the evidence of drift; None where there is none."""
    if scale is None or weighed.evidence is None or weighed.calibration is None:
        return None
    evidence = weighed.evidence
    return EmbeddingFindings(
        surprises={name: surprise(scored.p) for name, scored in evidence.scores.items()},
        effect=evidence.effect,
        new_share_detectable=weighed.calibration.detectable(
            "new", weighed.target, worth=evidence.worth, surprise=surprise(scale.terms.alpha["warning"])
        ),
        outliers=evidence.outliers,
    )
