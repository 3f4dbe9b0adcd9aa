"""The one place that speaks to Evidently: two frames in, its table of columns out, with methods of our choosing.

Importing this module imports Evidently (seconds of CPU), so it is imported on use. Evidently reports usage to its
makers unless ``DO_NOT_TRACK`` is set before its import; here it is.
"""

import os

os.environ["DO_NOT_TRACK"] = "1"

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import evidently
import numpy as np
import pandas as pd
from evidently import DataDefinition, Dataset, Report
from evidently.core.report import Context
from evidently.legacy.calculations.stattests import StatTest
from evidently.legacy.calculations.stattests.registry import register_stattest
from evidently.legacy.core import ColumnType
from evidently.legacy.metrics import DataDriftTable
from evidently.legacy.model.widget import BaseWidgetInfo
from evidently.presets import DataDriftPreset

from visiondrift.drift.columns.categories import class_shares, jensen_shannon

EVIDENTLY_VERSION: str = evidently.__version__

_NUMERIC_METHOD = "wasserstein"
_CLASS_METHOD = "jensenshannon_base2"
_ROWS_PER_PAGE = 20


@dataclass(frozen=True)
class Table:
    """Evidently's page as HTML (self-contained), its dictionary, and column -> drift score."""

    html: str
    data: dict[str, Any]
    scores: Mapping[str, float]


def column_table(
    reference: pd.DataFrame, window: pd.DataFrame, *, categorical: Sequence[str], thresholds: Mapping[str, float]
) -> Table:
    """Evidently's drift table over the columns of ``thresholds``, each drifted from its own threshold on.

    Numeric columns are compared by normed Wasserstein distance, ``categorical`` ones by Jensen-Shannon distance to
    base 2. Every column must hold at least one value on either side. The frames are not changed.
    """
    numeric = [name for name in thresholds if name not in categorical]
    definition = DataDefinition(numerical_columns=numeric, categorical_columns=list(categorical))
    columns = _ColumnTable(
        columns=list(thresholds),
        num_method=_NUMERIC_METHOD,
        cat_method=_CLASS_METHOD,
        per_column_threshold=dict(thresholds),
        include_tests=False,
    )
    snapshot = Report([columns], include_tests=False).run(
        Dataset.from_pandas(window.copy(), definition), Dataset.from_pandas(reference.copy(), definition)
    )
    data = snapshot.dict()
    scores = {
        metric["config"]["column"]: float(metric["value"]) for metric in data["metrics"] if "column" in metric["config"]
    }
    return Table(snapshot.get_html_str(as_iframe=False), data, scores)


class _ColumnTable(DataDriftPreset):  # type: ignore[misc,unused-ignore]
    """Evidently's preset without its verdict on the data set, which would contradict the one above it."""

    def render(self, context: Context, child_widgets: object = None) -> list[BaseWidgetInfo]:  # noqa: ARG002
        metric = DataDriftTable(
            columns=self.columns,
            num_stattest=self.num_method,
            cat_stattest=self.cat_method,
            per_column_stattest_threshold=self.per_column_threshold,
        )
        widgets: list[BaseWidgetInfo] = context.get_legacy_metric(metric, None, None)[1]
        for widget in widgets:
            if isinstance(widget.params, dict) and "rowsPerPage" in widget.params:
                widget.params["rowsPerPage"] = _ROWS_PER_PAGE
        return widgets


def _jensen_shannon_base2(
    reference: "pd.Series[Any]", window: "pd.Series[Any]", _: ColumnType, threshold: float
) -> tuple[float, bool]:
    names = pd.Index(reference.unique()).union(pd.Index(window.unique()))
    shares = [
        class_shares(column.value_counts().reindex(names, fill_value=0).to_numpy(dtype=np.float64))
        for column in (reference, window)
    ]
    distance = jensen_shannon(shares[0], shares[1])
    return distance, distance >= threshold


register_stattest(
    StatTest(
        name=_CLASS_METHOD,
        display_name="Jensen-Shannon distance (base 2)",
        allowed_feature_types=[ColumnType.Categorical],
        default_threshold=0.25,
    ),
    _jensen_shannon_base2,
)
