"""Decides which scalar values an event may carry: times, texts, slices, numbers, metadata; each with its bounds.

Every function takes the raw value (of any type) and returns it clean, or raises Refused.
"""

import json
import math
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, TypeGuard

from visiondrift.config.entries import LABEL_WORDS, is_label
from visiondrift.intake.refusal import Refused, shown
from visiondrift.prediction import KEPT, Slices, all_reasons, reasons_of

MAX_ID = 200
MAX_TEXT = 2048
MAX_METADATA_BYTES = 4096

_LATEST_SECONDS = 1e11  # the year 5138: a larger number is milliseconds or finer
_RFC_3339 = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(?:\.\d{1,9})?(?:[Zz]|[+-]\d\d:\d\d)", re.ASCII)
_TIME_ACCEPTED = "accepted is RFC 3339 with a zone, such as 2026-11-20T08:15:30Z, or seconds since the epoch"


def required(raw: Mapping[str, Any], name: str, accepted: str) -> Any:
    """The value of a field that must be there."""
    value = raw.get(name)
    if value is None:
        raise Refused(name, "missing_field", f"{name} is missing; accepted is {accepted}")
    return value


def timestamp(value: object, *, now: float, max_future: float, max_past: float) -> float:
    """Seconds since the epoch; ``value`` is RFC 3339 text, seconds, or a datetime with a zone."""
    seconds = _seconds(value)
    if seconds > now + max_future:
        ahead = f"{seconds - now:.0f} s in the future; accepted is at most {max_future:.0f} s ahead of this clock"
        raise Refused("time", "bad_time", f"time {shown(value)} lies {ahead}")
    if seconds < now - max_past:
        past = f"{(now - seconds) / 86400:.1f} days ago; accepted is at most {max_past / 86400:.1f} (log.keep)"
        raise Refused("time", "bad_time", f"time {shown(value)} lies {past}")
    return seconds


def _seconds(value: object) -> float:
    if isinstance(value, str) and _RFC_3339.fullmatch(value):
        try:
            return datetime.fromisoformat(value.upper()).timestamp()
        except (ValueError, OverflowError) as error:
            raise Refused("time", "bad_time", f"time {shown(value)}: {error}; {_TIME_ACCEPTED}") from error
    if isinstance(value, datetime):
        return (value if value.tzinfo else value.replace(tzinfo=UTC)).timestamp()
    if is_number(value):
        if abs(value) <= _LATEST_SECONDS:  # false for NaN
            return float(value)
        message = f"time {shown(value)} is no number of seconds (milliseconds?); {_TIME_ACCEPTED}"
        raise Refused("time", "bad_time", message)
    raise Refused("time", "bad_time", f"time {shown(value)} cannot be read; {_TIME_ACCEPTED}")


def is_number(value: object) -> TypeGuard[int | float]:
    """Whether it is an int or a float (numpy's float64 is one); True and False are not numbers here."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def text(value: object, name: str, *, limit: int = MAX_TEXT) -> str:
    """Printable text of 1 to ``limit`` characters."""
    if isinstance(value, str) and 0 < len(value) <= limit and value.isprintable():
        return value
    raise Refused(name, "bad_value", f"{name} {shown(value)}: accepted are 1 to {limit} printable characters")


def label_value(value: object, name: str) -> str:
    """Text that may become a Prometheus label, part of a URL and of a slice's name."""
    if isinstance(value, str) and is_label(value):
        return value
    raise Refused(name, "bad_value", f"{name} {shown(value)}: accepted are {LABEL_WORDS}")


def slices(value: object, known: tuple[str, ...]) -> Slices:
    """Slice labels, sorted; every label is one that the model's configuration names."""
    if value is None:
        return ()
    if not isinstance(value, Mapping):
        raise Refused("slices", "bad_value", f'slices {shown(value)}: accepted is a map such as {{"camera": "left"}}')
    for label in value:
        if label not in known:
            message = f"{shown(label)} is no slice label of this model; accepted are {', '.join(known) or 'none'}"
            raise Refused("slices", "unknown_slice_label", message)
    return tuple(sorted((label, label_value(found, f"slices.{label}")) for label, found in value.items()))


def latency(value: object) -> float | None:
    """Milliseconds, or None where not given."""
    if value is None:
        return None
    if is_number(value):
        try:
            number = float(value)
        except OverflowError:
            number = math.inf
        if 0 <= number < math.inf:
            return number
    message = f"latency_ms {shown(value)}: accepted is a finite number of milliseconds, 0 or more"
    raise Refused("latency_ms", "bad_value", message)


def kept(value: object) -> str:
    """Why a client kept the event; "" where it does not say, and so sends all."""
    if value is None:
        return ""
    accepted = f"accepted are {', '.join(KEPT)}, several of them joined by +, or to leave it out"
    if not isinstance(value, str) or not value:
        raise Refused("kept", "bad_value", f"kept {shown(value)}: {accepted}")
    try:
        return all_reasons(reasons_of(value))
    except ValueError as error:
        raise Refused("kept", "bad_value", f"kept {shown(value)}: {accepted}") from error


def metadata(value: object) -> Mapping[str, Any]:
    """A JSON object of bounded size; JSON text of one is taken too (as Arrow has no free maps)."""
    if value is None:
        return {}
    if isinstance(value, str) and len(value) > MAX_METADATA_BYTES:
        message = f"metadata has {len(value)} characters of JSON; accepted are at most {MAX_METADATA_BYTES} bytes"
        raise Refused("metadata", "bad_value", message)
    try:
        found = json.loads(value) if isinstance(value, str) else value
        if isinstance(found, Mapping):
            size = len(json.dumps(found, allow_nan=False, ensure_ascii=False).encode())
            if size <= MAX_METADATA_BYTES:
                return found
            message = f"metadata has {size} bytes as JSON; accepted is at most {MAX_METADATA_BYTES}"
            raise Refused("metadata", "bad_value", message)
    except (ValueError, TypeError, RecursionError) as error:
        message = f"metadata is no JSON object ({shown(str(error))}); accepted is a JSON object with finite numbers"
        raise Refused("metadata", "bad_value", message) from error
    raise Refused("metadata", "bad_value", f"metadata {shown(value)}: accepted is a JSON object")
