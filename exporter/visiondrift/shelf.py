"""Keeps each model's reference ready for use with its calibration, and notices when the one on disk is another."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from visiondrift.calibrator import Answer, Calibrations, Request, block_rule
from visiondrift.config import Config
from visiondrift.config.monitoring import WatchedModel
from visiondrift.config.units import parse_duration
from visiondrift.drift.calibrate import CalibrationPlan
from visiondrift.drift.evaluation import PreparedReference, Settings
from visiondrift.publish.snapshot import ReferenceState
from visiondrift.reference import MANIFEST_FILE, Manifest, load_reference
from visiondrift.witness_file import WITNESS_FILE, KeptWitnesses, load_witnesses


@dataclass(frozen=True, eq=False)
class Shelved:
    """A reference ready for use, and everything that it hangs on: where ``origin`` differs, it is read anew."""

    prepared: PreparedReference
    state: ReferenceState
    origin: tuple[object, ...]
    manifest: Manifest
    directory: Path
    kept: KeptWitnesses | None = None


class Shelf:
    """The references in use, one a model. ``embedder_of`` says what makes a model's embeddings. For one thread."""

    def __init__(self, embedder_of: Callable[[WatchedModel], str], calibrations: Calibrations) -> None:
        self._embedder_of = embedder_of
        self._calibrations = calibrations
        self._kept: dict[str, Shelved] = {}

    def take(self, config: Config, model: WatchedModel) -> Shelved:
        """The reference of ``model`` as it is on disk now, read again only where its manifest is another.

        Raises ReferenceUnusable, and EmbedderUnavailable where it cannot be said what it must have been made with.
        """
        directory = config.path(config.monitoring.reference_data) / model.reference
        embedder = self._embedder_of(model)
        stamps = (_stamp(directory / MANIFEST_FILE), _stamp(directory / WITNESS_FILE))
        origin = (directory, embedder, model.embedding, model.classes, model.slices, stamps)
        kept = self._kept.get(model.name)
        if kept is None or kept.origin != origin:
            # The old one goes first: two at a time may be more than the memory has room for.
            self._kept.pop(model.name, None)
            kept = self._kept[model.name] = _load(directory, model, embedder, origin)
        return kept

    def calibration(self, shelved: Shelved, model: WatchedModel) -> Answer:
        """The calibration of a reference for a model, or why there is none."""
        return self._calibrations.of(_request(shelved, model))

    def keep_only(self, models: Iterable[str]) -> None:
        """Let go of the references of every other model."""
        wanted = set(models)
        self._kept = {name: kept for name, kept in self._kept.items() if name in wanted}


def settings_of(model: WatchedModel) -> Settings:
    """What a model's configuration says about its scores."""
    return Settings(
        classes=model.classes,
        slices=model.slices,
        low_confidence_below=model.low_confidence_below,
        column_threshold=model.column_threshold,
        max_classes=model.max_classes,
    )


def request_of(directory: Path, model: WatchedModel, *, embedder: str | None) -> Request:
    """What is to be calibrated of the reference in ``directory`` for a model. Raises ReferenceUnusable."""
    return _request(_load(directory, model, embedder, ()), model)


def _request(shelved: Shelved, model: WatchedModel) -> Request:
    return Request(
        model=model.name,
        directory=shelved.directory,
        content_hash=shelved.manifest.content_hash,
        sample=shelved.prepared.sample,
        plan=replace(plan_of(model, shelved.manifest), witnesses=shelved.kept.identity if shelved.kept else ""),
        witnesses=shelved.kept.witnesses if shelved.kept else None,
    )


def plan_of(model: WatchedModel, manifest: Manifest) -> CalibrationPlan:
    """Everything that the calibration of a reference for a model hangs on, beside its rows."""
    try:
        seconds: float | None = parse_duration(model.block)
    except ValueError:
        seconds = None
    return CalibrationPlan(
        settings_of(model),
        block_rule(model.block, seconds=seconds, timed=manifest.times == "capture"),
        windows=model.window_lengths,
    )


def _load(directory: Path, model: WatchedModel, embedder: str | None, origin: tuple[object, ...]) -> Shelved:
    reference = load_reference(
        directory,
        embedder=embedder,
        dimension=model.embedding.dimension if model.embedding else None,
        classes=model.classes or None,
    )
    manifest = reference.manifest
    return Shelved(
        PreparedReference.from_sample(reference.sample, settings_of(model), timed=manifest.times == "capture"),
        ReferenceState(model.reference, manifest.rows, manifest.created_seconds),
        origin,
        manifest,
        directory,
        witnesses_of(directory, manifest),
    )


def witnesses_of(directory: Path, manifest: Manifest) -> KeptWitnesses | None:
    """What was learnt of faults for the reference in ``directory``; with another embedder's it cannot be asked."""
    kept = load_witnesses(directory)
    return kept if kept and kept.embedder in {"", manifest.embedder} else None


def _stamp(manifest: Path) -> tuple[int, int, int] | None:
    """What tells one file from its successor; None where there is none."""
    try:
        found = manifest.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_ino, found.st_size
