"""The second opinion: two simple readers of the embedding, and how often each contradicts the model.

A model that errs on damaged frames may be sure of it; a reader of another representation, trained on the labelled
reference, errs elsewhere. The linear reader is ridge regression on one-hot classes, the neighbour reader a vote of the
ten nearest labelled rows. Each is three readers, one a fold: a reference row is read by the one that has not seen it, a
window's by all three, so that both are read by readers of the same schooling.
"""

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

FOLDS = 3
NEIGHBOURS = 10
MAX_NEIGHBOUR_ROWS = 2000
"""Labelled rows that the neighbour reader keeps at most."""

NOVEL_QUANTILE = 0.99
"""A row is novel if it is farther from the reference than this share of the reference's own rows is."""

_CANDIDATES = 4 * NEIGHBOURS
"""Nearest rows of all folds that are sorted: nearly always enough of them are rows that a fold's reader keeps."""

_RIDGES = (1e-3, 1e-2, 1e-1, 1.0, 10.0)  # in units of the mean variance of a column

Singles = NDArray[np.float32]
Doubles = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class LinearReader:
    """``weights`` (folds, d + 1, C) float32, the intercept last."""

    weights: Singles

    def read(self, embeddings: Singles) -> NDArray[np.intp]:
        """(folds, m) class that each fold's reader sees in each of m rows."""
        scores = [embeddings @ weights[:-1] + weights[-1] for weights in self.weights]
        return np.stack([score.argmax(axis=1) for score in scores])

    def to_dict(self) -> dict[str, Any]:
        """Shape, and the float32 bytes, little-endian, in base64."""
        data = base64.b64encode(self.weights.astype("<f4").tobytes()).decode("ascii")
        return {"shape": list(self.weights.shape), "float32": data}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "LinearReader":
        """The inverse of ``to_dict``."""
        flat = np.frombuffer(base64.b64decode(data["float32"]), dtype="<f4")
        return cls(flat.reshape(data["shape"]).astype(np.float32))


@dataclass(frozen=True, eq=False)
class NeighbourReader:
    """Labelled rows (r, d), their classes and folds (r,), and each fold's distance beyond which a row is novel."""

    rows: Singles
    labels: NDArray[np.int32]
    fold_of: NDArray[np.intp]
    novel_beyond: Doubles

    def read(self, embeddings: Singles) -> tuple[NDArray[np.intp], Doubles]:
        """(folds, m) classes as each fold's reader sees them, and (folds, m) distances to the tenth neighbour."""
        squared = _squared_distances(embeddings, self.rows)
        candidates = _nearest(squared, _CANDIDATES)
        both = [self._vote(squared, _nearest_kept(squared, candidates, kept)) for kept in self._kept()]
        return np.stack([classes for classes, _ in both]), np.stack([far for _, far in both])

    def novel_share(self, distances: Doubles) -> float:
        """Share of rows, averaged over the folds, that are farther away than the reference's own 99 in 100."""
        return float((distances > self.novel_beyond[:, None]).mean())

    def _kept(self) -> list[NDArray[np.bool_]]:
        return [self.fold_of != fold for fold in range(FOLDS)]

    def _vote(self, squared: Singles, nearest: NDArray[np.intp]) -> tuple[NDArray[np.intp], Doubles]:
        distances = np.sqrt(np.maximum(np.take_along_axis(squared, nearest, axis=1).astype(np.float64), 0.0))
        votes = np.zeros((len(squared), int(self.labels.max()) + 1))
        # The nearer neighbour counts a little more, which also settles every tie.
        weights = 1.0 / (distances + distances.mean(axis=1, keepdims=True) + 1e-9)
        np.add.at(votes, (np.arange(len(squared))[:, None], self.labels[nearest]), weights)
        return votes.argmax(axis=1), distances.max(axis=1)


