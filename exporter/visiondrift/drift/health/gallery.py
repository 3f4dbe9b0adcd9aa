"""Compares a frame with those frames of the reference whose edges lie most alike: like with like.

A lorry in front of the camera changes every number of a picture. The layout of edges says which moments of the
reference showed the same, and it survives blur, dimming and haze; so sharpness is held against those moments alone.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from visiondrift.drift.health.frames import COLUMN, Frames, thinned

MOST_FRAMES = 500
"""Frames of the reference that are kept to compare with, at most; evenly spread."""

_NEAREST = 3
_WITNESSES = 5
_UNSURE = -2.0
_DARKEST = 1 / 255


@dataclass(frozen=True, eq=False)
class Likeness:
    """Of n frames: ``layout`` (n,) the correlation with the layouts that are most alike, ``sharpness`` (n,) log10 of
    the sharpness over that of those moments, ``detail`` (n,) the same with the change of contrast taken off.
    """

    layout: NDArray[np.float64]
    sharpness: NDArray[np.float64]
    detail: NDArray[np.float64]

    @property
    def best_layout(self) -> float:
        """How alike the tenth of the frames is that is most alike: in a busy scene the others show what passes."""
        return float(np.quantile(self.layout, 0.9))

    def typical(self, values: NDArray[np.float64]) -> float:
        """The median of ``values`` (n,) over the half of the frames that compare best."""
        return float(np.median(values[self.layout >= np.median(self.layout)]))


@dataclass(frozen=True, eq=False)
class Gallery:
    """Frames of the reference: ``times`` (m,), ``layouts`` (m, LAYOUT_SIDE²) centred and of length 1, ``sharpness`` and
    ``contrast`` (m,) as log10.
    """

    times: NDArray[np.float64]
    layouts: NDArray[np.float32]
    sharpness: NDArray[np.float64]
    contrast: NDArray[np.float64]

    def compare(self, frames: Frames, *, apart: float | None = None) -> Likeness:
        """Compare ``frames`` with the gallery; where they are of it, with what is ``apart`` seconds away at least."""
        alike = _centred(frames.layouts) @ self.layouts.T
        if apart is not None:
            alike = np.where(np.abs(frames.times[:, None] - self.times[None]) < apart, _UNSURE, alike)
        witnesses = np.argpartition(alike, -_WITNESSES, axis=1)[:, -_WITNESSES:]
        nearest = np.sort(np.take_along_axis(alike, witnesses, axis=1), axis=1)[:, -_NEAREST:].mean(axis=1)
        sharper = frames.properties[:, COLUMN["sharpness"]] - np.median(self.sharpness[witnesses], axis=1)
        contrast = _log_contrast(frames) - np.median(self.contrast[witnesses], axis=1)
        return Likeness(nearest, sharper, sharper - contrast)


def gallery_of(frames: Frames) -> Gallery:
    """The frames of a reference as a gallery."""
    kept = thinned(frames, MOST_FRAMES)
    return Gallery(
        kept.times, _centred(kept.layouts), kept.properties[:, COLUMN["sharpness"]].copy(), _log_contrast(kept)
    )


def _log_contrast(frames: Frames) -> NDArray[np.float64]:
    return np.asarray(np.log10(np.maximum(frames.properties[:, COLUMN["contrast"]], 0.0) + _DARKEST))


def _centred(layouts: NDArray[np.float32]) -> NDArray[np.float32]:
    """Around their means, of length 1: noise and fog, everywhere alike, resemble no scene. Flat ones stay 0."""
    centred = layouts - layouts.mean(axis=1, keepdims=True)
    lengths = np.linalg.norm(centred, axis=1, keepdims=True)
    return np.asarray(np.divide(centred, lengths, out=np.zeros_like(centred), where=lengths > 1e-6))  # noqa: PLR2004
