"""Makes a calibrated reference of a reference's rows: blocks, detector, nulls, sensitivity, accuracy. Slow, and once.

The scores under calibration are computed by the very code that scores a window (``window_scores``), on windows drawn
from blocks of the reference, against its other half. For all slices together the drawn windows keep their own mix:
its chance is in the null, which errs on the quiet side, as real windows are compared with rows in their own mix.
"""

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from visiondrift.drift.answers import AnswersDay, answers_day
from visiondrift.drift.baseline import MIN_SLICE_ROWS, PreparedReference, Settings
from visiondrift.drift.calibrated import CalibratedReference, Calibration
from visiondrift.drift.calibration.blocks import (
    Autocorrelation,
    Blocks,
    autocorrelation,
    block_seconds,
    common_seconds,
    is_still,
    labelled_blocks,
    timed_blocks,
)
from visiondrift.drift.calibration.nulls import Plan, SliceCalibration, calibrate
from visiondrift.drift.calibration.row_scores import RowFamily, Rows, Score
from visiondrift.drift.embedding.detector import build_detector
from visiondrift.drift.embedding.hours import fit_day, hour_of
from visiondrift.drift.embedding.sensitivity import MOVES, sensitivity
from visiondrift.drift.explain.explainer import build_explainer
from visiondrift.drift.explain.witnesses import Witnesses
from visiondrift.drift.image_properties import property_day
from visiondrift.drift.independence import correlation_rows
from visiondrift.drift.performance.model import evidence_of, fit_performance, why_unlearnable
from visiondrift.drift.selftest import SelfTest, self_test
from visiondrift.drift.window_scores import CONFIDENCE_SIGNALS, EMBEDDING_SIGNALS, IMAGE_SIGNALS, Question, score_window
from visiondrift.prediction import Sample, slice_values
from visiondrift.signals import ALL_SLICES, BY_NAME

FORMAT = 7

_PROJECTED = 16
"""Random projections of the embeddings whose autocorrelation sets the block length."""

_MIN_EMBEDDED = 40
_EMBEDDING_DRAWS = 50
_CONFIDENCE_DRAWS = 100
_IMAGE_DRAWS = 100
_MIN_SECONDS = 1e-3

_MOST_COLUMNS = 8
"""Classes, or axes of the embeddings, that are asked how slowly they change."""

_IS_ALIKE = 3.5
"""Blocks that amount to one look from which on they are alike: of blocks that are not, no column comes to that."""

_LEAST_GROUPS = 24
"""Groups of blocks without which it cannot be told how long they are alike."""


@dataclass(frozen=True)
class BlockRule:
    """How blocks are found: ``seconds`` long, or by the text column ``label`` that names scenes; else estimated.

    ``timed`` is False where the reference's times do not say when a frame was taken: then each of its rows is a block,
    and ``seconds`` is how long one is in production.
    """

    seconds: float | None = None
    label: str | None = None
    timed: bool = True

    def problem(self, sample: Sample) -> str:
        """Why no blocks can be found by this rule; empty where they can."""
        if self.label is not None and self.label not in sample.slices:
            return f"block: the reference has no text column {self.label!r}; accepted is one of its columns, or auto"
        if not self.timed and self.seconds is None:
            return (
                "the times of the reference are those of files, not of frames, so that it cannot be told which frames "
                "are independent; set block to how long production frames stay alike, such as 30s"
            )
        return ""


@dataclass(frozen=True)
class CalibrationPlan:
    """Everything that a calibration hangs on beside the rows; ``windows`` are the lengths in use, in seconds.

    ``witnesses`` tells what was learnt of faults from any other; "" where nothing was.
    """

    settings: Settings
    rule: BlockRule = BlockRule()
    windows: tuple[float, ...] = ()
    seed: int = 0
    witnesses: str = ""

    def key(self, content_hash: str) -> str:
        """What tells this calibration of those rows from any other."""
        own = asdict(self)
        if not self.witnesses:  # what hangs on none is the same as before there were any
            del own["witnesses"]
        if not self.rule.timed:  # calibrations from before took the hour of files off the properties
            own["hours"] = False
        text = json.dumps([FORMAT, content_hash, own], sort_keys=True, default=list)
        return hashlib.sha256(text.encode()).hexdigest()[:24]


