"""The evidence behind a verdict: which columns a person is shown, as Evidently's page under our header, and as JSON.

Shown are what a person can read: the confidence of each class, the predicted class, what was measured of the images,
and one number for each event that sums up the rest. The embedding columns are judged (the header says how), not drawn:
five hundred histograms of nameless numbers explain nothing and take a minute to draw.
"""

import threading
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from visiondrift.drift.baseline import align_classes, filled, predicted_or_top
from visiondrift.drift.columns.categories import OTHER, class_counts
from visiondrift.drift.judge import WindowEvaluation
from visiondrift.prediction import PROPERTIES, Sample
from visiondrift.publish.document import window_document
from visiondrift.publish.montage import Montage
from visiondrift.publish.report_header import with_header
from visiondrift.publish.report_store import Kind, ReportDocument, ReportStore, StoredReport

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Kind", "ReportDocument", "ReportStore", "StoredReport", "build_report"]

MAX_CLASSES_SHOWN = 20
"""Classes with a column of their own, and values of the predicted class, in one report."""

DEFAULT_NUMERIC = 0.5
DEFAULT_CLASSES = 0.25

PREDICTED = "predicted class"
_FORMAT = 1
_LEAST_VALUES = 2
_evidently = threading.Lock()


@dataclass(frozen=True, eq=False)
class _Columns:
    """The columns that are shown, in order, as two frames; and a sentence for each one that is not."""

    reference: "pd.DataFrame"
    window: "pd.DataFrame"
    left_out: tuple[str, ...]

    @property
    def names(self) -> list[str]:
        return list(self.window.columns)


def build_report(
    reference: Sample,
    window: Sample,
    evaluation: WindowEvaluation,
    *,
    model: str,
    version: str,
    at: float,
    montage: Montage | None = None,
) -> ReportDocument:
    """The report on one evaluated window: ``reference`` holds the events that ``window`` was compared with.

    ``at`` is the time of the evaluation in seconds since the epoch; ``montage`` stands in it. The samples are not
    changed, nor is NumPy's global randomness. A column that one side has no values of, or that is the same number
    everywhere, is left out and named. Importing Evidently, once in a process, takes seconds of CPU; then a report takes
    about one.
    """
    window = align_classes(window, reference.classes)
    shown = _columns(reference, window, evaluation)
    about = _about(window, evaluation, model=model, version=version, at=at)
    html, table, scores = _empty_page(), {}, {}
    with _evidently, _quiet_and_unchanged():
        from visiondrift.publish.evidently_table import EVIDENTLY_VERSION, column_table  # noqa: PLC0415  costs seconds

        if shown.names:
            thresholds = _thresholds(shown.names, evaluation)
            made = column_table(
                shown.reference,
                shown.window,
                categorical=[name for name in shown.names if name == PREDICTED],
                thresholds=thresholds,
            )
            html, table, scores = made.html, made.data, dict(made.scores)
    picture = montage.file if montage else None
    data = about | {
        "montage": montage.data if montage else None,
        "columns": {"shown": shown.names, "left_out": list(shown.left_out), "scores": scores},
        "evidently": {"version": EVIDENTLY_VERSION} | table,
    }
    return ReportDocument(with_header(html, evaluation, data, picture), data, picture)


def _columns(reference: Sample, window: Sample, evaluation: WindowEvaluation) -> _Columns:
    import pandas as pd  # noqa: PLC0415  comes with Evidently; the statistics do without

    known = reference.embeddings[reference.has_embedding]
    mean = known.mean(axis=0, dtype=np.float64) if len(known) else None
    classes = _classes_shown(reference, window, evaluation)
    given = [_columns_of(sample, classes, mean) for sample in (reference, window)]
    kept, left_out = [], []
    for name in (name for name in given[0] if name in given[1]):
        problem = _problem(given[0][name], given[1][name])
        if problem:
            left_out.append(f"{name}: {problem}")
        else:
            kept.append(name)
    if len(classes) < len(reference.classes):
        left_out.append(f"{len(reference.classes) - len(classes)} of {len(reference.classes)} classes: they moved less")
    frames = [pd.DataFrame({name: columns[name] for name in kept}) for columns in given]
    return _Columns(frames[0], frames[1], tuple(left_out))


