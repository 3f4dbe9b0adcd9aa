"""Cameras of one site have the weather in common: what all of them show in one moment is one witness, not many."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from visiondrift.drift.calibration.blocks import Blocks, common_seconds, labelled_blocks, timed_blocks
from visiondrift.drift.calibration.nulls import draw_windows, run_of, split_blocks
from visiondrift.drift.embedding.detector import EmbeddingEvidence, build_detector
from visiondrift.drift.embedding.moments import Moments, moments_by_slice

CAMERAS, DIMENSION, ROWS = 5, 16, 8


def site(moments: int, rng: np.random.Generator, *, weather: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Embeddings (n, d) of so many moments, ``ROWS`` frames of each camera in each; the moment and camera of each row.

    Half of a frame's variance is its camera's moment's; of that the part ``weather`` is of all cameras.
    """
    n = moments * CAMERAS
    common = np.repeat(rng.normal(size=(moments, DIMENSION)), CAMERAS, axis=0)
    own = np.sqrt(weather) * common + np.sqrt(1 - weather) * rng.normal(size=(n, DIMENSION))
    rows = np.sqrt(0.5) * np.repeat(own, ROWS, axis=0) + np.sqrt(0.5) * rng.normal(size=(n * ROWS, DIMENSION))
    moment = np.repeat(np.arange(moments), CAMERAS * ROWS)
    camera = np.tile(np.repeat([f"c{number}" for number in range(CAMERAS)], ROWS), moments)
    return (4 + rows).astype(np.float32), moment, camera


@pytest.mark.parametrize("weather", [0.0, 0.5, 1.0])
def test_weather_that_all_cameras_share_is_no_drift_of_all_of_them(weather: float) -> None:
    found = []
    for seed in range(3):
        rng = np.random.default_rng(seed)
        rows, moment, camera = site(160, rng, weather=weather)
        detector = build_detector(rows, labelled_blocks(moment, camera), draws=150, novelty=False, seed=seed)
        for _ in range(40):
            rows, moment, camera = site(12, rng, weather=weather)
            y = detector.reference.basis.project(rows)
            look = detector.look("all", _moments(y, moment, camera), None)
            assert isinstance(look, EmbeddingEvidence)
            found.append(look.p)
    # Drawn camera by camera, as if they had nothing in common, half of these were beyond 0.01.
    assert np.mean(np.array(found) <= 0.05) <= 0.125
    assert np.mean(np.array(found) <= 0.01) <= 0.06


def _moments(y: np.ndarray, moment: np.ndarray, camera: np.ndarray) -> dict[str, Moments]:
    numbers = moment + 1000 * np.unique(camera, return_inverse=True)[1]
    return moments_by_slice(y, np.unique(numbers, return_inverse=True)[1], camera)


@st.composite
def blocks(draw: st.DrawFn) -> Blocks:
    """Of one to four slices, each with some of the moments, several blocks of a moment in some slices."""
    count = draw(st.integers(1, 4))
    seconds = draw(st.lists(st.sampled_from([1.0, 2.0, 5.0]), min_size=count, max_size=count))
    spans = draw(st.lists(st.tuples(st.integers(0, 200), st.integers(60, 900)), min_size=count, max_size=count))
    times = np.concatenate([first + np.arange(float(length)) for first, length in spans])
    slices = np.repeat([f"s{number}" for number in range(count)], [length for _, length in spans])
    return timed_blocks(times, np.repeat(seconds, [length for _, length in spans]), slices)


@given(blocks(), st.integers(0, 9))
@settings(deadline=None, max_examples=60)
def test_the_halves_share_no_moment_and_the_smallest_slice_is_halved(found: Blocks, seed: int) -> None:
    split = split_blocks(found, np.random.default_rng(seed))
    fitted = np.isin(np.arange(len(found)), found.of_row[split.fitted])
    assert not set(found.moment[fitted]) & set(found.moment[~fitted])
    each = [np.unique(found.moment[found.stratum == stratum]) for stratum in range(len(found.names))]
    fewest = min(each, key=len)
    assert len(fewest) // 2 == len(set(fewest) & set(found.moment[fitted]))


def test_slices_of_one_block_each_cannot_be_parted() -> None:
    found = timed_blocks(np.arange(50.0), 1.0, np.arange(50).astype(str))
    with pytest.raises(ValueError, match="none of the 50 slices has two independent blocks"):
        split_blocks(found, np.random.default_rng(0))


@given(blocks(), st.integers(0, 9), st.floats(0.1, 0.9))
@settings(deadline=None, max_examples=60)
def test_windows_of_all_slices_are_whole_moments_but_for_the_last(found: Blocks, seed: int, share: float) -> None:
    size, rng = max(1, round(share * len(found))), np.random.default_rng(seed)
    draw = draw_windows("all", np.arange(len(found)), size, blocks=found, draws=5, rng=rng, in_runs=seed % 2 == 0)
    whole = np.bincount(found.moment)
    for window in draw.windows:
        assert len(set(window)) == size
        taken = np.bincount(found.moment[window], minlength=len(whole))
        assert ((taken > 0) & (taken < whole)).sum() <= 1


