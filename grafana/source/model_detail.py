"""The lower part of the Model dashboard: the signals, what the model answers, and what the verdict rests on."""

from grafana_foundation_sdk.builders import barchart, stat, timeseries
from grafana_foundation_sdk.models import dashboard

import style
from panels import NO_SCORE, Box, Query, compared, fixed_color, lines, single, stacked, threshold_line
from scope import MODEL, SLICE, WINDOW, per_window
from visiondrift.signals import ALL_SLICES, BY_NAME, SEVERITIES, SIGNALS, Signal

Panel = timeseries.Panel | stat.Panel | barchart.Panel

THRESHOLD_LINES = {"warning": threshold_line(style.WARNING), "critical": threshold_line(style.CRITICAL)}


ELSEWHERE = ("drift_evidence", "accumulated_evidence", "accuracy_drop", "image_drift")
"""Signals that are drawn beside what explains them."""


def signals() -> list[Panel]:
    """One graph for each of the other signals, in the order of the vocabulary."""
    return [_signal(signal, width=6) for signal in SIGNALS if signal.name not in ELSEWHERE]


def signal(name: str) -> timeseries.Panel:
    """The graph of one signal that has a place of its own."""
    return _signal(BY_NAME[name], width=8)


def _scope_of(name: str) -> tuple[str, str]:
    """The windows that a signal is drawn of, and what to say of them."""
    if name == "invalid_ratio":  # a rejected event is not known to belong to any slice
        return WINDOW.replace("$slice", ALL_SLICES), " Counted over all slices."
    if name == "accumulated_evidence":
        return SLICE, " There is one for each slice, in its longest window, whichever window is chosen."
    return WINDOW, ""


def _signal(signal: Signal, *, width: int) -> timeseries.Panel:
    """One signal with its two thresholds."""
    where, scope = _scope_of(signal.name)
    metric = f"visiondrift_{signal.name}"
    sense = "Bad when low." if signal.bad_when == "low" else "Bad when high."
    meaning = signal.meaning[0].upper() + signal.meaning[1:]
    if signal.calibrated:
        scope += (
            " Critical, where the level is auto, only while the model is estimated to be worse or the change is large."
        )
    return lines(
        Box(
            signal.title,
            f"{meaning}. {sense}{scope} A gap is a window that could not be judged.",
            width=width,
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


def answers() -> list[Panel]:
    """What the model says: its classes and how sure it is."""
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
            Query(per_window("visiondrift_mean_confidence"), "window"),
            Query(per_window("visiondrift_reference_mean_confidence"), "reference"),
        ],
        colors={"window": [fixed_color(style.SCORE)], "reference": threshold_line(style.REFERENCE)},
    )


def _low_confidence() -> timeseries.Panel:
    share = per_window("visiondrift_low_confidence_ratio")
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
            Query(f"{share} - {per_window('visiondrift_low_confidence_rise')}", "reference"),
        ],
        colors={"window": [fixed_color(style.SCORE)], "reference": threshold_line(style.REFERENCE)},
    )


def basis() -> list[Panel]:
    """What the verdict rests on: samples, the reference, what arrives, and the evaluation itself."""
    return [_samples(), _reference(), _stored(), _rejected(), _kept(), _duration()]


def _samples() -> timeseries.Panel:
    return lines(
        Box(
            "Samples in the window",
            "Events that the window holds, the independent looks that they amount to (fewer where frames repeat each "
            "other), and the minimum below which the window is not judged.",
            width=8,
            height=8,
            unit="short",
            decimals=0,
            no_value="Not evaluated",
        ),
        [
            Query(per_window("visiondrift_window_samples"), "samples"),
            Query(per_window("visiondrift_window_independent_samples"), "independent looks"),
            Query(per_window("visiondrift_window_min_samples"), "minimum"),
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


def _events(title: str, description: str) -> Box:
    """Of a panel of events a second."""
    return Box(title, description, width=8, height=8, unit="eps", no_value="The exporter is not scraped")


def _stored() -> timeseries.Panel:
    counters = ("received", "stored", "duplicate", "rejected")
    return lines(
        _events(
            "Events of this model",
            "Events per second by what became of them, over all slices: stored are durable, duplicates had an id that "
            "was there already, rejected were refused.",
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
        _events(
            "Rejected events by reason",
            "Events per second that were refused at intake. Only reasons that occur are drawn; the answer to the "
            "sender names the event, the field and what is accepted.",
        ),
        [
            Query(f"sum by (reason) ({rejected}) > 0", "{{reason}}"),
            Query(f"sum({rejected})", "all reasons"),
        ],
        colors={"all reasons": threshold_line(style.CRITICAL)},
    )


def _kept() -> timeseries.Panel:
    kept = f"rate(visiondrift_events_kept_total{{{MODEL}}}[$__rate_interval])"
    return lines(
        _events(
            "Sampling: kept, and why",
            "Events per second of a model that is sampled, or whose sender chooses: uniform and every are the share by "
            "chance and by the clock, which is all that windows read; the others were kept for what they show. Sampled "
            "out: not stored.",
        ),
        [
            Query(f"sum by (why) ({kept}) > 0", "{{why}}"),
            Query(f"sum(rate(visiondrift_events_sampled_out_total{{{MODEL}}}[$__rate_interval]))", "sampled out"),
        ],
        colors={"sampled out": threshold_line(style.INSUFFICIENT)},
    )


def _duration() -> timeseries.Panel:
    metric = "visiondrift_evaluation_duration_seconds"
    count = f"sum(rate({metric}_count{{{MODEL}}}[$__rate_interval]))"
    panel = lines(
        Box(
            "Evaluation time",
            "Mean time that one evaluation of this model takes, with its report, beside the interval that it must fit.",
            width=8,
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
