"""The Model dashboard: one model, version, slice and window in depth: which signal, what changed, can it be judged."""

from grafana_foundation_sdk.builders import barchart, bargauge, stat, statetimeline, table, timeseries
from grafana_foundation_sdk.builders import dashboard as build
from grafana_foundation_sdk.models import dashboard

import frame
import promql
import style
from panels import (
    NO_SCORE,
    Box,
    Query,
    bars,
    compared,
    fixed_color,
    history,
    lines,
    single,
    stacked,
    threshold_line,
)
from visiondrift.signals import ALL_SLICES, SEVERITIES, SIGNALS, Signal

Panel = timeseries.Panel | stat.Panel | bargauge.Panel | statetimeline.Panel | table.Panel | barchart.Panel

MODEL = 'model="$model"'
SLICE = 'model="$model", version="$version", slice="$slice"'
WINDOW = 'model="$model", version="$version", slice="$slice", window="$window"'
RATIO = f"visiondrift:signal_threshold:ratio{{{WINDOW}}}"
THRESHOLD_LINES = {"warning": threshold_line(style.WARNING), "critical": threshold_line(style.CRITICAL)}

REPORT_URL = "${exporter_url}/reports/latest?" + "&".join(
    f"{name}=${{{name}:percentencode}}" for name in promql.KEY.split(", ")
)


def model() -> build.Dashboard:
    """Build the dashboard."""
    board = frame.new_dashboard(
        "VisionDrift / Model",
        uid=frame.MODEL_UID,
        description="One model, version, camera and window: every signal with its thresholds, and what lies behind it.",
    )
    for variable in (*_variables(), *frame.address_variables()):
        board = board.with_variable(variable)
    for link in (
        frame.Link(
            "Overview", frame.OVERVIEW_PATH, "Every model and camera", icon="dashboard", keep_time=True, new_tab=False
        ),
        frame.Link("Evidently report", REPORT_URL, "The newest report of this window", "doc"),
        *frame.EXPORTER_LINKS,
    ):
        board = board.link(frame.top_link(link))
    for annotation in frame.alert_annotations({severity: _alerts(severity) for severity in SEVERITIES}):
        board = board.annotation(annotation)
    for panel in _answer():
        board = board.with_panel(panel)
    for title, content in (
        ("Signals and their thresholds", [_signal(signal) for signal in SIGNALS]),
        ("What the model answers", _answers()),
        ("What the verdict rests on", _basis()),
    ):
        board = board.with_row(build.Row(title))
        for panel in content:
            board = board.with_panel(panel)
    return board


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


def _answer() -> list[Panel]:
    return [_verdict(), _worst(), _enough(), *_ages(), _firing(), _neighbours()]


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
                _per_window("visiondrift_window_samples") + " / " + _per_window("visiondrift_window_min_samples"),
                "samples",
            )
        ],
        thresholds=style.thresholds((None, style.INSUFFICIENT), (1, style.OK)),
        longest=2,
    )


def _per_window(metric: str) -> str:
    return f"max({metric}{{{WINDOW}}})"


def _ages() -> list[Panel]:
    return [
        single(
            Box(
                "Last event", "Time since the newest event of this slice.", 3, 5, unit="s", decimals=0, no_value="Never"
            ),
            [Query(f"time() - max(visiondrift_last_event_timestamp_seconds{{{SLICE}}})", "last event")],
            thresholds=style.calm(),
        ),
        single(
            Box(
                "Last evaluation",
                "Time since this model and version were last evaluated with success.",
                3,
                5,
                unit="s",
                decimals=0,
                no_value="Never",
            ),
            [
                Query(
                    "time() - max(visiondrift_evaluation_last_success_timestamp_seconds"
                    f'{{{MODEL}, version="$version"}})',
                    "last evaluation",
                )
            ],
            thresholds=style.calm(),
        ),
    ]


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


