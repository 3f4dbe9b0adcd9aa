"""Decides what of the picture of now is a metric: each gauge by name, with its labels and its rows in a snapshot."""

import platform
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import version as installed_version

from visiondrift import __version__
from visiondrift.drift.calibration.nulls import MIN_HELD_BLOCKS, MIN_WINDOW_BLOCKS
from visiondrift.drift.explain.causes import UNKNOWN
from visiondrift.drift.explain.shift import SliceShift, Spread
from visiondrift.drift.health.findings import CameraHealth
from visiondrift.drift.judge import Judgement, PropertyMove, WindowEvaluation
from visiondrift.drift.selftest import SelfTest
from visiondrift.publish.snapshot import Evaluation, ModelState, Snapshot
from visiondrift.signals import SEVERITIES, SIGNALS, VERDICTS

_SCOPE = ("model", "version", "slice", "window")
_CAMERA = ("model", "version", "slice")

Row = tuple[Sequence[str], float]


@dataclass(frozen=True)
class SnapshotGauge:
    """One gauge: its name without the prefix, what it means, its labels, and its rows in a snapshot."""

    name: str
    help: str
    labels: tuple[str, ...]
    rows: Callable[[Snapshot], Iterator[Row]]


def _windows(snapshot: Snapshot) -> Iterator[tuple[ModelState, Evaluation, WindowEvaluation, tuple[str, ...]]]:
    for model in snapshot.models:
        for evaluation in model.evaluations:
            for window in evaluation.windows:
                scope = (evaluation.model, evaluation.version, window.slice, window.window)
                yield model, evaluation, window, scope


def _judgements(snapshot: Snapshot, signal: str) -> Iterator[tuple[ModelState, Judgement, tuple[str, ...]]]:
    for model, _, window, scope in _windows(snapshot):
        for judgement in window.judgements:
            if judgement.signal == signal:
                yield model, judgement, scope


def _score(signal: str) -> Callable[[Snapshot], Iterator[Row]]:
    def rows(snapshot: Snapshot) -> Iterator[Row]:
        for _, judgement, scope in _judgements(snapshot, signal):
            if judgement.score is not None:
                yield scope, judgement.score

    return rows


def _class_drift(snapshot: Snapshot) -> Iterator[Row]:
    for _, _, window, scope in _windows(snapshot):
        for name, value in window.class_drift.items():
            yield (*scope, name), value


def _of_property(value: Callable[[PropertyMove], float]) -> Callable[[Snapshot], Iterator[Row]]:
    def rows(snapshot: Snapshot) -> Iterator[Row]:
        for _, _, window, scope in _windows(snapshot):
            for name, move in window.properties.items():
                yield (*scope, name), value(move)

    return rows


def _property_threshold(snapshot: Snapshot) -> Iterator[Row]:
    for model, _, window, scope in _windows(snapshot):
        for name, move in window.properties.items():
            for severity in SEVERITIES:
                level = move.threshold.level(severity)
                if level is not None:
                    yield (*scope, name, severity, model.owner), level


def _threshold(signal: str) -> Callable[[Snapshot], Iterator[Row]]:
    def rows(snapshot: Snapshot) -> Iterator[Row]:
        for model, judgement, scope in _judgements(snapshot, signal):
            for severity in SEVERITIES:
                level = judgement.threshold.level(severity)
                if level is not None:
                    yield (*scope, severity, model.owner), level

    return rows


def _threshold_missing(snapshot: Snapshot) -> Iterator[Row]:
    lacking: dict[tuple[str, str], bool] = {}
    for _, _, window, scope in _windows(snapshot):
        for judgement in window.judgements:
            key = (scope[0], judgement.signal)
            without = judgement.threshold.warning is None and judgement.threshold.critical is None
            without = without and not judgement.threshold.why  # a level that is to come is not one that is lacking
            lacking[key] = lacking.get(key, False) or without
    for key, value in lacking.items():
        yield key, float(value)


def _lacks_calibration(snapshot: Snapshot) -> Iterator[Row]:
    for _, _, window, scope in _windows(snapshot):
        # A level that no score can reach followed from a calibration, and more of the window may bring it in reach.
        lacking = any(j.threshold.why and not j.threshold.unreachable for j in window.judgements)
        if window.block_count is not None or lacking:
            yield scope, float(lacking and not _is_itself_too_short(window))


