"""Which slices have moved, how much of the whole each explains, and whether they have moved the same way.

Two cameras that go dark move alike; two that were knocked do not. A shift is the mean deviation of a slice's window
from its own centre, and its size is the product of two halves of the window that share no block: what chance adds to
the one is no part of the other, so that sizes do not grow, nor cosines shrink, by noise (attenuation, Spearman 1904).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from visiondrift.drift.calibration.budget import discoveries
from visiondrift.drift.embedding.bank import deviations, mean_weights
from visiondrift.drift.embedding.detector import Detector
from visiondrift.drift.embedding.fit import WindowRows
from visiondrift.drift.embedding.moments import BlockMoments, block_moments
from visiondrift.prediction import slice_name
from visiondrift.signals import ALL_SLICES

Kind = Literal["none", "local", "common"]
"""No slice has moved by itself; some have, and no way is common to most; or most of those have moved the same way."""

ALIKE = 0.7
"""Cosine of two shifts from which on they are the same way, where chance does not reach that: within 45 degrees.

Within 60, faults of different kinds that are strong look like one to the demo's CLIP (docs/benchmarks.md).
"""

_SURE = 2.33
"""Standard deviations that chance passes once in a hundred times."""

_SURE_ALONG = 3.0
"""The same, in one given direction, of slices that are asked for no other reason."""

_ALIKE_ALONG = 0.5
"""The cosine for these: too little is known of the size of their shifts to ask for more."""

_MOST_NAMES = 3
_LEAST_BLOCKS = 2


@dataclass(frozen=True)
class SliceShift:
    """One slice: whether it has ``moved``, by itself or with others, and the chance ``p`` of its moments without drift
    (None: too little to say).

    ``share`` is its part of the mean squared shift of all images, 0-1. ``cosine`` is that with the mean direction of
    the other slices that moved the same way, None where there are none; ``common`` whether it is one of them.
    """

    slice: str
    p: float | None
    moved: bool
    share: float
    cosine: float | None
    common: bool


@dataclass(frozen=True)
class Spread:
    """How a drift is spread over the slices of a window.

    ``new`` maps slices that the reference does not know to their share of the window's events, ``silent`` those without
    an event in the window to theirs of the reference. ``mix_explained`` is how much of the plain mean shift, 0-1, is
    the mix of slices and hours and no drift; None where there is no plain shift to explain.
    """

    slices: tuple[SliceShift, ...] = ()
    new: Mapping[str, float] = field(default_factory=dict)
    silent: Mapping[str, float] = field(default_factory=dict)
    mix_explained: float | None = None

    def named(self, label: str) -> "Spread":
        """The same with every slice by its full name, of values of ``label``."""
        return Spread(
            tuple(replace(one, slice=slice_name(label, one.slice)) for one in self.slices),
            {slice_name(label, value): share for value, share in self.new.items()},
            {slice_name(label, value): share for value, share in self.silent.items()},
            self.mix_explained,
        )

    @property
    def judged(self) -> int:
        """Slices with enough blocks to say whether they have moved."""
        return sum(one.p is not None for one in self.slices)

    @property
    def moved(self) -> tuple[str, ...]:
        """The slices that have moved."""
        return tuple(one.slice for one in self.slices if one.moved)

    @property
    def common(self) -> tuple[str, ...]:
        """The slices that have moved the same way; none or at least two."""
        return tuple(one.slice for one in self.slices if one.common)

    @property
    def kind(self) -> Kind:
        """Whether it is one cause."""
        return "common" if self.common else "local" if self.moved else "none"

    @property
    def sentence(self) -> str:
        """The same for a person; empty where no slice could be judged and none is new."""
        parts = [_told(self)] if self.judged else []
        if self.new:
            parts.append(f"new: {_listed(tuple(self.new))}, which the reference does not know")
        if self.silent:
            parts.append(f"nothing from {_listed(tuple(self.silent))}")
        return "; ".join(parts)


def _told(spread: Spread) -> str:
    if spread.common:
        others = tuple(name for name in spread.moved if name not in spread.common)
        rest = f"; {_listed(others)} moved too" if others else ""
        return f"{len(spread.common)} of {spread.judged} moved the same way: a common cause{rest}"
    unknown = tuple(one.slice for one in spread.slices if one.p is None)
    rest = f"; too little to say of {_listed(unknown)}" if unknown else ""
    if len(spread.moved) == 1:
        return f"{'' if unknown else 'only '}{spread.moved[0]}{rest}"
    if spread.moved:
        # That no common way was found does not show that there is none.
        return f"{_listed(spread.moved)}, no common way found{rest}"
    return f"no slice by itself{rest}"


def _listed(names: Sequence[str]) -> str:
    more = len(names) - _MOST_NAMES
    if more > 0:
        return f"{', '.join(names[:_MOST_NAMES])} and {more} more"
    return " and ".join([part for part in (", ".join(names[:-1]), names[-1]) if part])


@dataclass(frozen=True, eq=False)
class _Slice:
    """A slice's shift: of all of its blocks (k,), of two ``halves`` (2, k) that share none, and the ``variance`` (k,)
    that chance gives the first; ``weight`` is its share of the reference, ``centre`` the variance of its centre over
    that of the shift.
    """

    name: str
    shift: NDArray[np.float64]
    halves: NDArray[np.float64]
    variance: NDArray[np.float64]
    weight: float
    centre: float

    def energy(self, axes: NDArray[np.float64]) -> float:
        """The squared size of the shift with ``axes`` (k,) weighed, without what chance adds; may be below 0."""
        return float((axes * self.halves[0] * self.halves[1]).sum() - self.centre * (axes * self.variance).sum())

    def noise(self, axes: NDArray[np.float64]) -> float:
        """The standard deviation of ``energy`` where the slice has not moved: halves vary twice as much as all."""
        return float(2 * np.sqrt((axes**2 * self.variance**2).sum()))


def spread_of(
    detector: Detector,
    rows: WindowRows,
    slices: NDArray[Any],
    *,
    embeddings: NDArray[np.float32] | None = None,
    reference_mean: NDArray[np.float64] | None = None,
) -> Spread:
    """How the drift of a window of all slices is spread; ``slices`` (n,) are those of ``rows``, as the centres' names.

    With the plain ``embeddings`` (n, d) of the rows and the ``reference_mean`` (d,) of all its rows, how much of their
    distance is explained by the mix.
    """
    weights = detector.shares or {}
    blocks = {str(name): _blocks(rows, slices == name) for name in np.unique(slices)}
    known = {name: own for name, own in blocks.items() if name in detector.reference.centres}
    found = [_slice(detector, name, own, weights.get(name, 0.0)) for name, own in known.items()]
    p = {name: p for name, own in known.items() if (p := detector.chance(name, own.together())) is not None}
    moved = discoveries(p)
    explained = None
    if embeddings is not None and reference_mean is not None:
        explained = _mix_explained(embeddings, reference_mean, rows.of_row, found)
    events = {name: float(own.counts.sum()) for name, own in blocks.items()}
    return Spread(
        slices=_compared(found, p, moved, detector.reference.basis.variances),
        new={name: count / len(slices) for name, count in events.items() if name and name not in known},
        silent={name: share for name, share in weights.items() if name and name not in known},
        mix_explained=explained,
    )


def _blocks(rows: WindowRows, own: NDArray[np.bool_]) -> BlockMoments:
    place = np.unique(rows.of_row[own], return_inverse=True)[1]
    return block_moments(rows.coordinates[own], place, int(place.max()) + 1)


def _slice(detector: Detector, name: str, blocks: BlockMoments, weight: float) -> _Slice:
    away = deviations(blocks, detector.reference.centres[name])
    counts, n = away.counts[:, None], float(away.counts.sum())
    shift = away.first.sum(axis=0) / n
    # Blocks that follow one another may share a scene; two at a time of each half, fewer of them are parted.
    place = np.arange(len(blocks))
    first = place // 2 % 2 == 0 if len(blocks) > 2 * _LEAST_BLOCKS else place % 2 == 0
    halves = [away.first[half].sum(axis=0) / max(float(away.counts[half].sum()), 1.0) for half in (first, ~first)]
    residual = ((away.first - counts * shift) ** 2).sum(axis=0) / n**2
    variance = residual * len(blocks) / max(len(blocks) - 1, 1)
    return _Slice(name, shift, np.stack(halves), variance, weight, len(blocks) / max(_known_blocks(detector, name), 1))


def _known_blocks(detector: Detector, name: str) -> int:
    """How many blocks the reference has of a slice; those of none are what the others leave."""
    blocks = {slice_: one.blocks for slice_, one in detector.slices.items()}
    whole = blocks.pop(ALL_SLICES)
    return blocks[name] if name else whole - sum(blocks.values())


def _compared(
    found: Sequence[_Slice], p: Mapping[str, float], moved: frozenset[str], variances: NDArray[np.float64]
) -> tuple[SliceShift, ...]:
    """Every slice, in those axes in which what has moved stands out most from what chance moves.

    Rows of no slice have their share of the whole, and are none to name.
    """
    asked = [one for one in found if one.name in moved] or list(found)

    def clarity(axes: NDArray[np.float64]) -> float:
        noise = np.sqrt(sum(one.noise(axes) ** 2 for one in asked))
        return float(sum(one.energy(axes) for one in asked) / max(float(noise), 1e-300))

    axes = max(mean_weights(variances), key=clarity) if asked else np.ones_like(variances)
    energy = {
        one.name: one.energy(axes) * one.weight
        for one in found
        if one.name in moved or one.energy(axes) > _SURE * one.noise(axes)
    }
    energy = {name: max(0.0, size) for name, size in energy.items()}
    total = sum(energy.values())
    judged = [one for one in found if one.name in p]
    common = _common([one for one in judged if one.name in moved], judged, axes)
    moved |= common.keys()
    return tuple(
        SliceShift(
            slice=one.name,
            p=p.get(one.name),
            moved=one.name in moved,
            share=energy.get(one.name, 0.0) / total if total > 0 else 0.0,
            cosine=common.get(one.name),
            common=one.name in common,
        )
        for one in found
        if one.name
    )


def _common(moved: Sequence[_Slice], judged: Sequence[_Slice], axes: NDArray[np.float64]) -> dict[str, float]:
    """The largest group of slices that moved the same way, with each one's cosine to the others; only if it is most.

    Once there is a way, others join of the ``judged`` that alone are not clear enough: along one given direction less
    is needed than in all.
    """
    clear = [one for one in moved if one.energy(axes) > one.noise(axes)]
    alike = {one.name: [other for other in clear if other is not one and _is_alike(one, other, axes)] for one in clear}
    first = max(clear, key=lambda one: len(alike[one.name]), default=None)
    if first is None or 2 * (len(alike[first.name]) + 1) <= len(moved) or not alike[first.name]:
        return {}
    group = [first, *alike[first.name]]
    way = np.mean([one.shift / np.sqrt(one.energy(axes)) for one in group], axis=0)
    group += [one for one in judged if one not in moved and _follows(one, way, axes)]
    return {
        one.name: float(np.mean([_cosine(one, other, axes) for other in group if other is not one])) for one in group
    }


def _follows(one: _Slice, way: NDArray[np.float64], axes: NDArray[np.float64]) -> bool:
    """Whether a slice has moved along ``way`` (k,) beyond what chance and its centre's allow, and mainly so."""
    along = float((axes * one.shift * way).sum())
    noise = float(np.sqrt((axes**2 * way**2 * one.variance).sum() * (1 + one.centre)))
    size = np.sqrt(max(one.energy(axes), 1e-300) * float((axes * way**2).sum()))
    return along > _SURE_ALONG * noise and along >= _ALIKE_ALONG * float(size)