def test_windows_of_one_slice_are_drawn_by_its_own_blocks() -> None:
    found = timed_blocks(np.arange(400.0), np.repeat([1.0, 10.0], 200), np.repeat(["a", "b"], 200))
    own = np.flatnonzero(found.stratum == 0)
    draw = draw_windows("a", own, 33, blocks=found, draws=20, rng=np.random.default_rng(0), in_runs=True)
    runs = [1 + int((np.diff(np.sort(window)) > 1).sum()) for window in draw.windows]
    assert max(runs) <= 7  # six blocks a run, of 200; beside one another two of them are one
    assert np.mean(runs) > 3
    assert np.mean([len(set(found.moment[window])) for window in draw.windows]) > 5


@given(blocks(), st.integers(0, 9))
@settings(deadline=None, max_examples=60)
def test_a_window_of_a_run_follows_one_another_in_time(found: Blocks, seed: int) -> None:
    own = np.flatnonzero(found.stratum == 0)
    run = run_of(len(own), found)
    size = max(1, run // 2)
    draw = draw_windows(found.names[0], own, size, blocks=found, draws=5, rng=np.random.default_rng(seed), in_runs=True)
    for window in draw.windows:
        breaks = int((np.diff(np.sort(window)) > 1).sum())
        assert breaks <= 1  # it is the end of one run and the beginning of another, or one piece


@pytest.mark.parametrize("seed", range(4))
def test_a_camera_that_came_late_is_halved_as_others_are(seed: int) -> None:
    """The pieces of which four weeks are parted are longer than its whole time."""
    old, new = np.arange(4000.0) * 600, 3990 * 600 + np.arange(1000.0) * 6
    times, slices = np.concatenate([old, new]), np.repeat(["old", "new"], [4000, 1000])
    found = timed_blocks(times, np.where(slices == "old", 600.0, 60.0), slices)
    split = split_blocks(found, np.random.default_rng(seed))
    held = np.bincount(split.blocks.stratum) / np.bincount(found.stratum)
    np.testing.assert_allclose(held, 0.5, atol=0.11)


def test_every_block_is_drawn_as_often_as_another() -> None:
    found, rng = timed_blocks(np.arange(2000.0), 1.0), np.random.default_rng(0)
    draw = draw_windows("all", np.arange(2000), 3, blocks=found, draws=4000, rng=rng, in_runs=True)
    drawn = np.bincount(draw.windows.ravel(), minlength=2000)
    assert drawn.max() <= stats.poisson.isf(1e-6, drawn.mean() * 3)  # a block comes in windows of three


def test_windows_of_cameras_that_take_turns_are_of_both() -> None:
    times = np.arange(4000.0)
    found = timed_blocks(times, 1.0, np.where(times % 2 == 0, "even", "odd"))
    draw = draw_windows("all", np.arange(4000), 10, blocks=found, draws=50, rng=np.random.default_rng(0), in_runs=True)
    assert (np.abs(found.stratum[draw.windows].mean(axis=1) - 0.5) <= 0.1).all()


def test_scenes_and_photographs_do_not_follow_one_another() -> None:
    found = replace(labelled_blocks(np.arange(4000)), adjoining=True)
    assert run_of(2000, found) == 1
    assert run_of(2000, timed_blocks(np.arange(4000.0), 1.0)) == 66
    assert run_of(2000, timed_blocks(np.arange(4000.0), 1.0).of_rows(np.arange(3000))) == 66


def test_blocks_of_one_time_are_of_one_moment_as_long_as_the_longest_block() -> None:
    times = np.tile(np.arange(400.0), 2)
    found = timed_blocks(times, np.repeat([1.0, 10.0], 400), np.repeat(["a", "b"], 400))
    assert len(np.unique(found.moment)) == 40
    np.testing.assert_array_equal(found.moment[found.of_row], np.tile(np.arange(400) // 10, 2))
    longer = timed_blocks(times, np.repeat([1.0, 10.0], 400), np.repeat(["a", "b"], 400), together=50.0)
    np.testing.assert_array_equal(longer.moment[longer.of_row], np.tile(np.arange(400) // 50, 2))


def test_a_slice_of_few_blocks_does_not_make_moments_of_hours() -> None:
    times = np.tile(np.arange(400.0), 2)
    found = timed_blocks(times, np.repeat([1.0, 100.0], 400), np.repeat(["a", "b"], 400))
    assert len(np.unique(found.moment)) == 400


def weather(seed: int, *, share: float, lasts: int, cameras: int = 8) -> list[tuple[np.ndarray, np.ndarray]]:
    """Times and series of cameras, a frame a second; a ``share`` of each one's variance is common for ``lasts``."""
    rng = np.random.default_rng(seed)
    common = rng.normal(size=(6000 // lasts + 1, 3))[np.arange(6000) // lasts]
    return [
        (np.arange(6000.0), np.sqrt(share) * common + np.sqrt(1 - share) * rng.normal(size=(6000, 3)))
        for _ in range(cameras)
    ]


def test_what_hardly_shows_in_one_camera_is_seen_to_last_in_all_of_them() -> None:
    assert 60 <= common_seconds(weather(0, share=0.05, lasts=60)) <= 500


@pytest.mark.parametrize("seed", range(5))
def test_cameras_with_nothing_in_common_need_no_moments(seed: int) -> None:
    assert common_seconds(weather(seed, share=0.0, lasts=60)) <= 10


def test_no_time_and_no_frames_are_no_moment() -> None:
    assert common_seconds([(np.zeros(9), np.ones((9, 2))), (np.zeros(3), np.ones((3, 2)))]) == 0.0
    assert common_seconds([(np.arange(2.0), np.ones((2, 1))), (np.arange(2.0), np.ones((2, 1)))]) == 0.0