def _is_itself_too_short(window: WindowEvaluation) -> bool:
    """Whether it is the window that has too little for a level to follow, of a reference that has enough."""
    blocks = window.block_count
    if blocks is None or blocks.reference < 2 * MIN_HELD_BLOCKS:
        return False
    return window.samples < window.min_samples or blocks.window < MIN_WINDOW_BLOCKS


def _false_pages(snapshot: Snapshot) -> Iterator[Row]:
    for _, _, window, scope in _windows(snapshot):
        for judgement in window.judgements:
            for severity, pages in judgement.worth.false_pages.items():
                yield (*scope, judgement.signal, severity), pages


def _detectable(snapshot: Snapshot) -> Iterator[Row]:
    for _, _, window, scope in _windows(snapshot):
        for judgement in window.judgements:
            if judgement.worth.detectable is not None:
                yield (*scope, judgement.signal), judgement.worth.detectable


def _surprises(snapshot: Snapshot) -> Iterator[Row]:
    for _, _, window, scope in _windows(snapshot):
        if window.embedding:
            for statistic, surprise in window.embedding.surprises.items():
                yield (*scope, statistic), surprise


def _outlier_bounds(snapshot: Snapshot) -> Iterator[Row]:
    for _, _, window, scope in _windows(snapshot):
        outliers = window.embedding.outliers if window.embedding else None
        if outliers:
            yield (*scope, "low"), outliers.low
            yield (*scope, "high"), outliers.high


def _of_slices(value: Callable[[SliceShift], float | None]) -> Callable[[Snapshot], Iterator[Row]]:
    """A number of each slice of a window of all slices, with the slice's own labels."""

    def rows(snapshot: Snapshot) -> Iterator[Row]:
        for _, _, window, (model, version, _, name) in _windows(snapshot):
            for one in window.spread.slices if window.spread and window.spread.moved else ():
                number = value(one)
                if number is not None:
                    yield (model, version, one.slice, name), number

    return rows


def _spread_slices(snapshot: Snapshot) -> Iterator[Row]:
    for _, _, window, scope in _windows(snapshot):
        if window.spread:
            yield (*scope, "judged"), window.spread.judged
            yield (*scope, "moved"), len(window.spread.moved)


def _of_spread(value: Callable[[Spread], float | None]) -> Callable[[Snapshot], Iterator[Row]]:
    return _of_window(lambda window: value(window.spread) if window.spread else None)


def _causes(snapshot: Snapshot) -> Iterator[Row]:
    for _, _, window, scope in _windows(snapshot):
        if window.cause and window.cause.drifted:
            agreed = ", ".join(window.cause.agreed)
            yield (*scope, window.cause.word or UNKNOWN, window.cause.shown_property, agreed), 1.0


def _witnesses(snapshot: Snapshot) -> Iterator[Row]:
    for _, _, window, scope in _windows(snapshot):
        for (witness, name), z in window.cause.readings.items() if window.cause else ():
            yield (*scope, witness, name), z


def _opinions(snapshot: Snapshot) -> Iterator[Row]:
    for _, _, window, scope in _windows(snapshot):
        performance = window.performance
        if performance:
            for opinion, interval in (("confidences", performance.by_confidence), ("readers", performance.by_readers)):
                if interval:
                    yield (*scope, opinion), interval.value


def _accuracy_bounds(snapshot: Snapshot) -> Iterator[Row]:
    for _, _, window, scope in _windows(snapshot):
        interval = window.performance.accuracy if window.performance else None
        if interval:
            yield (*scope, "low"), interval.low
            yield (*scope, "high"), interval.high


def _classes(snapshot: Snapshot) -> Iterator[Row]:
    for model, _, window, scope in _windows(snapshot):
        performance = window.performance
        if performance is None or not performance.valid:
            continue
        for one in performance.classes[: model.max_classes]:
            for measure, interval in (("precision", one.precision), ("recall", one.recall), ("f1", one.f1)):
                if interval:
                    yield (*scope, one.name, measure), interval.value


