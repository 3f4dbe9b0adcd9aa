"""What all dashboards have around their panels: identity, data source, time, variables, links, annotations."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from grafana_foundation_sdk.builders import dashboard as build
from grafana_foundation_sdk.builders import prometheus
from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.models import common, dashboard

import style

DATASOURCE_UID = "visiondrift-prometheus"
DATASOURCE_NAME = "VisionDrift Prometheus"
DATASOURCE = common.DataSourceRef(type_val="prometheus", uid="${datasource}")
"""Every query names the variable, never the data source: the dashboards also work when imported elsewhere."""

OVERVIEW_UID = "visiondrift-overview"
MODEL_UID = "visiondrift-model"
CAMERAS_UID = "visiondrift-cameras"

# Grafana puts its own root URL, sub-path included, before an address that starts with a slash.
MODEL_PATH = f"/d/{MODEL_UID}"
OVERVIEW_PATH = f"/d/{OVERVIEW_UID}"
CAMERAS_PATH = f"/d/{CAMERAS_UID}"


@dataclass(frozen=True)
class Link:
    """One entry of the dashboard's top bar."""

    title: str
    url: str
    tooltip: str
    icon: str = "external link"
    keep_time: bool = False
    new_tab: bool = True


def dashboard_link(title: str, path: str, tooltip: str) -> Link:
    """A link to the other dashboard, in the same tab and time range."""
    return Link(title, path, tooltip, icon="dashboard", keep_time=True, new_tab=False)


def new_dashboard(
    title: str,
    *,
    uid: str,
    description: str,
    variables: Sequence[build.QueryVariable],
    links: Sequence[Link],
    alerts: Mapping[str, str],
) -> build.Dashboard:
    """Give a read-only dashboard without panels: with the templated data source and addresses, ``variables`` between
    them, ``links`` before the exporter's in the top bar, and firing alerts as regions (``alerts``: severity -> PromQL).
    """
    board = (
        build.Dashboard(title)
        .uid(uid)
        .description(description)
        .tags(["visiondrift"])
        .readonly()
        .timezone("browser")
        .tooltip(dashboard.DashboardCursorSync.CROSSHAIR)
        .time("now-6h", "now")
        .refresh("30s")
        .with_variable(_datasource_variable())
    )
    for variable in (*variables, *_address_variables()):
        board = board.with_variable(variable)
    for link in (*links, *_EXPORTER_LINKS):
        board = board.link(_top_link(link))
    for severity, expr in alerts.items():
        board = board.annotation(_alert_annotation(severity, expr))
    return board


def _datasource_variable() -> build.DatasourceVariable:
    current = dashboard.VariableOption(selected=True, text=DATASOURCE_NAME, value=DATASOURCE_UID)
    return (
        build.DatasourceVariable("datasource")
        .type("prometheus")
        .label("Data source")
        .description("The Prometheus that scrapes the VisionDrift exporter")
        .current(current)
        .hide(dashboard.VariableHide.HIDE_VARIABLE)
    )


def label_variable(
    name: str, *, metric: str, label: str = "", title: str = "", description: str
) -> build.QueryVariable:
    """List the values of ``label`` (by default ``name``) on ``metric``, which may carry a selector."""
    query = f"label_values({metric}, {label or name})"
    return (
        build.QueryVariable(name)
        .label(title or name.capitalize())
        .description(description)
        .datasource(DATASOURCE)
        .query({"qryType": 1, "query": query, "refId": f"variable-{name}"})
        .refresh(dashboard.VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(dashboard.VariableSort.NATURAL_ASC)
        .allow_custom_value(allow_custom_value=False)
    )


def models_variable(*, metric: str, description: str) -> build.QueryVariable:
    """The variable ``model`` of a dashboard that shows several: all of those on ``metric`` unless some are chosen."""
    return (
        label_variable("model", metric=metric, description=description)
        .multi(multi=True)
        .include_all(include_all=True)
        .all_value(".*")
        .current(dashboard.VariableOption(selected=True, text=["All"], value=["$__all"]))
    )


def _address_variables() -> list[build.QueryVariable]:
    """Hidden variables that hold the exporter's and the runbook's public addresses, as the exporter publishes them."""
    return [
        label_variable(
            name,
            metric="visiondrift_links_info",
            title=title,
            description="Published by the exporter, from its configuration",
        ).hide(dashboard.VariableHide.HIDE_VARIABLE)
        for name, title in (("exporter_url", "Exporter address"), ("runbook_url", "Runbook address"))
    ]


def _top_link(link: Link) -> build.DashboardLink:
    """One link in the dashboard's top bar; variables in its address are filled in by Grafana."""
    return (
        build.DashboardLink(link.title)
        .type(dashboard.DashboardLinkType.LINK)
        .icon(link.icon)
        .tooltip(link.tooltip)
        .url(link.url)
        .keep_time(link.keep_time)
        .include_vars(include_vars=False)
        .target_blank(link.new_tab)
        .as_dropdown(as_dropdown=False)
        .tags([])
    )


_EXPORTER_LINKS = (
    Link("Exporter", "${exporter_url}/", "The exporter's own page: models, cameras, verdicts, sparklines"),
    Link("Runbook", "${runbook_url}", "What each alert means and what to do about it"),
)


def model_address(values: Mapping[str, str]) -> str:
    """The address of the Model dashboard with its variables set, in the current time range."""
    return f"{MODEL_PATH}?" + "&".join(
        ["${__url_time_range}", *(f"var-{name}={value}" for name, value in values.items())]
    )


def _alert_annotation(severity: str, expr: str) -> build.AnnotationQuery:
    """Firing alerts of one severity as coloured regions."""
    color = {"warning": style.WARNING, "critical": style.CRITICAL}[severity]
    target = prometheus.Dataquery().expr(expr).ref_id("Anno").range().interval("")
    return (
        build.AnnotationQuery()
        .name(f"{severity.capitalize()} alerts")
        .datasource(DATASOURCE)
        .enable(enable=True)
        .hide(hide=False)
        .icon_color(color)
        .target(target)
        .title_format("{{alertname}}")
        .text_format("{{model}} {{slice}} {{window}}")
        .tag_keys("severity,component")
    )


def filled(
    board: build.Dashboard,
    top: Sequence[Builder[dashboard.Panel]],
    sections: Mapping[str, Sequence[Builder[dashboard.Panel]]],
) -> build.Dashboard:
    """Put panels on the page: ``top`` first, then each section under its heading, left to right, line by line."""
    for panel in top:
        board = board.with_panel(panel)
    for heading, panels in sections.items():
        board = board.with_row(build.Row(heading))
        for panel in panels:
            board = board.with_panel(panel)
    return board
