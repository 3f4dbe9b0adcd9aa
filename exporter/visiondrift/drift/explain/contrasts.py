"""How surely a window has moved along directions that have a name, and how much of its move they account for.

A property of the image, the trace of a known fault and the difference of two sentences are all the same thing here: a
direction in a space of columns, of which a window's mean deviation from the centre of its slice has a component. So
they cost one small product, add like every mean, and share one null. Of the directions of one panel the farthest
counts, under the null of the farthest (Westfall and Young 1993): a panel of a hundred speaks no oftener than one of
three.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from visiondrift.drift.calibration.blocks import Blocks
from visiondrift.drift.calibration.nulls import (
    MIN_WINDOW_BLOCKS,
    Draw,
    Plan,
    SliceCalibration,
    Split,
    calibrate,
    luck,
    member_matrix,
    split_of,
    stretch,
    targets,
)
from visiondrift.drift.embedding.bank import Deviations
from visiondrift.drift.embedding.basis import Basis
from visiondrift.drift.embedding.fit import EmbeddingReference, held_deviations, traffic_shares, window_deviation
from visiondrift.drift.embedding.moments import Moments
from visiondrift.signals import ALL_SLICES

MISMATCH = 0.1
"""Of the mean variance of an axis: how far the traces of a fault on other images are off."""
_DRAWS = 200


@dataclass(frozen=True, eq=False)
class Panel:
    """Directions that answer one question: ``names`` (C) and ``directions`` (C, d) in the columns of the space.

    ``matched`` says that a direction is the trace that a fault leaves, which is looked for where the reference varies
    little (the matched filter); else it is an axis that is read as it is. Traces count their own way only. ``least``
    is the smallest standard deviation that a block's component may have.
    """

    name: str
    names: tuple[str, ...]
    directions: NDArray[np.float32]
    matched: bool = False
    least: float = 1e-9

    def weights(self, basis: Basis) -> NDArray[np.float64]:
        """(k, C) what coordinates in a basis are multiplied with."""
        turned = basis.axes.astype(np.float64).T @ self.directions.astype(np.float64).T
        return np.asarray(turned / metric(basis)[:, None] if self.matched else turned)

    def farthest(self, z: NDArray[np.float64]) -> NDArray[np.float64]:
        """(W,) of the components ``z`` (W, C) of windows."""
        return np.asarray((z if self.matched else np.abs(z)).max(axis=1))


def _least(panels: Sequence[Panel]) -> NDArray[np.float64]:
    """(C,) panel after panel."""
    return np.concatenate([np.full(len(panel.names), panel.least) for panel in panels])


@dataclass(frozen=True, eq=False)
class Reading:
    """What one panel says of a window: ``z`` (C,) components in their own standard deviations; ``p`` by direction (C,)
    the chance that any of the panel is as far out where nothing has drifted.

    ``match`` (C,) is the cosine of the window's move with each direction, in the reference's own sizes and with what
    chance alone adds to the move taken off; 0 where nothing is left. ``far`` is the squared length of the move,
    whatever its way, in what chance alone makes it; ``lengths`` (C,) is its length in those of the directions, chance
    taken off again.
    """

    panel: Panel
    z: NDArray[np.float64]
    p: NDArray[np.float64]
    match: NDArray[np.float64]
    far: float = 0.0
    lengths: NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))

    @property
    def first(self) -> int:
        """The position of the direction that is farthest out."""
        return int(np.argmax(self.z if self.panel.matched else np.abs(self.z)))


@dataclass(frozen=True, eq=False)
class Space:
    """Columns with their panels, fitted and calibrated. ``scales`` maps a target to the standard deviations (C,) of one
    block's components, panel after panel; ``noise`` to the squared length that one block's move has by chance.
    """

    reference: EmbeddingReference
    panels: tuple[Panel, ...]
    slices: Mapping[str, SliceCalibration]
    scales: Mapping[str, NDArray[np.float64]]
    noise: Mapping[str, float]

    def read(self, target: str, moments: Mapping[str, Moments]) -> dict[str, Reading]:
        """By panel, what the moments by slice of a window of ``target`` say; empty where its null says nothing."""
        calibration = self.slices.get(target)
        if calibration is None or not calibration.nulls or not self.panels:
            return {}
        found = window_deviation(self.reference, moments, self._shares if target == ALL_SLICES else None)
        worth = calibration.worth(found.blocks, found.rows, found.evenness)
        if worth < MIN_WINDOW_BLOCKS - 1e-9:
            return {}
        moved = found.deviations.first[0] / found.deviations.counts[0]
        components = (moved @ self._weights) * np.sqrt(worth) / self.scales[target]
        whitened, by_chance = moved / np.sqrt(metric(self.reference.basis)), self.noise[target] / worth
        squared = float(whitened @ whitened)
        length = float(np.sqrt(max(squared - by_chance, 0.0)))
        traces, of_traces = self._traces
        matches = np.clip(whitened @ traces / length, -1.0, 1.0) if length else np.zeros(len(of_traces))
        far = squared / max(by_chance, 1e-300)
        readings, begin = {}, 0
        for panel in self.panels:
            own = slice(begin, begin + len(panel.names))
            begin = own.stop
            z = components[own]
            tail = calibration.tail(panel.name, worth)
            out = z if panel.matched else np.abs(z)
            p = np.array([tail.p(float(value)) for value in out])
            readings[panel.name] = Reading(panel, z, p, matches[own], far, length / of_traces[own])
        return readings

    @cached_property
    def _weights(self) -> NDArray[np.float64]:
        return np.hstack([panel.weights(self.reference.basis) for panel in self.panels])

    @cached_property
    def _traces(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """(k, C) every direction in whitened coordinates, of length 1; and its length (C,) there."""
        basis = self.reference.basis
        turned = basis.axes.astype(np.float64).T @ np.vstack([panel.directions for panel in self.panels]).T
        whitened = turned / np.sqrt(metric(basis))[:, None]
        lengths = np.maximum(np.linalg.norm(whitened, axis=0), 1e-300)
        return np.asarray(whitened / lengths), np.asarray(lengths)

    @cached_property
    def _shares(self) -> Mapping[str, float] | None:
        return traffic_shares(self.slices, self.reference.centres)


def build_space(
    rows: NDArray[Any],
    blocks: Blocks,
    panels: Sequence[Panel],
    *,
    times: NDArray[np.float64] | None = None,
    sizes: tuple[int, ...] = (),
    splits: int = 4,
    seed: int = 0,
) -> Space:
    """Fit and calibrate ``panels`` on a reference's ``rows`` (n, d) in ``blocks``; with ``times`` for the hour of day.

    Raises ValueError where it is too small to be parted.
    """
    plan = Plan(sizes=sizes, splits=splits, draws=_DRAWS, in_runs=True, seed=seed)
    slices = calibrate([ContrastFamily(rows, panels, times=times, seed=seed)], blocks, plan)
    split = split_of(blocks, seed)
    reference, held = held_deviations(rows, split, times=times, seed=seed, even=False)
    weights = np.hstack([panel.weights(reference.basis) for panel in panels])
    components = held.first @ weights
    whitened = held.first / np.sqrt(metric(reference.basis))
    scales, noise = {}, {}
    for target, own in targets(split.blocks):
        if len(own):
            scales[target] = np.maximum(_scale(components[own], held.counts[own]), _least(panels))
            noise[target] = float((_scale(whitened[own], held.counts[own]) ** 2).sum())
    return Space(reference, tuple(panels), slices, scales, noise)


def metric(basis: Basis) -> NDArray[np.float64]:
    """(k,) the variances in which moves are matched with traces.

    A trace is that of some images at some severity, and never quite that of others: however little the reference varies
    along an axis, the mismatch does.
    """
    return np.asarray(basis.variances + MISMATCH * basis.spread / len(basis.mean))


class ContrastFamily:
    """The panels of one space for the calibration: fitted on a part of ``rows`` (n, d), measured on the other."""

    def __init__(
        self, rows: NDArray[Any], panels: Sequence[Panel], *, times: NDArray[np.float64] | None = None, seed: int = 0
    ) -> None:
        self._rows = rows
        self._panels = tuple(panels)
        self._times = times
        self._seed = seed

    @property
    def names(self) -> tuple[str, ...]:
        """The panels': each has one score, how far out the farthest of its directions is."""
        return tuple(panel.name for panel in self._panels)

    def fit(self, split: Split) -> "_Measured":
        """Fit on ``split.fitted``, centre on ``split.held``."""
        reference, held = held_deviations(self._rows, split, times=self._times, seed=self._seed, even=False)
        return _Measured(self._panels, reference.basis, held, split)


