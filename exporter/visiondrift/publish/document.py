"""The one JSON form of an evaluation: what ``/v1/evaluations`` answers, ``evaluate -o json`` prints, reports carry."""

from collections.abc import Iterable
from dataclasses import asdict
from typing import Any

from visiondrift.drift.explain.causes import Cause
from visiondrift.drift.explain.shift import Spread
from visiondrift.drift.health.findings import CameraHealth
from visiondrift.drift.judge import Judgement, PropertyMove, WindowEvaluation
from visiondrift.drift.performance.estimate import to_plain
from visiondrift.publish.snapshot import Evaluation, ModelState, Snapshot
from visiondrift.signals import SEVERITIES


def judgement_document(judgement: Judgement) -> dict[str, Any]:
    """One signal: score (null where it may not speak), its two levels, verdict, samples, why, and what it is worth.

    ``unreachable`` names the levels that follow from the budget and that no score can reach, which are null.
    """
    return {
        "signal": judgement.signal,
        "score": judgement.score,
        "warning": judgement.threshold.warning,
        "critical": judgement.threshold.critical,
        "unreachable": [name for name in SEVERITIES if name in judgement.threshold.unreachable],
        "verdict": judgement.verdict,
        "samples": judgement.samples,
        "why": judgement.why,
        "p": judgement.worth.p,
        "expected_false_pages_per_month": dict(judgement.worth.false_pages),
        "detectable_shift": judgement.worth.detectable,
    }


def property_document(move: PropertyMove) -> dict[str, Any]:
    """One image property: its mean, the expected one, how far it moved, the levels of that, and the chance of it."""
    about: dict[str, Any] = {"mean": move.value, "expected": move.expected, "moved": move.moved, "p": move.p}
    return about | {severity: move.threshold.level(severity) for severity in SEVERITIES}


def window_document(window: WindowEvaluation) -> dict[str, Any]:
    """One slice and window with all its signals; ``why`` says why it cannot be ok, where that is so."""
    return {
        "slice": window.slice,
        "window": window.window,
        "samples": window.samples,
        "total": window.total,
        "min_samples": window.min_samples,
        "independent_samples": window.independent_samples,
        "reference_independent_samples": window.reference_independent_samples,
        "reference": {"rows": window.reference_rows, "slice": window.reference_slice},
        "verdict": window.verdict,
        "why": window.why_blind,
        "signals": [judgement_document(judgement) for judgement in window.judgements],
        "class_share": dict(window.class_share),
        "reference_class_share": dict(window.reference_class_share),
        "class_drift": dict(window.class_drift),
        "image_properties": {name: property_document(move) for name, move in window.properties.items()},
        "slice_share": dict(window.slice_share),
        "reference_slice_share": dict(window.reference_slice_share),
        "blocks": asdict(window.block_count) if window.block_count else None,
        "embedding": _embedding_document(window),
        "discovery": window.discovery,
        "performance": to_plain(window.performance) if window.performance else None,
        "images": _images_document(window),
        "spread": _spread_document(window.spread) if window.spread else None,
        "one_cause": window.one_cause,
        "cause": cause_document(window.cause) if window.cause else None,
    }


def cause_document(cause: Cause) -> dict[str, Any]:
    """Why a window has drifted: the word (null where it is unknown, or nothing has drifted), and what it rests on."""
    z: dict[str, dict[str, float]] = {}
    for (witness, name), value in cause.readings.items():
        z.setdefault(witness, {})[name] = value
    return {
        "drifted": cause.drifted,
        "word": cause.word,
        "why": cause.why,
        "text": cause.text,
        "agreed": list(cause.agreed),
        "evidence": [asdict(one) | {"text": one.text} for one in cause.evidence],
        "z": z,
    }


def _embedding_document(window: WindowEvaluation) -> dict[str, Any] | None:
    """What explains the evidence of drift: each statistic's surprise, and how large the change is."""
    found = window.embedding
    if found is None:
        return None
    return {
        "surprises": dict(found.surprises),
        "effect": asdict(found.effect),
        "detectable_new_share": found.new_share_detectable,
        "outliers": asdict(found.outliers) if found.outliers else None,
    }


def camera_document(camera: CameraHealth) -> dict[str, Any]:
    """One camera: its faults with their evidence, how far it is from each, and what cannot be told, with the reason.

    Times are in seconds since the epoch.
    """
    return {
        "slice": camera.slice,
        "last_frame": camera.last_frame,
        "faults": [asdict(fault) for fault in camera.faults],
        "reach": dict(camera.reach),
        "unknown": dict(camera.unknown),
    }


def _spread_document(spread: Spread) -> dict[str, Any]:
    """How a drift is spread over the slices: who moved, how much of it each explains, and whether the same way."""
    return {
        "sentence": spread.sentence,
        "kind": spread.kind,
        "judged": spread.judged,
        "moved": list(spread.moved),
        "common": list(spread.common),
        "slices": [asdict(one) for one in spread.slices],
        "new": dict(spread.new),
        "silent": dict(spread.silent),
        "mix_explained": spread.mix_explained,
    }


def _images_document(window: WindowEvaluation) -> dict[str, Any] | None:
    """The images to look at first, of a window that has drifted: the most influential, not all alike."""
    if window.influence is None:
        return None
    return {"measure": window.influence.measure, "shown": [asdict(image) for image in window.images]}


def evaluation_document(evaluation: Evaluation) -> dict[str, Any]:
    """One model and version with all its windows. ``at`` is in seconds since the epoch."""
    return {
        "model": evaluation.model,
        "version": evaluation.version,
        "at": evaluation.at,
        "seconds": evaluation.seconds,
        "verdict": evaluation.verdict,
        "windows": [window_document(window) for window in evaluation.windows],
        "cameras": [camera_document(camera) for camera in evaluation.cameras],
    }


def _model_document(state: ModelState) -> dict[str, Any]:
    return {
        "model": state.name,
        "owner": state.owner,
        "verdict": state.verdict,
        "problem": state.problem,
        "reference": {
            "name": state.reference.name,
            "rows": state.reference.rows,
            "problem": state.reference.problem,
            "uncalibrated": state.reference.uncalibrated,
            "selftest": asdict(state.reference.tested) if state.reference.tested else None,
        },
        "evaluations": [evaluation_document(evaluation) for evaluation in state.evaluations],
    }


def models_document(models: Iterable[ModelState]) -> dict[str, Any]:
    """Everything that is known of ``models``."""
    return {"models": [_model_document(state) for state in models]}


def snapshot_document(snapshot: Snapshot) -> dict[str, Any]:
    """Everything that is known now, by model."""
    return models_document(snapshot.models)
