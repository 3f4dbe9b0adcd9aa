"""``collect``: frames in from cameras, videos and folders, of which some are kept."""

import re
import time
from collections.abc import Iterable, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

import typer

from visiondrift.cli.config import DEFAULT_CONFIG, ConfigOption, chosen_model
from visiondrift.cli.files import moment
from visiondrift.config import Config, load_config
from visiondrift.config.collect import ModelServerConfig, is_stream, shown_address, usual_look
from visiondrift.config.entries import LABEL_WORDS, NAME, NAME_WORDS, is_label
from visiondrift.config.monitoring import WatchedModel
from visiondrift.config.units import format_duration, parse_duration
from visiondrift.config.words import did_you_mean, one_of
from visiondrift.errors import BadInput
from visiondrift.prediction import Slices

app = typer.Typer()

_BESIDE_SETTINGS = frozenset({"source", "config", "to_folder", "to_exporter", "token_file", "dry_run", "max_frames"})
"""What may be said on the command line of sources that stand in monitoring.yml."""

_LONGEST_WORD = 54
"""Characters of a name before the digest of its address: 63 in all, as of names in monitoring.yml."""


@app.command()
def collect(
    context: typer.Context,
    source: Annotated[
        str | None, typer.Argument(help="A stream's URL, a video, an image, a folder, or a source in monitoring.yml.")
    ] = None,
    config: ConfigOption = DEFAULT_CONFIG,
    look: Annotated[
        str | None,
        typer.Option(help="How often a frame of a stream or video is looked at: 1s, or as --every where finer."),
    ] = None,
    every: Annotated[str | None, typer.Option(help="Keep a frame every so often: 10s.")] = None,
    uniform: Annotated[float | None, typer.Option(help="Keep this share of them, by chance.", min=0.0, max=1.0)] = None,
    prompt: Annotated[list[str] | None, typer.Option(help="Keep frames that show this; may be repeated.")] = None,
    threshold: Annotated[float | None, typer.Option(help="Least cosine to a prompt.", min=-1.0, max=1.0)] = None,
    similar: Annotated[
        float | None, typer.Option(help="Keep frames of at least this cosine to the reference.", min=-1.0, max=1.0)
    ] = None,
    unlike: Annotated[
        float | None, typer.Option(help="Keep frames of at most this cosine to the reference.", min=-1.0, max=1.0)
    ] = None,
    distinct: Annotated[
        float | None,
        typer.Option(help="Drop frames this like one kept before, by cosine; never uniform ones.", min=-1.0, max=1.0),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of the chance of --uniform.")] = 0,
    start: Annotated[str | None, typer.Option(help="When a recording began: RFC 3339, how long ago, or now.")] = None,
    watch: Annotated[bool, typer.Option("--watch", help="Wait for new images in the folder.")] = False,
    name: Annotated[str | None, typer.Option(help="The source's name; from its address where left out.")] = None,
    model: Annotated[str | None, typer.Option(help="Whose events the frames are; which of several.")] = None,
    version: Annotated[str, typer.Option(help="The version of that model.")] = "1",
    slices: Annotated[
        list[str] | None, typer.Option("--slice", help="A slice of the events: camera=platform-2; may be repeated.")
    ] = None,
    model_server: Annotated[str | None, typer.Option(help="Ask a model server for confidences.")] = None,
    protocol: Annotated[
        Literal["kserve", "json"], typer.Option(help="How it is asked: KServe v2 over HTTP, or plain JSON.")
    ] = "kserve",
    to_folder: Annotated[Path | None, typer.Option(help="Keep frames in this folder, with a manifest.")] = None,
    to_exporter: Annotated[str | None, typer.Option(help="Send frames to the exporter at this address.")] = None,
    token_file: Annotated[Path | None, typer.Option(help="File with the token that the exporter asks for.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Keep nothing; print what each frame resembles.")] = False,
    max_frames: Annotated[int | None, typer.Option(min=1, help="End after looking at so many frames.")] = None,
) -> None:
    """Collect until all sources end, or Ctrl-C. Exits 0; 1 where something did not come through; 3 on bad input."""
    from visiondrift.cli.collecting import Places, collect_frames, jobs_of_settings
    from visiondrift.collect.keep import Policy
    from visiondrift.collect.run import Job
    from visiondrift.collect.sources import Source

    loaded = load_config(config)
    settings = loaded.monitoring.collect
    configured = {one.name: one for one in settings.sources}
    policy = Policy(
        every=None if every is None else _seconds("--every", every),
        uniform=uniform,
        prompts=tuple(prompt or ()),
        threshold=threshold,
        similar=similar,
        unlike=unlike,
        distinct=distinct,
        seed=seed,
    )
    if policy.uniform == 0:
        raise BadInput("--uniform 0: no frame would be kept by chance; accepted is a share above 0 and at most 1")
    if not all(text.strip() for text in policy.prompts):
        raise BadInput("--prompt: there are no words in it; accepted is a text such as 'a train'")
    places = Places(to_folder, to_exporter, token_file)
    if source is None or source in configured:
        if not configured:
            raise BadInput("there is nothing to read: name a URL or a path, or list collect.sources in monitoring.yml")
        _check_nothing_beside(context, source)
        chosen = settings.sources if source is None else (configured[source],)
        jobs = jobs_of_settings(loaded, chosen)
        places = places.or_else(
            Places(
                settings.folder and loaded.path(settings.folder),
                settings.exporter,
                settings.token_file and loaded.path(settings.token_file),
            )
        )
    else:
        _check_known(source, configured)
        bounds = loaded.monitoring.intake
        if not is_label(version):
            raise BadInput(f"--version {version!r}: accepted are {LABEL_WORDS}")
        place = Source(
            name=_name_of(source) if name is None else _checked_name(name),
            address=source,
            look=_look(look, policy.every),
            start=_start(start),
            watch=watch,
            max_pixels=bounds.max_image_pixels,
            max_bytes=bounds.max_image_bytes,
        )
        watched = _model(loaded, model, needed=bool(to_exporter or model_server or slices or policy.needs_reference))
        labels = _labels(slices or (), watched)
        jobs = (Job(place, policy, watched.name if watched else "", version, labels, _server(model_server, protocol)),)
    raise typer.Exit(collect_frames(loaded, jobs, places, dry_run=dry_run, max_frames=max_frames))


def _check_nothing_beside(context: typer.Context, source: str | None) -> None:
    """Raises BadInput where options were given that a configured source has its own entries for."""
    given = [
        max(parameter.opts, key=len)
        for parameter in context.command.params
        if parameter.name and parameter.name not in _BESIDE_SETTINGS and _is_given(context, parameter.name)
    ]
    if given:
        of = "the sources" if source is None else f"the source {source}"
        raise BadInput(
            f"{', '.join(given)}: of {of} in monitoring.yml that is said there, under collect.sources; accepted beside "
            "are --to-folder, --to-exporter, --token-file, --dry-run and --max-frames"
        )


def _is_given(context: typer.Context, parameter: str) -> bool:
    where = context.get_parameter_source(parameter)
    return where is not None and where.name == "COMMANDLINE"


def _check_known(source: str, configured: Iterable[str]) -> None:
    """Raises BadInput where a source is neither a place nor one of those ``configured``, of which there are some."""
    names = list(configured)
    if names and "://" not in source and not Path(source).exists():
        raise BadInput(
            f"{source}: there is no such file or folder, and no source of that name in monitoring.yml"
            f"{did_you_mean(source, names)}; accepted is a video, an image, a folder, a URL, or {one_of(names)}"
        )


def _look(text: str | None, every: float | None) -> float:
    if text is None:
        return usual_look(every)
    look = _seconds("--look", text)
    if every is not None and every < look:
        raise BadInput(
            f"--every {format_duration(every)} --look {text}: no more is kept than is looked at; accepted is a --look "
            f"of at most {format_duration(every)}, or none"
        )
    return look


def _seconds(option: str, text: str) -> float:
    try:
        return parse_duration(text)
    except ValueError as error:
        raise BadInput(f"{option}: {error}") from error


def _server(url: str | None, protocol: Literal["kserve", "json"]) -> ModelServerConfig | None:
    if url is None:
        return None
    if not url.startswith(("http://", "https://")):
        raise BadInput(f"--model-server: {shown_address(url)} is no web address; accepted is http://HOST:PORT")
    return ModelServerConfig(url=url, protocol=protocol)


def _checked_name(name: str) -> str:
    """The same: it becomes a folder, and part of ids. Raises BadInput where it is no name."""
    if not NAME.fullmatch(name):
        raise BadInput(f"--name {name!r}: accepted is {NAME_WORDS}")
    return name


def _start(text: str | None) -> float | None:
    if text is None:
        return None
    now = time.time()
    return now if text == "now" else moment(text, now)


def _name_of(address: str) -> str:
    """A name for a source that was given none: its file, folder or host, and a short digest of the whole address.

    Two recordings are often of one name, and the channels of one host always are; without the digest their frames of
    one time would be taken for the same.
    """
    if is_stream(address):
        place, whole = urlsplit(address).hostname or "", shown_address(address)
    else:
        path = Path(address).resolve()
        place, whole = path.stem, str(path)
    word = re.sub(r"[^A-Za-z0-9._-]+", "-", place).strip("-._")[:_LONGEST_WORD] or "source"
    return f"{word}-{sha256(whole.encode(errors='surrogateescape')).hexdigest()[:8]}"


def _model(config: Config, name: str | None, *, needed: bool) -> WatchedModel | None:
    if name is None and not needed and len(config.models) > 1:
        return None
    return chosen_model(config, name)


def _labels(given: Sequence[str], model: WatchedModel | None) -> Slices:
    known = model.slices if model else ()
    pairs: dict[str, str] = {}
    for text in given:
        label, equals, value = text.partition("=")
        if not (equals and value) or label not in known:
            accepted = ", ".join(f"{label}=..." for label in known) or "none: the model has no slices"
            raise BadInput(f"--slice {text}: accepted is {accepted}")
        if not is_label(value):
            raise BadInput(f"--slice {text}: accepted are, after the first =, {LABEL_WORDS}")
        if label in pairs:
            raise BadInput(f"--slice {text}: {label}={pairs[label]} was said before; accepted is one value of a label")
        pairs[label] = value
    return tuple(sorted(pairs.items()))
