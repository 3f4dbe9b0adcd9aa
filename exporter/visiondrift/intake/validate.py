"""Decides what a valid event is: a raw row of any shape becomes a candidate for the log, or a rejection with words.

Whatever a client sends, ``check`` returns; it raises only where the service itself cannot work (no embedder).
"""

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from visiondrift.config.monitoring import IntakeConfig, WatchedModel
from visiondrift.config.units import parse_duration
from visiondrift.intake import fields, vectors
from visiondrift.intake.embedder import Embedder
from visiondrift.intake.refusal import Refused, shown
from visiondrift.prediction import UNKNOWN_MODEL, PredictionEvent, Rejection

FIELDS = (
    "id",
    "time",
    "model",
    "version",
    "slices",
    "image",
    "embedding",
    "confidences",
    "predicted_class",
    "latency_ms",
    "image_uri",
    "trace_id",
    "metadata",
    "kept",
)
"""Every field that an event may have."""
_KNOWN = frozenset(FIELDS)


@dataclass(frozen=True)
class Rules:
    """What a valid event of one model is, read off its configuration."""

    model: WatchedModel
    max_image_bytes: int
    max_image_pixels: int
    max_future: float
    max_past: float
    active_for: float


@dataclass(frozen=True, eq=False)
class Candidate:
    """A valid event; ``image`` holds the encoded image that is still to be embedded, if one was sent."""

    index: int
    event: PredictionEvent
    image: bytes | None
    rules: Rules


def rules_of(models: tuple[WatchedModel, ...], intake: IntakeConfig, *, keep: float) -> dict[str, Rules]:
    """Each model's rules by its name. ``keep`` is the log's, in seconds: what is older would be pruned at once."""
    return {
        model.name: Rules(
            model=model,
            max_image_bytes=intake.max_image_bytes,
            max_image_pixels=intake.max_image_pixels,
            max_future=intake.max_future,
            max_past=keep,
            active_for=max(map(parse_duration, model.windows)),
        )
        for model in models
    }


