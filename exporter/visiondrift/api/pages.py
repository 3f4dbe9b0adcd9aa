"""What a person sees in a browser: the landing page, the list of reports, the runbook. Server-rendered, no script.

Nothing is fetched from anywhere: the pages work on a host without internet.
"""

import base64
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any
from urllib.parse import urlencode

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape
from markdown_it import MarkdownIt
from markupsafe import Markup

from visiondrift import __version__
from visiondrift.drift.explain.causes import UNKNOWN
from visiondrift.drift.judge import Judgement, WindowEvaluation
from visiondrift.publish.report import StoredReport
from visiondrift.publish.snapshot import Evaluation, Links, ModelState, Snapshot
from visiondrift.signals import ALL_SLICES, BY_NAME, SEVERITIES, SIGNALS

NewestPictures = Callable[[str, str, int], Sequence[bytes]]
"""(model, slice, how many) -> JPEG files, newest first."""

LatestReport = Callable[[str, str, str, str], StoredReport | None]
"""(model, version, slice, window) -> the newest report on it."""

REFRESH_SECONDS = 10
PICTURES = 3
SPARK_WIDTH, SPARK_HEIGHT = 72, 18


@dataclass(frozen=True)
class Cell:
    """One signal of one row: the score and its nearest threshold as text, and its last scores as a small drawing."""

    verdict: str = ""
    score: str = ""
    limit: str = ""
    hint: str = ""
    spark: "Sparkline | None" = None


@dataclass(frozen=True)
class Sparkline:
    """SVG coordinates in a box of 72 x 18: the points of the line, and the height of the threshold (None: none)."""

    points: str
    level: str | None


@dataclass(frozen=True)
class PageRow:
    """One slice and window of one version of a model."""

    slice: str
    detail: str
    spread: str
    cause: str
    cause_hint: str
    verdict: str
    cells: tuple[Cell, ...]
    report: str
    montage: str
    pictures: tuple[str, ...]


class Pages:
    """Renders the pages. Holds the templates, compiled once."""

    def __init__(self) -> None:
        self._templates = Environment(
            loader=PackageLoader("visiondrift.api"),
            autoescape=select_autoescape(),
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )

    def landing(self, snapshot: Snapshot, newest: NewestPictures, latest: LatestReport, *, now: float) -> str:
        """The page at ``/``: every model and slice, its verdict, its scores against their thresholds, its pictures."""
        return self._render(
            "landing.html",
            snapshot.links,
            now,
            title="Overview",
            refresh=REFRESH_SECONDS,
            models=[_model(state, snapshot.links, newest, latest, now=now) for state in snapshot.models],
            config_problem=snapshot.config_problem,
            awaits_restart=", ".join(snapshot.awaits_restart),
        )

    def reports(self, links: Links, reports: Sequence[StoredReport], *, now: float) -> str:
        """The list of kept reports, newest first."""
        rows = [
            {
                "written": _clock(report.at),
                "model": report.model,
                "version": report.version,
                "slice": _slice_words(report.slice),
                "window": report.window,
                "name": report.name,
                "has_montage": report.has_montage,
            }
            for report in reports
        ]
        return self._render("reports.html", links, now, title="Reports", refresh=0, reports=rows)

    def images(self, links: Links, report: StoredReport, about: Mapping[str, Any], *, now: float) -> str:
        """The images behind a drift: the montage of ``report``, whose JSON is ``about``, and the cause where one is
        named.
        """
        data = about.get("montage") or {}
        cause = about.get("cause") or {}
        return self._render(
            "images.html",
            links,
            now,
            title=f"Images behind the drift: {report.model}",
            refresh=0,
            report=report,
            slice=_slice_words(report.slice),
            at=_clock(report.at),
            cause=cause.get("word") or "",
            cause_why=cause.get("why", ""),
            why=data.get("why", "This report was written by a version that made no montage."),
            note=data.get("note", ""),
            measure=data.get("measure", ""),
            rows=[_image_row(image) for image in data.get("shown", ())],
        )

    def message(self, links: Links, title: str, message: str, *, now: float) -> str:
        """A page of one sentence, such as why there is no report."""
        return self._render("message.html", links, now, title=title, refresh=0, message=message)

    def runbook(self, links: Links, markdown: str, *, now: float) -> str:
        """The runbook, each heading with the anchor that the alerts link to."""
        return self._render("runbook.html", links, now, title="Runbook", refresh=0, body=_with_anchors(markdown))

    def _render(self, template: str, links: Links, now: float, **values: object) -> str:
        return self._templates.get_template(template).render(
            links=links, now=_clock(now), version=__version__, **values
        )


