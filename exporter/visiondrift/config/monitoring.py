"""``monitoring.yml``: which models are watched, how events come in, and where things are kept."""

import re
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    ValidationInfo,
    field_validator,
    model_validator,
)

from visiondrift.config.collect import CollectConfig
from visiondrift.config.entries import Name, Strict, Text, Url
from visiondrift.config.units import Duration, DurationText, Size, parse_duration
from visiondrift.config.words import Words, shown

RESERVED_LABELS = frozenset(
    {
        "confidences",
        "embedding",
        "id",
        "image",
        "image_uri",
        "kept",
        "label",
        "latency_ms",
        "metadata",
        "model",
        "predicted_class",
        "time",
        "trace_id",
        "version",
    }
)
"""Fields of an event and columns of its files (``label`` is the true class): a slice label of such a name would be
mistaken for one."""

_LOCAL = "local-dir:"
_SELF_CONTAINED = (_LOCAL, "hf-hub:")  # what such a name points at brings its own weights


def _not_reserved(label: str) -> str:
    if label in RESERVED_LABELS or label.startswith("confidence_"):
        msg = (
            f"{label!r} is a field of an event or a column of its files, so it cannot be a slice label; "
            "accepted is any other name"
        )
        raise ValueError(msg)
    return label


Label = Annotated[
    str,
    Field(pattern=r"^[a-z][a-z0-9_]{0,30}$"),
    AfterValidator(_not_reserved),
    Words("a name of lower-case letters, digits and '_', at most 31, a letter first"),
]
ClassName = Annotated[str, Field(min_length=1, max_length=200), Words("text of 1 to 200 characters")]


_BLOCK_WORDS = "auto, a duration such as 30s, or the name of the reference's text column that names scenes or clips"


def _is_block(text: Any) -> Any:
    if not isinstance(text, str) or not re.fullmatch(r"[a-z][a-z0-9_]{0,30}", text):
        try:
            parse_duration(text)
        except ValueError:
            msg = f"{shown(text)} is no block; accepted is {_BLOCK_WORDS}"
            raise ValueError(msg) from None
    return text


BlockText = Annotated[str, BeforeValidator(_is_block), Words(_BLOCK_WORDS)]


class ServerConfig(Strict):
    """The HTTP server, and the addresses that links in alerts and pages point at."""

    host: Text = Field(default="127.0.0.1", description="Address to listen on; 0.0.0.0 inside a container.")
    port: int = Field(default=9109, ge=1, le=65535, description="Port to listen on.")
    token_file: Path | None = Field(
        default=None, description="File with the bearer token that intake asks for; left out, no token is needed."
    )
    max_body: Size = Field(default=64 * 2**20, description="Largest request body; a larger one is answered with 413.")
    exporter_url: Url = Field(
        default="http://localhost:9109", description="Where people reach this exporter: links in alerts and dashboards."
    )
    grafana_url: Url = Field(default="http://localhost:3000", description="Where people reach Grafana.")
    prometheus_url: Url = Field(default="http://localhost:9090", description="Where people reach Prometheus.")
    runbook_url: Url = Field(
        default="http://localhost:9109/runbook", description="The page whose sections alerts link to as their runbook."
    )
    runbook_file: Path = Field(
        default=Path("../../docs/runbook.md"), description="The Markdown file that the exporter shows at /runbook."
    )


class EmbedderConfig(Strict):
    """The CLIP model. ``model`` is an open_clip name, or ``local-dir:PATH`` with PATH relative to this file."""

    model: Text = Field(
        default="ViT-B-32",
        description="An open_clip model name, `hf-hub:ORG/REPO`, or `local-dir:PATH` for a folder on this machine.",
    )
    pretrained: str | None = Field(
        default="laion2b_s34b_b79k",
        description="The weights: an open_clip tag or a checkpoint file; null with `local-dir:` and `hf-hub:`.",
    )
    device: Literal["auto", "cpu", "cuda"] = Field(
        default="auto", description="Where the model runs; auto takes a GPU where there is one."
    )
    batch_size: int = Field(default=32, ge=1, le=1024, description="Images embedded at once.")
    threads: int = Field(default=1, ge=1, le=256, description="CPU threads of the model.")

    @model_validator(mode="before")
    @classmethod
    def _without_default_weights(cls, given: Any) -> Any:
        if isinstance(given, dict) and str(given.get("model", "")).startswith(_SELF_CONTAINED):
            return {"pretrained": None} | given
        return given

    @field_validator("pretrained")
    @classmethod
    def _not_both(cls, pretrained: str | None, info: ValidationInfo) -> str | None:
        model = info.data.get("model", "")
        if pretrained is not None and model.startswith(_SELF_CONTAINED):
            msg = f"{model} brings its own weights; accepted is null, or to leave pretrained out"
            raise ValueError(msg)
        return pretrained


