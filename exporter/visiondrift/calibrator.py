"""Who makes the calibrations: read from disk where they fit, else made, once, beside the work and not in its way.

A calibration of a hundred cameras takes minutes, and evaluations must not wait for it: the service makes it in a thread
of its own, and until then says that it is being made. The command line waits. The nightly self-test of each reference
runs in the same thread.
"""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Condition, Event
from typing import Protocol

from threadpoolctl import threadpool_limits

from visiondrift.calibration_file import load_calibration, save_calibration
from visiondrift.drift.calibrate import BlockRule, CalibrationPlan, calibrate_reference, replay_reference
from visiondrift.drift.calibrated import CalibratedReference
from visiondrift.drift.selftest import SelfTest
from visiondrift.prediction import Sample

logger = logging.getLogger(__name__)

TEST_EVERY_SECONDS = 86_400.0
BEING_MADE = "the reference is being calibrated; that takes from seconds to minutes, once"


@dataclass(frozen=True, eq=False)
class Request:
    """What is to be calibrated: the reference in ``directory`` with its rows, classes in the model's order."""

    model: str
    directory: Path
    content_hash: str
    sample: Sample
    plan: CalibrationPlan

    @property
    def key(self) -> str:
        """What its calibration is known by."""
        return self.plan.key(self.content_hash)


@dataclass(frozen=True, eq=False)
class Answer:
    """A calibration, or why there is none; and the last self-test with its time, where there was one."""

    calibrated: CalibratedReference | None
    why: str = ""
    tested: SelfTest | None = None
    tested_at: float = 0.0


class Calibrations(Protocol):
    """Gives the calibration of a reference."""

    def of(self, request: Request) -> Answer:
        """The calibration, or why there is none yet or at all."""
        ...


class CalibrationCounters(Protocol):
    """What is counted of calibrations."""

    def count(self, name: str, amount: float = 1, **labels: str) -> None:
        """Add to a counter."""
        ...

    def observe(self, name: str, seconds: float, **labels: str) -> None:
        """Add a duration to a histogram."""
        ...


@contextmanager
def one_thread() -> Iterator[None]:
    """Hold the linear algebra to one thread: its thousands of small products only wait for one another on more."""
    with threadpool_limits(limits=1, user_api="blas"):
        yield


class ImmediateCalibrations:
    """Makes what is asked for and lacking while the caller waits; ``progress`` is told of each step."""

    def __init__(self, progress: Callable[[str], None] = lambda _: None) -> None:
        self._progress = progress

    def of(self, request: Request) -> Answer:
        """The calibration from beside its reference, or made now."""
        found = load_calibration(request.directory, key=request.key, sample=request.sample)
        if found is not None:
            return Answer(found)
        try:
            with one_thread():
                made = calibrate_reference(
                    request.sample, request.plan, content_hash=request.content_hash, progress=self._progress
                )
        except ValueError as error:
            return Answer(None, str(error))
        return Answer(made)


class BackgroundCalibrations:
    """Makes calibrations in the thread that calls ``run``, and keeps them under ``directory``.

    One answer a model: another request of the same model replaces the one before it. ``of`` is for any thread.
    """

    def __init__(
        self,
        directory: Path,
        *,
        counters: CalibrationCounters,
        clock: Callable[[], float],
        stopwatch: Callable[[], float],
        made: Callable[[], None],
    ) -> None:
        self._directory = directory
        self._counters = counters
        self._clock = clock
        self._stopwatch = stopwatch
        self._made = made
        self._changed = Condition()
        self._requests: dict[str, Request] = {}
        self._answers: dict[str, tuple[str, Answer]] = {}

    def of(self, request: Request) -> Answer:
        """What is known of it now; what is not known yet is being made."""
        with self._changed:
            known = self._requests.get(request.model)
            if known is None or known.key != request.key:
                self._requests[request.model] = request
                self._changed.notify_all()
            key, answer = self._answers.get(request.model, ("", Answer(None)))
            return answer if key == request.key else Answer(None, BEING_MADE)

    def keep_only(self, models: frozenset[str]) -> None:
        """Forget every other model."""
        with self._changed:
            for model in self._requests.keys() - models:
                del self._requests[model]
                self._answers.pop(model, None)

    def run(self, stop: Event) -> None:
        """Make what is asked for until ``stop`` is set. A failure is logged and told; the loop goes on."""
        while not stop.is_set():
            request = self._next()
            if request is None:
                with self._changed:
                    self._changed.wait(timeout=0.5)
                continue
            try:
                self._work_on(request)
            except Exception as error:  # the one place that catches all: no defect may end the thread
                logger.exception("The reference of %s could not be calibrated", request.model)
                self._counters.count("calibration_failures", model=request.model)
                self._answer(request, Answer(None, f"the calibration failed: {type(error).__name__}: {error}"))

    def _next(self) -> Request | None:
        """One without an answer before one whose self-test is due."""
        with self._changed:
            waiting = [r for name, r in self._requests.items() if self._answers.get(name, ("",))[0] != r.key]
            if waiting:
                return waiting[0]
            due = self._clock() - TEST_EVERY_SECONDS
            answered = [(r, self._answers[name][1]) for name, r in self._requests.items()]
            return next((r for r, answer in answered if answer.calibrated and answer.tested_at <= due), None)

    def _work_on(self, request: Request) -> None:
        with self._changed:
            key, answer = self._answers.get(request.model, ("", Answer(None)))
        if key != request.key:
            self._answer(request, self._calibrate(request))
            return
        now = self._clock()
        begun = self._stopwatch()
        with one_thread():
            tested = replay_reference(request.sample, request.plan, seed=int(now // TEST_EVERY_SECONDS))
        self._counters.observe("selftest_duration_seconds", self._stopwatch() - begun, model=request.model)
        self._answer(request, Answer(answer.calibrated, answer.why, tested, now))

    def _calibrate(self, request: Request) -> Answer:
        own = self._directory / request.model
        for directory in (request.directory, own):
            found = load_calibration(directory, key=request.key, sample=request.sample)
            if found is not None:
                return Answer(found)
        begun = self._stopwatch()
        logger.info("Calibrating the reference of %s; `reference build` would have kept it", request.model)
        try:
            with one_thread():
                made = calibrate_reference(request.sample, request.plan, content_hash=request.content_hash)
        except ValueError as error:
            return Answer(None, str(error))
        self._counters.count("calibrations", model=request.model)
        self._counters.observe("calibration_duration_seconds", self._stopwatch() - begun, model=request.model)
        try:
            save_calibration(own, made, request.plan)
        except OSError as error:
            logger.warning("%s: the calibration cannot be kept (%s); it is made anew at each start", own, error)
        return Answer(made)

    def _answer(self, request: Request, answer: Answer) -> None:
        with self._changed:
            self._answers[request.model] = (request.key, answer)
        self._made()


def block_rule(block: str, *, seconds: float | None, timed: bool) -> BlockRule:
    """How blocks are found by the word ``block`` of the configuration, whose ``seconds`` are given where it is some."""
    if seconds is not None:
        return BlockRule(seconds=seconds, timed=timed)
    return BlockRule(timed=timed) if block == "auto" else BlockRule(label=block, timed=timed)
