"""Runs a collection from the command line: builds its parts, shows how it goes, and ends on Ctrl-C with a summary."""

import signal
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, TaskProgressColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bars

from visiondrift.cli.tables import console, table_of
from visiondrift.collect.delivery import ExporterSink
from visiondrift.collect.keep import Policy
from visiondrift.collect.likeness import Looker
from visiondrift.collect.model_server import ModelServer
from visiondrift.collect.run import Collector, Job, Judged, Progress
from visiondrift.collect.sinks import FolderSink, Sink
from visiondrift.collect.sources import Missing, Source, check_source
from visiondrift.config import Config
from visiondrift.config.collect import SourceConfig, usual_look
from visiondrift.config.monitoring import WatchedModel
from visiondrift.config.units import format_duration
from visiondrift.errors import BadInput, ReferenceUnusable, VisionDriftError
from visiondrift.intake.embedder import Embedder, embedder_of
from visiondrift.reference import load_direction, rfc3339

_REFRESH = 0.5
_PLAIN_EVERY = 10.0
_QUANTILES = (0.0, 0.05, 0.25, 0.5, 0.75, 0.95, 1.0)
_FAILED = 1
_ONE_WISH = 1.0


@dataclass(frozen=True)
class Places:
    """Where kept frames go: a folder, an exporter with its token, both, or neither."""

    folder: Path | None = None
    exporter: str | None = None
    token_file: Path | None = None

    def or_else(self, other: "Places") -> "Places":
        """These, and where nothing is said the ``other``'s."""
        return Places(self.folder or other.folder, self.exporter or other.exporter, self.token_file or other.token_file)


def jobs_of_settings(config: Config, sources: Sequence[SourceConfig]) -> tuple[Job, ...]:
    """What ``collect.sources`` of monitoring.yml says is to be done. Raises BadInput where a password is missing."""
    bounds = config.monitoring.intake
    return tuple(
        Job(
            Source(
                name=one.name,
                address=one.url or str(config.path(one.path or Path())),
                look=one.look or usual_look(one.every),
                start=one.start,
                watch=one.watch,
                max_pixels=bounds.max_image_pixels,
                max_bytes=bounds.max_image_bytes,
                password=_secret(config.path(one.password_file)) if one.password_file else None,
            ),
            Policy(
                every=one.every,
                uniform=one.uniform,
                prompts=one.prompts,
                threshold=one.threshold,
                similar=one.similar,
                unlike=one.unlike,
                distinct=one.distinct,
            ),
            one.model,
            one.version,
            tuple(sorted(one.slices.items())),
            one.model_server,
        )
        for one in sources
    )


def collect_frames(
    config: Config, jobs: Sequence[Job], places: Places, *, dry_run: bool, max_frames: int | None
) -> int:
    """Collect until the end or a signal, and print a summary. The exit status. Raises BadInput before anything runs."""
    _check_sources(jobs)
    for job in jobs:
        _check_policy(job.policy, dry_run=dry_run)
        _check_apart(job.source, places.folder)
    if not (dry_run or places.folder or places.exporter):
        raise BadInput("kept frames would go nowhere; accepted are --to-folder, --to-exporter, and --dry-run")
    stop = threading.Event()
    embedder = embedder_of(config)
    display = _Display(is_dry=dry_run)
    try:
        looker = _looker(config, jobs, embedder, display, look_at_all=dry_run)
        with _stopped_by_signals(stop):
            with display:
                # While one frame waits, so do those of all sources, and a live one has no places for more than a few.
                waits = not any(job.source.is_url for job in jobs)
                servers = [
                    _server(config, job, stop, display, waits=waits) if job.server and not dry_run else None
                    for job in jobs
                ]
                sinks = [] if dry_run else _sinks(config, places, stop, display)
                collector = Collector(
                    jobs,
                    sinks,
                    looker=looker,
                    servers=servers,
                    stop=stop,
                    tell=display.tell,
                    judged=display.judged,
                    look_at_all=dry_run,
                    max_frames=max_frames,
                )
                display.follow(collector.progress)
                _tell_unseen(jobs, sinks, display)
                collector.run()
            _summarise(collector.progress, sinks)
    finally:
        embedder.close()
    return _status(collector.progress, sinks)


