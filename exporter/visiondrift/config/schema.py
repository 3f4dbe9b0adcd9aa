"""What each key accepts, in words, read off the models: for the messages and for the README's table of keys."""

import types
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, Union, get_args, get_origin

from annotated_types import Ge, Gt, Le, Lt
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from visiondrift.config.monitoring import ModelConfig, MonitorDefaults, MonitoringConfig
from visiondrift.config.thresholds import DefaultThresholds, ModelThresholds, ThresholdsConfig
from visiondrift.config.tree import Where
from visiondrift.config.units import (
    DURATION_WORDS,
    RATE_WORDS,
    SIZE_WORDS,
    format_duration,
    format_rate,
    format_size,
)
from visiondrift.config.words import Words, one_of

MONITORING_FILE = "monitoring.yml"
THRESHOLDS_FILE = "thresholds.yml"

_SPELLED: dict[str | None, Callable[[Any], str]] = {
    DURATION_WORDS: format_duration,
    RATE_WORDS: format_rate,
    SIZE_WORDS: format_size,
}
_PLAIN_WORDS = {str: "text", int: "a whole number", float: "a number", bool: "true or false", Path: "a path"}


class ConfigKey(NamedTuple):
    """One key that may be written. ``default`` is as in YAML, or "required", or says where it comes from."""

    file: str
    name: str
    accepted: str
    default: str
    description: str


class Kind(NamedTuple):
    """A type with its metadata, the outer layers of Annotated and Optional taken off."""

    annotation: Any
    metadata: tuple[Any, ...]
    optional: bool = False

    @property
    def words(self) -> str | None:
        """What it accepts, where the model says so itself."""
        return next((mark.text for mark in self.metadata if isinstance(mark, Words)), None)

    @property
    def model(self) -> type[BaseModel] | None:
        """The model behind it, where it is one."""
        is_model = isinstance(self.annotation, type) and issubclass(self.annotation, BaseModel)
        return self.annotation if is_model else None


def config_keys() -> list[ConfigKey]:
    """Every key of both files, in the order of the models, by dotted names.

    ``models[].name`` is a key of each entry of a list; ``defaults.windows.<window>.min_samples`` one of each entry of
    a mapping.
    """
    return [
        *_keys(MONITORING_FILE, MonitoringConfig, ""),
        *_keys(THRESHOLDS_FILE, ThresholdsConfig, ""),
    ]


def accepted_at(model: type[BaseModel], where: Where) -> str:
    """What the entry at ``where`` of a file accepts, in words."""
    return _accepted(_kind_at(model, where))


def key_accepted_at(model: type[BaseModel], where: Where) -> str:
    """What the last step of ``where``, a key of a mapping with free keys, accepts, in words."""
    mapping = _kind_at(model, where[:-1]).annotation
    return _accepted(_kind(get_args(mapping)[0])) if get_origin(mapping) is dict else "text"


def keys_at(model: type[BaseModel], where: Where) -> tuple[str, ...]:
    """The keys that the mapping at ``where`` accepts; empty where they are free."""
    found = _kind_at(model, where).model
    return tuple(found.model_fields) if found else ()


def _kind_at(model: type[BaseModel], where: Where) -> Kind:
    kind = Kind(model, ())
    for step in where:
        if kind.model is not None:
            field = kind.model.model_fields.get(str(step))
            kind = _kind_of_field(field) if field else Kind(Any, ())
        elif get_origin(kind.annotation) is dict:
            kind = _kind(get_args(kind.annotation)[1])
        elif get_origin(kind.annotation) is tuple:
            kind = _kind(get_args(kind.annotation)[0])
    return kind


def _kind_of_field(field: FieldInfo) -> Kind:
    return _kind(field.annotation, tuple(field.metadata))


def _kind(annotation: Any, metadata: tuple[Any, ...] = (), *, optional: bool = False) -> Kind:
    if get_origin(annotation) is Annotated:
        inner, *marks = get_args(annotation)
        flat = [one for mark in marks for one in (mark.metadata if isinstance(mark, FieldInfo) else [mark])]
        return _kind(inner, (*metadata, *flat), optional=optional)
    if get_origin(annotation) in {Union, types.UnionType}:
        inner = next(part for part in get_args(annotation) if part is not type(None))
        return _kind(inner, metadata, optional=True)
    return Kind(annotation, metadata, optional)


def _accepted(kind: Kind) -> str:
    if kind.words:
        return kind.words
    if kind.model is not None:
        return f"a mapping with the keys {', '.join(kind.model.model_fields)}"
    if get_origin(kind.annotation) is Literal:
        return one_of(get_args(kind.annotation))
    if get_origin(kind.annotation) is tuple:
        return f"a list, each entry {_accepted(_kind(get_args(kind.annotation)[0]))}"
    if get_origin(kind.annotation) is dict:
        return "a mapping"
    return _PLAIN_WORDS.get(kind.annotation, "another value") + _bounds(kind.metadata)


def _bounds(metadata: Sequence[Any]) -> str:
    bounds: dict[type, Any] = {type(mark): mark for mark in metadata}
    low, high = bounds.get(Ge), bounds.get(Le)
    above, below = bounds.get(Gt), bounds.get(Lt)
    if low and high:
        return f" from {low.ge} to {high.le}"
    if low:
        return f" of at least {low.ge}"
    if above and high:
        return f" above {above.gt} and at most {high.le}"
    if above and below:
        return f" above {above.gt} and below {below.lt}"
    return f" above {above.gt}" if above else ""


def _keys(file: str, model: type[BaseModel], prefix: str) -> list[ConfigKey]:
    keys = []
    for name, field in model.model_fields.items():
        kind = _kind_of_field(field)
        nested = _keys_below(file, kind, f"{prefix}{name}")
        if kind.model is None or kind.optional:
            accepted = _accepted(kind)
            default = _default(model, name, field, kind)
            keys.append(ConfigKey(file, f"{prefix}{name}", accepted, default, field.description or ""))
        keys.extend(nested)
    return keys


def _keys_below(file: str, kind: Kind, name: str) -> list[ConfigKey]:
    if kind.model is not None:
        return _keys(file, kind.model, f"{name}.")
    if get_origin(kind.annotation) is dict:
        inner = _kind(get_args(kind.annotation)[1])
        return _keys_below(file, inner, f"{name}.<{_entry_name(name)}>")
    if get_origin(kind.annotation) is tuple:
        return _keys_below(file, _kind(get_args(kind.annotation)[0]), f"{name}[]")
    return []


def _entry_name(name: str) -> str:
    last = name.rpartition(".")[2]
    if last.startswith("<"):
        return "signal"
    return {"slices": "label=value"}.get(last, last.removesuffix("s"))


def _default(model: type[BaseModel], name: str, field: FieldInfo, kind: Kind) -> str:
    if field.is_required():
        return "required"
    inherited = MonitorDefaults if model is ModelConfig else DefaultThresholds if model is ModelThresholds else None
    if field.default is None and inherited and name in inherited.model_fields:
        return f"from defaults.{name}"
    return _as_yaml(field.get_default(call_default_factory=True), kind)


def _as_yaml(value: Any, kind: Kind) -> str:
    if kind.words in _SPELLED and value is not None:
        return _SPELLED[kind.words](value)
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {_as_yaml(item, Kind(Any, ()))}" for key, item in value.items()) + "}"
    if isinstance(value, tuple | list):
        return "[" + ", ".join(str(item) for item in value) + "]"
    if isinstance(value, BaseModel):
        return _as_yaml(value.model_dump(), kind)
    return "null" if value is None else str(value)
