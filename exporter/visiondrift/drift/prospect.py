"""What windows will be judged by before there are any: the levels that a calibration and a budget come to.

For a window of a given length with traffic as dense as the reference's: how many blocks it is worth, which level each
signal has there, how often that level is passed without drift, and the smallest shift that it would show.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from visiondrift.config import SliceThresholds
from visiondrift.config.thresholds import AUTO
from visiondrift.drift.calibrated import CalibratedReference, Calibration, more_time
from visiondrift.drift.calibration.budget import Terms
from visiondrift.drift.calibration.nulls import MIN_WINDOW_BLOCKS
from visiondrift.drift.embedding.hours import DAY_SECONDS, MIN_DAYS, DayCurves, fit_day, hour_of
from visiondrift.drift.judge import Levels, Worth, is_past
from visiondrift.drift.levels import standard_of
from visiondrift.drift.weighing import worth_of
from visiondrift.prediction import Sample, slice_name, slice_values
from visiondrift.signals import ALL_SLICES, BY_NAME


@dataclass(frozen=True)
class Prospect:
    """One signal of one slice: ``levels`` where no drop of accuracy is estimated, and what these are worth.

    ``is_critical_auto`` says whether its critical level follows from the budget.
    """

    slice: str
    signal: str
    levels: Levels
    worth: Worth
    is_critical_auto: bool

    @property
    def is_never_warning(self) -> bool:
        """Whether critical is a number milder than what the warning comes to by the budget."""
        warning, critical = self.levels.warning, self.levels.critical
        if "critical" in self.levels.by_budget or warning is None or critical is None or warning == critical:
            return False
        return is_past(self.signal, warning, critical)


@dataclass(frozen=True)
class SliceProspect:
    """One slice of one window length: a block's ``seconds`` (None for all slices), its ``blocks`` in the reference.

    ``worth`` is how many blocks a window is worth, ``largest`` the most that one can be; ``why`` says why nothing can
    be judged, "" where something can; ``new_share`` is the smallest share of new images that a window would show.
    """

    slice: str
    seconds: float | None
    blocks: int
    rows: float
    worth: float
    largest: float
    why: str
    new_share: float | None
    signals: tuple[Prospect, ...]


def prospects(
    calibrated: CalibratedReference, window: float, thresholds: Mapping[str, SliceThresholds], terms: Terms
) -> Iterator[SliceProspect]:
    """Of every slice in ``thresholds`` (by name), for windows of ``window`` seconds."""
    for name, own in thresholds.items():
        calibration = calibrated.of_slice(name)
        if calibration is not None:
            yield _of_slice(calibration, name, window, own, terms, judged=calibrated.judged(name))


def slices_of(calibrated: CalibratedReference) -> tuple[str, ...]:
    """All events together, then every slice that the reference knows, by name."""
    names = [ALL_SLICES]
    for label, calibration in calibrated.labels.items():
        names += [slice_name(label, value) for value in sorted(calibration.seconds) if label and value]
    return tuple(names)


def hours_of(calibration: Calibration, sample: Sample) -> dict[str, str]:
    """By value of the label, whether the hour of day is taken off and what that rests on, in words.

    Of the embeddings, as they were fitted; where none are calibrated, of all rows of ``sample``, the reference's.
    """
    if not calibration.spans:
        return dict.fromkeys(calibration.seconds, "not taken off: when the frames were taken is not known")
    if calibration.detector:
        day, spread = calibration.detector.reference.day or DayCurves(), calibration.detector.reference.spread.curves
    else:
        values = slice_values(sample, calibration.label)
        day, spread = fit_day(np.zeros((len(sample), 1)), sample.times, values, hour_of(sample.times)), DayCurves()
    found = {}
    for value in calibration.seconds:
        days = calibration.spans[value] / DAY_SECONDS
        if value in day.known:
            of_what = "mean and spread" if value in spread.known else "mean"
            hours = int(day.known[value].sum())
            found[value] = f"taken off ({of_what}), from {days:.1f} days, at the {hours} hours that were seen on three"
        elif days < MIN_DAYS:
            more = more_time((MIN_DAYS - days) * DAY_SECONDS)
            found[value] = (
                f"not taken off: the reference spans {days:.1f} days, and {MIN_DAYS} are needed: about {more}"
            )
        else:
            spans = f"the reference spans {days:.1f} days"
            found[value] = f"not taken off: {spans}, but the half of it that is fitted knows no hour from {MIN_DAYS}"
    return found


def _of_slice(
    calibration: Calibration,
    name: str,
    window: float,
    thresholds: SliceThresholds,
    terms: Terms,
    *,
    judged: frozenset[str],
) -> SliceProspect:
    target = calibration.target(name)
    one = calibration.scores[target]
    own = calibration.seconds.values() if name == ALL_SLICES else [calibration.seconds[target]]
    blocks = sum(window / seconds for seconds in own)
    by_signal = calibration.nulls_of(target)
    worths = {name: own.worth(blocks, blocks * own.rows) for name, own in by_signal.items()}
    worth = max(worths.values(), default=0.0)
    why = calibration.why_silent(target)
    if not why and worth < MIN_WINDOW_BLOCKS:
        why = f"such a window spans {blocks:.1f} blocks, and {MIN_WINDOW_BLOCKS} are needed: take longer windows"
        if not calibration.can_judge(target, window):
            why += " (this one takes nothing of the budget)"
    signals = tuple(
        _of_signal(calibration, target, name, signal, worth=worths[signal], why=why, thresholds=thresholds, terms=terms)
        for signal in thresholds
        if BY_NAME[signal].calibrated and signal in judged
    )
    evidence = next((s.levels.warning for s in signals if s.signal == "drift_evidence"), None)
    return SliceProspect(
        slice=name,
        seconds=None if name == ALL_SLICES else calibration.seconds[target],
        blocks=one.blocks,
        rows=one.rows,
        worth=worth,
        largest=max((own.largest for own in by_signal.values()), default=0.0),
        why=why,
        new_share=None if evidence is None else calibration.detectable("new", target, worth=worth, surprise=evidence),
        signals=signals,
    )


def _of_signal(
    calibration: Calibration,
    target: str,
    slice_: str,
    signal: str,
    *,
    worth: float,
    why: str,
    thresholds: SliceThresholds,
    terms: Terms,
) -> Prospect:
    standard = standard_of(signal, thresholds, calibration.tail(target, signal, worth), why)
    levels = standard.levels(terms, harmful=False)
    priced = worth_of(standard, levels, terms, calibration=calibration, target=target, blocks=worth)
    return Prospect(slice_, signal, levels, priced, standard.threshold.critical == AUTO)
