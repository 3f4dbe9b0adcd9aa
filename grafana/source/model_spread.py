"""The Model dashboard's row on cameras: which of them moved, whether the same way, and what their mix explains."""

from grafana_foundation_sdk.builders import timeseries

import style
from panels import Box, Query, band, fixed_color, lines, threshold_line
from scope import WINDOW, per_window

OF_SLICES = 'model="$model", version="$version", slice!="all", window="$window"'
ALL = 'model="$model", version="$version", slice="all", window="$window"'

NOT_APART = "Not known apart: one slice only, or the reference is not calibrated"


def spread() -> list[timeseries.Panel]:
    """Which camera, and is it one cause. All but the outliers are of all slices, whichever is chosen."""
    return [_moved(), _shares(), _cosines(), _mix(), _outliers()]


def _moved() -> timeseries.Panel:
    of_state = 'max(visiondrift_spread_slices{{{scope}, state="{state}"}})'
    return lines(
        Box(
            "Slices that moved, and the same way",
            "Of the slices that could be judged: how many have moved, and how many of these the same way. Above 0, the "
            "latter means one cause for them, and one message speaks for all.",
            width=8,
            height=8,
            unit="short",
            decimals=0,
            no_value=NOT_APART,
        ),
        [
            Query(of_state.format(scope=ALL, state="judged"), "judged"),
            Query(of_state.format(scope=ALL, state="moved"), "moved"),
            Query(f"max(visiondrift_common_cause_slices{{{ALL}}})", "the same way"),
        ],
        colors={"judged": threshold_line(style.INSUFFICIENT), "moved": [fixed_color(style.SCORE)]},
    )


def _shares() -> timeseries.Panel:
    return lines(
        Box(
            "Whose shift it is",
            "Part of the mean squared shift of all images that is each slice's, where any has moved. One near 100 % "
            "points at that camera; equal parts point at what they share.",
            width=8,
            height=8,
            unit="percentunit",
            decimals=0,
            no_value="No slice has moved",
        ),
        [Query(f"max by (slice) (visiondrift_slice_shift_share{{{OF_SLICES}}})", "{{slice}}")],
        colors={},
    )


def _cosines() -> timeseries.Panel:
    return lines(
        Box(
            "How alike they moved",
            "Cosine of each slice's shift and that of the others that moved the same way, without what noise takes "
            "from it: 1 is the very same way.",
            width=8,
            height=8,
            decimals=2,
            no_value="No common cause",
        ),
        [Query(f"max by (slice) (visiondrift_slice_shift_cosine{{{OF_SLICES}}})", "{{slice}}")],
        colors={},
    )


def _mix() -> timeseries.Panel:
    return lines(
        Box(
            "What the mix explains",
            "Explained: the part of the plain mean shift that is gone once each slice is held against itself at the "
            "same hour; it is no drift. Unknown: the window's events in slices that the reference does not know. "
            "Silent: the part of the reference in slices that have sent nothing.",
            width=12,
            height=8,
            unit="percentunit",
            decimals=0,
            no_value=NOT_APART,
        ),
        [
            Query(f"max(visiondrift_mix_explained{{{ALL}}})", "explained"),
            Query(f"max(visiondrift_unknown_slice_ratio{{{ALL}}})", "unknown"),
            Query(f"max(visiondrift_silent_slice_ratio{{{ALL}}})", "silent"),
        ],
        colors={},
    )


def _outliers() -> timeseries.Panel:
    bound = 'max(visiondrift_outlier_expected_ratio{{{scope}, bound="{end}"}})'
    return lines(
        Box(
            "Outliers",
            "Share of the window's images farther from the reference than 98 in 100 normal ones. Between the dashed "
            "ends it lies without drift, in 95 % of windows with so many independent blocks.",
            width=12,
            height=8,
            unit="percentunit",
            decimals=0,
            no_value="Single images were not looked at: too few independent blocks, or no calibration",
        ),
        [
            Query(per_window("visiondrift_outlier_ratio"), "outliers"),
            Query(bound.format(scope=WINDOW, end="low"), "low"),
            Query(bound.format(scope=WINDOW, end="high"), "high"),
        ],
        colors={"outliers": [fixed_color(style.SCORE)], **band(low="low", color=style.REFERENCE)},
    )
