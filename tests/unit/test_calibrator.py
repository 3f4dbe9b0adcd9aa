"""Calibrations beside the work: asked for at once, made once, kept, and no failure that ends them or takes one away."""

import logging
import os
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import calibrator_parts
from calibrated_parts import SETTINGS, plan, site
from calibrator_parts import RESULT, Tally
from programs import PATIENCE_S, until
from visiondrift import calibrator
from visiondrift.calibration_file import load_calibration, save_calibration
from visiondrift.calibrator import (
    BEING_MADE,
    FIRST_RETRY_AFTER,
    FIRST_TEST_AFTER,
    LAST_RETRY_AFTER,
    TEST_EVERY_SECONDS,
    Answer,
    BackgroundCalibrations,
    ImmediateCalibrations,
    Request,
    block_rule,
)
from visiondrift.drift.calibrate import BlockRule, calibrate_reference

SMALL = plan(BlockRule(seconds=5.0), settings=replace(SETTINGS, classes=()))


@dataclass
class Bench:
    """Background calibrations with a clock that the test sets, their thread, and what they said to others."""

    root: Path
    now: float = 1e9
    tally: Tally = field(default_factory=Tally)
    told: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))
    stop: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        self.calibrations = BackgroundCalibrations(
            self.root / "state",
            counters=self.tally,
            clock=lambda: self.now,
            stopwatch=time.perf_counter,
            made=self.told.release,
        )
        self.thread = threading.Thread(target=self.calibrations.run, args=(self.stop,), daemon=True)

    def request(self, model: str = "cats", content_hash: str = "rows", **changed: Any) -> Request:
        given = {"directory": self.root / "reference", "sample": site(1, {"left": 30}), "plan": SMALL} | changed
        return Request(model=model, content_hash=content_hash, **given)

    def start(self) -> None:
        self.thread.start()

    def answer(self, request: Request) -> Answer:
        """What is answered once others have been told that there is something new."""
        self.calibrations.of(request)
        assert self.told.acquire(timeout=PATIENCE_S)
        return self.calibrations.of(request)


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    made = Bench(tmp_path)
    yield made
    made.stop.set()
    if made.thread.is_alive():
        made.thread.join(PATIENCE_S)


