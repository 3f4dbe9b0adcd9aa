"""When a drift was first shown and when it was over, kept beside the moments, so that a restart knows what was told.

A turn is a block of a series of its own, with one coordinate: its sum is how many ticks the window held that showed no
drift any more, its sum of squares 1 where the drift was over by then.
"""

import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from visiondrift.drift.embedding.moments import BlockMoments
from visiondrift.log.moments import MomentKey, Ticks


@dataclass(frozen=True)
class Turns:
    """Those of every target (a slice, or all) of one version of a model. ``series`` names the blocks of a target, which
    are ticks. Any call may raise LogError.
    """

    kept: Ticks
    series: Callable[[str], MomentKey]

    def shown(self, target: str, tick: int) -> None:
        """Keep that a drift of ``target`` was first shown in ``tick``."""
        self._keep(target, tick, 0, is_over=False)

    def over(self, target: str, tick: int, length: int) -> None:
        """Keep that it was over in ``tick``, by a window of the ``length`` ticks before it. Of one tick the last call
        counts.
        """
        self._keep(target, tick, length, is_over=True)

    def is_shown(self, target: str) -> bool:
        """Whether a drift was shown and is not known to be over."""
        turns = list(self._of(target, 0, sys.maxsize))
        return bool(turns) and not turns[-1][2]

    def ends(self, target: str, first: int, last: int) -> dict[int, int]:
        """Tick -> length, of every end in ``first`` to ``last``, both included."""
        return {tick: length for tick, length, is_over in self._of(target, first, last + 1) if is_over}

    def _keep(self, target: str, tick: int, length: int, *, is_over: bool) -> None:
        numbers = BlockMoments(np.ones(1), np.array([[float(length)]]), np.array([[float(is_over)]]))
        self.kept.keep_moments(self.series(target), np.array([tick]), numbers)

    def _of(self, target: str, first: int, last: int) -> Iterator[tuple[int, int, bool]]:
        kept = self.kept.kept_moments(self.series(target), since_block=first, until_block=last)
        rows = zip(kept.blocks, kept.moments.totals[:, 0], kept.moments.squares[:, 0], strict=True)
        return ((int(tick), round(length), bool(is_over)) for tick, length, is_over in rows)
