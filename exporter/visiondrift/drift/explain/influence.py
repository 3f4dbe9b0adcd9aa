"""Which images of a window are behind its drift, and which are to be shown of them: influential, and not all alike.

Where the evidence finds images that are nearer to their like in the window than to the reference, these are meant: a
new kind of image. Else the shift is one of all images, and those are meant that are furthest along it.
"""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from visiondrift.drift.embedding.detector import EmbeddingEvidence
from visiondrift.drift.embedding.fit import NOVELTY, EmbeddingReference, WindowRows
from visiondrift.drift.embedding.novelty import WINDOW_ROWS, outlier_chances, to_reference
from visiondrift.drift.thinning import evenly
from visiondrift.prediction import Sample, slice_name

MOST_SHOWN = 8
"""Images of a window that are shown: what a person takes in at a glance."""

Measure = Literal["ratio", "shift"]
"""What an influence is: how many times nearer an image is to its like in the window than to the reference; or how far
it lies along the window's shift, in standard deviations of the reference."""

_CANDIDATES = 5
"""Times as many as are shown are chosen from: fewer are siblings, of more some have little to do with the drift."""

_LEAST = 0.5
"""Of the typical influence of the first few: what has less is not shown, however unlike the others it is."""

_ORDINARY = 2.0
"""Standard deviations along the shift within which images of the reference lie, too: what is no farther is shown only
where nothing is."""

_SPEAKS = 0.01
"""Chance of the neighbours' score, without drift, from which on it is they that say which images are meant."""


@dataclass(frozen=True, eq=False)
class Influence:
    """What rows of a window have to do with its drift: ``rows`` (m,) positions in the window, ``scores`` (m,).

    ``chances`` (m,) is each image's conformal p: the share of normal images that are as far from the reference or
    farther; NaN where that is not known.
    """

    measure: Measure
    rows: NDArray[np.intp]
    scores: NDArray[np.float64]
    chances: NDArray[np.float64]

    def among(self, wanted: NDArray[np.bool_]) -> "Influence":
        """Of some rows alone: ``wanted`` (m,)."""
        return Influence(self.measure, self.rows[wanted], self.scores[wanted], self.chances[wanted])


@dataclass(frozen=True)
class ShownImage:
    """An image of a window by its event's ``id``: ``time``, ``slices`` ("" for none), influence and conformal p."""

    id: str
    time: float
    slices: str
    score: float
    chance: float | None


def influence_of(
    reference: EmbeddingReference,
    evidence: EmbeddingEvidence,
    rows: WindowRows,
    *,
    slices: NDArray[Any],
    positions: NDArray[np.intp],
) -> Influence:
    """The influence of a window's rows, of which ``evidence`` was found; ``slices`` (n,) as in ``reference.centres``.

    ``positions`` (n,) says where in the window the ``rows`` (n, k) are. Of very many, evenly spread ones are scored.
    """
    novelty = evidence.scores.get(NOVELTY)
    if novelty is not None and novelty.p <= _SPEAKS and evidence.ratios.shape[1]:
        places = evidence.ratios[0].astype(np.intp)
        measure: Measure = "ratio"
        scores = evidence.ratios[1]
    else:
        places = evenly(len(rows.coordinates), WINDOW_ROWS)
        measure, scores = "shift", _along_shift(reference, rows.coordinates, slices)[places]
    near = rows.coordinates[places, : reference.coreset.rows.shape[1]]
    chances = outlier_chances(reference.coreset, to_reference(reference.coreset.rows, near))
    return Influence(measure, positions[places], scores, chances)


def plain_influence(
    window: NDArray[np.float32], reference: NDArray[np.float32], *, positions: NDArray[np.intp]
) -> Influence:
    """The influence where nothing is calibrated: along the difference of the means of ``window`` (n, d) and
    ``reference`` (m, d), in standard deviations of the reference; ``positions`` (n,) say where in the window the rows
    are.
    """
    centre = reference.mean(axis=0, dtype=np.float64)
    places = evenly(len(window), WINDOW_ROWS)
    direction = window.mean(axis=0, dtype=np.float64) - centre
    size = float((reference[evenly(len(reference), WINDOW_ROWS)] @ direction).std())
    scores = (window[places] - centre) @ direction / max(size, 1e-12)
    return Influence("shift", positions[places], scores, np.full(len(places), np.nan))


