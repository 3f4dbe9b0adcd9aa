"""Durations and sizes as people write them: Prometheus's duration grammar (``5m``, ``1h30m``), and ``512MiB``."""

import re
from typing import Annotated

from pydantic import BeforeValidator

_UNITS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800, "y": 31536000}
_DURATION = re.compile(r"(?:\d+y)?(?:\d+w)?(?:\d+d)?(?:\d+h)?(?:\d+m(?!s))?(?:\d+s)?(?:\d+ms)?")
_SIZES = {"B": 1, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "TiB": 2**40}
_SIZE = re.compile(r"(\d+)\s*(B|KiB|MiB|GiB|TiB)")


def parse_duration(text: object) -> float:
    """Seconds of a Prometheus duration such as ``90s``, ``5m`` or ``1h30m``. Raises ValueError."""
    if isinstance(text, str) and text and _DURATION.fullmatch(text):
        parts = re.findall(r"(\d+)(ms|[ywdhms])", text)
        seconds = float(sum(int(number) * _UNITS[unit] for number, unit in parts))
        if seconds > 0:
            return seconds
    msg = f"{text!r} is not a duration; accepted is a number and a unit above zero, such as 30s, 5m, 1h, 1h30m or 7d"
    raise ValueError(msg)


def parse_size(text: object) -> int:
    """Bytes of a size such as ``512MiB``. Raises ValueError."""
    found = _SIZE.fullmatch(text) if isinstance(text, str) else None
    if found and int(found[1]) > 0:
        return int(found[1]) * _SIZES[found[2]]
    msg = f"{text!r} is not a size; accepted is a whole number and B, KiB, MiB, GiB or TiB, such as 512MiB"
    raise ValueError(msg)


Duration = Annotated[float, BeforeValidator(parse_duration)]
"""Seconds, written as a Prometheus duration."""

Size = Annotated[int, BeforeValidator(parse_size)]
"""Bytes, written with a binary unit."""
