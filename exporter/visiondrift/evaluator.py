"""One evaluation of one model: its reference and calibration fetched, its windows read, every one of them judged.

The scores themselves are the pure functions of ``drift``; when to evaluate is the ``monitor``'s, and a replay's.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

from visiondrift.calibrator import Answer
from visiondrift.cameras import CameraReference, Cameras
from visiondrift.config import Config, SliceThresholds
from visiondrift.config.monitoring import WatchedModel
from visiondrift.config.units import parse_duration
from visiondrift.drift.embedding.moments import Moments
from visiondrift.drift.evaluation import PreparedReference, Scale, evaluate_window
from visiondrift.drift.health.findings import CameraHealth
from visiondrift.drift.judge import WindowEvaluation, begun_anew, with_discoveries
from visiondrift.drift.levels import terms_for
from visiondrift.drift.one_cause import CommonCauses
from visiondrift.log import Events, Stream
from visiondrift.log.moments import Ticks
from visiondrift.prediction import Sample
from visiondrift.publish.snapshot import Evaluation, ReferenceState
from visiondrift.recollection import Recollection
from visiondrift.reference_pictures import ReferencePictures
from visiondrift.shelf import Shelved, settings_of
from visiondrift.signals import ALL_SLICES, SEVERITIES
from visiondrift.windows import Moment, Pair, pair_name, read_windows, slices_of, streams_of, versions_of

_CALM = 0.05
"""The chance above which a window's evidence is none at all."""

Offer = Callable[[str, WindowEvaluation, Sample], None]
"""Takes a version, what was said of a window of it, and the events that it was said of."""


class References(Protocol):
    """Where references and their calibrations come from: a ``Shelf``, or what was read from files."""

    def take(self, config: Config, model: WatchedModel) -> Shelved:
        """The reference of a model. Raises ReferenceUnusable, EmbedderUnavailable."""
        ...

    def calibration(self, shelved: Shelved, model: WatchedModel) -> Answer:
        """The calibration of a reference for a model, or why there is none."""
        ...

    def keep_only(self, models: Iterable[str]) -> None:
        """Let go of the references of every other model."""
        ...


class Stopped(Exception):
    """The service ends in the middle of an evaluation, which is then worth nothing."""


@dataclass(frozen=True, eq=False)
class Evaluated:
    """What one evaluation of a model came to, version by version, and the reference that it was compared with, with
    its pictures.
    """

    evaluations: tuple[Evaluation, ...]
    state: ReferenceState
    reference: PreparedReference
    pictures: ReferencePictures


@dataclass(frozen=True, eq=False)
class _Inquiry:
    """What the windows of one version have in common: where they end, their slices, what they are held against, and
    whether the model's events ever have confidences.
    """

    moment: Moment
    pairs: tuple[Pair, ...]
    reference: PreparedReference
    scale: Scale
    thresholds: Mapping[Pair, SliceThresholds]
    answers: bool