def _signal(signal: Signal) -> timeseries.Panel:
    """One signal with its two thresholds."""
    everywhere = signal.name == "invalid_ratio"  # a rejected event is not known to belong to any slice
    where = WINDOW.replace("$slice", ALL_SLICES) if everywhere else WINDOW
    metric = f"visiondrift_{signal.name}"
    sense = "Bad when low." if signal.bad_when == "low" else "Bad when high."
    scope = " Counted over all slices." if everywhere else ""
    meaning = signal.meaning[0].upper() + signal.meaning[1:]
    return lines(
        Box(
            signal.title,
            f"{meaning}. {sense}{scope} A gap is a window with too few samples.",
            width=6,
            height=8,
            unit="percentunit" if signal.percent else "none",
            decimals=0 if signal.percent else 2,
            no_value=NO_SCORE,
        ),
        [
            # The drift of a confidence has one series a class; the worst is what is judged.
            Query(f"{'min' if signal.bad_when == 'low' else 'max'}({metric}{{{where}}})", "score"),
            *(Query(f'max({metric}_threshold{{{where}, severity="{severity}"}})', severity) for severity in SEVERITIES),
        ],
        colors={"score": [fixed_color(style.SCORE)], **THRESHOLD_LINES},
    )


def _answers() -> list[Panel]:
    return [_class_mix(), _class_mix_history(), _class_confidence(), _mean_confidence(), _low_confidence()]


def _class_mix() -> barchart.Panel:
    return compared(
        Box(
            "Class mix, window and reference",
            "Share of each predicted class now, beside its share in the reference. Rare classes are together in "
            "'other'.",
            width=8,
            height=8,
            unit="percentunit",
            decimals=0,
            no_value="No class shares: too few samples, or the model has no classes",
        ),
        [
            Query(f"max by (class) (visiondrift_class_share{{{WINDOW}}})", "window"),
            Query(f"max by (class) (visiondrift_reference_class_share{{{WINDOW}}})", "reference"),
        ],
        by="class",
        colors={"window": style.SCORE, "reference": style.REFERENCE},
    )


def _class_mix_history() -> timeseries.Panel:
    panel = lines(
        Box(
            "Class mix over time",
            "Share of each predicted class in the window.",
            width=8,
            height=8,
            unit="percentunit",
            decimals=0,
            no_value="No class shares: too few samples, or the model has no classes",
        ),
        [Query(f"max by (class) (visiondrift_class_share{{{WINDOW}}})", "{{class}}")],
        colors={},
    )
    return stacked(panel).min(0).max(1)


def _class_confidence() -> timeseries.Panel:
    return lines(
        Box(
            "Confidence drift by class",
            "How far the confidence of each class moved, in standard deviations of the reference.",
            width=8,
            height=8,
            decimals=2,
            no_value=NO_SCORE,
        ),
        [
            Query(f"max by (class) (visiondrift_confidence_drift{{{WINDOW}}})", "{{class}}"),
            *(
                Query(f'max(visiondrift_confidence_drift_threshold{{{WINDOW}, severity="{severity}"}})', severity)
                for severity in SEVERITIES
            ),
        ],
        colors=THRESHOLD_LINES,
    )


def _mean_confidence() -> timeseries.Panel:
    return lines(
        Box(
            "Mean confidence",
            "Mean of the highest confidence of each event, in the window and in the reference.",
            width=12,
            height=8,
            unit="percentunit",
            decimals=0,
            no_value="No confidences: too few samples, or the model sends none",
        ),
        [
            Query(_per_window("visiondrift_mean_confidence"), "window"),
            Query(_per_window("visiondrift_reference_mean_confidence"), "reference"),
        ],
        colors={"window": [fixed_color(style.SCORE)], "reference": threshold_line(style.REFERENCE)},
    )


def _low_confidence() -> timeseries.Panel:
    share = _per_window("visiondrift_low_confidence_ratio")
    return lines(
        Box(
            "Unsure answers",
            "Share of events whose highest confidence is below low_confidence_below, in the window and in the "
            "reference.",
            width=12,
            height=8,
            unit="percentunit",
            decimals=0,
            no_value="No confidences: too few samples, or the model sends none",
        ),
        [
            Query(share, "window"),
            # The published rise is the window's share minus the reference's.
            Query(f"{share} - {_per_window('visiondrift_low_confidence_rise')}", "reference"),
        ],
        colors={"window": [fixed_color(style.SCORE)], "reference": threshold_line(style.REFERENCE)},
    )


