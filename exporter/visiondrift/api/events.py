"""The shapes that the OpenAPI document promises. They describe; ``intake.validate`` checks, row by row."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from visiondrift.config.entries import MAX_LABEL
from visiondrift.intake.fields import MAX_ID, MAX_TEXT
from visiondrift.prediction import KEPT, Reason

Ratio = Annotated[float, Field(ge=0, le=1)]
Label = Annotated[str, Field(min_length=1, max_length=MAX_LABEL, pattern=r"^[^\"'`\\=,{}\x00-\x1f]+$")]


_REASON = "|".join(KEPT)


class _Shape(BaseModel):
    model_config = ConfigDict(extra="forbid")


class PackedEmbedding(_Shape):
    """An embedding as base64 of raw little-endian values: a quarter of the bytes of a list."""

    dtype: Literal["float16", "float32"]
    data: str = Field(description="Base64.")


class Event(_Shape):
    """One prediction: what the model saw (image or embedding), what it answered (confidences), or both."""

    id: str = Field(
        min_length=1,
        max_length=MAX_ID,
        description="Unique for the model. Sending the same id again changes nothing, so a retry is always safe.",
    )
    time: str | float = Field(description="When the prediction was made: RFC 3339 with a zone, or epoch seconds.")
    model: str = Field(description="A model that monitoring.yml names.")
    version: Label = Field(description="The version of the model that answered.")
    slices: dict[str, Label] | None = Field(
        default=None, description="Slice labels that monitoring.yml names for the model, such as camera."
    )
    image: str | None = Field(
        default=None,
        description="Base64 of a JPEG, PNG or WebP file; it is embedded, then dropped. Not together with embedding.",
    )
    embedding: list[float] | PackedEmbedding | None = Field(
        default=None, description="The image's CLIP embedding; any length but zero, it is normalised."
    )
    confidences: dict[str, Ratio] | list[Ratio] | None = Field(
        default=None, description="Class to confidence (some classes will do), or all in the order of the classes."
    )
    predicted_class: str | None = Field(default=None, description="Left out: the class of the highest confidence.")
    latency_ms: Annotated[float, Field(ge=0)] | None = None
    image_uri: Annotated[str, Field(min_length=1, max_length=MAX_TEXT)] | None = None
    trace_id: Annotated[str, Field(min_length=1, max_length=MAX_TEXT)] | None = None
    metadata: dict[str, Any] | None = Field(default=None, description="Anything else, up to 4 KiB of JSON.")
    kept: Annotated[str, Field(pattern=f"^({_REASON})([+]({_REASON}))*$")] | None = Field(
        default=None,
        description="Why the client kept this event, where it does not send all; several reasons are joined by +. Only "
        "uniform and every, alone or with others, leave a fair sample, as no reason does: events kept only for what "
        "they show, or by the clock beside a share drawn by chance (timed), are stored, but no drift window reads "
        "them. Sent again with others, reasons are joined.",
    )


class Batch(_Shape):
    """Up to intake.max_events events."""

    events: list[Event] = Field(min_length=1)


class Form(_Shape):
    """A batch whose events name their images by file name."""

    events: Batch
    images: list[Annotated[str, Field(json_schema_extra={"format": "binary"})]]


class RejectedEvent(_Shape):
    """An event that was not taken: its place in the batch, and why."""

    index: int
    id: str | None
    field: str
    reason: Reason
    message: str


class Outcome(_Shape):
    """All events but the rejected and the sampled-out ones are durable: they survive a power cut."""

    stored: int
    duplicates: int
    sampled_out: int | None = Field(
        default=None, description="Valid events that the sampling of their model does not keep; left out where none."
    )
    rejected: list[RejectedEvent]


class ErrorDetail(BaseModel):
    """``code`` is for programs, ``message`` for people."""

    code: str
    message: str
    rejected: list[RejectedEvent] | None = None


class ErrorBody(_Shape):
    """Every answer that is not 2xx."""

    error: ErrorDetail
