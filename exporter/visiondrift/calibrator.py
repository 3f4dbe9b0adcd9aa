"""Who makes the calibrations: read from disk where they fit, else made, once, beside the work and not in its way.

A calibration of a hundred cameras takes minutes, and neither evaluations nor intake may wait for it: the service makes
it in a process of its own, which gives way to everything else, and until then says that it is being made. One that
fails is tried again, ever less often: memory or space that lacked may be there an hour later. The command line waits.
The nightly self-test of each reference runs in the same way.
"""

import logging
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from threading import Condition, Event
from typing import Any, Protocol, TypeVar, cast

from threadpoolctl import threadpool_limits

from visiondrift.calibration_file import load_calibration, save_calibration
from visiondrift.drift.calibrate import BlockRule, CalibrationPlan, calibrate_reference, replay_reference
from visiondrift.drift.calibrated import CalibratedReference
from visiondrift.drift.explain.witnesses import Witnesses
from visiondrift.drift.selftest import SelfTest
from visiondrift.prediction import Sample

logger = logging.getLogger(__name__)

Given = TypeVar("Given")
Made = TypeVar("Made")

TEST_EVERY_SECONDS = 86_400.0
FIRST_TEST_AFTER = 60.0
"""Seconds from a calibration's first use to its first self-test: a start has enough to do."""

FIRST_RETRY_AFTER = 600.0
"""Seconds from a calibration that failed to the next try; twice as many after each further failure."""

LAST_RETRY_AFTER = 86_400.0
"""Seconds between tries at most."""

_NICENESS = 10
BEING_MADE = "the reference is being calibrated; that takes from seconds to minutes, once"


@dataclass(frozen=True, eq=False)
class Request:
    """What is to be calibrated: the reference in ``directory`` with its rows, classes in the model's order."""

    model: str
    directory: Path
    content_hash: str
    sample: Sample
    plan: CalibrationPlan
    witnesses: Witnesses | None = None

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


@dataclass(frozen=True)
class _Failed:
    """The calibration ``key`` has failed so many ``times``, and is due again at ``again_at``."""

    key: str
    times: int
    again_at: float


class _Stopping(Exception):
    """The service ends in the middle of a calibration, which is then worth nothing."""


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
                    request.sample,
                    request.plan,
                    content_hash=request.content_hash,
                    witnesses=request.witnesses,
                    progress=self._progress,
                )
        except ValueError as error:
            return Answer(None, str(error))
        return Answer(made)


def kept_calibration(request: Request, directory: Path) -> CalibratedReference | None:
    """The one that lies beside its reference, else the one that an exporter had to make and keeps under ``directory``.

    None where neither fits.
    """
    places = (request.directory, _own_directory(request, directory))
    found = (load_calibration(place, key=request.key, sample=request.sample) for place in places)
    return next((one for one in found if one is not None), None)


