"""Prepares the witnesses of a reference: faults are learnt from images at hand, words from the configured probes."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from visiondrift.config import Config
from visiondrift.config.monitoring import IntakeConfig
from visiondrift.errors import BadInput, EmbedderUnavailable
from visiondrift.reference import Manifest, read_manifest

if TYPE_CHECKING:
    from PIL import Image

    from visiondrift.drift.explain.witnesses import Witnesses
    from visiondrift.intake.embedder import Embedder

Tell = Callable[[str], None]
Load = Callable[[Sequence[Path], IntakeConfig], "Iterator[Image.Image]"]
"""The images in files, without those that cannot be read."""


def prepare_witnesses(config: Config, directory: Path, files: Sequence[Path], *, load: Load, tell: Tell) -> None:
    """Keep the witnesses of the reference in ``directory`` beside it; ``files`` are images to learn faults from.

    Without images, the faults that were learnt before are kept and only the words are read anew. Raises BadInput where
    there is nothing to keep, ReferenceUnusable, and EmbedderUnavailable where the configured embedder cannot be loaded.
    """
    from visiondrift.intake.embedder import embedder_of
    from visiondrift.intake.trials import learn, without_embeddings
    from visiondrift.witness_file import save_witnesses

    manifest = read_manifest(directory)
    embedder = embedder_of(config)
    try:
        is_ours = bool(manifest.dimension) and embedder.identity == manifest.embedder
        if not is_ours:
            tell(f"the embeddings of {manifest.name} are not made here: faults are learnt by image properties alone")
        if files:
            images = _spread(files, config, load)
            found = learn(images, embedder.embed if is_ours else without_embeddings, progress=tell)
        else:
            found = _known(directory, manifest)
        if is_ours:
            found = _with_probes(config, embedder, found, tell)
    finally:
        embedder.close()
    if not found.traces and not found.probes:
        raise BadInput(
            f"{directory}: there are no images to learn faults from and the embedder reads no words; "
            "accepted is --images FOLDER"
        )
    save_witnesses(directory, found, embedder=manifest.embedder if is_ours else "")
    tell(f"{directory}: {len(found.causes)} faults learnt from {len(found.before)} images, {len(found.probes)} probes")


def _spread(files: Sequence[Path], config: Config, load: Load) -> "list[Image.Image]":
    """As many images, evenly spread over the files, as their size allows to be tried."""
    from visiondrift.intake.trials import chosen

    first = next(load(files, config.monitoring.intake))
    rows = chosen(len(files), first.width * first.height)
    return list(load([files[row] for row in rows], config.monitoring.intake))


def _known(directory: Path, manifest: Manifest) -> "Witnesses":
    from visiondrift.drift.explain.explainer import NO_WITNESSES
    from visiondrift.witness_file import load_witnesses

    kept = load_witnesses(directory)
    if kept is not None and kept.embedder in {"", manifest.embedder}:
        return kept.witnesses
    return replace(NO_WITNESSES, moves=np.zeros((0, manifest.dimension), dtype=np.float32))


def _with_probes(config: Config, embedder: "Embedder", found: "Witnesses", tell: Tell) -> "Witnesses":
    from visiondrift.drift.explain.witnesses import Probe
    from visiondrift.intake.trials import with_probes

    own = [Probe(probe.name, probe.positive, probe.negative) for probe in config.monitoring.probes]
    try:
        found = with_probes(found, embedder.embed_text, own)
    except EmbedderUnavailable as error:
        tell(f"no probes: {error}")
        return found
    for probe, direction in zip(found.probes, found.directions, strict=True):
        if np.linalg.norm(direction) < _WHOLE:
            tell(f"probe {probe.name} never speaks: the embedder reads both of its sentences alike")
    return found


_WHOLE = 0.99
"""Of the length 1 that the direction between two sentences has, where there is any."""
