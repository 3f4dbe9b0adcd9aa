"""``evaluate --replay``: a recording evaluated tick by tick, as the service would, and when alarms would have fired.

An alarm is a change of a window's verdict to warning or critical; its end the change back. Prometheus holds an alert
back for a minute and keeps it for some after its score is back: what is said here is the verdict itself.
"""

import json
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import typer

from visiondrift.calibrator import Answer
from visiondrift.cli.comparison import CANNOT_TELL, DRIFT, OK, Compared, known_of_file
from visiondrift.cli.tables import console, table_of, tsv
from visiondrift.config import Config, MonitoringConfig, ThresholdsConfig
from visiondrift.config.monitoring import ModelConfig, WatchedModel, WindowConfig
from visiondrift.config.units import format_duration
from visiondrift.drift.judge import Judgement, WindowEvaluation
from visiondrift.errors import BadInput
from visiondrift.evaluator import Evaluator
from visiondrift.log.recording import Recording
from visiondrift.publish.document import judgement_document
from visiondrift.publish.snapshot import ReferenceState
from visiondrift.reference import rfc3339
from visiondrift.shelf import Shelved
from visiondrift.signals import ALL_SLICES, SEVERITIES

MOST_TICKS = 20_000
_NAME = "file"
_COLUMNS = ("time", "slice", "window", "was", "is", "signal", "score", "level")


@dataclass(frozen=True)
class Change:
    """A window's verdict became another at ``at``; ``past`` are the signals beyond a level then."""

    at: float
    slice: str
    window: str
    was: str
    verdict: str
    past: tuple[Judgement, ...]

    @property
    def is_alarm(self) -> bool:
        """Whether something began, or got worse."""
        return self.verdict == "critical" or (self.verdict == "warning" and self.was != "critical")


@dataclass(frozen=True)
class _State:
    """What was last told of a slice and window: the verdict, and the signals past a level."""

    verdict: str = "ok"
    signals: frozenset[str] = frozenset()


class _OneReference:
    """The place of a shelf for what was read from files."""

    def __init__(self, compared: Compared) -> None:
        manifest = compared.manifest
        self._answer = compared.answer or Answer(None, "no level follows from the budget")
        self._shelved = Shelved(
            compared.reference,
            ReferenceState(manifest.name, manifest.rows, manifest.created_seconds),
            (),
            manifest,
            Path(),
        )

    def take(self, config: Config, model: WatchedModel) -> Shelved:  # noqa: ARG002  there is one only
        """The reference."""
        return self._shelved

    def calibration(self, shelved: Shelved, model: WatchedModel) -> Answer:  # noqa: ARG002
        """Its calibration."""
        return self._answer

    def keep_only(self, models: Iterable[str]) -> None:
        """There is one only."""


