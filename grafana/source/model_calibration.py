"""The Model dashboard's row on the calibration: what its verdicts cost in false pages, and what they cannot see."""

from grafana_foundation_sdk.builders import barchart, stat, timeseries

import style
from panels import Box, Query, band, compared, fixed_color, lines, single, threshold_line
from scope import MODEL, WINDOW, per_window
from visiondrift.signals import SEVERITIES

Panel = timeseries.Panel | stat.Panel | barchart.Panel

NOT_CALIBRATED = "The reference is not calibrated for this slice"


def calibration() -> list[Panel]:
    """Whether reference and window are long enough, and what the levels are worth."""
    return [_blocks(), _false_pages(), _detectable(), _self_test()]


def _blocks() -> timeseries.Panel:
    return lines(
        Box(
            "Independent blocks",
            "A block is as long as frames stay alike. How many of the reference's the window is worth, how many the "
            "reference holds of this slice, and how many it would need to judge the window for all that it holds. "
            "Below 40 of reference nothing is calibrated; below 3 a window says nothing.",
            width=6,
            height=8,
            unit="short",
            decimals=0,
            no_value=NOT_CALIBRATED,
        ),
        [
            Query(per_window("visiondrift_window_blocks"), "window"),
            Query(per_window("visiondrift_reference_blocks"), "reference"),
            Query(per_window("visiondrift_reference_blocks_needed"), "needed of reference"),
        ],
        colors={
            "window": [fixed_color(style.SCORE)],
            "reference": [fixed_color(style.REFERENCE)],
            "needed of reference": threshold_line(style.INSUFFICIENT),
        },
    )


def _false_pages() -> barchart.Panel:
    pages = 'max by (signal) (visiondrift_expected_false_pages_per_month{{{scope}, severity="{severity}"}})'
    return compared(
        Box(
            "Expected false pages a month",
            "How many pages a month the level of each signal may cost in this window where nothing has drifted, at "
            "most. Together, over all slices and windows, they keep to the budget where the levels are auto.",
            width=6,
            height=8,
            decimals=3,
            no_value=NOT_CALIBRATED,
        ),
        [Query(pages.format(scope=WINDOW, severity=severity), severity) for severity in SEVERITIES],
        by="signal",
        colors={severity: style.BY_VERDICT[severity] for severity in SEVERITIES},
    )


def _detectable() -> stat.Panel:
    return single(
        Box(
            "Smallest detectable shift",
            "The smallest shift that four in five such windows would show as a warning, in each signal's own unit; for "
            "the evidence, a move of the mean in sizes of the cloud. What is smaller stays unseen here, and may show "
            "in a longer window or with a longer reference.",
            width=6,
            height=8,
            decimals=2,
            no_value="Not known: no level follows from a calibration here, or no shift that was tried can be seen",
        ),
        [
            Query(f"max by (signal) (visiondrift_detectable_shift{{{WINDOW}}})", "{{signal}}"),
            Query(per_window("visiondrift_detectable_new_share"), "share of new images"),
        ],
        thresholds=style.calm(),
        named=True,
    )


def _self_test() -> timeseries.Panel:
    def of_model(name: str) -> str:
        return f"max(visiondrift_selftest_{name}{{{MODEL}}})"

    return lines(
        Box(
            "Self-test",
            "Each night the detector is put to parts of the reference that it was not built from, each slice by itself "
            "and all together. The share of false alarms among those that raise more, with its 99 % interval, beside "
            "the share that there should be. An interval wholly above the dashed line is a detector that cries wolf.",
            width=6,
            height=8,
            unit="percentunit",
            decimals=1,
            no_value="No self-test yet, or the reference is too small for one",
        ),
        [
            Query(of_model("false_alarm_ratio"), "false alarms"),
            Query(of_model("false_alarm_ratio_low"), "low"),
            Query(of_model("false_alarm_ratio_high"), "high"),
            Query(of_model("nominal_ratio"), "nominal"),
        ],
        colors={
            "false alarms": [fixed_color(style.SCORE)],
            "nominal": threshold_line(style.WARNING),
            **band(low="low", color=style.SCORE),
        },
    )
