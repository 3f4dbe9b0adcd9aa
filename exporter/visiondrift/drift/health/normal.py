"""What is normal for one camera: every limit of its health, from the frames of its own reference.

A limit lies as far again beyond the reference's farthest stretch as that stretch lies from the usual one, and never so
near that it could not be seen by eye.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from visiondrift.drift.health.frames import COLUMN, Frames, frames_of, stretches, thinned
from visiondrift.drift.health.gallery import Gallery, gallery_of
from visiondrift.prediction import Sample

MIN_FRAMES = 30
"""Measured frames of a camera that its reference needs before anything is said of its pictures."""

HOLDS = 5
"""A fault of the light, or a standing picture, must have lasted one part in so many of the time that is looked at."""

ALIKE = 0.6
"""Correlation of layouts that two moments of one scene hardly fall below, whatever the reference says."""

_LEAST_ALIKE = 0.3  # what layouts of different scenes reach by chance, of the nearest of many
_LAYOUT_MARGIN = 1.5
_VERY_ALIKE = 0.8
_SOFTER = 0.2  # log10: a third less sharp
_PARTS = 4
_FRAMES_OF_STRETCH = 50
_SIZES = 8
_OFTEN_SAME = 0.1


@dataclass(frozen=True, eq=False)
class Light:
    """The extremes of a camera's stretches: brightness, contrast (``flattest``, ``starkest``), clipping, lights (as
    contrast over brightness) and grain (log10 of sharpness over noise); what sharpness and grain usually are, and
    how far ``softest`` still is usual.
    """

    darkest: float
    brightest: float
    flattest: float
    starkest: float
    most_clipped: float
    most_lights: float
    coarsest: float
    usual_grain: float
    usual_sharpness: float
    softest: float


@dataclass(frozen=True)
class Stillness:
    """``seconds`` that identical frames followed each other at most; the least change from frame to frame that noise
    causes, of the ``properties`` and of the ``layout``.
    """

    seconds: float
    properties: float
    layout: float


@dataclass(frozen=True, eq=False)
class CameraNormal:
    """One camera's reference. ``within`` and ``hold`` are in seconds; ``least_alike`` and ``softer`` are the limits of
    layout and sharpness over such a time (``softer`` None where the reference cannot say it); ``sizes`` (k, 2) the
    aspects and sizes (log2) that occur, None where they are many; ``hours`` those of the day, UTC, that it knows, None
    where its times say nothing.
    """

    within: float
    hold: float
    gallery: Gallery
    light: Light
    stillness: Stillness
    least_alike: float
    softer: float | None
    sizes: NDArray[np.float64] | None
    hours: frozenset[int] | None

    def knows_hour(self, time: float) -> bool:
        """Whether the reference has frames of about this time of the day."""
        hour = int(time // 3600 % 24)
        return self.hours is not None and not self.hours.isdisjoint({(hour - 1) % 24, hour, (hour + 1) % 24})


def normal_of(reference: Sample, *, within: float, timed: bool) -> CameraNormal | str:
    """What is normal for a camera, from its rows of the ``reference``; or why that cannot be said.

    ``within`` is the time in seconds that is looked at; ``timed`` says that the rows' times are those of their frames.
    """
    frames = frames_of(reference)
    if len(frames) < MIN_FRAMES:
        return f"the reference holds {len(frames)} measured frames of this camera; at least {MIN_FRAMES} are needed"
    if not timed:
        frames = Frames(np.arange(len(frames), dtype=np.float64) * within, frames.properties, frames.layouts)
    span = float(frames.times[-1] - frames.times[0])
    within_reference = max(min(within, span / _PARTS), 1e-3)
    hold = within / HOLDS
    gallery = gallery_of(frames)
    least_alike, softer = _scene_limits(gallery, frames, within_reference)
    return CameraNormal(
        within=within,
        hold=hold,
        gallery=gallery,
        light=_light(stretches(frames, min(hold, within_reference))),
        stillness=_stillness(frames, timed=timed),
        least_alike=least_alike,
        softer=softer,
        sizes=_sizes(frames),
        hours=frozenset(int(hour) for hour in np.unique(frames.times // 3600 % 24)) if timed else None,
    )


def _scene_limits(gallery: Gallery, frames: Frames, within: float) -> tuple[float, float | None]:
    """How alike and how soft the least stretch of the reference is to the rest of it, each with a margin.

    Of stretches that resemble no other one nobody can say how sharp they should be.
    """
    found = [
        gallery.compare(thinned(stretch, _FRAMES_OF_STRETCH), apart=within / 2) for stretch in stretches(frames, within)
    ]
    unlike = 1 - min(likeness.best_layout for likeness in found)
    soft = [
        likeness.typical(likeness.sharpness) for likeness in found if likeness.typical(likeness.layout) >= _VERY_ALIKE
    ]
    return min(ALIKE, 1 - _LAYOUT_MARGIN * unlike), min(-_SOFTER, 2 * min(soft)) if soft else None


def is_scene_stable(normal: CameraNormal) -> bool:
    """Whether the reference's frames resemble each other enough that a moved camera could be told from them."""
    return normal.least_alike >= _LEAST_ALIKE


