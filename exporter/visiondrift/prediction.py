"""The one schema of a prediction: the event as sent, and the sample (columns + embedding matrix) as compared.

The log's columns, the Parquet files of ``evaluate`` and ``export``, and the frames handed to Evidently all follow
from these two classes.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from visiondrift.signals import ALL_SLICES

Slices = tuple[tuple[str, str], ...]
"""Slice labels of one event, sorted by name: ``(("camera", "platform-2"),)``."""

_UNIT_ROUNDING = 1e-5

Reason = Literal[
    "missing_field",
    "bad_time",
    "unknown_model",
    "unknown_slice_label",
    "too_many_slices",
    "no_input",
    "bad_image",
    "image_too_large",
    "bad_embedding",
    "dimension_mismatch",
    "bad_confidences",
    "unknown_class",
    "bad_value",
]
REASONS: tuple[Reason, ...] = get_args(Reason)
"""Why an event is refused. Also the values of a metric's label, so the set never grows with what clients send."""

IngestFailure = Literal["disk_full", "queue_full", "log_error", "embedder_error"]
INGEST_FAILURES: tuple[IngestFailure, ...] = get_args(IngestFailure)
"""Why a whole request is not stored, through no fault of its events. Also the values of a metric's label."""

UNKNOWN_MODEL = "unknown"
"""What a model that is not configured is counted as."""


Kept = Literal[
    "uniform", "every", "timed", "distinct", "prompt", "similar", "unlike", "low_confidence", "outlier", "rare_class"
]
KEPT: tuple[Kept, ...] = get_args(Kept)
"""Why an event is there at all, where not everything is sent. uniform: drawn by chance. every: its time had come.
timed: the same, beside a share drawn by chance, which is then all that counts. distinct: its time had come, and it was
no near-duplicate. prompt, similar, unlike: it showed what was looked for.
low_confidence, outlier, rare_class: it is one of those that are always kept. None of these: everything was sent.
Those of chance and the clock come first.
"""

_UNBIASED = frozenset({"", "uniform", "every"})
_JOINT = "+"


def reasons_of(kept: str) -> tuple[Kept, ...]:
    """The reasons in ``kept``, each once and in the order of ``KEPT``: ``every+prompt`` is two; "" is none.

    Raises ValueError where it holds anything else.
    """
    given = kept.split(_JOINT) if kept else []
    found = tuple(reason for reason in KEPT if reason in given)
    if not set(given).issubset(found):
        msg = f"{kept!r} is not made of {', '.join(KEPT)}, joined by {_JOINT}"
        raise ValueError(msg)
    return found


def all_reasons(reasons: Iterable[Kept]) -> str:
    """Reasons as an event carries them, in the order of ``KEPT``: one of chance or the clock is before all others."""
    given = set(reasons)
    return _JOINT.join(reason for reason in KEPT if reason in given)


def joined_reasons(before: str, now: str) -> str:
    """What an event is kept for that comes again, ``now``, beside ``before``; "" where it was: then all was sent."""
    return all_reasons((*reasons_of(before), *reasons_of(now))) if before else ""


def bias_of(kept: str) -> str:
    """The first reason where all of them chose by what an event shows; "" where chance or the clock is one of them,
    or all was sent.

    Only events without a bias say what there is, so windows, moments and evaluations read no others.
    """
    reasons = kept.split(_JOINT)
    return reasons[0] if _UNBIASED.isdisjoint(reasons) else ""


PROPERTIES = (
    "brightness",
    "contrast",
    "saturation",
    "warmth",
    "tint",
    "sharpness",
    "noise",
    "clipping",
    "blockiness",
    "entropy",
    "aspect",
    "size",
)
"""What is measured of every image, in the order of the log's numbers; append only. Greys and colours are 0-1.

brightness and contrast: mean and standard deviation of the luma. saturation: mean of the largest less the smallest of
red, green and blue. warmth: mean red less mean blue. tint: mean green less the mean of both. sharpness and noise: log10
of the gradient where it is high, and of the noise where it is low. clipping: share of pixels that are black or white.
blockiness: log2 of the steps at the borders of 8 x 8 blocks over those inside. entropy: of the greys, in bits. aspect:
log2 of width over height. size: log2 of megapixels.
"""

LAYOUT_SIDE = 12
"""Cells across and down of the layout of an image's edges."""


@dataclass(frozen=True, eq=False)
class ImageStats:
    """What was measured of an image: ``properties`` (P,) float32 in the order of ``PROPERTIES``; ``layout``
    (LAYOUT_SIDE²,) float32 where its edges are, of length 1, row by row; zeros where it has none.
    """

    properties: NDArray[np.float32]
    layout: NDArray[np.float32]

    LENGTH: ClassVar[int] = len(PROPERTIES) + LAYOUT_SIDE**2

    @property
    def joined(self) -> NDArray[np.float32]:
        """(LENGTH,) properties, then layout."""
        return np.concatenate([self.properties, self.layout])

    @staticmethod
    def parted(joined: NDArray[np.float32]) -> tuple[NDArray[np.float32] | None, NDArray[np.float32] | None]:
        """Properties (n, P) and layouts of ``joined`` (n, LENGTH); None where no row was measured."""
        if np.isnan(joined).all():
            return None, None
        return joined[:, : len(PROPERTIES)], joined[:, len(PROPERTIES) :]


