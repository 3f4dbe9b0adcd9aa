"""The self-test: near the nominal rate where blocks are what they say, and an alarm of its own where they are not."""

from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from calibrated_parts import plan, reference
from visiondrift.drift import selftest
from visiondrift.drift.calibrate import BlockRule, replay_reference
from visiondrift.drift.calibration.blocks import Blocks, labelled_blocks, timed_blocks
from visiondrift.drift.calibration.nulls import SliceCalibration
from visiondrift.drift.embedding.detector import Detector, build_detector
from visiondrift.drift.embedding.fit import NOVELTY
from visiondrift.drift.selftest import CONFIDENCE, MOST_SLICES, NOMINAL, SelfTest, _asked, _Look, _summary, self_test
from visiondrift.signals import ALL_SLICES

DIMENSION = 8
SCENE = 8


def scenes(rows: int, seed: int, *, alike: float) -> np.ndarray:
    """Frames in scenes of eight, which share so much of their variance."""
    rng = np.random.default_rng(seed)
    common = rng.normal(size=(rows // SCENE + 1, DIMENSION)).repeat(SCENE, axis=0)[:rows]
    return np.sqrt(alike) * common + np.sqrt(1 - alike) * rng.normal(size=(rows, DIMENSION))


def two_cameras(seed: int, *, alike: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    """Three hundred frames of each, and whose they are."""
    embeddings = np.vstack([scenes(300, seed, alike=alike), 5 + scenes(300, seed + 1, alike=alike)])
    return embeddings, np.repeat(["left", "right"], 300)


def outcome(embeddings: np.ndarray, blocks: Blocks, **changed: object) -> SelfTest:
    found = self_test(embeddings, blocks, **changed)  # type: ignore[arg-type]
    assert found is not None
    return found


def test_independent_frames_alarm_no_more_often_than_is_said() -> None:
    found = outcome(scenes(900, 1, alike=0.0), labelled_blocks(np.arange(900)))
    assert found.windows >= 60
    assert found.low <= NOMINAL <= found.high
    assert found.rate <= 2 * NOMINAL
    assert not found.cries_wolf


def test_frames_of_scenes_alarm_no_more_often_where_the_scenes_are_the_blocks() -> None:
    found = outcome(scenes(2400, 2, alike=0.7), labelled_blocks(np.arange(2400) // SCENE))
    assert found.low <= NOMINAL <= found.high
    assert not found.cries_wolf


def test_blocks_that_lie_are_found_out() -> None:
    """Every frame is called a witness of its own, and eight of them are one scene."""
    found = outcome(scenes(900, 3, alike=0.7), labelled_blocks(np.arange(900)))
    assert found.cries_wolf
    assert found.rate > 3 * NOMINAL


@pytest.mark.parametrize("seconds", [1.0, 2.0])
def test_blocks_by_the_clock_that_are_too_short_are_drawn_in_runs_and_keep_the_promise(seconds: float) -> None:
    times = np.arange(1200.0)
    found = outcome(scenes(1200, 4, alike=0.9), timed_blocks(times, seconds), times=times)
    assert not found.cries_wolf
    assert found.rate <= 2 * NOMINAL


def test_windows_are_stretches_of_time_whatever_the_scenes_are_called() -> None:
    """Scenes that are half of what they should be, with names in no order."""
    rows = 900
    times = np.arange(float(rows))
    names = np.random.default_rng(5).permutation(rows)
    found = outcome(scenes(rows, 3, alike=0.7), labelled_blocks(names), times=times)
    assert found.cries_wolf


def test_each_camera_is_asked_for_itself() -> None:
    embeddings, cameras = two_cameras(6)
    found = outcome(embeddings, labelled_blocks(np.arange(600), cameras))
    assert not found.cries_wolf
    assert found.windows >= 40


def test_events_without_a_camera_are_no_camera() -> None:
    """Those that carry none are few and lie far away: what they do is not the rate of anybody's windows."""
    embeddings = np.vstack([scenes(300, 8, alike=0.0), 50 * scenes(120, 9, alike=0.0)])
    cameras = np.repeat(["left", ""], [300, 120])
    found = outcome(embeddings, labelled_blocks(np.arange(420), cameras))
    assert 20 <= found.windows <= 300 // 12, "windows of twelve, of the camera's 300 alone"
    assert not found.cries_wolf


@pytest.mark.parametrize("rows", [10, 45])
def test_too_few_blocks_tell_nothing(rows: int) -> None:
    assert self_test(scenes(rows, 10, alike=0.0), labelled_blocks(np.arange(rows))) is None


def test_the_same_seed_asks_the_same() -> None:
    embeddings, blocks = scenes(200, 11, alike=0.3), labelled_blocks(np.arange(200))
    one, same = (self_test(embeddings, blocks, seed=1) for _ in range(2))
    assert one == same


# A calibration that is wrong is found out, whatever part of the evidence it is of


Spoil = Callable[[str, SliceCalibration], SliceCalibration]


def too_low(calibration: SliceCalibration, *names: str) -> SliceCalibration:
    """The same, its nulls of ``names`` (all, where there are none) those of scores half as large."""
    nulls: Mapping[str, object] = {
        name: replace(
            null, means=tuple(mean / 2 for mean in null.means), sds=tuple(sd / 2 for sd in null.sds)
        ) if not names or name in names else null
        for name, null in calibration.nulls.items()
    }  # fmt: skip
    return replace(calibration, nulls=nulls)


def spoilt(monkeypatch: pytest.MonkeyPatch, spoil: Spoil) -> SelfTest:
    """What the test says of two healthy cameras where every detector's calibration is spoilt so."""

    def built(*args: object, **settings: object) -> Detector:
        detector = build_detector(*args, **settings)  # type: ignore[arg-type]
        return Detector(detector.reference, {name: spoil(name, one) for name, one in detector.slices.items()})

    monkeypatch.setattr(selftest, "build_detector", built)
    embeddings, cameras = two_cameras(20)
    return outcome(embeddings, labelled_blocks(np.arange(600), cameras))


def test_a_right_calibration_is_told_as_right(monkeypatch: pytest.MonkeyPatch) -> None:
    found = spoilt(monkeypatch, lambda _, calibration: calibration)
    assert found.low <= NOMINAL <= found.high
    assert not found.cries_wolf


def test_levels_of_a_slice_that_are_too_low_are_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    found = spoilt(monkeypatch, lambda name, one: one if name == ALL_SLICES else too_low(one))
    assert found.cries_wolf
    assert found.part == "slices"


def test_levels_of_all_slices_together_that_are_too_low_are_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many windows of single slices there are, which are in order."""
    found = spoilt(monkeypatch, lambda name, one: too_low(one) if name == ALL_SLICES else one)
    assert found.cries_wolf
    assert found.part == "all"


def test_neighbours_whose_null_is_too_low_are_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    assert spoilt(monkeypatch, lambda _, one: too_low(one, NOVELTY)).cries_wolf


def test_a_site_whose_frames_resemble_each_other_needs_the_blocks_that_are_estimated() -> None:
    """Its slow camera's scenes last for tens of seconds: with blocks of one, even runs of them are too short."""
    estimated = replay_reference(reference(), plan(BlockRule()), seed=0)
    short = replay_reference(reference(), plan(BlockRule(seconds=1.0)), seed=0)
    assert estimated is not None
    assert short is not None
    assert not estimated.cries_wolf
    assert estimated.rate <= NOMINAL
    assert short.rate > 3 * NOMINAL


def test_of_very_many_slices_others_are_asked_each_time() -> None:
    cameras = np.char.mod("c%03d", np.arange(100)).repeat(30)
    blocks = labelled_blocks(np.arange(3000), cameras)
    asked = [_asked(blocks, np.random.default_rng(seed)) for seed in (0, 1)]
    assert [len(np.unique(blocks.stratum[one])) for one in asked] == [MOST_SLICES, MOST_SLICES]
    assert (asked[0] != asked[1]).any()


# The interval


def looks(groups: list[list[bool]]) -> list[_Look]:
    """Groups of looks, each look at a time of its own."""
    found: list[_Look] = []
    for number, group in enumerate(groups):
        found += [_Look("slices", (number, "left"), len(found) + place, alarm) for place, alarm in enumerate(group)]
    return found


@given(groups=st.lists(st.lists(st.booleans(), min_size=1, max_size=30), min_size=1, max_size=8))
def test_the_interval_holds_the_rate(groups: list[list[bool]]) -> None:
    found = _summary(looks(groups))
    assert 0 <= found.low <= found.rate <= found.high <= 1


def test_alarms_that_come_together_say_less_than_as_many_apart() -> None:
    together = _summary(looks([[True] * 8 + [False] * 12, *[[False] * 20] * 7]))
    apart = _summary(looks([[True] + [False] * 19] * 8))
    assert together.rate == apart.rate
    assert together.low < apart.low
    assert together.high > apart.high


def test_the_interval_of_independent_windows_is_clopper_and_pearsons() -> None:
    found = _summary(looks([[True] * 12 + [False] * 88]))
    expected = stats.binomtest(12, 100).proportion_ci(CONFIDENCE, method="exact")
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high))


def test_alarms_of_all_cameras_at_once_say_less_than_as_many_at_other_times() -> None:
    at_once = [_Look("slices", (0, str(camera)), time, time == 0) for camera in range(8) for time in range(20)]
    apart = [_Look("slices", (0, str(camera)), time, time == camera) for camera in range(8) for time in range(20)]
    assert _summary(at_once).rate == _summary(apart).rate
    assert _summary(at_once).low < _summary(apart).low
