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
    """One named score. ``low`` and ``high`` bound its values (and so its thresholds).

    A level of ``least`` or milder is never given by a budget of false pages, however surely so small a change is seen;
    None where the signal has no null, and so no such level. A change of ``large`` is critical whether or not the
    model's accuracy is estimated to have dropped; None where the score says how sure, and not how much.
    """

    name: str
    title: str
    meaning: str
    low: float
    high: float
    bad_when: Literal["high", "low"] = "high"
    percent: bool = False
    least: float | None = None
    large: float | None = None

    @property
    def sign(self) -> float:
        """What a score is multiplied with, so that worse is higher."""
        return 1.0 if self.bad_when == "high" else -1.0

    @property
    def calibrated(self) -> bool:
        """Whether its levels can follow from a budget of false pages (``auto``)."""
        return self.least is not None


SIGNALS: tuple[Signal, ...] = (
    Signal(
        "drift_evidence",
        "Evidence of drift",
        "how surely the images of the window differ from the reference, by all statistics of their embeddings "
        "together: -log10 of the calibrated chance of such a window without drift",
        0,
        float("inf"),
        least=0.0,
    ),
    Signal(
        "accumulated_evidence",
        "Accumulated evidence",
        "the same of memories that fade over some ten and some forty evaluations, for shifts too small for a window",
        0,
        float("inf"),
        least=0.0,
    ),
    Signal(
        "embedding_drift",
        "Embedding drift",
        "share of CLIP columns whose distribution moved by at least column_threshold reference standard deviations, "
        "and by more than chance moves it between so few independent frames",
        0,
        1,
        percent=True,
        least=0.1,
        large=0.5,
    ),
    Signal(
        "clip_similarity",
        "CLIP similarity",
        "cosine between the mean CLIP embedding of the window and that of the reference",
        -1,
        1,
        bad_when="low",
        least=0.99,
        large=0.9,
    ),
    Signal(
        "image_drift",
        "Image drift",
        "movement of the image property that moved most (brightness, sharpness, noise, ...), in reference standard "
        "deviations, the hour of day taken off where the reference knows it",
        0,
        float("inf"),
        least=0.3,
        large=3.0,
    ),
    Signal(
        "prediction_drift",
        "Prediction drift",
        "Jensen-Shannon distance (base 2) between the predicted-class shares of window and reference",
        0,
        1,
        least=0.1,
        large=0.4,
    ),
    Signal(
        "confidence_drift",
        "Confidence drift",
        "movement of the confidence of the class that moved most, in reference standard deviations",
        0,
        float("inf"),
        least=0.2,
        large=1.0,
    ),
    Signal(
        "confidence_drop",
        "Confidence drop",
        "mean top confidence of the reference minus that of the window",
        -1,
        1,
        percent=True,
        least=0.03,
        large=0.2,
    ),
    Signal(
        "low_confidence_rise",
        "Low-confidence rise",
        "share of events with a top confidence below low_confidence_below, minus that share in the reference",
        -1,
        1,
        percent=True,
        least=0.03,
        large=0.25,
    ),
    Signal(
        "accuracy_drop",
        "Estimated accuracy drop",
        "accuracy on the labelled reference minus the accuracy that the window is estimated to have, without labels; "
        "where the estimate is valid",
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