def fit_linear(
    embeddings: Singles, labels: NDArray[Any], fold_of: NDArray[np.intp], classes: int
) -> tuple[LinearReader, NDArray[np.intp]]:
    """The linear reader of (n, d) ``embeddings``, and (n,) what each row was read as by the fold that had not seen it.

    The ridge is the one with the smallest squared error on unseen rows.
    """
    targets = np.eye(classes)[labels]
    fitted = [_ridges(embeddings[fold_of != fold], targets[fold_of != fold]) for fold in range(FOLDS)]
    errors = np.zeros(len(_RIDGES))
    for fold, candidates in enumerate(fitted):
        outside = fold_of == fold
        for place, weights in enumerate(candidates):
            scores = embeddings[outside] @ weights[:-1] + weights[-1]
            errors[place] += float(((scores - targets[outside]) ** 2).sum())
    reader = LinearReader(np.stack([candidates[int(errors.argmin())] for candidates in fitted]).astype(np.float32))
    return reader, unseen(reader.read(embeddings), fold_of)


def fit_neighbours(
    embeddings: Singles, labels: NDArray[Any], fold_of: NDArray[np.intp]
) -> tuple[NeighbourReader, NDArray[np.intp]]:
    """The neighbour reader of (n, d) rows, n at most ``MAX_NEIGHBOUR_ROWS``, and (n,) the unseen rows' classes."""
    open_ended = NeighbourReader(embeddings, labels.astype(np.int32), fold_of, np.full(FOLDS, np.inf))
    classes, distances = open_ended.read(embeddings)
    beyond = np.array([np.quantile(distances[f][fold_of == f], NOVEL_QUANTILE) for f in range(FOLDS)])
    return NeighbourReader(embeddings, open_ended.labels, fold_of, beyond), unseen(classes, fold_of)


def unseen(by_fold: NDArray[np.intp], fold_of: NDArray[np.intp]) -> NDArray[np.intp]:
    """(n,) of (folds, n): for each row the answer of its own fold's reader, which has not been fitted on it."""
    return np.asarray(by_fold[fold_of, np.arange(len(fold_of))])


def _ridges(rows: Singles, targets: Doubles) -> list[Doubles]:
    """(d + 1, C) weights for each ridge, of one eigendecomposition."""
    middle, share = rows.mean(axis=0, dtype=np.float64), targets.mean(axis=0)
    centred = rows - middle.astype(np.float32)
    values, vectors = np.linalg.eigh((centred.T @ centred).astype(np.float64) / len(rows))
    turned = vectors.T @ ((centred.T @ (targets - share).astype(np.float32)).astype(np.float64) / len(rows))
    scale = max(float(values.mean()), 1e-12)
    solutions = [vectors @ (turned / (np.maximum(values, 0.0) + ridge * scale)[:, None]) for ridge in _RIDGES]
    return [np.vstack([weights, share - middle @ weights]) for weights in solutions]


def _nearest(squared: Singles, count: int) -> NDArray[np.intp]:
    """(m, count) columns of the smallest of each row of ``squared`` (m, r), ascending; all r where there are fewer."""
    if count < squared.shape[1]:
        found = np.argpartition(squared, count - 1, axis=1)[:, :count]
        order = np.argsort(np.take_along_axis(squared, found, axis=1), axis=1)
        return np.asarray(np.take_along_axis(found, order, axis=1))
    return np.argsort(squared, axis=1)


def _nearest_kept(squared: Singles, candidates: NDArray[np.intp], kept: NDArray[np.bool_]) -> NDArray[np.intp]:
    """(m, k) columns of the nearest ten of the ``kept`` (r,), by the ``candidates`` where these hold as many."""
    places = np.flatnonzero(kept)
    k = min(NEIGHBOURS, len(places))
    usable = kept[candidates]
    first = np.argsort(~usable, axis=1, kind="stable")[:, :k]
    nearest = np.take_along_axis(candidates, first, axis=1)
    few = np.flatnonzero(usable.sum(axis=1) < k)
    if len(few):
        nearest[few] = places[_nearest(squared[np.ix_(few, places)], k)]
    return np.asarray(nearest)


def _squared_distances(a: Singles, b: Singles) -> Singles:
    """(m, r) squared Euclidean distances, by one product."""
    squared = a @ b.T
    squared *= -2.0
    squared += (a**2).sum(axis=1)[:, None]
    squared += (b**2).sum(axis=1)
    return np.asarray(squared, dtype=np.float32)
