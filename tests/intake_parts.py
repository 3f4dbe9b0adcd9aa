"""What tests of the write path share: a small configuration, a counter that remembers, images, a tiny CLIP, the app."""

import base64
import io
import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from fastapi import FastAPI
from PIL import Image

from visiondrift.api import Services, create_app
from visiondrift.config import Config, load_config
from visiondrift.intake.embedder import Embedder
from visiondrift.intake.ingest import Ingest
from visiondrift.intake.known import KnownSeries
from visiondrift.intake.receive import Intake
from visiondrift.intake.thumbnails import Thumbnails
from visiondrift.log import Appended, PredictionLog
from visiondrift.prediction import PredictionEvent, Rejection

NOW = 1_790_000_000.0
DIMENSION = 4
DIGITS_CLIP = Path(__file__).parents[1] / "exporter/models/digits-clip"

MONITORING = {
    "embedder": {"model": f"local-dir:{DIGITS_CLIP}", "pretrained": None},
    "defaults": {"max_slices": 3, "max_versions": 2, "windows": {"1h": {"min_samples": 2, "max_samples": 100}}},
    "models": [
        {
            "name": "doors",
            "reference": "doors",
            "classes": ["open", "shut", "ajar"],
            "slices": ["camera", "site"],
            "embedding": {"name": "own-clip", "dimension": DIMENSION},
        },
        {"name": "eyes", "reference": "eyes", "classes": ["0", "1"], "slices": ["camera"]},
        {"name": "plain", "reference": "plain"},
    ],
}


def configuration(directory: Path, **sections: Any) -> Config:
    """The configuration above, with whole sections replaced."""
    (directory / "monitoring.yml").write_text(json.dumps({**MONITORING, **sections}), encoding="utf-8")
    (directory / "thresholds.yml").write_text(yaml.safe_dump({}), encoding="utf-8")
    return load_config(directory)


def event(number: int = 0, **fields: Any) -> dict[str, Any]:
    """A valid event of the model doors; a field given as None is left out."""
    row = {
        "id": f"event-{number}",
        "time": NOW - 10 + number / 1000,
        "model": "doors",
        "version": "1",
        "slices": {"camera": "left"},
        "embedding": [1.0, 2.0, 3.0, float(number)],
        "confidences": {"open": 0.7, "shut": 0.2, "ajar": 0.1},
        **fields,
    }
    return {name: value for name, value in row.items() if value is not None}


def stored_event(number: int, model: str = "doors") -> PredictionEvent:
    """The same as it reaches the log."""
    embedding = np.array([1, 0, 0, 0], dtype=np.float32)
    return PredictionEvent(
        id=f"event-{number}", time=NOW, model=model, version="1", embedder="own-clip", embedding=embedding
    )


def picture(size: tuple[int, int] = (40, 30), kind: str = "PNG", mode: str = "RGB", **options: Any) -> bytes:
    """An encoded image: a ramp from dark to light, left to right."""
    ramp = np.tile(np.linspace(0, 255, size[0], dtype=np.uint8), (size[1], 1))
    file = io.BytesIO()
    Image.fromarray(ramp).convert(mode).save(file, kind, **options)
    return file.getvalue()


def base64_of(data: bytes) -> str:
    """As a JSON event carries it."""
    return base64.b64encode(data).decode()


class Counts:
    """Intake's counters, remembered."""

    def __init__(self) -> None:
        self.events: Counter[str] = Counter()
        self.outcomes: list[tuple[Appended, tuple[Rejection, ...]]] = []
        self.commits: list[float] = []
        self.sampled: Counter[str] = Counter()
        self.reasons: Counter[tuple[str, str]] = Counter()
        self.seconds = 0.0
        self.embeddings: list[tuple[int, bool]] = []
        self.failures: Counter[str] = Counter()

    def received(self, model: str, events: int) -> None:
        self.events[model] += events

    def stored(self, appended: Appended, rejections: Sequence[Rejection]) -> None:
        self.outcomes.append((appended, tuple(rejections)))

    def sampled_out(self, model: str, events: int) -> None:
        self.sampled[model] += events

    def kept(self, model: str, why: str, events: int) -> None:
        self.reasons[model, why] += events

    def committed(self, seconds: float) -> None:
        self.commits.append(seconds)

    def embedded(self, seconds: float, *, images: int, failed: bool) -> None:
        self.seconds += seconds
        self.embeddings.append((images, failed))

    def failed(self, reason: str) -> None:
        self.failures[reason] += 1


@contextmanager
def write_path(
    config: Config,
    log: PredictionLog,
    *,
    token: str | None = None,
    clock: Callable[[], float] = lambda: NOW,
    embedder: Embedder | None = None,
    thumbnails: Thumbnails | None = None,
) -> Any:
    """The application over a log, with its parts; everything real but the log that is given, and the clock."""
    counts = Counts()
    settings = config.monitoring
    clip = embedder or Embedder(settings.embedder.model)
    ingest = Ingest(log, counters=counts, clock=clock, capacity=settings.intake.queue_events)
    intake = Intake(
        config=lambda: config,
        embedder=clip,
        thumbnails=thumbnails or Thumbnails(Path("thumbnails-that-are-not-kept"), keep=lambda _: 0, side=16),
        ingest=ingest,
        known=KnownSeries(),
        counters=counts,
        clock=clock,
    )
    problems: list[str] = []
    services = Services(
        config=lambda: config,
        receive=intake.receive,
        render_metrics=lambda accept: (b"# EOF\n", f"text/plain; version=1.0.0; charset=utf-8; accept={accept}"),
        problems=lambda: problems,
        token=lambda: token,
        failed=counts.failed,
    )
    parts = WritePath(create_app(services), intake, ingest, counts, problems, services)
    try:
        yield parts
    finally:
        ingest.close()
        if clip is not embedder:
            clip.close()


@dataclass(frozen=True)
class WritePath:
    """The parts, by name."""

    app: FastAPI
    intake: Intake
    ingest: Ingest
    counts: Counts
    problems: list[str]
    services: Services


def with_intake(config: Config, **settings: Any) -> Config:
    """The configuration with some of the bounds of intake changed."""
    intake = config.monitoring.intake.model_copy(update=settings)
    return replace(config, monitoring=config.monitoring.model_copy(update={"intake": intake}))


def with_server(config: Config, **settings: Any) -> Config:
    """The configuration with some of the settings of the server changed."""
    server = config.monitoring.server.model_copy(update=settings)
    return replace(config, monitoring=config.monitoring.model_copy(update={"server": server}))


def reasons(rejections: Sequence[Rejection] | Sequence[Mapping[str, Any]]) -> list[str]:
    """The reason codes, in order."""
    return [found["reason"] if isinstance(found, Mapping) else found.reason for found in rejections]
