"""The exporter's metrics as Prometheus reads them: the snapshot's gauges, and what is counted as it happens.

``gauges`` names those of the snapshot, this module the counters and histograms; nothing else names a metric.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

from prometheus_client import CollectorRegistry, Counter, Histogram, disable_created_metrics
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from visiondrift.prediction import INGEST_FAILURES, KEPT, REASONS, UNKNOWN_MODEL
from visiondrift.publish.gauges import SNAPSHOT_GAUGES
from visiondrift.publish.snapshot import Snapshot

PREFIX = "visiondrift_"


@dataclass(frozen=True)
class LiveMetric:
    """One counter or histogram that is counted where the thing happens."""

    name: str
    help: str
    labels: tuple[str, ...]
    kind: Literal["counter", "histogram"] = "counter"


LIVE_METRICS: tuple[LiveMetric, ...] = (
    LiveMetric("events_received", "Events sent to the exporter", ("model",)),
    LiveMetric("events_stored", "Events that are durable in the log", ("model",)),
    LiveMetric("events_duplicate", "Events whose id was stored before", ("model",)),
    LiveMetric("events_rejected", "Events refused at intake", ("model", "reason")),
    LiveMetric("events_sampled_out", "Valid events that the sampling of their model did not keep", ("model",)),
    LiveMetric(
        "events_kept", "Valid events that are there for a reason: by chance, or what they show", ("model", "why")
    ),
    LiveMetric("ingest_failures", "Requests that could not be stored", ("reason",)),
    LiveMetric("embeddings", "Images embedded", ()),
    LiveMetric("embedding_failures", "Batches of images that the embedder failed on", ()),
    LiveMetric("evaluations", "Evaluations begun", ("model",)),
    LiveMetric("evaluation_failures", "Evaluations that failed", ("model",)),
    LiveMetric("calibrations", "Calibrations of references that the exporter made itself", ("model",)),
    LiveMetric("calibration_failures", "Calibrations or self-tests that failed", ("model",)),
    LiveMetric("reports", "Evidently reports written", ()),
    LiveMetric("report_failures", "Evidently reports that failed", ()),
    LiveMetric("ingest_commit_duration_seconds", "One group commit", (), "histogram"),
    LiveMetric("embedding_duration_seconds", "Embedding one batch of images", (), "histogram"),
    LiveMetric("calibration_duration_seconds", "Calibrating one reference", ("model",), "histogram"),
    LiveMetric("selftest_duration_seconds", "One self-test of a reference", ("model",), "histogram"),
    LiveMetric("evaluation_duration_seconds", "One evaluation of one model", ("model",), "histogram"),
)

_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 120.0, 600.0)


def catalogue() -> dict[str, tuple[str, ...]]:
    """Every series name that ``/metrics`` can show -> its labels (histograms by their base name)."""
    names = {PREFIX + gauge.name: gauge.labels for gauge in SNAPSHOT_GAUGES}
    for metric in LIVE_METRICS:
        names[PREFIX + metric.name + ("_total" if metric.kind == "counter" else "")] = metric.labels
    return names


class _SnapshotCollector(Collector):
    def __init__(self, snapshot: Callable[[], Snapshot]) -> None:
        self._snapshot = snapshot

    def describe(self) -> Iterable[Metric]:
        # Without this the registry would collect once at registration, before there is a snapshot.
        return []

    def collect(self) -> Iterator[Metric]:
        snapshot = self._snapshot()
        for gauge in SNAPSHOT_GAUGES:
            family = GaugeMetricFamily(PREFIX + gauge.name, gauge.help, labels=gauge.labels)
            for labels, value in gauge.rows(snapshot):
                family.add_metric(labels, value)
            yield family


class Metrics:
    """The exporter's own registry: the snapshot's gauges and the live counters, rendered on request.

    Counters exist with 0 from ``declare`` on, so that ``increase()`` sees the first event.
    """

    def __init__(self, snapshot: Callable[[], Snapshot]) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self._registry = CollectorRegistry()
        self._registry.register(_SnapshotCollector(snapshot))
        self._counters: dict[str, Counter] = {}
        self._histograms: dict[str, Histogram] = {}
        for metric in LIVE_METRICS:
            arguments = (PREFIX + metric.name, metric.help, metric.labels)
            if metric.kind == "counter":
                self._counters[metric.name] = Counter(*arguments, registry=self._registry)
            else:
                self._histograms[metric.name] = Histogram(*arguments, registry=self._registry, buckets=_BUCKETS)
        for reason in INGEST_FAILURES:
            self._counters["ingest_failures"].labels(reason)
        self._models: frozenset[str] = frozenset()

    def declare(self, models: Iterable[str]) -> None:
        """Start every counter of ``models`` at 0, and forget those of models that are gone."""
        wanted = frozenset(models)
        for metric in LIVE_METRICS:
            if "model" not in metric.labels:
                continue
            instrument = self._counters.get(metric.name) or self._histograms[metric.name]
            for model in wanted | {UNKNOWN_MODEL}:
                for labels in self._label_sets(metric, model):
                    instrument.labels(*labels)
            for model in self._models - wanted:
                for labels in self._label_sets(metric, model):
                    instrument.remove(*labels)
        self._models = wanted

    def count(self, name: str, amount: float = 1, **labels: str) -> None:
        """Add to a counter. A model that is not declared is counted as ``unknown``: labels stay bounded."""
        self._counters[name].labels(**self._bounded(labels)).inc(amount) if labels else self._counters[name].inc(amount)

    def observe(self, name: str, seconds: float, **labels: str) -> None:
        """Add a duration to a histogram."""
        histogram = self._histograms[name]
        (histogram.labels(**self._bounded(labels)) if labels else histogram).observe(seconds)

    def render(self, accept: str) -> tuple[bytes, str]:
        """The exposition and its content type, in the format that the ``Accept`` header asks for."""
        encoder, content_type = choose_encoder(accept)
        return encoder(self._registry), content_type

    def _bounded(self, labels: dict[str, str]) -> dict[str, str]:
        model = labels.get("model")
        return labels if model is None or model in self._models else labels | {"model": UNKNOWN_MODEL}

    @staticmethod
    def _label_sets(metric: LiveMetric, model: str) -> list[tuple[str, ...]]:
        if "reason" in metric.labels:
            return [(model, reason) for reason in REASONS]
        if "why" in metric.labels:
            return [(model, why) for why in KEPT]
        return [(model,)]
