"""What the images are like as pictures, whatever they show: the part of the Model dashboard on their properties."""

from grafana_foundation_sdk.builders import timeseries

import model_detail as detail
from panels import Box, Query, lines
from scope import WINDOW
from visiondrift.signals import SEVERITIES


def images() -> list[detail.Panel]:
    """What the images are like as pictures: which property moved, how far, and from what to what."""
    return [detail.signal("image_drift"), _property_drift(), _property_change()]


def _property_drift() -> timeseries.Panel:
    return lines(
        Box(
            "Image properties: drift",
            "How far each property of the images moved, in standard deviations of the reference, with the hour of day "
            "taken off where the reference knows it.",
            width=8,
            height=8,
            decimals=2,
            no_value="No measured images: too few samples, or the client sends embeddings",
        ),
        [
            Query(f"max by (property) (visiondrift_image_property_drift{{{WINDOW}}})", "{{property}}"),
            *(
                Query(f'max(visiondrift_image_drift_threshold{{{WINDOW}, severity="{severity}"}})', severity)
                for severity in SEVERITIES
            ),
        ],
        colors=detail.THRESHOLD_LINES,
    )


def _property_change() -> timeseries.Panel:
    mean, expected = (f"visiondrift_image_property_{name}{{{WINDOW}}}" for name in ("mean", "expected"))
    return lines(
        Box(
            "Image properties: change",
            "Mean of each property in the window less the one to expect at these hours, each in its own unit: greys "
            "and colours 0-1, sharpness and noise in powers of ten, entropy in bits.",
            width=8,
            height=8,
            decimals=2,
            no_value="No measured images: too few samples, or the client sends embeddings",
        ),
        [Query(f"max by (property) ({mean}) - max by (property) ({expected})", "{{property}}")],
        colors={},
    )
