"""``monitoring.yml``: which models are watched, how events come in, and where things are kept."""

import re
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from visiondrift.config.units import Duration, Size


class Strict(BaseModel):
    """Frozen, and any key that is not known is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True)


NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")
Name = Annotated[str, Field(pattern=rf"^{NAME.pattern}$")]
"""A model, class-free name that is safe in labels, paths and URLs."""

RESERVED_LABELS = frozenset(
    {
        "confidences",
        "embedding",
        "id",
        "image",
        "image_uri",
        "latency_ms",
        "metadata",
        "model",
        "predicted_class",
        "time",
        "trace_id",
        "version",
    }
)
"""Fields of an event and columns of its files: a slice label of such a name would be mistaken for one."""


class ServerConfig(Strict):
    """The HTTP server, and the addresses that links in alerts and pages point at."""

    host: str = "127.0.0.1"
    port: int = Field(default=9109, ge=1, le=65535)
    token_file: Path | None = None
    max_body: Size = 64 * 2**20
    exporter_url: str = "http://localhost:9109"
    grafana_url: str = "http://localhost:3000"
    prometheus_url: str = "http://localhost:9090"
    runbook_url: str = "http://localhost:9109/runbook"


class EmbedderConfig(Strict):
    """The CLIP model. ``model`` is an open_clip name, or ``local-dir:PATH`` with PATH relative to this file."""

    model: str = "ViT-B-32"
    pretrained: str | None = "laion2b_s34b_b79k"
    device: Literal["auto", "cpu", "cuda"] = "auto"
    batch_size: int = Field(default=32, ge=1, le=1024)
    threads: int = Field(default=1, ge=1, le=256)

    @property
    def identity(self) -> str:
        """The name that events and references carry: what must be equal for embeddings to be comparable.

        ``ViT-B-32/laion2b_s34b_b79k``; of a local path only the last name counts, so that a checkout, an image and
        another machine agree: ``local-dir:digits-clip``.
        """
        scheme, colon, path = self.model.partition(":")
        model = f"{scheme}:{Path(path).name}" if colon else self.model
        if self.pretrained is None:
            return model
        tag = Path(self.pretrained).name if "/" in self.pretrained else self.pretrained
        return f"{model}/{tag}"


class IntakeConfig(Strict):
    """Bounds of what one request and one image may cost."""

    max_events: int = Field(default=10_000, ge=1)
    max_image_bytes: Size = 10 * 2**20
    max_image_pixels: int = Field(default=40_000_000, ge=1)
    queue_events: int = Field(default=20_000, ge=1)
    max_future: Duration = 300.0


class LogConfig(Strict):
    """The prediction log and how long it keeps events."""

    path: Path = Path("../../state/predictions.sqlite")
    keep: Duration = 14 * 86400.0
    max_size: Size = 10 * 2**30


class ReportsConfig(Strict):
    """Evidently reports: where they are written and how many are kept."""

    path: Path = Path("../../state/reports")
    keep: int = Field(default=100, ge=1, le=10_000)
    when: Literal["drift", "always", "never"] = "drift"
    at_most_every: Duration = 900.0


class WindowConfig(Strict):
    """How many samples a window needs before it may speak, and how many it reads at most."""

    min_samples: int = Field(default=200, ge=2)
    max_samples: int = Field(default=5000, ge=2)


def _default_windows() -> dict[str, WindowConfig]:
    return {"1h": WindowConfig(), "24h": WindowConfig(min_samples=500)}


class MonitorDefaults(Strict):
    """What a model inherits where it says nothing."""

    evaluate_every: Duration = 300.0
    windows: dict[str, WindowConfig] = Field(default_factory=_default_windows, min_length=1)
    low_confidence_below: float = Field(default=0.5, gt=0, lt=1)
    column_threshold: float = Field(default=0.3, gt=0)
    input_stopped_after: Duration = 3600.0
    max_slices: int = Field(default=50, ge=1, le=1000)
    max_versions: int = Field(default=3, ge=1, le=20)
    max_classes: int = Field(default=50, ge=1, le=1000)


class EmbeddingConfig(Strict):
    """Embeddings that the client makes itself: their name and length. Left out, the service's own embedder is meant."""

    name: Name
    dimension: int = Field(ge=2, le=8192)


class ModelConfig(Strict):
    """One watched model. Fields left out come from ``defaults``."""

    name: Name
    reference: Name
    classes: tuple[str, ...] = ()
    slices: tuple[Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,30}$")], ...] = ()
    embedding: EmbeddingConfig | None = None
    evaluate_every: Duration | None = None
    windows: dict[str, WindowConfig] | None = Field(default=None, min_length=1)
    low_confidence_below: float | None = Field(default=None, gt=0, lt=1)
    column_threshold: float | None = Field(default=None, gt=0)
    input_stopped_after: Duration | None = None
    max_slices: int | None = Field(default=None, ge=1, le=1000)
    max_versions: int | None = Field(default=None, ge=1, le=20)
    max_classes: int | None = Field(default=None, ge=1, le=1000)


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
    input_stopped_after: float
    max_slices: int
    max_versions: int
    max_classes: int


class MonitoringConfig(Strict):
    """The whole of ``monitoring.yml``."""

    server: ServerConfig = ServerConfig()
    embedder: EmbedderConfig = EmbedderConfig()
    intake: IntakeConfig = IntakeConfig()
    log: LogConfig = LogConfig()
    reports: ReportsConfig = ReportsConfig()
    reference_data: Path = Path("../../reference_data")
    defaults: MonitorDefaults = MonitorDefaults()
    models: tuple[ModelConfig, ...] = Field(min_length=1)

    def watched(self) -> tuple[WatchedModel, ...]:
        """Every model with the defaults filled in."""
        inherited = {name: getattr(self.defaults, name) for name in MonitorDefaults.model_fields}
        return tuple(
            WatchedModel(
                **inherited
                | {name: getattr(model, name) for name in ModelConfig.model_fields if getattr(model, name) is not None}
                | {"embedding": model.embedding}
            )
            for model in self.models
        )
