"""A calibrated reference: what each score of a window is worth, slice by slice, and what it says of the model.

``calibrate`` makes it of a reference's rows, once; this module asks it. Each slice label has a calibration of its own:
the blocks of its slices, the embedding detector, and the nulls of the other scores. Where a slice has none, the reason
says how much reference is lacking.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from math import ceil

import numpy as np
from numpy.typing import NDArray

from visiondrift.drift.baseline import MIN_SLICE_ROWS
from visiondrift.drift.calibration.blocks import FEWEST_BLOCKS
from visiondrift.drift.calibration.nulls import MIN_HELD_BLOCKS, MIN_WINDOW_BLOCKS, SliceCalibration, evenness
from visiondrift.drift.calibration.tails import Tail
from visiondrift.drift.embedding.detector import Detector, EmbeddingEvidence, Silent
from visiondrift.drift.embedding.fit import WindowRows
from visiondrift.drift.embedding.moments import Moments, moments_by_slice
from visiondrift.drift.embedding.sensitivity import Move, Sensitivity
from visiondrift.drift.explain.explainer import Explainer
from visiondrift.drift.performance.model import PerformanceModel
from visiondrift.prediction import Sample, slice_values
from visiondrift.signals import ALL_SLICES

EVIDENCE = frozenset({"drift_evidence", "accumulated_evidence"})
"""Signals whose score is -log10 p itself."""

REMEMBERED = frozenset({"accumulated_evidence"})
"""Signals of the memories, which hold the slices of the first label, and are read in one window of each."""

_DAY = 86_400.0
_HOUR = 3_600.0
_NEARLY = 0.99
_FAR_APART = 1 << 40
"""Between the numbers of two slices' blocks, so that none of them look like neighbours."""


@dataclass(frozen=True, eq=False)
class WindowBlocks:
    """The blocks of a window's rows: ``of_row`` (n,) and ``slices`` (n,) the value of the label; ``count`` in all.

    Blocks of one slice that follow one another in time have numbers that do.
    """

    of_row: NDArray[np.int64]
    slices: NDArray[np.str_]

    @property
    def count(self) -> int:
        """How many there are."""
        return len(self._sizes)

    @property
    def evenness(self) -> float:
        """What they are worth by their rows, as a share of their number: 1 where all have as many."""
        return evenness(self._sizes)

    @cached_property
    def _sizes(self) -> NDArray[np.intp]:
        return np.unique(self.of_row, return_counts=True)[1]


