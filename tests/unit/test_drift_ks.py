"""The Kolmogorov-Smirnov statistic and p-value of many columns at once are scipy's, and so Evidently's."""

import warnings
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from numpy.typing import NDArray
from scipy.stats import ks_2samp

from column_pairs import Pair, both_as_float64, pairs
from visiondrift.drift.columns.distances import prepare_columns
from visiondrift.drift.columns.ks import EXACT_ROWS, ks_pvalue, ks_statistic


def oracle(pair: Pair) -> tuple[NDArray[Any], NDArray[Any]]:
    found = [of_scipy(a, b) for a, b in both_as_float64(pair)]
    return np.array([statistic for statistic, _ in found]), np.array([pvalue for _, pvalue in found])


def of_scipy(a: NDArray[Any], b: NDArray[Any]) -> tuple[float, float]:
    """Statistic and p; scipy's rounding can pass 1 where the chance is 1: it says so and takes the asymptotic one."""
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        result = ks_2samp(a, b)
    if any("Exact calculation unsuccessful" in str(warning.message) for warning in said):
        assert result.pvalue > 0.999
        return result.statistic, 1.0
    return result.statistic, result.pvalue


def ours(pair: Pair) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    statistic = ks_statistic(prepare_columns(pair[0]), pair[1])
    return statistic, ks_pvalue(statistic, len(pair[0]), len(pair[1]))


@given(pairs())
@settings(max_examples=250, deadline=None)
def test_statistic_and_p_value_of_every_column_are_scipys(pair: Pair) -> None:
    (statistic, pvalue), (wanted, wanted_pvalue) = ours(pair), oracle(pair)
    np.testing.assert_allclose(statistic, wanted, rtol=0, atol=1e-12)
    np.testing.assert_allclose(pvalue, wanted_pvalue, rtol=1e-9, atol=1e-300)


@pytest.mark.parametrize(("n", "m"), [(5000, 5000), (5000, 200), (200, 5000), (4999, 1000), (1, 1), (2, 9000)])
@pytest.mark.parametrize("shift", [0.0, 0.04, 0.5])
def test_sizes_of_real_windows_lose_no_digit_of_the_p_value(n: int, m: int, shift: float) -> None:
    rng = np.random.default_rng(n + m)
    pair = rng.normal(size=(n, 3)).astype(np.float32), (rng.normal(size=(m, 3)) + shift).astype(np.float32)
    (statistic, pvalue), (wanted, wanted_pvalue) = ours(pair), oracle(pair)
    np.testing.assert_allclose(statistic, wanted, rtol=0, atol=1e-12)
    np.testing.assert_allclose(pvalue, wanted_pvalue, rtol=1e-9, atol=1e-300)


def test_the_p_value_turns_asymptotic_where_scipys_does() -> None:
    rng = np.random.default_rng(1)
    for n in (EXACT_ROWS, EXACT_ROWS + 1):
        pair = rng.normal(size=(n, 2)), rng.normal(size=(300, 2)) + 0.05
        np.testing.assert_allclose(ours(pair)[1], oracle(pair)[1], rtol=1e-9)


@pytest.mark.parametrize("shape", ["tail", "middle", "spike", "alternating"])
def test_the_widest_gap_is_found_wherever_it_hides(shape: str) -> None:
    """One step of the window between two probes, at its ends, or everywhere."""
    reference = np.arange(1000.0)[:, None]
    for place in range(0, 1000, 7):
        window = {
            "tail": np.where(np.arange(1000) >= place, 2000.0, np.arange(1000)),
            "middle": np.clip(np.arange(1000.0), 0, place),
            "spike": np.where(np.arange(1000) == place, -1.0, np.arange(1000)),
            "alternating": np.arange(1000) + np.where(np.arange(1000) % 2, 0.5, -0.5) * (place % 3),
        }[shape][:, None]
        statistic = ks_statistic(prepare_columns(reference), window)
        assert statistic[0] == pytest.approx(of_scipy(reference[:, 0], window[:, 0])[0], abs=1e-12)


def test_equal_samples_have_no_gap_and_a_p_value_of_one() -> None:
    reference = np.random.default_rng(2).normal(size=(100, 3))
    statistic, pvalue = ours((reference, reference[::-1]))
    assert statistic.tolist() == [0.0] * 3
    assert pvalue.tolist() == [1.0] * 3


def test_one_row_apart_among_equally_many_is_certain_to_happen() -> None:
    """A gap of one row is the least that unequal samples can have: its chance is 1, whatever rounding makes of it."""
    for n in range(2, 60):
        pair = np.zeros((n, 1)), np.eye(n, 1)
        np.testing.assert_allclose(ours(pair)[1], 1.0, rtol=1e-12)
        np.testing.assert_allclose(ours(pair)[1], oracle(pair)[1], rtol=1e-9)


def test_samples_that_share_nothing_have_a_gap_of_one_and_the_least_p_value() -> None:
    statistic, pvalue = ours((np.zeros((4, 1)), np.ones((3, 1))))
    assert statistic[0] == 1
    assert pvalue[0] == pytest.approx(2 / 35)


def test_many_columns_are_the_same_as_few() -> None:
    rng = np.random.default_rng(3)
    reference, window = rng.normal(size=(900, 400)), rng.normal(size=(901, 400))
    whole = ks_statistic(prepare_columns(reference), window)
    for column in (0, 199, 399):
        chosen = [column]
        assert whole[column] == ks_statistic(prepare_columns(reference[:, chosen]), window[:, chosen])[0]


def test_p_values_hold_their_level_on_independent_draws() -> None:
    """A test of the claim itself, by no oracle: of 2,000 comparisons without drift 5 % are at 5 %, give or take."""
    rng = np.random.default_rng(4)
    _, pvalue = ours((rng.normal(size=(400, 2000)), rng.normal(size=(150, 2000))))
    assert np.mean(pvalue <= 0.05) == pytest.approx(0.05, abs=0.015)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("n", "m"), [(300, 120), (200, 200)])
def test_p_values_are_evidentlys_also_where_its_frame_has_rows_that_are_nan(n: int, m: int) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import evidently
        import evidently.metrics
        import pandas as pd
    rng = np.random.default_rng(n)
    reference, window = rng.normal(size=(n, 3)), rng.normal(size=(m, 3)) + np.array([0, 0.1, 0.5])
    gappy = np.insert(window, [0, 5, 5], np.nan, axis=0)
    names = list("abc")
    report = evidently.Report([evidently.metrics.ValueDrift(column=name, method="ks") for name in names])
    current, old = (pd.DataFrame(matrix, columns=names) for matrix in (gappy, reference))
    scores = [metric["value"] for metric in report.run(current, old).dict()["metrics"]]
    np.testing.assert_allclose(ours((reference, window))[1], scores, rtol=1e-9)
