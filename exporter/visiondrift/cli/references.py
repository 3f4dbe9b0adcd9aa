"""``reference build | list | show``: what normal looked like, made from images, a file, or the log."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from PIL import Image
from rich.console import Console
from rich.table import Table

from visiondrift.cli.config import DEFAULT_CONFIG, ConfigOption, chosen_model
from visiondrift.cli.files import from_log, with_state
from visiondrift.config import Config, load_config
from visiondrift.errors import BadInput
from visiondrift.parquet import read_sample
from visiondrift.prediction import Sample
from visiondrift.reference import list_references, read_manifest, save_reference

app = typer.Typer(help="Build, list and show references.", no_args_is_help=True)

_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp")


@app.command()
def build(
    name: Annotated[str, typer.Argument(help="The reference's name: its folder under reference_data.")],
    config: ConfigOption = DEFAULT_CONFIG,
    images: Annotated[Path | None, typer.Option(help="From a folder of images, embedded now.")] = None,
    slice_label: Annotated[
        str | None, typer.Option("--slice", help="With --images: the slice that the names of sub-folders are of.")
    ] = None,
    parquet: Annotated[Path | None, typer.Option(help="From a Parquet file, as `export` writes it.")] = None,
    embedder: Annotated[
        str | None, typer.Option(help="With --parquet: what made its embeddings; the configured one where left out.")
    ] = None,
    log: Annotated[bool, typer.Option("--from-log", help="From a window of the prediction log.")] = False,
    model: Annotated[str | None, typer.Option(help="Which model; needed where several are configured.")] = None,
    version: Annotated[str | None, typer.Option(help="With --from-log: which version.")] = None,
    since: Annotated[str, typer.Option(help="With --from-log: RFC 3339, or how long ago.")] = "7d",
    until: Annotated[str, typer.Option(help="With --from-log: RFC 3339, or how long ago.")] = "",
    state: Annotated[Path | None, typer.Option(help="The folder that `serve --state` was given.")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a reference of that name.")] = False,
) -> None:
    """Build a reference from exactly one of --images, --parquet and --from-log."""
    if sum((images is not None, parquet is not None, log)) != 1:
        raise BadInput("reference build: give exactly one of --images FOLDER, --parquet FILE and --from-log")
    loaded = with_state(load_config(config), state)
    identity = _identity(loaded, model)
    if images is not None:
        sample, source = _from_images(loaded, images, slice_label), f"images in {images.name}"
    elif parquet is not None:
        sample, source = read_sample(parquet).with_unit_embeddings(), f"file {parquet.name}"
        identity = embedder or identity
    else:
        watched = chosen_model(loaded, model)
        sample, source = from_log(loaded, watched, version, since, until), f"log of {watched.name} since {since}"
    directory = loaded.path(loaded.monitoring.reference_data) / name
    manifest = save_reference(directory, sample, embedder=identity, source=source, now=time.time(), overwrite=overwrite)
    typer.echo(f"{directory}: {manifest.rows:,} rows of {manifest.dimension} columns, made with {identity}")


@app.command("list")
def list_(config: ConfigOption = DEFAULT_CONFIG) -> None:
    """Every reference under reference_data, with what it is or what is wrong with it."""
    loaded = load_config(config)
    table = Table()
    for column in ("name", "rows", "columns", "embedder", "classes", "slices", "created"):
        table.add_column(column)
    for listed in list_references(loaded.path(loaded.monitoring.reference_data)):
        manifest = listed.manifest
        if manifest is None:
            table.add_row(listed.name, "", "", f"[red]{listed.problem}[/]", "", "", "")
            continue
        slices = "; ".join(f"{label}: {', '.join(values)}" for label, values in manifest.slices.items())
        table.add_row(
            listed.name,
            f"{manifest.rows:,}",
            str(manifest.dimension),
            manifest.embedder,
            str(len(manifest.classes)),
            slices,
            manifest.created,
        )
    Console(highlight=False).print(table)


@app.command()
def show(
    name: Annotated[str, typer.Argument(help="The reference's name.")], config: ConfigOption = DEFAULT_CONFIG
) -> None:
    """Everything that a reference's manifest says."""
    loaded = load_config(config)
    typer.echo(read_manifest(loaded.path(loaded.monitoring.reference_data) / name).model_dump_json(indent=2))


def _identity(config: Config, model: str | None) -> str:
    from visiondrift.service import embedder_of

    if model is not None:
        watched = chosen_model(config, model)
        if watched.embedding:
            return watched.embedding.name
    return embedder_of(config).identity


def _from_images(config: Config, folder: Path, label: str | None) -> Sample:
    from visiondrift.intake.decode import decode_image
    from visiondrift.intake.refusal import Refused
    from visiondrift.service import embedder_of

    files = sorted(path for path in folder.rglob("*") if path.suffix.lower() in _SUFFIXES)
    if not files:
        raise BadInput(f"{folder}: no image found; accepted are files that end in {', '.join(_SUFFIXES)}")
    bounds = config.monitoring.intake

    def decoded() -> Iterator[Image.Image]:
        for file in files:
            try:
                yield decode_image(
                    file.read_bytes(), max_bytes=bounds.max_image_bytes, max_pixels=bounds.max_image_pixels
                )
            except Refused as error:
                raise BadInput(f"{file}: {error}") from error

    embedder = embedder_of(config)
    try:
        embeddings = embedder.embed(decoded())
    finally:
        embedder.close()
    times = np.array([file.stat().st_mtime for file in files])
    order = np.argsort(times, kind="stable")
    folders = np.array([file.relative_to(folder).parts[0] for file in files], dtype=object)
    nothing = np.full(len(files), np.nan)
    return Sample(
        times=times,
        ids=np.array([str(file.relative_to(folder)) for file in files], dtype=object),
        slices={label: folders} if label else {},
        classes=(),
        embeddings=embeddings,
        confidences=np.zeros((len(files), 0), dtype=np.float32),
        predicted=np.full(len(files), -1, dtype=np.int32),
        latency_ms=nothing,
    ).take(order)
