"""``reference build | calibrate | witnesses | list | show``: what normal looked like, and what faults look like."""

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import typer
from numpy.typing import NDArray
from PIL import Image
from rich.markup import escape

from visiondrift.cli.config import DEFAULT_CONFIG, ConfigOption, chosen_model
from visiondrift.cli.files import from_log, with_state
from visiondrift.cli.tables import console, table_of
from visiondrift.collect.folder import MANIFEST, Collected, collected
from visiondrift.collect.sources import IMAGES, SENT
from visiondrift.config import Config, load_config
from visiondrift.config.entries import NAME
from visiondrift.config.monitoring import IntakeConfig, WatchedModel
from visiondrift.errors import BadInput, EmbedderUnavailable
from visiondrift.prediction import ImageStats, Sample, slice_name
from visiondrift.reference import check_place, intact_manifest, list_references, save_reference
from visiondrift.reference_pictures import MOST_PICTURES, save_pictures
from visiondrift.signals import ALL_SLICES

SliceValues = Mapping[str, NDArray[np.object_]]
Damaged = dict[Path, str]
"""Images that cannot be read, and why."""

app = typer.Typer(help="Build, list and show references.", no_args_is_help=True)

_MOST_DAMAGED = 0.1
_LISTED = ("name", "rows", "columns", "embedder", "classes", "slices", "created")


