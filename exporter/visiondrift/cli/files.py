"""``evaluate`` and ``export``: one evaluation from files without a server, and the log as such a file."""

import json
import re
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from rich.markup import escape

from visiondrift.cli.config import DEFAULT_CONFIG, ConfigOption, chosen_model
from visiondrift.cli.tables import console, table_of
from visiondrift.config import Config, ThresholdsConfig, load_config
from visiondrift.config.monitoring import MonitorDefaults, WatchedModel, WindowConfig
from visiondrift.config.starting import STARTING_THRESHOLDS
from visiondrift.config.units import parse_duration
from visiondrift.drift.evaluation import PreparedReference, Settings, evaluate_window
from visiondrift.drift.judge import WindowEvaluation, worst
from visiondrift.errors import BadInput, EmbedderUnavailable
from visiondrift.log import WindowQuery
from visiondrift.parquet import read_sample, write_sample
from visiondrift.prediction import Sample, slice_name
from visiondrift.publish.document import models_document
from visiondrift.publish.snapshot import Evaluation, ModelState, ReferenceState
from visiondrift.reference import Manifest, open_reference
from visiondrift.signals import ALL_SLICES, BY_NAME

app = typer.Typer()

OK, DRIFT, CANNOT_TELL = 0, 1, 2
_EVERYTHING = 10**9
_COLUMNS = ("slice", "signal", "score", "warning", "critical", "verdict", "samples", "why")


@app.command()
def evaluate(
    reference: Annotated[Path, typer.Option(help="A reference folder, or a Parquet file.")],
    window: Annotated[Path, typer.Option(help="A Parquet file: time, slice columns, embedding, confidence_<class>.")],
    config: Annotated[
        Path | None, typer.Option("--config", help="Folder with the thresholds to hold the scores against.")
    ] = None,
    model: Annotated[str | None, typer.Option(help="Whose settings and thresholds, with --config.")] = None,
    min_samples: Annotated[int | None, typer.Option(min=2, help="Events that a score needs.")] = None,
    output: Annotated[Literal["table", "json", "tsv"], typer.Option("-o", "--output")] = "table",
) -> None:
    """Compare a window with a reference, both from files. Exits 0 ok, 1 drift, 2 cannot tell, 3 bad input."""
    if model is not None and config is None:
        raise BadInput("--model: it chooses among the models of a configuration; give --config with it")
    begun = time.monotonic()
    loaded = load_config(config) if config else None
    watched = chosen_model(loaded, model) if loaded else None
    thresholds = loaded.thresholds if loaded else STARTING_THRESHOLDS
    embedder = made_with(loaded, watched) if loaded and watched else None
    found = open_reference(reference, embedder=embedder, classes=(watched.classes or None) if watched else None)
    classes = watched.classes if watched and watched.classes else found.manifest.classes
    sample = read_sample(window, classes=classes or None).of_unit_length()
    settings = _score_settings(watched, classes, watched.slices if watched else tuple(sorted(sample.slices)))
    windows = tuple(
        _evaluations(
            PreparedReference.from_sample(found.sample.of_unit_length(), settings),
            sample,
            settings,
            min_samples=min_samples or _least(watched),
            thresholds=thresholds,
            model=watched.name if watched else "",
        )
    )
    if output == "json":
        state = _state(watched, thresholds, found.manifest, windows, seconds=time.monotonic() - begun)
        typer.echo(json.dumps(models_document([state]), indent=2, ensure_ascii=False))
    elif output == "tsv":
        typer.echo("\n".join("\t".join(row) for row in (_COLUMNS, *_rows(windows))))
    else:
        _print_table(windows, f"{window} against {found.manifest.name}")
    raise typer.Exit(_status(windows))


@app.command()
def export(
    file: Annotated[Path, typer.Argument(help="The Parquet file to write.")],
    config: ConfigOption = DEFAULT_CONFIG,
    model: Annotated[str | None, typer.Option(help="Which model; needed where several are configured.")] = None,
    version: Annotated[str | None, typer.Option(help="Which version; the newest where left out.")] = None,
    since: Annotated[str, typer.Option(help="From when: RFC 3339, or how long ago (7d).")] = "24h",
    until: Annotated[str, typer.Option(help="Until when: RFC 3339, or how long ago; now where left out.")] = "",
    state: Annotated[Path | None, typer.Option(help="The folder that `serve --state` was given.")] = None,
) -> None:
    """Write the prediction log as a file that `evaluate` and `reference build` read."""
    loaded = with_state(load_config(config), state)
    sample = from_log(loaded, chosen_model(loaded, model), version, since, until)
    write_sample(file, sample)
    typer.echo(f"{file}: {len(sample):,} events")


def with_state(config: Config, state: Path | None) -> Config:
    """The configuration, its log in another folder where one is given."""
    from visiondrift.service import Overrides

    return Overrides(state=state).apply(config)


def from_log(config: Config, model: WatchedModel, version: str | None, since: str, until: str) -> Sample:
    """The events of a model in the log. Raises BadInput where there are none."""
    from visiondrift.intake.embedder import embedder_of
    from visiondrift.log.sqlite import SqliteLog

    path = config.path(config.monitoring.log.path)
    if not path.is_file():
        raise BadInput(f"{path}: there is no prediction log yet; `visiondrift serve` makes it, --state says where")
    now = time.time()
    first, last = moment(since, now), moment(until, now) if until else now + 1
    if first >= last:
        raise BadInput(f"--since {since} is not before --until {until or 'now'}; accepted is an earlier --since")
    log = SqliteLog(path)
    try:
        streams = [stream for stream in log.census().streams if stream.model == model.name]
        versions = sorted({stream.version for stream in streams}, key=lambda v: -_newest(streams, v))
        if not versions or (version is not None and version not in versions):
            raise BadInput(
                f"{path} has no events of model {model.name}"
                + (f" version {version}; it has {', '.join(versions) or 'none'}" if version else "")
            )
        embedder = embedder_of(config)
        query = WindowQuery(
            model=model.name,
            version=version or versions[0],
            embedder=model.embedding.name if model.embedding else embedder.identity,
            since=first,
            until=last,
            classes=model.classes,
            dimension=model.embedding.dimension if model.embedding else embedder.dimension,
            limit=_EVERYTHING,
        )
        sample = log.window(query).sample
    finally:
        log.close()
    if not len(sample):
        raise BadInput(f"{path} has no events of {model.name} {query.version} in that time; try an earlier --since")
    return sample


