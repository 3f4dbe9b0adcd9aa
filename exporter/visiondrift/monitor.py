"""When to evaluate what: every model on its own schedule, one at a time, and never dying of any of them.

``Monitor.tick`` is one look at the schedule; ``run`` looks every second until told to stop. The scores themselves are
the pure functions of ``drift``; this room only fetches the window and the reference, and hands on what came out.
"""

import logging
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from threading import Event
from typing import Protocol

from visiondrift.config import Config, WindowConfig
from visiondrift.config.monitoring import WatchedModel
from visiondrift.config.units import parse_duration
from visiondrift.drift.evaluation import PreparedReference, Settings, evaluate_window
from visiondrift.drift.judge import WindowEvaluation
from visiondrift.errors import ReferenceUnusable, VisionDriftError
from visiondrift.log import Census, PredictionLog, Stream, WindowQuery
from visiondrift.prediction import Sample, slice_name
from visiondrift.publish.report import ReportStore, build_report
from visiondrift.publish.snapshot import Evaluation, HistoryKey, ModelState, ReferenceState
from visiondrift.reference import MANIFEST_FILE, load_reference
from visiondrift.signals import ALL_SLICES, BY_NAME

logger = logging.getLogger(__name__)

TICK_SECONDS = 0.5
HISTORY = 60
STALE_AFTER_INTERVALS = 3
MOST_REPORTS_PER_EVALUATION = 4


class MonitorCounters(Protocol):
    """What the monitor counts as it happens."""

    def count(self, name: str, amount: float = 1, **labels: str) -> None:
        """Add to a counter."""
        ...

    def observe(self, name: str, seconds: float, **labels: str) -> None:
        """Add a duration to a histogram."""
        ...


@dataclass(frozen=True, eq=False)
class Shelved:
    """A reference ready for use, and what its manifest's file looked like when it was read."""

    prepared: PreparedReference
    state: ReferenceState
    stamp: object


@dataclass(frozen=True)
class DueReport:
    """A window that deserves a report: what it said, and the events it said it of."""

    version: str
    evaluation: WindowEvaluation
    window: Sample


@dataclass
class _Course:
    """What the monitor remembers of one model between evaluations."""

    next_at: float
    state: ModelState
    history: dict[HistoryKey, deque[float | None]] = field(default_factory=dict)
    verdicts: dict[tuple[str, str, str], str] = field(default_factory=dict)


