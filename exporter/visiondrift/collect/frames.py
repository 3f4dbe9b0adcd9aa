"""What a frame is, when it was taken, and which frames of many are looked at; knows no decoder.

A camera's own clock is believed as long as it runs like ours; a file's frames count from a stated start.
"""

import time
from dataclasses import dataclass
from typing import Any

from PIL import Image

APART = 2.0
"""Seconds that a stream's own time may run away from its frames' arrival before it is counted anew."""

_CREDIBLE = 60.0
"""Seconds that a camera's clock may be wrong before ours is taken."""


@dataclass(frozen=True, eq=False)
class Frame:
    """One picture of a source: ``time`` in seconds since the epoch, ``image`` RGB; ``encoded`` the JPEG, PNG or WebP
    file that it was, where it was one; ``name`` of the image file in the source. ``live`` frames come at their own
    pace.
    """

    time: float
    image: Image.Image
    live: bool = False
    name: str = ""
    encoded: bytes | None = None


@dataclass
class Tally:
    """What a source has given until now. Each number is written by one thread and may be read by any.

    ``looked``: frames looked at; ``corrupt``: those that could not be decoded; ``missed``: live ones that came while
    those before them were still worked on. ``share`` of the recording or folder that has been read, 0 to 1; None where
    nobody knows how much there is.
    """

    looked: int = 0
    corrupt: int = 0
    missed: int = 0
    connections: int = 0
    state: str = "starting"
    problem: str = ""
    share: float | None = None


def steady() -> float:
    """Seconds of a clock that nobody sets, and that goes on while the machine sleeps where the system has such one."""
    clock: Any = getattr(time, "CLOCK_BOOTTIME", None)
    return time.monotonic() if clock is None else time.clock_gettime(clock)


class LiveClock:
    """Times of the frames of one connection, ``now`` being seconds since the epoch at its first frame.

    ``told`` is the time that the source itself gives for its position 0. From the first frame on only steady time
    counts: setting the machine's clock moves no frame.
    """

    def __init__(self, *, now: float, steady_now: float, told: float | None = None) -> None:
        self._began = now - steady_now
        self._zero = told
        self._apart = _CREDIBLE

    def time_of(self, position: float | None, *, steady_now: float) -> float:
        """Of a frame at ``position`` seconds of the stream, None where it says none, that arrives at ``steady_now``."""
        arrival = self._began + steady_now
        if position is None:
            return arrival
        if self._zero is None or abs(self._zero + position - arrival) > self._apart:
            self._zero, self._apart = arrival - position, APART
        return self._zero + position


class Pace:
    """Which frames are looked at: the first of every ``seconds``, counted from the first of all."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._first: float | None = None
        self._last = -1

    def is_due(self, at: float) -> bool:
        """Whether the frame at ``at``, in any unit of seconds, is the first of its stretch. Counts it where so.

        A time before the first one begins anew.
        """
        if self._first is None or at < self._first:
            self._first, self._last = at, -1
        stretch = int((at - self._first) / self._seconds + 1e-6)
        if stretch <= self._last:
            return False
        self._last = stretch
        return True