class Validator:
    """Checks rows against the rules of their models. Holds no state of its own."""

    def __init__(self, rules: Mapping[str, Rules], embedder: Embedder) -> None:
        self._rules = rules
        self._embedder = embedder

    def check(self, raw: object, *, index: int, now: float) -> Candidate | Rejection:
        """The event of one row, or why there is none. ``now`` in seconds since the epoch.

        Raises EmbedderUnavailable where the row needs the service's embedder and there is none.
        """
        try:
            if not isinstance(raw, Mapping):
                raise Refused("", "bad_value", f"{shown(raw)} is no event; accepted is a JSON object")
            return self._candidate(raw, index, now)
        except Refused as refused:
            return rejected(raw, refused, index=index, model=self.model_of(raw))

    def model_of(self, raw: object) -> str:
        """The model that a row names, if it is a configured one, else ``unknown``: labels stay bounded."""
        name = raw.get("model") if isinstance(raw, Mapping) else None
        return name if isinstance(name, str) and name in self._rules else UNKNOWN_MODEL

    def _candidate(self, raw: Mapping[Any, Any], index: int, now: float) -> Candidate:
        rules = self._rules_for(raw)
        self._check_names(raw)
        event_id = fields.required(raw, "id", "text that is unique for the model, so that sending again is harmless")
        when = fields.required(raw, "time", "RFC 3339 with a zone, or seconds since the epoch")
        version = fields.required(raw, "version", "the version of the model that answered")
        identity = fields.text(event_id, "id", limit=fields.MAX_ID)
        time = fields.timestamp(when, now=now, max_future=rules.max_future, max_past=rules.max_past)
        version = fields.label_value(version, "version")
        labels = fields.slices(raw.get("slices"), rules.model.slices)
        embedder, embedding = self._embedding(raw, rules.model)
        image = self._image(raw, rules)
        classes, confidences, predicted = _outputs(raw, rules.model)
        if embedding is None and image is None and confidences is None:
            message = "there is nothing to compare; accepted is at least one of image, embedding and confidences"
            raise Refused("", "no_input", message)
        event = PredictionEvent(
            id=identity,
            time=time,
            model=rules.model.name,
            version=version,
            slices=labels,
            embedder=embedder,
            embedding=embedding,
            classes=classes,
            confidences=confidences,
            predicted_class=predicted,
            latency_ms=fields.latency(raw.get("latency_ms")),
            image_uri=_optional_text(raw, "image_uri"),
            trace_id=_optional_text(raw, "trace_id"),
            metadata=fields.metadata(raw.get("metadata")),
            kept=fields.kept(raw.get("kept")),
        )
        return Candidate(index, event, image, rules)

    def _rules_for(self, raw: Mapping[Any, Any]) -> Rules:
        accepted = f"one of {', '.join(self._rules)}"
        name = fields.required(raw, "model", accepted)
        if isinstance(name, str) and name in self._rules:
            return self._rules[name]
        message = f"model {shown(name)} is not in monitoring.yml; accepted is {accepted}"
        raise Refused("model", "unknown_model", message)

    @staticmethod
    def _check_names(raw: Mapping[Any, Any]) -> None:
        unknown = raw.keys() - _KNOWN
        if unknown:
            name = min(map(str, unknown))
            raise Refused(
                shown(name), "bad_value", f"there is no field {shown(name)}; accepted are {', '.join(FIELDS)}"
            )

    def _embedding(self, raw: Mapping[Any, Any], model: WatchedModel) -> tuple[str, Any]:
        value = raw.get("embedding")
        if value is None:
            return "", None
        own = model.embedding
        name = own.name if own else self._embedder.identity
        return name, vectors.embedding(value, dimension=own.dimension if own else self._embedder.dimension)

    @staticmethod
    def _image(raw: Mapping[Any, Any], rules: Rules) -> bytes | None:
        value = raw.get("image")
        if value is None:
            return None
        if raw.get("embedding") is not None:
            raise Refused("image", "bad_value", "image and embedding are both given; accepted is one of them")
        if rules.model.embedding:
            name = rules.model.embedding.name
            message = f"this model takes embeddings {name} that its clients make; accepted is embedding"
            raise Refused("image", "bad_value", message)
        return _encoded(value, rules.max_image_bytes)


def rejected(raw: object, refused: Refused, *, index: int, model: str) -> Rejection:
    """The answer for one row that was refused."""
    found = raw.get("id") if isinstance(raw, Mapping) else None
    identity = found if isinstance(found, str) and 0 < len(found) <= fields.MAX_ID and found.isprintable() else None
    return Rejection(index, identity, refused.field, refused.reason, str(refused), model)


def _encoded(value: object, max_bytes: int) -> bytes:
    if isinstance(value, Refused):
        raise value
    if isinstance(value, bytes):
        return value
    if not isinstance(value, str):
        raise Refused("image", "bad_image", f"image {shown(value)}: accepted is base64 of a JPEG, PNG or WebP file")
    size = len(value) * 3 // 4 - 2
    if size > max_bytes:
        raise Refused("image", "image_too_large", f"the file has {size} bytes; accepted is at most {max_bytes}")
    try:
        return base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError) as error:
        message = f"image is no base64 ({error}); accepted is plain base64 of a JPEG, PNG or WebP file, with no prefix"
        raise Refused("image", "bad_image", message) from error


def _optional_text(raw: Mapping[Any, Any], name: str) -> str | None:
    value = raw.get(name)
    return None if value is None else fields.text(value, name)


def _outputs(raw: Mapping[Any, Any], model: WatchedModel) -> tuple[tuple[str, ...], Any, str | None]:
    """Classes, confidences and predicted class; the latter is the most confident class where it is not given."""
    given = raw.get("predicted_class")
    predicted = None if given is None else vectors.known_class(given, model.classes, "predicted_class")
    value = raw.get("confidences")
    if value is None:
        return (), None, predicted
    confidences = vectors.confidences(value, model.classes)
    return model.classes, confidences, predicted or model.classes[int(np.nanargmax(confidences))]
