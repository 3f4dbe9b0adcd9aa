"""The Overview dashboard: is anything wrong, where, since when, and can the answer be trusted."""

from grafana_foundation_sdk.builders import barchart, bargauge, stat, statetimeline, table, timeseries
from grafana_foundation_sdk.builders import dashboard as build
from grafana_foundation_sdk.models import dashboard

import frame
import promql
import style
from panels import Box, Column, Query, bars, custom, fixed_color, history, lines, rows, single, threshold_line

Panel = timeseries.Panel | stat.Panel | bargauge.Panel | statetimeline.Panel | table.Panel | barchart.Panel

SELECTOR = 'model=~"$model"'
# Alerts about the stack itself carry no model: with one model selected they still belong on this page.
ALERTS = 'model=~"$model|"'
RATIO = f"visiondrift:signal_threshold:ratio{{{SELECTOR}}}"

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
    )
    board = board.with_variable(_model_variable())
    for variable in frame.address_variables():
        board = board.with_variable(variable)
    for link in (
        frame.Link("Model", frame.MODEL_PATH, "One model in depth", icon="dashboard", keep_time=True, new_tab=False),
        frame.Link("Reports", "${exporter_url}/reports/", "Evidently reports, newest first"),
        *frame.EXPORTER_LINKS,
    ):
        board = board.link(frame.top_link(link))
    for annotation in frame.alert_annotations(
        {severity: promql.firing(ALERTS, severity=severity) for severity in ("warning", "critical")}
    ):
        board = board.annotation(annotation)
    for panel in (*_answer(), *_since_when()):
        board = board.with_panel(panel)
    board = board.with_row(build.Row("Is data arriving?"))
    for panel in _arriving():
        board = board.with_panel(panel)
    board = board.with_row(build.Row("Is the monitor itself well?"))
    for panel in _monitor():
        board = board.with_panel(panel)
    return board


def _model_variable() -> build.QueryVariable:
    return (
        frame.label_variable("model", metric="visiondrift_window_samples", description="Models to show")
        .multi(multi=True)
        .include_all(include_all=True)
        .all_value(".*")
        .current(dashboard.VariableOption(selected=True, text=["All"], value=["$__all"]))
    )


def _answer() -> list[Panel]:
    return [_state(), _counts(), _alerts(), _everything()]


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
    share = {"type": "gauge", "mode": "basic", "valueDisplayMode": "text"}
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
        [
            Query(promql.verdict_code(SELECTOR), "verdict"),
            Query(
                f"topk by ({promql.KEY}) (1, max by ({promql.KEY}, signal) ({RATIO}))", "worst score of any threshold"
            ),
            Query(
                f'max by ({promql.KEY}) (visiondrift:signal_threshold:ratio{{severity="critical", {SELECTOR}}})',
                "worst score of the critical threshold",
            ),
            Query(f"max by ({promql.KEY}) (visiondrift_window_samples{{{SELECTOR}}})", "samples"),
            Query(f"max by ({promql.KEY}) (visiondrift_window_min_samples{{{SELECTOR}}})", "needed"),
            Query(
                f"time() - max by (model, version, slice) (visiondrift_last_event_timestamp_seconds{{{SELECTOR}}})",
                "last event",
            ),
        ],
        [
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
            Column(
                "Value #B",
                "Worst, of its threshold",
                unit="percentunit",
                decimals=0,
                thresholds=style.thresholds((None, style.OK), (1, style.WARNING)),
                cell=share,
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
        ],
        sort=[("Verdict", True), ("Worst, of its threshold", True)],
    )


def _since_when() -> list[Panel]:
    legend = "{{model}} {{version}} / {{slice}} / {{window}}"
    verdicts = history(
        Box(
            "Since when",
            "The verdict of each window over time. Grey: too few samples to judge. A hole: the exporter was not "
            "scraped.",
            width=12,
            height=9,
            no_value="No verdict in this time range",
        ),
        [Query(promql.verdict_code(SELECTOR), legend)],
    )
    ratio = lines(
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
            Query(f"max by ({promql.KEY}) ({RATIO})", legend),
            Query("vector(1)", "threshold"),
        ],
        colors={"threshold": threshold_line(style.WARNING)},
    )
    return [verdicts, ratio]