def slice_name(label: str, value: str) -> str:
    """The one spelling of a slice in metrics, YAML, tables and URLs: ``camera=platform-2``."""
    return f"{label}={value}"


@dataclass(frozen=True, eq=False)
class PredictionEvent:
    """One prediction, validated.

    ``time`` is in seconds since the epoch (UTC). ``embedding`` is (d,) float32 of unit length, made by ``embedder``;
    ``confidences`` is (C,) float32 in the order of ``classes``. Either may be missing, not both. ``kept`` says why it
    was kept, with all its reasons (see ``all_reasons``), "" where all is.
    """

    id: str
    time: float
    model: str
    version: str
    slices: Slices = ()
    embedder: str = ""
    embedding: NDArray[np.float32] | None = None
    image_stats: ImageStats | None = None
    classes: tuple[str, ...] = ()
    confidences: NDArray[np.float32] | None = None
    predicted_class: str | None = None
    latency_ms: float | None = None
    image_uri: str | None = None
    trace_id: str | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)
    kept: str = ""


@dataclass(frozen=True)
class Rejection:
    """An event that was refused at intake: where in its batch, which field, why (a bounded code and a sentence).

    ``in_sample`` says whether the log counts it: where only a share of the events is kept, so are the refusals.
    """

    index: int
    id: str | None
    field: str
    reason: Reason
    message: str
    model: str = UNKNOWN_MODEL
    in_sample: bool = True


FOREIGN = -2
"""The index of a true class that the model has no name for, so that it cannot be right."""


@dataclass(frozen=True, eq=False)
class Sample:
    """n events as columns.

    ``times`` (n,) float64 seconds since the epoch, ascending; ``slices`` label -> (n,) object array of str ("" where
    an event has no such label); ``embeddings`` (n, d) float32 with NaN rows where missing; ``confidences`` (n, C)
    float32 with NaN rows where missing; ``predicted`` (n,) int32 index into ``classes``, -1 where unknown;
    ``latency_ms`` (n,) float64, NaN where not given; ``ids`` (n,) object array of str; ``labels`` (n,) int32 index into
    ``classes`` of the true class, -1 where unknown, ``FOREIGN`` where it is none of them; None where no event has one.
    ``properties`` (n, P) float32 in the order of ``PROPERTIES`` and ``layouts`` (n, LAYOUT_SIDE²) float32, with NaN
    rows where no image was measured; both None where none was. ``kept`` (n,) object array of str, why each event was
    kept, as in ``PredictionEvent``; None where nothing says so of any, or only those are there that were kept whatever
    they show.
    """

    times: NDArray[np.float64]
    ids: NDArray[np.object_]
    slices: Mapping[str, NDArray[np.object_]]
    classes: tuple[str, ...]
    embeddings: NDArray[np.float32]
    confidences: NDArray[np.float32]
    predicted: NDArray[np.int32]
    latency_ms: NDArray[np.float64]
    labels: NDArray[np.int32] | None = None
    properties: NDArray[np.float32] | None = None
    layouts: NDArray[np.float32] | None = None
    kept: NDArray[np.object_] | None = None

    def __len__(self) -> int:
        return len(self.times)

    @property
    def dimension(self) -> int:
        """Columns of the embedding matrix; 0 where no event had one."""
        return int(self.embeddings.shape[1])

    @property
    def has_embedding(self) -> NDArray[np.bool_]:
        """(n,) True where the event has an embedding."""
        if self.dimension == 0:
            return np.zeros(len(self), dtype=bool)
        return np.asarray(~np.isnan(self.embeddings[:, 0]))

    @property
    def has_confidences(self) -> NDArray[np.bool_]:
        """(n,) True where the event has confidences."""
        if not self.classes:
            return np.zeros(len(self), dtype=bool)
        return np.asarray(~np.isnan(self.confidences).all(axis=1))

    @property
    def has_label(self) -> NDArray[np.bool_]:
        """(n,) True where the event's true class is known."""
        return np.zeros(len(self), dtype=bool) if self.labels is None else np.asarray(self.labels >= 0)

    @property
    def has_properties(self) -> NDArray[np.bool_]:
        """(n,) True where the event's image was measured."""
        return np.zeros(len(self), dtype=bool) if self.properties is None else ~np.isnan(self.properties[:, 0])

    @property
    def has_layout(self) -> NDArray[np.bool_]:
        """(n,) True where the layout of the event's image is known."""
        return np.zeros(len(self), dtype=bool) if self.layouts is None else ~np.isnan(self.layouts[:, 0])

    @property
    def top_confidence(self) -> NDArray[np.float32]:
        """(k,) highest confidence of each of the k events that have confidences."""
        return np.asarray(np.nanmax(self.confidences[self.has_confidences], axis=1, initial=0.0), dtype=np.float32)

    def take(self, rows: NDArray[Any]) -> "Sample":
        """The events at ``rows`` (indices or a boolean mask), in that order."""
        if rows.dtype == np.bool_ and rows.all():
            return self
        return replace(
            self,
            times=self.times[rows],
            ids=self.ids[rows],
            slices={label: values[rows] for label, values in self.slices.items()},
            embeddings=self.embeddings[rows],
            confidences=self.confidences[rows],
            predicted=self.predicted[rows],
            latency_ms=self.latency_ms[rows],
            labels=None if self.labels is None else self.labels[rows],
            properties=None if self.properties is None else self.properties[rows],
            layouts=None if self.layouts is None else self.layouts[rows],
            kept=None if self.kept is None else self.kept[rows],
        )

    def unbiased(self) -> "Sample":
        """The events that were kept whatever they show."""
        if self.kept is None:
            return self
        is_fair = np.array([not bias_of(kept) for kept in self.kept], dtype=bool)
        return replace(self.take(is_fair), kept=None)

    def of_unit_length(self) -> "Sample":
        """The same with every embedding scaled to length 1, as intake keeps them: what comes from a file may not be."""
        if self.dimension == 0:
            return self
        lengths = np.linalg.norm(self.embeddings.astype(np.float64), axis=1, keepdims=True)
        if not np.any(np.abs(lengths - 1) > _UNIT_ROUNDING):  # NaN, a row that is missing, is no reason either
            return self
        return replace(self, embeddings=(self.embeddings / lengths).astype(np.float32))

    def slice_values(self, label: str) -> tuple[str, ...]:
        """The values that ``label`` takes, sorted, without the missing one."""
        column = self.slices.get(label)
        return () if column is None else tuple(sorted({str(value) for value in column} - {""}))

    def streams(self) -> NDArray[np.intp]:
        """(n,) the same number for events that carry the same labels of slices."""
        columns = [np.unique(column.astype(str), return_inverse=True)[1] for _, column in sorted(self.slices.items())]
        if not columns or not len(self):
            return np.zeros(len(self), dtype=np.intp)
        return np.unique(np.stack(columns, axis=1), axis=0, return_inverse=True)[1].reshape(-1).astype(np.intp)

    def of_slice(self, name: str) -> "Sample":
        """The events of one slice by its name (``all`` or ``label=value``); empty where nothing carries it."""
        return self.take(self.in_slice(name))

    def in_slice(self, name: str) -> NDArray[np.bool_]:
        """(n,) True for the events of one slice by its name."""
        label, _, value = name.partition("=")
        column = self.slices.get(label)
        if name == ALL_SLICES or column is None:
            return np.full(len(self), name == ALL_SLICES)
        return np.asarray(column == value)