def _check_sources(jobs: Sequence[Job]) -> None:
    """Raises BadInput where a source can give no frames. One of several that is only missing fails by itself, later."""
    missing = []
    for job in jobs:
        try:
            check_source(job.source)
        except Missing as error:
            missing.append(error)
    if missing and len(missing) == len(jobs):
        raise missing[0]


def _check_policy(policy: Policy, *, dry_run: bool) -> None:
    if dry_run:
        return
    if policy.prompts and policy.threshold is None:
        raise BadInput("--prompt: from which cosine on is a frame kept? Give --threshold; --dry-run helps to choose")
    if policy.threshold is not None and not policy.prompts:
        raise BadInput("--threshold: of which words? Give --prompt")
    if not policy.keeps_something:
        raise BadInput("no frame would be kept; accepted are --every, --uniform, --prompt, --similar and --unlike")


def _check_apart(source: Source, folder: Path | None) -> None:
    """Raises BadInput where kept frames would be frames of their own source."""
    if folder is None or source.is_url:
        return
    read = Path(source.address).resolve()
    if read.is_dir() and folder.resolve().is_relative_to(read):
        raise BadInput(f"{folder} lies in {read}, which is read: what is kept would be read again; accepted is another")


def _tell_unseen(jobs: Sequence[Job], sinks: Sequence[Sink], display: "_Display") -> None:
    """Say which sources an exporter will judge neither for drift nor for the health of their camera."""
    for job in jobs if any(isinstance(sink, ExporterSink) for sink in sinks) else ():
        if not job.policy.leaves_unbiased:
            display.tell(
                f"{job.source.name}: all of it is chosen for what it shows, so no drift window and no camera health "
                "reads it; uniform, or every without distinct, adds what they read"
            )


def _looker(
    config: Config, jobs: Sequence[Job], embedder: Embedder, display: "_Display", *, look_at_all: bool
) -> Looker | None:
    """What embeds and compares, where any policy needs it; CLIP is loaded now, so that its problems come first."""
    if not (look_at_all or any(job.policy.needs_embedding for job in jobs)):
        return None
    embedder.load()
    return Looker(
        embedder,
        prompts=[job.policy.prompts for job in jobs],
        references=[
            _reference(config, job, embedder, display) if look_at_all or job.policy.needs_reference else None
            for job in jobs
        ],
    )


def _reference(config: Config, job: Job, embedder: Embedder, display: "_Display") -> NDArray[np.float32] | None:
    """The mean direction of the reference of a job's model. Where the job's policy does not need it, None, with the
    reason told, where it cannot be had; else raises ReferenceUnusable or BadInput.
    """
    watched = next((model for model in config.models if model.name == job.model), None)
    if watched is None:
        return None
    directory = config.path(config.monitoring.reference_data) / watched.reference
    try:
        # Its embeddings must be of the CLIP that embeds here, even where the model's client makes others.
        return load_direction(directory, embedder=embedder.identity, dimension=embedder.dimension)
    except (ReferenceUnusable, BadInput) as error:
        problem = _problem(error, watched, embedder)
        if job.policy.needs_reference:
            raise problem from None
        display.tell(f"{job.source.name}: no cosine to the reference is shown: {problem}")
        return None


def _problem(error: VisionDriftError, watched: WatchedModel, embedder: Embedder) -> VisionDriftError:
    """Why frames cannot be compared with a reference. To build it anew helps only where CLIP embeds for the model."""
    if watched.embedding is None:
        return error
    return BadInput(
        f"{watched.name} sends embeddings of its own ({watched.embedding.name}), and frames are embedded by "
        f"{embedder.identity} here, so they cannot be compared with its reference; --similar and --unlike need that"
    )


