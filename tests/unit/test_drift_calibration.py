"""The embedding detector's parts: tails, moments, blocks, nulls; and that its p means what a p means."""

import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray
from scipy import stats

from visiondrift.drift.calibration.blocks import block_seconds, labelled_blocks, timed_blocks
from visiondrift.drift.calibration.nulls import (
    Plan,
    Shortage,
    SliceCalibration,
    calibrate,
    combined_score,
    split_of,
    stretch,
    window_sizes,
)
from visiondrift.drift.calibration.row_scores import RowFamily
from visiondrift.drift.calibration.tails import (
    Null,
    Tail,
    cauchy_combination,
    fit_null,
    quantile_above,
    surprise,
    upper_tail,
)
from visiondrift.drift.embedding.bank import STATISTICS, bank, centre_of, deviation, deviations
from visiondrift.drift.embedding.basis import fit_basis
from visiondrift.drift.embedding.detector import Detector, EmbeddingEvidence, build_detector
from visiondrift.drift.embedding.fit import WindowRows, as_of_fewer, held_deviations
from visiondrift.drift.embedding.moments import Moments, block_moments, faded, moments_of
from visiondrift.drift.embedding.novelty import share_above, share_below, thinned

sys.path.insert(0, str(Path(__file__).parents[1] / "bench"))
from worlds import World, cone, isotropic


@pytest.mark.parametrize("skew", [-1.5, -0.2, 0.0, 0.1, 1.0, 2.0, 4.0])
def test_tail_is_scipys_pearson3(skew: float) -> None:
    """The upper tail equals scipy's, from the middle to one in ten million."""
    z = np.linspace(-1.5, 6, 40)
    expected = stats.pearson3.sf(z, skew)
    seen = expected > 1e-12
    np.testing.assert_allclose(upper_tail(z, 0.0, 1.0, skew)[seen], expected[seen], rtol=1e-6)


@given(st.floats(-0.5, 4), st.floats(1e-6, 0.9))
@settings(max_examples=50, deadline=None)
def test_quantile_undoes_tail(skew: float, alpha: float) -> None:
    """The threshold at alpha is reached with probability alpha."""
    assert upper_tail(quantile_above(alpha, 3.0, 2.0, skew), 3.0, 2.0, skew) == pytest.approx(alpha, rel=1e-3)


@given(st.floats(1e-9, 0.99), st.floats(5.0, 1e4), st.floats(-0.5, 3))
def test_a_tail_of_few_witnesses_is_the_predictive_one(alpha: float, witnesses: float, skew: float) -> None:
    """The chance is scipy's Pareto of the second kind of the one without doubt, and a threshold undoes it."""
    sure = Tail(3.0, 2.0, skew)
    tail = replace(sure, witnesses=witnesses)
    score = sure.threshold(alpha)
    exponent = -np.log(sure.p(score))
    assert tail.p(score) == pytest.approx(stats.lomax.sf(exponent, witnesses, scale=witnesses), rel=1e-6)
    assert tail.p(score) >= sure.p(score)
    assert tail.p(tail.threshold(alpha)) == pytest.approx(alpha, rel=1e-2)


def test_a_threshold_that_no_witnesses_could_tell_is_far_out_and_finite() -> None:
    assert np.isfinite(Tail(0.0, 1.0, 0.0, witnesses=3.0).threshold(1e-12))


def test_what_is_no_surprise_at_all_is_shown_without_a_sign() -> None:
    assert f"{surprise(1.0):.2f}" == "0.00"
    assert surprise(0.01) == pytest.approx(2)


def test_cauchy_of_equal_p_is_that_p_however_small() -> None:
    """Nine times the same p is no more than once, down to one in a trillion."""
    for p in (0.5, 1e-3, 1e-8, 1e-12):
        assert float(cauchy_combination(np.full(9, p))) == pytest.approx(p, rel=1e-3)


