"""When to evaluate what: every model on its own schedule, one at a time, and never dying of any of them.

``Monitor.tick`` is one look at the schedule; ``run`` looks twice a second until told to stop. What an evaluation is,
is the ``evaluator``'s; this room decides its turn, and hands on what came out.
"""

import logging
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from threading import Event
from typing import Protocol

from visiondrift.calibrator import Calibrations
from visiondrift.cameras import Cameras
from visiondrift.config import Config
from visiondrift.config.monitoring import WatchedModel
from visiondrift.errors import LogError, ReferenceUnusable, VisionDriftError
from visiondrift.evaluator import Evaluator, Stopped
from visiondrift.log import Census, PredictionLog
from visiondrift.log.moments import Ticks
from visiondrift.publish.evidence import Evidence
from visiondrift.publish.montage import Pictures
from visiondrift.publish.report import ReportStore, StoredReport
from visiondrift.publish.snapshot import Evaluation, HistoryKey, ModelState, ReferenceState
from visiondrift.shelf import Shelf
from visiondrift.windows import newest_events, streams_of

logger = logging.getLogger(__name__)

TICK_SECONDS = 0.5
HISTORY = 60


class MonitorCounters(Protocol):
    """What the monitor counts as it happens."""

    def count(self, name: str, amount: float = 1, **labels: str) -> None:
        """Add to a counter."""
        ...

    def observe(self, name: str, seconds: float, **labels: str) -> None:
        """Add a duration to a histogram."""
        ...


