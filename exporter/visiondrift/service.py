"""The composition root: builds the parts, gives them the clock, runs their threads, reloads, and stops in order."""

import logging
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from visiondrift.calibrator import BackgroundCalibrations
from visiondrift.config import Config, load_config
from visiondrift.config.load import ConfigWatcher
from visiondrift.config.monitoring import MonitoringConfig, WatchedModel
from visiondrift.errors import BadInput, ConfigError, EmbedderUnavailable, LogError
from visiondrift.intake.embedder import embedder_of
from visiondrift.intake.ingest import Ingest
from visiondrift.intake.known import KnownSeries
from visiondrift.intake.receive import Intake
from visiondrift.intake.thumbnails import Thumbnails
from visiondrift.log import Appended, Census
from visiondrift.log.retention import Retention
from visiondrift.log.sqlite import SqliteLog
from visiondrift.monitor import Monitor
from visiondrift.prediction import IngestFailure, Kept, Rejection
from visiondrift.publish.metrics import Metrics
from visiondrift.publish.report import ReportStore
from visiondrift.publish.snapshot import Links, ModelState, Snapshot

logger = logging.getLogger(__name__)

CONFIG_POLL_SECONDS = 1.0
PRUNE_EVERY_SECONDS = 60.0
FIXED_AT_START = {
    "server": ("host", "port", "token_file", "runbook_file"),
    "embedder": ("model", "pretrained", "device", "batch_size", "threads"),
    "intake": ("queue_events",),
    "log": ("path",),
    "calibration": ("path",),
    "reports": ("path", "keep"),
    "thumbnails": ("path", "side", "max_age"),
}
"""What of monitoring.yml is read once; everything else counts from its next use on."""


@dataclass(frozen=True)
class Overrides:
    """What the command line says louder than ``monitoring.yml``. None leaves the file's word."""

    host: str | None = None
    port: int | None = None
    state: Path | None = None
    exporter_url: str | None = None
    grafana_url: str | None = None
    prometheus_url: str | None = None
    runbook_url: str | None = None

    def apply(self, config: Config) -> Config:
        """The configuration with the overrides in it."""
        names = ("host", "port", "exporter_url", "grafana_url", "prometheus_url", "runbook_url")
        server = {name: value for name in names if (value := getattr(self, name)) is not None}
        monitoring = config.monitoring
        update: dict[str, object] = {"server": monitoring.server.model_copy(update=server)}
        if self.state is not None:
            state = self.state.resolve()
            update["log"] = monitoring.log.model_copy(update={"path": state / "predictions.sqlite"})
            update["calibration"] = monitoring.calibration.model_copy(update={"path": state / "calibrations"})
            update["reports"] = monitoring.reports.model_copy(update={"path": state / "reports"})
            update["thumbnails"] = monitoring.thumbnails.model_copy(update={"path": state / "thumbnails"})
        return replace(config, monitoring=monitoring.model_copy(update=update))


class IntakeCounts:
    """What intake counts, on the exporter's metrics."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    def received(self, model: str, events: int) -> None:
        """Events of ``model`` that came in."""
        self._metrics.count("events_received", events, model=model)

    def stored(self, appended: Appended, rejections: Sequence[Rejection]) -> None:
        """What one request came to, once it is durable."""
        for model, events in appended.stored_by_model.items():
            self._metrics.count("events_stored", events, model=model)
        for model, events in appended.duplicates_by_model.items():
            self._metrics.count("events_duplicate", events, model=model)
        for rejection in rejections:
            self._metrics.count("events_rejected", model=rejection.model, reason=rejection.reason)

    def sampled_out(self, model: str, events: int) -> None:
        """Valid events that the sampling of ``model`` does not keep."""
        self._metrics.count("events_sampled_out", events, model=model)

    def kept(self, model: str, why: Kept, events: int) -> None:
        """Valid events of ``model`` that are there for a reason."""
        self._metrics.count("events_kept", events, model=model, why=why)

    def committed(self, seconds: float) -> None:
        """One commit."""
        self._metrics.observe("ingest_commit_duration_seconds", seconds)

    def embedded(self, seconds: float, *, images: int, failed: bool) -> None:
        """One request's images were embedded, or the embedder failed on them."""
        self._metrics.observe("embedding_duration_seconds", seconds)
        self._metrics.count("embedding_failures" if failed else "embeddings", 1 if failed else images)

    def failed(self, reason: IngestFailure) -> None:
        """A request that could not be stored."""
        self._metrics.count("ingest_failures", reason=reason)