def test_eight_scores_that_are_calmer_than_usual_do_not_hide_a_ninth_that_is_not() -> None:
    """One in thirty thousand among nine is one in three thousand or so, however calm the other eight are."""
    normal = Null((3.0,), (0.0,), (1.0,), (0.0,))
    usual, calm = (combined_score(np.array([[4.0, *[z] * 8]]), [normal] * 9, 3.0)[0] for z in (0.0, -8.0))
    assert usual == pytest.approx(-np.log10(9 * stats.norm.sf(4.0)), abs=0.01)
    assert calm == pytest.approx(usual, abs=0.01)


def test_a_null_has_a_size_of_its_own_where_a_score_looks_at_no_more_rows() -> None:
    """Between two sizes it would lie below its corner: 190 rows are looked at here, which 19 blocks of ten have."""
    family = RowFamily(["rows"], lambda _: lambda window: [float(min(len(window), 190))])
    blocks = labelled_blocks(np.arange(1600) // 10)
    found, straight = (
        calibrate([family], blocks, Plan(most_rows=most, splits=1, draws=20))["all"].nulls["rows"]
        for most in (190, None)
    )
    assert found.at(19).mean == pytest.approx(190)
    assert straight.at(19).mean < 175


def test_windows_of_more_blocks_than_the_largest_are_not_drawn() -> None:
    sizes = window_sizes(400, (5, 90), largest=60)
    assert 5 in sizes
    assert sizes[-1] == 60
    assert window_sizes(400, (5, 90))[-1] == 200


def test_many_slices_are_drawn_at_fewer_sizes_and_judged_at_all_of_them() -> None:
    """Twenty-one slices have half the sizes that two have, from the smallest to the largest."""
    family = RowFamily(["mean"], lambda _: lambda window: [float(np.mean(window % 10))])
    few, many = (
        calibrate(
            [family], labelled_blocks(np.arange(n * 600) // 6, np.arange(n * 600) // 600), Plan(splits=1, draws=10)
        )
        for n in (2, 21)
    )
    assert few["1"].nulls["mean"].sizes == (3, 5, 9, 15, 25)
    assert many["1"].nulls["mean"].sizes == (3, 9, 25)


def test_null_is_the_same_after_json() -> None:
    """Three numbers a size survive JSON."""
    null = fit_null((4.0, 16.0), [np.random.default_rng(0).gamma(2, size=(500, 1)) / n for n in (4, 16)])[0]
    calibration = SliceCalibration(90, 45, 12.5, {"t_lw": null})
    assert SliceCalibration.from_dict(json.loads(json.dumps(calibration.to_dict()))) == calibration


def test_null_between_sizes_follows_the_power_law() -> None:
    """A null that falls as 1/n between two sizes is that at the sizes in between, and held at the ends."""
    null = Null((4.0, 64.0), (1 / 4, 1 / 64), (0.1 / 4, 0.1 / 64), (1.0, 1.0))
    assert null.at(16) == Tail(pytest.approx(1 / 16), pytest.approx(0.1 / 16), 1.0)
    assert null.at(1000) == null.at(64)


rows = arrays(np.float32, st.tuples(st.integers(1, 30), st.just(3)), elements=st.floats(-10, 10, width=32))


@given(rows, st.integers(1, 6), st.integers(0, 99))
@settings(max_examples=60, deadline=None)
def test_moments_add_up_to_those_of_all_rows(values: np.ndarray, blocks: int, seed: int) -> None:
    """Blocks, summed in any grouping, are the moments of the rows together."""
    of_row = np.random.default_rng(seed).integers(0, blocks, len(values))
    parts = block_moments(values, of_row, blocks)
    whole, direct = sum(parts.each(), start=Moments.none(3)), moments_of(values)
    for found in (whole, parts.together()):
        assert found.count == direct.count
        np.testing.assert_allclose(found.total, direct.total, rtol=1e-9, atol=1e-9)
        np.testing.assert_allclose(found.squares, direct.squares, rtol=1e-9, atol=1e-9)
    assert whole.effective_blocks == blocks


def test_deviations_add_and_equal_the_direct_ones() -> None:
    """A window's statistics from summed block deviations are those computed from its rows."""
    rng = np.random.default_rng(1)
    values, of_row = rng.normal(size=(300, 20)), np.repeat(np.arange(30), 10)
    basis = fit_basis(values, of_row, np.zeros(300, dtype=np.intp))
    parts = block_moments(basis.project(values), of_row, 30)
    centre = centre_of(parts)
    window = np.zeros((1, 30))
    window[0, [2, 5, 7]] = 1
    summed = bank(basis, deviations(parts, centre).summed(window))[0]
    y = basis.project(values[np.isin(of_row, [2, 5, 7])]).astype(np.float64)
    moved, varied = y.mean(axis=0) - centre.mean, ((y - centre.mean) ** 2).mean(axis=0) - centre.variance
    np.testing.assert_allclose(bank(basis, deviation(moments_of(y), centre))[0], summed, rtol=1e-6)
    assert summed[STATISTICS.index("t_lw")] == pytest.approx((moved**2 / basis.variances).sum(), rel=1e-6)
    assert summed[STATISTICS.index("t_8")] == pytest.approx((moved**2 / basis.variances)[:8].sum(), rel=1e-6)
    assert summed[STATISTICS.index("mah")] == pytest.approx(abs((varied / basis.variances).sum()), rel=1e-5)


def test_shrinkage_of_single_rows_is_ledoit_and_wolfs() -> None:
    """With every row its own block the variances are scikit-learn's."""
    covariance = pytest.importorskip("sklearn.covariance")
    values = np.random.default_rng(2).normal(size=(60, 30)) * np.linspace(0.2, 2, 30)
    basis = fit_basis(values, np.arange(60), np.zeros(60, dtype=np.intp))
    expected = np.linalg.eigvalsh(covariance.ledoit_wolf(values)[0])[::-1]
    np.testing.assert_allclose(basis.variances, expected, rtol=1e-6)


def test_fading_memory_is_worth_what_kish_says() -> None:
    """A memory that fades by a twentieth a tick is worth 39 ticks, and a silent tick changes nothing."""
    memory, tick = Moments.none(2), Moments(5.0, np.ones(2), np.ones(2))
    for _ in range(400):
        memory = faded(memory, tick, 0.05)
    assert memory.effective_blocks == pytest.approx(39, rel=1e-3)
    assert faded(memory, Moments.none(2), 0.05) is memory


def stream(scene_seconds: float, rng: np.random.Generator, frames: int = 12_000) -> tuple[np.ndarray, np.ndarray]:
    """A frame a second whose scenes last so long, each with its own mean."""
    times = np.arange(frames, dtype=np.float64)
    scene = np.floor(times / scene_seconds).astype(int)
    common = rng.normal(size=(scene[-1] + 1, 6))[scene]
    return times, np.sqrt(0.6) * common + np.sqrt(0.4) * rng.normal(size=(frames, 6))


@pytest.mark.parametrize("scene_seconds", [10, 40, 160])
def test_block_length_is_a_few_scenes(scene_seconds: int) -> None:
    """One to six scene lengths, whatever the scene length is."""
    length = block_seconds(*stream(scene_seconds, np.random.default_rng(scene_seconds)))
    assert scene_seconds <= length <= 6 * scene_seconds


def test_independent_frames_need_no_blocks() -> None:
    """Without autocorrelation a block is a few frames, as few as the limit on their number allows."""
    times, _ = stream(10, np.random.default_rng(0))
    assert block_seconds(times, np.random.default_rng(1).normal(size=(len(times), 6))) < 10


def test_block_length_sees_through_bursts() -> None:
    """Clips of eight frames, ten minutes apart, are blocks of less than two clips."""
    rng = np.random.default_rng(3)
    times = np.repeat(np.arange(600) * 600.0, 8) + np.tile(np.arange(8.0), 600)
    values = np.repeat(rng.normal(size=(600, 6)), 8, axis=0) + 0.7 * rng.normal(size=(4800, 6))
    assert 7 <= block_seconds(times, values) <= 1200


def test_blocks_do_not_cross_slices_and_are_the_same_bins_everywhere() -> None:
    """Two cameras at one time are two blocks."""
    blocks = timed_blocks(np.array([0.0, 1, 61, 2]), 60, np.array(["a", "a", "a", "b"]))
    assert blocks.of_row.tolist() == [0, 0, 1, 2]
    assert blocks.stratum.tolist() == [0, 0, 1]


@pytest.mark.parametrize("witnesses", [10, 60])
def test_share_bounds_hold_more_often_than_they_say(witnesses: int) -> None:
    """Of 2,000 shares each of the 95 % bounds fails for at most 5 %."""
    rng = np.random.default_rng(4)
    shares = rng.binomial(witnesses, 0.3, size=2000) / witnesses
    assert np.mean([share_below(float(s), witnesses, 0.05) > 0.3 for s in shares]) <= 0.05
    assert np.mean([share_above(float(s), witnesses, 0.05) < 0.3 for s in shares]) <= 0.05


def look(detector: Detector, world: World, m: int, rng: np.random.Generator) -> float:
    """The p of a fresh window of ``m`` rows."""
    x, of_row = world.draw(m, rng)
    y = detector.reference.basis.project(x)
    found = detector.look("all", {"": block_moments(y, of_row, of_row[-1] + 1).together()}, WindowRows(y, of_row))
    assert found is not None
    assert not isinstance(found, Shortage)
    return found.p


@pytest.fixture(scope="module")
def correlated() -> tuple[Detector, World]:
    """A detector of a world whose frames share a third of their variance within a scene."""
    world = cone(48, rho=0.3, seed=3)
    x, of_row = world.draw(6000, np.random.default_rng(5))
    return build_detector(x, labelled_blocks(of_row)), world


def test_p_promises_no_less_than_it_keeps_on_windows_of_correlated_frames(
    correlated: tuple[Detector, World],
) -> None:
    """Of 200 fresh windows no more lie below any level than it says, and not so few that drift could not be seen."""
    rng = np.random.default_rng(6)
    p = np.array([look(*correlated, 150, rng) for _ in range(200)])
    assert stats.kstest(p, "uniform", alternative="greater").pvalue > 0.05
    assert 0.03 <= np.mean(p <= 0.2) <= 0.25


@pytest.mark.parametrize("times", [2, 8])
def test_windows_that_are_larger_than_any_drawn_keep_the_promise_and_still_see(times: int) -> None:
    """Over eight references: of windows of so many times the largest, no more are below a level than it says, and they
    are not all called calm; a shift that few smaller ones show is seen in most.
    """
    p, moved = [], []
    for seed in range(8):
        world, rng = cone(32, rho=0.3, seed=seed), np.random.default_rng((seed, 77))
        x, of_row = world.draw(3000, rng)
        detector = build_detector(x, labelled_blocks(of_row), splits=2, draws=150, novelty=False, seed=seed)
        rows = round(times * detector.slices["all"].largest * detector.slices["all"].rows)
        p.append([look(detector, world, rows, rng) for _ in range(8)])
        moved.append([look(detector, world.shifted("mean_pc", 1.5), rows, rng) for _ in range(4)])
    calm, seen = np.array(p), np.array(moved)
    assert (calm <= 0.01).any(axis=1).sum() <= stats.binom.isf(1e-3, 8, 0.1)  # a reference in ten is unluckier
    assert np.mean(calm <= 0.05) <= 0.15
    assert np.median(calm) < 0.95, "a null of smaller windows calls all of these calm"
    assert np.mean(seen <= 0.01) >= 0.7


def test_a_longer_memory_is_no_surer_of_what_is_normal_than_the_reference() -> None:
    """What is taken off for size has an end: the centre's own chance stays, however many blocks a window has."""
    x, of_row = cone(16, seed=1).draw(900, np.random.default_rng(8))
    calibration = build_detector(x, labelled_blocks(of_row), splits=2, draws=60, novelty=False).slices["all"]
    scores, most = np.ones(len(STATISTICS)), calibration.largest
    grown = np.array([as_of_fewer(calibration, scores, most * times) for times in (0.5, 1, 2, 10, 1e4, 1e8)])
    np.testing.assert_array_equal(grown[:2], 1.0)
    assert (np.diff(grown[1:], axis=0) > 0).all()
    np.testing.assert_allclose(grown[-1], grown[-2], rtol=1e-2)
    assert (grown[-1] < 6).all(), "a quarter of the blocks of the reference was drawn"


def test_more_frames_of_each_scene_than_the_reference_has_are_no_drift() -> None:
    """The reference has one frame of each scene; of a window's scenes there are 1, 5 and 20, hardly different."""
    rng, world = np.random.default_rng(8), cone(32, seed=3)
    draw = lambda scenes: np.concatenate([world.draw(1, rng)[0] for _ in range(scenes)])  # noqa: E731
    detector = build_detector(draw(800), labelled_blocks(np.arange(800)), splits=3, draws=150)
    for frames in (1, 5, 20):
        p = []
        for _ in range(20):
            of_row = np.repeat(np.arange(60), frames)
            rows = draw(60)[of_row] + rng.normal(scale=0.01, size=(60 * frames, 32)).astype(np.float32)
            y = detector.reference.basis.project(rows / np.linalg.norm(rows, axis=1, keepdims=True))
            found = detector.look("all", {"": block_moments(y, of_row, 60).together()}, WindowRows(y, of_row))
            assert isinstance(found, EmbeddingEvidence)
            p.append(found.p)
        assert np.sum(np.array(p) <= 0.05) <= stats.binom.isf(1e-3, 20, 0.05)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 8), min_size=1, max_size=60), st.integers(1, 60))
