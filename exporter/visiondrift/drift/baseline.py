"""Which rows of the reference a window is compared with, and what is computed of them once.

A slice is compared with the reference's own rows of that slice where there are enough, else with the whole reference.
All slices together are compared with rows in the window's own mix of the first slice label, because more traffic from
one camera is no drift. Rows are chosen by arithmetic, never by chance: the same question has the same answer.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from visiondrift.drift.answers import AnswersDay, answers_day
from visiondrift.drift.columns.categories import class_counts
from visiondrift.drift.columns.distances import PreparedColumns, prepare_columns
from visiondrift.drift.image_properties import PropertyBaseline, prepare_properties, property_day
from visiondrift.drift.independence import Looks, pace_of
from visiondrift.drift.thinning import evenly
from visiondrift.errors import ReferenceUnusable
from visiondrift.prediction import FOREIGN, Sample
from visiondrift.signals import ALL_SLICES

MIN_SLICE_ROWS = 100
"""Rows of its own that the reference needs of a slice before the slice is compared with these alone."""

MIN_ROWS = 30
"""Rows of the reference that a score must rest on; with fewer, the reference's own chance outweighs the window's."""

MAX_ROWS = 10_000
"""Rows of the reference that are compared at most, evenly spread: beyond twice a window's size they change nothing."""


@dataclass(frozen=True)
class Settings:
    """What a model's configuration says about its scores."""

    classes: tuple[str, ...]
    slices: tuple[str, ...] = ()
    low_confidence_below: float = 0.5
    column_threshold: float = 0.3
    max_classes: int = 50


@dataclass(frozen=True, eq=False)
class EmbeddingBaseline:
    """The reference's embeddings: columns ready to compare, their mean (d,) float64, and the size of their cloud.

    ``cloud`` is the total variance over the squared length of the mean.
    """

    columns: PreparedColumns
    mean: NDArray[np.float64]
    cloud: float


@dataclass(frozen=True, eq=False)
class ConfidenceBaseline:
    """The reference's confidences: columns ready to compare, top confidences (n,), predictions of each class (C,). Of
    top confidences the hour of day is taken off.
    """

    columns: PreparedColumns
    top: NDArray[np.float32]
    counts: NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Baseline:
    """What one window is compared with; a part is None where the reference has fewer than ``MIN_ROWS`` rows for it.

    ``counts`` (C,) counts the predicted classes, and ``day`` is what the hour does to answers. ``available`` says how
    many rows there were for each part.
    """

    rows: int
    slice: str
    embedding: EmbeddingBaseline | None
    confidence: ConfidenceBaseline | None
    properties: PropertyBaseline | None
    counts: NDArray[np.int64] | None
    day: AnswersDay
    available: dict[str, int]