@dataclass(frozen=True, eq=False)
class Calibration:
    """Of the slices of one label: ``seconds`` is how long a block is, by value ("" where there is no label).

    ``detector`` is None where the reference has too few embeddings. ``scores`` holds the nulls of the other signals by
    target (a value, or all), of which those that are bad when low are of the negated score. ``spans`` is the time that
    the reference covers, in seconds, by target, as far as its times say. ``explainer`` is None where the reference has
    neither properties nor witnesses. ``scenes`` is the text column whose values are blocks, "" where the clock cuts
    them.
    """

    label: str
    seconds: Mapping[str, float]
    spans: Mapping[str, float]
    detector: Detector | None
    scores: Mapping[str, SliceCalibration]
    sensitivities: Mapping[Move, Mapping[str, Sensitivity]] = field(default_factory=dict)
    explainer: Explainer | None = None
    scenes: str = ""

    def target(self, slice_: str) -> str:
        """What a slice by its name (``all`` or ``label=value``) is called here."""
        return slice_ if slice_ == ALL_SLICES else slice_.partition("=")[2]

    def blocks_of(self, window: Sample) -> WindowBlocks:
        """The blocks of a window's rows: its scenes where each row names one, else by the clock.

        A slice that the reference does not know has the longest block that is.
        """
        values = slice_values(window, self.label)
        scenes = window.slices[self.scenes].astype(str) if self.scenes in window.slices else np.array([""])
        if len(window) and (scenes != "").all():
            return WindowBlocks(_scenes_in_order(scenes, values, window.times), values)
        longest = max(self.seconds.values(), default=1.0)
        of_row = np.empty(len(window), dtype=np.int64)
        for place, value in enumerate(np.unique(values)):
            own = values == value
            numbers = np.floor(window.times[own] / self.seconds.get(str(value), longest)).astype(np.int64)
            of_row[own] = place * _FAR_APART + numbers - numbers.min()
        return WindowBlocks(of_row, values)

    def moments_of(self, window: Sample, blocks: WindowBlocks) -> tuple[dict[str, Moments], WindowRows]:
        """The moments of a window's embeddings by slice, and its rows for the neighbours. There must be a detector."""
        assert self.detector is not None  # noqa: S101  the caller has asked
        rows = window.has_embedding
        coordinates = self.detector.reference.coordinates(
            window.embeddings[rows], times=window.times[rows], slices=blocks.slices[rows]
        )
        own = blocks.of_row[rows]
        return moments_by_slice(coordinates, own, blocks.slices[rows]), WindowRows(coordinates, own.astype(np.intp))

    def why_silent(self, target: str) -> str:
        """Why nothing can be said of a target whatever the window; empty where something can."""
        calibration = self.scores.get(target)
        if calibration is None:
            return f"the reference has no events of {self.label} {target}" if self.label else "the reference is empty"
        shortage = calibration.shortage()
        if shortage is None or calibration.nulls:
            return ""
        holds = f"the reference holds {calibration.blocks} independent blocks, and {2 * MIN_HELD_BLOCKS} are needed"
        if not self.spans.get(target):
            return holds
        more = more_time(shortage.more * self.spans[target] / max(calibration.blocks, 1))
        if any(self._is_longest(value) for value in self.seconds if target in (value, ALL_SLICES)):
            return f"{holds}: at least {more} of reference, as this one is too short to tell how long frames stay alike"
        return f"{holds}: about {more} of reference"

    def _is_longest(self, value: str) -> bool:
        """Whether a slice's blocks are as long as so short a reference lets them be, and might be longer in truth.

        Less a part of it, as frames at its ends may lack what lengths are told from.
        """
        longest = self.spans.get(value, 0.0) / FEWEST_BLOCKS
        return _NEARLY * longest <= self.seconds[value] <= longest * (1 + 1e-9)

    def why_no_null(self, target: str, signal: str, blocks: WindowBlocks) -> str:
        """Why there is no null of one of the other signals in a window with such blocks: what lacks on which side."""
        calibration = self.scores.get(target)
        silent = self.why_silent(target)
        if calibration is None or silent:
            return silent
        where = f" of {self.label} {target}" if target != ALL_SLICES else ""
        if not calibration.nulls and target != ALL_SLICES:
            rows = round(calibration.blocks * calibration.rows)
            more = max(MIN_SLICE_ROWS / max(rows, 1) - 1, 0.0) * self.spans.get(target, 0.0)
            holds = f"the reference has {rows} events{where}, and {MIN_SLICE_ROWS} are needed for this signal"
            return f"{holds}: about {more_time(more)} of reference" if more else holds
        if signal not in calibration.nulls:
            return f"the reference has too few events{where} with what this signal looks at"
        # Rounded down: 2.998 would be 3, which is enough.
        spans = np.floor(100 * self.worth(target, blocks)) / 100
        return f"the window is worth {spans:g} independent blocks, and {MIN_WINDOW_BLOCKS} are needed"

    def worth(self, target: str, blocks: WindowBlocks) -> float:
        """How many blocks of the reference a window is worth; 0 where nothing is calibrated."""
        calibration = self.scores.get(target)
        if calibration is None or not calibration.nulls:
            return 0.0
        return calibration.worth(blocks.count, len(blocks.of_row), blocks.evenness)

    def crowding(self, target: str, blocks: WindowBlocks) -> float:
        """Share, at most 1, of a window's rows that so many blocks of the reference have: under it frames crowd."""
        calibration = self.scores.get(target)
        rows = len(blocks.of_row)
        if calibration is None or not calibration.nulls or not rows:
            return 1.0
        filled = blocks.count * min(1.0, blocks.evenness / calibration.evenness)
        return min(1.0, filled * calibration.rows / rows)

    def tail(self, target: str, signal: str, worth: float) -> Tail | None:
        """The null of one of the other signals in a window worth so many blocks; None where there is none."""
        calibration = self.scores.get(target)
        if calibration is None or signal not in calibration.nulls or worth < MIN_WINDOW_BLOCKS - 1e-9:
            return None
        return calibration.tail(signal, worth)

    def nulls_of(self, target: str) -> dict[str, SliceCalibration]:
        """By signal, what holds its null: evidence has its own, and may have it where the other signals have none."""
        calibration = self.scores.get(target)
        found = dict.fromkeys(calibration.nulls, calibration) if calibration else {}
        if self.detector and target in self.detector.slices and self.detector.slices[target].nulls:
            found |= dict.fromkeys(EVIDENCE, self.detector.slices[target])
        return found

    def judged(self, target: str) -> frozenset[str]:
        """The signals of a target that have a null, and so can have a level that follows from a budget."""
        return frozenset(self.nulls_of(target))

    def can_judge(self, target: str, window: float) -> bool:
        """Whether a window of so many seconds can ever be worth the blocks that a judgement takes, with any traffic.

        By the clock it lies in as many blocks as it is long, rounded up, and one more where it begins within a block;
        where traffic is denser than the reference's these may count in full. How many scenes it holds is not known.
        """
        if self.scenes:
            return True
        own = self.seconds.values() if target == ALL_SLICES else [self.seconds[target]]
        # Less a rounding: of 0.3 seconds in blocks of 0.1 there are three, and no fourth.
        return sum(ceil(window / seconds - 1e-9) + 1 for seconds in own) >= MIN_WINDOW_BLOCKS

    def look(self, target: str, moments: Mapping[str, Moments], rows: WindowRows | None) -> EmbeddingEvidence | str:
        """What a window's embeddings say, or why they say nothing."""
        if self.detector is None:
            return self.why_silent(target) or "the reference has too few embeddings to be calibrated"
        if target not in self.detector.slices:
            return self.why_silent(target) or f"the reference has no embeddings of {self.label} {target}"
        found = self.detector.look(target, moments, rows)
        if isinstance(found, EmbeddingEvidence):
            return found
        if isinstance(found, Silent):
            return self._why_of_silent(found, moments)
        if found is None:
            return f"the window spans fewer than {MIN_WINDOW_BLOCKS} independent blocks"
        return self.why_silent(target) or "the reference has too few independent blocks with embeddings"

    def _why_of_silent(self, found: Silent, moments: Mapping[str, Moments]) -> str:
        if set(moments) == {""}:
            return f"no event of the window says of which {self.label} it is, and the reference is of several"
        return (
            f"cameras or other slices that are {found.share:.0%} of the reference have sent nothing, so that the "
            "rest says little of all together; each slice is judged by itself"
        )

    def detectable(self, move: Move, target: str, *, worth: float, surprise: float) -> float | None:
        """The smallest move that four in five such windows show beyond ``surprise``; None where none of those tried."""
        found = self.sensitivities.get(move, {}).get(target)
        return None if found is None or worth <= 0 else found.smallest(worth, surprise)


