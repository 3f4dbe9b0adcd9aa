"""PSI, Jensen-Shannon and Hellinger of many columns at once are Evidently's, in Evidently's bins."""

import os
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from numpy.typing import NDArray

from column_pairs import Pair, both_as_float64, pairs
from visiondrift.drift.columns.binned import FEW_VALUES, bin_columns, hellinger, jensen_shannon, psi
from visiondrift.drift.columns.distances import prepare_columns

Oracle = Callable[[str, Pair], NDArray[np.float64]]


@pytest.fixture(scope="module")
def evidently() -> Oracle:
    """The scores of Evidently's own functions, one column at a time."""
    os.environ["DO_NOT_TRACK"] = "1"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import pandas as pd
        from evidently.legacy.calculations import stattests
        from evidently.legacy.core import ColumnType
    tests = {
        "psi": stattests.psi_stat_test,
        "jensenshannon": stattests.jensenshannon_stat_test,
        "hellinger": stattests.hellinger_stat_test,
    }

    def scores(method: str, pair: Pair) -> NDArray[np.float64]:
        with warnings.catch_warnings():
            # The square root of a rounding error below zero, where we say 0.
            warnings.filterwarnings("ignore", "invalid value encountered in sqrt")
            return np.array(
                [
                    tests[method](pd.Series(a), pd.Series(b), ColumnType.Numerical, None).drift_score
                    for a, b in both_as_float64(pair)
                ]
            )

    return scores


def check(evidently: Oracle, pair: Pair) -> None:
    reference, window = prepare_columns(pair[0]), pair[1]
    binned = bin_columns(reference, window)
    for method, ours in (
        ("psi", psi(binned)),
        ("jensenshannon", jensen_shannon(binned)),
        ("hellinger", hellinger(reference, window)),
        ("hellinger", hellinger(reference, window, binned=binned)),
    ):
        wanted = np.nan_to_num(evidently(method, pair), nan=0.0)
        # A distance is a root: where it is near 0, the last digit of what is under it moves it by 1e-8.
        np.testing.assert_allclose(ours, wanted, rtol=1e-9, atol=1e-7, err_msg=method)


@given(pair=pairs())
@settings(max_examples=200, deadline=None)
def test_every_score_of_every_column_is_evidentlys(evidently: Oracle, pair: Pair) -> None:
    check(evidently, pair)


@pytest.mark.parametrize(("n", "m"), [(5000, 5000), (5000, 200), (4096, 4096), (1000, 24), (21, 1003)])
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_sizes_and_types_do_not_matter(evidently: Oracle, n: int, m: int, dtype: type[np.floating[Any]]) -> None:
    """Where n + m is a power of two, the number of bins hangs on the last digit of a division."""
    rng = np.random.default_rng(n + m)
    window = rng.normal(0.2, 1.3, size=(m, 5))
    check(evidently, (rng.normal(size=(n, 5)).astype(dtype), window.astype(dtype)))


@pytest.mark.parametrize("digits", [2.0**-30, 2.0**-10])
@pytest.mark.parametrize("shared", [0, 1, 903, 904, 905, 2000])
def test_values_that_both_samples_have_count_once(evidently: Oracle, digits: float, shared: int) -> None:
    """Of twice 2,500 values 904 in common are 4,096 different ones, where Hellinger's bins become one fewer; of few
    digits, they end alike though they differ."""
    values = np.random.default_rng(shared).permutation(5000)[:, None] * np.array([digits, -digits, 3 * digits])
    window = np.concatenate([values[:shared], values[2500 : 5000 - shared]])
    check(evidently, (values[:2500].astype(np.float32), window.astype(np.float32)))


@pytest.mark.parametrize("distinct", [1, 2, FEW_VALUES, FEW_VALUES + 1])
def test_the_reference_decides_whether_values_are_bins(evidently: Oracle, distinct: int) -> None:
    """Up to twenty different values each is a bin; the window may have values that the reference has not."""
    rng = np.random.default_rng(distinct)
    reference = np.arange(300.0)[:, None] % distinct
    check(evidently, (reference, rng.integers(-2, distinct + 3, size=(200, 1)).astype(np.float64)))
    check(evidently, (reference, rng.normal(size=(200, 1))))


def test_rare_values_change_what_an_empty_bin_counts_as(evidently: Oracle) -> None:
    """A share of one in ten thousand or less makes the filling of empty bins a millionth of it."""
    reference = np.zeros((20_000, 1))
    reference[0] = 1
    check(evidently, (reference, np.array([[0.0], [1], [2]])))
    check(evidently, (reference[1:], np.ones((10, 1))))


def test_equal_samples_are_at_no_distance() -> None:
    matrix = np.random.default_rng(1).normal(size=(500, 3))
    reference = prepare_columns(matrix)
    binned = bin_columns(reference, matrix[::-1])
    for scores in (psi(binned), jensen_shannon(binned), hellinger(reference, matrix)):
        np.testing.assert_allclose(scores, 0, atol=1e-7)


def test_samples_that_share_nothing_are_at_the_far_end() -> None:
    reference, window = np.random.default_rng(2).normal(size=(2, 500, 3))
    prepared = prepare_columns(reference)
    binned = bin_columns(prepared, window + 1000)
    np.testing.assert_allclose(jensen_shannon(binned), np.sqrt(np.log(2)), rtol=1e-12)
    np.testing.assert_allclose(hellinger(prepared, window + 1000), 1, rtol=1e-12)
    assert (psi(binned) > 5).all()


def test_many_columns_of_different_kinds_come_back_in_their_order(evidently: Oracle) -> None:
    rng = np.random.default_rng(3)
    reference, window = rng.normal(size=(200, 60)), rng.normal(0.5, 1, size=(90, 60))
    for matrix in (reference, window):
        matrix[:, ::3] = matrix[:, ::3].round()
    check(evidently, (reference, window))