Progress = Callable[[str], None]

_LONG = 0.9
"""Of the scenes that are labelled, the part that a block by the clock is no shorter than."""

_Series = tuple[NDArray[np.float64], NDArray[np.float64]]


def calibrate_reference(
    sample: Sample,
    plan: CalibrationPlan,
    *,
    content_hash: str,
    witnesses: Witnesses | None = None,
    progress: Progress = lambda _: None,
) -> CalibratedReference:
    """Everything that can be learnt of ``sample``, whose classes are in the order of the settings.

    ``witnesses`` are those that the plan names.

    Raises ValueError with the sentence of ``BlockRule.problem``. Equal arguments give equal answers.
    """
    problem = plan.rule.problem(sample)
    if problem:
        raise ValueError(problem)
    labels = [label for label in plan.settings.slices if label in sample.slices] or [""]
    found = {}
    for label in labels:
        progress(f"calibrating {label or 'all events'}")
        found[label] = _calibrate_label(sample, plan, label, witnesses)
    progress("learning from the labels")
    first = found[labels[0]]
    evidence = evidence_of(sample, blocks=first.blocks_of(sample).of_row)
    labels_given = np.full(len(sample), -1, dtype=np.int32) if sample.labels is None else sample.labels
    known = labels_given[sample.has_confidences]
    why = why_unlearnable(evidence, known) if plan.settings.classes else "the model has no classes"
    return CalibratedReference(
        key=plan.key(content_hash),
        labels=found,
        performance=None if why else fit_performance(evidence, known, names=plan.settings.classes, seed=plan.seed),
        why_no_performance=why,
    )


def replay_reference(sample: Sample, plan: CalibrationPlan, *, seed: int) -> SelfTest | None:
    """How often a detector of this reference cries wolf on parts of it that it has not seen; None where unknowable."""
    embedded = np.flatnonzero(sample.has_embedding)
    if plan.rule.problem(sample) or len(embedded) < _MIN_EMBEDDED:
        return None
    values = slice_values(sample, next((label for label in plan.settings.slices if label in sample.slices), ""))
    blocks = _blocks(sample, values, _lengths(sample, values, plan.rule), plan.rule).of_rows(embedded)
    times = sample.times[embedded] if plan.rule.timed else None
    return self_test(sample.embeddings[embedded], blocks, times=times, seed=seed)


def resemblances(sample: Sample, plan: CalibrationPlan, calibration: Calibration) -> dict[str, Autocorrelation]:
    """By value of the label, what the lengths of its blocks rest on; none where times are not those of frames.

    Of embeddings and confidences whichever stays alike for longer, without what the hour of day does to them.
    """
    values = slice_values(sample, calibration.label)
    found = {}
    for value in np.unique(values) if plan.rule.timed else ():
        seconds = calibration.seconds[str(value)]
        each = [autocorrelation(at, series, seconds) for at, series in _dayless(sample, values == value).values()]
        if each:
            found[str(value)] = max(each, key=lambda one: one.seconds)
    return found


def _calibrate_label(sample: Sample, plan: CalibrationPlan, label: str, witnesses: Witnesses | None) -> Calibration:
    values = slice_values(sample, label)
    seconds = _lengths(sample, values, plan.rule)
    embedded = np.flatnonzero(sample.has_embedding)
    blocks = _blocks(sample, values, seconds, plan.rule)
    sizes = _sizes(plan.windows, seconds)
    detector = None
    sensitivities = {}
    part = blocks.of_rows(embedded) if len(embedded) >= _MIN_EMBEDDED else None
    if part is not None and len(part) >= _MIN_EMBEDDED:
        times = sample.times[embedded] if plan.rule.timed else None
        embeddings = sample.embeddings[embedded]
        detector = build_detector(embeddings, part, times=times, sizes=sizes, seed=plan.seed)
        for move in MOVES:
            sensitivities[move] = sensitivity(embeddings, part, detector.slices, move=move, times=times, seed=plan.seed)
    return Calibration(
        label=label,
        seconds=seconds,
        spans=_spans(sample, values) if plan.rule.timed else {},
        detector=detector,
        scores=_scores(sample, blocks, plan, sizes, label=label),
        sensitivities=sensitivities,
        explainer=build_explainer(sample, blocks, witnesses, timed=plan.rule.timed, sizes=sizes, seed=plan.seed),
        scenes=plan.rule.label or "",
    )