def test_the_fullest_blocks_are_thinned_to_one_number_of_rows(of_row: list[int], most: int) -> None:
    blocks = np.array(of_row)
    kept = blocks[thinned(blocks, most)]
    sizes, left = (np.unique(rows, return_counts=True) for rows in (blocks, kept))
    np.testing.assert_array_equal(sizes[0], left[0])
    each = left[1].max()
    np.testing.assert_array_equal(left[1], np.minimum(sizes[1], each))
    assert len(kept) <= max(most, len(sizes[0]))
    assert len(kept) == len(blocks) or np.minimum(sizes[1], each + 1).sum() > most


@pytest.mark.parametrize(
    ("shift", "size"),
    [("mean_rand", 15.0), ("mean_pc", 5.0), ("few", 3.0), ("cov", 5.0), ("iso", 10.0), ("concept", 4.0)],
)
def test_p_is_small_under_shift(correlated: tuple[Detector, World], shift: str, size: float) -> None:
    """Half of the windows of a shifted world are below one in a thousand."""
    detector, world = correlated
    rng = np.random.default_rng(7)
    assert np.median([look(detector, world.shifted(shift, size), 300, rng) for _ in range(15)]) < 1e-3


def test_detector_is_the_same_for_the_same_seed() -> None:
    """Equal arguments give equal numbers, another seed others."""
    x, of_row = cone(16, seed=1).draw(900, np.random.default_rng(8))
    one, same, other = (
        build_detector(x, labelled_blocks(of_row), splits=2, draws=60, seed=seed).slices for seed in (0, 0, 1)
    )
    assert one == same
    assert one != other