def _scenes_in_order(
    scenes: NDArray[np.str_], values: NDArray[np.str_], times: NDArray[np.float64]
) -> NDArray[np.int64]:
    """(n,) a number for each scene of each slice, in the order of their beginnings."""
    of_row = np.empty(len(scenes), dtype=np.int64)
    for place, value in enumerate(np.unique(values)):
        own = np.flatnonzero(values == value)
        number = np.unique(scenes[own], return_inverse=True)[1].reshape(-1)
        begin = np.full(int(number.max()) + 1, np.inf)
        np.minimum.at(begin, number, times[own])
        of_row[own] = place * _FAR_APART + np.argsort(np.argsort(begin, kind="stable"), kind="stable")[number]
    return of_row


def more_time(seconds: float) -> str:
    """How much more of a reference, in the unit that a person would take."""
    if seconds >= _DAY / 2:
        return f"{seconds / _DAY:.1f} more days"
    return f"{seconds / _HOUR:.1f} more hours" if seconds >= _HOUR else f"{max(1.0, seconds / 60):.0f} more minutes"


@dataclass(frozen=True, eq=False)
class CalibratedReference:
    """All that was learnt of a reference beyond its rows. ``key`` says what it hangs on: another means it is stale.

    ``labels`` maps each slice label to its calibration, the first being that of all slices together ("" where there
    are no labels); ``performance`` is None where ``why_no_performance`` says why.
    """

    key: str
    labels: Mapping[str, Calibration]
    performance: PerformanceModel | None = None
    why_no_performance: str = ""

    def of_slice(self, slice_: str) -> Calibration | None:
        """The calibration that judges a slice by its name; None where its label has none."""
        if slice_ == ALL_SLICES:
            return next(iter(self.labels.values()), None)
        return self.labels.get(slice_.partition("=")[0])

    def judged(self, slice_: str) -> frozenset[str]:
        """The signals of a slice by its name that can have a level that follows from a budget."""
        calibration = self.of_slice(slice_)
        if calibration is None:
            return frozenset()
        found = calibration.judged(calibration.target(slice_))
        return found if calibration is self.of_slice(ALL_SLICES) else found - REMEMBERED

    def can_judge(self, slice_: str, window: float) -> bool:
        """Whether a window of so many seconds, of a slice by its name that has ``judged`` signals, can ever be."""
        calibration = self.of_slice(slice_)
        return calibration is not None and calibration.can_judge(calibration.target(slice_), window)
