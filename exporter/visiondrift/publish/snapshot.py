"""The immutable picture of what is known now: the monitor makes it, ``/metrics`` and the pages only read it.

A new one replaces the old one whole, so a scrape never sees half an evaluation, and what has left the configuration
has left the picture.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from visiondrift.drift.health.findings import CameraHealth
from visiondrift.drift.judge import WindowEvaluation, worst
from visiondrift.drift.selftest import SelfTest
from visiondrift.signals import VerdictName

HistoryKey = tuple[str, str, str, str]
"""version, slice, window, signal"""

STALE_AFTER_INTERVALS = 3
"""Evaluation intervals after which a score is no longer shown: it must not pass for today's."""


@dataclass(frozen=True)
class Evaluation:
    """One run of the monitor over one model and version. ``at`` and ``seconds`` are epoch and duration in seconds.

    ``cameras`` is the health of each camera: of each value of the first slice label, or of all events together.
    """

    model: str
    version: str
    at: float
    seconds: float
    windows: tuple[WindowEvaluation, ...]
    cameras: tuple[CameraHealth, ...] = ()

    @property
    def verdict(self) -> VerdictName:
        """The worst verdict of any slice and window."""
        return worst(window.verdict for window in self.windows)


@dataclass(frozen=True)
class ReferenceState:
    """Which reference a model is compared with; ``problem`` says why it cannot be used ("" where it can).

    ``uncalibrated`` says why levels cannot follow from a budget ("" where they can); ``tested`` is the last self-test,
    made at ``tested_at``, None where there was none.
    """

    name: str
    rows: int = 0
    created: float = 0.0
    problem: str = ""
    uncalibrated: str = ""
    tested: SelfTest | None = None
    tested_at: float = 0.0


@dataclass(frozen=True)
class ModelState:
    """Everything known of one model.

    ``evaluated`` maps a version -> time of its last successful evaluation, which outlives the evaluation itself: its
    age is what tells that evaluations have stopped. ``newest`` maps (version, slice) -> newest event time; ``reports``
    maps (version, slice, window) -> time of the newest report, ``montages`` likewise of those that show images;
    ``history`` maps a signal to its last scores, oldest
    first, None where it could not speak; at most ``max_classes`` classes are shown each by itself; ``problem`` is the
    last evaluation's error ("" after a success).
    """

    name: str
    owner: str
    evaluate_every: float
    input_stopped_after: float
    reference: ReferenceState
    evaluations: tuple[Evaluation, ...] = ()
    evaluated: Mapping[str, float] = field(default_factory=dict)
    newest: Mapping[tuple[str, str], float] = field(default_factory=dict)
    reports: Mapping[tuple[str, str, str], float] = field(default_factory=dict)
    montages: Mapping[tuple[str, str, str], float] = field(default_factory=dict)
    history: Mapping[HistoryKey, tuple[float | None, ...]] = field(default_factory=dict)
    max_classes: int = 50
    problem: str = ""

    @property
    def verdict(self) -> VerdictName:
        """The worst verdict of any version."""
        return worst(evaluation.verdict for evaluation in self.evaluations)

    def fresh(self, now: float) -> "ModelState":
        """The same without the evaluations that are too old at ``now`` to be shown."""
        longest = STALE_AFTER_INTERVALS * self.evaluate_every
        fresh = tuple(
            evaluation for evaluation in self.evaluations if now - evaluation.at <= longest + evaluation.seconds
        )
        return replace(self, evaluations=fresh)


@dataclass(frozen=True)
class Links:
    """Where alerts and pages point: the addresses as a browser reaches them."""

    exporter_url: str
    grafana_url: str
    prometheus_url: str
    runbook_url: str


@dataclass(frozen=True)
class Snapshot:
    """The whole picture.

    ``config_problem`` holds the rejected configuration's errors ("" where it was accepted); ``awaits_restart`` the keys
    of ``monitoring.yml`` that have changed and are read at start only.
    """

    links: Links
    models: tuple[ModelState, ...] = ()
    log_events: int = 0
    log_size_bytes: int = 0
    config_loaded_at: float = 0.0
    config_problem: str = ""
    awaits_restart: tuple[str, ...] = ()
    tick_at: float = 0.0
    queue_events: int = 0
    queue_capacity: int = 0
