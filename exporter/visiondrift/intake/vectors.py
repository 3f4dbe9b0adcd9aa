"""Decides how embeddings and confidences are read from what clients send, and what makes one unusable."""

import base64
import binascii
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from visiondrift.intake.refusal import Refused, shown
from visiondrift.prediction import Reason

_DTYPES: dict[str, np.dtype[Any]] = {"float16": np.dtype("<f2"), "float32": np.dtype("<f4")}
_ROUNDING = 1e-6  # a softmax in float16 or float32 may end this far outside of 0 to 1
_NUMBERS = frozenset({int, float})
_EMBEDDING_ACCEPTED = (
    'accepted is a list of numbers, or {"dtype": "float16" or "float32", "data": base64 of little-endian values}'
)


def embedding(value: object, *, dimension: int) -> NDArray[np.float32]:
    """(dimension,) float32 of unit length, from a list, a one-dimensional array, or base64 of raw values."""
    vector = _packed(value) if isinstance(value, Mapping) else _numbers(value, "embedding", "bad_embedding")
    if vector.shape != (dimension,):
        message = f"the embedding has {vector.size} values; accepted are {dimension} for this model"
        raise Refused("embedding", "dimension_mismatch", message)
    peak = float(np.abs(vector).max())  # NaN where any value is
    if not np.isfinite(peak):
        raise Refused("embedding", "bad_embedding", "the embedding has values that are not finite; accepted are finite")
    if peak == 0:
        message = "the embedding is all zeros, which has no direction; accepted is any other"
        raise Refused("embedding", "bad_embedding", message)
    scaled = vector / peak  # so that squares neither overflow nor vanish
    return np.asarray(scaled / np.linalg.norm(scaled), dtype=np.float32)


def _packed(value: Mapping[Any, Any]) -> NDArray[np.float64]:
    name, data = value.get("dtype"), value.get("data")
    dtype = _DTYPES.get(name) if isinstance(name, str) else None
    if dtype is None or not isinstance(data, str) or len(value) != len(("dtype", "data")):
        raise Refused("embedding", "bad_embedding", f"embedding {shown(dict(value))}: {_EMBEDDING_ACCEPTED}")
    try:
        raw = base64.b64decode(data, validate=True)
        return np.asarray(np.frombuffer(raw, dtype=dtype), dtype=np.float64)
    except (binascii.Error, ValueError) as error:
        message = f"embedding.data cannot be read as base64 of {name} ({error}); {_EMBEDDING_ACCEPTED}"
        raise Refused("embedding", "bad_embedding", message) from error


def _numbers(value: object, field: str, reason: Reason) -> NDArray[np.float64]:
    """(n,) float64 of a list of numbers or of a numeric array; strings and booleans are no numbers."""
    if isinstance(value, np.ndarray) and value.ndim == 1 and value.dtype.kind in "fiu":
        return value.astype(np.float64)
    if isinstance(value, list) and value and _NUMBERS.issuperset(map(type, value)):
        try:
            return np.array(value, dtype=np.float64)
        except OverflowError:
            pass
    accepted = _EMBEDDING_ACCEPTED if field == "embedding" else "accepted is a list of numbers from 0 to 1"
    raise Refused(field, reason, f"{field} {shown(value)}: {accepted}")


def confidences(value: object, classes: tuple[str, ...]) -> NDArray[np.float32]:
    """(C,) float32, 0 to 1, in the order of ``classes``; NaN for a class that is not named.

    A vector names them all; a map may name some (a server's best five).
    """
    if not classes:
        message = "this model has no classes; accepted are confidences once monitoring.yml names the model's classes"
        raise Refused("confidences", "unknown_class", message)
    if isinstance(value, Mapping):
        return _named(value, classes)
    vector = _numbers(value, "confidences", "bad_confidences")
    if vector.shape != (len(classes),):
        message = f"confidences has {vector.size} values; accepted are {len(classes)}, one for each configured class"
        raise Refused("confidences", "bad_confidences", message)
    return _ratios(vector)


def _named(value: Mapping[Any, Any], classes: tuple[str, ...]) -> NDArray[np.float32]:
    if not value:
        message = 'confidences is empty; accepted is a map such as {"cat": 0.9}, or leave the field out'
        raise Refused("confidences", "bad_confidences", message)
    for name in value:
        known_class(name, classes, "confidences")
    named = np.array([name in value for name in classes])
    found = np.full(len(classes), np.nan, dtype=np.float32)
    values = _numbers([value[name] for name in classes if name in value], "confidences", "bad_confidences")
    found[named] = _ratios(values)
    return found


def _ratios(values: NDArray[np.float64]) -> NDArray[np.float32]:
    if not bool(np.all(np.abs(values - 0.5) <= 0.5 + _ROUNDING)):  # false for NaN
        message = f"confidences holds {shown(values.tolist())}; accepted are finite numbers from 0 to 1"
        raise Refused("confidences", "bad_confidences", message)
    return np.clip(values, 0, 1).astype(np.float32)


def known_class(value: object, classes: tuple[str, ...], field: str) -> str:
    """A class that the configuration names."""
    if isinstance(value, str) and value in classes:
        return value
    listed = ", ".join(classes[:20]) + (", ..." if len(classes) > len(classes[:20]) else "")
    message = f"{shown(value)} is no class of this model; accepted are {listed or 'none: it has no classes'}"
    raise Refused(field, "unknown_class", message)
