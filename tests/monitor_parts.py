"""A monitor over a real log, real references and a real report store, with a clock that the test sets."""

import json
import threading
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from visiondrift.calibrator import Answer, Calibrations, Request
from visiondrift.config import Config, load_config
from visiondrift.drift.judge import WindowEvaluation
from visiondrift.log import Census
from visiondrift.monitor import Monitor
from visiondrift.prediction import PredictionEvent, Sample
from visiondrift.publish.montage import Pictures
from visiondrift.publish.report import ReportStore
from visiondrift.publish.snapshot import ModelState
from visiondrift.reference import save_reference

NOON = 1_790_000_000.0
CLASSES = ("cat", "dog")
DIMENSION = 8
CLIP = "own-clip"


def model(name: str = "pets", **fields: Any) -> dict[str, Any]:
    """A model of monitoring.yml: two classes, a camera label, one window of ten minutes, evaluated each minute."""
    return {
        "name": name,
        "reference": name,
        "classes": list(CLASSES),
        "slices": ["camera"],
        "embedding": {"name": CLIP, "dimension": DIMENSION},
        "evaluate_every": "1m",
        "windows": {"10m": {"min_samples": 20, "max_samples": 5000}},
        **fields,
    }


def rows(count: int, *, seed: int = 0, drifted: bool = False, dimension: int = DIMENSION) -> Sample:
    """``count`` rows at NOON, of a world that is well or that has moved far away."""
    rng = np.random.default_rng(seed)
    sure = rng.uniform(0.8, 0.99, count) if not drifted else rng.uniform(0.5, 0.6, count)
    first = rng.random(count) < 0.5
    confidences = np.where(first[:, None], np.column_stack([sure, 1 - sure]), np.column_stack([1 - sure, sure]))
    embeddings = rng.normal(1.0, 1.0, (count, dimension)) + (5.0 if drifted else 0.0) * np.resize([1, -1], dimension)
    return Sample(
        times=np.full(count, NOON),
        ids=np.array([f"{seed}-{row}" for row in range(count)], dtype=object),
        slices={},
        classes=CLASSES,
        embeddings=embeddings.astype(np.float32),
        confidences=confidences.astype(np.float32),
        predicted=confidences.argmax(axis=1).astype(np.int32),
        latency_ms=np.full(count, np.nan),
    )


def events(
    count: int = 50,
    *,
    until: float = NOON,
    over: float = 300.0,
    seed: int = 1,
    drifted: bool = False,
    **about: Any,
) -> list[PredictionEvent]:
    """``count`` events in the ``over`` seconds before ``until``, of one model, version and camera."""
    camera = about.pop("camera", "left")
    about = {"model": "pets", "version": "1", "embedder": CLIP} | about
    sample = rows(count, seed=seed, drifted=drifted, dimension=about.pop("dimension", DIMENSION))
    return [
        PredictionEvent(
            id=f"{about['model']}-{about['version']}-{camera}-{until}-{seed}-{index}",
            time=until - over * (index + 1) / count,
            slices=(("camera", camera),) if camera else (),
            embedding=sample.embeddings[index],
            classes=CLASSES,
            confidences=sample.confidences[index],
            **about,
        )
        for index in range(count)
    ]


class Uncalibrated:
    """Calibrations for tests that are not about them: there are none."""

    def of(self, request: Request) -> Answer:  # noqa: ARG002
        return Answer(None, "the reference of this test is not calibrated")


class Tally:
    """The monitor's counters, remembered."""

    def __init__(self) -> None:
        self.counts: Counter[tuple[str, str]] = Counter()
        self.durations: list[tuple[str, str, float]] = []

    def count(self, name: str, amount: float = 1, **labels: str) -> None:
        self.counts[name, labels.get("model", "")] += int(amount)

    def observe(self, name: str, seconds: float, **labels: str) -> None:
        self.durations.append((name, labels.get("model", ""), seconds))


@dataclass
class World:
    """One monitor and everything around it. ``log`` may be any log of events and moments; each ``tick`` is one look."""

    directory: Path
    log: Any
    now: float = NOON
    states: dict[str, ModelState] = field(default_factory=dict)
    shown: list[tuple[Census, float]] = field(default_factory=list)
    publish_fails: list[Exception] = field(default_factory=list)
    tally: Tally = field(default_factory=Tally)
    thresholds: dict[str, Any] = field(default_factory=dict)
    calibrations: Calibrations = field(default_factory=Uncalibrated)

    def configure(self, *models: dict[str, Any], **sections: Any) -> Config:
        monitoring = {"reference_data": str(self.directory / "references"), "models": list(models), **sections}
        (self.directory / "monitoring.yml").write_text(json.dumps(monitoring), encoding="utf-8")
        levels = {"embedding_drift": {"warning": 0.3, "critical": 0.5}}
        thresholds = self.thresholds or {"defaults": {"owner": "cat-team", "signals": levels}}
        (self.directory / "thresholds.yml").write_text(json.dumps(thresholds), encoding="utf-8")
        self.config = load_config(self.directory)
        return self.config

    def refer(self, name: str = "pets", *, embedder: str = CLIP, seed: int = 0, count: int = 300, **how: Any) -> Path:
        directory = self.directory / "references" / name
        sample = rows(count, seed=seed, **how)
        save_reference(directory, sample, embedder=embedder, source="a test", now=NOON - 9000, overwrite=True)
        return directory

    def start(self, *, keep: int = 100, pictures: Pictures | None = None) -> "World":
        self.reports = ReportStore(self.directory / "reports", keep=keep)
        self.monitor = Monitor(
            log=self.log,
            moments=self.log,
            calibrations=self.calibrations,
            reports=self.reports,
            counters=self.tally,
            config=lambda: self.config,
            embedder_of=lambda watched: watched.embedding.name if watched.embedding else CLIP,
            publish=self._publish,
            clock=lambda: self.now,
            stopwatch=lambda: self.now,
            pictures=pictures,
        )
        return self

    def _publish(self, states: tuple[ModelState, ...], census: Census, now: float) -> None:
        if self.publish_fails:
            raise self.publish_fails.pop()
        self.states = {state.name: state for state in states}
        self.shown.append((census, now))

    def send(self, found: Iterable[PredictionEvent]) -> None:
        self.log.append(list(found), [], now=self.now)

    def tick(self, after: float = 0.0) -> None:
        self.now += after
        self.monitor.tick()

    def run(self) -> tuple[threading.Thread, threading.Event]:
        stop = threading.Event()
        thread = threading.Thread(target=self.monitor.run, args=(stop,), daemon=True)
        thread.start()
        return thread, stop

    def evaluations(self, name: str = "pets") -> int:
        return self.tally.counts["evaluations", name]

    def windows(self, name: str = "pets") -> dict[tuple[str, str, str], WindowEvaluation]:
        """(version, slice, window) -> what is known of it."""
        return {
            (evaluation.version, window.slice, window.window): window
            for evaluation in self.states[name].evaluations
            for window in evaluation.windows
        }

    def verdict(self, slice_: str = "all", *, version: str = "1", window: str = "10m", name: str = "pets") -> str:
        return self.windows(name)[version, slice_, window].verdict

    def reported(self) -> list[tuple[str, str]]:
        """(slice, verdict) of every kept report, oldest first."""
        return [(report.slice, report.verdict) for report in reversed(self.reports.entries())]
