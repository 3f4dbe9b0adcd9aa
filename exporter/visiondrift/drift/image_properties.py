"""How images moved as pictures: each of their properties against the reference's, with the hour of day taken off.

A camera that knows nights is darker at night; where the reference spans days, the curve of each property through the
day is no drift. The blocks of the curve are hours, because a picture's light is alike for that long.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from visiondrift.drift.columns.distances import PreparedColumns, prepare_columns, wasserstein
from visiondrift.drift.embedding.hours import DayCurves, fit_day, hour_of
from visiondrift.prediction import PROPERTIES, Sample, slice_values

STEPS = {
    "brightness": 0.02,
    "contrast": 0.01,
    "saturation": 0.01,
    "warmth": 0.01,
    "tint": 0.01,
    "sharpness": 0.03,
    "noise": 0.05,
    "clipping": 0.01,
    "blockiness": 0.05,
    "entropy": 0.1,
    "aspect": 0.02,
    "size": 0.1,
}
"""The least standard deviation that a movement is measured in, in each property's own unit: what a person hardly sees
in one picture. A camera whose reference never varies would otherwise drift by a single grey."""

_SCALE_FLOOR = np.array([STEPS[name] for name in PROPERTIES])


@dataclass(frozen=True, eq=False)
class PropertyBaseline:
    """The reference's properties, ready to compare: ``columns`` without the hour of day, ``mean`` and ``scale`` (P,).

    ``day`` is the curve of each slice of ``label``; None where there is no such label.
    """

    columns: PreparedColumns
    mean: NDArray[np.float64]
    scale: NDArray[np.float64]
    day: DayCurves
    label: str | None

    def without_day(self, sample: Sample) -> NDArray[np.float32]:
        """(m, P) the properties of the m events of ``sample`` that have them, the curve of the day taken off."""
        assert sample.properties is not None  # noqa: S101  the callers have asked
        rows = sample.has_properties
        slices = slice_values(sample, self.label)[rows]
        return self.day.without(sample.properties[rows], sample.times[rows], slices)

    def movement(self, values: NDArray[np.float32]) -> NDArray[np.float64]:
        """(P,) how far each property of ``values`` (m, P), as ``without_day`` gives them, has moved from the reference:
        the first Wasserstein distance in reference standard deviations, or in ``STEPS`` where these are larger.
        """
        return wasserstein(self.columns, values) / self.scale


def prepare_properties(sample: Sample, rows: NDArray[np.intp], day: DayCurves, label: str | None) -> PropertyBaseline:
    """Of the events at ``rows`` of a reference, all of which have properties."""
    assert sample.properties is not None  # noqa: S101  the callers have asked
    values = day.without(sample.properties[rows], sample.times[rows], slice_values(sample, label)[rows])
    scale = np.maximum(values.std(axis=0, dtype=np.float64), _SCALE_FLOOR)
    return PropertyBaseline(prepare_columns(values), values.mean(axis=0, dtype=np.float64), scale, day, label)


def property_day(sample: Sample, label: str | None, *, timed: bool = True) -> DayCurves:
    """What the hour of day does to the properties of a reference, slice by slice, where it spans days.

    Nothing where its times do not say when a frame was taken (``timed``).
    """
    rows = sample.has_properties
    if not timed or sample.properties is None or not rows.any():
        return DayCurves()
    times = sample.times[rows]
    return fit_day(sample.properties[rows], times, slice_values(sample, label)[rows], hour_of(times))