class PreparedReference:
    """A model's reference, held as long as it does not change. What does not depend on a window is computed once.

    ``mix_label`` is the slice label whose mix is matched when all slices are compared together, with ``match_mix``.
    ``timed``: the times of its rows are those of their frames.
    """

    def __init__(self, sample: Sample, *, mix_label: str | None, match_mix: bool = True, timed: bool = True) -> None:
        self._sample = sample
        # To count rows and looks: copying embeddings for that would cost as much as comparing them.
        self._light = replace(sample, embeddings=sample.embeddings[:, :0], confidences=sample.confidences[:, :0])
        label = mix_label if mix_label in sample.slices else None
        self._mix_label = label if match_mix else None
        self._fixed: dict[str, Baseline] = {}
        self._fixed_looks: dict[str, float] = {}
        self._pace = pace_of(sample, label)
        self._slice_label = label
        self._day = property_day(sample, label, timed=timed)
        self._answers_day = answers_day(sample, label, timed=timed)

    @classmethod
    def from_sample(cls, sample: Sample, settings: Settings, *, timed: bool = True) -> "PreparedReference":
        """A reference in the order of the model's classes, whatever order it was stored in; ``timed`` as above."""
        aligned = align_classes(sample, settings.classes)
        aligned = replace(aligned, predicted=predicted_or_top(aligned))
        return cls(aligned, mix_label=settings.slices[0] if settings.slices else None, timed=timed)

    @property
    def sample(self) -> Sample:
        """All rows of the reference."""
        return self._sample

    @property
    def dimension(self) -> int:
        """Columns of the embeddings; 0 where the reference has none."""
        return self._sample.dimension

    @cached_property
    def mean_embedding(self) -> NDArray[np.float64]:
        """(d,) of all rows with an embedding, as they are; there must be one."""
        return np.asarray(self._sample.embeddings[self._sample.has_embedding].mean(axis=0, dtype=np.float64))

    @property
    def has_embeddings(self) -> bool:
        """Whether any event of the reference has an embedding; if none has, none is missed in a window."""
        return bool(self._sample.has_embedding.any())

    @property
    def has_properties(self) -> bool:
        """Whether any image of the reference was measured."""
        return bool(self._sample.has_properties.any())

    @property
    def has_confidences(self) -> bool:
        """Whether any event of the reference has confidences; if none has, none are missed in a window."""
        return bool(self._sample.has_confidences.any())

    def holds(self, slice_: str) -> bool:
        """Whether any event of the reference is of the slice; without that label all of them stand for every slice."""
        unnamed = slice_.partition("=")[0] not in self._light.slices
        return unnamed or bool(self._light.in_slice(slice_).any())

    def looks(self, slice_: str, window: Sample) -> Looks:
        """Independent looks in the rows that ``window`` is compared with, and in the window."""
        if slice_ == ALL_SLICES and self._mix_label:
            return Looks(self._pace.looks(self._light.take(self._rows(slice_, window)[0])), self._pace.looks(window))
        if slice_ not in self._fixed_looks:
            self._fixed_looks[slice_] = self._pace.looks(self._light.take(self._rows(slice_, window)[0]))
        return Looks(self._fixed_looks[slice_], self._pace.looks(window))

    def rows(self, slice_: str, window: Sample) -> Sample:
        """The events that ``window``, a window of ``slice_``, is compared with."""
        return self._sample.take(self._rows(slice_, window)[0])

    def _rows(self, slice_: str, window: Sample) -> tuple[NDArray[np.intp], str]:
        """Where they are, and the slice of the reference that they are of."""
        own = self._light
        if slice_ == ALL_SLICES and self._mix_label:
            every = np.ones(len(own), dtype=bool)
            return self._in_mix_of(window, np.ones(len(window), dtype=bool), every), ALL_SLICES
        rows, name = np.flatnonzero(own.in_slice(slice_)), slice_
        if len(rows) < MIN_SLICE_ROWS:
            rows, name = np.arange(len(own)), ALL_SLICES
        return rows[evenly(len(rows), MAX_ROWS)], name

    def baseline(self, slice_: str, window: Sample) -> Baseline:
        """The rows for ``window``, prepared. Raises ReferenceUnusable where embeddings have different lengths."""
        if self.has_embeddings and window.has_embedding.any() and window.dimension != self.dimension:
            msg = (
                f"the reference's embeddings have {self.dimension} columns, the window's {window.dimension}; accepted "
                "are embeddings made with what made the reference's"
            )
            raise ReferenceUnusable(msg)
        if slice_ == ALL_SLICES and self._mix_label:
            return self._mixed(window)
        if slice_ not in self._fixed:
            rows, name = self._rows(slice_, window)
            self._fixed[slice_] = self._prepare(name, rows, (rows,) * 4)
        return self._fixed[slice_]

    def _mixed(self, window: Sample) -> Baseline:
        """Rows in the window's mix, for each part among the events that have it: a camera that stops sending
        embeddings changes the mix of the embeddings alone."""
        own = self._sample
        parts = [
            self._in_mix_of(window, in_window, in_reference)
            for in_window, in_reference in (
                (window.has_embedding, own.has_embedding),
                (window.has_confidences, own.has_confidences),
                (window.has_properties, own.has_properties),
                (predicted_or_top(window) >= 0, own.predicted >= 0),
            )
        ]
        return self._prepare(ALL_SLICES, self._rows(ALL_SLICES, window)[0], parts)

    def _prepare(self, name: str, rows: NDArray[np.intp], parts: Sequence[NDArray[np.intp]]) -> Baseline:
        """Of the ``rows`` of the reference; ``parts`` are those for embeddings, confidences, image properties and
        classes, if they have them."""
        sample = self._sample
        embedded, confident, measured, predicted = parts
        embeddings = sample.embeddings[embedded[sample.has_embedding[embedded]]]
        confident = confident[sample.has_confidences[confident]]
        measured = measured[sample.has_properties[measured]]
        counts = class_counts(sample.predicted[predicted], len(sample.classes))
        day, label = self._day, self._slice_label
        return Baseline(
            len(rows),
            name,
            embedding=_embedding(embeddings) if len(embeddings) >= MIN_ROWS else None,
            confidence=_confidence(sample.take(confident), self._answers_day) if len(confident) >= MIN_ROWS else None,
            properties=prepare_properties(sample, measured, day, label) if len(measured) >= MIN_ROWS else None,
            counts=counts if counts.sum() >= MIN_ROWS else None,
            day=self._answers_day,
            available={
                "embedding": len(embeddings),
                "confidences": len(confident),
                "measured image": len(measured),
                "predicted class": int(counts.sum()),
            },
        )

    def _in_mix_of(
        self, window: Sample, in_window: NDArray[np.bool_], in_reference: NDArray[np.bool_]
    ) -> NDArray[np.intp]:
        """Positions of rows of the reference that are in it, in the mix of the rows of ``window`` that are in that."""
        assert self._mix_label is not None  # noqa: S101  the callers have asked
        rows = np.flatnonzero(in_reference)
        labels = window.slices.get(self._mix_label)
        if labels is None or not in_window.any() or not len(rows):
            return np.asarray(rows[evenly(len(rows), MAX_ROWS)])
        return np.asarray(rows[mixed_rows(self._sample.slices[self._mix_label][rows], labels[in_window])])


