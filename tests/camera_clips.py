"""Three real cameras with a fault put in: frames of the clips of ../shared/data, and what each fault does to a picture.

The decision hidden here: every picture is a view of four fifths of the frame, so that a camera can be moved within it.
"""

import io
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from visiondrift.drift.health.findings import CameraHealth
from visiondrift.drift.health.judge import judge_camera
from visiondrift.drift.health.normal import normal_of
from visiondrift.intake.image_stats import measure
from visiondrift.prediction import ImageStats, PredictionEvent, Sample, sample_of

ROOT = Path(__file__).resolve().parents[1]
VIDEOS = Path(os.environ.get("VISIONDRIFT_SHARED_DATA", ROOT.parent / "shared" / "data")) / "videos"
BEGIN = 1_790_000_000.0
_VIEW = 0.8

Picture = Image.Image
Levels = NDArray[np.float32]


@dataclass(frozen=True)
class Moment:
    """The ``first`` whole frame since the fault began, the one of ``now``, and chance."""

    first: Picture
    now: Picture
    chance: np.random.Generator

    def grained(self, levels: Levels, sigma: float) -> Picture:
        """A picture of grey levels with a sensor's noise."""
        noisy = levels + self.chance.normal(0, sigma, levels.shape)
        return Image.fromarray(np.clip(noisy, 0, 255).astype(np.uint8))

    def plain(self, *grey: int) -> Picture:
        """Nothing but one colour."""
        return Image.new("RGB", view(self.now).size, grey if len(grey) == 3 else grey * 3)


Fault = Callable[[Moment], Picture]
"""What the camera shows at a moment."""


@dataclass(frozen=True)
class Clip:
    """A clip: its file, of which every so many frames are taken, and the seconds that are looked at (``within``)."""

    file: str
    every: int
    within: float


CLIPS = {
    "parking": Clip("car-detection.mp4", 3, 6.0),
    "lobby": Clip("one-by-one-person-detection.mp4", 10, 24.0),
    "shelf": Clip("bottle-detection.mp4", 9, 8.0),
}


@cache
def frames(name: str) -> tuple[tuple[float, Picture], ...]:
    """(seconds, whole frame) of a clip."""
    import av  # not at the top: tests that only build pictures need no decoder

    clip = CLIPS[name]
    with av.open(str(VIDEOS / clip.file)) as container:
        container.streams.video[0].thread_type = "AUTO"
        return tuple(
            (float(frame.time), frame.to_image())
            for number, frame in enumerate(container.decode(video=0))
            if number % clip.every == 0
        )


def view(frame: Picture, *, right: float = 0.0, down: float = 0.0, angle: float = 0.0, zoom: float = 1.0) -> Picture:
    """What the camera shows of a frame: moved by shares of its view, turned by degrees, or zoomed in."""
    width, height = frame.size
    if angle:
        frame = frame.rotate(angle, Image.Resampling.BILINEAR)
    across, up = _VIEW * width / zoom, _VIEW * height / zoom
    left, top = (width - across) / 2 + right * across, (height - up) / 2 + down * up
    cut = frame.crop((round(left), round(top), round(left + across), round(top + up)))
    return cut.resize((round(_VIEW * width), round(_VIEW * height)))


def _levels(picture: Picture) -> Levels:
    return np.asarray(picture, dtype=np.float32)


def _hand(at: Moment) -> Picture:
    """Dark, reddish, without an edge."""
    width, height = view(at.now).size
    ramp = np.linspace(20, 60, width)[None, :, None] + np.zeros((height, 1, 3)) + np.array([15, 0, 0])
    return at.grained(ramp.astype(np.float32), 3)


def _lamps(at: Moment) -> Picture:
    """A night in which hardly more than two lamps are seen."""
    pixels = _levels(view(at.now)) * 0.12
    pixels[40:60, 40:70] = 230
    pixels[100:112, 200:240] = 210
    return at.grained(pixels, 4)


def _brighter(at: Moment) -> Picture:
    return Image.fromarray(np.clip(_levels(view(at.now)) * 1.3, 0, 255).astype(np.uint8))


def _blurred(radius: float) -> Fault:
    return lambda at: view(at.now).filter(ImageFilter.GaussianBlur(radius))


def _resampled(picture: Picture, factor: float) -> Picture:
    return picture.resize((round(picture.width * factor), round(picture.height * factor)))


def _jpeg(picture: Picture, quality: int) -> Picture:
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=quality)
    return Image.open(file).convert("RGB")


def _paint(at: Moment) -> Picture:
    return at.grained(_levels(view(at.now).filter(ImageFilter.GaussianBlur(40))) * 0.5 + 90, 2)


def _dimmed(factor: float, sigma: float, *, haze: float = 0.0) -> Fault:
    return lambda at: at.grained(_levels(view(at.now)) * factor + haze, sigma)


