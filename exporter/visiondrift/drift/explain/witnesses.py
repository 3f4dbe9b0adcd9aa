"""What the witnesses were prepared with: the traces of known faults on the user's own images, and words with a meaning.

Nothing here says which property falls when a scene goes dark: that is measured. What is typed is the words alone, the
prompts and which faults a prompt may mean.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from visiondrift.drift.explain.contrasts import Panel
from visiondrift.prediction import PROPERTIES

PROPERTY: Final = "property"
PATTERN: Final = "pattern"
LAYOUT: Final = "layout"
SIGNATURE: Final = "signature"
PROBE: Final = "probe"
"""The panels: single properties, all of them together as a fault moves them, where a fault leaves the edges, a fault's
embeddings, and words."""

LIMIT = 8.0
"""Reference standard deviations beyond which a property says no more: a mean must not hang on one image."""

_NORMAL_MAD = 1.4826  # a normal's standard deviation in median absolute deviations
_LEAST_SCALE = 0.02
"""Of a block's standardised property, where the reference is all alike in it."""
_LEAST_SPREAD = 0.01
"""In the unit of any property: what JPEG and scaling may do to an image that is otherwise the same."""


@dataclass(frozen=True)
class Probe:
    """Two sentences that differ in one thing. ``toward`` and ``away`` are the faults that the first and the second
    mean; none where the words are the user's own.
    """

    name: str
    positive: str
    negative: str
    toward: tuple[str, ...] = ()
    away: tuple[str, ...] = ()

    def meaning(self, sign: float) -> tuple[str, ...]:
        """The faults that a move to one side means."""
        return self.toward if sign > 0 else self.away

    def sentence(self, sign: float) -> str:
        """The prompt that a move to one side is nearer to."""
        return self.positive if sign > 0 else self.negative


_LESS_SHARP = ("blurred", "motion blurred", "coarser")

PROBES = (
    Probe("light", "a dark photo", "a bright photo", ("darker",), ("brighter",)),
    Probe("exposure", "an overexposed photo", "a clear photo", ("brighter",)),
    Probe("contrast", "a low contrast photo", "a high contrast photo", ("less contrast", "foggy")),
    Probe("focus", "a blurry photo", "a sharp photo", _LESS_SHARP),
    Probe("grain", "a noisy photo", "a clear photo", ("noisy",)),
    Probe("compression", "a low quality jpeg photo", "a high quality photo", ("compressed", "coarser")),
    Probe("fog", "a foggy photo", "a clear photo", ("foggy", "less contrast")),
    Probe("rain", "a photo taken in the rain", "a photo taken in dry weather", ("rainy",)),
    Probe("snow", "a photo taken in falling snow", "a photo taken in dry weather", ("snowy",)),
    Probe("cover", "a covered photo", "a clear photo", ("covered",)),
    Probe("tilt", "a tilted photo", "a level photo", ("rotated",)),
    Probe("distance", "a close-up photo", "a photo from afar", ("zoomed",)),
    Probe("warmth", "a photo with an orange tint", "a photo with a blue tint", ("colour cast",), ("colour cast",)),
)
"""The probes that every reference is given, where its embedder reads words."""


@dataclass(frozen=True)
class Trace:
    """One fault as it was done to the reference's images."""

    cause: str
    severity: int
    way: int = 0


@dataclass(frozen=True, eq=False)
class Witnesses:
    """Of T traces on N images: ``before`` (N, P) and ``after`` (T, N, P) properties as measured, ``layouts_before``
    (N, L) and ``layouts_after`` (T, N, L) where the edges are, ``moves`` (T, d) how far the mean embedding moves.
    ``directions`` (Q, d) are the probes', of length 1. Any of them may have no rows.
    """

    traces: tuple[Trace, ...]
    before: NDArray[np.float32]
    after: NDArray[np.float32]
    layouts_before: NDArray[np.float32]
    layouts_after: NDArray[np.float32]
    moves: NDArray[np.float32]
    probes: tuple[Probe, ...]
    directions: NDArray[np.float32]

    @property
    def dimension(self) -> int:
        """Columns of the embeddings, d; 0 where there are none."""
        return max(int(self.moves.shape[1]), int(self.directions.shape[1]))

    @property
    def causes(self) -> tuple[str, ...]:
        """The faults that were learnt, each once."""
        return tuple(dict.fromkeys(trace.cause for trace in self.traces))

    def property_panels(self, scale: "PropertyScale") -> tuple[Panel, ...]:
        """Of the standardised properties."""
        panels = [Panel(PROPERTY, PROPERTIES, np.eye(len(PROPERTIES), dtype=np.float32), least=_LEAST_SCALE)]
        if self.after.size:
            moves = (scale.standard(self.after) - scale.standard(self.before)[None]).mean(axis=1)
            panels.append(Panel(PATTERN, self._labels, moves.astype(np.float32), matched=True))
        return tuple(panels)

    def layout_panels(self, views: NDArray[Any]) -> Iterator[Panel]:
        """Of the layouts: every trace on all images, then again on those that look like each of ``views`` (S, L).

        A shift takes the edges of one camera elsewhere than those of another: each camera has traces of its own.
        """
        if not self.layouts_after.size:
            return
        moves = self.layouts_after - self.layouts_before[None]
        nearest = np.argmax(_centred(self.layouts_before) @ _centred(views).T, axis=1)
        seen = np.unique(nearest) if len(views) > 1 else ()
        groups = [np.ones(len(nearest), dtype=bool), *(nearest == view for view in seen)]
        directions = np.concatenate([moves[:, own].mean(axis=1) for own in groups])
        yield Panel(LAYOUT, self._labels * len(groups), directions.astype(np.float32), matched=True)

    def embedding_panels(self) -> Iterator[Panel]:
        """Of the embeddings."""
        if self.moves.size:
            yield Panel(SIGNATURE, self._labels, self.moves, matched=True)
        if self.directions.size:
            yield Panel(PROBE, tuple(probe.name for probe in self.probes), self.directions)

    @cached_property
    def _labels(self) -> tuple[str, ...]:
        return tuple(f"{trace.cause} {trace.severity}.{trace.way}" for trace in self.traces)


def _centred(layouts: NDArray[Any]) -> NDArray[np.float64]:
    """(n, L) without their means and of length 1, so that products are correlations; zeros where flat."""
    apart = layouts - layouts.mean(axis=1, keepdims=True, dtype=np.float64)
    return np.asarray(apart / np.maximum(np.linalg.norm(apart, axis=1, keepdims=True), _LEAST_LAYOUT))


_LEAST_LAYOUT = 1e-6


@dataclass(frozen=True, eq=False)
class PropertyScale:
    """What makes properties comparable: ``centre`` and ``spread`` (P,) of a reference, from its medians."""

    centre: NDArray[np.float64]
    spread: NDArray[np.float64]

    def standard(self, properties: NDArray[Any]) -> NDArray[np.float32]:
        """(..., P) in reference standard deviations, held to ``LIMIT``."""
        return np.clip((properties - self.centre) / self.spread, -LIMIT, LIMIT).astype(np.float32)


def property_scale(properties: NDArray[Any]) -> PropertyScale:
    """Of a reference's ``properties`` (n, P), n at least 1, none NaN."""
    values = properties.astype(np.float64)
    centre = np.median(values, axis=0)
    robust = _NORMAL_MAD * np.median(np.abs(values - centre), axis=0)
    # Half of the rows may be exactly alike, as with clipping, and the rest still differ.
    return PropertyScale(centre, np.maximum(np.maximum(robust, values.std(axis=0) / 2), _LEAST_SPREAD))