def mixed_rows(reference: NDArray[np.object_], window: NDArray[np.object_]) -> NDArray[np.intp]:
    """Rows of the reference, ascending, whose labels are mixed as the window's are; as many as there are.

    Labels that the reference has fewer than ``MIN_ROWS`` rows of cannot be matched, and the others keep their
    proportions; where none can, the whole reference is taken.
    """
    values, counts = np.unique(window.astype(str), return_counts=True)
    of_value = [np.flatnonzero(reference == value) for value in values]
    matched = [(rows, count) for rows, count in zip(of_value, counts, strict=True) if len(rows) >= MIN_ROWS]
    if not matched:
        return evenly(len(reference), MAX_ROWS)
    scale = min(len(rows) / count for rows, count in matched)
    scale = min(scale, MAX_ROWS / sum(count for _, count in matched))
    # The tiny amount keeps 1/3 of 300 rows from being floored to 99.
    chosen = [rows[evenly(len(rows), max(1, int(scale * count + 1e-9)))] for rows, count in matched]
    return np.sort(np.concatenate(chosen))


def predicted_or_top(sample: Sample) -> NDArray[np.int32]:
    """(n,) the predicted class; where none was sent, the one with the highest confidence; -1 where neither is there."""
    predicted = sample.predicted.copy()
    missing = (predicted < 0) & sample.has_confidences
    if missing.any():
        predicted[missing] = np.nanargmax(sample.confidences[missing], axis=1)
    return predicted


def filled(confidences: NDArray[np.float32]) -> NDArray[np.float32]:
    """(n, C) with 0 for a class that an event does not name: clients may send the few highest alone."""
    return np.nan_to_num(confidences, nan=0.0)


def align_classes(sample: Sample, classes: tuple[str, ...]) -> Sample:
    """``sample`` with its confidence columns, predicted and true indices in the order of ``classes``.

    A class that the sample does not know gets no confidence; one that only the sample knows is dropped, and where it is
    the predicted one, that becomes -1, where it is the true one, ``FOREIGN``.
    """
    if sample.classes == classes:
        return sample
    confidences = np.full((len(sample), len(classes)), np.nan, dtype=np.float32)
    place = np.full(len(sample.classes) + 1, -1, dtype=np.int32)
    for target, name in enumerate(classes):
        if name in sample.classes:
            source = sample.classes.index(name)
            confidences[:, target] = sample.confidences[:, source]
            place[source] = target
    return replace(
        sample,
        classes=classes,
        confidences=confidences,
        predicted=place[sample.predicted],
        labels=None if sample.labels is None else _true(place, sample.labels),
    )


def _true(place: NDArray[np.int32], labels: NDArray[np.int32]) -> NDArray[np.int32]:
    aligned = place[np.maximum(labels, -1)]
    return np.where((labels != -1) & (aligned < 0), np.int32(FOREIGN), aligned)


def _embedding(embeddings: NDArray[Any]) -> EmbeddingBaseline:
    mean = embeddings.mean(axis=0, dtype=np.float64)
    squared = float(mean @ mean)
    variance = float(np.einsum("ij,ij->", embeddings, embeddings, dtype=np.float64)) / len(embeddings) - squared
    return EmbeddingBaseline(prepare_columns(embeddings), mean, max(0.0, variance) / max(squared, 1e-12))


def _confidence(sample: Sample, day: AnswersDay) -> ConfidenceBaseline:
    """Of events that all have confidences."""
    counts = class_counts(sample.predicted, len(sample.classes))
    top = sample.top_confidence - day.top_swing(sample)
    return ConfidenceBaseline(prepare_columns(filled(sample.confidences)), top, counts)
