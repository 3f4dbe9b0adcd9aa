"""Three real cameras whose frames stop coming or tell a wrong time, as the service sees them: by a log, look by look.

Another camera of the same model, which is well, sends the same pictures. Whatever befalls the first is not its fault.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache

import numpy as np

from camera_clips import BEGIN, CLIPS, Halves, measured
from visiondrift.cameras import CameraReference, Cameras
from visiondrift.config.monitoring import HealthConfig, WatchedModel, WindowConfig
from visiondrift.drift.health.findings import CameraHealth
from visiondrift.log.memory import MemoryLog
from visiondrift.prediction import PredictionEvent, Sample
from visiondrift.windows import Moment

MODEL, LABEL = "streets", "camera"
WATCHED, OTHER = "watched", "other"


@dataclass(frozen=True)
class Sent:
    """A frame taken at a time ``arrives`` in the log, and has a time that it ``says``, all in seconds."""

    arrives: float
    says: float


Sending = Callable[[float, float], Sent | None]
"""What becomes of a frame taken so many seconds after the begin, with a fault from so many seconds on; None: lost."""


def _in_time(taken: float, _: float) -> Sent:
    return Sent(taken, taken)


def _silent(taken: float, injected: float) -> Sent | None:
    return Sent(taken, taken) if taken < injected else None


def _off_by(seconds: float) -> Sending:
    return lambda taken, injected: Sent(taken, taken + (seconds if taken >= injected else 0.0))


def _stopped(taken: float, injected: float) -> Sent:
    return Sent(taken, min(taken, injected))


_FROM_THE_BEGIN = "an hour behind from the first frame on"
ARRIVALS: dict[str, dict[str, Sending]] = {
    "late": {"no more frames": _silent},
    "clock": {
        "set back by an hour": _off_by(-3600.0),
        "ahead by two minutes": _off_by(120.0),
        "stands still": _stopped,
        _FROM_THE_BEGIN: lambda taken, _: Sent(taken, taken - 3600.0),
    },
}
"""Fault -> how it comes about -> what becomes of the frames of the watched camera; the other one sends in time."""

_BATCHED = "frames come in five batches a `within`"
HARMLESS_ARRIVALS: dict[str, Sending] = {
    "in time": _in_time,
    "frames come two seconds late": lambda taken, _: Sent(taken + 2, taken),
    _BATCHED: _in_time,
    "both cameras fall silent": _silent,
    "both cameras an hour behind": lambda taken, _: Sent(taken, taken - 3600.0),
}
"""What befalls both cameras alike, and is the fault of neither."""


@dataclass(frozen=True)
class Followed:
    """Seconds after its begin at which each fault was told of the watched camera; every look at both."""

    told_after: dict[str, float]
    watched: tuple[CameraHealth, ...]
    other: tuple[CameraHealth, ...]


@cache
def follow(clip: str, fault: str, way: str) -> Followed:
    """The clip with a fault of its frames' arrival, which begins when one ``within`` has passed, or with the clip."""
    injected = 0.0 if way == _FROM_THE_BEGIN else CLIPS[clip].within
    return _follow(clip, ARRIVALS[fault][way], _in_time, injected=injected)


@cache
def follow_harmless(clip: str, way: str) -> Followed:
    """The clip with something that is no camera's fault, one of ``HARMLESS_ARRIVALS``."""
    within, sending = CLIPS[clip].within, HARMLESS_ARRIVALS[way]
    return _follow(clip, sending, sending, injected=within, batch=within / 5 if way == _BATCHED else 0.0)


def told_within(clip: str, fault: str) -> float:
    """Seconds in which the README says that ``late`` or ``clock`` is told, and the looks where these begin and end."""
    within = CLIPS[clip].within
    pause = max(np.diff([time for time, _ in Halves(clip).half(second=True)])) if fault == "late" else 0.0
    return float(max(within / 5, 5 * pause) + 2 * within / 8)


def _follow(clip: str, own: Sending, others: Sending, *, injected: float, batch: float = 0.0) -> Followed:
    halves = Halves(clip)
    model, log = _model(halves.within), MemoryLog()
    cameras = Cameras(log)
    reference = CameraReference(_of_both(halves.reference()), timed=True)
    half = halves.half(second=True)
    begin, end = BEGIN + half[0][0], BEGIN + half[-1][0]
    waiting = sorted(
        (
            event
            for camera, sending in ((WATCHED, own), (OTHER, others))
            for event in _events(halves, camera, sending, injected=injected, batch=batch)
        ),
        key=lambda pair: pair[0],
    )
    told: dict[str, float] = {}
    seen: dict[str, list[CameraHealth]] = {WATCHED: [], OTHER: []}
    for at in np.arange(begin + halves.within / 8, end, halves.within / 8).tolist():
        arrived = [event for arrives, event in waiting if arrives <= at]
        waiting = waiting[len(arrived) :]
        log.append(arrived, [], now=at)
        moment = Moment(model=model, version="1", embedder="", dimension=0, now=at)
        pairs = [(LABEL, WATCHED), (LABEL, OTHER)]
        for health in cameras.look(moment, pairs, log.census().streams, reference):
            camera = health.slice.removeprefix(f"{LABEL}=")
            seen[camera].append(health)
            for fault in health.faults if camera == WATCHED else ():
                told.setdefault(fault.name, at - begin - injected)
    return Followed(told, tuple(seen[WATCHED]), tuple(seen[OTHER]))


def _events(
    halves: Halves, camera: str, sending: Sending, *, injected: float, batch: float
) -> list[tuple[float, PredictionEvent]]:
    """(when it arrives, event) of every frame of the watched half that is not lost."""
    half = halves.half(second=True)
    begin, found = half[0][0], []
    for number, ((time, _), stats) in enumerate(zip(half, measured(halves.name, second=True), strict=True)):
        sent = sending(time - begin, injected)
        if sent is None:
            continue
        arrives = np.ceil(sent.arrives / batch) * batch if batch else sent.arrives
        slices = ((LABEL, camera),)
        event = PredictionEvent(
            f"{camera}-{number}", BEGIN + begin + sent.says, MODEL, "1", slices=slices, image_stats=stats
        )
        found.append((BEGIN + begin + float(arrives), event))
    return found


def _of_both(sample: Sample) -> Sample:
    """A reference of one camera as that of both."""
    both = sample.take(np.repeat(np.arange(len(sample)), 2))
    return replace(both, slices={LABEL: np.array([WATCHED, OTHER] * len(sample), dtype=object)})


def _model(within: float) -> WatchedModel:
    return WatchedModel(
        name=MODEL,
        reference=MODEL,
        classes=(),
        slices=(LABEL,),
        embedding=None,
        evaluate_every=within / 8,
        windows={"1h": WindowConfig()},
        low_confidence_below=0.5,
        column_threshold=0.1,
        block="auto",
        input_stopped_after=3600.0,
        health=HealthConfig.model_validate({"within": f"{within:.0f}s"}),
        max_slices=100,
        max_versions=10,
        max_classes=100,
    )
