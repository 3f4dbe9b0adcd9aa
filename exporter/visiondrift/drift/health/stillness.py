"""Frozen: the picture stands still. Two pictures of a real sensor never measure the same, however calm the scene.

Identical frames over a stated time are proof. Frames that are nearly identical, because something encodes the standing
picture again, are told only where they differ by less than half of what the camera's own noise makes of two frames.
"""

import numpy as np
from numpy.typing import NDArray

from visiondrift.drift.health.findings import Answer, Reading
from visiondrift.drift.health.frames import COLUMN, Frames
from visiondrift.drift.health.normal import CameraNormal, is_same, steps
from visiondrift.drift.health.wording import duration

FEWEST_FRAMES = 5
"""Frames that must be the same: two may be one frame sent twice."""

_BEYOND_REFERENCE = 2.0
_OF_NOISE = 0.5


def judge_frozen(normal: CameraNormal, frames: Frames) -> Answer:
    """Whether the last of ``frames``, those of the last ``normal.within`` seconds, show one standing picture."""
    if len(frames) < FEWEST_FRAMES:
        return f"{len(frames)} frames; at least {FEWEST_FRAMES} are needed"
    needed = max(normal.hold, _BEYOND_REFERENCE * normal.stillness.seconds)
    if needed > normal.within:
        return "the reference's own frames stand still for as long: a standing picture is usual for this source"
    exact = _run(frames, is_same(frames), needed)
    nearly = _run(frames, _is_calm(normal, frames), needed)
    if exact.reach >= 1 or nearly.reach <= exact.reach:
        seconds = duration(float(frames.times[-1]) - exact.since)
        return Reading(exact.reach, exact.since, f"every frame of the last {seconds} measures exactly alike", "certain")
    seconds = duration(float(frames.times[-1]) - nearly.since)
    return Reading(
        nearly.reach,
        nearly.since,
        f"the frames of the last {seconds} differ by less than half of the camera's own noise",
    )


def _is_calm(normal: CameraNormal, frames: Frames) -> NDArray[np.bool_]:
    """(n - 1,) whether each frame differs from the one before by far less than noise would make it differ.

    Of a flat picture that cannot be said: the noise that is known is that of a scene.
    """
    properties, layout = steps(frames)
    calm = (properties < _OF_NOISE * normal.stillness.properties) & (layout < _OF_NOISE * normal.stillness.layout)
    return np.asarray(calm & (frames.properties[1:, COLUMN["contrast"]] >= normal.light.flattest / 2))


def _run(frames: Frames, still: NDArray[np.bool_], needed: float) -> Reading:
    """The run of frames at the end of which each stands ``still`` (n - 1,) after the one before, as a share of the
    ``needed`` seconds.
    """
    moving = np.flatnonzero(~still)
    first = int(moving[-1]) + 1 if len(moving) else 0
    count = len(frames) - first
    lasted = float(frames.times[-1] - frames.times[first])
    return Reading(lasted / needed * min(1.0, count / FEWEST_FRAMES), float(frames.times[first]), "")