def test_too_short_a_reference_says_how_much_is_lacking() -> None:
    """With fifteen scenes nothing can be said, and forty are needed."""
    x, of_row = cone(16).draw(180, np.random.default_rng(9))
    detector = build_detector(x, labelled_blocks(of_row), splits=2, draws=60)
    found = detector.look("all", {"": moments_of(detector.reference.basis.project(x))}, None)
    assert isinstance(found, Shortage)
    assert (found.needed, found.more) == (40, 40 - len(np.unique(of_row)))


def test_centre_is_what_new_rows_have_not_what_its_own_had() -> None:
    """Over 3,000 references of ten blocks, new rows deviate by nothing on average, in mean and in variance."""
    rng = np.random.default_rng(10)
    seen = []
    for _ in range(3000):
        parts = block_moments(rng.normal(size=(50, 1)), np.repeat(np.arange(10), 5), 10)
        new = deviation(moments_of(rng.normal(size=(5, 1))), centre_of(parts))
        seen.append([new.first[0, 0] / 5, new.second[0, 0] / 5])
    error = np.std(seen, axis=0) / np.sqrt(len(seen))
    assert (np.abs(np.mean(seen, axis=0)) < 3 * error).all()


def test_p_holds_where_the_blocks_are_only_estimated() -> None:
    """Scenes of 5 to 20 frames that nobody labelled, blocks cut by the clock: no more low p than there should be."""
    world, rng = cone(48, rho=0.3, seed=21), np.random.default_rng(22)
    x, _ = world.draw(6000, rng)
    times = np.arange(6000.0)
    axes = np.linalg.svd(x - x.mean(axis=0), full_matrices=False)[2][:8]
    seconds = block_seconds(times, (x - x.mean(axis=0)) @ axes.T)
    detector = build_detector(x, timed_blocks(times, seconds), splits=3, draws=150)
    p = []
    for _ in range(120):
        window, _ = world.draw(400, rng)
        of_row = timed_blocks(np.arange(400) + rng.uniform(0, seconds), seconds).of_row
        y = detector.reference.basis.project(window)
        found = detector.look("all", {"": block_moments(y, of_row, of_row[-1] + 1).together()}, WindowRows(y, of_row))
        assert found is not None
        assert not isinstance(found, Shortage)
        p.append(found.p)
    assert stats.kstest(p, "uniform", alternative="greater").pvalue > 0.02
    assert np.mean(np.array(p) < 0.05) <= 0.1


