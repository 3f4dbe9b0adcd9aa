"""How a value, a choice and a slip of the pen are put into words in the messages about configuration."""

from collections.abc import Iterable
from dataclasses import dataclass
from difflib import get_close_matches

_LONGEST = 60


@dataclass(frozen=True)
class Words:
    """What a type accepts, in words: metadata of an annotation, read for messages and for the list of keys."""

    text: str


def shown(value: object) -> str:
    """A value as a person would find it in the file, shortened."""
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, list | tuple):
        return "a list"
    text = repr(value)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"


def one_of(choices: Iterable[object]) -> str:
    """``a, b or c``."""
    *most, last = [str(choice) for choice in choices]
    return f"{', '.join(most)} or {last}" if most else last


def did_you_mean(given: str, choices: Iterable[str]) -> str:
    """`` (did you mean port?)`` with a space before, or nothing where no choice is close."""
    close = get_close_matches(given, list(choices), n=1)
    return f" (did you mean {close[0]}?)" if close else ""
