"""What ``evaluate`` does: a reference and a window read from files, calibrated, compared, and told."""

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
import typer
from rich.markup import escape

from visiondrift.calibration_file import kept_plan, load_calibration
from visiondrift.calibrator import Answer, ImmediateCalibrations, Request
from visiondrift.cameras import CameraReference, Normals
from visiondrift.cli.config import chosen_model
from visiondrift.cli.files import made_with
from visiondrift.cli.tables import console, table_of, tsv
from visiondrift.config import ThresholdsConfig, load_config
from visiondrift.config.monitoring import MonitorDefaults, WatchedModel, WindowConfig
from visiondrift.config.starting import STARTING_THRESHOLDS
from visiondrift.config.thresholds import AUTO
from visiondrift.config.units import parse_duration
from visiondrift.drift.baseline import align_classes, predicted_or_top
from visiondrift.drift.calibrate import BlockRule, CalibrationPlan
from visiondrift.drift.calibration.budget import Terms
from visiondrift.drift.evaluation import PreparedReference, Scale, Settings, evaluate_window
from visiondrift.drift.health.findings import CameraHealth
from visiondrift.drift.health.judge import judge_camera
from visiondrift.drift.judge import Levels, WindowEvaluation, with_discoveries, worst
from visiondrift.drift.levels import terms_for
from visiondrift.drift.thinning import evenly_of_each
from visiondrift.drift.weighing import measured_in
from visiondrift.errors import BadInput
from visiondrift.parquet import CONFIDENCE, confident_classes_in, read_events
from visiondrift.prediction import Sample, slice_name
from visiondrift.publish.document import models_document
from visiondrift.publish.snapshot import Evaluation, ModelState, ReferenceState
from visiondrift.reference import Manifest, open_reference
from visiondrift.shelf import plan_of, witnesses_of
from visiondrift.signals import ALL_SLICES, BY_NAME

OK, DRIFT, CANNOT_TELL = 0, 1, 2
_COLUMNS = ("slice", "signal", "score", "p", "warning", "critical", "verdict", "samples", "why")


@dataclass(frozen=True, eq=False)
class Compared:
    """A reference and a window from files, and everything that the one is held against the other with.

    ``answer`` is None where no level follows from the budget and no calibration is kept.
    """

    watched: WatchedModel | None
    thresholds: ThresholdsConfig
    manifest: Manifest
    reference: PreparedReference
    sample: Sample
    plan: CalibrationPlan
    answer: Answer | None

    @property
    def model(self) -> str:
        """The model's name, "" without a configuration."""
        return self.watched.name if self.watched else ""

    @property
    def every(self) -> float:
        """The evaluation interval, in seconds."""
        return self.watched.evaluate_every if self.watched else MonitorDefaults().evaluate_every

    @property
    def windows(self) -> Mapping[float, WindowConfig]:
        """The windows of a slice by their length in seconds. They share the budget, and the file stands for one of
        them: then levels are the service's.
        """
        windows = (self.watched or MonitorDefaults()).windows
        return {parse_duration(length): windows[length] for length in windows}

    @property
    def max_samples(self) -> int:
        """How many events of a slice are compared at most: as many as in the shortest window that the file fits in."""
        lasts = self.sample.times[-1] - self.sample.times[0]
        longest = max(self.windows)
        return self.windows[min((length for length in self.windows if length >= lasts), default=longest)].max_samples

    @property
    def slices(self) -> tuple[str, ...]:
        """All events together, then every slice of the window."""
        labels = self.plan.settings.slices
        return (ALL_SLICES, *(slice_name(label, v) for label in labels for v in self.sample.slice_values(label)))


def compare(
    reference: Path,
    window: Path,
    *,
    config: Path | None,
    model: str | None,
    min_samples: int | None,
    replay: bool,
    output: Literal["table", "json", "tsv"],
) -> int:
    """Compare, print, and say the exit status. Raises what the commands tell in a sentence."""
    begun = time.monotonic()
    compared = _compared(reference, window, config, model)
    if replay:
        from visiondrift.cli.replay import replay_window

        return replay_window(compared, min_samples=min_samples, output=output)
    least = min_samples or min(window.min_samples for window in compared.windows.values())
    most = max(least, compared.max_samples)
    if len(compared.sample) > most:
        _say(f"{window}: of {len(compared.sample):,} events {most:,} are compared, evenly spread (max_samples)")
    windows = with_discoveries(list(_evaluations(compared, least, most)))
    if output == "json":
        state = _state(compared, windows, seconds=time.monotonic() - begun)
        typer.echo(json.dumps(models_document([state]), indent=2, ensure_ascii=False))
    elif output == "tsv":
        typer.echo(tsv((_COLUMNS, *_rows(windows))))
    else:
        _print_table(windows, camera_health(compared), f"{window} against {compared.manifest.name}")
    return status_of(windows)