def replay_window(compared: Compared, *, min_samples: int | None, output: str) -> int:
    """Replay, print every change of a verdict, and say the exit status: drift, cannot tell, or ok."""
    model = _model(compared, min_samples)
    times = compared.sample.times
    ticks = int((times[-1] - times[0]) // model.evaluate_every) + 1
    if ticks > MOST_TICKS:
        raise BadInput(
            f"--replay: {ticks:,} evaluations every {format_duration(model.evaluate_every)} lie in the file; accepted "
            f"are at most {MOST_TICKS:,}: a shorter file, or a longer evaluate_every in --config"
        )
    begun = time.monotonic()
    told = 0
    changes: list[Change] = []
    states: dict[tuple[str, str], _State] = {}
    lacks: Counter[str] = Counter()
    for now, windows in _ticks(compared, model, ticks):
        told += any(window.verdict != "insufficient" for window in windows)
        changes += _changes(windows, states, now)
        lacks.update(window.why_blind for window in windows if window.slice == ALL_SLICES and window.why_blind)
    alarms = [change for change in changes if change.is_alarm]
    summary = {
        "evaluations": ticks,
        "every": format_duration(model.evaluate_every),
        "windows": list(model.windows),
        "told": told,
        "why": "" if told or not lacks else lacks.most_common(1)[0][0],
        "alarms": len(alarms),
        "seconds": round(time.monotonic() - begun, 3),
        "uncalibrated": compared.answer.why if compared.answer else "",
    }
    _print(changes, summary, output)
    if alarms:
        return DRIFT
    return OK if told else CANNOT_TELL


def _ticks(compared: Compared, model: WatchedModel, ticks: int) -> Iterator[tuple[float, tuple[WindowEvaluation, ...]]]:
    """Every evaluation with its time, at whole intervals from the first event on."""
    recording = Recording(compared.sample, model=model.name, version="")
    evaluator = Evaluator(
        log=recording,
        moments=recording,
        shelf=_OneReference(compared),
        embedder_of=lambda _: "",
        stopwatch=time.monotonic,
    )
    config = _config(compared.thresholds, model)
    first = float(compared.sample.times[0])
    for tick in range(1, ticks + 1):
        # Just behind the event on the tick: a window ends before its end.
        recording.now = first + tick * model.evaluate_every + 1e-6
        found = evaluator.evaluate(config, model, now=recording.now, offer=lambda *_: None)
        for evaluation in found.evaluations:
            yield recording.now, tuple(map(known_of_file, evaluation.windows))


def _changes(
    windows: tuple[WindowEvaluation, ...], states: dict[tuple[str, str], _State], now: float
) -> Iterator[Change]:
    for window in windows:
        key = (window.slice, window.window)
        was = states.get(key, _State())
        past = tuple(j for j in window.judgements if j.verdict in SEVERITIES)
        speaking = {j.signal for j in window.judgements if j.verdict != "insufficient"}
        # A window that cannot tell neither begins nor ends anything, nor does one that cannot tell of what was told.
        if window.verdict == "insufficient" or (not past and was.signals and not was.signals & speaking):
            continue
        states[key] = _State(window.verdict, frozenset(j.signal for j in past))
        if window.verdict != was.verdict:
            yield Change(now, window.slice, window.window, was.verdict, window.verdict, past)


def _model(compared: Compared, min_samples: int | None) -> WatchedModel:
    """The model as configured, or one with the defaults; with ``min_samples`` in every window."""
    settings = compared.plan.settings
    if compared.watched is not None:
        model = compared.watched
    else:
        plain = ModelConfig(name=_NAME, reference=_NAME, classes=settings.classes, slices=settings.slices)
        (model,) = MonitoringConfig(models=(plain,)).watched()
    most = 1 + max([1000, *(len(np.unique(column.astype(str))) for column in compared.sample.slices.values())])
    model = model.model_copy(update={"max_slices": most})
    if min_samples is None:
        return model
    windows = {
        name: WindowConfig(min_samples=min_samples, max_samples=max(min_samples, window.max_samples))
        for name, window in model.windows.items()
    }
    return model.model_copy(update={"windows": windows})


def _config(thresholds: ThresholdsConfig, model: WatchedModel) -> Config:
    """A configuration of this model alone: what is not in it is not looked at in a replay."""
    plain = ModelConfig(name=model.name, reference=model.reference)
    return Config(Path(), MonitoringConfig(models=(plain,)), thresholds, (model,), "")


def _print(changes: list[Change], summary: Mapping[str, Any], output: str) -> None:
    if output == "json":
        document = {**summary, "changes": [_document(change) for change in changes]}
        typer.echo(json.dumps(document, indent=2, ensure_ascii=False))
        return
    if output == "tsv":
        typer.echo(tsv((_COLUMNS, *_rows(changes))))
        return
    out = console()
    if changes:
        table = table_of(*_COLUMNS, numbers=("score", "level"), title="When each alarm would have begun and ended")
        for row in _rows(changes):
            table.add_row(*row)
        out.print(table)
    out.print(
        f"{summary['evaluations']} evaluations, one every {summary['every']}, over windows of "
        f"{', '.join(summary['windows'])}: {summary['alarms']} alarms; {summary['told']} could tell anything",
        soft_wrap=True,
    )
    if summary["why"]:
        out.print(f"most often as {summary['why']}", markup=False, soft_wrap=True)
    if summary["uncalibrated"]:
        out.print(f"not calibrated: {summary['uncalibrated']}", markup=False, soft_wrap=True)


def _rows(changes: list[Change]) -> Iterator[tuple[str, ...]]:
    for change in changes:
        begun = (rfc3339(change.at), change.slice, change.window, change.was, change.verdict)
        for judgement in change.past or (None,):
            if judgement is None:
                yield (*begun, "", "", "")
                continue
            level = judgement.threshold.critical if judgement.verdict == "critical" else judgement.threshold.warning
            yield (*begun, judgement.signal, f"{judgement.score:.4f}", f"{level:.4f}")


def _document(change: Change) -> dict[str, Any]:
    return {
        "at": rfc3339(change.at),
        "slice": change.slice,
        "window": change.window,
        "was": change.was,
        "verdict": change.verdict,
        "signals": [judgement_document(judgement) for judgement in change.past],
    }