FAULTS: dict[str, dict[str, Fault]] = {
    "frozen": {
        "the same frame again": lambda at: view(at.first),
        "the same, as JPEG": lambda at: _jpeg(view(at.first), 85),
    },
    "black": {
        "no signal": lambda at: at.plain(0),
        "video's black (16)": lambda at: at.plain(16),
        "lens cap, sensor noise": lambda at: at.grained(_levels(at.plain(4)), 4),
    },
    "white": {"no signal": lambda at: at.plain(255)},
    "covered": {
        "a hand": _hand,
        "a grey board, sensor noise": lambda at: at.grained(_levels(at.plain(120, 118, 110)), 3),
        "paint that lets light through": _paint,
    },
    "moved": {
        "by an eighth of the view": lambda at: view(at.now, right=-0.12),
        "by as much, and down": lambda at: view(at.now, right=0.12, down=0.12),
        "turned by 15°": lambda at: view(at.now, angle=15),
        "upside down": lambda at: view(at.now).rotate(180),
        "zoomed in by 1.4": lambda at: view(at.now, zoom=1.4),
    },
    "unfocused": {"blur of 2 px": _blurred(2), "blur of 4 px": _blurred(4), "blur of 8 px": _blurred(8)},
    "resolution": {
        "half": lambda at: _resampled(view(at.now), 0.5),
        "nine tenths": lambda at: _resampled(view(at.now), 0.9),
    },
}
"""Fault -> how it comes about -> what the camera shows then."""

HARMLESS: dict[str, Fault] = {
    "untouched": lambda at: view(at.now),
    "dimmed to 0.7": _dimmed(0.7, 1),
    "night: a quarter of the light, noise": _dimmed(0.25, 3),
    "night with two lamps": _lamps,
    "brighter by 1.3": _brighter,
    "haze": _dimmed(0.5, 1, haze=110),
}
"""What is no fault of a camera, whatever else it may be."""


def sample(times: Sequence[float], stats: Sequence[ImageStats]) -> Sample:
    """Measured frames as events, ``times`` in seconds after BEGIN."""
    events = [
        PredictionEvent(str(number), BEGIN + time, "m", "1", image_stats=found)
        for number, (time, found) in enumerate(zip(times, stats, strict=True))
    ]
    return sample_of(events, classes=(), dimension=0)


@dataclass(frozen=True)
class Halves:
    """One half of a clip to refer to, the other to watch; ``swapped``: the second half is the reference."""

    name: str
    swapped: bool = False

    @property
    def within(self) -> float:
        return CLIPS[self.name].within

    def half(self, *, second: bool) -> tuple[tuple[float, Picture], ...]:
        whole = frames(self.name)
        return whole[len(whole) // 2 :] if second else whole[: len(whole) // 2]

    def reference(self) -> Sample:
        return sample([time for time, _ in self.half(second=self.swapped)], measured(self.name, second=self.swapped))

    def live(self, fault: Fault, *, after: float = 0.0) -> Sample:
        """The other half, with the ``fault`` from so many seconds ``after`` its begin on."""
        half = self.half(second=not self.swapped)
        broken = [frame for time, frame in half if time >= half[0][0] + after]
        chance = np.random.default_rng(7)
        shown = [measure(fault(Moment(broken[0], frame, chance))) for frame in broken]
        healthy = measured(self.name, second=not self.swapped)[: len(half) - len(broken)]
        return sample([time for time, _ in half], [*healthy, *shown])

    def watch(self, seen: Sample, *, injected: float = 0.0, looks: int = 8) -> "Watched":
        """Look at ``seen`` so many times within each ``within``, from the first full one on; ``injected`` is in seconds
        after its begin.
        """
        normal = normal_of(self.reference(), within=self.within, timed=True)
        found: list[CameraHealth] = []
        told: dict[str, float] = {}
        begin = float(seen.times[0])
        for at in np.arange(begin + self.within, seen.times[-1], self.within / looks).tolist():
            recent = seen.take((seen.times <= at) & (seen.times > at - self.within))
            earlier = found[-1] if found else None
            health = judge_camera(
                normal, recent, slice_="all", at=at, within=self.within, arrival=None, earlier=earlier
            )
            found.append(health)
            for one in health.faults:
                told.setdefault(one.name, at - begin - injected)
        return Watched(tuple(found), told)


@cache
def measured(name: str, *, second: bool) -> tuple[ImageStats, ...]:
    """What is measured of each picture of one half of a clip, as it is."""
    half = Halves(name).half(second=second)
    return tuple(measure(view(frame)) for _, frame in half)


@dataclass(frozen=True)
class Watched:
    """What came of watching: every look, and how many seconds after it was injected each fault was told."""

    looks: tuple[CameraHealth, ...]
    told_after: dict[str, float]