def _compared(reference: Path, window: Path, config: Path | None, model: str | None) -> Compared:
    """Read both files, and take or make the calibration of the reference."""
    loaded = load_config(config) if config else None
    watched = chosen_model(loaded, model) if loaded else None
    thresholds = loaded.thresholds if loaded else STARTING_THRESHOLDS
    embedder = made_with(loaded, watched) if loaded and watched else None
    given = (watched.classes or None) if watched else None
    found = open_reference(reference, embedder=embedder, classes=given, tell=_say)
    classes = watched.classes if watched and watched.classes else found.manifest.classes
    sample = read_events(window, classes=classes or None, tell=_say).of_unit_length()
    _check_comparable(reference, window, found.sample, sample)
    _tell_unnamed(window, found.sample, sample)
    kept_witnesses = witnesses_of(reference, found.manifest)
    plan = _plan(watched, reference, found.manifest, classes, tuple(sorted(sample.slices)))
    plan = replace(plan, witnesses=kept_witnesses.identity if kept_witnesses else "")
    timed = found.manifest.times == "capture"
    prepared = PreparedReference.from_sample(found.sample.of_unit_length(), plan.settings, timed=timed)
    request = Request(
        watched.name if watched else "",
        reference,
        found.manifest.content_hash,
        prepared.sample,
        plan,
        kept_witnesses.witnesses if kept_witnesses else None,
    )
    wanted = thresholds.defaults.signals if watched is None else thresholds.resolve(watched.name, ALL_SLICES)
    is_auto = any(AUTO in (level.warning, level.critical) for level in wanted.values())
    # Where no level hangs on it, a calibration that is there is shown, and none is made.
    kept = None if is_auto else load_calibration(reference, key=request.key, sample=prepared.sample)
    answer = ImmediateCalibrations(_tell).of(request) if is_auto else Answer(kept) if kept else None
    return Compared(watched, thresholds, found.manifest, prepared, sample, plan, answer)


def _check_comparable(reference: Path, window: Path, known: Sample, sample: Sample) -> None:
    """Raises BadInput where the files of ``known`` and ``sample`` do not say the same of an event."""
    embedded = known.has_embedding.any() and sample.has_embedding.any()
    if embedded and known.dimension != sample.dimension:
        raise BadInput(
            f"{window}: column embedding has {sample.dimension} values a row, and the reference {reference} has "
            f"{known.dimension}; accepted are embeddings made with what made the reference's"
        )
    there = confident_classes_in(window)
    given = {name for place, name in enumerate(known.classes) if np.isfinite(known.confidences[:, place]).any()}
    lacking = [name for name in known.classes if name in given - there] if there else []
    # A value that is missing is one too small to be sent, and reads as 0; a column that is missing is not.
    if lacking:
        raise BadInput(
            f"{window}: there is no column {CONFIDENCE}{lacking[0]}, and the reference {reference} has it; accepted "
            f"are the confidences of {', '.join(sorted(given))}, null where an event has none"
        )


def _tell_unnamed(window: Path, known: Sample, sample: Sample) -> None:
    """Say which classes that the reference predicts have no confidence in the whole window."""
    # Clients may send the few highest alone: then such a class is gone, which is drift. But a file may have lost it.
    if not sample.has_confidences.any():
        return
    usual = np.unique(predicted_or_top(known))
    predicted = [known.classes[place] for place in usual[usual >= 0] if not np.isnan(known.confidences[:, place]).all()]
    named = {name for place, name in enumerate(sample.classes) if np.isfinite(sample.confidences[:, place]).any()}
    unnamed = [name for name in predicted if name not in named]
    if unnamed:
        others = f", nor of {len(unnamed) - 1:,} more classes" if len(unnamed) > 1 else ""
        _say(
            f"{window}: no row has a value in {CONFIDENCE}{unnamed[0]}{others}: it counts as 0 where a row has others, "
            "as of an event that names its highest classes alone"
        )


