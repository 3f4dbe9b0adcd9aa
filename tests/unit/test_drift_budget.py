"""Budgets, several slices at once, memories, what a window can see, other signals, and the hour of day."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from visiondrift.drift.calibration.blocks import labelled_blocks, timed_blocks
from visiondrift.drift.calibration.budget import DAY, Budget, discoveries, holm, pages_per_month
from visiondrift.drift.calibration.nulls import Plan, Shortage, calibrate
from visiondrift.drift.calibration.row_scores import RowFamily, Rows, Score
from visiondrift.drift.embedding.detector import Detector, EmbeddingEvidence, build_detector
from visiondrift.drift.embedding.fit import WindowRows
from visiondrift.drift.embedding.hours import fit_day, fit_spread
from visiondrift.drift.embedding.memory import RATES, Memory, accumulated
from visiondrift.drift.embedding.moments import Moments, block_moments, moments_of
from visiondrift.drift.embedding.sensitivity import Sensitivity, sensitivity

sys.path.insert(0, str(Path(__file__).parents[1] / "bench"))
from worlds import World, cone


def test_budget_is_spent_over_all_looks() -> None:
    """One a week, every five minutes, twenty looks: the level of a look adds up to one a week again."""
    level = Budget(1, 7 * DAY).per_look(300, 20)
    assert level == pytest.approx(1 / (2016 * 20))
    assert pages_per_month(level, 300, 20) == pytest.approx(30 / 7)


def test_holm_and_discoveries_on_a_worked_example() -> None:
    """Holm stops at the first that fails; Benjamini and Hochberg go on to the last that passes."""
    p = {"a": 0.001, "b": 0.02, "c": 0.04, "d": 0.5}
    assert holm(p, 0.05) == {"a"}
    assert discoveries(p, 0.1) == {"a", "b", "c"}
    assert holm({}, 0.05) == discoveries({}) == frozenset()


CAMERAS = {"camera=a": 11, "camera=b": 12}


def site(rng: np.random.Generator, shares: dict[str, int]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rows, blocks and cameras of a site; the cameras see different worlds."""
    drawn = [(cone(24, 0.3, seed=CAMERAS[name]).draw(rows, rng), name) for name, rows in shares.items()]
    rows = np.vstack([x for (x, _), _ in drawn])
    cameras = np.concatenate([np.full(len(x), name) for (x, _), name in drawn])
    of_row = np.concatenate([of + 10_000 * place for place, ((_, of), _) in enumerate(drawn)])
    return rows, of_row, cameras


@pytest.fixture(scope="module")
def two_cameras() -> Detector:
    """A reference of both, three quarters of it from one."""
    rows, of_row, cameras = site(np.random.default_rng(0), {"camera=a": 4500, "camera=b": 1500})
    return build_detector(rows, labelled_blocks(of_row, cameras), splits=3, draws=150)


def by_camera(detector: Detector, rows: np.ndarray, of_row: np.ndarray, cameras: np.ndarray) -> dict[str, Moments]:
    y = detector.reference.basis.project(rows)
    found = {}
    for name in np.unique(cameras):
        own = cameras == name
        of_own = np.unique(of_row[own], return_inverse=True)[1]
        found[str(name)] = block_moments(y[own], of_own, of_own.max() + 1).together()
    return found


def test_more_traffic_from_one_camera_is_no_drift(two_cameras: Detector) -> None:
    """The reference has three rows of one camera for each of the other, the windows one for three; p stays uniform."""
    rng = np.random.default_rng(1)
    p = []
    for _ in range(60):
        window = by_camera(two_cameras, *site(rng, {"camera=a": 80, "camera=b": 240}))
        look = two_cameras.look("all", window, None)
        assert not isinstance(look, Shortage)
        assert look is not None
        p.append(look.p)
    assert np.mean(np.array(p) < 0.05) <= 0.15
    assert stats.kstest(p, "uniform", alternative="greater").pvalue > 0.001


def test_a_camera_that_shows_another_world_is_named(two_cameras: Detector) -> None:
    """Under Holm's rule the drifting camera pages, and the other does not."""
    rng = np.random.default_rng(2)
    x, of_row = cone(24, 0.3, seed=12).shifted("mean_pc", 5.0).draw(300, rng)
    y, of_y = cone(24, 0.3, seed=11).draw(300, rng)
    moments = by_camera(
        two_cameras,
        np.vstack([x, y]),
        np.concatenate([of_row, of_y + 1000]),
        np.repeat(["camera=b", "camera=a"], 300),
    )
    p = {}
    for name, own in moments.items():
        look = two_cameras.look(name, {name: own}, None)
        assert look is not None
        assert not isinstance(look, Shortage)
        p[name] = look.p
    assert holm(p, 1e-3) == {"camera=b"}