def _arriving() -> list[Panel]:
    silence = (
        "time() - max by (model, slice) (visiondrift_last_event_timestamp_seconds{" + SELECTOR + "})\n"
        ") / on (model) group_left () max by (model) (visiondrift_input_stopped_after_seconds{" + SELECTOR + "})"
    )
    age = (
        "(time() - max by (model) (visiondrift_evaluation_last_success_timestamp_seconds{" + SELECTOR + "}))\n"
        "/ on (model) max by (model) (visiondrift_evaluation_interval_seconds{" + SELECTOR + "})"
    )
    return [
        bars(
            Box(
                "Silence, of what is allowed",
                "Time since the newest event of each model and camera, as a share of input_stopped_after. "
                "At 100 % the input counts as stopped.",
                width=6,
                height=8,
                unit="percentunit",
                no_value="No event was ever stored",
            ),
            [Query("(" + silence, "{{model}} / {{slice}}")],
            thresholds=style.thresholds((None, style.OK), (0.75, style.WARNING), (1, style.CRITICAL)),
            longest=1,
        ),
        bars(
            Box(
                "Age of the last evaluation, in intervals",
                "Time since each model was last evaluated with success, in evaluation intervals. Up to 1 is on "
                "schedule; from 3 on, every verdict on this page is old.",
                width=6,
                height=8,
                decimals=1,
                no_value="No evaluation has succeeded since the exporter started",
            ),
            [Query(age, "{{model}}")],
            thresholds=style.thresholds((None, style.OK), (2, style.WARNING), (3, style.CRITICAL)),
            longest=3,
        ),
        lines(
            Box(
                "Events stored",
                "Events that became durable in the log, per second and model.",
                width=6,
                height=8,
                unit="eps",
                no_value="The exporter is not scraped",
            ),
            [
                Query(
                    f"sum by (model) (rate(visiondrift_events_stored_total{{{SELECTOR}}}[$__rate_interval]))",
                    "{{model}}",
                )
            ],
            colors={},
        ),
        lines(
            Box(
                "Events rejected",
                "Events refused at intake, per second and model; 'unknown' sent the name of no configured model. "
                "Reasons are on the Model dashboard.",
                width=6,
                height=8,
                unit="eps",
                no_value="The exporter is not scraped",
            ),
            [
                Query(
                    "sum by (model) (rate("
                    'visiondrift_events_rejected_total{model=~"$model|unknown"}[$__rate_interval]))',
                    "{{model}}",
                )
            ],
            colors={"unknown": [fixed_color(style.WARNING)]},
        ),
    ]


def _monitor() -> list[Panel]:
    return [_up(), _checks(), _failures(), _intake_time(), _queue(), _log()]


def _up() -> stat.Panel:
    return single(
        Box(
            "Up",
            "Whether Prometheus reached each part of the stack at its last scrape. 'visiondrift' is the exporter.",
            width=12,
            height=4,
            no_value="Prometheus scrapes none of the stack's parts",
        ),
        [Query('max by (job) (up{job=~"visiondrift|prometheus|alertmanager|grafana"})', "{{job}}")],
        thresholds=style.calm(),
        mappings=style.well_mappings(well="up", broken="DOWN"),
        named=True,
    )


def _checks() -> stat.Panel:
    return single(
        Box(
            "In order",
            "Configuration: the files on disk are the ones in force. References: every reference is readable and made "
            "with the configured embedder. Thresholds: every published signal has at least one.",
            width=12,
            height=4,
            no_value="The exporter is not scraped",
        ),
        [
            Query("min(visiondrift_config_last_reload_successful)", "configuration"),
            Query("min(visiondrift_reference_usable)", "references"),
            # The missing ones are listed, and only they: the build info says 1 while there are none.
            Query("min(1 - (visiondrift_signal_threshold_missing == 1) or visiondrift_build_info)", "thresholds"),
        ],
        thresholds=style.calm(),
        mappings=style.well_mappings(well="ok", broken="BROKEN"),
        named=True,
    )


def _failures() -> timeseries.Panel:
    return lines(
        Box(
            "Failures",
            "What the exporter could not do, counted between two points of the graph. Zero is normal; its log says "
            "why.",
            width=6,
            height=8,
            unit="short",
            decimals=0,
            no_value="The exporter is not scraped",
        ),
        [
            Query("sum(increase(visiondrift_evaluation_failures_total[$__rate_interval]))", "evaluations"),
            Query(
                "sum by (reason) (increase(visiondrift_ingest_failures_total[$__rate_interval]))", "ingest: {{reason}}"
            ),
            Query("sum(increase(visiondrift_embedding_failures_total[$__rate_interval]))", "embeddings"),
            Query("sum(increase(visiondrift_report_failures_total[$__rate_interval]))", "reports"),
        ],
        colors={},
    )


def _intake_time() -> timeseries.Panel:
    return lines(
        Box(
            "Intake time, 95th percentile",
            "How long a group commit to the log and the embedding of a batch of images take.",
            width=6,
            height=8,
            unit="s",
            no_value="The exporter is not scraped",
        ),
        [
            Query(promql.quantile_seconds("visiondrift_ingest_commit_duration_seconds", 0.95), "commit"),
            Query(promql.quantile_seconds("visiondrift_embedding_duration_seconds", 0.95), "embedding"),
        ],
        colors={},
    )


def _queue() -> timeseries.Panel:
    return lines(
        Box(
            "Ingest queue",
            "Events that wait to become durable, as a share of the queue's capacity. At 100 % senders get 429.",
            width=6,
            height=8,
            unit="percentunit",
            decimals=0,
            no_value="The exporter is not scraped",
        ),
        [
            Query("max(visiondrift_ingest_queue_events / visiondrift_ingest_queue_capacity_events)", "queue"),
            Query("vector(1)", "full"),
        ],
        colors={"queue": [fixed_color(style.SCORE), custom("fillOpacity", 15)], "full": threshold_line(style.CRITICAL)},
    )


def _log() -> timeseries.Panel:
    return lines(
        Box(
            "Size of the log",
            "What the prediction log takes on disk, after retention by age and size.",
            width=6,
            height=8,
            unit="bytes",
            no_value="The exporter is not scraped",
        ),
        [Query("max(visiondrift_log_size_bytes)", "log")],
        colors={"log": [fixed_color(style.SCORE), custom("fillOpacity", 15)]},
    )
