"""How a reference is kept: a folder with ``reference.parquet`` and the ``manifest.json`` that describes it.

A reference is what normal looked like. It can only be compared with what the same embedder makes, so the manifest
names the embedder, and loading refuses any other.
"""

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from visiondrift.config.entries import NAME
from visiondrift.drift.similarity import mean_direction
from visiondrift.errors import BadInput, ReferenceUnusable
from visiondrift.parquet import read_events, read_sample, write_sample
from visiondrift.prediction import Sample

FORMAT = 2
"""What is written. Format 1 is read as well: it knew neither ``labelled`` nor ``times``."""

SAMPLE_FILE = "reference.parquet"
MANIFEST_FILE = "manifest.json"

Times = Literal["capture", "file"]
"""What the times of a reference are: when a frame was taken, or those of image files, which say nothing of that."""


class Manifest(BaseModel):
    """What ``manifest.json`` says of the rows beside it. Times are RFC 3339; ``embedder`` is "" where unknown;
    ``labelled`` counts the rows whose true class is known.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    name: str
    format: int = Field(ge=1)
    embedder: str
    dimension: int = Field(ge=0)
    rows: int = Field(ge=1)
    classes: tuple[str, ...]
    slices: dict[str, tuple[str, ...]]
    source: str
    since: str | None
    until: str | None
    content_hash: str
    created: str
    labelled: int = Field(default=0, ge=0)
    times: Times = "capture"

    @property
    def created_seconds(self) -> float:
        """``created`` in seconds since the epoch; 0 where it cannot be read."""
        try:
            return datetime.fromisoformat(self.created).timestamp()
        except ValueError:
            return 0.0


class _AnyFormat(BaseModel):
    """What manifests of all formats have in common."""

    model_config = ConfigDict(frozen=True, strict=True)

    format: int


@dataclass(frozen=True, eq=False)
class Reference:
    """What normal looked like: the rows, and the manifest that says where they come from."""

    manifest: Manifest
    sample: Sample


@dataclass(frozen=True)
class ListedReference:
    """One folder under the root of references; ``manifest`` is None where ``problem`` says what is wrong."""

    name: str
    manifest: Manifest | None
    problem: str = ""


def save_reference(
    directory: Path,
    sample: Sample,
    *,
    embedder: str,
    source: str,
    now: float,
    times: Times = "capture",
    overwrite: bool = False,
) -> Manifest:
    """Keep ``sample`` as the reference ``directory``, whole or not at all.

    ``source`` says what it was built from, ``times`` what the times of ``sample`` are; ``now`` is in seconds since the
    epoch. A reference that exists is replaced only with ``overwrite``, and stays until the new one is complete. Raises
    BadInput, and OSError where the disk does.
    """
    check_place(directory, overwrite=overwrite)
    _check_saving(directory, sample, embedder=embedder)
    directory.parent.mkdir(parents=True, exist_ok=True)
    unfinished = Path(tempfile.mkdtemp(dir=directory.parent, prefix=f".{directory.name}.new-"))
    try:
        write_sample(unfinished / SAMPLE_FILE, sample)
        manifest = _describe(
            directory.name, unfinished / SAMPLE_FILE, sample, embedder=embedder, source=source, now=now, times=times
        )
        text = json.dumps(manifest.model_dump(mode="json"), indent=2, ensure_ascii=False) + "\n"
        (unfinished / MANIFEST_FILE).write_text(text, encoding="utf-8")
        _flush(unfinished / SAMPLE_FILE)
        _flush(unfinished / MANIFEST_FILE)
        unfinished.chmod(0o755)
        _put_in_place(unfinished, directory)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    return manifest


def load_direction(
    directory: Path, *, embedder: str, dimension: int | None, classes: tuple[str, ...] | None = None
) -> NDArray[np.float32]:
    """(d,) of length 1, where the reference in ``directory`` lies; arguments as of ``load_reference``.

    Raises ReferenceUnusable, and BadInput where its embeddings have no direction.
    """
    reference = load_reference(directory, embedder=embedder, dimension=dimension, classes=classes)
    try:
        return mean_direction(reference.sample.of_unit_length().embeddings)
    except ValueError as error:
        raise BadInput(f"{directory}: {error}; accepted is a reference of images") from error


def load_reference(
    directory: Path, *, embedder: str | None, dimension: int | None, classes: tuple[str, ...] | None = None
) -> Reference:
    """The reference in ``directory``, checked against its manifest.

    ``embedder`` and ``dimension`` are what it will be compared with (None: anything). With ``classes`` the confidence
    columns come in that order, NaN where the reference lacks one. A reference without embeddings fits every embedder.
    Raises ReferenceUnusable with what is wrong and what to do.
    """
    manifest = read_manifest(directory)
    _check_embedder(directory, manifest, embedder, dimension)
    _check_intact(directory, manifest)
    file = directory / SAMPLE_FILE
    try:
        sample = read_sample(file, classes=classes or None)
    except BadInput as error:
        raise ReferenceUnusable(f"{error}. {_advice(directory)}") from error
    if (len(sample), sample.dimension) != (manifest.rows, manifest.dimension):
        raise _damaged(
            directory,
            f"{MANIFEST_FILE} says {manifest.rows} rows of {manifest.dimension} columns, "
            f"{SAMPLE_FILE} has {len(sample)} of {sample.dimension}",
        )
    return Reference(manifest, sample)


def open_reference(
    path: Path,
    *,
    embedder: str | None = None,
    dimension: int | None = None,
    classes: tuple[str, ...] | None = None,
    tell: Callable[[str], None] = lambda _: None,
) -> Reference:
    """The reference in a folder or in a bare Parquet file, whose embedder is then unknown ("") and not checked.

    ``tell`` is given a sentence where rows of a bare file are left out (see ``read_events``).
    Raises ReferenceUnusable as ``load_reference`` does, and BadInput for a Parquet file that cannot be used.
    """
    if path.is_dir():
        return load_reference(path, embedder=embedder, dimension=dimension, classes=classes)
    if not path.exists():
        raise BadInput(
            f"{path}: there is no such reference; accepted is the folder of one, such as reference_data/NAME, or a "
            "Parquet file of its rows"
        )
    sample = read_events(path, classes=classes or None, tell=tell)
    manifest = _describe(path.stem, path, sample, embedder="", source=str(path), now=path.stat().st_mtime)
    _check_embedder(path, manifest, None, dimension)
    return Reference(manifest, sample)


def list_references(root: Path) -> tuple[ListedReference, ...]:
    """Every reference folder under ``root``, by name, with its manifest, or its problem, as where the rows are others
    than the manifest describes.
    """
    listed = []
    folders = (path for path in root.iterdir() if path.is_dir() and path.name[0] != ".") if root.is_dir() else ()
    for folder in sorted(folders):
        try:
            listed.append(ListedReference(folder.name, intact_manifest(folder)))
        except ReferenceUnusable as error:
            listed.append(ListedReference(folder.name, None, str(error)))
    return tuple(listed)


def intact_manifest(directory: Path) -> Manifest:
    """The manifest of a reference whose file of rows is the one that it describes. Raises ReferenceUnusable."""
    manifest = read_manifest(directory)
    _check_intact(directory, manifest)
    return manifest


def _check_intact(directory: Path, manifest: Manifest) -> None:
    try:
        content_hash = _hash(directory / SAMPLE_FILE)
    except OSError as error:
        raise _damaged(directory, f"{SAMPLE_FILE} cannot be read ({error.strerror})") from error
    if content_hash != manifest.content_hash:
        raise _damaged(directory, f"{SAMPLE_FILE} is not the file that {MANIFEST_FILE} describes (its hash differs)")


def read_manifest(directory: Path) -> Manifest:
    """The manifest alone. Raises ReferenceUnusable."""
    file = directory / MANIFEST_FILE
    if not directory.is_dir():
        left = directory.parent / f".{directory.name}.old"
        found = f" (an interrupted replacement left the one before it in {left})" if left.is_dir() else ""
        raise ReferenceUnusable(f"{directory}: there is no such reference{found}. {_advice(directory)}")
    try:
        text = file.read_bytes()
        _check_format(directory, text)
        return Manifest.model_validate_json(text)
    except OSError as error:
        raise _damaged(directory, f"{MANIFEST_FILE} cannot be read ({error.strerror})") from error
    except ValidationError as error:
        raise _damaged(directory, f"{MANIFEST_FILE}: {_first_problem(error)}") from error


def rfc3339(seconds: float) -> str:
    """A time in seconds since the epoch as text: ``2026-11-21T01:12:00.000Z``."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def check_place(directory: Path, *, overwrite: bool) -> None:
    """Raises BadInput where no reference may be saved as ``directory``: to be asked before hours of embedding."""
    if not NAME.fullmatch(directory.name):
        raise BadInput(
            f"{directory.name!r} cannot be the name of a reference; accepted are letters, digits, '.', '_' and '-', "
            "at most 63, a letter or digit first"
        )
    if not overwrite and directory.exists():
        raise BadInput(f"{directory} exists; choose another name, or say that it is to be overwritten (--overwrite)")


