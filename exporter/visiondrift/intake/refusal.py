"""How a refusal travels from the field that is wrong to the batch's loop, and how it may quote what a client sent."""

from collections.abc import Mapping
from itertools import islice

from visiondrift.errors import BadInput
from visiondrift.prediction import Reason


class Refused(BadInput):
    """One event cannot be taken. ``field`` names where, ``reason`` is the code, the text says what is accepted."""

    def __init__(self, field: str, reason: Reason, message: str) -> None:
        super().__init__(message)
        self.field = field
        self.reason: Reason = reason


def shown(value: object, limit: int = 60) -> str:
    """A client's value as a message may quote it: one line, printable, and short, however large it is."""
    head: object = value
    if isinstance(value, str | bytes | list | tuple):
        head = value[: limit + 1]
    elif isinstance(value, Mapping):
        head = dict(islice(value.items(), limit))
    try:
        text = ascii(head)
    except RecursionError:
        return f"a deeply nested {type(value).__name__}"
    return text if len(text) <= limit else text[: limit - 3] + "..."