def _light(found: list[Frames]) -> Light:
    of = {
        name: np.array([stretch.typical(name) for stretch in found])
        for name in ("brightness", "contrast", "clipping", "sharpness", "noise")
    }
    sharpness = of["sharpness"]
    grain = sharpness - of["noise"]
    usual = float(np.median(sharpness))
    return Light(
        darkest=float(of["brightness"].min()),
        brightest=float(of["brightness"].max()),
        flattest=float(of["contrast"].min()),
        starkest=float(of["contrast"].max()),
        most_clipped=float(of["clipping"].max()),
        most_lights=float((of["contrast"] / np.maximum(of["brightness"], 1e-3)).max()),
        coarsest=float(grain.min()),
        usual_grain=float(np.median(grain)),
        usual_sharpness=usual,
        softest=min(usual - 2 * (usual - float(sharpness.min())), usual - 2 * _SOFTER),
    )


def _stillness(frames: Frames, *, timed: bool) -> Stillness:
    same = is_same(frames)
    properties, layout = steps(frames)
    longest = longest_run(frames.times, same) if timed else (np.inf if same.mean() > _OFTEN_SAME else 0.0)
    moved = ~same
    if not moved.any():
        return Stillness(np.inf, 0.0, 0.0)
    return Stillness(longest, float(np.quantile(properties[moved], 0.01)), float(np.quantile(layout[moved], 0.01)))


def is_same(frames: Frames) -> NDArray[np.bool_]:
    """(n - 1,) whether each frame measures exactly as the one before: no two pictures of a real sensor do."""
    return np.asarray(
        (np.diff(frames.properties, axis=0) == 0).all(axis=1) & (np.diff(frames.layouts, axis=0) == 0).all(axis=1)
    )


def steps(frames: Frames) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(n - 1,) how far each frame is from the one before: mean change of the properties, length of the layout's."""
    shape = [COLUMN["aspect"], COLUMN["size"]]
    return (
        np.asarray(np.abs(np.delete(np.diff(frames.properties, axis=0), shape, axis=1)).mean(axis=1)),
        np.asarray(np.linalg.norm(np.diff(frames.layouts, axis=0), axis=1)),
    )


def longest_run(times: NDArray[np.float64], same: NDArray[np.bool_]) -> float:
    """Seconds of the longest run of frames at ``times`` (n,) of which each is the ``same`` (n - 1,) as the last."""
    longest, begin = 0.0, 0
    for index, is_so in enumerate(same):
        if is_so:
            longest = max(longest, float(times[index + 1] - times[begin]))
        else:
            begin = index + 1
    return longest


def _sizes(frames: Frames) -> NDArray[np.float64] | None:
    sizes = np.unique(np.round(frames.properties[:, [COLUMN["aspect"], COLUMN["size"]]], 3), axis=0)
    return None if len(sizes) > _SIZES else np.asarray(sizes)
