"""The Overview dashboard: is anything wrong, where, since when, and can the answer be trusted."""

from grafana_foundation_sdk.builders import dashboard as build
from grafana_foundation_sdk.builders import stat, statetimeline, table, timeseries
from grafana_foundation_sdk.models import dashboard

import frame
import overview_drift as drift
import overview_service as service
import promql
import style
from overview_service import SELECTOR
from panels import Box, Column, Query, bar_column, history, lines, rows, single, threshold_line
from visiondrift.signals import SEVERITIES

# Alerts about the stack itself carry no model: with one model selected they still belong on this page.
ALERTS = 'model=~"$model|"'
RATIO = f"visiondrift:signal_threshold:ratio{{{SELECTOR}}}"

WINDOW_LEGEND = "{{model}} {{version}} / {{slice}} / {{window}}"

TO_MODEL = {
    "title": "Open in the Model dashboard",
    "url": frame.model_address({name: f"${{__data.fields.{name}:percentencode}}" for name in promql.KEY.split(", ")}),
    "targetBlank": False,
}


def overview() -> build.Dashboard:
    """Build the dashboard."""
    board = frame.new_dashboard(
        "VisionDrift / Overview",
        uid=frame.OVERVIEW_UID,
        description="Every model and camera: is anything wrong, where, since when, and can the answer be trusted.",
        variables=[frame.models_variable(metric="visiondrift_window_samples", description="Models to show")],
        links=[
            frame.dashboard_link("Model", frame.MODEL_PATH, "One model in depth"),
            frame.dashboard_link("Cameras", frame.CAMERAS_PATH, "Which camera is not well, and since when"),
            frame.Link("Reports", "${exporter_url}/reports/", "Evidently reports, newest first"),
        ],
        alerts={severity: promql.firing(ALERTS, severity=severity) for severity in SEVERITIES},
    )
    return frame.filled(
        board,
        [_state(), _counts(), _alerts(), _everything(), _verdict_history(), _ratio_history()],
        {
            "What has drifted, and does it matter?": drift.drift(WINDOW_LEGEND, TO_MODEL),
            "Is data arriving?": service.arriving(),
            "Is the monitor itself well?": service.monitor(),
        },
    )


def _state() -> stat.Panel:
    return single(
        Box(
            "Is anything wrong?",
            "The worst of all verdicts and firing alerts. 'Cannot tell' means that no window has enough samples. "
            "No data means that neither the exporter's metrics nor any alert reached Prometheus: look at the last row.",
            width=4,
            height=6,
            no_value="No data: see the last row",
        ),
        [Query(promql.worst_state(SELECTOR, ALERTS), "state")],
        thresholds=style.calm(),
        mappings=style.verdict_mappings(),
        background=True,
    )


def _counts() -> stat.Panel:
    names = ("critical", "warning", "ok", "insufficient")
    panel = single(
        Box(
            "Windows by verdict",
            "How many windows (a model, a version, a camera or all of them, and a time span) have which verdict now. "
            "'Cannot tell' has fewer samples than the configured minimum.",
            width=8,
            height=6,
            decimals=0,
            no_value="No verdict yet",
        ),
        [
            Query(f'sum(visiondrift_verdict{{verdict="{name}", {SELECTOR}}})', style.VERDICT_WORDS[name])
            for name in names
        ],
        thresholds=style.calm(),
        named=True,
    )
    for name in names:
        # A zero stays calm: only a count of something draws the eye.
        steps = style.thresholds((None, "text"), (1, style.BY_VERDICT[name]))
        override = dashboard.DynamicConfigValue(id_val="thresholds", value=steps.build())
        panel = panel.override_by_name(style.VERDICT_WORDS[name], [override])
    return panel


