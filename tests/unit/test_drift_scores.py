"""All column scores in one table."""

from dataclasses import fields

import numpy as np
import pytest

from visiondrift.drift.columns.binned import bin_columns, hellinger, jensen_shannon, psi
from visiondrift.drift.columns.distances import (
    SHOWN_QUANTILES,
    mean_shift,
    prepare_columns,
    quantile_shift,
    wasserstein,
    wasserstein_normed,
)
from visiondrift.drift.columns.ks import ks_statistic
from visiondrift.drift.columns.ordered import order_window
from visiondrift.drift.columns.table import score_columns


def test_the_table_holds_what_each_score_says_by_itself() -> None:
    rng = np.random.default_rng(1)
    reference, window = prepare_columns(rng.normal(size=(300, 5))), rng.normal(0.3, 1, size=(200, 5))
    binned = bin_columns(reference, window)
    wanted = {
        "ks": ks_statistic(reference, window),
        "wasserstein": wasserstein(reference, window),
        "wasserstein_normed": wasserstein_normed(reference, window),
        "psi": psi(binned),
        "jensen_shannon": jensen_shannon(binned),
        "hellinger": hellinger(reference, window),
        "mean_shift": mean_shift(reference, window),
        "quantile_shift": quantile_shift(reference, window),
    }
    scores = score_columns(reference, window)
    assert {field.name for field in fields(scores)} == set(wanted)
    for name, values in wanted.items():
        np.testing.assert_array_equal(getattr(scores, name), values, err_msg=name)
    assert scores.quantile_shift.shape == (len(SHOWN_QUANTILES), 5)


def test_a_window_sorted_before_gives_the_same_scores() -> None:
    rng = np.random.default_rng(2)
    reference, window = prepare_columns(rng.normal(size=(30, 2))), rng.normal(size=(20, 2))
    sorted_before, now = score_columns(reference, order_window(reference, window)), score_columns(reference, window)
    for field in fields(now):
        np.testing.assert_array_equal(getattr(sorted_before, field.name), getattr(now, field.name))


def test_a_window_sorted_for_another_reference_is_refused() -> None:
    window = order_window(prepare_columns(np.zeros((3, 4))), np.zeros((5, 4)))
    with pytest.raises(ValueError, match="window has 4 columns, the reference 2"):
        score_columns(prepare_columns(np.zeros((3, 2))), window)
