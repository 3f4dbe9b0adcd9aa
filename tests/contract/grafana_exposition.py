"""A plausible ``/metrics`` page: every series of the exporter's catalogue, for one model with a damaged camera.

The labels come from the catalogue itself, so a renamed metric or label changes this page as it changes the real one.
"""

import itertools
import time
from collections.abc import Iterator

from visiondrift.prediction import INGEST_FAILURES
from visiondrift.publish.metrics import LIVE_METRICS, catalogue
from visiondrift.signals import BY_NAME, VERDICTS

MODEL = "digits"
DAMAGED = "camera=platform-2"
EMPTY = "camera=platform-3"
VALUES = {"model": MODEL, "version": "1", "slice": DAMAGED, "window": "1h"}

Labels = dict[str, str]

_DOMAINS: dict[str, tuple[str, ...]] = {
    "model": (MODEL, "unknown"),
    "version": ("1",),
    "slice": ("all", "camera=platform-1", DAMAGED, EMPTY),
    "window": ("1h", "24h"),
    "class": ("0", "1", "other"),
    "severity": ("warning", "critical"),
    "verdict": VERDICTS,
    "model_owner": ("vision-team",),
    "reference": ("digits-demo",),
    "reason": ("bad_image", "missing_field"),
    "why": ("uniform", "low_confidence"),
    "signal": tuple(BY_NAME),
    "exporter_url": ("http://localhost:9109",),
    "grafana_url": ("http://localhost:3000",),
    "runbook_url": ("http://localhost:9109/runbook",),
    "python": ("3.13.0",),
    "evidently": ("0.7.23",),
    "statistic": ("t_lw", "knn_ratio"),
    "bound": ("low", "high"),
    "opinion": ("confidences", "readers"),
    "measure": ("precision", "recall", "f1"),
    "part": ("platform-1", "platform-2"),
    "fault": ("black", "moved"),
    "property": ("brightness", "sharpness"),
    "state": ("judged", "moved"),
    "cause": ("darker",),
    "agreed": ("property, signature",),
    "witness": ("property", "layout", "signature", "probe"),
    "name": ("darker", "brightness"),
}


def exposition() -> str:
    """The page, as of now: counters and histograms grow from one call to the next."""
    now = time.time()
    kinds = {f"visiondrift_{metric.name}": metric.kind for metric in LIVE_METRICS}
    lines: list[str] = []
    for name, labels in catalogue().items():
        kind = kinds.get(name.removesuffix("_total"), "gauge")
        for combination in _combinations(name, labels):
            if kind == "histogram":
                lines += _histogram(name, combination, now)
            else:
                value = now % 100_000 * 5 if kind == "counter" else _gauge(name, combination, now)
                if value is not None:
                    lines.append(_line(name, combination, value))
    lines += _alerts(now)
    return "\n".join(lines) + "\n"


def _combinations(name: str, labels: tuple[str, ...]) -> Iterator[Labels]:
    domains = dict(_DOMAINS)
    if name == "visiondrift_ingest_failures_total":
        domains["reason"] = INGEST_FAILURES
    if not name.startswith("visiondrift_events_"):
        domains["model"] = (MODEL,)
    if "invalid_ratio" in name:
        domains["slice"] = ("all",)
    for combination in itertools.product(*(domains[label] for label in labels)):
        yield dict(zip(labels, combination, strict=True))


def _gauge(name: str, labels: Labels, now: float) -> float | None:
    short = name.removeprefix("visiondrift_")
    signal = BY_NAME.get(short.removesuffix("_threshold"))
    if signal is not None:
        bad_when_low = signal.bad_when == "low"
        if short.endswith("_threshold"):
            level = {"warning": 0.3, "critical": 0.5}[labels["severity"]]
        elif labels["slice"] == EMPTY:
            return None
        else:
            level = 0.6 if labels["slice"] == DAMAGED else 0.1
        return 1 - level if bad_when_low else level
    if short == "verdict":
        return float(labels["verdict"] == _verdict(labels["slice"]))
    if short == "camera_fault":
        return float(labels["slice"] == DAMAGED and labels["fault"] == "black")
    if short == "estimate_valid":
        return float(labels["slice"] != EMPTY)
    if short == "window_samples" and labels["slice"] == EMPTY:
        return 3.0
    if short.endswith("timestamp_seconds"):
        return now - 20
    return _CONSTANT.get(short, 1.0)


_CONSTANT = {
    "window_samples": 500.0,
    "window_min_samples": 100.0,
    "evaluation_interval_seconds": 60.0,
    "input_stopped_after_seconds": 600.0,
    "mean_confidence": 0.8,
    "reference_mean_confidence": 0.9,
    "low_confidence_ratio": 0.65,
    "class_share": 1 / 3,
    "reference_class_share": 1 / 3,
    "signal_threshold_missing": 0.0,
    "calibration_lacking": 0.0,
    "window_blocks": 12.0,
    "reference_blocks": 88.0,
    "reference_blocks_needed": 48.0,
    "estimated_accuracy": 0.84,
    "reference_accuracy": 0.93,
    "slice_share": 0.5,
    "reference_slice_share": 0.5,
    "selftest_false_alarm_ratio": 0.05,
    "selftest_false_alarm_ratio_low": 0.02,
    "selftest_false_alarm_ratio_high": 0.1,
    "selftest_nominal_ratio": 0.05,
    "ingest_queue_events": 12.0,
    "ingest_queue_capacity_events": 1000.0,
}


def _verdict(slice_: str) -> str:
    return {DAMAGED: "critical", EMPTY: "insufficient"}.get(slice_, "ok")


def _histogram(name: str, labels: Labels, now: float) -> list[str]:
    count = now % 100_000
    buckets = [_line(f"{name}_bucket", {**labels, "le": le}, count * share) for le, share in _BUCKETS.items()]
    return [*buckets, _line(f"{name}_sum", labels, count / 4), _line(f"{name}_count", labels, count)]


_BUCKETS = {"0.1": 0.2, "0.5": 0.9, "+Inf": 1.0}


def _alerts(now: float) -> list[str]:
    """What Prometheus itself would show for a firing alert, without the wait that the alert's ``for`` asks."""
    firing = {
        "alertname": "VisionDriftEmbeddingDrift",
        "component": "data",
        "model_owner": "vision-team",
        **VALUES,
    }
    lines = []
    for severity in ("warning", "critical"):
        labels = {**firing, "severity": severity}
        lines.append(_line("ALERTS", {**labels, "alertstate": "firing"}, 1))
        lines.append(_line("ALERTS_FOR_STATE", labels, now - 300))
    return lines


def _line(name: str, labels: Labels, value: float) -> str:
    inner = ",".join(f'{label}="{text}"' for label, text in labels.items())
    return f"{name}{{{inner}}} {value!r}"
