"""One look at one camera: every fault judged from its recent frames, its normal, and how its frames arrive."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from visiondrift.drift.health.arrival import Company, Look, judge_clock, judge_late
from visiondrift.drift.health.findings import FAULTS, Answer, CameraHealth, FaultName, Reading, health_of
from visiondrift.drift.health.frames import Frames, frames_of, stretches
from visiondrift.drift.health.light import judge_black, judge_white
from visiondrift.drift.health.normal import CameraNormal
from visiondrift.drift.health.scene import judge_resolution, judge_scene
from visiondrift.drift.health.stillness import FEWEST_FRAMES, judge_frozen
from visiondrift.drift.health.wording import duration
from visiondrift.prediction import Sample

_OF_A_STRETCH: tuple[FaultName, ...] = ("black", "white", "resolution")


@dataclass(frozen=True)
class Arrival:
    """How a camera's frames arrive: the ``looks`` at the log in order, the last one now; the pause in seconds from
    which on it is late, None where unknown; the model's other cameras.
    """

    looks: Sequence[Look]
    usual: float | None
    company: Company


def judge_camera(
    normal: CameraNormal | str,
    sample: Sample,
    *,
    slice_: str,
    at: float,
    within: float,
    arrival: Arrival | None,
    earlier: CameraHealth | None = None,
) -> CameraHealth:
    """How the camera ``slice_`` is ``at`` a time, from its events of the last ``within`` seconds.

    ``normal`` is what its reference says, or why it says nothing; ``arrival`` is None where nobody saw the events
    arrive, as in a file; ``earlier`` is the health found at the look before, None at the first. Pure: equal arguments
    give equal answers.
    """
    last = float(sample.times[-1]) if len(sample) else None
    end = at
    answers: dict[FaultName, Answer] = {}
    if arrival is None:
        answers["late"] = answers["clock"] = "a file does not say when its events arrived"
    else:
        answers["late"] = judge_late(arrival.looks, arrival.usual, arrival.company)
        answers["clock"] = judge_clock(arrival.looks, arrival.company, hold=within / 5)
        if arrival.looks:
            last = arrival.looks[-1].newest
            end = _end(arrival.looks, within)
    answers |= _pictures(normal, frames_of(sample).since(end - within))
    return health_of(slice_, answers, at=at, last_frame=last, earlier=earlier)


def _end(looks: Sequence[Look], within: float) -> float:
    """Where the time ends whose frames are looked at: at the newest frame, as long as one came ``within`` seconds.

    Frames that come in batches, or by a slow way, are as many as others, and not the fewer for being behind.
    """
    now = looks[-1]
    came = next(look.at for look in looks if look.newest >= now.newest)
    return now.newest if now.at - came < within else now.at


def _pictures(normal: CameraNormal | str, frames: Frames) -> dict[FaultName, Answer]:
    names = FAULTS[2:]
    if isinstance(normal, str):
        return dict.fromkeys(names, normal)
    if not len(frames):
        return dict.fromkeys(names, f"no measured frame in the last {duration(normal.within)}")
    found: dict[FaultName, Answer] = {"frozen": judge_frozen(normal, frames)}
    found |= judge_scene(normal, frames, normal.gallery.compare(frames))
    if len(frames) < FEWEST_FRAMES:
        why = f"{len(frames)} measured frames in the last {duration(normal.within)}; {FEWEST_FRAMES} are needed"
        return found | dict.fromkeys(_OF_A_STRETCH, why)
    # A camera that sends seldom is judged by its last few frames, however long these take.
    recent = frames.take(slice(min(_first_since(frames, normal.hold), len(frames) - FEWEST_FRAMES), None))
    found |= _judge_stretch(normal, recent)
    before = stretches(frames.until(float(recent.times[0])), normal.hold)
    return found | _begun(normal, found, before)


def _first_since(frames: Frames, seconds: float) -> int:
    return int(np.searchsorted(frames.times, frames.times[-1] - seconds))


def _judge_stretch(normal: CameraNormal, frames: Frames) -> dict[FaultName, Answer]:
    likeness = normal.gallery.compare(frames)
    return {
        "black": judge_black(normal, frames, likeness),
        "white": judge_white(normal, frames, likeness),
        "resolution": judge_resolution(normal, frames),
    }


def _begun(
    normal: CameraNormal, found: Mapping[FaultName, Answer], before: Sequence[Frames]
) -> dict[FaultName, Reading]:
    """The faults that a stretch tells, with the time since when they are there, from the stretches before."""
    begun = _there(found, _OF_A_STRETCH)
    still_there = tuple(begun)
    for stretch in reversed(before):
        there = _there(_judge_stretch(normal, stretch), still_there)
        begun |= {name: replace(begun[name], since=reading.since) for name, reading in there.items()}
        still_there = tuple(there)
        if not still_there:
            break
    return begun


def _there(answers: Mapping[FaultName, Answer], names: Sequence[FaultName]) -> dict[FaultName, Reading]:
    """The faults among ``names`` that are there."""
    readings = {name: answers[name] for name in names}
    return {name: reading for name, reading in readings.items() if isinstance(reading, Reading) and reading.reach >= 1}