class IntakeConfig(Strict):
    """Bounds of what one request and one image may cost."""

    max_events: int = Field(default=10_000, ge=1, description="Most events in one request.")
    max_image_bytes: Size = Field(default=10 * 2**20, description="Largest encoded image.")
    max_image_pixels: int = Field(default=40_000_000, ge=1, description="Most pixels of one image.")
    queue_events: int = Field(
        default=20_000, ge=1, description="Events that may wait for the log; beyond it intake answers 429."
    )
    max_future: Duration = Field(default=300.0, description="How far ahead of this clock the time of an event may be.")


class LogConfig(Strict):
    """The prediction log, how long it keeps events, and how long the moments that outlive them."""

    path: Path = Field(default=Path("../../state/predictions.sqlite"), description="The file of the prediction log.")
    keep: Duration = Field(default=14 * 86400.0, description="Age at which events are dropped.")
    keep_moments: Duration = Field(
        default=90 * 86400.0,
        description="Age at which the moments of blocks, which outlive their events, are dropped; at least `log.keep`.",
    )
    max_size: Size = Field(default=10 * 2**30, description="Size at which the oldest events are dropped.")


class ReportsConfig(Strict):
    """Evidently reports: where they are written and how many are kept."""

    path: Path = Field(default=Path("../../state/reports"), description="The folder of the Evidently reports.")
    keep: int = Field(default=100, ge=1, le=10_000, description="Reports kept; the oldest go first.")
    when: Literal["drift", "always", "never"] = Field(
        default="drift", description="Which evaluations get a report: those with a warning or worse, all, or none."
    )
    at_most_every: Duration = Field(
        default=900.0, description="How long a verdict that stays the same goes without another report."
    )


class ThumbnailsConfig(Strict):
    """Small pictures of a few frames, for the eyes of a person; none unless ``keep``, or a model, says so."""

    path: Path = Field(default=Path("../../state/thumbnails"), description="The folder of the thumbnails.")
    keep: int = Field(
        default=0,
        ge=0,
        le=1000,
        description="Pictures kept of each camera of a model that does not say itself; 0 drops every image unseen.",
    )
    max_age: Duration = Field(
        default=86400.0,
        description="Age at which a picture is dropped: half of them are of the newest frames, the others spread over "
        "this time.",
    )
    side: int = Field(default=160, ge=16, le=1024, description="Pixels of a thumbnail's longer side.")


class CalibrationConfig(Strict):
    """Where the calibrations are kept that the exporter made itself, and not `reference build`."""

    path: Path = Field(
        default=Path("../../state/calibrations"),
        description="The folder of the calibrations that the exporter had to make itself.",
    )


class ProbeConfig(Strict):
    """Two sentences whose difference is looked for in the images, such as `a wet road` and `a dry road`."""

    name: Name = Field(description="What the probe is called in messages and dashboards.")
    positive: Text = Field(max_length=300, description="What an image is to be more like.")
    negative: Text = Field(max_length=300, description="What it is to be less like: the same but for one thing.")

    @model_validator(mode="after")
    def _apart(self) -> Self:
        if self.positive == self.negative:
            msg = f"positive and negative are both {self.positive!r}; accepted are two sentences that differ"
            raise ValueError(msg)
        return self


class WindowConfig(Strict):
    """How many samples a window needs before it may speak, and how many it reads at most."""

    min_samples: int = Field(default=200, ge=2, description="Events a window needs before it may speak.")
    max_samples: int = Field(
        default=5000, ge=2, description="Events compared at most; of more, an evenly spread subset is taken."
    )

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.min_samples > self.max_samples:
            msg = (
                f"min_samples {self.min_samples} is more than max_samples {self.max_samples}; "
                "accepted is a min_samples of at most max_samples"
            )
            raise ValueError(msg)
        return self


