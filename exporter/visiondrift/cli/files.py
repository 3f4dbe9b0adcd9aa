"""``export``: the prediction log as a file, and what else the commands take from the log."""

import re
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from visiondrift.cli.config import DEFAULT_CONFIG, ConfigOption, chosen_model
from visiondrift.config import Config, load_config
from visiondrift.config.monitoring import WatchedModel
from visiondrift.config.units import parse_duration
from visiondrift.errors import BadInput, EmbedderUnavailable
from visiondrift.log import WindowQuery
from visiondrift.prediction import Sample

app = typer.Typer()

_EVERYTHING = 10**9


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
    from visiondrift.parquet import write_sample

    loaded = with_state(load_config(config), state)
    sample = from_log(loaded, chosen_model(loaded, model), version, since, until, biased=True)
    write_sample(file, sample)
    typer.echo(f"{file}: {len(sample):,} events")


def with_state(config: Config, state: Path | None) -> Config:
    """The configuration, its log in another folder where one is given."""
    from visiondrift.service import Overrides

    return Overrides(state=state).apply(config)


def from_log(
    config: Config, model: WatchedModel, version: str | None, since: str, until: str, *, biased: bool = False
) -> Sample:
    """The events of a model in the log, with those kept for what they show where ``biased``. Raises BadInput where
    there are none.
    """
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
        held = log.holdings(model.name, since=first, until=last)
        if biased:
            versions += sorted({one.version for one in held}.difference(versions))
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
            biased=biased,
        )
        sample = log.window(query).sample
    finally:
        log.close()
    others = [one for one in held if one.version == query.version and one.embedder != query.embedder]
    left_out = sum(one.rows for one in others if biased or not one.biased)
    by = ", ".join(sorted({one.embedder for one in others}))
    if not len(sample):
        why = f": the {left_out:,} there are were embedded by {by}, and not by {query.embedder}" if left_out else ""
        raise BadInput(
            f"{path} has no events of {model.name} {query.version} in that time{why}; try an earlier --since"
        )
    if left_out:
        typer.echo(f"{left_out:,} events that were embedded by {by} are left out", err=True)
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
