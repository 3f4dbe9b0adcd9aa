"""Every score of every column in one table: the window is sorted and binned once for all of them."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from visiondrift.drift.columns.binned import bin_columns, hellinger, jensen_shannon, psi
from visiondrift.drift.columns.distances import SHOWN_QUANTILES, mean_shift, quantile_shift, wasserstein
from visiondrift.drift.columns.ks import ks_statistic
from visiondrift.drift.columns.ordered import OrderedColumns, PreparedColumns, order_window


@dataclass(frozen=True, eq=False)
class ColumnScores:
    """What can be said of each of d columns; every array is (d,) but ``quantile_shift``, (``SHOWN_QUANTILES``, d).

    ``wasserstein`` is in the column's own unit; ``wasserstein_normed``, ``mean_shift`` and ``quantile_shift`` in
    reference standard deviations; the others have none. ``ks.ks_pvalue`` turns ``ks`` into a p-value.
    """

    ks: NDArray[np.float64]
    wasserstein: NDArray[np.float64]
    wasserstein_normed: NDArray[np.float64]
    psi: NDArray[np.float64]
    jensen_shannon: NDArray[np.float64]
    hellinger: NDArray[np.float64]
    mean_shift: NDArray[np.float64]
    quantile_shift: NDArray[np.float64]


def score_columns(reference: PreparedColumns, window: NDArray[Any] | OrderedColumns) -> ColumnScores:
    """All scores of ``window`` (m, d). Raises ValueError as ``ordered.order_window`` does."""
    compared = order_window(reference, window)
    distances = wasserstein(reference, compared)
    binned = bin_columns(reference, compared)
    return ColumnScores(
        ks=ks_statistic(reference, compared),
        wasserstein=distances,
        wasserstein_normed=distances / reference.spread,
        psi=psi(binned),
        jensen_shannon=jensen_shannon(binned),
        hellinger=hellinger(reference, compared, binned=binned),
        mean_shift=mean_shift(reference, compared),
        quantile_shift=quantile_shift(reference, compared, SHOWN_QUANTILES),
    )