def lively(blocks: int, rng: np.random.Generator) -> np.ndarray:
    """Four rows a block of a scene that is for a dozen of blocks livelier than at other times."""
    how = rng.normal(size=blocks)
    left = np.exp(-1 / 12)
    for block in range(1, blocks):
        how[block] = left * how[block - 1] + np.sqrt(1 - left**2) * how[block]
    spread = np.repeat(np.exp(0.3 * how), 4)[:, None]
    return (4 + spread * rng.normal(size=(4 * blocks, 16))).astype(np.float32)


def test_a_scene_that_is_livelier_at_times_is_no_drift() -> None:
    """Windows of blocks from here and there are never all lively: held against these, a fifth were beyond 0.05."""
    p = []
    for seed in range(4):
        rng = np.random.default_rng(seed)
        blocks = timed_blocks(np.arange(4800.0), 4.0)
        detector = build_detector(lively(1200, rng), blocks, sizes=(20,), draws=100, novelty=False, seed=seed)
        for window in detector.reference.basis.project(lively(2000, rng)).reshape(100, 80, -1):
            found = detector.look("all", {"": block_moments(window, np.repeat(np.arange(20), 4), 20).together()}, None)
            assert isinstance(found, EmbeddingEvidence)
            p.append(found.p)
    assert np.mean(np.array(p) <= 0.05) <= 0.1
    assert np.mean(np.array(p) <= 0.001) <= 0.02


