"""The Model dashboard: one model, version, slice and window in depth: which signal, what changed, can it be judged."""

from grafana_foundation_sdk.builders import bargauge, stat, statetimeline
from grafana_foundation_sdk.builders import dashboard as build
from grafana_foundation_sdk.models import dashboard

import frame
import model_calibration as calibration
import model_cause as why
import model_detail as detail
import model_evidence as evidence
import model_images as images
import model_spread as spread
import promql
import style
from panels import Box, Query, bars, history, single
from scope import MODEL, SLICE, WINDOW, per_window
from visiondrift.signals import SEVERITIES

RATIO = f"visiondrift:signal_threshold:ratio{{{WINDOW}}}"

REPORT_URL = "${exporter_url}/reports/latest?" + "&".join(
    f"{name}=${{{name}:percentencode}}" for name in promql.KEY.split(", ")
)


def model() -> build.Dashboard:
    """Build the dashboard."""
    board = frame.new_dashboard(
        "VisionDrift / Model",
        uid=frame.MODEL_UID,
        description="One model, version, camera and window: every signal with its thresholds, and what lies behind it.",
        variables=_variables(),
        links=[
            frame.dashboard_link("Overview", frame.OVERVIEW_PATH, "Every model and camera"),
            frame.dashboard_link("Cameras", frame.CAMERAS_PATH, "Which camera is not well, and since when"),
            frame.Link("Evidently report", REPORT_URL, "The newest report of this window", "doc"),
        ],
        alerts={severity: _alerts(severity) for severity in SEVERITIES},
    )
    return frame.filled(
        board,
        [_verdict(), _worst(), _enough(), _last_event(), _last_evaluation(), _firing(), _neighbours()],
        {
            "Evidence": evidence.evidence(),
            "Cause: what happened": why.cause(),
            "Cause: which camera": spread.spread(),
            "Accuracy": evidence.accuracy(),
            "Signals and their thresholds": detail.signals(),
            "Images as pictures": images.images(),
            "What the model answers": detail.answers(),
            "Calibration": calibration.calibration(),
            "What the verdict rests on": detail.basis(),
        },
    )


def _variables() -> list[build.QueryVariable]:
    metric = "visiondrift_window_samples"
    version = frame.label_variable(
        "version", metric=f"{metric}{{{MODEL}}}", description="The model's version, newest name first"
    ).sort(dashboard.VariableSort.NATURAL_DESC)
    return [
        frame.label_variable("model", metric=metric, description="A configured model"),
        version,
        frame.label_variable(
            "slice",
            metric=f'{metric}{{{MODEL}, version="$version"}}',
            description="A camera or another slice; 'all' is every event of the model",
        ),
        frame.label_variable("window", metric=f"{metric}{{{SLICE}}}", description="The time span that is compared"),
    ]


def _alerts(severity: str) -> str:
    """Alerts about this slice, about the model as a whole, and about the stack (these have fewer labels)."""
    scopes = (f'{MODEL}, slice="$slice", window=~"$window|"', f'{MODEL}, slice=""', 'model=""')
    return "\nor ".join(promql.firing(scope, severity=severity) for scope in scopes)


def _verdict() -> stat.Panel:
    return single(
        Box(
            "Verdict",
            "The verdict of the chosen window at its last evaluation: that of its worst signal. 'Cannot tell' means "
            "fewer samples than the configured minimum.",
            width=4,
            height=5,
            no_value="Not evaluated",
        ),
        [Query(promql.verdict_code(WINDOW), "verdict")],
        thresholds=style.calm(),
        mappings=style.verdict_mappings(),
        background=True,
    )


def _worst() -> stat.Panel:
    return single(
        Box(
            "Worst signal, of its threshold",
            "The signal nearest to, or furthest beyond, one of its thresholds: 100 % is at the threshold.",
            width=5,
            height=5,
            unit="percentunit",
            decimals=0,
            no_value="No score: too few samples",
        ),
        [Query(f"topk(1, max by (signal) ({RATIO}))", "{{signal}}")],
        thresholds=style.thresholds((None, style.OK), (1, style.WARNING)),
        named=True,
    )


def _enough() -> bargauge.Panel:
    return bars(
        Box(
            "Samples, of the minimum",
            "Events in the window as a share of the configured minimum. Below 100 % nothing is judged.",
            width=5,
            height=5,
            unit="percentunit",
            decimals=0,
            no_value="Not evaluated",
        ),
        [
            Query(
                per_window("visiondrift_window_samples") + " / " + per_window("visiondrift_window_min_samples"),
                "samples",
            )
        ],
        thresholds=style.thresholds((None, style.INSUFFICIENT), (1, style.OK)),
        longest=2,
    )


def _last_event() -> stat.Panel:
    return single(
        Box("Last event", "Time since the newest event of this slice.", 3, 5, unit="s", decimals=0, no_value="Never"),
        [Query(f"time() - max(visiondrift_last_event_timestamp_seconds{{{SLICE}}})", "last event")],
        thresholds=style.calm(),
    )


def _last_evaluation() -> stat.Panel:
    success = f'visiondrift_evaluation_last_success_timestamp_seconds{{{MODEL}, version="$version"}}'
    return single(
        Box(
            "Last evaluation",
            "Time since this model and version were last evaluated with success.",
            3,
            5,
            unit="s",
            decimals=0,
            no_value="Never",
        ),
        [Query(f"time() - max({success})", "last evaluation")],
        thresholds=style.calm(),
    )


def _firing() -> stat.Panel:
    return single(
        Box(
            "Firing alerts",
            "Alerts that fire for this slice, for the model as a whole, or for the stack. The shaded regions in the "
            "graphs are the same alerts.",
            width=4,
            height=5,
            decimals=0,
        ),
        [Query(f"count({_alerts(severity)}) or vector(0)", severity) for severity in reversed(SEVERITIES)],
        thresholds=style.thresholds((None, "text"), (1, style.WARNING)),
        named=True,
    ).override_by_name(
        "critical",
        [
            dashboard.DynamicConfigValue(
                id_val="thresholds", value=style.thresholds((None, "text"), (1, style.CRITICAL)).build()
            )
        ],
    )


def _neighbours() -> statetimeline.Panel:
    return history(
        Box(
            "Every slice of this model, same window",
            "Did the other cameras change at the same time? One alone points at the camera, all together at the model "
            "or the world. Grey: too few samples to judge.",
            width=24,
            height=6,
            no_value="No verdict in this time range",
        ),
        [Query(promql.verdict_code('model="$model", version="$version", window="$window"'), "{{slice}}")],
    )