def _cosine(a: _Slice, b: _Slice, axes: NDArray[np.float64]) -> float:
    """Of the shifts of two slices, whose noise is not shared; their sizes are without it."""
    size = np.sqrt(max(a.energy(axes), 1e-300) * max(b.energy(axes), 1e-300))
    return float(np.clip((axes * a.shift * b.shift).sum() / size, -1.0, 1.0))


def _is_alike(a: _Slice, b: _Slice, axes: NDArray[np.float64]) -> bool:
    """Whether two slices moved the same way, and neither the noise of their blocks nor the fewness of the ways in which
    such blocks move makes it look so.
    """
    product = float((axes * a.shift * b.shift).sum())
    noise = axes**2 * (a.variance * b.variance + a.shift**2 * b.variance + b.shift**2 * a.variance)
    ways = np.sqrt((axes**2 * a.variance * b.variance).sum()) / np.sqrt(
        max(float((axes * a.variance).sum() * (axes * b.variance).sum()), 1e-300)
    )
    return product > _SURE * float(np.sqrt(noise.sum())) and _cosine(a, b, axes) >= max(ALIKE, _SURE * float(ways))


def _mix_explained(
    embeddings: NDArray[np.float32],
    reference_mean: NDArray[np.float64],
    of_row: NDArray[np.intp],
    found: Sequence[_Slice],
) -> float | None:
    """How much of the squared distance of the plain means is gone once slices and hours are compared like with like.

    The plain distance is that of the ``embeddings`` (n, d), in blocks ``of_row`` (n,), from the ``reference_mean``
    (d,). None where that is no more than chance.
    """
    place = np.unique(of_row, return_inverse=True)[1]
    weight = sum(one.weight for one in found)
    if place.max(initial=0) == 0 or weight <= 0:
        return None
    halves = [embeddings[place % 2 == part].mean(axis=0, dtype=np.float64) - reference_mean for part in (0, 1)]
    plain = float(halves[0] @ halves[1])
    if plain <= float(((halves[0] - halves[1]) ** 2).sum()) / 4:
        return None
    like = [sum(one.weight / weight * one.halves[part] for one in found) for part in (0, 1)]
    return float(np.clip(1 - float(np.dot(like[0], like[1])) / plain, 0.0, 1.0))