def _sinks(config: Config, places: Places, stop: threading.Event, display: "_Display") -> list[Sink]:
    sinks: list[Sink] = []
    if places.folder is not None:
        sinks.append(FolderSink(places.folder, display.tell, config.monitoring.collect.folder_max_size))
    if places.exporter is not None:
        token = _secret(places.token_file) if places.token_file else None
        sinks.append(ExporterSink(places.exporter, token=token, stop=stop, tell=display.tell))
    return sinks


def _server(config: Config, job: Job, stop: threading.Event, display: "_Display", *, waits: bool) -> ModelServer:
    """The model server of a job, asked once. Raises BadInput where it cannot serve the job's model."""
    assert job.server is not None  # noqa: S101 - the caller has asked
    classes = next((watched.classes for watched in config.models if watched.name == job.model), ())
    server = ModelServer(
        job.server,
        model=job.model,
        classes=classes,
        tell=display.tell,
        stop=stop,
        waits=waits and not job.source.watch,
    )
    server.open()
    return server


def _secret(file: Path) -> str:
    try:
        text = file.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise BadInput(f"{file} cannot be read ({reason}); accepted is a file that holds the secret") from error
    if not text:
        raise BadInput(f"{file} is empty; accepted is a file that holds the secret")
    return text


@contextmanager
def _stopped_by_signals(stop: threading.Event) -> Iterator[None]:
    """The first SIGINT or SIGTERM ends the collection in order; a later one does what it always does.

    Not one within a second: `timeout` and others signal a program and then its whole group.
    """
    before: dict[int, Any] = {}
    first: float | None = None

    def end(number: int, _frame: FrameType | None) -> None:
        nonlocal first
        if first is None:
            first = time.monotonic()
            stop.set()
        elif time.monotonic() - first > _ONE_WISH:
            signal.signal(number, before[number])
            signal.raise_signal(number)

    for number in (int(signal.SIGINT), int(signal.SIGTERM)):
        before[number] = signal.signal(number, end)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class _Display:
    """What is shown while it runs: bars on a terminal, else a line now and then; all on the error output.

    A dry run prints each frame as a line of the ordinary output.
    """

    def __init__(self, *, is_dry: bool) -> None:
        self._is_dry = is_dry
        self._console = Console(stderr=True, highlight=False, soft_wrap=True)
        self._out = console()
        self._bars = Bars(
            BarColumn(bar_width=20),
            TaskProgressColumn(),
            TextColumn("{task.description}"),
            TimeElapsedColumn(),
            console=self._console,
            transient=True,
            disable=not self._console.is_terminal,
        )
        self._tasks: list[Any] = []
        self._progress: tuple[Progress, ...] = ()
        self._shown_at = time.monotonic()

    def __enter__(self) -> "_Display":
        self._bars.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bars.stop()

    def follow(self, progress: tuple[Progress, ...]) -> None:
        """Show how these go on."""
        self._progress = progress
        # Without a total the bar moves and claims nothing: how long a camera goes on nobody knows.
        self._tasks = [self._bars.add_task(escape(_words(one)), total=None) for one in progress]

    def tell(self, sentence: str) -> None:
        """A sentence for a person; called from any thread."""
        self._console.print(f"{rfc3339(time.time())} {sentence}", markup=False)

    def judged(self, one: Judged) -> None:
        """A frame was looked at."""
        if self._is_dry:
            self._out.print(_dry_line(one), markup=False, soft_wrap=True)
        every = _REFRESH if self._console.is_terminal else _PLAIN_EVERY
        if time.monotonic() - self._shown_at < every:
            return
        self._shown_at = time.monotonic()
        for task, progress in zip(self._tasks, self._progress, strict=True):
            share = progress.tally.share
            total = None if share is None else 1.0
            self._bars.update(task, description=escape(_words(progress)), total=total, completed=share or 0.0)
        if not self._console.is_terminal and not self._is_dry:
            self.tell("; ".join(map(_words, self._progress)))


def _words(progress: Progress) -> str:
    tally = progress.tally
    counts = [f"{tally.looked:,} looked at", f"{progress.kept:,} kept"]
    counts += [f"{tally.corrupt:,} damaged"] if tally.corrupt else []
    counts += [f"{tally.missed:,} missed"] if tally.missed else []
    counts += [f"{progress.unanswered:,} without confidences"] if progress.unanswered else []
    return f"{progress.job.source.name} ({tally.state}): {', '.join(counts)}"


