"""The Cameras dashboard: which camera is not well and since when, and beside it how much each one drifts."""

from grafana_foundation_sdk.builders import dashboard as build
from grafana_foundation_sdk.builders import stat, statetimeline, table, timeseries

import frame
import promql
import style
from panels import Box, Column, Query, history, lines, rows, single
from visiondrift.signals import SEVERITIES

SELECTOR = 'model=~"$model"'
CAMERA = "model, version, slice"
LEGEND = "{{model}} {{version}} / {{slice}}"
BY_CAMERA = f"max by ({CAMERA})"
OF_CAMERAS = f"and on (model, version, slice) visiondrift_camera_last_frame_timestamp_seconds{{{SELECTOR}}}"


def cameras() -> build.Dashboard:
    """Build the dashboard."""
    board = frame.new_dashboard(
        "VisionDrift / Cameras",
        uid=frame.CAMERAS_UID,
        description="Every camera: is it well, what is wrong with it and since when; and drift by camera beside it.",
        variables=[
            frame.models_variable(metric="visiondrift_camera_last_frame_timestamp_seconds", description="Models")
        ],
        links=[
            frame.dashboard_link("Overview", frame.OVERVIEW_PATH, "Every model and camera"),
            frame.dashboard_link("Model", frame.MODEL_PATH, "One model in depth"),
        ],
        alerts={severity: promql.firing(SELECTOR, severity=severity) for severity in SEVERITIES},
    )
    return frame.filled(
        board,
        [_not_well(), _faults(), _health()],
        {
            "How near is each camera to a fault, and does it send?": [_reach(), _last_frames()],
            "Drift by camera": [_verdicts(), _drift()],
        },
    )


def _not_well() -> stat.Panel:
    return single(
        Box(
            "Cameras that are not well",
            "How many cameras have at least one fault now. No data: no camera was looked at.",
            width=6,
            height=8,
            decimals=0,
            no_value="No camera was looked at",
        ),
        [Query(f"count({BY_CAMERA} (visiondrift_camera_fault{{{SELECTOR}}}) == 1) or vector(0)", "not well")],
        thresholds=style.thresholds((None, style.OK), (1, style.CRITICAL)),
        background=True,
    )


def _faults() -> table.Panel:
    by_fault = f"max by ({CAMERA}, fault)"
    there = f"and on ({CAMERA}, fault) {by_fault} (visiondrift_camera_fault{{{SELECTOR}}}) == 1"
    since = f"visiondrift_camera_fault_since_timestamp_seconds{{{SELECTOR}}}"
    return rows(
        Box(
            "Faults",
            "Each fault of each camera, the oldest first. 'Of its limit' is how far the camera is from its own "
            "reference, as a share of the limit at which the fault begins. The runbook has a section for each.",
            width=18,
            height=8,
            no_value="Every camera that could be judged is well",
        ),
        [
            Query(f"time() - {by_fault} ({since})\n  {there}", "since"),
            Query(f"{by_fault} (visiondrift_camera_fault_reach_ratio{{{SELECTOR}}})\n  {there}", "of its limit"),
        ],
        [
            Column("fault", "Fault", 120),
            Column("model", "Model"),
            Column("version", "Version", 80),
            Column("slice", "Camera"),
            Column("Value #A", "For", 110, unit="s", decimals=0),
            Column("Value #B", "Of its limit", 120, unit="percentunit", decimals=0),
        ],
        sort=[("For", True)],
    )


def _health() -> statetimeline.Panel:
    code = "\n  or ".join(
        f'{number} * (visiondrift_camera_fault{{fault="{name}", {SELECTOR}}} == 1)'
        for name, number in style.FAULT_CODES.items()
    )
    return history(
        Box(
            "Health of each camera",
            "The most fundamental fault of each camera over time, or that it is well. Missing: nothing could be told, "
            "because the reference has no measured frames of this camera or too few frames came.",
            width=24,
            height=10,
            no_value="No camera was looked at: no images are measured, or the reference has none",
        ),
        [Query(f"{BY_CAMERA} (\n  {code}\n  or 0 * visiondrift_camera_fault{{{SELECTOR}}}\n)", LEGEND)],
        mappings=style.fault_mappings(),
    )


def _reach() -> timeseries.Panel:
    ratio = f"visiondrift_camera_fault_reach_ratio{{{SELECTOR}}}"
    return lines(
        Box(
            "Nearest fault of each camera, of its limit",
            "How far each camera is on its way to the fault that it is nearest to: 0 % as in its own reference, from "
            "100 % on it has the fault. A slope is a lens that gets dirty or a mount that gives way.",
            width=12,
            height=9,
            unit="percentunit",
            decimals=0,
            no_value="No camera could be judged",
        ),
        [Query(f"clamp_max({BY_CAMERA} ({ratio}), 2)", LEGEND)],
        colors={},
    )


def _last_frames() -> timeseries.Panel:
    return lines(
        Box(
            "Age of the newest frame",
            "Time since the newest event of each camera. A line that climbs alone is a camera that has stopped; all "
            "climbing together are what is before them.",
            width=12,
            height=9,
            unit="s",
            decimals=0,
            no_value="No camera has sent",
        ),
        [
            Query(
                f"time() - {BY_CAMERA} (visiondrift_camera_last_frame_timestamp_seconds{{{SELECTOR}}})",
                LEGEND,
            )
        ],
        colors={},
    )


def _verdicts() -> statetimeline.Panel:
    return history(
        Box(
            "Verdict of each camera",
            "The worst verdict of any window of each camera: drift, which is the world's or the model's, as long as "
            "the camera is well above.",
            width=12,
            height=10,
            no_value="No camera was evaluated",
        ),
        [Query(f"{BY_CAMERA} (\n{promql.verdict_code(SELECTOR)}\n)\n  {OF_CAMERAS}", LEGEND)],
    )


def _drift() -> statetimeline.Panel:
    ratio = f"visiondrift:signal_threshold:ratio{{{SELECTOR}}}"
    return history(
        Box(
            "Drift of each camera, of its threshold",
            "The signal of each camera that is nearest to a threshold, as a share of it: from 100 % on it alerts "
            "(orange), from 200 % on it is far beyond (dark). Missing: no window could be judged.",
            width=12,
            height=10,
            unit="percentunit",
            decimals=0,
            no_value="No camera was evaluated",
        ),
        [Query(f"{BY_CAMERA} ({ratio})\n  {OF_CAMERAS}", LEGEND)],
        thresholds=style.of_threshold(),
    )