def _check_saving(directory: Path, sample: Sample, *, embedder: str) -> None:
    if len(sample) == 0:
        raise BadInput(f"{directory}: there are no rows to keep; accepted is a sample of at least one prediction")
    if sample.has_embedding.any() and not embedder:
        raise BadInput(f"{directory}: the rows have embeddings, but what made them is not said; name the embedder")


def _describe(
    name: str, file: Path, sample: Sample, *, embedder: str, source: str, now: float, times: Times = "capture"
) -> Manifest:
    return Manifest(
        name=name,
        format=FORMAT,
        embedder=embedder,
        dimension=sample.dimension,
        rows=len(sample),
        classes=sample.classes,
        slices={label: sample.slice_values(label) for label in sample.slices},
        source=source,
        since=rfc3339(float(np.min(sample.times))),
        until=rfc3339(float(np.max(sample.times))),
        content_hash=_hash(file),
        created=rfc3339(now),
        labelled=int(sample.has_label.sum()),
        times=times,
    )


def _put_in_place(unfinished: Path, directory: Path) -> None:
    old = directory.parent / f".{directory.name}.old"
    shutil.rmtree(old, ignore_errors=True)
    if directory.exists():
        directory.rename(old)
    try:
        unfinished.rename(directory)
    except OSError:
        if old.is_dir():
            old.rename(directory)
        raise
    shutil.rmtree(old, ignore_errors=True)