def _dry_line(one: Judged) -> str:
    parts = [rfc3339(one.frame.time), one.job.source.name]
    if one.likeness is not None:
        if one.likeness.reference is not None:
            parts.append(f"reference {one.likeness.reference:.3f}")
        named = zip(one.job.policy.prompts, one.likeness.prompts, strict=True)
        parts += [f'"{prompt}" {cosine:.3f}' for prompt, cosine in named]
    if one.frame.name:
        parts.append(one.frame.name)
    if one.reasons:
        parts.append(f"kept: {', '.join(one.reasons)}")
    return "  ".join(parts)


def _summarise(progress: Sequence[Progress], sinks: Sequence[Sink]) -> None:
    out = console()
    numbers = ("looked at", "damaged", "missed", "kept")
    table = table_of("source", *numbers, "why", "state", numbers=numbers)
    for one in progress:
        why = ", ".join(f"{reason} {count:,}" for reason, count in one.reasons.most_common())
        why += f"; {one.unanswered:,} without confidences" if one.unanswered else ""
        state = f"{one.tally.state}: {one.tally.problem}" if one.tally.problem else one.tally.state
        given = (one.tally.looked, one.tally.corrupt, one.tally.missed, one.kept)
        table.add_row(escape(one.job.source.name), *(f"{count:,}" for count in given), why, escape(state))
    out.print(table)
    for one in filter(_is_of_one_moment, progress):
        out.print(
            f"{one.job.source.name}: every kept one of {one.tally.looked:,} images, as their files were all written by "
            f"{rfc3339(one.latest)} within {format_duration(one.job.policy.every or 0.0)}; were they copied? "
            "uniform goes by chance",
            markup=False,
            soft_wrap=True,
        )
    rows = [row for one in progress for row in _cosine_rows(one)]
    if rows:
        quantiles = tuple("least" if q == 0 else "largest" if q == 1 else f"{q:.0%}" for q in _QUANTILES)
        likes = table_of("source", "cosine to", *quantiles, numbers=quantiles, title="What the frames resemble")
        for row in rows:
            likes.add_row(*row)
        out.print(likes)
    for sink in sinks:
        counts = ", ".join(f"{count:,} {word.replace('_', ' ')}" for word, count in sink.counts.items())
        problem = f"; {sink.problem}" if sink.problem else ""
        out.print(f"{sink.name}: {counts or 'nothing'}{problem}", markup=False, soft_wrap=True)


def _is_of_one_moment(one: Progress) -> bool:
    """Whether ``every`` had no chance: of images that were copied, all are of the time of the copying."""
    every = one.job.policy.every
    kept_one = every is not None and one.latest - one.earliest < every and one.reasons["every"] == 1
    return kept_one and _is_of_images(one) and one.tally.looked > 1


def _is_of_images(one: Progress) -> bool:
    source = one.job.source
    return not source.is_url and Path(source.address).is_dir()


def _cosine_rows(progress: Progress) -> Iterator[tuple[str, ...]]:
    if not progress.cosines:
        return
    found = np.quantile(np.array(progress.cosines), _QUANTILES, axis=0)
    names = [f'"{prompt}"' for prompt in progress.job.policy.prompts]
    names += ["the reference"] if found.shape[1] > len(names) else []
    for name, column in zip(names, found.T, strict=True):
        yield escape(progress.job.source.name), escape(name), *(f"{value:.3f}" for value in column)


def _status(progress: Sequence[Progress], sinks: Sequence[Sink]) -> int:
    failed = any(
        one.tally.problem
        or not (one.tally.looked or one.job.source.watch)
        or (one.tally.corrupt and _is_of_images(one))  # a damaged frame of a stream is nothing special
        or one.unanswered
        for one in progress
    )
    lost = any(sink.problem or sink.counts["lost"] or sink.counts["rejected"] for sink in sinks)
    return _FAILED if failed or lost else 0