@dataclass
class Evaluator:
    """Evaluates models, and remembers of each what windows alone do not hold. For one thread.

    Without ``cameras`` nothing is said of the cameras' health.
    ``stopwatch`` gives monotonic seconds; ``stopping`` says whether the work at hand is to be left.
    """

    log: Events
    moments: Ticks
    shelf: References
    embedder_of: Callable[[WatchedModel], str]
    stopwatch: Callable[[], float]
    stopping: Callable[[], bool] = lambda: False
    cameras: Cameras | None = None
    _recollections: dict[tuple[str, str], Recollection] = field(default_factory=dict)
    _causes: dict[tuple[str, str], CommonCauses] = field(default_factory=dict)

    def evaluate(self, config: Config, model: WatchedModel, *, now: float, offer: Offer) -> Evaluated:
        """Evaluate every version, slice and window of ``model`` that end ``now``; each is offered to ``offer``.

        Raises Stopped, LogError, ReferenceUnusable, and EmbedderUnavailable where it cannot be said what the reference
        must have been made with.
        """
        shelved = self.shelf.take(config, model)
        answer = self.shelf.calibration(shelved, model)
        streams = streams_of(self.log.census(), model)
        versions = versions_of(streams, model, now=now)
        pairs = {version: slices_of(streams, version, model, now=now) for version in versions}
        used = [pair for own in pairs.values() for pair in own]
        thresholds = {pair: config.thresholds.resolve(model.name, pair_name(pair)) for pair in used}
        terms = terms_for(
            config.thresholds.budget(model.name).rates,
            [(pair_name(pair), thresholds[pair]) for pair in used],
            answer.calibrated,
            windows=model.window_lengths,
            every=model.evaluate_every,
        )
        evaluations = []
        for version in versions:
            begun = self.stopwatch()
            inquiry = _Inquiry(
                self._moment(model, version, shelved.prepared, now),
                pairs[version],
                shelved.prepared,
                Scale(answer.calibrated, terms, why=answer.why),
                thresholds,
                any(stream.answers for stream in streams),
            )
            windows = self._windows(inquiry, self._recollect(inquiry), offer)
            cameras = self._look_after(inquiry, streams, shelved)
            evaluations.append(Evaluation(model.name, version, now, self.stopwatch() - begun, windows, cameras))
        self._forget(model.name, versions)
        state = replace(shelved.state, uncalibrated=answer.why, tested=answer.tested, tested_at=answer.tested_at)
        return Evaluated(tuple(evaluations), state, shelved.prepared, ReferencePictures(shelved.directory))

    def keep_only(self, models: Iterable[str]) -> None:
        """Forget every other model."""
        wanted = set(models)
        self.shelf.keep_only(wanted)
        if self.cameras is not None:
            self.cameras.keep_only(wanted)
        self._recollections = {key: kept for key, kept in self._recollections.items() if key[0] in wanted}
        self._causes = {key: kept for key, kept in self._causes.items() if key[0] in wanted}

    def _moment(self, model: WatchedModel, version: str, reference: PreparedReference, now: float) -> Moment:
        return Moment(
            model=model, version=version, embedder=self.embedder_of(model), dimension=reference.dimension, now=now
        )

    def _look_after(self, inquiry: _Inquiry, streams: Sequence[Stream], shelved: Shelved) -> tuple[CameraHealth, ...]:
        if self.cameras is None:
            return ()
        reference = CameraReference(shelved.prepared.sample, timed=shelved.manifest.times == "capture")
        return self.cameras.look(inquiry.moment, inquiry.pairs, streams, reference)

    def _forget(self, model: str, versions: Sequence[str]) -> None:
        def is_known(key: tuple[str, str]) -> bool:
            return key[0] != model or key[1] in versions

        self._recollections = {key: kept for key, kept in self._recollections.items() if is_known(key)}
        self._causes = {key: kept for key, kept in self._causes.items() if is_known(key)}

    def _recollect(self, inquiry: _Inquiry) -> Recollection | None:
        """What is remembered of a version, brought up to now; None without calibrated embeddings."""
        calibrated, moment = inquiry.scale.calibrated, inquiry.moment
        calibration = calibrated.of_slice(ALL_SLICES) if calibrated else None
        if calibration is None or calibration.detector is None or not moment.dimension:
            return None
        key = (moment.model.name, moment.version)
        fresh = Recollection(self.log, self.moments, calibration, moment)
        known = self._recollections.get(key)
        if known is None or known.identity != fresh.identity:
            known = self._recollections[key] = fresh
        known.catch_up(inquiry.pairs, moment.now)
        return known

    def _windows(
        self, inquiry: _Inquiry, recollection: Recollection | None, offer: Offer
    ) -> tuple[WindowEvaluation, ...]:
        """Every window of a version, window by window as configured, of each all events first and then the slices."""
        moment, model = inquiry.moment, inquiry.moment.model
        longest = max(model.windows, key=parse_duration)
        found = {}
        for window, pair, read in read_windows(self.log, moment, inquiry.pairs):
            if self.stopping():
                raise Stopped
            scale = inquiry.scale
            if recollection is not None:
                in_part = read.total > len(read.sample)
                scale = replace(
                    scale,
                    memory=recollection.memory if window == longest else None,
                    moments=_all_moments(recollection, inquiry, window, pair) if in_part else None,
                )
            evaluation = evaluate_window(
                inquiry.reference,
                read.sample,
                slice_=pair_name(pair),
                window=window,
                min_samples=model.windows[window].min_samples,
                total=read.total,
                rejected=read.rejected,
                settings=settings_of(model),
                thresholds=inquiry.thresholds[pair],
                scale=scale,
                answers=inquiry.answers,
            )
            offer(moment.version, evaluation, read.sample)
            if self.cameras is not None:
                self.cameras.offer(moment, pair, window, read)
            found[window, pair] = evaluation
        judged = with_discoveries([found[window, pair] for window in model.windows for pair in inquiry.pairs])
        return self._with_common_causes(moment, _settled(recollection, inquiry, judged, longest))

    def _with_common_causes(
        self, moment: Moment, windows: tuple[WindowEvaluation, ...]
    ) -> tuple[WindowEvaluation, ...]:
        key = (moment.model.name, moment.version)
        lengths = {window: parse_duration(window) for window in moment.model.windows}
        known = self._causes.get(key, CommonCauses())
        causes = self._causes[key] = known.after(windows, now=moment.now, lengths=lengths)
        return causes.marked(windows)


def _settled(
    recollection: Recollection | None, inquiry: _Inquiry, windows: Sequence[WindowEvaluation], longest: str
) -> tuple[WindowEvaluation, ...]:
    """The windows, where memories that hold a drift which no window shows any more have begun anew."""
    if recollection is None:
        return tuple(windows)
    evidence = [
        (window, judgement)
        for window in windows
        for judgement in window.judgements
        if judgement.signal == "drift_evidence"
    ]
    shown = {window.slice for window, judgement in evidence if judgement.verdict in SEVERITIES}
    # Just below its level a window is no sign of an end: a drift at the border would be told again and again.
    calm = {
        window.slice
        for window, judgement in evidence
        if window.window == longest and judgement.worth.p is not None and judgement.worth.p > _CALM
    } - shown
    now = inquiry.moment.now
    over = recollection.settle(shown, calm, inquiry.pairs, since=now - parse_duration(longest), until=now)
    return tuple(begun_anew(one) if one.window == longest and one.slice in over else one for one in windows)


def _all_moments(
    recollection: Recollection, inquiry: _Inquiry, window: str, pair: Pair
) -> Mapping[str, Moments] | None:
    """Of all events of a window that has more than are compared; None where they are not all taken up yet."""
    now = inquiry.moment.now
    pairs = inquiry.pairs if pair is None else (pair,)
    return recollection.window(pairs, since=now - parse_duration(window), until=now) or None
