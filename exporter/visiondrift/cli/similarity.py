"""``similarity``: how alike each day, week or month was to the reference, by camera."""

import csv
import json
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.markup import escape

from visiondrift.cli.config import DEFAULT_CONFIG, ConfigOption, chosen_model
from visiondrift.cli.files import moment, with_state
from visiondrift.cli.tables import console, table_of
from visiondrift.config import load_config
from visiondrift.errors import BadInput

app = typer.Typer()

_STATED = (
    "similarity: mean of the images' cosines to the reference's mean embedding, which has no threshold; of_means: "
    "cosine of the images' mean embedding to it, which is the signal clip_similarity, bad below of_means_warning and "
    "of_means_critical, and larger than similarity, as a mean has less noise than one image; *_low to *_high: the 95 % "
    "interval of each by blocks; "
    "chosen: images that were kept for what they show, which do not count; partial: where the period is not covered, "
    "as the log, the time asked for or the present begins or ends inside it; other_embedder: what embedded these "
    "images, which cannot be compared with the reference"
)

_WORDS = frozenset({"period", "version", "slice", "partial", "other_embedder"})
"""The columns that are no numbers."""


@app.command()
def similarity(
    by: Annotated[
        Literal["day", "week", "month"], typer.Option(help="How long a period is; in UTC, weeks begin on Monday.")
    ] = "day",
    config: ConfigOption = DEFAULT_CONFIG,
    model: Annotated[str | None, typer.Option(help="Which model; needed where several are configured.")] = None,
    since: Annotated[str, typer.Option(help="From when: RFC 3339, or how long ago (7d).")] = "",
    until: Annotated[str, typer.Option(help="Until when: RFC 3339, or how long ago; now where left out.")] = "",
    state: Annotated[Path | None, typer.Option(help="The folder that `serve --state` was given.")] = None,
    output: Annotated[Literal["table", "json", "tsv"], typer.Option("-o", "--output")] = "table",
) -> None:
    """Mean CLIP similarity of production to the reference by period and slice; every period with images has a row."""
    from visiondrift.cli.periods import Asked, rows_by_period

    loaded = with_state(load_config(config), state)
    watched = chosen_model(loaded, model)
    now = time.time()
    first = moment(since, now) if since else now - loaded.monitoring.log.keep
    last = moment(until, now) if until else now + loaded.monitoring.intake.max_future
    if first >= last:
        raise BadInput(f"--since {since} is not before --until {until or 'now'}; accepted is an earlier --since")
    rows, blocks = rows_by_period(loaded, watched, Asked(by, first, last, now))
    _print(rows, blocks, output)


def _print(rows: Sequence[Mapping[str, object]], blocks: str, output: str) -> None:
    from visiondrift.cli.periods import COLUMNS

    if output == "json":
        found = [{name: row[name] for name in COLUMNS} for row in rows]
        typer.echo(json.dumps({"stated": f"{_STATED}; {blocks}", "rows": found}, indent=2))
    elif output == "tsv":
        writer = csv.DictWriter(sys.stdout, COLUMNS, delimiter="\t", lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    else:
        heads = {name: _head(name) for name in COLUMNS}
        table = table_of(*heads.values(), numbers=tuple(head for name, head in heads.items() if name not in _WORDS))
        for row in rows:
            table.add_row(*(escape(_shown(row[name])) for name in COLUMNS))
        out = console()
        out.print(table if rows else "no images in that time")
        out.print(f"{_STATED}; {blocks}", markup=False, soft_wrap=True)


def _head(name: str) -> str:
    """A column's name as a table heads it: in two lines, whose number it is and what of it."""
    for whose in ("similarity_", "of_means_"):
        if name.startswith(whose):
            return f"{whose[:-1]}\n{name.removeprefix(whose)}"
    return name


def _shown(value: object) -> str:
    if value is None:
        return ""
    return f"{value:.4f}" if isinstance(value, float) else f"{value:,}" if isinstance(value, int) else str(value)
