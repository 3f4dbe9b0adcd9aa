"""Durations and sizes as people write them: Prometheus's duration grammar (``5m``, ``1h30m``), and ``512MiB``."""

import re
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator

from visiondrift.config.words import Words, shown

_UNITS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800, "y": 31536000}
_DURATION = re.compile(r"(?:\d+y)?(?:\d+w)?(?:\d+d)?(?:\d+h)?(?:\d+m(?!s))?(?:\d+s)?(?:\d+ms)?", re.ASCII)
_SIZES = {"B": 1, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "TiB": 2**40}
_SIZE = re.compile(r"(\d+)\s*(B|KiB|MiB|GiB|TiB)", re.ASCII)
_RATE = re.compile(r"(\d{1,6}(?:\.\d{1,6})?) per (\S+)", re.ASCII)
_MOST_DIGITS = 18
_MOST_TIMES = 1000
_SPANS = (60.0, 10 * 31536000.0)

DURATION_WORDS = "a duration above zero in whole numbers and units, such as 30s, 5m, 1h, 1h30m or 7d"
RATE_WORDS = "how many (up to 1000) in what time (1m to 10y), such as 1 per 7d or 0.5 per 30d"
SIZE_WORDS = "a size in a whole number and B, KiB, MiB, GiB or TiB, such as 512MiB"


def parse_duration(text: object) -> float:
    """Seconds of a Prometheus duration such as ``90s``, ``5m`` or ``1h30m``. Raises ValueError."""
    if isinstance(text, str) and 0 < len(text) <= _MOST_DIGITS and _DURATION.fullmatch(text):
        parts = re.findall(r"(\d+)(ms|[ywdhms])", text)
        seconds = float(sum(int(number) * _UNITS[unit] for number, unit in parts))
        if seconds > 0:
            return seconds
    msg = f"{shown(text)} is not a duration; accepted is {DURATION_WORDS}"
    raise ValueError(msg)


def parse_size(text: object) -> int:
    """Bytes of a size such as ``512MiB``. Raises ValueError."""
    found = _SIZE.fullmatch(text) if isinstance(text, str) and len(text) <= _MOST_DIGITS else None
    if found and int(found[1]) > 0:
        return int(found[1]) * _SIZES[found[2]]
    msg = f"{shown(text)} is not a size; accepted is {SIZE_WORDS}"
    raise ValueError(msg)


def parse_rate(text: object) -> float:
    """Times a second of a rate such as ``1 per 7d``. Raises ValueError."""
    found = _RATE.fullmatch(text) if isinstance(text, str) else None
    if found and 0 < float(found[1]) <= _MOST_TIMES:
        span = parse_duration(found[2])
        if _SPANS[0] <= span <= _SPANS[1]:
            return float(found[1]) / span
    msg = f"{shown(text)} is not a rate; accepted is {RATE_WORDS}"
    raise ValueError(msg)


def format_rate(rate: float) -> str:
    """Once in what time: ``1 per 7d``."""
    return f"1 per {format_duration(1 / rate)}"


def format_duration(seconds: float) -> str:
    """The shortest spelling of whole milliseconds: ``90`` is ``1m30s``."""
    left = round(seconds * 1000)
    parts = []
    for unit in ("d", "h", "m", "s", "ms"):
        count, left = divmod(left, round(_UNITS[unit] * 1000))
        if count:
            parts.append(f"{count}{unit}")
    return "".join(parts) or "0s"


def format_size(size: int) -> str:
    """Bytes in the largest unit that divides them: ``64MiB``."""
    unit = max((unit for unit in _SIZES if size % _SIZES[unit] == 0), key=_SIZES.__getitem__)
    return f"{size // _SIZES[unit]}{unit}"


def _is_duration(text: str) -> str:
    parse_duration(text)
    return text


Duration = Annotated[float, BeforeValidator(parse_duration), Words(DURATION_WORDS)]
"""Seconds, written as a Prometheus duration."""

DurationText = Annotated[str, AfterValidator(_is_duration), Words(DURATION_WORDS)]
"""A duration that is also a name, as those of windows: kept as it is written."""

Size = Annotated[int, BeforeValidator(parse_size), Words(SIZE_WORDS)]
"""Bytes, written with a binary unit."""

Rate = Annotated[float, BeforeValidator(parse_rate), Words(RATE_WORDS)]
"""Times a second, written as a number per duration."""