def _of_different_lengths(windows: dict[str, WindowConfig]) -> dict[str, WindowConfig]:
    by_length: dict[float, str] = {}
    for name in windows:
        same = by_length.setdefault(parse_duration(name), name)
        if same != name:
            msg = f"{same} and {name} are the same length; accepted are windows of different lengths"
            raise ValueError(msg)
    return windows


Windows = Annotated[
    dict[DurationText, WindowConfig],
    Field(min_length=1),
    AfterValidator(_of_different_lengths),
    Words("a mapping of at least one window, named by its length, such as 1h: {min_samples: 200, max_samples: 5000}"),
]


def _default_windows() -> dict[str, WindowConfig]:
    return {"1h": WindowConfig(), "24h": WindowConfig(min_samples=500)}


class HealthConfig(Strict):
    """Camera health: how long back it looks."""

    within: Duration = Field(
        default=300.0,
        description="How much of a camera's last time its health is told from; a black or standing picture is told "
        "after a fifth of it, a moved or unfocused camera after all of it.",
    )


_EVERY = "How often a model is evaluated; at most its shortest window."
_WINDOWS = "Which events are compared: windows that end now, by their length."
_LOW = "The top confidence below which an event counts as one of low confidence."
_COLUMN = "Reference standard deviations that a CLIP column must move by to count as drifted."
_STOPPED = "Time without an event after which an alert says that input has stopped."
_BLOCK = (
    "What counts as one independent look: auto estimates how long frames stay alike from the reference, camera by "
    "camera; a duration sets it; a column name takes labelled scenes."
)
_HEALTH = "How camera health is told, of the values of the first slice label."
_SLICES = "Most slices of a model (values of all its labels) in use at a time; intake refuses what goes beyond."
_VERSIONS = "Most versions of a model in use at a time; intake refuses what goes beyond."
_CLASSES = "Most classes with a series of their own; the rest are summed as `other`."


class MonitorDefaults(Strict):
    """What a model inherits where it says nothing."""

    evaluate_every: Duration = Field(default=300.0, description=_EVERY)
    windows: Windows = Field(default_factory=_default_windows, description=_WINDOWS)
    low_confidence_below: float = Field(default=0.5, gt=0, lt=1, description=_LOW)
    column_threshold: float = Field(default=0.3, gt=0, description=_COLUMN)
    block: BlockText = Field(default="auto", description=_BLOCK)
    input_stopped_after: Duration = Field(default=3600.0, description=_STOPPED)
    health: HealthConfig = Field(default=HealthConfig(), description=_HEALTH)
    max_slices: int = Field(default=50, ge=1, le=1000, description=_SLICES)
    max_versions: int = Field(default=3, ge=1, le=20, description=_VERSIONS)
    max_classes: int = Field(default=50, ge=1, le=1000, description=_CLASSES)


class EmbeddingConfig(Strict):
    """Embeddings that the client makes itself: their name and length. Left out, the service's own embedder is meant."""

    name: Name = Field(description="What makes the client's embeddings: a reference must carry the same name.")
    dimension: int = Field(ge=2, le=8192, description="How many numbers one embedding has.")


class AlwaysConfig(Strict):
    """Events that are kept beside the share, each marked with its rule, and read by no drift window."""

    low_confidence: bool = Field(default=False, description="Those whose top confidence is below low_confidence_below.")
    rare_classes: tuple[ClassName, ...] = Field(default=(), description="Those predicted as one of these classes.")
    unlike: float | None = Field(
        default=None,
        ge=-1,
        le=1,
        description="Outliers: those of at most this cosine to the reference's mean direction. Every image is embedded "
        "then.",
    )


class SamplingConfig(Strict):
    """What is kept of a model with more traffic than anybody needs."""

    rate: float = Field(gt=0, le=1, description="Share of the events that is kept by chance: what drift windows read.")
    always: AlwaysConfig = Field(default=AlwaysConfig(), description="What is kept beside it.")