class Monitor:
    """Evaluates every configured model on schedule and hands each new picture to ``publish``.

    ``clock`` gives seconds since the epoch, ``stopwatch`` monotonic seconds, ``config`` the configuration in force,
    ``embedder_of`` the identity of what makes a model's embeddings.
    """

    def __init__(
        self,
        *,
        log: PredictionLog,
        reports: ReportStore,
        counters: MonitorCounters,
        config: Callable[[], Config],
        embedder_of: Callable[[WatchedModel], str],
        publish: Callable[[tuple[ModelState, ...], Census, float], None],
        clock: Callable[[], float],
        stopwatch: Callable[[], float],
    ) -> None:
        self._log = log
        self._reports = reports
        self._counters = counters
        self._config = config
        self._embedder_of = embedder_of
        self._publish = publish
        self._clock = clock
        self._stopwatch = stopwatch
        self._courses: dict[str, _Course] = {}
        self._hurry = Event()
        self._shelf: dict[tuple[str, str], Shelved] = {}

    def run(self, stop: Event) -> None:
        """Look at the schedule until ``stop`` is set. An error is logged and counted; the loop goes on."""
        while not stop.is_set():
            try:
                self.tick(self._clock())
            except Exception:  # the one place that catches all: the monitor must outlive any defect
                logger.exception("The monitor's look at its schedule failed; it goes on")
            stop.wait(TICK_SECONDS)

    def hurry(self) -> None:
        """Evaluate everything at the next look: thresholds or windows have changed."""
        self._hurry.set()

    def tick(self, now: float) -> None:
        """Evaluate every model that is due at ``now``, then publish; write the reports that follow from it last."""
        hurry = self._hurry.is_set()
        self._hurry.clear()
        config = self._config()
        due = [model for model in config.models if self._course(config, model, now).next_at <= now or hurry]
        self._courses = {model.name: self._courses[model.name] for model in config.models}
        if not due:
            self._show(config, now)
            return
        for model in due:
            reports = self._evaluate_safely(config, model, now)
            # The metrics come first: an alert must not wait for a picture.
            self._show(config, self._clock())
            self._write_reports(config, model, reports, now)
            course = self._courses[model.name]
            # The next time is a whole number of intervals on: a slow evaluation skips turns instead of piling up.
            behind = self._clock() - course.next_at
            course.next_at += model.evaluate_every * max(0.0, 1 + behind // model.evaluate_every)
        self._show(config, self._clock())

    def _course(self, config: Config, model: WatchedModel, now: float) -> _Course:
        if model.name not in self._courses:
            self._courses[model.name] = _Course(now, _blank(config, model))
        return self._courses[model.name]

    def _show(self, config: Config, now: float) -> None:
        states = []
        for model in config.models:
            state = self._courses[model.name].state
            fresh = tuple(
                evaluation
                for evaluation in state.evaluations
                # An old score is not shown as if it were today's: it goes when the stale alert comes.
                if now - evaluation.at <= STALE_AFTER_INTERVALS * model.evaluate_every + evaluation.seconds
            )
            states.append(replace(state, evaluations=fresh, reports=self._report_times(model.name)))
        self._publish(tuple(states), self._log.census(), now)

    def _evaluate_safely(self, config: Config, model: WatchedModel, now: float) -> tuple[DueReport, ...]:
        course = self._courses[model.name]
        self._counters.count("evaluations", model=model.name)
        begun = self._stopwatch()
        try:
            reports = self._evaluate(config, model, course, now)
        except Exception as error:  # one failing model must not stop the others
            self._counters.count("evaluation_failures", model=model.name)
            if isinstance(error, VisionDriftError):
                logger.error("Model %s could not be evaluated: %s", model.name, error)
            else:
                logger.exception("Model %s could not be evaluated", model.name)
            course.state = replace(course.state, problem=f"{type(error).__name__}: {error}")
            return ()
        self._counters.observe("evaluation_duration_seconds", self._stopwatch() - begun, model=model.name)
        return reports

    def _evaluate(self, config: Config, model: WatchedModel, course: _Course, now: float) -> tuple[DueReport, ...]:
        census = self._log.census()
        streams = [stream for stream in census.streams if stream.model == model.name]
        newest = _newest(streams, model)
        blank = replace(_blank(config, model), newest=newest)
        try:
            shelved = self._reference(config, model)
        except ReferenceUnusable as error:
            course.state = replace(
                blank, reference=ReferenceState(model.reference, problem=str(error)), problem=str(error)
            )
            raise
        evaluations = []
        reports: list[DueReport] = []
        for version in versions_of(streams, model.max_versions):
            begun = self._stopwatch()
            windows = []
            for evaluation, sample in self._windows(config, model, shelved.prepared, streams, version, now):
                windows.append(evaluation)
                if self._deserves_report(config, model.name, course, version=version, evaluation=evaluation):
                    reports.append(DueReport(version, evaluation, sample))
                _remember(course, version, evaluation)
            evaluations.append(Evaluation(model.name, version, now, self._stopwatch() - begun, tuple(windows)))
        course.state = replace(
            blank,
            reference=shelved.state,
            evaluations=tuple(evaluations),
            history={key: tuple(values) for key, values in course.history.items()},
        )
        return tuple(sorted(reports, key=lambda due: due.evaluation.verdict != "critical"))

    def _windows(
        self,
        config: Config,
        model: WatchedModel,
        reference: PreparedReference,
        streams: list[Stream],
        version: str,
        now: float,
    ) -> Iterator[tuple[WindowEvaluation, Sample]]:
        embedder = self._embedder_of(model)
        settings = _settings(model)
        for window_name, window in model.windows.items():
            for pair in slices_of(streams, version, model):
                name = ALL_SLICES if pair is None else slice_name(*pair)
                query = _query(model, version, embedder, window_name, window, reference.dimension, now, pair)
                read = self._log.window(query)
                yield (
                    evaluate_window(
                        reference,
                        read.sample,
                        slice_=name,
                        window=window_name,
                        min_samples=window.min_samples,
                        total=read.total,
                        rejected=read.rejected,
                        settings=settings,
                        thresholds=config.thresholds.resolve(model.name, name),
                    ),
                    read.sample,
                )

    def _reference(self, config: Config, model: WatchedModel) -> Shelved:
        directory = config.path(config.monitoring.reference_data) / model.reference
        embedder = self._embedder_of(model)
        manifest = directory / MANIFEST_FILE
        stamp = (manifest.stat().st_mtime_ns, manifest.stat().st_ino) if manifest.is_file() else None
        key = (model.name, f"{directory}|{embedder}|{model.classes}|{model.slices}")
        shelved = self._shelf.get(key)
        if shelved is None or shelved.stamp != stamp:
            loaded = load_reference(
                directory,
                embedder=embedder,
                dimension=model.embedding.dimension if model.embedding else None,
                classes=model.classes or None,
            )
            state = ReferenceState(model.reference, loaded.manifest.rows, loaded.manifest.created_seconds)
            shelved = Shelved(PreparedReference.from_sample(loaded.sample, _settings(model)), state, stamp)
            self._shelf = {k: v for k, v in self._shelf.items() if k[0] != model.name} | {key: shelved}
        return shelved

    def _deserves_report(
        self, config: Config, model: str, course: _Course, *, version: str, evaluation: WindowEvaluation
    ) -> bool:
        settings = config.monitoring.reports
        key = (version, evaluation.slice, evaluation.window)
        before = course.verdicts.get(key)
        course.verdicts[key] = evaluation.verdict
        if settings.when == "never" or evaluation.verdict == "insufficient":
            return False
        if settings.when == "drift" and evaluation.verdict == "ok":
            return False
        # Every evaluation of a lasting drift says the same: a report for each change, and then one now and again.
        newest = self._report_times(model).get(key, float("-inf"))
        return evaluation.verdict != before or self._clock() - newest >= settings.at_most_every

    def _write_reports(self, config: Config, model: WatchedModel, reports: tuple[DueReport, ...], now: float) -> None:
        for due in reports[:MOST_REPORTS_PER_EVALUATION]:
            evaluation = due.evaluation
            try:
                reference = self._reference(config, model).prepared.rows(evaluation.slice, due.window)
                document = build_report(
                    reference,
                    due.window,
                    evaluation,
                    model=model.name,
                    version=due.version,
                    at=now,
                )
                self._reports.write(
                    document,
                    model=model.name,
                    version=due.version,
                    slice_=evaluation.slice,
                    window=evaluation.window,
                    at=now,
                )
            except Exception:  # a report is evidence, not the alarm: its failure must not silence anything
                self._counters.count("report_failures")
                logger.exception("The report on %s, %s failed", model.name, evaluation.slice)
                continue
            self._counters.count("reports")

    def _report_times(self, model: str) -> dict[tuple[str, str, str], float]:
        # Oldest first, so that the newest of each window stays; read from the store, so that what it drops goes here.
        kept = reversed(self._reports.entries())
        return {(report.version, report.slice, report.window): report.at for report in kept if report.model == model}


def versions_of(streams: list[Stream], most: int) -> tuple[str, ...]:
    """The versions with the newest events, at most ``most`` of them, newest first."""
    newest: dict[str, float] = {}
    for stream in streams:
        newest[stream.version] = max(newest.get(stream.version, 0.0), stream.newest)
    return tuple(sorted(newest, key=lambda version: -newest[version])[:most])


def slices_of(streams: list[Stream], version: str, model: WatchedModel) -> tuple[tuple[str, str] | None, ...]:
    """All events together (None), then every value of every configured label, at most ``max_slices`` of them."""
    pairs = {
        pair for stream in streams if stream.version == version for pair in stream.slices if pair[0] in model.slices
    }
    return (None, *sorted(pairs)[: model.max_slices])


def _settings(model: WatchedModel) -> Settings:
    return Settings(
        classes=model.classes,
        slices=model.slices,
        low_confidence_below=model.low_confidence_below,
        column_threshold=model.column_threshold,
        max_classes=model.max_classes,
    )


def _newest(streams: list[Stream], model: WatchedModel) -> Mapping[tuple[str, str], float]:
    newest: dict[tuple[str, str], float] = {}
    for stream in streams:
        names = [ALL_SLICES, *(slice_name(*pair) for pair in stream.slices if pair[0] in model.slices)]
        for name in names:
            key = (stream.version, name)
            newest[key] = max(newest.get(key, 0.0), stream.newest)
    return newest


def _query(
    model: WatchedModel,
    version: str,
    embedder: str,
    window_name: str,
    window: WindowConfig,
    dimension: int,
    now: float,
    pair: tuple[str, str] | None,
) -> WindowQuery:
    return WindowQuery(
        model=model.name,
        version=version,
        embedder=embedder,
        since=now - parse_duration(window_name),
        until=now,
        classes=model.classes,
        dimension=dimension,
        limit=window.max_samples,
        slice=pair,
    )


def _remember(course: _Course, version: str, evaluation: WindowEvaluation) -> None:
    for judgement in evaluation.judgements:
        if judgement.signal in BY_NAME:
            key = (version, evaluation.slice, evaluation.window, judgement.signal)
            course.history.setdefault(key, deque(maxlen=HISTORY)).append(judgement.score)


def _blank(config: Config, model: WatchedModel) -> ModelState:
    return ModelState(
        name=model.name,
        owner=config.thresholds.owner(model.name),
        evaluate_every=model.evaluate_every,
        input_stopped_after=model.input_stopped_after,
        reference=ReferenceState(model.reference),
    )
