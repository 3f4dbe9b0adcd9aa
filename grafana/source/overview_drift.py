"""The Overview's row on drift: which slices differ from the reference and how surely, and whether models got worse."""

from grafana_foundation_sdk.builders import statetimeline, table, timeseries

import promql
import style
from overview_service import SELECTOR
from panels import Box, Column, Query, bar_column, history, lines, rows

Panel = timeseries.Panel | statetimeline.Panel | table.Panel

EVIDENCE = f'visiondrift:signal_threshold:ratio{{signal="drift_evidence", severity="warning", {SELECTOR}}}'


def drift(legend: str, link: dict[str, object]) -> list[Panel]:
    """``legend`` names a window in a graph, ``link`` leads to its Model dashboard."""
    return [_evidence(legend), _discoveries(link), _accuracy(legend), _traffic()]


def _evidence(legend: str) -> statetimeline.Panel:
    return history(
        Box(
            "Evidence of drift, of its level",
            "How surely the images of each window differ from the reference, as a share of the level at which it "
            "warns: from 100 % on it alerts (orange), from 200 % on it is far beyond (dark). It says how sure, not how "
            "large. Missing: too few independent looks, or no calibration.",
            width=12,
            height=9,
            unit="percentunit",
            decimals=0,
            no_value="No evidence: no reference is calibrated, or no window is long enough",
        ),
        [Query(f"max by ({promql.KEY}) ({EVIDENCE})", legend)],
        thresholds=style.of_threshold(),
    )


def _discoveries(link: dict[str, object]) -> table.Panel:
    per_window = f"max by ({promql.KEY})"
    level = f'visiondrift_drift_evidence_threshold{{severity="warning", {SELECTOR}}}'
    return rows(
        Box(
            "Which slices have drifted",
            "'Drifted' marks the slices whose drift is shown such that at most one in ten of those shown is false: "
            "more than alert, for looking around. Evidence is -log10 of the chance without drift, beside its warning "
            "level; mean moved is in sizes of the reference's cloud, new images is a lower bound.",
            width=12,
            height=9,
            no_value="No evidence: no reference is calibrated, or no window is long enough",
        ),
        [
            Query(f"{per_window} (visiondrift_drift_evidence{{{SELECTOR}}})", "evidence"),
            Query(f"{per_window} ({level})", "level"),
            Query(f"{per_window} (visiondrift_discovery{{{SELECTOR}}})", "shown"),
            Query(f"{per_window} (visiondrift_embedding_mean_moved{{{SELECTOR}}})", "mean moved"),
            Query(f"{per_window} (visiondrift_embedding_new_share{{{SELECTOR}}})", "new images"),
        ],
        [
            Column("Value #C", "Shown", 90, mappings=style.discovery_mappings(), cell={"type": "color-text"}),
            Column("model", "Model"),
            Column("version", "Version", 80),
            Column("slice", "Slice", link=link),
            Column("window", "Window", 80),
            Column("Value #A", "Evidence", 90, decimals=1),
            Column("Value #B", "Level", 80, decimals=1),
            Column("Value #D", "Mean moved", 110, decimals=2),
            Column("Value #E", "New images", 110, unit="percentunit", decimals=0),
        ],
        sort=[("Evidence", True)],
    )


def _accuracy(legend: str) -> timeseries.Panel:
    return lines(
        Box(
            "Estimated accuracy by slice",
            "The accuracy that each model is estimated to have in each window, without labels; only where the estimate "
            "is valid. What it was on the reference, and how sure it is, is on the Model dashboard.",
            width=12,
            height=8,
            unit="percentunit",
            decimals=0,
            no_value="No valid estimate: no labelled reference, too few events, or images too unlike the reference",
        ),
        [
            Query(
                f"max by ({promql.KEY}) (visiondrift_estimated_accuracy{{{SELECTOR}}})\n"
                f"  and on ({promql.KEY}) visiondrift_estimate_valid{{{SELECTOR}}} == 1",
                legend,
            )
        ],
        colors={},
    )


def _traffic() -> table.Panel:
    by_part = "max by (model, version, window, part)"
    return rows(
        Box(
            "Traffic mix",
            "Share of each model's events that comes from each slice, now and in the reference. Information, never "
            "drift: all slices together are compared slice by slice, so that a busier camera alone moves nothing.",
            width=12,
            height=8,
            no_value="No model with slices has been evaluated against a reference that knows them",
        ),
        [
            Query(f"{by_part} (visiondrift_slice_share{{{SELECTOR}}})", "now"),
            Query(f"{by_part} (visiondrift_reference_slice_share{{{SELECTOR}}})", "in the reference"),
        ],
        [
            Column("model", "Model"),
            Column("version", "Version", 80),
            Column("part", "Slice"),
            Column("window", "Window", 80),
            bar_column("Value #A", "Now", thresholds=style.thresholds((None, style.SCORE))),
            bar_column("Value #B", "In the reference", thresholds=style.thresholds((None, style.REFERENCE))),
        ],
        sort=[("Now", True)],
    )