def made_with(config: Config, model: WatchedModel) -> str | None:
    """What makes a model's embeddings, and so must have made its reference; None where it cannot be told here."""
    from visiondrift.intake.embedder import embedder_of

    if model.embedding:
        return model.embedding.name
    try:
        return embedder_of(config).identity
    except EmbedderUnavailable:  # its files are on another machine; the scores do not need them
        return None


def moment(text: str, now: float) -> float:
    """Seconds since the epoch of RFC 3339, or of a duration before ``now``. Raises BadInput."""
    if re.fullmatch(r"[0-9]+[a-z].*", text):
        try:
            return now - parse_duration(text)
        except ValueError as error:
            raise BadInput(str(error)) from error
    try:
        given = datetime.fromisoformat(text)
    except ValueError as error:
        raise BadInput(
            f"'{text}' is no time; accepted is RFC 3339 such as 2026-11-02T08:00:00Z, or how long ago, such as 7d"
        ) from error
    return (given if given.tzinfo else given.replace(tzinfo=UTC)).timestamp()


def _newest(streams: Sequence[Any], version: str) -> float:
    return max(float(stream.newest) for stream in streams if stream.version == version)


def _score_settings(watched: WatchedModel | None, classes: tuple[str, ...], labels: tuple[str, ...]) -> Settings:
    if watched is None:
        defaults = MonitorDefaults()
        return Settings(classes, labels, defaults.low_confidence_below, defaults.column_threshold, defaults.max_classes)
    return Settings(classes, labels, watched.low_confidence_below, watched.column_threshold, watched.max_classes)


def _least(watched: WatchedModel | None) -> int:
    windows = watched.windows.values() if watched else (WindowConfig(),)
    return min(window.min_samples for window in windows)


def _evaluations(
    reference: PreparedReference,
    sample: Sample,
    settings: Settings,
    *,
    min_samples: int,
    thresholds: ThresholdsConfig,
    model: str,
) -> Iterator[WindowEvaluation]:
    names = [ALL_SLICES, *(slice_name(label, v) for label in settings.slices for v in sample.slice_values(label))]
    for name in names:
        evaluation = evaluate_window(
            reference,
            sample.of_slice(name),
            slice_=name,
            window="file",
            min_samples=min_samples,
            settings=settings,
            thresholds=thresholds.resolve(model, name),
        )
        # A file holds what was accepted: of what was refused it cannot tell, not even that it was nothing.
        known = tuple(judgement for judgement in evaluation.judgements if judgement.signal != "invalid_ratio")
        yield replace(evaluation, judgements=known)


def _state(
    watched: WatchedModel | None,
    thresholds: ThresholdsConfig,
    manifest: Manifest,
    windows: tuple[WindowEvaluation, ...],
    *,
    seconds: float,
) -> ModelState:
    """What the service would publish of such an evaluation. Without a configuration the model has no name."""
    name = watched.name if watched else ""
    defaults = MonitorDefaults()
    return ModelState(
        name=name,
        owner=thresholds.owner(name),
        evaluate_every=watched.evaluate_every if watched else defaults.evaluate_every,
        input_stopped_after=watched.input_stopped_after if watched else defaults.input_stopped_after,
        reference=ReferenceState(manifest.name, manifest.rows, manifest.created_seconds),
        evaluations=(Evaluation(name, "", time.time(), seconds, windows),),
    )


def _status(windows: Sequence[WindowEvaluation]) -> int:
    verdict = worst(window.verdict for window in windows)
    if verdict in {"warning", "critical"}:
        return DRIFT
    # With very many classes none is frequent enough for its own confidence: that alone leaves nothing open.
    asked = [judgement for judgement in windows[0].judgements if judgement.signal != "confidence_drift"]
    return CANNOT_TELL if any(judgement.verdict == "insufficient" for judgement in asked) else OK


def _rows(windows: Sequence[WindowEvaluation]) -> Iterator[tuple[str, ...]]:
    for window in windows:
        for judgement in window.judgements:
            threshold = judgement.threshold
            yield (
                window.slice,
                judgement.signal,
                *(_number(value) for value in (judgement.score, threshold.warning, threshold.critical)),
                judgement.verdict,
                str(judgement.samples),
                judgement.why,
            )


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}"


def _print_table(windows: Sequence[WindowEvaluation], title: str) -> None:
    colours = {"ok": "green", "warning": "yellow", "critical": "red", "insufficient": "bright_black"}
    table = table_of(*_COLUMNS[:-1], numbers=("score", "warning", "critical", "verdict", "samples"), title=title)
    for window in windows:
        for slice_, signal, score, warning, critical, verdict, samples, _ in _rows([window]):
            coloured = f"[{colours[verdict]}]{verdict}[/]"
            table.add_row(escape(slice_), BY_NAME[signal].title, score, warning, critical, coloured, samples)
        table.add_section()
    out = console()
    out.print(table)
    for why in dict.fromkeys(row[-1] for row in _rows(windows) if row[-1]):
        out.print(f"insufficient: {why}", soft_wrap=True, markup=False)
