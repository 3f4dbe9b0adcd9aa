"""Keeps each model's reference ready for use, and notices when the one on disk has become another."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from visiondrift.config import Config
from visiondrift.config.monitoring import WatchedModel
from visiondrift.drift.evaluation import PreparedReference, Settings
from visiondrift.publish.snapshot import ReferenceState
from visiondrift.reference import MANIFEST_FILE, load_reference


@dataclass(frozen=True, eq=False)
class Shelved:
    """A reference ready for use, and everything that it hangs on: where ``origin`` differs, it is read anew."""

    prepared: PreparedReference
    state: ReferenceState
    origin: tuple[object, ...]


class Shelf:
    """The references in use, one a model. ``embedder_of`` says what makes a model's embeddings. For one thread."""

    def __init__(self, embedder_of: Callable[[WatchedModel], str]) -> None:
        self._embedder_of = embedder_of
        self._kept: dict[str, Shelved] = {}

    def take(self, config: Config, model: WatchedModel) -> Shelved:
        """The reference of ``model`` as it is on disk now, read again only where its manifest is another.

        Raises ReferenceUnusable, and EmbedderUnavailable where it cannot be said what it must have been made with.
        """
        directory = config.path(config.monitoring.reference_data) / model.reference
        embedder = self._embedder_of(model)
        origin = (directory, embedder, model.embedding, model.classes, model.slices, _stamp(directory / MANIFEST_FILE))
        kept = self._kept.get(model.name)
        if kept is None or kept.origin != origin:
            # The old one goes first: two at a time may be more than the memory has room for.
            self._kept.pop(model.name, None)
            kept = self._kept[model.name] = _load(directory, model, embedder, origin)
        return kept

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


def _load(directory: Path, model: WatchedModel, embedder: str, origin: tuple[object, ...]) -> Shelved:
    reference = load_reference(
        directory,
        embedder=embedder,
        dimension=model.embedding.dimension if model.embedding else None,
        classes=model.classes or None,
    )
    manifest = reference.manifest
    return Shelved(
        PreparedReference.from_sample(reference.sample, settings_of(model)),
        ReferenceState(model.reference, manifest.rows, manifest.created_seconds),
        origin,
    )


def _stamp(manifest: Path) -> tuple[int, int, int] | None:
    """What tells one file from its successor; None where there is none."""
    try:
        found = manifest.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_ino, found.st_size