def _image_row(image: Mapping[str, Any]) -> dict[str, str]:
    return {
        "time": _clock(float(image["time"])),
        "slices": str(image["slices"]),
        "score": f"{image['score']:.2f}",
        "chance": "" if image["chance"] is None else f"{image['chance']:.2%}",
        "id": str(image["id"]),
        "reference": str(image.get("reference_id", "")),
        "similarity": f"{image['similarity']:.2f}" if "similarity" in image else "",
    }


def _with_anchors(markdown: str) -> Markup:
    parser = MarkdownIt("commonmark", {"html": False}).enable("table")
    tokens = parser.parse(markdown)
    for opening, inline in pairwise(tokens):
        if opening.type == "heading_open":
            opening.attrSet("id", inline.content.lower().replace(" ", "-"))
    # The runbook is a file of the project's own; commonmark with HTML off escapes everything else.
    return Markup(parser.renderer.render(tokens, parser.options, {}))  # noqa: S704


def _model(
    state: ModelState, links: Links, newest_pictures: NewestPictures, latest: LatestReport, *, now: float
) -> dict[str, object]:
    signals = _shown_signals(state)
    newest = max(state.evaluated.values(), default=None)
    return {
        "name": state.name,
        "verdict": state.verdict,
        "owner": state.owner,
        "evaluated": "never" if newest is None else f"{max(0.0, now - newest):.0f} s ago",
        "every": f"{state.evaluate_every:g} s",
        "reference": f"{state.reference.name} ({state.reference.rows:,} rows)",
        "dashboard": f"{links.grafana_url}/d/visiondrift-model?{urlencode({'var-model': state.name})}",
        "problem": state.problem,
        "faults": _faults(state),
        "titles": [BY_NAME[name].title for name in signals],
        "rows": [
            _row(state, evaluation, window, signals, newest_pictures=newest_pictures, latest=latest)
            for evaluation in state.evaluations
            for window in evaluation.windows
        ],
        "waiting": _waiting(state),
    }


def _faults(state: ModelState) -> list[dict[str, str]]:
    """The cameras that are not well, each fault with its evidence; those of all versions."""
    return [
        {
            "camera": _slice_words(camera.slice),
            "name": fault.name,
            "since": _clock(fault.since),
            "evidence": fault.evidence,
            "certainty": fault.certainty,
        }
        for evaluation in state.evaluations
        for camera in evaluation.cameras
        for fault in camera.faults
    ]


def _waiting(state: ModelState) -> str:
    if state.reference.problem:
        return "There is nothing to compare with yet."
    if not state.newest:
        return "No event has come in yet. README.md, “Point it at your model”, shows how to send one."
    if state.evaluated:
        return "The last evaluation is too old to be shown."
    return "Not evaluated yet."


def _shown_signals(state: ModelState) -> tuple[str, ...]:
    present = {
        judgement.signal
        for evaluation in state.evaluations
        for window in evaluation.windows
        for judgement in window.judgements
    }
    return tuple(signal.name for signal in SIGNALS if signal.name in present)