def _flush(file: Path) -> None:
    with file.open("rb") as handle:
        os.fsync(handle.fileno())


def _hash(file: Path) -> str:
    with file.open("rb") as handle:
        return "sha256:" + hashlib.file_digest(handle, "sha256").hexdigest()


def _check_format(directory: Path, manifest: bytes) -> None:
    """Asked before anything else: fields of a later format are no damage. Raises ReferenceUnusable."""
    try:
        found = _AnyFormat.model_validate_json(manifest).format
    except ValidationError:  # whatever is wrong, the whole manifest's own check says it
        return
    if found > FORMAT:
        raise ReferenceUnusable(
            f"{directory}: the reference has format {found}, this version reads up to {FORMAT}. {_advice(directory)}"
        )


def _check_embedder(where: Path, manifest: Manifest, embedder: str | None, dimension: int | None) -> None:
    if manifest.dimension == 0:
        return
    if embedder is not None and manifest.embedder != embedder:
        raise ReferenceUnusable(
            f"{where}: the reference was made with the embedder {manifest.embedder or '(unknown)'} "
            f"({manifest.dimension} columns), the model is embedded by {embedder}"
            f"{'' if dimension is None else f' ({dimension} columns)'}: they cannot be compared. {_advice(where)}"
        )
    if dimension is not None and manifest.dimension != dimension:
        raise ReferenceUnusable(
            f"{where}: the reference has embeddings of {manifest.dimension} columns "
            f"({manifest.embedder or 'embedder unknown'}), the model has {dimension} ({embedder or 'embedder unknown'})"
            f": they cannot be compared. {_advice(where)}"
        )


def _damaged(directory: Path, what: str) -> ReferenceUnusable:
    return ReferenceUnusable(f"{directory}: {what}. {_advice(directory)}")


def _advice(directory: Path) -> str:
    return f"Build it anew with: visiondrift reference build {directory.name}"


def _first_problem(error: ValidationError) -> str:
    first = error.errors(include_url=False)[0]
    where = ".".join(str(part) for part in first["loc"])
    match first["type"]:
        case "json_invalid":
            return f"it is not JSON ({first['ctx']['error']})"
        case "missing":
            return f"{where} is missing"
        case "extra_forbidden":
            return f"{where} is not known"
    return f"{where} cannot be {first['input']!r}"