def _self_test(value: Callable[[ModelState], float | None]) -> Callable[[Snapshot], Iterator[Row]]:
    def rows(snapshot: Snapshot) -> Iterator[Row]:
        for model in snapshot.models:
            number = value(model)
            if number is not None:
                yield (model.name,), number

    return rows


def _tested(value: Callable[[SelfTest], float]) -> Callable[[ModelState], float | None]:
    return lambda model: value(model.reference.tested) if model.reference.tested else None


def _verdict(snapshot: Snapshot) -> Iterator[Row]:
    for _, _, window, scope in _windows(snapshot):
        for verdict in VERDICTS:
            yield (*scope, verdict), float(window.verdict == verdict)


def _shares(of: Callable[[WindowEvaluation], Iterable[tuple[str, float]]]) -> Callable[[Snapshot], Iterator[Row]]:
    def rows(snapshot: Snapshot) -> Iterator[Row]:
        for _, _, window, scope in _windows(snapshot):
            for name, share in of(window):
                yield (*scope, name), share

    return rows


def _of_window(value: Callable[[WindowEvaluation], float | None]) -> Callable[[Snapshot], Iterator[Row]]:
    def rows(snapshot: Snapshot) -> Iterator[Row]:
        for _, _, window, scope in _windows(snapshot):
            number = value(window)
            if number is not None:
                yield scope, number

    return rows


def _last_success(snapshot: Snapshot) -> Iterator[Row]:
    for model in snapshot.models:
        for version, time in model.evaluated.items():
            yield (model.name, version), time


def _cameras(
    of: Callable[[CameraHealth], Iterable[tuple[tuple[str, ...], float]]],
) -> Callable[[Snapshot], Iterator[Row]]:
    def rows(snapshot: Snapshot) -> Iterator[Row]:
        for model in snapshot.models:
            for evaluation in model.evaluations:
                for camera in evaluation.cameras:
                    for labels, number in of(camera):
                        yield (model.name, evaluation.version, camera.slice, *labels), number

    return rows


def _of_model(
    value: Callable[[ModelState], float], labels: Callable[[ModelState], Sequence[str]]
) -> Callable[[Snapshot], Iterator[Row]]:
    def rows(snapshot: Snapshot) -> Iterator[Row]:
        for model in snapshot.models:
            yield labels(model), value(model)

    return rows


def _newest(snapshot: Snapshot) -> Iterator[Row]:
    for model in snapshot.models:
        for (version, slice_), time in model.newest.items():
            yield (model.name, version, slice_), time


def _report_times(snapshot: Snapshot) -> Iterator[Row]:
    for model in snapshot.models:
        for scope, time in model.reports.items():
            yield (model.name, *scope), time


def _montage_times(snapshot: Snapshot) -> Iterator[Row]:
    for model in snapshot.models:
        for scope, time in model.montages.items():
            yield (model.name, *scope), time


def _single(value: Callable[[Snapshot], float]) -> Callable[[Snapshot], Iterator[Row]]:
    def rows(snapshot: Snapshot) -> Iterator[Row]:
        yield (), value(snapshot)

    return rows


def _links(snapshot: Snapshot) -> Iterator[Row]:
    yield (snapshot.links.exporter_url, snapshot.links.grafana_url, snapshot.links.runbook_url), 1.0


def _build(_: Snapshot) -> Iterator[Row]:
    yield (__version__, platform.python_version(), installed_version("evidently")), 1.0


def _reference_usable(model: ModelState) -> float:
    return float(not model.reference.problem)


def _by_model(model: ModelState) -> Sequence[str]:
    return (model.name,)


def _by_owner(model: ModelState) -> Sequence[str]:
    return (model.name, model.owner)


def _by_reference(model: ModelState) -> Sequence[str]:
    return (model.name, model.reference.name)


