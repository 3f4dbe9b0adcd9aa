"""How a panel is made: one function for each kind, so that none lacks a title, a description, a unit or a legend."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from grafana_foundation_sdk.builders import barchart, bargauge, prometheus, stat, statetimeline, table, timeseries
from grafana_foundation_sdk.builders import common as options
from grafana_foundation_sdk.builders import dashboard as build
from grafana_foundation_sdk.models import common, dashboard
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

import style
from frame import DATASOURCE

NO_SCORE = "No score: too few samples in the window, or the signal does not apply here"


@dataclass(frozen=True)
class Query:
    """One PromQL expression and the name that its series get."""

    expr: str
    legend: str


@dataclass(frozen=True)
class Box:
    """What every panel has. ``width`` is in 24ths of the page, ``height`` in Grafana's grid units (30 px)."""

    title: str
    description: str
    width: int
    height: int
    unit: str = "none"
    decimals: int | None = None
    no_value: str = "No data"


@dataclass(frozen=True)
class Column:
    """One column of a table: the field it shows, under which heading, and how."""

    field: str
    heading: str
    width: int | None = None
    unit: str | None = None
    decimals: int | None = None
    bounds: tuple[float, float] | None = None
    mappings: list[dashboard.ValueMapping] | None = None
    thresholds: build.ThresholdsConfig | None = None
    cell: object | None = None
    link: Mapping[str, object] | None = None
    empty: str = "-"


def bar_column(field: str, heading: str, *, thresholds: build.ThresholdsConfig, full: float = 1) -> Column:
    """A column of shares drawn as bars; a share of ``full`` fills one."""
    return Column(
        field,
        heading,
        unit="percentunit",
        decimals=0,
        bounds=(0, full),
        thresholds=thresholds,
        cell={"type": "gauge", "mode": "basic", "valueDisplayMode": "text"},
    )


_Panel = TypeVar(
    "_Panel", timeseries.Panel, stat.Panel, bargauge.Panel, statetimeline.Panel, table.Panel, barchart.Panel
)


def _framed(panel: _Panel, box: Box) -> _Panel:
    """Give a panel what every panel has."""
    panel = (
        panel.title(box.title)
        .description(box.description)
        .datasource(DATASOURCE)
        .span(box.width)
        .height(box.height)
        .unit(box.unit)
        .no_value(box.no_value)
    )
    return panel if box.decimals is None else panel.decimals(box.decimals)


def _legend() -> options.VizLegendOptions:
    """Series names in one line under the graph."""
    legend = options.VizLegendOptions().show_legend(show_legend=True).display_mode(common.LegendDisplayMode.LIST)
    return legend.placement(common.LegendPlacement.BOTTOM).calcs([])


def _targets(queries: list[Query], *, instant: bool, as_table: bool = False) -> list[prometheus.Dataquery]:
    """Queries as targets, with the refIds A, B, C ... that table columns go by."""
    targets = []
    for index, query in enumerate(queries):
        target = prometheus.Dataquery().datasource(DATASOURCE).expr(query.expr).legend_format(query.legend)
        target = target.ref_id(chr(ord("A") + index))
        target = target.instant() if instant else target.range()
        target = target.format(PromQueryFormat.TABLE if as_table else PromQueryFormat.TIME_SERIES)
        targets.append(target)
    return targets


def fixed_color(color: str) -> dashboard.DynamicConfigValue:
    """An override that gives a series one colour."""
    return dashboard.DynamicConfigValue(id_val="color", value={"mode": "fixed", "fixedColor": color})


def custom(name: str, value: object) -> dashboard.DynamicConfigValue:
    """An override of an option that belongs to one kind of panel."""
    return dashboard.DynamicConfigValue(id_val=f"custom.{name}", value=value)


def threshold_line(color: str) -> list[dashboard.DynamicConfigValue]:
    """A threshold in a graph: thin, dashed, without fill or points."""
    return [
        fixed_color(color),
        custom("lineWidth", 1),
        custom("lineStyle", {"fill": "dash", "dash": [8, 6]}),
        custom("lineInterpolation", "stepAfter"),
        custom("showPoints", "never"),
    ]