def _row(
    state: ModelState,
    evaluation: Evaluation,
    window: WindowEvaluation,
    signals: Sequence[str],
    *,
    newest_pictures: NewestPictures,
    latest: LatestReport,
) -> PageRow:
    by_name = {judgement.signal: judgement for judgement in window.judgements}
    scope = (evaluation.version, window.slice, window.window)
    report = montage = ""
    cause = window.cause if window.cause and window.cause.drifted else None
    if scope in state.reports:
        asked = {"model": state.name, "version": scope[0], "slice": scope[1], "window": scope[2]}
        report = f"/reports/latest?{urlencode(asked)}"
        # What stands for a drift that is over is a click away; here it would say that it goes on.
        found = latest(state.name, *scope) if window.verdict in SEVERITIES else None
        montage = found.name if found and found.has_montage else ""
    return PageRow(
        slice=_slice_words(window.slice),
        detail=" · ".join(
            filter(
                None,
                [window.window, f"{window.samples:,} events", f"version {evaluation.version}", window.why_blind],
            )
        ),
        spread=window.told_spread,
        cause=(cause.word or UNKNOWN) if cause else "",
        cause_hint=f"{cause.text}: {cause.why}" if cause else "",
        verdict=window.verdict,
        cells=tuple(_cell(by_name.get(name), state.history.get((*scope, name), ())) for name in signals),
        report=report,
        montage=montage,
        pictures=tuple(map(_inline, newest_pictures(state.name, window.slice, PICTURES))),
    )


def _inline(picture: bytes) -> str:
    # In the page itself: at some frames a second a picture of a second ago is gone before it could be fetched.
    return f"data:image/jpeg;base64,{base64.b64encode(picture).decode()}"


def _cell(judgement: Judgement | None, history: Sequence[float | None]) -> Cell:
    if judgement is None:
        return Cell()
    signal = BY_NAME[judgement.signal]
    reach = "≥" if signal.bad_when == "high" else "≤"
    levels = [
        f"{severity} {reach} {number(judgement.signal, level)}"
        for severity in SEVERITIES
        if (level := judgement.threshold.level(severity)) is not None
    ]
    return Cell(
        verdict=judgement.verdict,
        score="" if judgement.score is None else number(judgement.signal, judgement.score),
        limit=levels[0].split(" ", 1)[1] if levels else "no threshold",
        hint="; ".join(filter(None, [signal.meaning, *levels, *_unreachable(judgement), judgement.why])),
        spark=sparkline(history, level=next(iter(_levels(judgement)), None)),
    )


def _unreachable(judgement: Judgement) -> list[str]:
    return [f"{severity} cannot be reached" for severity in SEVERITIES if severity in judgement.threshold.unreachable]


def _levels(judgement: Judgement) -> list[float]:
    given = (judgement.threshold.level(severity) for severity in SEVERITIES)
    return [level for level in given if level is not None]


def sparkline(history: Sequence[float | None], *, level: float | None) -> Sparkline | None:
    """The last scores, oldest first, gaps skipped; None for fewer than two.

    The scale always includes the threshold, so that healthy noise is drawn as flat as it is.
    """
    known = [(index, score) for index, score in enumerate(history) if score is not None]
    if len(known) < 2:  # noqa: PLR2004 - a line needs two points
        return None
    scale = [score for _, score in known] + ([] if level is None else [level])
    low, high = min(scale), max(scale)
    across = SPARK_WIDTH / (len(history) - 1)
    up = (SPARK_HEIGHT - 2) / (high - low) if high > low else 0.0

    def height(score: float) -> str:
        return f"{SPARK_HEIGHT - 1 - (score - low) * up:.1f}"

    points = " ".join(f"{index * across:.1f},{height(score)}" for index, score in known)
    return Sparkline(points, None if level is None else height(level))


def number(signal: str, value: float) -> str:
    """A score as a person reads it: shares in percent, everything else with two decimals."""
    return f"{100 * value:z.1f} %" if BY_NAME[signal].percent else f"{value:z.2f}"


def _slice_words(name: str) -> str:
    return "all together" if name == ALL_SLICES else name.replace("=", " ", 1)


def _clock(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, tz=UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
