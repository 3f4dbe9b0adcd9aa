"""Why an event is refused: the bounded set of reason codes, and the exception that carries one to the batch's loop.

A code is also a value of the metric label ``reason``, so the set never grows with what clients send.
"""

from collections.abc import Mapping
from itertools import islice
from typing import Literal, get_args

from visiondrift.errors import BadInput

Reason = Literal[
    "missing_field",
    "bad_time",
    "unknown_model",
    "unknown_slice_label",
    "too_many_slices",
    "no_input",
    "bad_image",
    "image_too_large",
    "bad_embedding",
    "dimension_mismatch",
    "bad_confidences",
    "unknown_class",
    "bad_value",
]
REASONS: tuple[Reason, ...] = get_args(Reason)


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