def _columns_of(
    sample: Sample, classes: NDArray[np.intp], reference_mean: NDArray[np.float64] | None
) -> dict[str, NDArray[Any]]:
    """Column name -> (n,) values, NaN (or None) where an event has none; the same names for any sample."""
    columns: dict[str, NDArray[Any]] = {}
    if sample.classes:
        known = sample.has_confidences
        confidences = np.full(sample.confidences.shape, np.nan)
        confidences[known] = filled(sample.confidences[known])
        columns[PREDICTED] = _class_names(sample, classes)
        highest = np.sort(confidences, axis=1)[:, ::-1]
        columns["top confidence"] = highest[:, 0]
        if len(sample.classes) > 1:
            columns["margin of the top two"] = highest[:, 0] - highest[:, 1]
    columns["similarity to the reference"] = _similarities(sample, reference_mean)
    if sample.properties is not None:
        for index, name in enumerate(PROPERTIES):
            columns[f"image {name}"] = sample.properties[:, index].astype(np.float64)
    columns["latency in ms"] = np.where(np.isfinite(sample.latency_ms), sample.latency_ms, np.nan)
    for index in classes:
        columns[f"confidence of {_readable(sample.classes[index])}"] = confidences[:, index]
    return columns


def _classes_shown(reference: Sample, window: Sample, evaluation: WindowEvaluation) -> NDArray[np.intp]:
    """Indices of the classes that moved most, then of the most frequent, in their configured order."""
    names = reference.classes
    counts = sum(class_counts(predicted_or_top(sample), len(names)) for sample in (reference, window))
    moved = np.array([evaluation.class_drift.get(name, -1.0) for name in names])
    order = np.lexsort((-np.broadcast_to(counts, len(names)), -moved))
    return np.sort(order[:MAX_CLASSES_SHOWN])


def _class_names(sample: Sample, classes: NDArray[np.intp]) -> NDArray[np.object_]:
    names = np.full(len(sample.classes) + 1, OTHER, dtype=object)
    names[classes] = [_readable(sample.classes[index]) for index in classes]
    names[-1] = None
    return np.asarray(names[predicted_or_top(sample)])


def _similarities(sample: Sample, reference_mean: NDArray[np.float64] | None) -> NDArray[np.float64]:
    """(n,) cosine of each embedding and the reference's mean."""
    similarities = np.full(len(sample), np.nan)
    known = sample.has_embedding
    if reference_mean is None or not known.any():
        return similarities
    embeddings = sample.embeddings[known].astype(np.float64)
    lengths = np.linalg.norm(embeddings, axis=1) * np.linalg.norm(reference_mean)
    similarities[known] = embeddings @ reference_mean / np.maximum(lengths, np.finfo(np.float64).tiny)
    return similarities


def _readable(class_name: str) -> str:
    """A class name that cannot end the script that Evidently writes it into."""
    return class_name.replace("<", "‹").replace(">", "›")


def _problem(reference: NDArray[Any], window: NDArray[Any]) -> str:
    """Why a column cannot be shown; empty where it can."""
    if reference.dtype == object:
        return "" if any(reference != None) and any(window != None) else "no values"  # noqa: E711  element by element
    values = [column[~np.isnan(column)] for column in (reference, window)]
    for side, found in zip(("reference", "window"), values, strict=True):
        if len(found) < _LEAST_VALUES:
            return f"no values in the {side}"
    both = np.concatenate(values)
    return f"always {both[0]:g}" if both.min() == both.max() else ""


def _thresholds(names: list[str], evaluation: WindowEvaluation) -> Mapping[str, float]:
    """Column -> the threshold that Evidently marks it by: our warning level for that kind of column."""
    warning = {judgement.signal: judgement.threshold.warning for judgement in evaluation.judgements}
    warning |= {f"image {name}": move.threshold.warning for name, move in evaluation.properties.items()}
    numeric, classes = warning.get("confidence_drift"), warning.get("prediction_drift")
    numeric = DEFAULT_NUMERIC if numeric is None else numeric
    classes = DEFAULT_CLASSES if classes is None else classes
    own = {name: level for name in names if (level := warning.get(name)) is not None}
    return {name: classes if name == PREDICTED else numeric for name in names} | own


def _about(window: Sample, evaluation: WindowEvaluation, *, model: str, version: str, at: float) -> dict[str, Any]:
    return {
        "format": _FORMAT,
        "model": model,
        "version": version,
        "at": at,
        "since": float(window.times[0]) if len(window) else None,
        "until": float(window.times[-1]) if len(window) else None,
        "dimension": window.dimension,
    } | window_document(evaluation)


def _empty_page() -> str:
    return '<!DOCTYPE html>\n<html lang="en"><head><meta charset="UTF-8"></head>\n<body>\n</body></html>\n'


@contextmanager
def _quiet_and_unchanged() -> Iterator[None]:
    """Evidently warns about its own dependencies, and parts of it reseed NumPy's global randomness."""
    state = np.random.get_state()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            yield
        finally:
            np.random.set_state(state)
