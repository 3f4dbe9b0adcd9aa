"""What stands above Evidently's page: what was compared, what came out, and how to read what follows."""

import base64
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from html import escape
from typing import Any

from visiondrift.drift.explain.causes import UNKNOWN, Evidence
from visiondrift.drift.judge import Judgement, WindowEvaluation
from visiondrift.signals import BY_NAME, Signal

_STYLE = """<style>
.vd { font: 15px/1.5 system-ui, sans-serif; color: #1c2430; background: #fff; max-width: 1150px; margin: 0 auto;
  padding: 20px 24px 8px; }
.vd h1 { font-size: 24px; line-height: 1.3; margin: 0 0 4px; }
.vd p { margin: 6px 0; }
.vd dl { display: flex; flex-wrap: wrap; gap: 4px 28px; margin: 12px 0; }
.vd dt { font-size: 12px; color: #5a6675; }
.vd dd { margin: 0; }
.vd .scroll { overflow-x: auto; }
.vd table { border-collapse: collapse; width: 100%; margin: 12px 0; }
.vd th { text-align: left; font-size: 12px; font-weight: 600; color: #5a6675; }
.vd th, .vd td { padding: 6px 12px 6px 0; border-bottom: 1px solid #e3e7ec; vertical-align: top; }
.vd img { max-width: 100%; }
.vd .number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
.vd .meaning { color: #5a6675; font-size: 13px; }
.vd .verdict { display: inline-block; border-radius: 4px; padding: 0 8px; font-weight: 600; white-space: nowrap; }
.vd .ok { background: #dff3e4; color: #14532d; }
.vd .warning { background: #fdefc8; color: #6b4300; }
.vd .critical { background: #fbdcdc; color: #8a1111; }
.vd .insufficient { background: #e8ebef; color: #414b57; }
@media (max-width: 640px) { .vd .meaning { display: none; } .vd { padding: 12px; } }
</style>"""

_LOWER_IS_WORSE = "bad when low"


def with_header(page: str, evaluation: WindowEvaluation, data: Mapping[str, Any], picture: bytes | None = None) -> str:
    """``page``, an HTML document, with a title and our header before its content.

    ``data`` is the report's JSON, ``picture`` the montage as a JPEG file.
    """
    title = f"{data['model']} {data['version']} · {_slice(evaluation.slice)} · {evaluation.window}"
    head = f"<title>{escape(title)} · VisionDrift</title>\n{_STYLE}\n</head>"
    body = f"<body>\n{_header(title, evaluation, data, _images(data, picture))}"
    before, _, after = page.partition("</head>")
    return before + head + after.replace("<body>", body, 1)


def _header(title: str, evaluation: WindowEvaluation, data: Mapping[str, Any], images: str) -> str:
    rows = "\n".join(_row(judgement) for judgement in evaluation.judgements)
    verdict = evaluation.verdict
    return f"""<div class="vd">
<h1>{escape(title)} <span class="verdict {verdict}">{verdict}</span></h1>
<dl>{_facts(evaluation, data)}</dl>
<div class="scroll"><table>
<thead><tr><th>Signal</th><th class="number">Score</th><th class="number">Warning</th><th class="number">Critical</th>
<th>Verdict</th><th class="number">Events</th><th class="meaning">Meaning</th></tr></thead>
<tbody>
{rows}
</tbody></table></div>
{_explanation(evaluation)}{images}{_reading(data)}
</div>
"""


def _explanation(evaluation: WindowEvaluation) -> str:
    """Why the window has drifted, with the evidence, and on which slices; empty where nothing has."""
    cause, spread = evaluation.cause, evaluation.spread
    found = ""
    if cause and cause.drifted:
        found = f"<p>Cause: <strong>{escape(cause.word or UNKNOWN)}</strong>. {escape(cause.why)}</p>\n"
        found += _listed(one for one in cause.evidence if one.supports)
        also = _listed(cause.also_seen)
        found += f"<p>{'Also seen' if cause.word else 'Seen'}:</p>\n{also}" if also else ""
    if spread and spread.sentence:
        found += f"<p>Slices: {escape(spread.sentence)}</p>\n"
    return found


def _listed(evidence: Iterable[Evidence]) -> str:
    items = "".join(f"<li>{escape(one.text)}</li>" for one in evidence)
    return f"<ul>{items}</ul>\n" if items else ""


def _images(data: Mapping[str, Any], picture: bytes | None) -> str:
    """The images behind the drift, in the page itself; or why there are none."""
    montage = data.get("montage")
    if not montage:
        return ""
    if picture is None:
        return f"<p>No images to show. {escape(montage['why'])}</p>\n"
    file = base64.b64encode(picture).decode()
    return f'<p><img src="data:image/jpeg;base64,{file}" alt="the images behind the drift"></p>\n'


def _facts(evaluation: WindowEvaluation, data: Mapping[str, Any]) -> str:
    events = f"{evaluation.samples:,}"
    if evaluation.total > evaluation.samples:
        events += f" of {evaluation.total:,}, evenly spread"
    reference = f"{evaluation.reference_rows:,} events, {_slice(evaluation.reference_slice)}"
    facts = {
        "Events compared": events,
        "From": _clock(data["since"]),
        "To": _clock(data["until"]),
        "Reference": reference,
        "Evaluated": _clock(data["at"]),
    }
    return "".join(f"<div><dt>{name}</dt><dd>{escape(value)}</dd></div>" for name, value in facts.items())


def _row(judgement: Judgement) -> str:
    signal = BY_NAME[judgement.signal]
    levels = "".join(
        f'<td class="number">{_value(signal, level)}</td>'
        for level in (judgement.score, judgement.threshold.warning, judgement.threshold.critical)
    )
    meaning = judgement.why or signal.meaning + (f" ({_LOWER_IS_WORSE})" if signal.bad_when == "low" else "")
    return (
        f'<tr><td>{escape(signal.title)}</td>{levels}<td><span class="verdict {judgement.verdict}">'
        f'{judgement.verdict}</span></td><td class="number">{judgement.samples:,}</td>'
        f'<td class="meaning">{escape(meaning)}</td></tr>'
    )


def _reading(data: Mapping[str, Any]) -> str:
    columns = data["columns"]
    count = len(columns["shown"])
    left_out = "".join(f"; {escape(sentence)}" for sentence in columns["left_out"])
    not_shown = f"<p>Not shown: {left_out[2:]}.</p>" if left_out else ""
    embeddings = (
        f" The {data['dimension']} embedding columns are judged above and not drawn." if data["dimension"] else ""
    )
    if not count:
        return f"<p>No column can be drawn.{embeddings}</p>{not_shown}"
    return (
        f"<p>Below, by Evidently {escape(data['evidently']['version'])}: the {count} columns that a person can read, "
        "the one that moved most first. A row opens to its history and distribution. Numbers are compared by "
        "Wasserstein distance in reference standard deviations, classes by Jensen-Shannon distance to base 2; "
        f"“detected” means at or above the warning level for such a column.{embeddings}</p>{not_shown}"
    )


def _value(signal: Signal, value: float | None) -> str:
    if value is None:
        return "–"
    return f"{value:.1%}" if signal.percent else f"{value:.3f}"


def _slice(name: str) -> str:
    return "all slices" if name == "all" else name


def _clock(seconds: float | None) -> str:
    if seconds is None:
        return "–"
    return datetime.fromtimestamp(seconds, tz=UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