@pytest.fixture(scope="module")
def one_camera() -> tuple[Detector, World, np.ndarray, np.ndarray]:
    """A reference of one camera, 5,000 rows."""
    world = cone(32, 0.2, seed=5)
    x, of_row = world.draw(5000, np.random.default_rng(3))
    return build_detector(x, labelled_blocks(of_row), splits=3, draws=150), world, x, of_row


def test_memory_finds_what_no_tick_shows(one_camera: tuple[Detector, World, np.ndarray, np.ndarray]) -> None:
    """After forty ticks of a small shift a memory is surprised to one in 1,000, the median tick not to one in 20."""
    detector, world, _, _ = one_camera
    rng = np.random.default_rng(4)
    memory, single = Memory(), []
    for _ in range(40):
        x, of_row = world.shifted("mean_pc", 1.5).draw(60, rng)
        y = detector.reference.basis.project(x)
        tick = {"": block_moments(y, of_row, of_row[-1] + 1).together()}
        memory = memory.after(tick)
        look = detector.look("all", tick, WindowRows(y, of_row))
        assert look is None or not isinstance(look, Shortage)
        single.append(1.0 if look is None else look.p)
    found = accumulated(detector, "all", memory)
    assert found is not None
    assert found.rate < 1
    assert found.p < 1e-3
    assert np.median(single) > 0.05


def test_what_lasts_is_more_than_one_tick() -> None:
    tick = Moments(5.0, np.ones(2), np.ones(2))
    assert set(Memory().after({"a": tick}).lasting.kept) == set(RATES) - {1.0}


def test_silent_slice_is_remembered_as_it_was() -> None:
    """A tick in which only one of two slices sends leaves the other's memory alone."""
    tick = Moments(5.0, np.ones(2), np.ones(2))
    memory = Memory().after({"a": tick, "b": tick}).after({"a": tick})
    for rate in RATES:
        assert memory.kept[rate]["b"] is tick
        assert memory.kept[rate]["a"].count == pytest.approx(5.0)


def test_detectable_move_shrinks_with_the_window_and_is_detected(
    one_camera: tuple[Detector, World, np.ndarray, np.ndarray],
) -> None:
    """The move said to be seen 80 % of the time falls with the window's size and grows with the threshold."""
    detector, _, x, of_row = one_camera
    blocks = labelled_blocks(of_row)
    seen = sensitivity(x, blocks, detector.slices, move="mean")["all"]
    small, large, strict = seen.smallest(5, 2.0), seen.smallest(40, 2.0), seen.smallest(40, 4.0)
    assert small is not None
    assert large is not None
    assert strict is not None
    assert large < strict < small * 2
    assert large < small
    assert Sensitivity.from_dict(json.loads(json.dumps(seen.to_dict()))) == seen
    assert seen.smallest(40, 1e9) is None


def test_any_score_of_rows_is_calibrated_by_the_same_draws() -> None:
    """A drop of mean confidence, with confidences correlated within scenes: its p holds on fresh windows."""
    rng = np.random.default_rng(6)

    def confidences(rows: int) -> tuple[np.ndarray, np.ndarray]:
        of_row = np.arange(rows) // 10
        return 0.8 + 0.1 * (rng.normal(size=of_row[-1] + 1)[of_row] + rng.normal(size=rows)), of_row

    values, of_row = confidences(6000)

    def prepare(reference: Rows) -> Score:
        usual = values[reference].mean()
        return lambda window: (float(usual - values[window].mean()),)

    slices = calibrate([RowFamily(["confidence_drop"], prepare)], labelled_blocks(of_row), Plan(splits=6, draws=120))
    fresh = np.array([values.mean() - confidences(200)[0].mean() for _ in range(300)])
    p = np.array([slices["all"].p("confidence_drop", float(drop), 20) for drop in fresh])
    assert np.mean(p < 0.05) <= 0.08
    assert 0.05 < np.mean(p < 0.2) < 0.3


TINT = 0.3


