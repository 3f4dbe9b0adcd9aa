"""Covered, moved, out of focus, or of another resolution: the camera shows a scene, and not as it used to.

Told from all frames of the time that is looked at, because what passes a camera hides its scene for a while: moved is a
camera of which hardly one frame in ten shows the old layout of edges.
"""

import numpy as np
from numpy.typing import NDArray

from visiondrift.drift.health.findings import Answer, FaultName, Reading
from visiondrift.drift.health.frames import COLUMN, Frames
from visiondrift.drift.health.gallery import Likeness
from visiondrift.drift.health.light import judge_covered
from visiondrift.drift.health.normal import ALIKE, CameraNormal, is_scene_stable
from visiondrift.drift.health.wording import duration

FEWEST_FRAMES = 10
"""Frames below which nothing is said of the scene."""

_SAME_SIZE = 0.01  # log2: less than one percent
_SPAN = 0.5
_VERY_ALIKE = 0.8
_DOUBLED_BY = 0.1


def judge_scene(normal: CameraNormal, frames: Frames, likeness: Likeness) -> dict[FaultName, Answer]:
    """Whether in ``frames``, of the last ``normal.within`` seconds, the camera was moved, covered or unfocused."""
    # What passes may hide the scene for half of the time, so that the half of it is not enough where frames come
    # often; a camera that sends on motion alone may have been silent at its begin.
    span, longest_pause = float(np.ptp(frames.times)), float(np.diff(frames.times).max(initial=0.0))
    whole = max(_SPAN * normal.within, normal.within - 2 * longest_pause)
    if len(frames) < FEWEST_FRAMES or span < whole:
        why = f"{len(frames)} frames of {duration(span)}: at least {FEWEST_FRAMES} of {duration(whole)} are needed"
        return dict.fromkeys(("covered", "moved", "unfocused"), why)
    return {
        "covered": judge_covered(normal, frames, likeness),
        "moved": _moved(normal, frames, likeness),
        "unfocused": _unfocused(normal, frames, likeness),
    }


def _moved(normal: CameraNormal, frames: Frames, likeness: Likeness) -> Answer:
    if not is_scene_stable(normal):
        return "the reference's own frames resemble each other too little"
    best = likeness.best_layout
    reading = Reading(
        (1 - best) / (1 - normal.least_alike),
        float(frames.times[0]),
        f"the edges are elsewhere: layout like the reference's by {best:.2f} at most, usual is "
        f"{normal.least_alike:.2f} and more: moved, turned, or covered in part",
    )
    strange = _strange_light(normal, frames)
    return strange if strange and reading.reach >= 1 else reading


def _unfocused(normal: CameraNormal, frames: Frames, likeness: Likeness) -> Answer:
    if normal.softer is None:
        return "the reference's own frames resemble each other too little"
    if likeness.typical(likeness.layout) < ALIKE:
        return "too few frames show what the reference shows, so that there is nothing to compare their sharpness with"
    # Both must agree: haze and dimming take contrast off, and blur does not. The less the frames resemble those that
    # they are compared with, the softer they must be: where the camera was moved a little, sharpness differs as well.
    softer = max(likeness.typical(likeness.sharpness), likeness.typical(likeness.detail))
    limit = normal.softer * (1 + max(0.0, _VERY_ALIKE - likeness.typical(likeness.layout)) / _DOUBLED_BY)
    reading = Reading(
        max(0.0, softer / limit),
        float(frames.times[0]),
        f"edges have {10**softer:.0%} of the sharpness that the same scene has in the reference "
        f"(usual is {10**limit:.0%} and more)",
    )
    strange = _strange_light(normal, frames)
    return strange if strange and reading.reach >= 1 else reading


def _strange_light(normal: CameraNormal, frames: Frames) -> str:
    """Why the light forbids a comparison; "" where it does not."""
    bright = frames.typical("brightness")
    if bright < normal.light.darkest / 2:
        return f"brightness {bright:.2f} is less than half of any that the reference knows"
    if 1 - bright < (1 - normal.light.brightest) / 2:
        return f"brightness {bright:.2f} is far more than any that the reference knows"
    return ""


def judge_resolution(normal: CameraNormal, frames: Frames) -> Answer:
    """Whether ``frames``, a stretch of ``normal.hold`` seconds, have a size that the reference has not."""
    if normal.sizes is None:
        return "the reference's images have many sizes: none is the camera's own"
    here = np.median(frames.properties[:, [COLUMN["aspect"], COLUMN["size"]]], axis=0)
    apart = np.abs(normal.sizes - here).max(axis=1)
    nearest = normal.sizes[int(np.argmin(apart))]
    return Reading(
        float(min(apart.min() / _SAME_SIZE, 100.0)),
        float(frames.times[0]),
        f"images of {_size(here)}, in the reference of {_size(nearest)}",
        "certain",
    )


def _size(pair: NDArray[np.float64]) -> str:
    """Width x height of an aspect and a size."""
    pixels, ratio = 1e6 * 2.0 ** pair[1], 2.0 ** pair[0]
    return f"{np.sqrt(pixels * ratio):.0f} x {np.sqrt(pixels / ratio):.0f}"