def lines(
    box: Box, queries: list[Query], *, colors: Mapping[str, list[dashboard.DynamicConfigValue]]
) -> timeseries.Panel:
    """Draw a graph over time. ``colors`` maps a legend to its overrides; other series go by name in the palette."""
    panel = (
        _framed(timeseries.Panel(), box)
        .targets(list(_targets(queries, instant=False)))
        .draw_style(common.GraphDrawStyle.LINE)
        .line_width(2)
        .fill_opacity(0)
        .show_points(common.VisibilityMode.AUTO)
        .span_nulls(span_nulls=False)  # a gap is a window that could not be judged: it must stay visible
        .color_scheme(build.FieldColor().mode(dashboard.FieldColorModeId.PALETTE_CLASSIC_BY_NAME))
        .tooltip(options.VizTooltipOptions().mode(common.TooltipDisplayMode.MULTI).sort(common.SortOrder.DESCENDING))
        .legend(_legend())
    )
    for legend, properties in colors.items():
        panel = panel.override_by_name(legend, properties)
    return panel


def band(*, low: str, color: str) -> dict[str, list[dashboard.DynamicConfigValue]]:
    """The overrides that shade a graph between the series ``low`` and ``high``."""
    edge = [fixed_color(color), custom("lineWidth", 0), custom("showPoints", "never")]
    return {low: edge, "high": [*edge, custom("fillBelowTo", low), custom("fillOpacity", 20)]}


def stacked(panel: timeseries.Panel) -> timeseries.Panel:
    """Turn a graph's lines into areas on top of each other."""
    return panel.fill_opacity(60).line_width(0).stacking(options.StackingConfig().mode(common.StackingMode.NORMAL))


def single(
    box: Box,
    queries: list[Query],
    *,
    thresholds: build.ThresholdsConfig,
    mappings: list[dashboard.ValueMapping] | None = None,
    background: bool = False,
    named: bool = False,
) -> stat.Panel:
    """Show each query's present value as large text; ``background`` colours the tile, ``named`` adds the legend."""
    return (
        _framed(stat.Panel(), box)
        .targets(list(_targets(queries, instant=True)))
        .thresholds(thresholds)
        .color_scheme(build.FieldColor().mode(dashboard.FieldColorModeId.THRESHOLDS))
        .mappings(mappings or [])
        .graph_mode(common.BigValueGraphMode.NONE)
        .color_mode(common.BigValueColorMode.BACKGROUND_SOLID if background else common.BigValueColorMode.VALUE)
        .text_mode(common.BigValueTextMode.VALUE_AND_NAME if named else common.BigValueTextMode.VALUE)
        .reduce_options(options.ReduceDataOptions().calcs(["lastNotNull"]).values(values=False).fields(""))
    )


def bars(box: Box, queries: list[Query], *, thresholds: build.ThresholdsConfig, longest: float) -> bargauge.Panel:
    """Show the present value of each series as a bar; ``longest`` is the value that fills it."""
    return (
        _framed(bargauge.Panel(), box)
        .min(0)
        .max(longest)
        .targets(list(_targets(queries, instant=True)))
        .thresholds(thresholds)
        .color_scheme(build.FieldColor().mode(dashboard.FieldColorModeId.THRESHOLDS))
        .orientation(common.VizOrientation.HORIZONTAL)
        .display_mode(common.BarGaugeDisplayMode.BASIC)
        .reduce_options(options.ReduceDataOptions().calcs(["lastNotNull"]).values(values=False).fields(""))
    )