def test_unit_length_does_not_fool_the_dispersion() -> None:
    """Rows of one length have hardly any dispersion about their mean; new ones still do not look dispersed."""
    world, rng = isotropic(48, seed=3), np.random.default_rng(23)
    x, of_row = world.draw(3000, rng)
    detector = build_detector(x, labelled_blocks(of_row), splits=3, draws=150, novelty=False)
    p = []
    for _ in range(100):
        rows, of_row = world.draw(300, rng)
        moments = block_moments(detector.reference.basis.project(rows), of_row, of_row[-1] + 1).together()
        found = detector.look("all", {"": moments}, None)
        assert found is not None
        assert not isinstance(found, Shortage)
        p.append(found.scores["mah"].p)
    assert np.mean(np.array(p) < 0.05) <= 0.12


def test_rows_that_crowd_in_few_blocks_are_worth_fewer_of_them() -> None:
    rng = np.random.default_rng(0)
    even, crowded = (moments_of(rng.normal(size=(100, 2)), np.array(sizes)) for sizes in ([10] * 10, [91] + [1] * 9))
    assert (even.effective_blocks, crowded.effective_blocks) == (10, 10)
    assert even.evenness == 1
    assert crowded.evenness == pytest.approx(100**2 / (91**2 + 9) / 10)
    calibration = SliceCalibration(100, 50, 10.0, {"x": Null((3.0, 25.0), (1.0, 1.0), (1.0, 1.0), (0.0, 0.0))}, 0.5)
    assert calibration.worth(10, 100, even.evenness) == 10
    assert calibration.worth(10, 100, crowded.evenness) == pytest.approx(10 * crowded.evenness / 0.5)


