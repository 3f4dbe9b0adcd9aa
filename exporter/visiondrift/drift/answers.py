"""What the hour of day does to a model's answers: how sure it is, and which classes it names.

A model is less sure of a camera by night, and names other classes; where the reference spans days, that is no drift.
The blocks of the curves are hours, as those of a picture's light. Only means are adjusted: what else the hour does to
the confidences of a class no curve tells.
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from visiondrift.drift.embedding.hours import DayCurves, fit_day, hour_of
from visiondrift.prediction import Sample, slice_values

MOST_CLASSES = 50
"""Classes that have a curve at most, those that the reference names most: of the others an hour names hardly one."""


@dataclass(frozen=True, eq=False)
class AnswersDay:
    """The curves of each slice of ``label``: ``sure`` of the top confidence, ``named`` of how often each of ``classes``
    (k,) is predicted. ``count`` is how many classes there are in all.
    """

    label: str | None
    count: int
    classes: NDArray[np.intp]
    sure: DayCurves
    named: DayCurves

    @property
    def none(self) -> "AnswersDay":
        """The same without any curve."""
        return replace(self, sure=DayCurves(), named=DayCurves())

    @property
    def is_known(self) -> bool:
        """Whether there is any curve."""
        return bool(self.sure.coefficients or self.named.coefficients)

    def top_swing(self, sample: Sample) -> NDArray[np.float32]:
        """(m,) what the hour does to the top confidence of the m events that have confidences."""
        rows = sample.has_confidences
        return self.sure.swing(sample.times[rows], slice_values(sample, self.label)[rows], 1)[:, 0]

    def named_swing(self, sample: Sample) -> NDArray[np.float32]:
        """(n, C) what the hour does to the chance that each class is named, for all events of ``sample``."""
        found = np.zeros((len(sample), self.count), dtype=np.float32)
        found[:, self.classes] = self.named.swing(sample.times, slice_values(sample, self.label), len(self.classes))
        return found


def answers_day(sample: Sample, label: str | None, *, timed: bool = True) -> AnswersDay:
    """Of a reference; without any curve where its times do not say when a frame was taken (``timed``)."""
    count = len(sample.classes)
    named = np.bincount(sample.predicted[sample.predicted >= 0], minlength=count)
    classes = np.sort(np.argsort(-named, kind="stable")[:MOST_CLASSES])
    sure = by_class = DayCurves()
    slices = slice_values(sample, label)
    rows = np.flatnonzero(sample.has_confidences)
    if timed and len(rows):
        sure = fit_day(sample.top_confidence[:, None], sample.times[rows], slices[rows], hour_of(sample.times[rows]))
    rows = np.flatnonzero(sample.predicted >= 0)
    if timed and len(rows):
        is_named = (sample.predicted[rows, None] == classes).astype(np.float32)
        by_class = fit_day(is_named, sample.times[rows], slices[rows], hour_of(sample.times[rows]))
    return AnswersDay(label, count, classes, sure, by_class)
