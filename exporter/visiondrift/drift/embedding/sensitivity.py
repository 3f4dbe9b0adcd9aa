"""How small a drift a window would show: what the calibration can and cannot see, before anything happens.

Windows of the reference are moved by a known amount and judged. Kept is, for each size of window and of move, the
surprise that four in five such windows pass; whoever has a threshold reads the smallest move from it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from visiondrift.drift.calibration.blocks import Blocks
from visiondrift.drift.calibration.nulls import (
    SliceCalibration,
    combined_score,
    draw_windows,
    member_matrix,
    split_of,
    stretch,
    targets,
)
from visiondrift.drift.calibration.tails import surprise
from visiondrift.drift.embedding.bank import STATISTICS, Deviations, bank
from visiondrift.drift.embedding.detector import MOMENTS
from visiondrift.drift.embedding.fit import EmbeddingReference, held_deviations

Move = Literal["mean", "new"]
MOVES: Mapping[Move, tuple[float, ...]] = {
    "mean": tuple(float(size) for size in np.geomspace(0.02, 1.5, 14)),
    "new": tuple(float(size) for size in np.geomspace(0.005, 0.6, 14)),
}
"""Sizes tried: of a mean that moves, in sizes of the cloud; of the share of images that lie one size of it away."""

_MISSED = 0.2
_WINDOWS = 150


@dataclass(frozen=True)
class Sensitivity:
    """For one kind of move: ``surprises[i][j]``, passed by 80 % of windows of ``blocks[i]`` moved by ``sizes[j]``."""

    blocks: tuple[float, ...]
    sizes: tuple[float, ...]
    surprises: tuple[tuple[float, ...], ...]

    def smallest(self, blocks: float, surprise: float) -> float | None:
        """The smallest move that 80 % of windows of so many blocks show at a threshold; None beyond what was tried."""
        near = int(np.argmin(np.abs(np.log(np.asarray(self.blocks) / blocks))))
        reached = np.maximum.accumulate(np.asarray(self.surprises[near]))
        if reached[-1] < surprise:
            return None
        return float(np.exp(np.interp(surprise, reached, np.log(self.sizes))))

    def to_dict(self) -> dict[str, Any]:
        """JSON-able."""
        return {"blocks": list(self.blocks), "sizes": list(self.sizes), "surprises": [list(s) for s in self.surprises]}

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> "Sensitivity":
        """What ``to_dict`` gave."""
        surprises = tuple(tuple(float(value) for value in row) for row in stored["surprises"])
        return cls(tuple(map(float, stored["blocks"])), tuple(map(float, stored["sizes"])), surprises)


def sensitivity(
    embeddings: NDArray[Any],
    blocks: Blocks,
    calibrations: Mapping[str, SliceCalibration],
    *,
    move: Move,
    times: NDArray[np.float64] | None = None,
    seed: int = 0,
) -> dict[str, Sensitivity]:
    """Of every slice that has nulls, for the reference that ``build_detector`` made of the same arguments.

    Directions are drawn from the cloud's own covariance: content that moves as content varies. The neighbours are left
    out, so that new images are seen sooner than is said here.
    """
    split = split_of(blocks, seed)
    reference, held = held_deviations(embeddings, split, times=times, seed=seed)
    rng = np.random.default_rng((seed, 3))
    return {
        target: _of_slice(reference, calibrations[target], held, _Place(target, own, split.blocks), move=move, rng=rng)
        for target, own in targets(split.blocks)
        if calibrations[target].nulls
    }


@dataclass(frozen=True, eq=False)
class _Place:
    """Which held blocks are a slice's."""

    target: str
    own: NDArray[np.intp]
    blocks: Blocks


def _of_slice(
    reference: EmbeddingReference,
    calibration: SliceCalibration,
    held: Deviations,
    place: _Place,
    *,
    move: Move,
    rng: np.random.Generator,
) -> Sensitivity:
    nulls = [calibration.nulls[name] for name in STATISTICS]
    combined = calibration.nulls[MOMENTS]
    rows = []
    for size in combined.sizes:
        draw = draw_windows(
            place.target, place.own, int(size), blocks=place.blocks, draws=_WINDOWS, rng=rng, in_runs=True
        )
        own, places = np.unique(draw.windows, return_inverse=True)
        windows = held.take(own).summed(member_matrix(places.reshape(draw.windows.shape), len(own)))
        away = _directions(reference, len(windows), rng)
        surprises = []
        for amount in MOVES[move]:
            moved = _moved(windows, away, amount, move)
            scores = bank(
                reference.basis, moved, stretch_mean=stretch(draw.share / 2), stretch_variance=stretch(draw.share)
            )
            score = float(np.quantile(combined_score(scores, nulls, size), _MISSED))
            surprises.append(surprise(calibration.p(MOMENTS, score, size)))
        rows.append(tuple(surprises))
    return Sensitivity(combined.sizes, MOVES[move], tuple(rows))


def _directions(reference: EmbeddingReference, windows: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """(W, k) of the cloud's size each."""
    basis = reference.basis
    along = rng.normal(size=(windows, basis.dimension)) * np.sqrt(basis.variances)
    return np.asarray(along / np.linalg.norm(along, axis=1, keepdims=True) * np.sqrt(basis.spread))


def _moved(windows: Deviations, away: NDArray[np.float64], amount: float, move: Move) -> Deviations:
    """All rows moved by ``amount`` of the cloud's size, or that share of the rows by all of it."""
    step, share = (away * amount, 1.0) if move == "mean" else (away, amount)
    counts = windows.counts[:, None] * share
    second = windows.second + 2 * step * windows.first * share + counts * step**2
    return Deviations(windows.counts, windows.first + counts * step, second)