def _basis() -> list[Panel]:
    return [_samples(), _reference(), _stored(), _rejected(), _duration()]


def _samples() -> timeseries.Panel:
    return lines(
        Box(
            "Samples in the window",
            "Events that the window holds, and the minimum below which it is not judged.",
            width=8,
            height=8,
            unit="short",
            decimals=0,
            no_value="Not evaluated",
        ),
        [
            Query(_per_window("visiondrift_window_samples"), "samples"),
            Query(_per_window("visiondrift_window_min_samples"), "minimum"),
        ],
        colors={"samples": [fixed_color(style.SCORE)], "minimum": threshold_line(style.INSUFFICIENT)},
    )


def _reference() -> stat.Panel:
    return single(
        Box(
            "Reference",
            "Rows of the reference that this model is compared with, and its age. An old reference drifts by itself.",
            width=8,
            height=8,
            no_value="No reference",
        ),
        [
            Query(f"max by (reference) (visiondrift_reference_rows{{{MODEL}}})", "{{reference}}: rows"),
            Query(
                f"time() - max by (reference) (visiondrift_reference_created_timestamp_seconds{{{MODEL}}})",
                "{{reference}}: age",
            ),
        ],
        thresholds=style.calm(),
        named=True,
    ).override_by_query("B", [dashboard.DynamicConfigValue(id_val="unit", value="s")])


def _stored() -> timeseries.Panel:
    counters = ("received", "stored", "duplicate", "rejected")
    return lines(
        Box(
            "Events of this model",
            "Events per second by what became of them, over all slices: stored are durable, duplicates had an id that "
            "was there already, rejected were refused.",
            width=8,
            height=8,
            unit="eps",
            no_value="The exporter is not scraped",
        ),
        [Query(f"sum(rate(visiondrift_events_{name}_total{{{MODEL}}}[$__rate_interval]))", name) for name in counters],
        colors={
            "stored": [fixed_color(style.OK)],
            "rejected": [fixed_color(style.CRITICAL)],
            "received": [fixed_color(style.SCORE)],
            "duplicate": [fixed_color(style.INSUFFICIENT)],
        },
    )


def _rejected() -> timeseries.Panel:
    rejected = f"rate(visiondrift_events_rejected_total{{{MODEL}}}[$__rate_interval])"
    return lines(
        Box(
            "Rejected events by reason",
            "Events per second that were refused at intake. Only reasons that occur are drawn; the answer to the "
            "sender names the event, the field and what is accepted.",
            width=12,
            height=8,
            unit="eps",
            no_value="The exporter is not scraped",
        ),
        [
            Query(f"sum by (reason) ({rejected}) > 0", "{{reason}}"),
            Query(f"sum({rejected})", "all reasons"),
        ],
        colors={"all reasons": threshold_line(style.CRITICAL)},
    )


def _duration() -> timeseries.Panel:
    metric = "visiondrift_evaluation_duration_seconds"
    count = f"sum(rate({metric}_count{{{MODEL}}}[$__rate_interval]))"
    panel = lines(
        Box(
            "Evaluation time",
            "Mean time that one evaluation of this model takes, with its report, beside the interval that it must fit.",
            width=12,
            height=8,
            unit="s",
            no_value="No evaluation yet",
        ),
        [
            Query(f"sum(rate({metric}_sum{{{MODEL}}}[$__rate_interval]))\n/ ({count} > 0)", "evaluation"),
            Query(f"max(visiondrift_evaluation_interval_seconds{{{MODEL}}})", "interval"),
        ],
        colors={"evaluation": [fixed_color(style.SCORE)], "interval": threshold_line(style.WARNING)},
    )
    # Evaluations are minutes apart, so most rate intervals hold none: here a gap means nothing.
    return panel.span_nulls(span_nulls=True)