class Service:
    """A running exporter without its HTTP face. ``start`` then ``stop``; both once.

    Raises ConfigError, LogError or BadInput where it cannot be built as configured.
    """

    def __init__(self, directory: Path, overrides: Overrides, *, clock: Callable[[], float] = time.time) -> None:
        self._directory = directory
        self._overrides = overrides
        self.clock = clock
        self._stop = threading.Event()
        self._threads: list[threading.Thread] = []
        self._config = overrides.apply(load_config(directory))
        self._config_loaded_at = clock()
        self._config_problem = ""
        self._awaits_restart: tuple[str, ...] = ()
        monitoring = self._started_with = self._config.monitoring
        token = self._config.read_token()
        self.token: Callable[[], str | None] = lambda: token
        self.log = SqliteLog(self._config.path(monitoring.log.path))
        self.reports = _open_reports(self._config)
        self.embedder = embedder_of(self._config)
        self.metrics = Metrics(self.snapshot)
        self.metrics.declare(model.name for model in self._config.models)
        self.counts = IntakeCounts(self.metrics)
        self.ingest = Ingest(self.log, counters=self.counts, clock=clock, capacity=monitoring.intake.queue_events)
        known = KnownSeries()
        census = self.log.census()
        known.learn(census.streams)
        self.thumbnails = Thumbnails(
            self._config.path(monitoring.thumbnails.path),
            keep=self._thumbnails_of,
            side=monitoring.thumbnails.side,
            max_age=monitoring.thumbnails.max_age,
        )
        self.intake = Intake(
            config=self.config,
            embedder=self.embedder,
            thumbnails=self.thumbnails,
            ingest=self.ingest,
            known=known,
            counters=self.counts,
            clock=clock,
        )
        self.calibrations = BackgroundCalibrations(
            self._config.path(monitoring.calibration.path),
            counters=self.metrics,
            clock=clock,
            stopwatch=time.monotonic,
            made=self._take_up_calibration,
        )
        self.monitor = Monitor(
            log=self.log,
            moments=self.log,
            calibrations=self.calibrations,
            reports=self.reports,
            counters=self.metrics,
            config=self.config,
            embedder_of=self.identity_of,
            publish=self._publish,
            clock=clock,
            stopwatch=time.monotonic,
            pictures=self.thumbnails,
        )
        # Counted from the start, so that a monitor that never comes to its first look is missed too.
        self._published: tuple[tuple[ModelState, ...], Census, float] = ((), census, clock())

    def config(self) -> Config:
        """The configuration in force."""
        return self._config

    def identity_of(self, model: WatchedModel) -> str:
        """What makes a model's embeddings: the client, by its own name for it, or the service's embedder."""
        return model.embedding.name if model.embedding else self.embedder.identity

    def snapshot(self) -> Snapshot:
        """The picture of now. What is too old goes here, at reading: a monitor that hangs cannot take it away."""
        models, census, tick_at = self._published
        now = self.clock()
        server = self._config.monitoring.server
        return Snapshot(
            links=Links(server.exporter_url, server.grafana_url, server.prometheus_url, server.runbook_url),
            models=tuple(model.fresh(now) for model in models),
            log_events=census.events,
            log_size_bytes=census.size_bytes,
            config_loaded_at=self._config_loaded_at,
            config_problem=self._config_problem,
            awaits_restart=self._awaits_restart,
            tick_at=tick_at,
            queue_events=self.ingest.waiting,
            queue_capacity=self.ingest.capacity,
        )

    def dimension_of(self, model: WatchedModel) -> int | None:
        """Length of a model's embeddings; None where the embedder cannot say."""
        try:
            return model.embedding.dimension if model.embedding else self.embedder.dimension
        except EmbedderUnavailable:
            return None

    def problems(self) -> list[str]:
        """Why the service cannot do its work now, one sentence each; empty where it can."""
        if self._stop.is_set():
            return ["the service is stopping"]
        found = [
            f"a part of the service has ended: {thread.name}; its log says why"
            for thread in self._threads
            if not thread.is_alive()
        ]
        try:
            self.log.census()
        except LogError as error:
            found.append(str(error))
        return found

    def start(self) -> None:
        """Start the monitor, the configuration watcher and the clean-up; load CLIP beside them where it is needed."""
        work = {
            "monitor": self.monitor.run,
            "calibrator": self.calibrations.run,
            "config-watcher": self._watch,
            "pruner": self._prune,
        }
        for name, run in work.items():
            thread = threading.Thread(target=run, args=(self._stop,), name=name, daemon=True)
            self._threads.append(thread)
            thread.start()
        if any(model.embedding is None for model in self._config.models):
            # Where every model's client embeds for itself, half a gigabyte and seconds of CPU are saved.
            threading.Thread(target=self._load_embedder, name="embedder-loader", daemon=True).start()

    def stop(self) -> None:
        """Stop in the order of the data: take no more events, write those taken, end the evaluations, close."""
        self._stop.set()
        self.ingest.close()
        for thread in self._threads:
            thread.join(timeout=20)
        self.log.close()
        # Last, because it waits for a model that may just be loading: by now there is nothing left to lose.
        self.embedder.close()

    def adopt(self, fresh: Config) -> None:
        """Take over a new configuration; what of it only a restart can change is pointed out, until there is one."""
        fresh = self._overrides.apply(fresh)
        self._config = fresh
        self._awaits_restart = _fixed_differences(self._started_with, fresh.monitoring)
        for name in self._awaits_restart:
            logger.warning("%s in monitoring.yml has changed: it takes effect at a restart", name)
        self._config_problem = ""
        self._config_loaded_at = self.clock()
        self.metrics.declare(model.name for model in fresh.models)
        self.calibrations.keep_only(frozenset(model.name for model in fresh.models))
        self.monitor.hurry()
        logger.info("Configuration reloaded")

    def refuse(self, error: ConfigError) -> None:
        """Keep the last good configuration, and say so in the log, in the metrics and on the page."""
        self._config_problem = str(error)
        for problem in error.problems:
            logger.error("Configuration rejected, the last good one stays in force: %s", problem)

    def _thumbnails_of(self, model: str) -> int:
        """How many pictures are kept of each camera of a model; none of one that is no longer watched."""
        return next((watched.keep_thumbnails for watched in self._config.models if watched.name == model), 0)

    def _publish(self, models: tuple[ModelState, ...], census: Census, now: float) -> None:
        self._published = (models, census, now)

    def _take_up_calibration(self) -> None:
        self.monitor.hurry()

    def _watch(self, stop: threading.Event) -> None:
        watcher = ConfigWatcher(self._directory, self._config.digest)
        while not stop.wait(CONFIG_POLL_SECONDS):
            try:
                fresh = watcher.poll()
                if fresh is not None:
                    self.adopt(fresh)
            except ConfigError as error:
                self.refuse(error)
            except Exception:
                logger.exception("Watching the configuration failed; it goes on")

    def _prune(self, stop: threading.Event) -> None:
        retention = Retention(clock=self.clock, stopwatch=time.monotonic)
        while not stop.wait(PRUNE_EVERY_SECONDS):
            try:
                self.thumbnails.drop(self.clock())
                retention.prune(self.log, self.log, self._config.monitoring.log)
            except Exception:
                logger.exception("Pruning the log and the thumbnails failed; it goes on")

    def _load_embedder(self) -> None:
        try:
            self.embedder.load()
        except EmbedderUnavailable as error:
            logger.error("Images cannot be embedded yet: %s", error)


def _open_reports(config: Config) -> ReportStore:
    directory = config.path(config.monitoring.reports.path)
    try:
        return ReportStore(directory, keep=config.monitoring.reports.keep)
    except OSError as error:
        raise BadInput(
            f"{directory}: reports cannot be kept there ({error.strerror}); accepted is a folder that this user may "
            "write to (reports.path in monitoring.yml, or --state)"
        ) from error


def _fixed_differences(then: MonitoringConfig, now: MonitoringConfig) -> tuple[str, ...]:
    """The keys of FIXED_AT_START that differ, as ``section.key``."""
    return tuple(
        f"{section}.{name}"
        for section, names in FIXED_AT_START.items()
        for name in names
        if getattr(getattr(now, section), name) != getattr(getattr(then, section), name)
    )
