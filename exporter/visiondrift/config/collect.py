"""``collect:`` of ``monitoring.yml``: where images come from, which of them are kept, and where those go."""

import re
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from visiondrift.config.entries import Label, Name, Strict, Text, Url
from visiondrift.config.units import Duration, Size, format_duration
from visiondrift.config.words import Words, shown

SCHEMES = ("rtsp", "rtsps", "http", "https", "udp", "rtp", "srt")
"""Kinds of streams that can be read."""

_STREAM = re.compile(rf"({'|'.join(SCHEMES)})://[^\s/?#]+\S*", re.IGNORECASE)
_SECRET = re.compile(r"(?<=://)\S*@")
"""Up to the last @ of all: a password that is written as it is may hold any sign, where an address ends too."""
_LOOK = 1.0
_STREAM_WORDS = "an address that begins with rtsp://, http:// or the like, without a password"
_MOMENT_WORDS = "a time with its zone (RFC 3339), such as 2026-11-02T08:00:00Z"


def is_stream(address: str) -> bool:
    """Whether an address is that of a stream, and not a path."""
    return _STREAM.fullmatch(address) is not None


def shown_address(address: str) -> str:
    """An address without the user and the password in it: as it may be printed."""
    return _SECRET.sub("***@", address)


def usual_look(every: float | None) -> float:
    """How often a frame is looked at where nothing says it: each second, and no more seldom than one is kept."""
    return _LOOK if every is None else min(_LOOK, every)


def _stream(address: Any) -> Any:
    # Its own words, as those of pydantic would show the whole address.
    if not isinstance(address, str) or not is_stream(address):
        msg = f"it is no address of a stream; accepted is {_STREAM_WORDS}"
        raise ValueError(msg)
    found = _SECRET.search(address)
    if found and ":" in found[0]:
        msg = (
            "there is a password in the address; accepted is an address with the user alone, and password_file; an @ "
            "in a path is written %40"
        )
        raise ValueError(msg)
    return address


def _moment(text: Any) -> float:
    try:
        moment = datetime.fromisoformat(text)
    except (TypeError, ValueError):
        moment = None
    if moment is None or moment.tzinfo is None:
        msg = f"{shown(text)} is no time with its zone; accepted is {_MOMENT_WORDS}"
        raise ValueError(msg)
    return moment.timestamp()


Moment = Annotated[float, BeforeValidator(_moment), Words(_MOMENT_WORDS)]
"""Seconds since the epoch, written in RFC 3339."""

StreamUrl = Annotated[str, BeforeValidator(_stream), Words(_STREAM_WORDS)]
Cosine = Annotated[float, Field(ge=-1, le=1)]
Channels = Annotated[tuple[float, ...], Field(min_length=3, max_length=3), Words("a list of three numbers")]
Shape = Annotated[tuple[int, ...], Field(min_length=4, max_length=4), Words("a list of four numbers")]
Prompts = Annotated[tuple[Text, ...], Field(max_length=20), Words("a list of at most 20 texts")]


class ModelInput(Strict):
    """What a model on a KServe server takes, where the server itself does not say."""

    name: Text = Field(description="What the input is called.")
    datatype: Literal["BYTES", "FP32", "FP16", "UINT8"] = Field(
        description="BYTES: an image file, in base64; else pixels."
    )
    shape: Shape = Field(
        default=(-1, 3, 224, 224), description="Of pixels: `[batch, 3, height, width]` or `[batch, height, width, 3]`."
    )


class ModelServerConfig(Strict):
    """A server that is asked for the confidences of every frame that is kept."""

    url: Url = Field(description="Where the server is; with `json`, the address that frames are posted to.")
    protocol: Literal["kserve", "json"] = Field(
        default="kserve",
        description="kserve: the v2 protocol over HTTP. json: `{model, image}` is posted, the image in base64, and "
        "`{confidences}` comes back.",
    )
    name: Name | None = Field(default=None, description="The model's name on the server; left out, the same as here.")
    takes: ModelInput | None = Field(
        default=None, description="What the model takes; left out, the server says it. With `kserve` alone."
    )
    timeout: Duration = Field(default=5.0, description="How long an answer may take.")
    outputs: Literal["probabilities", "logits"] = Field(
        default="probabilities", description="What the numbers are that come back."
    )
    mean: Channels | None = Field(default=None, description="For pixels from 0 to 1: what is taken off each channel.")
    std: Channels | None = Field(default=None, description="What each channel is then divided by.")

    @model_validator(mode="after")
    def _both(self) -> Self:
        if (self.mean is None) != (self.std is None) or 0 in (self.std or ()):
            msg = "mean and std go together, and no std is 0; accepted is both or neither"
            raise ValueError(msg)
        if self.takes is not None and self.protocol != "kserve":
            msg = "takes says what a KServe server is sent; accepted is protocol: kserve, or no takes"
            raise ValueError(msg)
        return self


