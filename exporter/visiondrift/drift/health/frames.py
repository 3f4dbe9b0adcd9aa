"""The frames that a camera is judged by, and how they are looked at: a stretch of time at once, never one frame alone.

An object that passes fills one frame; what most frames of a while have in common is the camera's.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from visiondrift.drift.thinning import evenly
from visiondrift.prediction import PROPERTIES, Sample

COLUMN = {name: index for index, name in enumerate(PROPERTIES)}

MOST_STRETCHES = 200
"""Stretches that are looked at, at most; evenly spread."""


@dataclass(frozen=True, eq=False)
class Frames:
    """n measured frames in order: ``times`` (n,) seconds, ``properties`` (n, P), ``layouts`` (n, LAYOUT_SIDE²)."""

    times: NDArray[np.float64]
    properties: NDArray[np.float64]
    layouts: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.times)

    def take(self, rows: NDArray[np.intp] | slice) -> "Frames":
        """The frames at ``rows``."""
        return Frames(self.times[rows], self.properties[rows], self.layouts[rows])

    def typical(self, name: str) -> float:
        """The median of one property; there must be a frame."""
        return float(np.median(self.properties[:, COLUMN[name]]))

    def since(self, time: float) -> "Frames":
        """The frames from ``time`` on."""
        return self.take(slice(int(np.searchsorted(self.times, time)), None))

    def until(self, time: float) -> "Frames":
        """The frames before ``time``."""
        return self.take(slice(None, int(np.searchsorted(self.times, time))))


def frames_of(sample: Sample) -> Frames:
    """The frames of a sample whose image was measured."""
    if sample.properties is None or sample.layouts is None:
        return Frames(np.empty(0), np.empty((0, len(PROPERTIES))), np.empty((0, 0), dtype=np.float32))
    measured = np.isfinite(sample.properties).all(axis=1) & np.isfinite(sample.layouts).all(axis=1)
    return Frames(sample.times[measured], sample.properties[measured].astype(np.float64), sample.layouts[measured])


def thinned(frames: Frames, most: int) -> Frames:
    """At most so many of the frames, evenly spread."""
    return frames.take(evenly(len(frames), most))


def stretches(frames: Frames, hold: float) -> list[Frames]:
    """The frames in stretches of ``hold`` seconds, each half a stretch after the one before; none is empty."""
    if not len(frames):
        return []
    begins = np.unique(np.floor(2 * frames.times / hold))
    begins = begins[evenly(len(begins), MOST_STRETCHES)]
    first = np.searchsorted(frames.times, begins * hold / 2)
    last = np.searchsorted(frames.times, begins * hold / 2 + hold)
    return [frames.take(slice(int(a), int(b))) for a, b in zip(first, last, strict=True)]
