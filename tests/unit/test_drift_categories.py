"""Class shares, their distance, and what a dashboard is shown of them."""

import os
import warnings
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import jensenshannon
from scipy.stats import chisquare

from visiondrift.drift.columns.categories import (
    capped_shares,
    chi_square,
    class_counts,
    class_shares,
    jensen_shannon,
    pool_classes,
    shown_classes,
    total_variation,
)

counts = st.lists(st.integers(0, 50), min_size=2, max_size=12).filter(any)


@given(st.integers(2, 12).flatmap(lambda k: st.tuples(*[st.lists(st.integers(0, 50), min_size=k, max_size=k)] * 2)))
def test_the_distance_is_scipys_to_base_2(pair: tuple[list[int], list[int]]) -> None:
    p, q = (class_shares(np.array(given) + np.eye(1, len(given), dtype=int)[0]) for given in pair)
    assert jensen_shannon(p, q) == pytest.approx(jensenshannon(p, q, base=2), abs=1e-7)
    assert jensen_shannon(p, q) == jensen_shannon(q, p)
    assert 0 <= jensen_shannon(p, q) <= 1


def test_mixes_that_share_nothing_are_at_distance_one() -> None:
    assert jensen_shannon(np.array([1.0, 0.0]), np.array([0.0, 1.0])) == 1.0


@pytest.fixture(scope="module")
def evidently() -> SimpleNamespace:
    os.environ["DO_NOT_TRACK"] = "1"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from evidently.legacy.calculations.stattests import chisquare_stattest, tvd_stattest

        return SimpleNamespace(chi=chisquare_stattest._chi_stat_test, tvd=tvd_stattest._total_variation_distance)


@given(pair=st.integers(2, 9).flatmap(lambda k: st.tuples(*[st.lists(st.integers(0, 30), min_size=k, max_size=k)] * 2)))
@settings(deadline=None)
def test_chi_square_and_total_variation_are_scipys_and_evidentlys(
    evidently: SimpleNamespace, pair: tuple[list[int], list[int]]
) -> None:
    """Also where a class is on one side alone, and where it is on neither."""
    from evidently.legacy.core import ColumnType
    from pandas import Series

    reference, window = (np.array(counts) + np.eye(1, len(counts), dtype=int)[0] for counts in pair)
    events = [Series(np.repeat(np.arange(len(counts)), counts)) for counts in (reference, window)]
    statistic, pvalue = chi_square(reference, window)
    present = (reference + window) > 0
    with np.errstate(divide="ignore"):
        expected = reference[present] * window.sum() / reference.sum()
        assert statistic == pytest.approx(chisquare(window[present], expected).statistic, rel=1e-9)
        if present.sum() > 1:
            assert pvalue == pytest.approx(evidently.chi(*events, ColumnType.Categorical, 0.05)[0], rel=1e-9)
    moved = total_variation(class_shares(reference), class_shares(window))
    assert moved == pytest.approx(evidently.tvd(*events), abs=1e-12)


def test_one_class_alone_cannot_differ() -> None:
    assert chi_square(np.array([5, 0]), np.array([9, 0])) == (0.0, 1.0)


def test_counts_of_nothing_are_no_test() -> None:
    with pytest.raises(ValueError, match="the window 0; each needs one"):
        chi_square(np.array([5, 1]), np.array([0, 0]))


def test_unknown_classes_are_not_counted() -> None:
    assert class_counts(np.array([0, -1, 2, 2, -1]), 4).tolist() == [1, 0, 2, 0]


def test_shares_of_nothing_are_zero() -> None:
    assert class_shares(np.array([0, 0])).tolist() == [0.0, 0.0]


def test_few_classes_are_compared_as_they_are() -> None:
    reference, window = np.full(10, 100), np.full(10, 10)
    assert [pooled.tolist() for pooled in pool_classes(reference, window)] == [reference.tolist(), window.tolist()]


@given(st.integers(2, 300), st.integers(0, 10**6))
def test_pooling_loses_no_event_and_bounds_the_categories(classes: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    reference, window = rng.integers(0, 20, classes), rng.integers(0, 5, classes)
    pooled_reference, pooled_window = pool_classes(reference, window)
    assert (pooled_reference.sum(), pooled_window.sum()) == (reference.sum(), window.sum())
    assert len(pooled_reference) == len(pooled_window)
    assert len(pooled_window) <= max(2, min(window.sum(), reference.sum()) // 10)


@pytest.mark.parametrize("classes", [10, 50, 200, 1000])
@pytest.mark.parametrize("rows", [300, 5000])
def test_two_draws_from_one_mix_stay_under_the_default_warning_however_many_classes(classes: int, rows: int) -> None:
    rng = np.random.default_rng(classes + rows)
    scores = [
        jensen_shannon(*(class_shares(pooled) for pooled in pool_classes(reference, rng.multinomial(200, mix))))
        for mix in (
            np.full(classes, 1 / classes),
            (1 / np.arange(1, classes + 1)) / (1 / np.arange(1, classes + 1)).sum(),
        )
        for reference in [rng.multinomial(rows, mix)]
        for _ in range(40)
    ]
    assert max(scores) < 0.25


@pytest.mark.parametrize("classes", [10, 50, 200, 1000])
def test_a_class_that_takes_four_predictions_in_ten_passes_the_default_warning(classes: int) -> None:
    rng = np.random.default_rng(classes)
    mix = np.full(classes, 1 / classes)
    collapsed = mix * 0.6
    collapsed[classes // 2] += 0.4
    reference = rng.multinomial(5000, mix)
    for _ in range(20):
        pooled = pool_classes(reference, rng.multinomial(200, collapsed))
        assert jensen_shannon(*(class_shares(counts) for counts in pooled)) > 0.25


def test_no_more_classes_are_shown_than_allowed_and_the_rest_is_other() -> None:
    shares = np.array([0.1, 0.5, 0.05, 0.35])
    shown = shown_classes(("a", "b", "c", "d"), shares, 2)
    assert shown == ("b", "d")
    assert capped_shares(("a", "b", "c", "d"), shares, shown) == pytest.approx({"b": 0.5, "d": 0.35, "other": 0.15})


def test_with_room_for_all_there_is_no_other() -> None:
    assert shown_classes(("a", "b"), np.array([0.2, 0.8]), 2) == ("a", "b")
    assert capped_shares(("a", "b"), np.array([0.2, 0.8]), ("a", "b")) == {"a": 0.2, "b": 0.8}


def test_a_class_that_is_called_other_keeps_its_share_beside_the_hidden_ones() -> None:
    shares = np.array([0.6, 0.3, 0.1])
    assert capped_shares(("other", "b", "c"), shares, ("other", "b")) == pytest.approx({"other": 0.7, "b": 0.3})