class SourceConfig(Strict):
    """One source of images: a stream (``url``), or a video, an image or a folder (``path``)."""

    name: Name = Field(description="The name of the source, in files, ids and messages.")
    url: StreamUrl | None = Field(default=None, description="A stream: `rtsp://`, `http://` and the like.")
    password_file: Path | None = Field(
        default=None, description="File with the password of the user that `url` names; the address itself has none."
    )
    path: Path | None = Field(default=None, description="In place of `url`: a video, an image, or a folder of images.")
    watch: bool = Field(default=False, description="Wait for new images in the folder, and do not end.")
    model: Name = Field(description="The watched model that the frames are events of.")
    version: Label = Field(default="1", description="The version of that model.")
    slices: dict[str, Label] = Field(
        default={}, description="Slice labels of the events, such as `{camera: platform-2}`."
    )
    start: Moment | None = Field(
        default=None, description="When a recording began; left out, the time in its file, or so that it ends there."
    )
    look: Duration | None = Field(
        default=None,
        description="How often a frame of a stream or video is looked at; left out, each second, or `every` if finer.",
    )
    every: Duration | None = Field(
        default=None, description="Keep a frame every so often; drift windows read these where there is no `uniform`."
    )
    uniform: float | None = Field(
        default=None,
        gt=0,
        le=1,
        description="Keep this share of the frames looked at, drawn by chance: all that drift windows then read.",
    )
    prompts: Prompts = Field(default=(), description="Keep frames that show one of these, by CLIP.")
    threshold: Cosine | None = Field(default=None, description="Least cosine to a prompt.")
    similar: Cosine | None = Field(
        default=None, description="Keep frames of at least this cosine to the reference's mean direction."
    )
    unlike: Cosine | None = Field(
        default=None, description="Keep frames of at most this cosine to the reference's mean direction."
    )
    distinct: Cosine | None = Field(
        default=None,
        description="Leave out frames of at least this cosine to one kept before; never those that `uniform` draws.",
    )

    model_server: ModelServerConfig | None = Field(
        default=None, description="What to ask for confidences; left out, frames are events with an image alone."
    )

    @model_validator(mode="after")
    def _is_one_place(self) -> Self:
        if (self.url is None) == (self.path is None):
            msg = "it needs one place to read; accepted is either url or path"
            raise ValueError(msg)
        if self.watch and self.path is None:
            msg = "watch is for folders; accepted is to leave it out, as a stream goes on by itself"
            raise ValueError(msg)
        if self.password_file is not None and (self.url is None or "@" not in self.url):
            msg = "password_file needs a user; accepted is a url such as rtsp://viewer@camera/stream"
            raise ValueError(msg)
        if self.start is not None and self.watch:
            msg = "start is of a recording, and watch for folders; accepted is one of the two"
            raise ValueError(msg)
        return self

    @model_validator(mode="after")
    def _looks_often_enough(self) -> Self:
        if self.look is not None and self.every is not None and self.every < self.look:
            most = format_duration(self.every)
            msg = f"no more is kept than is looked at; accepted is a look of at most {most} (every), or none"
            raise ValueError(msg)
        return self

    @model_validator(mode="after")
    def _keeps_something(self) -> Self:
        if bool(self.prompts) != (self.threshold is not None):
            msg = "prompts and threshold go together; accepted is both or neither"
            raise ValueError(msg)
        reasons = (self.every, self.uniform, self.threshold, self.similar, self.unlike)
        if all(reason is None for reason in reasons):
            msg = "nothing of it would be kept; accepted is at least one of every, uniform, prompts, similar and unlike"
            raise ValueError(msg)
        return self


class CollectConfig(Strict):
    """What ``visiondrift collect`` reads when no source is named on its command line."""

    exporter: Url | None = Field(default=None, description="The running exporter that kept frames are sent to.")
    token_file: Path | None = Field(default=None, description="File with the token that this exporter asks for.")
    folder: Path | None = Field(default=None, description="The folder that kept frames are written to.")
    folder_max_size: Size = Field(
        default=10 * 2**30, description="Size at which nothing more is written to it: nothing in it is ever removed."
    )
    sources: tuple[SourceConfig, ...] = Field(default=(), description="The cameras, videos and folders.")
