"""Any score of a window's rows, under the same calibration as the embeddings: confidences, classes, image columns.

Such a score is given as a function that prepares reference rows and one that scores window rows against them. Its null
compares windows of held blocks with the fitted half; later it is compared with the whole reference, which is nearer to
the truth. As with embeddings, the drawn scores are moved to where those of an unlucky reference would be.
"""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from visiondrift.drift.calibration.nulls import UPPER, Draw, Split
from visiondrift.signals import ALL_SLICES

Rows = NDArray[np.intp]
Score = Callable[[Rows], Sequence[float]]
"""Row positions of a window -> one value a name, higher where worse, never NaN."""


class RowFamily:
    """The scores ``names``; ``prepare`` turns row positions of a reference into the function that scores a window."""

    def __init__(self, names: Sequence[str], prepare: Callable[[Rows], Score]) -> None:
        self._names = tuple(names)
        self._prepare = prepare

    @property
    def names(self) -> tuple[str, ...]:
        """What the scores are called."""
        return self._names

    def fit(self, split: Split) -> "_RowMeasure":
        """Prepare, for each slice, the fitted rows of that slice."""
        return _RowMeasure(self._prepare, split)


def unlucky(scores: NDArray[np.float64], draw: Draw) -> NDArray[np.float64]:
    """(W, S) moved and spread to the 90th percentile of what the reference's own chance does to them.

    The reference's mean is off by the root of its share of a window's variance; of n witnesses the standard deviation
    is known to one part in the root of 2n.
    """
    mean, sd = scores.mean(axis=0), scores.std(axis=0)
    size = draw.windows.shape[1]
    held = size / draw.share
    share = max(size, draw.alike) / held
    spread = 1 + UPPER / np.sqrt(2 * 2 * held / draw.alike)
    return np.asarray(mean + (scores - mean) * spread + UPPER * sd * np.sqrt(share / 2))


class _RowMeasure:
    def __init__(self, prepare: Callable[[Rows], Score], split: Split) -> None:
        self._prepare = prepare
        self._split = split
        self._scores: dict[str, Score] = {}
        order = np.argsort(split.blocks.of_row, kind="stable")
        self._rows = np.split(split.held[order], np.cumsum(split.blocks.sizes)[:-1])

    def __call__(self, draw: Draw) -> NDArray[np.float64]:
        """(W, S) as ``Measure``."""
        score = self._score_of(draw.target)
        windows = (np.concatenate([self._rows[block] for block in window]) for window in draw.windows)
        return unlucky(np.array([score(rows) for rows in windows], dtype=np.float64), draw)

    def _score_of(self, target: str) -> Score:
        if target not in self._scores:
            fitted, blocks = self._split.fitted, self._split.fitted_blocks
            own = (
                np.ones(len(fitted), dtype=bool)
                if target == ALL_SLICES
                else blocks.of_row_stratum == blocks.names.index(target)
            )
            self._scores[target] = self._prepare(fitted[own])
        return self._scores[target]