def _along_shift(
    reference: EmbeddingReference, coordinates: NDArray[np.float32], slices: NDArray[Any]
) -> NDArray[np.float64]:
    """(n,) how far each row is along the window's whitened mean shift, from the centre of its own slice.

    In standard deviations that the reference has in that direction. A row of a slice that the reference does not know
    is taken from the common centre.
    """
    away = coordinates.astype(np.float64)
    for name in np.unique(slices):
        centre = reference.centres.get(str(name))
        if centre is not None:
            away[slices == name] -= centre.mean
    shift = away.mean(axis=0)
    direction = shift / reference.basis.variances
    size = float(np.sqrt((direction**2 * reference.basis.variances).sum()))
    return np.asarray(away @ direction / max(size, 1e-300))


def chosen(influence: Influence, embeddings: NDArray[np.float32], *, most: int = MOST_SHOWN) -> NDArray[np.intp]:
    """(j,) places in ``influence`` of at most ``most`` images to show; ``embeddings`` (n, d) are those of the window.

    The most influential comes first. Each other is, of the influential, the one that is least like any before it
    (Gonzalez 1985, farthest point), the distance weighed by its influence: never eight siblings of one scene.
    """
    by_score = np.argsort(-influence.scores, kind="stable")[: _CANDIDATES * most]
    scores = influence.scores[by_score]
    if not (scores > 0).any():
        return np.zeros(0, dtype=np.intp)
    least = max(_LEAST * float(np.median(scores[:most])), np.finfo(float).tiny)
    if influence.measure == "shift" and scores[0] > _ORDINARY:
        least = max(least, _ORDINARY)
    candidates = by_score[scores >= least]
    weights = influence.scores[candidates]
    vectors = embeddings[influence.rows[candidates]].astype(np.float64)
    taken = [0]
    nearest = np.linalg.norm(vectors - vectors[0], axis=1)
    while len(taken) < min(most, len(candidates)):
        place = int(np.argmax(nearest * weights))
        if nearest[place] <= 0:  # whatever is left is a copy of one that is shown
            break
        taken.append(place)
        nearest = np.minimum(nearest, np.linalg.norm(vectors - vectors[place], axis=1))
    order = np.argsort(-weights[taken], kind="stable")
    return candidates[np.array(taken, dtype=np.intp)[order]]


def shown_images(sample: Sample, influence: Influence, places: NDArray[np.intp]) -> tuple[ShownImage, ...]:
    """The images at ``places`` (j,) of ``influence``, which is of ``sample``."""
    shown = []
    for place in places:
        row, chance = influence.rows[place], float(influence.chances[place])
        names = [slice_name(label, values[row]) for label, values in sample.slices.items() if values[row]]
        shown.append(
            ShownImage(
                id=str(sample.ids[row]),
                time=float(sample.times[row]),
                slices=", ".join(names),
                score=float(influence.scores[place]),
                chance=None if np.isnan(chance) else chance,
            )
        )
    return tuple(shown)


def nearest_rows(
    embeddings: NDArray[np.float32], among: NDArray[np.float32]
) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
    """For each of ``embeddings`` (a, d) the position of the most similar of ``among`` (b, d), b at least 1.

    With the cosine of both (a,).
    """
    left = embeddings / np.maximum(np.linalg.norm(embeddings, axis=1, keepdims=True), 1e-12)
    right = among / np.maximum(np.linalg.norm(among, axis=1, keepdims=True), 1e-12)
    cosines = left.astype(np.float64) @ right.astype(np.float64).T
    place = cosines.argmax(axis=1)
    return place, cosines[np.arange(len(place)), place]
