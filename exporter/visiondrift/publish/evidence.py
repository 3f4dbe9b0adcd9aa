"""Decides which windows get a report, and when: one costs a second, and a lasting drift says the same each time.

A window is due when its verdict has changed since its last report, or when that has become old. More than a few at a
time are never written; the others stay due, so that each gets its turn at one of the next evaluations. A report that
failed is not tried again at once: the disk that is full now will be full in five seconds.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from visiondrift.config.monitoring import ReportsConfig
from visiondrift.drift.evaluation import PreparedReference
from visiondrift.drift.judge import WindowEvaluation
from visiondrift.prediction import Sample
from visiondrift.publish.montage import Pictures, ReferenceSide, build_montage
from visiondrift.publish.report import ReportStore, build_report

logger = logging.getLogger(__name__)

MOST_AT_ONCE = 4
"""Reports written after one evaluation of one model."""

PAUSE_AFTER_FAILURE = 60.0
"""Seconds."""

_Key = tuple[str, str, str, str]
"""model, version, slice, window"""


class ReportCounters(Protocol):
    """What is counted of reports."""

    def count(self, name: str, amount: float = 1, **labels: str) -> None:
        """Add to a counter."""
        ...


@dataclass(frozen=True)
class _Told:
    """The last report on a window: the verdict that it showed, and when."""

    verdict: str
    at: float


@dataclass(frozen=True, eq=False)
class _Due:
    """A window that deserves a report, with the events it said it of. The lowest ``rank`` is written first."""

    key: _Key
    evaluation: WindowEvaluation
    window: Sample
    rank: tuple[bool, bool, float]


class Turn:
    """One evaluation's windows, of which the few are kept that get a report now."""

    def __init__(self, evidence: "Evidence", model: str, settings: ReportsConfig, now: float) -> None:
        self._evidence = evidence
        self._model = model
        self._settings = settings
        self._due: list[_Due] = []
        self._offered: set[_Key] = set()
        self.now = now

    def offer(self, version: str, evaluation: WindowEvaluation, window: Sample) -> None:
        """Hand in one window. Its events are let go at once where others come first."""
        key = (self._model, version, evaluation.slice, evaluation.window)
        self._offered.add(key)
        if self._evidence.is_due(key, evaluation.verdict, self._settings, self.now):
            rank = self._evidence.rank(key, evaluation.verdict)
            self._due.append(_Due(key, evaluation, window, rank))
            self._due = sorted(self._due, key=lambda due: due.rank)[:MOST_AT_ONCE]

    def write(
        self, reference: PreparedReference, *, stopping: Callable[[], bool], kept: ReferenceSide | None = None
    ) -> None:
        """Write the reports, the most urgent first; none is begun once ``stopping``. ``kept`` are the reference's
        pictures.
        """
        self._evidence.keep_only(lambda key: key[0] != self._model or key in self._offered)
        for due in self._due:
            if stopping():
                return
            self._evidence.write(due.key, due.evaluation, due.window, reference, at=self.now, kept=kept)


class Evidence:
    """What was reported on which window, begun from what ``store`` holds. For one thread.

    ``pictures`` are those of events, None where none are kept.
    """

    def __init__(self, store: ReportStore, counters: ReportCounters, pictures: Pictures | None = None) -> None:
        self._store = store
        self._pictures = pictures
        self._counters = counters
        # Oldest first, so that the newest of each window stays: after a restart nothing is reported anew.
        self._told = {report.key: _Told(report.verdict, report.at) for report in reversed(store.entries())}
        self._failed: dict[_Key, float] = {}

    def turn(self, model: str, settings: ReportsConfig, now: float) -> Turn:
        """An evaluation of ``model`` at ``now``, seconds since the epoch."""
        return Turn(self, model, settings, now)

    def is_due(self, key: _Key, verdict: str, settings: ReportsConfig, now: float) -> bool:
        """Whether a window with that verdict deserves a report now."""
        if settings.when == "never" or verdict == "insufficient":
            return False
        has_just_failed = 0 <= now - self._failed.get(key, float("-inf")) < PAUSE_AFTER_FAILURE
        if settings.when == "always":
            return not has_just_failed
        if verdict == "ok":
            # The drift is over: when it comes back, that is news.
            self._told.pop(key, None)
            return False
        told = self._told.get(key)
        is_news = told is None or told.verdict != verdict or now - told.at >= settings.at_most_every
        return is_news and not has_just_failed

    def rank(self, key: _Key, verdict: str) -> tuple[bool, bool, float]:
        """News first, of these the critical first, of these the one that has waited longest."""
        told = self._told.get(key)
        is_news = told is None or told.verdict != verdict
        last = max(told.at if told else float("-inf"), self._failed.get(key, float("-inf")))
        return not is_news, verdict != "critical", last

    def write(
        self,
        key: _Key,
        evaluation: WindowEvaluation,
        window: Sample,
        reference: PreparedReference,
        *,
        at: float,
        kept: ReferenceSide | None = None,
    ) -> None:
        """Build and keep one report. A failure is logged and counted, and the window stays due."""
        model, version, slice_, window_name = key
        try:
            rows = reference.rows(slice_, window)
            montage = build_montage(
                window,
                evaluation,
                reference.sample,
                model=model,
                title=" · ".join((f"{model} version {version}", slice_, f"last {window_name}", evaluation.verdict)),
                pictures=self._pictures,
                kept=kept,
            )
            document = build_report(rows, window, evaluation, model=model, version=version, at=at, montage=montage)
            self._store.write(document, model=model, version=version, slice_=slice_, window=window_name, at=at)
        except Exception:  # a report is evidence, not the alarm: its failure must not silence anything
            self._failed[key] = at
            self._counters.count("report_failures")
            logger.exception("The report on %s, version %s, %s over %s failed", *key)
            return
        self._failed.pop(key, None)
        self._told[key] = _Told(evaluation.verdict, at)
        self._counters.count("reports")

    def keep_only(self, wanted: Callable[[_Key], bool]) -> None:
        """Forget the windows that are no longer evaluated: cameras, versions and models come and go."""
        self._told = {key: told for key, told in self._told.items() if wanted(key)}
        self._failed = {key: at for key, at in self._failed.items() if wanted(key)}