def test_more_traffic_of_a_livelier_camera_is_no_drift() -> None:
    """One camera's blocks lie three times as far apart as the other's: a window of ten times as much is normal."""
    rng = np.random.default_rng(3)

    def draw(calm: int, lively: int) -> tuple[NDArray[np.float64], NDArray[np.str_], NDArray[np.intp]]:
        names = np.repeat(np.array(["calm"] * calm + ["lively"] * lively), 5)
        means = rng.normal(size=(calm + lively, 8)) * np.array([1.0] * calm + [3.0] * lively)[:, None]
        rows = np.repeat(means, 5, axis=0) + 0.3 * rng.normal(size=(5 * (calm + lively), 8))
        return rows, names, np.repeat(np.arange(calm + lively), 5)

    rows, names, of_row = draw(150, 150)
    detector = build_detector(rows, labelled_blocks(of_row, names), novelty=False)
    passed = 0
    for _ in range(60):
        rows, names, of_row = draw(4, 40)
        y = detector.reference.basis.project(rows)
        moments = {
            name: moments_of(y[names == name], np.unique(of_row[names == name], return_counts=True)[1])
            for name in ("calm", "lively")
        }
        look = detector.look("all", moments, None)
        assert isinstance(look, EmbeddingEvidence)
        passed += look.p <= 0.01
    assert passed <= stats.binom.isf(1e-4, 60, 0.01)


def test_squares_of_held_blocks_vary_as_those_of_new_ones_do() -> None:
    """Rows that made the centre are nearer to it; the chance in its variance itself is what ``stretch`` allows for."""
    held, new = [], []
    for seed in range(300):
        rng = np.random.default_rng((seed, 74))
        reference, within = held_deviations(rng.normal(size=(24, 20)), split_of(labelled_blocks(np.arange(24)), seed))
        y = reference.basis.project(rng.normal(size=(12, 20)))
        held.append(np.mean(within.second**2))
        new.append(np.mean(deviations(block_moments(y, np.arange(12), 12), reference.centres[""]).second ** 2))
    assert np.mean(held) * stretch(1 / 12) ** 2 == pytest.approx(np.mean(new), rel=0.06)


def test_a_small_reference_keeps_its_promise() -> None:
    """Of 60 scenes with 30 held, windows of 12 of which without drift are no farther out than they say."""
    found = []
    for seed in range(8):
        world, rng = cone(128, 0.3, seed), np.random.default_rng((seed, 73))
        rows, of_row = world.draw(21 * 60, rng)
        detector = build_detector(rows[of_row < 60], labelled_blocks(of_row[of_row < 60]), seed=seed)
        for _ in range(60):
            rows, of_row = world.draw(21 * 12, rng)
            y, own = detector.reference.basis.project(rows[of_row < 12]), of_row[of_row < 12]
            evidence = detector.look("all", {"": block_moments(y, own, 12).together()}, WindowRows(y, own))
            assert isinstance(evidence, EmbeddingEvidence)
            found.append((evidence.p, evidence.scores["knn_ratio"].p))
    p, of_neighbours = np.array(found).T
    assert np.mean(p <= 0.01) <= 0.02
    assert np.mean(of_neighbours <= 0.01) <= 0.02


def test_a_clip_that_is_played_in_a_loop_is_no_evidence_of_something_new() -> None:
    """Its frames come again and again, exactly: they are no others like themselves."""
    world, rng = cone(128, 0.3, 5), np.random.default_rng(77)
    rows, of_row = world.draw(3000, rng)
    detector = build_detector(rows, labelled_blocks(of_row))
    rows, of_row = world.draw(300, rng)
    y = np.tile(detector.reference.basis.project(rows), (4, 1))
    own = np.concatenate([of_row + turn * (of_row.max() + 1) for turn in range(4)])
    evidence = detector.look("all", {"": block_moments(y, own, own.max() + 1).together()}, WindowRows(y, own))
    assert isinstance(evidence, EmbeddingEvidence)
    assert evidence.scores["knn_ratio"].p > 0.01