@app.command()
def build(
    name: Annotated[str, typer.Argument(help="The reference's name: its folder under reference_data.")],
    config: ConfigOption = DEFAULT_CONFIG,
    images: Annotated[Path | None, typer.Option(help="From a folder of images, embedded now.")] = None,
    slice_label: Annotated[
        str | None,
        typer.Option(
            "--slice",
            help="With --images: the slice that the names of sub-folders are of, where a collection says no other.",
        ),
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
    calibrate: Annotated[
        bool, typer.Option("--calibrate/--no-calibrate", help="Learn its levels now, and not when the service starts.")
    ] = True,
    witnesses_: Annotated[
        bool,
        typer.Option("--witnesses/--no-witnesses", help="With --images: learn what faults look like in them."),
    ] = True,
) -> None:
    """Build a reference from exactly one of --images, --parquet and --from-log, and calibrate it."""
    if sum((images is not None, parquet is not None, log)) != 1:
        raise BadInput("reference build: give exactly one of --images FOLDER, --parquet FILE and --from-log")
    from visiondrift.parquet import read_events

    loaded = with_state(load_config(config), state)
    directory = _directory(loaded, name)
    check_place(directory, overwrite=overwrite)
    pictures: dict[int, bytes] = {}
    times: Literal["capture", "file"] = "capture"
    files: list[Path] = []
    if images is not None:
        identity = _identity_of_images(loaded, model)
        user = _user_of(loaded, name, model)
        classes = user.classes if user else ()
        said = collected(images, classes=classes)
        files = _chance_chose(images, said)
        taken = _capture_times(images, files, said)
        # A file's own time is that of its last copy, not of the frame.
        times = "file" if taken is None else "capture"
        values = _slice_values(images, files, said, slice_label) if slice_label else None
        damaged: Damaged = {}
        sample, pictures = _from_images(loaded, name, files, taken, damaged, within=images, slices=values)
        files = [file for file in files if file not in damaged]
        _tell_damaged(damaged)
        sample = _with_confidences(sample, said, classes)
        source = f"images in {images.resolve().name}"
    elif parquet is not None:
        identity = embedder or _identity(loaded, model)
        sample, source = read_events(parquet, tell=_tell).of_unit_length(), f"file {parquet.name}"
        _check_fits(loaded, parquet, sample, _user_of(loaded, name, model), identity)
    else:
        watched = chosen_model(loaded, model)
        identity = _identity(loaded, watched.name)
        sample, source = from_log(loaded, watched, version, since, until), f"log of {watched.name} since {since}"
    manifest = save_reference(
        directory,
        sample,
        embedder=identity,
        source=source,
        now=time.time(),
        times=times,
        overwrite=overwrite,
    )
    made_with = f", made with {manifest.embedder}" if manifest.dimension else ""
    lacking = int((~sample.has_embedding).sum()) if manifest.dimension else 0
    without = f"; {lacking:,} of them without an embedding" if lacking else ""
    typer.echo(f"{directory}: {manifest.rows:,} rows of {manifest.dimension} columns{made_with}{without}")
    if pictures:
        save_pictures(directory, pictures)
        typer.echo(f"pictures of {len(pictures):,} of them kept, to set beside those of a drift")
    if images is not None and witnesses_:
        _prepare_witnesses(loaded, directory, files)
    if calibrate:
        _calibrate(directory, _user_of(loaded, name, None))


@app.command("witnesses")
def witnesses(
    name: Annotated[str, typer.Argument(help="The reference's name.")],
    config: ConfigOption = DEFAULT_CONFIG,
    images: Annotated[
        Path | None,
        typer.Option(help="A folder of healthy images to learn faults from; else the probes are read anew."),
    ] = None,
    model: Annotated[str | None, typer.Option(help="For which model, where several use the reference.")] = None,
) -> None:
    """Learn what can name the cause of a drift: known faults on images of yours, and the words of the probes."""
    loaded = load_config(config)
    directory = _directory(loaded, name)
    _prepare_witnesses(loaded, directory, _chance_chose(images, collected(images)) if images else [])
    _calibrate(directory, _user_of(loaded, name, model))


def _prepare_witnesses(config: Config, directory: Path, files: list[Path]) -> None:
    from visiondrift.cli.witnessing import prepare_witnesses

    damaged: Damaged = {}
    prepare_witnesses(
        config,
        directory,
        files,
        load=lambda chosen, bounds: _decoded(chosen, bounds, damaged),
        tell=_tell,
    )
    _tell_damaged(damaged)


@app.command("calibrate")
def calibrate_(
    name: Annotated[str, typer.Argument(help="The reference's name.")],
    config: ConfigOption = DEFAULT_CONFIG,
    model: Annotated[str | None, typer.Option(help="For which model, where several use the reference.")] = None,
) -> None:
    """Calibrate a reference anew, after windows, classes or slices have changed."""
    loaded = load_config(config)
    directory = _directory(loaded, name)
    intact_manifest(directory)  # of a reference that is not there nothing is said of its users
    _calibrate(directory, _user_of(loaded, name, model))


@app.command("list")
def list_(config: ConfigOption = DEFAULT_CONFIG) -> None:
    """Every reference under reference_data, with what it is or what is wrong with it."""
    loaded = load_config(config)
    table = table_of(*_LISTED, numbers=("rows", "columns", "classes", "created"))
    for listed in list_references(loaded.path(loaded.monitoring.reference_data)):
        manifest = listed.manifest
        if manifest is None:
            table.add_row(listed.name, "", "", f"[red]{escape(listed.problem)}[/]", "", "", "")
            continue
        slices = "; ".join(f"{label}: {', '.join(values)}" for label, values in manifest.slices.items())
        table.add_row(
            listed.name,
            f"{manifest.rows:,}",
            str(manifest.dimension),
            escape(manifest.embedder),
            str(len(manifest.classes)),
            escape(slices),
            manifest.created,
        )
    console().print(table)


@app.command()
def show(
    name: Annotated[str, typer.Argument(help="The reference's name.")],
    config: ConfigOption = DEFAULT_CONFIG,
    model: Annotated[str | None, typer.Option(help="For which model, where several use the reference.")] = None,
    output: Annotated[Literal["page", "json"], typer.Option("-o", "--output", help="json: its manifest.")] = "page",
) -> None:
    """What a reference is, how it is calibrated, and what windows can and cannot show against it."""
    loaded = load_config(config)
    directory = _directory(loaded, name)
    if output == "json":
        typer.echo(intact_manifest(directory).model_dump_json(indent=2))
        return
    from visiondrift.cli.prospect import print_reference

    print_reference(loaded, directory, _user_of(loaded, name, model))


def _directory(config: Config, name: str) -> Path:
    """Where the reference of that name is. Raises BadInput for what is a path, and no name."""
    if not NAME.fullmatch(name):
        raise BadInput(
            f"{name!r} cannot be the name of a reference; accepted are letters, digits, '.', '_' and '-', at most 63, "
            "a letter or digit first"
        )
    return config.path(config.monitoring.reference_data) / name


def _check_fits(config: Config, file: Path, sample: Sample, user: WatchedModel | None, identity: str) -> None:
    """Raises BadInput where the ``user`` of the reference could not use it: before one that it can use is replaced.

    ``identity`` is what made the embeddings.
    """
    if sample.dimension and not sample.has_embedding.any():
        raise BadInput(
            f"{file}: column embedding: not one of {len(sample):,} rows has an embedding, all are null, zeros or not "
            "finite; accepted are finite numbers, or a file without that column"
        )
    unknown = sorted(set(sample.classes).difference(user.classes)) if user and user.classes else []
    if user and unknown:
        raise BadInput(
            f"{file}: class {unknown[0]!r} is not one of {user.name}; accepted are {', '.join(user.classes)}"
        )
    columns = _columns_of(config, user, identity) if sample.has_embedding.any() else None
    if columns is not None and columns != sample.dimension:
        raise BadInput(
            f"{file}: column embedding has {sample.dimension} values a row, and {identity} makes {columns}; accepted "
            "are its embeddings, or --embedder with the name of what made these"
        )


def _columns_of(config: Config, user: WatchedModel | None, identity: str) -> int | None:
    """How many columns embeddings of ``identity`` have; None where that is not known here."""
    from visiondrift.intake.embedder import embedder_of

    if user and user.embedding and user.embedding.name == identity:
        return user.embedding.dimension
    embedder = embedder_of(config)
    try:
        return embedder.dimension if embedder.identity == identity else None
    except EmbedderUnavailable:
        return None


def _user_of(config: Config, name: str, model: str | None) -> WatchedModel | None:
    """The model that a reference is calibrated for: the one named, or the first that uses it; None where none does."""
    if model is not None:
        return chosen_model(config, model)
    return next((watched for watched in config.models if watched.reference == name), None)


def _calibrate(directory: Path, watched: WatchedModel | None) -> None:
    """Learn the levels of a reference for the model that uses it, keep them beside it, and say what they rest on."""
    from visiondrift.calibration_file import save_calibration
    from visiondrift.calibrator import ImmediateCalibrations
    from visiondrift.shelf import request_of

    if watched is None:
        typer.echo(f"not calibrated: no model in the configuration has the reference {directory.name}")
        return
    # What made its embeddings was said when it was built; here its rows alone count.
    request = request_of(directory, watched, embedder=None)
    answer = ImmediateCalibrations(lambda step: typer.echo(f"{step} ...", err=True)).of(request)
    if answer.calibrated is None:
        typer.echo(f"not calibrated: {answer.why}")
        return
    save_calibration(directory, answer.calibrated, request.plan)
    _say_slices(request.plan.settings.slices, tuple(request.sample.slices))
    silent = {
        slice_name(calibration.label, target) if calibration.label and target != ALL_SLICES else ALL_SLICES: why
        for calibration in answer.calibrated.labels.values()
        for target in calibration.scores
        if (why := calibration.why_silent(target))
    }
    labels = answer.calibrated.labels.values()
    can_judge = any(calibration.judged(target) for calibration in labels for target in calibration.scores)
    if can_judge:
        typer.echo(f"calibrated for {watched.name}: `visiondrift reference show {directory.name}` says what it can see")
    else:
        typer.echo(f"nothing can be judged against it for {watched.name}, of no slice")
    for name, why in sorted(silent.items()):
        typer.echo(f"not of {name}: {why}" if can_judge else f"{name}: {why}")
    given = request.sample.labels
    if given is not None and (given >= 0).any() and answer.calibrated.performance is None:
        typer.echo(f"accuracy is not estimated: {answer.calibrated.why_no_performance}")


def _say_slices(asked: tuple[str, ...], there: tuple[str, ...]) -> None:
    """Say which slices a reference is not told apart by: cameras taken for one seem to jump from frame to frame."""
    for label in asked:
        if label not in there:
            typer.echo(
                f"slices: the reference has no text column {label}: all events are taken for those of one camera"
            )
    if not asked and there:
        typer.echo(
            f"slices: the reference has the text columns {', '.join(there)}, of which monitoring.yml names none under "
            "slices: all events are taken for those of one camera"
        )


def _identity(config: Config, model: str | None) -> str:
    """What made the embeddings of a file or a log: the model's own word for it, or the configured CLIP."""
    from visiondrift.intake.embedder import embedder_of

    if model is None and all(watched.embedding is None for watched in config.models):
        return embedder_of(config).identity
    if model is None and len(config.models) > 1:
        names = ", ".join(watched.name for watched in config.models)
        raise BadInput(f"--model or --embedder: say what made the embeddings; the models are {names}")
    watched = chosen_model(config, model)
    return watched.embedding.name if watched.embedding else embedder_of(config).identity


def _identity_of_images(config: Config, model: str | None) -> str:
    """The configured CLIP, which is what embeds the images here."""
    from visiondrift.intake.embedder import embedder_of

    watched = chosen_model(config, model) if model or len(config.models) == 1 else None
    if watched and watched.embedding:
        raise BadInput(
            f"--images: {watched.name} sends embeddings of its own ({watched.embedding.name}), which cannot be made "
            "here; accepted are --parquet FILE and --from-log"
        )
    return embedder_of(config).identity


def _from_images(
    config: Config,
    name: str,
    files: list[Path],
    taken: NDArray[np.float64] | None,
    damaged: Damaged,
    *,
    within: Path,
    slices: SliceValues | None,
) -> tuple[Sample, dict[int, bytes]]:
    """The sample of ``files`` below ``within``, and row -> picture of some of its rows where pictures are wanted.

    ``taken`` (n,) is when the images were taken; None where that is not known. ``slices`` maps a label to values (n,).
    Images that cannot be read are left out and noted in ``damaged``. Raises BadInput where they are many.
    """
    from visiondrift.intake.embedder import embedder_of
    from visiondrift.intake.image_stats import measured

    embedder = embedder_of(config)
    pictures: dict[int, bytes] = {}
    try:
        stats: list[ImageStats] = []
        images = measured(_decoded(files, config.monitoring.intake, damaged), stats)
        if _keeps_thumbnails(config, name):
            images = _pictured(images, config.monitoring.thumbnails.side, len(files), pictures)
        embeddings = embedder.embed(images)
    finally:
        embedder.close()
    is_whole = np.array([file not in damaged for file in files], dtype=bool)
    files = [file for file in files if file not in damaged]
    times = np.array([file.stat().st_mtime for file in files]) if taken is None else taken[is_whole]
    order = np.argsort(times, kind="stable")
    sample = Sample(
        times=times,
        ids=np.array([file.relative_to(within).as_posix() for file in files], dtype=object),
        slices={label: values[is_whole] for label, values in (slices or {}).items()},
        classes=(),
        embeddings=embeddings,
        confidences=np.zeros((len(files), 0), dtype=np.float32),
        predicted=np.full(len(files), -1, dtype=np.int32),
        latency_ms=np.full(len(files), np.nan),
        properties=np.stack([one.properties for one in stats]),
        layouts=np.stack([one.layout for one in stats]),
    ).take(order)
    return sample, {row: pictures[file] for row, file in enumerate(order.tolist()) if file in pictures}


def _with_confidences(sample: Sample, said: Collected, classes: tuple[str, ...]) -> Sample:
    """The same with what a model said of the images when they were collected; NaN where it was not asked.

    Columns are ``classes``, or where there are none the classes in the order in which they come up.
    """
    given = [said.confidences.get(str(name), {}) for name in sample.ids]
    known = np.array([bool(own) for own in given], dtype=bool)
    if not known.any():
        return sample
    classes = classes or tuple(dict.fromkeys(name for own in given for name in own))
    confidences = np.array([[own.get(name, np.nan) for name in classes] for own in given], dtype=np.float32)
    predicted = np.full(len(sample), -1, dtype=np.int32)
    predicted[known] = np.nanargmax(confidences[known], axis=1)
    typer.echo(f"{known.sum():,} of {len(sample):,} images have confidences, from {MANIFEST}", err=True)
    return replace(sample, classes=classes, confidences=confidences, predicted=predicted)


def _keeps_thumbnails(config: Config, name: str) -> bool:
    """Whether a model that uses the reference keeps thumbnails; of one that none uses, what a new model would do."""
    kept = [watched.keep_thumbnails for watched in config.models if watched.reference == name]
    return max(kept, default=config.monitoring.thumbnails.keep) > 0


def _pictured(
    images: Iterable[Image.Image], side: int, count: int, pictures: dict[int, bytes]
) -> Iterator[Image.Image]:
    """The same ``count`` images; small ones of some of them, evenly spread, are put into ``pictures`` by number."""
    from visiondrift.drift.thinning import evenly
    from visiondrift.intake.thumbnails import small_jpeg

    wanted = set(evenly(count, MOST_PICTURES).tolist())
    for number, image in enumerate(images):
        if number in wanted:
            pictures[number] = small_jpeg(image, side)
        yield image


def _chance_chose(folder: Path, said: Collected) -> list[Path]:
    """The images of ``folder``, without those that `collect` kept for what they show.

    Raises BadInput where none is left.
    """
    files = _image_files(folder)
    left = [file for file in files if file.relative_to(folder).as_posix() not in said.biased]
    if not left:
        raise BadInput(
            f"{folder}: all {len(files):,} images were kept for what they show ({MANIFEST}), and say nothing of what "
            "is usual; accepted are images that chance or the clock chose (`collect --uniform`, `--every`)"
        )
    if len(left) < len(files):
        typer.echo(f"{len(files) - len(left):,} images that were kept for what they show are left out", err=True)
    return left


def _capture_times(folder: Path, files: list[Path], said: Collected) -> NDArray[np.float64] | None:
    """When the images were taken (n,), in seconds since the epoch; None where the folder does not say so of each."""
    times = [said.times.get(file.relative_to(folder).as_posix()) for file in files]
    known = [time for time in times if time is not None]
    if known and len(known) < len(files):
        typer.echo(
            f"of {len(files) - len(known):,} of {len(files):,} images {MANIFEST} does not say when they were taken: "
            "the times of the files are used, and no hours are learnt",
            err=True,
        )
    return np.array(known) if len(known) == len(files) else None


def _slice_values(folder: Path, files: list[Path], said: Collected, label: str) -> SliceValues:
    """The values (n,) of a label: as they were sent to the model, or else the sub-folder; "" where there is neither."""
    values = []
    for file in files:
        below = file.relative_to(folder)
        sent = said.slices.get(below.as_posix(), {}).get(label)
        values.append(sent or (below.parts[0] if len(below.parts) > 1 else ""))
    return {label: np.array(values, dtype=object)}


def _image_files(folder: Path) -> list[Path]:
    """Every image under ``folder``, by name. Raises BadInput where there is none."""
    if not folder.is_dir():
        raise BadInput(f"{folder}: it is no folder; accepted is a folder of images")
    images = sorted(path for path in folder.rglob("*") if path.suffix.lower() in IMAGES and path.is_file())
    files = [path for path in images if path.suffix.lower() in SENT]
    others = [path for path in images if path.suffix.lower() not in SENT]
    if others:
        typer.echo(
            f"left out, as they do not end in {', '.join(SENT)}: {len(others):,} images; the first: {others[0]}. "
            f"`visiondrift collect {folder} --uniform 1 --to-folder ...` makes a folder of JPEG files of them all",
            err=True,
        )
    if not files:
        raise BadInput(f"{folder}: no image found; accepted are files that end in {', '.join(SENT)}")
    return files


def _decoded(files: Sequence[Path], bounds: IntakeConfig, damaged: Damaged) -> Iterator[Image.Image]:
    """One image at a time: a folder of them does not fit into memory. Those that cannot be read go into ``damaged``.

    Raises BadInput where those are more than one and more than a tenth, or all.
    """
    from visiondrift.intake.decode import decode_image
    from visiondrift.intake.refusal import Refused

    count = 0
    for file in files:
        try:
            yield decode_image(file.read_bytes(), max_bytes=bounds.max_image_bytes, max_pixels=bounds.max_image_pixels)
        except (Refused, OSError) as error:
            damaged[file] = str(error)
            count += 1
            if count > max(1, _MOST_DAMAGED * len(files)) or count == len(files):
                raise BadInput(
                    f"{file}: {error}; with it {count:,} of {len(files):,} images cannot be read. Were they "
                    "copied whole? Accepted is that one is damaged, or a tenth of them"
                ) from error


def _tell(text: str) -> None:
    typer.echo(text, err=True)


def _tell_damaged(damaged: Damaged) -> None:
    if damaged:
        file, why = next(iter(damaged.items()))
        typer.echo(f"left out, as they cannot be read: {len(damaged):,} images; the first: {file}: {why}", err=True)
