"""Whether frames still come, and whether their times can be right: told from when they arrived, not what they show.

Nothing says when a frame arrived but the looks at the log: how many events it held then, and the time of the newest.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from visiondrift.drift.health.findings import Answer, Reading
from visiondrift.drift.health.wording import duration

AHEAD_SECONDS = 30.0
"""How far ahead of this clock a frame may be: more than clocks differ that anybody sets."""

FEWEST_FRAMES = 5
"""Frames below which nothing is said of how often a camera sends."""

_LONGEST = 5.0
_LONGEST_IN_REFERENCE = 3.0
_USUAL = 0.99
_BEHIND = 5.0  # what is sent in batches is behind as well, for a while


@dataclass(frozen=True)
class Look:
    """What the log held of a camera ``at`` a time: how many ``events``, and the time of the ``newest``."""

    at: float
    events: int
    newest: float

    @property
    def lag(self) -> float:
        """Seconds that the newest frame is behind."""
        return self.at - self.newest


@dataclass(frozen=True)
class Company:
    """The model's other cameras now: how many there are, how many ``sending``, and how many seconds ``lag`` these are
    behind in the middle; ``elsewhere``: whether the camera's own frames now go to another version of the model.
    """

    cameras: int = 0
    sending: int = 0
    lag: float = 0.0
    elsewhere: bool = False


def longest_usual(live: NDArray[np.float64], reference: NDArray[np.float64] | None, *, hold: float) -> float | None:
    """Seconds without a frame from which on a camera is late; None where too few frames say how often it sends.

    ``live`` (n,) are the times of its last frames; ``reference`` (m,) those of its reference, None where these are not
    when the frames were taken. Several times the longest pause, and ``hold`` at least: a camera that sends on motion
    alone pauses for long in its reference as well.
    """
    if len(live) < FEWEST_FRAMES:
        return None
    longest = max(hold, _LONGEST * float(np.diff(live).max()))
    if reference is not None and len(reference) >= FEWEST_FRAMES:
        longest = max(longest, _LONGEST_IN_REFERENCE * float(np.quantile(np.diff(reference), _USUAL)))
    return longest


def judge_late(looks: Sequence[Look], usual: float | None, company: Company) -> Answer:
    """Whether no frame has come for longer than is usual, while the model's other cameras send.

    ``looks`` are in order of time, the last one is now.
    """
    if not looks:
        return "no frame has come yet"
    if usual is None:
        return f"fewer than {FEWEST_FRAMES} frames say how often this camera sends"
    now = looks[-1]
    if _arrives(looks) and not _tells_time(looks, usual):
        return Reading(0.0, now.newest, "frames arrive", "certain")
    excuse = _excuse(looks, company)
    if now.lag >= usual and excuse:
        return excuse
    others = f"; {company.sending} of the {company.cameras} others send" if company.cameras else ""
    return Reading(
        max(0.0, now.lag) / usual,
        now.newest,
        f"no frame for {duration(now.lag)}, usual is one within {duration(usual)}{others}",
        "certain",
    )


def _excuse(looks: Sequence[Look], company: Company) -> str:
    """Why silence need not be the camera's fault; "" where nothing excuses it."""
    if company.elsewhere:
        return "its frames go to another version of the model"
    if company.cameras and not company.sending:
        return "no camera of the model sends: what is before all of them has stopped"
    return "one look cannot tell a camera that is silent from a clock that is behind" if len(looks) == 1 else ""


def _arrives(looks: Sequence[Look]) -> bool:
    return len(looks) > 1 and looks[-1].events > looks[-2].events


def _tells_time(looks: Sequence[Look], usual: float) -> bool:
    """Whether the age of the newest frame is that of its arrival: a clock that was right before, and goes on."""
    return looks[-1].newest > looks[-2].newest and any(look.lag < usual for look in looks[:-1])


def judge_clock(looks: Sequence[Look], company: Company, *, hold: float) -> Answer:
    """Whether the times of frames run ahead of their arrival, far behind it, or have jumped back.

    Behind is told against the other cameras: what is between all of them and the log may be slow. ``hold`` seconds are
    how long it must be off; behind is several times as far.
    """
    if not looks:
        return "no frame has come yet"
    now = looks[-1]
    ahead = Reading(
        max(0.0, -now.lag) / AHEAD_SECONDS,
        now.at,
        f"the newest frame is {duration(-now.lag)} ahead of its arrival",
        "certain",
    )
    if ahead.reach >= 1:
        return ahead
    stuck = next(look for look in looks if look.newest >= now.newest)
    late_comers = now.events - stuck.events
    if now.at - stuck.at >= hold and late_comers >= FEWEST_FRAMES:
        since = f"{late_comers} frames have arrived in {duration(now.at - stuck.at)}, none newer than the newest before"
        return Reading(1.0, stuck.at, f"{since}: the clock has jumped back, or old frames are sent")
    first = looks[0]
    arrived = now.events - first.events
    if len(looks) < 2 or now.at - first.at < hold or arrived < FEWEST_FRAMES:  # noqa: PLR2004
        return "too little has arrived since the first look to tell"
    behind = min(look.lag for look in looks) - company.lag
    return max(
        ahead,
        Reading(
            max(0.0, behind) / (_BEHIND * hold),
            first.at,
            f"frames arrive, and are always {duration(behind)} older than those of other cameras or than now",
        ),
        key=lambda reading: reading.reach,
    )
