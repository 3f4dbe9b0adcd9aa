"""Which labelled rows may be told apart by chance: whole blocks go to one fold, and correlation costs samples.

Frames of one scene are nearly the same frame. A fold that shares a scene with the rows that something was fitted on
has seen them, so folds are made of blocks; and a mean over correlated rows is less certain than its count says, which
the design effect (Kish 1965) measures.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


def block_index(blocks: NDArray[Any] | None, rows: int) -> NDArray[np.intp]:
    """(rows,) number of each row's block, 0 and up; every row its own where ``blocks`` is None."""
    if blocks is None:
        return np.arange(rows)
    if len(blocks) != rows:
        msg = f"there are {len(blocks)} block ids for {rows} rows: there must be one a row"
        raise ValueError(msg)
    return np.asarray(np.unique(blocks, return_inverse=True)[1], dtype=np.intp).reshape(-1)


def stratified_folds(labels: NDArray[Any], block_of: NDArray[np.intp], *, folds: int, seed: int) -> NDArray[np.intp]:
    """(n,) fold of each row, 0 to ``folds`` - 1, every class spread over the folds and no block divided.

    A block counts for the class that most of its rows have. Blocks are dealt out in a shuffled order, class by class.
    """
    rng = np.random.default_rng(seed)
    blocks = int(block_of.max()) + 1
    counted = np.zeros((blocks, int(labels.max()) + 1))
    np.add.at(counted, (block_of, labels), 1)
    order = np.lexsort((rng.random(blocks), counted.argmax(axis=1)))
    fold_of_block = np.empty(blocks, dtype=np.intp)
    fold_of_block[order] = np.arange(blocks) % folds
    return np.asarray(fold_of_block[block_of])


def design_effect(residuals: NDArray[np.float64], variances: NDArray[np.float64], block_of: NDArray[np.intp]) -> float:
    """How many times larger the variance of a sum of ``residuals`` (n,) is than that of independent rows; at least 1.

    ``variances`` (n,) are what the residuals would have if independent. Residuals have mean zero.
    """
    if block_of[-1] == len(block_of) - 1 and np.array_equal(block_of, np.arange(len(block_of))):
        return 1.0
    sums = np.bincount(block_of, weights=residuals)
    return float(max(1.0, (sums**2).sum() / max(float(variances.sum()), 1e-12)))


@dataclass(frozen=True)
class Company:
    """How many other rows share a row's block: ``window`` of a window, ``reference`` of what it is compared with."""

    reference: float = 0.0
    window: float = 0.0

    def design_effect(self, reference: float) -> float:
        """The window's design effect, from that of the ``reference``; at least 1.

        It grows with the rows that share a block. Of a reference whose blocks are single rows nothing is known of that,
        and rows of one block count as one.
        """
        correlation = (reference - 1.0) / self.reference if self.reference > 0 else 1.0
        return 1.0 + min(1.0, correlation) * self.window


def mean_companions(block_of: NDArray[np.intp]) -> float:
    """Rows that share a row's block, on average over rows, without itself; 0 where all blocks are of one row."""
    sizes = np.bincount(block_of)
    return float((sizes.astype(np.float64) ** 2).sum() / sizes.sum() - 1.0)
