"""How a window might have come out by chance: its mean, redrawn from the reference by whole blocks.

Rows can be wanted more or less than the reference has them, so that a window of other class shares can be imagined.
"""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


class ImaginedWindows:
    """Draws the mean features (F,) of windows of ``size`` = (blocks, rows a block) from rows with ``weights`` (n,).

    A window of fewer rows a block than the reference has scatters more than means of whole blocks do, so its rows are
    drawn one by one within the blocks drawn.
    """

    def __init__(self, features: Floats, block_of: NDArray[np.intp], weights: Floats, size: tuple[int, float]) -> None:
        if weights.sum() <= 0:
            weights = np.ones(len(weights))
        self._blocks, rows_a_block = size
        self._rows = max(1, round(rows_a_block)) if rows_a_block < len(block_of) / (block_of.max() + 1) else 0
        order = np.argsort(block_of, kind="stable")
        self._features = features[order]
        total = np.bincount(block_of, weights=weights)
        self._likely = total / total.sum()
        self._reach = np.cumsum(weights[order])
        self._ends = np.cumsum(total)
        sums = np.zeros((len(total), features.shape[1]))
        np.add.at(sums, block_of, features * weights[:, None])
        self._means = sums / np.maximum(total, 1e-12)[:, None]

    def draw(self, rng: np.random.Generator) -> Floats:
        """One window's mean features."""
        times = rng.multinomial(self._blocks, self._likely)
        if not self._rows:
            return np.asarray(times @ self._means / self._blocks)
        block = np.repeat(np.arange(len(times)), times * self._rows)
        start = np.where(block > 0, self._ends[block - 1], 0.0)
        at = start + rng.random(len(block)) * (self._ends[block] - start)
        rows = np.minimum(np.searchsorted(self._reach, at, side="right"), len(self._features) - 1)
        return np.asarray(self._features[rows].mean(axis=0))
