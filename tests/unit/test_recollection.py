"""What is remembered by moments is what all the events say: windows, memories, restarts, late events."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from monitor_parts import CLIP, DIMENSION, NOON, events
from visiondrift.config.monitoring import EmbeddingConfig, HealthConfig, WatchedModel, WindowConfig
from visiondrift.drift.calibrated import Calibration
from visiondrift.drift.calibration.blocks import timed_blocks
from visiondrift.drift.embedding.detector import build_detector
from visiondrift.drift.embedding.memory import Memory
from visiondrift.drift.embedding.moments import Moments, moments_of
from visiondrift.log.memory import MemoryLog
from visiondrift.log.sqlite import SqliteLog
from visiondrift.prediction import PredictionEvent, sample_of
from visiondrift.recollection import REMEMBERED_TICKS, Recollection
from visiondrift.windows import Moment

EVERY = 60.0
BLOCK = 7.0
CAMERAS = ("left", "right")
PAIRS = (None, ("camera", "left"), ("camera", "right"))


@pytest.fixture(scope="module")
def calibration() -> Calibration:
    """Of two cameras; blocks of seven seconds, so that ticks hold eight or nine of them."""
    return made(0)


def made(seed: int = 1) -> Calibration:
    rng = np.random.default_rng(seed)
    times = np.sort(NOON - 9000 + rng.uniform(0, 3000, 1200))
    slices = np.array(CAMERAS)[rng.integers(0, 2, 1200)]
    embeddings = rng.normal(1.0, 1.0, (1200, DIMENSION)).astype(np.float32)
    detector = build_detector(embeddings, timed_blocks(times, BLOCK, slices), draws=60, novelty=False)
    return Calibration("camera", dict.fromkeys(CAMERAS, BLOCK), {}, detector, {})


def moment(now: float, *, window: str = "10m") -> Moment:
    watched = WatchedModel(
        name="pets",
        reference="pets",
        classes=(),
        slices=("camera",),
        embedding=EmbeddingConfig(name=CLIP, dimension=DIMENSION),
        evaluate_every=EVERY,
        windows={window: WindowConfig(min_samples=2, max_samples=5000)},
        low_confidence_below=0.5,
        column_threshold=0.3,
        block="auto",
        input_stopped_after=60.0,
        max_slices=50,
        max_versions=3,
        max_classes=50,
        health=HealthConfig(),
    )
    return Moment(model=watched, version="1", embedder=CLIP, dimension=DIMENSION, now=now)


def traffic(minutes: int = 20) -> list[PredictionEvent]:
    return [
        event
        for seed, camera in enumerate(CAMERAS)
        for event in events(40 * minutes, until=NOON, over=60.0 * minutes, seed=seed, camera=camera)
    ]


def in_ticks(
    calibration: Calibration, found: list[PredictionEvent], camera: str, first: float, last: float
) -> tuple[np.ndarray, int]:
    """The coordinates of a camera's events in whole ticks, and the blocks in each tick, counted the slow way."""
    own = [e for e in found if dict(e.slices)["camera"] == camera and first <= e.time < last]
    sample = sample_of(own, classes=(), dimension=DIMENSION)
    blocks = {(e.time // EVERY, e.time // BLOCK) for e in own}
    return calibration.detector.reference.basis.project(sample.embeddings), len(blocks)


def test_the_moments_of_a_window_are_those_of_all_its_events(calibration: Calibration, log: MemoryLog | SqliteLog):
    found = traffic()
    log.append(found, [], now=NOON)
    recollection = Recollection(log, log, calibration, moment(NOON))
    recollection.catch_up(PAIRS, NOON)
    since, until = NOON - 600, NOON
    window = recollection.window(PAIRS, since=since, until=until)
    assert window is not None
    first, last = np.ceil(since / EVERY) * EVERY, until // EVERY * EVERY
    for camera in CAMERAS:
        rows, blocks = in_ticks(calibration, found, camera, first, last)
        assert window[camera].count == len(rows)
        assert window[camera].blocks == blocks
        assert window[camera].total == pytest.approx(moments_of(rows).total, rel=1e-5, abs=1e-3)
        assert window[camera].squares == pytest.approx(moments_of(rows).squares, rel=1e-5, abs=1e-3)


def test_memories_are_those_of_the_ticks_one_after_the_other(calibration: Calibration, log: MemoryLog | SqliteLog):
    found = traffic()
    log.append(found, [], now=NOON)
    recollection = Recollection(log, log, calibration, moment(NOON))
    recollection.catch_up(PAIRS, NOON)
    expected = Memory()
    for tick in range(int(NOON // EVERY) - REMEMBERED_TICKS, int(NOON // EVERY)):
        parts = {c: in_ticks(calibration, found, c, tick * EVERY, (tick + 1) * EVERY) for c in CAMERAS}
        expected = expected.after(
            {
                camera: Moments(
                    float(len(rows)),
                    rows.sum(axis=0, dtype=float),
                    (rows.astype(float) ** 2).sum(axis=0),
                    blocks,
                    blocks,
                )
                for camera, (rows, blocks) in parts.items()
                if len(rows)
            }
        )
    for rate, kept in expected.kept.items():
        for camera, moments in kept.items():
            told = recollection.memory.kept[rate][camera]
            assert told.count == pytest.approx(moments.count)
            assert told.effective_blocks == pytest.approx(moments.effective_blocks)
            assert told.total == pytest.approx(moments.total, rel=1e-4, abs=1e-2)


def test_growing_with_the_log_comes_to_the_same_as_reading_it_at_once(calibration: Calibration):
    found = sorted(traffic(), key=lambda event: event.time)
    growing, whole = MemoryLog(), MemoryLog()
    step = Recollection(growing, growing, calibration, moment(NOON - 1200))
    sent = 0
    for now in np.arange(NOON - 1200, NOON + 1, EVERY):
        fresh = [event for event in found[sent:] if event.time < now]
        sent += len(fresh)
        growing.append(fresh, [], now=now)
        step.catch_up(PAIRS, float(now))
    whole.append(found, [], now=NOON)
    once = Recollection(whole, whole, calibration, moment(NOON))
    once.catch_up(PAIRS, NOON)
    windows = [one.window(PAIRS, since=NOON - 600, until=NOON) for one in (step, once)]
    for camera in CAMERAS:
        assert windows[0][camera].count == windows[1][camera].count
        assert windows[0][camera].total == pytest.approx(windows[1][camera].total, rel=1e-5, abs=1e-3)
        for rate, kept in once.memory.kept.items():
            assert step.memory.kept[rate][camera].total == pytest.approx(kept[camera].total, rel=1e-3, abs=1e-2)


def test_after_a_restart_what_was_kept_is_there_though_its_events_are_gone(calibration: Calibration, tmp_path: Path):
    found = traffic()
    with_events = SqliteLog(tmp_path / "log.sqlite")
    with_events.append(found, [], now=NOON)
    before = Recollection(with_events, with_events, calibration, moment(NOON))
    before.catch_up(PAIRS, NOON)
    with_events.prune(older_than=NOON + 1, max_bytes=2**40)
    with_events.close()
    log = SqliteLog(tmp_path / "log.sqlite")
    try:
        after = Recollection(log, log, calibration, moment(NOON))
        after.catch_up(PAIRS, NOON)
        window = after.window(PAIRS, since=NOON - 600, until=NOON)
        assert window is not None
        assert window["left"].count == pytest.approx(before.memory.kept[1.0]["left"].count * 10, rel=0.2)
        for rate, kept in before.memory.kept.items():
            assert after.memory.kept[rate]["left"].total == pytest.approx(kept["left"].total, rel=1e-4, abs=1e-3)
    finally:
        log.close()


def test_events_that_come_a_little_late_are_counted(calibration: Calibration):
    found = traffic()
    late = [event for event in found if NOON - 50 < event.time < NOON - 20]
    log = MemoryLog()
    log.append([event for event in found if event not in late], [], now=NOON)
    recollection = Recollection(log, log, calibration, moment(NOON))
    recollection.catch_up(PAIRS, NOON)
    log.append(late, [], now=NOON)
    recollection.catch_up(PAIRS, NOON + EVERY)
    window = recollection.window(PAIRS, since=NOON - 600, until=NOON)
    rows, _ = in_ticks(calibration, found, "left", np.ceil((NOON - 600) / EVERY) * EVERY, NOON // EVERY * EVERY)
    assert window is not None
    assert window["left"].count == len(rows)


def test_a_slice_that_the_reference_does_not_know_is_left_out(calibration: Calibration):
    log = MemoryLog()
    log.append([*traffic(), *events(50, camera="new", seed=9)], [], now=NOON)
    recollection = Recollection(log, log, calibration, moment(NOON))
    pairs = (*PAIRS, ("camera", "new"))
    recollection.catch_up(pairs, NOON)
    window = recollection.window(pairs, since=NOON - 600, until=NOON)
    assert window is not None
    assert set(window) == set(CAMERAS)


def test_more_than_one_turn_s_rows_are_taken_up_over_several(calibration: Calibration, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("visiondrift.recollection.MOST_ROWS", 300)
    monkeypatch.setattr("visiondrift.recollection._ROWS_AT_ONCE", 100)
    log = MemoryLog()
    found = traffic()
    log.append(found, [], now=NOON)
    recollection = Recollection(log, log, calibration, moment(NOON))
    recollection.catch_up(PAIRS, NOON)
    assert recollection.window(PAIRS, since=NOON - 600, until=NOON) is None, "not all of it is taken up yet"
    for _ in range(20):
        recollection.catch_up(PAIRS, NOON)
    window = recollection.window(PAIRS, since=NOON - 600, until=NOON)
    assert window is not None
    rows, _ = in_ticks(calibration, found, "right", np.ceil((NOON - 600) / EVERY) * EVERY, NOON // EVERY * EVERY)
    assert window["right"].count == len(rows)


def test_a_memory_begins_anew_with_the_window_that_shows_a_drift_no_more(calibration: Calibration):
    log = MemoryLog()
    log.append(traffic(), [], now=NOON)
    recollection = Recollection(log, log, calibration, moment(NOON))
    recollection.catch_up(PAIRS, NOON)
    window = recollection.window(PAIRS, since=NOON - 600, until=NOON)
    before = recollection.memory
    assert window is not None

    def settle(shown: set[str], calm: set[str]) -> frozenset[str]:
        return recollection.settle(shown, calm, PAIRS, since=NOON - 600, until=NOON)

    assert settle(set(), {"all", "camera=left"}) == frozenset()
    assert settle({"camera=left"}, {"camera=right"}) == frozenset()
    assert settle(set(), set()) == frozenset(), "a window that cannot be judged ends nothing"
    assert recollection.memory is before
    assert settle(set(), {"camera=left", "camera=right"}) == {"camera=left"}
    for rate, kept in recollection.memory.kept.items():
        assert kept["right"] is before.kept[rate]["right"]
        expected = before.kept[rate]["left"] if rate == 1 else window["left"].scaled(1 / 9)  # whole ticks
        assert kept["left"].total == pytest.approx(expected.total)
        assert kept["left"].effective_blocks == pytest.approx(expected.effective_blocks)
    assert settle(set(), {"camera=left"}) == frozenset(), "once"


def test_where_a_drift_of_all_is_over_every_slice_begins_anew(calibration: Calibration):
    log = MemoryLog()
    log.append(traffic(), [], now=NOON)
    recollection = Recollection(log, log, calibration, moment(NOON))
    recollection.catch_up(PAIRS, NOON)
    recollection.settle({"all"}, set(), PAIRS, since=NOON - 600, until=NOON)
    assert recollection.settle(set(), {"all"}, PAIRS, since=NOON - 600, until=NOON) == {"all"}
    assert recollection.window(PAIRS, since=NOON - 600, until=NOON) is not None
    for camera in CAMERAS:
        assert recollection.memory.kept[0.05][camera].count == pytest.approx(40, rel=0.1), "as much as one tick"
    assert recollection.settle({"all"}, set(), PAIRS, since=NOON, until=NOON) == frozenset()
    recollection.settle(set(), {"all"}, PAIRS, since=NOON, until=NOON)
    assert "left" not in recollection.memory.kept[0.05], "without a whole tick in the window nothing is remembered"


@pytest.mark.parametrize("change", ["none", "reference", "schedule"])
def test_a_restart_knows_that_a_memory_began_anew_and_of_a_drift_that_was_shown(
    calibration: Calibration, tmp_path: Path, change: str
):
    """Else what is over is told once more to everybody who restarts the service after it, or builds a new reference."""
    found = sorted(traffic(), key=lambda event: event.time)
    path, later = tmp_path / "log.sqlite", NOON + 3 * EVERY
    log = SqliteLog(path)
    log.append(found, [], now=NOON)
    before = Recollection(log, log, calibration, moment(NOON))
    before.catch_up(PAIRS, NOON)
    before.settle({"camera=left", "camera=right"}, set(), PAIRS, since=NOON - 600, until=NOON)
    assert before.settle(set(), {"camera=left"}, PAIRS, since=NOON - 600, until=NOON) == {"camera=left"}
    expected = before.memory
    log.close()
    log = SqliteLog(path)
    now = moment(NOON)
    if change == "schedule":
        now = replace(now, model=now.model.model_copy(update={"evaluate_every": 2 * EVERY}))
    after = Recollection(log, log, made() if change == "reference" else calibration, now)
    after.catch_up(PAIRS, NOON)
    held, window = after.memory.kept[0.05], after.window(PAIRS, since=NOON - 600, until=NOON)
    for camera, is_anew in (("left", True), ("right", False)):
        means = [one[camera].total / one[camera].count for one in (held, window)]
        assert np.allclose(*means, rtol=1e-3, atol=1e-4) == is_anew
    if change == "none":
        for rate, kept in expected.kept.items():
            for camera in CAMERAS:
                assert after.memory.kept[rate][camera].total == pytest.approx(kept[camera].total, rel=1e-3, abs=1e-3)
        # Both go on alike.
        log.append(events(60, until=later, over=3 * EVERY, seed=7, camera="left"), [], now=later)
        for one in (before, after):
            one._log = one._kept = log
            one._turns = replace(one._turns, kept=log)
            one.catch_up(PAIRS, later)
        told, own = (one.memory.kept[0.05]["left"].total for one in (before, after))
        assert own == pytest.approx(told, rel=1e-3, abs=1e-3)
    # What was shown to the first ends for the second.
    over = after.settle(set(), {"camera=left", "camera=right"}, PAIRS, since=NOON - 600, until=NOON)
    assert over == {"camera=right"}
    log.close()


def test_memories_say_nothing_while_ticks_are_still_to_be_read(
    calibration: Calibration, monkeypatch: pytest.MonkeyPatch
):
    """An end that was kept comes after ticks that are not read yet."""
    monkeypatch.setattr("visiondrift.recollection.MOST_ROWS", 300)
    monkeypatch.setattr("visiondrift.recollection._ROWS_AT_ONCE", 100)
    log = MemoryLog()
    log.append(traffic(), [], now=NOON)
    recollection = Recollection(log, log, calibration, moment(NOON))
    turns = 0
    while not recollection.memory.kept:
        recollection.catch_up(PAIRS, NOON)
        recollection.settle({"all"} if turns == 0 else set(), {"all"}, PAIRS, since=NOON - 600, until=NOON)
        turns += 1
    assert turns > 3
    assert recollection.settle(set(), {"all"}, PAIRS, since=NOON - 600, until=NOON) == frozenset(), "once"