def _plan(
    watched: WatchedModel | None,
    reference: Path,
    manifest: Manifest,
    classes: tuple[str, ...],
    labels: tuple[str, ...],
) -> CalibrationPlan:
    """How the reference is calibrated: as configured, as it was when it was built, or by the defaults."""
    if watched is not None:
        plan = plan_of(watched, manifest)
        return replace(plan, settings=replace(plan.settings, classes=classes))
    kept = kept_plan(reference)
    if kept is not None and set(kept.settings.classes) == set(classes):
        return kept
    defaults = MonitorDefaults()
    settings = Settings(classes, labels, defaults.low_confidence_below, defaults.column_threshold, defaults.max_classes)
    return CalibrationPlan(settings, BlockRule(timed=manifest.times == "capture"))


def _tell(step: str) -> None:
    """A calibration takes its time."""
    _say(f"{step} ... (`visiondrift reference build` keeps the calibration)")


def _say(text: str) -> None:
    """Where it disturbs no output."""
    typer.echo(text, err=True)


def _evaluations(compared: Compared, min_samples: int, max_samples: int) -> Iterator[WindowEvaluation]:
    names = compared.slices
    thresholds = {name: compared.thresholds.resolve(compared.model, name) for name in names}
    terms = terms_for(
        compared.thresholds.budget(compared.model).rates,
        thresholds.items(),
        compared.answer.calibrated if compared.answer else None,
        windows=tuple(compared.windows),
        every=compared.every,
    )
    answers = bool(compared.sample.has_confidences.any())
    events = align_classes(compared.sample, compared.plan.settings.classes)
    for name in names:
        whole = events.of_slice(name)
        sample = whole.take(evenly_of_each(whole.streams(), max_samples))
        is_part = len(sample) < len(whole)
        evaluation = evaluate_window(
            compared.reference,
            sample,
            slice_=name,
            window="file",
            min_samples=min_samples,
            total=len(whole),
            settings=compared.plan.settings,
            thresholds=thresholds[name],
            scale=_scale(compared.answer, terms, name, whole, is_part=is_part) if compared.answer else None,
            answers=answers,
        )
        yield known_of_file(evaluation)


def _scale(answer: Answer, terms: Terms, name: str, whole: Sample, *, is_part: bool) -> Scale:
    """What a slice is weighed with. Where a part of its events is compared, moments are of the ``whole``, by slices of
    the first label, as in the service; and so is the accuracy that true classes measure.
    """
    scale = Scale(answer.calibrated, terms, why=answer.why)
    calibration = answer.calibrated.of_slice(name) if answer.calibrated else None
    if not is_part or answer.calibrated is None or calibration is None:
        return scale
    blocks = calibration.blocks_of(whole)
    has_moments = calibration.detector is not None and calibration is answer.calibrated.of_slice(ALL_SLICES)
    moments = calibration.moments_of(whole, blocks)[0] if has_moments and whole.has_embedding.any() else None
    return replace(scale, moments=moments, measured=measured_in(whole, blocks))


def known_of_file(window: WindowEvaluation) -> WindowEvaluation:
    """A file holds what was accepted: of what was refused it cannot tell, not even that it was nothing."""
    known = tuple(judgement for judgement in window.judgements if judgement.signal != "invalid_ratio")
    return replace(window, judgements=known)


def _state(compared: Compared, windows: tuple[WindowEvaluation, ...], *, seconds: float) -> ModelState:
    """What the service would publish of such an evaluation. Without a configuration the model has no name."""
    manifest, defaults, watched = compared.manifest, MonitorDefaults(), compared.watched
    return ModelState(
        name=compared.model,
        owner=compared.thresholds.owner(compared.model),
        evaluate_every=compared.every,
        input_stopped_after=watched.input_stopped_after if watched else defaults.input_stopped_after,
        reference=ReferenceState(
            manifest.name,
            manifest.rows,
            manifest.created_seconds,
            uncalibrated=compared.answer.why if compared.answer else "",
        ),
        evaluations=(Evaluation(compared.model, "", time.time(), seconds, windows, camera_health(compared)),),
    )


