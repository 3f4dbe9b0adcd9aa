"""Why the window differs: the cause as far as witnesses agree, and what each of them sees, over time."""

from grafana_foundation_sdk.builders import timeseries

import style
from panels import Box, Query, fixed_color, lines
from scope import WINDOW

NO_WITNESS = "No witnesses: the reference was built without images, or nothing was judged"


def cause() -> list[timeseries.Panel]:
    """The word, and the four kinds of witnesses behind it."""
    return [
        _word(),
        _witness("property", "Properties: how far the pictures moved"),
        _witness("layout", "Layouts: edges displaced as by which fault"),
        _witness("signature", "Signatures: like which known fault"),
        _witness("probe", "Probes: like which words"),
    ]


def _word() -> timeseries.Panel:
    return lines(
        Box(
            "Cause",
            "1 while the window has drifted and witnesses agree on this cause; unknown while they do not.",
            width=4,
            height=8,
            decimals=0,
            no_value="Nothing has drifted",
        ),
        [Query(f"max by (cause) (visiondrift_drift_cause{{{WINDOW}}})", "{{cause}}")],
        colors={"unknown": [fixed_color(style.INSUFFICIENT)]},
    )


def _witness(witness: str, title: str) -> timeseries.Panel:
    return lines(
        Box(
            title,
            "In standard deviations of such windows without drift. A cause is named where two kinds of witnesses "
            "agree, or the properties leave no doubt.",
            width=5,
            height=8,
            decimals=1,
            no_value=NO_WITNESS,
        ),
        [Query(f'max by (name) (visiondrift_witness_z{{{WINDOW}, witness="{witness}"}})', "{{name}}")],
        colors={},
    )