def _lengths(sample: Sample, values: NDArray[np.str_], rule: BlockRule) -> dict[str, float]:
    """How long a block is, in seconds, by slice."""
    return {str(value): _seconds(sample, values == value, rule) for value in np.unique(values)}


def _seconds(sample: Sample, own: NDArray[np.bool_], rule: BlockRule) -> float:
    """How long a block of one slice is."""
    if rule.seconds is not None:
        return rule.seconds
    times = sample.times[own]
    if rule.label is not None:
        scenes = np.unique(sample.slices[rule.label][own].astype(str), return_inverse=True)[1]
        lengths = [float(np.ptp(times[scenes == scene])) for scene in range(int(scenes.max()) + 1)]
        # Scenes of one frame each do not say how long a scene lasts; what lies between two of them is the least safe.
        # A window that names no scenes is cut by the clock, and a scene must not lie in more than two blocks.
        length = float(np.quantile(lengths, _LONG)) or float(np.ptp(times)) / len(lengths)
        return max(length, _MIN_SECONDS)
    return max([*(block_seconds(at, series) for at, series in _dayless(sample, own).values()), _MIN_SECONDS])


def _moment_seconds(sample: Sample, values: NDArray[np.str_]) -> float:
    """How long what all slices have in common stays alike, 0 where they have nothing or there is one slice."""
    found: dict[str, list[_Series]] = {}
    for value in np.unique(values):
        for name, series in _dayless(sample, values == value).items():
            found.setdefault(name, []).append(series)
    return max((common_seconds(of_slices) for of_slices in found.values() if len(of_slices) > 1), default=0.0)


def _dayless(sample: Sample, own: NDArray[np.bool_]) -> dict[str, _Series]:
    """What blocks are told from: each of ``_series`` that has two rows, without what the hour of day does to it.

    Of a model that is always as sure, as one of a single class is, the pictures alone can tell.
    """
    known = {name: (at, series) for name, (at, series) in _series(sample, own) if len(at) > 1}
    moving = {name: one for name, one in known.items() if not is_still(one[1])}
    return {name: (at, _without_day(at, series)) for name, (at, series) in (moving or known).items()}


def _series(sample: Sample, own: NDArray[np.bool_]) -> Iterator[tuple[str, _Series]]:
    """Times (n,) and what may be correlated in time (n, p): projections of the embeddings, and the confidences.

    Each of the rows that have it: gaps filled with anything would hide how alike the rest is.
    """
    embedded, confident = own & sample.has_embedding, own & sample.has_confidences
    if embedded.any():
        axes = np.random.default_rng(0).normal(size=(sample.dimension, min(_PROJECTED, sample.dimension)))
        yield "embeddings", (sample.times[embedded], sample.embeddings[embedded].astype(np.float64) @ axes)
    if confident.any():
        confidences = np.nan_to_num(sample.confidences[confident].astype(np.float64))
        yield "confidences", (sample.times[confident], confidences[:, :_PROJECTED])
    if not embedded.any() and not confident.any():
        yield "classes", (sample.times[own], sample.predicted[own, None].astype(np.float64))


def _without_day(times: NDArray[np.float64], values: NDArray[np.float64]) -> NDArray[np.float64]:
    """(n, p) ``values`` of one slice at ``times`` (n,) without what the hour of day does to them, where it is known.

    Else frames would be alike for as long as it is day, and five days no more than ten looks.
    """
    slices = np.full(len(times), "")
    day = fit_day(values, times, slices, hour_of(times))
    return day.without(values, times, slices).astype(np.float64) if day.coefficients else values


def _blocks(sample: Sample, values: NDArray[np.str_], seconds: Mapping[str, float], rule: BlockRule) -> Blocks:
    # Windows are cut by the clock, whatever the reference is: what lies in two of their blocks is no witness twice.
    if rule.label is not None:
        scenes = _in_time(sample.slices[rule.label].astype(str), sample.times)
        return replace(labelled_blocks(scenes, values), adjoining=True, ordered=rule.timed)
    if not rule.timed:
        return replace(labelled_blocks(np.arange(len(sample)), values), adjoining=True)
    together = _moment_seconds(sample, values) if rule.seconds is None else 0.0
    return timed_blocks(sample.times, np.array([seconds[str(value)] for value in values]), values, together=together)