def _signal_gauges() -> Iterator[SnapshotGauge]:
    for signal in SIGNALS:
        if signal.name == "confidence_drift":
            yield SnapshotGauge(signal.name, f"{signal.title}, by class", (*_SCOPE, "class"), _class_drift)
        else:
            yield SnapshotGauge(signal.name, f"{signal.title}: {signal.meaning}", _SCOPE, _score(signal.name))
        yield SnapshotGauge(
            f"{signal.name}_threshold",
            f"{signal.title}: the level at which a severity begins ({signal.bad_when} is bad)",
            (*_SCOPE, "severity", "model_owner"),
            _threshold(signal.name),
        )


SNAPSHOT_GAUGES: tuple[SnapshotGauge, ...] = (
    *_signal_gauges(),
    SnapshotGauge(
        "image_property_drift",
        "Movement of each image property by itself, in reference standard deviations: it explains image_drift",
        (*_SCOPE, "property"),
        _of_property(lambda move: move.moved),
    ),
    SnapshotGauge(
        "image_property_drift_threshold",
        "The level at which such a movement of that property is no chance any more",
        (*_SCOPE, "property", "severity", "model_owner"),
        _property_threshold,
    ),
    SnapshotGauge(
        "image_property_mean",
        "Mean of each image property in the window, in its own unit",
        (*_SCOPE, "property"),
        _of_property(lambda move: move.value),
    ),
    SnapshotGauge(
        "image_property_expected",
        "The mean to expect of it at these hours, by the reference",
        (*_SCOPE, "property"),
        _of_property(lambda move: move.expected),
    ),
    SnapshotGauge("window_samples", "Events in the window", _SCOPE, _of_window(lambda w: w.samples)),
    SnapshotGauge(
        "window_min_samples", "Events that the window needs to speak", _SCOPE, _of_window(lambda w: w.min_samples)
    ),
    SnapshotGauge(
        "window_independent_samples",
        "Independent looks that the window's events amount to: fewer than events where frames repeat each other",
        _SCOPE,
        _of_window(lambda w: w.independent_samples),
    ),
    SnapshotGauge(
        "reference_independent_samples",
        "Independent looks that the reference's rows behind the window amount to",
        _SCOPE,
        _of_window(lambda w: w.reference_independent_samples),
    ),
    SnapshotGauge(
        "window_blocks",
        "Independent blocks of the reference that the window is worth",
        _SCOPE,
        _of_window(lambda w: w.block_count.window if w.block_count else None),
    ),
    SnapshotGauge(
        "reference_blocks",
        "Independent blocks that the reference holds of the window's slice",
        _SCOPE,
        _of_window(lambda w: w.block_count.reference if w.block_count else None),
    ),
    SnapshotGauge(
        "reference_blocks_needed",
        "Independent blocks that the reference would need to judge the window for all that it holds",
        _SCOPE,
        _of_window(lambda w: w.block_count.needed if w.block_count else None),
    ),
    SnapshotGauge(
        "calibration_lacking",
        "1 where a level cannot follow from the budget, because the reference is not calibrated for the slice",
        _SCOPE,
        _lacks_calibration,
    ),
    SnapshotGauge(
        "expected_false_pages_per_month",
        "False pages a month to expect of a signal's level in this window, at most",
        (*_SCOPE, "signal", "severity"),
        _false_pages,
    ),
    SnapshotGauge(
        "detectable_shift",
        "Smallest shift that four in five such windows would show as a warning: in the signal's own unit, for "
        "drift_evidence in sizes of the embedding cloud",
        (*_SCOPE, "signal"),
        _detectable,
    ),
    SnapshotGauge(
        "detectable_new_share",
        "Smallest share of new images that four in five such windows would show as a warning",
        _SCOPE,
        _of_window(lambda w: w.embedding.new_share_detectable if w.embedding else None),
    ),
    SnapshotGauge(
        "drift_cause",
        "1 for the cause of a window that has drifted, as far as witnesses agree; else the cause is unknown. With the "
        "property that supports it (or that moved most, where it is unknown) and the witnesses that agreed",
        (*_SCOPE, "cause", "property", "agreed"),
        _causes,
    ),
    SnapshotGauge(
        "witness_z",
        "Move of an image property, of a fault's signature or layout, or of a probe's words, in its standard "
        "deviations in windows without drift",
        (*_SCOPE, "witness", "name"),
        _witnesses,
    ),
    SnapshotGauge(
        "embedding_statistic_surprise",
        "-log10 of the chance of each statistic of the embeddings by itself: it explains the evidence, it never alerts",
        (*_SCOPE, "statistic"),
        _surprises,
    ),
    SnapshotGauge(
        "embedding_mean_moved",
        "Distance that the mean embedding has moved beyond chance, in sizes of the reference's cloud at that hour",
        _SCOPE,
        _of_window(lambda w: w.embedding.effect.mean_moved if w.embedding else None),
    ),
    SnapshotGauge(
        "embedding_spread_ratio",
        "Total variance of the window's embeddings over the reference's at that hour",
        _SCOPE,
        _of_window(lambda w: w.embedding.effect.spread_ratio if w.embedding else None),
    ),
    SnapshotGauge(
        "embedding_new_share",
        "Share of the window's images that are surely new, a lower bound at 95 %",
        _SCOPE,
        _of_window(lambda w: w.embedding.effect.new_share if w.embedding else None),
    ),
    SnapshotGauge(
        "outlier_ratio",
        "Share of the window's images farther from the reference than 98 in 100 normal images",
        _SCOPE,
        _of_window(lambda w: w.embedding.outliers.ratio if w.embedding and w.embedding.outliers else None),
    ),
    SnapshotGauge(
        "outlier_expected_ratio",
        "Ends of the interval in which that share lies without drift, in 95 % of windows of so many independent blocks",
        (*_SCOPE, "bound"),
        _outlier_bounds,
    ),
    SnapshotGauge(
        "embedding_low_variance_share",
        "Part of the move along axes where content hardly varies: near 1 means imaging or preprocessing",
        _SCOPE,
        _of_window(lambda w: w.embedding.effect.low_variance_share if w.embedding else None),
    ),
    SnapshotGauge(
        "slice_shift_share",
        "Part of the mean squared shift of all images that is the slice's, where any slice has moved",
        _SCOPE,
        _of_slices(lambda one: one.share),
    ),
    SnapshotGauge(
        "slice_shift_cosine",
        "Cosine of the slice's shift and that of the others that moved the same way: 1 is the very same",
        _SCOPE,
        _of_slices(lambda one: one.cosine),
    ),
    SnapshotGauge(
        "spread_slices",
        "Slices of a window of all slices by state: judged by themselves, and of these moved",
        (*_SCOPE, "state"),
        _spread_slices,
    ),
    SnapshotGauge(
        "one_cause",
        "1 where the window has moved the same way as most others, or still holds that time, or is of all slices then",
        _SCOPE,
        _of_window(lambda window: float(window.one_cause)),
    ),
    SnapshotGauge(
        "common_cause_slices",
        "Slices that moved the same way, which most of those that moved did: one cause; 0 where there is none",
        _SCOPE,
        _of_spread(lambda spread: float(len(spread.common))),
    ),
    SnapshotGauge(
        "mix_explained",
        "Part of the plain mean shift, 0-1, that is the mix of slices and hours and no drift",
        _SCOPE,
        _of_spread(lambda spread: spread.mix_explained),
    ),
    SnapshotGauge(
        "unknown_slice_ratio",
        "Share of the window's events in slices that the reference does not know",
        _SCOPE,
        _of_spread(lambda spread: float(sum(spread.new.values()))),
    ),
    SnapshotGauge(
        "silent_slice_ratio",
        "Share of the reference in slices without an event in the window",
        _SCOPE,
        _of_spread(lambda spread: float(sum(spread.silent.values()))),
    ),
    SnapshotGauge(
        "discovery",
        "1 where the slice is among those whose drift is shown with at most one in ten false (Benjamini-Hochberg)",
        _SCOPE,
        _of_window(lambda w: None if w.discovery is None else float(w.discovery)),
    ),
    SnapshotGauge(
        "estimated_accuracy",
        "Accuracy of the model in the window as estimated without labels: the lower of two opinions",
        _SCOPE,
        _of_window(lambda w: w.performance.accuracy.value if w.performance and w.performance.accuracy else None),
    ),
    SnapshotGauge(
        "estimated_accuracy_bound",
        "Ends of the 90 % interval of the estimated accuracy",
        (*_SCOPE, "bound"),
        _accuracy_bounds,
    ),
    SnapshotGauge(
        "estimated_accuracy_opinion",
        "The two opinions behind the estimated accuracy: calibrated confidences, and readers of the embedding",
        (*_SCOPE, "opinion"),
        _opinions,
    ),
    SnapshotGauge(
        "estimate_valid",
        "1 where the estimated accuracy may be acted on, 0 where its assumptions do not hold",
        _SCOPE,
        _of_window(lambda w: float(w.performance.valid) if w.performance else None),
    ),
    SnapshotGauge(
        "reference_accuracy",
        "Accuracy of the model on the labelled reference",
        _SCOPE,
        _of_window(lambda w: w.performance.reference_accuracy if w.performance else None),
    ),
    SnapshotGauge(
        "estimated_class_performance",
        "Estimated precision, recall and F1 of each class, where the estimate is valid",
        (*_SCOPE, "class", "measure"),
        _classes,
    ),
    SnapshotGauge(
        "slice_share",
        "Share of the traffic of each slice of the first label: information, never drift",
        (*_SCOPE, "part"),
        _shares(lambda w: w.slice_share.items()),
    ),
    SnapshotGauge(
        "reference_slice_share",
        "The same in the reference",
        (*_SCOPE, "part"),
        _shares(lambda w: w.reference_slice_share.items()),
    ),
    SnapshotGauge("verdict", "1 for the window's present verdict", (*_SCOPE, "verdict"), _verdict),
    SnapshotGauge(
        "mean_confidence", "Mean top confidence in the window", _SCOPE, _of_window(lambda w: w.mean_confidence)
    ),
    SnapshotGauge(
        "reference_mean_confidence",
        "Mean top confidence in the reference, as expected at these hours",
        _SCOPE,
        _of_window(lambda w: w.reference_mean_confidence),
    ),
    SnapshotGauge(
        "low_confidence_ratio",
        "Share of events with a top confidence below low_confidence_below",
        _SCOPE,
        _of_window(lambda w: w.low_confidence_ratio),
    ),
    SnapshotGauge(
        "class_share",
        "Share of predictions by class in the window",
        (*_SCOPE, "class"),
        _shares(lambda w: w.class_share.items()),
    ),
    SnapshotGauge(
        "reference_class_share",
        "Share of predictions by class in the reference",
        (*_SCOPE, "class"),
        _shares(lambda w: w.reference_class_share.items()),
    ),
    SnapshotGauge(
        "evaluation_last_success_timestamp_seconds",
        "When the model was last evaluated",
        ("model", "version"),
        _last_success,
    ),
    SnapshotGauge(
        "evaluation_interval_seconds",
        "How often the model is to be evaluated",
        ("model",),
        _of_model(lambda m: m.evaluate_every, _by_model),
    ),
    SnapshotGauge(
        "camera_fault",
        "1 where the camera has the fault, 0 where it has not; absent where that cannot be told",
        (*_CAMERA, "fault"),
        _cameras(lambda camera: (((name,), float(camera.has(name))) for name in camera.reach)),
    ),
    SnapshotGauge(
        "camera_fault_since_timestamp_seconds",
        "Since when the camera has the fault, as far as its frames say",
        (*_CAMERA, "fault"),
        _cameras(lambda camera: (((fault.name,), fault.since) for fault in camera.faults)),
    ),
    SnapshotGauge(
        "camera_fault_reach_ratio",
        "How far the camera is on its way to the limit of the fault: 0 as in its reference, from 1 on it has the fault",
        (*_CAMERA, "fault"),
        _cameras(lambda camera: (((name,), reach) for name, reach in camera.reach.items())),
    ),
    SnapshotGauge(
        "camera_last_frame_timestamp_seconds",
        "Time of the camera's newest event",
        _CAMERA,
        _cameras(lambda camera: () if camera.last_frame is None else (((), camera.last_frame),)),
    ),
    SnapshotGauge("last_event_timestamp_seconds", "Time of the newest event", ("model", "version", "slice"), _newest),
    SnapshotGauge(
        "input_stopped_after_seconds",
        "Silence after which the input counts as stopped",
        ("model", "model_owner"),
        _of_model(lambda m: m.input_stopped_after, _by_owner),
    ),
    SnapshotGauge(
        "reference_rows",
        "Rows of the reference",
        ("model", "reference"),
        _of_model(lambda m: m.reference.rows, _by_reference),
    ),
    SnapshotGauge(
        "reference_created_timestamp_seconds",
        "When the reference was built",
        ("model", "reference"),
        _of_model(lambda m: m.reference.created, _by_reference),
    ),
    SnapshotGauge(
        "reference_usable",
        "1 where the reference can be used, 0 where it is missing, damaged or made with another embedder",
        ("model", "reference"),
        _of_model(_reference_usable, _by_reference),
    ),
    SnapshotGauge(
        "reference_calibrated",
        "1 where the reference is calibrated, 0 where it is not (yet), so that no level can follow from the budget",
        ("model", "reference"),
        _of_model(lambda m: float(not m.reference.uncalibrated), _by_reference),
    ),
    SnapshotGauge(
        "selftest_false_alarm_ratio",
        "False alarms of the detector on parts of the reference that it has not seen, at the nominal level: "
        "of each slice or of all together, whichever is more surely too many",
        ("model",),
        _self_test(_tested(lambda test: test.rate)),
    ),
    SnapshotGauge(
        "selftest_false_alarm_ratio_low",
        "Lower end of the 99 % interval of that share",
        ("model",),
        _self_test(_tested(lambda test: test.low)),
    ),
    SnapshotGauge(
        "selftest_false_alarm_ratio_high",
        "Upper end of the 99 % interval of that share",
        ("model",),
        _self_test(_tested(lambda test: test.high)),
    ),
    SnapshotGauge(
        "selftest_nominal_ratio",
        "The share of false alarms that the self-test should find",
        ("model",),
        _self_test(_tested(lambda test: test.nominal)),
    ),
    SnapshotGauge(
        "selftest_last_run_timestamp_seconds",
        "When the self-test last ran, whether or not the reference was large enough for one",
        ("model",),
        _self_test(lambda model: model.reference.tested_at or None),
    ),
    SnapshotGauge(
        "signal_threshold_missing",
        "1 where a signal has neither a warning nor a critical threshold, and so can never alert",
        ("model", "signal"),
        _threshold_missing,
    ),
    SnapshotGauge("report_last_timestamp_seconds", "When the newest report was written", _SCOPE, _report_times),
    SnapshotGauge(
        "montage_last_timestamp_seconds",
        "When the newest report was written, where it shows the images behind the drift",
        _SCOPE,
        _montage_times,
    ),
    SnapshotGauge("log_events", "Events in the prediction log", (), _single(lambda s: s.log_events)),
    SnapshotGauge("log_size_bytes", "Size of the prediction log on disk", (), _single(lambda s: s.log_size_bytes)),
    SnapshotGauge("ingest_queue_events", "Events that wait for the log", (), _single(lambda s: s.queue_events)),
    SnapshotGauge(
        "ingest_queue_capacity_events", "Events that may wait for the log", (), _single(lambda s: s.queue_capacity)
    ),
    SnapshotGauge(
        "config_last_reload_successful",
        "1 where the configuration on disk is the one in force, 0 where it was rejected",
        (),
        _single(lambda s: float(not s.config_problem)),
    ),
    SnapshotGauge(
        "config_restart_needed",
        "1 where monitoring.yml has changed in something that takes effect at a restart only",
        (),
        _single(lambda s: float(bool(s.awaits_restart))),
    ),
    SnapshotGauge(
        "config_last_reload_success_timestamp_seconds",
        "When the configuration in force was read",
        (),
        _single(lambda s: s.config_loaded_at),
    ),
    SnapshotGauge(
        "monitor_last_tick_timestamp_seconds",
        "When the monitor last looked at its schedule",
        (),
        _single(lambda s: s.tick_at),
    ),
    SnapshotGauge(
        "links_info", "Addresses that alerts and pages link to", ("exporter_url", "grafana_url", "runbook_url"), _links
    ),
    SnapshotGauge("build_info", "Versions of what runs", ("version", "python", "evidently"), _build),
)