class ModelConfig(Strict):
    """One watched model. Fields left out come from ``defaults``."""

    name: Name = Field(description="The name that events carry as their `model`.")
    reference: Name = Field(description="The folder under `reference_data` that says what normal looked like.")
    classes: tuple[ClassName, ...] = Field(
        default=(), description="The classes, in the order of a confidence vector; left out, there are no confidences."
    )
    slices: tuple[Label, ...] = Field(
        default=(),
        description="Slice labels, such as camera: each value of each is evaluated on its own. "
        "The names of other fields and columns, such as label, are taken.",
    )
    embedding: EmbeddingConfig | None = Field(
        default=None, description="For embeddings that the client sends; left out, this service embeds the images."
    )
    sampling: SamplingConfig | None = Field(
        default=None, description="What to keep of a busy model; left out, every event is kept."
    )
    keep_thumbnails: int | None = Field(
        default=None,
        ge=0,
        le=1000,
        description="Pictures kept of each of its cameras; left out, as many as `thumbnails.keep` says.",
    )
    evaluate_every: Duration | None = Field(default=None, description=_EVERY)
    windows: Windows | None = Field(default=None, description=_WINDOWS)
    low_confidence_below: float | None = Field(default=None, gt=0, lt=1, description=_LOW)
    column_threshold: float | None = Field(default=None, gt=0, description=_COLUMN)
    block: BlockText | None = Field(default=None, description=_BLOCK)
    input_stopped_after: Duration | None = Field(default=None, description=_STOPPED)
    health: HealthConfig | None = Field(default=None, description=_HEALTH)
    max_slices: int | None = Field(default=None, ge=1, le=1000, description=_SLICES)
    max_versions: int | None = Field(default=None, ge=1, le=20, description=_VERSIONS)
    max_classes: int | None = Field(default=None, ge=1, le=1000, description=_CLASSES)


class WatchedModel(Strict):
    """A model with everything resolved: what the rest of the service reads. ``windows`` maps name -> settings."""

    name: str
    reference: str
    classes: tuple[str, ...]
    slices: tuple[str, ...]
    embedding: EmbeddingConfig | None
    evaluate_every: float
    windows: dict[str, WindowConfig]
    low_confidence_below: float
    column_threshold: float
    block: str
    input_stopped_after: float
    health: HealthConfig
    max_slices: int
    max_versions: int
    max_classes: int
    sampling: SamplingConfig | None = None
    keep_thumbnails: int = 0

    @property
    def window_lengths(self) -> tuple[float, ...]:
        """How long each of the windows is, in seconds, ascending."""
        return tuple(sorted(map(parse_duration, self.windows)))


class MonitoringConfig(Strict):
    """The whole of ``monitoring.yml``."""

    server: ServerConfig = Field(default=ServerConfig(), description="The HTTP server and the addresses of links.")
    embedder: EmbedderConfig = Field(default=EmbedderConfig(), description="The CLIP model that embeds images.")
    intake: IntakeConfig = Field(default=IntakeConfig(), description="Bounds of what one request may cost.")
    log: LogConfig = Field(default=LogConfig(), description="The prediction log.")
    reports: ReportsConfig = Field(default=ReportsConfig(), description="The Evidently reports.")
    thumbnails: ThumbnailsConfig = Field(default=ThumbnailsConfig(), description="Small pictures of a few frames.")
    calibration: CalibrationConfig = Field(default=CalibrationConfig(), description="Calibrations of references.")
    collect: CollectConfig = Field(default=CollectConfig(), description="Cameras and folders of `collect`.")
    probes: tuple[ProbeConfig, ...] = Field(
        default=(),
        max_length=50,
        description="Words to look for beside the default ones; read at `reference build` and `reference witnesses`.",
    )
    reference_data: Path = Field(default=Path("../../reference_data"), description="The folder of the references.")
    defaults: MonitorDefaults = Field(
        default=MonitorDefaults(), description="What a model inherits where it says nothing."
    )
    models: Annotated[tuple[ModelConfig, ...], Words("a list of at least one model, each with name and reference")] = (
        Field(min_length=1, description="The watched models.")
    )

    def watched(self) -> tuple[WatchedModel, ...]:
        """Every model with the defaults filled in."""
        inherited = {name: getattr(self.defaults, name) for name in MonitorDefaults.model_fields}
        inherited["keep_thumbnails"] = self.thumbnails.keep
        return tuple(
            WatchedModel(
                **inherited
                | {name: getattr(model, name) for name in ModelConfig.model_fields if getattr(model, name) is not None}
                | {"embedding": model.embedding}
            )
            for model in self.models
        )