def camera_health(compared: Compared) -> tuple[CameraHealth, ...]:
    """The health of each camera of the file, at its last event: values of the first label, or all events."""
    label = next(iter(compared.plan.settings.slices), None)
    names = [slice_name(label, value) for value in compared.sample.slice_values(label)] if label else [ALL_SLICES]
    within = (compared.watched.health if compared.watched else MonitorDefaults().health).within
    timed = compared.manifest.times == "capture"
    normals = Normals(CameraReference(compared.reference.sample, timed=timed), within)
    found = []
    for name in names:
        own = compared.sample.of_slice(name)
        at = float(own.times[-1]) if len(own) else 0.0
        found.append(judge_camera(normals.of_camera(name), own, slice_=name, at=at, within=within, arrival=None))
    return tuple(found)


def status_of(windows: Sequence[WindowEvaluation]) -> int:
    """The exit status that some windows of one moment, all events first, come to."""
    verdict = worst(window.verdict for window in windows)
    if verdict in {"warning", "critical"}:
        return DRIFT
    # With very many classes none is frequent enough for its own confidence, and an estimate may be refused for good
    # reasons: these alone leave nothing open.
    optional = {"confidence_drift", "accuracy_drop"}
    asked = [j for j in windows[0].judgements if j.signal not in optional and _is_asked(j.threshold)]
    return CANNOT_TELL if any(judgement.verdict == "insufficient" for judgement in asked) else OK


def _is_asked(levels: Levels) -> bool:
    """Whether a signal is held against anything, or would be, if a level could be told."""
    return bool(levels.why) or levels.warning is not None or levels.critical is not None


def _rows(windows: Sequence[WindowEvaluation]) -> Iterator[tuple[str, ...]]:
    for window in windows:
        for judgement in window.judgements:
            threshold = judgement.threshold
            yield (
                window.slice,
                judgement.signal,
                _number(judgement.score),
                "" if judgement.worth.p is None else f"{judgement.worth.p:.2g}",
                *(_number(value) for value in (threshold.warning, threshold.critical)),
                judgement.verdict,
                str(judgement.samples),
                judgement.why,
            )


def _explanations(windows: Sequence[WindowEvaluation]) -> Iterator[str]:
    """Why each drifted window has drifted, which slices have moved, are new, or have sent nothing, and how well the
    model does where that was measured.
    """
    for window in windows:
        cause, measured = window.cause, window.performance.measured if window.performance else None
        if window.told_spread:
            yield f"{window.slice}: {window.told_spread}"
        if cause and cause.drifted:
            yield f"{window.slice}: cause {cause.text} ({cause.why})"
        if measured and window.performance:
            yield (
                f"{window.slice}: accuracy {measured.value:.3f} ({measured.low:.3f}-{measured.high:.3f}) measured "
                f"where the true class is known, {window.performance.reference_accuracy:.3f} in the reference"
            )


def _faults(cameras: Sequence[CameraHealth]) -> Iterator[str]:
    for camera in cameras:
        for fault in camera.faults:
            yield f"{camera.slice}: camera {fault.name}, {fault.certainty}: {fault.evidence}"


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}"


def _print_table(windows: Sequence[WindowEvaluation], cameras: Sequence[CameraHealth], title: str) -> None:
    colours = {"ok": "green", "warning": "yellow", "critical": "red", "insufficient": "bright_black"}
    numbers = ("score", "p", "warning", "critical", "verdict", "samples")
    table = table_of(*_COLUMNS[:-1], numbers=numbers, title=title)
    for window in windows:
        for slice_, signal, score, p, warning, critical, verdict, samples, _ in _rows([window]):
            coloured = f"[{colours[verdict]}]{verdict}[/]"
            table.add_row(escape(slice_), BY_NAME[signal].title, score, p, warning, critical, coloured, samples)
        table.add_section()
    out = console()
    out.print(table)
    for line in (*_explanations(windows), *_faults(cameras)):
        out.print(line, soft_wrap=True, markup=False)
    whys = [row[-1] for row in _rows(windows)] + [window.unknown for window in windows]
    for why in filter(None, dict.fromkeys(whys)):
        out.print(f"insufficient: {why}", soft_wrap=True, markup=False)
    warned = [
        f"{window.slice} {BY_NAME[judgement.signal].title}"
        for window in windows
        for judgement in window.judgements
        if judgement.threshold.unreachable == {"critical"} and not judgement.why
    ]
    if warned:
        out.print(
            f"cannot become critical, no change is beyond chance by that budget: {', '.join(warned)}", markup=False
        )