def _alerts() -> table.Panel:
    return rows(
        Box(
            "Firing alerts",
            "Alerts that Prometheus holds as firing, critical first. Each has a section in the runbook (link at the "
            "top of the page). Silences are made in Alertmanager.",
            width=12,
            height=6,
            no_value="No alert is firing",
        ),
        [Query(promql.firing_for(ALERTS), "{{alertname}}")],
        [
            Column("severity", "Severity", 90, mappings=style.severity_mappings(), cell={"type": "color-text"}),
            Column("alertname", "Alert", 220),
            Column("model", "Model"),
            Column("slice", "Slice", link=TO_MODEL),
            Column("window", "Window", 80),
            Column("version", "Version", 80),
            Column("model_owner", "Owner"),
            Column("Value", "Since", 90, unit="s", decimals=0),
        ],
        sort=[("Severity", False), ("Since", True)],
    )


def _everything() -> table.Panel:
    return rows(
        Box(
            "Every model and camera, worst first",
            "One row for each evaluated window. 'Worst' is the signal that is nearest to, or furthest beyond, one of "
            "its thresholds: 100 % is at the threshold. Without enough samples there is no score, and a dash. "
            "Click a slice for its Model dashboard.",
            width=24,
            height=10,
            no_value="Nothing is evaluated yet: the exporter has no configured model with events, or is not scraped",
        ),
        _everything_queries(),
        _everything_columns(),
        sort=[("Verdict", True), ("Worst, of its threshold", True)],
    )


def _everything_queries() -> list[Query]:
    per_window = f"max by ({promql.KEY})"
    last_event = f"visiondrift_last_event_timestamp_seconds{{{SELECTOR}}}"
    return [
        Query(promql.verdict_code(SELECTOR), "verdict"),
        Query(f"topk by ({promql.KEY}) (1, max by ({promql.KEY}, signal) ({RATIO}))", "worst of any threshold"),
        Query(
            f'{per_window} (visiondrift:signal_threshold:ratio{{severity="critical", {SELECTOR}}})',
            "worst of the critical thresholds",
        ),
        Query(f"{per_window} (visiondrift_window_samples{{{SELECTOR}}})", "samples"),
        Query(f"{per_window} (visiondrift_window_min_samples{{{SELECTOR}}})", "needed"),
        Query(f"time() - max by (model, version, slice) ({last_event})", "last event"),
    ]


def _everything_columns() -> list[Column]:
    """The columns, in order; "Value #A" is the first query's value, and so on."""
    return [
        Column(
            "Value #A",
            "Verdict",
            110,
            mappings=style.verdict_mappings(),
            cell={"type": "color-background", "mode": "basic"},
        ),
        Column("model", "Model"),
        Column("version", "Version", 90),
        Column("slice", "Slice", link=TO_MODEL),
        Column("window", "Window", 90),
        Column("signal", "Worst signal"),
        bar_column(
            "Value #B",
            "Worst, of its threshold",
            thresholds=style.thresholds((None, style.OK), (1, style.WARNING)),
            full=2,
        ),
        Column(
            "Value #C",
            "Of critical",
            unit="percentunit",
            decimals=0,
            thresholds=style.thresholds((None, style.OK), (1, style.CRITICAL)),
            cell={"type": "color-text"},
        ),
        Column("Value #D", "Samples", 90, decimals=0),
        Column("Value #E", "Needed", 90, decimals=0),
        Column("Value #F", "Last event", 110, unit="s", decimals=0),
    ]


def _verdict_history() -> statetimeline.Panel:
    return history(
        Box(
            "Since when",
            "The verdict of each window over time. Grey: too few samples to judge. A hole: the exporter was not "
            "scraped.",
            width=12,
            height=9,
            no_value="No verdict in this time range",
        ),
        [Query(promql.verdict_code(SELECTOR), WINDOW_LEGEND)],
    )


def _ratio_history() -> timeseries.Panel:
    return lines(
        Box(
            "Worst score of its threshold",
            "The worst signal of each window as a share of its nearest threshold: at 100 % it alerts. Rising lines "
            "below it are the cameras to look at next.",
            width=12,
            height=9,
            unit="percentunit",
            decimals=0,
            no_value="No score: too few samples everywhere, or no threshold is configured",
        ),
        [
            Query(f"max by ({promql.KEY}) ({RATIO})", WINDOW_LEGEND),
            Query("vector(1)", "threshold"),
        ],
        colors={"threshold": threshold_line(style.WARNING)},
    )
