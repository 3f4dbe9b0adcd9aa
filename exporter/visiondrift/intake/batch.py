"""Decides what a batch is, and how a JSON body becomes one: rows, at most so many, not yet checked.

A row is a plain mapping; what is wrong with a single row is the validator's to say (a value that could not even be
read stands in its row as the Refused that says why). What is wrong with the body as a whole raises BadBody. ``arrow``
and ``form`` read the same rows from the other two kinds of body.
"""

from typing import Any

from pydantic_core import from_json

from visiondrift.errors import BadInput
from visiondrift.intake.refusal import shown

Row = Any
"""One event as sent: whatever stood at its place in the batch."""

_ACCEPTED = 'accepted is a JSON object {"events": [{...}, ...]}'
_CONTAINERS, _CONTAINERS_PER_EVENT = 100_000, 64
"""Objects and lists of one body: an empty one is two bytes in a body and thirty times that in memory."""


class BadBody(BadInput):
    """The body as a whole cannot be read."""


class TooManyEvents(BadInput):
    """The batch has more events than one request may bring."""


def rows_of_json(body: bytes | memoryview, *, max_events: int) -> list[Row]:
    """The rows of ``{"events": [...]}``. Raises BadBody, TooManyEvents."""
    text = bytes(body)
    containers, most = text.count(b"{") + text.count(b"["), _CONTAINERS + _CONTAINERS_PER_EVENT * max_events
    if containers > most:
        raise TooManyEvents(f"the body has {containers} objects and lists; accepted are at most {most} in one request")
    try:
        batch = from_json(text, allow_inf_nan=True)
    except ValueError as error:
        raise BadBody(f"the body is no JSON ({error}); {_ACCEPTED}") from error
    if not isinstance(batch, dict) or not isinstance(batch.get("events"), list):
        raise BadBody(f"the body is {shown(batch)}; {_ACCEPTED}")
    if unknown := batch.keys() - {"events"}:
        raise BadBody(f"the batch has a key {shown(min(unknown))}; {_ACCEPTED}")
    return bounded(batch["events"], max_events)


def bounded(rows: list[Row], max_events: int) -> list[Row]:
    """The same rows, if there is at least one and not more than ``max_events``."""
    if not rows:
        raise BadBody(f"the batch is empty; accepted are 1 to {max_events} events")
    if len(rows) > max_events:
        raise TooManyEvents(f"the batch has {len(rows)} events; accepted are 1 to {max_events} (intake.max_events)")
    return rows
