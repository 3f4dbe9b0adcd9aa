"""How pydantic's findings are said: what is wrong with what was written, and what is accepted instead."""

from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from visiondrift.config.schema import accepted_at, key_accepted_at, keys_at
from visiondrift.config.tree import Finding, Where
from visiondrift.config.words import did_you_mean, shown

_KEY = "[key]"  # pydantic's last step to what is wrong with a key itself
_BOOLEANS = {True: "true (also written yes or on)", False: "false (also written no or off)"}
_WRONG = {
    "dict_type": "is not a mapping",
    "finite_number": "is not finite",
    "float_type": "is not a number",
    "greater_than": "is out of range",
    "greater_than_equal": "is out of range",
    "int_from_float": "is not a whole number",
    "int_type": "is not a whole number",
    "less_than": "is out of range",
    "less_than_equal": "is out of range",
    "literal_error": "is not one of the choices",
    "model_type": "is not a mapping",
    "string_too_long": "is too long",
    "string_too_short": "is too short",
    "tuple_type": "is not a list",
}


def explain(model: type[BaseModel], error: ValidationError) -> list[Finding]:
    """Each finding in our words, without repeating one that follows from another."""
    return [
        _explain(model, details)
        for details in error.errors(include_url=False, include_context=True)
        if not _follows_from_another(details)
    ]


def _follows_from_another(details: ErrorDetails) -> bool:
    # A list whose entries are refused counts as empty afterwards.
    return details["type"] == "too_short" and len(details["input"]) >= details["ctx"]["min_length"]


def _explain(model: type[BaseModel], details: ErrorDetails) -> Finding:
    where: Where = details["loc"]
    is_key = bool(where) and where[-1] == _KEY
    if is_key:
        where = where[:-1]
    match details["type"]:
        case "value_error":
            return Finding(where, str(details["ctx"]["error"]))
        case "missing":
            return Finding(where, f"it is missing; accepted is {accepted_at(model, where)}")
        case "extra_forbidden":
            keys = keys_at(model, where[:-1])
            text = f"there is no such key{did_you_mean(str(where[-1]), keys)}; accepted are {', '.join(keys)}"
            return Finding(where, text)
        case "json_invalid":
            return Finding((), "it holds an escaped half of a character; accepted is text of whole characters")
    if is_key:
        return Finding(where, f"{shown(where[-1])} does not fit as a key; accepted is {key_accepted_at(model, where)}")
    return Finding(where, _unfit(model, where, details["type"], details["input"]))


def _unfit(model: type[BaseModel], where: Where, kind: str, given: Any) -> str:
    if kind == "string_type" and isinstance(given, bool | int | float):
        written = _BOOLEANS[given] if isinstance(given, bool) else f"the number {given}"
        hint = "" if isinstance(given, bool) else f', "{given}"'
        return f"{written} is not text; accepted is {accepted_at(model, where)}: write it in quotes{hint}"
    accepted = accepted_at(model, where)
    if given is None or isinstance(given, dict | list):
        empty = "it is empty" if not given else f"it holds {shown(given)}"
        return f"{empty}; accepted is {accepted}"
    return f"{shown(given)} {_WRONG.get(kind, 'does not fit')}; accepted is {accepted}"
