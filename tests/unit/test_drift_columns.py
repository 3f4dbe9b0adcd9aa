"""The normed Wasserstein distance of all columns at once is scipy's of each, and Evidently's share of drifted ones."""

import os
import warnings
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from numpy.typing import NDArray
from scipy.stats import wasserstein_distance

from column_pairs import Pair, both_as_float64, pairs
from visiondrift.drift.columns.distances import (
    MIN_SPREAD,
    drifted_share,
    mean_shift,
    prepare_columns,
    quantile_shift,
    wasserstein,
    wasserstein_normed,
)


def oracle(reference: NDArray[Any], window: NDArray[Any]) -> NDArray[np.float64]:
    """Evidently's definition, one column at a time, by scipy."""
    return np.array(
        [
            wasserstein_distance(a, b) / max(float(np.std(a)), MIN_SPREAD)
            for a, b in zip(reference.T.astype(np.float64), window.T.astype(np.float64), strict=True)
        ]
    )


@given(pairs())
@settings(max_examples=200, deadline=None)
def test_every_column_is_scipys_distance_over_the_references_spread(pair: Pair) -> None:
    reference, window = pair
    raw = [wasserstein_distance(a, b) for a, b in both_as_float64(pair)]
    np.testing.assert_allclose(wasserstein(prepare_columns(reference), window), raw, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(
        wasserstein_normed(prepare_columns(reference), window), oracle(reference, window), rtol=1e-9, atol=1e-9
    )


@pytest.mark.parametrize(("n", "m"), [(2, 2), (2, 501), (500, 500), (499, 200), (1000, 7), (3, 1)])
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_sizes_and_types_do_not_matter(n: int, m: int, dtype: type) -> None:
    rng = np.random.default_rng(n * m)
    reference, window = rng.normal(size=(n, 9)).astype(dtype), rng.normal(0.3, 2, size=(m, 9)).astype(dtype)
    np.testing.assert_allclose(
        wasserstein_normed(prepare_columns(reference), window), oracle(reference, window), rtol=1e-9, atol=1e-9
    )


def test_a_column_wider_than_a_block_is_the_same_as_many() -> None:
    rng = np.random.default_rng(3)
    reference, window = rng.normal(size=(3000, 300)), rng.normal(size=(2999, 300))
    whole = wasserstein_normed(prepare_columns(reference), window)
    narrow = wasserstein_normed(prepare_columns(reference[:, :7]), window[:, :7])
    np.testing.assert_allclose(whole[:7], narrow, rtol=1e-12)
    np.testing.assert_allclose(whole[-3:], oracle(reference[:, -3:], window[:, -3:]), rtol=1e-9)


def test_a_constant_reference_column_is_divided_by_evidentlys_floor() -> None:
    distance = wasserstein_normed(prepare_columns(np.zeros((50, 1))), np.full((20, 1), 0.5))
    assert distance[0] == pytest.approx(0.5 / MIN_SPREAD)


def test_equal_samples_in_another_order_are_at_no_distance() -> None:
    reference = np.random.default_rng(4).normal(size=(100, 3))
    assert wasserstein_normed(prepare_columns(reference), reference[::-1]).tolist() == [0.0, 0.0, 0.0]


def test_a_shift_by_one_standard_deviation_is_a_distance_of_one() -> None:
    reference = np.random.default_rng(5).normal(2, 3, size=(400, 2))
    distance = wasserstein_normed(prepare_columns(reference), reference + reference.std(axis=0))
    np.testing.assert_allclose(distance, 1.0, rtol=1e-12)


def test_preparing_changes_no_argument() -> None:
    reference, window = np.random.default_rng(6).normal(size=(2, 30, 4))
    before = reference.copy(), window.copy()
    wasserstein_normed(prepare_columns(reference), window)
    np.testing.assert_array_equal(reference, before[0])
    np.testing.assert_array_equal(window, before[1])


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_values_that_are_not_finite_are_refused_by_name(bad: float) -> None:
    matrix = np.zeros((5, 3))
    matrix[2, 1] = bad
    with pytest.raises(ValueError, match="reference holds NaN or infinite"):
        prepare_columns(matrix)
    with pytest.raises(ValueError, match="window holds NaN or infinite"):
        wasserstein_normed(prepare_columns(np.zeros((5, 3))), matrix)


def test_shapes_that_cannot_be_compared_are_refused_with_both_named() -> None:
    prepared = prepare_columns(np.zeros((5, 3)))
    with pytest.raises(ValueError, match="window has 2 columns, the reference 3"):
        wasserstein_normed(prepared, np.zeros((5, 2)))
    with pytest.raises(ValueError, match=r"\(0, 3\)"):
        wasserstein_normed(prepared, np.zeros((0, 3)))
    with pytest.raises(ValueError, match=r"\(3,\)"):
        prepare_columns(np.zeros(3))


def test_chosen_columns_are_those_columns() -> None:
    reference, window = np.random.default_rng(8).normal(size=(2, 30, 4))
    prepared = prepare_columns(reference)
    chosen = wasserstein_normed(prepared.take([2, 0]), window[:, [2, 0]])
    np.testing.assert_allclose(chosen, wasserstein_normed(prepared, window)[[2, 0]], rtol=1e-12)


@given(pairs())
@settings(max_examples=100, deadline=None)
def test_shifts_of_mean_and_quantiles_are_numpys_in_reference_standard_deviations(pair: Pair) -> None:
    reference, window = (matrix.astype(np.float64) for matrix in pair)
    spread = np.maximum(reference.std(axis=0), MIN_SPREAD)
    prepared = prepare_columns(pair[0])
    wanted = (window.mean(axis=0) - reference.mean(axis=0)) / spread
    np.testing.assert_allclose(mean_shift(prepared, pair[1]), wanted, rtol=1e-9, atol=1e-9)
    shown = (0.0, 0.05, 0.5, 0.95, 1.0)
    moved = (np.quantile(window, shown, axis=0) - np.quantile(reference, shown, axis=0)) / spread
    np.testing.assert_allclose(quantile_shift(prepared, pair[1], shown), moved, rtol=1e-9, atol=1e-9)


def test_shifts_have_the_sign_of_the_move() -> None:
    reference = np.random.default_rng(9).normal(size=(200, 1))
    prepared = prepare_columns(reference)
    assert mean_shift(prepared, reference - 1)[0] < 0 < mean_shift(prepared, reference + 1)[0]
    assert (np.sign(quantile_shift(prepared, reference * 2, (0.05, 0.95)))[:, 0] == [-1, 1]).all()


def test_a_quantile_beyond_one_is_refused() -> None:
    with pytest.raises(ValueError, match="accepted are numbers from 0 to 1"):
        quantile_shift(prepare_columns(np.zeros((3, 1))), np.zeros((3, 1)), (5.0,))


@pytest.fixture(scope="module")
def evidently() -> ModuleType:
    os.environ["DO_NOT_TRACK"] = "1"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import evidently
        import evidently.metrics
    return evidently


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("column_threshold", [0.05, 0.1, 0.3])
@pytest.mark.parametrize(("n", "m"), [(1500, 200), (300, 120)])
def test_scores_and_share_are_evidentlys(evidently: ModuleType, n: int, m: int, column_threshold: float) -> None:
    import pandas as pd

    rng = np.random.default_rng(n + m)
    reference = rng.normal(size=(n, 6))
    window = rng.normal(size=(m, 6)) + np.array([0, 0.05, 0.1, 0.3, 0.31, 1])
    names = [f"c{column}" for column in range(6)]
    report = evidently.Report(
        [
            evidently.metrics.DriftedColumnsCount(num_method="wasserstein", num_threshold=column_threshold),
            *(evidently.metrics.ValueDrift(column=name, method="wasserstein") for name in names),
        ]
    )
    current, old = (pd.DataFrame(matrix, columns=names) for matrix in (window, reference))
    share, *scores = (metric["value"] for metric in report.run(current, old).dict()["metrics"])
    distances = wasserstein_normed(prepare_columns(reference), window)
    np.testing.assert_allclose(distances, scores, rtol=1e-9)
    assert drifted_share(distances, column_threshold) == share["share"]