@dataclass
class _Course:
    """What the monitor remembers of one model between evaluations. ``evaluated`` maps version -> last success."""

    next_at: float
    reference: ReferenceState
    evaluations: tuple[Evaluation, ...] = ()
    evaluated: dict[str, float] = field(default_factory=dict)
    history: dict[HistoryKey, deque[float | None]] = field(default_factory=dict)
    problem: str = ""

    def is_due(self, now: float, every: float) -> bool:
        """A turn farther off than one interval comes of a clock set back, or of an interval that was shortened."""
        return now >= self.next_at or self.next_at - now > every

    def turn_over(self, now: float, every: float) -> None:
        """The next turn is the next one after ``now``, at a whole interval: a slow evaluation skips, it never piles."""
        self.next_at += every * ((now - self.next_at) // every + 1)

    def take(self, evaluations: tuple[Evaluation, ...], reference: ReferenceState) -> None:
        """Take up a success. What is no longer evaluated is forgotten."""
        self.evaluations = evaluations
        self.evaluated = {evaluation.version: evaluation.at for evaluation in evaluations}
        self.reference = reference
        self.problem = ""
        known, self.history = self.history, {}
        for evaluation in evaluations:
            for window in evaluation.windows:
                for judgement in window.judgements:
                    key = (evaluation.version, window.slice, window.window, judgement.signal)
                    self.history[key] = known.get(key) or deque(maxlen=HISTORY)
                    self.history[key].append(judgement.score)


class Monitor:
    """Evaluates every configured model on schedule and hands each new picture to ``publish``.

    ``clock`` gives seconds since the epoch, ``stopwatch`` monotonic seconds, ``config`` the configuration in force,
    ``embedder_of`` the identity of what makes a model's embeddings, ``pictures`` the small pictures of events. All but
    ``hurry`` is for one thread.
    """

    def __init__(
        self,
        *,
        log: PredictionLog,
        moments: Ticks,
        calibrations: Calibrations,
        reports: ReportStore,
        counters: MonitorCounters,
        config: Callable[[], Config],
        embedder_of: Callable[[WatchedModel], str],
        publish: Callable[[tuple[ModelState, ...], Census, float], None],
        clock: Callable[[], float],
        stopwatch: Callable[[], float],
        pictures: Pictures | None = None,
    ) -> None:
        self._log = log
        self._reports = reports
        self._counters = counters
        self._config = config
        self._publish = publish
        self._clock = clock
        self._stopwatch = stopwatch
        self._courses: dict[str, _Course] = {}
        self._hurry = Event()
        self._stop = Event()
        self._evaluator = Evaluator(
            log=log,
            moments=moments,
            shelf=Shelf(embedder_of, calibrations),
            embedder_of=embedder_of,
            stopwatch=stopwatch,
            stopping=self._is_stopping,
            cameras=Cameras(log),
        )
        self._evidence = Evidence(reports, counters, pictures)
        self._census = Census((), 0, 0)
        self._log_fails = False

    def run(self, stop: Event) -> None:
        """Look at the schedule until ``stop`` is set. An error is logged; the loop goes on."""
        self._stop = stop
        while not stop.is_set():
            try:
                self.tick()
            except Exception:  # the one place that catches all: the monitor must outlive any defect
                logger.exception("The monitor's look at its schedule failed; it goes on")
            stop.wait(TICK_SECONDS)

    def hurry(self) -> None:
        """Evaluate everything at the next look: thresholds or windows have changed."""
        self._hurry.set()

    def _is_stopping(self) -> bool:
        return self._stop.is_set()

    def tick(self) -> None:
        """Evaluate every model that is due, one after the other, and publish after each."""
        hurry = self._hurry.is_set()
        self._hurry.clear()
        config = self._config()
        self._take_up(config)
        for model in config.models:
            if self._stop.is_set():
                return
            course = self._courses[model.name]
            if not (hurry or course.is_due(self._clock(), model.evaluate_every)):
                continue
            try:
                self._turn(config, model, course)
            finally:
                # Whatever happened: a turn that fails must not be taken again at once, and again.
                course.turn_over(self._clock(), model.evaluate_every)
        self._show(config)

    def _take_up(self, config: Config) -> None:
        """Begin a course for each new model, and forget those that are gone."""
        now = self._clock()
        known = self._courses
        self._courses = {
            model.name: known.get(model.name) or _Course(now, ReferenceState(model.reference))
            for model in config.models
        }
        if known.keys() - self._courses.keys():
            self._evaluator.keep_only(self._courses)
            self._evidence.keep_only(lambda key: key[0] in self._courses)

    def _show(self, config: Config) -> None:
        """Publish what is known now. Where the log cannot be asked, what it last said stands."""
        try:
            self._census = self._log.census()
            self._log_fails = False
        except LogError as error:
            if not self._log_fails:
                logger.error("The log cannot be asked what it holds: %s", error)
            self._log_fails = True
        reports: dict[str, dict[tuple[str, str, str], StoredReport]] = {}
        for report in reversed(self._reports.entries()):  # oldest first, so that the newest of each window stays
            reports.setdefault(report.model, {})[report.version, report.slice, report.window] = report
        states = [self._state(config, model, reports.get(model.name, {})) for model in config.models]
        self._publish(tuple(states), self._census, self._clock())

    def _state(
        self, config: Config, model: WatchedModel, reports: dict[tuple[str, str, str], StoredReport]
    ) -> ModelState:
        course = self._courses[model.name]
        is_same = course.reference.name == model.reference
        return ModelState(
            name=model.name,
            owner=config.thresholds.owner(model.name),
            evaluate_every=model.evaluate_every,
            input_stopped_after=model.input_stopped_after,
            reference=course.reference if is_same else ReferenceState(model.reference),
            evaluations=course.evaluations,
            evaluated=dict(course.evaluated),
            newest=newest_events(streams_of(self._census, model), model),
            reports={scope: report.at for scope, report in reports.items()},
            montages={scope: report.at for scope, report in reports.items() if report.has_montage},
            history={key: tuple(scores) for key, scores in course.history.items()},
            max_classes=model.max_classes,
            problem=course.problem,
        )

    def _turn(self, config: Config, model: WatchedModel, course: _Course) -> None:
        """One model's evaluation with all that follows from it. No error leaves it."""
        self._counters.count("evaluations", model=model.name)
        begun = self._stopwatch()
        turn = self._evidence.turn(model.name, config.monitoring.reports, self._clock())
        try:
            found = self._evaluator.evaluate(config, model, now=turn.now, offer=turn.offer)
        except Stopped:
            return
        except Exception as error:  # noqa: BLE001  one failing model must not stop the others; it is logged
            self._counters.count("evaluation_failures", model=model.name)
            self._tell(model, course, error)
            self._show(config)
            return
        course.take(found.evaluations, found.state)
        self._counters.observe("evaluation_duration_seconds", self._stopwatch() - begun, model=model.name)
        # The metrics come first: an alert must not wait for a picture.
        self._show(config)
        turn.write(found.reference, stopping=self._stop.is_set, kept=found.pictures)

    def _tell(self, model: WatchedModel, course: _Course, error: Exception) -> None:
        is_expected = isinstance(error, VisionDriftError)
        logger.error("Model %s could not be evaluated: %s", model.name, error, exc_info=not is_expected)
        course.problem = str(error) if is_expected else f"{type(error).__name__}: {error}"
        if isinstance(error, ReferenceUnusable):
            course.reference = ReferenceState(model.reference, problem=str(error))
