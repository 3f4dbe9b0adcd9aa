"""When a drift was first shown and when it was over, kept beside the moments: what was told outlives the process.

It holds for whoever looks with another reference or on another schedule, too.

A turn is a block of a second in a series of its own, with one coordinate: its sum is how many seconds the window held
that showed no drift any more, its sum of squares 1 where the drift was over by then.
"""

import sys
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from visiondrift.drift.embedding.moments import BlockMoments
from visiondrift.log.moments import MomentKey, Ticks

_SERIES = "turns"


@dataclass(frozen=True)
class Turns:
    """Those of every target (a slice, or all) of one version of a model. Times are seconds since the epoch. Any call
    may raise LogError.
    """

    kept: Ticks
    model: str
    version: str

    def shown(self, target: str, at: float) -> None:
        """Keep that a drift of ``target`` was first shown."""
        self._keep(target, at, 0.0, is_over=False)

    def over(self, target: str, at: float, length: float) -> None:
        """Keep that it was over, by a window of the ``length`` seconds before. Of one second the last call counts."""
        self._keep(target, at, length, is_over=True)

    def is_shown(self, target: str) -> bool:
        """Whether a drift was shown and is not known to be over."""
        turns = list(self._of(target, 0, sys.maxsize))
        return bool(turns) and not turns[-1][2]

    def ends(self, target: str, first: float, last: float) -> dict[int, float]:
        """When each drift ended from ``first`` to ``last``, with the length of the window that said so."""
        found = self._of(target, int(first), int(last) + 1)
        return {at: length for at, length, is_over in found if is_over and first <= at <= last}

    def _keep(self, target: str, at: float, length: float, *, is_over: bool) -> None:
        numbers = BlockMoments(np.ones(1), np.array([[length]]), np.array([[float(is_over)]]))
        self.kept.keep_moments(self._key(target), np.array([int(at)]), numbers)

    def _of(self, target: str, first: int, last: int) -> Iterator[tuple[int, float, bool]]:
        kept = self.kept.kept_moments(self._key(target), since_block=first, until_block=last)
        rows = zip(kept.blocks, kept.moments.totals[:, 0], kept.moments.squares[:, 0], strict=True)
        return ((int(at), float(length), bool(is_over)) for at, length, is_over in rows)

    def _key(self, target: str) -> MomentKey:
        return MomentKey(basis=_SERIES, model=self.model, version=self.version, slice=target, seconds=1.0, dimension=1)