def history(
    box: Box,
    queries: list[Query],
    *,
    mappings: list[dashboard.ValueMapping] | None = None,
    thresholds: build.ThresholdsConfig | None = None,
) -> statetimeline.Panel:
    """Show states over time, one bar a series: verdicts, other words (``mappings``) or numbers (``thresholds``)."""
    words = style.verdict_mappings() if mappings is None and thresholds is None else mappings or []
    return (
        _framed(statetimeline.Panel(), box)
        .targets(list(_targets(queries, instant=False)))
        .mappings(words)
        .color_scheme(build.FieldColor().mode(dashboard.FieldColorModeId.THRESHOLDS))
        .thresholds(thresholds or style.calm())
        .show_value(common.VisibilityMode.NEVER)
        .merge_values(merge_values=True)
        .row_height(0.8)
        .fill_opacity(80)
        .line_width(0)
        .legend(_legend().show_legend(show_legend=False))
        .tooltip(options.VizTooltipOptions().mode(common.TooltipDisplayMode.SINGLE).sort(common.SortOrder.NONE))
    )


def rows(box: Box, queries: list[Query], columns: list[Column], *, sort: list[tuple[str, bool]]) -> table.Panel:
    """Join the present values of all queries by their labels and show one row for each combination.

    Only the fields named in ``columns`` are shown, in that order. ``sort`` lists (heading, descending).
    """
    panel = (
        _framed(table.Panel(), box)
        .thresholds(style.calm())
        .targets(list(_targets(queries, instant=True, as_table=True)))
        .filterable(filterable=True)
        .show_header(show_header=True)
        .cell_height(common.TableCellHeight.SM)
        .sort_by([options.TableSortByFieldState().display_name(heading).desc(down) for heading, down in sort])
    )
    if len(queries) > 1:
        panel = panel.with_transformation(dashboard.DataTransformerConfig(id_val="merge", options={}))
    panel = panel.with_transformation(_arrange(columns))
    for column in columns:
        panel = panel.override_by_name(column.heading, _cell(column))
    return panel


def _arrange(columns: list[Column]) -> dashboard.DataTransformerConfig:
    """Keep, order and name the fields of a table."""
    return dashboard.DataTransformerConfig(
        id_val="organize",
        options={
            "includeByName": {column.field: True for column in columns},
            "excludeByName": {},
            "indexByName": {column.field: index for index, column in enumerate(columns)},
            "renameByName": {column.field: column.heading for column in columns},
        },
    )


def _cell(column: Column) -> list[dashboard.DynamicConfigValue]:
    values: dict[str, Any] = {
        "noValue": column.empty,
        "custom.width": column.width,
        "unit": column.unit,
        "decimals": column.decimals,
        "min": column.bounds[0] if column.bounds else None,
        "max": column.bounds[1] if column.bounds else None,
        "mappings": column.mappings,
        "thresholds": column.thresholds.build() if column.thresholds else None,
        "custom.cellOptions": column.cell,
        "links": [column.link] if column.link else None,
    }
    return [
        dashboard.DynamicConfigValue(id_val=name, value=value) for name, value in values.items() if value is not None
    ]


def compared(box: Box, queries: list[Query], *, by: str, colors: Mapping[str, str]) -> barchart.Panel:
    """Draw bars side by side: one group for each value of the label ``by``, one bar for each query."""
    legends = [query.legend for query in queries]
    columns = [Column(by, by)] + [
        Column(f"Value #{chr(ord('A') + index)}", legend) for index, legend in enumerate(legends)
    ]
    panel = (
        _framed(barchart.Panel(), box)
        .targets(list(_targets(queries, instant=True, as_table=True)))
        .with_transformation(dashboard.DataTransformerConfig(id_val="merge", options={}))
        .with_transformation(_arrange(columns))
        .x_field(by)
        .orientation(common.VizOrientation.AUTO)
        .stacking(common.StackingMode.NONE)
        .show_value(common.VisibilityMode.NEVER)
        .bar_width(0.9)
        .group_width(0.7)
        .fill_opacity(80)
        .line_width(0)
        .tooltip(options.VizTooltipOptions().mode(common.TooltipDisplayMode.MULTI).sort(common.SortOrder.NONE))
        .legend(_legend())
    )
    for legend, color in colors.items():
        panel = panel.override_by_name(legend, [fixed_color(color)])
    return panel