def _in_time(scenes: NDArray[np.str_], times: NDArray[np.float64]) -> NDArray[np.intp]:
    """(n,) the scene of each row as a number, in the order in which they began."""
    names, place = np.unique(scenes, return_inverse=True)
    begins = np.full(len(names), np.inf)
    np.minimum.at(begins, place, times)
    return np.asarray(np.argsort(np.argsort(begins, kind="stable"))[place])


def _sizes(windows: Sequence[float], seconds: Mapping[str, float]) -> tuple[int, ...]:
    """Window lengths in blocks, of the slice with the shortest and of that with the longest: between, and for all of a
    hundred cameras, the nulls are interpolated.
    """
    lengths = (min(seconds.values()), max(seconds.values()))
    return tuple(sorted({round(window / length) for window in windows for length in lengths}))


def _spans(sample: Sample, values: NDArray[np.str_]) -> dict[str, float]:
    spans = {str(value): float(np.ptp(sample.times[values == value])) for value in np.unique(values)}
    return spans | {ALL_SLICES: float(np.ptp(sample.times))}


def _scores(
    sample: Sample, blocks: Blocks, plan: CalibrationPlan, sizes: tuple[int, ...], *, label: str
) -> dict[str, SliceCalibration]:
    """The nulls of every signal but the embedding evidence, by target."""
    families: list[tuple[RowFamily, Plan]] = []
    # Rows are copied for every drawn window: each family has what it scores, and nothing as wide beside it.
    sample = replace(sample, layouts=None)
    light = replace(sample, embeddings=np.zeros((len(sample), 0), dtype=np.float32))
    if plan.settings.classes and (sample.has_confidences.any() or (sample.predicted >= 0).any()):
        answers = replace(light, properties=None)
        day = answers_day(answers, label, timed=plan.rule.timed)
        names = CONFIDENCE_SIGNALS if sample.has_confidences.any() else ("prediction_drift",)
        # The hour is taken off means alone: what it does to the distribution of a class stays, and changes slowly.
        parted: dict[tuple[str, ...], AnswersDay] = {names: day}
        if day.is_known and "confidence_drift" in names:
            steady = tuple(name for name in names if name != "confidence_drift")
            parted = {steady: day, ("confidence_drift",): day.none}
        for own, without in parted.items():
            draws = Plan(
                sizes=sizes, draws=_CONFIDENCE_DRAWS, seed=plan.seed, alike=_answers_alike(answers, blocks, without)
            )
            families.append((_family(answers, plan, own, mix_label=label), draws))
    if sample.has_properties.any():
        # The light of a picture is alike for longer than what it shows.
        draws = Plan(sizes=sizes, draws=_IMAGE_DRAWS, seed=plan.seed, alike=_blocks_alike(sample, blocks, plan, label))
        families.append((_family(light, plan, IMAGE_SIGNALS, mix_label=label), draws))
    if sample.has_embedding.any():
        embedded = replace(sample, properties=None)
        draws = Plan(sizes=sizes, draws=_EMBEDDING_DRAWS, seed=plan.seed, alike=_views_alike(embedded, blocks))
        families.append((_family(embedded, plan, EMBEDDING_SIGNALS, mix_label=label), draws))
    found: dict[str, SliceCalibration] = {}
    for family, draws in families:
        for target, one in calibrate([family], blocks, draws).items():
            before = found[target].nulls if target in found else {}
            # A slice of few rows is compared with the whole reference: of that its own blocks are no null.
            nulls = one.nulls if target == ALL_SLICES or _rows_of(blocks, target) >= MIN_SLICE_ROWS else {}
            found[target] = replace(one, nulls={**before, **nulls})
    return found


