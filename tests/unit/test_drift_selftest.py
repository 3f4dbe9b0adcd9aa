"""The self-test: near the nominal rate where blocks are what they say, and an alarm of its own where they are not."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from visiondrift.drift.calibration.blocks import Blocks, labelled_blocks, timed_blocks
from visiondrift.drift.selftest import CONFIDENCE, NOMINAL, SelfTest, _summary, self_test

DIMENSION = 8
SCENE = 8


def scenes(rows: int, seed: int, *, alike: float) -> np.ndarray:
    """Frames in scenes of eight, which share so much of their variance."""
    rng = np.random.default_rng(seed)
    common = rng.normal(size=(rows // SCENE + 1, DIMENSION)).repeat(SCENE, axis=0)[:rows]
    return np.sqrt(alike) * common + np.sqrt(1 - alike) * rng.normal(size=(rows, DIMENSION))


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


def test_blocks_by_the_clock_that_are_too_short_are_found_out_too() -> None:
    times = np.arange(1200.0)
    found = outcome(scenes(1200, 4, alike=0.9), timed_blocks(times, 2.0), times=times)
    assert found.cries_wolf


def test_windows_are_stretches_of_time_whatever_the_scenes_are_called() -> None:
    """Scenes that are half of what they should be, with names in no order."""
    rows = 900
    times = np.arange(float(rows))
    names = np.random.default_rng(5).permutation(rows)
    found = outcome(scenes(rows, 3, alike=0.7), labelled_blocks(names), times=times)
    assert found.cries_wolf


def test_each_camera_is_asked_for_itself() -> None:
    embeddings = np.vstack([scenes(300, 6, alike=0.0), 5 + scenes(300, 7, alike=0.0)])
    cameras = np.repeat(["left", "right"], 300)
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


@given(groups=st.lists(st.lists(st.booleans(), min_size=1, max_size=30), min_size=1, max_size=8))
def test_the_interval_holds_the_rate(groups: list[list[bool]]) -> None:
    found = _summary(groups, sum(map(len, groups)))
    assert 0 <= found.low <= found.rate <= found.high <= 1


def test_alarms_that_come_together_say_less_than_as_many_apart() -> None:
    together = _summary([[True] * 8 + [False] * 12, *[[False] * 20] * 7], 160)
    apart = _summary([[True] + [False] * 19] * 8, 160)
    assert together.rate == apart.rate
    assert together.low < apart.low
    assert together.high > apart.high


def test_the_interval_of_independent_windows_is_clopper_and_pearsons() -> None:
    found = _summary([[True] * 12 + [False] * 88], 100)
    expected = stats.binomtest(12, 100).proportion_ci(CONFIDENCE, method="exact")
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high))
