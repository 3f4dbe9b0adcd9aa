"""Images as pictures: night and clouds that the reference knows are no drift, a camera that is darker for them is."""

from collections.abc import Iterator
from dataclasses import replace
from functools import lru_cache

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from picture_parts import DAY, outdoors
from visiondrift.config.starting import STARTING_THRESHOLDS
from visiondrift.drift.calibrate import BlockRule, CalibrationPlan, calibrate_reference
from visiondrift.drift.calibrated import CalibratedReference
from visiondrift.drift.calibration.blocks import labelled_blocks
from visiondrift.drift.calibration.budget import Terms
from visiondrift.drift.calibration.nulls import draw_stretches
from visiondrift.drift.evaluation import PreparedReference, Scale, Settings, evaluate_window
from visiondrift.drift.independence import Looks
from visiondrift.drift.judge import Judgement, WindowEvaluation
from visiondrift.drift.window_scores import Question, image_scores
from visiondrift.prediction import PROPERTIES, Sample

SETTINGS = Settings(classes=(), slices=("camera",))
DAYS = 6.0
EVERY = 480.0
TERMS = Terms({"warning": 1e-3, "critical": 1e-4}, every=DAY / 8)
WINDOW = DAY / 8


@lru_cache
def reference() -> Sample:
    return outdoors(1, DAYS, every=EVERY)


@lru_cache
def calibrated() -> CalibratedReference:
    plan = CalibrationPlan(settings=SETTINGS, rule=BlockRule(seconds=2 * EVERY), windows=(WINDOW,))
    return calibrate_reference(reference(), plan, content_hash="pictures")


@lru_cache
def prepared() -> PreparedReference:
    return PreparedReference.from_sample(reference(), SETTINGS)


def judged(window: Sample, against: Sample | None = None) -> WindowEvaluation:
    return evaluate_window(
        prepared() if against is None else PreparedReference.from_sample(against, SETTINGS),
        window,
        slice_="camera=roof",
        window="3h",
        min_samples=10,
        settings=SETTINGS,
        thresholds=STARTING_THRESHOLDS.resolve("", "camera=roof"),
        scale=Scale(calibrated(), TERMS),
    )


def image_drift(evaluation: WindowEvaluation) -> Judgement:
    return next(judgement for judgement in evaluation.judgements if judgement.signal == "image_drift")


def windows(seed: int, days: float, darker: float = 0.0) -> Iterator[Sample]:
    """Every second window of some days after the reference."""
    live = outdoors(seed, days, begins=DAYS * DAY, darker=darker, every=EVERY)
    for start in np.arange(live.times[0], live.times[-1] - WINDOW, 2 * WINDOW):
        yield live.take((live.times >= start) & (live.times < start + WINDOW))


def test_days_and_nights_and_clouds_that_the_reference_knows_are_no_drift() -> None:
    drifts = [image_drift(judged(window)) for seed in (11, 12, 13) for window in windows(seed, 8)]
    chances = np.array([drift.worth.p for drift in drifts], dtype=np.float64)
    assert len(chances) > 80
    assert np.mean(chances <= 0.05) <= 0.1
    assert {drift.verdict for drift in drifts} == {"ok"}


def test_a_camera_that_is_darker_by_day_and_by_night_is_found() -> None:
    found = [judged(window) for window in windows(21, 4, darker=0.45)]
    assert np.mean([image_drift(one).verdict != "ok" for one in found]) > 0.8
    for one in found:
        moves = one.properties
        assert max(moves, key=lambda name: moves[name].moved) == "brightness"
        assert moves["brightness"].expected - moves["brightness"].value > 0.2
        assert moves["brightness"].p is not None
        assert moves["noise"].p is not None
        assert moves["noise"].p > moves["brightness"].p


def test_times_that_are_those_of_files_take_no_hour_off() -> None:
    night = reference().times // 3600 % 24 < 4
    window = reference().take(np.flatnonzero(night)[:60])
    found = {}
    for timed in (True, False):
        against = PreparedReference.from_sample(reference(), SETTINGS, timed=timed)
        _, moves = image_scores(Question(window, against.baseline("camera=roof", window), 10, SETTINGS, Looks(600, 60)))
        found[timed] = moves["brightness"]
    everything = reference().properties[:, PROPERTIES.index("brightness")].mean()
    assert found[False].expected == pytest.approx(everything, abs=0.01)
    assert everything - found[True].expected > 0.15
    assert found[False].moved > 2 * found[True].moved


def test_the_level_of_a_property_is_its_own() -> None:
    moves = judged(next(windows(21, 2))).properties
    levels = {name: moves[name].threshold.warning for name in PROPERTIES}
    assert levels["brightness"] is not None
    assert levels["noise"] is not None
    assert levels["brightness"] > levels["noise"]  # clouds come and go, noise does not


def test_without_a_reference_that_was_measured_nothing_is_said() -> None:
    drift = image_drift(judged(next(windows(21, 2)), against=replace(reference(), properties=None, layouts=None)))
    assert drift.verdict == "insufficient"
    assert drift.why == "the reference has 0 events with measured image, and 30 are needed"


def test_where_nobody_measures_the_signal_is_left_out() -> None:
    window = replace(next(windows(21, 2)), properties=None, layouts=None)
    evaluation = judged(window, against=replace(reference(), properties=None, layouts=None))
    assert "image_drift" not in {judgement.signal for judgement in evaluation.judgements}


@given(sizes=st.lists(st.integers(5, 40), min_size=1, max_size=4), share=st.floats(0.1, 0.5), seed=st.integers(0, 99))
def test_a_stretch_is_one_piece_of_every_slice_from_the_same_time(sizes: list[int], share: float, seed: int) -> None:
    strata = np.repeat([f"c{place}" for place in range(len(sizes))], sizes)
    blocks = labelled_blocks(np.concatenate([np.arange(size) for size in sizes]), strata)
    size = max(1, int(share * len(blocks)))
    rng = np.random.default_rng(seed)
    draw = draw_stretches("all", np.arange(len(blocks)), size, blocks=blocks, draws=20, rng=rng, alike=3.0)
    assert draw.windows.shape == (20, size)
    for window in draw.windows:
        assert len(set(window.tolist())) == size
        for stratum in range(len(sizes)):
            own = window[blocks.stratum[window] == stratum]
            assert (np.diff(own) == 1).all()
            assert abs(len(own) - size * sizes[stratum] / sum(sizes)) < 1


@pytest.mark.parametrize("name", PROPERTIES)
def test_a_reference_that_never_varies_does_not_drift_by_a_hardly_visible_step(name: str) -> None:
    still = reference()
    properties = np.zeros_like(still.properties)
    still = replace(still, properties=properties)
    window = still.take(np.arange(50))
    moved = properties[:50].copy()
    moved[:, PROPERTIES.index(name)] = 0.01
    evaluation = judged(replace(window, properties=moved), against=still)
    assert evaluation.properties[name].moved <= 1.0