@pytest.fixture
def work(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Gives the calibrating process something else to do."""

    def give(**works: object) -> None:
        for name, function in works.items():
            monkeypatch.setattr(calibrator, name, function)

    return give


def keep(directory: Path, request: Request) -> None:
    made = calibrate_reference(request.sample, request.plan, content_hash=request.content_hash)
    save_calibration(directory, replace(made, why_no_performance="kept before"), request.plan)


def test_first_it_is_being_made_then_it_is_there_kept_counted_and_told(bench: Bench) -> None:
    """By a process of its own, as it will be in service."""
    request = bench.request()
    assert bench.calibrations.of(request).why == BEING_MADE
    bench.start()
    answer = bench.answer(request)
    assert answer.why == ""
    assert answer.calibrated is not None
    assert answer.calibrated.key == request.key
    assert bench.tally.counted == {("calibrations", "cats"): 1}
    assert bench.tally.observed == [("calibration_duration_seconds", "cats")]
    assert load_calibration(bench.root / "state" / "cats", key=request.key, sample=request.sample) is not None
    assert not (bench.root / "reference").exists()


def test_it_is_made_in_a_process_of_its_own_and_serves_where_it_cannot_be_kept(
    bench: Bench, work: Callable[..., None], caplog: pytest.LogCaptureFixture
) -> None:
    """One is kept already, but of other rows; and the folder for a new one cannot be made."""
    work(calibrate=calibrator_parts.at_once)
    keep(bench.root / "reference", bench.request(content_hash="older rows"))
    (bench.root / "state").write_text("a file")
    bench.start()
    found = bench.answer(bench.request()).calibrated
    assert found is not None
    assert found.why_no_performance.startswith("made by ")
    assert found.why_no_performance != f"made by {os.getpid()}"
    assert "the calibration cannot be kept" in caplog.text


@pytest.mark.parametrize("place", ["reference", "state/cats"])
def test_one_that_is_kept_is_loaded_and_not_made_again(bench: Bench, work: Callable[..., None], place: str) -> None:
    work(calibrate=calibrator_parts.die)
    request = bench.request()
    keep(bench.root / place, request)
    bench.start()
    answer = bench.answer(request)
    assert answer.calibrated is not None
    assert answer.calibrated.why_no_performance == "kept before"
    assert not bench.tally.counted


def test_rows_without_blocks_are_answered_with_the_sentence_and_no_failure(bench: Bench) -> None:
    bench.start()
    answer = bench.answer(bench.request(plan=replace(SMALL, rule=BlockRule(timed=False))))
    assert answer.calibrated is None
    assert "set block to how long production frames stay alike" in answer.why
    assert not bench.tally.counted


def test_a_failure_is_counted_and_told_and_the_next_model_is_served(
    bench: Bench, work: Callable[..., None], caplog: pytest.LogCaptureFixture
) -> None:
    work(calibrate=calibrator_parts.fail)
    bench.start()
    answer = bench.answer(bench.request())
    assert answer.why.startswith("the calibration failed: RuntimeError: ArithmeticError: the rows are odd; tried once,")
    assert bench.tally.counted == {("calibration_failures", "cats"): 1}
    assert any(record.levelno == logging.ERROR for record in caplog.records)
    dogs = bench.request("dogs")
    keep(bench.root / "state" / "dogs", dogs)
    assert bench.answer(dogs).calibrated is not None
    assert bench.calibrations.of(bench.request()).calibrated is None, "a failure is not tried again and again"


def test_a_failure_is_tried_again_ever_less_often_and_each_is_counted(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What fails is not of interest here, and nine processes would take their time over it."""

    def failing(*_: object) -> None:
        raise RuntimeError("the rows are odd")

    monkeypatch.setattr(bench.calibrations, "_apart", failing)
    bench.start()
    answer = bench.answer(bench.request())
    assert answer.why.endswith("tried once, and again at 2001-09-09 01:56 UTC")
    bench.now += FIRST_RETRY_AFTER - 1
    assert not bench.told.acquire(timeout=0.7), "not yet"
    bench.now += 1
    assert bench.answer(bench.request()).why.endswith("tried 2 times, and again at 2001-09-09 02:16 UTC")
    bench.now += FIRST_RETRY_AFTER
    assert not bench.told.acquire(timeout=0.7), "twice as long"
    for _ in range(7):
        bench.now += LAST_RETRY_AFTER
        answer = bench.answer(bench.request())
    assert answer.why.endswith("tried 9 times, and again at 2001-09-17 02:06 UTC"), "a day later, and no more"
    assert bench.tally.counted == {("calibration_failures", "cats"): 9}


def test_a_calibration_that_succeeds_at_its_second_try_is_an_answer_like_any_other(
    bench: Bench, work: Callable[..., None]
) -> None:
    work(calibrate=calibrator_parts.fail)
    bench.start()
    assert bench.answer(bench.request()).calibrated is None
    work(calibrate=calibrator_parts.at_once)
    bench.now += FIRST_RETRY_AFTER
    answer = bench.answer(bench.request())
    assert (answer.calibrated is not None, answer.why) == (True, "")


def test_a_process_that_dies_gives_a_reason_and_takes_nothing_with_it(bench: Bench, work: Callable[..., None]) -> None:
    work(calibrate=calibrator_parts.die)
    bench.start()
    answer = bench.answer(bench.request())
    assert "the calibration failed: RuntimeError: its process ended with status 9 (not enough memory?)" in answer.why
    assert bench.thread.is_alive()


def test_a_self_test_is_run_when_it_is_due_and_once_a_day(bench: Bench, work: Callable[..., None]) -> None:
    work(replay=calibrator_parts.tested)
    request = bench.request()
    keep(bench.root / "reference", request)
    bench.start()
    assert bench.answer(request).tested is None
    bench.now += FIRST_TEST_AFTER - 1
    assert not bench.told.acquire(timeout=0.7), "not yet"
    bench.now += 1
    answer = bench.answer(request)
    assert (answer.tested, answer.tested_at) == (RESULT, bench.now)
    assert answer.calibrated is not None
    assert bench.tally.observed == [("selftest_duration_seconds", "cats")]
    bench.now += TEST_EVERY_SECONDS - 1
    assert not bench.told.acquire(timeout=0.7), "once a day"


def test_a_self_test_that_fails_takes_no_calibration_away(bench: Bench, work: Callable[..., None]) -> None:
    work(replay=calibrator_parts.die)
    request = bench.request()
    keep(bench.root / "reference", request)
    bench.start()
    before = bench.answer(request)
    bench.now += FIRST_TEST_AFTER
    until(lambda: bool(bench.tally.counted))
    assert bench.tally.counted == {("calibration_failures", "cats"): 1}
    assert bench.calibrations.of(request) is before
    assert bench.thread.is_alive()


def test_another_request_of_a_model_replaces_the_one_before(bench: Bench) -> None:
    older, newer = bench.request(), bench.request(content_hash="newer rows")
    for request in (older, newer):
        keep(bench.root / request.content_hash, request)
    older, newer = (replace(one, directory=bench.root / one.content_hash) for one in (older, newer))
    bench.start()
    assert bench.answer(older).calibrated is not None
    assert bench.calibrations.of(newer).why == BEING_MADE
    found = bench.answer(newer).calibrated
    assert found is not None
    assert found.key == newer.key


def test_a_model_that_leaves_is_forgotten(bench: Bench) -> None:
    requests = [bench.request(model) for model in ("cats", "dogs")]
    keep(bench.root / "reference", requests[0])
    bench.start()
    for request in requests:
        assert bench.answer(request).calibrated is not None
    bench.calibrations.keep_only(frozenset({"dogs"}))
    assert bench.calibrations.of(requests[1]).calibrated is not None
    assert bench.calibrations.of(requests[0]).why == BEING_MADE, "as if it had never been asked for"


@pytest.fixture
def being_made(bench: Bench, work: Callable[..., None], tmp_path: Path) -> Request:
    """What was asked for a calibration that has begun, and goes on when it is let."""
    work(calibrate=calibrator_parts.when_let)
    request = bench.request(content_hash=str(tmp_path))
    bench.calibrations.of(request)
    bench.start()
    until((tmp_path / calibrator_parts.BEGUN).exists, what="a calibration that is being made")
    return request


def test_what_is_made_for_a_model_that_has_left_meanwhile_is_told_to_nobody(
    bench: Bench, being_made: Request, tmp_path: Path
) -> None:
    bench.calibrations.keep_only(frozenset())
    (tmp_path / calibrator_parts.LET).touch()
    until(lambda: bool(bench.tally.counted["calibrations", "cats"]))
    assert not bench.told.acquire(timeout=0.5)
    assert bench.calibrations.of(being_made).why == BEING_MADE


def test_the_service_need_not_wait_for_a_calibration_to_stop(bench: Bench, being_made: Request) -> None:
    """It is never let go on."""
    bench.stop.set()
    bench.thread.join(PATIENCE_S)
    assert not bench.thread.is_alive()
    assert bench.calibrations.of(being_made).why == BEING_MADE


# While the caller waits


def test_the_command_line_waits_and_hears_of_each_step(tmp_path: Path) -> None:
    steps: list[str] = []
    request = Request("cats", tmp_path, "rows", site(1, {"left": 30}), SMALL)
    answer = ImmediateCalibrations(steps.append).of(request)
    assert answer.calibrated is not None
    assert answer.calibrated.key == request.key
    assert steps == ["calibrating camera", "learning from the labels"]
    assert list(tmp_path.iterdir()) == []


def test_the_command_line_takes_the_one_beside_the_reference(tmp_path: Path) -> None:
    request = Request("cats", tmp_path, "rows", site(1, {"left": 30}), SMALL)
    keep(tmp_path, request)
    steps: list[str] = []
    found = ImmediateCalibrations(steps.append).of(request).calibrated
    assert found is not None
    assert found.why_no_performance == "kept before"
    assert steps == []


def test_the_command_line_is_told_why_there_are_no_blocks(tmp_path: Path) -> None:
    sample = replace(site(1, {"left": 30}), times=np.zeros(30))
    answer = ImmediateCalibrations().of(
        Request("cats", tmp_path, "rows", sample, replace(SMALL, rule=BlockRule(timed=False)))
    )
    assert answer.calibrated is None
    assert "set block to how long production frames stay alike" in answer.why


@pytest.mark.parametrize(
    ("block", "seconds", "rule"),
    [
        ("auto", None, BlockRule()),
        ("30s", 30.0, BlockRule(seconds=30.0)),
        ("scene", None, BlockRule(label="scene")),
    ],
)
def test_the_word_of_the_configuration_is_a_rule(block: str, seconds: float | None, rule: BlockRule) -> None:
    assert block_rule(block, seconds=seconds, timed=True) == rule
    assert block_rule(block, seconds=seconds, timed=False) == replace(rule, timed=False)