def _blocks_alike(sample: Sample, blocks: Blocks, plan: CalibrationPlan, label: str) -> float:
    """How many blocks in a row have images alike as pictures, in the slice where they are longest so; at least 1."""
    rows = np.flatnonzero(sample.has_properties)
    own, measured = blocks.of_rows(rows), sample.take(rows)
    assert measured.properties is not None  # noqa: S101  the caller has asked
    day = property_day(measured, label, timed=plan.rule.timed)
    values = day.without(measured.properties, measured.times, slice_values(measured, label))
    values = values / np.maximum(values.std(axis=0), 1e-6)
    # Property by property: light changes slowly, and the noise of the others would hide it.
    return max(correlation_rows(column[:, None]) for part in _block_means(values, own) for column in part.T)


def _answers_alike(sample: Sample, blocks: Blocks, day: AnswersDay) -> float | None:
    """How many blocks in a row are alike in the model's answers: how sure it is, and which classes it names; without
    what the hour of ``day`` does to them.
    """
    names = np.unique(sample.predicted)
    columns = np.stack([(sample.predicted == name).astype(np.float64) for name in names[:_MOST_COLUMNS]], axis=1)
    is_class = names[:_MOST_COLUMNS] >= 0
    columns[:, is_class] -= day.named_swing(sample)[:, names[:_MOST_COLUMNS][is_class]]
    rows = np.flatnonzero(sample.has_confidences)
    found = [_slowest(columns, blocks)]
    if len(rows):
        top = sample.top_confidence - day.top_swing(sample)
        found.append(_slowest(top[:, None].astype(np.float64), blocks.of_rows(rows)))
    return max((alike for alike in found if alike is not None), default=None)


def _views_alike(sample: Sample, blocks: Blocks) -> float | None:
    """How many blocks in a row are alike in what they show, along the axes along which blocks vary most."""
    rows = np.flatnonzero(sample.has_embedding)
    own, embeddings = blocks.of_rows(rows), sample.embeddings[rows]
    means = np.concatenate(_block_means(embeddings, own))
    axes = np.linalg.svd(means - means.mean(axis=0), full_matrices=False)[2][:_MOST_COLUMNS]
    return _slowest(embeddings @ axes.T.astype(np.float32), own)


def _slowest(values: NDArray[Any], blocks: Blocks) -> float | None:
    """How many blocks in a row are alike in any column of ``values`` (n, p); None where each is its own.

    A day and a night may hardly differ beside what one block is off by, and still be most of what an hour is: blocks
    are looked at one by one and in ever larger groups.
    """
    longest = 0.0
    for part in _block_means(values, blocks):
        means, group = part, 1
        while len(means) >= _LEAST_GROUPS:
            alike = max(correlation_rows(column[:, None]) for column in means.T)
            longest = max(longest, group * alike if alike >= _IS_ALIKE else 0.0)
            means, group = means[: len(means) // 2 * 2].reshape(len(means) // 2, 2, -1).mean(axis=1), 2 * group
    return longest or None


def _block_means(values: NDArray[Any], blocks: Blocks) -> list[NDArray[np.float64]]:
    """For each slice the means (B, p) of its blocks, of rows ``values`` (n, p)."""
    sums = np.stack([np.bincount(blocks.of_row, weights=column, minlength=len(blocks)) for column in values.T], axis=1)
    means = sums / blocks.sizes[:, None]
    found = (means[blocks.stratum == stratum] for stratum in range(len(blocks.names)))
    return [part for part in found if len(part)]


def _rows_of(blocks: Blocks, value: str) -> int:
    return int(blocks.sizes[blocks.stratum == blocks.names.index(value)].sum())


def _family(sample: Sample, plan: CalibrationPlan, names: Sequence[str], *, mix_label: str) -> RowFamily:
    """The signals ``names`` as the calibration measures them: high where bad."""
    signs = [BY_NAME[name.partition(":")[0]].sign for name in names]

    def prepare(rows: Rows) -> Score:
        reference = PreparedReference(sample.take(rows), mix_label=mix_label, match_mix=False, timed=plan.rule.timed)

        def score(window: Rows) -> list[float]:
            part = sample.take(window)
            question = Question(
                part, reference.baseline(ALL_SLICES, part), 1, plan.settings, reference.looks(ALL_SLICES, part)
            )
            values = score_window(question, names)
            return [sign * values[name] for name, sign in zip(names, signs, strict=True)]

        return score

    return RowFamily(names, prepare)