def _own_directory(request: Request, directory: Path) -> Path:
    return directory / request.model


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
        self._failed: dict[str, _Failed] = {}
        self._test_at: dict[str, float] = {}
        self._stop = Event()

    def of(self, request: Request) -> Answer:
        """What is known of it now; what is not known yet is being made."""
        with self._changed:
            known = self._requests.get(request.model)
            if known is None or known.key != request.key:
                self._requests[request.model] = request
                self._changed.notify_all()
            return self._known(request) or Answer(None, BEING_MADE)

    def keep_only(self, models: frozenset[str]) -> None:
        """Forget every other model."""
        with self._changed:
            for model in self._requests.keys() - models:
                del self._requests[model]
                self._answers.pop(model, None)
                self._failed.pop(model, None)

    def run(self, stop: Event) -> None:
        """Make what is asked for until ``stop`` is set. A failure is logged and told; the loop goes on."""
        self._stop = stop
        while not stop.is_set():
            request = self._next()
            if request is None:
                with self._changed:
                    self._changed.wait(timeout=0.5)
                continue
            try:
                self._work_on(request)
            except _Stopping:
                return
            except Exception as error:  # the one place that catches all: no defect may end the thread
                logger.exception("The reference of %s could not be calibrated or tested", request.model)
                self._counters.count("calibration_failures", model=request.model)
                if not self._is_calibrated(request):  # a self-test that fails takes no calibration away
                    self._answer(request, Answer(None, self._put_off(request, error)))

    def _known(self, request: Request) -> Answer | None:
        """The answer to a request, where there is one."""
        with self._changed:
            key, answer = self._answers.get(request.model, ("", Answer(None)))
            return answer if key == request.key else None

    def _is_calibrated(self, request: Request) -> bool:
        known = self._known(request)
        return known is not None and known.calibrated is not None

    def _put_off(self, request: Request, error: Exception) -> str:
        """Set the time of the next try after a failure, and say so."""
        before = self._failed.get(request.model)
        times = before.times + 1 if before and before.key == request.key else 1
        again_at = self._clock() + min(LAST_RETRY_AFTER, FIRST_RETRY_AFTER * 2 ** (times - 1))
        self._failed[request.model] = _Failed(request.key, times, again_at)
        tried = "once" if times == 1 else f"{times} times"
        at = f"{datetime.fromtimestamp(again_at, UTC):%Y-%m-%d %H:%M} UTC"
        return f"the calibration failed: {type(error).__name__}: {error}; tried {tried}, and again at {at}"

    def _next(self) -> Request | None:
        """One without an answer before one that failed and is due again, before one whose self-test is due."""
        with self._changed:
            waiting = [request for request in self._requests.values() if self._known(request) is None]
            if waiting:
                return waiting[0]
            now = self._clock()
            for request in self._requests.values():
                failed = self._failed.get(request.model)
                if failed and failed.key == request.key and failed.again_at <= now:
                    return request
            calibrated = [name for name in self._requests if self._answers[name][1].calibrated]
            return next((self._requests[name] for name in calibrated if self._test_at[name] <= now), None)

    def _work_on(self, request: Request) -> None:
        answer, now = self._known(request), self._clock()
        if answer is None or answer.calibrated is None:
            self._test_at[request.model] = now + FIRST_TEST_AFTER
            made = self._calibrate(request)
            self._failed.pop(request.model, None)
            self._answer(request, made)
            return
        # The next turn first: one that fails must not be taken again at once.
        self._test_at[request.model] = now + TEST_EVERY_SECONDS
        begun = self._stopwatch()
        tested = self._apart(replay, request.sample, request.plan, int(now // TEST_EVERY_SECONDS))
        self._counters.observe("selftest_duration_seconds", self._stopwatch() - begun, model=request.model)
        self._answer(request, Answer(answer.calibrated, answer.why, tested, now))

    def _calibrate(self, request: Request) -> Answer:
        found = kept_calibration(request, self._directory)
        if found is not None:
            return Answer(found)
        own = _own_directory(request, self._directory)
        begun = self._stopwatch()
        logger.info("Calibrating the reference of %s; `reference build` would have kept it", request.model)
        problem = request.plan.rule.problem(request.sample)
        if problem:
            return Answer(None, problem)
        made = self._apart(calibrate, request.sample, request.plan, (request.content_hash, request.witnesses))
        self._counters.count("calibrations", model=request.model)
        self._counters.observe("calibration_duration_seconds", self._stopwatch() - begun, model=request.model)
        try:
            save_calibration(own, made, request.plan)
        except OSError as error:
            logger.warning("%s: the calibration cannot be kept (%s); it is made anew at each start", own, error)
        return Answer(made)

    def _apart(self, work: Callable[[Sample, CalibrationPlan, Given], Made], *given: Any) -> Made:
        """What ``work`` makes in a process of its own. Raises _Stopping, RuntimeError where that process ends early."""
        context = get_context("spawn")
        receiving, sending = context.Pipe(duplex=False)
        process = context.Process(target=_child, args=(sending, work, given), name="calibration", daemon=True)
        process.start()
        sending.close()
        try:
            while not receiving.poll(0.5):
                if self._stop.is_set():
                    raise _Stopping
                if not process.is_alive() and not receiving.poll(0):
                    msg = f"its process ended with status {process.exitcode} (not enough memory?)"
                    raise RuntimeError(msg)
            made, problem = receiving.recv()
        except _Stopping:
            process.kill()
            raise
        except EOFError as error:
            process.join(5)
            msg = f"its process ended with status {process.exitcode} (not enough memory?)"
            raise RuntimeError(msg) from error
        finally:
            receiving.close()
            process.join(5)
            process.kill()
        if problem:
            raise RuntimeError(problem)
        return cast("Made", made)

    def _answer(self, request: Request, answer: Answer) -> None:
        with self._changed:
            wanted = self._requests.get(request.model)
            if wanted is None or wanted.key != request.key:
                return  # nobody asks any more, and what nobody asks for is not kept
            self._answers[request.model] = (request.key, answer)
        self._made()


def calibrate(sample: Sample, plan: CalibrationPlan, of: tuple[str, Witnesses | None]) -> CalibratedReference:
    """What a calibrating process makes ``of`` rows with a hash, and of what was learnt of faults."""
    content_hash, witnesses = of
    return calibrate_reference(sample, plan, content_hash=content_hash, witnesses=witnesses)


def replay(sample: Sample, plan: CalibrationPlan, seed: int) -> SelfTest | None:
    """What a testing process makes."""
    return replay_reference(sample, plan, seed=seed)


def _child(sending: Connection, work: Callable[..., Any], given: tuple[Any, ...]) -> None:
    """The whole life of a process: give way to others, work, and send what came of it, or what went wrong."""
    os.nice(_NICENESS)
    try:
        with one_thread():
            outcome = work(*given), ""
    except Exception as error:  # noqa: BLE001  told by the one who waits
        outcome = None, f"{type(error).__name__}: {error}"
    sending.send(outcome)
    sending.close()


def block_rule(block: str, *, seconds: float | None, timed: bool) -> BlockRule:
    """How blocks are found by the word ``block`` of the configuration, whose ``seconds`` are given where it is some."""
    if seconds is not None:
        return BlockRule(seconds=seconds, timed=timed)
    return BlockRule(timed=timed) if block == "auto" else BlockRule(label=block, timed=timed)