def slice_values(sample: Sample, label: str | None) -> NDArray[np.str_]:
    """(n,) the value of ``label`` of each event, "" where it has none."""
    column = sample.slices.get(label) if label else None
    return np.full(len(sample), "", dtype="<U1") if column is None else column.astype(str)


def sample_of(events: Sequence[PredictionEvent], *, classes: tuple[str, ...], dimension: int) -> Sample:
    """Columns of ``events``, sorted by time.

    Confidences are placed by class name into the order of ``classes`` (NaN where the event does not name a class);
    embeddings of another length than ``dimension`` count as missing. Events know no true class: ``labels`` is None.
    """
    ordered = sorted(events, key=lambda event: event.time)
    labels = sorted({label for event in ordered for label, _ in event.slices})
    embeddings = np.full((len(ordered), dimension), np.nan, dtype=np.float32)
    confidences = np.full((len(ordered), len(classes)), np.nan, dtype=np.float32)
    column_of = {name: index for index, name in enumerate(classes)}
    measured = any(event.image_stats is not None for event in ordered)
    kept = [event.kept for event in ordered]
    properties = np.full((len(ordered), len(PROPERTIES)), np.nan, dtype=np.float32) if measured else None
    layouts = np.full((len(ordered), LAYOUT_SIDE**2), np.nan, dtype=np.float32) if measured else None
    for row, event in enumerate(ordered):
        if event.image_stats is not None and properties is not None and layouts is not None:
            properties[row], layouts[row] = event.image_stats.properties, event.image_stats.layout
        if event.embedding is not None and event.embedding.shape == (dimension,):
            embeddings[row] = event.embedding
        if event.confidences is not None:
            for name, value in zip(event.classes, event.confidences, strict=True):
                if name in column_of:
                    confidences[row, column_of[name]] = value
    return Sample(
        times=np.array([event.time for event in ordered], dtype=np.float64),
        ids=np.array([event.id for event in ordered], dtype=object),
        slices={
            label: np.array([dict(event.slices).get(label, "") for event in ordered], dtype=object) for label in labels
        },
        classes=classes,
        embeddings=embeddings,
        confidences=confidences,
        predicted=np.array([column_of.get(event.predicted_class or "", -1) for event in ordered], dtype=np.int32),
        latency_ms=np.array([np.nan if e.latency_ms is None else e.latency_ms for e in ordered], dtype=np.float64),
        properties=properties,
        layouts=layouts,
        kept=np.array(kept, dtype=object) if any(kept) else None,
    )
