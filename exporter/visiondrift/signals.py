"""The vocabulary: which signals exist, what each is called everywhere, and in which direction it is bad.

A signal's name is at once its key in ``thresholds.yml``, its column in an evaluation, and, behind the prefix
``visiondrift_``, its Prometheus metric. Nothing else in the project spells these names out.
"""

from dataclasses import dataclass
from typing import Literal

Severity = Literal["warning", "critical"]
SEVERITIES: tuple[Severity, ...] = ("warning", "critical")

VerdictName = Literal["ok", "warning", "critical", "insufficient"]
VERDICTS: tuple[VerdictName, ...] = ("ok", "warning", "critical", "insufficient")

ALL_SLICES = "all"
"""The value of the label ``slice`` for every event of a model, whatever its slices."""


@dataclass(frozen=True)
class Signal:
    """One named score. ``low`` and ``high`` bound its values (and so its thresholds)."""

    name: str
    title: str
    meaning: str
    low: float
    high: float
    bad_when: Literal["high", "low"] = "high"
    percent: bool = False


SIGNALS: tuple[Signal, ...] = (
    Signal(
        "embedding_drift",
        "Embedding drift",
        "share of CLIP columns whose distribution moved by at least column_threshold reference standard deviations, "
        "and by more than chance moves it between so few independent frames",
        0,
        1,
        percent=True,
    ),
    Signal(
        "clip_similarity",
        "CLIP similarity",
        "cosine between the mean CLIP embedding of the window and that of the reference",
        -1,
        1,
        bad_when="low",
    ),
    Signal(
        "prediction_drift",
        "Prediction drift",
        "Jensen-Shannon distance (base 2) between the predicted-class shares of window and reference",
        0,
        1,
    ),
    Signal(
        "confidence_drift",
        "Confidence drift",
        "movement of the confidence of the class that moved most, in reference standard deviations",
        0,
        float("inf"),
    ),
    Signal(
        "confidence_drop",
        "Confidence drop",
        "mean top confidence of the reference minus that of the window",
        -1,
        1,
        percent=True,
    ),
    Signal(
        "low_confidence_rise",
        "Low-confidence rise",
        "share of events with a top confidence below low_confidence_below, minus that share in the reference",
        -1,
        1,
        percent=True,
    ),
    Signal(
        "missing_ratio",
        "Missing data",
        "share of events in the window without an embedding, or without confidences where the model has classes",
        0,
        1,
        percent=True,
    ),
    Signal(
        "invalid_ratio",
        "Invalid data",
        "share of the events sent in the window that were rejected at intake",
        0,
        1,
        percent=True,
    ),
)

BY_NAME: dict[str, Signal] = {signal.name: signal for signal in SIGNALS}
