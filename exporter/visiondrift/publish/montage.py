"""Which pictures are set side by side for a person: the images behind a drift, and what the reference has most like it.

Influence is known of images that nobody kept a picture of. Those are shown that are the most influential of the ones
with a picture; where there is none, a sentence says why, for an empty frame says nothing.
"""

from collections.abc import Collection
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from visiondrift.drift.explain.influence import ShownImage, chosen, nearest_rows, shown_images
from visiondrift.drift.judge import WindowEvaluation
from visiondrift.prediction import Sample
from visiondrift.publish.montage_drawing import Tile, draw

OFF = "Pictures of this model are not kept: its keep_thumbnails in monitoring.yml, or else thumbnails.keep, is 0."
NO_EMBEDDINGS = "No image can be named: the window or the reference has no embeddings."
NONE_KEPT = (
    "No picture of this window is kept: its events came as embeddings without an image, or their pictures have made "
    "room for newer ones (keep_thumbnails of the model, thumbnails.keep and max_age in monitoring.yml)."
)
NO_REFERENCE = (
    "No pictures are kept of the reference: `reference build --images` keeps some where the model keeps thumbnails."
)
MEASURES = {
    "ratio": "how many times nearer the image is to others of the window than to the reference",
    "shift": "how far the image lies along the window's shift, in standard deviations of the reference",
}


class Pictures(Protocol):
    """Small pictures of events as JPEG files."""

    def wanted(self, model: str) -> bool:
        """Whether any of a model are kept at all."""
        ...

    def known(self, model: str, ids: Collection[str]) -> frozenset[str]:
        """Those of a model's events ``ids`` of which there is a picture."""
        ...

    def of_event(self, model: str, id_: str) -> bytes | None:
        """The picture of one event; None where there is none."""
        ...


class ReferenceSide(Protocol):
    """Small pictures of a reference's rows as JPEG files."""

    @property
    def rows(self) -> NDArray[np.intp]:
        """(k,) the rows that have one."""
        ...

    def of_row(self, row: int) -> bytes | None:
        """The picture of a row; None where there is none."""
        ...


@dataclass(frozen=True)
class Montage:
    """``file`` is a JPEG file, None where there is nothing to show; ``data`` says what is shown, or why nothing is."""

    file: bytes | None
    data: dict[str, Any]


@dataclass(frozen=True)
class _Nearest:
    """The most similar row of the reference: its name, the cosine of both embeddings, its picture."""

    id: str
    similarity: float
    picture: bytes | None


def build_montage(
    window: Sample,
    evaluation: WindowEvaluation,
    reference: Sample,
    *,
    model: str,
    title: str,
    pictures: Pictures | None,
    kept: ReferenceSide | None,
) -> Montage:
    """The montage of one drifted window; ``pictures`` are those of events, ``kept`` those of the reference's rows."""
    influence = evaluation.influence
    if influence is None:
        return _nothing(NO_EMBEDDINGS)
    if pictures is None or not pictures.wanted(model):
        return _nothing(OFF)
    ids = [str(window.ids[row]) for row in influence.rows]
    known = pictures.known(model, ids)
    seen = influence.among(np.array([id_ in known for id_ in ids], dtype=bool))
    images = shown_images(window, seen, chosen(seen, window.embeddings))
    files = {image.id: file for image in images if (file := pictures.of_event(model, image.id)) is not None}
    images = tuple(image for image in images if image.id in files)
    if not images:
        return _nothing(NONE_KEPT)
    beside = _nearest(window, images, reference, kept) if kept is not None else []
    tiles = []
    for place, image in enumerate(images):
        near = beside[place] if beside else None
        captions = _captions(image, influence.measure, near)
        tiles.append(Tile(files[image.id], near.picture if near else None, captions))
    note = "" if beside else NO_REFERENCE
    file = draw(tiles, title=title, note=note, paired=bool(beside))
    return Montage(file, _document(images, beside, influence.measure, note))


def _nothing(why: str) -> Montage:
    return Montage(None, {"why": why, "note": "", "measure": "", "shown": []})


def _document(images: tuple[ShownImage, ...], beside: list[_Nearest], measure: str, note: str) -> dict[str, Any]:
    shown: list[dict[str, Any]] = [asdict(image) for image in images]
    for one, near in zip(shown, beside, strict=False):
        one["reference_id"], one["similarity"] = near.id, near.similarity
    return {"why": "", "note": note, "measure": MEASURES[measure], "shown": shown}


def _nearest(window: Sample, images: tuple[ShownImage, ...], reference: Sample, kept: ReferenceSide) -> list[_Nearest]:
    """Of each image the most similar row of the reference that has a picture: of its own slices, where one has."""
    rows = kept.rows[kept.rows < len(reference)]
    rows = rows[reference.has_embedding[rows]]
    if not len(rows):
        return []
    row_of = {str(id_): row for row, id_ in enumerate(window.ids)}
    found = []
    for image in images:
        row = row_of[image.id]
        own = rows[_same_slices(reference, rows, window, row)]
        among = own if len(own) else rows
        place, cosine = nearest_rows(window.embeddings[row : row + 1], reference.embeddings[among])
        nearest = int(among[place[0]])
        found.append(_Nearest(str(reference.ids[nearest]), float(cosine[0]), kept.of_row(nearest)))
    return found


def _same_slices(reference: Sample, rows: NDArray[np.intp], window: Sample, row: int) -> NDArray[np.bool_]:
    """(k,) which of the reference's ``rows`` have the slices of the window's ``row``, of the labels that it knows."""
    same = np.ones(len(rows), dtype=bool)
    for label, values in window.slices.items():
        if label in reference.slices:
            same &= reference.slices[label][rows] == values[row]
    return same


def _captions(image: ShownImage, measure: str, near: _Nearest | None) -> tuple[str, ...]:
    at = datetime.fromtimestamp(image.time, tz=UTC).strftime("%m-%d %H:%M:%S UTC")
    size = (
        f"{image.score:.1f} times nearer to others of the window than to the reference"
        if measure == "ratio"
        else f"{image.score:+.1f} standard deviations along the shift"
    )
    lines = (
        f"{at} · {image.slices}" if image.slices else at,
        size,
        "" if image.chance is None else f"as far from the reference: at most {image.chance:.2%} of normal images",
        f"CLIP similarity of the two: {near.similarity:.2f}" if near else "",
    )
    return tuple(line for line in lines if line)