def by_hour(world: World, times: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Embeddings of ``world`` that move along its leading axis with the hour of day."""
    x, _ = world.draw(len(times), rng)
    along = world.root[:, 0] / np.linalg.norm(world.root[:, 0])
    return (x + TINT * np.sin(2 * np.pi * times / DAY)[:, None] * along).astype(np.float32)


def test_curve_through_the_day_is_taken_off() -> None:
    """What is left of a daily swing of 0.3 is a tenth of it at most."""
    world, rng = cone(16, 0.0, seed=7), np.random.default_rng(8)
    times = np.sort(rng.uniform(0, 10 * DAY, 8000))
    x, slices = by_hour(world, times, rng), np.full(8000, "")
    left = fit_day(x, times, slices, timed_blocks(times, 1800).of_row).without(x, times, slices)
    wave = np.sin(2 * np.pi * times / DAY)
    along = world.root[:, 0] / np.linalg.norm(world.root[:, 0])
    swing = [2 * float(np.mean(wave * (rows @ along))) for rows in (x, left)]
    assert swing[0] == pytest.approx(TINT, rel=0.1)
    assert abs(swing[1]) < TINT / 10


def test_two_days_are_too_few_to_know_the_day() -> None:
    """A slice that spans less than three days keeps its embeddings as they are."""
    times = np.linspace(0, 2 * DAY, 500)
    x, slices = by_hour(cone(16), times, np.random.default_rng(9)), np.full(500, "")
    np.testing.assert_array_equal(fit_day(x, times, slices, np.arange(500)).without(x, times, slices), x)


def test_three_days_are_enough_though_their_frames_are_a_little_less_apart() -> None:
    times = np.sort(np.random.default_rng(1).uniform(0, 3 * DAY, 500))
    assert fit_day(np.zeros((500, 2)), times, np.full(500, ""), np.arange(500)).known[""].all()


def hours_of(day: int, first: float, last: float, count: int) -> np.ndarray:
    return day * DAY + 3600 * np.linspace(first, last, count, endpoint=False)


def test_two_stretches_days_apart_do_not_know_the_day() -> None:
    """An hour that was seen twice says nothing of what the hour does, however far apart that was."""
    times = np.concatenate([hours_of(0, 9, 13, 400), hours_of(3, 9, 13, 400)])
    x, slices = by_hour(cone(16), times, np.random.default_rng(9)), np.full(800, "")
    np.testing.assert_array_equal(fit_day(x, times, slices, np.arange(800)).without(x, times, slices), x)


def test_beyond_the_hours_that_the_reference_knows_the_curve_fades_to_its_mean() -> None:
    """Of a camera that runs from 8 to 18; in between the swing is taken off."""
    world, rng = cone(16, 0.0, seed=7), np.random.default_rng(8)
    times = np.concatenate([hours_of(day, 8, 18, 800) for day in range(6)])
    x, slices = by_hour(world, times, rng), np.full(len(times), "")
    curves = fit_day(x, times, slices, timed_blocks(times, 1800).of_row)
    assert np.flatnonzero(curves.known[""]).tolist() == list(range(8, 18))

    def curve(hour: float) -> np.ndarray:
        return -curves.without(np.zeros((1, 16)), np.array([20 * DAY + 3600 * hour]), np.array([""]))[0]

    along = world.root[:, 0] / np.linalg.norm(world.root[:, 0])
    for hour in (8.5, 11, 14, 17.5):
        middle = TINT * np.sin(2 * np.pi * np.array([8.5, 11, 14, 17.5]) / 24).mean()
        own = np.mean([curve(one) @ along for one in (8.5, 11, 14, 17.5)])
        assert curve(hour) @ along - own == pytest.approx(TINT * np.sin(2 * np.pi * hour / 24) - middle, abs=TINT / 6)
    usual = -curves.without(np.zeros((len(times), 16)), times, slices).mean(axis=0)
    for hour, end, left in ((18.5, 18 - 1e-6, np.exp(-0.5)), (7, 8, np.exp(-1)), (0, 18 - 1e-6, 0), (2, 8, 0)):
        np.testing.assert_allclose(curve(hour) - usual, left * (curve(end) - usual), atol=TINT / 50)


def by_night_alike(x: np.ndarray, times: np.ndarray) -> np.ndarray:
    """Rows that lie half as far from the origin around midnight as around noon."""
    return np.asarray(x * (0.75 - 0.25 * np.cos(2 * np.pi * times / DAY))[:, None], dtype=np.float32)


def test_pictures_that_are_more_alike_by_night_are_as_far_apart_as_by_day() -> None:
    """Of a variance that is four times as large at noon less than a fifth is left, in every direction."""
    rng = np.random.default_rng(8)
    times = np.sort(rng.uniform(0, 6 * DAY, 12_000))
    scales = np.linspace(1, 3, 8)
    x, slices = by_night_alike(rng.normal(size=(12_000, 8)) * scales, times) + 5, np.full(12_000, "")
    of_row = timed_blocks(times, 1800).of_row
    evened = fit_spread(x, scales**2, times, slices, of_row).evened(x, times, slices)
    hour = times / 3600 % 24
    noon, night = (hour > 10) & (hour < 14), (hour > 22) | (hour < 2)
    assert (x[noon].var(axis=0) / x[night].var(axis=0)).min() > 3
    np.testing.assert_allclose(evened[noon].var(axis=0) / evened[night].var(axis=0), 1, atol=0.2)
    np.testing.assert_allclose(evened.mean(axis=0), 5, atol=0.1)


def test_noise_that_grows_by_night_does_not_hide_that_there_is_less_to_see() -> None:
    """The leading axes vary by four times as much at noon, the others by half: each by its own curve."""
    rng = np.random.default_rng(8)
    times = np.sort(rng.uniform(0, 6 * DAY, 12_000))
    scales = np.repeat([3.0, 1.0], [8, 56])
    drawn = rng.normal(size=(12_000, 64)) * scales
    louder = (1 + 0.2 * np.cos(2 * np.pi * times / DAY))[:, None]
    x = np.hstack([by_night_alike(drawn[:, :8], times), drawn[:, 8:] * louder]).astype(np.float32)
    slices, of_row = np.full(12_000, ""), timed_blocks(times, 1800).of_row
    evened = fit_spread(x, scales**2, times, slices, of_row).evened(x, times, slices)
    hour = times / 3600 % 24
    noon, night = (hour > 10) & (hour < 14), (hour > 22) | (hour < 2)
    ratio = evened[noon].var(axis=0) / evened[night].var(axis=0)
    assert ratio[:8].mean() == pytest.approx(1, abs=0.1)
    assert ratio[8:].mean() == pytest.approx(1, abs=0.1)


def test_two_days_are_too_few_to_know_how_alike_pictures_are_by_night() -> None:
    rng = np.random.default_rng(8)
    times, slices = np.sort(rng.uniform(0, 2 * DAY, 1000)), np.full(1000, "")
    x = by_night_alike(rng.normal(size=(1000, 8)), times)
    spread = fit_spread(x, np.ones(8), times, slices, timed_blocks(times, 1800).of_row)
    assert spread.evened(x, times, slices) is x


def test_a_change_by_night_shows_where_nights_are_known_to_be_alike() -> None:
    """A move that is small beside what pictures differ by in a day, and large beside what they do by night."""
    rng = np.random.default_rng(9)
    times = np.sort(rng.uniform(0, 8 * DAY, 6000))
    x = by_night_alike(rng.normal(size=(6000, 8)), times)
    detector = build_detector(x, timed_blocks(times, 1800), times=times, splits=2, draws=100, novelty=False)
    surprises = []
    for moved in (0.0, 0.35):
        night = np.sort(rng.uniform(20 * DAY - 7200, 20 * DAY + 7200, 160))
        rows = by_night_alike(rng.normal(size=(160, 8)), night) + np.float32(moved / np.sqrt(8))
        coordinates = detector.reference.coordinates(rows, night, np.full(160, ""))
        sizes = np.unique(timed_blocks(night, 1800).of_row, return_counts=True)[1]
        look = detector.look("all", {"": moments_of(coordinates, sizes)}, None)
        assert isinstance(look, EmbeddingEvidence)
        surprises.append(look.surprise)
    assert surprises[0] < 2
    assert surprises[1] > 5


def test_healthy_nights_do_not_alarm_where_the_reference_knows_nights() -> None:
    """Of ten windows of two night hours, two at most score below 5 %."""
    world, rng = cone(16, 0.0, seed=7), np.random.default_rng(8)
    times = np.sort(rng.uniform(0, 10 * DAY, 8000))
    blocks = timed_blocks(times, 1800)
    detector = build_detector(by_hour(world, times, rng), blocks, times=times, splits=2, draws=100, novelty=False)
    p = []
    for day in range(10, 20):
        night = np.sort(rng.uniform(day * DAY + 64_800, day * DAY + 72_000, 200))
        of_row = timed_blocks(night, 1800).of_row
        y = detector.reference.coordinates(by_hour(world, night, rng), night, np.full(200, ""))
        look = detector.look("all", {"": block_moments(y, of_row, of_row[-1] + 1).together()}, None)
        assert look is not None
        assert not isinstance(look, Shortage)
        p.append(look.p)
    assert (np.array(p) < 0.05).sum() <= 2