class _Measured:
    """Drawn windows against one fit."""

    def __init__(self, panels: Sequence[Panel], basis: Basis, held: Deviations, split: Split) -> None:
        self._panels = panels
        self._counts = held.counts
        self._neighbours = split.neighbours
        self._components = held.first @ np.hstack([panel.weights(basis) for panel in panels])

    def __call__(self, draw: Draw) -> NDArray[np.float64]:
        """(W, panels) as ``Measure``: as far out as new windows of an unlucky reference."""
        members = member_matrix(draw.windows, len(self._counts))
        own = np.unique(draw.windows)
        scale = np.maximum(_scale(self._components[own], self._counts[own]), _least(self._panels))
        mean = (members @ self._components) / (members @ self._counts)[:, None]
        farther = stretch(draw.share / 2) * np.sqrt(luck(draw.share / 2, np.ones(1)) * self._beside(own, scale))
        z = mean * np.sqrt(draw.windows.shape[1]) / scale * farther
        begins = np.cumsum([0, *(len(panel.names) for panel in self._panels)])
        parts = [z[:, begin:end] for begin, end in pairwise(begins)]
        return np.stack([panel.farthest(part) for panel, part in zip(self._panels, parts, strict=True)], axis=1)

    def _beside(self, own: NDArray[np.intp], scale: NDArray[np.float64]) -> NDArray[np.float64]:
        """(C,) by how much more the mean of blocks that follow one another varies than that of strangers."""
        pairs = self._neighbours[np.isin(self._neighbours, own).all(axis=1)]
        if not len(pairs):
            return np.ones(len(scale))
        a, b = self._components[pairs.T]
        shared = (a * b).mean(axis=0) / self._counts[own].mean() ** 2
        return np.asarray(1 + 2 * np.maximum(shared, 0.0) / scale**2)


def _scale(components: NDArray[np.float64], counts: NDArray[np.float64]) -> NDArray[np.float64]:
    """(C,) the standard deviation that a window of one block has, from the components (B, C) of blocks' sums."""
    spread = (components**2).sum(axis=0) / max(len(components) - 1, 1) / max(counts.mean(), 1e-300) ** 2
    return np.asarray(np.sqrt(spread))
