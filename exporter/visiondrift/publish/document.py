"""The one JSON form of an evaluation: what ``/v1/evaluations`` answers, ``evaluate -o json`` prints, reports carry."""

from collections.abc import Iterable
from typing import Any

from visiondrift.drift.judge import Judgement, WindowEvaluation
from visiondrift.publish.snapshot import Evaluation, ModelState, Snapshot


def judgement_document(judgement: Judgement) -> dict[str, Any]:
    """One signal: score (null where it may not speak), its two levels, verdict, samples, why."""
    return {
        "signal": judgement.signal,
        "score": judgement.score,
        "warning": judgement.threshold.warning,
        "critical": judgement.threshold.critical,
        "verdict": judgement.verdict,
        "samples": judgement.samples,
        "why": judgement.why,
    }


def window_document(window: WindowEvaluation) -> dict[str, Any]:
    """One slice and window with all its signals."""
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
        "signals": [judgement_document(judgement) for judgement in window.judgements],
        "class_share": dict(window.class_share),
        "reference_class_share": dict(window.reference_class_share),
        "class_drift": dict(window.class_drift),
    }


def evaluation_document(evaluation: Evaluation) -> dict[str, Any]:
    """One model and version with all its windows. ``at`` is in seconds since the epoch."""
    return {
        "model": evaluation.model,
        "version": evaluation.version,
        "at": evaluation.at,
        "seconds": evaluation.seconds,
        "verdict": evaluation.verdict,
        "windows": [window_document(window) for window in evaluation.windows],
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
        },
        "evaluations": [evaluation_document(evaluation) for evaluation in state.evaluations],
    }


def models_document(models: Iterable[ModelState]) -> dict[str, Any]:
    """Everything that is known of ``models``."""
    return {"models": [_model_document(state) for state in models]}


def snapshot_document(snapshot: Snapshot) -> dict[str, Any]:
    """Everything that is known now, by model."""
    return models_document(snapshot.models)
